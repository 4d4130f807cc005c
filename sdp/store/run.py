"""A run of an epoch's bytes without a gap, at whose end something is written: at the live edge, or in a hole.

Bytes go to the run's last segment (:mod:`sdp.store.segment`). Once it is long or old enough, the next one begins where
a random access point does, so that the front of a recording can be trimmed and what is left can be played.

Everything here blocks, and raises OSError. The lock of :mod:`sdp.store.epoch` is held in all of it, and given up only
while the system makes bytes durable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from threading import Condition, Lock
from typing import NamedTuple

from sdp.store.files import Buffer, Files
from sdp.store.index import Kind
from sdp.store.layout import SegmentPlace, data_path, index_path
from sdp.store.segment import SegmentWriter
from sdp.store.segments import Segment
from sdp.store.tally import Tally
from sdp.stream.record import Flag, Record

__all__ = ["Closed", "Ground", "Monitor", "Rolling", "RunWriter"]

TAKEN_OVER_LIMIT = 1024 * 1024
"""Bytes of a random access point that may have been written to the segment before it was known that they are one: they
are copied into the next one. Where it is more, the point after it is taken."""


class Rolling(NamedTuple):
    """When a segment is full: after ``size`` bytes, or ``age`` microseconds (None: never for its age)."""

    size: int
    age: int | None = None


class Closed(NamedTuple):
    """A segment, and when it was last written to (microseconds). ``filling``: it is being written into a hole."""

    segment: Segment
    at: int
    filling: bool = False


class Ground(NamedTuple):
    """What all runs of an epoch stand on. ``now`` gives microseconds since the Unix epoch; ``durably`` is False in a
    store that never syncs while it runs."""

    files: Files
    directory: Path
    content_type: str
    boot: int
    rolling: Rolling
    durably: bool
    now: Callable[[], int]
    tally: Tally

    def place(self, first: int) -> SegmentPlace:
        """The files of the segment that begins at ``first``."""
        return SegmentPlace(
            first, data_path(self.directory, first, self.content_type), index_path(self.directory, first)
        )


class Monitor:
    """The lock of one epoch's files, which a sync gives up while the system works."""

    def __init__(self) -> None:
        self._condition = Condition(Lock())
        self._syncing = False

    def __enter__(self) -> None:
        self._condition.acquire()

    def __exit__(self, *_: object) -> None:
        self._condition.release()

    @property
    def syncing(self) -> bool:
        """Whether a sync is under way in some thread."""
        return self._syncing

    def begin_sync(self) -> None:
        """A sync begins; it gives the lock up in :meth:`unlocked`."""
        self._syncing = True

    def end_sync(self) -> None:
        """The sync is over, and whoever waits for that goes on."""
        self._syncing = False
        self._condition.notify_all()

    def unlocked(self, work: Callable[[], None]) -> None:
        """Do ``work`` without the lock."""
        self._condition.release()
        try:
            work()
        finally:
            self._condition.acquire()

    def settle(self) -> None:
        """Wait until no sync is under way: nothing may close or replace files that another thread syncs."""
        while self._syncing:
            self._condition.wait()


