"""The outlet: every consumer at the live edge gets a new run of the log in one tight loop.

Consumers that have caught up stand in one list for each wire form. What is appended is framed once and sent to each of
them straight from the socket's ``send``. Whoever cannot take all of it leaves the list, and catches up by its own place
in the log under flow control: a consumer is a place, never a queue of copies. While it stands in the list its place is
the edge's, so the loop keeps no book of anyone.

Whoever has just come is served after those who stood there before, for a moment: a crowd that joins makes each round
longer, and those who watch already need not wait for that.

One turn of the reactor serves so many and no more: a large record to thousands goes out in slices, between which a
POST, a join or another stream gets its turn. What is appended meanwhile goes out together in the next round; where too
much waits for that, who posts has to wait.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from sdp.distributor.forms import Form
from sdp.net.outflow import Outflow
from sdp.stream.catalog import Epoch

__all__ = ["RUN_LIMIT", "SLICE_BYTES", "SLICE_CONSUMERS", "Consumer", "Counters", "Fanout"]

SLICE_BYTES = 4 * 1024 * 1024
"""Bytes that one turn gives out, over all who stand at an edge: a millisecond or two, most of it the kernel's."""

SLICE_CONSUMERS = 512
"""Consumers that one turn serves, however little each of them gets."""

RUN_LIMIT = 256 * 1024
"""The longest run of the log that goes out in one round, in bytes: where more has come in meanwhile, it is given in
pieces that a socket may well take."""

BEHIND_LIMIT = 1024 * 1024
"""Bytes that may wait for a round to end; beyond them, whoever posts waits as well."""


SETTLING = 1.0
"""For how long those who come to an edge are served after the others, in seconds; then they are some of them."""


class Counters:
    """What the fan-out of a whole Distributor has done; each only grows."""

    def __init__(self) -> None:
        self.bytes_sent = 0
        self.deliveries = 0
        self.left_edge = 0
        self.jumps = 0
        self.joins = 0


class Consumer(Protocol):
    """Who stands at an edge."""

    outflow: Outflow
    offset: int


class _Round:
    """A run of the log on its way to those who stood at the edge, at ``start``, when it began."""

    __slots__ = ("places", "run", "served", "start")

    def __init__(self, run: bytes, start: int, places: list[_Place]) -> None:
        self.run = run
        self.start = start
        self.places = places
        self.served = 0


class _Edge:
    """The consumers of one wire form that have all that there is up to ``offset``, or get it in this round; ``ahead``
    are those who have more: bytes whose place in a record is not known yet, or whose round has not come."""

    __slots__ = ("ahead", "form", "later", "members", "newcomers", "offset", "round", "since", "turn")

    def __init__(self, form: Form) -> None:
        self.form = form
        self.members: list[_Place] = []
        self.newcomers: list[_Place] = []
        self.since = 0.0
        self.ahead: list[_Place] = []
        self.offset = 0
        self.turn = 0
        self.round: _Round | None = None
        self.later: IDelayedCall | None = None

    @property
    def postponed(self) -> bool:
        """Whether there is something to do here in the reactor's next turn."""
        return self.later is not None

    @property
    def standing(self) -> list[_Place]:
        """All who stand here, and are not ahead."""
        return self.members + self.newcomers if self.newcomers else self.members

    def enter(self, place: _Place, now: float) -> None:
        """Somebody comes; ``now`` is the reactor's clock."""
        if not self.newcomers:
            self.since = now
        self.newcomers.append(place)

    def order(self, clock: IReactorTime) -> list[_Place]:
        """In which order a round serves: it begins with another consumer each time, so that nobody is always last."""
        self.turn += 1
        if self.newcomers and clock.seconds() - self.since >= SETTLING:
            self.members += self.newcomers
            self.newcomers = []
        return _from(self.members, self.turn) + _from(self.newcomers, self.turn)


def _from(places: list[_Place], turn: int) -> list[_Place]:
    at = turn % len(places) if places else 0
    return places[at:] + places[:at]


class _Place:
    """One consumer at an edge."""

    __slots__ = ("consumer", "edge", "left", "outflow", "send")

    def __init__(self, consumer: Consumer, edge: _Edge) -> None:
        self.consumer = consumer
        self.edge = edge
        self.outflow = consumer.outflow
        self.send = consumer.outflow.send
        self.left: Deferred[None] = Deferred(self._cancelled)

    def _cancelled(self, deferred: Deferred[None]) -> None:
        self.send = len  # a round that is under way passes it over
        for places in (self.edge.members, self.edge.newcomers, self.edge.ahead):
            if self in places:
                places.remove(self)


