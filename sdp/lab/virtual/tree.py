"""Who stands for whom: a tree of relays with up to a million consumers, by a few ways from its root to a leaf. Pure.

The tree is regular: ``hops`` levels of relays, ``fan`` below each server, and the light consumers spread evenly over
the last servers. Whoever stands behind the same servers, over a line of the same kind, sees the same arrivals, but for
its place in the order in which each server serves its own: that costs time only where the network carries out so much
a second. So without such a bound one way is simulated, and stands for all. With it some are, at places that are drawn
evenly, level by level, out of all that there are (a Latin hypercube): each stands for an equal part of the consumers.
"""

from __future__ import annotations

from random import Random
from typing import Final

import attrs

from sdp.lab.way import Way

__all__ = ["SAMPLED", "Branch", "branches_of", "last_servers"]

SAMPLED: Final = 24
"""How many ways are simulated where places in the order count."""


@attrs.frozen
class Branch:
    """One way from the root: the place of its server in the order of its siblings at each level of relays, and of its
    light consumer at the last server; ``weight`` is how many consumers the latter stands for (0: there is none)."""

    relays: tuple[int, ...]
    leaf: int
    leaves: int
    """How many light consumers the last server serves."""
    weight: int


def last_servers(way: Way) -> int:
    """How many servers have consumers."""
    return int(way.fan**way.hops)


def branches_of(way: Way, seed: int) -> list[Branch]:
    """The ways that are simulated; there is always one, for the probes."""
    leaves = -(-way.consumers // last_servers(way))
    if way.egress is None or way.fan**way.hops * max(leaves, 1) == 1:
        return [Branch((0,) * way.hops, 0, leaves, way.consumers)]
    count = min(SAMPLED, max(way.consumers, 1))
    chance = Random(seed)
    columns = [_places(way.fan, count, chance) for _ in range(way.hops)]
    ranks = _places(max(leaves, 1), count, chance)
    weights = [way.consumers * (at + 1) // count - way.consumers * at // count for at in range(count)]
    return [Branch(tuple(column[at] for column in columns), ranks[at], leaves, weights[at]) for at in range(count)]


def _places(of: int, count: int, chance: Random) -> list[int]:
    """``count`` places out of ``of``, evenly spread, in an order of chance."""
    places = [int((at + 0.5) / count * of) for at in range(count)]
    chance.shuffle(places)
    return places
