"""The posting table: from a POST's head, and the epoch that it meets, to what is to be done. No I/O, no time.

:func:`plan` holds the table of the wire contract's section on posting; :mod:`sdp.distributor.ingest` does what it says.
"""

from __future__ import annotations

from enum import Enum, auto

import attrs

from sdp.distributor.conditions import Tags, entity_tags, matches, names
from sdp.errors import ProtocolError, Refusal
from sdp.http1 import Request
from sdp.http1.fields import parse_boolean, parse_digits
from sdp.http1.ranges import MAX_LAST, ContentRange, parse_content_range
from sdp.stream.catalog import Epoch

__all__ = ["MOST_HOLES", "Action", "Plan", "Post", "conflict", "not_held", "plan", "read_post", "unsatisfied"]

Lines = tuple[tuple[bytes, bytes], ...]
MOST_HOLES = 1000
"""The most holes of one epoch: 409 beyond. Each is a file on the disk, and an entry in every view."""
_LATEST = 1 << 62
"""The latest time that is taken for one, in microseconds."""


@attrs.frozen
class Post:
    """What a POST's head says: ``range`` is None for an ordinary publisher's; ``tags`` is If-Match, and
    ``unwanted`` is If-None-Match. ``sparse``: its sender knows that bytes are missing before these, or among them."""

    range: ContentRange | None
    content_type: str | None
    tags: Tags
    unwanted: Tags = attrs.field(default=None, kw_only=True)
    capture_time: int | None
    random_access: bool | None
    declared_length: int | None
    sparse: bool = attrs.field(default=False, kw_only=True)

    @property
    def open_ended(self) -> bool:
        return self.range is None or self.range.last == MAX_LAST


def read_post(request: Request) -> Post:
    """Read a POST's head, as far as it can be judged without a stream: ProtocolError 400, Refusal 411, 417."""
    headers = request.headers
    ranges = headers.get_all(b"content-range")
    if len(ranges) > 1:
        raise ProtocolError("Send Content-Range once: a POST's content is one range.")
    content_range = parse_content_range(ranges[0]) if ranges else None
    if request.expect is not None and request.expect != b"100-continue":
        raise Refusal(417, "Expectation failed", "The only expectation that is understood is 100-continue.")
    tags = entity_tags(headers, b"if-match")
    has_length = b"content-length" in headers or request.chunked
    finishing = content_range is not None and content_range.first is None
    if not has_length and not finishing:
        raise Refusal(411, "Length required", "Send the content with Content-Length, or chunked.")
    if finishing and request.content_length:
        raise ProtocolError("Content-Range: bytes */N ends an epoch and has no content.")
    if content_range is None and tags is not None:
        raise ProtocolError("If-Match needs a Content-Range: without one a POST always begins a new epoch.")
    if content_range is not None and content_range.last == MAX_LAST and not request.chunked:
        raise ProtocolError(
            "An open-ended Content-Range needs chunked content; with Content-Length, say the real last-pos."
        )
    said_sparse = headers.get(b"sparse")
    sparse = said_sparse is not None and parse_boolean(said_sparse)
    if sparse and (tags is None or content_range is None):
        raise ProtocolError("Sparse needs a Content-Range, and If-Match with the ETag of the epoch that has the hole.")
    capture, random_access = headers.get(b"capture-time"), headers.get(b"random-access")
    content_type = headers.get(b"content-type")
    return Post(
        range=content_range,
        content_type=None if content_type is None else content_type.decode("latin-1"),
        tags=tags,
        unwanted=entity_tags(headers, b"if-none-match"),
        capture_time=None if capture is None else parse_digits(capture, _LATEST),
        random_access=None if random_access is None else parse_boolean(random_access),
        declared_length=None if request.chunked else request.content_length,
        sparse=sparse,
    )


class Action(Enum):
    """What a POST does."""

    BEGIN = auto()
    """It begins a new epoch."""
    APPEND = auto()
    """It goes on with the open one, after comparing what is held already."""
    COMPARE = auto()
    """The epoch has ended: it can only be found equal, or fill holes."""
    FINISH = auto()
    """It ends the epoch, or finds it ended there."""


@attrs.frozen
class Plan:
    """What is to be done: ``start`` and ``end`` are the offsets that the content stands for (``end`` None: open).
    ``sparse``: it may leave a hole, and fill those that it meets."""

    action: Action
    start: int = 0
    end: int | None = None
    complete_length: int | None = None
    sparse: bool = False


def conflict(detail: str, headers: Lines = ()) -> Refusal:
    """The refusal (409) of what does not fit the log."""
    return Refusal(409, "Does not fit the log", detail, headers)


def unsatisfied(length: int) -> tuple[bytes, bytes]:
    """The field line that tells a complete length alone: ``Content-Range: bytes */N``."""
    return (b"Content-Range", b"bytes */%d" % length)