class Fanout:
    """One epoch's consumers at the live edge."""

    def __init__(self, epoch: Epoch, counters: Counters, clock: IReactorTime) -> None:
        self.epoch = epoch
        self.counters = counters
        self.on_given: Callable[[int], None] | None = None
        """Called, where a trace wants to know, with the offset up to which all at the live edge have been given all."""
        self._clock = clock
        self._waiting: list[Callable[[], None]] = []
        self._edges: dict[Form, _Edge] = {}
        epoch.log.listeners.append(self._appended)

    def __len__(self) -> int:
        return sum(len(edge.standing) + len(edge.ahead) for edge in self._edges.values())

    def stand(self, consumer: Consumer, form: Form) -> Deferred[None]:
        """Put a consumer, whose ``offset`` is all that there is (or more than its form can give yet), at the edge.

        Returns a Deferred that fires (None) with ``consumer.offset`` set when it no longer stands there: it could
        not take all of a run (the rest is in its outflow), there is more than it is ahead by, or the log is finished.
        Cancel it to leave.
        """
        log = self.epoch.log
        if consumer.outflow.closed:
            return fail(CancelledError())
        consumer.outflow.flush()
        if log.finished or consumer.outflow.paused:
            return succeed(None)
        edge = self._edges.get(form)
        if edge is None:
            edge = self._edges[form] = _Edge(form)
        if not edge.members and not edge.newcomers:
            edge.offset = form.available(log)
        if consumer.offset < edge.offset:
            return succeed(None)
        place = _Place(consumer, edge)
        if consumer.offset == edge.offset:
            edge.enter(place, self._clock.seconds())
        else:
            edge.ahead.append(place)
        return place.left

    def _appended(self) -> None:
        for edge in tuple(self._edges.values()):
            if not edge.postponed:
                self._turn(edge)

    def _turn(self, edge: _Edge) -> None:
        """Begin a round where there is something new, serve a slice of it, and see what is left for the next turn."""
        log = self.epoch.log
        edge.later = None
        if edge.round is None:
            self._begin(edge)
        if edge.round is not None:
            self._serve(edge, edge.round)
        if edge.postponed:
            return  # somebody who left has appended, and so brought the next turn about
        if edge.round is not None or (edge.standing and edge.form.available(log) > edge.offset):
            edge.later = self._clock.callLater(0, self._turn, edge)
        elif log.finished:
            self._leave(edge, edge.standing)
            self._edges.pop(edge.form, None)
        if self._waiting and not self.overdue:
            waiting, self._waiting = self._waiting, []
            for call in waiting:
                call()

    def _begin(self, edge: _Edge) -> None:
        log = self.epoch.log
        if edge.standing and edge.offset < log.start:
            # A relay's log has jumped: what lies between is read where it is kept, each by its own place.
            self._leave(edge, edge.standing)
        available = edge.form.available(log)
        anybody = bool(edge.standing)
        if anybody and available > edge.offset:
            start, edge.offset = edge.offset, min(available, edge.offset + RUN_LIMIT)
            edge.round = _Round(edge.form.encode(log, start, edge.offset), start, edge.order(self._clock))
        if edge.ahead:
            self._pass(edge, edge.offset if anybody else available)

    def _serve(self, edge: _Edge, current: _Round) -> None:
        """The loop."""
        run = current.run
        size = len(run)
        served = current.served
        current.served = end = served + max(1, min(SLICE_BYTES // size, SLICE_CONSUMERS))
        places = current.places[served:end]
        if end >= len(current.places):
            edge.round = None
        behind: list[tuple[_Place, int]] = []
        for place in places:
            try:
                sent = place.send(run)
            except OSError:
                sent = 0
            if sent != size:
                behind.append((place, sent))
        counters = self.counters
        counters.deliveries += len(places)
        counters.bytes_sent += size * len(places)
        if behind:
            counters.left_edge += len(behind)
            for place, sent in behind:
                place.outflow.put_back(run, sent)
            self._leave(edge, [place for place, _ in behind])
        if self.on_given is not None and edge.round is None:
            busy = [each for each in self._edges.values() if each.standing or each.round is not None] or [edge]
            self.on_given(min(each.offset if each.round is None else each.round.start for each in busy))

    def _leave(self, edge: _Edge, leaving: list[_Place]) -> None:
        gone = set(leaving)
        edge.members = [place for place in edge.members if place not in gone]
        edge.newcomers = [place for place in edge.newcomers if place not in gone]
        for place in leaving:
            place.consumer.offset = edge.offset
        for place in leaving:
            # Whoever leaves may do anything, and so end another's connection.
            if not place.left.called:
                place.left.callback(None)

    def _pass(self, edge: _Edge, available: int) -> None:
        """Let those go on who are ahead by no more than there is now."""
        passed = [place for place in edge.ahead if place.consumer.offset <= available or self.epoch.log.finished]
        edge.ahead = [place for place in edge.ahead if place not in passed]
        for place in passed:
            if not place.left.called:
                place.left.callback(None)

    def places(self) -> dict[int, int]:
        """The offset up to which each consumer that stands at an edge was sent all, by the consumer's id."""
        places: dict[int, int] = {}
        for edge in self._edges.values():
            places.update((id(place.consumer), edge.offset) for place in edge.standing)
            if edge.round is not None:
                waiting = edge.round.places[edge.round.served :]
                places.update((id(place.consumer), edge.round.start) for place in waiting if not place.left.called)
        return places

    @property
    def overdue(self) -> bool:
        """Whether more waits for a round to end than may."""
        log = self.epoch.log
        limit = min(BEHIND_LIMIT, log.window // 4)
        return any(edge.postponed and log.end - edge.offset > limit for edge in self._edges.values())

    def when_room(self, call: Callable[[], None]) -> bool:
        """Whether more may be appended now; if not, ``call`` is called when it may."""
        if not self.overdue:
            return True
        if call not in self._waiting:
            self._waiting.append(call)
        return False
