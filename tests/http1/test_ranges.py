"""Content-Range and Range."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.errors import ProtocolError
from sdp.http1.ranges import (
    MAX_LAST,
    MAX_POSSESSED,
    MAX_RANGES,
    ContentRange,
    RangeSpec,
    format_content_range,
    parse_content_range,
    parse_possessed,
    parse_range,
    resolve,
)

CONTENT_RANGES = [
    (b"bytes 0-0/*", (0, 0, None)),
    (b"bytes 5-9/10", (5, 9, 10)),
    (b"bytes */0", (None, None, 0)),
    (b"bytes */123", (None, None, 123)),
    (b"BYTES 1-2/*", (1, 2, None)),
    (b"bytes 7-9007199254740991/*", (7, MAX_LAST, None)),
    (b"bytes 00-01/02", (0, 1, 2)),
]


@pytest.mark.parametrize(("value", "meaning"), CONTENT_RANGES)
def test_content_ranges(value, meaning):
    assert parse_content_range(value) == ContentRange(*meaning)


REFUSED = [
    b"", b"bytes", b"bytes ", b"bytes */*", b"0-1/*", b"bytes=0-1/*", b"bytes  0-1/*", b"bytes\t0-1/*", b"bytes 0-1",
    b"bytes 0-/*", b"bytes -1/*", b"bytes 0 -1/*", b"bytes 0-1 /*", b"bytes 0-1/ *", b"bytes 0-1/", b"bytes +0-1/*",
    b"bytes 0x0-1/*", b"bytes 1_0-11/*", b"bytes 2-1/*", b"bytes 0-10/10", b"bytes 0-11/10", b"items 0-1/*",
    b"bytes 0-9007199254740992/*", b"bytes */9007199254740992", b"bytes 0-1/*, bytes 2-3/*", b"bytes \xb2-3/*",
    b"bytes 0-9007199254740991/9007199254740991",
]  # fmt: skip


@pytest.mark.parametrize("value", REFUSED)
def test_content_ranges_that_are_refused(value):
    with pytest.raises(ProtocolError) as caught:
        parse_content_range(value)
    assert caught.value.status == 400


@given(st.integers(0, MAX_LAST), st.integers(0, MAX_LAST), st.none() | st.integers(1, MAX_LAST))
def test_a_content_range_is_read_as_it_was_written(first, last, complete):
    first, last = sorted((first, last))
    if complete is not None and last >= complete:
        with pytest.raises(ValueError, match="no range"):
            format_content_range(first, last, complete)
    else:
        assert parse_content_range(format_content_range(first, last, complete)) == (first, last, complete)


def test_a_complete_length_alone():
    assert format_content_range(None, None, 5) == b"bytes */5"


@pytest.mark.parametrize(
    "numbers", [(None, None, None), (None, None, -1), (None, 1, 2), (1, None, 2), (2, 1, None), (-1, 1, None),
                (0, MAX_LAST + 1, None)]
)  # fmt: skip
def test_content_ranges_that_cannot_be_written(numbers):
    with pytest.raises(ValueError, match=r"range|complete"):
        format_content_range(*numbers)


POSSESSED = [
    ([b"bytes */0"], []),
    ([b"bytes 0-4/*"], [(0, 4, None)]),
    ([b"bytes 0-4/*, bytes 9-12/*"], [(0, 4, None), (9, 12, None)]),
    ([b"bytes 0-4/*,9-12/20 , bytes 15-15/*,"], [(0, 4, None), (9, 12, 20), (15, 15, None)]),
    ([b"bytes 9-12/*", b"bytes 0-4/*"], [(9, 12, None), (0, 4, None)]),
]


@pytest.mark.parametrize(("values", "meaning"), POSSESSED)
def test_possessed_ranges(values, meaning):
    assert parse_possessed(values) == [ContentRange(*numbers) for numbers in meaning]


@pytest.mark.parametrize(
    "values",
    [
        [b""], [b","], [b"0-4/*"], [b"bytes 0-4/*", b"9-12/*"], [b"bytes 4-0/*"], [b"bytes */5"], [b"bytes */*"],
        [b"bytes */0, bytes 0-4/*"], [b"bytes 0-4/*", b"bytes */0"], [b"bytes 0-4/*; 5-6/*"], [b'bytes 0-4/*, "'],
        [b"bytes " + b",".join([b"0-4/*"] * (MAX_POSSESSED + 1))],
    ],
)  # fmt: skip
def test_possessed_ranges_that_are_refused(values):
    with pytest.raises(ProtocolError):
        parse_possessed(values)


RANGES = [
    (b"bytes=0-4", [(0, 4)]),
    (b"Bytes=5-", [(5, None)]),
    (b"bytes=-3", [(None, 3)]),
    (b"bytes= 0-0 ,,\t2-3,-1,", [(0, 0), (2, 3), (None, 1)]),
    (b"bytes=0-9007199254740991", [(0, MAX_LAST)]),
    (b"bytes=0-18446744073709551615", [(0, 2**64 - 1)]),
    (b"bytes=" + b",".join([b"0-0"] * MAX_RANGES), [(0, 0)] * MAX_RANGES),
]


@pytest.mark.parametrize(("value", "meaning"), RANGES)
def test_ranges(value, meaning):
    assert parse_range(value) == [RangeSpec(*numbers) for numbers in meaning]


@pytest.mark.parametrize(
    "value",
    [
        b"", b"bytes", b"bytes=", b"bytes=,", b"bytes=-", b"bytes=a-b", b"bytes=1", b"bytes=3-1", b"bytes=0-1,x",
        b"bytes=0 - 1", b"bytes=+0-1", b"bytes=1_0-20", b"items=0-1", b"bytes =0-1", b"bytes 0-1", b"bytes=--1",
        b"bytes=0-100000000000000000000", b"bytes=" + b",".join([b"0-0"] * (MAX_RANGES + 1)),
    ],
)  # fmt: skip
def test_ranges_that_are_ignored(value):
    assert parse_range(value) is None


RESOLVED = [
    (b"bytes=0-4", 10, [(0, 5)]),
    (b"bytes=5-", 10, [(5, 10)]),
    (b"bytes=-3", 10, [(7, 10)]),
    (b"bytes=-30", 10, [(0, 10)]),
    (b"bytes=-0", 10, []),
    (b"bytes=9-100", 10, [(9, 10)]),
    (b"bytes=10-", 10, []),
    (b"bytes=10-20", 10, []),
    (b"bytes=8-,0-0,20-30,-1", 10, [(8, 10), (0, 1), (9, 10)]),
    (b"bytes=0-", 0, []),
    (b"bytes=-5", 0, []),
]


@pytest.mark.parametrize(("value", "length", "runs"), RESOLVED)
def test_ranges_of_a_length(value, length, runs):
    specs = parse_range(value)
    assert specs is not None
    assert resolve(specs, length) == runs
