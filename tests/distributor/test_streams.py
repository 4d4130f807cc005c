"""Who is whose Origin, when a publisher is gone for good, and what is kept of the past."""

from __future__ import annotations

import pytest
from twisted.logger import LogEvent, Logger

from sdp.distributor.fanout import SLICE_CONSUMERS
from sdp.distributor.forms import Raw
from sdp.distributor.resumption import Resumption
from sdp.errors import StorageError

from .disk import Disk
from .house import CHUNKED, LAST, House, chunk, content_range, post_head
from .tap import Consumer
from .test_ingest import OPEN, etag, log

RAW = Raw(chunked=False)


def publisher(house, data=b"hello"):
    """An ordinary publisher in the midst of its content."""
    peer = house.connect()
    peer.send(post_head(CHUNKED, b"Content-Type: x/y") + chunk(data), b"POST")
    return peer


class TestOrdinaryPublisher:
    def test_its_last_chunk_ends_the_epoch(self):
        house = House()
        peer = publisher(house)
        assert not house.epoch().ended
        peer.send(LAST)
        assert peer.answer().status == 201
        assert house.epoch().ended

    def test_the_last_byte_of_its_content_length_does(self):
        house = House()
        [answer] = house.connect().post(b"/a", b"hello")
        assert (answer.status, house.epoch().ended) == (201, True)

    def test_a_broken_connection_ends_it_after_a_while(self):
        house = House(publisher_timeout=10.0)
        publisher(house).lose()
        house.clock.pump([1.0] * 9)
        assert not house.epoch().ended
        house.clock.advance(1)
        assert (house.epoch().ended, log(house)) == (True, b"hello")

    def test_or_when_the_next_one_comes(self):
        house = House()
        publisher(house).lose()
        first = house.epoch()
        publisher(house, b"again")
        assert first.ended
        assert log(house) == b"again"
        house.clock.pump([1.0] * 20)
        assert not house.epoch().ended

    def test_while_it_is_connected_there_is_no_next_one(self):
        house = House()
        publisher(house)
        other = publisher(house)
        assert other.answer().status == 409
        assert log(house) == b"hello"

    def test_somebody_may_go_on_with_its_epoch(self):
        house = House(publisher_timeout=10.0)
        publisher(house).lose()
        peer = house.connect()
        peer.send(post_head(CHUNKED, OPEN.replace(b"0-", b"5-")) + chunk(b"world"), b"POST")
        house.clock.pump([1.0] * 20)
        assert (house.epoch().ended, log(house)) == (False, b"helloworld")
        peer.lose()
        house.clock.pump([1.0] * 20)
        assert not house.epoch().ended

    def test_its_epoch_may_be_removed_before_it_ends(self):
        house = House(publisher_timeout=10.0)
        publisher(house).lose()
        house.get(method=b"DELETE")
        house.clock.pump([1.0] * 20)
        assert house.epoch() is None

    def test_an_origin_with_ranges_may_stay_away_for_long(self):
        house = House()
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 10", content_range(0, 10)) + b"hello", b"POST")
        peer.lose()
        house.clock.pump([1.0] * 100)
        assert not house.epoch().ended


