"""``/-/records/NAME``: the index of a stream as JSON, for whoever has to know where records begin, without their bytes.

A relay asks it for what lies before its own window; a player that seeks, for the random access point before a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from twisted.internet.defer import Deferred

from sdp.distributor.timeshift import parse_time, point_at
from sdp.errors import ProtocolError
from sdp.http1.fields import parse_digits
from sdp.http1.ranges import MAX_LAST
from sdp.stream.catalog import Epoch
from sdp.stream.record import Flag, Record

__all__ = ["MOST_RECORDS", "index_of", "number", "parse_index", "record_from_json", "record_to_json"]

MOST_RECORDS = 1000
"""The most records of one answer."""

_FLAGS = {
    "initialization": Flag.INITIALIZATION,
    "random-access": Flag.RANDOM_ACCESS,
}


def number(query: Mapping[str, str], name: str, default: int) -> int:
    """Return a query's number, or ``default`` where it names none. ProtocolError where it is no number."""
    return parse_digits(query[name].encode("latin-1", "replace"), MAX_LAST) if name in query else default


async def index_of(epoch: Epoch, query: Mapping[str, str], now: int) -> dict[str, Any]:
    """Answer a query: ``first`` and ``last`` (inclusive offsets), ``limit``; or ``newest`` (a flag's name), ``before``;
    or ``at`` (a time), ``before``: the random access point that a GET of the stream with this time begins at.

    ``now`` is in microseconds. ProtocolError where a number, a flag or a time cannot be read.
    """
    if "at" in query:
        time = parse_time(query["at"], now)
        found = await point_at(epoch, time, number(query, "before", epoch.end))
        records = [] if found is None else [found]
    elif "newest" in query:
        flag = _FLAGS.get(query["newest"])
        if flag is None:
            raise ProtocolError(f"newest names one of {', '.join(_FLAGS)}.")
        found = await _last(epoch, number(query, "before", epoch.end), flag)
        records = [] if found is None else [found]
    else:
        limit = min(number(query, "limit", MOST_RECORDS), MOST_RECORDS)
        first, last = number(query, "first", 0), number(query, "last", epoch.end - 1)
        records = await _between(epoch, first, last + 1, limit)
    return {
        "name": epoch.name,
        "epoch": epoch.id,
        "first_offset": epoch.first_offset,
        "end_offset": epoch.end,
        "records": [record_to_json(epoch.log.said_of(record)) for record in records],
    }


async def _between(epoch: Epoch, start: int, end: int, limit: int) -> list[Record]:
    """The records that cover [start, end): the one that ``start`` lies in, and those that begin before ``end``."""
    log, recording = epoch.log, cast(Any, epoch.recording)
    found: list[Record] = []
    if start < log.start and recording is not None and start < end:
        reading: Deferred[list[Record]] = recording.records(start, min(end, log.start), limit)
        found = await reading
    # Where the recording tells of the record that the window begins in, the log tells of it as well.
    known = found[-1].offset if found else -1
    held = log.record_at(max(start, log.start))
    while held is not None and held.offset < end and len(found) < limit:
        if held.offset > known:
            found.append(held)
        held = log.next_record(held.offset + 1)
    return found


async def _last(epoch: Epoch, before: int, flag: Flag) -> Record | None:
    log, recording = epoch.log, cast(Any, epoch.recording)
    found = log.newest(flag, before)
    if found is None and flag is Flag.INITIALIZATION:
        found = log.initialization_before(before)
    if found is None and recording is not None:
        reading: Deferred[Record | None] = recording.last_record(before, flag)
        found = await reading
    return found


def record_to_json(record: Record) -> dict[str, Any]:
    """A record as JSON: members that say nothing are left out."""
    said: dict[str, Any] = {"offset": record.offset}
    if record.flags & Flag.INITIALIZATION:
        said["initialization"] = True
    if record.flags & Flag.RANDOM_ACCESS:
        said["random_access"] = True
    if record.capture_time is not None:
        said["capture_time"] = record.capture_time
    if record.received_time is not None:
        said["received_time"] = record.received_time
    if record.hop_times:
        said["hop_times"] = list(record.hop_times)
    return said


def record_from_json(said: Any) -> Record:
    """Read what :func:`record_to_json` made. Raises ValueError for anything else."""
    if not isinstance(said, dict):
        raise ValueError("a record is an object")
    hops = said.get("hop_times", [])
    if not isinstance(hops, list):
        raise ValueError("a record's hops are a list")
    times = [said.get("offset"), said.get("capture_time", 0), said.get("received_time", 0), *hops]
    if not all(type(each) is int and 0 <= each <= MAX_LAST for each in times):
        raise ValueError("a record's numbers are offsets and microseconds")
    flags = Flag.NONE
    if said.get("initialization") is True:
        flags |= Flag.INITIALIZATION
    if said.get("random_access") is True:
        flags |= Flag.RANDOM_ACCESS
    return Record(said["offset"], flags, said.get("capture_time"), said.get("received_time"), tuple(hops))


def parse_index(document: Any) -> list[Record]:
    """The records of an answer of this view. Raises ValueError where it is none."""
    if not isinstance(document, dict) or not isinstance(document.get("records"), list):
        raise ValueError("the index is an object with records")
    return [record_from_json(each) for each in document["records"]]
