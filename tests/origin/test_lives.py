"""Lives of one Origin, one after the other, over one store: an epoch at the Distributor is a life to its last byte."""

from __future__ import annotations

import json
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from sdp.errors import Refusal, StorageError
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import Role
from sdp.origin.capture import Capture
from sdp.origin.counterpart import Counterpart
from sdp.origin.lives import MOST_FORMER, former_lives
from sdp.origin.poster import Poster
from sdp.stream.record import Flag
from tests.consumer.pair import Distributor, Lines, outcome
from tests.distributor.disk import Disk, Kept
from tests.origin.test_pair import INITIALIZATION, lose


class Origin:
    """One life: it finds in ``disk`` what those before it have left there."""

    def __init__(self, distributor: Distributor, disk: Disk, life: int, *, anew: bool = False) -> None:
        self.distributor = distributor
        self.tell = Lines()
        self.life, self.count = life, 0
        former = former_lives(disk.kept, "a")
        self.capture = Capture(1 << 20, lambda: disk.create("a", f"{life}", "video/x-test"), "video/x-test")
        clock = distributor.reactor
        self.poster = Poster(
            self.capture,
            b"/a",
            Attempts(distributor.connecting(Role.ORIGIN), clock, Backoff(Random(1)), self.tell),
            self.tell,
            clock,
            now=lambda: int(clock.seconds() * 1e6),
            former=former,
            anew=anew,
        )
        self.capture.on_change = self.poster.wake
        self.running = Deferred.fromCoroutine(self.poster.run())
        self.results = outcome(self.running)
        distributor.settle()

    def take(self, count: int = 1) -> None:
        for _ in range(count):
            flags = Flag.RANDOM_ACCESS if self.count else Flag.INITIALIZATION
            data = b"<%d of life %d>" % (self.count, self.life) if self.count else INITIALIZATION
            self.capture.take(data, flags, 1000, 0)
            self.count += 1
        self.distributor.settle()

    def finish(self) -> None:
        self.capture.finish()
        self.distributor.settle()

    def kill(self) -> None:
        self.capture.on_change = lambda: None
        self.running.cancel()
        self.distributor.cut()

    def told(self, text: str) -> bool:
        return any(text in line for line in self.tell.lines)


