"""A run, summed up: each condition's numbers and what its factors cost, from the rows alone.

A condition is one level of each factor; its cells are its repeats. Where probes (which decode) and light consumers
(which do not) watched the same cell, latencies are the probes', and ``delivery`` tells what the light ones waited
for; in virtual time, which has no decoders, all consumers' latencies are taken together. Times are microseconds
unless a name says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import attrs
import numpy as np
import polars as pl

from sdp.lab.effects import Effect, Interaction, Point, interactions, main_effects, shares_of_variance
from sdp.lab.measures import (
    FAULTS,
    Counts,
    Moment,
    Recovery,
    Waterfall,
    counts_of,
    end_point,
    factors_of,
    latencies,
    levels_of,
    recoveries,
    samples_of,
    sent_twice,
    start_ups,
    time_line,
    waterfall_of,
)
from sdp.lab.rows import RunDirectory
from sdp.lab.statistics import PROBABILITIES, Interval, Pool, draws, drift, mean_interval, pool, quantiles, share

__all__ = ["Condition", "Fault", "Line", "ProcessUse", "Summary", "label_of", "labels_of", "summarize", "summary_of"]

EFFECT_ROUNDS: Final = 300
"""Bootstrap rounds of each cell that effects are made of."""

FEWEST_FOR_DRIFT_S: Final = 2.0
"""Seconds that a repeat must have lasted for its drift to mean anything."""


class ProcessUse(NamedTuple):
    """What one role's process took, over a condition's cells."""

    role: str
    cpu: Interval
    """Share of one core, the mean over cells."""
    rss_bytes: int
    """The most that was resident."""
    bytes_in: int | None
    bytes_out: int | None
    """Sums over the cells; None where the system did not tell."""


class Fault(NamedTuple):
    """An event on a time line: seconds since its beginning, what, and of what."""

    seconds: float
    kind: str
    detail: str


@attrs.frozen
class Line:
    """One cell's time: its latencies in short pieces, and what happened meanwhile."""

    cell: int
    moments: tuple[Moment, ...]
    faults: tuple[Fault, ...]


@attrs.frozen(eq=False)
class Condition:
    """One level of each factor, and what came of it."""

    levels: Mapping[str, str]
    label: str
    """Its levels of the factors that are varied, in one line."""
    repeats: int
    pool: Pool
    quantiles: tuple[Interval, ...]
    """Of :data:`~sdp.lab.statistics.PROBABILITIES`, in that order."""
    counts: Counts
    lost: Interval
    """The share of the pictures that were due and have no latency."""
    drift: Interval
    """Microseconds a second."""
    waterfall: Waterfall
    start_ups: tuple[float, ...]
    recoveries: tuple[Recovery, ...]
    sent_twice: int
    processes: tuple[ProcessUse, ...]
    line: Line
    delivery: tuple[Interval, ...] = ()
    """From capture to the last byte at the light consumers; empty where there is none beside the probes."""


@attrs.frozen(eq=False)
class Summary:
    """All that a report says."""

    run: Mapping[str, Any]
    """What ``run.toml`` says."""
    name: str
    end: str
    """The point that latencies end at."""
    steps: Mapping[str, Sequence[str]]
    """The factors that are varied, and their levels in the order of the cells."""
    constants: Mapping[str, str]
    """The factors of which there is one level only."""
    conditions: tuple[Condition, ...]
    effects: Mapping[float, Sequence[Effect]]
    """By the probability of the quantile that they are effects on."""
    interactions: Sequence[Interaction]
    """On the median."""
    shares: Mapping[tuple[str, ...], float] | None

    @property
    def known(self) -> list[Condition]:
        """The conditions in which at least one frame was due."""
        return [each for each in self.conditions if each.pool.latency.size]


def label_of(levels: Mapping[str, str], steps: Mapping[str, Sequence[str]]) -> str:
    """One line for a condition: a factor whose levels are numbers is named, words speak for themselves."""
    return " · ".join(_word(name, levels[name], steps[name]) for name in steps if name in levels) or "all"


def labels_of(conditions: Sequence[Mapping[str, str]], steps: Mapping[str, Sequence[str]]) -> list[str]:
    """One line for each condition. Where not all combinations are there, what is not the case is not told, as long as
    each line remains another one."""
    whole = [label_of(levels, steps) for levels in conditions]
    if len(conditions) >= math.prod(len(levels) for levels in steps.values()):
        return whole
    told = [{name: level for name, level in levels.items() if not _is_idle(name, levels)} for levels in conditions]
    first = next(iter(steps))
    brief = [label_of(each or {first: levels[first]}, steps) for each, levels in zip(told, conditions, strict=True)]
    return brief if len(set(brief)) == len(brief) else whole


def _is_idle(name: str, levels: Mapping[str, str]) -> bool:
    polls = levels.get("delivery", "poll") == "poll"
    return levels[name] in ("none", "0", "no") or (name == "poll-every" and not polls)


def _word(name: str, level: str, levels: Sequence[str]) -> str:
    telling = all(any(letter.isalpha() for letter in each) and not each[0].isdigit() for each in levels)
    return level if telling and level not in ("yes", "no", "true", "false", "on", "off", "none") else f"{name} {level}"


def summarize(directory: RunDirectory) -> Summary:
    """Sum up a run's directory. Raises StorageError where it is none."""
    return summary_of(directory.rows(), directory.processes(), directory.events(), directory.run())


