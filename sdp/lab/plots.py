"""The report's figures of conditions: distributions, tails, waterfalls, and effects.

Each takes a run's summary and gives a :class:`~sdp.lab.svg.Figure`, or None where it would show nothing. What is told
by colour is told by a word, a place or a shape as well.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from sdp.lab.measures import Step
from sdp.lab.statistics import PROBABILITIES, Pool
from sdp.lab.summary import Condition, Summary
from sdp.lab.svg import COLOURS, WIDTH, Figure, Scale, linear, logarithmic
from sdp.lab.words import duration, interval, percent, signed, step

__all__ = ["distributions", "effects", "latency_scale", "legend_height", "short", "tails", "ticks_of", "waterfalls"]

LABEL_WIDTH: Final = 210
"""User units to the left of a figure, for what its rows are called."""

MOST_LABEL: Final = 30
"""Letters that have room there."""

WIDE: Final = 15
"""How many times the least value the greatest has to be for a scale to be logarithmic."""

_FAMILIES: Final = {
    "encoded": "origin0",
    "written": "origin1",
    "posted": "origin2",
    "received": "server0",
    "appended": "server1",
    "durable": "server2",
    "fanned_out": "server3",
    "fetched": "consumer0",
    "decoded": "consumer1",
    "presented": "consumer2",
}


def colour_of(point: str) -> str:
    """The colour of the step that ends at a point: it tells whose work it is."""
    if point.startswith("hop"):
        return f"relay{(int(point[3:]) + 1) % 2}"
    return _FAMILIES[point]


def short(words: str) -> str:
    """What has room beside a row."""
    return words if len(words) <= MOST_LABEL else words[: MOST_LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}"


def latency_scale(values: Sequence[float], first: float, last: float) -> Scale:
    """A scale for latencies (microseconds): logarithmic where the greatest is many times the least."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    if low > 0 and high > WIDE * low:
        return logarithmic(low, high, first, last)
    return linear(min(0.0, low), high, first, last, count=8)


def ticks_of(scale: Scale) -> list[str]:
    """Words for a latency scale's ticks."""
    return [plain(tick) for tick in scale.ticks]


def plain(microseconds: float) -> str:
    """A round number of milliseconds or seconds, without needless digits."""
    if abs(microseconds) >= 1e6:
        return f"{microseconds / 1e6:g} s"
    return f"{microseconds / 1000:g} ms".replace("-", "\N{MINUS SIGN}")


def distributions(summary: Summary) -> Figure | None:
    """One row a condition: how its latencies lie, the median with its interval, p95, p99 and the greatest."""
    conditions = summary.known
    if not conditions:
        return None
    row = 46 if len(conditions) <= 16 else 30
    top, left, right = 34, LABEL_WIDTH, WIDTH - 96
    figure = Figure(top + row * len(conditions) + 48, "Distribution of latency for each condition")
    spread = [float(value) for each in conditions for value in _quantiles_at(each.pool, (0.02, 0.5, 1.0))]
    scale = latency_scale([*spread, *(_greatest(each.pool) for each in conditions)], left, right)
    figure.across(scale, top, top + row * len(conditions), ticks_of(scale), "latency")
    figure.text(left, 16, "dot: median with its interval · bars: p95 and p99 · ring: the greatest", "quiet small")
    figure.text(WIDTH - 4, 16, "never shown", "quiet small", anchor="end")
    for place, condition in enumerate(conditions):
        base = top + row * (place + 1) - 6
        _ridge(figure, condition, scale, base, row * 0.8)
    return figure


def legend_height(left: float, entries: Sequence[tuple[str, str]]) -> float:
    """Where a legend's last line will stand."""
    return Figure(0, "").legend(left, 18, entries)


def _quantiles_at(pooled: Pool, probabilities: Sequence[float]) -> list[float]:
    heights = np.cumsum(pooled.weight)
    places = np.searchsorted(heights, np.asarray(probabilities) * heights[-1] * (1 - 1e-12))
    return [float(pooled.latency[place]) for place in places]


def _greatest(pooled: Pool) -> float:
    finite = pooled.latency[np.isfinite(pooled.latency)]
    return float(finite[-1]) if finite.size else math.nan


