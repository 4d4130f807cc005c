"""Field values: what is taken, what it means, what is refused."""

from __future__ import annotations

from base64 import b64encode

import pytest

from sdp.errors import ProtocolError
from sdp.http1 import fields
from sdp.http1.fields import (
    ANY,
    accepts,
    basic_credentials,
    parse_authorization,
    parse_boolean,
    parse_digits,
    parse_entity_tags,
    parse_forwarded,
    parse_keep_alive,
    parse_list,
    parse_media_type,
    parse_prefer,
    parse_x_forwarded_for,
)

TAKEN = [
    (parse_list, b"", []),
    (parse_list, b"a", [b"a"]),
    (parse_list, b" a , b\t,, c d,", [b"a", b"b", b"c d"]),
    (parse_list, b'"a,b", c="d\\",e" ,,f;g', [b'"a,b"', b'c="d\\",e"', b"f;g"]),
    (parse_keep_alive, b"timeout=5, max=100", {"timeout": 5, "max": 100}),
    (parse_keep_alive, b"MAX=0", {"max": 0}),
    (parse_keep_alive, b'timeout="7", x, y=z', {"timeout": 7}),
    (parse_keep_alive, b"", {}),
    (parse_entity_tags, b"*", ANY),
    (parse_entity_tags, b'"a"', [(False, b"a")]),
    (parse_entity_tags, b'W/"a", "b,\\" , "" ,', [(True, b"a"), (False, b"b,\\"), (False, b"")]),
    (parse_entity_tags, b', "\xe9!"', [(False, b"\xe9!")]),
    (parse_boolean, b"?1", True),
    (parse_boolean, b"?0", False),
    (parse_authorization, b"Bearer abc==", (b"bearer", b"abc==")),
    (parse_authorization, b"BASIC   x y ", (b"basic", b"x y")),
    (basic_credentials, b64encode(b"name:se:cret"), (b"name", b"se:cret")),
    (basic_credentials, b64encode(b":"), (b"", b"")),
    (parse_media_type, b"Video/MP4", (b"video/mp4", {})),
    (parse_media_type, b'a/b; Codecs="x, \\"y;" ;; c=D;e', (b"a/b", {b"codecs": b'x, "y;', b"c": b"D", b"e": b""})),
]


@pytest.mark.parametrize(("parse", "value", "meaning"), TAKEN)
def test_values_that_are_taken(parse, value, meaning):
    assert parse(value) == meaning


REFUSED = [
    (parse_list, b'a, "b'),
    (parse_list, b'a, "b\\"'),
    (parse_list, b'a"'),
    (parse_keep_alive, b"timeout=-1"),
    (parse_keep_alive, b"timeout"),
    (parse_keep_alive, b"timeout=1, timeout=2"),
    (parse_keep_alive, b"timeout=1 2"),
    (parse_keep_alive, b"timeout=2147483648"),
    (parse_entity_tags, b""),
    (parse_entity_tags, b","),
    (parse_entity_tags, b"a"),
    (parse_entity_tags, b'"a'),
    (parse_entity_tags, b'w/"a"'),
    (parse_entity_tags, b'W /"a"'),
    (parse_entity_tags, b'"a" "b"'),
    (parse_entity_tags, b'"a", *'),
    (parse_entity_tags, b'"a b"'),
    (parse_boolean, b"1"),
    (parse_boolean, b"?1;a"),
    (parse_boolean, b"true"),
    (parse_authorization, b""),
    (parse_authorization, b"Bearer"),
    (parse_authorization, b"Bearer "),
    (parse_authorization, b"Be:arer x"),
    (basic_credentials, b"%%%"),
    (basic_credentials, b"YQ"),
    (basic_credentials, b"\xff"),
    (basic_credentials, b64encode(b"name")),
    (parse_media_type, b""),
    (parse_media_type, b"video"),
    (parse_media_type, b"video/"),
    (parse_media_type, b"video/mp4; a b"),
    (parse_media_type, b"video/mp4; a=1; A=2"),
    (parse_media_type, b'video/mp4; a="b'),
]


@pytest.mark.parametrize(("parse", "value"), REFUSED)
def test_values_that_are_refused(parse, value):
    with pytest.raises(ProtocolError) as caught:
        parse(value)
    assert caught.value.status == 400
    assert caught.value.detail.endswith(".")


def test_digits():
    assert parse_digits(b"0", 0) == 0
    assert parse_digits(b"000123", 123) == 123
    assert parse_digits(b"0" * 10000 + b"7", 9) == 7


