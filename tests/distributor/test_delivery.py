"""One live answer from its place to the edge: catching up, standing, jumping, ending."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock

from sdp.distributor.delivery import SLOW_BLOCK, Delivery, LagLimits, OnLag, send_interval
from sdp.distributor.fanout import Counters, Fanout
from sdp.distributor.forms import Parts, Raw
from sdp.distributor.reading import BLOCK
from sdp.errors import StorageError
from sdp.net.exchange import Answer

from .disk import Disk, Kept
from .marked import marked
from .tap import TapExchange, fired
from .test_forms import read_parts

RAW = Raw(chunked=False)
PARTS = Parts(b"limit", chunked=False)
SECOND = 1_000_000


class Live:
    """An epoch, its edge, and one consumer on its way."""

    def __init__(self, epoch, form=RAW, on_lag=OnLag.JUMP, size=1 << 20, age=1e9, at=0, room=None, has=None, **how):
        self.epoch = epoch
        self.now = 0
        self.fanout = Fanout(epoch, Counters(), Clock())
        self.exchange = cast(Any, TapExchange(room))
        self.delivery = Delivery(
            self.exchange,
            epoch,
            form,
            self.fanout,
            offset=at,
            on_lag=on_lag,
            limits=LagLimits(size, age),
            now=lambda: self.now,
            sent_initialization=has,
            changed=self.change,
            **how,
        )

    async def change(self, seconds):
        self.changed: Deferred[None] = Deferred()
        await self.changed

    def run(self, preface=b""):
        self.work = Deferred.fromCoroutine(self.delivery.run(preface))
        self.result = fired(self.work)
        return self

    @property
    def outflow(self):
        return self.exchange.outflow

    @property
    def ended(self):
        """Whether the answer has its clean end."""
        return self.exchange.answer is Answer.DONE and not self.exchange.aborted


def test_it_catches_up_stands_and_ends():
    epoch = marked(b"I_", b"K123", b"f45")
    live = Live(epoch, at=2).run(b"I_")
    assert live.outflow.taken == b"I_K123f45"
    assert len(live.fanout) == 1
    epoch.append(b"f6", 0)
    assert live.outflow.taken == b"I_K123f45f6"
    assert not live.ended
    epoch.finish()
    assert live.ended
    assert live.result == [None]
    assert live.fanout.counters.jumps == 0


def test_who_could_not_take_all_is_given_less_at_a_time():
    """What waits for a consumer that takes nothing is its own: it costs no more than that."""
    epoch = marked(b"K" + b"1" * (3 * BLOCK))
    live = Live(epoch, room=100).run()
    assert len(live.outflow.rest) == BLOCK - 100
    live.outflow.open(BLOCK)
    assert len(live.outflow.rest) == SLOW_BLOCK - 100
    live.outflow.open()
    assert live.outflow.taken == epoch.log.read(0)[0]
    run = b"f" + b"5" * BLOCK
    epoch.append(run, 0)
    assert live.outflow.sends[-1] == run


def test_parts_end_with_their_closing_delimiter():
    epoch = marked(b"K123")
    live = Live(epoch, PARTS, at=2).run()
    epoch.finish()
    assert live.outflow.taken.endswith(PARTS.closing())
    [(said, content, _)] = read_parts(live.outflow.taken.removesuffix(PARTS.closing()), PARTS)
    assert (said, content) == ((2, 3, None), b"23")


def test_a_log_that_is_finished_is_sent_to_its_end():
    epoch = marked(b"K123")
    epoch.finish()
    live = Live(epoch).run()
    assert (live.outflow.taken, live.ended) == (b"K123", True)


def test_who_has_more_than_is_known_waits_for_the_rest():
    epoch = marked(b"K1", b"??")
    live = Live(epoch, PARTS, at=4).run()
    assert not live.outflow.taken
    epoch.append(b"2", 0)
    [(said, content, _)] = read_parts(live.outflow.taken, PARTS)
    assert (said, content) == ((4, 4, None), b"2")
    assert len(live.fanout) == 1


def test_flow_control_while_it_catches_up():
    epoch = marked(b"K" + b"x" * (3 * BLOCK - 1))
    live = Live(epoch, room=10).run(b"preface")
    assert live.outflow.taken == b"prefaceKxx"
    assert len(live.outflow.rest) == BLOCK - 3
    assert live.delivery.offset == BLOCK
    live.outflow.open()
    assert live.outflow.taken == b"preface" + b"K" + b"x" * (3 * BLOCK - 1)
    assert len(live.fanout) == 1


def test_who_could_not_take_a_run_catches_up_and_comes_back():
    epoch = marked(b"K1")
    live = Live(epoch, at=2, room=3).run()
    epoch.append(b"f234", 0)
    epoch.append(b"f5", 0)
    assert (live.outflow.taken, len(live.fanout)) == (b"f23", 0)
    assert live.delivery.lag_bytes(live.fanout.places()) == 2
    live.outflow.open()
    assert (live.outflow.taken, len(live.fanout)) == (b"f234f5", 1)
    assert live.delivery.lag_bytes(live.fanout.places()) == 0


def test_a_paused_outflow_is_waited_for_at_the_edge():
    epoch = marked(b"K1")
    live = Live(epoch, at=2, room=0)
    live.outflow.write(b"head")
    live.run()
    assert len(live.fanout) == 0
    live.outflow.open()
    assert len(live.fanout) == 1


def test_a_lost_connection_ends_it():
    epoch = marked(b"K1")
    live = Live(epoch, at=2).run()
    live.work.cancel()
    assert isinstance(live.result[0], CancelledError)
    assert len(live.fanout) == 0


class TestLag:
    def lagging(self, form, on_lag, *appends, room=0, **others):
        """A consumer at 6, the end of the first fragment, who takes nothing while these are appended."""
        epoch = marked(b"I_", b"K123")
        live = Live(epoch, form, on_lag, size=8, at=6, room=room, has=0, **others).run()
        for data in appends:
            epoch.append(data, 0)
        return epoch, live

    def test_it_jumps_to_the_newest_random_access_point(self):
        epoch, live = self.lagging(RAW, OnLag.JUMP, b"f4", b"K5", b"f6", b"K7890123", b"f")
        assert live.delivery.offset == 8
        live.outflow.open()
        assert live.outflow.taken == b"f4" + b"K7890123" + b"f"
        assert (live.delivery.jumps, live.fanout.counters.jumps) == (1, 1)
        epoch.append(b"f8", 0)
        assert live.outflow.taken.endswith(b"ff8")

    def test_the_parts_tell_of_it(self):
        _, live = self.lagging(PARTS, OnLag.JUMP, b"f4", b"K5", b"f6", b"K7890123")
        live.outflow.open()
        assert [said for said, _, _ in read_parts(live.outflow.taken, PARTS)] == [(6, 7, None), (12, 19, None)]

    def test_a_single_range_ends_cleanly(self):
        _, live = self.lagging(RAW, OnLag.END, b"f4", b"K5", b"f6", b"K7890123")
        live.outflow.open()
        assert (live.outflow.taken, live.ended, live.result) == (b"f4", True, [None])
        assert live.fanout.counters.jumps == 1

    def test_offsets_that_were_asked_for_are_given(self):
        _, live = self.lagging(RAW, OnLag.STAY, b"f4", b"K5", b"f6", b"K7890123")
        live.outflow.open()
        assert live.outflow.taken == b"f4K5f6K7890123"
        assert live.fanout.counters.jumps == 0

    def test_a_record_that_has_begun_is_completed_first(self):
        _, live = self.lagging(RAW, OnLag.JUMP, b"f4", b"5678", b"K9", b"f012345", b"K6", room=0)
        assert live.delivery.offset == 8
        live.outflow.open()
        assert live.outflow.taken == b"f45678" + b"K6"

    def test_nor_does_an_end_cut_it(self):
        _, live = self.lagging(RAW, OnLag.END, b"f4", b"5678", b"K9", b"f012345", b"K6")
        live.outflow.open()
        assert live.outflow.taken == b"f45678"
        assert live.ended

    def test_a_record_that_goes_on_is_not_left(self):
        _, live = self.lagging(RAW, OnLag.JUMP, b"K4", b"567890123456789")
        live.outflow.open()
        assert live.outflow.taken == b"K4567890123456789"
        assert live.fanout.counters.jumps == 0

    def test_a_new_initialization_segment_goes_before_what_needs_it(self):
        _, live = self.lagging(RAW, OnLag.JUMP, b"f4", b"I=", b"K5", b"f6789", b"K0")
        live.outflow.open()
        assert live.outflow.taken == b"f4" + b"I=" + b"K0"

    def test_which_is_sent_once(self):
        epoch, live = self.lagging(RAW, OnLag.JUMP, b"f4", b"I=", b"K5", b"f6789", b"K0")
        live.outflow.open()
        live.outflow.room = 0
        for data in (b"f1", b"K5", b"f6789", b"K0"):
            epoch.append(data, 0)
        live.outflow.open()
        assert live.outflow.taken == b"f4" + b"I=" + b"K0" + b"f1" + b"K0"

    def test_a_jump_to_the_initialization_segment_itself(self):
        _, live = self.lagging(RAW, OnLag.JUMP, b"f4", b"I=K5", b"f6789", b"f01234")
        live.outflow.open()
        assert live.outflow.taken == b"f4" + b"I=" + b"K5f6789f01234"

    def test_no_random_access_point_no_jump(self):
        _, live = self.lagging(RAW, OnLag.JUMP, b"f4", b"f5678901234567890")
        live.outflow.open()
        assert live.outflow.taken == b"f4f5678901234567890"

    def test_by_age(self):
        epoch = marked(b"K123")
        live = Live(epoch, at=4, room=0, age=2.0).run()
        epoch.append(b"f4", SECOND)
        epoch.append(b"f5", SECOND)
        epoch.append(b"K6", 4 * SECOND)
        live.now = 4 * SECOND
        assert live.delivery.lag_ms(live.fanout.places()) == 3000.0
        live.outflow.open()
        assert live.outflow.taken == b"f4K6"
        assert live.delivery.lag_ms(live.fanout.places()) == 0.0

    def test_not_yet_by_age(self):
        epoch = marked(b"K123")
        live = Live(epoch, at=4, room=0, age=2.0).run()
        epoch.append(b"f4", SECOND)
        epoch.append(b"f5", SECOND)
        epoch.append(b"K6", 3 * SECOND)
        live.now = 3 * SECOND
        live.outflow.open()
        assert live.outflow.taken == b"f4f5K6"


class TestOnDisk:
    def test_a_place_that_has_left_the_memory_is_read_from_the_disk(self):
        kept = Kept(Disk())
        epoch = marked(b"I_", b"K123", b"f45", recording=kept, window=0)
        kept.write()
        epoch.stored()
        live = Live(epoch, on_lag=OnLag.STAY, at=2).run()
        assert live.outflow.taken == b"K123f45"
        assert len(live.fanout) == 1

    def test_a_lagging_one_jumps_where_the_next_record_begins(self):
        kept = Kept(Disk())
        epoch = marked(b"I_", b"K123", b"f456", b"f7", b"K8", recording=kept, window=0)
        kept.write()
        epoch.stored()
        epoch.append(b"K9", 0)
        assert (epoch.log.start, epoch.join_point().offset) == (16, 14)
        live = Live(epoch, size=3, at=4, has=0).run()
        assert live.outflow.taken == b"23K9"
        assert live.delivery.jumps == 1

    def test_what_cannot_be_read_fails(self):
        disk = Disk()
        kept = Kept(disk)
        epoch = marked(b"K123", b"f45", recording=kept, window=0)
        kept.write()
        epoch.stored()
        disk.unreadable = StorageError("The disk is gone.")
        live = Live(epoch, on_lag=OnLag.STAY).run()
        assert isinstance(live.result[0], StorageError)


class TestLostPlace:
    def evicted(self, form, on_lag):
        epoch = marked(b"I_", b"K123", b"I=K4", window=1100)
        live = Live(epoch, form, on_lag, at=6, has=0, room=0)
        live.outflow.write(b"head")
        live.delivery.offset = 3
        for data in (b"f5", b"K6", b"f7"):
            epoch.append(data, 0)
        assert epoch.log.start > 3
        live.run()
        live.outflow.open()
        return live

    def test_parts_jump_with_what_is_needed_there(self):
        live = self.evicted(PARTS, OnLag.JUMP)
        parts = read_parts(live.outflow.taken.removeprefix(b"head"), PARTS)
        assert [(said[0], content) for said, content, _ in parts] == [(6, b"I="), (12, b"K6"), (14, b"f7")]
        assert live.delivery.jumps == 1

    @pytest.mark.parametrize(("form", "on_lag"), [(RAW, OnLag.JUMP), (RAW, OnLag.END), (PARTS, OnLag.STAY)])
    def test_what_cannot_be_told_breaks_off(self, form, on_lag):
        live = self.evicted(form, on_lag)
        assert live.exchange.aborted
        assert live.result == [None]

    def test_where_nothing_newer_can_be_decoded_it_breaks_off(self):
        epoch = marked(b"K123", b"f4", b"f5", window=300)
        live = Live(epoch, PARTS, at=1).run()
        assert live.exchange.aborted


class TestInterval:
    def send(self, epoch, start, end, room=None, form=RAW):
        exchange: Any = TapExchange(room)
        return exchange, fired(Deferred.fromCoroutine(send_interval(exchange, epoch, form, start, end)))

    def test_all_of_it(self):
        epoch = marked(b"K" + b"x" * (2 * BLOCK))
        exchange, result = self.send(epoch, 1, 2 * BLOCK, room=5)
        assert (result, len(exchange.outflow.taken)) == ([], 5)
        exchange.outflow.open()
        assert result == [True]
        assert exchange.outflow.taken == b"x" * (2 * BLOCK - 1)

    def test_nothing(self):
        assert self.send(marked(b"K"), 1, 1)[1] == [True]

    def test_an_answer_that_was_broken_off(self):
        exchange, result = self.send(marked(b"K" + b"x" * (2 * BLOCK)), 0, 2 * BLOCK, room=5)
        exchange.answer = Answer.DONE
        exchange.outflow.open()
        assert result == [False]

    def test_what_is_no_longer_there(self):
        exchange, result = self.send(marked(b"K1", b"K2", window=300), 0, 4)
        assert (result, exchange.aborted) == ([False], True)


letters = st.sampled_from([b"I", b"K", b"f", b"1", b"234", b"?"])


@given(st.lists(st.tuples(letters, st.integers(0, 12), st.booleans()), max_size=30), st.integers(1, 12))
def test_parts_never_lie(moves, size):
    """Whatever is appended and taken: each part's bytes are the log's at its offsets, and these only grow."""
    epoch = marked(b"K")
    live = Live(epoch, PARTS, size=size, at=0, room=0).run()
    whole = b"K"
    for data, room, opens in moves:
        epoch.append(data, 0)
        whole += data
        if opens:
            live.outflow.open()
            live.outflow.room = room
    epoch.finish()
    live.outflow.open()
    assert live.ended
    at = 0
    for (first, last, _), content, headers in read_parts(live.outflow.taken.removesuffix(PARTS.closing()), PARTS):
        assert whole[first : last + 1] == content
        if first > at:
            jumped_to = headers.get(b"random-access") or headers.get(b"initialization")
            assert jumped_to == b"?1"
        elif first < at:
            assert headers.get(b"initialization") == b"?1"
        at = max(at, last + 1)
    assert live.delivery.jumps > 0 or at == len(whole)
