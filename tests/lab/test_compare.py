"""Two runs beside each other: what changed is found, and what did not is not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from click.testing import CliRunner

from sdp.cli import main
from sdp.lab.compare import Comparison, compare, lines_of
from sdp.lab.rows import RunDirectory
from sdp.lab.summary import summarize
from tests.lab.synthetic import Delay, write_run

HOPS = [{"hops": "0"}, {"hops": "1"}, {"hops": "2"}]


def noisy(seed: int, *, more: int = 0, at: str = "", losing: str = "") -> Delay:
    def delay(levels: Any, consumer: int, frame: int, random: Any) -> int | None:
        if levels["hops"] == losing and (frame * 7 + seed) % 10 == 0:
            return None
        own = np.random.default_rng([seed, int(random.integers(0, 1 << 30))])
        return 5_000 + int(own.normal(0, 300)) + (more if levels["hops"] == at else 0)

    return delay


def compared(path: Path, before: Delay, after: Delay, cells: Any = HOPS) -> Comparison:
    return compare(
        summarize(write_run(path / "before", HOPS, before)), summarize(write_run(path / "after", cells, after))
    )


def test_noise_is_no_change(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(1), noisy(2))
    assert found.real == []
    assert found.answer == "Nothing changed beyond noise, in 9 comparisons."
    assert list(lines_of(found)) == [found.answer]


def test_what_grew_is_told_with_its_condition(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(1), noisy(2, more=2_000, at="1"))
    assert {(each.label, each.what) for each in found.real} == {("hops 1", "median"), ("hops 1", "p99")}
    assert found.answer.startswith("The ")
    assert "of hops 1 grew, from " in found.answer
    [median] = [each for each in found.real if each.what == "median"]
    assert median.interval.low < 2_000 < median.interval.high


def test_what_fell_is_told(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(1, more=2_000, at="1"), noisy(2))
    assert all("fell" in each.sentence for each in found.real)


def test_a_change_that_is_sure_but_tiny_is_not_told(tmp_path: Path) -> None:
    def exactly(latency: int) -> Delay:
        return lambda levels, consumer, frame, random: latency

    assert compared(tmp_path, exactly(5_000), exactly(5_050)).real == []


def test_more_lost_frames_come_first(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(1), noisy(2, more=2_000, at="1", losing="2"))
    assert found.real[0].what == "never shown"
    assert found.answer.startswith("More frames were never shown with hops 2, from 0 % to 10.0 % (+10.0 points;")
    assert "more of 9 comparisons changed" in found.answer


def test_only_what_both_have_is_compared(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(1), noisy(2), [{"hops": "0"}, {"hops": "7"}])
    assert (found.only_before, found.only_after) == (("hops 1", "hops 2"), ("hops 7",))
    assert list(lines_of(found))[1:] == ["Only the first run has hops 1, hops 2.", "Only the second run has hops 7."]


def test_nothing_in_common(tmp_path: Path) -> None:
    found = compared(tmp_path, noisy(1), noisy(2), [{"hops": "7"}])
    assert "no condition in common" in found.answer


def test_latencies_of_two_kinds_are_not_compared(tmp_path: Path) -> None:
    first, second = (summarize(write_run(tmp_path / name, HOPS, noisy(1))) for name in "ab")
    with pytest.raises(ValueError, match="end at decoded"):
        compare(first, attrs.evolve(second, end="fetched"))


CASES = [(noisy(2), 0, "Nothing changed"), (noisy(2, more=2_000, at="1"), 1, "hops 1 grew")]


@pytest.mark.parametrize(("after", "status", "told"), CASES)
def test_the_command_leaves_with_what_it_found(tmp_path: Path, after: Delay, status: int, told: str) -> None:
    runs = [write_run(tmp_path / "a", HOPS, noisy(1)), write_run(tmp_path / "b", HOPS, after)]
    done = CliRunner().invoke(main, ["lab", "compare", *(str(run.path) for run in runs)])
    assert done.exit_code == status
    assert told in done.stdout


def test_the_command_says_what_cannot_be_compared(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", HOPS, noisy(1))
    done = CliRunner().invoke(main, ["lab", "compare", str(run.path), str(RunDirectory(tmp_path / "none").path)])
    assert done.exit_code == 2
    assert "no finished cell" in done.stderr
