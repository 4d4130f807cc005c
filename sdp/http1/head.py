"""From the bytes of a head to a Request or Response: start line, field lines, and what they say of the content.

Strict where leniency has let requests be smuggled past a proxy (RFC 9112 sections 5, 6 and 11.2). A head that is
well formed costs one pass of a pattern over its start line and one over its fields; only a faulty one is looked at
again, line by line, to say what is wrong with it.
"""

from __future__ import annotations

from typing import NamedTuple

from sdp.errors import ProtocolError
from sdp.http1.fields import parse_digits, parse_list
from sdp.http1.grammar import (
    FIELD_LINE,
    REQUEST_LINE,
    STATUS_LINE,
    VERSION_AT_END,
    is_authority,
    is_token,
)
from sdp.http1.headers import Headers
from sdp.http1.limits import MAX_CONTENT_LENGTH, Limits
from sdp.http1.messages import Request, Response

__all__ = [
    "bare_line_break",
    "check_request_line",
    "check_status_line",
    "parse_fields",
    "parse_request",
    "parse_response",
    "parse_trailers",
    "too_many_fields",
    "too_much_field_section",
    "too_much_start_line",
]

_NO_TRAILER = frozenset(
    {
        # framing and routing
        b"content-length", b"transfer-encoding", b"host", b"connection", b"keep-alive", b"te", b"trailer", b"upgrade",
        # what a recipient acts on before the content
        b"authorization", b"proxy-authorization", b"cache-control", b"expect", b"max-forwards", b"pragma", b"range",
        b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range", b"set-cookie",
        b"cookie", b"connection-type",
        # how to read the content
        b"content-encoding", b"content-type", b"content-range",
    }
)  # fmt: skip
"""Fields that a trailer section must not carry (RFC 9110 section 6.5.1)."""


class _Framing(NamedTuple):
    """How far a message's content goes (RFC 9112 section 6): ``length`` is None where no field gives it."""

    length: int | None
    chunked: bool


def too_much_start_line(limits: Limits) -> ProtocolError:
    """The start line passed its limit."""
    detail = f"The start line is longer than {limits.start_line} bytes; use a shorter request target."
    return ProtocolError(detail, status=414, title="URI too long")


def too_much_field_section(limit: int) -> ProtocolError:
    """A field section passed its limit, in bytes."""
    detail = f"The field section is longer than {limit} bytes; send fewer or shorter fields."
    return ProtocolError(detail, status=431, title="Fields too large")


def too_many_fields(limit: int) -> ProtocolError:
    """A field section passed its limit, in field lines."""
    detail = f"There are more than {limit} field lines in one section; send fewer."
    return ProtocolError(detail, status=431, title="Fields too large")


def check_request_line(line: bytes) -> None:
    """Raise for a request line (without CRLF) that is malformed: 505 for another major version, else 400."""
    if REQUEST_LINE.fullmatch(line + b"\r\n") is None:
        raise _request_line_fault(line)


def check_status_line(line: bytes) -> None:
    """Raise for a status line (without CRLF) that is malformed."""
    if STATUS_LINE.fullmatch(line + b"\r\n") is None:
        raise _status_line_fault()


def _request_line_fault(line: bytes) -> ProtocolError:
    version = VERSION_AT_END.search(line)
    if version is not None and version.group(1) != b"1":
        return ProtocolError("Only HTTP/1.1 and HTTP/1.0 are spoken here.", status=505, title="Version not supported")
    if b"\r" in line or b"\n" in line:
        return bare_line_break()
    return ProtocolError(
        "The request line is malformed: send a method, one space, a target of visible ASCII without fragment, "
        "one space, and HTTP/1.1."
    )


def _status_line_fault() -> ProtocolError:
    return ProtocolError("The status line is malformed: the peer does not speak HTTP/1.1.")


def bare_line_break() -> ProtocolError:
    """A CR or LF stands alone (RFC 9112 section 2.2)."""
    return ProtocolError("A line ends with CRLF; a CR or LF by itself has no place in a head.")