def _ridge(figure: Figure, condition: Condition, scale: Scale, base: float, height: float) -> None:
    figure.text(LABEL_WIDTH - 12, base - height / 2 + 6, short(condition.label), anchor="end")
    figure.line(scale.first, base, scale.last, base, "grid")
    pooled = condition.pool
    finite = np.isfinite(pooled.latency)
    if finite.any():
        places = np.asarray([scale(float(value)) for value in pooled.latency[finite]])
        bins = np.linspace(scale.first, scale.last, 161)
        heights, _ = np.histogram(places, bins, weights=pooled.weight[finite])
        smooth = np.convolve(heights, [0.06, 0.24, 0.4, 0.24, 0.06], mode="same")
        # The square root keeps a thin tail in sight; an area's exact size is nothing that an eye can read.
        smooth = np.sqrt(smooth / smooth.max()) * height
        middles = (bins[:-1] + bins[1:]) / 2
        outline = [(float(x), base - float(y)) for x, y in zip(middles, smooth, strict=True)]
        figure.path([(scale.first, base), *outline, (scale.last, base)], "c0 soft", closed=True)
    told = "  ".join(
        f"{name} {duration(each.value)}"
        for name, each in zip(("p50", "p95", "p99", "max"), condition.quantiles, strict=True)
    )
    title = f"{condition.label}: {told}; the median's interval is {interval(condition.quantiles[0])}"
    middle = base - height * 0.32
    median, p95, p99, _ = condition.quantiles
    for each in (p95, p99):
        if math.isfinite(each.value):
            figure.line(scale(each.value), middle - 7, scale(each.value), middle + 7, "s0 tick", title)
    if math.isfinite(median.value):
        end = median.high if math.isfinite(median.high) else scale.high
        figure.line(scale(median.low), middle, scale(end), middle, "s0 whisker half", title)
        figure.dot(scale(median.value), middle, 5, "c0", title)
    greatest = _greatest(pooled)
    if math.isfinite(greatest):
        figure.dot(scale(greatest), middle, 3.2, "s0 line", title)
    kind = "bad strong" if condition.counts.lost else "quiet"
    figure.text(WIDTH - 4, middle + 4, percent(condition.lost.value), kind, anchor="end")


def tails(summary: Summary) -> Figure | None:
    """The share of frames that are later than a latency, on logarithmic scales: where the slowest frames show."""
    conditions = summary.known[:COLOURS]
    if not conditions or len(summary.conditions) > COLOURS:
        return None
    left, right = 76, WIDTH - 24
    entries = [(f"c{number}", each.label) for number, each in enumerate(conditions)]
    top = legend_height(left, entries) + 50
    bottom = top + 280
    figure = Figure(bottom + 56, "Share of frames later than a latency")
    figure.legend(left, 18, entries)
    least = 1 / max(each.counts.due for each in conditions)
    down = logarithmic(min(least, 0.02), 1, bottom, top)
    finite = [value for each in conditions for value in (*_quantiles_at(each.pool, (0.02,)), _greatest(each.pool))]
    scale = latency_scale(finite, left, right)
    figure.across(scale, top, bottom, ticks_of(scale), "latency")
    figure.upward(down, left, right, [f"{tick * 100:g} %" for tick in down.ticks], "frames that are later")
    for number, condition in enumerate(conditions):
        pooled = condition.pool
        kept = np.isfinite(pooled.latency)
        later = 1 - np.cumsum(pooled.weight)[kept] / pooled.weight.sum()
        values = pooled.latency[kept]
        chosen = np.unique(np.linspace(0, max(values.size - 1, 0), min(values.size, 400)).astype(int))
        points = [
            (scale(float(values[at])), down(max(float(later[at]), down.low)))
            for at in chosen.tolist()
            if later[at] >= down.low or at == values.size - 1
        ]
        lost = condition.lost.value
        if lost > 0 and points:  # it never comes down to nothing: a plateau to the edge
            points.append((right, down(max(lost, down.low))))
        figure.path(points, f"line s{number}", f"{condition.label}: never shown {percent(lost)}")
    return figure


