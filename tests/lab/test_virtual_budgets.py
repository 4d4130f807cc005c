"""Budgets in virtual time: what the architecture may cost, told exactly, since nothing else costs anything there.

In virtual time computing takes none, so what is left is waiting: for a line, for an answer, for a timer. A change that
makes anybody wait anew shows here as a number that grows, on every machine alike. Times are microseconds.
"""

from __future__ import annotations

import math
from functools import cache

import polars as pl
import pytest

from sdp.lab.design import Cell
from sdp.lab.measures import Counts, counts_of, end_point, recoveries, samples_of, sent_twice, start_ups, waterfall_of
from sdp.lab.rows import EVENTS
from sdp.lab.scenario import way_of
from sdp.lab.statistics import quantile
from sdp.lab.virtual import run_cell

FRAME = 33_334
LINE = 20_000
HOP = 10_000


class Course:
    """A cell that was run, and what one asks of it."""

    def __init__(self, seconds: float, levels: tuple[tuple[str, str], ...]) -> None:
        named = {name.replace("_", "-"): level for name, level in levels}
        found = run_cell("budget", Cell(number=0, repeat=0, seed=4, levels={}, way=way_of(named)), 1.0, seconds)
        self.all = found.rows
        self.rows = found.rows.filter(pl.col("kind") == "probe")
        self.events = pl.DataFrame([{**each, "cell": 0} for each in found.events], schema=dict(EVENTS))
        self.end = end_point(self.rows)

    @property
    def counts(self) -> Counts:
        return counts_of(self.rows, self.end)

    def latency(self, probability: float) -> float:
        return quantile(samples_of(self.rows, self.end), probability)

    def recovery(self) -> tuple[float, int]:
        [found] = recoveries(self.rows, self.events, self.end)
        return found.seconds, found.lost


@cache
def course(seconds: float = 2.0, **levels: str) -> Course:
    return Course(seconds, tuple(levels.items()))


# --- the way ---


@pytest.mark.parametrize("hops", [0, 1, 3])
def test_nobody_on_the_way_waits_for_anything(hops: int) -> None:
    """A frame that is a record is everywhere at the moment at which it was captured: no timer, no round trip."""
    found = course(hops=str(hops))
    assert found.counts == Counts(60, 0, 0, 0, 0)
    assert found.latency(1.0) == 0
    steps = waterfall_of(found.rows, found.end).steps
    assert len(steps) >= 7 + hops
    assert {step.median for step in steps} == {0}


@pytest.mark.parametrize("hops", [0, 2])
def test_a_stream_costs_the_lines_and_nothing_else(hops: int) -> None:
    found = course(hops=str(hops), hop_delay="10ms", link_delay="20ms")
    assert {found.latency(each) for each in (0.01, 0.5, 1.0)} == {HOP * (1 + hops) + LINE}


def test_a_record_costs_at_most_its_length() -> None:
    """Its last frame nothing, its first one what it lasts, less a frame."""
    found = course(record="0.5")
    assert found.latency(0.01) == 0
    assert found.latency(1.0) == pytest.approx(500_000 - FRAME, abs=2)


def test_a_long_poll_costs_at_most_one_way_there_and_back() -> None:
    found = course(delivery="long-poll", link_delay="20ms")
    assert found.latency(0.5) >= LINE
    assert found.latency(1.0) <= 3 * LINE + FRAME
    assert found.counts.lost == 0


def test_a_new_connection_for_each_long_poll_costs_one_more() -> None:
    kept = course(delivery="long-poll", link_delay="20ms")
    anew = course(delivery="long-poll", link_delay="20ms", connection="new")
    assert anew.latency(1.0) <= 5 * LINE + FRAME
    assert anew.latency(0.5) > kept.latency(0.5)


def test_a_poll_costs_at_most_its_interval_and_a_way_there_and_back() -> None:
    found = course(delivery="poll", poll_every="100ms", link_delay="20ms")
    assert found.latency(1.0) <= 100_000 + 4 * LINE
    assert found.counts.lost == 0


def test_relays_are_no_more_to_a_poll_than_to_a_stream() -> None:
    direct, relayed = (course(1.0, delivery="long-poll", hops=hops, hop_delay="10ms") for hops in ("0", "2"))
    assert relayed.latency(1.0) - direct.latency(1.0) <= 2 * HOP + FRAME


def test_a_million_consumers_see_what_one_sees() -> None:
    found = course(hops="2", fan="100", consumers="1000000", hop_delay="10ms")
    light = found.all.filter(pl.col("kind") == "light")
    assert counts_of(light, "fetched").shown == 60_000_000
    assert quantile(samples_of(light, "fetched"), 1.0) == 3 * HOP


def test_behind_a_network_that_is_full_the_last_waits_for_all() -> None:
    """A thousand consumers of one server whose network carries ten times what they take: a tenth of a frame's time."""
    found = course(1.0, consumers="1000", egress="2000M", bit_rate="200k")
    light = samples_of(found.all.filter(pl.col("kind") == "light"), "fetched")
    mean = FRAME / 10
    assert quantile(light, 0.5) == pytest.approx(mean / 2, rel=0.5)
    assert quantile(light, 1.0) <= 8 * mean  # a key frame
    assert quantile(light, 0.02) < mean / 5


# --- coming in ---


def test_a_first_frame_takes_two_ways_there_and_back() -> None:
    """One for the connection, one for the request: no other question is asked first."""
    found = course(link_delay="20ms", joiners="6", gop="2s")
    assert len(start_ups(found.events)) == 6
    assert max(start_ups(found.events)) == pytest.approx(4 * LINE, abs=2)


# --- what goes wrong ---


def test_a_cut_costs_a_reconnection_and_no_frame() -> None:
    found = course(4.0, fault="cut", link_delay="20ms")
    assert found.counts.lost == 0
    assert found.recovery()[0] <= 0.05 + 5 * LINE / 1e6 + 2 * FRAME / 1e6
    assert sent_twice(found.events) == 0


def test_a_stall_is_made_good_at_once() -> None:
    found = course(4.0, fault="stall", fault_for="500ms", link_delay="20ms")
    assert found.counts.lost == 0
    assert found.recovery()[0] <= 0.5 + (LINE + 2 * FRAME) / 1e6
    assert sent_twice(found.events) == 0


def test_a_killed_relay_costs_the_time_that_it_is_away() -> None:
    found = course(4.0, fault="kill-relay", fault_for="500ms", hops="1")
    seconds, lost = found.recovery()
    assert seconds <= 0.5 + 1.5
    assert lost <= 15  # at most the time that it was away: what it missed its upstream still has
    assert sent_twice(found.events) == 0


@pytest.mark.parametrize("hops", ["0", "1"])
@pytest.mark.parametrize("fault", ["kill-distributor", "kill-origin"])
def test_a_killed_end_is_back_soon(fault: str, hops: str) -> None:
    """Behind a relay as well. What was captured meanwhile may be lost: there is no store here."""
    found = course(5.0, fault=fault, fault_for="500ms", hops=hops, gop="0.5s")
    seconds, lost = found.recovery()
    assert math.isfinite(seconds)
    assert seconds <= 0.5 + 2.0
    assert lost <= 15 + 30
