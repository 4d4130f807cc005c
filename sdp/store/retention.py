"""What leaves the disk, and when: the oldest segments first, by size, by age, or for the sake of free room.

Pure: it is given what there is, and says what to take. Only segments that are complete are taken; an epoch goes with
the last of its segments.
"""

from __future__ import annotations

import heapq
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import NamedTuple

__all__ = ["INTERVAL", "REASONS", "SHARE", "Limits", "Piece", "Taken", "choose"]

INTERVAL = 5.0
"""Seconds between two looks at what there is."""
SHARE = 8
"""A segment is at most this part of what a limit keeps: so much more than the limit may lie on the disk."""
REASONS = ("bytes", "seconds", "free")


class Limits(NamedTuple):
    """What is kept: ``size`` bytes of each stream, what is younger than ``age`` microseconds, and as much as leaves
    ``free`` bytes of the disk to others. None: no such limit."""

    size: int | None = None
    age: int | None = None
    free: int | None = None

    def __bool__(self) -> bool:
        return any(limit is not None for limit in self)


class Piece(NamedTuple):
    """A segment of an epoch: its length in bytes, and when it was last written to (microseconds). ``complete`` says
    whether it may go."""

    epoch: Hashable
    size: int
    at: int
    complete: bool


class Taken(NamedTuple):
    """A segment that has to go: the first one of its epoch that is still there. ``reason`` is one of REASONS."""

    piece: Piece
    reason: str


def choose(streams: Mapping[str, Sequence[Piece]], limits: Limits, now: int, free: int) -> Iterator[Taken]:
    """Yield what has to go, in order. ``streams`` has each name's segments, the oldest first; ``free`` is what the
    disk has left, in bytes; ``now`` is in microseconds."""
    left: dict[str, list[Piece]] = {}
    for name, pieces in streams.items():
        taken = 0
        for one in _of_one_stream(pieces, limits, now):
            taken += 1
            free += one.piece.size
            yield one
        left[name] = list(pieces[taken:])
    if limits.free is None or free >= limits.free:
        return
    heads = [(pieces[0].at, name, 0) for name, pieces in left.items() if pieces and pieces[0].complete]
    heapq.heapify(heads)
    while heads and free < limits.free:
        _, name, number = heapq.heappop(heads)
        piece = left[name][number]
        free += piece.size
        yield Taken(piece, "free")
        if number + 1 < len(left[name]) and left[name][number + 1].complete:
            heapq.heappush(heads, (left[name][number + 1].at, name, number + 1))


def _of_one_stream(pieces: Sequence[Piece], limits: Limits, now: int) -> Iterator[Taken]:
    """What a stream has too much of."""
    total = sum(piece.size for piece in pieces)
    for piece in pieces:
        if not piece.complete:
            return
        if limits.size is not None and total > limits.size:
            yield Taken(piece, "bytes")
        elif limits.age is not None and now - piece.at > limits.age:
            yield Taken(piece, "seconds")
        else:
            return
        total -= piece.size
