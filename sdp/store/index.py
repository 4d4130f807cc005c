"""The index of a segment: which records its bytes consist of, and how much of it is known to be on the disk.

Pure: it packs, unpacks and searches; whoever uses it reads and writes. A header of 64 bytes, then entries of
64 bytes, all integers little-endian, each with a CRC-32 of its own. Because all have one size, and 64 divides a
sector, an entry is found by its ordinal, is never torn by a sector's edge, and a search needs a few small
reads whatever the length. Because each entry carries the ordinals of the last RECORD, the last random access
point and the last initialization segment before it, "the last one before here" is one step, not a scan.

Kinds of entry (a reader skips kinds that it does not know, once their CRC is right):

- RECORD: a record begins at ``offset``. Offsets ascend. Written after the bytes at ``offset``.
- CHECKPOINT: all bytes below ``offset`` were on the disk before this entry was written, and so were the first
  ``synced`` entries of the index. RECORDs that begin at or past its offset may come before it.
- END: a CHECKPOINT that also says: the epoch is complete, and this is its length.
- EXPLICIT: the epoch's sender has said which records are random access points: none is one by implication. Each entry
  after it carries a mark that says the same, and an index that follows on such a one begins with it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import NamedTuple
from zlib import crc32

from sdp.errors import StorageError
from sdp.store.layout import NewerFormatError
from sdp.stream.record import Flag, Record

__all__ = [
    "ENTRY_SIZE",
    "INDEX_VERSION",
    "Entry",
    "Header",
    "Index",
    "Kind",
    "Links",
    "check_header",
    "pack_header",
    "position",
]

ENTRY_SIZE = 64
INDEX_VERSION = 2
_OLDEST_VERSION = 1
BLOCK = 256
"""Entries read at once by a scan: 16 KiB."""

_MAGIC = b"SDPindex"
_HEADER = struct.Struct("<8sHHIQQ28xI")
_ENTRY = struct.Struct("<IBBHQqqqqqQ")
_CRC_SIZE = 4
_EXPLICIT_MARK = 1
_FOLLOWS = 1
_UNKNOWN_TIME = -(2**63)
_NONE = -1


class Kind(IntEnum):
    """What an entry says. The values are part of the format; 0 is never one (so that zeros are no entry)."""

    RECORD = 1
    CHECKPOINT = 2
    END = 3
    EXPLICIT = 4


class Links(NamedTuple):
    """What an entry says of those before it: the ordinals of the last record, random access point, initialization (-1
    for none), and whether one of them was EXPLICIT."""

    record: int = _NONE
    random_access: int = _NONE
    initialization: int = _NONE
    explicit: bool = False


class Entry(NamedTuple):
    """One entry. ``first_value`` and ``second_value`` are a RECORD's capture and received time (-2**63: unknown), and
    a CHECKPOINT's or END's number of synced entries and time of writing. ``boot`` marks the machine's start."""

    kind: int
    flags: int
    offset: int
    first_value: int
    second_value: int
    links: Links
    boot: int

    @classmethod
    def of_record(cls, record: Record, links: Links, boot: int) -> Entry:
        """The entry that keeps ``record``."""
        capture, received = (_UNKNOWN_TIME if t is None else t for t in (record.capture_time, record.received_time))
        return cls(Kind.RECORD, int(record.flags), record.offset, capture, received, links, boot)

    @property
    def record(self) -> Record:
        """The Record that a RECORD entry keeps."""
        capture, received = (None if t == _UNKNOWN_TIME else t for t in (self.first_value, self.second_value))
        return Record(self.offset, Flag(self.flags), capture, received)

    @property
    def synced(self) -> int:
        """How many entries of the index were on the disk before this CHECKPOINT or END was written."""
        return self.first_value

    def links_after(self, ordinal: int) -> Links:
        """The links of the entry that follows this one, which is entry ``ordinal``."""
        if self.kind == Kind.EXPLICIT:
            return self.links._replace(explicit=True)
        if self.kind != Kind.RECORD:
            return self.links
        return Links(
            ordinal,
            ordinal if self.flags & Flag.RANDOM_ACCESS else self.links.random_access,
            ordinal if self.flags & Flag.INITIALIZATION else self.links.initialization,
            self.links.explicit,
        )

    def counts(self, *, explicit: bool) -> bool:
        """Whether a RECORD is a random access point; of an ``explicit`` epoch those by implication are none."""
        return bool(self.flags & Flag.RANDOM_ACCESS) and not (explicit and self.flags & Flag.IMPLIED)

    @property
    def time(self) -> int | None:
        """When a RECORD was captured, or where that is unknown, received (microseconds)."""
        for time in (self.first_value, self.second_value):
            if time != _UNKNOWN_TIME:
                return time
        return None

    def pack(self) -> bytes:
        """The entry's 64 bytes."""
        *ordinals, explicit = self.links
        marks = _EXPLICIT_MARK if explicit else 0
        packed = _ENTRY.pack(
            0, self.kind, self.flags, marks, self.offset, self.first_value, self.second_value, *ordinals, self.boot
        )
        return crc32(packed[_CRC_SIZE:]).to_bytes(_CRC_SIZE, "little") + packed[_CRC_SIZE:]

    @classmethod
    def unpack(cls, content: bytes, at: int = 0) -> Entry | None:
        """Read the entry at ``content[at:at + 64]``; None where it is torn, damaged or never was one."""
        if len(content) - at < ENTRY_SIZE:
            return None
        crc, kind, flags, marks, offset, one, two, record, access, begun, boot = _ENTRY.unpack_from(content, at)
        if kind == 0 or crc != crc32(memoryview(content)[at + _CRC_SIZE : at + ENTRY_SIZE]):
            return None
        return cls(kind, flags, offset, one, two, Links(record, access, begun, bool(marks & _EXPLICIT_MARK)), boot)


