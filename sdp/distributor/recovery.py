"""From a recording back to an epoch: what a joining consumer needs returns to memory, the rest stays on the disk."""

from __future__ import annotations

from typing import Any

from sdp.container import framer_for
from sdp.distributor.filling import new_framer
from sdp.distributor.reading import BLOCK
from sdp.errors import StorageError
from sdp.stream.catalog import Epoch
from sdp.stream.log import StreamLog
from sdp.stream.record import Flag, Record

__all__ = ["restore"]

UNDECLARED = "application/octet-stream"


async def restore(recording: Any, memory: int, now: int) -> Epoch:
    """Return the epoch of an IRecording, with its log at the end that was recovered. StorageError where it cannot be
    read.

    An open epoch's framer is fed again from a record's start, so that it knows in the midst of what the log ends.
    ``memory`` is the log's window in bytes; ``now`` is in microseconds.
    """
    declared = None if recording.content_type == UNDECLARED else recording.content_type
    if recording.ended:
        log = StreamLog(memory, recording.end)
        epoch = Epoch(
            recording.name,
            recording.epoch,
            log,
            framer_for(declared, recording.end),
            declared_type=declared,
            recording=recording,
            new_framer=new_framer,
        )
        epoch.complete_length = recording.end
        log.finished = True
        if recording.explicit:
            log.forget_implied()
        return epoch
    begin = await _restart_point(recording, memory)
    before = await _initialization(recording, begin)
    log = StreamLog(memory, begin)
    framer = framer_for(declared, begin, initialization=before[1] if before else b"")
    epoch = Epoch(
        recording.name,
        recording.epoch,
        log,
        framer,
        declared_type=declared,
        recording=recording,
        new_framer=new_framer,
    )
    if before is not None:
        log.restore(*before)
    log.hold_from = recording.written
    if recording.explicit:
        log.forget_implied()
    while log.end < recording.end:
        data = await _read(recording, log.end, BLOCK)
        stored: list[Record] = await recording.records(log.end, log.end + len(data))
        found = {record.offset: record for record in framer.feed(data, now)}
        found.update((record.offset, record) for record in stored if record.offset >= log.end)
        if any(record.flags & Flag.RANDOM_ACCESS and not record.flags & Flag.IMPLIED for record in found.values()):
            log.forget_implied()
        log.append(data, [found[offset] for offset in sorted(found)], framer.known, now)
    return epoch


async def _restart_point(recording: Any, memory: int) -> int:
    """Where reading begins again: the newest random access point, or where that is too far back, the last record.

    Never before a hole: the memory holds one run.
    """
    end: int = recording.end
    start: int = recording.holes[-1][1] if recording.holes else recording.start
    newest: Record | None = await recording.last_record(end, Flag.RANDOM_ACCESS)
    if newest is not None and end - newest.offset <= memory and newest.offset >= start:
        return newest.offset
    last: list[Record] = await recording.records(max(end - 1, 0), end)
    return max(last[-1].offset, start) if last else start


async def _initialization(recording: Any, before: int) -> tuple[Record, bytes] | None:
    """The last initialization segment that begins before ``before``, and its bytes."""
    if before <= 0:
        return None
    record: Record | None = await recording.last_record(before - 1, Flag.INITIALIZATION)
    if record is None:
        return None
    around: list[Record] = await recording.records(record.offset, before + 1, 2)
    end = min([each.offset for each in around if each.offset > record.offset] or [before])
    data = b""
    while record.offset + len(data) < end:
        data += await _read(recording, record.offset + len(data), end - record.offset - len(data))
    return record, data


async def _read(recording: Any, offset: int, length: int) -> bytes:
    """Bytes that the recording has said it holds."""
    data: bytes = await recording.read(offset, length)
    if not data:
        raise StorageError(f"{recording.name}: the recording is shorter than it says; restore it from a copy.")
    return data
