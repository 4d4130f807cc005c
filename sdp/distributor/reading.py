"""Bytes of an epoch by offset, from memory where they are, else from the disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, cast

from twisted.internet.defer import Deferred

from sdp.errors import Refusal, StorageError
from sdp.stream.catalog import Epoch
from sdp.stream.holes import Interval, held_until, within
from sdp.stream.log import Span
from sdp.stream.record import Flag, Record

__all__ = [
    "BLOCK",
    "Missing",
    "arrival",
    "gone",
    "initialization",
    "join_point",
    "missing",
    "playable",
    "read",
    "read_spans",
    "until_changed",
    "written",
]

BLOCK = 64 * 1024
"""How many bytes a reader that is behind takes at a time: what it can hold up, and what it may be sent at once."""


def gone(epoch: Epoch) -> Refusal:
    """The refusal of bytes that nothing holds any longer."""
    detail = f"The bytes below {epoch.first_offset} are no longer kept; ask from there."
    return Refusal(410, "No longer kept", detail)


class Missing(Refusal):
    """The refusal of bytes that lie in a hole, which ends at ``end`` (as far as is known now)."""

    def __init__(self, epoch: Epoch, offset: int, end: int) -> None:
        detail = f"The bytes from {offset} to {end} are missing; ask from {end}, or again with Prefer: lossless."
        unsatisfied = (b"Content-Range", b"bytes */%d" % epoch.end)
        super().__init__(416, "Missing", detail, (unsatisfied,))
        self.end = end


HOLE_PACE = 1.0
"""How long nothing is asked, in seconds, while a hole is waited for and nobody tells that it is filled: at a relay,
whose upstream has to be asked."""


async def written(epoch: Epoch) -> None:
    """Wait until what fills holes, and was taken by now, can be read: whoever posted it sees it in the next GET."""
    recording = cast(Any, epoch.recording)
    if recording is not None and recording.failure is None and recording.holes != recording.missing:
        settling: Deferred[None] = recording.settled()
        await settling


async def until_changed(epoch: Epoch, changed: Callable[[float], Awaitable[None]]) -> None:
    """Wait for something to become of a hole: ``changed`` waits for a change of the log, so many seconds at most."""
    await changed(HOLE_PACE)
    looking: Deferred[None] = cast(Any, epoch.recording).look()
    with suppress(StorageError):  # what cannot be asked now is asked again
        await looking


async def playable(epoch: Epoch, start: int) -> list[Interval]:
    """What an ended epoch holds from ``start`` on, run by run, for whoever cannot see that something is missing.

    What lies before a hole counts up to the beginning of its last record, unless that is known to be complete.
    """
    runs = []
    holes = within(epoch.holes, start, epoch.end)
    for begin, end in zip(
        [start, *(hole[1] for hole in holes)], [*(hole[0] for hole in holes), epoch.end], strict=True
    ):
        stop = end
        if end < epoch.end and end > begin and not epoch.ends_whole(end):
            reading: Deferred[list[Record]] = cast(Any, epoch.recording).records(end - 1, end)
            last = await reading
            stop = max(begin, last[-1].offset if last else begin)
        if begin < stop:
            runs.append((begin, stop))
    return runs


def missing(epoch: Epoch, offset: int) -> Missing | None:
    """The refusal of bytes at ``offset`` if that lies in a hole."""
    hole = epoch.hole_at(offset)
    return None if hole is None else Missing(epoch, offset, hole[1])


async def read(epoch: Epoch, offset: int, limit: int = BLOCK, end: int | None = None) -> bytes:
    """Return bytes from ``offset`` on, at most ``limit`` and up to ``end`` or to a hole; b"" at the log's end.

    Refusal 410; 416 (:class:`Missing`) in a hole.
    """
    log = epoch.log
    if offset >= log.start:
        return _from_window(epoch, offset, limit, end)
    recording = cast(Any, epoch.recording)
    if recording is not None and recording.failure is None and recording.written <= offset < recording.end:
        settling: Deferred[None] = recording.settled()
        await settling  # the log has jumped over a hole, and what came before is on its way to the disk
        if offset >= log.start:
            return _from_window(epoch, offset, limit, end)
    if missing(epoch, offset) is not None:
        await written(epoch)
        refusal = missing(epoch, offset)
        if refusal is not None:
            raise refusal
    if recording is None or offset >= recording.written:
        raise gone(epoch)
    stop = held_until(epoch.holes, offset, log.start if end is None else min(end, log.start))
    reading: Deferred[bytes] = recording.read(offset, min(limit, stop - offset))
    try:
        data = await reading
    except StorageError as error:
        if error.status == 410:  # below what retention has left, or taken by it at this moment
            raise gone(epoch) from error
        if error.status == 416:  # a hole that was not known of here
            raise missing(epoch, offset) or gone(epoch) from error
        raise
    if not data:
        raise gone(epoch)
    return data


def _from_window(epoch: Epoch, offset: int, limit: int, end: int | None) -> bytes:
    pieces = epoch.log.read(offset, limit, end)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def read_spans(epoch: Epoch, offset: int, limit: int = BLOCK, end: int | None = None) -> list[Span]:
    """Return the bytes from ``offset`` up to where the structure is known, cut where records begin."""
    log = epoch.log
    if offset >= log.start:
        return list(log.spans(offset, limit, end))
    data = await read(epoch, offset, limit, end)
    reading: Deferred[list[Record]] = cast(Any, epoch.recording).records(offset, offset + len(data))
    records = [record for record in await reading if offset <= record.offset < offset + len(data)]
    cuts = [record.offset for record in records]
    begins: dict[int, Record] = dict(zip(cuts, map(log.said_of, records), strict=True))
    edges = [*sorted({offset, *cuts}), offset + len(data)]
    return [
        Span(edges[i], data[edges[i] - offset : edges[i + 1] - offset], begins.get(edges[i]))
        for i in range(len(edges) - 1)
    ]


async def next_record(epoch: Epoch, offset: int) -> int | None:
    """Return the first offset, from ``offset`` on, at which a record is known to begin; None where none is yet."""
    log = epoch.log
    if offset < log.start:
        reading: Deferred[list[Record]] = cast(Any, epoch.recording).records(offset, log.start, 2)
        for record in await reading:
            if record.offset >= offset:
                return record.offset
    following = log.next_record(offset)
    return None if following is None else following.offset


async def arrival(epoch: Epoch, offset: int) -> int | None:
    """Return when the byte at ``offset`` arrived (microseconds), from wherever that is known; else None."""
    log, recording = epoch.log, cast(Any, epoch.recording)
    if offset >= log.start:
        return log.arrival(offset)
    if recording is None or not epoch.first_offset <= offset < recording.written:
        return None
    reading: Deferred[list[Record]] = recording.records(offset, offset + 1, 1)
    found = await reading
    return found[0].received_time if found else None


async def initialization(epoch: Epoch, before: int) -> tuple[Record, bytes] | None:
    """Return the last initialization segment that begins at or before ``before``, whole; None where there is none."""
    record = epoch.log.initialization_before(before)
    if record is not None:
        data = epoch.log.initialization(record)
        return None if data is None else (record, data)
    recording = cast(Any, epoch.recording)
    if recording is None or before >= epoch.log.start:
        return None
    finding: Deferred[Record | None] = recording.last_record(before, Flag.INITIALIZATION)
    record = await finding
    if record is None:
        return None
    after: Deferred[list[Record]] = recording.records(record.offset, before + 1, 2)
    following = [each for each in await after if each.offset > record.offset]
    end = held_until(epoch.holes, record.offset, following[0].offset if following else before)
    data = b""
    while record.offset + len(data) < end:
        data += await read(epoch, record.offset + len(data), end=end)
    return record, data


def join_point(epoch: Epoch) -> int:
    """Return where somebody who has nothing begins: the newest random access point; while there has been none, the
    first offset; where it is no longer held, the live edge."""
    point = epoch.join_point()
    if point is not None:
        return point.offset
    return epoch.log.known if epoch.log.had_random_access else epoch.first_offset
