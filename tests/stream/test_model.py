"""A log with holes, over a disk that lags, fails and comes back, held against a plain set of bytes."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sdp.errors import StorageError
from sdp.stream.catalog import Epoch
from sdp.stream.holes import Filling, Interval, hole_at, without
from sdp.stream.log import PIECE_OVERHEAD, StreamLog
from sdp.stream.record import Flag, Record


class BodyFramer:
    """Each body is a record, and a random access point."""

    content_type = None

    def __init__(self, start: int = 0) -> None:
        self.known = start
        self._begins: int | None = None

    def boundary(self, offset: int, capture_time: int | None = None, random_access: bool | None = None) -> None:
        assert offset == self.known
        self._begins = offset

    def feed(self, data: bytes, received_time: int | None = None) -> list[Record]:
        begins, self._begins = self._begins, None
        self.known += len(data)
        return [] if begins is None else [Record(begins, Flag.RANDOM_ACCESS, None, received_time)]

    def flush(self) -> list[Record]:
        return []


class Disk:
    """A recording that writes when it is told to."""

    def __init__(self) -> None:
        self.start = self.end = self.written = self.durable = 0
        self.unsettled: int | None = None
        self.failure: StorageError | None = None
        self.held: dict[int, int] = {}
        self.records: set[int] = set()
        self.queue: list[tuple[int, bytes]] = []
        self.missing: tuple[Interval, ...] = ()
        self.finished = False

    @property
    def holes(self) -> tuple[Interval, ...]:
        lacking = [at for at in range(self.start, self.written) if at not in self.held]
        found: tuple[Interval, ...] = ()
        for at in lacking:
            found = (*found[:-1], (found[-1][0], at + 1)) if found and found[-1][1] == at else (*found, (at, at + 1))
        later = tuple(hole for hole in self.missing if hole[0] >= self.written)
        if found and later and found[-1][1] == later[0][0]:
            raise AssertionError("a hole begins where something was written")
        return (*found, *later)

    def append(self, data: bytes, records: list[Record]) -> None:
        if self.failure is None:
            self._note(records)
            self.queue.append((self.end, data))
            self.end += len(data)

    def skip_to(self, offset: int) -> None:
        if self.failure is None:
            self.missing = (*self.missing, (self.end, offset))
            self.end = offset

    def fill(self, offset: int, data: bytes, records: list[Record], taken: bytes = b"") -> None:
        if self.failure is None:
            self._note(records)
            self.queue.append((offset, data))
            self.missing = without(self.missing, offset, offset + len(data))

    def _note(self, records: list[Record]) -> None:
        self.records.update(record.offset for record in records)

    def forget_implied(self) -> None:
        """Nothing is implied here."""

    def finish(self) -> Disk:
        self.finished = self.failure is None
        return self

    def addErrback(self, call: Any) -> None:
        """It is told by ``failure``."""

    def write(self, count: int) -> None:
        for offset, data in self.queue[:count]:
            self.held.update(enumerate(data, offset))
            self.written = max(self.written, offset + len(data))
        del self.queue[:count]

    def fail(self) -> None:
        self.queue.clear()
        self.failure = StorageError("The disk is full.")
        self.end = self.written
        self.missing = ()
        self.missing = self.holes

    def resume(self, offset: int) -> None:
        self.failure = None
        if offset > self.written and self.held:
            self.missing = (*self.missing, (self.written, offset))
        if not self.held:
            self.start = offset
        self.end = offset


class LogMachine(RuleBasedStateMachine):
    """One epoch. ``log`` is every byte that its sender has, whether or not it has brought it."""

    @initialize(window=st.sampled_from([1, 3 * PIECE_OVERHEAD, 1 << 20]), disk=st.booleans())
    def begin(self, window: int, disk: bool) -> None:
        self.disk: Any = None
        if disk:
            self.disk = Disk()
        self.epoch = Epoch(
            "a",
            "e",
            StreamLog(window),
            BodyFramer(),
            declared_type="x/y",
            recording=self.disk,
            new_framer=lambda kind, start, before: BodyFramer(start),
        )
        self.brought: set[int] = set()
        self.now = 0

    @staticmethod
    def content(start: int, end: int) -> bytes:
        return bytes(at * 7 % 251 for at in range(start, end))

    def told(self) -> None:
        """The disk has something to say."""
        if self.disk is not None:
            self.epoch.stored()

    @rule(gap=st.sampled_from([0, 0, 5, 20]), size=st.integers(1, 20))
    def post(self, gap: int, size: int) -> None:
        epoch, self.now = self.epoch, self.now + 1
        if epoch.closed:
            return
        start = epoch.accepted_end + (gap if self.brought else 0)
        if start > epoch.accepted_end:
            epoch.skip_to(start)
        epoch.whole = False
        epoch.begin_body(None, None)
        epoch.append(self.content(start, start + size), self.now)
        epoch.whole = True
        self.brought.update(range(start, start + size))

    @precondition(lambda self: self.epoch.missing and self.disk.failure is None)
    @rule(which=st.integers(0, 5), size=st.integers(1, 30))
    def fill(self, which: int, size: int) -> None:
        epoch = self.epoch
        start, end = epoch.missing[which % len(epoch.missing)]
        if epoch.filling is None or epoch.filling.position != start:
            epoch.filling = Filling(start, BodyFramer(start))
        epoch.filling.framer.boundary(start)
        end = min(end, start + size)
        epoch.fill(self.content(start, end), self.now)
        assert (epoch.filling is None) == (epoch.missing_at(end) is None)
        self.brought.update(range(start, end))

    @precondition(lambda self: self.disk is not None)
    @rule(count=st.integers(0, 4))
    def write(self, count: int) -> None:
        if self.disk.failure is None:
            self.disk.write(count)
        self.told()

    @precondition(lambda self: self.disk is not None)
    @rule()
    def fail(self) -> None:
        if self.disk.failure is None:
            self.disk.fail()
        self.told()

    @precondition(lambda self: self.disk is not None and self.disk.failure is not None)
    @rule()
    def mend(self) -> None:
        offset = self.epoch.resumption()
        if offset is None:
            return
        log = self.epoch.log
        assert self.disk.written <= offset <= log.end
        assert offset == self.disk.written or offset in {record.offset for record in log.records} | {log.end}
        self.disk.resume(offset)
        self.epoch.stored()
        self.epoch.resumed()

    @precondition(lambda self: self.brought)
    @rule()
    def end(self) -> None:
        self.epoch.finish()

    @invariant()
    def what_can_be_read_is_what_is_not_missing(self) -> None:
        if not hasattr(self, "epoch"):
            return
        epoch, log, disk = self.epoch, self.epoch.log, self.disk
        assert b"".join(log.read(log.start)) == self.content(log.start, log.end)
        readable = set(range(log.start, log.end))
        if disk is not None:
            readable |= set(disk.held)
            assert all(self.content(at, at + 1)[0] == byte for at, byte in disk.held.items())
            # What is queued will be there, and whoever wants it waits for it.
            queued = {offset + at for offset, data in disk.queue for at in range(len(data)) if offset >= disk.written}
            readable |= queued
        assert readable <= self.brought | set(range(log.end))
        lacking = {at for start, end in epoch.holes for at in range(start, end)}
        assert not lacking & readable
        assert lacking | readable >= set(range(epoch.first_offset, epoch.end))
        for start, end in epoch.holes:
            assert epoch.first_offset <= start < end <= epoch.end
            assert epoch.hole_at(start) == epoch.hole_at(end - 1) == (start, end)
            assert epoch.hole_at(end) is None
        if disk is not None and disk.failure is None:
            missing = {at for start, end in epoch.missing for at in range(start, end)}
            assert missing <= lacking
            assert all(hole_at(epoch.holes, start) is not None for start, _ in epoch.missing)


TestLog = LogMachine.TestCase
TestLog.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
