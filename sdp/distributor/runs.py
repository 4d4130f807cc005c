"""A log as one process of a Distributor tells it to another: runs of bytes at once, their structure when it is known.

A run is what an append was: bytes that follow on, the records that are known by now to begin in them or in bytes that
went before, and up to where the structure is known. So a log that takes the runs is the same as the one that gives
them at each moment, the beginning of a header whose rest has not come yet included. No wire form that a client meets.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, cast

from twisted.internet.defer import Deferred

from sdp.distributor.forms import Form
from sdp.distributor.reading import BLOCK, arrival, read
from sdp.errors import ProtocolError
from sdp.stream.catalog import Epoch
from sdp.stream.log import StreamLog
from sdp.stream.record import Flag, Record

__all__ = ["RUNS", "Run", "Runs", "RunsReader", "encode_run"]

RUNS: Final = b"application/x-sdp-runs"
"""The media type of runs, by which they are asked for."""

LONGEST_RUN: Final = 16 * 1024 * 1024 + 64 * 1024
"""The most bytes of one run that are taken, in memory at once: an initialization segment comes in one."""

_HEAD: Final = struct.Struct("!QIQqBI")
"""Offset, length, known, arrival (-1: not said), whether only marked random access points count, number of records."""

_RECORD: Final = struct.Struct("!QBqqB")
"""Offset, flags, capture time and time of receipt (-1: none), number of hops."""

_MOST_RECORDS: Final = 1 << 20


class Run(NamedTuple):
    """One run. ``known`` is the offset up to which the structure is known, no further than the run's end; ``arrived``
    when its first byte came (microseconds, None where that is not known); ``explicit`` whether only marked random
    access points count in the epoch. ``data`` may be empty: then only the structure is new."""

    offset: int
    data: bytes
    known: int
    arrived: int | None
    explicit: bool
    records: Sequence[Record]


def encode_run(run: Run) -> bytes:
    """A run as it goes from process to process."""
    arrived = -1 if run.arrived is None else run.arrived
    out = [_HEAD.pack(run.offset, len(run.data), run.known, arrived, run.explicit, len(run.records))]
    for record in run.records:
        capture = -1 if record.capture_time is None else record.capture_time
        received = -1 if record.received_time is None else record.received_time
        hops = record.hop_times
        out.append(_RECORD.pack(record.offset, int(record.flags), capture, received, len(hops)))
        out.append(struct.pack(f"!{len(hops)}q", *hops))
    out.append(run.data)
    return b"".join(out)


class RunsReader:
    """Runs out of bytes that come in whatever pieces: each is given whole. ProtocolError for what is none."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._size = 0
        self._wanted = _HEAD.size
        """Fewer bytes than these hold no whole run."""

    def feed(self, data: bytes) -> list[Run]:
        """Take the next bytes, and return the runs that are whole."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size < self._wanted:
            return []
        held = data if len(self._pieces) == 1 else b"".join(self._pieces)
        runs: list[Run] = []
        at = 0
        while (found := self._read(held, at)) is not None:
            run, at = found
            runs.append(run)
        rest = held[at:]
        self._pieces, self._size = [rest] if rest else [], len(rest)
        return runs

    def _read(self, held: bytes, at: int) -> tuple[Run, int] | None:
        """Return the run that begins at ``at``, and where it ends; None where it is not whole, and what is wanted."""
        begin = at
        if len(held) - at < _HEAD.size:
            self._wanted = _HEAD.size
            return None
        offset, length, known, arrived, explicit, count = _HEAD.unpack_from(held, at)
        if length > LONGEST_RUN or count > _MOST_RECORDS:
            raise ProtocolError("What another process of this Distributor sends is no run of a log.")
        at += _HEAD.size
        records: list[Record] = []
        for _ in range(count):
            found = _read_record(held, at)
            if found is None:
                self._wanted = len(held) - begin + 1
                return None
            record, at = found
            records.append(record)
        end = at + length
        if end > len(held):
            self._wanted = end - begin
            return None
        data = held[at:end]
        return Run(offset, data, known, None if arrived < 0 else arrived, bool(explicit), records), end


def _read_record(held: bytes, at: int) -> tuple[Record, int] | None:
    if len(held) - at < _RECORD.size:
        return None
    offset, flags, capture, received, count = _RECORD.unpack_from(held, at)
    at += _RECORD.size
    if len(held) - at < 8 * count:
        return None
    hops = struct.unpack_from(f"!{count}q", held, at)
    times = (None if capture < 0 else capture, None if received < 0 else received)
    return Record(offset, Flag(flags), *times, hops), at + 8 * count


class Runs(Form):
    """One reader's own form: it remembers what of the structure that reader has been told."""

    tells_offsets = True

    def __init__(self, epoch: Epoch, *, chunked: bool) -> None:
        super().__init__(chunked=chunked)
        self._epoch = epoch
        self._next = self._told = -1

    def available(self, log: StreamLog) -> int:
        return log.end

    def encode(self, log: StreamLog, start: int, end: int) -> bytes:
        pieces = log.read(start, end=end)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        first, known = self._untold(log, start, end)
        return self._encode(Run(start, data, known, log.arrival(start), log.explicit, _records(log, first, known)))

    async def encode_from(self, epoch: Epoch, start: int, end: int, complete: int | None = None) -> tuple[bytes, int]:
        log = epoch.log
        data = await read(epoch, start, BLOCK, end)
        stop = start + len(data)
        first, known = self._untold(log, start, stop)
        if first >= log.start:
            records = _records(log, first, known)
        else:
            reading: Deferred[list[Record]] = cast(Any, epoch.recording).records(first, known)
            records = [log.said_of(record) for record in await reading if first <= record.offset < known]
        return self._encode(Run(start, data, known, await arrival(epoch, start), log.explicit, records)), stop

    def encode_bytes(self, offset: int, data: bytes, record: Record) -> bytes:
        known = offset + len(data)
        return self._encode(Run(offset, data, known, record.received_time, self._epoch.log.explicit, [record]))

    def closing(self) -> bytes:
        """The structure of what was given last: at the end of a log all of it is known."""
        log = self._epoch.log
        if self._next != log.end or self._told == log.known:
            return b""
        records = _records(log, self._told, log.known)
        return self._encode(Run(log.end, b"", log.known, None, log.explicit, records))

    def _untold(self, log: StreamLog, start: int, end: int) -> tuple[int, int]:
        """Of which part of the log the structure goes with the run [start, end)."""
        return self._told if start == self._next else start, min(log.known, end)

    def _encode(self, run: Run) -> bytes:
        self._next, self._told = run.offset + len(run.data), run.known
        return self.frame(encode_run(run))


def _records(log: StreamLog, first: int, end: int) -> list[Record]:
    """The records that begin in [first, end) of the log's window."""
    found: list[Record] = []
    record = log.next_record(first)
    while record is not None and record.offset < end:
        found.append(record)
        record = log.next_record(record.offset + 1)
    return found
