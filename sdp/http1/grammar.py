"""The alphabet of HTTP/1.1: the rules of RFC 9110 section 5.6 and RFC 9112 as patterns over bytes.

Every repetition is possessive: a pattern reads each byte once, so that no input, however made, costs more than
its length.
"""

from __future__ import annotations

import re
from ipaddress import AddressValueError, IPv6Address

__all__ = [
    "BARE_LINE_BREAK",
    "CHUNK_LINE",
    "FIELD_LINE",
    "QUOTED_STRING",
    "REQUEST_LINE",
    "STATUS_LINE",
    "TOKEN",
    "VERSION_AT_END",
    "is_authority",
    "is_token",
]

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
"""RFC 9110 section 5.6.2: one or more tchar."""

QUOTED_STRING = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t \x21-\x7e\x80-\xff])*+"'
"""RFC 9110 section 5.6.4, quotes included."""

REQUEST_LINE = re.compile(rb"(" + TOKEN + rb") ([\x21\x22\x24-\x7e]++) HTTP/1\.([0-9])\r\n")
"""Method, target and minor version (RFC 9112 section 3). A target has no fragment, so no number sign."""

STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-5][0-9]{2})(?: ([\t \x21-\x7e\x80-\xff]*+))?\r\n")
"""Minor version, status, reason (RFC 9112 section 4). Some servers leave out the space before an empty reason;
that is harmless, since the status alone frames the message."""

VERSION_AT_END = re.compile(rb" HTTP/([0-9])\.[0-9]\Z")

FIELD_LINE = re.compile(rb"^(" + TOKEN + rb"):[ \t]*+([\t\x20-\x7e\x80-\xff]*+)\r\n", re.MULTILINE)
"""Name and value of one field line (RFC 9112 section 5), from the beginning of a line to its CRLF. The value
may still have white space at its end."""

CHUNK_LINE = re.compile(
    rb"([0-9A-Fa-f]{1,16})"
    rb"((?:[ \t]*+;[ \t]*+" + TOKEN + rb"(?:[ \t]*+=[ \t]*+(?:" + TOKEN + rb"|" + QUOTED_STRING + rb"))?)*+)"
)
"""Chunk size and chunk extensions (RFC 9112 section 7.1), without the CRLF."""

BARE_LINE_BREAK = re.compile(rb"(?<!\r)\n|\r(?=[^\n])")
"""A LF without its CR, or a CR that something other than LF follows."""

_TOKEN_ALONE = re.compile(TOKEN)
_AUTHORITY = re.compile(
    rb"(?:((?:[A-Za-z0-9\-._~!$&'()*+,;=]++|%[0-9A-Fa-f]{2})++)|\[([0-9A-Fa-f:.]++)\])(?::([0-9]{0,5}+))?"
)


def is_token(value: bytes) -> bool:
    """Whether all of ``value`` is one token (RFC 9110 section 5.6.2)."""
    return _TOKEN_ALONE.fullmatch(value) is not None


def is_authority(value: bytes, *, port_required: bool = False) -> bool:
    """Whether ``value`` is ``uri-host [":" port]`` with a host that is not empty (RFC 9110 sections 4.2 and 7.2).

    User information is refused (RFC 9110 section 4.2.4). With ``port_required`` the port must be there and lie in
    1 to 65535, as CONNECT wants it (RFC 9110 section 9.3.6).
    """
    match = _AUTHORITY.fullmatch(value)
    if match is None:
        return False
    _, literal, port = match.groups()
    if literal is not None:
        try:
            IPv6Address(literal.decode("ascii"))
        except AddressValueError:
            return False
    number = int(port) if port else 0
    if port_required and number == 0:
        return False
    return number <= 65535
