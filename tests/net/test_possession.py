"""What a consumer has, as ranges."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sdp.http1.ranges import parse_possessed
from sdp.net.possession import MOST_RANGES, Possession


def test_nothing():
    assert Possession().lines() == [(b"Content-Range", b"bytes */0")]


def test_ranges_that_touch_become_one():
    possession = Possession()
    for start, end in [(0, 5), (10, 20), (5, 7), (20, 21), (8, 8)]:
        possession.add(start, end)
    assert possession.ranges == [(0, 7), (10, 21)]
    assert possession.lines() == [(b"Content-Range", b"bytes 0-6/*"), (b"Content-Range", b"bytes 10-20/*")]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 12)), max_size=20))
def test_it_is_the_set_of_bytes(pieces):
    possession, model = Possession(), set()
    for start, length in pieces:
        possession.add(start, start + length)
        model |= set(range(start, start + length))
    ranges = possession.ranges
    assert {offset for start, end in ranges for offset in range(start, end)} == model
    assert all(a[1] < b[0] for a, b in pairwise(ranges))
    if ranges:
        said = parse_possessed([value for _, value in possession.lines()])
        assert [(each.first, each.last) for each in said] == [(start, end - 1) for start, end in ranges]


def test_it_is_bounded_and_keeps_the_first_and_the_newest():
    possession = Possession()
    for i in range(1000):
        possession.add(i * 10, i * 10 + 5)
    assert len(possession.ranges) == MOST_RANGES
    assert possession.ranges[0] == (0, 5)
    assert possession.ranges[-1] == (9990, 9995)
