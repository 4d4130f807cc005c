"""What was accepted and nobody may see yet: it waits beside the log until the disk has it for good.

The log is what outlets read. So whoever is only to be given what a power loss would leave appends to the log late, and
no outlet needs to know of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from sdp.stream.record import Record

__all__ = ["Accepted", "Withheld"]


class Accepted(NamedTuple):
    """One call of :meth:`sdp.stream.log.StreamLog.append` that has not been made yet; ``end`` is the log's after it."""

    end: int
    data: bytes
    records: list[Record]
    known: int
    now: int


class Withheld:
    """The pieces that wait, in order."""

    def __init__(self) -> None:
        self._waiting: deque[Accepted] = deque()
        self.size = 0

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def end(self) -> int:
        """The offset after the last piece. IndexError where there is none."""
        return self._waiting[-1].end

    def put(self, piece: Accepted) -> None:
        """Let a piece wait, which follows on the others."""
        self._waiting.append(piece)
        self.size += len(piece.data)

    def release(self, up_to: int | None) -> Iterator[Accepted]:
        """Take out, in order, the pieces that end at or before ``up_to``; None: all of them."""
        while self._waiting and (up_to is None or self._waiting[0].end <= up_to):
            piece = self._waiting.popleft()
            self.size -= len(piece.data)
            yield piece

    def read(self, offset: int, end: int) -> list[bytes]:
        """The bytes of [offset, end) that wait here."""
        found = []
        for piece in self._waiting:
            start = piece.end - len(piece.data)
            part = piece.data[max(offset - start, 0) : max(end - start, 0)]
            if part:
                found.append(part)
        return found
