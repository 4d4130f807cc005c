"""The report's figures of courses: latency over a factor's levels, and over time with the faults marked."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from sdp.lab.plots import LABEL_WIDTH, latency_scale, legend_height, short, ticks_of
from sdp.lab.summary import Condition, Summary
from sdp.lab.svg import COLOURS, WIDTH, Figure, Scale, linear, logarithmic
from sdp.lab.words import duration

__all__ = ["number_of", "profile", "start_ups", "time_lines"]

_UNITS: Final = {"": 1.0, "us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
_SIZES: Final = {"B": 1.0, "KiB": 1024.0, "MiB": 1048576.0, "k": 1e3, "M": 1e6, "kbit": 1e3, "Mbit": 1e6}


def number_of(level: str) -> float | None:
    """A level as a number where it is one, with or without a unit: ``40ms`` is 0.04."""
    text = level.strip()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ/% ")
    unit = text[len(digits) :].strip()
    try:
        return float(digits) * (_UNITS | _SIZES)[unit]
    except (ValueError, KeyError):
        return None


def profile(summary: Summary) -> Figure | None:
    """Latency over the first factor whose levels are numbers: a line for each level of the others, or quantiles."""
    numeric = [name for name, levels in summary.steps.items() if all(number_of(level) is not None for level in levels)]
    numeric = [name for name in numeric if len(summary.steps[name]) >= 3]
    if not numeric:
        return None
    factor = numeric[0]
    groups: dict[str, list[Condition]] = {}
    for each in summary.known:
        rest = " · ".join(f"{name} {each.levels[name]}" for name in summary.steps if name != factor)
        groups.setdefault(rest, []).append(each)
    lines = _lines(groups, factor)
    if not lines or len(lines) > COLOURS:
        return None
    left, right = 76, WIDTH - 24
    entries = [(f"c{number}", name) for number, (name, _) in enumerate(lines)]
    top = legend_height(left, entries) + 50
    bottom = top + 284
    figure = Figure(bottom + 60, f"Latency over {factor}")
    figure.legend(left, 18, entries)
    places = sorted({x for _, points in lines for x, _, _, _ in points})
    words = {number_of(level): level for level in summary.steps[factor]}
    across = _spread(places, left + 30, right - 30)
    values = [value for _, points in lines for point in points for value in point[1:] if math.isfinite(value)]
    up = latency_scale(values, bottom, top)
    figure.upward(up, left, right, ticks_of(up), "latency")
    for x in places:
        figure.text(across[x], bottom + 18, words[x], "quiet small", anchor="middle")
    figure.text((left + right) / 2, bottom + 38, factor, "quiet", anchor="middle")
    for number, (name, points) in enumerate(lines):
        shown = [point for point in points if math.isfinite(point[1])]
        band = [(across[x], up(low)) for x, _, low, _ in shown]
        band += [(across[x], up(high if math.isfinite(high) else up.high)) for x, _, _, high in reversed(shown)]
        figure.path(band, f"c{number} soft", closed=True)
        figure.path([(across[x], up(value)) for x, value, _, _ in shown], f"line s{number}")
        for x, value, low, high in shown:
            told = f"{name}, {factor} {words[x]}: {duration(value)} ({duration(low)} to {duration(high)})"
            figure.dot(across[x], up(value), 4.5, f"c{number}", told)
    return figure


Line = tuple[str, list[tuple[float, float, float, float]]]
"""A name, and for each place the value with its interval's ends."""


def _lines(groups: dict[str, list[Condition]], factor: str) -> list[Line]:
    """Medians by group; where there is only one group, its median, p95 and p99."""

    def course(conditions: Sequence[Condition], at: int) -> list[tuple[float, float, float, float]]:
        return sorted((number_of(each.levels[factor]) or 0.0, *each.quantiles[at]) for each in conditions)

    if len(groups) == 1:
        [conditions] = groups.values()
        return [(name, course(conditions, at)) for at, name in enumerate(("median", "p95", "p99"))]
    return [(f"median, {name}", course(conditions, 0)) for name, conditions in groups.items() if len(conditions) > 1]


def _spread(places: Sequence[float], first: float, last: float) -> dict[float, float]:
    """Where to draw each place: to scale, logarithmic or linear, where that keeps them apart; else evenly."""
    for scale in (
        linear(places[0], places[-1], first, last),
        logarithmic(places[0], places[-1], first, last) if places[0] > 0 else None,
    ):
        if scale is not None:
            drawn = [scale(place) for place in places]
            if all(after - before >= 48 for before, after in pairwise(drawn)):
                return dict(zip(places, drawn, strict=True))
    width = (last - first) / max(len(places) - 1, 1)
    return {place: first + width * at for at, place in enumerate(places)}


