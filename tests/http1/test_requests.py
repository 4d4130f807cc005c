"""Requests as they may be sent, and as they must not be."""

from __future__ import annotations

import pytest

from sdp.http1 import End, Headers, Limits, Request
from tests.http1.cutting import read_requests

HOST = b"Host: example.org\r\n"
POST = b"POST /s HTTP/1.1\r\n" + HOST
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def get(fields: bytes = HOST, line: bytes = b"GET / HTTP/1.1") -> bytes:
    return line + b"\r\n" + fields + b"\r\n"


def one(data: bytes) -> Request:
    outcome = read_requests(data)
    assert outcome.status is None
    assert outcome.at_start
    assert isinstance(outcome.events[-1], End)
    request = outcome.events[0]
    assert isinstance(request, Request)
    return request


def test_a_whole_request():
    outcome = read_requests(
        b"POST /a?b HTTP/1.1\r\nHost: h:1\r\nX-One:  a b\t \r\nContent-Length: 5\r\nx-one:\r\n\r\nhello"
    )
    headers = Headers([(b"Host", b"h:1"), (b"X-One", b"a b"), (b"Content-Length", b"5"), (b"x-one", b"")])
    head = Request(b"POST", b"/a?b", 11, headers, 5, False, False, True, None)
    assert outcome == ([head, b"hello", End(Headers())], None, True)


TARGETS = [
    (b"GET", b"/"),
    (b"GET", b"//double"),
    (b"GET", b'/%zz|"<>{}[]^`\\'),
    (b"GET", b"http://example.org"),
    (b"GET", b"HTTP://example.org:80/x?y"),
    (b"GET", b"https://[::1]?y"),
    (b"OPTIONS", b"*"),
    (b"CONNECT", b"example.org:1"),
    (b"CONNECT", b"[2001:db8::1]:65535"),
    (b"M-!#$%&'*+.^_`|~9", b"/x"),
]


@pytest.mark.parametrize(("method", "target"), TARGETS)
def test_targets_and_methods_that_are_taken(method, target):
    request = one(get(line=method + b" " + target + b" HTTP/1.1"))
    assert (request.method, request.target) == (method, target)


@pytest.mark.parametrize(
    "host",
    [
        b"a", b"A.b-c_d~e", b"a:", b"a:80", b"a:00080", b"127.0.0.1:8080", b"[::1]", b"[::1]:8080", b"[::ffff:1.2.3.4]",
        b"a!$&'()*+,;=", b"%41b",
    ],
)  # fmt: skip
def test_hosts_that_are_taken(host):
    assert one(get(b"Host: " + host + b"\r\n")).headers.get(b"host") == host


VERSIONS = [(b"HTTP/1.0", b"", 10, False), (b"HTTP/1.1", HOST, 11, True), (b"HTTP/1.9", HOST, 11, True)]


@pytest.mark.parametrize(("version", "fields", "number", "persistent"), VERSIONS)
def test_versions(version, fields, number, persistent):
    request = one(get(fields, b"GET / " + version))
    assert (request.version, request.persistent) == (number, persistent)


PERSISTENCE = [
    (b"HTTP/1.1", b"Connection: close\r\n", False),
    (b"HTTP/1.1", b"Connection: Keep-Alive\r\n", True),
    (b"HTTP/1.1", b"Connection: keep-alive, CLOSE\r\n", False),
    (b"HTTP/1.1", b"Connection: te\r\nConnection: , close\r\n", False),
    (b"HTTP/1.1", b"Connection: upgrade\r\n", True),
    (b"HTTP/1.1", b"Connection:\r\n", True),
    (b"HTTP/1.1", b"Connection: closed\r\n", True),
    (b"HTTP/1.0", b"Connection: keep-alive\r\n", True),
    (b"HTTP/1.0", b"Connection: te, Keep-Alive\r\n", True),
    (b"HTTP/1.0", b"Connection: keep-alive, close\r\n", False),
    (b"HTTP/1.0", b"Connection: te\r\n", False),
]


@pytest.mark.parametrize(("version", "field", "persistent"), PERSISTENCE)
def test_persistence(version, field, persistent):
    assert one(get(HOST + field, b"GET / " + version)).persistent is persistent


