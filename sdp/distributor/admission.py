"""Who comes in yields to those who watch already: joins have so much of each turn of the reactor, and no more.

A thousand may ask within one turn: because they came together, or because what they watched has ended for all of them.
To answer them all in a row would keep a record waiting that arrives meanwhile, for some tenths of a second; so those
beyond a turn's share wait for the next one, in the order in which they asked.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from sdp.net.outflow import Outflow

__all__ = ["SHARE", "Admission"]

SHARE: Final = 0.002
"""How much of a turn joins may take, in seconds; one that has begun is finished."""

_PAUSE: Final = 0.001
"""After how long without a join, in seconds, the next one is held to be the first of its turn."""


class Admission:
    """Lets joins in. ``clock`` is the reactor."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: deque[tuple[Deferred[None], Outflow]] = deque()
        self._later: IDelayedCall | None = None
        self._begun = self._last = float("-inf")

    def __len__(self) -> int:
        return len(self._waiting)

    def enter(self, outflow: Outflow) -> Deferred[None] | None:
        """Return None where the join, which writes to ``outflow``, may go on at once; else a Deferred that fires (None)
        when it may. Cancel it to leave."""
        now = self._clock.seconds()
        if now - self._last > _PAUSE:
            self._begun = now
        self._last = now
        if not self._waiting and now - self._begun <= SHARE:
            return None
        waiting: Deferred[None] = Deferred(self._leave)
        self._waiting.append((waiting, outflow))
        if self._later is None:
            self._later = self._clock.callLater(0, self._turn)
        return waiting

    def _leave(self, waiting: Deferred[None]) -> None:
        for each in self._waiting:
            if each[0] is waiting:
                self._waiting.remove(each)
                return

    def _turn(self) -> None:
        """Let in as many as the turn has room for."""
        self._later = None
        clock = self._clock
        self._begun = clock.seconds()
        while self._waiting:
            waiting, outflow = self._waiting.popleft()
            outflow.cork()
            try:
                waiting.callback(None)
            finally:
                outflow.uncork()
            if clock.seconds() - self._begun > SHARE:
                break
        self._last = clock.seconds()
        if self._waiting:
            self._later = clock.callLater(0, self._turn)