@pytest.mark.parametrize(
    "value",
    [b"", b"-1", b"+1", b" 1", b"1 ", b"1_0", b"0x1", b"1.0", b"\xb2", b"\xd9\xa1", b"124", b"1000", b"9" * 10000],
)
def test_digits_that_are_refused(value):
    with pytest.raises(ProtocolError):
        parse_digits(value, 123)


PREFERENCES = [
    ([], {}),
    ([b"wait=10"], {b"wait": b"10"}),
    ([b"Wait = 10;a=b, backfill", b"wait=20, lossless"], {b"wait": b"10", b"backfill": None, b"lossless": None}),
    ([b'a="", b=, c=" d,e;f"'], {b"a": None, b"b": None, b"c": b" d,e;f"}),
    ([b"a b, =c, ;d, e"], {b"e": None}),
    ([b'a, b="c', b"d"], {b"d": None}),
]


@pytest.mark.parametrize(("values", "meaning"), PREFERENCES)
def test_preferences(values, meaning):
    assert parse_prefer(values) == meaning


MULTIPART = b"multipart/byteranges"
ACCEPTS = [
    # value, wildcard, whether multipart/byteranges is taken
    (None, False, False),
    (None, True, True),
    (b"", True, False),
    (b"multipart/byteranges", False, True),
    (b"text/html, Multipart/ByteRanges", False, True),
    (b"multipart/byteranges;q=0.001", False, True),
    (b"multipart/byteranges;q=0", False, False),
    (b"multipart/byteranges; Q=0.000", False, False),
    (b"multipart/byteranges;q=0, */*", True, False),
    (b"multipart/byteranges;a=b;q=1.0", False, True),
    (b"multipart/byteranges;q=0, multipart/byteranges;a=b", False, True),
    (b"*/*", False, False),
    (b"multipart/*", False, False),
    (b"*/*", True, True),
    (b"*/*;q=0", True, False),
    (b"multipart/*, */*;q=0", True, True),
    (b"*/*, multipart/*;q=0", True, False),
    (b"text/*", True, False),
    (b"text/html", True, False),
    # what cannot be read is ignored
    (b"multipart/byteranges;q=2", False, False),
    (b"multipart/byteranges;q=.5", False, False),
    (b"multipart/byteranges;q", False, False),
    (b"*; q=.2, multipart/byteranges", False, True),
    (b"a b/c, multipart/byteranges; d e, */*", True, True),
    (b'"', True, True),
    (b'"', False, False),
]


@pytest.mark.parametrize(("value", "wildcard", "taken"), ACCEPTS)
def test_accept(value, wildcard, taken):
    assert accepts(value, b"multipart/byteranges", wildcard) is taken


FORWARDED = [
    ([], []),
    ([b"for=192.0.2.1"], ["192.0.2.1"]),
    ([b'For="[2001:DB8::0:1]:4711";proto=http, for=10.0.0.1', b"by=a;for=\"10.0.0.2:80\""],
     ["2001:db8::1", "10.0.0.1", "10.0.0.2"]),
    ([b"for=Unknown, for=_hidden, for=\"_x:_y\", proto=https"], ["unknown", "_hidden", "_x", "unknown"]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "addresses"), FORWARDED)
def test_forwarded(values, addresses):
    assert parse_forwarded(values) == addresses


def test_x_forwarded_for():
    values = [b"192.0.2.1, ::1,, [::2], [::3]:80", b"10.0.0.1:99, unknown"]
    assert parse_x_forwarded_for(values) == ["192.0.2.1", "::1", "::2", "::3", "10.0.0.1", "unknown"]


@pytest.mark.parametrize(
    "value", [b"for=", b"for=a", b"for=1.2.3", b"for=1.2.3.256", b'for="[::g]"', b'for="::1"',
              b"for=1.2.3.4;for=1.2.3.5", b'for="1.2.3.4:', b"x y", b'for="[1.2.3.4]x"', b'for="1.2.3.4:123456"'],
)  # fmt: skip
def test_forwarded_that_is_refused(value):
    with pytest.raises(ProtocolError):
        parse_forwarded([value])


@pytest.mark.parametrize("value", [b"a", b"1:2:3", b"[::1", b"1.2.3.4 5.6.7.8"])
def test_x_forwarded_for_that_is_refused(value):
    with pytest.raises(ProtocolError):
        parse_x_forwarded_for([value])


def test_what_is_public_is_what_is_named():
    assert all(hasattr(fields, name) for name in fields.__all__)
