"""Virtual time, and the machines that live in it: a clock that jumps to whatever is due next, and who reaches whom.

A :class:`Place` is one machine, and stands in for a reactor: it tells the time, calls later, listens and connects by
the machine's name. When it is killed, all that it had meant to do is gone, as a process's is. Whatever happens at one
moment happens in the order in which it was asked for, so the same cell always takes the same course.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.error import AlreadyCalled, AlreadyCancelled, ConnectionRefusedError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from zope.interface import implementer

from sdp.lab.link import Link, LinkSpec
from sdp.lab.virtual.wires import Ends, Outgoing, join

__all__ = ["START_US", "Place", "World"]

START_US: Final = 1_000_000_000_000
"""The wall clock's time when virtual time is 0 (microseconds since the Unix epoch): in January 1970, where a float of
seconds still tells a fraction of a microsecond. A run at another time would not be the same to the byte."""


@implementer(IDelayedCall)
class _Call:
    """Something that is to be done at a time."""

    __slots__ = ("_state", "_world", "due", "work")

    def __init__(self, world: World, due: float, work: Callable[[], object]) -> None:
        self._world = world
        self._state = "waiting"
        self.due = due
        self.work = work

    def getTime(self) -> float:
        return self.due

    def active(self) -> bool:
        return self._state == "waiting"

    def cancel(self) -> None:
        self._check()
        if self._state == "waiting":
            self._state = "cancelled"
            self.work = _nothing

    def forsake(self) -> None:
        """It never happens, and whoever meant to do it is not told: cancelled once more, it is as if it waited."""
        self._state = "forsaken"
        self.work = _nothing

    def reset(self, secondsFromNow: float) -> None:
        self._check()
        self._world.put(self, self._world.seconds() + secondsFromNow)

    def delay(self, secondsLater: float) -> None:
        self._check()
        self._world.put(self, self.due + secondsLater)

    def run(self) -> None:
        self._state = "called"
        self.work()

    def _check(self) -> None:
        if self._state == "called":
            raise AlreadyCalled
        if self._state == "cancelled":
            raise AlreadyCancelled


def _nothing() -> None:
    """What a cancelled call does."""


@implementer(IReactorTime)
class World:
    """Virtual time in seconds from 0, and the places by their names."""

    def __init__(self) -> None:
        self.places: dict[str, Place] = {}
        self.ends: list[Ends] = []
        """The connections that are open, each by its two ends."""
        self._now = 0.0
        self._order = itertools.count()
        self._due: list[tuple[float, int, _Call]] = []

    def seconds(self) -> float:
        return self._now

    def wall(self) -> float:
        """The wall clock's time in seconds since the Unix epoch: whole microseconds, also for who cuts off the rest."""
        return (self.microseconds() + 0.25) / 1e6

    def microseconds(self) -> int:
        """The same in whole microseconds, of which no digit is lost."""
        return START_US + round(self._now * 1e6)

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kwargs: Any) -> _Call:
        if delay < 0:
            raise ValueError(f"{delay}: nothing can be done in the past")
        call = _Call(self, 0.0, lambda: callable(*args, **kwargs))
        self.put(call, self._now + delay)
        return call

    def getDelayedCalls(self) -> list[_Call]:
        return [call for due, _, call in self._due if call.active() and due == call.due]

    def put(self, call: _Call, due: float) -> None:
        """Do ``call`` then, wherever it was before."""
        call.due = due
        heapq.heappush(self._due, (due, next(self._order), call))

    def run_until(self, seconds: float) -> None:
        """Let time pass: everything that is due up to then happens, each at its own time."""
        while self._due and self._due[0][0] <= seconds:
            due, _, call = heapq.heappop(self._due)
            if call.active() and due == call.due:  # else it was put elsewhere since, or cancelled
                self._now = max(self._now, due)
                call.run()
        self._now = max(self._now, seconds)

    def place(self, name: str, **about: Any) -> Place:
        """A new machine of that name."""
        made = self.places[name] = Place(self, name, **about)
        return made


