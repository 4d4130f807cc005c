"""The laboratory on real processes: small runs whose rows are whole."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest

from sdp.errors import ConfigurationError
from sdp.lab.design import cells_of
from sdp.lab.measuring import CellResult, ProcessCell
from sdp.lab.processes import find_program
from sdp.lab.rows import RunDirectory, points_of
from sdp.lab.run import Run
from sdp.lab.scenario import parse_scenario, read_scenario
from tests.system.programs import finished, sdp

pytestmark = pytest.mark.system

PATIENCE = 240.0
"""For a cell or two of a second each, whose processes may have to wait long for a processor."""


def run_cell(source: str) -> CellResult:
    """The only cell of a scenario."""
    [cell] = cells_of(parse_scenario(f"repeats = 1\n{source}", "mine", "mine.toml"))
    return ProcessCell("mine", cell, 0.2, 1.0).run()


def test_another_program_is_measured_by_the_same_pictures() -> None:
    for program in ("icecast2", "icecast"):
        if find_program(program) is not None:
            break
    else:
        pytest.skip("Icecast is not installed; on Debian: apt-get install icecast2")
    result = run_cell('[factors]\nsystem = ["icecast"]\n')
    shown = result.rows.filter(pl.col("outcome") == "shown")
    assert len(shown) > 0
    assert shown.filter(pl.col("captured") > pl.col("encoded")).is_empty()
    assert shown.filter(pl.col("encoded") > pl.col("decoded")).is_empty()
    assert {each["role"] for each in result.processes} == {"icecast", "origin", "probe0"}


def test_a_kill_a_line_and_newcomers_are_in_the_events_and_nobody_is_left_out() -> None:
    source = (
        '[factors]\nfault = ["kill-relay"]\n'
        '[fixed]\nhops = 1\nfault-for = "0.1s"\nlink-delay = "5ms"\njoiners = 2\n'
        'gop = "250ms"\ndelivery = "long-poll"\n'
    )
    result = run_cell(source)
    kinds = [each["kind"] for each in result.events]
    assert [kind for kind in kinds if kind in ("begin", "measure", "kill", "restart", "end")] == [
        *("begin", "measure", "kill", "restart", "end")
    ]
    joined = {each["detail"]: each["time"] for each in result.events if each["kind"] == "join"}
    first = {each["detail"]: each["time"] for each in result.events if each["kind"] == "first"}
    assert first.keys() <= joined.keys() <= {"1", "2"}
    assert all(joined[consumer] < time for consumer, time in first.items())
    rows = result.rows
    assert rows["frame"].to_list() == list(range(rows["frame"][0], rows["frame"][0] + len(rows)))
    before = rows.filter(pl.col("captured") < next(each["time"] for each in result.events if each["kind"] == "kill"))
    assert "shown" in set(before["outcome"])
    # Half the round trip at least, whatever else there was to wait for.
    assert before.filter(pl.col("fetched") - pl.col("hop1") < 5_000).is_empty()


def test_every_picture_has_its_way_and_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = finished(*sdp("lab", "run", "smoke", "--short", "--out", out), timeout=PATIENCE)
    assert first.returncode == 0, first.stderr.decode()
    run = RunDirectory(out)
    rows = run.rows()
    assert run.finished() == {0}
    assert set(rows["kind"]) == {"probe", "light"}
    assert rows["consumer"].n_unique() == 4
    # Each consumer has a row for each picture, in whichever way it ended.
    assert rows.group_by("consumer").agg(pl.col("frame").unique().sort())["frame"].n_unique() == 1
    shown = rows.filter((pl.col("outcome") == "shown") & (pl.col("kind") == "probe"))
    assert len(shown) > 0
    assert (
        shown.select(pl.all_horizontal(pl.col("posted", "received", "appended", "hop1", "decoded").is_not_null()))
        .to_series()
        .all()
    )
    # Time goes one way: what a picture passes later it passes later, on one clock.
    way = [name for name in points_of(rows) if name not in ("durable", "fanned_out")]
    for before, after in pairwise(way):  # some are read as floating-point seconds, which are right to a microsecond
        assert shown.filter(pl.col(before) > pl.col(after) + 2).is_empty(), (before, after)
    assert {"distributor", "relay1", "origin", "probe0", "crowd"} == set(run.processes()["role"])
    said = run.run()
    assert said["versions"]["python"]
    assert said["clock"]["bound_us"] >= 1
    assert "0 pictures unread or damaged, 0 whose prft and stamp differ" in " ".join(run.events()["detail"])

    scenario = read_scenario("smoke", short=True)
    assert Run(scenario=scenario, directory=run).left() == []
    with pytest.raises(ConfigurationError, match="holds a run of another scenario"):
        Run(scenario=read_scenario("relays", short=True), directory=run).left()
