"""The laboratory on real processes: a small run whose rows are whole, and that goes on where it was interrupted."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from sdp.errors import ConfigurationError
from tests.system.programs import finished, sdp

pytestmark = pytest.mark.system

PATIENCE = 240.0
"""For a cell or two of a second each, whose processes may have to wait long for a processor."""


@pytest.fixture(autouse=True)
def _needed() -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install av")
    pytest.importorskip("polars", reason="polars is not installed: pip install polars")


def test_every_picture_has_its_way_and_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    import polars as pl

    from sdp.lab.rows import RunDirectory, points_of
    from sdp.lab.run import Run
    from sdp.lab.scenario import read_scenario

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
