"""Which hole is filled next, and when: the newest first, each from its front, and never faster than was said."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sdp.origin.backfill import REST, Backfill


def test_the_newest_hole_is_filled_first_and_each_from_its_front():
    backfill = Backfill(None, 1000)
    backfill.restart([(10, 20), (50, 90)])
    assert backfill.next() == (50, 90)
    backfill.sent(70, 0)
    assert backfill.next() == (70, 90)
    backfill.sent(90, 0)
    assert backfill.next() == (10, 20)
    backfill.sent(20, 0)
    assert backfill.next() is None
    assert not backfill.done
    for size in (20, 20, 10):
        backfill.answered(size)
    assert backfill.done


def test_what_is_on_its_way_waits_for_an_answer():
    backfill = Backfill(None, 100)
    backfill.leave(0, 1000)
    backfill.sent(99, 0)
    assert backfill.delay(0) == 0
    backfill.sent(150, 0)
    assert backfill.delay(0) is None
    backfill.answered(99)
    assert backfill.delay(0) == 0


def test_it_is_paced_and_a_pause_is_no_credit():
    backfill = Backfill(100, 10_000)
    backfill.leave(0, 10_000)
    backfill.sent(50, 10)
    assert backfill.delay(10) == 0.5
    assert backfill.delay(20) == 0
    backfill.sent(150, 20)
    assert backfill.delay(20.25) == 0.75


def test_what_an_answer_tells_counts_once_nothing_is_on_its_way():
    backfill = Backfill(None, 1000)
    backfill.leave(0, 10)
    backfill.learn([])  # from before the hole was there
    assert backfill.holes == [(0, 10)]
    backfill.sent(10, 0)
    backfill.learn([(0, 10)])
    assert backfill.holes == []
    backfill.answered(10)
    backfill.learn([(20, 30)])
    assert backfill.holes == [(20, 30)]


def test_what_is_refused_is_left_alone_for_a_while_and_keeps_no_epoch_open():
    backfill = Backfill(None, 1000)
    backfill.leave(0, 10)
    settled = [backfill.settled]
    backfill.sent(5, 0)
    backfill.refused(5, 1)
    backfill.learn([(0, 10)])
    assert backfill.next() == (0, 10)
    assert backfill.delay(1) == REST
    settled.append(backfill.settled)
    backfill.sent(5, 1 + REST)
    backfill.answered(5)
    assert [*settled, backfill.settled] == [False, True, False]


def test_what_is_held_nowhere_is_not_asked_for_again_in_this_epoch():
    backfill = Backfill(None, 1000)
    backfill.restart([(0, 10), (20, 30)])
    backfill.nowhere()
    assert backfill.holes == [(0, 10)]
    backfill.restart([(0, 10), (20, 30)])
    assert backfill.holes == [(0, 10)]
    backfill.forget()
    backfill.restart([(20, 30)])
    assert backfill.holes == [(20, 30)]


@given(
    st.lists(st.integers(1, 40), max_size=12),
    st.integers(1, 60),
    st.one_of(st.none(), st.integers(1, 1000)),
    st.data(),
)
def test_every_byte_of_every_hole_is_sent_once_in_order_within_the_window_and_the_rate(sizes, window, rate, data):
    holes, at = [], 0
    for size in sizes:
        holes.append((at, at + size))
        at += size + 1
    backfill = Backfill(rate, window)
    backfill.restart(holes)
    sent: list[int] = []
    flying: list[int] = []
    now = total = 0.0
    while (hole := backfill.next()) is not None:
        delay = backfill.delay(now)
        if delay is None:
            backfill.answered(flying.pop(0))
            continue
        now += delay
        assert sum(flying) < window
        if rate is not None:
            assert total <= now * rate + 1e-6
        end = data.draw(st.integers(hole[0] + 1, hole[1]))
        sent += range(hole[0], end)
        flying.append(end - hole[0])
        total += end - hole[0]
        backfill.sent(end, now)
    assert sorted(sent) == [each for start, end in holes for each in range(start, end)]
    for start, end in holes:
        assert [each for each in sent if start <= each < end] == list(range(start, end))
