"""Two engines beside each other: what virtual time says of a condition, and what real processes measured.

Virtual time knows the architecture and the lines, and no machine: no encoder, no decoder, no processor that others use
as well. So its latency is the share that no faster machine takes away, and the distance to what was measured is the
machine's. Where the real engine is the faster one, one of them is wrong.
"""

from __future__ import annotations

import math
from typing import Final, NamedTuple

from sdp.lab.plots import LABEL_WIDTH, latency_scale, legend_height, short, ticks_of
from sdp.lab.statistics import Interval
from sdp.lab.summary import Summary
from sdp.lab.svg import WIDTH, Figure
from sdp.lab.words import duration, signed

__all__ = ["Pair", "figure_of", "pairs_of", "sibling_name"]

SUFFIX: Final = "-virtual"


class Pair(NamedTuple):
    """One condition by both engines: the medians, and p99, each with its interval."""

    label: str
    real: Interval
    virtual: Interval
    real_late: Interval
    virtual_late: Interval

    @property
    def machine(self) -> float:
        """What the machine adds to the median, in microseconds; nan where either is never shown."""
        difference = self.real.value - self.virtual.value
        return difference if math.isfinite(difference) else math.nan


def sibling_name(name: str) -> str:
    """The directory beside a run's that holds the same scenario by virtual time."""
    return name + SUFFIX


def pairs_of(real: Summary, virtual: Summary) -> list[Pair]:
    """Match the conditions of two runs of one scenario by their levels."""
    others = {frozenset(each.levels.items()): each for each in virtual.known}
    found = []
    for each in real.known:
        other = others.get(frozenset(each.levels.items()))
        if other is not None:
            one, two = each.quantiles, other.quantiles
            found.append(Pair(each.label, one[0], two[0], one[2], two[2]))
    return found


def figure_of(pairs: list[Pair]) -> Figure | None:
    """A row a condition: where virtual time's median lies, where the real one does, and what is between."""
    if not pairs:
        return None
    row, left, right = 34, LABEL_WIDTH, WIDTH - 110
    entries = [("c2", "virtual time: architecture and lines"), ("c0", "measured"), ("waiting", "the machine's share")]
    top = legend_height(left, entries) + 22
    figure = Figure(top + row * len(pairs) + 48, "Virtual time beside what was measured")
    figure.legend(left, 18, entries)
    scale = latency_scale([0.0, *(each.value for pair in pairs for each in (pair.real, pair.virtual))], left, right)
    figure.across(scale, top, top + row * len(pairs), ticks_of(scale), "median latency")
    for place, pair in enumerate(pairs):
        y = top + row * (place + 0.5)
        figure.text(left - 12, y + 4, short(pair.label), anchor="end")
        if math.isfinite(pair.machine):
            first, last = sorted((scale(pair.virtual.value), scale(pair.real.value)))
            figure.box(first, y - 3, last - first, 6, fill="waiting", title=f"{pair.label}: {signed(pair.machine)}")
        for kind, found in (("c2", pair.virtual), ("c0", pair.real)):
            if math.isfinite(found.value):
                figure.dot(scale(found.value), y, 5.5, kind, f"{pair.label}: {duration(found.value)}")
        figure.text(WIDTH - 4, y + 4, signed(pair.machine), anchor="end")
    return figure
