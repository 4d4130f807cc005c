"""The playout controller on simulated arrivals, and the series that the browser's player is held to as well."""

from __future__ import annotations

import json
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.consumer.playout import Decision, Playout, Rules, State
from tests.playout.series import CLOCK, MILLISECOND, SECOND, Unit, backlog, bursts, even, outage, series
from tests.playout.vectors import HERE, VECTORS, row_of, text_of

FILES = sorted(HERE.glob("*.json"))


def play(units: Iterable[Unit], playout: Playout, interval: int = 10 * MILLISECOND) -> list[tuple[int, Decision]]:
    """What is decided on these arrivals, and when (microseconds from the beginning)."""
    decisions = []
    due = CLOCK
    for unit in units:
        while due < unit.at:
            decisions.append((due - CLOCK, playout.update(due)))
            due += interval
        playout.arrived(unit.time, unit.at, duration=unit.duration, track=unit.track, random_access=unit.random_access)
    return decisions


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_the_shared_series(path: Path) -> None:
    vector = json.loads(path.read_text("utf-8"))
    playout = Playout(Rules(**vector["rules"]))
    playout.overhead = vector["overhead"]
    decisions = iter(vector["decisions"])
    within, rate_within = vector["tolerance"]["microseconds"], vector["tolerance"]["rate"]
    for what, at, *rest in vector["steps"]:
        if what == "arrived":
            time, duration, track, random_access = rest
            playout.arrived(time, at, duration=duration, track=track, random_access=random_access)
            continue
        state, position, rate, target, delay, skip = row_of(playout.update(at, *rest))
        wanted = next(decisions)
        assert [state, skip] == [wanted[0], wanted[5]], at
        assert (position is None) is (wanted[1] is None), at
        assert position is None or abs(position - wanted[1]) <= within, at
        assert abs(rate - wanted[2]) <= rate_within, at
        assert abs(target - wanted[3]) <= within, at
        assert abs(delay - wanted[4]) <= within, at
    assert next(decisions, None) is None


def test_the_shared_series_are_those_of_the_formulas() -> None:
    assert {path.stem for path in FILES} == set(VECTORS)
    for path in FILES:
        assert path.read_text("utf-8") == text_of(VECTORS[path.stem]), f"{path.name}: python -m tests.playout.vectors"


def test_what_comes_at_its_pace_is_presented_almost_at_once() -> None:
    playout = Playout()
    decisions = play(series(60, even(MILLISECOND)), playout)
    assert playout.stalls == playout.skips == 0
    assert all(decision.delay < 4 * MILLISECOND for when, decision in decisions if when > SECOND)
    assert {decision.rate for when, decision in decisions if when > SECOND} == {1.0}


def test_the_newest_picture_is_due_at_once_whatever_came_before_it() -> None:
    decisions = play(series(5, backlog(900 * MILLISECOND)), Playout())
    started = [decision.delay for when, decision in decisions if when > 910 * MILLISECOND]
    assert max(started) < 40 * MILLISECOND


