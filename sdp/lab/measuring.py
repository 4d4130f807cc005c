"""One cell, by real processes: the way is set up, warmed, measured, disturbed where that is asked for, and taken apart.

Topology > probes and light consumers > (the time that is measured, the fault in its middle) > what all of them have
written > rows. Which pictures there are rows about is fixed by their capture: all that were captured within the time
that is measured have one for each consumer, whatever became of them.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import polars as pl

from sdp.errors import LocalError
from sdp.lab.crowd import CrowdOrders, entries
from sdp.lab.decoding import now
from sdp.lab.design import Cell
from sdp.lab.gathering import (
    Seen,
    Servers,
    Watermarks,
    captured_pictures,
    read_probe,
    read_trace,
    watermarks,
)
from sdp.lab.peers.topology import PeerTopology
from sdp.lab.probe import Orders
from sdp.lab.processes import Child, Used, eventually, module
from sdp.lab.tabling import Gathered, rows_of
from sdp.lab.topology import START_PATIENCE, Topology
from sdp.lab.way import Way
from sdp.settings import seconds

__all__ = ["CellResult", "ProcessCell"]

LEAST_GRACE = 0.3
"""How long consumers stay after the last picture that is measured was captured, in seconds, at least."""

A_SECOND_FOR = 1_000
"""For so many light consumers one second more is waited: on a busy machine the last of them is served much later."""

AGREE = 1_000
"""How far prft and the stamp may lie apart, in microseconds: the same clock was read for both."""


@attrs.frozen(kw_only=True)
class CellResult:
    """What a cell leaves: see :mod:`sdp.lab.rows`. ``clock_bound`` is by how much the wall clock moved against the
    monotonic one meanwhile, and ``probe_cost`` what a probe spends on a picture, both in microseconds."""

    rows: pl.DataFrame
    processes: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]]
    clock_bound: int = 0
    probe_cost: float = 0.0


class ProcessCell:
    """Runs one cell. ``warm_up`` and ``duration`` are in seconds. Raises LocalError where something cannot be started
    or ends by itself."""

    def __init__(self, scenario: str, cell: Cell, warm_up: float, duration: float) -> None:
        self._scenario = scenario
        self._cell = cell
        self._way: Way = cell.way
        self._warm_up = warm_up
        self._duration = duration
        self._events: list[dict[str, Any]] = []
        self._watchers: list[Child] = []
        self._joiner: Child | None = None
        self._crowd: Child | None = None

    def run(self) -> CellResult:
        """Run it, and return what came of it."""
        directory = Path(tempfile.mkdtemp(prefix="sdp-lab-"))
        kind = Topology if self._way.system == "sdp" else PeerTopology
        topology = kind(self._way, directory, self._cell.seed)
        clocks = _clocks()
        try:
            self._note("begin", self._cell.text)
            topology.start()
            self._watch(topology)
            begin, end, used = self._measure(topology)
            result = self._result(directory, topology, begin, end, used)
            return attrs.evolve(result, clock_bound=abs(_clocks() - clocks))
        finally:
            for child in self._consumers:
                child.ask_to_end()
            topology.stop()
            for child in self._consumers:
                child.end()
            shutil.rmtree(directory, ignore_errors=True)

    @property
    def _consumers(self) -> list[Child]:
        return [*self._watchers, *(each for each in (self._joiner, self._crowd) if each is not None)]

    def _note(self, kind: str, detail: str = "", at: int | None = None) -> int:
        time_ = now() if at is None else at
        self._events.append({"time": time_, "kind": kind, "detail": detail})
        return time_

    # -- who watches -------------------------------------------------------------------------------------------

    def _watch(self, topology: Topology | PeerTopology) -> None:
        for number in range(self._way.probes):
            self._watchers.append(topology.probe(number))
        if isinstance(topology, Topology):
            self._crowd_in(topology)
        waiting = self._consumers
        eventually(
            lambda: all("ready" in child.said() for child in waiting),
            "Not every consumer had its first picture",
            START_PATIENCE,
            [*waiting, *topology.children],
        )

    def _crowd_in(self, topology: Topology) -> None:
        way, directory, asked = self._way, topology.directory, topology.asked()
        if way.joiners:
            joining = Orders(
                asked=asked,
                out=directory / "joiners.csv",
                consumer=way.probes,
                joins=way.joiners,
                seconds=self._duration,
                seed=self._cell.seed,
            )
            self._joiner = Child("joiners", module("sdp.lab.probe"), directory, joining.text())
        if way.consumers:
            crowding = CrowdOrders(
                asked=attrs.evolve(asked, port=topology.front),
                out=directory / "crowd.bin",
                count=way.consumers,
                slow=round(way.slow * way.consumers),
                consumer=way.probes + way.joiners,
            )
            self._crowd = Child("crowd", module("sdp.lab.crowd"), directory, crowding.text())

    # -- the time that is measured -----------------------------------------------------------------------------

    def _measure(self, topology: Topology | PeerTopology) -> tuple[int, int, list[tuple[str, Used, float]]]:
        time.sleep(self._warm_up)
        watched = [*topology.children, *self._consumers]
        before = {child.role: child.used() for child in watched}
        began = time.monotonic()
        begin = self._note("measure")
        if self._joiner is not None:
            self._joiner.say(str(begin))
        if self._way.fault == "none":
            time.sleep(self._duration)
        else:
            time.sleep(self._duration / 2)
            assert isinstance(topology, Topology)  # the design lets no other system have faults
            self._disturb(topology)
            time.sleep(max(0.0, began + self._duration - time.monotonic()))
        end = self._note("end")
        lasted = time.monotonic() - began
        used = [(child.role, _more(before[child.role], child.used()), lasted) for child in watched]
        time.sleep(self._grace())
        for child in [*topology.children, *self._watchers]:
            child.check()
        return begin, end, used

    def _grace(self) -> float:
        """How long what was captured last may take to get to its consumers."""
        way = self._way
        record = 0.0 if way.record == "frame" else seconds(way.fragment)
        if way.system == "nginx-hls":  # a segment is listed when the next one begins, and there is a player behind it
            record = 4 * max(record, way.gop)
        lines = 4 * (way.link_delay + way.hop_delay * (1 + way.hops))
        crowd = way.consumers / A_SECOND_FOR
        return LEAST_GRACE + crowd + way.target + 2 * way.poll_every * (way.delivery == "poll") + record + lines

    def _disturb(self, topology: Topology) -> None:
        fault, lasting = self._way.fault, self._way.fault_for
        if fault == "stall":
            self._note("stall", f"the line, for {lasting:g} s")
            topology.stall(lasting)
        elif fault == "cut":
            self._note("cut", "the line, every connection")
            topology.cut()
        else:
            role = {"kill-relay": "relay1"}.get(fault, fault.removeprefix("kill-"))
            self._note("kill", role)
            topology.kill(role)
            time.sleep(lasting)
            self._note("restart", role)
            topology.restart(role)

    # -- what came of it ---------------------------------------------------------------------------------------

    def _result(
        self,
        directory: Path,
        topology: Topology | PeerTopology,
        begin: int,
        end: int,
        used: list[tuple[str, Used, float]],
    ) -> CellResult:
        for child in self._consumers:
            child.ask_to_end()
        for child in self._consumers:
            child.end()
        topology.stop()
        gathered, cost = self._gather(directory, begin, end)
        players, rows = rows_of(gathered, self._scenario, self._cell)
        self._events += players
        processes = [
            {"role": role, "cpu_seconds": each.cpu_seconds, "rss_bytes": each.rss_bytes, "seconds": lasted}
            for role, each, lasted in used
        ]
        return CellResult(rows=rows, processes=processes, events=self._events, probe_cost=cost)

    def _gather(self, directory: Path, begin: int, end: int) -> tuple[Gathered, float]:
        pictures = captured_pictures(_traces(directory, "origin"))
        if not pictures:
            raise LocalError("The Origin captured nothing: its trace is empty.")
        servers = Servers(
            origin=watermarks(_whole(directory, "origin")),
            distributor=watermarks(_whole(directory, "distributor")),
            relays=[watermarks(_whole(directory, f"relay{number}")) for number in range(1, self._way.hops + 1)],
        )
        gathered = Gathered(begin=begin, end=end, pictures=pictures, servers=servers)
        seen: list[Seen] = []
        totals: Counter[str] = Counter()
        for path in sorted(directory.glob("probe-*.csv")):
            own, joined, last = _read_probe(path)
            seen += own
            gathered.probes = {**gathered.probes, **dict.fromkeys(joined)}
            totals.update({key: value for each in last for key, value in json.loads(each).items()})
        gathered.seen = seen
        self._note("sent-twice", str(totals["twice"]), end)
        faults = totals["unread"] + totals["damaged"]
        disagree = sum(1 for each in seen if each.prft is not None and abs(each.prft - each.captured) > AGREE)
        self._note("note", f"probes: {totals['requests']} requests on {totals['connections']} connections", end)
        self._note("note", f"probes: {faults} pictures unread or damaged, {disagree} whose prft and stamp differ", end)
        self._joins(directory / "joiners.csv")
        self._light(directory / "crowd.bin", gathered)
        return gathered, (totals["decoding"] + totals["reading"]) / max(1, totals["pictures"])

    def _joins(self, path: Path) -> None:
        if not path.exists():
            return
        seen, joined, _ = _read_probe(path)
        for consumer, time_ in joined.items():
            first = min((each.decoded for each in seen if each.consumer == consumer), default=None)
            self._note("join", str(consumer), time_)
            if first is not None:
                self._note("first", str(consumer), first)

    def _light(self, path: Path, gathered: Gathered) -> None:
        if not path.exists():
            return
        passed: dict[int, list[tuple[int, int]]] = defaultdict(list)
        left: dict[int, int] = {}
        for consumer, offset, time_ in entries(path.read_bytes()):
            if offset < 0:
                left[consumer] = time_
            else:
                passed[consumer].append((time_, offset))
        first = self._way.probes + self._way.joiners
        slow = range(first, first + round(self._way.slow * self._way.consumers))
        if slow:  # they are a load; whom they are a load to is what is measured
            gone = len([each for each in slow if each in left])
            self._note("note", f"{len(slow)} slow consumers are not in the rows; {gone} of them had left", gathered.end)
        gathered.light = {consumer: Watermarks(each) for consumer, each in passed.items() if consumer not in slow}
        gathered.light_left = left


def _clocks() -> int:
    """The wall clock against the monotonic one, in microseconds: it stands still unless somebody sets the clock."""
    return (time.time_ns() - time.monotonic_ns()) // 1000


def _more(before: Used, after: Used) -> Used:
    """What was used between; a process that was started again begins at nothing."""
    spent = after.cpu_seconds - before.cpu_seconds
    return Used(spent if spent >= 0 else after.cpu_seconds, after.rss_bytes)


def _read_probe(path: Path) -> tuple[list[Seen], dict[int, int], list[str]]:
    with path.open(encoding="ascii") as lines:
        return read_probe(lines)


def _traces(directory: Path, role: str) -> list[Any]:
    """A role's traces, one for each time that it was started."""
    traces = []
    for path in sorted(directory.glob(f"{role}-*.csv")):
        with path.open(encoding="utf-8") as lines:
            traces.append(read_trace(lines))
    return traces


def _whole(directory: Path, role: str) -> list[Any]:
    return [each for trace in _traces(directory, role) for each in trace]
