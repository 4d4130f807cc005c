"""After an outage the newest first, and what was missed behind it: nothing lost, nothing live held up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.origin.capture import Capture
from sdp.stream.record import Flag
from tests.origin.peer import Peer
from tests.origin.test_poster import Rig


class Viewed(Rig):
    """An Origin whose newest goes first, before a Distributor that keeps on a disk what it gets."""

    def __init__(self, **options: Any) -> None:
        peer = Peer()
        peer.kept = options.pop("kept", True)
        super().__init__(peer, **{"disk": True, "newest_first": True, **options})

    def take(self, count: int = 1, size: int = 100, every: int = 5, seconds: float = 0.1) -> None:
        """As ever, with time between."""
        for _ in range(count):
            self.clock.advance(seconds)
            super().take(1, size, every)

    def outage(self, count: int = 40, **more: Any) -> None:
        self.peer.cut()
        self.peer.up = False
        self.take(count, **more)
        self.peer.up = True

    def named(self) -> list[int]:
        """The numbers of the records posted since the last HEAD, in that order."""
        last = len(self.peer.log) - self.peer.log[::-1].index("HEAD")
        contents = [content for _, _, content in self.peer.posts][-(len(self.peer.log) - last) :]
        return [int(content[1:].split(b">")[0]) for content in contents if content.startswith(b"<")]

    def recorded(self) -> bytes:
        return b"".join(disk.data for disk in self.disks)


@pytest.fixture
def rig() -> Viewed:
    rig = Viewed()
    rig.start()
    rig.take(3)
    rig.settle()
    return rig


def test_the_newest_random_access_point_comes_first_and_then_what_was_missed(rig):
    rig.outage(40)  # the records 3 to 42
    rig.settle(12)
    posted = rig.named()
    assert posted[:2] == [41, 42]
    assert sorted(posted) == list(range(3, 43))
    assert posted[2:] == list(range(3, 41))
    assert rig.received == rig.recorded()
    assert rig.peer.stream is not None
    assert rig.peer.stream.holes == []
    assert any("The newest goes first, from offset 4014; 3800 bytes" in line for line in rig.tell.lines)
    leap = next(fields for said, fields, _ in rig.peer.posts if said.startswith(b"bytes 4014-"))
    assert (leap[b"sparse"], leap[b"random-access"], leap[b"if-match"]) == (b"?1", b"?1", b'"e1"')


def test_what_is_live_meanwhile_goes_before_what_was_missed(rig):
    rig.outage(40)
    rig.settle(0.5)
    rig.peer.silent = True
    rig.settle(12)
    rig.take(3)
    rig.peer.silent = False
    for connection in rig.peer.connections:
        connection.release()
    rig.settle(1)
    posted = rig.named()
    assert posted.index(43) < posted.index(40)
    assert rig.received == rig.recorded()


@pytest.mark.parametrize(("rate", "seconds"), [(200, 16), (100, 32)])
def test_it_is_paced(rate, seconds):
    rig = Viewed(backfill_rate=rate)
    rig.start()
    rig.take(3)
    rig.outage(40)
    rig.settle(0.25)
    while rig.peer.log[-1] == "HEAD" or not rig.peer.stream or not rig.peer.stream.holes:
        rig.settle(0.25)
    rig.settle(seconds)
    assert rig.peer.stream.holes
    rig.settle(seconds / 2)
    assert not rig.peer.stream.holes
    assert rig.received == rig.recorded()


def test_a_short_outage_is_caught_up_in_order(rig):
    rig.outage(9)
    rig.settle(12)
    assert rig.named() == list(range(3, 12))


def test_a_distributor_without_a_disk_could_not_be_brought_anything_later():
    rig = Viewed(kept=False)
    rig.start()
    rig.take(3)
    rig.outage(40)
    rig.settle(12)
    assert rig.named() == list(range(3, 43))


def test_a_distributor_that_knows_of_no_holes_gets_all_in_order(rig):
    rig.peer.takes_holes = False
    rig.outage(40)
    rig.settle(20)
    assert rig.received == rig.recorded()
    assert sum("A gap" in line for line in rig.tell.lines) == 1
    rig.outage(40)
    rig.settle(20)
    assert rig.named() == list(range(43, 83))  # it is not tried again in this epoch
    assert rig.received == rig.recorded()


def test_a_record_that_was_cut_is_completed_before_the_leap(rig):
    assert rig.peer.stream is not None
    rig.peer.cut()
    rig.peer.stream.data = rig.peer.stream.data[:-30]
    rig.outage(40)
    rig.settle(12)
    last = len(rig.peer.log) - rig.peer.log[::-1].index("HEAD")
    assert rig.peer.log[last : last + 2] == ["184-213/*", "4014-4113/*"]
    assert rig.received == rig.recorded()


def test_a_distributor_that_lost_everything_gets_the_header_then_the_newest_then_all():
    rig = Viewed()
    rig.start()
    rig.take(30)
    rig.peer.crash()
    rig.settle(12)
    last = len(rig.peer.log) - rig.peer.log[::-1].index("HEAD")
    assert rig.peer.log[last] == "0-13/*"
    assert rig.named()[0] == 26
    assert rig.received == rig.recorded()


def test_a_hole_that_the_distributor_s_own_disk_left_is_filled_too(rig):
    rig.take(20)
    assert rig.peer.stream is not None
    rig.peer.stream.holes = [(114, 314)]
    rig.take(3)
    rig.settle(1)
    assert rig.peer.stream.holes == []
    assert rig.received == rig.recorded()


@pytest.mark.parametrize("status", [409, 507])
def test_a_hole_that_cannot_be_filled_now_is_filled_later_and_stops_nothing(rig, status):
    rig.peer.fills_refused = (status, "The disk is full.")
    rig.outage(40)
    rig.settle(12)
    rig.take(3)
    heads = rig.peer.log.count("HEAD")
    assert rig.peer.stream is not None
    assert rig.peer.stream.holes
    assert any("A hole is not filled now" in line and "The disk is full" in line for line in rig.tell.lines)
    rig.peer.fills_refused = None
    rig.settle(12)
    rig.take(1)
    rig.settle(12)
    assert rig.peer.log.count("HEAD") == heads
    assert rig.received == rig.recorded()


def test_a_hole_whose_bytes_are_held_nowhere_stays_one():
    rig = Viewed(disk=False, window=30_000)
    rig.start()
    rig.take(30)
    assert rig.peer.stream is not None
    rig.take(300)
    assert rig.capture.log.start > 200
    rig.peer.stream.holes = [(114, 214)]
    rig.take(2)
    rig.settle(2)
    assert rig.peer.stream.holes == [(114, 214)]
    assert sum("is not held any more" in line for line in rig.tell.lines) == 1
    rig.capture.finish()
    rig.settle(1)
    assert rig.results == ["done"]


def test_the_epoch_ends_when_all_is_there(rig):
    rig.outage(40)
    rig.capture.finish()
    rig.settle(12)
    assert rig.results == ["done"]
    assert rig.peer.stream is not None
    assert (rig.peer.stream.holes, rig.peer.stream.ended) == ([], True)
    assert rig.received == rig.recorded()


def test_a_source_that_ends_while_something_is_missing():
    rig = Viewed(backfill_rate=400)
    rig.start()
    rig.take(3)
    rig.outage(40)
    while not rig.peer.stream or not rig.peer.stream.holes:
        rig.settle(0.25)
    rig.capture.finish()
    rig.settle(1)
    assert not rig.peer.stream.ended
    assert not rig.poster.delivered
    rig.settle(12)
    assert rig.results == ["done"]
    assert rig.received == rig.recorded()


def test_how_far_behind_an_offset_is():
    capture = Capture(3000, lambda: None)
    for number in range(40):
        capture.take(bytes(100), Flag.RANDOM_ACCESS, None, number * 1_000_000)
    assert capture.behind(3900) == 0
    assert capture.behind(3750) == 2
    assert capture.behind(0) == float("inf")


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_whatever_breaks_the_epoch_is_whole_in_the_end(data):
    rig = Viewed(unanswered=4, backfill_unanswered=data.draw(st.sampled_from([150, 1000])))
    rig.start()
    rig.take(2)
    for _ in range(data.draw(st.integers(3, 12))):
        match data.draw(st.sampled_from(["take", "take", "cut", "down", "up", "silent", "wait", "full", "room"])):
            case "take":
                rig.take(data.draw(st.integers(1, 30)))
            case "cut":
                rig.peer.cut()
            case "down":
                rig.peer.cut()
                rig.peer.up = False
            case "up":
                rig.peer.up = True
            case "silent":
                rig.peer.silent = not rig.peer.silent
            case "wait":
                rig.settle(data.draw(st.integers(1, 8)))
            case "full":
                rig.peer.fills_refused = (507, "The disk is full.")
            case "room":
                rig.peer.fills_refused = None
    rig.peer.fills_refused = None
    rig.peer.silent = False
    rig.peer.up = True
    for connection in rig.peer.connections:
        connection.release()
    rig.settle(15)
    rig.take(2)
    rig.settle(15)
    rig.capture.finish()
    rig.settle(30)
    assert rig.results == ["done"], rig.tell.lines
    assert rig.peer.stream is not None
    assert rig.peer.past == []
    assert rig.peer.stream.holes == []
    assert rig.received == rig.recorded()
