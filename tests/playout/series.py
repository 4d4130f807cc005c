"""Arrivals by formula: what a network does to a stream, without a network and without chance.

Each series is a list of :class:`Unit`, in the order of arrival. Whoever sends in order over TCP arrives in order: a
unit never comes before the one that was sent before it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

MILLISECOND = 1_000
SECOND = 1_000_000
BEGIN = 50 * SECOND
"""The stream's time of the first unit; the receiver's clock then shows CLOCK."""
CLOCK = 7 * SECOND

VIDEO, AUDIO = 0, 1


class Unit(NamedTuple):
    """One picture or packet of sound; times in microseconds, ``at`` by the receiver's clock."""

    time: int
    at: int
    duration: int
    track: int
    random_access: bool


Late = Callable[[int, int], int]
"""How late the n-th unit is that is sent at a moment (microseconds from the beginning): microseconds."""


def chance(number: int, most: int) -> int:
    """A number from 0 to ``most`` that looks like chance, the same in every language."""
    return (number * 1_103_515_245 + 12_345) % 2_147_483_648 * (most + 1) // 2_147_483_648


def even(most: int) -> Late:
    """Each unit late by 0 to ``most``."""
    return lambda number, sent: chance(number, most)


def bursts(every: int) -> Late:
    """What is sent within ``every`` microseconds arrives together, at their end."""
    return lambda number, sent: every - sent % every


def outage(first: int, last: int, most: int = 0) -> Late:
    """Nothing arrives from ``first`` to ``last``; then all that waited does."""

    def late(number: int, sent: int) -> int:
        return last - sent if first <= sent < last else chance(number, most)

    return late


def backlog(behind: int) -> Late:
    """The newest random access point is ``behind`` old at the beginning, and what followed it comes at once."""
    return lambda number, sent: max(0, behind - sent)


def series(
    seconds: float,
    late: Late,
    *,
    rate: int = 30,
    group: int = 30,
    sound: bool = False,
    drift: float = 0.0,
    lost: tuple[int, int] = (0, 0),
    transit: int = 2 * MILLISECOND,
) -> list[Unit]:
    """Pictures at ``rate`` a second with a random access point every ``group``, and packets of sound beside them.

    ``drift`` is how much slower the source's clock is than the receiver's. What is sent within ``lost`` never comes.
    """
    units: list[Unit] = []
    at = 0
    for number, (sent, time, duration, track, point) in enumerate(_sent(seconds, rate, group, sound)):
        if lost[0] <= sent < lost[1]:
            continue
        at = max(at, CLOCK + transit + round(sent * (1 + drift)) + late(number, sent))
        units.append(Unit(BEGIN + time, at, duration, track, point))
    return units


def _sent(seconds: float, rate: int, group: int, sound: bool) -> Iterator[tuple[int, int, int, int, bool]]:
    """(when it is sent, its time, its duration, its track, whether decoding can start), in the order of sending."""
    pictures = ((n * SECOND // rate, n) for n in range(round(seconds * rate)))
    packets = ((n * 1024 * SECOND // 48_000, n) for n in range(round(seconds * 48_000 / 1024) if sound else 0))
    both = [(time, time, SECOND // rate, VIDEO, n % group == 0) for time, n in pictures]
    # A packet of sound can be sent when its last sample is known.
    packet = 1024 * SECOND // 48_000
    both += [(time + packet, time, packet, AUDIO, False) for time, n in packets]
    yield from sorted(both)