def summary_of(rows: pl.DataFrame, processes: pl.DataFrame, events: pl.DataFrame, run: Mapping[str, Any]) -> Summary:
    """Sum up tables as :class:`~sdp.lab.rows.RunDirectory` reads them."""
    probes = rows.filter(pl.col("kind") == "probe")
    light = rows.filter(pl.col("kind") == "light")
    if light.height and light["presented"].null_count() < light.height:
        probes, light = rows, light.clear()  # in virtual time all are alike
    elif probes.height == 0:
        probes, light = light, probes
    factors = factors_of(rows)
    found = levels_of(rows, factors)
    every = {name: list(dict.fromkeys(levels[name] for levels in found)) for name in factors}
    steps = {name: levels for name, levels in every.items() if len(levels) > 1}
    end = end_point(probes)
    conditions = []
    for levels, label in zip(found, labels_of(found, steps), strict=True):
        chosen = _chosen(probes, levels)
        cells = _chosen(rows, levels)["cell"].unique()
        conditions.append(
            _condition(
                levels,
                label,
                end,
                chosen,
                _chosen(light, levels),
                processes.filter(pl.col("cell").is_in(cells.implode())),
                events.filter(pl.col("cell").is_in(cells.implode())),
            )
        )
    by_probability = {
        probability: _points(conditions, at, steps) for at, probability in enumerate(PROBABILITIES) if probability < 1
    }
    medians = by_probability[PROBABILITIES[0]]
    return Summary(
        run=run,
        name=str(rows["scenario"][0]),
        end=end,
        steps=steps,
        constants={name: levels[0] for name, levels in every.items() if len(levels) == 1},
        conditions=tuple(conditions),
        effects={probability: main_effects(points, steps) for probability, points in by_probability.items()},
        interactions=interactions(medians, steps),
        shares=shares_of_variance(medians),
    )


def _chosen(rows: pl.DataFrame, levels: Mapping[str, str]) -> pl.DataFrame:
    for name, level in levels.items():
        rows = rows.filter(pl.col(f"factor.{name}") == level)
    return rows


def _points(conditions: Sequence[Condition], at: int, steps: Mapping[str, Sequence[str]]) -> list[Point]:
    return [
        Point(
            {name: condition.levels[name] for name in steps},
            condition.quantiles[at].value,
            draws(condition.pool, PROBABILITIES[at], rounds=EFFECT_ROUNDS, seed=number),
        )
        for number, condition in enumerate(conditions)
        if condition.pool.latency.size
    ]


def _condition(
    levels: Mapping[str, str],
    label: str,
    end: str,
    rows: pl.DataFrame,
    light: pl.DataFrame,
    processes: pl.DataFrame,
    events: pl.DataFrame,
) -> Condition:
    pooled = pool(samples_of(rows, end))
    counts = counts_of(rows, end)
    times, heights = _courses(rows, end)
    return Condition(
        levels=levels,
        label=label,
        repeats=pooled.repeats,
        pool=pooled,
        quantiles=tuple(quantiles(pooled)),
        counts=counts,
        lost=share(counts.lost, counts.due),
        drift=drift(times, heights),
        waterfall=waterfall_of(rows, end),
        start_ups=tuple(start_ups(events)),
        recoveries=tuple(recoveries(rows, events, end)),
        sent_twice=sent_twice(events),
        processes=tuple(_uses(processes)),
        line=_line(rows, events, end),
        delivery=tuple(quantiles(samples_of(light, "fetched"))) if light.height else (),
    )


def _courses(rows: pl.DataFrame, end: str) -> tuple[list[Any], list[Any]]:
    """Each repeat's capture times and latencies, where it lasted long enough to drift."""
    times, heights = [], []
    for _, part in sorted(latencies(rows, end).partition_by("cell", as_dict=True).items()):
        known = part.filter(pl.col("captured").is_not_null())
        captured = known["captured"].to_numpy()
        if captured.size and float(np.ptp(captured)) / 1e6 >= FEWEST_FOR_DRIFT_S:
            times.append(captured)
            heights.append(known["latency"].to_numpy())
    return times, heights


def _uses(processes: pl.DataFrame) -> list[ProcessUse]:
    found = []
    for role in processes["role"].unique(maintain_order=True):
        part = processes.filter((pl.col("role") == role) & (pl.col("seconds") > 0))
        if part.height:
            cpu = mean_interval((part["cpu_seconds"] / part["seconds"]).to_list())
            through = [None if part[name].null_count() else int(part[name].sum()) for name in ("bytes_in", "bytes_out")]
            found.append(
                ProcessUse(role, cpu, max((int(each) for each in part["rss_bytes"].drop_nulls()), default=0), *through)
            )
    return found


def _line(rows: pl.DataFrame, events: pl.DataFrame, end: str) -> Line:
    """The time line of the condition's first cell."""
    if rows.height == 0:
        return Line(-1, (), ())
    cell = int(rows["cell"].min())  # type: ignore[arg-type]  # the least of whole numbers is one
    part = rows.filter(pl.col("cell") == cell)
    begin = int(part["captured"].min() or 0)  # type: ignore[arg-type]
    last = int(part["captured"].max() or 0)  # type: ignore[arg-type]
    marked = events.filter((pl.col("cell") == cell) & pl.col("kind").is_in([*FAULTS, "resume", "restart"]))
    faults = [
        Fault((time - begin) / 1e6, kind, detail)
        for time, kind, detail in marked.select("time", "kind", "detail").iter_rows()
        if begin <= time <= last
    ]
    return Line(cell, tuple(time_line(part, end, begin=begin)), tuple(faults))
