"""Any sequence of what can be done to a store, lives ended by kill included, held against plain bytes in memory."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import ClassVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sdp.store import FileStore, Recording
from sdp.stream.holes import Interval, held_until, hole_at, within, without
from sdp.stream.record import Flag, Record
from tests.store.simulation import FaultyFiles, PumpedReactor, runs_of

FLAGS = st.integers(0, 7).map(Flag)
NAMES = ("a", "a/b", "c")


class Epoch:
    """What one epoch should hold: ``data``, but for the ``holes``."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self.data = b""
        self.holes: tuple[Interval, ...] = ()
        self.records: list[Record] = []
        self.ended = False

    def covering(self, start: int, end: int) -> list[Record]:
        ends = [*(record.offset for record in self.records[1:]), len(self.data)]
        end = min(end, len(self.data))
        return [
            record
            for record, stop in zip(self.records, ends, strict=bool(self.records))
            if record.offset < end and held_until(self.holes, record.offset, stop) > start
        ]

    def known(self, at: int, cuts: dict[int, Flag], size: int) -> list[Record]:
        """Records at these places of ``size`` bytes from ``at`` on."""
        return [Record(at + cut, flag, cut, None) for cut, flag in sorted(cuts.items()) if cut < size]

    def runs(self) -> list[tuple[int, int, bytes]]:
        edges = [0, *(edge for hole in self.holes for edge in hole), len(self.data)]
        return [
            (start, end, self.data[start:end])
            for start, end in zip(edges[::2], edges[1::2], strict=True)
            if start < end
        ]


def without_all(runs: tuple[Interval, ...], holes: tuple[Interval, ...]) -> tuple[Interval, ...]:
    """What is left of the runs without the holes."""
    for start, end in holes:
        runs = without(runs, start, end)
    return runs