def position(ordinal: int) -> int:
    """Where in the file entry ``ordinal`` begins; with the number of entries, where the file ends."""
    return ENTRY_SIZE * (ordinal + 1)


class Header(NamedTuple):
    """What a header says: the segment's first offset, the boot mark of its making, and whether it ``follows`` on the
    segment before it: that one was complete, up to here, when this one was begun."""

    first: int
    boot: int
    follows: bool


def pack_header(first: int, boot: int, *, follows: bool = False) -> bytes:
    """The header of the index of the segment whose first byte is at offset ``first``."""
    marks = _FOLLOWS if follows else 0
    packed = _HEADER.pack(_MAGIC, INDEX_VERSION, ENTRY_SIZE, marks, first, boot, 0)[:-_CRC_SIZE]
    return packed + crc32(packed).to_bytes(_CRC_SIZE, "little")


def check_header(content: bytes, path: object) -> Header:
    """Read a header. Raises StorageError, NewerFormatError.

    ``path`` is for the sentence. The version is looked at before the CRC: a later format may have another header. In
    version 1 there were no holes: each segment followed on the one before it.
    """
    if len(content) < ENTRY_SIZE or not content.startswith(_MAGIC):
        raise StorageError(f"{path} is not the index of a stream: restore it, or remove the directory it is in.")
    _, version, size, marks, first, boot, crc = _HEADER.unpack_from(content)
    if not _OLDEST_VERSION <= version <= INDEX_VERSION:
        raise NewerFormatError(
            f"{path} is of index version {version}, and this program knows up to {INDEX_VERSION}: "
            "use the program that wrote it, or another directory."
        )
    if size != ENTRY_SIZE or crc != crc32(content[: ENTRY_SIZE - _CRC_SIZE]):
        raise StorageError(f"{path} has a damaged header: restore it, or remove the directory it is in.")
    return Header(first, boot, version == _OLDEST_VERSION or bool(marks & _FOLLOWS))