def start_ups(summary: Summary) -> Figure | None:
    """How long each newcomer waited for its first frame: one row a condition, a dot for each, the median marked."""
    conditions = [each for each in summary.conditions if each.start_ups]
    if not conditions:
        return None
    row, top, left, right = 40, 34, LABEL_WIDTH, WIDTH - 110
    bottom = top + row * len(conditions)
    figure = Figure(bottom + 48, "How long newcomers wait for their first frame")
    figure.text(left, 16, "each dot: one who joined · bar: the median", "quiet small")
    figure.text(WIDTH - 4, 16, "median", "quiet small", anchor="end")
    finite = [time for each in conditions for time in each.start_ups if math.isfinite(time)]
    scale = latency_scale([0.0, *finite], left, right)
    figure.across(scale, top, bottom, ticks_of(scale), "from the request to the first frame")
    for place, condition in enumerate(conditions):
        y = top + row * (place + 0.5)
        median = condition.start_ups[(len(condition.start_ups) - 1) // 2]
        figure.text(left - 12, y + 4, short(condition.label), anchor="end")
        for time in condition.start_ups:
            if math.isfinite(time):
                figure.dot(scale(time), y, 5, "c0 half", f"{condition.label}: {duration(time)}")
        if math.isfinite(median):
            figure.line(scale(median), y - 12, scale(median), y + 12, "s1 whisker", f"median {duration(median)}")
        figure.text(WIDTH - 4, y + 4, duration(median), "strong", anchor="end")
    return figure


MOST_LINES: Final = 12
"""Time lines that one figure shows."""

LINE_HEIGHT: Final = 92


def time_lines(summary: Summary) -> Figure | None:
    """The latency over a cell's time, one strip a condition: its first repeat, with faults and lost frames marked.

    Where faults happened, only conditions with faults are shown; they are what one looks for.
    """
    with_faults = [each for each in summary.conditions if each.line.faults]
    chosen = (with_faults or [each for each in summary.conditions if each.line.moments])[:MOST_LINES]
    if not chosen:
        return None
    left, right, top = LABEL_WIDTH, WIDTH - 24, 34
    figure = Figure(top + LINE_HEIGHT * len(chosen) + 48, "Latency over time")
    figure.text(left, 16, "line: median of a short piece · thin: the greatest", "quiet small")
    figure.text(left + 330, 16, "red bars: frames never shown · dashes: what was done to it", "bad small")
    latest = max(each.line.moments[-1].seconds for each in chosen if each.line.moments)
    bottom = top + LINE_HEIGHT * len(chosen)
    across = linear(0, latest, left, right, count=8)
    figure.across(across, top, bottom, [f"{tick:g} s" for tick in across.ticks], "time since the first frame")
    heights = [value for each in chosen for moment in each.line.moments for value in (moment.median, moment.greatest)]
    for place, condition in enumerate(chosen):
        low = top + LINE_HEIGHT * (place + 1) - 14
        up = latency_scale(heights, low, low - LINE_HEIGHT + 26)
        _strip(figure, condition, across, up, low)
    return figure


def _strip(figure: Figure, condition: Condition, across: Scale, up: Scale, low: float) -> None:
    figure.text(LABEL_WIDTH - 72, low - LINE_HEIGHT / 2 + 18, short(condition.label)[:22], anchor="end")
    figure.line(across.first, low, across.last, low, "axis")
    for tick, word in ((up.low, ticks_of(up)[0]), (up.high, ticks_of(up)[-1])):
        figure.text(LABEL_WIDTH - 8, up(tick) + 4, word, "quiet small", anchor="end")
    moments = condition.line.moments
    for kind, value_of in (("line s0 thin", "greatest"), ("line s0", "median")):
        run: list[tuple[float, float]] = []
        for moment in moments:
            value = getattr(moment, value_of)
            if math.isfinite(value):
                run.append((across(moment.seconds), up(value)))
            else:
                figure.path(run, kind)
                run = []
        figure.path(run, kind)
    for moment in moments:
        if moment.lost:
            x = across(moment.seconds)
            figure.line(x, low, x, low - 12, "lost", f"{moment.lost} frames never shown")
    for fault in condition.line.faults:
        x = across(fault.seconds)
        figure.line(x, low - LINE_HEIGHT + 24, x, low, "fault", f"{fault.kind} {fault.detail}")
        figure.text(x + 4, low - LINE_HEIGHT + 32, fault.kind, "bad small")
