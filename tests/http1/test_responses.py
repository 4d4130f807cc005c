"""Responses: how far each one goes depends on the request, too (RFC 9112 section 6.3)."""

from __future__ import annotations

import pytest

from sdp.http1 import End, Headers, Limits, Response, ResponseReader
from tests.http1.cutting import read_responses

CHUNKS = b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


def test_a_whole_response():
    outcome = read_responses(b"HTTP/1.1 200 All is well\r\nContent-Length: 3\r\n\r\nabc")
    head = Response(200, b"All is well", 11, Headers([(b"Content-Length", b"3")]), 3, False, True)
    assert outcome == ([head, b"abc", End(Headers())], None, True)
    assert not head.interim


REASONS = [(b"200 ", b""), (b"200", b""), (b"404 N\xc3\xb6\tsuch", b"N\xc3\xb6\tsuch")]


@pytest.mark.parametrize(("line", "reason"), REASONS)
def test_reasons(line, reason):
    outcome = read_responses(b"HTTP/1.1 " + line + b"\r\nContent-Length: 0\r\n\r\n")
    assert outcome.events[0].reason == reason


FRAMINGS = [
    # method, head after the status line, content_length, chunked, persistent, content
    (b"GET", b"200", b"Content-Length: 3\r\n\r\nabc", 3, False, True, b"abc"),
    (b"GET", b"200", b"Content-Length: 0\r\n\r\n", 0, False, True, None),
    (b"GET", b"200", b"Connection: close\r\nContent-Length: 3\r\n\r\nabc", 3, False, False, b"abc"),
    (b"GET", b"404", CHUNKS, None, True, True, b"abc"),
    (b"HEAD", b"200", b"Content-Length: 3\r\n\r\n", 0, False, True, None),
    (b"HEAD", b"200", b"Transfer-Encoding: chunked\r\n\r\n", 0, False, True, None),
    (b"HEAD", b"200", b"\r\n", 0, False, True, None),
    (b"GET", b"204", b"Content-Length: 3\r\n\r\n", 0, False, True, None),
    (b"GET", b"304", b"Content-Length: 3\r\n\r\n", 0, False, True, None),
    (b"CONNECT", b"200", b"\r\n", 0, False, True, None),
    (b"CONNECT", b"299", b"Content-Length: 3\r\n\r\n", 0, False, True, None),
    (b"CONNECT", b"200", b"Transfer-Encoding: chunked\r\n\r\n", 0, False, True, None),
    (b"CONNECT", b"405", b"Content-Length: 3\r\n\r\nabc", 3, False, True, b"abc"),
]


@pytest.mark.parametrize(("method", "status", "rest", "length", "chunked", "persistent", "content"), FRAMINGS)
def test_framing(method, status, rest, length, chunked, persistent, content):
    data = b"HTTP/1.1 " + status + b" X\r\n" + rest
    after = b"HTTP/1.1 204 X\r\n\r\n"
    outcome = read_responses(data + after, [method, b"GET"])
    assert outcome.status is None
    head = outcome.events[0]
    assert (head.content_length, head.chunked, head.persistent) == (length, chunked, persistent)
    assert outcome.events[1:-2] == ([] if content is None else [content]) + [End(Headers())]
    assert outcome.events[-2].status == 204


def test_content_until_the_connection_closes():
    data = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n\r\nabc\r\n\r\nHTTP/1.1 204"
    open_yet = read_responses(data)
    head, content = open_yet.events
    assert (head.content_length, head.chunked, head.persistent) == (None, False, False)
    assert content == b"abc\r\n\r\nHTTP/1.1 204"
    assert not open_yet.at_start
    closed = read_responses(data, eof=True)
    assert closed == ([head, content, End(Headers())], None, True)


def test_no_content_until_the_connection_closes():
    closed = read_responses(b"HTTP/1.0 200 OK\r\n\r\n", eof=True)
    assert closed.events[1:] == [End(Headers())]


def test_interim_responses_come_before_the_final_one_and_have_no_end():
    outcome = read_responses(
        b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nHTTP/1.1 103 Early\r\nA: b\r\n\r\nHTTP/1.1 204 X\r\n\r\n"
    )
    assert [event.status for event in outcome.events[:-1]] == [100, 103, 204]
    assert [event.interim for event in outcome.events[:-1]] == [True, True, False]
    assert outcome.events[-1] == End(Headers())


PERSISTENCE = [
    (b"HTTP/1.1", b"", True),
    (b"HTTP/1.1", b"Connection: close\r\n", False),
    (b"HTTP/1.0", b"", False),
    (b"HTTP/1.0", b"Connection: keep-alive\r\n", True),
]


@pytest.mark.parametrize(("version", "field", "persistent"), PERSISTENCE)
def test_persistence(version, field, persistent):
    outcome = read_responses(version + b" 200 OK\r\n" + field + b"Content-Length: 0\r\n\r\n")
    assert outcome.events[0].persistent is persistent


REFUSED = [
    (b"HTTP/2.0 200 OK\r\n", 400),
    (b"HTTP/1.1 20 OK\r\n", 400),
    (b"HTTP/1.1 2000 OK\r\n", 400),
    (b"HTTP/1.1 099 OK\r\n", 400),
    (b"HTTP/1.1 600 OK\r\n", 400),
    (b"HTTP/1.1  200 OK\r\n", 400),
    (b"HTTP/1.1 200\tOK\r\n", 400),
    (b"HTTP/1.1 200 O\x00K\r\n", 400),
    (b"HTTP/1.1 200 OK\n", 400),
    (b"ICY 200 OK\r\n", 400),
    (b"\r\nHTTP/1.1 200 OK\r\n", 400),
    (b"HTTP/1.1 200 OK\r\nA : b\r\n", 400),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n", 400),
    (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
    (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n", 501),
    (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", 400),
    (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n", 400),
]


@pytest.mark.parametrize(("head", "status"), REFUSED)
def test_heads_that_are_refused(head, status):
    assert read_responses(head + b"\r\n") == ([], status, False)


def test_a_response_that_no_request_asked_for_is_refused():
    assert read_responses(b"HTTP/1.1 204 X\r\n\r\n" * 2, [b"GET"]).status == 400
    assert read_responses(b"HTTP/1.1 408 Too slow\r\n\r\n", []).status == 400


LIMITS = Limits(start_line=16, field_section=30)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"HTTP/1.1 204 abc\r\n\r\n", None),
        (b"HTTP/1.1 204 abcd\r\n\r\n", 414),
        (b"HTTP/1.1 204 abcd\x00\r\n\r\n", 414),
        (b"HTTP/1.1 204 abcdef", 414),
        (b"HTTP/1.1 204 abc\r\nA: " + b"b" * 30, 431),
    ],
)
def test_limits(data, status):
    assert read_responses(data, limits=LIMITS).status == status


CUT = [b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", b"HTTP/1.1 200 OK\r\n" + CHUNKS[:-2]]


@pytest.mark.parametrize("data", CUT)
def test_a_response_that_is_cut_by_the_end_of_input(data):
    assert read_responses(data, eof=True).status == 400


def test_the_end_of_input_while_a_response_is_awaited_is_told_by_who_waits():
    reader = ResponseReader()
    reader.expect(b"GET")
    reader.feed_eof()
    assert reader.next_event() is None
    assert reader.at_start