class TestHolder:
    def origin(self, house):
        peer = house.connect()
        peer.get(b"h:80", b"Connection-Type: origin", method=b"CONNECT")
        peer.post(b"/a", b"hello", content_range(0, 5), b"Content-Type: x/y")
        return peer

    def test_after_the_handshake_it_stays_the_origin_between_posts(self):
        house = House()
        origin = self.origin(house)
        [answer] = house.connect().post(b"/a", b"world", content_range(5, 10))
        assert answer.status == 409
        assert origin.post(b"/a", b"world", content_range(5, 10))[0].status == 204

    def test_without_one_it_does_not(self):
        house = House()
        house.posted(b"hello")
        assert house.connect().post(b"/a", b"world", content_range(5, 10))[0].status == 204

    def test_until_it_closes(self):
        house = House()
        self.origin(house).lose()
        assert house.connect().post(b"/a", b"world", content_range(5, 10))[0].status == 204

    def test_or_is_taken_over(self):
        house = House()
        origin = self.origin(house)
        newcomer = house.connect()
        assert newcomer.post(b"/a", b"world", content_range(5, 10), b"If-Match: " + etag(house))[0].status == 204
        assert origin.wire.aborted
        house.clock.advance(0)
        assert log(house) == b"helloworld"

    def test_another_may_end_the_epoch_by_its_name(self):
        house = House()
        origin = self.origin(house)
        other = house.connect()
        assert other.get(b"/a", b"Content-Range: bytes */5", method=b"POST")[0].status == 409
        [answer] = other.get(b"/a", b"Content-Range: bytes */5", b"If-Match: " + etag(house), method=b"POST")
        assert (answer.status, origin.wire.aborted) == (204, True)

    def test_the_end_of_an_epoch_frees_it(self):
        house = House()
        origin = self.origin(house)
        origin.get(b"/a", b"Content-Range: bytes */5", method=b"POST")
        assert publisher(house).answers() == []
        assert not origin.wire.aborted

    def test_a_kept_connection_does_not_pile_up_what_it_was(self):
        house = House()
        plain, origin = house.posted(b"hello"), house.connect()
        for at in range(5, 25):
            plain.post(b"/a", b"x", content_range(at, at + 1))
        origin.get(b"h:80", b"Connection-Type: origin", method=b"CONNECT")
        for number in range(20):
            origin.post(b"/b%d" % number, b"hello", content_range(0, 5, 5), b"Content-Type: x/y")
        assert (len(plain.channel.on_closed), len(origin.channel.on_closed)) == (0, 0)
        origin.post(b"/c", b"hello", content_range(0, 5), b"Content-Type: x/y")
        assert len(origin.channel.on_closed) == 1


class TestPast:
    def epochs(self, house, number):
        tags = []
        for at in range(number):
            house.connect().post(b"/a", b"%d" % at, content_range(0, 1, 1), b"Content-Type: x/y")
            tags.append(etag(house).strip(b'"'))
        return tags

    def test_some_past_epochs_stay_in_memory(self):
        house = House(keep_unrecorded=2)
        tags = self.epochs(house, 4)
        found = [house.get(target=b"/a?epoch=" + tag) for tag in tags]
        assert [answer.status for answer in found] == [404, 200, 200, 200]
        assert [answer.content for answer in found[1:]] == [b"1", b"2", b"3"]
        assert found[1][b"etag"] == b'"%b"' % tags[1]
        assert len(house.streams._live) == 3

    def test_all_that_are_recorded_stay(self):
        house = House(Disk(), keep_unrecorded=0)
        tags = self.epochs(house, 4)
        assert [house.get(target=b"/a?epoch=" + tag).content for tag in tags] == [b"0", b"1", b"2", b"3"]

    def test_a_reader_of_a_forgotten_epoch_ends_well(self):
        house = House(keep_unrecorded=0)
        house.posted(b"hello")
        reader = house.connect()
        reader.get(b"/a")
        first = house.epoch()
        publisher(house)
        answer = reader.answer()
        assert (answer.content, answer.whole) == (b"hello", True)
        assert house.streams.live(first).holder is None
        assert house.streams.live(first).fanout.counters is house.streams.counters

    def test_there_is_a_limit_to_the_names(self):
        house = House(max_streams=1)
        house.posted(b"hello")
        assert house.connect().post(b"/b", b"hello", content_range(0, 5))[0].status == 503
        assert house.connect().post(b"/a", b"hello")[0].status == 201


class TestRemoval:
    def test_nothing_is_left(self):
        disk = Disk()
        house = House(disk)
        house.posted(b"hello")
        reader = house.connect()
        reader.get(b"/a")
        answer = house.get(method=b"DELETE")
        assert (answer.status, answer[b"upload-offset"], disk.removed) == (204, b"0", ["a"])
        assert reader.answer().whole
        assert house.head()[0] == 404
        assert house.get(method=b"DELETE").status == 404

    def test_who_waits_for_the_disk_is_told(self):
        disk = Disk(prompt=False)
        house = House(disk)
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 10", content_range(0, 10)) + b"h", b"POST")
        disk.kept[0].backlogged = True
        peer.send(b"ello")
        peer.send(b"world")
        house.get(method=b"DELETE")
        assert peer.reading
        assert peer.answer().status == 409


