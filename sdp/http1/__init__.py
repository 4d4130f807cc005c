"""HTTP/1.1 by hand, without I/O (RFC 9110, RFC 9112): bytes to messages and back.

A connection's bytes are fed to a reader, which gives out heads, content and ends; the encoders make bytes of heads
and chunks. Field values are read by :mod:`sdp.http1.fields`, ranges by :mod:`sdp.http1.ranges`, and multipart bodies
by :mod:`sdp.http1.multipart`.
"""

from __future__ import annotations

from sdp.http1.encode import LAST_CHUNK, encode_chunk, encode_request, encode_response, encode_trailers
from sdp.http1.headers import Headers
from sdp.http1.limits import Limits
from sdp.http1.messages import End, Request, Response
from sdp.http1.reader import Event, RequestReader, ResponseReader

__all__ = [
    "LAST_CHUNK",
    "End",
    "Event",
    "Headers",
    "Limits",
    "Request",
    "RequestReader",
    "Response",
    "ResponseReader",
    "encode_chunk",
    "encode_request",
    "encode_response",
    "encode_trailers",
]
