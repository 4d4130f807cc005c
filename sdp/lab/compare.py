"""Two runs beside each other: what changed beyond noise, condition by condition.

Conditions are matched by their factors' levels. What is looked at is the difference of the median, of p99, and of the
share of frames that were never shown, each with an interval that is wide enough for all comparisons together: where
nothing changed, one comparison in twenty of whole runs says that something did. A change that is smaller than the
clock's bound, or than a hundredth of what was there before, is not told whatever its interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final, NamedTuple

import attrs

from sdp.lab import words
from sdp.lab.statistics import PROBABILITIES, SEED, Interval, difference, lost_difference, quantile, widened
from sdp.lab.summary import Condition, Summary

__all__ = ["Change", "Comparison", "compare", "lines_of"]

LEAST_US: Final = 100.0
"""A difference in microseconds that is never told: what two runs on one machine differ by without a reason."""

LEAST_SHARE: Final = 0.01
"""The part of what was there before that a difference must reach."""

COMPARED: Final = (("median", PROBABILITIES[0]), ("p99", PROBABILITIES[2]))


class Change(NamedTuple):
    """One number of one condition, before and after."""

    label: str
    what: str
    """median, p99, or never shown (a share of the frames)."""
    before: float
    after: float
    interval: Interval
    """Of the difference, wide enough for all comparisons."""
    is_real: bool

    @property
    def sentence(self) -> str:
        """What changed, for a person."""
        show, sign = (words.percent, _points) if self.what == "never shown" else (words.duration, words.signed)
        if self.what == "never shown":
            verb = "More frames were never shown" if self.after > self.before else "Fewer frames were never shown"
            subject = f"{verb} with {self.label}"
        else:
            verb = "grew" if self.after > self.before else "fell"
            subject = f"The {self.what} of {self.label} {verb}"
        told = f"from {show(self.before)} to {show(self.after)}"
        return f"{subject}, {told} ({sign(self.interval.value)}; {words.interval(self.interval, sign)})."


def _points(share: float) -> str:
    return f"{share * 100:+.1f} points".replace("-", "\N{MINUS SIGN}")


@attrs.frozen
class Comparison:
    """All that was looked at, and what had nothing to be matched with."""

    changes: tuple[Change, ...]
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]

    @property
    def real(self) -> list[Change]:
        """What changed beyond noise, the greatest change first."""
        return sorted((each for each in self.changes if each.is_real), key=_weight, reverse=True)

    @property
    def answer(self) -> str:
        """What changed, in a sentence."""
        if not self.changes:
            return "The runs have no condition in common: their factors have other names or levels."
        real = self.real
        if not real:
            return f"Nothing changed beyond noise, in {len(self.changes)} comparisons."
        more = f" And {len(real) - 1} more of {len(self.changes)} comparisons changed." if len(real) > 1 else ""
        return real[0].sentence + more


def _weight(change: Change) -> tuple[bool, float]:
    """What is lost weighs more than anything that is late; else how many times what was there before."""
    base = change.before if math.isfinite(change.before) else change.after
    return change.what == "never shown", abs(change.interval.value) / max(base, 1e-9)


def compare(before: Summary, after: Summary, *, clock_bound_us: float = 0.0, seed: int = SEED) -> Comparison:
    """Hold two runs against each other.

    ``clock_bound_us`` is how far apart two clocks may be that a latency is measured by (0 on one machine).
    Latencies must end at the same point in both, or they are not of one kind: ValueError.
    """
    if before.end != after.end:
        raise ValueError(f"the latencies of one run end at {before.end}, those of the other at {after.end}")
    earlier, later = _by_levels(before), _by_levels(after)
    pairs = [(earlier[key], later[key]) for key in earlier if key in later]
    pairs = [pair for pair in pairs if all(each.pool.latency.size for each in pair)]
    comparisons = len(pairs) * (len(COMPARED) + 1)
    changes: list[Change] = []
    for number, (one, other) in enumerate(pairs):
        for what, probability in COMPARED:
            found = widened(difference(one.pool, other.pool, probability, seed=seed + number), comparisons)
            was, now = quantile(one.pool, probability), quantile(other.pool, probability)
            least = max(LEAST_US, clock_bound_us, LEAST_SHARE * was if math.isfinite(was) else 0.0)
            is_real = found.excludes_zero and abs(found.value) >= least
            changes.append(Change(one.label, what, was, now, found, is_real))
        lost = widened(lost_difference(one.pool, other.pool, seed=seed + number), comparisons)
        is_real = lost.excludes_zero and abs(lost.value) >= LEAST_SHARE / 10
        changes.append(Change(one.label, "never shown", one.lost.value, other.lost.value, lost, is_real))
    return Comparison(
        tuple(changes),
        tuple(each.label for key, each in earlier.items() if key not in later),
        tuple(each.label for key, each in later.items() if key not in earlier),
    )


def _by_levels(summary: Summary) -> dict[frozenset[tuple[str, str]], Condition]:
    return {frozenset(each.levels.items()): each for each in summary.conditions}


def lines_of(found: Comparison) -> Iterator[str]:
    """Tell a comparison line by line: the answer, each change beyond noise, and what could not be matched."""
    yield found.answer
    yield from (f"  {each.sentence}" for each in found.real[1:])
    for where, labels in (("first", found.only_before), ("second", found.only_after)):
        if labels:
            yield f"Only the {where} run has {', '.join(labels)}."
