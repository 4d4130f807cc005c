"""What a Distributor tells of the way through it: each point as a watermark, in the order in which bytes pass them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from sdp.container import framer_for
from sdp.distributor.fanout import Counters, Fanout
from sdp.distributor.forms import Raw
from sdp.distributor.tracing import EpochTrace
from sdp.observe import Point
from sdp.stream.catalog import Epoch
from sdp.stream.log import StreamLog


class Recording:
    """A disk that makes durable what it is told to."""

    start = end = written = durable = 0
    failure = unsettled = None
    holes = missing = ()

    def append(self, data: bytes, records: Any) -> None:
        self.end += len(data)

    def forget_implied(self) -> None: ...

    def finish(self) -> Deferred[None]:
        return succeed(None)


class Outflow:
    """A socket that takes ``room`` bytes."""

    closed = paused = False

    def __init__(self, room: int = 1 << 20) -> None:
        self.room = room

    def flush(self) -> None: ...

    def send(self, data: bytes) -> int:
        sent = min(self.room, len(data))
        self.room -= sent
        return sent

    def put_back(self, data: bytes, sent: int) -> None: ...


class Consumer:
    offset = 0

    def __init__(self, outflow: Any) -> None:
        self.outflow = outflow


class Traced:
    """An epoch that is traced, with its disk."""

    def __init__(self, arrives: Point = Point.RECEIVED, after_sync: bool = False) -> None:
        self.told: list[tuple[Point, int | None, int | None]] = []
        self.disk = Recording()
        self.clock = Clock()
        recording: Any = self.disk
        self.epoch = Epoch("a", "e", StreamLog(1 << 20), framer_for("x/y"), declared_type="x/y", recording=recording)
        self.epoch.after_sync = after_sync
        self.fanout = Fanout(self.epoch, Counters(), self.clock)
        self.trace = EpochTrace(self._note, self.epoch, self.fanout, arrives)

    def _note(self, point: Point, stream: str, offset: int | None = None, *, capture_time=None, at=None) -> None:
        assert stream == "a@e"
        self.told.append((point, offset, at))

    def stand(self, outflow: Outflow) -> None:
        self.fanout.stand(Consumer(outflow), Raw(chunked=False))


def test_what_comes_is_told_before_it_is_given_out() -> None:
    traced = Traced()
    traced.stand(Outflow())
    traced.epoch.append(b"12345", 77)
    traced.epoch.append(b"678", 99)
    assert traced.told == [
        (Point.RECEIVED, 5, 77),
        (Point.APPENDED, 5, None),
        (Point.FANNED_OUT, 5, None),
        (Point.RECEIVED, 8, 99),
        (Point.APPENDED, 8, None),
        (Point.FANNED_OUT, 8, None),
    ]


def test_nothing_is_fanned_out_where_nobody_stands() -> None:
    traced = Traced(Point.FETCHED)
    traced.epoch.append(b"12345", 77)
    traced.epoch.finish()
    assert traced.told == [(Point.FETCHED, 5, 77), (Point.APPENDED, 5, None)]


def test_durable_is_told_once_for_each_sync() -> None:
    traced = Traced()
    traced.epoch.append(b"12345", 77)
    for durable in (0, 3, 3, 5):
        traced.disk.durable = durable
        traced.trace.stored()
    assert [offset for point, offset, _ in traced.told if point is Point.DURABLE] == [3, 5]


def test_received_keeps_its_time_where_the_fan_out_waits_for_the_disk() -> None:
    traced = Traced(after_sync=True)
    traced.epoch.append(b"12345", 77)
    traced.epoch.append(b"678", 99)
    assert traced.told == []
    traced.disk.durable = 5
    traced.trace.stored()
    traced.epoch.stored()
    assert traced.told == [(Point.DURABLE, 5, None), (Point.RECEIVED, 5, 77), (Point.APPENDED, 5, None)]


@pytest.mark.parametrize("outflows", [lambda: [Outflow(), Outflow(2)], lambda: [Outflow(0)] * 600 + [Outflow()] * 2])
def test_given_means_given_to_all_who_stand_there(outflows: Callable[[], list[Outflow]]) -> None:
    """A round that takes several turns is told when it is over; whoever cannot take all is not waited for."""
    traced = Traced()
    for outflow in outflows():
        traced.stand(outflow)
    traced.epoch.append(b"12345", 77)
    while traced.clock.getDelayedCalls():
        assert Point.FANNED_OUT not in {point for point, _, _ in traced.told}
        traced.clock.advance(0)
    assert [offset for point, offset, _ in traced.told if point is Point.FANNED_OUT] == [5]
