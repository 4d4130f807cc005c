"""What lies on the disk, held against itself: every entry's CRC, every offset, every file's length. Writes nothing.

An epoch that nobody has finished ends where the next start would end it (:mod:`sdp.store.recovery`); what lies past
that is no damage. It may be looked at while a process writes to it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sdp.errors import StorageError
from sdp.store.faults import disk_error
from sdp.store.files import Files
from sdp.store.index import ENTRY_SIZE, Entry, Index, Kind, Links, check_header
from sdp.store.layout import SegmentPlace
from sdp.store.recovery import Tail, examine, find_epochs, open_for_reading, read_all, read_description
from sdp.store.segments import Held, Segment

__all__ = ["Verdict", "verify"]

FAULTS_LIMIT = 5
"""Faults that are told of one epoch: where there are more, it has to be looked at anyway."""


class Verdict(NamedTuple):
    """What was found of one epoch: [start, end) but for ``holes``, in so many segments and records, and what is wrong,
    as sentences."""

    name: str
    epoch: str
    start: int
    end: int
    segments: int
    records: int
    ended: bool
    faults: tuple[str, ...]
    holes: tuple[tuple[int, int], ...] = ()


def verify(directory: Path, files: Files | None = None) -> Iterator[Verdict]:
    """Look at every epoch of the store in ``directory``. Raises StorageError where there is none."""
    files = files if files is not None else Files()
    try:
        files.entries(directory)
        for name, epoch, place in find_epochs(files, directory, sweeping=False):
            verdict = _verify_epoch(files, name, epoch, place)
            if verdict is not None:
                yield verdict
    except OSError as error:
        raise disk_error("read", directory, error) from error


def _verify_epoch(files: Files, name: str, epoch: str, directory: Path) -> Verdict | None:
    """None for a directory that is no epoch: its making or its removal was cut short."""
    try:
        description = read_description(files, directory)
        if description is None:
            return None
        tail = examine(files, directory, description.content_type, trust=False)
    except (OSError, StorageError) as error:
        text = str(disk_error("read", directory, error) if isinstance(error, OSError) else error)
        return Verdict(name, epoch, 0, 0, 0, 0, False, (text,))
    faults: list[str] = []
    records = 0
    for number, found in enumerate(tail.found):
        check = _Check(files, tail, number)
        try:
            records += check.run()
        except (OSError, StorageError) as error:
            check.faults.append(
                str(disk_error("read", found.place.index_file, error) if isinstance(error, OSError) else error)
            )
        faults += check.faults
    held = Held(tuple(Segment(found.place, found.entries, found.end) for found in tail.found), tail.end)
    start = held.start if tail.found else 0
    if start > 0 and tail.initialization is not None and tail.initialization.end == tail.initialization.offset:
        faults.append(f"{tail.initialization.file} is empty.")
    told = tuple(faults[:FAULTS_LIMIT])
    return Verdict(name, epoch, start, tail.end, len(tail.found), records, tail.ended, told, held.gaps)


class _Check:
    """Holds one segment against itself."""

    def __init__(self, files: Files, tail: Tail, number: int) -> None:
        self.faults: list[str] = []
        self._files = files
        self._tail = tail
        found = tail.found[number]
        self._last = number == len(tail.found) - 1
        self._place: SegmentPlace = found.place
        self._end = found.end
        self._entries = found.entries
        # What a failing disk has stopped may have entries past its end; they are to be ignored.
        self._stopped = not self._last and not tail.found[number + 1].follows

    def run(self) -> int:
        """Return how many records there are. Raises OSError, StorageError."""
        self._data()
        path = self._place.index_file
        with open_for_reading(self._files, path) as descriptor:
            if self._entries or not self._last or self._end > self._place.first:
                first = check_header(read_all(self._files, descriptor, 0, ENTRY_SIZE), path).first
                if first != self._place.first:
                    self.faults.append(f"{path} is the index from offset {first} on.")
            index = Index(lambda at, length: read_all(self._files, descriptor, at, length), self._entries, path)
            return self._index(index)

    def _data(self) -> None:
        path = self._place.data_file
        try:
            with open_for_reading(self._files, path) as descriptor:
                size = self._files.size(descriptor)
        except FileNotFoundError:
            size = 0
        wanted = self._end - self._place.first
        if size < wanted:
            self.faults.append(f"{path} has {size} bytes of {wanted}.")
        elif self._last and self._tail.ended and size > wanted:
            self.faults.append(f"{path} has {size - wanted} bytes past the end of its epoch.")

    def _index(self, index: Index) -> int:
        links, last, records = Links(), self._place.first - 1, 0
        for ordinal, entry in index.forward(0, self._entries):
            if entry is None:
                self.faults.append(f"{index.path}: entry {ordinal} is damaged.")
                break  # the links of those that follow cannot be told from it
            wrong = self._wrong(entry, ordinal, links, last)
            if wrong is not None:
                self.faults.append(f"{index.path}: entry {ordinal} {wrong}.")
                break
            if entry.kind == Kind.RECORD:
                records += entry.offset < self._end
                last = entry.offset
            links = entry.links_after(ordinal)
        return records

    def _wrong(self, entry: Entry, ordinal: int, links: Links, last: int) -> str | None:
        """What an entry says that cannot be."""
        if entry.links != links:
            return f"names {tuple(entry.links)} as the records before it, and they are {tuple(links)}"
        if entry.kind == Kind.RECORD and not (last < entry.offset and (entry.offset < self._end or self._stopped)):
            return f"has a record at {entry.offset}, after one at {last}, in a segment that ends at {self._end}"
        if entry.kind in (Kind.CHECKPOINT, Kind.END) and entry.synced > ordinal:
            return f"speaks of {entry.synced} entries before it"
        if entry.kind == Kind.END and not (self._last and entry.offset == self._end):
            return f"ends the epoch at {entry.offset}, and it goes on to {self._end}"
        if entry.kind == Kind.CHECKPOINT and self._last and entry.offset > self._end:
            return f"says that {entry.offset} bytes are on the disk, of {self._end}"
        return None
