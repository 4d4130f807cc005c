"""Holes in a log as Origins leave and fill them, over the wire: what is taken, what is refused, what is told."""

from __future__ import annotations

import pytest

from .disk import Disk
from .house import CHUNKED, LAST, House, chunk, content_range, post_head

SPARSE = b"Sparse: ?1"


def match(house, name=b"/a"):
    return b"If-Match: " + house.head(name)[2]


def holed(disk=None, **settings):
    """Ten bytes, a hole of ten, and five bytes; the connection that has posted them."""
    house = House(Disk() if disk is None else disk, **settings)
    peer = house.posted(b"0123456789")
    [answer] = peer.post(b"/a", b"klmno", content_range(20, 25), SPARSE, match(house))
    assert answer.status == 204
    return house, peer, answer


def told(answer):
    """Where the log ends, and what is missing."""
    return answer[b"upload-offset"], answer.headers.get(b"upload-missing")


class TestLeaving:
    def test_a_hole_is_told(self):
        house, _, answer = holed()
        assert told(answer) == (b"25", b"10-19")
        assert told(house.get(method=b"HEAD")) == (b"25", b"10-19")
        assert house.epoch().holes == ((10, 20),)
        assert [(r.offset, r.received_time is not None) for r in house.epoch().log.records] == [(20, True)]

    def test_without_the_word_it_is_a_gap(self):
        house = House(Disk())
        peer = house.posted(b"0123456789")
        for lines in ((), (match(house),), (match(house), b"Sparse: ?0")):
            [answer] = peer.post(b"/a", b"klmno", content_range(20, 25), *lines)
            assert (answer.status, *told(answer)) == (409, b"10", None)

    @pytest.mark.parametrize(("lines", "status"), [((), 400), ((b'If-Match: "other"',), 412)])
    def test_the_epoch_has_to_be_named(self, lines, status):
        house = House(Disk())
        [answer] = house.posted(b"0123456789").post(b"/a", b"klmno", content_range(20, 25), SPARSE, *lines)
        assert answer.status == status

    def test_without_a_range_there_is_no_place(self):
        house = House(Disk())
        [answer] = house.posted(b"0123456789").post(b"/a", b"klmno", SPARSE)
        assert answer.status == 400

    def test_an_unreadable_word(self):
        house = House(Disk())
        [answer] = house.posted(b"x").post(b"/a", b"klmno", content_range(20, 25), b"Sparse: yes", match(house))
        assert answer.status == 400

    def test_an_open_ended_post_may_leave_one(self):
        house = House(Disk())
        house.posted(b"0123456789")
        peer = house.connect()
        head = post_head(CHUNKED, b"Content-Range: bytes 20-9007199254740991/*", SPARSE, match(house))
        peer.send(head + chunk(b"kl"), b"POST")
        assert (house.epoch().end, house.epoch().holes) == (22, ((10, 20),))
        peer.send(chunk(b"mn") + LAST)
        assert told(peer.answer()) == (b"24", b"10-19")

    def test_nothing_is_left_by_a_head_alone(self):
        house = House(Disk())
        house.posted(b"0123456789")
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 5", content_range(20, 25), SPARSE, match(house)), b"POST")
        assert (house.epoch().accepted_end, house.epoch().holes) == (10, ())
        peer.lose()
        assert told(house.get(method=b"HEAD")) == (b"10", None)

    def test_the_initialization_segment_comes_first(self):
        house = House(Disk())
        peer = house.connect()
        init = b"\0\0\0\x10ftypisom\0\0\0\0\0\0\0\x20moov"
        [answer] = peer.post(b"/a", init, content_range(0, len(init)), b"Content-Type: video/mp4")
        assert answer.status == 201
        peer.send(post_head(b"Content-Length: 50", content_range(len(init), len(init) + 50)) + b"x", b"POST")
        other = house.connect()
        [answer] = other.post(b"/a", b"klmno", content_range(200, 205), SPARSE, match(house))
        assert answer.status == 409
        assert b"initialization segment" in answer.content

    def test_there_is_a_limit(self, monkeypatch):
        monkeypatch.setattr("sdp.distributor.posting.MOST_HOLES", 1)
        house, peer, _ = holed()
        [answer] = peer.post(b"/a", b"z", content_range(30, 31), SPARSE, match(house))
        assert (answer.status, *told(answer)) == (409, b"25", b"10-19")

    def test_without_a_disk_the_log_begins_anew(self):
        house = House()
        peer = house.posted(b"0123456789")
        [answer] = peer.post(b"/a", b"klmno", content_range(20, 25), SPARSE, match(house))
        assert (answer.status, *told(answer)) == (204, b"25", None)
        assert house.get(method=b"HEAD")[b"first-offset"] == b"20"
        [answer] = peer.post(b"/a", b"a", content_range(10, 11), SPARSE, match(house))
        assert answer.status == 409

    def test_sixteen_are_told(self):
        house = House(Disk())
        peer = house.posted(b"0")
        for at in range(2, 42, 2):
            [answer] = peer.post(b"/a", b"x", content_range(at, at + 1), SPARSE, match(house))
        named = answer[b"upload-missing"].split(b", ")
        assert (len(named), named[0], named[-1]) == (16, b"1-1", b"31-31")