class Town:
    """An Origin's disk and a Distributor with one of its own, and the lives that follow on each other."""

    def __init__(self, **options: Any) -> None:
        self.disk = Disk()
        self.at_distributor = Disk()
        self.distributor = Distributor(store=self.at_distributor, **options)
        self.lives = 0

    def begin(self, **options: Any) -> Origin:
        self.lives += 1
        return Origin(self.distributor, self.disk, self.lives, **options)

    @property
    def recorded(self) -> list[bytes]:
        return [bytes(kept.data) for kept in self.disk.kept]

    @property
    def received(self) -> list[bytes]:
        return [bytes(kept.data) for kept in self.at_distributor.kept]

    def epochs(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(self.distributor.ask(b"GET", b"/-/epochs/a").content)["epochs"]
        return listed[::-1]


@pytest.fixture
def town() -> Town:
    return Town()


@pytest.mark.parametrize("lost", [0, 1, 12, 13, 30, 38])
def test_what_the_distributor_lacks_of_a_former_life_is_brought_by_the_next_one(town, lost):
    first = town.begin()
    first.take(4)
    first.kill()
    town.distributor.crash(lambda: lose(town.at_distributor.kept[0], lost))
    second = town.begin()
    second.take(3)
    assert town.received == town.recorded
    assert [epoch["state"] for epoch in town.epochs()] == ["ended", "live"]
    assert [kept.ended for kept in town.disk.kept] == [True, False]
    assert second.told("A former life is delivered: 55 bytes")


def test_where_the_origin_lost_more_than_the_distributor_its_epoch_ends_as_it_is(town):
    first = town.begin()
    first.take(4)
    first.kill()
    whole = town.received[0]
    lose(town.disk.kept[0], 20)
    second = town.begin()
    second.take(3)
    assert town.received == [whole, town.recorded[1]]
    assert [kept.ended for kept in town.disk.kept] == [True, False]


def test_what_nothing_was_ever_posted_of(town):
    town.distributor.up = False
    first = town.begin()
    first.take(4)
    first.kill()
    town.distributor.up = True
    second = town.begin()
    second.take(3)
    assert town.received == town.recorded[1:]
    assert second.told("What was captured before this start (55 bytes)")
    assert town.disk.kept[0].ended  # nobody asks for it again


def test_what_nothing_was_ever_posted_of_goes_first_where_all_of_it_is_wanted(town):
    town.distributor.up = False
    for _ in range(2):
        killed = town.begin()
        killed.take(4)
        killed.kill()
    town.distributor.up = True
    last = town.begin(anew=True)
    last.take(3)
    assert town.received == town.recorded
    assert [epoch["state"] for epoch in town.epochs()] == ["ended", "ended", "live"]


def test_two_lives_that_the_distributor_has_not_all_of(town):
    first = town.begin()
    first.take(4)
    first.kill()
    town.distributor.crash(lambda: lose(town.at_distributor.kept[0], 9))
    town.distributor.up = False
    second = town.begin()
    second.take(2)
    second.kill()
    town.distributor.up = True
    third = town.begin()
    third.take(3)
    assert town.received == town.recorded


def test_a_life_that_was_delivered_is_not_delivered_again(town):
    first = town.begin()
    first.take(4)
    first.finish()
    assert first.results == [None]
    second = town.begin()
    second.take(2)
    second.finish()
    assert second.results == [None]
    assert town.received == town.recorded
    assert not second.told("former")


def test_a_life_whose_end_was_said_but_not_noted(town):
    first = town.begin()
    first.take(4)
    first.finish()
    town.disk.kept[0].ended = False  # it died between the two
    second = town.begin()
    second.take(2)
    assert town.received == town.recorded
    assert town.disk.kept[0].ended


def test_an_epoch_that_somebody_ended_too_early_is_told_of(town):
    first = town.begin()
    first.take(4)
    first.kill()
    town.distributor.crash(lambda: lose(town.at_distributor.kept[0], 9))
    town.distributor.post("*/46")
    second = town.begin()
    second.take(2)
    assert second.told("ended at 46 by somebody else; 9 bytes more of it stay in the store")
    assert town.received == [town.recorded[0][:46], town.recorded[1]]


def test_another_s_epoch_is_not_gone_on_with(town):
    first = town.begin()
    first.take(4)
    first.kill()
    town.distributor.post("*/55")
    town.distributor.post("0-4/*", b"other")
    town.distributor.cut()
    second = town.begin()
    second.take(2)
    assert town.received[1:] == [b"other", town.recorded[1]]
    assert second.told("it stays in the store")


def test_a_former_life_whose_beginning_is_kept_no_more(town):
    first = town.begin()
    first.take(6)
    first.kill()
    kept = town.disk.kept[0]
    town.distributor.crash(lambda: lose(town.at_distributor.kept[0], 62))
    del kept.data[:60]
    kept.start = 60
    second = town.begin()
    second.take(2)
    assert town.received == [INITIALIZATION + b"<1 of life 1>"[:3], town.recorded[1]]


def test_an_answer_that_was_lost_with_its_connection_is_no_reason_for_another_epoch(town):
    origin = town.begin()
    town.distributor.mute = True
    origin.take(1)
    # It gets there, and nothing of the answer comes back.
    for pump in town.distributor._pumps:
        pump.serverIO.bufferReceived(pump.clientIO.getOutBuffer() or b"")
        pump.clientIO.reportDisconnect()
    town.distributor._pumps.clear()
    town.distributor.mute = False
    town.distributor.settle(2)
    origin.take(3)
    assert town.received == town.recorded
    assert len(town.received) == 1


class TestFencedOff:
    def test_a_newcomer_with_the_same_bytes_takes_over_and_the_old_one_leaves(self, town):
        first = town.begin()
        first.take(4)
        copy = Disk()
        copy.kept.append(Kept(copy, "a", "copy", "video/x-test"))
        copy.kept[0].append(bytes(town.disk.kept[0].data), town.disk.kept[0].index)
        newcomer = Origin(town.distributor, copy, 2)
        newcomer.take(3)
        first.take(3)
        town.distributor.settle(2)
        assert isinstance(first.results[0], Refusal)
        assert "Another Origin has taken this stream over" in first.results[0].detail
        newcomer.take(2)
        assert town.received == [bytes(copy.kept[0].data), bytes(copy.kept[1].data)]

    def test_what_the_old_one_posts_until_it_is_replaced_is_part_of_the_epoch(self, town, monkeypatch):
        first = town.begin()
        first.take(4)
        copy = Disk()
        copy.kept.append(Kept(copy, "a", "copy", "video/x-test"))
        copy.kept[0].append(bytes(town.disk.kept[0].data), town.disk.kept[0].index)
        ask = Counterpart.ask

        async def ask_and_be_late(self: Counterpart, client: Any) -> Any:
            standing = await ask(self, client)
            if not newcomers:
                newcomers.append(client)
                first.take(2)
            return standing

        newcomers: list[Any] = []
        monkeypatch.setattr(Counterpart, "ask", ask_and_be_late)
        newcomer = Origin(town.distributor, copy, 2)
        newcomer.take(3)
        town.distributor.settle(2)
        assert newcomer.results == []
        assert town.received == [town.recorded[0], bytes(copy.kept[1].data)]
        assert isinstance(first.results[0], Refusal)

    def test_who_finds_more_in_its_epoch_than_it_posted_is_not_alone(self, town):
        first = town.begin()
        first.take(4)
        town.distributor.cut()
        town.distributor.post("55-59/*", b"other", if_match=(first.poster.epoch or b"").decode())
        town.distributor.settle(2)
        assert isinstance(first.results[0], Refusal)
        assert town.received == [town.recorded[0] + b"other"]

    def test_who_was_replaced_and_finds_nobody_there_goes_on_with_an_epoch_of_its_own(self, town):
        first = town.begin()
        first.take(4)
        town.distributor.up = False
        town.distributor.cut()
        town.distributor.up = True
        town.distributor.post("*/55")
        town.distributor.post("0-4/*", b"other")
        town.distributor.cut()
        town.distributor.settle(2)
        first.take(1)
        assert first.results == []
        assert town.received == [town.recorded[0][:55], b"other", town.recorded[0]]


class TestFormerLives:
    def test_the_last_one_that_is_over_comes_first(self):
        disk = Disk()
        for number in range(5):
            disk.create("a", f"{number}", "x/y").append(b"data", [])
            disk.create("b", f"{number}", "x/y").append(b"data", [])
        disk.kept[4].ended = True
        disk.kept[8].failure = StorageError("It was removed.")
        assert [life.recording.epoch for life in former_lives(disk.kept, "a")] == ["2", "3"]
        assert [life.over for life in former_lives(disk.kept, "a")] == [True, False]

    def test_an_empty_one_is_none_and_not_all_are_looked_at(self):
        disk = Disk()
        for number in range(2 * MOST_FORMER):
            disk.create("a", f"{number}", "x/y").append(b"data" if number % 2 else b"", [])
        found = [life.recording.epoch for life in former_lives(disk.kept, "a")]
        assert found == [f"{number}" for number in range(MOST_FORMER + 1, 2 * MOST_FORMER, 2)]
        assert [kept.ended for kept in disk.kept] == [True] * MOST_FORMER + [False] * MOST_FORMER

    def test_retention_takes_nothing_that_may_still_be_asked_for(self):
        disk = Disk()
        for number in range(3):
            disk.create("a", f"{number}", "x/y").append(b"data", [])
        disk.create("b", "3", "x/y").append(b"data", [])
        disk.kept[1].ended = True
        [over, open_] = former_lives(disk.kept, "a")
        needed = [[kept.keep_from for kept in disk.kept]]
        open_.needed_from(2)
        needed.append([kept.keep_from for kept in disk.kept])
        open_.complete()
        needed.append([kept.keep_from for kept in disk.kept])
        assert needed == [[None, None, 0, 0], [None, None, 2, 0], [None, None, None, 0]]
        assert over.complete() is None


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_dies_in_whatever_order_each_epoch_is_a_life_to_its_last_byte(data):
    town = Town()
    origin: Origin | None = town.begin(anew=True)
    for _ in range(data.draw(st.integers(3, 14))):
        match data.draw(st.sampled_from(["take", "take", "take", "cut", "kill", "crash", "lose", "wait"])):
            case "take":
                if origin is None:
                    origin = town.begin(anew=True)
                origin.take(data.draw(st.integers(1, 5)))
            case "cut":
                town.distributor.cut()
            case "kill" if origin is not None:
                origin.kill()
                origin = None
            case "crash":
                town.distributor.crash()
            case "lose" if town.at_distributor.kept:
                newest = town.at_distributor.kept[-1]
                most = len(newest.data) - len(INITIALIZATION)  # an empty log is anybody's
                count = data.draw(st.integers(0, max(0, most)))
                town.distributor.crash(partial(lose, newest, 0 if newest.ended else count))
            case "wait":
                town.distributor.settle(2)
    if origin is None:
        origin = town.begin(anew=True)
    origin.take(2)
    origin.finish()
    town.distributor.settle(15)
    assert origin.results == [None], origin.tell.lines
    assert all(kept.ended for kept in town.disk.kept if kept.data)
    assert town.received == [recorded for recorded in town.recorded if recorded]
