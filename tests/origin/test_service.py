"""The Origin's service from its start to its end, whatever its source, its disk and the Distributor do."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from sdp.errors import MediaError, StorageError
from sdp.interfaces import ISource
from tests.origin.house import House, Source

GONE = MediaError("Cannot open the camera: it is gone.")


@pytest.fixture
def new_house() -> Iterator[Callable[..., House]]:
    houses: list[House] = []

    def make(**options: Any) -> House:
        houses.append(House(**options))
        return houses[-1]

    yield make
    for house in houses:
        house.close()


@pytest.fixture
def house(new_house) -> House:
    return new_house()


def test_the_source_is_a_source():
    assert verifyObject(ISource, Source())


def test_what_the_source_gives_is_at_the_distributor(house):
    house.start()
    house.source.give(4)
    house.settle()
    assert house.received == house.source.given
    assert house.told("Streaming test to http://h:8080/a.") == 1
    assert house.left == []
    assert house.pool.stopped


def test_a_finite_source_is_left_with_0_once_it_is_delivered_to_its_last_byte(house):
    house.start()
    house.source.give(4)
    house.source.end()
    house.settle()
    assert house.left == [0]
    assert house.received == house.source.given
    assert house.state == "ended"


def test_a_source_that_ends_before_the_distributor_is_there(house):
    house.distributor.up = False
    house.start()
    house.source.give(4)
    house.source.end()
    house.settle(5)
    assert house.left == []
    assert house.told("cannot be reached: Connection refused; trying again.") >= 1
    house.distributor.up = True
    house.settle(10)
    assert house.left == [0]
    assert house.received == house.source.given


class TestOpening:
    @pytest.mark.parametrize("which", ["refuses", "refuses_type"])
    def test_what_cannot_be_opened_is_one_line_and_a_status(self, house, which):
        setattr(house.source, which, GONE)
        house.start()
        assert house.left == [1]
        assert house.lines == [GONE.detail]

    def test_a_store_that_cannot_be_had(self, new_house):
        house = new_house(disk=True)
        house.refused_store = StorageError("The disk is in use.")
        house.start()
        assert house.left == [1]
        assert house.lines == ["The disk is in use."]
        assert house.source.sink is None

    def test_a_fault_of_one_s_own_is_no_silence(self, house):
        house.source.refuses = RuntimeError("a bug")
        house.start()
        assert house.left == [1]
        assert house.told("fault of its own") == 1

    def test_a_source_that_takes_long_holds_nothing_up_and_is_told_of(self, new_house):
        house = new_house(source="rtsp://cam:s3cret@camera/1")
        house.pool.slow = True
        house.start()
        assert house.lines == []
        house.settle(2)
        assert house.lines == ["Opening rtsp://camera/1."]
        house.pool.turn()
        house.settle()
        house.source.give(3)
        house.settle()
        assert house.received == house.source.given
        assert not house.told("s3cret")

    @pytest.mark.parametrize("steps", [0, 1])
    def test_it_can_be_ended_while_the_source_is_opened(self, new_house, steps):
        house = new_house(disk=True)
        house.pool.slow = True
        house.start()
        for _ in range(steps):
            house.pool._waiting.pop(0)()
        house.stop()
        assert house.stopped
        assert house.source.stopped
        assert house.disk.closed
        house.pool.turn()  # it has opened at last
        house.settle(5)
        assert house.left == []
        assert house.lines == []
        if house.source.sink is not None:
            assert house.source.give() is False
        assert all(kept.data == b"" for kept in house.disk.kept)

    def test_a_refusal_that_comes_too_late_is_nothing(self, house):
        house.pool.slow = True
        house.start()
        house.source.refuses_type = GONE
        house.stop()
        house.pool.turn()
        assert house.left == []
        assert house.lines == []


class TestFailing:
    def test_a_source_that_fails_leaves_with_1_and_the_epoch_open(self, house):
        house.start()
        house.source.give(4)
        house.source.end(MediaError("The camera was unplugged."))
        assert house.left == [1]
        assert house.told("The source failed: The camera was unplugged.") == 1
        house.stop()
        assert house.stopped
        assert house.received == house.source.given
        assert house.state == "live"

    def test_a_source_that_fails_at_once(self, house):
        house.start()
        house.source.end(MediaError("The camera was unplugged."))
        assert house.left == [1]

    def test_a_source_that_gives_nothing(self, house):
        house.start()
        house.source.end()
        house.settle()
        assert house.left == [1]
        assert house.told("without giving anything") == 1

    def test_a_refusal_for_good(self, house):
        house.distributor.seen_as = "192.0.2.1"  # publishing is closed to the outside
        house.start()
        house.source.give()
        house.settle()
        assert house.left == [1]
        assert house.told("refuses the stream") == 1

    def test_a_disk_that_fails_is_said_once_and_the_stream_goes_on(self, new_house):
        house = new_house(disk=True)
        house.start()
        house.source.give(3)
        house.disk.kept[0].fail()
        house.disk.kept[0].changed()
        house.source.give(3)
        house.settle()
        assert house.told("Recording has stopped, streaming goes on: The disk is full.") == 1
        assert house.received == house.source.given
        assert house.left == []

    def test_a_disk_that_takes_it_again_has_it_again(self, new_house):
        house = new_house(disk=True, **{"store-retry": "2s"})
        kept = house.disk.kept
        house.start()
        house.source.give(3)
        kept[0].fail()
        house.source.give(3)
        house.settle(10)
        assert bytes(kept[0].data) == house.source.given[: kept[0].end]
        house.disk.healed = True
        house.settle(20)
        house.source.give(3)
        house.settle()
        assert house.told("Recording has stopped") == 1
        assert house.told("Recording goes on; 0 bytes are missing of ") == 1
        assert bytes(kept[0].data) == house.received == house.source.given
        house.disk.healed = False
        kept[0].fail()
        house.settle(1)
        assert house.told("Recording has stopped") == 2
        house.stop()
        assert house.stopped

    def test_what_has_left_the_memory_by_then_is_missing_and_held_nowhere(self, new_house):
        house = new_house(disk=True, memory="1000", **{"store-retry": "2s"})
        house.start()
        house.source.give(3)
        house.settle()
        kept = house.disk.kept[0]
        kept.fail()
        end = kept.end
        for _ in range(20):
            house.source.give()
            house.settle()
        house.disk.healed = True
        house.settle(20)
        house.source.give()
        house.settle()
        [(start, stop)] = kept.holes
        assert start == end
        assert house.service.capture.held_from == stop
        assert bytes(kept.data)[stop:] == house.source.given[stop:]
        assert house.received == house.source.given


class TestWaiting:
    def test_a_distributor_that_is_not_there_is_waited_for_visibly(self, house):
        house.distributor.up = False
        house.start()
        house.source.give(4)
        house.settle(20)
        assert house.told("h:8080 cannot be reached: Connection refused; trying again.") > 1
        assert house.left == []
        house.distributor.up = True
        house.settle(10)
        assert house.received == house.source.given

    def test_a_disk_that_falls_behind_holds_the_source(self, new_house):
        house = new_house(disk=True)
        house.start()
        house.source.give()
        inlet = house.service._inlet
        house.disk.kept[0].backlogged = True
        house.disk.kept[0].changed()
        assert inlet._held
        house.disk.kept[0].backlogged = False
        house.disk.kept[0].changed()
        assert not inlet._held

    @pytest.mark.parametrize(("source", "held"), [("-", True), ("test", False)])
    def test_a_distributor_that_falls_behind_holds_what_can_wait(self, new_house, source, held):
        house = new_house(source=source, memory="100")
        house.distributor.up = False
        house.start()
        house.source.give(1)
        assert not house.service._inlet._held
        while house.service.capture.log.end <= 50:
            house.source.give(1)
        assert house.service._inlet._held is held
        house.distributor.up = True
        house.settle(10)
        assert not house.service._inlet._held
        assert house.left == []


class TestStopping:
    def test_all_that_is_captured_is_posted_and_the_epoch_stays_open(self, new_house):
        house = new_house(disk=True)
        house.start()
        house.source.give(2)
        house.settle()
        house.source.give(5)  # none of it has reached the socket's other end
        house.stop()
        assert house.stopped
        assert house.source.stopped
        assert house.received == house.source.given
        assert house.state == "live"
        assert house.disk.closed
        assert not house.disk.kept[0].ended
        assert bytes(house.disk.kept[0].data) == house.source.given
        assert house.left == []

    def test_a_distributor_that_takes_nothing_is_not_waited_for_longer_than_was_said(self, new_house):
        house = new_house(disk=True, drain="2s")
        house.start()
        house.source.give(2)
        house.settle()
        house.distributor.mute = True
        house.source.give(2)
        house.stop()
        assert not house.stopped
        house.settle(1.5)
        assert not house.stopped
        house.settle(0.75)
        assert house.stopped
        assert house.disk.closed
        assert house.told("does not wait any longer") == 1

    def test_the_process_is_not_ended_from_within_the_answer_that_was_waited_for(self, house):
        house.start()
        house.source.give(2)
        through: list[bool] = []
        wake = house.service.poster.on_acknowledged

        def answered() -> None:
            wake()
            through.append(house.stopped)

        house.service.poster.on_acknowledged = answered
        house.stop()
        assert through
        assert not any(through)
        assert house.stopped

    def test_a_distributor_that_is_not_there_is_not_waited_for(self, new_house):
        house = new_house(disk=True)
        house.distributor.up = False
        house.start()
        house.source.give(2)
        house.stop()
        assert house.stopped
        assert house.disk.closed

    def test_a_source_that_does_not_end_is_not_waited_for_long(self, house):
        house.start()
        house.source.give(2)
        house.source.over = True  # its end is never told
        house.stop()
        assert not house.stopped
        house.settle(1)
        assert house.stopped
