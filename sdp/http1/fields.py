"""Field values that say something about a stream or its peers, read strictly (RFC 9110 and its companions).

Each function takes a value as a reader gives it (no white space around it) and raises ProtocolError (400) with a
detail that says how to write it, unless its description says otherwise. Numbers are ASCII digits and nothing else:
``int()`` alone would take a sign, white space and underscores.
"""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Iterable
from enum import Enum
from ipaddress import ip_address
from typing import Final, TypeAlias

from sdp.errors import ProtocolError
from sdp.http1.grammar import QUOTED_STRING, TOKEN, is_token

__all__ = [
    "ANY",
    "AnyTag",
    "EntityTag",
    "accepts",
    "basic_credentials",
    "parse_authorization",
    "parse_boolean",
    "parse_digits",
    "parse_entity_tags",
    "parse_forwarded",
    "parse_keep_alive",
    "parse_list",
    "parse_media_type",
    "parse_prefer",
    "parse_x_forwarded_for",
]

EntityTag: TypeAlias = tuple[bool, bytes]
"""Whether the tag is weak, and its opaque text without quotes (RFC 9110 section 8.8.3)."""


class AnyTag(Enum):
    """The type of :data:`ANY`."""

    ANY = "*"


ANY: Final = AnyTag.ANY
"""What If-Match and If-None-Match say with ``*``: any epoch, as long as there is one."""

_SEPARATED = re.compile(rb"(?:[^\",;]++|" + QUOTED_STRING + rb"|;)*+")
_PARAMETER = re.compile(rb"(" + TOKEN + rb")(?:[ \t]*+=[ \t]*+(" + TOKEN + rb"|" + QUOTED_STRING + rb")?)?")
_SEMICOLON_PARTS = re.compile(rb"(?:[^\";]++|" + QUOTED_STRING + rb")*+")
_ENTITY_TAG = re.compile(rb'[ \t,]*+(W/)?"([\x21\x23-\x7e\x80-\xff]*+)"[ \t]*+(?:,|\Z)')
_MEDIA_RANGE = re.compile(TOKEN + rb"/" + TOKEN)
_QUALITY = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_NODE = re.compile(
    rb"(?:\[([0-9A-Fa-f:.]++)\]|([0-9]++\.[0-9.]++)|(unknown|_[A-Za-z0-9._-]++))(?::(?:[0-9]{1,5}|_[A-Za-z0-9._-]++))?",
    re.IGNORECASE,
)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)


def parse_digits(value: bytes, maximum: int) -> int:
    """A count in ASCII decimal digits, from 0 to ``maximum`` (RFC 9110 section 5.6.2 and elsewhere, 1*DIGIT)."""
    if not value.isdigit():
        raise ProtocolError("A number is written in decimal digits and nothing else.")
    digits = value.lstrip(b"0") or b"0"
    # Compared by length first: the time int() takes grows with the square of it.
    if len(digits) <= len(str(maximum)):
        number = int(digits)
        if number <= maximum:
            return number
    raise ProtocolError(f"A number is too great; at most {maximum} is taken here.")


def _split(value: bytes, pattern: re.Pattern[bytes]) -> list[bytes]:
    """Cut ``value`` at the one byte between the matches of ``pattern``, which reads over quoted strings."""
    parts = []
    position = 0
    while True:
        match = pattern.match(value, position)
        assert match is not None  # each pattern matches the empty string
        parts.append(match.group().strip(b" \t"))
        position = match.end() + 1
        if match.end() == len(value):
            return parts
        if value[match.end()] == 0x22:
            raise ProtocolError("A quoted string has no closing quote.")


def parse_list(value: bytes) -> list[bytes]:
    """The elements of a comma-separated list (RFC 9110 section 5.6.1), commas in quoted strings apart.

    Empty elements are ignored. Quotes stay.
    """
    if b'"' in value:
        return [element for element in _split(value, _SEPARATED) if element]
    return [stripped for element in value.split(b",") if (stripped := element.strip(b" \t"))]


def _unquote(value: bytes) -> bytes:
    if value[:1] == b'"':
        return _ESCAPED.sub(rb"\1", value[1:-1])
    return value


def _parse_parameters(parts: Iterable[bytes]) -> dict[bytes, bytes]:
    """``name=value`` pairs, names in lower case, values without quotes; b"" where there is no value."""
    parameters: dict[bytes, bytes] = {}
    for part in parts:
        if not part:
            continue
        match = _PARAMETER.fullmatch(part)
        if match is None:
            raise ProtocolError('A parameter is written as name=value or name="quoted value".')
        name = match.group(1).lower()
        if name in parameters:
            raise ProtocolError(f"The parameter {name.decode('ascii')} is given twice; give it once.")
        parameters[name] = _unquote(match.group(2) or b"")
    return parameters


def parse_keep_alive(value: bytes) -> dict[str, int]:
    """Keep-Alive (RFC 2068 section 19.7.1.1): ``timeout`` in seconds and ``max`` in requests, where given.

    Unknown parameters are ignored.
    """
    parameters = _parse_parameters(parse_list(value))
    return {
        name: parse_digits(parameters[name.encode("ascii")], 2**31 - 1)
        for name in ("timeout", "max")
        if name.encode("ascii") in parameters
    }


def parse_prefer(values: list[bytes]) -> dict[bytes, bytes | None]:
    """Prefer (RFC 7240): each preference's name in lower case, and its value or None; an empty value is none.

    The first of several equal names counts. Never raises: a preference that cannot be read is ignored, as the RFC
    wants of what is not understood. Parameters of a preference are dropped.
    """
    preferences: dict[bytes, bytes | None] = {}
    for line in values:
        try:
            elements = parse_list(line)
        except ProtocolError:
            continue
        for element in elements:
            match = _PARAMETER.fullmatch(_split(element, _SEMICOLON_PARTS)[0])
            if match is not None:
                preferences.setdefault(match.group(1).lower(), _unquote(match.group(2) or b"") or None)
    return preferences


