"""Bandwidth over time, by formula: what a link can carry at each moment, around a mean rate.

No recording of anybody's network: each trace is a few lines that can be read, made again from its seed, and stated in a
report. A trace is a function of the time in seconds since the link began; its mean over time is 1, to be multiplied by
the link's rate. Pure.

=========  ============================================================================================================
steady     1
steps      1.5 for five seconds, 0.5 for five seconds, and again: a neighbour's download
sawtooth   from 1.6 down to 0.4 within four seconds, then at once up again: a flow that probes for its share
mobile     1 + 0.5 sin(2 pi t / 17) + 0.3 sin(2 pi t / 3.1), each tenth of a second times chance from 0.6 to 1.4: a walk
           through a city
outages    1.25 for four seconds, then nothing for one: tunnels
=========  ============================================================================================================
"""

from __future__ import annotations

import math
from collections.abc import Callable
from random import Random

__all__ = ["Capacity", "capacity"]

Capacity = Callable[[float], float]
"""The share of the mean rate at a time in seconds; never negative."""

_TENTHS = 1 << 14


def _steps(time: float) -> float:
    return 1.5 if time % 10 < 5 else 0.5


def _sawtooth(time: float) -> float:
    return 1.6 - 0.3 * (time % 4)


def _outages(time: float) -> float:
    return 1.25 if time % 5 < 4 else 0.0


def _mobile(seed: int) -> Capacity:
    chance = Random(seed)
    factors = [chance.uniform(0.6, 1.4) for _ in range(_TENTHS)]

    def share(time: float) -> float:
        wave = 1 + 0.5 * math.sin(2 * math.pi * time / 17) + 0.3 * math.sin(2 * math.pi * time / 3.1)
        return wave * factors[int(time * 10) % _TENTHS]

    return share


def capacity(name: str, seed: int) -> Capacity:
    """The trace of that name; ``none`` and ``steady`` are a constant 1. ``seed`` matters where there is chance."""
    if name == "mobile":
        return _mobile(seed)
    return {"steps": _steps, "sawtooth": _sawtooth, "outages": _outages}.get(name, lambda time: 1.0)
