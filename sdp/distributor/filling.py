"""What fills a hole is cut into records as what came before it was: by a framer that knows in the midst of what it is.

held bytes from the last record before the hole on > a framer > its state at the hole's first byte
"""

from __future__ import annotations

from typing import Any, cast

from twisted.internet.defer import Deferred

from sdp.container import framer_for
from sdp.distributor.reading import BLOCK, initialization, read
from sdp.errors import StorageError
from sdp.stream.catalog import Epoch, Framer
from sdp.stream.holes import Filling
from sdp.stream.record import Record

__all__ = ["begin_filling", "new_framer"]


def new_framer(content_type: str | None, start: int, before: bytes) -> Framer:
    """Return a framer of what comes from ``start`` on, given the initialization segment ``before`` it."""
    return framer_for(content_type, start, initialization=before)


async def begin_filling(epoch: Epoch, start: int) -> Filling:
    """Return what fills the hole at ``start`` from there on. StorageError where the disk fails."""
    recording = cast(Any, epoch.recording)
    assert epoch.new_framer is not None
    settling: Deferred[None] = recording.settled()
    await settling  # what lies before the hole is on the disk then
    begin = start
    if start > epoch.first_offset:
        reading: Deferred[list[Record]] = recording.records(start - 1, start)
        last = await reading
        if last:
            begin = max(last[-1].offset, epoch.first_offset)
    before = await initialization(epoch, begin - 1) if begin > 0 else None
    content_type = epoch.declared_type or epoch.framer.content_type
    framer = epoch.new_framer(content_type, begin, b"" if before is None else before[1])
    tail, at = b"", begin
    while at < start:
        data = await read(epoch, at, BLOCK, start)
        framer.feed(data, None)
        tail, at = (tail + data)[-BLOCK:], at + len(data)
    waiting = start - framer.known
    if waiting > len(tail):
        raise StorageError(f"What is held before the hole at {start} cannot be read as {content_type}.")
    return Filling(start, framer, tail[len(tail) - waiting :])
