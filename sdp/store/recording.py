"""One epoch on disk as the reactor's thread sees it: appended to without waiting, read by offset.

What is said here changes in the reactor's thread only: the writer thread hands over one Progress after the other.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from sdp.errors import StorageError
from sdp.interfaces import IRecording
from sdp.store.epoch import EpochWriter, Progress, Segment, disk_error
from sdp.store.files import Buffer, Files
from sdp.store.index import ENTRY_SIZE, Index
from sdp.store.recovery import open_for_reading, read_all
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
        self._progress = progress = writer.progress()
        self._segments = progress.segments
        self.end = self.written = progress.written
        self.durable = progress.durable
        self.failure = progress.failure
        self.ended = progress.ended

    def __repr__(self) -> str:
        return f"<Recording {self.name} @{self.epoch} [{self.start}, {self.written}, {self.end})>"

    @property
    def start(self) -> int:
        """The first offset that is held."""
        return self._segments[0].place.first

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

    def finish(self) -> Deferred[None]:
        """The epoch is complete at ``end``: fires once that is durable, fails with StorageError where it cannot be."""
        if self.failure is not None:
            return fail(self.failure)
        done = self._store.finish(self)
        self.ended = self.failure is None
        return done

    def moved(self, progress: Progress) -> None:
        """Take what the writer thread has done. Called in that thread.

        The flag is put down before the progress is taken, and put up after it was laid there, so none is missed.
        """
        self._progress = progress
        if not self._pending:
            self._pending = True
            self._store.post(self._show)

    def _show(self) -> None:
        self._pending = False
        progress = self._progress
        before = (self.written, self.durable, self.failure)
        self._segments, self.written, self.durable = progress.segments, progress.written, progress.durable
        settled = self.written - before[0]
        if progress.failure is not None:  # nothing that still waits will be written
            settled, self.end, self.ended = self.end - before[0], self.written, progress.ended
            self.failure = progress.failure
        self._store.settled(settled)
        if (self.written, self.durable, self.failure) != before and self.on_change is not None:
            self.on_change()

    # Reading.

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """The bytes of [offset, offset + length) that are written, at most READ_LIMIT; b"" from ``written`` on.

        Fails with StorageError, of status 410 (RFC 9110 section 15.5.11) below ``start``.
        """
        if offset < self.start:
            return fail(
                StorageError(f"{self.name} is kept from offset {self.start} on only.", status=410, title="Gone")
            )
        length = min(length, READ_LIMIT, self.written - offset)
        if length <= 0:
            return succeed(b"")
        files, segments, written = self._store.files, self._segments, self.written
        return self._store.read(lambda: _read(files, segments, written, offset, length))

    def records(self, start: int, end: int, limit: int = 4096) -> Deferred[list[Record]]:
        """The Records that cover [start, end) of what is written, at most ``limit``."""
        files, segments = self._store.files, self._segments
        start, end = max(start, self.start), min(end, self.written)
        if start >= end:
            return succeed([])
        return self._store.read(lambda: _records(files, segments, start, end, limit))

    def last_record(self, before: int, flag: Flag) -> Deferred[Record | None]:
        """The last Record with ``flag`` set that begins at or before ``before``, or None."""
        files, segments = self._store.files, self._segments
        return self._store.read(lambda: _last_record(files, segments, before, flag))


# The blocking parts, done in a reader thread on values that the reactor's thread gave them.


def _at(segments: Sequence[Segment], offset: int) -> int:
    """Which segment ``offset`` lies in."""
    return max(0, bisect_right(segments, offset, key=lambda segment: segment.place.first) - 1)


def _read(files: Files, segments: Sequence[Segment], written: int, offset: int, length: int) -> bytes:
    parts: list[bytes] = []
    number = _at(segments, offset)
    while length > 0:
        place = segments[number].place
        end = segments[number + 1].place.first if number + 1 < len(segments) else written
        try:
            with open_for_reading(files, place.data_file) as descriptor:
                part = read_all(files, descriptor, offset - place.first, min(length, end - offset))
        except OSError as error:
            raise disk_error("read", place.data_file, error) from error
        if not part:
            if not parts:
                raise StorageError(f"{place.data_file} is shorter than what was written to it: restore it from a copy.")
            break
        parts.append(part)
        offset += len(part)
        length -= len(part)
        number = _at(segments, offset)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _records(files: Files, segments: Sequence[Segment], start: int, end: int, limit: int) -> list[Record]:
    found: list[Record] = []
    number = _at(segments, start)
    while len(found) < limit and number < len(segments) and segments[number].place.first < end:
        found += _search(
            files, segments[number], partial(Index.records, start=start, end=end, limit=limit - len(found))
        )
        number += 1
    return found


def _last_record(files: Files, segments: Sequence[Segment], before: int, flag: Flag) -> Record | None:
    for number in range(_at(segments, before), -1, -1):
        found = _search(files, segments[number], partial(Index.last_record, before=before, flag=flag))
        if found is not None:
            return found
    return None


def _search(files: Files, segment: Segment, look: Callable[[Index], T]) -> T:
    path = segment.place.index_file
    if segment.entries == 0:  # its file may not be there yet
        return look(Index(lambda at, length: b"", 0, path))
    try:
        with open_for_reading(files, path) as descriptor:
            # fewer than were promised only where a failing disk has made the writer cut them off since
            count = min(segment.entries, files.size(descriptor) // ENTRY_SIZE - 1)
            return look(Index(lambda at, length: read_all(files, descriptor, at, length), count, path))
    except OSError as error:
        raise disk_error("read", path, error) from error
