"""A Distributor's refusal as a sentence: what its problem document (RFC 9457) says, else the status."""

from __future__ import annotations

import json

from sdp.errors import ProtocolError
from sdp.http1 import Headers
from sdp.http1.fields import parse_digits
from sdp.http1.ranges import ContentRange, parse_content_range

__all__ = ["complete_length", "offset_field", "retry_after", "sentence"]

_LONGEST_RETRY_AFTER = 60
_LONGEST = 500
"""The longest detail that is shown, in characters: it goes into one line of a log."""


def sentence(status: int, content: bytes) -> str:
    """Return one line that says why: the document's ``detail``, or its ``title``, or the status by itself."""
    try:
        document = json.loads(content)
    except ValueError:
        document = None
    said = None
    if isinstance(document, dict):
        said = document.get("detail") or document.get("title")
    if not isinstance(said, str):
        return f"the answer was {status}"
    # The text is the peer's: it must not be able to write lines of its own into a log.
    plain = "".join(character if character.isprintable() else " " for character in said)[:_LONGEST]
    return f"{plain.strip().rstrip('.')} ({status})"


def complete_length(headers: Headers) -> int | None:
    """Return N of ``Content-Range: bytes */N``, the length of an epoch that has ended; None where that is not said."""
    value = headers.get(b"content-range")
    if value is None:
        return None
    try:
        said: ContentRange = parse_content_range(value)
    except ProtocolError:
        return None
    return said.complete if said.first is None else None


def offset_field(headers: Headers, name: bytes) -> int | None:
    """Return the offset in a field such as Upload-Offset (``name`` in lower case), or None."""
    value = headers.get(name)
    if value is None or not value.isdigit() or len(value) > 18:
        return None
    return int(value)


def retry_after(headers: Headers) -> float:
    """Return the seconds of a Retry-After, where it is a number of them (RFC 9110 section 10.2.3)."""
    value = headers.get(b"retry-after")
    try:
        return float(parse_digits(value, _LONGEST_RETRY_AFTER)) if value is not None else 0.0
    except ProtocolError:
        return 0.0