class TestFilling:
    def test_from_the_front(self):
        house, peer, _ = holed()
        for start, data, left in ((10, b"abc", b"13-19"), (13, b"defg", b"17-19"), (17, b"hij", None)):
            [answer] = peer.post(b"/a", data, content_range(start, start + len(data)), SPARSE, match(house))
            assert (answer.status, *told(answer)) == (204, b"25", left)
        assert house.get(b"Range: bytes=0-24").content == b"0123456789abcdefghijklmno"

    def test_between_live_ones(self):
        house, peer, _ = holed()
        for start, data in ((10, b"abcde"), (25, b"pq"), (15, b"fghij"), (27, b"r")):
            [answer] = peer.post(b"/a", data, content_range(start, start + len(data)), SPARSE, match(house))
            assert answer.status == 204
        assert told(answer) == (b"28", None)
        assert house.get(b"Range: bytes=0-27").content == b"0123456789abcdefghijklmnopqr"

    def test_over_all_that_is_held_and_past_the_end(self):
        house, peer, _ = holed()
        whole = b"0123456789abcdefghijklmnopqr"
        [answer] = peer.post(b"/a", whole, content_range(0, 28), SPARSE, match(house))
        assert (answer.status, *told(answer)) == (204, b"28", None)
        assert house.get(b"Range: bytes=0-27").content == whole

    def test_byte_by_byte(self):
        house, peer, _ = holed()
        head = post_head(b"Content-Length: 24", content_range(4, 28), SPARSE, match(house))
        for at in range(len(head)):
            peer.send(head[at : at + 1], *([b"POST"] if not at else []))
        for byte in b"456789abcdefghijklmnopqr":
            peer.send(bytes([byte]))
        assert (peer.answer().status, house.epoch().holes) == (204, ())
        assert house.get(b"Range: bytes=0-27").content == b"0123456789abcdefghijklmnopqr"

    @pytest.mark.parametrize("start", [11, 19])
    def test_not_from_within(self, start):
        house, peer, _ = holed()
        [answer] = peer.post(b"/a", b"x", content_range(start, start + 1), SPARSE, match(house))
        assert (answer.status, *told(answer)) == (409, b"25", b"10-19")
        assert b"from 10" in answer.content

    @pytest.mark.parametrize("start", [5, 10, 12])
    def test_not_without_the_word(self, start):
        house, peer, _ = holed()
        content = b"56789abcdefg"[start - 5 :]
        [answer] = peer.post(b"/a", content, content_range(start, 17), match(house))
        assert (answer.status, *told(answer)) == (409, b"25", b"10-19")

    def test_what_differs_is_refused_before_and_after_it(self):
        house, peer, _ = holed()
        [answer] = peer.post(b"/a", b"8Xab", content_range(8, 12), SPARSE, match(house))
        assert (answer.status, *told(answer)) == (409, b"25", b"10-19")
        [answer] = house.connect().post(b"/a", b"abcdefghijkX", content_range(10, 22), SPARSE, match(house))
        assert (answer.status, *told(answer)) == (409, b"25", None)

    def test_two_holes_in_turn(self):
        house, peer, _ = holed()
        for start, data in ((30, b"uvw"), (25, b"pq"), (10, b"abc"), (27, b"rst"), (13, b"defghij")):
            [answer] = peer.post(b"/a", data, content_range(start, start + len(data)), SPARSE, match(house))
            assert answer.status == 204
        assert told(answer) == (b"33", None)
        assert house.get(b"Range: bytes=0-32").content == b"0123456789abcdefghijklmnopqrstuvw"

    def test_once_the_epoch_has_ended(self):
        house, peer, _ = holed()
        [answer] = peer.post(b"/a", b"", b"Content-Range: bytes */25")
        assert (answer.status, *told(answer)) == (204, b"25", b"10-19")
        [answer] = house.connect().post(b"/a", b"abcdefghij", content_range(10, 20), SPARSE, match(house))
        assert (answer.status, *told(answer)) == (204, b"25", None)
        assert house.get().content == b"0123456789abcdefghijklmno"

    def test_an_ended_epoch_takes_nothing_more_at_its_end(self):
        house, peer, _ = holed()
        peer.post(b"/a", b"", b"Content-Range: bytes */25")
        [answer] = peer.post(b"/a", b"pq", content_range(25, 27), SPARSE, match(house))
        assert answer.status == 409
        [answer] = peer.post(b"/a", b"hijk", content_range(17, 21), match(house))
        assert answer.status == 409

    def test_who_fills_is_the_origin(self):
        house = House(Disk())
        old, newcomer = house.connect(), house.connect()
        for peer in (old, newcomer):
            peer.send(b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nConnection-Type: origin\r\n\r\n", b"CONNECT")
            assert peer.answer().status == 200
        old.post(b"/a", b"0123456789", content_range(0, 10), b"Content-Type: x/y")
        old.post(b"/a", b"klmno", content_range(20, 25), SPARSE, match(house))
        [answer] = newcomer.post(b"/a", b"abc", content_range(10, 13), SPARSE, match(house))
        assert answer.status == 204
        assert house.streams.live(house.epoch()).holder is newcomer.channel

    def test_records_in_a_hole_are_found(self):
        house, peer, _ = holed()
        lines = (SPARSE, match(house), b"Capture-Time: 77")
        peer.post(b"/a", b"abcde", content_range(10, 15), *lines)
        peer.post(b"/a", b"fghij", content_range(15, 20), *lines)
        [recording] = house.disk.kept
        found = [(record.offset, record.capture_time) for record in recording.index]
        assert found == [(0, None), (10, 77), (15, 77), (20, None)]

    def test_where_the_disk_fails_nothing_would_keep_it(self):
        house, peer, _ = holed()
        house.disk.kept[0].fail()
        [answer] = peer.post(b"/a", b"abc", content_range(10, 13), SPARSE, match(house))
        assert answer.status == 507
        [answer] = peer.post(b"/a", b"pq", content_range(25, 27), match(house))
        assert answer.status == 204