def test_bursts_are_played_out_evenly() -> None:
    playout = Playout()
    decisions = play(series(60, bursts(SECOND // 2)), playout)
    settled = [decision for when, decision in decisions if when > 20 * SECOND]
    assert playout.stalls <= 2
    assert playout.skips == 0
    assert {decision.rate for decision in settled} == {1.0}
    assert all(450 * MILLISECOND < decision.delay < 650 * MILLISECOND for decision in settled)


@pytest.mark.parametrize("kept", [True, False])
def test_a_stall_of_three_seconds_is_made_up_for(kept: bool) -> None:
    """Whether what was sent meanwhile comes late or never."""
    playout = Playout()
    if kept:
        units = series(60, outage(10 * SECOND, 13 * SECOND, MILLISECOND))
    else:
        units = series(60, even(MILLISECOND), lost=(10 * SECOND, 13 * SECOND))
    decisions = play(units, playout)
    assert playout.stalls == 1
    assert playout.skips >= 1
    assert all(decision.delay < 100 * MILLISECOND for when, decision in decisions if when > 14 * SECOND)
    assert decisions[-1][1].delay < 10 * MILLISECOND


def test_what_goes_on_stalling_is_given_room() -> None:
    """A hole of 0.3 s every five seconds: after the second one there are no more stalls."""
    playout = Playout()

    def late(number: int, sent: int) -> int:
        return max(0, 300 * MILLISECOND - sent % (5 * SECOND)) if sent > SECOND else 0

    decisions = play(series(60, late), playout)
    stalls = [when for (when, one), (_, other) in pairwise(decisions) if other.state is State.STALLED is not one.state]
    assert len(stalls) == playout.stalls <= 2
    assert playout.skips == 0


@pytest.mark.parametrize(
    ("drift", "hours", "sound"), [(0.001, 2.0, False), (-0.001, 2.0, False), (0.001, 0.1, True), (-0.001, 0.1, True)]
)
def test_a_clock_that_drifts_for_hours_costs_nothing(drift: float, hours: float, sound: bool) -> None:
    """The delay at the end is that of the beginning."""
    playout = Playout()
    decisions = play(
        series(hours * 3600, even(2 * MILLISECOND), rate=2, group=2, sound=sound, drift=drift), playout, SECOND // 4
    )
    assert playout.stalls == playout.skips == 0
    late = [decision.delay for when, decision in decisions if when > 60 * SECOND]
    assert max(late) - min(late) < 10 * MILLISECOND
    assert max(late) < 45 * MILLISECOND
    assert all(0.99 <= decision.rate <= 1.01 for when, decision in decisions if when > 60 * SECOND)


def test_a_fixed_target_is_kept() -> None:
    playout = Playout(Rules(target=300 * MILLISECOND))
    decisions = play(series(60, even(20 * MILLISECOND), drift=0.001), playout)
    assert playout.stalls == 0
    assert all(230 * MILLISECOND < decision.delay < 370 * MILLISECOND for when, decision in decisions if when > SECOND)


def test_a_track_that_falls_silent_holds_up_no_other() -> None:
    playout = Playout()
    sound = [unit for unit in series(2, even(0), sound=True) if unit.track == 1]
    units = sorted([*series(20, even(0)), *sound], key=lambda unit: unit.at)
    decisions = play(units, playout)
    assert decisions[-1][1].state is State.PLAYING
    assert decisions[-1][1].delay < SECOND


def test_sound_that_is_sent_ahead_does_not_make_pictures_late() -> None:
    """The base is the slower track's: a target of nothing but the margin suits both."""
    playout = Playout(Rules(target=0))
    units = [
        unit._replace(at=unit.at - 15 * MILLISECOND) if unit.track else unit for unit in series(10, even(0), sound=True)
    ]
    decisions = play(sorted(units, key=lambda unit: unit.at), playout)
    assert playout.stalls == 0
    assert decisions[-1][1].delay < 35 * MILLISECOND


@settings(max_examples=25, deadline=None)
@given(
    gaps=st.lists(st.tuples(st.integers(0, 30), st.integers(1, 1500)), min_size=1, max_size=6),
    jitter=st.integers(0, 80),
    drift=st.sampled_from([0.0, 0.001, -0.001]),
    target=st.sampled_from([None, 0, 150 * MILLISECOND, SECOND]),
)
def test_whatever_arrives(gaps: list[tuple[int, int]], jitter: int, drift: float, target: int | None) -> None:
    """The position goes forward only, never past what has arrived; the rate stays in its bounds; a skip goes ahead."""

    def late(number: int, sent: int) -> int:
        waits = (
            begin * SECOND // 3 + length * MILLISECOND - sent for begin, length in gaps if sent >= begin * SECOND // 3
        )
        return max(0, *waits, even(jitter * MILLISECOND)(number, sent)) if gaps else 0

    playout = Playout(Rules(target=target))
    position = 0.0
    due = CLOCK
    for unit in series(12, late, sound=True, drift=drift):
        while due < unit.at:
            decision = playout.update(due)
            if decision.position is not None:
                assert playout.state is State.STARTING or position <= decision.position <= playout.end
                position = decision.position
            assert 0.95 <= decision.rate <= 1.05
            assert decision.skip is None or position <= decision.skip
            due += 20 * MILLISECOND
        playout.arrived(unit.time, unit.at, duration=unit.duration, track=unit.track, random_access=unit.random_access)
