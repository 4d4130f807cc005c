"""What a factor costs: the difference that one level makes beside another where everything else is alike.

An effect is the mean, over all pairs of cells that differ in that factor alone, of the difference of their
statistics. In a full factorial design that is the textbook's main effect as a difference of marginal means; in a design
that varies one factor at a time, or in a listed set, it is what the pairs that there are say. An interaction is the
same over squares of four cells: how much more the one factor's step costs where the other one's is made as well.

Each cell brings its statistic and the same number of bootstrap rounds of it, from which the intervals are made: the
sums of squares that a textbook would divide by each other assume what latencies never are. The shares of variance say
which factor matters most, and are given only for a full factorial design, where they are one thing. Pure.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

import attrs
import numpy as np
from numpy.typing import NDArray

from sdp.lab.statistics import Interval, ends

__all__ = ["Effect", "Interaction", "Level", "Point", "interactions", "main_effects", "shares_of_variance", "steps_of"]

Level = str | int | float | bool
"""One level of a factor, as a scenario writes it."""


@attrs.frozen(eq=False)
class Point:
    """A cell: its factors' levels, its statistic (microseconds), and that statistic in each bootstrap round."""

    levels: Mapping[str, Level]
    value: float
    rounds: NDArray[np.float64]


class Effect(NamedTuple):
    """What a level adds to the reference level's statistic, over so many matched pairs of cells."""

    factor: str
    reference: Level
    level: Level
    interval: Interval
    pairs: int


class Interaction(NamedTuple):
    """What two steps together add to the sum of what each of them adds, over so many squares of cells."""

    factors: tuple[str, str]
    references: tuple[Level, Level]
    levels: tuple[Level, Level]
    interval: Interval
    squares: int


def steps_of(points: Sequence[Point]) -> dict[str, list[Level]]:
    """Return each factor's levels in the order in which the cells first show them: the first is the reference."""
    found: dict[str, list[Level]] = {}
    for point in points:
        for factor, level in point.levels.items():
            levels = found.setdefault(factor, [])
            if level not in levels:
                levels.append(level)
    return found


def main_effects(points: Sequence[Point], steps: Mapping[str, Sequence[Level]] | None = None) -> list[Effect]:
    """Return the effect of each level beside its factor's first one. ``steps`` gives the levels and their order.

    A level that no matched pair speaks of is left out.
    """
    cells = _by_levels(points)
    effects = []
    for factor, levels in (steps or steps_of(points)).items():
        for level in levels[1:]:
            pairs = [
                (cells[_key(point.levels, {factor: levels[0]})], point)
                for point in points
                if point.levels.get(factor) == level and _key(point.levels, {factor: levels[0]}) in cells
            ]
            if pairs:
                interval = _mean(
                    ((after.value, before.value), (after.rounds, before.rounds)) for before, after in pairs
                )
                effects.append(Effect(factor, levels[0], level, interval, len(pairs)))
    return effects


def interactions(points: Sequence[Point], steps: Mapping[str, Sequence[Level]] | None = None) -> list[Interaction]:
    """Return the interactions of each pair of factors, level by level beside their first ones."""
    cells = _by_levels(points)
    found = []
    for (one, ones), (other, others) in itertools.combinations((steps or steps_of(points)).items(), 2):
        for level, counter in itertools.product(ones[1:], others[1:]):
            squares = []
            for point in points:
                if (point.levels.get(one), point.levels.get(other)) != (level, counter):
                    continue
                corners = (
                    cells.get(_key(point.levels, {one: ones[0]})),
                    cells.get(_key(point.levels, {other: others[0]})),
                    cells.get(_key(point.levels, {one: ones[0], other: others[0]})),
                )
                if all(corners):
                    squares.append((point, *(corner for corner in corners if corner is not None)))
            if squares:
                interval = _mean(
                    (
                        tuple(corner.value for corner in (both, without_one, without_other, neither)),
                        tuple(corner.rounds for corner in (both, without_one, without_other, neither)),
                    )
                    for both, without_one, without_other, neither in squares
                )
                found.append(Interaction((one, other), (ones[0], others[0]), (level, counter), interval, len(squares)))
    return found


