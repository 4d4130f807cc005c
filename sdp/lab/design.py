"""From a scenario to its cells: which treatments there are, how often each, and in which order they are run.

A cell's number is its place in the design, and stays whatever the order: so a run that was interrupted goes on, and two
runs of one scenario can be compared cell by cell. The order is shuffled, so that a machine that grows warm, or is busy
for a minute, does not look like a factor's effect. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from itertools import product
from random import Random

import attrs

from sdp.errors import ConfigurationError
from sdp.lab.scenario import Scenario, way_of
from sdp.lab.way import Way

__all__ = ["Cell", "cells_of", "in_chance_order", "treatments"]

MOST_CELLS = 10_000


@attrs.frozen(kw_only=True)
class Cell:
    """One run of one treatment. ``levels`` are the factors' and their levels, as texts; ``way`` is all of it."""

    number: int
    repeat: int
    seed: int
    levels: Mapping[str, str]
    way: Way

    @property
    def text(self) -> str:
        """The treatment in a line."""
        return ", ".join(f"{name} {level}" for name, level in self.levels.items())


def treatments(scenario: Scenario) -> Iterator[dict[str, str]]:
    """The combinations of levels that the design asks for, without what is fixed."""
    if scenario.plan.design == "listed":
        yield from (dict(each) for each in scenario.listed)
        return
    names = scenario.factors
    if scenario.plan.design == "full":
        for combination in product(*(scenario.levels[name] for name in names)):
            yield dict(zip(names, combination, strict=True))
        return
    base = {name: scenario.levels[name][0] for name in names}
    yield dict(base)
    for name in names:
        for level in scenario.levels[name][1:]:
            yield {**base, name: level}


def cells_of(scenario: Scenario) -> list[Cell]:
    """The scenario's cells, in the order of their numbers. Raises ConfigurationError where they are too many, or a
    treatment contradicts itself."""
    plan = scenario.plan
    cells: list[Cell] = []
    for levels in treatments(scenario):
        way = way_of({**scenario.fixed, **levels})
        _check(way, levels)
        for repeat in range(plan.repeats):
            number = len(cells)
            cells.append(Cell(number=number, repeat=repeat, seed=_seed(plan.seed, number), levels=levels, way=way))
        if len(cells) > MOST_CELLS:
            raise ConfigurationError(
                f"{scenario.name}: more than {MOST_CELLS} cells; use fewer levels, or one-at-a-time in place of full."
            )
    return cells


def in_chance_order(cells: list[Cell], seed: int) -> list[Cell]:
    """The cells in the order in which they are run. Whole repeats follow each other, each in an order of its own: what
    an interruption leaves is then a smaller experiment, and not half of one."""
    chance = Random(seed)
    keyed = [(cell.repeat, chance.random(), cell) for cell in cells]
    return [cell for _, _, cell in sorted(keyed, key=lambda each: each[:2])]


def _seed(seed: int, number: int) -> int:
    """A cell's own seed: of neighbours as different as can be."""
    return int.from_bytes(blake2b(f"{seed}/{number}".encode(), digest_size=4).digest(), "big")


def _check(way: Way, levels: Mapping[str, str]) -> None:
    said = ", ".join(f"{name} {level}" for name, level in levels.items())
    if way.fan_out == "after-sync" and not way.store:
        raise ConfigurationError(f"{said}: fan-out after-sync needs store = true: without a disk there is no sync.")
    if way.fault == "kill-relay" and not way.hops:
        raise ConfigurationError(f"{said}: fault kill-relay needs hops of 1 or more.")
    if way.slow and not way.consumers:
        raise ConfigurationError(f"{said}: a share of slow consumers needs consumers.")
    if way.consumers and way.path == "tls":
        raise ConfigurationError(f"{said}: light consumers speak no TLS: leave consumers out, or path tls.")
    if way.delivery != "poll" and way.poll_every != attrs.fields(Way).poll_every.default:
        raise ConfigurationError(f"{said}: poll-every means something with delivery poll only.")
    if way.delivery == "stream" and way.connection == "new":
        raise ConfigurationError(f"{said}: an endless answer is one request: connection new needs a polling delivery.")
    if way.system != "sdp":
        own = Way(
            system=way.system,
            size=way.size,
            rate=way.rate,
            gop=way.gop,
            preset=way.preset,
            bit_rate=way.bit_rate,
            record=way.record,
            probes=way.probes,
            target=way.target,
            late=way.late,
        )
        if own != way:
            raise ConfigurationError(
                f"{said}: through {way.system} only pictures, record, probes and the player can be varied."
            )
