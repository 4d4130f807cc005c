"""One cell in virtual time: its way is set up out of real services, watched, disturbed, and made rows, in no time.

The rows are those of the real engine, made by the same code, with one column more: ``weight``, the number of consumers
that a row stands for.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Final

import polars as pl
from twisted.internet.defer import CancelledError, Deferred

from sdp.distributor.service import DistributorParts, DistributorService
from sdp.distributor.settings import DistributorSettings
from sdp.errors import LocalError
from sdp.lab.design import Cell
from sdp.lab.gathering import Passed, Servers, Watermarks, watermarks
from sdp.lab.link import LinkSpec
from sdp.lab.measuring import CellResult
from sdp.lab.tabling import Gathered, rows_of
from sdp.lab.virtual.camera import Camera
from sdp.lab.virtual.tree import branches_of
from sdp.lab.virtual.watching import Consumer
from sdp.lab.virtual.world import Place, World
from sdp.lab.way import Way
from sdp.settings import load, seconds

__all__ = ["VirtualCell", "run_cell", "unable"]

PATIENCE: Final = 120.0
"""Virtual seconds until each consumer has had a picture: records of the longest kind, over a slow line."""

SLOW_RATE: Final = 8_000
"""Bits a second that a slow consumer takes, as in the real engine."""

DRAINED: Final = 5.0
"""Seconds after which everything has ended that was told to."""

GRACE: Final = 2.0
"""Seconds that consumers stay after the last picture that is measured, beside what the way itself takes."""


def unable(way: Way) -> str | None:
    """Why this way cannot be run in virtual time, and what to do; None where it can."""
    reasons = {
        f"system {way.system}": way.system != "sdp",
        "a store": way.store,
        "more than one worker": way.workers > 1,
        f"path {way.path}": way.path != "direct",
    }
    named = [name for name, is_so in reasons.items() if is_so]
    if not named:
        return None
    return f"virtual time has no processes and no disk, so not {' nor '.join(named)}: use --engine processes."


def run_cell(scenario: str, cell: Cell, warm_up: float, duration: float) -> CellResult:
    """Run a cell; ``warm_up`` and ``duration`` in virtual seconds. Raises LocalError."""
    reason = unable(cell.way)
    if reason is not None:
        raise LocalError(reason[0].upper() + reason[1:])
    return VirtualCell(scenario, cell, warm_up, duration).run()


class VirtualCell:
    """One cell's world, and its course."""

    def __init__(self, scenario: str, cell: Cell, warm_up: float, duration: float) -> None:
        self.world = World()
        self.traces: dict[str, list[Passed]] = {}
        """What each server has told, by its name."""
        self._scenario = scenario
        self._cell = cell
        self._way: Way = cell.way
        self._warm_up = warm_up
        self._duration = duration
        self._chance = Random(cell.seed)
        self._services: list[DistributorService] = []
        """Each server, once for each time that it was started."""
        self._events: list[dict[str, object]] = []
        self._weights: dict[int, int] = {}
        self._probes: list[Consumer] = []
        self._joiners: list[Consumer] = []
        self._light: list[Consumer] = []
        self._chain: list[str] = []
        """The servers of the first way, from the Distributor on."""

    def run(self) -> CellResult:
        """Run it, and return what came of it."""
        self._note("begin", self._cell.text)
        self._set_up()
        begin = self._until_ready() + self._warm_up
        self.world.run_until(begin)
        begin_us = self._note("measure")
        self._plan_joins(begin)
        if self._way.fault != "none":
            self.world.callLater(self._duration / 2, self._disturb)
        self.world.run_until(begin + self._duration)
        end_us = self._note("end")
        self.world.run_until(begin + self._duration + self._grace())
        self._take_down()
        return self._result(begin_us, end_us)

    def _note(self, kind: str, detail: str = "", at: int | None = None) -> int:
        time = self.world.microseconds() if at is None else at
        self._events.append({"time": time, "kind": kind, "detail": detail})
        return time

    # -- setting up --------------------------------------------------------------------------------------------

    def _set_up(self) -> None:
        way, world = self._way, self.world
        self._serve(world.place("distributor", egress=way.egress))
        origin = world.place("origin", line=LinkSpec(delay=way.hop_delay))
        self._camera = Camera(origin, "distributor", way, self._cell.seed)
        for number, branch in enumerate(branches_of(way, self._cell.seed)):
            servers = self._relays(branch.relays)
            if number == 0:
                self._chain = servers
                self._watch(servers[-1], branch.leaves)
            if branch.weight:
                self._stand_for(branch.weight, servers[-1], branch.leaf, branch.leaves)
        world.run_until(0.01)
        self._camera.start()
        for consumer in (*self._probes, *self._light):
            world.callLater(self._chance.uniform(0, 1), consumer.start)

    def _serve(self, place: Place) -> None:
        """A Distributor, or a relay, at a place; again where there was one."""
        upstream = place.name.rpartition("/")[0]
        given: dict[str, object] = {"listen": "tcp:80", "store": "none"}
        if upstream:
            given["upstream"] = [f"unix:{upstream}"]
        chance = Random(f"{self._cell.seed} {place.name} {len(self._services)}")
        parts = DistributorParts(
            open_store=lambda: None,
            wall_clock=self.world.wall,
            random_bytes=chance.randbytes,
            trace=_Tracer(self.traces.setdefault(place.name, []), self.world),
        )
        settings = load(DistributorSettings, given)  # type: ignore[arg-type]  # texts and a list of texts
        service = DistributorService(settings, place, _never, parts)
        service.startService()
        self._services.append(service)

    def _take_down(self) -> None:
        """Let all of it end by itself, also what was killed: nothing may be left half done in memory."""
        for consumer in (*self._probes, *self._joiners, *self._light):
            consumer.leave()
        self._camera.stop()
        for service in self._services:
            ended: Deferred[None] = service.stopService()
            ended.addErrback(lambda failure: failure.trap(CancelledError))
        self.world.run_until(self.world.seconds() + DRAINED)

    def _relays(self, ranks: tuple[int, ...]) -> list[str]:
        """The names of the servers of a way, its relays set up where they are not there yet."""
        way, names = self._way, ["distributor"]
        for rank in ranks:
            name = f"{names[-1]}/{rank}"
            if name not in self.world.places:
                line = LinkSpec(delay=way.hop_delay)
                self._serve(self.world.place(name, line=line, egress=way.egress, rank=rank, siblings=way.fan))
            names.append(name)
        return names

    def _line(self, number: int) -> LinkSpec:
        """The modelled line to a probe, another one for each by its seed."""
        way = self._way
        return LinkSpec(
            rate=way.link_rate,
            trace=way.link,
            delay=way.link_delay,
            jitter=way.link_jitter,
            loss=way.link_loss,
            seed=self._cell.seed + number,
        )

    def _watch(self, server: str, leaves: int) -> None:
        """The probes: after the light consumers in the order of their server."""
        way = self._way
        for number in range(way.probes):
            self._probes.append(
                self._consumer(number, server, self._line(number), leaves + number, leaves + way.probes)
            )

    def _stand_for(self, weight: int, server: str, leaf: int, leaves: int) -> None:
        """A light consumer for so many, and a slow one for the share of them that is slow; of these there are no rows,
        as in the real engine."""
        slow = round(self._way.slow * weight)
        siblings = leaves + self._way.probes
        for count, line in ((weight - slow, LinkSpec()), (slow, LinkSpec(rate=SLOW_RATE))):
            if count:
                number = self._way.probes + self._way.joiners + len(self._light)
                consumer = self._consumer(number, server, line, leaf, siblings)
                self._light.append(consumer)
                if line.rate is None:
                    self._weights[number] = count

    def _consumer(self, number: int, server: str, line: LinkSpec, rank: int, siblings: int) -> Consumer:
        place = self.world.place(f"consumer {number}", line=line, rank=rank, siblings=siblings)
        return Consumer(number, place, server, self._way, self._camera.captured)

    def _until_ready(self) -> float:
        """Let time pass until each consumer has had a picture; return the time then."""
        while not all(each.seen for each in (*self._probes, *self._light) if each.place.line.rate != SLOW_RATE):
            if self.world.seconds() > PATIENCE:
                raise LocalError("Not every consumer had its first picture: the line is too slow for this bit rate.")
            self.world.run_until(self.world.seconds() + 0.1)
        return self.world.seconds()

    # -- the time that is measured -----------------------------------------------------------------------------

    def _plan_joins(self, begin: float) -> None:
        way = self._way
        for number in range(way.probes, way.probes + way.joiners):
            consumer = self._consumer(number, self._chain[-1], self._line(number), 0, 1)
            consumer.on_picture = partial(self._joined, consumer)
            self._joiners.append(consumer)
            self.world.callLater(self._chance.uniform(0, self._duration), self._join, consumer)

    def _join(self, consumer: Consumer) -> None:
        self._note("join", str(consumer.number))
        consumer.start()

    def _joined(self, consumer: Consumer) -> None:
        if len(consumer.seen) == 1:
            self._note("first", str(consumer.number))
        elif len(consumer.seen) == 5:
            self.world.callLater(0, consumer.leave)

    def _grace(self) -> float:
        way = self._way
        record = 0.0 if way.record == "frame" else seconds(way.fragment)
        polls = 2 * way.poll_every * (way.delivery == "poll")
        return GRACE + way.target + polls + 2 * record + 8 * (way.link_delay + way.hop_delay * (1 + way.hops))

    def _disturb(self) -> None:
        fault, lasting = self._way.fault, self._way.fault_for
        lines = [each.place for each in self._probes]
        if fault == "stall":
            self._note("stall", f"the line, for {lasting:g} s")
            for place in lines:
                place.stall(lasting)
        elif fault == "cut":
            self._note("cut", "the line, every connection")
            for place in lines:
                place.cut()
        else:
            role = {"kill-relay": "relay1"}.get(fault, fault.removeprefix("kill-"))
            self._note("kill", role)
            place = self.world.places[self._chain[1] if role == "relay1" else role]
            place.kill()
            self.world.callLater(lasting, self._restart, role, place)

    def _restart(self, role: str, place: Place) -> None:
        self._note("restart", role)
        if role == "origin":
            self._camera.start()
        else:
            self._serve(place)

    # -- what came of it ---------------------------------------------------------------------------------------

    def _result(self, begin: int, end: int) -> CellResult:
        servers = Servers(
            origin=watermarks(self._camera.posted),
            distributor=watermarks(self.traces["distributor"]),
            relays=[watermarks(self.traces[name]) for name in self._chain[1:]],
        )
        gathered = Gathered(
            begin=begin,
            end=end,
            pictures=self._camera.pictures,
            servers=servers,
            seen=[seen for each in self._probes for seen in each.seen],
            probes=dict.fromkeys(each.number for each in self._probes),
            light={each.number: Watermarks(each.passed) for each in self._light if each.number in self._weights},
        )
        self._note("sent-twice", str(sum(each.twice for each in self._probes)), end)
        for note in self._told():
            self._note("note", note, end)
        players, rows = rows_of(gathered, self._scenario, self._cell)
        weights = pl.DataFrame(
            {"consumer": list(self._weights), "weight": list(self._weights.values())},
            schema={"consumer": pl.Int32, "weight": pl.Int64},
        )
        weighed = rows.join(weights, on="consumer", how="left", maintain_order="left").with_columns(
            pl.col("weight").fill_null(1)
        )
        if not self._way.target:  # nobody decodes here, and nobody holds a picture back: a byte's arrival is all
            arrived = [pl.coalesce(name, "fetched").alias(name) for name in ("decoded", "presented")]
            weighed = weighed.with_columns(arrived)
        return CellResult(rows=weighed, processes=[], events=[*self._events, *players])

    def _told(self) -> Iterator[str]:
        """What was simulated, and for whom it stands."""
        servers = sum(name.startswith("distributor") for name in self.world.places)
        whole = sum(self._way.fan**level for level in range(self._way.hops + 1))
        light = f"{len(self._light)} light consumers that stand for {self._way.consumers}"
        yield f"simulated: {servers} of {whole} servers, {len(self._probes)} probes, and {light}"


class _Tracer:
    """A server's trace: what it says, and when."""

    def __init__(self, passed: list[Passed], world: World) -> None:
        self._passed = passed
        self._world = world

    def __call__(
        self,
        point: str,
        stream: str,
        offset: int | None = None,
        *,
        capture_time: int | None = None,
        at: int | None = None,
    ) -> None:
        """Keep it."""
        time = self._world.microseconds() if at is None else at
        self._passed.append(Passed(point, stream, offset, capture_time, time))


def _never(status: int) -> None:
    raise LocalError(f"A server of the virtual world left with status {status}.")
