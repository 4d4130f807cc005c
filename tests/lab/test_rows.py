"""A run's tables: what is written is read, cell by cell, and an interruption leaves nothing half done."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.errors import StorageError
from sdp.lab.rows import RunDirectory, frame_of_rows, points_of, toml_text


def row(cell: int, frame: int, **points: int) -> dict[str, object]:
    return {
        "scenario": "hops",
        "cell": cell,
        "repeat": 0,
        "seed": 7,
        "factor.hops": "2",
        "kind": "probe",
        "consumer": 0,
        "frame": frame,
        "outcome": "shown" if "presented" in points else "never",
        **points,
    }


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    made = RunDirectory(tmp_path / "run")
    made.create()
    return made


def test_cells_come_back_with_the_relays_of_the_longest_way(directory: RunDirectory) -> None:
    short = frame_of_rows([row(0, 1, captured=5, fetched=9, presented=11)], ["hops"], 0)
    long = frame_of_rows([row(1, 1, captured=5, hop1=7, hop2=8), row(1, 2, captured=6)], ["hops"], 2)
    directory.write_cell(1, long, [{"role": "origin", "cpu_seconds": 0.5}], [{"time": 3, "kind": "begin"}])
    directory.write_cell(0, short, [{"role": "origin", "cpu_seconds": 0.25}], [{"time": 1, "kind": "begin"}])
    rows = directory.rows()
    assert directory.finished() == {0, 1}
    assert rows["cell"].to_list() == [0, 1, 1]
    assert rows["hop2"].to_list() == [None, 8, None]
    assert rows.columns[-1] == "outcome"
    ordered = points_of(rows)
    assert ordered.index("fanned_out") < ordered.index("hop1") < ordered.index("hop2") < ordered.index("fetched")
    assert directory.processes()["cpu_seconds"].to_list() == [0.5, 0.25]
    assert directory.events()["time"].to_list() == [1, 3]


def test_a_cell_that_is_run_again_replaces_what_there_was(directory: RunDirectory) -> None:
    rows = frame_of_rows([row(3, 1)], ["hops"], 0)
    directory.write_cell(3, rows, [{"role": "origin"}], [{"time": 1, "kind": "begin"}])
    directory.write_cell(3, rows, [{"role": "origin"}], [{"time": 2, "kind": "begin"}])
    assert len(directory.rows()) == 1
    assert len(directory.processes()) == 1
    assert directory.events()["time"].to_list() == [2]


def test_what_is_half_written_is_no_finished_cell(directory: RunDirectory) -> None:
    (directory.rows_path / "00004.parquet.new").write_bytes(b"half")
    assert directory.finished() == set()
    with pytest.raises(StorageError, match="no finished cell"):
        directory.rows()


def test_a_column_that_nobody_knows_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="hop3"):
        frame_of_rows([row(0, 1, hop3=1)], ["hops"], 2)


def test_a_directory_of_something_else_is_told(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no run of the lab"):
        RunDirectory(tmp_path).run()
    (tmp_path / "run.toml").write_text("= 1")
    with pytest.raises(StorageError, match="no TOML"):
        RunDirectory(tmp_path).run()


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
PLAIN = st.one_of(TEXT, st.integers(-(2**63), 2**63 - 1), st.booleans())
TABLE = st.dictionaries(TEXT, st.one_of(PLAIN, st.lists(PLAIN, max_size=4)), max_size=4)


@given(TABLE, st.dictionaries(TEXT, TABLE, max_size=3))
def test_toml_comes_back_as_it_was(plain: dict[str, object], tables: dict[str, dict[str, object]]) -> None:
    whole = {**plain, **tables}
    assert tomllib.loads(toml_text(whole)) == whole
