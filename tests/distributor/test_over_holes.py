"""Readers and holes: each form of answer comes to one, passes it, ends at it, or waits for it to be filled."""

from __future__ import annotations

import hashlib
import json

import pytest
from twisted.internet.defer import Deferred, succeed

from sdp.distributor.digest import Digests
from sdp.http1.ranges import MAX_LAST

from .disk import Disk
from .house import House, content_range
from .network import outcome
from .test_answers import Movie, again, has, parts_of
from .test_holes import SPARSE, holed, match

PARTS = b"Accept: multipart/byteranges"
NOTHING = b"Content-Range: bytes */0"
LOSSLESS = b"Prefer: lossless"
OPEN_RANGE = b"Range: bytes=%d-9007199254740991"
HELD = b"0123456789"
GAP = b"abcdefghij"
REST = b"klmno"


def fill(house, peer, data=GAP, start=10):
    [answer] = peer.post(b"/a", data, content_range(start, start + len(data)), SPARSE, match(house))
    assert answer.status == 204


def leave(house, peer):
    [answer] = peer.post(b"/a", REST, content_range(20, 25), SPARSE, match(house))
    assert answer.status == 204


def opened(*lines, memory=1 << 20):
    """A stream of ten bytes, its Origin, and somebody who reads it live."""
    house = House(Disk(), memory=memory)
    peer = house.posted(HELD)
    reader = house.connect()
    reader.get(b"/a", *lines)
    return house, peer, reader


def in_turn(work):
    work()
    return succeed(None)


def places(answer):
    return [(start, end) for start, end, _ in parts_of(answer)]


class TestByRange:
    @pytest.mark.parametrize("start", [10, 15, 19])
    def test_it_begins_in_one(self, start):
        house, _, _ = holed()
        for end in (b"", b"22", b"%d" % MAX_LAST):
            answer = house.get(b"Range: bytes=%d-%b" % (start, end))
            assert (answer.status, answer[b"upload-missing"], answer[b"content-range"]) == (
                416,
                b"10-19",
                b"bytes */25",
            )
            assert json.loads(answer.content)["detail"].startswith(f"The bytes from {start} to 20 are missing")

    def test_it_runs_into_one(self):
        house, _, _ = holed()
        answer = house.get(b"Range: bytes=4-24")
        assert (answer.status, answer[b"content-range"], answer.content) == (206, b"bytes 4-9/*", b"456789")
        assert house.get(b"Range: bytes=20-24").content == REST
        assert house.get(b"Range: bytes=-7").status == 416

    def test_several(self):
        house, _, _ = holed()
        answer = house.get(b"Range: bytes=8-12,14-16,22-23")
        assert places(answer) == [(8, 10), (22, 24)]
        assert house.get(b"Range: bytes=12-13,14-16").status == 416

    def test_a_live_one_ends_there_and_begins_again_behind_it(self):
        house, peer, reader = opened(OPEN_RANGE % 5)
        leave(house, peer)
        answer = again(reader)
        assert (answer.whole, answer.content) == (True, b"56789")
        reader = house.connect()
        [answer] = reader.get(b"/a", OPEN_RANGE % 20)
        assert (answer.whole, answer.content) == (False, REST)


