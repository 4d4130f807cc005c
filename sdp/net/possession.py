"""Which bytes of an epoch a consumer has: the ranges that its GET tells the Distributor."""

from __future__ import annotations

from bisect import bisect_left

__all__ = ["Possession"]

MOST_RANGES = 32
"""How many ranges are remembered; past it the oldest gap's lower edge is forgotten, the first range aside."""


class Possession:
    """Ranges of bytes, ascending, half-open, none touching another."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def add(self, start: int, end: int) -> None:
        """The bytes of [start, end) are here now."""
        if start >= end:
            return
        ends, starts = self._ends, self._starts
        first = bisect_left(ends, start)
        last = first
        while last < len(starts) and starts[last] <= end:
            start, end = min(start, starts[last]), max(end, ends[last])
            last += 1
        starts[first:last] = [start]
        ends[first:last] = [end]
        if len(starts) > MOST_RANGES:
            del starts[1], ends[1]

    @property
    def ranges(self) -> list[tuple[int, int]]:
        return list(zip(self._starts, self._ends, strict=True))

    def lines(self) -> list[tuple[bytes, bytes]]:
        """The Content-Range lines of a GET (PROTOCOL: "by what it has")."""
        if not self._starts:
            return [(b"Content-Range", b"bytes */0")]
        return [(b"Content-Range", b"bytes %d-%d/*" % (start, end - 1)) for start, end in self.ranges]
