"""The holes that a Distributor's answer names: the field Upload-Missing, read as whoever fills or copies needs it."""

from __future__ import annotations

from sdp.errors import ProtocolError
from sdp.http1 import Headers
from sdp.http1.fields import parse_digits, parse_list
from sdp.http1.ranges import MAX_LAST

__all__ = ["Span", "hole_at", "missing_of", "parse_missing"]

Span = tuple[int, int]
"""Bytes of an epoch: the first one's offset, and the one after the last's."""


def parse_missing(headers: Headers) -> tuple[Span, ...]:
    """The holes that are named, ascending and half-open; none where the field is absent. ProtocolError."""
    value = headers.combined(b"upload-missing")
    return () if value is None else tuple(sorted(_span(each) for each in parse_list(value)))


def missing_of(headers: Headers) -> tuple[Span, ...]:
    """The same, where what cannot be read names nothing."""
    try:
        return parse_missing(headers)
    except ProtocolError:
        return ()


def hole_at(headers: Headers, offset: int) -> Span | None:
    """The hole that the byte at ``offset`` lies in, where it is named."""
    return next((span for span in missing_of(headers) if span[0] <= offset < span[1]), None)


def _span(text: bytes) -> Span:
    first, _, last = text.partition(b"-")
    span = (parse_digits(first, MAX_LAST), parse_digits(last, MAX_LAST) + 1)
    if span[0] >= span[1]:
        raise ProtocolError("Upload-Missing lists ranges, such as 10-19, 30-39.")
    return span
