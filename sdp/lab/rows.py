"""What a run leaves behind: a directory of tables, from which alone statistics and reports are made.

::

    DIR/run.toml           the scenario's text, and with what, where and how it was run
    DIR/rows/00012.parquet one file for each finished cell: a row for each picture and consumer
    DIR/processes.parquet  what each process of a cell used
    DIR/events.parquet     what happened in a cell, and when: starts, faults, stalls

Times are wall-clock microseconds since the Unix epoch, of the one clock of this machine, or null where the point was
not passed or not observed. A picture that a consumer never showed has its row all the same: what is not counted would
look like speed.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import polars as pl

from sdp.errors import StorageError

__all__ = [
    "EVENTS",
    "KINDS",
    "POINTS",
    "PROCESSES",
    "Outcome",
    "RunDirectory",
    "factor_columns",
    "frame_of_rows",
    "hop_columns",
    "points_of",
    "toml_text",
]


class Outcome(StrEnum):
    """What became of one picture at one consumer."""

    SHOWN = "shown"
    """It was presented; at a light consumer, which decodes nothing: its last byte was fetched."""
    NEVER = "never"
    """The consumer was there, and the picture was not shown: skipped, lost, or too late."""
    DUPLICATE = "duplicate"
    """It was shown before: this row is about the second time."""
    DEPARTED = "departed"
    """The consumer had left before its end, by itself or because it was closed."""


KINDS: Final = ("probe", "light")
"""A probe decodes each picture and reads its stamp; a light consumer only takes bytes and knows their offsets."""

BEFORE_HOPS: Final = ("captured", "encoded", "written", "posted", "received", "appended", "durable", "fanned_out")
AFTER_HOPS: Final = ("fetched", "decoded", "presented")
POINTS: Final = (*BEFORE_HOPS, *AFTER_HOPS)
"""The points of the way in its order; the relays' (``hop1`` to ``hopN``) lie between ``fanned_out`` and ``fetched``.