EXPECTATIONS = [
    (b"HTTP/1.1", b"Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx", b"100-continue", True),
    (b"HTTP/1.1", b"Expect: 100-continue\r\nTransfer-Encoding: Chunked\r\n\r\n0\r\n\r\n", b"100-continue", True),
    (b"HTTP/1.1", b"Expect: 100-continue\r\n\r\n", b"100-continue", False),
    (b"HTTP/1.1", b"Expect: 100-continue\r\nContent-Length: 0\r\n\r\n", b"100-continue", False),
    (b"HTTP/1.0", b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\nx", b"100-continue", False),
    (b"HTTP/1.1", b"Expect: Wonders\r\nContent-Length: 1\r\n\r\nx", b"wonders", False),
    (b"HTTP/1.1", b"Expect: 100-continue\r\nExpect: a\r\nContent-Length: 1\r\n\r\nx", b"100-continue, a", False),
]


@pytest.mark.parametrize(("version", "rest", "expect", "expect_continue"), EXPECTATIONS)
def test_expectations(version, rest, expect, expect_continue):
    request = one(b"POST / " + version + b"\r\n" + HOST + rest)
    assert (request.expect, request.expect_continue) == (expect, expect_continue)


def test_one_empty_line_before_each_request_is_skipped():
    outcome = read_requests(b"\r\n" + get() + b"\r\n" + get() + b"\r\n")
    assert [type(event) for event in outcome.events] == [Request, End, Request, End]
    assert outcome.at_start


def test_pipelined_requests_keep_their_order_and_their_content():
    outcome = read_requests(
        POST + b"Content-Length: 3\r\n\r\nabc" + get(line=b"GET /2 HTTP/1.1") + CHUNKED + b"2\r\nde\r\n0\r\n\r\n"
    )
    kinds = [event if isinstance(event, bytes) else type(event) for event in outcome.events]
    assert kinds == [Request, b"abc", End, Request, End, Request, b"de", End]


CHUNKS = [
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello", []),
    (b"0\r\n\r\n", None, []),
    (b"0000000000000001\r\nh\r\n1\r\ni\r\n00\r\n\r\n", b"hi", []),
    (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"0123456789" * 2, []),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n", []),
    (b"1;a\r\nx\r\n0;b=c;d=\"e;\\\"\\\r\"\r\n\r\n".replace(b"\\\r", b"f"), b"x", []),
    (b"1 \t; a = b ;c = \"\xe9 ,\"\r\nx\r\n0\r\n\r\n", b"x", []),
    (b"1\r\nx\r\n0\r\nDigest: a\r\nx-b:  c \r\n\r\n", b"x", [(b"Digest", b"a"), (b"X-B", b"c")]),
]  # fmt: skip


@pytest.mark.parametrize(("content", "data", "trailers"), CHUNKS)
def test_chunked_content(content, data, trailers):
    outcome = read_requests(CHUNKED + content + get())
    assert outcome.status is None
    expected = [] if data is None else [data]
    assert outcome.events[1:-2] == [*expected, End(Headers(trailers))]


def test_a_content_length_up_to_the_greatest():
    outcome = read_requests(POST + b"Content-Length: 09223372036854775807\r\n\r\nx")
    assert outcome.events[0].content_length == 2**63 - 1


REFUSED = [
    # the request line
    (b"GET  / HTTP/1.1\r\n" + HOST, 400),
    (b"GET / HTTP/1.1 \r\n" + HOST, 400),
    (b" GET / HTTP/1.1\r\n" + HOST, 400),
    (b"GET / \r\n" + HOST, 400),
    (b"GET /\r\n" + HOST, 400),
    (b"GET\t/\tHTTP/1.1\r\n" + HOST, 400),
    (b"GET / http/1.1\r\n" + HOST, 400),
    (b"GET / HTTP/1.11\r\n" + HOST, 400),
    (b"GET / HTTP/1\r\n" + HOST, 400),
    (b"GET / HTTP/2.0\r\n" + HOST, 505),
    (b"GET / HTTP/0.9\r\n" + HOST, 505),
    (b"PRI * HTTP/2.0\r\n", 505),
    (b"G(T / HTTP/1.1\r\n" + HOST, 400),
    (b"G\xe9T / HTTP/1.1\r\n" + HOST, 400),
    (b"\r\n\r\nGET / HTTP/1.1\r\n" + HOST, 400),
    (b"\nGET / HTTP/1.1\r\n" + HOST, 400),
    (b"\rGET / HTTP/1.1\r\n" + HOST, 400),
    (b"GET / HTTP/1.1\n" + HOST, 400),
    (b"GET / HTTP/1.1\r" + HOST, 400),
    (b"\x16\x03\x01\x02\x00\x01\r\n", 400),
    # the target
    (b"GET /\x7f HTTP/1.1\r\n" + HOST, 400),
    (b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST, 400),
    (b"GET /a#b HTTP/1.1\r\n" + HOST, 400),
    (b"GET a HTTP/1.1\r\n" + HOST, 400),
    (b"GET * HTTP/1.1\r\n" + HOST, 400),
    (b"GET example.org:80 HTTP/1.1\r\n" + HOST, 400),
    (b"GET ftp://example.org/ HTTP/1.1\r\n" + HOST, 400),
    (b"GET http:///x HTTP/1.1\r\n" + HOST, 400),
    (b"GET http://u@example.org/ HTTP/1.1\r\n" + HOST, 400),
    (b"CONNECT / HTTP/1.1\r\n" + HOST, 400),
    (b"CONNECT example.org HTTP/1.1\r\n" + HOST, 400),
    (b"CONNECT example.org: HTTP/1.1\r\n" + HOST, 400),
    (b"CONNECT example.org:0 HTTP/1.1\r\n" + HOST, 400),
    (b"CONNECT example.org:65536 HTTP/1.1\r\n" + HOST, 400),
    (b"CONNECT :80 HTTP/1.1\r\n" + HOST, 400),
    (b"CONNECT http://example.org:80 HTTP/1.1\r\n" + HOST, 400),
    # Host
    (b"GET / HTTP/1.1\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + HOST, 400),
    (b"GET / HTTP/1.0\r\n" + HOST + HOST, 400),
    (b"GET / HTTP/1.1\r\nHost:\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a b\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a/b\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: u@a\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a:b\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: a:65536\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: [::g]\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: [1.2.3.4]\r\n", 400),
    (b"GET / HTTP/1.1\r\nHost: %4\r\n", 400),
    (b"GET / HTTP/1.0\r\nHost: \xff\r\n", 400),
    # field lines
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\nC: d\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\rC: d\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n c\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\r\n\tc: d\r\n", 400),
    (b"GET / HTTP/1.1\r\n A: b\r\n" + HOST, 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A : b\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A\t: b\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b": b\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A b: c\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A\xe9: c\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A(: c\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: \x00\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: b\x0bc\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b"A: \x7f\r\n", 400),
    (b"GET / HTTP/1.1\r\n" + HOST + b'Connection: "close\r\n', 400),
    # how long the content is
    (POST + b"Content-Length: 0\r\nContent-Length: 0\r\n", 400),
    (POST + b"Content-Length: 0\r\nContent-Length: 1\r\n", 400),
    (POST + b"Content-Length: 0, 0\r\n", 400),
    (POST + b"Content-Length: +1\r\n", 400),
    (POST + b"Content-Length: -1\r\n", 400),
    (POST + b"Content-Length: 1_0\r\n", 400),
    (POST + b"Content-Length: 0x1\r\n", 400),
    (POST + b"Content-Length: 1 0\r\n", 400),
    (POST + b"Content-Length: \xb2\r\n", 400),
    (POST + b"Content-Length:\r\n", 400),
    (POST + b"Content-Length: 9223372036854775808\r\n", 400),
    (POST + b"Content-Length: 1" + b"0" * 5000 + b"\r\n", 400),
    (POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", 400),
    (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400),
    (POST + b"Transfer-Encoding: chunked, chunked\r\n", 400),
    (POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 400),
    (POST + b"Transfer-Encoding: chunked, gzip\r\n", 400),
    (POST + b"Transfer-Encoding: chunked,\r\n", 400),
    (POST + b"Transfer-Encoding:\r\n", 400),
    (POST + b"Transfer-Encoding: gzip\r\n", 501),
    (POST + b"Transfer-Encoding: gzip, chunked\r\n", 501),
    (POST + b"Transfer-Encoding: identity\r\n", 501),
    (POST + b"Transfer-Encoding: chunked;a=b\r\n", 501),
    (POST + b"Transfer-Encoding: \"chunked\"\r\n", 501),
    (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", 400),
]  # fmt: skip


@pytest.mark.parametrize(("head", "status"), REFUSED)
def test_heads_that_are_refused(head, status):
    assert read_requests(head + b"\r\n") == ([], status, False)


CHUNKS_REFUSED = [
    b"\r\n", b"g\r\n", b" 1\r\nx\r\n", b"1 \r\nx\r\n", b"+1\r\nx\r\n", b"-1\r\nx\r\n", b"0x1\r\nx\r\n", b"1_0\r\n",
    b"00000000000000001\r\nx\r\n", b"10000000000000000\r\nx\r\n", b"1\nx\r\n", b"1\rx\r\n", b"\xb2\r\n",
    b"1;\r\nx\r\n", b"1;a=\r\nx\r\n", b"1;=b\r\nx\r\n", b"1;a=b c\r\nx\r\n", b"1;a=\"b\r\nx\r\n",
    b"1;a=\"\x00\"\r\nx\r\n",     b"1;a\nb\r\nx\r\n", b"1 a\r\nx\r\n", b"1,a\r\nx\r\n",
    b"1\r\nxy\r\n", b"1\r\nx\n", b"1\r\nx\r0", b"1\r\nx0\r\n\r\n", b"2\r\nx\r\n\r\n",
    b"0\r\nA\r\n\r\n", b"0\r\nA : b\r\n\r\n", b"0\r\nA: b\r\n c\r\n\r\n", b"0\r\nA: \x00\r\n\r\n",
    b"0\r\nA: b\n\r\n\r\n",     b"0\r\n\n", b"0\r\n\rA", b"0\r\nA: b\rc\r\n\r\n",
    b"0\r\nContent-Length: 1\r\n\r\n", b"0\r\nTransfer-Encoding: chunked\r\n\r\n", b"0\r\nhOST: a\r\n\r\n",
    b"0\r\nA: b\r\nContent-Range: bytes 0-1/*\r\n\r\n", b"0\r\nAuthorization: a b\r\n\r\n",
]  # fmt: skip


@pytest.mark.parametrize("content", CHUNKS_REFUSED)
def test_chunks_that_are_refused(content):
    outcome = read_requests(CHUNKED + content)
    assert outcome.status == 400
    assert not any(isinstance(event, End) for event in outcome.events)


CUT = [
    b"G", b"\r", b"GET / HTTP/1.1\r\n", get()[:-1], POST + b"Content-Length: 2\r\n\r\nx",
    POST + b"Content-Length: 2\r\n\r\n", CHUNKED, CHUNKED + b"1", CHUNKED + b"2\r\nx", CHUNKED + b"1\r\nx",
    CHUNKED + b"1\r\nx\r", CHUNKED + b"0\r\n", CHUNKED + b"0\r\n\r", CHUNKED + b"0\r\nA: b\r\n",
]  # fmt: skip


@pytest.mark.parametrize("data", CUT)
def test_a_message_that_is_cut_by_the_end_of_input(data):
    assert read_requests(data).status is None
    assert read_requests(data, eof=True).status == 400


def test_the_end_of_input_between_messages_is_no_error():
    for data in (b"", b"\r\n", get()):
        outcome = read_requests(data, eof=True)
        assert (outcome.status, outcome.at_start) == (None, True)


LIMITS = Limits(start_line=20, field_section=30, fields=3, chunk_extension=10, trailer_section=20)
LINE = b"GET / HTTP/1.0\r\n"
WITHIN = [
    b"GET /2345678 HTTP/1.0\r\n\r\n"[1:],
    LINE + b"A: " + b"b" * 25 + b"\r\n\r\n",
    LINE + b"A:\r\nB:\r\nC:\r\n\r\n",
]
BEYOND = [
    (b"GET /2345678 HTTP/1.0", 414),
    (b"G" * 21, 414),
    (b"GET /" + b"x" * 300, 414),
    (b"GET /" + b"x" * 300 + b" HTTP/1.0\r\n\r\n", 414),
    (b"G(T /" + b"x" * 300 + b" HTTP/1.0\r\n\r\n", 414),
    (LINE + b"A: " + b"b" * 26 + b"\r\n\r\n", 431),
    (LINE + b"A: " + b"b" * 29, 431),
    (LINE + b"A:\r\nB:\r\nC:\r\nD:\r\n\r\n", 431),
    (LINE + b"A:\r\nB:\r\nC:\r\nD:\r\n", 431),
]


@pytest.mark.parametrize("data", WITHIN)
def test_heads_within_the_limits(data):
    outcome = read_requests(data, limits=LIMITS)
    assert (outcome.status, len(outcome.events)) == (None, 2)


@pytest.mark.parametrize(("data", "status"), BEYOND)
def test_a_limit_trips_before_the_head_is_whole(data, status):
    data = data + b"x" if status == 414 and not data.endswith(b"\n") else data
    assert read_requests(data, limits=LIMITS).status == status


SHORT = Limits(chunk_extension=10, trailer_section=20, fields=3)


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"1;a=bcdefgh\r\nx\r\n0\r\n\r\n", None),
        (b"1;a=bcde\r\nx\r\n0;a\r\n\r\n", None),
        (b"1;a=bcdefghijk\r\nx\r\n", 413),
        (b"1;a=b\r\nx\r\n1;a=b\r\nx\r\n1;a=b\r\nx\r\n", 413),
        (b"1;a=" + b"b" * 40, 413),
        (b"0\r\nA: 456789012345678\r\n\r\n", None),
        (b"0\r\nA: 4567890123456789\r\n\r\n", 431),
        (b"0\r\nA: 45678901234567890123", 431),
        (b"0\r\nA:\r\nB:\r\nC:\r\n\r\n", None),
        (b"0\r\nA:\r\nB:\r\nC:\r\nD:\r\n\r\n", 431),
        (b"0\r\nA:\r\nB:\r\nC:\r\nD:\r\n", 431),
    ],
)
def test_limits_of_chunked_content(content, status):
    assert read_requests(CHUNKED + content, limits=SHORT).status == status


def test_the_extension_limit_is_each_messages_own():
    data = CHUNKED + b"1;a=bcdefgh\r\nx\r\n0\r\n\r\n"
    assert read_requests(data * 3, limits=SHORT).status is None