class Index:
    """Searches the first ``count`` entries of an index, through ``read(position, length)``.

    ``read`` may raise OSError and may return less at the file's end. A damaged entry raises StorageError: the
    entries that are searched were all found good, or written, before.
    """

    def __init__(self, read: Callable[[int, int], bytes], count: int, path: object) -> None:
        self.read = read
        self.path = path
        self.count = count

    def peek(self, ordinal: int) -> Entry | None:
        """One entry, None where it is torn or damaged."""
        return Entry.unpack(self.read(position(ordinal), ENTRY_SIZE))

    def entry(self, ordinal: int) -> Entry:
        """One entry."""
        return self._good(self.peek(ordinal), ordinal)

    def forward(self, ordinal: int, stop: int) -> Iterator[tuple[int, Entry | None]]:
        """Entries [ordinal, stop) with their ordinals, read in blocks; None for what is torn or damaged."""
        while ordinal < stop:
            count = min(BLOCK, stop - ordinal)
            block = self.read(position(ordinal), count * ENTRY_SIZE)
            for at in range(count):
                yield ordinal + at, Entry.unpack(block, at * ENTRY_SIZE)
            ordinal += count

    def backward(self, ordinal: int) -> Iterator[tuple[int, Entry | None]]:
        """Entries from ``ordinal`` down to 0 with their ordinals, read in blocks; None for what is torn."""
        stop = ordinal + 1
        while stop > 0:
            first = max(0, stop - BLOCK)
            block = self.read(position(first), (stop - first) * ENTRY_SIZE)
            for at in range(stop - first - 1, -1, -1):
                yield first + at, Entry.unpack(block, at * ENTRY_SIZE)
            stop = first

    def find(self, offset: int) -> int:
        """The ordinal of the last RECORD that begins at or before ``offset``; -1 where there is none.

        A bisection over "the last RECORD up to here", which ascends with the ordinal.
        """
        low, high, found = 0, self.count, _NONE
        while low < high:
            middle = (low + high) // 2
            entry = self.entry(middle)
            ordinal = middle if entry.kind == Kind.RECORD else entry.links.record
            if ordinal <= found:  # nothing between what is found and the middle
                low = middle + 1
                continue
            begins = entry.offset if ordinal == middle else self.entry(ordinal).offset
            if begins <= offset:
                found, low = ordinal, middle + 1
            else:
                high = ordinal
        return found

    def records(self, start: int, end: int, limit: int) -> list[Record]:
        """The record that ``start`` lies in, and all that begin before ``end``, at most ``limit``."""
        found: list[Record] = []
        if start >= end or limit <= 0:
            return found
        for ordinal, entry in self.forward(max(0, self.find(start)), self.count):
            good = self._good(entry, ordinal)
            if good.kind == Kind.RECORD:
                if good.offset >= end or len(found) >= limit:
                    break
                found.append(good.record)
        return found

    def last_record(self, before: int, flag: Flag, *, explicit: bool = False) -> Record | None:
        """The last record with all of ``flag`` that begins at or before ``before``, or None.

        Of an ``explicit`` epoch those count as no random access points that are so by implication. Where one of them
        is met, there is none before it: as long as nobody had said anything, all were implied.
        """
        ordinal = self.find(before)
        while ordinal != _NONE:
            entry = self.entry(ordinal)
            if entry.flags & flag == flag:
                void = flag & Flag.RANDOM_ACCESS and not entry.counts(explicit=explicit)
                return None if void else entry.record
            if flag & Flag.RANDOM_ACCESS:
                ordinal = entry.links.random_access
            elif flag & Flag.INITIALIZATION:
                ordinal = entry.links.initialization
            else:
                return self._scan_back(ordinal, flag)
        return None

    def random_access_at(self, time: int, before: int, *, explicit: bool = False) -> Record | None:
        """The last random access point whose time is not after ``time`` and that begins at or before ``before``.

        A bisection. Times ascend within an epoch unless a clock was set back: then there are several places where the
        next point is too late, and it is one of them. A point without any time counts as too late.
        """
        low, high, last, found = 0, self.find(before) + 1, _NONE, None
        while low < high:
            middle = (low + high) // 2
            point = self._point_up_to(middle, explicit)
            if point is None or point[0] <= last:
                low = middle + 1
                continue
            ordinal, entry = point
            if entry.time is not None and entry.time <= time:
                last, found, low = ordinal, entry, middle + 1
            else:
                high = ordinal
        return None if found is None else found.record

    def first_random_access(self, before: int, *, explicit: bool = False) -> Record | None:
        """The first random access point of the index, if it begins at or before ``before``."""
        low, high = 0, self.find(before) + 1
        found = None
        while low < high:
            middle = (low + high) // 2
            point = self._point_up_to(middle, explicit)
            if point is None:
                low = middle + 1
            else:
                ordinal, found = point
                high = ordinal
        return None if found is None else found.record

    def _point_up_to(self, ordinal: int, explicit: bool) -> tuple[int, Entry] | None:
        """The last random access point up to entry ``ordinal``, which ascends with it."""
        entry = self.entry(ordinal)
        if entry.kind != Kind.RECORD or not entry.flags & Flag.RANDOM_ACCESS:
            ordinal = entry.links.random_access
            if ordinal == _NONE:
                return None
            entry = self.entry(ordinal)
        return (ordinal, entry) if entry.counts(explicit=explicit) else None

    def _scan_back(self, ordinal: int, flag: Flag) -> Record | None:
        for at, entry in self.backward(ordinal):
            good = self._good(entry, at)
            if good.kind == Kind.RECORD and good.flags & flag == flag:
                return good.record
        return None

    def _good(self, entry: Entry | None, ordinal: int) -> Entry:
        if entry is None:
            raise StorageError(f"{self.path} is damaged at byte {position(ordinal)}: restore it from a copy.")
        return entry
