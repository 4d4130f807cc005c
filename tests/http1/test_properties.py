"""What holds for all messages: encoded, cut anywhere and read, they are the same; and no bytes do harm."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sdp.errors import ProtocolError
from sdp.http1 import (
    End,
    Headers,
    Request,
    RequestReader,
    Response,
    ResponseReader,
    encode_chunk,
    encode_request,
    encode_response,
    encode_trailers,
)
from sdp.http1.multipart import PartsReader
from tests.http1.cutting import drain, read

FRAMING = {b"host", b"content-length", b"transfer-encoding", b"connection", b"expect"}
names = st.from_regex(rb"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,12}", fullmatch=True).filter(
    lambda name: name.lower() not in FRAMING
)
values = st.from_regex(rb"[\t\x20-\x7e\x80-\xff]{0,20}", fullmatch=True)
lines = st.lists(st.tuples(names, values), max_size=6)
trailing = st.lists(st.tuples(names.map(lambda name: b"x-" + name), values), max_size=3)
targets = st.from_regex(rb"/[\x21\x22\x24-\x7e]{0,20}", fullmatch=True)
methods = st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"M-SEARCH"])
contents = st.lists(st.binary(min_size=1, max_size=50), max_size=4)
places = st.lists(st.integers(0, 10**6), max_size=8)


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in cuts), len(data)]
    return [data[a:b] for a, b in pairwise(edges)]


def stripped(headers: list[tuple[bytes, bytes]]) -> Headers:
    return Headers((name, value.strip(b" \t")) for name, value in headers)


def framed(fields, pieces, chunked, trailers):
    """Field lines with the content's length, the content on the wire, and the trailers that will be read."""
    content = b"".join(pieces)
    if not chunked:
        return [*fields, (b"Content-Length", b"%d" % len(content))], content, Headers()
    encoded = b"".join(map(encode_chunk, pieces)) + encode_trailers(trailers)
    return [*fields, (b"Transfer-Encoding", b"chunked")], encoded, stripped(trailers)


requests = st.tuples(methods, targets, lines, contents, st.booleans(), trailing)


@given(st.lists(requests, max_size=3), places, st.booleans())
def test_requests_are_read_as_they_were_written(messages, cuts, late):
    data, expected = b"", list[Any]()
    for method, target, fields, pieces, chunked, trailers in messages:
        sent, wire, read_trailers = framed([(b"Host", b"h"), *fields], pieces, chunked, trailers)
        data += encode_request(method, target, sent) + wire
        content = b"".join(pieces)
        length = None if chunked else len(content)
        expected.append(Request(method, target, 11, stripped(sent), length, chunked, False, True, None))
        expected += [content] if content else []
        expected.append(End(read_trailers))
    outcome = read(RequestReader(), cut(data, cuts), eof=True, late=late)
    assert outcome == (expected, None, True)


responses = st.tuples(
    st.integers(200, 599).filter(lambda n: n not in (204, 304)), lines, contents, st.booleans(), trailing
)


@given(st.lists(responses, max_size=3), places)
def test_responses_are_read_as_they_were_written(messages, cuts):
    reader = ResponseReader()
    data, expected = b"", list[Any]()
    for status, fields, pieces, chunked, trailers in messages:
        reader.expect(b"GET")
        sent, wire, read_trailers = framed(fields, pieces, chunked, trailers)
        data += encode_response(status, sent, b"R") + wire
        content = b"".join(pieces)
        expected.append(Response(status, b"R", 11, stripped(sent), None if chunked else len(content), chunked, True))
        expected += [content] if content else []
        expected.append(End(read_trailers))
    assert read(reader, cut(data, cuts), eof=True) == (expected, None, True)


fragments = st.sampled_from(
    [
        b"GET ", b"POST ", b"/", b"*", b" HTTP/1.1", b" HTTP/1.0", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 C\r\n\r\n",
        b"\r\n", b"\r\n\r\n", b"\r", b"\n", b":", b" ", b"\t", b",", b"0", b"5", b"f", b";a=\"", b"\"", b"\x00",
        b"\xff", b"--B", b"--", b"Content-Range: bytes 0-4/*\r\n", b"Connection: close\r\n",
        b"Expect: 100-continue\r\n", b"Host: a\r\n", b"Content-Length: ", b"Transfer-Encoding: chunked\r\n",
    ]
)  # fmt: skip
noise = st.lists(fragments | st.binary(max_size=4), max_size=25).map(b"".join)


def never_harms(reader, data, cuts):
    """Whatever comes, it gives events or a ProtocolError, and gives out no more content than it was fed."""
    events: list = []
    status = None
    try:
        for piece in cut(data, cuts):
            reader.feed(piece)
            drain(reader, events)
        reader.feed_eof()
        drain(reader, events)
    except ProtocolError as error:
        status = error.status
    assert status in (None, 400, 413, 414, 431, 501, 505)
    assert sum(len(event) for event in events if isinstance(event, bytes)) + reader.buffered <= len(data)


@given(noise, places)
def test_no_bytes_harm_a_server(data, cuts):
    never_harms(RequestReader(), data, cuts)


@given(noise, places, st.lists(st.sampled_from([b"GET", b"HEAD", b"CONNECT"]), max_size=3))
def test_no_bytes_harm_a_client(data, cuts, sent):
    reader = ResponseReader()
    for method in sent:
        reader.expect(method)
    never_harms(reader, data, cuts)


@given(noise, places)
def test_no_bytes_harm_a_reader_of_parts(data, cuts):
    never_harms(PartsReader(b"B"), data, cuts)


@given(noise)
def test_no_content_harms_a_server(data):
    never_harms(RequestReader(), b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + data, [])
