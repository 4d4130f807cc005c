"""The outlet: every consumer at the live edge gets a new run of the log in one tight loop.

Consumers that have caught up stand in one list for each wire form. What is appended is framed once and sent to each of
them straight from the socket's ``send``. Whoever cannot take all of it leaves the list, and catches up by its own place
in the log under flow control: a consumer is a place, never a queue of copies. While it stands in the list its place is
the edge's, so the loop keeps no book of anyone.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from sdp.distributor.forms import Form
from sdp.net.outflow import Outflow
from sdp.stream.catalog import Epoch

__all__ = ["Consumer", "Counters", "Fanout"]


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


class _Edge:
    """The consumers of one wire form that have all that there is up to ``offset``; ``ahead`` are those who have more:
    bytes whose place in a record is not known yet."""

    __slots__ = ("ahead", "form", "members", "offset", "turn")

    def __init__(self, form: Form) -> None:
        self.form = form
        self.members: list[_Place] = []
        self.ahead: list[_Place] = []
        self.offset = 0
        self.turn = 0


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
        for places in (self.edge.members, self.edge.ahead):
            if self in places:
                places.remove(self)


class Fanout:
    """One epoch's consumers at the live edge."""

    def __init__(self, epoch: Epoch, counters: Counters) -> None:
        self.epoch = epoch
        self.counters = counters
        self._edges: dict[Form, _Edge] = {}
        epoch.log.listeners.append(self._appended)

    def __len__(self) -> int:
        return sum(len(edge.members) + len(edge.ahead) for edge in self._edges.values())

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
        if not edge.members:
            edge.offset = form.available(log)
        if consumer.offset < edge.offset:
            return succeed(None)
        place = _Place(consumer, edge)
        (edge.members if consumer.offset == edge.offset else edge.ahead).append(place)
        return place.left

    def _appended(self) -> None:
        log = self.epoch.log
        for edge in tuple(self._edges.values()):
            if edge.ahead:
                self._pass(edge, edge.form.available(log))
            if edge.members and edge.offset < log.start:
                # A relay's log has jumped: what lies between is read where it is kept, each by its own place.
                self._leave(edge, edge.members)
            if edge.members:
                available = edge.form.available(log)
                if available > edge.offset:
                    self._serve(edge, edge.form.encode(log, edge.offset, available), available)
                if log.finished:
                    self._leave(edge, edge.members)
        if log.finished:
            self._edges.clear()

    def _serve(self, edge: _Edge, run: bytes, end: int) -> None:
        """The loop. Its turn begins with another consumer each time, so that nobody is always the last."""
        members = edge.members
        size = len(run)
        behind: list[tuple[_Place, int]] = []
        edge.turn = turn = (edge.turn + 1) % len(members)
        for place in members[turn:] + members[:turn] if turn else members:
            try:
                sent = place.send(run)
            except OSError:
                sent = 0
            if sent != size:
                behind.append((place, sent))
        counters = self.counters
        counters.deliveries += len(members)
        counters.bytes_sent += size * len(members)
        edge.offset = end
        if behind:
            counters.left_edge += len(behind)
            for place, sent in behind:
                place.outflow.put_back(run, sent)
            self._leave(edge, [place for place, _ in behind])

    def _leave(self, edge: _Edge, leaving: list[_Place]) -> None:
        gone = set(leaving)
        edge.members = [place for place in edge.members if place not in gone]
        for place in leaving:
            # Whoever leaves may do anything, and so end another's connection.
            if not place.left.called:
                place.consumer.offset = edge.offset
                place.left.callback(None)

    def _pass(self, edge: _Edge, available: int) -> None:
        """Let those go on who are ahead by no more than there is now."""
        passed = [place for place in edge.ahead if place.consumer.offset <= available or self.epoch.log.finished]
        edge.ahead = [place for place in edge.ahead if place not in passed]
        for place in passed:
            if not place.left.called:
                place.left.callback(None)

    def places(self) -> dict[int, int]:
        """The edge's offset by the id of each consumer that stands there."""
        return {id(place.consumer): edge.offset for edge in self._edges.values() for place in edge.members}
