"""What an epoch's files still say after whatever ended the process: the end, and how many index entries hold.

Two things end a process without a word, and they leave different files:

- **The process dies** (kill -9, out of memory). All that it wrote is in the page cache: the data file is right to
  its last byte, and the index is right but for a torn last entry. So the end is the data file's length.
- **The machine dies** (power loss). Blocks written after the last sync are there or not, in any order; a file may
  have its length and hold zeros. So the end is what the last CHECKPOINT says, which was written after a sync.

Which of them it was is told by the boot mark in each entry (and in the index's header): the machine has not
started anew since the last entry was written, or it has. A store that never syncs has no use for the second,
and is always read as after the first: its owner chose that a power loss may leave a tail of zeros.

Only the end of the last segment's index is read: after a dead process back to the last whole entry, after a
dead machine back to the last CHECKPOINT and from there to the one before it, since those between were not known to
be on the disk. So the time it takes does not depend on the length of the recording.

A segment before others was complete when the next one was begun, if that one says so. If it does not, there is a hole
after it, or there was one: it may have been filled when the process ended, or a failing disk has stopped it; and so it
is looked into as the last one is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from sdp.errors import StorageError
from sdp.store.files import Files
from sdp.store.index import ENTRY_SIZE, Entry, Index, Kind, Links, check_header, position
from sdp.store.layout import (
    DESCRIPTION,
    REMOVED,
    Description,
    Initialization,
    SegmentPlace,
    initializations,
    is_epoch,
    is_segment_of_name,
    orphans,
    segment_places,
)
from sdp.store.removal import sweep

__all__ = ["Found", "Tail", "examine", "find_epochs", "open_for_reading", "read_all", "read_description"]

_DESCRIPTION_LIMIT = 64 * 1024
"""Bytes of ``epoch.json`` that are read: it holds a name, an identifier and a Content-Type."""


class Found(NamedTuple):
    """A segment, as far as it holds: ``entries`` of its index, up to ``end`` bytes, but no further than where the next
    one begins. ``last`` is the offset of its last record (-1: none), ``links`` are those of its next entry, ``closed``
    is when it was last written to as far as its index tells (microseconds). ``clean``: nothing is to be cut, no
    CHECKPOINT is missing. ``follows``: it says that the one before it was complete."""

    place: SegmentPlace
    entries: int = 0
    end: int = 0
    last: int = -1
    links: Links = Links()
    ended: bool = False
    clean: bool = False
    closed: int | None = None
    follows: bool = False

    @property
    def empty(self) -> bool:
        """Whether none of its bytes holds."""
        return self.end <= self.place.first


class Tail(NamedTuple):
    """What an epoch consists of: its segments, the last of which can be gone on with.

    ``initialization`` is what is kept of trimmed segments, ``leftovers`` are files that should be gone: of trimmed
    segments, and of those that were begun after a hole and have nothing. ``explicit``: a sender has said which records
    are random access points.
    """

    found: tuple[Found, ...]
    explicit: bool = False
    initialization: Initialization | None = None
    leftovers: tuple[Path, ...] = ()

    @property
    def end(self) -> int:
        """Where the epoch ends."""
        return self.found[-1].end if self.found else 0

    @property
    def ended(self) -> bool:
        """Whether it is complete."""
        return bool(self.found) and self.found[-1].ended

    @property
    def clean(self) -> bool:
        """Whether the last segment needs no cut and no CHECKPOINT."""
        return not self.found or self.found[-1].clean

    @property
    def closed(self) -> int | None:
        """When the last segment was last written to, as far as its index tells (microseconds)."""
        return self.found[-1].closed if self.found else None


class _Held(NamedTuple):
    """How many entries hold, up to which end, and the last of them (None where there is none)."""

    entries: int
    end: int
    last: Entry | None


@contextmanager
def open_for_reading(files: Files, path: Path) -> Iterator[int]:
    """A descriptor for the time of a ``with``."""
    descriptor = files.open(path)
    try:
        yield descriptor
    finally:
        files.close(descriptor)


def read_all(files: Files, descriptor: int, offset: int, length: int) -> bytes:
    """Read ``length`` bytes, fewer only where the file ends."""
    parts = []
    while length > 0 and (part := files.pread(descriptor, length, offset)):
        parts.append(part)
        offset += len(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def find_epochs(files: Files, root: Path, *, sweeping: bool = True) -> Iterator[tuple[str, str, Path]]:
    """The (name, epoch, directory) of every directory that can be an epoch's. Links are not followed.

    With ``sweeping`` what a removal that was cut short has left is removed on the way.
    """
    waiting: list[tuple[Path, str]] = [(root, "")]
    while waiting:
        directory, name = waiting.pop()
        for entry, is_directory in files.entries(directory):
            if not is_directory:
                continue
            if entry.startswith("@"):
                if name and entry.endswith(REMOVED):
                    if sweeping:
                        sweep(files, directory / entry)
                elif name and is_epoch(entry[1:]):
                    yield name, entry[1:], directory / entry
            elif is_segment_of_name(entry) and not (name == "" and entry == "-"):
                waiting.append((directory / entry, f"{name}/{entry}" if name else entry))


def read_description(files: Files, directory: Path) -> Description | None:
    """What ``epoch.json`` says; None where there is none: its making or its removal was cut short."""
    path = directory / DESCRIPTION
    try:
        with open_for_reading(files, path) as descriptor:
            return Description.load(read_all(files, descriptor, 0, _DESCRIPTION_LIMIT), path)
    except FileNotFoundError:
        return None


def examine(files: Files, directory: Path, content_type: str, *, trust: bool) -> Tail:
    """Find the end of the epoch in ``directory``; ``trust`` reads it as after a mere death of the process.

    Changes nothing. Raises OSError, and StorageError where the index cannot be understood.
    """
    names = [name for name, _ in files.entries(directory)]
    places = segment_places(directory, names, content_type)
    if not places:
        return Tail(())
    found, nothing = _examine_all(files, places, trust=trust)
    kept = initializations(directory, names)
    gone = orphans(directory, names, places[0].first)
    empty = [path for each in nothing for path in (each.place.index_file, each.place.data_file)]
    return Tail(
        tuple(found),
        any(each.links.explicit for each in (*found, *nothing)),
        _kept(files, *kept[-1]) if kept else None,
        (*gone, *(path for _, path in kept[:-1]), *(path for path in empty if path.name in names)),
    )


def _examine_all(files: Files, places: list[SegmentPlace], *, trust: bool) -> tuple[list[Found], list[Found]]:
    """Return the segments in order, and those of which nothing holds and that followed on nothing.

    From the last one on: whether the one before it has to be looked into, and how far it counts, the next one tells.
    """
    found: list[Found] = []
    nothing: list[Found] = []
    for number in range(len(places) - 1, -1, -1):
        place = places[number]
        following = found[0] if found else None
        if following is not None and following.follows:
            found.insert(0, _complete(files, place, following.place.first))
            continue
        one = _examine_segment(files, place, trust=trust)
        if one.empty and not one.follows and (number > 0 or following is not None):
            nothing.append(one)
            continue
        if following is not None:
            one = one._replace(end=min(one.end, following.place.first), ended=False)
        found.insert(0, one)
    return found, nothing


def _kept(files: Files, offset: int, path: Path) -> Initialization:
    with open_for_reading(files, path) as descriptor:
        return Initialization(offset, offset + files.size(descriptor), path)


def _complete(files: Files, place: SegmentPlace, end: int) -> Found:
    """A segment that was complete, up to ``end``, when the next one was begun."""
    with open_for_reading(files, place.index_file) as descriptor:
        index = Index(
            lambda at, length: read_all(files, descriptor, at, length),
            max(0, files.size(descriptor) // ENTRY_SIZE - 1),
            place.index_file,
        )
        header = read_all(files, descriptor, 0, ENTRY_SIZE)
        follows = check_header(header, place.index_file).follows
        last = index.peek(index.count - 1) if index.count else None
        links = last.links_after(index.count - 1) if last is not None else Links()
        return Found(place, index.count, end, -1, links, False, True, _time(last), follows)


def _time(entry: Entry | None) -> int | None:
    """When an entry was written, or when what it speaks of was received."""
    if entry is None:
        return None
    return entry.record.received_time if entry.kind == Kind.RECORD else entry.second_value


def _examine_segment(files: Files, place: SegmentPlace, *, trust: bool) -> Found:
    """Find the end of a segment that may have been written to when something stopped the writer."""
    try:
        with open_for_reading(files, place.data_file) as descriptor:
            there = place.first + files.size(descriptor)
    except FileNotFoundError:
        there = place.first
    with open_for_reading(files, place.index_file) as descriptor:
        size = files.size(descriptor)
        packed = read_all(files, descriptor, 0, ENTRY_SIZE)
        if there == place.first and (size < ENTRY_SIZE or not any(packed)):  # its making was cut short
            return Found(place, 0, there)
        header = check_header(packed, place.index_file)
        if header.first != place.first:
            raise StorageError(f"{place.index_file} is the index from offset {header.first} on: give it back its name.")
        index = Index(
            lambda at, length: read_all(files, descriptor, at, length), size // ENTRY_SIZE - 1, place.index_file
        )
        same_boot = _last_boot(index, header.boot) == files.boot_mark() != 0
        held = (
            _after_process_death(index, there) if trust or same_boot else _after_power_loss(index, there, place.first)
        )
        kept = held.last
        last = -1
        if kept is not None:
            record = kept if kept.kind == Kind.RECORD else None
            if record is None and kept.links.record >= 0:
                record = index.entry(kept.links.record)
            last = record.offset if record is not None else -1
    ended = kept is not None and kept.kind == Kind.END and kept.offset == held.end
    whole = size == position(held.entries) and there == held.end
    synced = kept is not None and kept.kind in (Kind.CHECKPOINT, Kind.END) and kept.offset == held.end
    links = kept.links_after(held.entries - 1) if kept is not None else Links()
    clean = ended or (whole and synced and same_boot)
    return Found(place, held.entries, held.end, last, links, ended, clean, _time(kept), header.follows)


def _last_boot(index: Index, header_boot: int) -> int:
    """The boot mark of the last entry that is whole, else the header's."""
    for _, entry in index.backward(index.count - 1):
        if entry is not None:
            return entry.boot
    return header_boot