class Egress:
    """What a server's network carries out, shared by all whom it serves.

    Of ``siblings`` that are served alike one stands at ``rank`` in the order in which the fan-out serves them: it gets
    its bytes after those of all before it, whether they are simulated or stand behind the one that is.
    """

    def __init__(self, rate: int | None) -> None:
        self._rate = rate
        self._round_at = -1.0
        self._begins = 0.0
        self._free_at = 0.0
        self._given: dict[int, int] = {}

    def carry(self, now: float, size: int, outgoing: Outgoing) -> float:
        """When ``size`` bytes are out that ``outgoing`` was given now."""
        if self._rate is None:
            return now
        if now > self._round_at:
            self._round_at, self._begins = now, max(now, self._free_at)
            self._given.clear()
        given = self._given[id(outgoing)] = self._given.get(id(outgoing), 0) + size
        seconds = given * 8 / self._rate
        self._free_at = max(self._free_at, self._begins + outgoing.siblings * seconds)
        return self._begins + (outgoing.rank + 1) * seconds


class _Port:
    """What listening gives."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def getHost(self) -> str:
        return self._place.name

    def stopListening(self) -> None:
        self._place.listening = None


class _Connector:
    """What connecting gives: who stops it hears no more of it."""

    def __init__(self) -> None:
        self.is_stopped = False

    def stopConnecting(self) -> None:
        self.is_stopped = True


@implementer(IReactorTime)
class Place:
    """One machine. ``line`` is its way to the servers that it connects to, in both directions; ``egress`` what its own
    network carries out (bits a second; None: no bound); ``rank`` and ``siblings`` see :class:`Egress`."""

    def __init__(
        self,
        world: World,
        name: str,
        *,
        line: LinkSpec | None = None,
        egress: int | None = None,
        rank: int = 0,
        siblings: int = 1,
    ) -> None:
        self.world = world
        self.name = name
        self.line = line if line is not None else LinkSpec()
        self.egress = Egress(egress)
        self.rank = rank
        self.siblings = siblings
        self.listening: Any = None
        self._calls: list[_Call] = []

    # -- the part of a reactor ---------------------------------------------------------------------------------

    def seconds(self) -> float:
        return self.world.seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: Any, **kwargs: Any) -> _Call:
        call = self.world.callLater(delay, callable, *args, **kwargs)
        self._calls.append(call)
        if len(self._calls) > 4096:
            self._calls = [each for each in self._calls if each.active()]
        return call

    def getDelayedCalls(self) -> list[_Call]:
        return [each for each in self._calls if each.active()]

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> _Port:
        self.listening = factory
        return _Port(self)

    def connectUNIX(self, address: str, factory: Any, timeout: float = 30, checkPID: bool = False) -> _Connector:
        """Connect to the place of that name; it takes the line's way there and back."""
        connector = _Connector()
        factory.startedConnecting(connector)
        self.callLater(2 * self.line.delay, self._connect, address, factory, connector)
        return connector

    def _connect(self, address: str, factory: Any, connector: _Connector) -> None:
        if connector.is_stopped:
            return
        server = self.world.places.get(address)
        if server is None or server.listening is None:
            factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))
            return
        up = Outgoing(Link(self.line), self.egress, 0, 1)
        down = Outgoing(Link(self.line), server.egress, self.rank, self.siblings)
        self.world.ends.append(join(self.world, (self, factory, up), (server, server.listening, down)))

    # -- what is done to it ------------------------------------------------------------------------------------

    @property
    def connections(self) -> list[Ends]:
        """Those that are open at it."""
        self.world.ends = [ends for ends in self.world.ends if ends.is_open]
        return [ends for ends in self.world.ends if self in ends.places]

    def cut(self) -> None:
        """Lose all connections, at both ends."""
        for ends in self.connections:
            ends.cut()

    def stall(self, seconds: float) -> None:
        """Nothing goes through its lines for so long."""
        for ends in self.connections:
            ends.stall(seconds)

    def kill(self) -> None:
        """End it as ``kill -9`` does: whatever it meant to do is gone, and its peers see their connections break."""
        self.listening = None
        calls, self._calls = self._calls, []
        for call in calls:
            if call.active():
                call.forsake()
        for ends in self.connections:
            ends.forsake(self)
