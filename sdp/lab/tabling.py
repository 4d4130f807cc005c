"""From what was seen in a cell to its rows: for each consumer each picture, whatever became of it. Pure.

Which pictures there are rows about is fixed by their capture: all that were captured within the time that is measured.
What a consumer saw is laid beside them, and what it did not see is a row as well.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import polars as pl

from sdp.lab.design import Cell
from sdp.lab.gathering import Captured, Seen, Servers, Watermarks
from sdp.lab.playing import Played, play
from sdp.lab.rows import Outcome, frame_of_rows
from sdp.lab.way import Way

__all__ = ["Gathered", "rows_of"]

ROWS_AT_ONCE = 20_000
"""How many rows are held as Python's objects before they go into a table."""


@attrs.define(kw_only=True)
class Gathered:
    """What was seen in a cell, before it is made rows: times are microseconds since the Unix epoch."""

    begin: int
    end: int
    pictures: Sequence[Captured]
    servers: Servers
    seen: Sequence[Seen] = ()
    probes: Mapping[int, int | None] = attrs.field(factory=dict)
    """Each probe that stayed: when it departed by itself, or None where it did not."""
    light: Mapping[int, Watermarks] = attrs.field(factory=dict)
    light_left: Mapping[int, int] = attrs.field(factory=dict)


def rows_of(gathered: Gathered, scenario: str, cell: Cell) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    """The events of the players, and the rows: for each consumer, each picture that was captured while measured."""
    pictures = [each for each in gathered.pictures if gathered.begin <= each.captured < gathered.end]
    shared = _Shared(scenario, cell, gathered)
    events: list[dict[str, Any]] = []
    rows = _Rows(list(cell.levels), len(gathered.servers.relays))
    for consumer, departed in gathered.probes.items():
        own = [each for each in gathered.seen if each.consumer == consumer]
        late = list(_late(own, cell.way))
        events += [
            {"time": at, "kind": "late", "detail": f"{consumer} by {by}"}
            for at, by in late
            if gathered.begin <= at < gathered.end
        ]
        rows.add(_probe_rows(consumer, departed, own, pictures, shared, cell.way))
    for consumer, marks in gathered.light.items():
        rows.add(_light_rows(consumer, marks, gathered.light_left.get(consumer), pictures, shared))
    return events, rows.table()


class _Rows:
    """Rows on their way into a table, some thousands at a time: of a crowd there are hundreds of thousands."""

    def __init__(self, factors: list[str], hops: int) -> None:
        self._factors = factors
        self._hops = hops
        self._held: list[dict[str, Any]] = []
        self._tables: list[pl.DataFrame] = []

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        self._held += rows
        if len(self._held) > ROWS_AT_ONCE:
            self._put()

    def _put(self) -> None:
        self._tables.append(frame_of_rows(self._held, self._factors, self._hops))
        self._held = []

    def table(self) -> pl.DataFrame:
        self._put()
        return pl.concat(self._tables)


class _Shared:
    """What the rows of one picture have in common, made once."""

    def __init__(self, scenario: str, cell: Cell, gathered: Gathered) -> None:
        self._servers = gathered.servers
        epochs = gathered.servers.epochs
        self.epoch = epochs[0] if len(epochs) == 1 else ""
        self._columns: dict[str, Any] = {
            "scenario": scenario,
            "cell": cell.number,
            "repeat": cell.repeat,
            "seed": cell.seed,
            **{f"factor.{name}": level for name, level in cell.levels.items()},
        }
        self._made: dict[tuple[int, str, int | None], dict[str, Any]] = {}

    def of(self, picture: Captured, epoch: str, end: int | None) -> dict[str, Any]:
        key = picture.number, epoch, end
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = {
                **self._columns,
                "frame": picture.number,
                "captured": picture.captured,
                "encoded": picture.encoded,
                "written": picture.written,
                **dict(self._servers.points(end, epoch)),
            }
        return made


def _in_order(seen: Sequence[Seen]) -> list[Seen]:
    """Each picture once, in the order in which they were decoded."""
    first: dict[int, Seen] = {}
    for each in seen:
        first.setdefault(each.captured, each)
    return sorted(first.values(), key=lambda each: each.decoded)


def _late(seen: Sequence[Seen], way: Way) -> Iterator[tuple[int, int]]:
    """When pictures came too late for the player, and by how much (microseconds)."""
    ordered = _in_order(seen)
    for each, played in zip(ordered, _played(ordered, way), strict=True):
        if played.late:
            yield each.decoded, played.late


def _played(ordered: Sequence[Seen], way: Way) -> list[Played]:
    pictures = [(each.captured, each.decoded) for each in ordered]
    return play(pictures, round(way.target * 1e6), drop=way.late == "drop")


def _probe_rows(
    consumer: int,
    departed: int | None,
    seen: Sequence[Seen],
    pictures: Sequence[Captured],
    shared: _Shared,
    way: Way,
) -> Iterator[dict[str, Any]]:
    ordered = _in_order(seen)
    presented = {each.captured: each.presented for each in _played(ordered, way)}
    times = Counter(each.captured for each in seen)
    by_capture = {each.captured: each for each in ordered}
    for picture in pictures:
        own = by_capture.get(picture.captured)
        at = {"kind": "probe", "consumer": consumer}
        if own is None:
            gone = departed is not None and departed < picture.captured
            outcome = Outcome.DEPARTED if gone else Outcome.NEVER
            yield {**shared.of(picture, shared.epoch, picture.end), **at, "outcome": outcome.value}
            continue
        shown = presented[picture.captured]
        row = {
            **shared.of(picture, own.epoch, own.end),
            **at,
            "fetched": own.fetched,
            "decoded": own.decoded,
            "presented": shown,
        }
        yield {**row, "outcome": (Outcome.NEVER if shown is None else Outcome.SHOWN).value}
        for _ in range(times[picture.captured] - 1):
            yield {**row, "outcome": Outcome.DUPLICATE.value}


def _light_rows(
    consumer: int, marks: Watermarks, left: int | None, pictures: Sequence[Captured], shared: _Shared
) -> Iterator[dict[str, Any]]:
    for picture in pictures:
        fetched = marks.time(picture.end)
        row = {**shared.of(picture, shared.epoch, picture.end), "kind": "light", "consumer": consumer}
        if fetched is not None:
            yield {**row, "fetched": fetched, "outcome": Outcome.SHOWN.value}
        else:
            gone = left is not None
            yield {**row, "outcome": (Outcome.DEPARTED if gone else Outcome.NEVER).value}
