"""One timer for a deadline that moves."""

from __future__ import annotations

from twisted.internet.task import Clock

from sdp.net.watch import Deadline, Watch


class Rig:
    def __init__(self):
        self.clock = Clock()
        self.deadline: Deadline | None = (5.0, "news")
        self.told: list[str] = []
        self.watch = Watch(self.clock, lambda: self.deadline, self.told.append)

    @property
    def timers(self):
        return [call.getTime() for call in self.clock.getDelayedCalls()]


def test_it_tells_at_the_deadline_and_once():
    rig = Rig()
    rig.watch.look()
    rig.clock.advance(4.9)
    assert rig.told == []
    rig.clock.advance(0.1)
    assert rig.told == ["news"]
    assert rig.timers == []


def test_a_deadline_that_moves_away_costs_no_new_timer_until_the_old_one_has_gone_off():
    rig = Rig()
    rig.watch.look()
    rig.deadline = (9.0, "more")
    rig.watch.look()
    assert rig.timers == [5.0]
    rig.clock.advance(5)
    assert rig.timers == [9.0]
    rig.clock.advance(4)
    assert rig.told == ["more"]


def test_a_deadline_that_comes_nearer_is_kept():
    rig = Rig()
    rig.watch.look()
    rig.deadline = (2.0, "soon")
    rig.watch.look()
    assert rig.timers == [2.0]
    rig.clock.advance(2)
    assert rig.told == ["soon"]


def test_without_a_deadline_it_rests_until_it_is_asked_to_look():
    rig = Rig()
    rig.watch.look()
    rig.deadline = None
    rig.clock.advance(100)
    assert rig.timers == []
    rig.deadline = (101.0, "again")
    rig.watch.look()
    rig.clock.advance(1)
    assert rig.told == ["again"]


def test_what_has_passed_already_is_told_on_the_next_turn():
    rig = Rig()
    rig.clock.advance(7)
    rig.watch.look()
    assert rig.told == []
    rig.clock.advance(0)
    assert rig.told == ["news"]


def test_a_watch_that_was_stopped_tells_nothing():
    rig = Rig()
    rig.watch.look()
    rig.watch.stop()
    rig.watch.stop()
    rig.clock.advance(10)
    assert rig.told == []
