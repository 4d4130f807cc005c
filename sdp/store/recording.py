"""One epoch on disk as the reactor's thread sees it: appended to without waiting, read by offset.

What is said here changes in the reactor's thread only: the writer thread hands over one Progress after the other.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from sdp.errors import StorageError
from sdp.interfaces import IRecording
from sdp.store import segments
from sdp.store.epoch import EpochWriter
from sdp.store.files import Buffer, Files
from sdp.store.segments import GoneError, Held
from sdp.stream.holes import without
from sdp.stream.record import Flag, Record

__all__ = ["READ_LIMIT", "Recording", "Threads"]

READ_LIMIT = 1024 * 1024
"""Bytes that one read() gives at most: a slow consumer's catching up holds no more of the memory than this."""

T = TypeVar("T")


class Threads(Protocol):
    """What a recording needs of its store."""

    files: Files

    @property
    def backlogged(self) -> bool:
        """Whether more is queued than the store's limit."""

    def put(
        self, recording: Recording, offset: int, data: Buffer, records: Sequence[Record], taken: bytes = b""
    ) -> bool:
        """Queue bytes for the writer thread; a closed store sets the recording's ``failure``, and takes none."""

    def resume(self, recording: Recording, offset: int) -> Deferred[bool]:
        """Have the writer thread try to go on with a recording that has failed."""

    def settle(self) -> Deferred[None]:
        """Fires (None) when the writer thread has done all that was queued by now."""

    def finish(self, recording: Recording) -> Deferred[None]:
        """Have the writer thread complete the recording; it has a ``failure`` where the store is closed."""

    def read(self, work: Callable[[], T]) -> Deferred[T]:
        """Do blocking work in a reader thread."""

    def settled(self, size: int) -> None:
        """``size`` queued bytes are queued no more."""

    def post(self, call: Callable[[], object]) -> None:
        """Have something called in the reactor's thread. From any thread."""


