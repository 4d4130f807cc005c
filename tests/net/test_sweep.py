"""One timer for all deadlines."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import LogEvent, Logger

from sdp.net.sweep import Sweep


class Member:
    def __init__(self, deadline, clock):
        self.deadline = deadline
        self.late = []
        self.clock = clock

    def timed_out(self):
        self.late.append(self.clock.seconds())
        self.deadline = None


def sweeping(*deadlines, interval=1.0):
    clock = Clock()
    sweep = Sweep(clock, interval)
    members = [Member(deadline, clock) for deadline in deadlines]
    for member in members:
        sweep.add(member)
    sweep.start()
    return clock, sweep, members


def test_each_deadline_is_kept_to_within_the_interval():
    clock, _, members = sweeping(0.5, 3, 3.1, None)
    clock.pump([1.0] * 10)
    assert [member.late for member in members] == [[1], [3], [4], []]


def test_a_deadline_may_move():
    clock, _, [member] = sweeping(2)
    clock.advance(1)
    member.deadline = 5
    clock.pump([1] * 3)
    assert member.late == []
    clock.advance(1)
    assert member.late == [5]


def test_who_has_left_is_left_alone():
    clock, sweep, [first, second] = sweeping(1, 1)
    sweep.discard(first)
    sweep.discard(first)
    assert list(sweep) == [second]
    assert len(sweep) == 1
    clock.advance(1)
    assert (first.late, second.late) == ([], [1])


def test_members_may_leave_while_their_deadlines_are_looked_at():
    clock, sweep, [first, second] = sweeping(1, 1)
    first.timed_out = lambda: sweep.discard(first)
    clock.advance(1)
    assert (list(sweep), second.late) == ([second], [1])


def test_something_else_once_a_turn():
    clock, sweep, _ = sweeping(interval=2)
    turns = []
    sweep.after_each.append(lambda: turns.append(clock.seconds()))
    clock.pump([1] * 5)
    assert turns == [2, 4]


def test_one_that_fails_does_not_end_the_others():
    clock, sweep, [first, second] = sweeping(1, 1)
    first.timed_out = lambda: 1 // 0
    told: list[LogEvent] = []
    sweep.log = Logger(observer=told.append)  # type: ignore[arg-type]  # any callable observes
    clock.pump([1, 1])
    assert second.late == [1]
    assert [event["log_failure"].type for event in told if "log_failure" in event] == [ZeroDivisionError] * 2


def test_it_stops_and_stops_again():
    clock, sweep, [member] = sweeping(1)
    sweep.stop()
    sweep.stop()
    clock.pump([1, 1])
    assert member.late == []
