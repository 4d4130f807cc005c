"""One epoch on disk as the reactor's thread sees it: appended to without waiting, read by offset.

What is said here changes in the reactor's thread only: the writer thread hands over one Progress after the other.
"""

from __future__ import annotations

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

    def put(self, recording: Recording, data: Buffer, records: Sequence[Record]) -> None:
        """Queue bytes for the writer thread."""

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
    below ``durable``): the recording holds what is below, and drops what is appended from then on.
    """

    def __init__(self, store: Threads, writer: EpochWriter) -> None:
        description = writer.description
        self.name = description.name
        self.epoch = description.epoch
        self.content_type = description.content_type
        self.on_change: Callable[[], None] | None = None
        self.writer = writer
        self._store = store
        self._pending = False
        progress = writer.progress
        self._held = progress.held
        self.end = self.written = progress.held.written
        self.durable = progress.durable
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
        return self.end - self.written

    @property
    def backlogged(self) -> bool:
        """Whether the store has more to write than its limit: whoever appends should pause, until ``on_change``."""
        return self.failure is None and self._store.backlogged

    # Writing.

    def append(self, data: Buffer, records: Sequence[Record]) -> None:
        """Queue bytes that follow on ``end``, and Records newly known. Never blocks, and never raises."""
        if self.failure is not None or self.ended or not (data or records):
            return
        self.end += len(data)
        self._store.put(self, data, records)

    def forget_implied(self) -> None:
        """What is a random access point by implication is none from now on. Said again, nothing happens."""
        if not self.explicit:
            self.writer.forget_implied()
            if self.failure is None and not self.ended:
                self._store.put(self, b"", ())

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
        before = (self.written, self.durable, self.failure, self.start)
        self._held, self.written, self.durable = progress.held, progress.held.written, progress.durable
        settled = self.written - before[0]
        if progress.failure is not None:  # nothing that still waits will be written
            settled, self.end, self.ended = self.end - before[0], self.written, progress.ended
            self.failure = progress.failure
        self._store.settled(settled)
        if (self.written, self.durable, self.failure, self.start) != before and self.on_change is not None:
            self.on_change()

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
