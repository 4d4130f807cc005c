"""Where an answer begins that was asked for a time: ``?at=``, read, and looked up in the log's index.

A time > the last random access point at or before it > its offset. The window in memory is asked first, for it has the
newest; then what is kept on the disk, or upstream.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from twisted.internet.defer import Deferred

from sdp.errors import ProtocolError
from sdp.stream.catalog import Epoch
from sdp.stream.record import Flag, Record

__all__ = ["format_time", "parse_time", "point_at"]

_AGO = re.compile(r"([0-9]{1,10})(?:\.([0-9]{1,9}))?")
# A query's "+" is a space by the time it gets here, and hardly anybody writes %2B.
_DATE_TIME = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:)([0-9]{2})(?:\.([0-9]{1,9}))?"
    r"(?:[Zz]|([+ -])([0-9]{2}):([0-9]{2}))"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND


def _microseconds(fraction: str | None) -> int:
    return int((fraction or "").ljust(6, "0")[:6])


def parse_time(text: str, now: int) -> int:
    """Read a time: an RFC 3339 date-time, or seconds before ``now`` with or without a fraction.

    All times are microseconds since the Unix epoch, and what is earlier is 0. ProtocolError for anything else.
    """
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return max(now - int(ago[1]) * 1_000_000 - _microseconds(ago[2]), 0)
    said = _DATE_TIME.fullmatch(text)
    try:
        if said is None:
            raise ValueError
        date, minute, second, fraction, sign, hours, minutes = said.groups()
        # A leap second is the one before it, once more.
        moment = datetime.fromisoformat(f"{date}T{minute}{min(int(second), 59):02d}").replace(tzinfo=UTC)
        ahead = timedelta()
        if sign is not None:
            if int(hours) > 23 or int(minutes) > 59:
                raise ValueError
            ahead = timedelta(hours=int(hours), minutes=int(minutes))
        if int(second) > 60:
            raise ValueError
    except ValueError:
        detail = "at is a time as 2026-07-01T12:00:00Z (RFC 3339), or a number of seconds before now, such as 90."
        raise ProtocolError(detail) from None
    since = (moment - _EPOCH) - (-ahead if sign == "-" else ahead)
    return min(max(since // _MICROSECOND + _microseconds(fraction), 0), _LATEST)


def format_time(time: int) -> str:
    """``time`` (microseconds since the Unix epoch) as :func:`parse_time` reads it."""
    return (_EPOCH + time * _MICROSECOND).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


async def point_at(epoch: Epoch, time: int, before: int | None = None) -> Record | None:
    """Return the last random access point that was captured (received, where that is unknown) at or before ``time``.

    Where all that are held are later, the first of these. With ``before`` only those count that begin at or before that
    offset. None where there is none; StorageError where the disk fails.
    """
    log, recording = epoch.log, cast(Any, epoch.recording)
    first = epoch.first_offset
    last = log.known - 1 if before is None else min(before, log.known - 1)
    found = log.random_access_at(time, last)
    if found is not None and found.offset >= first:
        return found
    held = (each for each in log.records if first <= each.offset <= last)
    # Found before the disk is asked: what it writes meanwhile may leave the memory, and stays where it is in the log.
    earliest = next((each for each in held if each.flags & Flag.RANDOM_ACCESS), None)
    if recording is not None and recording.written > recording.start and last >= recording.start:
        reading: Deferred[Record | None] = recording.random_access_at(time, last)
        found = await reading
        if found is not None:
            return found
    return earliest