class TestLossless:
    def test_a_range_waits(self):
        house, peer, reader = opened(OPEN_RANGE % 5, LOSSLESS)
        leave(house, peer)
        assert (again(reader).whole, again(reader).content) == (False, b"56789")
        fill(house, peer, b"abc")
        assert again(reader).content == b"56789abc"
        fill(house, peer, b"defghij", 13)
        assert again(reader).content == b"56789abcdefghijklmno"
        peer.post(b"/a", b"pq", content_range(25, 27), match(house))
        assert again(reader).content == b"56789abcdefghijklmnopq"

    def test_it_may_begin_in_a_hole(self):
        house, peer, _ = holed()
        reader = house.connect()
        reader.get(b"/a", OPEN_RANGE % 10, LOSSLESS)
        assert again(reader).content == b""
        fill(house, peer)
        assert again(reader).content == GAP + REST

    def test_until_the_epoch_has_ended(self):
        house, peer, reader = opened(OPEN_RANGE % 5, LOSSLESS)
        leave(house, peer)
        peer.post(b"/a", b"", b"Content-Range: bytes */25")
        answer = again(reader)
        assert (answer.whole, answer.content) == (True, b"56789")

    def test_parts(self):
        house, peer, reader = opened(PARTS, NOTHING, LOSSLESS)
        leave(house, peer)
        assert places(again(reader)) == [(0, 10)]
        fill(house, peer)
        assert places(again(reader)) == [(0, 10), (10, 20), (20, 25)]

    def test_parts_go_on_behind_it_once_the_epoch_has_ended(self):
        house, peer, reader = opened(PARTS, NOTHING, LOSSLESS)
        leave(house, peer)
        peer.post(b"/a", b"", b"Content-Range: bytes */25")
        answer = again(reader)
        assert (answer.whole, places(answer)) == (True, [(0, 10), (20, 25)])