def _field_section_fault(section: bytes) -> ProtocolError:
    """What is wrong with the first malformed line of a section in which one is (RFC 9112 section 5)."""
    lines = section.split(b"\r\n")
    line = next(line for line in lines if FIELD_LINE.fullmatch(line + b"\r\n") is None)
    if b"\r" in line or b"\n" in line:
        return bare_line_break()
    if line[:1] in (b" ", b"\t"):
        return ProtocolError("A field line begins with white space: put each field on one line (no obs-fold).")
    name, colon, _ = line.partition(b":")
    if not colon:
        return ProtocolError("A field line has no colon; send a name, a colon and a value.")
    if name[-1:] in (b" ", b"\t"):
        return ProtocolError("There is white space between a field's name and its colon; leave it out.")
    if not is_token(name):
        return ProtocolError("A field's name is empty or holds characters that no name may have.")
    return ProtocolError("A field's value holds a control character; leave NUL and the like out.")


def parse_fields(data: bytes, start: int, end: int, size_limit: int, limits: Limits) -> Headers:
    """Parse ``data[start:end]``: field lines, each with its CRLF, without the empty line after them.

    Raises ProtocolError: 431 for more than ``size_limit`` bytes or ``limits.fields`` lines, 400 for a malformed one.
    """
    if end - start > size_limit:
        raise too_much_field_section(size_limit)
    count = data.count(b"\n", start, end)
    if count > limits.fields:
        raise too_many_fields(limits.fields)
    lines: list[tuple[bytes, bytes]] = FIELD_LINE.findall(data, start, end)
    # A match holds one line break and begins at the beginning of a line: as many of them as lines are all of them.
    if len(lines) != count:
        raise _field_section_fault(data[start : end - 2])
    if data.find(b" \r\n", start, end) >= 0 or data.find(b"\t\r\n", start, end) >= 0:
        lines = [(name, value.rstrip(b" \t")) for name, value in lines]
    return Headers.adopt(lines)


def parse_trailers(data: bytes, start: int, end: int, limits: Limits) -> Headers:
    """Parse a trailer section (RFC 9112 section 7.1.2) as :func:`parse_fields` does; 400 for a field that has no
    place there."""
    trailers = parse_fields(data, start, end, limits.trailer_section, limits)
    for name, _ in trailers:
        if name.lower() in _NO_TRAILER:
            raise ProtocolError(
                f"{name.decode('ascii')} has no place in a trailer section; send it in the head (RFC 9110, 6.5.1)."
            )
    return trailers


def _transfer_coding(value: bytes, version: int) -> None:
    """Raise unless a Transfer-Encoding is exactly ``chunked``, on an HTTP/1.1 message (RFC 9112 section 6.1)."""
    if version == 10:
        raise ProtocolError("HTTP/1.0 has no Transfer-Encoding; send Content-Length, or HTTP/1.1.")
    if value.lower() == b"chunked":
        return
    codings = [coding.strip(b" \t").lower() for coding in value.split(b",")]
    if b"" in codings:
        raise ProtocolError("Transfer-Encoding names no coding; send exactly: chunked.")
    if b"chunked" in codings[:-1]:
        raise ProtocolError("In Transfer-Encoding, chunked may be named once, as the last coding.")
    raise ProtocolError(
        "Only the transfer coding chunked is known here; send exactly: chunked.", status=501, title="Not implemented"
    )


def _framing(headers: Headers, version: int) -> _Framing:
    """What the fields say of the content's length (RFC 9112 section 6.3).

    Content-Length may come once. RFC 9110 section 8.6 lets a recipient take repeated equal values, or refuse them;
    they are refused, for a party before this one may have read another of the copies.
    """
    index = headers.by_name()
    coding = index.get(b"transfer-encoding")
    length = index.get(b"content-length")
    if coding is not None:
        if length is not None:
            raise ProtocolError("Both Transfer-Encoding and Content-Length are there; send one of them.")
        _transfer_coding(headers.combined(b"transfer-encoding") or b"", version)
        return _Framing(None, True)
    if length is None:
        return _Framing(None, False)
    if headers.has_repeats() and len(headers.get_all(b"content-length")) > 1:
        raise ProtocolError("There is more than one Content-Length; send one, even where they are equal.")
    try:
        return _Framing(parse_digits(length, MAX_CONTENT_LENGTH), False)
    except ProtocolError as error:
        raise ProtocolError(f"Content-Length is not usable: {error.detail}") from None


