"""What a log lacks in its midst: half-open intervals of offsets in ascending order, none of which touch."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Protocol

from sdp.stream.record import Record

__all__ = ["Filling", "Interval", "held_until", "hole_at", "within", "without"]

Interval = tuple[int, int]
"""Half-open: the first offset and the one after the last."""


def hole_at(holes: Sequence[Interval], offset: int) -> Interval | None:
    """Return the hole that ``offset`` lies in."""
    number = bisect_right(holes, offset, key=_start) - 1
    return holes[number] if number >= 0 and offset < holes[number][1] else None


def held_until(holes: Sequence[Interval], offset: int, end: int) -> int:
    """Return where the next hole at or after ``offset`` begins, or ``end`` where none does before that."""
    for start, stop in holes[max(bisect_right(holes, offset, key=_start) - 1, 0) :]:
        if stop > offset:
            return min(max(start, offset), end)
    return end


def without(holes: Iterable[Interval], start: int, end: int) -> tuple[Interval, ...]:
    """Return what is left of the holes once [start, end) is there."""
    left = []
    for first, stop in holes:
        left += [(first, min(stop, start)), (max(first, end), stop)]
    return tuple(each for each in left if each[0] < each[1])


def within(holes: Iterable[Interval], start: int, end: int) -> tuple[Interval, ...]:
    """Return what of [start, end) is missing."""
    cut = ((max(first, start), min(stop, end)) for first, stop in holes)
    return tuple(each for each in cut if each[0] < each[1])


def _start(hole: Interval) -> int:
    return hole[0]


class FillingFramer(Protocol):
    """The part of :class:`sdp.interfaces.IFramer` that filling a hole uses."""

    @property
    def known(self) -> int: ...

    def boundary(self, offset: int, capture_time: int | None = None, random_access: bool | None = None) -> None: ...
    def feed(self, data: bytes, received_time: int | None = None) -> list[Record]: ...
    def flush(self) -> list[Record]: ...


class Filling:
    """A hole that is being filled from its front: up to ``position`` by now. ``framer`` knows in the midst of what that
    is; ``taken`` are the held bytes just before the hole that belong to a record which it has not told of yet."""

    def __init__(self, position: int, framer: FillingFramer, taken: bytes = b"") -> None:
        self.position = position
        self.framer = framer
        self.taken = taken
