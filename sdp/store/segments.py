"""What is held of an epoch, and how it is read: the blocking half of every read, on values that never change.

A :class:`Held` is a picture of an epoch's segments at one moment. Whoever reads with it may find that a file is gone
by now, since retention has trimmed it: that is a :class:`GoneError`, never other bytes.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import NamedTuple, TypeVar

from sdp.errors import StorageError
from sdp.store.faults import disk_error
from sdp.store.files import Files
from sdp.store.index import ENTRY_SIZE, Index
from sdp.store.layout import Initialization, SegmentPlace
from sdp.store.recovery import open_for_reading, read_all
from sdp.stream.record import Flag, Record

__all__ = [
    "GoneError",
    "Held",
    "MissingError",
    "Segment",
    "initialization",
    "last_record",
    "random_access_at",
    "read",
    "records",
]

INITIALIZATION_LIMIT = 16 * 1024 * 1024
"""Bytes: a longer initialization segment is no more than damage, and is not kept or given as one."""

T = TypeVar("T")


class GoneError(StorageError):
    """What was to be read is not kept any longer (RFC 9110 section 15.5.11)."""

    status = 410
    default_title = "Gone"


class MissingError(StorageError):
    """What was to be read lies in a hole (RFC 9110 section 15.5.17)."""

    status = 416
    default_title = "Missing"


class Segment(NamedTuple):
    """A segment's files, how many entries of its index may be read, and the offset where its bytes end, unless another
    segment begins before that."""

    place: SegmentPlace
    entries: int
    end: int


class Held(NamedTuple):
    """Which segments there are, up to which offset they are written, and what is kept to decode the first one with."""

    segments: tuple[Segment, ...]
    written: int
    initialization: Initialization | None = None

    @property
    def start(self) -> int:
        """The first offset that is held."""
        return self.segments[0].place.first

    def end_of(self, number: int) -> int:
        """Where a segment ends: with its bytes, or where the next one begins."""
        end = self.segments[number].end
        return min(end, self.segments[number + 1].place.first) if number + 1 < len(self.segments) else end

    @property
    def gaps(self) -> tuple[tuple[int, int], ...]:
        """The holes between the segments, [start, end) each, ascending."""
        return tuple(
            (one.end, other.place.first) for one, other in pairwise(self.segments) if one.end < other.place.first
        )

    def at(self, offset: int) -> int:
        """Which segment ``offset`` lies in."""
        return max(0, bisect_right(self.segments, offset, key=lambda segment: segment.place.first) - 1)


def read(files: Files, held: Held, offset: int, length: int) -> bytes:
    """The bytes of [offset, offset + length), up to the first hole, or of the kept initialization segment.

    Raises StorageError, MissingError in a hole.
    """
    kept = held.initialization
    if kept is not None and offset < held.start:
        return _kept(files, kept, offset, length)
    parts: list[bytes] = []
    number = held.at(offset)
    while length > 0:
        place = held.segments[number].place
        size = min(length, held.end_of(number) - offset)
        if size <= 0:
            if not parts:
                raise MissingError(f"The bytes from {offset} on are missing: {place.data_file} ends before them.")
            break
        try:
            with open_for_reading(files, place.data_file) as descriptor:
                part = read_all(files, descriptor, offset - place.first, size)
        except OSError as error:
            raise disk_error("read", place.data_file, error) from error
        if not part:
            if not parts:
                raise StorageError(f"{place.data_file} is shorter than what was written to it: restore it from a copy.")
            break
        parts.append(part)
        offset += len(part)
        length -= len(part)
        number = held.at(offset)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def records(files: Files, held: Held, start: int, end: int, limit: int) -> list[Record]:
    """The Records that cover [start, end), at most ``limit``; of a kept initialization segment, itself and its end."""
    found: list[Record] = []
    kept = held.initialization
    if kept is not None and kept.offset <= start < kept.end:
        found.append(Record(kept.offset, Flag.INITIALIZATION))
        if kept.end < min(end, held.start):
            found.append(Record(kept.end))
        start = held.start
    number = held.at(start)
    while len(found) < limit and number < len(held.segments) and held.segments[number].place.first < end:
        found += _records_of(files, held, number, start, end, limit - len(found))
        number += 1
    return found


def _records_of(files: Files, held: Held, number: int, start: int, end: int, limit: int) -> list[Record]:
    """The Records of one segment that cover [start, end), at most ``limit``.

    What was filled into a hole may begin in the midst of a record, which a segment before it tells of.
    """
    first, stop = held.segments[number].place.first, min(end, held.end_of(number))
    found = _search(files, held.segments[number], partial(Index.records, start=start, end=stop, limit=limit))
    begins = max(start, first)
    if begins < stop and (not found or found[0].offset > begins) and start >= first:
        while number > 0 and held.end_of(number - 1) == held.segments[number].place.first:
            number -= 1
            before = held.end_of(number) - 1
            covering = _search(files, held.segments[number], partial(Index.last_record, before=before, flag=Flag.NONE))
            if covering is not None:
                return [covering, *found][:limit]
    return found


def last_record(files: Files, held: Held, before: int, flag: Flag, *, explicit: bool = False) -> Record | None:
    """The last Record with ``flag`` set that begins at or before ``before``, or None; as :class:`Index` says."""
    for number in range(held.at(before), -1, -1):
        last = min(before, held.end_of(number) - 1)
        look = partial(Index.last_record, before=last, flag=flag, explicit=explicit)
        found = _search(files, held.segments[number], look)
        if found is not None:
            return found
    kept = held.initialization
    if flag == Flag.INITIALIZATION and kept is not None and kept.offset <= before:
        return Record(kept.offset, flag)
    return None


def random_access_at(files: Files, held: Held, time: int, before: int, *, explicit: bool = False) -> Record | None:
    """The last random access point at or before ``time``, else the first one; None where none begins by ``before``.

    A bisection over the segments, and in each that it looks into one over its index. A segment without any random
    access point says nothing: the one before it is asked.
    """

    def at(number: int) -> Record | None:
        last = min(before, held.end_of(number) - 1)
        look = partial(Index.random_access_at, time=time, before=last, explicit=explicit)
        return _search(files, held.segments[number], look)

    def first(number: int) -> Record | None:
        last = min(before, held.end_of(number) - 1)
        return _search(files, held.segments[number], partial(Index.first_random_access, before=last, explicit=explicit))

    low, high = 0, held.at(before) + 1
    early: Record | None = None
    late: Record | None = None
    while low < high:
        number = middle = (low + high) // 2
        while (begins := first(number)) is None and number > low:
            number -= 1
        found = None if begins is None else at(number)
        if begins is None:
            low = middle + 1
        elif found is None:
            late, high = begins, number
        else:
            early, low = found, middle + 1
    return late if early is None else early


def initialization(files: Files, held: Held, before: int) -> tuple[Record, bytes] | None:
    """The last initialization segment that begins at or before ``before``, whole; None where none is held."""
    record = last_record(files, held, before, Flag.INITIALIZATION)
    if record is None:
        return None
    following = records(files, held, record.offset, held.written, 2)[1:]
    end = min(following[0].offset if following else held.written, _run_end(held, record.offset))
    if end - record.offset > INITIALIZATION_LIMIT:
        return None
    return record, read(files, held, record.offset, end - record.offset)


def _run_end(held: Held, offset: int) -> int:
    """The offset of the first byte after ``offset`` that is not held."""
    number = held.at(offset)
    if offset < held.start:
        return held.written
    while number + 1 < len(held.segments) and held.end_of(number) == held.segments[number + 1].place.first:
        number += 1
    return held.end_of(number)


def _kept(files: Files, kept: Initialization, offset: int, length: int) -> bytes:
    try:
        with open_for_reading(files, kept.file) as descriptor:
            return read_all(files, descriptor, offset - kept.offset, min(length, kept.end - offset))
    except OSError as error:
        raise disk_error("read", kept.file, error) from error


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