def _persistent(headers: Headers, version: int) -> bool:
    """Whether the connection goes on after this message (RFC 9112 section 9.3)."""
    value = headers.by_name().get(b"connection")
    if value is None:
        return version == 11
    if headers.has_repeats():
        value = headers.combined(b"connection") or b""
    value = value.lower()
    if value == b"keep-alive":
        return True
    options = parse_list(value)
    if b"close" in options:
        return False
    return version == 11 or b"keep-alive" in options


def _check_host(headers: Headers, version: int) -> None:
    """Raise unless there is exactly one valid Host, or none in HTTP/1.0 (RFC 9112 section 3.2).

    An empty one is refused, too: the http scheme needs an authority (RFC 9112 section 3.3).
    """
    host = headers.by_name().get(b"host")
    if host is None:
        if version == 10:
            return
        raise ProtocolError("Host is missing; an HTTP/1.1 request names the host it is for.")
    if headers.has_repeats() and len(headers.get_all(b"host")) > 1:
        raise ProtocolError("There is more than one Host; send one.")
    if not is_authority(host):
        raise ProtocolError("Host is no valid host and port; send it as host or host:port.")


def _check_target(method: bytes, target: bytes) -> None:
    """Raise unless the target has the form that the method wants (RFC 9112 section 3.2)."""
    if method == b"CONNECT":
        if not is_authority(target, port_required=True):
            raise ProtocolError("A CONNECT request's target is host:port with a port from 1 to 65535.")
        return
    if target.startswith(b"/"):
        return
    if target == b"*":
        if method != b"OPTIONS":
            raise ProtocolError("Only an OPTIONS request may have the target *.")
        return
    scheme, separator, rest = target.partition(b"://")
    if not separator or scheme.lower() not in (b"http", b"https"):
        raise ProtocolError("The request target begins with a slash, or is an absolute http URL.")
    authority = rest.partition(b"/")[0].partition(b"?")[0]
    if not is_authority(authority):
        raise ProtocolError("The request target is an absolute URL without a valid host and port.")


def parse_request(data: bytes, start: int, end: int, limits: Limits) -> Request:
    """Parse ``data[start:end]``: a request's head up to the empty line, without it.

    Raises ProtocolError with 414, 431, 501, 505, or 400 for all else.
    """
    line = REQUEST_LINE.match(data, start, end)
    if line is None:
        line_end = data.find(b"\r\n", start, end)
        if line_end - start > limits.start_line:
            raise too_much_start_line(limits)
        raise _request_line_fault(data[start:line_end])
    method, target, minor = line.groups()
    fields = line.end()
    if fields - start - 2 > limits.start_line:
        raise too_much_start_line(limits)
    headers = parse_fields(data, fields, end, limits.field_section, limits)
    version = 10 if minor == b"0" else 11
    _check_target(method, target)
    _check_host(headers, version)
    length, chunked = _framing(headers, version)
    if length is None and not chunked:
        length = 0
    expect = None
    expect_continue = False
    if b"expect" in headers:
        expect = (headers.combined(b"expect") or b"").lower()
        expect_continue = expect == b"100-continue" and version == 11 and length != 0
    return Request(
        method, target, version, headers, length, chunked, expect_continue, _persistent(headers, version), expect
    )


def parse_response(data: bytes, start: int, end: int, limits: Limits, method: bytes) -> Response:
    """Parse ``data[start:end]``: the head, without the empty line, of a response to a ``method`` request.

    Raises ProtocolError with 414, 431, 501, or 400 for all else.
    """
    line = STATUS_LINE.match(data, start, end)
    if line is None:
        line_end = data.find(b"\r\n", start, end)
        if line_end - start > limits.start_line:
            raise too_much_start_line(limits)
        raise _status_line_fault()
    minor, digits, reason = line.groups()
    fields = line.end()
    if fields - start - 2 > limits.start_line:
        raise too_much_start_line(limits)
    headers = parse_fields(data, fields, end, limits.field_section, limits)
    version = 10 if minor == b"0" else 11
    status = int(digits)
    length, chunked = _framing(headers, version)
    persistent = _persistent(headers, version)
    if method == b"HEAD" or status < 200 or status in (204, 304) or (method == b"CONNECT" and status < 300):
        length, chunked = 0, False
    elif length is None and not chunked:
        persistent = False
    return Response(status, reason or b"", version, headers, length, chunked, persistent)
