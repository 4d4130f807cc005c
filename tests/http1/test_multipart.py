"""Parts of a multipart/byteranges content."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.errors import ProtocolError
from sdp.http1.limits import Limits
from sdp.http1.multipart import PART_END, Part, PartsEnd, PartsReader, boundary_of, closing, part_head
from sdp.http1.ranges import ContentRange, format_content_range
from tests.http1.cutting import cuts_of, drain, joined

SMALL = Limits(field_section=60, fields=2)


def read(pieces, *, limits=None, eof=False):
    """The events, content joined, and the status of the error or None."""
    reader = PartsReader(b"B") if limits is None else PartsReader(b"B", limits)
    events: list = []
    try:
        for piece in pieces:
            reader.feed(piece)
            drain(reader, events)
        if eof:
            reader.feed_eof()
        drain(reader, events)
    except ProtocolError as error:
        return joined(events), error.status
    return joined(events), None


def read_all_ways(data, **options):
    outcomes = [read(pieces, **options) for pieces in cuts_of(data)]
    heads = [([event for event in events if not isinstance(event, bytes)], status) for events, status in outcomes]
    assert all(head == heads[0] for head in heads)
    if outcomes[0][1] is None:
        assert all(outcome == outcomes[0] for outcome in outcomes)
    return outcomes[0]


def part(first: int, data: bytes, *lines: tuple[bytes, bytes]) -> bytes:
    content_range = format_content_range(first, first + len(data) - 1, None)
    return part_head(b"B", [(b"Content-Range", content_range), *lines]) + data + PART_END


def test_parts_are_read_as_they_were_written():
    data = part(0, b"hello", (b"Random-Access", b"?1")) + part(9, b"\r\n--B--\r\n") + closing(b"B")
    events, status = read_all_ways(data + b"an epilogue\r\n--B\r\n", eof=True)
    assert status is None
    first, content, second, other, end = events
    assert isinstance(first, Part)
    assert first.content_range == ContentRange(0, 4, None)
    assert first.headers.get(b"random-access") == b"?1"
    assert content == b"hello"
    assert second.content_range == (9, 17, None)
    assert other == b"\r\n--B--\r\n"
    assert end == PartsEnd()


TAKEN = [
    (closing(b"B"), 1),
    (b"--B--", 1),
    (b"--B\r\ncontent-range: bytes 0-0/1\r\n\r\nx\r\n--B--", 3),
    (b"\r\n--B \t\r\nA: b\r\nContent-Range:bytes 0-0/1\r\n\r\nx\r\n--B--\r\n", 3),
]


@pytest.mark.parametrize(("data", "count"), TAKEN)
def test_forms_that_are_taken(data, count):
    events, status = read_all_ways(data, eof=True)
    assert (len(events), status) == (count, None)
    assert events[-1] == PartsEnd()


HEAD = b"\r\n--B\r\nContent-Range: bytes 0-1/*\r\n\r\n"
REFUSED = [
    (b"x", 400),
    (b"--C\r\n", 400),
    (b"\r\n\r\n--B", 400),
    (b"\r\n--BC", 400),
    (b"\r\n--B-x", 400),
    (b"\r\n--B --", 400),
    (b"\r\n--B\n", 400),
    (b"\r\n--B\r\n\r\n", 400),
    (b"\r\n--B\r\nA: b\r\n\r\n", 400),
    (b"\r\n--B\r\nContent-Range: bytes */4\r\n\r\n", 400),
    (b"\r\n--B\r\nContent-Range: bytes 3-1/*\r\n\r\n", 400),
    (b"\r\n--B\r\nContent-Range: bytes 0-1/*\r\nContent-Range: bytes 0-1/*\r\n\r\n", 400),
    (b"\r\n--B\r\nContent-Range : bytes 0-1/*\r\n\r\n", 400),
    (HEAD + b"abc\r\n--B--", 400),
    (HEAD + b"a\r\n--B--", 400),
    (HEAD + b"ab\r\n--C--", 400),
    (b"\r\n--B\r\nA: " + b"b" * 70 + b"\r\n\r\n", 431),
    (b"\r\n--B\r\nA: " + b"b" * 70, 431),
    (b"\r\n--B\r\nA:\r\nB:\r\nContent-Range: bytes 0-1/*\r\n\r\n", 431),
]


@pytest.mark.parametrize(("data", "status"), REFUSED)
def test_content_that_is_refused(data, status):
    events, found = read_all_ways(data, limits=SMALL)
    assert found == status
    assert PartsEnd() not in events


CUT = [
    b"",
    b"-",
    b"\r\n--B",
    b"\r\n--B-",
    b"\r\n--B\r",
    b"\r\n--B\r\n",
    HEAD[:-1],
    HEAD,
    HEAD + b"a",
    HEAD + b"ab",
    HEAD + b"ab\r\n--B",
]


@pytest.mark.parametrize("data", CUT)
def test_content_that_ends_before_its_closing_delimiter(data):
    assert read_all_ways(data)[1] is None
    assert read_all_ways(data, eof=True)[1] == 400


def test_content_is_handed_on_as_it_came():
    reader = PartsReader(b"B")
    reader.feed(part_head(b"B", [(b"Content-Range", b"bytes 0-99/*")]))
    assert isinstance(reader.next_event(), Part)
    piece = bytes(50)
    reader.feed(piece)
    assert reader.buffered == 50
    assert reader.next_event() is piece
    assert reader.next_event() is None


def test_what_follows_the_closing_delimiter_is_dropped():
    reader = PartsReader(b"B")
    reader.feed(b"--B-")
    assert reader.next_event() is None
    reader.feed(b"-abc")
    assert reader.next_event() == PartsEnd()
    reader.feed(b"def")
    assert reader.next_event() is None
    assert reader.buffered == 0


def test_boundaries():
    assert boundary_of(b"Multipart/ByteRanges; boundary=0f3a") == b"0f3a"
    assert boundary_of(b'multipart/byteranges; boundary="a b?"') == b"a b?"


@pytest.mark.parametrize(
    "value",
    [
        b"multipart/byteranges", b"multipart/mixed; boundary=a", b"multipart/byteranges; boundary=",
        b'multipart/byteranges; boundary="a "', b'multipart/byteranges; boundary="\xe9"', b"video/mp4", b"",
        b"multipart/byteranges; boundary=" + b"a" * 71,
    ],
)  # fmt: skip
def test_content_types_without_a_boundary(value):
    with pytest.raises(ProtocolError):
        boundary_of(value)


def test_a_part_head_cannot_be_split():
    with pytest.raises(ValueError, match="field"):
        part_head(b"B", [(b"A", b"b\r\n\r\nc")])


@given(
    st.lists(st.tuples(st.integers(0, 2**40), st.binary(min_size=1, max_size=40)), max_size=5),
    st.lists(st.integers(0, 10**6), max_size=6),
)
def test_any_parts_in_any_cuts(parts, places):
    data = b"".join(part(first, content) for first, content in parts) + closing(b"B")
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    events, status = read([data[a:b] for a, b in pairwise(edges)], eof=True)
    assert status is None
    assert [event for event in events if isinstance(event, bytes)] == [content for _, content in parts]
    assert [event.content_range.first for event in events if isinstance(event, Part)] == [first for first, _ in parts]
    assert events[-1] == PartsEnd()
