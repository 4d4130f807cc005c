"""Answers to GET and HEAD: where they begin, what their heads say, and how they end."""

from __future__ import annotations

from typing import Any

import pytest

from sdp.container.fragments import FragmentWriter
from sdp.container.tracks import Sample, Track
from sdp.distributor.forms import Parts
from sdp.http1.multipart import boundary_of
from sdp.http1.ranges import MAX_LAST
from sdp.net.exchange import Answer
from tests.net.peer import head

from .disk import Disk
from .house import CHUNKED, House, chunk, content_range, post_head
from .test_forms import read_parts
from .test_ingest import OPEN, etag

PARTS = b"Accept: multipart/byteranges"
NOTHING = b"Content-Range: bytes */0"
LIVE = b"bytes %d-%d/*"


AVC = bytes.fromhex("0142c00affe100046742c00a01000268ce")
"""An avcC of the smallest parameter sets."""


def movie():
    """An initialization segment, and fragments of which each third can be decoded from."""
    writer = FragmentWriter([Track(id=1, kind="video", codec="avc1", timescale=30, extradata=AVC, width=16, height=16)])
    fragments = [
        writer.fragment([Sample(1, b"\0\0\0\1" + bytes([number]), number, 1, 0, number % 3 == 0)])
        for number in range(7)
    ]
    return writer.initialization(), fragments


def has(start, end):
    return b"Content-Range: bytes %d-%d/*" % (start, end - 1)


class Movie:
    """A Distributor with an initialization segment and fragments, of which 0, 3 and 6 are random access points."""

    def __init__(self, count=7, **settings):
        self.house = House(**settings)
        self.initialization, self.fragments = movie()
        self.count = count
        self.peer = self.house.posted(self.initialization, *self.fragments[:count], lines=(b"Content-Type: video/mp4",))
        self.starts = [len(self.initialization)]
        for fragment in self.fragments:
            self.starts.append(self.starts[-1] + len(fragment))
        self.whole = self.initialization + b"".join(self.fragments)

    def more(self):
        """One more fragment is posted."""
        start, end = self.starts[self.count : self.count + 2]
        self.peer.post(b"/a", self.whole[start:end], content_range(start, end))
        self.count += 1

    def end(self):
        self.house.epoch().finish()

    def reader(self, *lines, target=b"/a", version=b"1.1"):
        peer = self.house.connect()
        peer.send(head(b"GET", target, *lines, version=version), b"GET")
        return peer

    @property
    def log_end(self):
        return self.starts[self.count]


def again(peer):
    """The answer so far."""
    [answer] = peer.answers()
    return answer


def parts_of(answer):
    form = Parts(boundary_of(answer[b"content-type"]), chunked=False)
    return [
        (said.first, said.last + 1, content)
        for said, content, _ in read_parts(answer.content.removesuffix(form.closing()), form)
    ]


