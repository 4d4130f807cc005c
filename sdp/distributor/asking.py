"""What a GET asks for, and where in the log its answer begins. No I/O: heads and logs in, places out."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from sdp.distributor.conditions import Tags, entity_tags
from sdp.distributor.reading import join_point
from sdp.distributor.timeshift import parse_time
from sdp.errors import ProtocolError, Refusal
from sdp.http1 import Request
from sdp.http1.fields import accepts, parse_prefer
from sdp.http1.ranges import ContentRange, RangeSpec, parse_possessed, parse_range
from sdp.stream.catalog import Epoch
from sdp.stream.holes import Interval

__all__ = [
    "WAIT_LIMIT",
    "Ask",
    "Interval",
    "at_time",
    "behind_hole",
    "live_start",
    "missing",
    "possessed_intervals",
    "read_ask",
]

WAIT_LIMIT = 60
"""The longest wait that a client may prefer, in seconds (``Prefer: wait``)."""


@attrs.frozen
class Ask:
    """A GET's head, read: ``possessed`` is None where the request does not say what it has; ``ranges`` None where it
    names none; ``tags`` is If-Match and ``unwanted`` If-None-Match; ``wait`` is in seconds; ``lossless`` is the wish
    never to be skipped ahead, ``backfill`` the one to get what is older as well; ``at`` is the time to begin at
    (microseconds), None for now."""

    possessed: list[Interval] | None
    ranges: list[RangeSpec] | None
    if_range: bytes | None
    tags: Tags
    multipart: bool
    wait: int | None
    lossless: bool = False
    unwanted: Tags = None
    backfill: bool = False
    at: int | None = None

    @property
    def from_zero(self) -> bool:
        """Whether it is exactly ``Range: bytes=0-``, which players always send and mean nothing by."""
        return self.ranges is not None and [(each.first, each.last) for each in self.ranges] == [(0, None)]


def read_ask(request: Request, max_ranges: int) -> Ask:
    """Read a GET's or HEAD's head: ProtocolError 400 where Content-Range, If-Match or the number of ranges is bad."""
    headers = request.headers
    has = headers.get_all(b"content-range")
    wanted = headers.get_all(b"range")
    preferences = parse_prefer(headers.get_all(b"prefer"))
    wait = preferences.get(b"wait")
    possessed = parse_possessed(has) if has else None
    ranges = parse_range(wanted[0]) if len(wanted) == 1 else None
    return Ask(
        possessed=None if possessed is None else possessed_intervals(possessed, max_ranges),
        ranges=ranges,
        if_range=headers.get(b"if-range"),
        tags=entity_tags(headers, b"if-match"),
        unwanted=entity_tags(headers, b"if-none-match"),
        multipart=accepts(headers.combined(b"accept"), b"multipart/byteranges", wildcard=False),
        wait=min(int(wait), WAIT_LIMIT) if wait is not None and wait.isdigit() and len(wait) < 10 else None,
        lossless=b"lossless" in preferences,
        backfill=b"backfill" in preferences,
    )


def at_time(ask: Ask, text: str | None, now: int) -> Ask:
    """Add what ``?at=`` says, if anything: ProtocolError 400 where it is no time, or other places are named as well.

    ``now`` is in microseconds.
    """
    if text is None:
        return ask
    time = parse_time(text, now)
    if ask.possessed is not None or (ask.ranges is not None and not ask.from_zero):
        raise ProtocolError("at says where to begin: send it without Range and Content-Range, or these without it.")
    return attrs.evolve(ask, at=time, ranges=None)


def possessed_intervals(ranges: Iterable[ContentRange], limit: int) -> list[Interval]:
    """Return what a consumer has as intervals in order, joined where they touch. ProtocolError past ``limit``."""
    intervals = sorted(
        (each.first, each.last + 1) for each in ranges if each.first is not None and each.last is not None
    )
    if len(intervals) > limit:
        raise ProtocolError(f"Name at most {limit} ranges; join those that touch.")
    joined: list[Interval] = []
    for start, end in intervals:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def check_possessed(possessed: list[Interval], epoch: Epoch) -> None:
    """Raise the Refusal (416) of a claim to bytes that the log has not got yet."""
    if possessed and possessed[-1][1] > epoch.end:
        detail = f"The log ends at {epoch.end}: nobody can have bytes beyond. Send If-Match with your epoch."
        raise Refusal(416, "Beyond the end", detail, ((b"Content-Range", b"bytes */%d" % epoch.end),))


def holds(possessed: list[Interval], start: int, end: int) -> bool:
    """Whether all of [start, end) is possessed."""
    return any(first <= start and end <= last for first, last in possessed)


def live_start(
    epoch: Epoch,
    possessed: list[Interval],
    initialization: Interval | None,
    arrived: int | None,
    since: float,
    *,
    lossless: bool = False,
) -> int:
    """Return the offset from which a live consumer is served.

    It goes on after the greatest byte that it has, where no random access point lies after that or where the next one
    ``arrived`` after ``since`` (microseconds); else at the newest random access point. ``initialization`` is the
    segment before that; who has only that has nothing. A ``lossless`` one goes on after what it has in any case, or
    where what follows is no longer held, with the first byte that is. Where a hole follows, the others go on behind it.
    """
    newest = join_point(epoch)
    if not possessed:
        return newest
    if initialization is not None and initialization[0] <= possessed[0][0] and possessed[-1][1] <= initialization[1]:
        return newest
    following = possessed[-1][1] if lossless else behind_hole(epoch, possessed[-1][1])
    if following >= epoch.end or newest <= following:
        return following
    if lossless:
        return max(following, epoch.first_offset)
    return following if arrived is not None and arrived > since else newest


def behind_hole(epoch: Epoch, offset: int) -> int:
    """Return ``offset``, or where the hole ends that it lies in."""
    hole = epoch.hole_at(offset)
    return offset if hole is None else hole[1]


def missing(possessed: list[Interval], first: int, end: int) -> list[Interval]:
    """Return what of [first, end) is not possessed, in ascending order."""
    gaps: list[Interval] = []
    at = first
    for start, stop in possessed:
        if start > at:
            gaps.append((at, min(start, end)))
        at = max(at, stop)
    if at < end:
        gaps.append((at, end))
    return [(start, stop) for start, stop in gaps if start < stop]
