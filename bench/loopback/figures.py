"""Figures from samples, and how they are printed and kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

__all__ = ["Row", "Table", "percentile", "size_text", "write_json"]

Row = Mapping[str, object]


def percentile(ordered: Sequence[float], share: float) -> float:
    """The smallest of ``ordered`` (ascending) below or at which ``share`` (0 to 1) of all lie; nan of nothing."""
    if not ordered:
        return float("nan")
    rank = -int(-share * len(ordered) // 1)
    return ordered[min(max(rank, 1), len(ordered)) - 1]


def size_text(count: int) -> str:
    """A number of bytes as a person writes it: ``2K``, ``256K``, ``1500``."""
    for unit, name in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if count >= unit and count % unit == 0:
            return f"{count // unit}{name}"
    return str(count)


class Table:
    """A table that is printed row by row, as the figures come. ``columns``: the key, the heading, its format."""

    def __init__(self, columns: Iterable[tuple[str, str, str]]) -> None:
        self._columns = [(key, heading, form, max(len(heading), _width(form))) for key, heading, form in columns]

    def head(self) -> None:
        print("  ".join(_aligned(heading, form, width) for _, heading, form, width in self._columns), flush=True)

    def row(self, row: Row) -> None:
        cells = []
        for key, _, form, width in self._columns:
            value = row.get(key)
            absent = value is None or value != value  # nan is not equal to itself
            cells.append(_aligned("-" if absent else format(value, form), form, width))
        print("  ".join(cells).rstrip(), flush=True)


def _width(form: str) -> int:
    digits = form.lstrip("<>,").partition(".")[0].rstrip("sdf,")
    return int(digits) if digits else 0


def _aligned(text: str, form: str, width: int) -> str:
    return text.ljust(width) if form.startswith("<") else text.rjust(width)


def write_json(path: Path, what: str, rows: Sequence[Row]) -> None:
    """Keep the rows of one benchmark in a file. What could not be measured is null: JSON knows no nan."""
    kept = [{key: None if value != value else value for key, value in row.items()} for row in rows]
    path.write_text(json.dumps({"benchmark": what, "rows": kept}, indent=1, allow_nan=False) + "\n")
