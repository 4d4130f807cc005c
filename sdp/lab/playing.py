"""When a player would have shown its pictures, worked out from when they were decoded. Pure.

A player means to show each picture a fixed time, its target, after it was captured. With a target of 0 it shows a
picture as soon as it is decoded. One that comes too late either makes the player wait, and everything after it is later
by as much from then on, or is left out. So one run's arrivals say what any target would have done; the screen itself,
which adds up to a refresh interval to all of them alike, is not part of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["Played", "play"]


class Played(NamedTuple):
    """What became of one picture: ``presented`` is None where it was left out; ``late`` by how much it came too late,
    in microseconds (0: in time)."""

    captured: int
    presented: int | None
    late: int


def play(pictures: Iterable[tuple[int, int]], target: int, *, drop: bool) -> list[Played]:
    """Play pictures, each given as (captured, decoded), in the order in which they were decoded.

    All times are in microseconds. A picture that is older than one that was shown already is left out.
    """
    delay, last, played = target, -1, []
    for captured, decoded in pictures:
        if captured <= last:
            played.append(Played(captured, None, 0))
            continue
        if not target:
            last = captured
            played.append(Played(captured, decoded, 0))
            continue
        due = captured + delay
        late = max(0, decoded - due)
        if late and drop:
            played.append(Played(captured, None, late))
            continue
        if late:
            delay += late
        last = captured
        played.append(Played(captured, max(due, decoded), late))
    return played
