"""From a run's rows to numbers: which latency is meant, the waterfall along the way, start-up, recovery, the time line.

A run's rows hold wall-clock times and no opinion. Here it is said what they mean: a latency goes from ``captured`` to
the last point that all conditions have (presented, else decoded, else fetched); what was never shown, and what came
after a consumer had departed, has an infinite one; a duplicate has none, since the picture was shown already. Times
are microseconds. Pure: tables in, numbers out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

import attrs
import numpy as np
import polars as pl
from numpy.typing import NDArray

from sdp.lab.rows import Outcome, points_of
from sdp.lab.statistics import Sample

__all__ = [
    "Counts",
    "Moment",
    "Recovery",
    "Step",
    "Waterfall",
    "counts_of",
    "end_point",
    "factors_of",
    "latencies",
    "levels_of",
    "recoveries",
    "samples_of",
    "sent_twice",
    "start_ups",
    "time_line",
    "waterfall_of",
]

END_POINTS: Final = ("presented", "decoded", "fetched")
"""Where a latency may end: as near to the eye as it was observed."""

FAULTS: Final = ("kill", "cut", "stall")
"""The events after which recovery is measured."""


class Counts(NamedTuple):
    """What became of the pictures, each counted once for each consumer."""

    shown: int
    never: int
    duplicate: int
    departed: int
    untimed: int
    """Of those shown: without the time that the latency ends at. They count as never shown."""

    @property
    def due(self) -> int:
        """How many there should have been: duplicates are too many."""
        return self.shown + self.never + self.departed

    @property
    def lost(self) -> int:
        """How many of them have no latency."""
        return self.never + self.departed + self.untimed


class Step(NamedTuple):
    """One bar of a waterfall: from one point to the next on the way, the median over pictures, in microseconds."""

    start: str
    end: str
    median: float


@attrs.frozen
class Waterfall:
    """Where the time goes between capture and the end. Medians do not add up to the median: ``total`` is that."""

    steps: tuple[Step, ...]
    total: float
    beside: tuple[Step, ...]
    """Points that nobody on the way waited for (a sync that came after the fan-out): from capture to them."""


class Recovery(NamedTuple):
    """How a fault was got over, at one consumer."""

    kind: str
    time: int
    """When it happened (microseconds since the Unix epoch)."""
    consumer: int
    seconds: float
    """From the fault until pictures come as before, on and on; ``inf`` where they never do."""
    lost: int
    """Pictures captured in that time that were never shown."""


class Moment(NamedTuple):
    """A short piece of a repeat's time: the middle of it, in seconds since its first picture."""

    seconds: float
    median: float
    """Latency in microseconds; inf where most pictures were lost."""
    greatest: float
    """The greatest latency of what was shown; nan where nothing was."""
    lost: int


def factors_of(rows: pl.DataFrame) -> list[str]:
    """Return the names of the factors whose levels the rows bear."""
    return [name.removeprefix("factor.") for name in rows.columns if name.startswith("factor.")]


def end_point(rows: pl.DataFrame) -> str:
    """Return the last point that each condition's shown pictures have: what the run's latencies end at."""
    shown = rows.filter(pl.col("outcome") == Outcome.SHOWN)
    keys = [f"factor.{name}" for name in factors_of(rows)]
    for point in END_POINTS:
        if point not in rows.columns:
            continue
        has = shown.group_by(keys).agg(pl.col(point).is_not_null().any()) if keys else shown.select(point).drop_nulls()
        if has.height and (not keys or bool(has[point].all())):
            return point
    return "fetched"


def latencies(rows: pl.DataFrame, end: str) -> pl.DataFrame:
    """Return the rows that count (duplicates do not), with ``latency`` (float, inf if never shown) and ``weight``."""
    weight = pl.col("weight").cast(pl.Float64) if "weight" in rows.columns else pl.lit(1.0)
    taken = (pl.col(end) - pl.col("captured")).cast(pl.Float64)
    seen = pl.when(pl.col("outcome") == Outcome.SHOWN).then(taken).otherwise(math.inf).fill_null(math.inf)
    due = rows.filter(pl.col("outcome") != Outcome.DUPLICATE).with_columns(latency=seen, weight=weight)
    return due.with_columns(captured=_capture_times(due))