class StoreMachine(RuleBasedStateMachine):
    """One store, restarted again and again; every name has one open epoch at most, as a distributor keeps it."""

    _count: ClassVar[int] = 0

    @initialize(interval=st.sampled_from([0, 0.001, 3600.0, None]), segment_size=st.sampled_from([1, 20, 1 << 30]))
    def begin(self, interval: float | None, segment_size: int) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="sdp-store-"))
        self.interval = interval
        self.segment_size = segment_size
        self.epochs: list[Epoch] = []
        self.open_store()

    def open_store(self) -> None:
        self.reactor = PumpedReactor()
        self.files = FaultyFiles()
        self.store = FileStore(
            self.root,
            self.reactor,  # type: ignore[arg-type]
            sync_interval=self.interval,
            gather=0,
            segment_size=self.segment_size,
            files=self.files,
        )

    def settle(self) -> None:
        self.reactor.until(lambda: all(e.recording.queued == 0 for e in self.epochs))

    def live(self, number: int) -> Epoch | None:
        going = [epoch for epoch in self.epochs if not epoch.ended]
        return going[number % len(going)] if going else None

    @rule(name=st.sampled_from(NAMES))
    def create(self, name: str) -> None:
        StoreMachine._count += 1
        recording = self.store.create(name, f"e{StoreMachine._count}", "video/mp4")
        self.epochs.append(Epoch(recording))

    @rule(
        number=st.integers(0, 9),
        gap=st.sampled_from([0, 0, 0, 1, 30]),
        data=st.binary(max_size=40),
        cuts=st.dictionaries(st.integers(0, 39), FLAGS, max_size=4),
    )
    def append(self, number: int, gap: int, data: bytes, cuts: dict[int, Flag]) -> None:
        if epoch := self.live(number):
            if gap and data and epoch.data:
                at = len(epoch.data)
                epoch.recording.skip_to(at + gap)
                epoch.data += bytes(gap)
                epoch.holes = (*epoch.holes, (at, at + gap))
            records = epoch.known(len(epoch.data), cuts, len(data))
            epoch.recording.append(data, records)
            epoch.data += data
            epoch.records += records

    @rule(
        number=st.integers(0, 9),
        which=st.integers(0, 3),
        data=st.binary(min_size=1, max_size=40),
        cuts=st.dictionaries(st.integers(0, 39), FLAGS, max_size=3),
    )
    def fill(self, number: int, which: int, data: bytes, cuts: dict[int, Flag]) -> None:
        holed = [epoch for epoch in self.epochs if epoch.holes]
        if holed:
            epoch = holed[number % len(holed)]
            start, end = epoch.holes[which % len(epoch.holes)]
            data = data[: end - start]
            records = epoch.known(start, cuts, len(data))
            epoch.recording.fill(start, data, records)
            epoch.data = epoch.data[:start] + data + epoch.data[start + len(data) :]
            epoch.holes = without(epoch.holes, start, start + len(data))
            epoch.records = sorted([*epoch.records, *records])

    @rule(number=st.integers(0, 9))
    def finish(self, number: int) -> None:
        if epoch := self.live(number):
            self.reactor.wait(epoch.recording.finish())
            epoch.ended = True
            assert epoch.recording.durable == len(epoch.data)

    @rule(name=st.sampled_from(NAMES))
    def remove(self, name: str) -> None:
        self.reactor.wait(self.store.remove(name))
        self.epochs = [epoch for epoch in self.epochs if epoch.recording.name != name]

    @rule()
    def wait(self) -> None:
        self.settle()

    @rule(kill=st.booleans(), let_settle=st.booleans())
    def restart(self, kill: bool, let_settle: bool) -> None:
        if let_settle or not kill:
            self.settle()
        if kill:
            self.files.kill()
        told = {epoch.recording.epoch: epoch.recording.written for epoch in self.epochs}
        holes = {epoch.recording.epoch: epoch.recording.holes for epoch in self.epochs}
        self.reactor.wait(self.store.close())
        self.open_store()
        found = {recording.epoch: recording for recording in self.reactor.wait(self.store.recover())}
        expected = []
        for epoch in self.epochs:
            recording = found.pop(epoch.recording.epoch, None)
            if recording is None:  # killed before it was made
                assert kill
                assert told[epoch.recording.epoch] == 0
                continue
            whole = epoch.data
            assert told[recording.epoch] <= recording.end <= len(whole)
            assert recording.end == len(whole) or (kill and not let_settle)
            assert recording.ended == epoch.ended
            for start, end in recording.holes:
                assert within(epoch.holes, start, end) == ((start, end),) or (kill and not let_settle)
            if not (kill and not let_settle):
                assert recording.holes == epoch.holes
            # What could be read before can be read now.
            for start, end in without_all(((0, told[recording.epoch]),), holes[recording.epoch]):
                assert within(recording.holes, start, end) == ()
            epoch.recording, epoch.data, epoch.holes = recording, whole[: recording.end], recording.holes
            held = self.reactor.wait(recording.records(0, recording.end))
            before = [
                record
                for record in epoch.records
                if record.offset < recording.end and hole_at(recording.holes, record.offset) is None
            ]
            assert set(held) <= set(before)
            assert held == before or (kill and not let_settle)
            epoch.records = held
            expected.append(epoch)
        assert found == {}
        self.epochs = expected

    @precondition(lambda self: self.epochs)
    @rule(number=st.integers(0, 9), offset=st.integers(0, 200), length=st.integers(0, 200), flag=FLAGS)
    def look(self, number: int, offset: int, length: int, flag: Flag) -> None:
        epoch = self.epochs[number % len(self.epochs)]
        self.settle()
        recording = epoch.recording
        stop = held_until(epoch.holes, offset, offset + length)
        if hole_at(epoch.holes, offset) is None:
            assert self.reactor.wait(recording.read(offset, length)) == epoch.data[offset:stop]
        assert recording.holes == recording.missing == epoch.holes
        assert self.reactor.wait(recording.records(offset, offset + length)) == (
            epoch.covering(offset, offset + length) if length else []
        )
        before = [r for r in epoch.records if r.offset <= offset and r.flags & flag == flag]
        assert self.reactor.wait(recording.last_record(offset, flag)) == (before[-1] if before else None)

    @invariant()
    def offsets_are_in_order(self) -> None:
        for epoch in getattr(self, "epochs", []):
            recording = epoch.recording
            assert recording.start <= recording.durable <= recording.written <= recording.end == len(epoch.data)
            assert recording.missing == epoch.holes
            assert recording.failure is None
            assert recording.ended == epoch.ended

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.settle()
            for epoch in self.epochs:
                assert runs_of(self.reactor, epoch.recording) == epoch.runs()
            self.reactor.wait(self.store.close())
            shutil.rmtree(self.root)


TestStore = StoreMachine.TestCase
TestStore.settings = settings(
    max_examples=60,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