class TestPlain:
    def test_a_live_one_begins_with_what_decoding_needs(self):
        live = Movie(5)
        reader = live.reader()
        live.more()
        answer = again(reader)
        assert answer.status == 200
        assert answer.content == live.initialization + live.whole[live.starts[3] : live.starts[6]]
        assert (answer[b"cache-control"], answer[b"content-type"]) == (b"no-store", b"video/mp4")
        assert answer[b"etag"] == etag(live.house)
        assert not answer.whole
        live.end()
        assert again(reader).whole

    def test_until_close_for_http_1_0(self):
        live = Movie(1)
        reader = live.reader(version=b"1.0")
        assert again(reader).content == live.whole[: live.log_end]
        assert not reader.closing
        live.end()
        assert reader.closing

    def test_an_ended_one_is_the_whole_recording(self):
        live = Movie()
        live.end()
        answer = again(live.reader())
        assert (answer.status, answer.content, answer.whole) == (200, live.whole, True)
        assert (answer[b"content-length"], answer[b"accept-ranges"]) == (b"%d" % len(live.whole), b"bytes")

    def test_what_is_left_of_it(self):
        live = Movie(memory=1500)
        live.end()
        first = live.house.epoch().first_offset
        assert first > 0
        answer = again(live.reader())
        assert (answer.status, answer.content) == (206, live.whole[first:])
        assert answer[b"content-range"] == b"bytes %d-%d/%d" % (first, len(live.whole) - 1, len(live.whole))

    def test_head(self):
        live = Movie(1)
        answer = live.house.get(method=b"HEAD")
        assert (answer.status, answer[b"content-length"], answer[b"upload-offset"]) == (
            200,
            None,
            b"%d" % live.log_end,
        )
        live.end()
        answer = live.house.get(method=b"HEAD")
        assert (answer[b"content-length"], answer.content) == (b"%d" % live.log_end, b"")

    def test_a_format_that_is_not_declared_is_waited_for(self):
        house = House()
        peer, reader = house.connect(), house.connect()
        peer.send(post_head(CHUNKED, OPEN), b"POST")
        reader.get(b"/a")
        assert reader.answers() == []
        peer.send(chunk(movie()[0]))
        assert again(reader)[b"content-type"].startswith(b"video/mp4")

    def test_a_stream_that_is_removed_while_it_is_waited_for(self):
        house = House()
        peer, reader = house.connect(), house.connect()
        peer.send(post_head(CHUNKED, OPEN), b"POST")
        reader.get(b"/a")
        house.get(method=b"DELETE")
        answer = again(reader)
        assert (answer.status, answer.content, answer.whole) == (200, b"", True)


def test_an_epoch_of_which_nothing_is_held_any_more():
    house = House(memory=1000)
    peer = house.posted(b"x" * 2000)
    peer.post(b"/a", b"", b"Content-Range: bytes */2000")
    assert house.get().status == 410
    answer = house.get(method=b"HEAD")
    assert (answer.status, answer[b"upload-offset"], answer[b"first-offset"]) == (200, b"2000", b"2000")
    assert answer[b"content-length"] == b"0"


