"""What a reader gives out: a message's head, its content as plain bytes, and its end."""

from __future__ import annotations

from typing import NamedTuple

from sdp.http1.headers import NO_HEADERS, Headers

__all__ = ["NO_TRAILERS", "End", "Request", "Response"]


class Request(NamedTuple):
    """The head of a request (RFC 9112 section 3). Its content follows as ``bytes`` events, then :class:`End`."""

    method: bytes
    target: bytes
    """As received: origin-form, absolute-form, authority-form (CONNECT) or ``*`` (OPTIONS)."""
    version: int
    """10 or 11. A later HTTP/1.x counts as 1.1 (RFC 9110 section 2.5)."""
    headers: Headers
    content_length: int | None
    """Bytes of content; 0 where there is none; None where it is chunked."""
    chunked: bool
    expect_continue: bool
    """The sender waits for 100 (Continue): an HTTP/1.1 request with content that expects it (RFC 9110 section
    10.1.1)."""
    persistent: bool
    """The sender lets the connection go on after this message (RFC 9112 section 9.3)."""
    expect: bytes | None = None
    """The Expect field in lower case, whatever it asks for; who serves decides on 417."""


class Response(NamedTuple):
    """The head of a response (RFC 9112 section 4).

    Its content follows as ``bytes`` events, then :class:`End`. An interim response is this head alone, without
    an End: the final response to the same request follows it.
    """

    status: int
    reason: bytes
    version: int
    headers: Headers
    content_length: int | None
    """Bytes of content on the wire: 0 where none can follow (HEAD, 204, 304, 2xx to CONNECT, 1xx), whatever the
    field says; None where it is chunked or runs until the connection closes."""
    chunked: bool
    persistent: bool
    """The connection goes on after this message (RFC 9112 section 9.3); False where its close delimits content."""

    @property
    def interim(self) -> bool:
        """Whether this is a 1xx response (RFC 9110 section 15.2)."""
        return self.status < 200


class End(NamedTuple):
    """A message is complete. ``trailers`` is empty unless it was chunked and had some (RFC 9110 section 6.5)."""

    trailers: Headers


NO_TRAILERS = End(NO_HEADERS)