def plan(post: Post, epoch: Epoch | None, *, held: bool) -> Plan:
    """Decide what a POST does to the current epoch; Refusal 412 or 409 where it may not.

    ``held``: another connection is the epoch's Origin. The contract's order of checks: the epoch, who posts, where.
    """
    if not matches(post.tags, epoch):
        now = "there is no such epoch" if epoch is None else f'the current epoch is "{epoch.id}"'
        raise Refusal(
            412, "Another epoch", f"If-Match names an epoch that is not current: {now}. Ask with HEAD, begin anew."
        )
    if names(post.unwanted, epoch):
        raise Refusal(412, "Already there", "If-None-Match names the current epoch, or any: nothing was done.")
    if held and epoch is not None and not epoch.closed and (post.tags is None or post.range is None):
        raise conflict("Another connection is this stream's Origin. To take over, send If-Match with the epoch's ETag.")
    if post.range is None:
        return Plan(Action.BEGIN)
    if post.range.first is None:
        return _plan_finish(post.range, epoch)
    return _plan_content(post, post.range, epoch)


def _plan_finish(content_range: ContentRange, epoch: Epoch | None) -> Plan:
    length = content_range.complete
    if epoch is None or length != epoch.accepted_end:
        where = "there is no such stream" if epoch is None else f"the log ends at {epoch.accepted_end}"
        raise conflict(
            f"The epoch cannot end at {length}: {where}.",
            (unsatisfied(epoch.accepted_end),) if epoch and epoch.closed else (),
        )
    if epoch.complete_length is not None and epoch.complete_length != length:
        raise conflict(f"The complete length was said to be {epoch.complete_length}.")
    return Plan(Action.FINISH)


def _plan_content(post: Post, content_range: ContentRange, epoch: Epoch | None) -> Plan:
    first, last, complete = content_range.first, content_range.last, content_range.complete
    assert first is not None
    assert last is not None
    end = None if last == MAX_LAST else last + 1
    if epoch is None or (epoch.closed and first == 0 and post.tags is None):
        if first > 0:
            raise conflict(f"There is no such stream, and its first byte is 0, not {first}.")
        return Plan(Action.BEGIN, 0, end, complete)
    if epoch.closed:
        if end is None or end > epoch.accepted_end or (complete is not None and complete != epoch.accepted_end):
            raise conflict(f"The epoch has ended at {epoch.accepted_end}.", (unsatisfied(epoch.accepted_end),))
        if first < epoch.first_offset:
            raise conflict(not_held(epoch), (unsatisfied(epoch.accepted_end),))
        _check_hole(post, first, epoch, (unsatisfied(epoch.accepted_end),))
        return Plan(Action.COMPARE, first, end, sparse=post.sparse)
    if (
        post.content_type is not None
        and (epoch.declared_type or post.content_type).lower() != post.content_type.lower()
    ):
        raise conflict(f"This epoch's Content-Type is {epoch.declared_type}; it cannot change.")
    if first > epoch.accepted_end:
        _check_gap(post, first, epoch)
    promised = epoch.complete_length
    if complete is not None and (complete < epoch.accepted_end or promised not in (None, complete)):
        raise conflict(
            f"The complete length cannot be {complete}: it is {promised or epoch.accepted_end} or more already."
        )
    if promised is not None and end is not None and end > promised:
        raise conflict(f"The complete length was said to be {promised}.")
    if promised is not None and first > promised:
        raise conflict(f"The complete length was said to be {promised}.")
    if first < epoch.first_offset and first < epoch.accepted_end:
        raise conflict(not_held(epoch))
    _check_hole(post, first, epoch)
    return Plan(Action.APPEND, first, end, complete, post.sparse)


def _check_gap(post: Post, first: int, epoch: Epoch) -> None:
    """Raise the Refusal (409) of content past the log's end, unless its sender leaves the hole knowingly."""
    end = epoch.accepted_end
    if not post.sparse:
        raise conflict(
            f"The log ends at {end}; bytes from {first} on would leave a gap. Send from {end}, or with Sparse: ?1."
        )
    if not epoch.decodable:
        raise conflict(f"The initialization segment is not complete: send it first, from {end} on.")
    if len(epoch.missing) >= MOST_HOLES:
        raise conflict(f"The log has {MOST_HOLES} holes already: fill some of them first.")


def _check_hole(post: Post, first: int, epoch: Epoch, lines: Lines = ()) -> None:
    """Raise the Refusal (409) of content that begins in a hole, unless it fills it from its front."""
    hole = epoch.missing_at(first)
    if hole is not None and not post.sparse:
        raise conflict(f"The bytes from {hole[0]} on are missing: fill the hole with Sparse: ?1.", lines)
    if hole is not None and hole[0] != first:
        raise conflict(f"A hole is filled from its front: send from {hole[0]}.", lines)


def not_held(epoch: Epoch) -> str:
    """The sentence about bytes that are no longer held to compare with."""
    return f"The bytes below {epoch.first_offset} are no longer held to compare with. Send from {epoch.accepted_end}."
