"""What a GET asks for, and where its answer begins: against sets of offsets, one by one."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdp.distributor.asking import (
    WAIT_LIMIT,
    check_possessed,
    holds,
    live_start,
    missing,
    possessed_intervals,
    read_ask,
)
from sdp.errors import ProtocolError, Refusal
from sdp.http1.fields import ANY
from sdp.http1.ranges import ContentRange, RangeSpec

from .marked import marked
from .requests import request

runs = st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10)).map(lambda pair: (pair[0], sum(pair))), max_size=6)


def ranges(intervals):
    return [ContentRange(start, end - 1, None) for start, end in intervals]


def offsets(intervals):
    return {offset for start, end in intervals for offset in range(start, end)}


@given(runs)
def test_possessed_intervals(intervals):
    joined = possessed_intervals(ranges(intervals), 10)
    assert offsets(joined) == offsets(intervals)
    assert all(left[1] < right[0] for left, right in pairwise(joined))


def test_as_many_as_are_allowed():
    many = ranges([(at * 2, at * 2 + 1) for at in range(5)])
    assert len(possessed_intervals(many, 5)) == 5
    with pytest.raises(ProtocolError):
        possessed_intervals(many, 4)


def test_nothing_is_an_empty_list():
    assert possessed_intervals([ContentRange(None, None, 0)], 1) == []


@given(runs, st.integers(0, 40), st.integers(0, 20))
def test_missing(intervals, first, length):
    possessed = possessed_intervals(ranges(intervals), 10)
    gaps = missing(possessed, first, first + length)
    assert offsets(gaps) == set(range(first, first + length)) - offsets(possessed)
    assert all(start < end for start, end in gaps)
    assert all(left[1] < right[0] for left, right in pairwise(gaps))


@given(runs, st.integers(0, 40), st.integers(1, 10))
def test_holds(intervals, start, length):
    possessed = possessed_intervals(ranges(intervals), 10)
    assert holds(possessed, start, start + length) is (set(range(start, start + length)) <= offsets(possessed))


def test_nobody_can_have_what_is_not_there():
    epoch = marked(b"K2345")
    check_possessed([], epoch)
    check_possessed([(0, 5)], epoch)
    with pytest.raises(Refusal) as caught:
        check_possessed([(0, 1), (2, 6)], epoch)
    assert (caught.value.status, caught.value.headers) == (416, ((b"Content-Range", b"bytes */5"),))


def begins(epoch, possessed, initialization, catch_up, now):
    """Where the consumer begins, by when the next byte that it lacks arrived."""
    arrived = epoch.log.arrival(possessed[-1][1]) if possessed and possessed[-1][1] >= epoch.log.start else None
    return live_start(epoch, possessed, initialization, arrived, now - catch_up * 1e6)


# Four records of ten bytes each second, after an initialization segment of five: K at 5 and 25.
EPOCH = marked(b"I____", b"K_________", b"f_________", b"K_________", b"f_________", every=1_000_000)


@pytest.mark.parametrize(
    ("possessed", "now", "start"),
    [
        ([], 4.0, 25),
        # the initialization segment alone, or a part of it
        ([(0, 5)], 4.0, 25),
        ([(1, 3)], 4.0, 25),
        # nothing newer can be decoded from: it goes on
        ([(0, 30)], 4.0, 30),
        ([(0, 25)], 4.0, 25),
        ([(0, 45)], 4.0, 45),
        ([(30, 40)], 99.0, 40),
        # a newer random access point, and far behind
        ([(0, 15)], 4.0, 25),
        ([(0, 24)], 4.0, 25),
        # and not far behind
        ([(0, 15)], 2.9, 15),
        ([(0, 24)], 2.9, 24),
        ([(0, 15)], 3.0, 25),
        ([(0, 5), (10, 12)], 1.9, 12),
        ([(0, 1), (3, 15)], 2.9, 15),
    ],
)
def test_where_a_live_consumer_begins(possessed, now, start):
    assert begins(EPOCH, possessed, (0, 5), 1.0, int(now * 1_000_000)) == start


def test_who_is_not_far_behind_goes_on_only_where_that_is_still_held():
    epoch = marked(b"K_________", b"f_________", b"K_________", window=600)
    assert epoch.log.start == 20
    assert begins(epoch, [(0, 10)], None, 10.0, 0) == 20
    assert begins(epoch, [(0, 20)], None, 10.0, 0) == 20


def test_without_any_random_access_point_the_beginning():
    epoch = marked(b"f____", b"f____")
    assert begins(epoch, [], None, 1.0, 0) == 0
    assert begins(epoch, [(0, 7)], None, 1.0, 99_000_000) == 7


@given(possessed=runs, now=st.integers(0, 6_000_000), catch_up=st.floats(0, 5))
@example(possessed=[(0, 5)], now=0, catch_up=0.0)
def test_where_a_live_consumer_begins_against_a_model(possessed, now, catch_up):
    possessed = possessed_intervals(ranges([(start, min(end, 45)) for start, end in possessed if start < 45]), 10)
    start = begins(EPOCH, possessed, (0, 5), catch_up, now)
    has = offsets(possessed)
    if has <= set(range(5)):
        assert start == 25
        return
    following = max(has) + 1
    arrived = [0] * 5 + [1_000_000] * 10 + [2_000_000] * 10 + [3_000_000] * 10 + [4_000_000] * 10
    behind = following < 25 and now - arrived[following] >= catch_up * 1e6
    assert start == (25 if behind else following)


# -- heads


@pytest.mark.parametrize(
    ("lines", "field", "value"),
    [
        ((), "possessed", None),
        ((b"Content-Range: bytes */0",), "possessed", []),
        ((b"Content-Range: bytes 0-4/*", b"Content-Range: bytes 5-9/*, 20-29/*"), "possessed", [(0, 10), (20, 30)]),
        ((), "ranges", None),
        ((b"Range: bytes=0-4,-5",), "ranges", [RangeSpec(0, 4), RangeSpec(None, 5)]),
        ((b"Range: bytes=0-4", b"Range: bytes=5-6"), "ranges", None),
        ((b"Range: frames=1-2",), "ranges", None),
        ((b'If-Range: "1"',), "if_range", b'"1"'),
        ((), "tags", None),
        ((b'If-Match: "1"', b'If-Match: "2"'), "tags", [(False, b"1"), (False, b"2")]),
        ((b"If-Match: *",), "tags", ANY),
        ((), "multipart", False),
        ((b"Accept: */*",), "multipart", False),
        ((b"Accept: multipart/*",), "multipart", False),
        ((b"Accept: video/mp4, multipart/byteranges",), "multipart", True),
        ((b"Accept: multipart/byteranges;q=0",), "multipart", False),
        ((), "wait", None),
        ((b"Prefer: wait=5",), "wait", 5),
        ((b"Prefer: wait=0",), "wait", 0),
        ((b"Prefer: respond-async, wait=9999",), "wait", WAIT_LIMIT),
        ((b"Prefer: wait=-5",), "wait", None),
        ((b"Prefer: wait",), "wait", None),
        ((b"Prefer: wait=99999999999999",), "wait", None),
    ],
)
def test_heads(lines, field, value):
    assert getattr(read_ask(request(*lines), 10), field) == value


@pytest.mark.parametrize(
    "line", [b"Content-Range: bytes 5", b"Content-Range: bytes 5-4/*", b"Content-Range: bytes */5", b"If-Match: 1"]
)
def test_heads_that_are_refused(line):
    with pytest.raises(ProtocolError):
        read_ask(request(line), 10)