def _capture_times(rows: pl.DataFrame) -> pl.Series:
    """Capture times, estimated from the pictures' numbers where one was lost before anybody read its clock."""
    captured = rows["captured"].cast(pl.Float64).fill_null(math.nan).to_numpy().copy()
    frame, cell = rows["frame"].to_numpy().astype(np.float64), rows["cell"].to_numpy()
    for each in np.unique(cell[np.isnan(captured)]):
        known = (cell == each) & ~np.isnan(captured)
        lacking = (cell == each) & np.isnan(captured)
        if np.unique(frame[known]).size >= 2:
            first, last = np.argmin(np.where(known, frame, np.inf)), np.argmax(np.where(known, frame, -np.inf))
            slope = (captured[last] - captured[first]) / (frame[last] - frame[first])
            captured[lacking] = captured[first] + slope * (frame[lacking] - frame[first])
    return pl.Series("captured", captured).fill_nan(None)


def samples_of(rows: pl.DataFrame, end: str) -> list[Sample]:
    """Return one sample a repeat."""
    found = latencies(rows, end)
    return [
        Sample.of(part["latency"].to_numpy(), part["frame"].to_numpy(), part["weight"].to_numpy())
        for _, part in sorted(found.partition_by("cell", "repeat", as_dict=True).items())
    ]


def counts_of(rows: pl.DataFrame, end: str) -> Counts:
    """Count outcomes, each row for as many consumers as it stands for."""
    weighed = rows if "weight" in rows.columns else rows.with_columns(weight=pl.lit(1))

    def weight(of: pl.Expr) -> int:
        return int(weighed.filter(of)["weight"].sum())

    of = {outcome: weight(pl.col("outcome") == outcome) for outcome in Outcome}
    lacking = pl.col(end).is_null() | pl.col("captured").is_null()
    untimed = weight((pl.col("outcome") == Outcome.SHOWN) & lacking)
    return Counts(of[Outcome.SHOWN], of[Outcome.NEVER], of[Outcome.DUPLICATE], of[Outcome.DEPARTED], untimed)


def waterfall_of(rows: pl.DataFrame, end: str) -> Waterfall:
    """Return the medians from point to point over the pictures that were shown.

    A point that half of them lack is left out, and one that comes after the next one on the way stands beside it.
    """
    shown = rows.filter((pl.col("outcome") == Outcome.SHOWN) & pl.col(end).is_not_null())
    points = points_of(shown)
    points = points[: points.index(end) + 1]
    present = [point for point in points if shown.height and shown[point].null_count() <= shown.height / 2]
    if "captured" not in present or end not in present or len(present) < 2:
        return Waterfall((), math.nan, ())
    way = [end]
    beside: list[str] = []
    for point in reversed(present[:-1]):
        (way if _median(shown, point, way[-1]) >= 0 else beside).append(point)
    way.reverse()
    if way[0] != "captured":  # the clocks contradict each other: nothing can be told
        return Waterfall((), _median(shown, "captured", end), ())
    return Waterfall(
        tuple(Step(start, after, _median(shown, start, after)) for start, after in pairwise(way)),
        _median(shown, "captured", end),
        tuple(Step("captured", point, _median(shown, "captured", point)) for point in reversed(beside)),
    )


def _median(rows: pl.DataFrame, start: str, end: str) -> float:
    value = rows.select((pl.col(end) - pl.col(start)).median()).item()
    return math.nan if value is None else float(value)


def start_ups(events: pl.DataFrame) -> list[float]:
    """Return the time from each consumer's request to its first picture (microseconds); inf where none came."""
    found = []
    for part in events.filter(pl.col("kind").is_in(["join", "first"])).partition_by("cell", "detail"):
        joins = part.filter(pl.col("kind") == "join")["time"].sort().to_list()
        firsts = part.filter(pl.col("kind") == "first")["time"].sort().to_list()
        for join, following in zip(joins, [*joins[1:], None], strict=True):
            first = next((time for time in firsts if time >= join and (following is None or time < following)), None)
            found.append(math.inf if first is None else float(first - join))
    return sorted(found)