class TestLive:
    def test_parts_tell_it(self):
        house, peer, reader = opened(PARTS, NOTHING)
        leave(house, peer)
        fill(house, peer)
        peer.post(b"/a", b"pq", content_range(25, 27), match(house))
        assert places(again(reader)) == [(0, 10), (20, 25), (25, 27)]

    def test_backfill_brings_what_is_filled_later(self):
        house, peer, reader = opened(PARTS, NOTHING, b"Prefer: backfill")
        leave(house, peer)
        assert places(again(reader)) == [(0, 10), (20, 25)]
        fill(house, peer, b"abc")
        peer.post(b"/a", b"pq", content_range(25, 27), match(house))
        for _ in range(4):
            house.clock.advance(0.02)
        assert sorted(places(again(reader))) == [(0, 10), (10, 13), (20, 25), (25, 27)]
        fill(house, peer, b"defghij", 13)
        for _ in range(4):
            house.clock.advance(0.02)
        assert sorted(places(again(reader)))[2] == (13, 20)
        peer.post(b"/a", b"", b"Content-Range: bytes */27")
        assert again(reader).whole

    def test_backfill_does_not_wait_for_what_nobody_brings(self):
        house, peer, reader = opened(PARTS, NOTHING, b"Prefer: backfill")
        leave(house, peer)
        peer.post(b"/a", b"", b"Content-Range: bytes */25")
        assert again(reader).whole

    def test_a_single_range_ends_there(self):
        house, peer, reader = opened(NOTHING)
        leave(house, peer)
        answer = again(reader)
        assert (answer.whole, answer.content) == (True, HELD)
        reader = house.connect()
        [answer] = reader.get(b"/a", has(0, 10), match(house))
        assert (answer[b"content-range"], answer.content) == (b"bytes 20-%d/*" % MAX_LAST, REST)

    def test_plainly_it_goes_on(self):
        house, peer, reader = opened()
        leave(house, peer)
        assert (again(reader).whole, again(reader).content) == (False, HELD + REST)
        assert not reader.closing

    @pytest.mark.parametrize("disk", [True, False])
    def test_in_the_midst_of_a_record_a_plain_one_breaks_off(self, disk):
        house = House(Disk() if disk else None)
        old = house.posted(HELD)
        old.send(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Range: bytes 10-13/*\r\nContent-Length: 4\r\n\r\nab", b"POST")
        reader = house.connect()
        reader.get(b"/a")
        assert again(reader).content.endswith(b"ab")
        peer = house.connect()
        [answer] = peer.post(b"/a", REST, content_range(20, 25), SPARSE, match(house))
        assert answer.status == 204
        assert reader.closing
        assert not again(reader).whole

    @pytest.mark.parametrize("lines", [(), (PARTS, NOTHING)])
    def test_without_a_disk_they_go_on_as_well(self, lines):
        house = House()
        peer = house.posted(HELD)
        reader = house.connect()
        reader.get(b"/a", *lines)
        leave(house, peer)
        answer = again(reader)
        content = b"".join(data for _, _, data in parts_of(answer)) if lines else answer.content
        assert (answer.whole, content) == (False, HELD + REST)

    def test_at_a_time(self):
        house, _, _ = holed()
        reader = house.connect()
        reader.get(b"/a?at=3600")
        assert again(reader).content == HELD + REST

    def test_a_long_poll(self):
        house, _, _ = holed()
        [answer] = house.connect().get(b"/a", has(0, 4), match(house), LOSSLESS, b"Prefer: wait=5")
        assert (answer[b"content-range"], answer.content) == (b"bytes 4-9/*", b"456789")
        [answer] = house.connect().get(b"/a", has(0, 10), match(house), b"Prefer: wait=5")
        assert (answer[b"content-range"], answer.content) == (b"bytes 20-24/*", REST)

    def test_fragments_over_a_hole(self):
        stream = Movie(3, disk=Disk())
        house = stream.house
        reader = house.connect()
        reader.get(b"/a")
        start = house.epoch().end
        skipped = b"".join(stream.fragments[3:6])
        last = stream.fragments[6]
        peer = house.connect()
        at = start + len(skipped)
        [answer] = peer.post(b"/a", last, content_range(at, at + len(last)), SPARSE, match(house))
        assert answer.status == 204
        assert again(reader).content.endswith(stream.fragments[2] + last)
        newest = house.epoch().join_point()
        assert newest.offset == at
        for cut in (1, 9, len(skipped)):
            begin = house.epoch().missing[0][0]
            part = skipped[begin - start : cut]
            [answer] = peer.post(b"/a", part, content_range(begin, begin + len(part)), SPARSE, match(house))
            assert answer.status == 204
        [recording] = house.disk.kept
        offsets, at = [], 0
        for piece in (stream.initialization, *stream.fragments):
            offsets.append(at)
            at += len(piece)
        assert [record.offset for record in recording.index] == offsets
        assert [offsets.index(each.offset) - 1 for each in recording.index if each.flags & 2] == [0, 3, 6]


class TestEnded:
    def ended(self):
        house, peer, _ = holed()
        peer.post(b"/a", b"", b"Content-Range: bytes */25")
        return house

    def test_by_what_is_held_all_that_there_is(self):
        house = self.ended()
        answer = house.get(PARTS, NOTHING)
        assert (answer.whole, places(answer)) == (True, [(0, 10), (20, 25)])
        assert places(house.get(PARTS, has(0, 12), match(house))) == [(20, 25)]
        assert house.get(has(0, 10), match(house))[b"content-range"] == b"bytes 20-24/25"
        answer = house.get(has(0, 10), has(20, 25), match(house))
        assert (answer.status, answer[b"content-range"], answer[b"upload-missing"]) == (204, b"bytes */25", b"10-19")

    def test_plainly_all_that_there_is(self):
        house = self.ended()
        answer = house.get()
        assert (answer.status, answer.content, answer[b"accept-ranges"]) == (200, HELD + REST, b"none")
        assert house.get(method=b"HEAD")[b"content-length"] == b"15"
        assert house.get(b"Range: bytes=20-").content == REST

    def test_where_a_record_is_not_known_to_be_complete_it_is_left_out(self):
        house = self.ended()
        house.epoch()._whole_ends.clear()
        assert house.get().content == REST


class TestViews:
    def test_they_are_told(self):
        house, _, _ = holed()
        assert json.loads(house.get(target=b"/-/streams/a").content)["holes"] == [[10, 20]]
        assert b'sdp_stream_hole_bytes{stream="a"} 10.0' in house.get(target=b"/-/metrics").content

    def test_a_digest_is_of_what_is_held(self):
        house, _, _ = holed()
        digests = Digests(in_turn)
        asking = Deferred.fromCoroutine(digests.answer(house.epoch(), {"first": "5", "last": "22"}))
        [said] = outcome(asking)
        assert said["holes"] == [[10, 20]]
        assert said["sha256"] == hashlib.sha256(b"56789klm").hexdigest()
