"""A run by an engine of the test's own: what is kept, what is done again, and what is told before anything begins."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest
from click.testing import CliRunner

from sdp.cli import main
from sdp.errors import LocalError
from sdp.lab.design import Cell
from sdp.lab.measuring import CellResult
from sdp.lab.rows import RunDirectory, frame_of_rows
from sdp.lab.run import ATTEMPTS, Run
from sdp.lab.scenario import parse_scenario

SOURCE = "repeats = 2\nseed = 3\n[factors]\nhops = [0, 1]\n"


def result(cell: Cell, **changes: Any) -> CellResult:
    row = {"scenario": "mine", "cell": cell.number, "factor.hops": cell.levels["hops"], "frame": 1, "outcome": "shown"}
    made = CellResult(
        rows=frame_of_rows([row], ["hops"], cell.way.hops),
        processes=[{"role": "origin", "cpu_seconds": 0.5}],
        events=[{"time": 1, "kind": "begin", "detail": ""}],
    )
    return attrs.evolve(made, **changes)


@attrs.frozen
class Recorded(Run):
    """A run whose cells are run by the test: ``failing`` says how often a cell fails before it is done."""

    failing: dict[int, int] = attrs.field(factory=dict)
    stop_at: int | None = None
    order: list[int] = attrs.field(factory=list)

    def _run_cell(self, cell: Cell) -> CellResult:
        if len(self.order) == self.stop_at:
            raise KeyboardInterrupt
        self.order.append(cell.number)
        if self.failing.get(cell.number, 0):
            self.failing[cell.number] -= 1
            raise LocalError("The Origin ended.")
        return result(cell, clock_bound=cell.number * 10, probe_cost=100.0 - cell.number)


class Told:
    def __init__(self) -> None:
        self.begun: list[int] = []
        self.failed: list[int] = []

    def cell_begins(self, cell: Cell, number: int, of: int) -> None:
        self.begun.append(cell.number)

    def cell_fails(self, cell: Cell, error: Exception) -> None:
        self.failed.append(cell.number)


def run_of(path: Path, source: str = SOURCE, **more: Any) -> Recorded:
    scenario = parse_scenario(source, "mine", "mine.toml")
    return Recorded(scenario=scenario, directory=RunDirectory(path), **more)


def test_an_interrupted_run_goes_on_with_what_is_left(tmp_path: Path) -> None:
    first = run_of(tmp_path, stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        first.go(Told())
    second = run_of(tmp_path)
    second.go(Told())
    assert sorted(first.order + second.order) == [0, 1, 2, 3]
    assert len(first.order) == 2
    assert sorted(RunDirectory(tmp_path).rows()["cell"].to_list()) == [0, 1, 2, 3]
    third = run_of(tmp_path)
    third.go(Told())
    assert third.order == []


def test_the_worst_of_all_cells_is_what_is_said_of_the_clock_and_the_probe(tmp_path: Path) -> None:
    run_of(tmp_path).go(Told())
    said = RunDirectory(tmp_path).run()
    assert said["clock"]["bound_us"] == 30
    assert said["probe"]["cost_us"] == 100.0
    assert said["text"] == SOURCE
    assert said["factors"] == ["hops"]


def test_a_cell_that_fails_is_tried_again_and_a_second_time_ends_the_run(tmp_path: Path) -> None:
    told = Told()
    run_of(tmp_path / "a", failing={2: ATTEMPTS - 1}).go(told)
    assert told.failed == [2]
    assert RunDirectory(tmp_path / "a").finished() == {0, 1, 2, 3}
    with pytest.raises(LocalError, match="The Origin ended"):
        run_of(tmp_path / "b", failing={2: ATTEMPTS}).go(Told())
    assert 2 not in RunDirectory(tmp_path / "b").finished()


@pytest.mark.parametrize("system", ["icecast", "nginx-rtmp", "nginx-hls", "http-flv"])
def test_a_program_that_is_missing_is_told_before_anything_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    scenario = tmp_path / "mine.toml"
    scenario.write_text(f'repeats = 1\n[factors]\nsystem = ["sdp", "{system}"]\n')
    for command, status in (("check", 1), ("run", 2)):
        out = ["--out", str(tmp_path / "out")] if command == "run" else []
        told = CliRunner().invoke(main, ["lab", command, str(scenario), *out])
        assert told.exit_code == status
        assert "not installed" in told.output
        assert "install" in told.output
        assert not (tmp_path / "out").exists()


def test_what_cannot_be_run_here_may_be_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    source = 'repeats = 1\n[factors]\nsystem = ["sdp", "icecast"]\nrate = [25, 30]\n'
    run = run_of(tmp_path / "a", source, leave_out=True)
    assert sorted(cell.number for cell in run.left()) == [0, 1]
    nothing = run_of(tmp_path / "b", 'repeats = 1\n[factors]\nsystem = ["icecast"]\n', leave_out=True)
    with pytest.raises(LocalError, match="not installed"):
        nothing.go(Told())
    assert not (tmp_path / "b").exists()


def test_the_shipped_scenarios_are_listed_with_what_they_ask() -> None:
    told = CliRunner().invoke(main, ["lab", "list"], env={"COLUMNS": "200"})
    assert told.exit_code == 0
    assert "relays" in told.output
    assert "What does each relay" in told.output


def test_a_mistake_in_a_scenario_is_one_sentence_and_status_two(tmp_path: Path) -> None:
    scenario = tmp_path / "mine.toml"
    scenario.write_text("[factors]\nhop = [1]\n")
    told = CliRunner().invoke(main, ["lab", "check", str(scenario)])
    assert told.exit_code == 2
    assert "Did you mean hops" in told.output
    assert len(told.output.strip().splitlines()) == 1
