"""A short torture run; and that whatever may go wrong in one would be seen: a judge who never blames is no judge.

The long form is ``make torture SEED=1 FAULTS=200``.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests.system.conftest import Clip
from tests.system.proxy import Way
from tests.system.torture.judge import STORE, Copy, Epoch, Extent, add, covers, missing, subtract
from tests.system.torture.nodes import Source
from tests.system.torture.run import torture
from tests.system.torture.schedule import KINDS, Fault, lines, nodes, schedule, setting
from tests.system.torture.watch import Announcements, missing_of

pytestmark = pytest.mark.system

SEED, FAULTS = 4348, 12


def test_a_short_run_loses_nothing(tmp_path: Path, clip: Clip) -> None:
    """The clip alone, so that it does not take long."""
    pytest.importorskip("av", reason="the Origin needs PyAV")
    said: list[str] = []
    ending: Source = ("--source", clip.file)
    # A file system of its own is for who asks for the long form.
    chosen = attrs.evolve(setting(SEED), disk="limit")
    wrong = torture(tmp_path, SEED, chosen, schedule(SEED, FAULTS, ["clip"]), {"clip": ending}, ending, said.append)
    assert wrong == [], "\n".join(said)


# -- the schedule --------------------------------------------------------------------------------------------------


def test_a_seed_is_a_schedule_and_the_first_of_many_faults_are_those_of_few() -> None:
    streams = ["pattern", "clip"]
    many = schedule(5, 400, streams)
    assert schedule(5, 100, streams) == many[:100]
    assert schedule(6, 400, streams) != many
    assert {fault.kind for fault in many} == set(KINDS)
    known = {*nodes(streams), *lines(streams)}
    assert {target for fault in many for target in fault.targets} == known
    assert len({fault.text for fault in many}) > 300


def test_seeds_have_settings_of_their_own() -> None:
    settings = {setting(seed) for seed in range(40)}
    assert len(settings) > 15
    assert {each.sync for each in settings} == {"always", "100ms", "1"}


@pytest.mark.parametrize("fault", schedule(3, 30, ["clip"]), ids=lambda fault: fault.kind)
def test_a_fault_is_told_in_a_line(fault: Fault) -> None:
    assert all(target in fault.text for target in fault.targets)
    assert "\n" not in fault.text


# -- the judge -----------------------------------------------------------------------------------------------------

DATA = bytes(range(200))


def held(who: str, *extents: tuple[int, bytes], complete: bool = False) -> Copy:
    return Copy(who, tuple(Extent(*each) for each in extents), complete)


def verdict(*copies: Copy) -> Epoch:
    epoch = Epoch("a")
    for copy in copies:
        epoch.hold(copy)
    return epoch


def test_copies_that_agree() -> None:
    epoch = verdict(held("A", (0, DATA[:50])), held("B", (0, DATA)), held("C", (20, DATA[20:60]), (80, DATA[80:90])))
    epoch.announced("B", ((0, 200),))
    epoch.ended(200, doubtful=False)
    epoch.whole(200, ["B"])
    assert epoch.wrong == []
    assert epoch.known_from_zero == 200


@pytest.mark.parametrize("at", [0, 1, 49, 50, 199])
def test_one_byte_that_differs_is_found(at: int) -> None:
    changed = DATA[:at] + bytes([DATA[at] ^ 1]) + DATA[at + 1 :]
    for copies in ((held("A", (0, DATA)), held("B", (0, changed))), (held("B", (0, changed)), held("A", (0, DATA)))):
        epoch = verdict(held("C", (100, DATA[100:150])), *copies)
        assert any(f"differs at offset {at} " in each for each in epoch.wrong)


def test_what_was_announced_and_is_not_there_is_found() -> None:
    epoch = verdict(held("A", (0, DATA)), held("B", (0, DATA[:99]), (120, DATA[120:])))
    epoch.announced("B", ((0, 99), (120, 200)))
    assert epoch.wrong == []
    epoch.announced("B", ((0, 100),))
    assert "[99, 100)" in epoch.wrong[-1]
    epoch.announced("nobody", ((0, 1),))
    assert "[0, 1)" in epoch.wrong[-1]


@pytest.mark.parametrize(("copy", "doubtful", "is_wrong"), [
    (held("A", (0, DATA), complete=True), False, False),
    (held("A", (0, DATA[:199]), complete=True), False, True),
    (held("A", (0, DATA[:199]), complete=True), True, True),
    (held("A", (0, DATA[:199])), False, False),
    (held("A", (0, DATA + b"more"), complete=True), False, True),
    (held("A", (0, DATA + b"more"), complete=True), True, False),
    (held("A", complete=True), False, True),
])  # fmt: skip
def test_who_says_that_his_copy_is_complete(copy: Copy, doubtful: bool, is_wrong: bool) -> None:
    epoch = verdict(copy)
    epoch.ended(200, doubtful=doubtful)
    assert bool(epoch.wrong) == is_wrong


def test_who_lacks_something_of_the_whole() -> None:
    epoch = verdict(held("A", (0, DATA[:99]), (100, DATA[100:])))
    epoch.whole(200, ["A"])
    assert "[0, 99), [100, 200)" in epoch.wrong[0]
    epoch.whole(200, ["B"])
    assert "B holds nothing" in epoch.wrong[1]


def test_what_the_origin_has_must_have_been_delivered() -> None:
    epoch = verdict(held(STORE, (0, DATA[:99]), (105, DATA[105:110])))
    epoch.captured(held("the Origin", (0, DATA[:120])))
    assert epoch.wrong == []  # it has not ended
    epoch.ended(110, doubtful=False)
    epoch.captured(held("the Origin", (0, DATA[:50]), (106, DATA[106:110])))
    assert epoch.wrong == []
    epoch.captured(held("the Origin", (0, DATA[:120])))
    assert "lacks [99, 105), [110, 120)" in epoch.wrong[0]


def test_ranges() -> None:
    ranges = add(add(add((), 10, 20), 30, 40), 20, 25)
    assert ranges == ((10, 25), (30, 40))
    assert add(ranges, 24, 31) == ((10, 40),)
    assert add(ranges, 5, 5) == ranges
    assert subtract(ranges, ((0, 12), (15, 35))) == ((12, 15), (35, 40))
    assert missing(ranges, 45) == ((0, 10), (25, 30), (40, 45))
    assert covers(ranges, ((11, 12), (30, 40)))
    assert not covers(ranges, ((24, 26),))


# -- what is announced ---------------------------------------------------------------------------------------------

ANSWER = b'HTTP/1.1 204 No Content\r\nETag: "e"\r\nUpload-Offset: 90\r\nDurable-Offset: %d\r\n%b\r\n'


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_announcements_are_read_out_of_what_goes_down_a_line(size: int) -> None:
    announcements = Announcements()
    sent = ANSWER % (30, b"") + ANSWER % (80, b"Upload-Missing: 40-49, 60-69\r\n") + ANSWER % (20, b"")
    tap = announcements.tap("a")
    for at in range(0, len(sent), size):
        tap(1, Way.DOWN, sent[at : at + size])
        tap(2, Way.DOWN, b"HTTP/1.1 200 OK\r\n")
        tap(1, Way.UP, ANSWER % (999, b""))
    assert announcements.required("a", "e") == ((0, 40), (50, 60), (70, 80))
    assert announcements.count == 3


def test_what_is_missing_is_read() -> None:
    assert missing_of("") == ()
    assert missing_of("5-9, 20-20") == ((5, 10), (20, 21))
