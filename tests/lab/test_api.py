"""The laboratory from Python: what a notebook asks of it."""

from __future__ import annotations

import math
from pathlib import Path

import polars as pl
import pytest

from sdp.errors import ConfigurationError, StorageError
from sdp.lab import api
from sdp.lab.scenario import parse_scenario
from tests.lab.synthetic import write_run

HOPS = [{"hops": "0"}, {"hops": "1"}]


def test_a_scenario_that_is_defined_is_the_one_that_its_text_says() -> None:
    defined = api.define(
        'Is "this" a \\ question?', {"hops": [0, 2], "store": [False]}, fixed={"link-delay": "5ms"}, repeats=2, seed=9
    )
    assert defined == parse_scenario(defined.source, "mine", "mine")
    assert defined.levels == {"hops": ["0", "2"], "store": ["no"]}
    assert defined.plan.question == 'Is "this" a \\ question?'
    assert (defined.plan.repeats, defined.plan.seed, defined.plan.duration) == (2, 9, 4)


def test_cells_can_be_listed() -> None:
    defined = api.define("Which?", cells=[{"hops": 1}, {"delivery": "poll"}])
    assert list(defined.listed) == [{"hops": "1", "delivery": "stream"}, {"hops": "0", "delivery": "poll"}]


WRONG = [
    ({"factors": {"hops": [0]}, "cells": [{"hops": 1}]}, "not both"),
    ({"factors": {"hop": [0]}}, "Did you mean"),
    ({}, "factors is missing"),
]


@pytest.mark.parametrize(("given", "told"), WRONG)
def test_what_cannot_be_defined_is_told(given: dict[str, object], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        api.define("Why?", **given)  # type: ignore[arg-type]


def test_a_run_is_kept_and_goes_on_where_it_was(tmp_path: Path) -> None:
    scenario = api.define("What?", {"hops": [0, 1]}, repeats=1, warm_up=0.2, duration=0.5)
    first = api.run(scenario, engine="virtual", out=tmp_path / "run")
    [kept, *_] = sorted(first.directory.rows_path.iterdir())
    before = kept.stat().st_mtime_ns
    again = api.run(scenario, engine="virtual", out=tmp_path / "run")
    assert kept.stat().st_mtime_ns == before
    assert again.rows.equals(first.rows)
    assert api.load(tmp_path / "run").answer == first.answer
    assert first.processes.is_empty()
    assert first.events.filter(pl.col("kind") == "measure").height == 2


def test_no_such_engine_and_no_such_run(tmp_path: Path) -> None:
    scenario = api.define("What?", {"hops": [0]})
    with pytest.raises(ConfigurationError, match="processes, virtual"):
        api.run(scenario, engine="steam", out=tmp_path)
    with pytest.raises(StorageError, match="no finished cell"):
        api.load(tmp_path)


@pytest.fixture
def results(tmp_path: Path) -> api.Results:
    def delay(levels: object, consumer: int, frame: int, random: object) -> int | None:
        return None if frame == 3 else 4_000

    return api.load(write_run(tmp_path / "run", HOPS, delay, repeats=2).path)


def test_rows_have_their_latency(results: api.Results) -> None:
    assert results.rows.height == 240
    assert results.rows["latency"].value_counts().sort("latency")["count"].to_list() == [236, 4]
    assert results.rows.filter(pl.col("frame") == 3)["latency"].to_list() == [math.inf] * 4


def test_a_table_has_a_row_for_each_condition(results: api.Results) -> None:
    table = results.table()
    assert table["hops"].to_list() == ["0", "1"]
    assert table["p50"].to_list() == [4.0, 4.0]
    assert table["lost"].to_list() == [2, 2]
    assert table["max"].to_list() == [math.inf, math.inf]


def test_each_figure_that_has_something_to_show(results: api.Results, tmp_path: Path) -> None:
    shown = set(api.FIGURES) - {"profile", "start-ups"}  # two levels are no course, and nobody joined
    for kind in shown:
        assert results.plot(kind).svg.startswith("<svg")
    with pytest.raises(ConfigurationError, match="nothing that profile could show"):
        results.plot("profile")
    with pytest.raises(ConfigurationError, match="one of distributions"):
        results.plot("pie")
    results.plot("tails").save(tmp_path / "tails.svg")
    assert "<style>" in (tmp_path / "tails.svg").read_text("utf-8")


def test_a_notebook_shows_the_answer_and_the_table(results: api.Results) -> None:
    shown = results._repr_html_()
    assert "4 of 240 frames were never shown" in shown
    assert "<table" in shown
    assert "p50_low" not in shown
    assert "2 conditions" in repr(results)
    assert "<style>" in results.plot()._repr_html_()


def test_runs_are_compared(results: api.Results, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", HOPS, lambda levels, *rest: 9_000, repeats=2)
    found = api.compare(results, api.load(other.path))
    assert {each.what for each in found.real} >= {"median"}
    assert results.report().exists()


def test_shipped_scenarios_are_named() -> None:
    assert "relays" in api.scenarios()
