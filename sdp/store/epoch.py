"""One epoch's files as the writer thread has them: queued bytes go in here, and are on the disk after it.

bytes > data file > index entries > (each sync interval) sync of the data > CHECKPOINT > sync of the index

The order is the whole of crash safety: an entry never speaks of bytes that were not written before it, and a
CHECKPOINT never of bytes that were not synced before it. :mod:`sdp.store.recovery` says what is made of it.

When a write fails, the recording stops, for this life: where a record begins, so that the file ends with a whole
one, but never below what was told to be durable. Everything here blocks, and nothing here raises for the disk's
sake: see :attr:`EpochWriter.failure`.
"""

from __future__ import annotations

import errno
from bisect import bisect_left
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from sdp.errors import StorageError
from sdp.store.appending import AppendedFile
from sdp.store.files import Buffer, Files
from sdp.store.index import ENTRY_SIZE, Entry, Kind, pack_header, position
from sdp.store.layout import DESCRIPTION, Description, SegmentPlace, data_path, index_path
from sdp.store.recovery import Tail
from sdp.store.removal import empty_directory
from sdp.stream.record import Record

__all__ = ["EpochWriter", "Progress", "Segment", "Tally", "disk_error"]


class Segment(NamedTuple):
    """A segment's files, and how many entries of its index may be read."""

    place: SegmentPlace
    entries: int


class Progress(NamedTuple):
    """What readers may rely on: goes from the writer's thread to the reactor's as one value."""

    segments: tuple[Segment, ...]
    written: int
    durable: int
    failure: StorageError | None
    ended: bool


class Tally:
    """What the store has done since it was opened, for the metrics. Syncs run in several threads."""

    def __init__(self) -> None:
        self.bytes_written = 0
        self.syncs = 0
        self.failures = 0
        self._lock = Lock()

    def synced(self) -> None:
        """Count a sync. From any thread."""
        with self._lock:
            self.syncs += 1

    def failed(self) -> None:
        """Count a failure. From any thread."""
        with self._lock:
            self.failures += 1


_ADVICE = {
    errno.ENOSPC: "make room on the disk",
    errno.EDQUOT: "make room in this user's quota",
    errno.EFBIG: "raise the limit on the size of files",
    errno.EACCES: "give this user the right to write there",
    errno.EPERM: "give this user the right to write there",
    errno.EROFS: "mount the file system writable",
    errno.EMFILE: "raise the limit on open files",
    errno.EEXIST: "an epoch's identifier can be used once",
}


def disk_error(doing: str, path: object, error: OSError) -> StorageError:
    """The sentence for an OSError: what could not be done, to what, why, and what to do."""
    advice = _ADVICE.get(error.errno or 0, "see what the system says of that disk")
    return StorageError(f"Cannot {doing} {path}: {error.strerror or error}; {advice}.")


