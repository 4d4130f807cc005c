"""What a request target names."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.distributor.names import NAME_LIMIT, parse_target, stream_name

PLAIN = string.ascii_letters + string.digits + "._~-"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"/a", "a"),
        (b"/a/b.c/d", "a/b.c/d"),
        (b"/%61%2Eb", "a.b"),
        (b"/%7e%7E", "~~"),
        (b"/a%2Db", "a-b"),
        (b"/a/-", "a/-"),
        (b"/-a", "-a"),
        (b"/--", "--"),
        (b"/" + b"x" * NAME_LIMIT, "x" * NAME_LIMIT),
        (b"/" + b"%78" * NAME_LIMIT, "x" * NAME_LIMIT),
        # and none
        (b"", None),
        (b"a", None),
        (b"/", None),
        (b"//", None),
        (b"/a/", None),
        (b"//a", None),
        (b"/a//b", None),
        (b"/.", None),
        (b"/..", None),
        (b"/a/..", None),
        (b"/a/../b", None),
        (b"/.hidden", None),
        (b"/a/.hidden", None),
        (b"/%2e%2e", None),
        (b"/a%2f..%2fb", None),
        (b"/a%2Fb", None),
        (b"/a%5cb", None),
        (b"/a%00", None),
        (b"/a%20b", None),
        (b"/a%2561", None),
        (b"/a%", None),
        (b"/a%6", None),
        (b"/a%zz", None),
        (b"/a b", None),
        (b"/a\\b", None),
        (b"/a:b", None),
        (b"/a\n", None),
        (b"/\xc3\xa4", None),
        (b"/%c3%a4", None),
        (b"/-", None),
        (b"/-/streams", None),
        (b"/%2d", None),
        (b"/%2D/x", None),
        (b"/" + b"x" * (NAME_LIMIT + 1), None),
    ],
)
def test_names(path, name):
    assert stream_name(path) == name


@given(st.binary(max_size=40))
def test_a_name_is_harmless_whatever_the_path(tail):
    name = stream_name(b"/" + tail)
    if name is not None:
        assert set(name) <= {*PLAIN, "/"}
        assert all(segment and not segment.startswith(".") for segment in name.split("/"))
        assert name.split("/")[0] != "-"


segments = st.text(PLAIN, min_size=1, max_size=10).filter(lambda segment: not segment.startswith("."))


@given(st.lists(segments, min_size=1, max_size=4), st.data())
def test_a_name_is_found_however_it_is_escaped(parts, data):
    name = "/".join(parts)
    escaped = b"/" + b"".join(
        b"%%%02x" % ord(each) if each != "/" and data.draw(st.booleans()) else each.encode() for each in name
    )
    assert stream_name(escaped) == (None if parts[0] == "-" else name)


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/a?x=1&y&x=2", b"/a", {"x": "2", "y": ""}),
        (b"/a?", b"/a", {}),
        (b"/a?epoch=a%2Bb", b"/a", {"epoch": "a+b"}),
        (b"http://host:80/a/b?c=d", b"/a/b", {"c": "d"}),
        (b"http://host", b"/", {}),
        (b"http://host?c=d", b"/", {"c": "d"}),
        (b"/http://host/a", b"/http://host/a", {}),
        (b"/a?\xff=%ff", b"/a", {"\xff": "\ufffd"}),
    ],
)
def test_targets(target, path, query):
    assert parse_target(target) == (path, query)
