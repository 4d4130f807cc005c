"""A disk that failed and can be written to again: what is recorded from then on, what is missing, what is told."""

from __future__ import annotations

import json
from itertools import pairwise

from .disk import Disk
from .house import House, content_range

RECORD = 10


class Recorded:
    """A stream of records of ten bytes, recorded on a disk that the test breaks and mends."""

    def __init__(self, memory=1 << 20, **settings):
        self.disk = Disk()
        self.house = House(self.disk, memory=memory, **settings)
        self.count = 1
        self.peer = self.house.posted(self.record(0))

    @staticmethod
    def record(number):
        return b"%09d " % number

    def more(self, count=1, status=204):
        for _ in range(count):
            at = self.count * RECORD
            [answer] = self.peer.post(b"/a", self.record(self.count), content_range(at, at + RECORD))
            assert answer.status == status
            if status == 204:
                self.count += 1

    @property
    def kept(self):
        return self.disk.kept[0]

    @property
    def seen(self):
        said = json.loads(self.house.get(target=b"/-/streams/a").content)
        return said["recording"], said["holes"]

    def log(self):
        return b"".join(map(self.record, range(self.count)))


def test_it_goes_on_with_all_that_the_memory_has():
    stream = Recorded()
    stream.more(2)
    stream.kept.fail()
    stream.more(3)
    assert stream.seen == ("failed", [])
    stream.house.clock.advance(5)
    assert stream.seen == ("failed", [])
    stream.disk.healed = True
    stream.house.clock.advance(9.9)
    assert stream.seen == ("failed", [])
    stream.house.clock.advance(0.2)
    assert stream.seen == ("on", [])
    stream.more(2)
    assert bytes(stream.kept.data) == stream.log()
    assert [record.offset for record in stream.kept.index] == list(range(0, 80, 10))


def test_what_the_memory_has_lost_is_a_hole():
    stream = Recorded(memory=1000)
    stream.more(2)
    stream.kept.fail()
    stream.more(10)
    log = stream.house.epoch().log
    start = log.start
    assert start > 30
    assert stream.seen == ("failed", [[30, start]])
    stream.disk.healed = True
    stream.house.clock.advance(5)
    assert stream.seen == ("on", [[30, start]])
    stream.more(8)
    assert stream.house.get(method=b"HEAD")[b"upload-missing"] == b"30-%d" % (start - 1)
    assert stream.house.get(b"Range: bytes=0-100")[b"content-range"] == b"bytes 0-29/*"
    answer = stream.house.get(b"Range: bytes=%d-" % start)
    assert answer.content == stream.log()[start:]


def test_it_is_tried_less_and_less_often(monkeypatch):
    stream = Recorded()
    tries: list[float] = []
    resume = stream.kept.resume

    def trying(offset):
        tries.append(stream.house.clock.seconds())
        return resume(offset)

    monkeypatch.setattr(stream.kept, "resume", trying)
    stream.kept.fail()
    for _ in range(3000):
        stream.house.clock.advance(0.1)
    gaps = [round(after - before) for before, after in pairwise(tries)]
    assert (round(tries[0]), gaps) == (5, [10, 20, 40, 60, 60, 60])


def test_the_pause_is_settable_and_short_again_after_a_success():
    stream = Recorded(store_retry=2)
    for _ in range(2):
        stream.kept.fail()
        stream.disk.healed = False
        stream.house.clock.advance(2.1)
        stream.disk.healed = True
        stream.house.clock.advance(4.1)
        assert stream.seen == ("on", [])


def test_the_initialization_segment_comes_first():
    from .test_answers import Movie

    stream = Movie(2, disk=Disk(), memory=1)
    house = stream.house
    [kept] = house.disk.kept
    kept.start = kept.end = kept.written = 0
    kept.data, kept.index = bytearray(), []
    kept.fail()
    for _ in range(2):
        house.epoch().log.evict()
    start = house.epoch().log.start
    assert start > len(stream.initialization)
    house.disk.healed = True
    assert house.epoch().resumption() == 0
    house.clock.advance(5)
    assert bytes(kept.data[: len(stream.initialization)]) == stream.initialization
    assert kept.index[0].offset == 0


def test_an_epoch_that_ended_meanwhile_is_completed():
    stream = Recorded()
    stream.kept.fail()
    stream.more(3)
    stream.peer.post(b"/a", b"", b"Content-Range: bytes */40")
    stream.disk.healed = True
    stream.house.clock.advance(5)
    assert stream.kept.ended
    assert bytes(stream.kept.data) == stream.log()


def test_where_the_store_is_required_posts_are_refused_until_then():
    stream = Recorded(store_required=True)
    stream.kept.fail()
    stream.more(1, status=507)
    stream.disk.healed = True
    stream.house.clock.advance(5)
    stream.more(2)
    assert bytes(stream.kept.data) == stream.log()


def test_nobody_tries_for_a_stream_that_was_removed():
    stream = Recorded()
    stream.kept.fail()
    assert stream.house.connect().get(b"/a", method=b"DELETE")[0].status == 204
    stream.disk.healed = True
    stream.house.clock.advance(100)
    assert stream.kept.failure is not None


def test_the_end_of_the_service_is_the_end_of_the_tries():
    stream = Recorded()
    stream.kept.fail()
    stream.peer.lose()
    stream.house.stop()
    stream.disk.healed = True
    stream.house.clock.advance(100)
    assert stream.kept.failure is not None
