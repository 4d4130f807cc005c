"""What a reader promises to whoever drives it: pausing, how much it holds, what it copies, how it fails."""

from __future__ import annotations

from typing import Any

import pytest

from sdp.errors import ProtocolError
from sdp.http1 import End, Headers, Request, RequestReader, ResponseReader
from sdp.http1.states import CUT, State

POST = b"POST /s HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"POST /s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def reader_at_content(head: bytes) -> RequestReader:
    reader = RequestReader()
    reader.feed(head)
    assert isinstance(reader.next_event(), Request)
    return reader


def test_a_piece_that_is_all_content_is_handed_on_as_it_is():
    for head in (POST, CHUNKED + b"186a0\r\n"):
        reader = reader_at_content(head)
        assert reader.next_event() is None
        piece = bytes(65536)
        reader.feed(piece)
        assert reader.next_event() is piece
        assert reader.next_event() is None


def test_pieces_that_waited_during_a_pause_are_handed_on_as_they_are():
    reader = reader_at_content(POST)
    first, second, rest = bytes(10), bytes(65536), bytes(100000)
    reader.feed(first)
    reader.feed(second)
    reader.feed(rest)
    assert reader.buffered == 10 + 65536 + 100000
    assert reader.next_event() is first
    assert reader.buffered == 65536 + 100000
    assert reader.next_event() is second
    assert reader.next_event() == bytes(100000 - 65536 - 10)
    assert isinstance(reader.next_event(), End)
    assert reader.buffered == 65536 + 10
    assert not reader.at_start


def test_content_is_as_large_as_it_came_beside_a_head():
    reader = RequestReader()
    reader.feed(POST + bytes(65536))
    reader.next_event()
    content = reader.next_event()
    assert content == bytes(65536)


def test_content_after_a_head_that_was_cut_is_bytes():
    reader = RequestReader()
    reader.feed(POST[:10])
    assert reader.next_event() is None
    reader.feed(POST[10:] + b"abc")
    head = reader.next_event()
    assert isinstance(head, Request)
    assert type(head.target) is bytes
    content = reader.next_event()
    assert (content, type(content)) == (b"abc", bytes)


def test_reading_stops_between_any_two_events():
    reader = RequestReader()
    message = CHUNKED + b"1\r\na\r\n1\r\nb\r\n0\r\n\r\n"
    reader.feed(message * 2)
    expected: list[Any] = [Request, b"a", b"b", End] * 2
    held = [2 * len(message)]
    for kind in expected:
        event = reader.next_event()
        assert event == kind if isinstance(kind, bytes) else isinstance(event, kind)
        held.append(reader.buffered)
    assert held == sorted(held, reverse=True)
    assert reader.next_event() is None
    assert reader.at_start


def test_at_start_tells_an_idle_connection():
    reader = RequestReader()
    told = [reader.at_start]
    reader.feed(b"")
    told.append(reader.at_start)
    reader.feed(b"G")
    told.append(reader.at_start)
    reader.feed(b"ET / HTTP/1.0\r\n\r\n")
    reader.next_event()
    told.append(reader.at_start)  # the End is due
    reader.next_event()
    told.append(reader.at_start)
    assert told == [True, True, False, False, True]


def test_a_reader_is_dead_after_an_error():
    reader = RequestReader()
    reader.feed(b"GET / HTTP/3.0\r\n\r\n")
    reader.feed(b"GET / HTTP/1.0\r\n\r\n")
    faults = []
    for _ in range(2):
        with pytest.raises(ProtocolError) as caught:
            reader.next_event()
        faults.append((caught.value.detail, caught.value.status, caught.value.title))
        reader.feed(b"GET / HTTP/1.0\r\n\r\n")
    assert faults[0] == faults[1]
    assert faults[0][1:] == (505, "Version not supported")
    assert reader.buffered == 0
    assert not reader.at_start
    reader.feed_eof()
    with pytest.raises(ProtocolError):
        reader.next_event()


def test_events_before_an_error_still_come():
    reader = RequestReader()
    reader.feed(b"GET / HTTP/1.0\r\n\r\nGET\r\n\r\n")
    assert isinstance(reader.next_event(), Request)
    assert isinstance(reader.next_event(), End)
    with pytest.raises(ProtocolError):
        reader.next_event()


def test_feeding_after_the_end_of_input_is_a_mistake_of_the_caller():
    reader = ResponseReader()
    reader.feed_eof()
    with pytest.raises(ValueError, match="end of input"):
        reader.feed(b"x")


def test_a_fault_is_told_before_its_head_is_whole():
    for start in (b"GET\r\n", b"GET / HTTP/1.1\n", b"GET / HTTP/1.1\r\nHost: a\nB", b"GET / HTTP/2.0\r\nHost"):
        reader = RequestReader()
        reader.feed(start)
        with pytest.raises(ProtocolError):
            reader.next_event()


def test_every_state_has_a_step_and_a_meaning_at_the_end_of_input():
    ends_well = {State.UNTIL_CLOSE, State.END, State.DEAD}
    assert set(CUT) | ends_well == set(State)


def test_headers_of_a_message():
    headers = Headers([(b"A", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert (headers.get(b"a"), headers.get(b"c")) == (b"1", None)
    assert (headers.get_all(b"a"), headers.get_all(b"b"), headers.get_all(b"c")) == ([b"1", b"3"], [b"2"], [])
    assert (headers.combined(b"a"), headers.combined(b"b"), headers.combined(b"c")) == (b"1, 3", b"2", None)
    assert (b"b" in headers, b"c" in headers, len(headers)) == (True, False, 3)
    assert list(headers) == [(b"A", b"1"), (b"b", b"2"), (b"a", b"3")]
    assert headers.has_repeats()
    once = Headers([(b"A", b"1"), (b"b", b"2")])
    assert once.get_all(b"b") == [b"2"]
    assert not once.has_repeats()


def test_headers_compare_by_lines_and_are_immutable():
    lines = [(b"A", b"1"), (b"B", b"2")]
    headers = Headers(lines)
    lines.clear()
    assert headers == Headers([(b"a", b"1"), (b"b", b"2")])
    assert hash(headers) == hash(Headers([(b"a", b"1"), (b"b", b"2")]))
    assert headers != Headers([(b"b", b"2"), (b"a", b"1")])
    assert headers != [(b"A", b"1"), (b"B", b"2")]


def test_the_representation_of_headers_tells_no_secret():
    shown = repr(Headers([(b"AUTHORIZATION", b"Bearer hush"), (b"Cookie", b"hush"), (b"Host", b"a")]))
    assert "hush" not in shown
    assert "Host" in shown
