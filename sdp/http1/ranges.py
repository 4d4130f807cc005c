"""Which bytes of a stream a message speaks of: Content-Range and Range (RFC 9110 section 14, RFC 8673).

The inclusive last-pos of HTTP lives here and in the fields only; :func:`resolve` gives half-open runs.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from sdp.errors import ProtocolError
from sdp.http1.fields import parse_digits, parse_list

__all__ = [
    "MAX_LAST",
    "MAX_POSSESSED",
    "MAX_RANGES",
    "ContentRange",
    "RangeSpec",
    "format_content_range",
    "parse_content_range",
    "parse_possessed",
    "parse_range",
    "resolve",
]

MAX_LAST = 9007199254740991
"""The last-pos that stands for an end which is not known yet (RFC 8673 section 3.1): 2^53 - 1, as great as every
implementation can count. No offset is greater."""

MAX_RANGES = 64
"""The most ranges of one Range field. With more the field is ignored (RFC 9110 section 14.2): many small ranges are
a way to make a server work."""

MAX_POSSESSED = 1024
"""The most ranges that a consumer may say it possesses. With more: 400."""

_CONTENT_RANGE = re.compile(rb"(bytes )?(?:([0-9]++)-([0-9]++)|\*)/([0-9]++|\*)", re.IGNORECASE)
_RANGE_SPEC = re.compile(rb"([0-9]{0,20})-([0-9]{0,20})")
_FORM = "Content-Range is written as bytes FIRST-LAST/*, bytes FIRST-LAST/COMPLETE or bytes */COMPLETE."


class ContentRange(NamedTuple):
    """One range of a stream, in bytes; ``last`` is inclusive. ``first`` and ``last`` are both None in the form
    ``*/N``, ``complete`` is None where the complete length is not known."""

    first: int | None
    last: int | None
    complete: int | None


class RangeSpec(NamedTuple):
    """One range that a Range field asks for (RFC 9110 section 14.1.2). ``last`` is inclusive, or None for all that
    follows. For a suffix ``first`` is None, and ``last`` the count of bytes wanted from the end."""

    first: int | None
    last: int | None


def _content_range(value: bytes, *, unit_required: bool) -> ContentRange:
    match = _CONTENT_RANGE.fullmatch(value)
    if match is None or (unit_required and match.group(1) is None):
        raise ProtocolError(_FORM)
    complete = None if match.group(4) == b"*" else parse_digits(match.group(4), MAX_LAST)
    if match.group(2) is None:
        if complete is None:
            raise ProtocolError(_FORM)
        return ContentRange(None, None, complete)
    first, last = parse_digits(match.group(2), MAX_LAST), parse_digits(match.group(3), MAX_LAST)
    if first > last:
        raise ProtocolError("In Content-Range the first position lies after the last one; both are inclusive.")
    if complete is not None and last >= complete:
        raise ProtocolError("In Content-Range the last position must be less than the complete length.")
    return ContentRange(first, last, complete)


def parse_content_range(value: bytes) -> ContentRange:
    """Content-Range (RFC 9110 section 14.4) with the unit ``bytes``. Raises ProtocolError (400)."""
    return _content_range(value, unit_required=True)


def parse_possessed(values: list[bytes]) -> list[ContentRange]:
    """The ranges that a consumer has, from all its Content-Range lines, in order; empty for ``bytes */0``: nothing.

    Lines may have been joined by commas on the way; behind a comma the unit may be left out. Raises ProtocolError
    (400).
    """
    possessed: list[ContentRange] = []
    nothing = False
    for line in values:
        elements = parse_list(line)
        if not elements:
            raise ProtocolError(_FORM)
        if len(elements) + len(possessed) > MAX_POSSESSED:
            raise ProtocolError(f"At most {MAX_POSSESSED} ranges can be said to be held; merge those that touch.")
        for index, element in enumerate(elements):
            content_range = _content_range(element, unit_required=index == 0)
            if content_range.first is not None:
                possessed.append(content_range)
            elif content_range.complete == 0:
                nothing = True
            else:
                raise ProtocolError("Who has nothing says so with Content-Range: bytes */0.")
    if nothing and possessed:
        raise ProtocolError("Content-Range says both nothing (bytes */0) and ranges; say one of them.")
    return possessed


def format_content_range(first: int | None, last: int | None, complete: int | None = None) -> bytes:
    """A Content-Range value; ``last`` is inclusive. ``None, None, N`` gives ``bytes */N``.

    Raises ValueError for what :func:`parse_content_range` would not take.
    """
    if first is None or last is None:
        if first is not last or complete is None or complete < 0:
            raise ValueError("bytes */N needs a complete length, and neither first nor last")
        return b"bytes */%d" % complete
    if not 0 <= first <= last <= MAX_LAST or (complete is not None and last >= complete):
        raise ValueError(f"{first}-{last}/{complete} is no range")
    if complete is None:
        return b"bytes %d-%d/*" % (first, last)
    return b"bytes %d-%d/%d" % (first, last, complete)


def parse_range(value: bytes) -> list[RangeSpec] | None:
    """The ranges that a Range field asks for (RFC 9110 section 14.2), or None where the field is to be ignored.

    Never raises: another unit, a malformed set, and more than :data:`MAX_RANGES` are ignored, as the RFC allows.
    """
    unit, _, text = value.partition(b"=")
    if unit.lower() != b"bytes":
        return None
    elements = [element.strip(b" \t") for element in text.split(b",")]
    specs: list[RangeSpec] = []
    for element in elements:
        if not element:
            continue
        match = _RANGE_SPEC.fullmatch(element)
        if match is None or element == b"-" or len(specs) == MAX_RANGES:
            return None
        first = int(match.group(1)) if match.group(1) else None
        last = int(match.group(2)) if match.group(2) else None
        if first is not None and last is not None and first > last:
            return None
        specs.append(RangeSpec(first, last))
    return specs or None


def resolve(specs: list[RangeSpec], length: int) -> list[tuple[int, int]]:
    """The half-open runs of a representation of ``length`` bytes that the specs ask for, in their order.

    Those that cannot be satisfied are left out (RFC 9110 section 14.1.2); none left means 416.
    """
    runs = []
    for first, last in specs:
        if first is None:
            assert last is not None
            start, end = max(0, length - last), length
        else:
            start, end = first, length if last is None else min(last + 1, length)
        if start < end:
            runs.append((start, end))
    return runs