def _after_process_death(index: Index, there: int) -> _Held:
    """All bytes that are there count; of the index what is whole, and speaks of them."""
    for ordinal, entry in index.backward(index.count - 1):
        if entry is None or entry.offset > there or (entry.kind == Kind.RECORD and entry.offset == there):
            continue
        return _Held(ordinal + 1, entry.offset if entry.kind == Kind.END else there, entry)
    return _Held(0, there, None)


def _after_power_loss(index: Index, there: int, first: int) -> _Held:
    """What the last CHECKPOINT says counts, if the entries that it could not be sure of are whole too."""
    ordinal = index.count - 1
    while ordinal >= 0:
        found = next(
            ((at, e) for at, e in index.backward(ordinal) if e is not None and e.kind in (Kind.CHECKPOINT, Kind.END)),
            None,
        )
        if found is None:
            break
        at, checkpoint = found
        torn = next((o for o, e in index.forward(min(checkpoint.synced, at), at) if e is None), None)
        if torn is not None:
            ordinal = torn - 1
        elif checkpoint.offset > there:
            # shorter than what was synced: no power loss does this, but what is there is still right
            return _after_process_death(Index(index.read, at + 1, index.path), there)
        else:
            return _with_records_that_follow(index, at, checkpoint)
    return _Held(0, first, None)


def _without_records_past(index: Index, checkpoint: Entry) -> _Held | None:
    """While the sync went on that a CHECKPOINT speaks of, records past its offset may have come before it: they and
    what follows them are cut off. None where there are none."""
    ordinal = checkpoint.links.record
    cut = None
    while ordinal >= 0 and (entry := index.entry(ordinal)).offset >= checkpoint.offset:
        cut, ordinal = ordinal, entry.links.record
    if cut is None:
        return None
    return _Held(cut, checkpoint.offset, index.entry(cut - 1) if cut > 0 else None)


def _with_records_that_follow(index: Index, at: int, checkpoint: Entry) -> _Held:
    """A record may become known late, after bytes that lie past its beginning were synced: keep such ones."""
    cut = _without_records_past(index, checkpoint)
    if cut is not None:
        return cut
    held = _Held(at + 1, checkpoint.offset, checkpoint)
    for ordinal, entry in index.forward(at + 1, index.count):
        if entry is None or entry.kind not in (Kind.RECORD, Kind.EXPLICIT) or entry.offset >= held.end:
            break
        held = _Held(ordinal + 1, held.end, entry)
    return held
