"""Joins: so much of each turn, in the order in which they come."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import CancelledError

from sdp.distributor.admission import SHARE, Admission


class Outflow:
    """Notes what is done to it."""

    def __init__(self) -> None:
        self.done: list[str] = []

    def cork(self) -> None:
        self.done.append("cork")

    def uncork(self) -> None:
        self.done.append("uncork")


class Reactor:
    """Turned by hand: time passes only where something takes time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[Callable[[], None]] = []

    def seconds(self) -> float:
        return self.now

    def callLater(self, delay: float, call: Callable[[], None]) -> object:
        assert delay == 0
        self.calls.append(call)
        return call

    def turn(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()


class Crowd:
    """Those who ask: each costs a quarter of a turn's share."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        clock: Any = self.reactor
        self.admission = Admission(clock)
        self.joined: list[int] = []
        self.outflows: list[Outflow] = []

    def ask(self, number: int) -> Any:
        outflow = Outflow()
        self.outflows.append(outflow)
        given: Any = outflow
        waiting = self.admission.enter(given)
        if waiting is None:
            self._join(number)
        else:
            waiting.addCallbacks(lambda _: self._join(number), lambda failure: failure.trap(CancelledError) and None)
        return waiting

    def _join(self, number: int) -> None:
        self.joined.append(number)
        self.reactor.now += SHARE / 4 + 1e-6


def test_one_after_the_other_nobody_waits() -> None:
    crowd = Crowd()
    for number in range(100):
        crowd.ask(number)
        crowd.reactor.now += SHARE
    assert crowd.joined == list(range(100))
    assert crowd.reactor.calls == []


def test_a_crowd_is_let_in_turn_by_turn() -> None:
    crowd = Crowd()
    for number in range(10):
        crowd.ask(number)
    assert crowd.joined == list(range(4))
    assert len(crowd.admission) == 6
    crowd.ask(10)  # whoever comes later does not pass those who wait
    crowd.reactor.turn()
    assert crowd.joined == list(range(8))
    crowd.reactor.turn()
    assert crowd.joined == list(range(11))
    assert crowd.reactor.calls == []


def test_what_a_join_writes_goes_out_together() -> None:
    crowd = Crowd()
    for number in range(5):
        crowd.ask(number)
    crowd.reactor.turn()
    assert [outflow.done for outflow in crowd.outflows] == [[], [], [], [], ["cork", "uncork"]]


def test_who_leaves_is_not_let_in() -> None:
    crowd = Crowd()
    waiting = [crowd.ask(number) for number in range(6)]
    waiting[4].cancel()
    crowd.reactor.turn()
    assert crowd.joined == [0, 1, 2, 3, 5]
    assert len(crowd.admission) == 0
