"""Wire forms: what is framed can be read again, and tells where it belongs."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from sdp.distributor.forms import Form, Parts, Raw, record_lines
from sdp.distributor.reading import BLOCK
from sdp.http1.multipart import Part, PartsReader
from sdp.stream.record import Flag

from .disk import Disk, Kept, record
from .marked import marked


def done(work):
    """The result of a coroutine that waits for nothing."""
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    return results[0]


def read_parts(data, form):
    """(first offset, content, fields) of each part."""
    reader = PartsReader(form.boundary)
    reader.feed(data + form.closing())
    found: list[list] = []
    event: Any
    while (event := reader.next_event()) is not None:
        if isinstance(event, Part):
            found.append([event, b""])
        elif isinstance(event, bytes):
            found[-1][1] += event
        else:
            break
    return [(part.content_range, content, part.headers) for part, content in found]


PARTS = Parts(b"limit", chunked=False)


def test_what_is_told_of_a_record():
    lines = dict(record_lines(record(0, Flag.RANDOM_ACCESS, capture=5, received=7)))
    assert lines == {b"Capture-Time": b"5", b"Received-Time": b"7", b"Random-Access": b"?1"}
    assert record_lines(record(0)) == []


def test_raw():
    epoch = marked(b"K123", b"f45", b"?")
    form = Raw(chunked=False)
    assert (form.available(epoch.log), form.closing(), form.tells_offsets) == (8, b"", False)
    assert form.encode(epoch.log, 2, 6) == b"23f4"
    assert form.encode_bytes(0, b"I", record(0)) == b"I"
    assert done(form.encode_from(epoch, 1, 6)) == (b"123f4", 6)


def test_raw_in_chunks():
    epoch = marked(b"K123", b"f45")
    form = Raw(chunked=True)
    assert form.encode(epoch.log, 0, 4) == b"4\r\nK123\r\n"
    assert form.encode_bytes(0, b"I", record(0)) == b"1\r\nI\r\n"
    assert done(form.encode_from(epoch, 1, 7)) == (b"6\r\n123f45\r\n", 7)


def test_a_block_is_bounded():
    epoch = marked(b"K" + b"x" * (2 * BLOCK))
    data, end = done(Raw(chunked=False).encode_from(epoch, 0, epoch.end))
    assert len(data) == end == BLOCK


def test_parts():
    epoch = marked(b"I_", b"K123f4", at=9)
    epoch.append(b"5??", 9)
    assert PARTS.available(epoch.log) == 9
    assert PARTS.tells_offsets
    parts = read_parts(PARTS.encode(epoch.log, 0, 9), PARTS)
    assert [(said, content) for said, content, _ in parts] == [
        ((0, 1, None), b"I_"),
        ((2, 5, None), b"K123"),
        ((6, 8, None), b"f45"),
    ]
    assert [headers.get(b"random-access") for _, _, headers in parts] == [None, b"?1", None]
    assert [headers.get(b"received-time") for _, _, headers in parts] == [b"9"] * 3


def test_a_record_in_several_parts_tells_its_fields_once():
    epoch = marked(b"K123", at=9)
    first = read_parts(PARTS.encode(epoch.log, 0, 2), PARTS)
    rest = read_parts(PARTS.encode(epoch.log, 2, 4), PARTS)
    assert first[0][2].get(b"random-access") == b"?1"
    assert (rest[0][0], rest[0][1], rest[0][2].get(b"random-access")) == ((2, 3, None), b"23", None)


def test_a_record_at_hand():
    [(said, content, headers)] = read_parts(PARTS.encode_bytes(7, b"I__", record(7, capture=3)), PARTS)
    assert (said, content, headers.get(b"capture-time")) == ((7, 9, None), b"I__", b"3")


def test_parts_in_chunks_are_one_chunk_each_time():
    epoch = marked(b"K1f2")
    chunked = Parts(b"limit", chunked=True)
    content = PARTS.encode(epoch.log, 0, 4)
    assert chunked.encode(epoch.log, 0, 4) == b"%x\r\n%b\r\n" % (len(content), content)
    assert chunked.closing() == b"%x\r\n%b\r\n" % (len(PARTS.closing()), PARTS.closing())


def test_from_the_disk_as_from_memory():
    kept = Kept(Disk())
    epoch = marked(b"I_K1", b"23f4", b"K5", recording=kept, window=0)
    in_memory = marked(b"I_K1", b"23f4", b"K5")
    kept.write()
    epoch.stored()
    assert epoch.log.start == 10
    for start in range(10):
        for end in range(start + 1, 11):
            expected = done(PARTS.encode_from(in_memory, start, end, 10))
            assert done(PARTS.encode_from(epoch, start, end, 10)) == expected
    assert read_parts(done(PARTS.encode_from(epoch, 0, 10, 10))[0], PARTS)[0][0] == (0, 1, 10)


def test_a_form_has_to_say_what_it_does():
    form = Form(chunked=False)
    epoch = marked(b"K")
    for call in (
        lambda: form.available(epoch.log),
        lambda: form.encode(epoch.log, 0, 1),
        lambda: form.encode_bytes(0, b"", record(0)),
    ):
        with pytest.raises(NotImplementedError):
            call()
    assert done(form.encode_from(epoch, 0, 1)).type is NotImplementedError


@given(st.lists(st.sampled_from([b"I", b"K", b"f", b"1", b"23", b"?"]), max_size=30), st.data())
def test_parts_lie_end_to_end_and_each_within_one_record(pieces, data):
    epoch = marked(b"K", *pieces)
    epoch.finish()
    whole = b"".join([b"K", *pieces])
    at, told = 0, b""
    starts = {each.offset for each in epoch.log.records}
    while at < epoch.end:
        cut = data.draw(st.integers(at + 1, epoch.end))
        for (first, last, _), content, headers in read_parts(PARTS.encode(epoch.log, at, cut), PARTS):
            assert first == len(told)
            assert last + 1 - first == len(content)
            assert not starts & set(range(first + 1, last + 1))
            is_random_access = first in starts and whole[first : first + 1] == b"K"
            assert (headers.get(b"random-access") == b"?1") is is_random_access
            told += content
        at = cut
    assert told == whole
