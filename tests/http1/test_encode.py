"""Heads and chunks as they go to the socket."""

from __future__ import annotations

import pytest

from sdp.http1 import LAST_CHUNK, encode_chunk, encode_request, encode_response, encode_trailers

LINES = [(b"Host", b"a"), (b"X", b"")]


def test_a_request():
    assert encode_request(b"GET", b"/a", LINES) == b"GET /a HTTP/1.1\r\nHost: a\r\nX: \r\n\r\n"
    assert encode_request(b"OPTIONS", b"*", []) == b"OPTIONS * HTTP/1.1\r\n\r\n"


RESPONSES = [
    (200, None, b"HTTP/1.1 200 OK"),
    (206, b"Some of it", b"HTTP/1.1 206 Some of it"),
    (204, b"", b"HTTP/1.1 204 "),
    (413, None, b"HTTP/1.1 413 Content Too Large"),
    (416, None, b"HTTP/1.1 416 Range Not Satisfiable"),
    (431, None, b"HTTP/1.1 431 Request Header Fields Too Large"),
    (507, None, b"HTTP/1.1 507 Insufficient Storage"),
    (599, None, b"HTTP/1.1 599 "),
]


@pytest.mark.parametrize(("status", "reason", "line"), RESPONSES)
def test_a_response(status, reason, line):
    assert encode_response(status, LINES, reason) == line + b"\r\nHost: a\r\nX: \r\n\r\n"


def test_chunks():
    assert encode_chunk(b"x" * 26) == b"1a\r\n" + b"x" * 26 + b"\r\n"
    assert LAST_CHUNK == b"0\r\n\r\n" == encode_trailers([])
    assert encode_trailers([(b"A", b"b")]) == b"0\r\nA: b\r\n\r\n"
    with pytest.raises(ValueError, match="end the content"):
        encode_chunk(b"")


SPLITTING = [
    (b"A", b"b\r\nC: d"), (b"A", b"b\r\n"), (b"A", b"b\n"), (b"A", b"b\rc"), (b"A", b"\x00"), (b"A", b"\x7f"),
    (b"A\r\nB", b"c"), (b"A: b\r\nB", b"c"), (b"", b"c"), (b"A ", b"c"), (b"A:", b"c"), (b"A\x00", b"c"),
    (b"\xe9", b"c"),
]  # fmt: skip


@pytest.mark.parametrize("line", SPLITTING)
def test_a_field_that_would_split_a_message_is_refused(line):
    for lines in ([line], [(b"X", b"y"), line], [line, (b"X", b"y")]):
        with pytest.raises(ValueError, match="field"):
            encode_request(b"GET", b"/", lines)
        with pytest.raises(ValueError, match="field"):
            encode_response(200, lines)
        with pytest.raises(ValueError, match="field"):
            encode_trailers(lines)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        (b"", b"/"),
        (b"G T", b"/"),
        (b"GET\r\n", b"/"),
        (b"GET", b""),
        (b"GET", b"/ "),
        (b"GET", b"/\r\n"),
        (b"GET", b"/#a"),
    ],
)
def test_a_request_line_that_would_not_be_read_back_is_refused(method, target):
    with pytest.raises(ValueError, match=r"method|target"):
        encode_request(method, target, [])


@pytest.mark.parametrize(
    ("status", "reason"), [(99, None), (600, None), (200, b"a\r\nB: c"), (200, b"\x00"), (99, b"x")]
)
def test_a_status_line_that_would_not_be_read_back_is_refused(status, reason):
    with pytest.raises(ValueError, match=r"status|reason"):
        encode_response(status, [], reason)
