"""A POST's bytes on their way to the log, as the connections that send them see it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from sdp.errors import StorageError
from sdp.http1.ranges import MAX_LAST

from .disk import Disk, Kept
from .house import CHUNKED, LAST, House, chunk, content_range, post_head

OPEN = b"Content-Range: bytes 0-%d/*" % MAX_LAST


def log(house, name="a"):
    epoch = house.epoch(name)
    return b"".join(epoch.log.read(epoch.log.start))


def etag(house):
    return house.head()[2]


class TestAppending:
    def test_bytes_are_in_the_log_before_the_body_is_whole(self):
        house = House()
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 10", content_range(0, 10)) + b"hello", b"POST")
        assert log(house) == b"hello"
        peer.send(b"world")
        answer = peer.answer()
        assert (answer.status, answer[b"upload-offset"], answer[b"etag"]) == (201, b"10", etag(house))

    def test_what_follows_goes_on(self):
        house = House()
        house.posted(b"hello", b"world")
        assert log(house) == b"helloworld"
        assert [record.offset for record in house.epoch().log.records] == [0, 5]

    def test_what_is_said_of_the_record(self):
        house = House()
        house.posted(b"hello", lines=(b"Content-Type: x/y", b"Capture-Time: 7", b"Random-Access: ?0"))
        [record] = house.epoch().log.records
        assert (record.capture_time, record.received_time, record.flags) == (7, 1_700_000_000_000_000, 0)

    def test_sending_again_is_safe(self):
        house = House()
        house.posted(b"hello", b"world")
        peer = house.connect()
        assert [each.status for each in peer.post(b"/a", b"ellowo", content_range(1, 7))] == [204]
        assert [each.status for each in peer.post(b"/a", b"orld!!", content_range(6, 12))] == [204]
        assert log(house) == b"helloworld!!"

    def test_what_differs_is_refused(self):
        house = House()
        house.posted(b"hello")
        [answer] = house.connect().post(b"/a", b"loX", content_range(3, 6))
        assert (answer.status, answer[b"upload-offset"]) == (204, b"6")
        [answer] = house.connect().post(b"/a", b"lxY", content_range(3, 6))
        assert (answer.status, answer[b"upload-offset"]) == (409, b"6")
        assert log(house) == b"helloX"

    def test_the_overlap_may_come_in_pieces_and_differ_at_last(self):
        house = House()
        house.posted(b"hello")
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 7", content_range(0, 7)) + b"hel", b"POST")
        assert peer.answers() == []
        peer.send(b"lX!!")
        assert peer.answer().status == 409
        assert log(house) == b"hello"

    @given(st.binary(min_size=1, max_size=30), st.data())
    def test_any_overlap_in_any_cuts(self, whole, data):
        house = House()
        held = data.draw(st.integers(1, len(whole)))
        house.posted(whole[:held])
        first = data.draw(st.integers(0, held))
        if first == len(whole):
            return
        peer = house.connect()
        stream = post_head(b"Content-Length: %d" % (len(whole) - first), content_range(first, len(whole)))
        stream += whole[first:]
        methods = [b"POST"]
        while stream:
            cut = data.draw(st.integers(1, len(stream)))
            peer.send(stream[:cut], *methods)
            methods, stream = [], stream[cut:]
        assert peer.answer().status == 204
        assert log(house) == whole


class TestFaults:
    def test_too_short(self):
        house = House()
        peer = house.connect()
        peer.send(post_head(CHUNKED, content_range(0, 10)) + chunk(b"hello") + LAST, b"POST")
        answer = peer.answer()
        assert (answer.status, answer[b"connection"], answer[b"upload-offset"]) == (400, b"close", b"5")
        assert log(house) == b"hello"

    def test_too_long(self):
        house = House()
        peer = house.connect()
        peer.send(post_head(CHUNKED, content_range(0, 5)) + chunk(b"hello!"), b"POST")
        answer = peer.answer()
        assert (answer.status, answer[b"connection"]) == (400, b"close")
        assert log(house) == b"hello"

    def test_too_long_in_the_overlap(self):
        house = House()
        house.posted(b"hello")
        peer = house.connect()
        peer.send(post_head(CHUNKED, content_range(1, 3)) + chunk(b"ello"), b"POST")
        assert peer.answer().status == 400

    def test_cut_off(self):
        house = House()
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 10", content_range(0, 10)) + b"hello", b"POST")
        assert house.streams.live(house.epoch()).holder is peer.channel
        peer.lose()
        assert house.streams.live(house.epoch()).holder is None
        assert (log(house), house.epoch().ended) == (b"hello", False)
        house.connect().post(b"/a", b"world", content_range(5, 10))
        assert log(house) == b"helloworld"

    def test_a_malformed_chunk(self):
        house = House()
        peer = house.connect()
        peer.send(post_head(CHUNKED, OPEN) + chunk(b"hello") + b"x\r\n", b"POST")
        assert peer.answer().status == 400
        assert (log(house), house.epoch().ended) == (b"hello", False)


class TestOpenEnded:
    def test_its_last_chunk_leaves_the_epoch_open(self):
        house = House()
        peer = house.connect()
        peer.send(post_head(CHUNKED, OPEN) + chunk(b"hello"), b"POST")
        assert log(house) == b"hello"
        peer.send(LAST)
        assert peer.answer().status == 201
        assert not house.epoch().ended
        peer.send(post_head(CHUNKED, OPEN.replace(b"0-", b"5-")) + chunk(b"!") + LAST, b"POST")
        assert peer.answer().status == 204


class TestCompleteLength:
    def test_the_epoch_ends_when_it_is_reached(self):
        house = House()
        peer = house.connect()
        [first] = peer.post(b"/a", b"hello", content_range(0, 5, 10))
        assert (first.status, house.epoch().ended) == (201, False)
        [second] = peer.post(b"/a", b"world", content_range(5, 10, 10))
        assert (second.status, house.epoch().ended) == (204, True)

    def test_a_repetition_may_say_it(self):
        house = House()
        house.posted(b"hello")
        [answer] = house.connect().post(b"/a", b"hello", content_range(0, 5, 5))
        assert (answer.status, house.epoch().ended) == (204, True)

    def test_an_open_ended_post_cannot_pass_it(self):
        house = House()
        house.connect().post(b"/a", b"hello", content_range(0, 5, 8))
        peer = house.connect()
        peer.send(post_head(CHUNKED, OPEN.replace(b"0-", b"5-")) + chunk(b"world"), b"POST")
        assert peer.answer().status == 409
        assert (log(house), house.epoch().ended) == (b"hellowor", True)

    def test_said_alone(self):
        house = House()
        peer = house.posted(b"hello")
        for _ in range(2):
            [answer] = peer.get(b"/a", b"Content-Range: bytes */5", method=b"POST")
            assert (answer.status, answer[b"upload-offset"]) == (204, b"5")
            assert house.epoch().ended
        [answer] = peer.get(b"/a", b"Content-Range: bytes */6", method=b"POST")
        assert (answer.status, answer[b"content-range"]) == (409, b"bytes */5")

    def test_said_alone_with_content(self):
        house = House()
        peer = house.posted(b"hello")
        peer.send(post_head(CHUNKED, b"Content-Range: bytes */5", b"Expect: 100-continue"), b"POST")
        assert peer.raw().startswith(b"HTTP/1.1 100")
        peer.send(chunk(b"x"))
        assert peer.answer().status == 400
        assert not house.epoch().ended

    def test_said_alone_and_cut_off(self):
        house = House()
        house.posted(b"hello")
        peer = house.connect()
        peer.send(post_head(CHUNKED, b"Content-Range: bytes */5"), b"POST")
        peer.lose()
        assert not house.epoch().ended

    def test_said_alone_and_overtaken(self):
        house = House()
        poster = house.posted(b"hello")
        peer = house.connect()
        peer.send(post_head(CHUNKED, b"Content-Range: bytes */5"), b"POST")
        poster.post(b"/a", b"world", content_range(5, 10))
        peer.send(LAST)
        assert peer.answer().status == 409
        assert not house.epoch().ended


class TestEnded:
    def ended(self):
        house = House()
        peer = house.posted(b"hello")
        peer.get(b"/a", b"Content-Range: bytes */5", method=b"POST")
        return house, peer

    def test_what_is_held_and_equal(self):
        house, peer = self.ended()
        [answer] = peer.post(b"/a", b"llo", content_range(2, 5))
        assert (answer.status, answer[b"content-range"]) == (204, b"bytes */5")
        [answer] = peer.post(b"/a", b"hello", content_range(0, 5), b"If-Match: " + etag(house))
        assert (answer.status, answer[b"content-range"]) == (204, b"bytes */5")

    def test_what_differs(self):
        _, peer = self.ended()
        [answer] = peer.post(b"/a", b"lXo", content_range(2, 5))
        assert (answer.status, answer[b"content-range"]) == (409, b"bytes */5")

    def test_from_zero_a_new_epoch_begins(self):
        house, peer = self.ended()
        before = etag(house)
        [answer] = peer.post(b"/a", b"hello", content_range(0, 5))
        assert answer.status == 201
        assert answer[b"etag"] not in (None, before)

    def test_ended_while_a_body_comes(self):
        house = House()
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 10", content_range(0, 10)) + b"hello", b"POST")
        house.epoch().finish()
        peer.send(b"world")
        answer = peer.answer()
        assert (answer.status, answer[b"content-range"]) == (409, b"bytes */5")

    def test_removed_while_a_body_comes(self):
        house = House()
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 10", content_range(0, 10)) + b"hello", b"POST")
        assert house.get(method=b"DELETE").status == 204
        peer.send(b"world")
        answer = peer.answer()
        assert (answer.status, answer[b"upload-offset"]) == (409, b"0")
        assert house.epoch() is None

    def test_removed_while_a_body_comes_that_is_cut(self):
        house = House()
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 10", content_range(0, 10)) + b"hello", b"POST")
        house.get(method=b"DELETE")
        peer.lose()
        assert house.factory.channels == set() or peer.channel not in house.factory.channels

    def test_removed_before_the_last_chunk(self):
        house = House()
        peer = house.connect()
        peer.send(post_head(CHUNKED, OPEN) + chunk(b"hello"), b"POST")
        house.get(method=b"DELETE")
        peer.send(LAST)
        assert peer.answer().status == 409


class TestWhoPosts:
    def overlapping(self, *lines):
        """Somebody who sends again, in the midst of it; the Origin goes on."""
        house = House()
        origin = house.posted(b"hello")
        other = house.connect()
        other.send(post_head(b"Content-Length: 10", content_range(0, 10), *lines) + b"hel", b"POST")
        return house, origin, other

    def test_what_another_appends_meanwhile_is_compared_too(self):
        house, origin, other = self.overlapping()
        origin.post(b"/a", b"wor", content_range(5, 8))
        other.send(b"loworld")
        assert other.answer().status == 204
        assert log(house) == b"helloworld"

    def test_and_may_differ(self):
        house, origin, other = self.overlapping()
        origin.post(b"/a", b"WOR", content_range(5, 8))
        other.send(b"loworld")
        assert other.answer().status == 409
        assert log(house) == b"helloWOR"

    def test_who_has_become_the_origin_meanwhile_stays_it(self):
        house, origin, other = self.overlapping()
        origin.send(post_head(b"Content-Length: 99", content_range(5, 104)), b"POST")
        other.send(b"loworld")
        assert other.answer().status == 409
        assert log(house) == b"hello"

    def test_but_for_who_names_the_epoch(self):
        house = House()
        origin = house.posted(b"hello")
        origin.send(post_head(b"Content-Length: 99", content_range(5, 104)) + b"w", b"POST")
        assert house.connect().post(b"/a", b"w", content_range(5, 6))[0].status == 409
        other = house.connect()
        other.send(post_head(b"Content-Length: 5", content_range(5, 10), b"If-Match: " + etag(house)), b"POST")
        assert not origin.wire.aborted
        other.send(b"world")
        assert origin.wire.aborted
        house.clock.advance(0)
        assert [each.status for each in other.answers()] == [204]
        assert log(house) == b"helloworld"


# -- the disk


def on_disk(**settings):
    disk = Disk(prompt=False)
    house = House(disk, memory=600, **settings)
    house.posted(b"hello", b"world")
    disk.kept[0].write()
    house.connect().post(b"/a", b"!", content_range(10, 11))
    return disk, house


class TestOverlapOnDisk:
    def test_it_is_read_there_while_the_content_waits(self):
        disk, house = on_disk()
        assert house.epoch().log.start > 0
        disk.slow = True
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 13", content_range(0, 13)) + b"hellowo", b"POST")
        assert not peer.reading
        peer.send(b"rld!??")
        disk.slow = False
        disk.turn()
        assert peer.reading
        assert peer.answer().status == 204
        assert house.head()[1] == b"13"

    def test_and_may_differ(self):
        _, house = on_disk()
        assert house.connect().post(b"/a", b"hellX", content_range(0, 5))[0].status == 409

    def test_it_cannot_be_read(self):
        disk, house = on_disk()
        disk.unreadable = StorageError("The disk is gone.")
        [answer] = house.connect().post(b"/a", b"hello", content_range(0, 5))
        assert (answer.status, json.loads(answer.content)["detail"]) == (507, "The disk is gone.")

    def test_it_is_held_no_longer(self):
        disk, house = on_disk()
        disk.unreadable = StorageError("Gone.", status=410)
        [answer] = house.connect().post(b"/a", b"hello", content_range(0, 5))
        assert answer.status == 409

    def test_reading_has_a_bug(self):
        disk, house = on_disk()
        disk.unreadable = ZeroDivisionError()
        assert house.connect().post(b"/a", b"hello", content_range(0, 5))[0].status == 507

    def test_lost_while_it_is_read(self):
        disk, house = on_disk()
        disk.slow = True
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 13", content_range(0, 13)) + b"hellowo", b"POST")
        peer.lose()
        disk.turn()
        assert house.head()[1] == b"11"


class TestDisk:
    def test_what_the_disk_cannot_take_yet_is_not_read_from_the_socket(self):
        disk = Disk(prompt=False)
        house = House(disk)
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 10", content_range(0, 10)) + b"he", b"POST")
        disk.kept[0].backlogged = True
        peer.send(b"llo")
        assert not peer.reading
        disk.kept[0].changed()
        assert not peer.reading
        disk.kept[0].backlogged = False
        disk.kept[0].changed()
        assert peer.reading
        peer.send(b"world")
        assert peer.answer().status == 201
        assert bytes(disk.kept[0].data) == b"helloworld"

    def test_answers_say_what_is_durable(self):
        disk = Disk(prompt=False)
        house = House(disk)
        house.posted(b"hello")
        assert house.get(method=b"HEAD")[b"durable-offset"] == b"0"
        disk.kept[0].write()
        assert house.get(method=b"HEAD")[b"durable-offset"] == b"5"

    @pytest.mark.parametrize(("required", "status"), [(True, 507), (False, 204)])
    def test_a_failing_disk(self, required, status):
        disk = Disk()
        house = House(disk, store_required=required)
        peer = house.posted(b"hello")
        disk.kept[0].fail()
        assert peer.post(b"/a", b"world", content_range(5, 10))[0].status == status

    @pytest.mark.parametrize(("does", "status"), [(Kept.write, 201), (Kept.fail, 507)])
    def test_where_the_disk_is_required_the_answer_waits_for_it(self, does, status):
        disk = Disk(prompt=False)
        house = House(disk, store_required=True)
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 5", content_range(0, 5)) + b"hello", b"POST")
        assert peer.answers() == []
        does(disk.kept[0])
        assert peer.answer().status == status

    def test_a_disk_that_fails_in_the_midst_where_it_is_required(self):
        disk = Disk(prompt=False)
        house = House(disk, store_required=True)
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 10", content_range(0, 10)) + b"hello", b"POST")
        disk.kept[0].fail()
        peer.send(b"world")
        assert peer.answer().status == 507

    def test_a_removal_answers_once_who_waits_for_the_disk(self, monkeypatch):
        disk = Disk(prompt=False)
        house = House(disk, store_required=True)
        peer = house.connect()
        peer.send(post_head(b"Content-Length: 5", content_range(0, 5)) + b"hello", b"POST")
        monkeypatch.setattr(disk.kept[0], "finish", Deferred)  # it takes a while
        assert house.get(method=b"DELETE").status == 204
        assert len(peer.answers()) == 1
        disk.kept[0].write()
        assert peer.answers() == []

    def test_content_that_is_only_compared_needs_no_room_on_the_disk(self):
        disk = Disk()
        house = House(disk, memory=1000)
        peer = house.posted(b"x" * 1000, b"y" * 1000)
        peer.post(b"/a", b"", b"Content-Range: bytes */2000")
        disk.kept[0].backlogged = True
        tag = b"If-Match: " + house.head()[2]
        assert peer.post(b"/a", b"x" * 1000, content_range(0, 1000), tag)[0].status == 204

    def test_who_waits_for_room_twice_is_called_once(self):
        disk = Disk(prompt=False)
        house = House(disk)
        house.posted(b"hello")
        disk.kept[0].backlogged = True
        calls: list[int] = []

        def call():
            calls.append(1)

        assert not house.streams.when_room(house.epoch(), call)
        assert not house.streams.when_room(house.epoch(), call)
        disk.kept[0].backlogged = False
        disk.kept[0].changed()
        assert calls == [1]

    @pytest.mark.parametrize(("required", "status"), [(True, 507), (False, 201)])
    def test_an_epoch_that_the_disk_cannot_begin(self, required, status):
        disk = Disk()
        disk.refusing = StorageError("No space.")
        house = House(disk, store_required=required)
        assert house.connect().post(b"/a", b"hello", content_range(0, 5), b"Content-Type: x/y")[0].status == status


def test_a_record_of_no_known_format_has_a_limit():
    house = House(max_record=4)
    [answer] = house.connect().post(b"/a", b"hello", content_range(0, 5), b"Content-Type: x/y")
    assert answer.status == 413
    assert house.epoch() is None
    peer = house.posted(b"hell")
    assert peer.post(b"/a", b"world", content_range(4, 9))[0].status == 413
    assert peer.post(b"/a", b"wo", content_range(4, 6))[0].status == 204
