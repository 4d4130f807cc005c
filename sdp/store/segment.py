"""The segment that a recording is written to: its data file, its index, and how the one follows the other.

bytes > data file > index entries > (a sync) data on the disk > CHECKPOINT > index on the disk

The order is the whole of crash safety: an entry never speaks of bytes that were not written before it, and a
CHECKPOINT never of bytes that were not synced before it. :mod:`sdp.store.recovery` says what is made of it.

Everything here blocks, and raises OSError. Who may do what at the same time is :mod:`sdp.store.epoch`'s business.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from sdp.store.appending import AppendedFile
from sdp.store.files import Buffer, Files
from sdp.store.index import ENTRY_SIZE, Entry, Kind, Links, pack_header, position
from sdp.store.layout import NEW, SegmentPlace
from sdp.stream.record import Record

__all__ = ["SegmentWriter"]


class SegmentWriter:
    """A segment at whose end something is written. ``boot`` marks the machine's start; ``follows`` says that the
    segment before it was complete, up to here, when this one was begun.

    ``entries`` of its index count, ``synced_entries`` of them are on the disk; ``links`` are those of the next entry,
    and ``last`` is the offset of the last record in it (one below the segment's first offset where there is none).
    """

    def __init__(
        self,
        files: Files,
        place: SegmentPlace,
        boot: int,
        *,
        entries: int = 0,
        links: Links | None = None,
        last: int = -1,
        follows: bool = False,
    ) -> None:
        self.place = place
        self.follows = follows
        self.entries = self.synced_entries = entries
        self.links = self._links_before = links if links is not None else Links()
        self.last = max(last, place.first - 1)
        self._files = files
        self._boot = boot
        self._data = AppendedFile(files, place.data_file)
        self._index = AppendedFile(files, place.index_file)

    @property
    def is_open(self) -> bool:
        """Whether it holds descriptors."""
        return self._data.is_open

    @property
    def has_index(self) -> bool:
        """Whether the index is open, at least."""
        return self._index.is_open

    @property
    def written(self) -> int:
        """The offset up to which the data file was written, as long as it is open."""
        return self.place.first + self._data.size

    def open(self, written: int, *, durably: bool) -> None:
        """Open the files: the index first, so that bytes without an index are none of ours."""
        if self._data.is_open:
            return
        self._index.open(position(self.entries))
        if written == self.place.first and self.entries == 0:
            self._index.cut(0)
            self._index.append([self._header()])
            if durably:  # from here on, a header that cannot be read is damage, not a beginning cut short
                self._index.sync()
        self._data.open(written - self.place.first)

    def open_to_sync(self) -> None:
        """Open files that nothing is written to any more."""
        self._data.open_to_sync()
        self._index.open_to_sync()

    def begin(self, content: bytes, record: Record | None, *, explicit: bool, durably: bool, now: int) -> None:
        """Make the files of a segment that comes after another one, with the bytes that it takes over from there, the
        ``record`` that is known to begin with them, and what was said there for good (``explicit``).

        The index gets its name last of all: the segment is there whole, or not at all.
        """
        self._data.open(0)
        if content:
            self._data.append([content])
            if durably:
                self._data.sync()
        new = AppendedFile(self._files, self.place.index_file.with_name(self.place.index_file.name + NEW))
        new.open(0)
        try:
            packed = [self._header()]
            if explicit:
                packed.append(self._add(self._explicit()))
                self._links_before = self.links
            if content and record is not None:
                packed.append(self._add(Entry.of_record(record, self.links, self._boot)))
                self.last = record.offset
            if durably and (self.entries or content):
                packed.append(self._add(self._checkpoint(Kind.CHECKPOINT, self.written, now)))
            new.append(packed)
            if durably:
                new.sync()
        finally:
            new.close()
        self._files.rename(new.path, self.place.index_file)
        if durably:
            self._files.sync_directory(self.place.index_file.parent)
            self.synced_entries = self.entries
        self._index.open(position(self.entries))

    # Going on.

    def write(self, buffers: Sequence[Buffer]) -> None:
        """Append bytes. After an error ``written`` says how many of them are there."""
        self._data.append(buffers)

    def take_over(self, offset: int, length: int) -> bytes:
        """Read back bytes that were written here and belong to the segment that follows."""
        return self._data.read(offset - self.place.first, length)

    def record(self, known: list[Record], end: int) -> None:
        """Write the entries of those ``known`` records (in order) that begin before ``end``, and drop them there."""
        records = known[: bisect_left(known, end, key=lambda record: record.offset)]
        if not records:
            return
        packed: list[bytes] = []
        states = [self.links]
        for ordinal, record in enumerate(records, self.entries):
            entry = Entry.of_record(record, states[-1], self._boot)
            packed.append(entry.pack())
            states.append(entry.links_after(ordinal))
        before = self._index.size
        try:
            self._index.append([b"".join(packed)])
        finally:
            whole = (self._index.size - before) // ENTRY_SIZE
            if whole:
                self._links_before, self.links = states[whole - 1], states[whole]
                self.last = records[whole - 1].offset
                self.entries += whole
                del known[:whole]

    def note_explicit(self) -> None:
        """Write the EXPLICIT entry, unless there is one."""
        if not self.links.explicit:
            entry = self._explicit()
            self._index.append([entry.pack()])
            self.links = entry.links_after(self.entries)
            self.entries += 1

    def sync_data(self) -> None:
        """Return once the written bytes would survive a power loss."""
        self._data.sync()

    def note(self, kind: Kind, offset: int, now: int) -> None:
        """Write the CHECKPOINT or END that says: all below ``offset`` is on the disk."""
        self._index.append([self._checkpoint(kind, offset, now).pack()])
        self.entries += 1

    def sync_index(self) -> None:
        """Return once the written entries would survive a power loss."""
        self._index.sync()

    def cut_index(self) -> None:
        """Cut off what a torn write has left of an entry."""
        self._index.cut(position(self.entries))

    def forget_last(self) -> None:
        """Take back the last record: none of its bytes is left. ``cut_index`` has to follow."""
        if self.links.record >= 0:
            self.entries, self.links, self.last = self.links.record, self._links_before, self.place.first - 1

    def cut_data(self, offset: int) -> None:
        """Cut off the bytes from ``offset`` on."""
        self._data.cut(offset - self.place.first)

    def close(self) -> None:
        """Give the descriptors back."""
        self._data.close()
        self._index.close()

    def _header(self) -> bytes:
        return pack_header(self.place.first, self._boot, follows=self.follows)

    def _checkpoint(self, kind: Kind, offset: int, now: int) -> Entry:
        return Entry(kind, 0, offset, self.synced_entries, now, self.links, self._boot)

    def _explicit(self) -> Entry:
        return Entry(Kind.EXPLICIT, 0, max(self.last, self.place.first), 0, 0, self.links, self._boot)

    def _add(self, entry: Entry) -> bytes:
        self.links = entry.links_after(self.entries)
        self.entries += 1
        return entry.pack()
