"""Many ranges in one response: ``multipart/byteranges`` (RFC 9110 section 14.6, RFC 2046 section 5.1).

A part's Content-Range says how long it is. So the reader never searches content for the boundary: it hands on that many
bytes, and then wants the delimiter. Content may therefore hold any bytes, the boundary's too.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum, auto
from typing import NamedTuple

from sdp.errors import ProtocolError
from sdp.http1.encode import encode_fields
from sdp.http1.fields import parse_media_type
from sdp.http1.head import parse_fields, too_much_field_section
from sdp.http1.headers import Headers
from sdp.http1.limits import Limits
from sdp.http1.pieces import Pieces
from sdp.http1.ranges import ContentRange, parse_content_range

__all__ = [
    "PART_END",
    "PART_LIMITS",
    "Part",
    "PartsEnd",
    "PartsReader",
    "boundary_of",
    "closing",
    "part_head",
]

PART_LIMITS = Limits(field_section=8192, fields=32)
"""The limits of one part's head, which carries a range and a few fields of a record."""

PART_END = b"\r\n"
"""Follows a part's content. It belongs to the delimiter after it, but is sent with the part: so a live part is whole
when its content is."""

_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,\-./:=? ]{0,69}[0-9A-Za-z'()+_,\-./:=?]")


def boundary_of(content_type: bytes) -> bytes:
    """The boundary that a ``multipart/byteranges`` Content-Type names. Raises ProtocolError for any other value."""
    media, parameters = parse_media_type(content_type)
    boundary = parameters.get(b"boundary", b"")
    if media != b"multipart/byteranges" or _BOUNDARY.fullmatch(boundary) is None:
        raise ProtocolError("The content is not multipart/byteranges with a valid boundary.")
    return boundary


def part_head(boundary: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The delimiter before a part and the part's head, up to and with the empty line. The part's content follows it,
    and then :data:`PART_END`.

    Raises ValueError for a field that could not be told from two.
    """
    return b"--%b\r\n%b\r\n" % (boundary, encode_fields(headers))


def closing(boundary: bytes) -> bytes:
    """The delimiter after the last part."""
    return b"--%b--\r\n" % boundary


class Part(NamedTuple):
    """A part's head. Its content follows as ``bytes`` events: as many as ``content_range`` says."""

    headers: Headers
    content_range: ContentRange


class PartsEnd(NamedTuple):
    """The closing delimiter has come. What follows it in the content is ignored (RFC 2046 section 5.1.1)."""


class _State(Enum):
    BEGIN = auto()
    """Before the first delimiter, which may lack its CRLF."""
    DELIMITER = auto()
    AFTER_DELIMITER = auto()
    """What follows tells whether it was the closing one."""
    LINE_END = auto()
    HEAD = auto()
    CONTENT = auto()
    ENDED = auto()


class PartsReader(Pieces):
    """Parts out of a ``multipart/byteranges`` content, fed in whatever pieces it comes in.

    ``boundary`` as :func:`boundary_of` gives it. Gives a :class:`Part` for each part, its content as ``bytes`` (never
    empty), and at last :class:`PartsEnd`. Once it has raised ProtocolError it is not to be used again.
    """

    __slots__ = ("_delimiter", "_eof", "_limits", "_remaining", "_seen", "_state")

    def __init__(self, boundary: bytes, limits: Limits = PART_LIMITS) -> None:
        super().__init__()
        self._delimiter = b"\r\n--" + boundary
        self._limits = limits
        self._state = _State.BEGIN
        self._remaining = 0
        self._seen = 0
        self._eof = False

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the content."""
        if data and self._state is not _State.ENDED:
            self._add(data)

    def feed_eof(self) -> None:
        """The content is over: where the closing delimiter has not come by then, next_event() raises."""
        self._eof = True

    def next_event(self) -> Part | PartsEnd | bytes | None:
        """The next event, or None where more must be fed first, and after PartsEnd.

        Raises ProtocolError where a part's head is malformed or lacks a Content-Range with positions, where a part
        is longer or shorter than that says, and where the content ends before its closing delimiter.
        """
        while (state := self._state) is not _State.ENDED:
            event = self._step(state)
            if event is not None:
                return event
            if self._state is state and not self._next_piece():
                if self._eof:
                    raise ProtocolError("The content ended before its closing delimiter.", title="Incomplete message")
                break
        return None

    def _step(self, state: _State) -> Part | PartsEnd | bytes | None:
        """Read on in ``state``; None where the state has changed, or more is needed."""
        if state is _State.CONTENT:
            return self._read_content()
        if state is _State.HEAD:
            return self._read_head()
        if state is _State.AFTER_DELIMITER:
            return self._read_after_delimiter()
        if state is _State.LINE_END:
            self._read_line_end()
        else:
            self._read_delimiter(state)
        return None

    def _read_delimiter(self, state: _State) -> None:
        delimiter = self._delimiter
        if state is _State.BEGIN and self._data.startswith(b"-", self._position):
            delimiter = delimiter[2:]
        end = self._position + len(delimiter)
        found = self._data[self._position : end]
        if found == delimiter:
            self._position = end
            self._state = _State.AFTER_DELIMITER
        elif not delimiter.startswith(found):
            raise ProtocolError("A part's Content-Range says another length than it has: no delimiter follows it.")

    def _read_after_delimiter(self) -> PartsEnd | None:
        found = self._data[self._position : self._position + 2]
        if found == b"--":
            self._state = _State.ENDED
            self._drop()
            return PartsEnd()
        if found not in (b"", b"-"):
            self._state = _State.LINE_END
        return None

    def _read_line_end(self) -> None:
        # White space may stand between a delimiter and its CRLF (RFC 2046 section 5.1.1).
        while self._data[self._position : self._position + 1] in (b" ", b"\t"):
            self._position += 1
        found = self._data[self._position : self._position + 2]
        if found == b"\r\n":
            self._position += 2
            self._state = _State.HEAD
        elif not b"\r\n".startswith(found):
            raise ProtocolError("A delimiter between parts ends with CRLF.")

    def _read_head(self) -> Part | None:
        data, position = self._data, self._position
        end = data.find(b"\r\n\r\n", position + max(0, self._seen - 3))
        if end < 0:
            if data.startswith(b"\r\n", position):
                raise ProtocolError("A part has no Content-Range; each part tells which bytes it is.")
            self._seen = len(data) - position
            if self._seen > self._limits.field_section + 3:
                raise too_much_field_section(self._limits.field_section)
            return None
        section = bytes(data[position : end + 2])
        headers = parse_fields(section, 0, len(section), self._limits.field_section, self._limits)
        ranges = headers.get_all(b"content-range")
        if len(ranges) != 1:
            raise ProtocolError("A part has one Content-Range, which tells the bytes that it is.")
        content_range = parse_content_range(ranges[0])
        if content_range.first is None or content_range.last is None:
            raise ProtocolError("A part's Content-Range names its first and its last position.")
        self._position = end + 4
        self._seen = 0
        self._remaining = content_range.last - content_range.first + 1
        self._state = _State.CONTENT
        return Part(headers, content_range)

    def _read_content(self) -> bytes | None:
        if self._position == len(self._data):
            return None
        content = self._take(self._remaining)
        self._remaining -= len(content)
        if not self._remaining:
            self._state = _State.DELIMITER
        return content
