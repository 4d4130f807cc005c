"""Time-outs for thousands of connections by one timer: each has a deadline, and one sweep a second looks at all.

A deadline is thereby kept to within the sweep's interval, and moving it costs one assignment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["Sweep", "Sweepable"]


class Sweepable(Protocol):
    """What has a deadline: seconds on the sweep's clock, or None for no limit."""

    deadline: float | None

    def timed_out(self) -> None: ...


class Sweep:
    """Calls ``timed_out()`` on each member whose deadline has passed, then ``after_each`` once a turn.

    What one of them raises is logged: it must not end everybody's time-outs.
    """

    log = Logger(namespace="sdp.net.sweep")

    def __init__(self, clock: IReactorTime, interval: float = 1.0) -> None:
        self.now: Callable[[], float] = clock.seconds
        self.interval = interval
        self.after_each: list[Callable[[], None]] = []
        self._members: set[Sweepable] = set()
        self._loop = LoopingCall(self._turn)
        self._loop.clock = clock

    def start(self) -> None:
        self._loop.start(self.interval, now=False)

    def stop(self) -> None:
        if self._loop.running:
            self._loop.stop()

    def add(self, member: Sweepable) -> None:
        self._members.add(member)

    def discard(self, member: Sweepable) -> None:
        self._members.discard(member)

    def __len__(self) -> int:
        return len(self._members)

    def __iter__(self) -> Iterator[Sweepable]:
        return iter(tuple(self._members))

    def _turn(self) -> None:
        now = self.now()
        late = [member for member in self._members if member.deadline is not None and now >= member.deadline]
        for call in [*(member.timed_out for member in late), *self.after_each]:
            try:
                call()
            except Exception:
                self.log.failure("A deadline could not be kept: {call}", call=call)