@implementer(IRecording)
class Recording:
    """An epoch that is written, or was. Offsets are in bytes, absolute within the epoch.

    Where the disk fails, ``failure`` is set, and ``written`` and ``end`` fall back to where a record begins (not
    below ``durable``): the recording holds what is below, and drops what is appended from then on, until
    :meth:`resume` has found that the disk can be written to again.

    ``missing`` are the holes, half-open, that nobody has filled; ``holes`` those that cannot be read: what fills a hole
    is read once it is written. ``durable`` is that of what came live; ``unsettled`` is where bytes begin, in what was a
    hole, that are not durable yet (None: there are none).
    """

    def __init__(self, store: Threads, writer: EpochWriter) -> None:
        description = writer.description
        self.name = description.name
        self.epoch = description.epoch
        self.content_type = description.content_type
        self.on_change: Callable[[], None] | None = None
        self.keep_from: int | None = None
        """Retention leaves what is not wholly below this offset; None: it may take all."""
        self.writer = writer
        self._store = store
        self._pending = False
        progress = writer.progress
        self._held = progress.held
        self.end = self.written = progress.held.written
        self.durable = progress.durable
        self.unsettled = progress.unsettled
        self.holes = self.missing = progress.held.gaps
        self._put = self._taken = 0
        self._fills: deque[tuple[int, int]] = deque()
        """Where what fills holes begins, as long as it waits; and how much was put in by then."""
        self.failure = progress.failure
        self.ended = progress.ended

    def __repr__(self) -> str:
        return f"<Recording {self.name} @{self.epoch} [{self.start}, {self.written}, {self.end})>"

    @property
    def start(self) -> int:
        """The first offset that is held."""
        return self._held.start

    @property
    def explicit(self) -> bool:
        """Whether only what was said to be a random access point is one, for good."""
        return self.writer.explicit

    @property
    def queued(self) -> int:
        """Bytes of this recording that wait for the writer thread."""
        return self._put - self._taken

    @property
    def backlogged(self) -> bool:
        """Whether the store has more to write than its limit: whoever appends should pause, until ``on_change``."""
        return self.failure is None and self._store.backlogged

    # Writing.

    def append(self, data: Buffer, records: Sequence[Record]) -> None:
        """Queue bytes that follow on ``end``, and Records newly known. Never blocks, and never raises."""
        if self.failure is not None or self.ended or not (data or records):
            return
        offset = self.end
        if self._store.put(self, offset, data, records):
            self.end += len(data)
            self._put += len(data)

    def skip_to(self, offset: int) -> None:
        """Go on at ``offset``, past ``end``: what lies between is a hole. Bytes have to follow."""
        if self.failure is None and not self.ended:
            self.missing = (*self.missing, (self.end, offset))
            self.holes = (*self.holes, (self.end, offset))
            self.end = offset

    def fill(self, offset: int, data: Buffer, records: Sequence[Record], taken: bytes = b"") -> None:
        """Queue bytes for the front of a hole, also of a recording that has ended, and Records newly known.

        ``taken`` are the held bytes just before the hole that belong to the first of the records. What is past the hole
        is dropped; so is all where there is no hole (any more) that begins there.
        """
        if self.failure is None and (data or records) and self._store.put(self, offset, data, records, taken):
            self._put += len(data)
            self._fills.append((self._put, offset))
            self._settle_fills(self.writer.progress.unsettled)
            self.missing = without(self.missing, offset, offset + len(data))

    def resume(self, offset: int) -> Deferred[bool]:
        """After a failure: try whether the disk can be written to again, and whether so go on at ``offset``, at ``end``
        or past it. Fires with whether ``failure`` is None then."""
        return self._store.resume(self, offset)

    def look(self) -> Deferred[None]:
        """Nothing has to be asked: ``holes`` is told of as it changes."""
        return succeed(None)

    def settled(self) -> Deferred[None]:
        """Fires (None) once all that was queued by now is written, or never will be."""
        return self._store.settle()

    def forget_implied(self) -> None:
        """What is a random access point by implication is none from now on. Said again, nothing happens."""
        if not self.explicit:
            self.writer.forget_implied()
            if self.failure is None and not self.ended:
                self._store.put(self, self.end, b"", ())

    def finish(self) -> Deferred[None]:
        """The epoch is complete at ``end``: fires once that is durable, fails with StorageError where it cannot be."""
        if self.failure is not None:
            return fail(self.failure)
        done = self._store.finish(self)
        self.ended = self.failure is None
        return done

    def moved(self) -> None:
        """The writer has made progress. From any thread.

        The flag is put down before the progress is looked at, and put up after it was laid down, so none is missed.
        """
        if not self._pending:
            self._pending = True
            self._store.post(self._show)

    def _show(self) -> None:
        self._pending = False
        progress = self.writer.progress
        before = (self.written, self.durable, self.unsettled, self.failure, self.start, self.holes)
        held = progress.held
        self._held, self.written, self.durable = held, held.written, progress.durable
        settled, self._taken = progress.taken - self._taken, progress.taken
        self._settle_fills(progress.unsettled)
        if progress.failure is not None:  # nothing that still waits will be written
            self.end, self.ended = self.written, progress.ended
            self.failure = progress.failure
        gaps = held.gaps
        self.holes = (*gaps, *(hole for hole in self.missing if hole[0] >= self.written and self.failure is None))
        if self.queued == 0 or self.failure is not None:  # what was to fill a hole and found none is missing still
            self.missing = self.holes
        self._store.settled(settled)
        now = (self.written, self.durable, self.unsettled, self.failure, self.start, self.holes)
        if now != before and self.on_change is not None:
            self.on_change()

    def _settle_fills(self, written: int | None) -> None:
        """Say where bytes begin, in what was a hole, that are not durable yet: ``written`` ones, or those that wait."""
        while self._fills and self._fills[0][0] <= self._taken:
            self._fills.popleft()
        waiting = [offset for _, offset in self._fills]
        self.unsettled = min([*waiting, *([] if written is None else [written])], default=None)

    def resumed(self) -> None:
        """The writer has gone on after a failure: what it says holds again. Called in the reactor's thread."""
        progress = self.writer.progress
        if progress.failure is None:
            self.failure, self.end = None, progress.held.written
            self.missing = progress.held.gaps
        self._show()

    # Reading.

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """The bytes of [offset, offset + length) that are written, at most READ_LIMIT; b"" from ``written`` on.

        Fails with StorageError, of status 410 (RFC 9110 section 15.5.11) below ``start``, and where retention takes
        the bytes away at this moment.
        """
        if offset < self.start and not self._kept(offset):
            return fail(self._gone())
        length = min(length, READ_LIMIT, self.written - offset)
        if length <= 0:
            return succeed(b"")
        return self._look(lambda files, held: segments.read(files, held, offset, length))

    def records(self, start: int, end: int, limit: int = 4096) -> Deferred[list[Record]]:
        """The Records that cover [start, end) of what is written, at most ``limit``."""
        start, end = start if self._kept(start) else max(start, self.start), min(end, self.written)
        if start >= end:
            return succeed([])
        return self._look(lambda files, held: segments.records(files, held, start, end, limit))

    def last_record(self, before: int, flag: Flag) -> Deferred[Record | None]:
        """The last Record with ``flag`` set that begins at or before ``before``, or None.

        An initialization segment may lie below ``start``: what retention has left could not be decoded without it, so
        it is kept, and can be read.
        """
        explicit = self.explicit
        return self._look(lambda files, held: segments.last_record(files, held, before, flag, explicit=explicit))

    def random_access_at(self, time: int, before: int) -> Deferred[Record | None]:
        """The last random access point at or before ``time``, else the first one; None where none begins by ``before``.

        Times ascend within an epoch unless a clock was set back: then it is one of the places where the next point is
        later than ``time``.
        """
        explicit = self.explicit
        return self._look(lambda files, held: segments.random_access_at(files, held, time, before, explicit=explicit))

    def _kept(self, offset: int) -> bool:
        """Whether ``offset`` lies in an initialization segment that outlives its surroundings."""
        kept = self._held.initialization
        return kept is not None and kept.offset <= offset < kept.end

    def _gone(self) -> GoneError:
        return GoneError(f"{self.name} is kept from offset {self.writer.progress.held.start} on only.")

    def _look(self, work: Callable[[Files, Held], T]) -> Deferred[T]:
        """Read in a reader thread. A file that retention has taken meanwhile is told as what it is: gone."""
        files, held = self._store.files, self._held

        def guarded() -> T:
            try:
                return work(files, held)
            except StorageError as error:
                progress = self.writer.progress
                missing = isinstance(error.__cause__, FileNotFoundError)
                if missing and (progress.held.start > held.start or isinstance(progress.failure, GoneError)):
                    raise self._gone() from error
                raise

        return self._store.read(guarded)
