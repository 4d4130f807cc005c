"""A store in memory, whose progress and faults are told: what a Distributor meets of a disk."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from sdp.errors import StorageError
from sdp.interfaces import IRecording, IStore
from sdp.stream.holes import Interval, held_until, hole_at, without
from sdp.stream.record import Flag, Record


@implementer(IRecording)
class Kept:
    """One recording. Bytes are written when :meth:`write` is called, at once where the disk is ``prompt``."""

    def __init__(self, disk, name="a", epoch="1", content_type="application/octet-stream", start=0):
        self.disk = disk
        self.name, self.epoch, self.content_type = name, epoch, content_type
        self.start = self.end = self.written = self.durable = start
        self.ended = self.explicit = False
        self.keep_from: int | None = None
        self.holes: tuple[Interval, ...] = ()
        self.missing: tuple[Interval, ...] = ()
        self.unsettled = None
        self.failure: StorageError | None = None
        self.on_change: Callable[[], None] | None = None
        self.backlogged = False
        self.data = bytearray()
        self.index: list[Record] = []

    def append(self, data, records):
        if self.failure is None:
            self.data += data
            self.index += records
            self.end += len(data)
            if self.disk.prompt:
                self.written = self.end

    def skip_to(self, offset):
        self.missing = (*self.missing, (self.end, offset))
        self.holes = (*self.holes, (self.end, offset))
        self.data += bytes(offset - self.end)
        self.end = offset
        if self.disk.prompt:
            self.written = offset

    def fill(self, offset, data, records, taken=b""):
        at = offset - self.start
        self.data[at : at + len(data)] = data
        self.index = sorted([*self.index, *records])
        self.missing = without(self.missing, offset, offset + len(data))
        if self.disk.prompt:
            self.holes = self.missing
            self.changed()

    def look(self):
        return succeed(None)

    def settled(self):
        self.write(durable=False)
        return succeed(None)

    def resume(self, offset):
        if self.disk.healed:
            self.failure = None
            self.missing = self.holes
            self.end = self.written
            if offset > self.end:
                self.skip_to(offset)
        return succeed(self.disk.healed)

    def forget_implied(self):
        self.explicit = True
        self.index = [each._replace(flags=Flag.NONE) if each.flags & Flag.IMPLIED else each for each in self.index]

    def finish(self):
        self.ended = True
        self.write()
        return succeed(None)

    def write(self, durable=True):
        """All that is queued is written (and synced)."""
        self.written, self.holes = self.end, self.missing
        if durable:
            self.durable = self.end
        self.changed()

    def fail(self, detail="The disk is full."):
        """The disk fails: what was queued is lost."""
        self.failure = StorageError(detail)
        self.end = self.written
        self.changed()

    def changed(self):
        if self.on_change is not None:
            self.on_change()

    def read(self, offset, length):
        if offset < self.start:
            return fail(StorageError("It is kept no longer.", status=410))
        if hole_at(self.holes, offset) is not None:
            return fail(StorageError("It is missing.", status=416))
        begin, length = offset - self.start, held_until(self.holes, offset, offset + length) - offset
        return self.disk.answer(lambda: bytes(self.data[begin : min(begin + length, self.written - self.start)]))

    def records(self, start, end, limit=4096):
        def find():
            ends = [*(record.offset for record in self.index[1:]), self.written]
            pairs = zip(self.index, ends, strict=False)
            return [record for record, stop in pairs if record.offset < end and stop > start][:limit]

        return self.disk.answer(find)

    def last_record(self, before, flag):
        found = [record for record in self.index if record.offset <= before and record.flags & flag]
        return self.disk.answer(lambda: found[-1] if found else None)

    def random_access_at(self, time, before):
        def find():
            points = [each for each in self.index if each.flags & Flag.RANDOM_ACCESS and each.offset <= before]
            held = [each for each in points if each.offset >= self.start]
            early = [each for each in held if time_of(each) is not None and time_of(each) <= time]
            return next(iter(early[-1:] or held), None)

        return self.disk.answer(find)


def time_of(record):
    """When a record was captured, else received."""
    return record.received_time if record.capture_time is None else record.capture_time


@implementer(IStore)
class Disk:
    """A store. While ``slow`` nothing is read until :meth:`turn`; while ``refusing`` no epoch begins."""

    def __init__(self, prompt=True):
        self.prompt = prompt
        self.slow = self.healed = False
        self.refusing: StorageError | None = None
        self.unreadable: StorageError | None = None
        self.kept: list[Kept] = []
        self.removed: list[str] = []
        self.closed = False
        self.trimmed: dict[str, int] = {}
        self.bytes_written, self.syncs, self.failures, self.resumed = 7, 3, 0, 0
        self._waiting: list[tuple[Deferred, Callable]] = []

    def free_bytes(self):
        return 1000

    def answer(self, read):
        if self.unreadable is not None:
            return fail(self.unreadable)
        if not self.slow:
            return succeed(read())
        waiting: Deferred = Deferred()
        self._waiting.append((waiting, read))
        return waiting

    def turn(self):
        """Answer what was asked so far."""
        waiting, self._waiting = self._waiting, []
        for deferred, read in waiting:
            if not deferred.called:
                deferred.callback(read())

    def recover(self):
        return succeed(self.kept)

    def create(self, name, epoch, content_type):
        if self.refusing is not None:
            raise self.refusing
        self.kept.append(Kept(self, name, epoch, content_type))
        return self.kept[-1]

    def remove(self, name):
        self.removed.append(name)
        return succeed(None)

    def close(self):
        self.closed = True
        return succeed(None)


def record(offset, *flags, capture=None, received=None):
    """A Record with these flags."""
    both = Flag.NONE
    for flag in flags:
        both |= flag
    return Record(offset, both, capture, received)
