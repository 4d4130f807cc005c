"""Runs of which the truth is known: rows made by formula, as a run directory holds them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from sdp.lab.rows import RunDirectory, frame_of_rows, toml_text

START = 1_800_000_000_000_000
FRAME_US = 33_333

Delay = Callable[[Mapping[str, str], int, int, np.random.Generator], "int | None"]
"""Levels, consumer, frame and a random source to a latency in microseconds; None where it is never shown."""


def rows_of(
    levels: Mapping[str, str],
    delay: Delay,
    *,
    cell: int = 0,
    repeat: int = 0,
    frames: int = 60,
    consumers: int = 1,
    scenario: str = "made-up",
) -> pl.DataFrame:
    """One cell: the way takes a tenth to encode, two tenths to the Distributor, and the rest from there on."""
    random = np.random.default_rng([cell, repeat])
    rows = []
    for frame, consumer in itertools.product(range(frames), range(consumers)):
        captured = START + frame * FRAME_US
        took = delay(levels, consumer, frame, random)
        row: dict[str, Any] = {
            "scenario": scenario,
            "cell": cell,
            "repeat": repeat,
            "seed": 1,
            "kind": "probe",
            "consumer": consumer,
            "frame": frame,
            "captured": captured,
            "outcome": "never" if took is None else "shown",
            **{f"factor.{name}": level for name, level in levels.items()},
        }
        if took is not None:
            shares = {"encoded": 0.1, "received": 0.3, "appended": 0.35, "fetched": 0.8, "decoded": 1.0}
            row |= {point: captured + int(took * share) for point, share in shares.items()}
        rows.append(row)
    return frame_of_rows(rows, levels, hops=0)


def write_run(
    path: Path,
    cells: Sequence[Mapping[str, str]],
    delay: Delay,
    *,
    repeats: int = 3,
    events: Callable[[int], Sequence[Mapping[str, Any]]] = lambda cell: (),
    run: Mapping[str, Any] | None = None,
    **more: Any,
) -> RunDirectory:
    """A finished run of these conditions."""
    directory = RunDirectory(path)
    directory.create()
    directory.write_run(toml_text({"scenario": {"name": "made-up", "question": "What does it cost?"}, **(run or {})}))
    for cell, (levels, repeat) in enumerate(itertools.product(cells, range(repeats))):
        rows = rows_of(levels, delay, cell=cell, repeat=repeat, **more)
        processes = [{"role": "distributor", "cpu_seconds": 0.5, "rss_bytes": 40 << 20, "seconds": 2.0}]
        directory.write_cell(cell, rows, processes, events(cell))
    return directory
