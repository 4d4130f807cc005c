"""What an answer says is missing: ranges in any order, over several lines; or nothing that can be read."""

from __future__ import annotations

import pytest

from sdp.errors import ProtocolError
from sdp.http1 import Headers
from sdp.net.missing import hole_at, missing_of, parse_missing


def headers(*values: bytes) -> Headers:
    return Headers([(b"Upload-Missing", value) for value in values])


@pytest.mark.parametrize(
    ("values", "spans"),
    [
        ((), ()),
        ((b"0-0",), ((0, 1),)),
        ((b"10-19, 30-39",), ((10, 20), (30, 40))),
        ((b"30-39", b"10-19"), ((10, 20), (30, 40))),
        ((b"",), ()),
    ],
)
def test_what_is_named(values, spans):
    assert parse_missing(headers(*values)) == missing_of(headers(*values)) == spans


@pytest.mark.parametrize(
    "value", [b"10", b"10-", b"-10", b"19-10", b"a-b", b"10-19-20", b"+1-3", b"0-9007199254740992"]
)
def test_what_cannot_be_read(value):
    with pytest.raises(ProtocolError):
        parse_missing(headers(value))
    assert missing_of(headers(value)) == ()


@pytest.mark.parametrize(("offset", "hole"), [(9, None), (10, (10, 20)), (19, (10, 20)), (20, None), (35, (30, 40))])
def test_the_hole_at_an_offset(offset, hole):
    assert hole_at(headers(b"10-19, 30-39"), offset) == hole
