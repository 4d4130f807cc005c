"""What many frames' latencies say: quantiles that no lost frame flatters, and how sure they are.

A frame that was never shown is one whose latency has no end: it counts as infinite, so a quantile is always one of
all the frames that there should have been. That is why quantiles here are the nearest rank (the smallest value that at
least that share of the whole does not exceed) and never lie between two values.

Intervals are percentile bootstrap intervals (Efron 1979) over two levels: repeats are drawn with replacement, then in
each of them runs of consecutive frames (circular blocks, Politis and Romano 1992), since what delays one frame delays
the next ones too. A frame is drawn with all its consumers, as they were on one network and one processor. All is
seeded, so that a report made again says the same. A few repeats tell little of how much repeats differ: an interval
over two or three is rather too narrow.

Latencies are float64 microseconds, and ``inf`` for what was never shown. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CONFIDENCE",
    "PROBABILITIES",
    "SEED",
    "Interval",
    "Pool",
    "Sample",
    "difference",
    "draws",
    "drift",
    "ends",
    "less",
    "lost_difference",
    "mean_interval",
    "pool",
    "quantile",
    "quantiles",
    "share",
    "widened",
]

Floats = NDArray[np.float64]

PROBABILITIES: Final = (0.5, 0.95, 0.99, 1.0)
"""The quantiles that every table shows: the median, p95, p99 and the greatest."""

CONFIDENCE: Final = 0.95
"""The share of intervals that hold the truth, were the whole run to be done again and again."""

SEED: Final = 20_130_613
"""Where nothing else is said: the same rows always give the same report."""

MOST_ROUNDS: Final = 1000
FEWEST_ROUNDS: Final = 200
ROUND_BUDGET: Final = 60_000_000
"""Rows that all rounds of one interval touch, some 0.3 s of work: more rows get fewer rounds, within those bounds."""


class Interval(NamedTuple):
    """A value, and the interval that it lies in with :data:`CONFIDENCE`, both ends included."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """Whether the sign is known."""
        return self.low > 0 or self.high < 0


@attrs.frozen(eq=False)
class Sample:
    """The frames of one repeat: their latencies, whose number each is, and how many consumers each row stands for."""

    latency: Floats
    frame: NDArray[np.int64]
    weight: Floats

    @classmethod
    def of(cls, latency: Sequence[float] | Floats, frame: object = None, weight: object = None) -> Sample:
        """Make one of plain numbers; ``frame`` counts from 0 and ``weight`` is 1 where they are left out."""
        values = np.asarray(latency, dtype=np.float64)
        numbers = np.arange(values.size) if frame is None else np.asarray(frame)
        weights = np.ones(values.size) if weight is None else np.asarray(weight, dtype=np.float64)
        return cls(values, numbers.astype(np.int64), weights)


@attrs.frozen(eq=False)
class Pool:
    """All repeats of a cell, sorted by latency, ready to be drawn from."""

    latency: Floats
    weight: Floats
    unit: NDArray[np.int64]
    """For each row the place of its frame in the list of all frames of all repeats: what is drawn as a whole."""
    firsts: NDArray[np.int64]
    """Where each repeat's frames begin in that list; one more entry for the end."""

    @property
    def repeats(self) -> int:
        """How many repeats have a frame."""
        return self.firsts.size - 1


BATCH: Final = 2_000_000
"""Weights that are in memory at once, 8 bytes each."""


def pool(samples: Sequence[Sample]) -> Pool:
    """Lay the repeats' frames in one sorted row. Empty repeats say nothing, and are left out."""
    latencies, weights, units, firsts = [], [], [], [0]
    for sample in samples:
        if sample.latency.size == 0:
            continue
        numbers, unit = np.unique(sample.frame, return_inverse=True)
        latencies.append(sample.latency)
        weights.append(sample.weight)
        units.append(unit.reshape(-1).astype(np.int64) + firsts[-1])
        firsts.append(firsts[-1] + numbers.size)
    if not latencies:
        empty = np.empty(0)
        return Pool(empty, empty, np.empty(0, dtype=np.int64), np.zeros(1, dtype=np.int64))
    latency = np.concatenate(latencies)
    order = np.argsort(latency, kind="stable")
    return Pool(
        latency[order],
        np.concatenate(weights)[order],
        np.concatenate(units)[order],
        np.asarray(firsts, dtype=np.int64),
    )


def _at(latency: Floats, heights: Floats, probabilities: Sequence[float]) -> Floats:
    """Nearest-rank quantiles, ``heights`` being the sum of weights up to and with each value."""
    total = heights[-1]
    # A share of the sum may come out a hair above the whole number that it is.
    places = np.searchsorted(heights, np.asarray(probabilities) * total * (1 - 1e-12), side="left")
    found: Floats = latency[np.minimum(places, latency.size - 1)]
    return found


