"""From what the processes of a cell have written to its rows: each picture's way, point by point. Pure.

The Origin's trace tells which pictures there were, and at which offset each one's record ends; with that, the others'
traces, which only know offsets, tell when the picture passed them. The probes say what they saw by the stamps in the
pictures themselves. Where both speak of a picture (its capture time in ``prft`` and in the stamp), they have to agree.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

import attrs

from sdp.observe import Point

__all__ = [
    "Captured",
    "Passed",
    "Seen",
    "Servers",
    "Trace",
    "Watermarks",
    "captured_pictures",
    "read_probe",
    "read_trace",
    "watermarks",
]


@attrs.frozen
class Passed:
    """A line of a trace."""

    point: str
    stream: str
    offset: int | None
    capture_time: int | None
    time: int


Trace = Sequence[Passed]


def read_trace(lines: Iterable[str]) -> list[Passed]:
    """The lines of a trace's file; a last one that was cut off by a kill is passed over."""
    found = []
    for line in lines:
        fields = line.rstrip("\n").split(",")
        if len(fields) != 5 or not line.endswith("\n") or not fields[4].isdigit():
            continue
        point, stream, offset, capture_time, time = fields
        found.append(
            Passed(
                point,
                stream,
                int(offset) if offset else None,
                int(capture_time) if capture_time else None,
                int(time),
            )
        )
    return found


class Watermarks:
    """When bytes below an offset had passed one point of one epoch."""

    def __init__(self, passed: Iterable[tuple[int, int]]) -> None:
        self._offsets: list[int] = []
        self._times: list[int] = []
        for time, offset in sorted(passed):
            if not self._offsets or offset > self._offsets[-1]:
                self._offsets.append(offset)
                self._times.append(time)

    def time(self, offset: int | None) -> int | None:
        """When all below ``offset`` had passed; None where it never did."""
        if offset is None:
            return None
        at = bisect_left(self._offsets, offset)
        return self._times[at] if at < len(self._times) else None


def watermarks(trace: Trace) -> dict[tuple[str, str], Watermarks]:
    """A trace's points by (point, epoch); an Origin, which names no epoch, has the epoch ``""``."""
    passed: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    for each in trace:
        if each.offset is not None:
            passed[each.point, each.stream.partition("@")[2]].append((each.time, each.offset))
    return {key: Watermarks(value) for key, value in passed.items()}


@attrs.frozen(kw_only=True)
class Captured:
    """One picture that was captured: ``number`` counts from 0 over the cell; ``end`` is its record's end in the
    Origin's log, None where that cannot be told (after the Origin has begun anew)."""

    number: int
    captured: int
    encoded: int | None
    written: int | None
    end: int | None


def captured_pictures(traces: Iterable[Trace]) -> list[Captured]:
    """All pictures that the Origin's traces tell of, one trace for each time that it was started."""
    encoded: dict[int, int | None] = {}
    records: dict[int, tuple[int | None, int | None]] = {}
    for number, trace in enumerate(traces):
        written = {each.capture_time: each.time for each in trace if each.point == Point.WRITTEN and each.capture_time}
        highest = 0
        for each in trace:
            if each.capture_time is None:
                continue
            if each.point == Point.ENCODED:
                encoded.setdefault(each.capture_time, each.time)
            elif each.point == Point.CAPTURED:  # by itself: where nobody tells when it is encoded
                encoded.setdefault(each.capture_time, None)
            elif each.point == Point.LOGGED and each.offset is not None:
                known = number == 0 and each.offset > highest
                highest = max(highest, each.offset)
                records[each.capture_time] = each.offset if known else None, written.get(each.capture_time)
    begins = sorted(records)
    pictures = []
    for number, captured in enumerate(sorted(encoded)):
        at = bisect_right(begins, captured) - 1
        end, written_at = records[begins[at]] if at >= 0 else (None, None)
        pictures.append(
            Captured(number=number, captured=captured, encoded=encoded[captured], written=written_at, end=end)
        )
    return pictures


@attrs.frozen(kw_only=True)
class Seen:
    """What a probe saw: ``prft`` is the capture time that the container says, ``end`` the picture's last byte;
    ``fetched`` is None where it cannot tell."""

    consumer: int
    captured: int
    fetched: int | None
    decoded: int
    prft: int | None
    epoch: str
    end: int


def read_probe(lines: Iterable[str]) -> tuple[list[Seen], dict[int, int], list[str]]:
    """A probe's file: what it saw, when each of its consumers came in, and its last word (JSON), if it had one."""
    seen: list[Seen] = []
    joined: dict[int, int] = {}
    last: list[str] = []
    for line in lines:
        if not line.endswith("\n"):
            continue
        if line.startswith("#"):
            last.append(line[1:])
        elif line.startswith("!"):
            consumer, time = line[1:].split(",")
            joined[int(consumer)] = int(time)
        else:
            consumer, captured, _, fetched, decoded, prft, epoch, end = line.rstrip("\n").split(",")
            seen.append(
                Seen(
                    consumer=int(consumer),
                    captured=int(captured),
                    fetched=int(fetched) if fetched else None,
                    decoded=int(decoded),
                    prft=int(prft) if prft else None,
                    epoch=epoch,
                    end=int(end),
                )
            )
    return seen, joined, last


@attrs.frozen(kw_only=True)
class Servers:
    """The traces of the servers: each a mapping of (point, epoch) to watermarks, the relays' in their order."""

    origin: Mapping[tuple[str, str], Watermarks]
    distributor: Mapping[tuple[str, str], Watermarks]
    relays: Sequence[Mapping[tuple[str, str], Watermarks]]

    @property
    def epochs(self) -> list[str]:
        """The Distributor's."""
        return list(dict.fromkeys(epoch for _, epoch in self.distributor))

    def points(self, end: int | None, epoch: str) -> Iterator[tuple[str, int | None]]:
        """When the bytes below ``end`` of an epoch passed each point."""
        alone = self.epochs == [epoch]
        posted = self.origin.get((Point.POSTED, ""))
        yield "posted", posted.time(end) if posted is not None and alone else None
        for point in (Point.RECEIVED, Point.APPENDED, Point.DURABLE, Point.FANNED_OUT):
            marks = self.distributor.get((point, epoch))
            yield point.value, None if marks is None else marks.time(end)
        for number, relay in enumerate(self.relays, 1):
            marks = relay.get((Point.FETCHED, epoch))
            yield f"hop{number}", None if marks is None else marks.time(end)