class TestWaiting:
    def test_for_a_stream_that_begins(self):
        house = House()
        reader = house.connect()
        reader.get(b"/a", b"Prefer: wait=5")
        house.clock.advance(4)
        assert reader.answers() == []
        house.posted(b"hello")
        assert reader.answer().content == b"hello"

    def test_in_vain(self):
        house = House()
        reader = house.connect()
        reader.get(b"/a", b"Prefer: wait=5")
        house.clock.advance(5)
        answer = reader.answer()
        assert (answer.status, answer[b"retry-after"], answer[b"upload-offset"]) == (404, b"1", b"0")

    def test_a_reader_who_leaves_is_forgotten(self):
        house = House()
        reader, other = house.connect(), house.connect()
        for each in (reader, other):
            each.get(b"/a", b"Prefer: wait=5")
        reader.lose()
        assert len(house.streams._arrivals["a"]) == 1
        other.lose()
        assert house.streams._arrivals == {}

    def test_for_a_first_record_of_an_epoch_that_is_empty(self):
        house = House()
        peer = house.connect()
        peer.send(post_head(CHUNKED, OPEN, b"Content-Type: x/y"), b"POST")
        reader = house.connect()
        reader.get(b"/a", b"Prefer: wait=5")
        assert reader.answers() == []
        peer.send(chunk(b"hello"))
        assert reader.answer().content == b"hello"


class TestState:
    def test_live_stalled_ended(self):
        house = House(stalled_after=5.0)
        peer = house.connect()
        peer.send(post_head(CHUNKED, OPEN, b"Content-Type: x/y"), b"POST")
        epoch = house.epoch()
        assert house.streams.state(epoch) == "stalled"
        peer.send(chunk(b"hello"))
        assert house.streams.state(epoch) == "live"
        house.clock.advance(5)
        assert house.streams.state(epoch) == "live"
        house.clock.advance(0.1)
        assert house.streams.state(epoch) == "stalled"
        epoch.finish()
        assert house.streams.state(epoch) == "ended"

    def test_bit_rate(self):
        house = House()
        peer = house.posted(b"x" * 100)
        live = house.streams.live(house.epoch())
        assert house.streams.bit_rate(live) == 0.0
        for at in range(1, 20):
            house.clock.advance(1)
            peer.post(b"/a", b"x" * 100, content_range(at * 100, at * 100 + 100))
        assert house.streams.bit_rate(live) == 800.0
        house.epoch().finish()
        assert house.streams.bit_rate(live) == 0.0


class TestDiskFails:
    def test_it_is_logged_and_the_stream_goes_on(self, monkeypatch):
        disk = Disk(prompt=False)
        house = House(disk, memory=600)
        told: list[LogEvent] = []
        monkeypatch.setattr(Resumption, "log", Logger(observer=told.append))  # type: ignore[arg-type]  # any callable
        peer = house.posted(b"hello")
        disk.kept[0].fail("No space is left.")
        assert [event["detail"] for event in told if "detail" in event] == ["No space is left."]
        for at in range(5, 30, 5):
            assert peer.post(b"/a", b"world", content_range(at, at + 5))[0].status == 204
        assert house.epoch().log.start > 0
        assert house.epoch().first_offset == house.epoch().log.start

    @pytest.mark.parametrize("again", [1, 2])
    def test_a_store_that_cannot_begin_is_logged(self, again):
        disk = Disk()
        disk.refusing = StorageError("No space is left.")
        house = House(disk)
        for _ in range(again):
            house.connect().post(b"/a", b"hello", content_range(0, 5, 5), b"Content-Type: x/y")
        assert house.get().content == b"hello"
        assert house.epoch().recording is None


class TestCrowd:
    def test_a_publisher_who_is_faster_than_the_round_waits_for_it(self):
        house = House(memory=40_000)
        peer = publisher(house)
        fanout = house.streams.live(house.epoch()).fanout
        consumers = [Consumer(5) for _ in range(SLICE_CONSUMERS + 1)]
        for consumer in consumers:
            fanout.stand(consumer, RAW)
        peer.send(chunk(b"a"))
        assert peer.wire.producerState == "producing"
        peer.send(chunk(bytes(12_000)))
        assert peer.wire.producerState == "paused"
        house.clock.advance(0)
        assert peer.wire.producerState == "producing"
        assert {len(consumer.outflow.taken) for consumer in consumers} == {12_001}