def sent_twice(events: pl.DataFrame) -> int:
    """Return the bytes that were sent a second time, over all cells of ``events``."""
    return sum(int(detail) for detail in events.filter(pl.col("kind") == "sent-twice")["detail"] if detail.isdigit())


STEADY: Final = 10
"""Pictures on end that must come as before for a consumer to have recovered."""

TOLERANCE_US: Final = 5_000
"""How much later than before the fault (than the p95 then) a picture may come and still count as before."""


def recoveries(rows: pl.DataFrame, events: pl.DataFrame, end: str) -> list[Recovery]:
    """Return how each consumer of each cell got over each fault.

    It has recovered with the end of the first picture captured after the fault from which on :data:`STEADY` pictures
    (or all that are left) have a latency of at most p95 before the fault and :data:`TOLERANCE_US`. A fault before
    which nothing was shown has nothing to be compared with, and is left out.
    """
    found = []
    for cell in events.filter(pl.col("kind").is_in(FAULTS))["cell"].unique().sort():
        faults = events.filter((pl.col("cell") == cell) & pl.col("kind").is_in(FAULTS)).sort("time")
        due = latencies(rows.filter(pl.col("cell") == cell), end).sort("frame")
        times = [*faults["time"].to_list(), None]
        for consumer in due["consumer"].unique().sort():
            part = due.filter((pl.col("consumer") == consumer) & pl.col("captured").is_not_null())
            seen = _Seen(part["captured"].to_numpy(), part["latency"].to_numpy())
            for kind, time, following in zip(faults["kind"], times[:-1], times[1:], strict=True):
                recovery = _recovery(seen, int(time), following)
                if recovery is not None:
                    found.append(Recovery(kind, int(time), int(consumer), *recovery))
    return found


class _Seen(NamedTuple):
    captured: NDArray[np.float64]
    latency: NDArray[np.float64]


def _recovery(seen: _Seen, time: int, following: int | None) -> tuple[float, int] | None:
    """Seconds and pictures lost, or None where nothing was shown before."""
    before = np.sort(seen.latency[(seen.captured < time) & (seen.captured + seen.latency < time)])
    if before.size == 0:
        return None
    most = before[math.ceil(0.95 * before.size) - 1] + TOLERANCE_US
    after = seen.captured >= time
    if following is not None:
        after &= seen.captured < following
    captured, latency = seen.captured[after], seen.latency[after]
    # What was on its way when it happened is lost by it, too.
    caught = int(np.isinf(seen.latency[(seen.captured < time) & (seen.captured >= time - most)]).sum())
    good = latency <= most
    for at in range(captured.size):
        if good[at : at + STEADY].all():
            shown = captured[at] + latency[at]
            return max(0.0, float(shown - time) / 1e6), caught + int(np.isinf(latency[:at]).sum())
    return math.inf, caught + int(np.isinf(latency).sum())


def time_line(rows: pl.DataFrame, end: str, *, begin: int, pieces: int = 160) -> list[Moment]:
    """Return the latencies of one cell over its time, in at most so many pieces; ``begin`` (microseconds) is 0."""
    due = latencies(rows, end).filter(pl.col("captured").is_not_null()).sort("captured")
    if due.height == 0:
        return []
    captured, latency = due["captured"].to_numpy(), due["latency"].to_numpy()
    found = []
    for piece in np.array_split(np.arange(captured.size), max(1, min(pieces, due["frame"].n_unique()))):
        part = np.sort(latency[piece])
        shown = part[np.isfinite(part)]
        found.append(
            Moment(
                float(captured[piece].mean() - begin) / 1e6,
                float(part[(part.size - 1) // 2]),
                float(shown[-1]) if shown.size else math.nan,
                int(part.size - shown.size),
            )
        )
    return found


def levels_of(rows: pl.DataFrame, factors: Sequence[str]) -> list[dict[str, str]]:
    """Return each condition (a level for each factor) in the order in which the cells' numbers first show them."""
    keys = [f"factor.{name}" for name in factors]
    if not keys:
        return [{}]
    first = rows.group_by(keys).agg(pl.col("cell").min()).sort("cell")
    return [dict(zip(factors, each, strict=True)) for each in first.select(keys).iter_rows()]
