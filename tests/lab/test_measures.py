"""Rows of which the truth is known, and what is read out of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest

from sdp.lab.measures import (
    Counts,
    counts_of,
    end_point,
    factors_of,
    latencies,
    levels_of,
    recoveries,
    samples_of,
    sent_twice,
    start_ups,
    time_line,
    waterfall_of,
)
from sdp.lab.rows import EVENTS, frame_of_rows
from sdp.lab.statistics import quantile
from tests.lab.synthetic import FRAME_US, START, rows_of


def steady(levels: Any, consumer: int, frame: int, random: Any) -> int:
    return 10_000


def table(*rows: dict[str, Any], hops: int = 0) -> pl.DataFrame:
    plain = {"cell": 0, "repeat": 0, "consumer": 0, "kind": "probe", "outcome": "shown"}
    return frame_of_rows([{**plain, "frame": at, **row} for at, row in enumerate(rows)], [], hops)


def happened(*events: tuple[int, str, str], cell: int = 0) -> pl.DataFrame:
    rows = [{"cell": cell, "time": time, "kind": kind, "detail": detail} for time, kind, detail in events]
    return pl.DataFrame(rows, schema=dict(EVENTS))


def test_a_latency_ends_at_the_last_point_that_all_conditions_have() -> None:
    both = pl.concat([rows_of({"a": "1"}, steady), rows_of({"a": "2"}, steady, cell=1)])
    assert end_point(both) == "decoded"
    light = both.with_columns(decoded=pl.when(pl.col("factor.a") == "1").then(pl.col("decoded")))
    assert end_point(light) == "fetched"
    assert end_point(both.with_columns(presented=pl.col("decoded") + 5)) == "presented"
    assert factors_of(both) == ["a"]
    assert levels_of(both, ["a"]) == [{"a": "1"}, {"a": "2"}]


def test_what_was_not_shown_counts_as_infinite_and_a_duplicate_not_at_all() -> None:
    rows = table(
        {"captured": 0, "decoded": 5},
        {"captured": 10, "decoded": 99, "outcome": "duplicate"},
        {"captured": 20, "outcome": "never"},
        {"outcome": "departed"},
        {"captured": 40},
    )
    assert latencies(rows, "decoded")["latency"].to_list() == [5, math.inf, math.inf, math.inf]
    counts = counts_of(rows, "decoded")
    assert counts == Counts(shown=2, never=1, duplicate=1, departed=1, untimed=1)
    assert (counts.due, counts.lost) == (4, 3)
    assert quantile(samples_of(rows, "decoded"), 0.25) == 5
    assert quantile(samples_of(rows, "decoded"), 0.26) == math.inf


def test_a_row_counts_for_as_many_consumers_as_it_stands_for() -> None:
    rows = table({"captured": 0, "fetched": 5}, {"captured": 0, "outcome": "never"}).with_columns(
        weight=pl.Series([999, 1])
    )
    assert counts_of(rows, "fetched")[:2] == (999, 1)
    assert quantile(samples_of(rows, "fetched"), 0.999) == 5
    assert quantile(samples_of(rows, "fetched"), 1.0) == math.inf


def test_each_repeat_is_a_sample() -> None:
    rows = pl.concat([rows_of({}, steady, cell=at, repeat=at, frames=7) for at in range(3)])
    assert [sample.latency.size for sample in samples_of(rows, "decoded")] == [7, 7, 7]


def test_a_waterfall_goes_from_point_to_point() -> None:
    found = waterfall_of(rows_of({}, steady), "decoded")
    assert [(step.start, step.end, step.median) for step in found.steps] == [
        ("captured", "encoded", 1000),
        ("encoded", "received", 2000),
        ("received", "appended", 500),
        ("appended", "fetched", 4500),
        ("fetched", "decoded", 2000),
    ]
    assert found.total == 10_000
    assert found.beside == ()


def test_a_sync_that_nobody_waited_for_stands_beside_the_way() -> None:
    rows = table(*({"captured": 0, "appended": 10, "durable": 900, "fetched": 20, "decoded": 30} for _ in range(3)))
    found = waterfall_of(rows, "decoded")
    assert [step.end for step in found.steps] == ["appended", "fetched", "decoded"]
    assert [(step.end, step.median) for step in found.beside] == [("durable", 900)]


def test_relays_stand_in_the_order_of_the_way() -> None:
    rows = table({"captured": 0, "appended": 1, "hop1": 3, "hop2": 6, "fetched": 10}, hops=2)
    assert [step.median for step in waterfall_of(rows, "fetched").steps] == [1, 2, 3, 4]


def test_nothing_shown_has_no_waterfall() -> None:
    found = waterfall_of(table({"captured": 0, "outcome": "never"}), "decoded")
    assert found.steps == ()
    assert math.isnan(found.total)


def test_start_up_is_from_a_request_to_its_first_picture() -> None:
    events = happened(
        (100, "join", "0"), (400, "first", "0"), (120, "join", "1"), (900, "join", "0"), (950, "first", "0")
    )
    assert start_ups(events) == [50, 300, math.inf]


def test_bytes_sent_twice_are_summed() -> None:
    assert sent_twice(happened((1, "sent-twice", "100"), (2, "sent-twice", "23"), (3, "note", "9"))) == 123


def fault_at(frame: int, lasts: int) -> Any:
    """Frames captured in the fault are lost; then all is as before."""

    def delay(levels: Any, consumer: int, number: int, random: Any) -> int | None:
        return None if frame <= number < frame + lasts else 10_000 + int(random.integers(0, 100))

    return delay


def test_recovery_is_from_the_fault_until_pictures_come_as_before() -> None:
    rows = rows_of({}, fault_at(30, 12), frames=80)
    kill = START + 30 * FRAME_US
    [found] = recoveries(rows, happened((kill, "kill", "distributor")), "decoded")
    assert found.lost == 12
    assert found.seconds == pytest.approx((12 * FRAME_US + 10_050) / 1e6, abs=0.0001)


def test_pictures_that_come_late_are_not_yet_as_before() -> None:
    def late(levels: Any, consumer: int, number: int, random: Any) -> int:
        return 200_000 if 30 <= number < 40 else 10_000

    [found] = recoveries(rows_of({}, late, frames=80), happened((START + 30 * FRAME_US, "stall", "link")), "decoded")
    assert found.lost == 0
    assert found.seconds == pytest.approx((10 * FRAME_US + 10_000) / 1e6, abs=0.0001)


def test_what_is_never_got_over_takes_for_ever() -> None:
    rows = rows_of({}, fault_at(30, 1000), frames=80, consumers=2)
    found = recoveries(rows, happened((START + 30 * FRAME_US, "cut", "link")), "decoded")
    assert [(each.consumer, each.seconds, each.lost) for each in found] == [(0, math.inf, 50), (1, math.inf, 50)]


def test_a_fault_with_nothing_before_it_has_nothing_to_go_back_to() -> None:
    assert recoveries(rows_of({}, steady), happened((START - 1, "kill", "origin")), "decoded") == []


def test_each_of_two_faults_has_its_own_recovery() -> None:
    def twice(levels: Any, consumer: int, number: int, random: Any) -> int | None:
        return None if number in range(20, 25) or number in range(60, 63) else 10_000

    events = happened((START + 20 * FRAME_US, "kill", "a"), (START + 60 * FRAME_US, "kill", "b"))
    assert [each.lost for each in recoveries(rows_of({}, twice, frames=90), events, "decoded")] == [5, 3]


def test_a_time_line_marks_what_was_lost_even_where_nobody_read_its_clock() -> None:
    rows = rows_of({}, fault_at(30, 12), frames=80).with_columns(
        captured=pl.when(pl.col("outcome") == "shown").then(pl.col("captured"))
    )
    found = time_line(rows, "decoded", begin=START)
    assert sum(moment.lost for moment in found) == 12
    assert [moment.seconds for moment in found] == sorted(moment.seconds for moment in found)
    lost = [moment.seconds for moment in found if moment.lost]
    assert lost[0] == pytest.approx(30 * FRAME_US / 1e6, abs=0.01)
    assert np.isinf(found[35].median)