def waterfalls(summary: Summary) -> Figure | None:
    """Where the time goes: the medians from point to point, one stacked bar a condition."""
    conditions = [each for each in summary.known if each.waterfall.steps]
    if not conditions:
        return None
    ends = list(dict.fromkeys(part.end for each in conditions for part in each.waterfall.steps))
    order = [*_FAMILIES]
    ends.sort(key=lambda end: order.index("fanned_out") + int(end[3:]) / 1000 if end[:3] == "hop" else order.index(end))
    row = 34
    entries = [(colour_of(end), step("", end)) for end in ends]
    top = legend_height(LABEL_WIDTH, entries) + 22
    figure = Figure(top + row * len(conditions) + 48, "Where the time goes, step by step")
    figure.legend(LABEL_WIDTH, 18, entries)
    left, right = LABEL_WIDTH, WIDTH - 96
    longest = max(max(_length(each), each.waterfall.total) for each in conditions)
    scale = linear(0, longest, left, right, count=8)
    figure.across(scale, top, top + row * len(conditions), ticks_of(scale), "median time since the frame was drawn")
    for place, condition in enumerate(conditions):
        y = top + row * place + 6
        figure.text(left - 12, y + 15, short(condition.label), anchor="end")
        at = 0.0
        for part in condition.waterfall.steps:
            x, end = scale(at), scale(at + part.median)
            figure.box(x, y, end - x - 1, 22, fill=colour_of(part.end), title=_told(part, condition))
            at += part.median
        for part in condition.waterfall.beside:
            if part.median > scale.high:
                continue  # so much later that it would have to be drawn elsewhere
            title = f"{condition.label}: {part.end} {duration(part.median)} after capture; nobody waits for it"
            figure.dot(scale(part.median), y + 11, 4, "c3", title)
        figure.text(scale(at) + 8, y + 15, duration(condition.waterfall.total), "strong")
    return figure


def _length(condition: Condition) -> float:
    return sum(part.median for part in condition.waterfall.steps)


def _told(part: Step, condition: Condition) -> str:
    return f"{condition.label}: {step(part.start, part.end)} {duration(part.median)}"


def effects(summary: Summary, probability: float = PROBABILITIES[0]) -> Figure | None:
    """What each level costs beside its factor's first one, with its interval: what crosses zero may be noise."""
    found = [each for each in summary.effects.get(probability, ()) if math.isfinite(each.interval.value)]
    if not found:
        return None
    row, top, left, right = 32, 14, LABEL_WIDTH + 60, WIDTH - 110
    factors = list(dict.fromkeys(each.factor for each in found))
    figure = Figure(top + row * (len(found) + len(factors)) + 52, "What each level costs")
    reaches = [value for each in found for value in each.interval if math.isfinite(value)]
    scale = linear(min(0, *reaches), max(0, *reaches), left, right)
    bottom = top + row * (len(found) + len(factors))
    name = {0.5: "median", 0.95: "p95", 0.99: "p99"}[probability]
    figure.across(scale, top, bottom, ticks_of(scale), f"difference of the {name}, all else alike")
    figure.line(scale(0), top, scale(0), bottom, "axis")
    y = top + row / 2
    for factor in factors:
        steps = [each for each in found if each.factor == factor]
        figure.text(8, y + 4, f"{factor}, beside {steps[0].reference}", "strong")
        y += row
        for each in steps:
            kind = "0" if each.interval.excludes_zero else "7"
            told = f"{signed(each.interval.value)}, {interval(each.interval)}"
            title = f"{factor} {each.level} beside {each.reference}: {told}"
            low, high = (value if math.isfinite(value) else scale.high for value in each.interval[1:])
            figure.text(left - 14, y + 4, short(str(each.level)), anchor="end")
            figure.line(scale(low), y, scale(high), y, f"s{kind} whisker half", title)
            figure.dot(scale(each.interval.value), y, 5.5, f"c{kind}", title)
            told = signed(each.interval.value) if each.interval.excludes_zero else "noise"
            figure.text(WIDTH - 4, y + 4, told, "" if kind == "0" else "quiet", anchor="end")
            y += row
    return figure