class RunWriter:
    """Writes one run. Offsets are absolute: it is ``written`` and ``durable`` up to these.

    ``least`` is what was found on the disk, which is never cut; ``began`` is when the last segment was begun
    (microseconds). What is full is given to ``keep``.
    """

    def __init__(
        self,
        ground: Ground,
        monitor: Monitor,
        segment: SegmentWriter,
        *,
        written: int,
        durable: int,
        began: int,
        keep: Callable[[Closed], None],
    ) -> None:
        self.segment = segment
        self.written = self.least = written
        self.durable = durable
        self.known: list[Record] = []
        self._ground = ground
        self._monitor = monitor
        self._began = began
        self._keep = keep

    @classmethod
    def begin(
        cls,
        ground: Ground,
        monitor: Monitor,
        offset: int,
        taken: bytes = b"",
        *,
        durable: int,
        explicit: bool,
        keep: Callable[[Closed], None],
    ) -> RunWriter:
        """Make the first segment of a run: at ``offset``, with the bytes ``taken`` before it."""
        now = ground.now()
        segment = SegmentWriter(ground.files, ground.place(offset - len(taken)), ground.boot)
        try:
            segment.begin(taken, None, explicit=explicit, durably=ground.durably, now=now)
        except OSError:
            segment.close()
            raise
        return cls(ground, monitor, segment, written=offset, durable=durable, began=now, keep=keep)

    @property
    def first(self) -> int:
        """The first offset of the segment that is written to."""
        return self.segment.place.first

    @property
    def picture(self) -> Segment:
        """The segment that is written to, as readers may see it."""
        return Segment(self.segment.place, self.segment.entries, self.written)

    def open(self) -> None:
        """Open the files, and cut off what does not count."""
        self.segment.open(self.written, durably=self._ground.durably)

    def close(self) -> None:
        """Give the descriptors back; the next write opens the files again."""
        self._monitor.settle()
        self.segment.close()

    # Going on.

    def write(self, buffers: Sequence[Buffer], records: Sequence[Record], *, explicit: bool) -> None:
        """Append bytes, and the records that are now known; one that has no byte yet waits for it."""
        last = self.known[-1].offset if self.known else self.segment.last
        for record in records:
            if record.offset > last:
                self.known.append(record)
                last = record.offset
        self.open()
        if explicit:
            self.segment.note_explicit()
        end = self.written + sum(map(len, buffers))
        while (point := self._where_to_roll(end)) is not None:
            before, buffers = _split(buffers, point.offset - self.written)
            self._write_data(before)
            self.segment.record(self.known, point.offset)
            self._roll(point)
        self._write_data(buffers)
        self.segment.record(self.known, self.written)

    def sync(self, kind: Kind | None) -> None:
        """Sync the data, then write the entry that says so (unless None), then sync the index.

        The lock is given up while the system works: what is written meanwhile is for the next sync.
        """
        segment, target = self.segment, self.written
        self._monitor.begin_sync()
        try:
            self._monitor.unlocked(segment.sync_data)
            if kind is not None:
                segment.note(kind, target, self._ground.now())
            entries = segment.entries
            self._monitor.unlocked(segment.sync_index)
        finally:
            self._monitor.end_sync()
        segment.synced_entries = entries
        self.durable = max(self.durable, target)
        self._ground.tally.synced()

    def seal(self, *, durably: bool) -> Closed:
        """The run ends here: see to it that all of it is on the disk, and close the files."""
        self._monitor.settle()
        if durably and not self._settled:
            self.open()
            self.sync(Kind.CHECKPOINT)
        self.segment.close()
        return Closed(self.picture, self._ground.now())

    @property
    def _settled(self) -> bool:
        """Whether all bytes and entries are on the disk."""
        return self.durable >= self.written and self.segment.synced_entries >= self.segment.entries

    def _write_data(self, buffers: Sequence[Buffer]) -> None:
        before = self.written
        try:
            self.segment.write(buffers)
        finally:
            self.written = self.segment.written
            self._ground.tally.bytes_written += self.written - before

    def _where_to_roll(self, end: int) -> Record | None:
        """The record with which a new segment has to begin, now that the bytes up to ``end`` have come; or None.

        A random access point once the segment is full; any record once it is twice as long as that.
        """
        size, age = self._ground.rolling
        first = self.first
        old = age is not None and self._ground.now() - self._began >= age
        if end - first < size and not old:
            return None
        for record in self.known:
            length = record.offset - first
            if record.offset >= end:
                break
            if length <= 0 or self.written - record.offset > TAKEN_OVER_LIMIT:
                continue
            if length >= 2 * size or (record.flags & Flag.RANDOM_ACCESS and (old or length >= size)):
                return record
        return None

    def _roll(self, point: Record) -> None:
        """Begin the next segment with ``point``. All before it is durable first: only then it may say so."""
        ground = self._ground
        self._monitor.settle()
        if ground.durably and not self._settled:
            self.sync(Kind.CHECKPOINT)
        taken = self.segment.take_over(point.offset, self.written - point.offset)
        following = SegmentWriter(ground.files, ground.place(point.offset), ground.boot, follows=True)
        try:
            explicit = self.segment.links.explicit
            following.begin(taken, point, explicit=explicit, durably=ground.durably, now=ground.now())
        except OSError:
            following.close()
            raise
        if taken:
            self.known.remove(point)
        now = ground.now()
        self.segment.close()
        self._keep(Closed(self.picture._replace(end=point.offset), now))
        self.segment, self._began = following, now

    # The end of all writing.

    def stop(self, *, syncable: bool) -> None:
        """Cut the run where its last record begins, or at what is durable where that is more. ``syncable``: no sync has
        failed, so a later one can be believed; else only what is durable can be. Raises nothing."""
        segment = self.segment
        least = max(self.durable, self.least, segment.place.first)
        starts = [segment.last, *(record.offset for record in self.known if record.offset <= self.written)]
        believed = syncable or not self._ground.durably
        cut = max(least, *starts) if believed else least
        if segment.has_index and believed:
            with suppress(OSError):  # what a torn write left of an entry goes before others follow
                segment.cut_index()
            with suppress(OSError):
                segment.record(self.known, cut)
            if self.known and self.known[0].offset < cut:  # without its entry it would seem part of the one before
                cut = max(least, self.known[0].offset)
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
                    self.sync(Kind.CHECKPOINT)
        self.known.clear()
        self.close()


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