``captured``: drawing the picture began. ``encoded``: the encoder has given it out. ``written``: so has the packaging,
with all else that its record holds. ``posted``: the record's last byte was given to the Origin's socket. ``received``:
it came into the Distributor. ``appended``: it is in the Distributor's log. ``durable``: a power loss would keep it.
``fanned_out``: all consumers at the live edge have been given it. ``hopN``: the N-th relay has it. ``fetched``: the
consumer has it. ``decoded`` and ``presented``: the picture itself."""

_FIXED: Final[Mapping[str, Any]] = {
    "scenario": pl.String,
    "cell": pl.Int32,
    "repeat": pl.Int32,
    "seed": pl.Int64,
    "kind": pl.String,
    "consumer": pl.Int32,
    "frame": pl.Int64,
    "outcome": pl.String,
}

PROCESSES: Final[Mapping[str, Any]] = {
    "cell": pl.Int32,
    "role": pl.String,
    "cpu_seconds": pl.Float64,
    "rss_bytes": pl.Int64,
    "bytes_in": pl.Int64,
    "bytes_out": pl.Int64,
    "seconds": pl.Float64,
}
"""``seconds`` is how long the process was watched; ``rss_bytes`` the most that it had resident. ``bytes_in`` and
``bytes_out`` went through its sockets, and are null where the system does not tell."""

EVENTS: Final[Mapping[str, Any]] = {"cell": pl.Int32, "time": pl.Int64, "kind": pl.String, "detail": pl.String}
"""``kind`` is one of: begin, measure, end (of the cell); join, first (a consumer's request, and its first picture
shown: ``detail`` is the consumer's number); stall (the link's); cut, kill, restart; late (a picture that came too
late for the player: its consumer's number, and by how many microseconds); sent-twice (a number of bytes), note."""


def hop_columns(hops: int) -> tuple[str, ...]:
    """The columns of the relays' points, for so many relays."""
    return tuple(f"hop{number}" for number in range(1, hops + 1))


def factor_columns(names: Iterable[str]) -> tuple[str, ...]:
    """The columns in which factors of these names stand. A level is written as in the scenario, as text."""
    return tuple(f"factor.{name}" for name in names)


def points_of(frame: pl.DataFrame) -> list[str]:
    """The columns of ``frame`` that are points of the way, in the way's order."""
    hops = sorted(
        (name for name in frame.columns if name[:3] == "hop" and name[3:].isdigit()), key=lambda n: int(n[3:])
    )
    ordered = [*BEFORE_HOPS, *hops, *AFTER_HOPS]
    return [name for name in ordered if name in frame.columns]


def frame_of_rows(rows: Iterable[Mapping[str, Any]], factors: Iterable[str], hops: int) -> pl.DataFrame:
    """One cell's rows as a table: what a row leaves out is null, and a key that is no column a mistake (ValueError)."""
    schema: dict[str, Any] = {
        **dict(list(_FIXED.items())[:4]),
        **dict.fromkeys(factor_columns(factors), pl.String),
        **dict(list(_FIXED.items())[4:7]),
        **dict.fromkeys((*BEFORE_HOPS, *hop_columns(hops), *AFTER_HOPS), pl.Int64),
        "outcome": pl.String,
    }
    given = list(rows)
    for row in given:
        stray = row.keys() - schema.keys()
        if stray:
            raise ValueError(f"{', '.join(sorted(stray))}: no such column of a run's rows")
    columns = {name: [row.get(name) for row in given] for name in schema}
    return pl.DataFrame(columns, schema=schema)


class RunDirectory:
    """A run's directory, to be written cell by cell and read as a whole.

    A cell counts as finished once its file of rows is there: it is written last, and under another name first, so that
    an interruption leaves a cell either whole or to be done again. Raises StorageError.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows_path = path / "rows"

    # -- writing -----------------------------------------------------------------------------------------------

    def create(self) -> None:
        """Make the directory where it is not there yet."""
        try:
            self.rows_path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError(f"{self.path} cannot be made: {error.strerror}; choose another by --out.") from error

    def write_run(self, text: str) -> None:
        """Write ``run.toml``."""
        self._replace(self.path / "run.toml", lambda file: file.write_text(text, "utf-8"))

    def write_cell(
        self,
        cell: int,
        rows: pl.DataFrame,
        processes: Iterable[Mapping[str, Any]],
        events: Iterable[Mapping[str, Any]],
    ) -> None:
        """Keep a finished cell: what was kept of the same cell before is replaced."""
        self._merge("processes", PROCESSES, cell, processes)
        self._merge("events", EVENTS, cell, events)
        self._replace(self._cell_path(cell), rows.write_parquet)

    def _cell_path(self, cell: int) -> Path:
        return self.rows_path / f"{cell:05}.parquet"

    def _merge(self, name: str, schema: Mapping[str, Any], cell: int, rows: Iterable[Mapping[str, Any]]) -> None:
        given = [{**row, "cell": cell} for row in rows]
        new = pl.DataFrame({key: [row.get(key) for row in given] for key in schema}, schema=dict(schema))
        kept = self._table(name, schema).filter(pl.col("cell") != cell)
        self._replace(self.path / f"{name}.parquet", pl.concat([kept, new]).write_parquet)

    def _replace(self, path: Path, write: Any) -> None:
        beside = path.with_name(path.name + ".new")
        try:
            write(beside)
            os.replace(beside, path)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}.") from error

    # -- reading -----------------------------------------------------------------------------------------------

    def run(self) -> dict[str, Any]:
        """What ``run.toml`` says."""
        path = self.path / "run.toml"
        try:
            return tomllib.loads(path.read_text("utf-8"))
        except OSError as error:
            raise StorageError(f"{self.path} is no run of the lab: {path.name} cannot be read.") from error
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise StorageError(f"{path} is no TOML: {error}.") from error

    def finished(self) -> set[int]:
        """The cells that need not be run again."""
        return {int(path.stem) for path in self.rows_path.glob("*.parquet") if path.stem.isdigit()}

    def rows(self) -> pl.DataFrame:
        """The rows of all finished cells; a run with more relays in one cell than in another has nulls there."""
        paths = [self._cell_path(cell) for cell in sorted(self.finished())]
        if not paths:
            raise StorageError(f"{self.path} has no finished cell yet: go on with sdp lab run --out {self.path}.")
        rows = pl.concat([self._read(path) for path in paths], how="diagonal")
        points = points_of(rows)
        rest = [name for name in rows.columns if name not in points and name != "outcome"]
        return rows.select(*rest, *points, "outcome")

    def processes(self) -> pl.DataFrame:
        """What each process used."""
        return self._table("processes", PROCESSES)

    def events(self) -> pl.DataFrame:
        """What happened, in the order of cells and of time."""
        return self._table("events", EVENTS).sort("cell", "time")

    def _table(self, name: str, schema: Mapping[str, Any]) -> pl.DataFrame:
        path = self.path / f"{name}.parquet"
        return self._read(path) if path.exists() else pl.DataFrame(schema=dict(schema))

    @staticmethod
    def _read(path: Path) -> pl.DataFrame:
        try:
            return pl.read_parquet(path)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise StorageError(f"{path} cannot be read: {error}.") from error


def toml_text(value: Mapping[str, Any]) -> str:
    """A mapping of texts, numbers, lists of those, and mappings of those, as TOML.

    ``run.toml`` is written by this: the standard library only reads TOML."""
    plain = [(key, each) for key, each in value.items() if not isinstance(each, Mapping)]
    tables = [(key, each) for key, each in value.items() if isinstance(each, Mapping)]
    lines = [f"{_key(key)} = {_value(each)}" for key, each in plain if each is not None]
    for name, table in tables:
        lines += ["", f"[{_key(name)}]"]
        lines += [f"{_key(key)} = {_value(each)}" for key, each in table.items() if each is not None]
    return "\n".join(lines) + "\n"


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else _text(key)


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case list() | tuple():
            return "[" + ", ".join(_value(each) for each in value) + "]"
        case _:
            return _text(str(value))


def _text(text: str) -> str:
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    )
    return '"' + "".join(each if each >= " " and each != "\x7f" else f"\\u{ord(each):04x}" for each in escaped) + '"'
