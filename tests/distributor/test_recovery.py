"""From a recording back to an epoch that goes on as if nothing had happened."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sdp.distributor.reading import initialization, next_record, read
from sdp.distributor.recovery import restore
from sdp.errors import Refusal, StorageError
from sdp.stream.record import Flag

from .disk import Disk, Kept, record
from .house import House, content_range
from .marked import marked
from .tap import fired
from .test_answers import movie


def done(work):
    """The result of a coroutine that waits for nothing: a value, or an exception."""
    [result] = fired(Deferred.fromCoroutine(work))
    return result


def recorded(*contents, content_type="video/mp4", ended=False):
    """A recording of these, made by a Distributor that is gone."""
    disk = Disk()
    house = House(disk)
    house.posted(*contents, lines=(b"Content-Type: " + content_type.encode(),))
    if ended:
        house.epoch().finish()
    kept = disk.kept[0]
    kept.write()
    kept.on_change = None
    return kept


def test_an_open_epoch_has_in_memory_what_a_joining_consumer_needs():
    init, fragments = movie()
    kept = recorded(init, *fragments[:5])
    before = list(kept.index)
    epoch = done(restore(kept, 1 << 20, 99))
    third = len(init) + sum(map(len, fragments[:3]))
    assert (epoch.id, epoch.name, epoch.ended, epoch.end) == (kept.epoch, "a", False, kept.end)
    assert (epoch.log.start, epoch.first_offset) == (third, 0)
    assert epoch.join_point().offset == third
    assert done(initialization(epoch, third)) == (before[0], init)
    assert epoch.log.records == [each for each in before if each.offset >= third]
    # and its framer knows where it is
    epoch.begin_body(None, None)
    epoch.append(fragments[5], 100)
    assert [each.offset for each in epoch.log.records][-1] == kept.end - len(fragments[5])


def test_an_epoch_without_a_random_access_point_near_its_end():
    init, fragments = movie()
    kept = recorded(init, *fragments[:3])
    epoch = done(restore(kept, 10, 99))
    assert epoch.log.end == kept.end
    assert epoch.log.start >= len(init) + len(fragments[0])


def test_an_ended_epoch_stays_on_the_disk():
    init, fragments = movie()
    kept = recorded(init, *fragments, ended=True)
    epoch = done(restore(kept, 1 << 20, 99))
    assert (epoch.ended, epoch.complete_length, epoch.first_offset) == (True, kept.end, 0)
    assert (epoch.log.start, epoch.log.known) == (kept.end, kept.end)
    assert done(read(epoch, 0, 10)) == (init + fragments[0])[:10]
    assert done(initialization(epoch, len(init) + 3))[1] == init


def test_what_was_said_of_random_access_holds():
    disk = Disk()
    house = House(disk)
    peer = house.posted(b"hello", lines=(b"Content-Type: x/y", b"Random-Access: ?1"))
    peer.post(b"/a", b"world", content_range(5, 10))
    assert house.epoch().join_point().offset == 0
    epoch = done(restore(disk.kept[0], 1 << 20, 99))
    assert epoch.join_point().offset == 0


def test_an_empty_recording():
    epoch = done(restore(Kept(Disk()), 1 << 20, 99))
    assert (epoch.end, epoch.ended, epoch.declared_type) == (0, False, None)


@pytest.mark.parametrize("index", [[], [record(0, Flag.INITIALIZATION), record(3, Flag.RANDOM_ACCESS)]])
def test_a_recording_that_is_shorter_than_it_says(index):
    kept = Kept(Disk())
    kept.end, kept.index = 5, index
    assert isinstance(done(restore(kept, 1 << 20, 99)), StorageError)


class TestDistributor:
    def test_it_goes_on_where_it_was(self):
        disk = Disk()
        house = House(disk)
        house.posted(b"hello")
        tag = house.head()[2]
        disk.kept[0].write()
        again = House(disk)
        assert again.head() == (200, b"5", tag)
        [answer] = again.connect().post(b"/a", b"world", content_range(5, 10), b"If-Match: " + tag)
        assert answer.status == 204
        assert bytes(disk.kept[0].data) == b"helloworld"

    def test_an_earlier_open_epoch_ends_where_a_later_one_is_found(self):
        disk = Disk()
        for _ in range(2):
            kept = disk.create("a", f"e{len(disk.kept)}", "x/y")
            kept.append(b"hello", [record(0, Flag.RANDOM_ACCESS)])
        house = House(disk)
        assert disk.kept[0].ended
        assert not disk.kept[1].ended
        assert house.get(target=b"/a?epoch=e0").content == b"hello"

    def test_one_that_cannot_be_read_is_left_out(self):
        disk = Disk()
        good, bad = (disk.create(name, name, "x/y") for name in "ab")
        good.append(b"hello", [record(0, Flag.RANDOM_ACCESS)])
        bad.append(b"hello", [record(0, Flag.RANDOM_ACCESS)])
        del bad.data[:]
        house = House(disk)
        assert house.left == []
        assert (house.head(b"/a")[0], house.head(b"/b")[0]) == (200, 404)


class TestReading:
    def stored(self, *appends):
        kept: Any = Kept(Disk())
        epoch = marked(*appends, recording=kept, window=0)
        kept.write()
        epoch.stored()
        return kept, epoch

    def test_by_offset(self):
        kept, epoch = self.stored(b"I_K1", b"f2")
        assert done(read(epoch, 1, 3)) == b"_K1"
        assert done(read(epoch, 1, end=3)) == b"_K"
        assert done(read(epoch, 6)) == b""
        kept.start = 4
        assert done(read(epoch, 1)).status == 410
        kept.start = 0
        del kept.data[:]
        assert isinstance(done(read(epoch, 1)), Refusal)

    def test_where_the_next_record_begins(self):
        _, epoch = self.stored(b"I_K1", b"f234")
        epoch.append(b"5K", 0)
        assert [done(next_record(epoch, offset)) for offset in range(11)] == [0, 2, 2, 4, 4, *[9] * 5, None]

    def test_the_initialization_segment_before_a_place(self):
        _, epoch = self.stored(b"I_K1", b"I=K2", b"f3")
        found = [done(initialization(epoch, offset)) for offset in (0, 1, 3, 4, 7, 9)]
        assert [data for _, data in found[2:]] == [b"I_", b"I=", b"I=", b"I="]
        assert done(initialization(marked(b"K1"), 1)) is None
        _, without = self.stored(b"K1")
        assert done(initialization(without, 1)) is None