def quantile(samples: Sequence[Sample] | Pool, probability: float) -> float:
    """Return the nearest-rank quantile of all repeats together, in microseconds; ``nan`` where there is no frame."""
    pooled = samples if isinstance(samples, Pool) else pool(samples)
    if pooled.latency.size == 0:
        return math.nan
    return float(_at(pooled.latency, np.cumsum(pooled.weight), (probability,))[0])


def _drawn(pooled: Pool, rounds: int, random: np.random.Generator) -> Floats:
    """How often each frame of the pool comes in each round: rounds x frames."""
    counts = np.zeros((rounds, int(pooled.firsts[-1])))
    repeats = random.integers(0, pooled.repeats, (rounds, pooled.repeats))
    for repeat in range(pooled.repeats):
        first, last = int(pooled.firsts[repeat]), int(pooled.firsts[repeat + 1])
        times = (repeats == repeat).sum(axis=1)
        for time in range(int(times.max())):
            within = np.flatnonzero(times > time)
            counts[within, first:last] += _blocks(last - first, within.size, random)
    return counts


def _blocks(size: int, rounds: int, random: np.random.Generator) -> Floats:
    """How often each of ``size`` frames comes when circular blocks of them are drawn: rounds x size."""
    block = max(1, round(size ** (1 / 3)))
    starts = random.integers(0, size, (rounds, -(-size // block)))
    drawn = (starts[:, :, np.newaxis] + np.arange(block)).reshape(rounds, -1)[:, :size] % size
    drawn += np.arange(rounds)[:, np.newaxis] * size
    return np.bincount(drawn.reshape(-1), minlength=rounds * size).reshape(rounds, size).astype(np.float64)


def _rounds(rows: int) -> int:
    return min(MOST_ROUNDS, max(FEWEST_ROUNDS, ROUND_BUDGET // max(rows, 1)))


def _resampled(pooled: Pool, probabilities: Sequence[float], rounds: int, seed: int) -> Floats:
    """Quantiles of so many rounds: an array of rounds x probabilities."""
    random = np.random.default_rng(seed)
    found = np.empty((rounds, len(probabilities)))
    step = max(1, BATCH // pooled.latency.size)
    for begin in range(0, rounds, step):
        counts = _drawn(pooled, min(step, rounds - begin), random)
        heights = np.cumsum(pooled.weight * counts[:, pooled.unit], axis=1)
        for at, probability in enumerate(probabilities):
            wanted = heights[:, -1:] * (probability * (1 - 1e-12))
            found[begin : begin + step, at] = pooled.latency[np.argmax(heights >= wanted, axis=1)]
    return found


def quantiles(
    samples: Sequence[Sample] | Pool,
    probabilities: Sequence[float] = PROBABILITIES,
    *,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
) -> list[Interval]:
    """Return each quantile of the repeats with its interval, in microseconds; ``nan`` where there is no frame."""
    pooled = samples if isinstance(samples, Pool) else pool(samples)
    if pooled.latency.size == 0:
        return [Interval(math.nan, math.nan, math.nan)] * len(probabilities)
    values = _at(pooled.latency, np.cumsum(pooled.weight), probabilities)
    found = _resampled(pooled, probabilities, _rounds(pooled.latency.size), seed)
    return [Interval(float(value), *ends(found[:, at], confidence)) for at, value in enumerate(values)]


def draws(pooled: Pool, probability: float, *, rounds: int, seed: int = SEED) -> Floats:
    """Return the quantile in so many bootstrap rounds: what intervals of sums and differences are made of."""
    if pooled.latency.size == 0:
        return np.full(rounds, math.nan)
    return _resampled(pooled, (probability,), rounds, seed)[:, 0]


def ends(found: Floats, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the percentile interval of bootstrap rounds. Both ends are rounds, as one of them may be infinite."""
    if not found.size or np.isnan(found).any():
        return math.nan, math.nan
    ordered = np.sort(found)
    low = math.floor((1 - confidence) / 2 * (ordered.size - 1))
    return float(ordered[low]), float(ordered[ordered.size - 1 - low])


def difference(
    before: Pool, after: Pool, probability: float, *, confidence: float = CONFIDENCE, seed: int = SEED
) -> Interval:
    """Return ``after``'s quantile less ``before``'s, with its interval, in microseconds.

    Where both are infinite nothing has changed: 0. ``nan`` where one side has no frame at all.
    """
    if not (before.latency.size and after.latency.size):
        return Interval(math.nan, math.nan, math.nan)
    rounds = _rounds(before.latency.size + after.latency.size)
    value = less(np.asarray([quantile(after, probability)]), np.asarray([quantile(before, probability)]))
    first = draws(before, probability, rounds=rounds, seed=seed)
    second = draws(after, probability, rounds=rounds, seed=seed + 1)
    return Interval(float(value[0]), *ends(less(second, first), confidence))


def lost_difference(before: Pool, after: Pool, *, confidence: float = CONFIDENCE, seed: int = SEED) -> Interval:
    """Return by how much the share of frames that were never shown differs, with its interval; both pools non-empty."""
    rounds = _rounds(int(before.firsts[-1] + after.firsts[-1]))
    shares = []
    for at, each in enumerate((before, after)):
        units = int(each.firsts[-1])
        lost = np.bincount(each.unit, each.weight * np.isinf(each.latency), minlength=units)
        due = np.bincount(each.unit, each.weight, minlength=units)
        counts = _drawn(each, rounds, np.random.default_rng(seed + at))
        shares.append((lost.sum() / due.sum(), counts @ lost / (counts @ due)))
    (was, first), (now, second) = shares
    return Interval(float(now - was), *ends(second - first, confidence))


def widened(interval: Interval, comparisons: int) -> Interval:
    """Return an interval that is wide enough where so many are looked at together (Bonferroni).

    Its ends move away from the value as a normal distribution's would: the tails are too far out to be drawn.
    """
    tail = (1 - CONFIDENCE) / 2
    factor = _normal_quantile(1 - tail / max(comparisons, 1)) / _normal_quantile(1 - tail)
    value, low, high = interval
    if not math.isfinite(value):
        return interval
    return Interval(value, value - (value - low) * factor, value + (high - value) * factor)


def less(left: Floats, right: Floats) -> Floats:
    """Return ``left - right``, two infinities being alike."""
    same = left == right
    return np.where(same, 0.0, left - np.where(same, 0.0, right))


def mean_interval(
    values: Sequence[float], *, confidence: float = CONFIDENCE, seed: int = SEED, rounds: int = MOST_ROUNDS
) -> Interval:
    """Return the mean of one number a repeat, with its bootstrap interval, in the numbers' own unit."""
    numbers = np.asarray(values, dtype=np.float64)
    if numbers.size == 0:
        return Interval(math.nan, math.nan, math.nan)
    drawn = np.random.default_rng(seed).integers(0, numbers.size, (rounds, numbers.size))
    return Interval(float(numbers.mean()), *ends(numbers[drawn].mean(axis=1), confidence))


def share(part: float, whole: float, *, confidence: float = CONFIDENCE) -> Interval:
    """Return ``part / whole`` with Wilson's interval (1927), which says something where ``part`` is 0 too."""
    if whole <= 0:
        return Interval(math.nan, math.nan, math.nan)
    value = part / whole
    z = _normal_quantile(0.5 + confidence / 2)
    middle = (value + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z / (1 + z * z / whole) * math.sqrt(value * (1 - value) / whole + z * z / (4 * whole * whole))
    return Interval(value, max(0.0, min(value, middle - half)), min(1.0, max(value, middle + half)))


def _normal_quantile(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


WINDOWS: Final = 60
"""Pieces of time that a repeat is cut into for its drift: each says its median."""

FEWEST_IN_WINDOW: Final = 5


def drift(times: Sequence[Floats], latencies: Sequence[Floats], *, confidence: float = CONFIDENCE) -> Interval:
    """Return how latency grows with time: microseconds a second, by Theil and Sen's slope with Sen's interval (1968).

    ``times`` are each repeat's capture times in microseconds, ``latencies`` theirs. The slope is the median of the
    slopes between the medians of any two windows of one repeat, so no outlier bends it, and neither do a few frames
    that were never shown. A window whose median was never shown is left out. ``nan`` with fewer than three windows.
    """
    slopes, variance = [], 0.0
    for when, latency in zip(times, latencies, strict=True):
        at, height = _window_medians(when, latency)
        if at.size < 3:
            continue
        left, right = np.triu_indices(at.size, 1)
        slopes.append((height[right] - height[left]) / (at[right] - at[left]))
        variance += at.size * (at.size - 1) * (2 * at.size + 5) / 18  # of Kendall's S without ties
    if not slopes:
        return Interval(math.nan, math.nan, math.nan)
    ordered = np.sort(np.concatenate(slopes))
    reach = _normal_quantile(0.5 + confidence / 2) * math.sqrt(variance)
    low = max(0, math.floor((ordered.size - reach) / 2))
    high = min(ordered.size - 1, math.ceil((ordered.size + reach) / 2))
    return Interval(float(np.median(ordered)), float(ordered[low]), float(ordered[high]))


def _window_medians(times: Floats, latencies: Floats) -> tuple[Floats, Floats]:
    """The middle (seconds) and the median of each window that has one."""
    if times.size == 0:
        return np.empty(0), np.empty(0)
    order = np.argsort(times, kind="stable")
    count = max(1, min(WINDOWS, times.size // FEWEST_IN_WINDOW))
    pieces = [piece for piece in np.array_split(order, count) if piece.size]
    middles = np.asarray([float(times[piece].mean()) / 1e6 for piece in pieces])
    medians = np.asarray([float(np.sort(latencies[piece])[(piece.size - 1) // 2]) for piece in pieces])
    kept = np.isfinite(medians)
    middles, medians = middles[kept], medians[kept]
    distinct = np.concatenate(([True], np.diff(middles) > 0)) if middles.size else kept[:0]
    return middles[distinct], medians[distinct]