def parse_entity_tags(value: bytes) -> list[EntityTag] | AnyTag:
    """The tags of If-Match or If-None-Match (RFC 9110 sections 13.1.1 and 13.1.2), or :data:`ANY` for ``*``."""
    if value == b"*":
        return ANY
    tags: list[EntityTag] = []
    position = 0
    while match := _ENTITY_TAG.match(value, position):
        tags.append((match.group(1) is not None, match.group(2)))
        position = match.end()
    if not tags or value[position:].strip(b" \t,"):
        raise ProtocolError('An entity tag is written in double quotes, as in If-Match: "xyzzy"; or * for any.')
    return tags


def accepts(value: bytes | None, media: bytes, wildcard: bool) -> bool:
    """Whether an Accept field (RFC 9110 section 12.5.1; None: absent) takes ``media`` (``type/subtype``).

    The most specific range that fits decides; q=0 refuses. Ranges with a wildcard count only with ``wildcard``;
    an absent field is one. Never raises: a range that cannot be read is ignored, since Accept is a wish and not part of
    a message's framing, and widespread clients write it badly.
    """
    if value is None:
        return wildcard
    try:
        elements = parse_list(value)
    except ProtocolError:
        return wildcard
    media = media.lower()
    any_subtype = media.partition(b"/")[0] + b"/*"
    best = -1
    taken = False
    for element in elements:
        name, quality = _media_range(element)
        rank = 2 if name == media else -1
        if wildcard and rank < 0:
            rank = {any_subtype: 1, b"*/*": 0}.get(name, -1)
        if rank > best:
            best, taken = rank, quality
        elif rank == best >= 0:
            taken = taken or quality
    return taken


def _media_range(element: bytes) -> tuple[bytes, bool]:
    """An Accept element's media range in lower case, b"" where it cannot be read, and whether its q is above 0."""
    parts = _split(element, _SEMICOLON_PARTS)
    try:
        quality = _parse_parameters(parts[1:]).get(b"q", b"1")
    except ProtocolError:
        return b"", False
    if _MEDIA_RANGE.fullmatch(parts[0]) is None or _QUALITY.fullmatch(quality) is None:
        return b"", False
    return parts[0].lower(), quality.strip(b"0.") != b""


def parse_boolean(value: bytes) -> bool:
    """A structured field's boolean (RFC 9651 section 3.3.6): ``?1`` or ``?0``."""
    if value not in (b"?1", b"?0"):
        raise ProtocolError("A boolean is written ?1 for true or ?0 for false.")
    return value == b"?1"


def parse_authorization(value: bytes) -> tuple[bytes, bytes]:
    """Authorization (RFC 9110 section 11.6.2): the scheme in lower case, and the credentials as they are."""
    scheme, _, credentials = value.partition(b" ")
    credentials = credentials.strip(b" ")
    if not is_token(scheme) or not credentials:
        raise ProtocolError("Authorization is written as a scheme, a space and credentials.")
    return scheme.lower(), credentials


def basic_credentials(credentials: bytes) -> tuple[bytes, bytes]:
    """The user name and the password of the Basic scheme (RFC 7617)."""
    try:
        decoded = b64decode(credentials, validate=True)
    except ValueError:
        raise ProtocolError("Basic credentials are the base64 form of name:secret.") from None
    name, colon, secret = decoded.partition(b":")
    if not colon:
        raise ProtocolError("Basic credentials have a colon between name and secret.")
    return name, secret


def parse_media_type(value: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Content-Type (RFC 9110 section 8.3.1): ``type/subtype`` and its parameters' names in lower case."""
    parts = _split(value, _SEMICOLON_PARTS)
    if _MEDIA_RANGE.fullmatch(parts[0]) is None:
        raise ProtocolError("A media type is written as type/subtype, with parameters after semicolons.")
    return parts[0].lower(), _parse_parameters(parts[1:])


def parse_forwarded(values: list[bytes]) -> list[str]:
    """Forwarded (RFC 7239): whom each hop's request came from, the farthest first, one entry a hop.

    An entry is an IP address without its port, or ``unknown``, or a name beginning with an underscore. A hop that
    does not tell is ``unknown``: left out, it would let the claim of the hop before it pass for its own.
    """
    addresses = []
    for line in values:
        for element in parse_list(line):
            parameters = _parse_parameters(_split(element, _SEMICOLON_PARTS))
            addresses.append(_node(parameters.get(b"for", b"unknown")))
    return addresses


def parse_x_forwarded_for(values: list[bytes]) -> list[str]:
    """X-Forwarded-For, older and without a specification: as :func:`parse_forwarded`, one address a hop."""
    addresses = []
    for line in values:
        for element in parse_list(line):
            # Bare IPv6 addresses, without the brackets that Forwarded wants, are the custom here.
            bare = element.count(b":") > 1 and not element.startswith(b"[")
            addresses.append(_node(b"[%b]" % element if bare else element))
    return addresses


def _node(value: bytes) -> str:
    """The name part of a node (RFC 7239 section 6)."""
    match = _NODE.fullmatch(value)
    if match is None:
        raise ProtocolError("A forwarding field names IP addresses (IPv6 in brackets), unknown, or _names.")
    if match.group(3) is not None:
        return match.group(3).decode("ascii").lower()
    address = (match.group(1) or match.group(2)).decode("ascii")
    try:
        return str(ip_address(address))
    except ValueError:
        raise ProtocolError("A forwarding field names an IP address that is none.") from None