class EpochWriter:
    """Where an epoch goes on. Offsets are absolute; used by the writer thread only.

    ``now`` gives microseconds since the Unix epoch. ``durably`` is False in a store that never syncs while it runs.
    """

    def __init__(
        self,
        files: Files,
        directory: Path,
        description: Description,
        tail: Tail,
        *,
        durably: bool,
        now: Callable[[], int],
        tally: Tally,
    ) -> None:
        self.description = description
        self.written = tail.end
        self.durable = tail.end if tail.ended else 0
        self.ended = tail.ended
        self.failure: StorageError | None = None
        self._files = files
        self._directory = directory
        self._tail = tail
        self._durably = durably
        self._now = now
        self._tally = tally
        self._boot = files.boot_mark()
        if tail.segments:
            self._places = tail.segments
        else:
            self._places = (
                SegmentPlace(0, data_path(directory, 0, description.content_type), index_path(directory, 0)),
            )
        self._data = AppendedFile(files, self._places[-1].data_file)
        self._index = AppendedFile(files, self._places[-1].index_file)
        self._entries = self._synced_entries = tail.entries
        self._links = self._links_before = tail.links
        self._last = tail.last
        self._known: list[Record] = []

    @property
    def unsynced(self) -> bool:
        """Whether a sync has something to do."""
        return self.failure is None and not self.ended and self.durable < self.written

    def progress(self) -> Progress:
        """What holds now."""
        counts = (*self._tail.earlier_entries, self._entries)
        segments = tuple(map(Segment, self._places, counts))
        return Progress(segments, self.written, self.durable, self.failure, self.ended)

    # The beginning: from nothing, or from what was found.

    def create(self, root: Path) -> None:
        """Make the epoch's directory below ``root``, its description and its first segment."""
        made = False
        try:
            self._make_directories(root)
            made = True
            self._describe()
            self._open()
            if self._durably:
                self._files.sync_directory(self._directory)
        except OSError as error:
            self._fail("create", self._directory, error)
            self.close()
            if made:
                with suppress(OSError):
                    empty_directory(self._files, self._directory)

    def adopt(self) -> None:
        """Cut off what does not hold, and see to it that what does would survive the next power loss."""
        try:
            if not self._tail.segments:
                return
            if not self.ended:
                self._open()
                if self._durably:
                    self._sync(None if self._tail.clean else Kind.CHECKPOINT)
            elif self._durably:
                self._data.open_to_sync()
                self._index.open_to_sync()
                self._sync(None)
        except OSError as error:
            self._fail("recover", self._directory, error)
        finally:
            self.close()

    def _make_directories(self, root: Path) -> None:
        """Make the directories from ``root`` down to the epoch's own, which must be new."""
        parent = root
        for part in self._directory.relative_to(root).parts:
            path = parent / part
            try:
                self._files.make_directory(path)
            except FileExistsError:
                if path == self._directory:
                    raise
            else:
                if self._durably:
                    self._files.sync_directory(parent)
            parent = path

    def _describe(self) -> None:
        """Write the description under another name first: it is there whole, or not at all."""
        new = AppendedFile(self._files, self._directory / f"{DESCRIPTION}.new")
        try:
            new.open(0)
            new.append([self.description.dump()])
            if self._durably:
                new.sync()
        finally:
            new.close()
        self._files.rename(new.path, self._directory / DESCRIPTION)

    def _open(self) -> None:
        """Open the last segment: its index first, so that bytes without an index are none of ours."""
        if self._data.is_open:
            return
        place = self._places[-1]
        self._index.open(position(self._entries))
        if self.written == place.first and self._entries == 0:
            self._index.cut(0)
            self._index.append([pack_header(place.first, self._boot)])
            if self._durably:  # from here on, a header that cannot be read is damage, not a beginning cut short
                self._index.sync()
        self._data.open(self.written - place.first)

    # Going on.

    def write(self, buffers: Sequence[Buffer], records: Sequence[Record]) -> None:
        """Append bytes, and the records that are now known; one that has no byte yet waits for it."""
        if self.failure is not None or self.ended:
            return
        last = self._known[-1].offset if self._known else self._last
        for record in records:
            if record.offset > last:
                self._known.append(record)
                last = record.offset
        try:
            self._open()
            self._write_data(buffers)
            self._write_index(self.written)
        except OSError as error:
            self._stop("write to", error, syncable=True)

    def sync(self) -> None:
        """Make what is written durable, and say so in the index."""
        if self.unsynced:
            try:
                self._open()
                self._sync(Kind.CHECKPOINT)
            except OSError as error:
                self._stop("sync", error, syncable=False)

    def finish(self) -> None:
        """Complete the epoch at its end, durably, or have a ``failure``."""
        if self.failure is None and not self.ended:
            try:
                self._open()
                self._sync(Kind.END)
                self.ended = True
            except OSError as error:
                self._stop("finish", error, syncable=False)
        self.close()

    def close(self) -> None:
        """Give the descriptors back; the next write opens the files again."""
        self._data.close()
        self._index.close()

    def discard(self, failure: StorageError) -> None:
        """Take nothing more: the files are about to go."""
        if self.failure is None:
            self.failure = failure
        self._known.clear()
        self.close()

    # What raises OSError.

    def _write_data(self, buffers: Sequence[Buffer]) -> None:
        before = self._data.size
        try:
            self._data.append(buffers)
        finally:
            self.written += self._data.size - before
            self._tally.bytes_written += self._data.size - before

    def _write_index(self, end: int) -> None:
        """Write the entries of the known records that begin before ``end``."""
        records = self._known[: bisect_left(self._known, end, key=lambda record: record.offset)]
        if not records:
            return
        packed: list[bytes] = []
        states = [self._links]
        for ordinal, record in enumerate(records, self._entries):
            entry = Entry.of_record(record, states[-1], self._boot)
            packed.append(entry.pack())
            states.append(entry.links_after(ordinal))
        before = self._index.size
        try:
            self._index.append([b"".join(packed)])
        finally:
            whole = (self._index.size - before) // ENTRY_SIZE
            if whole:
                self._links_before, self._links = states[whole - 1], states[whole]
                self._last = records[whole - 1].offset
                self._entries += whole
                del self._known[:whole]

    def _sync(self, kind: Kind | None) -> None:
        """Sync the data, then write the entry that says so (unless None), then sync the index."""
        self._data.sync()
        if kind is not None:
            entry = Entry(kind, 0, self.written, self._synced_entries, self._now(), self._links, self._boot)
            self._index.append([entry.pack()])
            self._entries += 1
        self._index.sync()
        self._synced_entries = self._entries
        self.durable = self.written
        self._tally.synced()

    # The end of all writing.

    def _fail(self, doing: str, path: Path, error: OSError) -> None:
        self.failure = disk_error(doing, path, error)
        self._tally.failed()

    def _stop(self, doing: str, error: OSError, *, syncable: bool) -> None:
        """Stop at the last record's beginning. ``syncable``: no sync has failed, so a later one can be believed."""
        self._fail(doing, self._data.path, error)
        starts = [self._last, *(record.offset for record in self._known if record.offset <= self.written)]
        cut = max(self.durable, self._tail.end, *starts)
        if self._index.is_open:
            with suppress(OSError):  # what a torn write left of an entry goes before others follow
                self._index.cut(position(self._entries))
            with suppress(OSError):
                self._write_index(cut)
            if (
                self._known and self._known[0].offset < cut
            ):  # without its entry it would seem to belong to the one before
                cut = max(self.durable, self._tail.end, self._known[0].offset)
            if self._last >= cut and self._links.record >= 0:
                self._entries, self._links, self._last = self._links.record, self._links_before, -1
            with suppress(OSError):
                self._index.cut(position(self._entries))
        self.written = cut
        if self._data.is_open:
            with suppress(OSError):
                self._data.cut(cut - self._places[-1].first)
            if syncable:
                with suppress(OSError):
                    self._sync(Kind.CHECKPOINT)
        self._known.clear()
        self.close()
