"""One epoch's files as the writer thread has them: queued bytes go in here, and are on the disk after it.

Bytes go to the last segment (:mod:`sdp.store.segment`). Once it is long or old enough, the next one begins where a
random access point does, so that the front of a recording can be trimmed and what is left can be played.

Syncs run in a thread of their own beside the writing: an :class:`EpochWriter` is a monitor, and gives its lock up only
while the system makes bytes durable. What holds at the end of each step is laid down in ``progress``, which any thread
may look at.

When a write fails, the recording stops, for this life: where a record begins, so that the file ends with a whole
one, but never below what was told to be durable. Everything here blocks, and nothing here raises for the disk's
sake: see :attr:`EpochWriter.failure`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Condition, Lock
from typing import NamedTuple

from sdp.errors import StorageError
from sdp.store.appending import AppendedFile
from sdp.store.faults import disk_error
from sdp.store.files import Buffer, Files
from sdp.store.index import Kind
from sdp.store.layout import DESCRIPTION, NEW, Description, Initialization, SegmentPlace, data_path, index_path
from sdp.store.recovery import Tail
from sdp.store.removal import empty_directory
from sdp.store.segment import SegmentWriter
from sdp.store.segments import GoneError, Held, Segment
from sdp.store.trimming import keep_initialization, remove_segments
from sdp.stream.record import Flag, Record

__all__ = ["Closed", "EpochWriter", "Progress", "Rolling", "Tally"]

TAKEN_OVER_LIMIT = 1024 * 1024
"""Bytes of a random access point that may have been written to the segment before it was known that they are one: they
are copied into the next one. Where it is more, the point after it is taken."""


class Rolling(NamedTuple):
    """When a segment is full: after ``size`` bytes, or ``age`` microseconds (None: never for its age)."""

    size: int
    age: int | None = None


class Closed(NamedTuple):
    """A segment that another one follows: its Segment, and when it was last written to (microseconds)."""

    segment: Segment
    at: int


class Progress(NamedTuple):
    """What readers may rely on: goes from the writer's threads to the reactor's as one value."""

    held: Held
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


class EpochWriter:
    """Where an epoch goes on. Offsets are absolute. ``sync`` may be called from any thread, all else from the writer's.

    ``now`` gives microseconds since the Unix epoch. ``durably`` is False in a store that never syncs while it runs.
    """

    def __init__(
        self,
        files: Files,
        directory: Path,
        description: Description,
        tail: Tail,
        *,
        rolling: Rolling,
        durably: bool,
        now: Callable[[], int],
        tally: Tally,
    ) -> None:
        self.description = description
        self.directory = directory
        self.written = tail.end
        self.durable = tail.end if tail.ended else 0
        self.ended = tail.ended
        self.failure: StorageError | None = None
        self._files = files
        self._tail = tail
        self._rolling = rolling
        self._durably = durably
        self._now = now
        self._tally = tally
        self._boot = files.boot_mark()
        began = now()
        self._closed = [
            Closed(Segment(place, earlier.entries), began if earlier.closed is None else earlier.closed)
            for place, earlier in zip(tail.segments[:-1], tail.earlier, strict=True)
        ]
        place = tail.segments[-1] if tail.segments else self._place(0)
        self._segment = SegmentWriter(files, place, self._boot, entries=tail.entries, links=tail.links, last=tail.last)
        self._initialization: Initialization | None = tail.initialization
        self._touched = began if tail.closed is None else tail.closed
        self._began = self._closed[-1].at if self._closed else description.created
        self._known: list[Record] = []
        self._monitor = Condition(Lock())
        self._syncing = False
        self._explicit = tail.links.explicit
        self.progress = self._progress()

    def __repr__(self) -> str:
        return f"<EpochWriter {self.description.name} @{self.description.epoch} {self.written}>"

    def _place(self, first: int) -> SegmentPlace:
        path = data_path(self.directory, first, self.description.content_type)
        return SegmentPlace(first, path, index_path(self.directory, first))

    @property
    def unsynced(self) -> bool:
        """Whether a sync has something to do."""
        return self.failure is None and not self.ended and self.durable < self.written

    @property
    def explicit(self) -> bool:
        """Whether only what was said to be a random access point is one."""
        return self._explicit

    @property
    def is_open(self) -> bool:
        """Whether it holds descriptors."""
        return self._segment.is_open

    @property
    def pieces(self) -> list[Closed]:
        """All segments in order; the last one is the one that was written to last."""
        return [*self._closed, Closed(Segment(self._segment.place, self._segment.entries), self._touched)]

    def _progress(self) -> Progress:
        segments = (*(closed.segment for closed in self._closed), Segment(self._segment.place, self._segment.entries))
        held = Held(segments, self.written, self._initialization)
        return Progress(held, self.durable, self.failure, self.ended)

    # The beginning: from nothing, or from what was found.

    def create(self, root: Path) -> None:
        """Make the epoch's directory below ``root``, its description and its first segment."""
        with self._monitor:
            made = False
            try:
                self._make_directories(root)
                made = True
                self._describe()
                self._open()
                if self._durably:
                    self._files.sync_directory(self.directory)
            except OSError as error:
                self._fail("create", self.directory, error)
                self._close()
                if made:
                    with suppress(OSError):
                        empty_directory(self._files, self.directory)
            self.progress = self._progress()

    def adopt(self) -> None:
        """Cut off what does not hold, and see to it that what does would survive the next power loss."""
        with self._monitor:
            try:
                for path in self._tail.leftovers:
                    with suppress(OSError):
                        self._files.unlink(path)
                if not self._tail.segments:
                    return
                if not self.ended:
                    self._open()
                    if self._durably:
                        self._sync(None if self._tail.clean else Kind.CHECKPOINT)
                elif self._durably:
                    self._segment.open_to_sync()
                    self._sync(None)
            except OSError as error:
                self._fail("recover", self.directory, error)
            finally:
                self._close()
                self.progress = self._progress()

    def _make_directories(self, root: Path) -> None:
        """Make the directories from ``root`` down to the epoch's own, which must be new."""
        parent = root
        for part in self.directory.relative_to(root).parts:
            path = parent / part
            try:
                self._files.make_directory(path)
            except FileExistsError:
                if path == self.directory:
                    raise
            else:
                if self._durably:
                    self._files.sync_directory(parent)
            parent = path

    def _describe(self) -> None:
        """Write the description under another name first: it is there whole, or not at all."""
        new = AppendedFile(self._files, self.directory / f"{DESCRIPTION}{NEW}")
        try:
            new.open(0)
            new.append([self.description.dump()])
            if self._durably:
                new.sync()
        finally:
            new.close()
        self._files.rename(new.path, self.directory / DESCRIPTION)

    def _open(self) -> None:
        self._segment.open(self.written, durably=self._durably)

    # Going on.

    def write(self, buffers: Sequence[Buffer], records: Sequence[Record]) -> None:
        """Append bytes, and the records that are now known; one that has no byte yet waits for it."""
        with self._monitor:
            if self.failure is not None or self.ended:
                return
            last = self._known[-1].offset if self._known else self._segment.last
            for record in records:
                if record.offset > last:
                    self._known.append(record)
                    last = record.offset
            try:
                self._open()
                if self._explicit:
                    self._segment.note_explicit()
                end = self.written + sum(map(len, buffers))
                while (point := self._where_to_roll(end)) is not None:
                    before, buffers = _split(buffers, point.offset - self.written)
                    self._write_data(before)
                    self._segment.record(self._known, point.offset)
                    self._roll(point)
                self._write_data(buffers)
                self._segment.record(self._known, self.written)
            except OSError as error:
                self._stop("write to", error, syncable=True)
            self.progress = self._progress()

    def sync(self) -> None:
        """Make what is written durable, and say so in the index. While another thread does, nothing."""
        with self._monitor:
            if self.unsynced and not self._syncing:
                try:
                    self._open()
                    self._sync(Kind.CHECKPOINT)
                except OSError as error:
                    self._stop("sync", error, syncable=False)
                self.progress = self._progress()

    def finish(self) -> None:
        """Complete the epoch at its end, durably, or have a ``failure``."""
        with self._monitor:
            self._wait_for_sync()
            if self.failure is None and not self.ended:
                try:
                    self._open()
                    self._sync(Kind.END)
                    self.ended = True
                    self._touched = self._now()
                except OSError as error:
                    self._stop("finish", error, syncable=False)
            self._close()
            self.progress = self._progress()

    def close(self) -> None:
        """Give the descriptors back; the next write opens the files again."""
        with self._monitor:
            self._close()

    def forget_implied(self) -> None:
        """What is a random access point by implication is none: the next write says so first. From any thread."""
        self._explicit = True

    def discard(self, failure: StorageError) -> None:
        """Take nothing more: the files are about to go."""
        with self._monitor:
            if self.failure is None or isinstance(failure, GoneError):
                self.failure = failure
            self._known.clear()
            self._close()
            self.progress = self._progress()

    def trim(self, count: int, told: Callable[[], None]) -> None:
        """Forget the first ``count`` segments. ``told`` is called when ``progress`` says so, before files go.

        Raises OSError and StorageError; what has gone by then stays gone.
        """
        with self._monitor:
            going = [closed.segment.place for closed in self._closed[:count]]
            if not going:
                return
            left = [*(closed.segment.place for closed in self._closed[count:]), self._segment.place]
            before = self._initialization
            self._initialization = keep_initialization(
                self._files, self.directory, self.progress.held, left[0].first, sync=self._durably
            )
            del self._closed[:count]
            self.progress = self._progress()
        told()
        stale = before if before != self._initialization else None
        remove_segments(self._files, self.directory, going, stale, sync=self._durably)

    # What raises OSError. The lock is held.

    def _write_data(self, buffers: Sequence[Buffer]) -> None:
        before = self.written
        try:
            self._segment.write(buffers)
        finally:
            self.written = self._segment.written
            self._tally.bytes_written += self.written - before

    def _where_to_roll(self, end: int) -> Record | None:
        """The record with which a new segment has to begin, now that the bytes up to ``end`` have come; or None.

        A random access point once the segment is full; any record once it is twice as long as that.
        """
        first, size = self._segment.place.first, self._rolling.size
        old = self._rolling.age is not None and self._now() - self._began >= self._rolling.age
        if end - first < size and not old:
            return None
        for record in self._known:
            length = record.offset - first
            if record.offset >= end:
                break
            if length <= 0 or self.written - record.offset > TAKEN_OVER_LIMIT:
                continue
            if length >= 2 * size or (record.flags & Flag.RANDOM_ACCESS and (old or length >= size)):
                return record
        return None

    def _roll(self, point: Record) -> None:
        """Begin the next segment with ``point``. All before it is durable first: only the last one is looked into by
        recovery."""
        self._wait_for_sync()
        if self._durably and self.durable < self.written:
            self._sync(Kind.CHECKPOINT)
        taken = self._segment.take_over(point.offset, self.written - point.offset)
        following = SegmentWriter(self._files, self._place(point.offset), self._boot)
        try:
            explicit = self._segment.links.explicit
            following.begin(taken, point, explicit=explicit, durably=self._durably, now=self._now())
        except OSError:
            following.close()
            raise
        if taken:
            self._known.remove(point)
        now = self._now()
        self._segment.close()
        self._closed.append(Closed(Segment(self._segment.place, self._segment.entries), now))
        self._segment, self._began = following, now

    def _sync(self, kind: Kind | None) -> None:
        """Sync the data, then write the entry that says so (unless None), then sync the index.

        The lock is given up while the system works: what is written meanwhile is for the next sync.
        """
        segment, target = self._segment, self.written
        self._syncing = True
        try:
            self._unlocked(segment.sync_data)
            if kind is not None:
                segment.note(kind, target, self._now())
            entries = segment.entries
            self._unlocked(segment.sync_index)
        finally:
            self._syncing = False
            self._monitor.notify_all()
        segment.synced_entries = entries
        self.durable = target
        self._tally.synced()

    def _unlocked(self, work: Callable[[], None]) -> None:
        self._monitor.release()
        try:
            work()
        finally:
            self._monitor.acquire()

    def _wait_for_sync(self) -> None:
        """Nothing may close or replace files that another thread syncs."""
        while self._syncing:
            self._monitor.wait()

    # The end of all writing.

    def _close(self) -> None:
        self._wait_for_sync()
        self._segment.close()

    def _fail(self, doing: str, path: Path, error: OSError) -> None:
        self.failure = disk_error(doing, path, error)
        self._tally.failed()

    def _stop(self, doing: str, error: OSError, *, syncable: bool) -> None:
        """Stop at the last record's beginning. ``syncable``: no sync has failed, so a later one can be believed."""
        self._wait_for_sync()
        if self.failure is not None:
            return
        segment = self._segment
        self._fail(doing, segment.place.data_file, error)
        starts = [segment.last, *(record.offset for record in self._known if record.offset <= self.written)]
        least = max(self.durable, self._tail.end, segment.place.first)
        cut = max(least, *starts)
        if segment.has_index:
            with suppress(OSError):  # what a torn write left of an entry goes before others follow
                segment.cut_index()
            with suppress(OSError):
                segment.record(self._known, cut)
            if self._known and self._known[0].offset < cut:  # without its entry it would seem part of the one before
                cut = max(least, self._known[0].offset)
            if segment.last >= cut:
                segment.forget_last()
            with suppress(OSError):
                segment.cut_index()
        self.written = cut
        if segment.is_open:
            with suppress(OSError):
                segment.cut_data(cut)
            if syncable:
                with suppress(OSError):
                    self._sync(Kind.CHECKPOINT)
        self._known.clear()
        self._close()


def _split(buffers: Sequence[Buffer], at: int) -> tuple[Sequence[Buffer], Sequence[Buffer]]:
    """Cut buffers in two after their first ``at`` bytes."""
    if at <= 0:
        return (), buffers
    for number, buffer in enumerate(buffers):
        if at <= len(buffer):
            view = memoryview(buffer)
            after = [view[at:]] if at < len(buffer) else []
            return [*buffers[:number], view[:at]], [*after, *buffers[number + 1 :]]
        at -= len(buffer)
    return buffers, ()