class TestPossession:
    def test_parts_for_who_has_nothing(self):
        live = Movie(5)
        reader = live.reader(NOTHING, PARTS)
        live.more()
        answer = again(reader)
        assert (answer.status, answer[b"transfer-encoding"]) == (206, b"chunked")
        told = parts_of(answer)
        starts = [0, *live.starts[3:6]]
        assert [start for start, _, _ in told] == starts
        assert all(live.whole[start:end] == content for start, end, content in told)
        live.end()
        assert again(reader).whole

    def test_parts_for_who_has_the_initialization_segment(self):
        live = Movie(5)
        told = parts_of(again(live.reader(has(0, live.starts[0]), PARTS)))
        assert [start for start, _, _ in told] == live.starts[3:5]

    def test_parts_for_who_is_at_the_edge(self):
        live = Movie(5)
        reader = live.reader(has(0, live.log_end), PARTS)
        assert parts_of(again(reader)) == []
        live.more()
        assert [start for start, _, _ in parts_of(again(reader))] == [live.starts[5]]

    def test_parts_for_who_has_more_than_is_known(self):
        live = Movie(1)
        end = live.log_end
        live.peer.post(b"/a", live.whole[end : end + 3], content_range(end, end + 3))
        reader = live.reader(has(0, end + 3), PARTS)
        assert parts_of(again(reader)) == []
        live.peer.post(b"/a", live.whole[end + 3 : live.starts[2]], content_range(end + 3, live.starts[2]))
        [(start, _, content)] = parts_of(again(reader))
        assert (start, content) == (end + 3, live.whole[end + 3 : live.starts[2]])

    def test_a_single_range_goes_on(self):
        live = Movie(5)
        reader = live.reader(has(0, live.starts[4]))
        live.more()
        answer = again(reader)
        assert answer[b"content-range"] == LIVE % (live.starts[4], MAX_LAST)
        assert answer.content == live.whole[live.starts[4] : live.starts[6]]

    def test_a_single_range_with_the_initialization_segment_where_that_adjoins(self):
        live = Movie(2)
        reader = live.reader(NOTHING)
        live.more()
        answer = again(reader)
        assert (answer[b"content-range"], answer.content) == (LIVE % (0, MAX_LAST), live.whole[: live.starts[3]])

    def test_even_where_the_memory_has_it_no_longer(self):
        live = Movie(1, memory=1300)
        assert live.house.epoch().log.start == live.starts[0]
        answer = again(live.reader(NOTHING))
        assert (answer[b"content-range"], answer.content) == (LIVE % (0, MAX_LAST), live.whole[: live.starts[1]])
        answer = again(live.reader(NOTHING, b"Prefer: wait=5"))
        assert (answer[b"content-range"], answer.content) == (
            b"bytes 0-%d/*" % (live.starts[1] - 1),
            live.whole[: live.starts[1]],
        )

    @pytest.mark.parametrize("wait", [(), (b"Prefer: wait=5",)])
    def test_the_initialization_segment_alone_where_it_does_not(self, wait):
        live = Movie(5)
        answer = again(live.reader(NOTHING, *wait))
        assert (answer.status, answer.content, answer.whole) == (206, live.initialization, True)
        assert answer[b"content-range"] == b"bytes 0-%d/*" % (live.starts[0] - 1)

    def test_an_ended_epoch_in_ascending_order(self):
        live = Movie()
        live.end()
        total = len(live.whole)
        answer = again(live.reader(has(0, 10), has(20, 30)))
        assert (answer[b"content-range"], answer.content) == (b"bytes 10-19/%d" % total, live.whole[10:20])
        answer = again(live.reader(has(0, live.starts[0]), has(live.starts[1], live.starts[2]), PARTS))
        starts = [start for start, _, _ in parts_of(answer)]
        assert starts == [live.starts[0], *live.starts[2:7]]
        assert answer.whole
        answer = again(live.reader(has(0, total)))
        assert (answer.status, answer[b"content-range"]) == (204, b"bytes */%d" % total)

    def test_another_epoch(self):
        live = Movie(1)
        tag = etag(live.house)
        assert again(live.reader(NOTHING, b"If-Match: " + tag)).status == 206
        answer = again(live.reader(NOTHING, b'If-Match: "old"'))
        assert (answer.status, answer[b"etag"]) == (412, tag)

    def test_beyond_the_end(self):
        live = Movie(1)
        answer = again(live.reader(has(0, live.log_end + 1)))
        assert (answer.status, answer[b"content-range"]) == (416, b"bytes */%d" % live.log_end)

    def test_too_many(self):
        live = Movie(1, max_ranges=2)
        assert again(live.reader(has(0, 1), has(2, 3), has(4, 5))).status == 400


class TestLongPoll:
    def test_what_is_new_at_once(self):
        live = Movie(5)
        answer = again(live.reader(has(0, live.starts[4]), b"Prefer: wait=9"))
        assert (answer.status, answer.whole, answer[b"preference-applied"]) == (206, True, b"wait=9")
        assert answer.content == live.whole[live.starts[4] : live.starts[5]]

    def test_what_comes_while_it_waits(self):
        live = Movie(5)
        reader = live.reader(has(0, live.log_end), b"Prefer: wait=9", PARTS)
        live.house.clock.advance(8)
        assert reader.answers() == []
        live.more()
        answer = again(reader)
        assert [start for start, _, _ in parts_of(answer)] == [live.starts[5]]
        assert answer.whole

    def test_with_the_initialization_segment(self):
        live = Movie(5)
        answer = again(live.reader(NOTHING, b"Prefer: wait=9", PARTS))
        assert [start for start, _, _ in parts_of(answer)] == [0, *live.starts[3:5]]

    def test_in_vain(self):
        live = Movie(5)
        reader = live.reader(has(0, live.log_end), b"Prefer: wait=9")
        live.house.clock.advance(9)
        answer = again(reader)
        assert (answer.status, answer[b"preference-applied"], answer[b"content-range"]) == (204, b"wait=9", None)

    def test_until_the_end(self):
        live = Movie(5)
        reader = live.reader(has(0, live.log_end), b"Prefer: wait=9")
        live.end()
        answer = again(reader)
        assert (answer.status, answer[b"content-range"]) == (204, b"bytes */%d" % live.log_end)


