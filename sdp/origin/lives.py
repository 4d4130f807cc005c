"""An epoch as the Origin that captured it holds it, whether that life goes on or has ended: what a poster reads from.

An Origin that died leaves its log in the store. The next one finds it there (:func:`former_lives`), and the Distributor
gets what it lacks of it before anything else, so that a recording of an epoch is whole whatever died on the way. No
note says which epoch of the Distributor's it was: its bytes do.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple
from typing import Protocol as Shape

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sdp.errors import StorageError
from sdp.stream.record import Record

__all__ = [
    "Former",
    "Life",
    "Lost",
    "Piece",
    "complete",
    "cut",
    "former_lives",
    "sample",
    "stored_pieces",
    "whole_from",
]

READ_AHEAD = 1 << 20
"""How much is read from the disk at once, in bytes: what a store gives for one read."""

MOST_FORMER = 16
"""How many former lives are looked at, the newest of all: each may cost a question to the Distributor."""

_RECORDS_AT_ONCE = 4096


class Lost(Exception):
    """The bytes at this offset are held neither in memory nor on disk."""


class Piece(NamedTuple):
    """What one POST carries: the bytes of one record from ``offset`` on.

    ``record`` is None where an earlier POST carried the record's beginning.
    """

    offset: int
    data: Sequence[bytes]
    record: Record | None

    @property
    def end(self) -> int:
        return self.offset + sum(map(len, self.data))


class Life(Shape):
    """One epoch, from its first byte to where it has come."""

    content_type: str

    @property
    def end(self) -> int:
        """The offset after the last byte there is."""

    @property
    def finished(self) -> bool:
        """Whether no byte follows."""

    @property
    def held_from(self) -> int:
        """The first offset from which on nothing is missing."""

    async def pieces(self, offset: int) -> list[Piece]:
        """What follows on ``offset``, at least one piece. Raises Lost."""

    def needed_from(self, offset: int) -> None:
        """What is below ``offset`` would outlive the Distributor's loss of power: it may be given up here."""

    def complete(self) -> Deferred[None] | None:
        """The Distributor has all that it will get of it."""


class Former:
    """A life that has ended: nothing but its recording is left."""

    finished = True

    def __init__(self, recording: Any) -> None:
        self.recording = recording
        self.content_type: str = recording.content_type
        self.over: bool = recording.ended
        """Whether the Distributor had all of it at some time, or never will."""

    @property
    def end(self) -> int:
        end: int = self.recording.written
        return end

    @property
    def held_from(self) -> int:
        return whole_from(self.recording)

    async def pieces(self, offset: int) -> list[Piece]:
        return await stored_pieces(self.recording, offset)

    def needed_from(self, offset: int) -> None:
        self.recording.keep_from = offset

    def complete(self) -> Deferred[None] | None:
        if self.over:
            return None
        self.over = True
        return complete(self.recording)


def former_lives(recordings: Sequence[Any], name: str) -> list[Former]:
    """The lives that a store still holds of the stream ``name``, oldest first: those that nobody completed, and before
    them the last one that somebody did, for it may be the epoch that the Distributor has. What comes before is
    completed as it is. Retention takes nothing of what may still be asked for, of other streams either."""
    for recording in recordings:
        if not recording.ended:
            recording.keep_from = 0
    mine = [each for each in recordings if each.name == name and each.failure is None]
    ended = [number for number, each in enumerate(mine) if each.ended]
    first = max(len(mine) - MOST_FORMER, ended[-1] if ended else 0, 0)
    for recording in mine[:first]:
        if not recording.ended:
            complete(recording)
    return [life for life in map(Former, mine[first:]) if life.end > life.held_from]


def complete(recording: Any) -> Deferred[None]:
    """Finish a recording, of which nothing is needed any more; where the disk does not take that, the next life asks
    the Distributor once more."""
    recording.keep_from = None

    def failed(failure: Failure) -> None:
        failure.trap(StorageError)

    done: Deferred[None] = recording.finish()
    return done.addErrback(failed)


async def sample(life: Life, least: int, end: int, most: int) -> Piece | None:
    """At most ``most`` of the bytes in [least, end), to be compared: the last of them. None where none are held."""
    begin = max(life.held_from, end - most, least)
    data: list[bytes] = []
    at = begin
    try:
        while at < end:
            for piece in await life.pieces(at):
                data.append(b"".join(piece.data)[: end - piece.offset])
                at = piece.end
                if at >= end:
                    break
    except Lost:
        return None
    return Piece(begin, data, None) if data else None


def whole_from(recording: Any) -> int:
    """The first offset from which on a recording has no hole: a disk that failed for a while has left one."""
    held: list[int] = [recording.start, *(end for _, end in recording.holes)]
    return max(held)


async def stored_pieces(recording: Any, offset: int) -> list[Piece]:
    """What a recording holds from ``offset`` on, at most READ_AHEAD bytes. Raises Lost, from the StorageError that says
    why, if any."""
    try:
        data: bytes = await recording.read(offset, READ_AHEAD)
        if not data:
            raise Lost
        end = offset + len(data)
        records: list[Record] = await recording.records(offset, end, _RECORDS_AT_ONCE)
    except StorageError as error:
        raise Lost from error
    return cut(offset, data, records, whole_to=recording.end, most=_RECORDS_AT_ONCE)


def cut(offset: int, data: bytes, records: Sequence[Record], whole_to: int, most: int) -> list[Piece]:
    """Cut bytes read from ``offset`` on where records begin.

    A last record that goes on behind ``data`` is left out, to be read whole the next time, unless it is the only
    one. ``most`` is how many records were asked for: behind the last of so many, more may begin.
    """
    end = offset + len(data)
    starts = [record.offset for record in records]
    edges = sorted({offset, end, *(start for start in starts if offset < start < end)})
    if len(edges) > 2 and (len(starts) >= most or end < whole_to):
        edges.pop()
    pieces = []
    for begin, stop in pairwise(edges):
        i = bisect_right(starts, begin) - 1
        record = records[i] if i >= 0 and starts[i] == begin else None
        pieces.append(Piece(begin, [data[begin - offset : stop - offset]], record))
    return pieces
