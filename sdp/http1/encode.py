"""The last step before the socket: heads and chunks as bytes (RFC 9112).

Nothing is added to what is given: who writes a message decides on its framing. What could split a message in two
is refused, whoever it came from.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus

from sdp.http1.grammar import TOKEN, is_token

__all__ = ["LAST_CHUNK", "encode_chunk", "encode_fields", "encode_request", "encode_response", "encode_trailers"]

LAST_CHUNK = b"0\r\n\r\n"
"""Ends a chunked message without trailers (RFC 9112 section 7.1)."""

_FIELD_LINES = re.compile(rb"(?:" + TOKEN + rb": [\t\x20-\x7e\x80-\xff]*+\r\n)*+")
_TARGET = re.compile(rb"[\x21\x22\x24-\x7e]++")
_REASON = re.compile(rb"[\t\x20-\x7e\x80-\xff]*+")
_STATUS_LINES = {
    status.value: b"HTTP/1.1 %d %b\r\n" % (status.value, status.phrase.encode("ascii")) for status in HTTPStatus
}
# RFC 9110 renamed these after Python's table was made.
_STATUS_LINES[413] = b"HTTP/1.1 413 Content Too Large\r\n"
_STATUS_LINES[414] = b"HTTP/1.1 414 URI Too Long\r\n"
_STATUS_LINES[416] = b"HTTP/1.1 416 Range Not Satisfiable\r\n"
_STATUS_LINES[422] = b"HTTP/1.1 422 Unprocessable Content\r\n"


def encode_fields(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Field lines, each with its CRLF. Raises ValueError for a line that could be read as anything but one field."""
    lines = [b"%b: %b\r\n" % line for line in headers]
    section = b"".join(lines)
    # A value that smuggles in a line of its own would match, too, but makes one line more.
    if _FIELD_LINES.fullmatch(section) is None or section.count(b"\n") != len(lines):
        raise ValueError("a field's name is no token, or its value holds a control character")
    return section


def encode_request(method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A request's head, up to and with the empty line.

    Raises ValueError where the method is no token, the target not visible ASCII, or a field could not be told
    from two.
    """
    if not is_token(method):
        raise ValueError(f"{method!r} is no method")
    if _TARGET.fullmatch(target) is None:
        raise ValueError("a request target is visible ASCII without fragment")
    return b"%b %b HTTP/1.1\r\n%b\r\n" % (method, target, encode_fields(headers))


def encode_response(status: int, headers: Iterable[tuple[bytes, bytes]], reason: bytes | None = None) -> bytes:
    """A response's head, up to and with the empty line; ``reason`` from RFC 9110's table where it is None.

    Raises ValueError for a status outside 100 to 599, and for fields and reasons that would split the response.
    """
    if reason is None and status in _STATUS_LINES:
        line = _STATUS_LINES[status]
    else:
        reason = reason or b""
        if not 100 <= status <= 599:
            raise ValueError(f"{status} is no HTTP status")
        if _REASON.fullmatch(reason) is None:
            raise ValueError("a reason phrase holds a control character")
        line = b"HTTP/1.1 %d %b\r\n" % (status, reason)
    return b"%b%b\r\n" % (line, encode_fields(headers))


def encode_chunk(data: bytes) -> bytes:
    """One chunk. Raises ValueError for no bytes: that would be the last chunk, see :data:`LAST_CHUNK`."""
    if not data:
        raise ValueError("an empty chunk would end the content")
    return b"%x\r\n%b\r\n" % (len(data), data)


def encode_trailers(trailers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The last chunk with a trailer section (RFC 9112 section 7.1.2). Raises ValueError as heads do."""
    return b"0\r\n%b\r\n" % encode_fields(trailers)
