"""Via (RFC 9110 section 7.6.3): who has forwarded a message."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.errors import ProtocolError
from sdp.http1.via import MAX_VIA, format_via, parse_via

NAMES = st.lists(st.from_regex(r"[A-Za-z0-9.:-]{1,20}", fullmatch=True), max_size=MAX_VIA)


@pytest.mark.parametrize(
    ("lines", "passed"),
    [
        ([], ()),
        ([b"1.1 a"], ("a",)),
        ([b"1.0 fred, 1.1 p.example.net"], ("fred", "p.example.net")),
        ([b"1.1 a", b"HTTP/2 b:8080"], ("a", "b:8080")),
        ([b"1.0 ricky, 1.1 mertz (Apache/1.1, (yes)), 1.0 lucy"], ("ricky", "mertz", "lucy")),
        ([rb"1.1 a (one \) two, three), 1.1 b"], ("a", "b")),
        ([b"1.1, , 1.1 b"], ("b",)),
    ],
)
def test_who_has_been_passed(lines: list[bytes], passed: tuple[str, ...]) -> None:
    assert parse_via(lines) == passed


@given(NAMES)
def test_what_is_written_is_read(passed: list[str]) -> None:
    assert parse_via([format_via(passed)]) == tuple(passed)


def test_too_many_go_in_circles() -> None:
    with pytest.raises(ProtocolError, match="intermediaries"):
        parse_via([format_via(["x"] * (MAX_VIA + 1))])