ALIKE: Final = 1e-9
"""Cells that differ by less than this part of their size are alike: what is left is the arithmetic's own."""


def shares_of_variance(points: Sequence[Point]) -> dict[tuple[str, ...], float] | None:
    """Return which part of the cells' variance each factor, and each pair of factors, accounts for; the rest is ().

    None where the design is no full factorial, or a cell's statistic is infinite, or all cells are alike.
    """
    steps = {factor: levels for factor, levels in steps_of(points).items() if len(levels) > 1}
    shape = [len(levels) for levels in steps.values()]
    keys = {tuple(levels.index(point.levels[factor]) for factor, levels in steps.items()) for point in points}
    if not steps or len(points) != math.prod(shape) or len(keys) != len(points):
        return None
    grid = np.empty(shape)
    for point in points:
        grid[tuple(levels.index(point.levels[factor]) for factor, levels in steps.items())] = point.value
    size = np.abs(grid).max()
    if not np.isfinite(size) or np.ptp(grid) <= ALIKE * size:
        return None
    grid /= size  # shares have no unit, and squares of tiny numbers would vanish
    total = float(((grid - grid.mean()) ** 2).sum())
    axes = range(len(shape))
    mains = {axis: _marginal(grid, (axis,)) - grid.mean() for axis in axes}
    names = list(steps)
    found: dict[tuple[str, ...], float] = {}
    for axis in axes:
        found[(names[axis],)] = float((np.broadcast_to(mains[axis], grid.shape) ** 2).sum()) / total
    for pair in itertools.combinations(axes, 2):
        both = _marginal(grid, pair) - grid.mean() - mains[pair[0]] - mains[pair[1]]
        found[(names[pair[0]], names[pair[1]])] = float((np.broadcast_to(both, grid.shape) ** 2).sum()) / total
    found[()] = max(0.0, 1.0 - sum(found.values()))
    return found


def _marginal(grid: NDArray[np.float64], kept: Sequence[int]) -> NDArray[np.float64]:
    over = tuple(axis for axis in range(grid.ndim) if axis not in kept)
    marginal: NDArray[np.float64] = grid.mean(axis=over, keepdims=True)
    return marginal


def _by_levels(points: Sequence[Point]) -> dict[frozenset[tuple[str, Level]], Point]:
    return {_key(point.levels, {}): point for point in points}


def _key(levels: Mapping[str, Level], changed: Mapping[str, Level]) -> frozenset[tuple[str, Level]]:
    return frozenset({**levels, **changed}.items())


Corners = tuple[tuple[float, ...], tuple[NDArray[np.float64], ...]]
"""Values and rounds of two cells (the later level first), or of four (both steps, without one, without the other,
neither)."""


def _mean(contrasts: Iterable[Corners]) -> Interval:
    """The mean of contrasts, with the interval that their cells' bootstrap rounds give it."""
    values, rounds = [], []
    for corners, drawn in contrasts:
        values.append(_contrast([np.asarray([corner]) for corner in corners]))
        rounds.append(_contrast(drawn))
    return Interval(float(_mean_of_known(values)[0]), *ends(_mean_of_known(rounds)))


def _mean_of_known(rows: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    table = np.asarray(rows)
    known = ~np.isnan(table)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float64] = np.where(known, table, 0).sum(axis=0) / known.sum(axis=0)
    return mean


def _contrast(corners: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The difference, or the difference of differences. Cells that are lost either way tell nothing of it: nan."""
    with np.errstate(invalid="ignore"):
        if len(corners) == 2:
            return corners[0] - corners[1]
        both, without_one, without_other, neither = corners
        return (both - without_one) - (without_other - neither)