class TestRange:
    @pytest.mark.parametrize(
        ("said", "start", "end"),
        [
            (b"bytes=0-4", 0, 5),
            (b"bytes=3-", 3, None),
            (b"bytes=-5", -5, None),
            (b"bytes=3-99999999", 3, None),
            (b"bytes=0-0", 0, 1),
        ],
    )
    @pytest.mark.parametrize("ended", [False, True])
    def test_what_is_there(self, said, start, end, ended):
        live = Movie()
        if ended:
            live.end()
        answer = again(live.reader(b"Range: " + said))
        assert (answer.status, answer.content, answer.whole) == (206, live.whole[start:end], True)
        total = b"%d" % len(live.whole) if ended else b"*"
        assert answer[b"content-range"].endswith(b"/" + total)

    def test_an_open_end_is_echoed(self):
        live = Movie(5)
        reader = live.reader(b"Range: bytes=7-%d" % MAX_LAST)
        live.more()
        answer = again(reader)
        assert answer[b"content-range"] == LIVE % (7, MAX_LAST)
        assert (answer.content, answer.whole) == (live.whole[7 : live.starts[6]], False)
        reader = live.reader(b"Range: bytes=%d-%d" % (live.log_end, MAX_LAST))
        assert again(reader).content == b""
        live.more()
        assert again(reader).content == live.fragments[6]

    def test_all_of_a_live_stream_is_the_live_stream(self):
        live = Movie(5)
        answer = again(live.reader(b"Range: bytes=0-"))
        assert (answer.status, answer.whole) == (200, False)
        answer = live.house.get(b"Range: bytes=0-", method=b"HEAD")
        assert answer[b"content-range"] == b"bytes 0-%d/*" % (live.log_end - 1)

    def test_several(self):
        live = Movie()
        answer = again(live.reader(b"Range: bytes=0-4, 10-14, -3"))
        assert [(start, content) for start, _, content in parts_of(answer)] == [
            (0, live.whole[:5]),
            (10, live.whole[10:15]),
            (len(live.whole) - 3, live.whole[-3:]),
        ]
        assert answer[b"content-length"] == b"%d" % len(answer.content)

    @pytest.mark.parametrize("said", [b"bytes=99999999-", b"bytes=-0", b"bytes=99999999-%d" % MAX_LAST])
    def test_nothing_there(self, said):
        live = Movie()
        answer = again(live.reader(b"Range: " + said))
        assert (answer.status, answer[b"content-range"]) == (416, b"bytes */%d" % len(live.whole))

    def test_no_longer_there(self):
        live = Movie(memory=1500)
        assert again(live.reader(b"Range: bytes=3-9")).status == 410
        first = live.house.epoch().first_offset
        assert again(live.reader(b"Range: bytes=-99999999")).content == live.whole[first:]

    @pytest.mark.parametrize("good", [True, False, None])
    def test_if_range(self, good):
        live = Movie()
        live.end()
        tag = {True: etag(live.house), False: b'"old"', None: b"Sun, 06 Nov 1994 08:49:37 GMT"}[good]
        answer = again(live.reader(b"Range: bytes=0-4", b"If-Range: " + tag))
        assert answer.status == (206 if good else 200)

    def test_from_the_disk(self):
        disk = Disk()
        live = Movie(disk=disk, memory=600)
        disk.kept[0].write()
        assert live.house.epoch().log.start > live.starts[1]
        assert again(live.reader(b"Range: bytes=3-99999999")).content == live.whole[3:]
        assert [content for _, _, content in parts_of(again(live.reader(b"Range: bytes=0-2, 5-6")))] == [
            live.whole[:3],
            live.whole[5:7],
        ]


def test_a_connection_that_is_lost_in_the_midst_of_several_ranges():
    disk = Disk()
    live = Movie(disk=disk, memory=600)
    disk.kept[0].write()
    disk.slow = True
    reader: Any = live.reader(b"Range: bytes=0-2, 5-6")
    exchange = reader.channel._exchange
    exchange.abort()
    disk.turn()
    live.house.clock.advance(0)
    assert exchange.answer is Answer.DONE
    assert reader.channel not in live.house.factory.channels
