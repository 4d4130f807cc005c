"""Reports of runs of which the truth is known."""

from __future__ import annotations

import math
import re
import sys
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from sdp.cli import main
from sdp.errors import StorageError
from sdp.lab import words
from sdp.lab.report import html_of, markdown_of, sections_of, write_report
from sdp.lab.rows import RunDirectory
from sdp.lab.statistics import Interval
from sdp.lab.summary import label_of, labels_of, summarize
from tests.lab.synthetic import FRAME_US, START, write_run

summed = cache(summarize)
"""A run's summary, made once."""

CROSSED = [{"hops": hops, "delivery": delivery} for hops in ("0", "1", "2") for delivery in ("stream", "poll")]


def crossed(levels: Any, consumer: int, frame: int, random: Any) -> int | None:
    """2 ms a relay, 50 ms for polling, which also loses every tenth frame."""
    if levels["delivery"] == "poll" and frame % 10 == 0:
        return None
    return 5_000 + 2_000 * int(levels["hops"]) + 50_000 * (levels["delivery"] == "poll") + int(random.integers(0, 500))


def happened(cell: int) -> list[dict[str, Any]]:
    return [
        {"time": START - 1000, "kind": "join", "detail": "0"},
        {"time": START + 40_000, "kind": "first", "detail": "0"},
        {"time": START + 30 * FRAME_US, "kind": "kill", "detail": "distributor"},
        {"time": START + 35 * FRAME_US, "kind": "sent-twice", "detail": "4096"},
    ]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDirectory:
    about = {"title": "Relays & <polling>", "machine": {"cpu": "one of <two>"}, "command": "sdp lab run relays"}
    path = tmp_path_factory.mktemp("runs") / "crossed"
    return write_run(path, CROSSED, crossed, run=about, events=happened, consumers=2)


def test_a_summary_says_what_is_true(run: RunDirectory) -> None:
    summary = summed(run)
    assert summary.end == "decoded"
    assert summary.steps == {"hops": ["0", "1", "2"], "delivery": ["stream", "poll"]}
    assert [each.label for each in summary.conditions[:2]] == ["hops 0 · stream", "hops 0 · poll"]
    assert all(each.repeats == 3 for each in summary.conditions)
    first, second = summary.conditions[:2]
    assert first.quantiles[0].value == pytest.approx(5_250, abs=60)
    assert (first.counts.due, first.counts.lost) == (360, 0)
    assert (second.counts.due, second.counts.lost) == (360, 36)
    assert second.quantiles[2].value == math.inf
    by_level = {(each.factor, each.level): each.interval for each in summary.effects[0.5]}
    assert by_level["hops", "2"].value == pytest.approx(4_000, abs=100)
    assert by_level["delivery", "poll"].value == pytest.approx(50_000, rel=0.01)
    assert not any(each.interval.excludes_zero for each in summary.interactions)
    assert summary.shares is not None
    assert summary.shares["delivery",] > 0.98
    assert first.start_ups == (41_000.0,) * 3
    assert first.sent_twice == 3 * 4096
    assert len(first.recoveries) == 6
    assert first.processes[0].cpu == Interval(0.25, 0.25, 0.25)


def test_the_answer_names_what_counts_and_what_was_lost(run: RunDirectory) -> None:
    told = words.answer(summed(run))
    assert "newcomers wait at most 41.0 ms" in told
    assert "Frames come as before" in told
    assert re.search(r"What counts most is delivery \(\+\d\d\.\d ms for poll beside stream\), then hops", told)
    assert "108 of 2,160 frames were never shown" in told


class Links(HTMLParser):
    """What a page would load, and whether each element is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[tuple[str, str]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loaded += [(tag, name) for name, _ in attrs if name in ("src", "href", "srcset", "data")]
        if tag not in ("meta", "line", "rect", "circle", "polyline", "polygon"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """It is whole."""

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("line", "rect", "circle", "polyline", "polygon"):
            assert self.open.pop() == tag


def test_a_page_is_whole_and_loads_nothing(run: RunDirectory) -> None:
    page = html_of(summed(run))
    links = Links()
    links.feed(page)
    assert links.loaded == []
    assert links.open == []
    assert "url(" not in page
    assert "@import" not in page
    assert len(page) < 1_000_000


def test_a_page_has_each_figure_and_shows_texts_as_texts(run: RunDirectory) -> None:
    summary = summed(run)
    titles = [section.title for section in sections_of(summary)]
    assert titles == [
        "Latency over the factor",
        "How latencies lie",
        "The slowest frames",
        "Where the time goes",
        "What each level costs",
        "Coming in",
        "Over time",
    ]
    page = html_of(summary)
    assert "Relays &amp; &lt;polling&gt;" in page
    assert "one of &lt;two&gt;" in page
    assert "nan" not in re.sub(r"<title>.*?</title>", "", page)
    for section in sections_of(summary):
        assert not re.search(r'"-?(nan|inf)"', section.figure.svg)


def test_the_same_rows_make_the_same_report(run: RunDirectory) -> None:
    page, short = write_report(run)
    first = page.read_bytes(), short.read_bytes()
    write_report(run)
    assert (page.read_bytes(), short.read_bytes()) == first


def test_markdown_has_a_row_for_each_condition(run: RunDirectory) -> None:
    text = markdown_of(summed(run))
    assert text.count("| hops ") == 6 + 2 + 6  # the numbers, the effects, the recoveries
    assert "10.0 %" in text


def engine(name: str, text: str = "the same") -> dict[str, Any]:
    return {"engine": name, "text": text, "short": False}


def test_both_engines_are_held_against_each_other(tmp_path: Path) -> None:
    cells = [{"hops": "0"}, {"hops": "1"}]
    real = write_run(tmp_path / "a", cells, lambda levels, *rest: 9_000, run=engine("processes"))
    write_run(tmp_path / "a-virtual", [*cells, {"hops": "2"}], lambda levels, *rest: 5_000, run=engine("virtual"))
    page, short = write_report(real)
    assert "Beside virtual time" in page.read_text("utf-8")
    assert "| hops 1 | 9.00 ms | 5.00 ms | +4.00 ms |" in short.read_text("utf-8")


@pytest.mark.parametrize("other", [engine("virtual", "another"), engine("processes")])
def test_only_the_same_scenario_by_virtual_time_is_held_against_it(tmp_path: Path, other: dict[str, Any]) -> None:
    real = write_run(tmp_path / "a", [{}], lambda levels, *rest: 9_000, run=engine("processes"))
    write_run(tmp_path / "a-virtual", [{}], lambda levels, *rest: 5_000, run=other)
    assert "Beside virtual time" not in write_report(real)[0].read_text("utf-8")


def nothing_shown(levels: Any, consumer: int, frame: int, random: Any) -> None:
    return None


def test_a_run_in_which_nothing_was_shown_has_a_report_that_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path, [{"hops": "0"}, {"hops": "1"}], nothing_shown)
    summary = summed(run)
    assert "360 of 360 frames were never shown" in words.answer(summary)
    assert "never" in html_of(summary)


def test_one_condition_needs_no_comparison(tmp_path: Path) -> None:
    run = write_run(tmp_path, [{}], lambda levels, consumer, frame, random: 7_000, repeats=1)
    summary = summed(run)
    assert words.answer(summary).startswith("Half of the frames take at most 7.00 ms")
    assert html_of(summary)


def test_drift_is_told(tmp_path: Path) -> None:
    run = write_run(tmp_path, [{}], lambda levels, consumer, frame, random: 7_000 + 50 * frame, frames=300)
    assert "drifts by +1.50 ms a second" in words.answer(summed(run))


def test_no_run_there(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="no finished cell"):
        summarize(RunDirectory(tmp_path))


DURATIONS = [
    (4_126.0, "4.13 ms"),
    (41_260.0, "41.3 ms"),
    (412_600.0, "413 ms"),
    (9_999_000.0, "10.0 s"),
    (-150.0, "\N{MINUS SIGN}0.15 ms"),
    (-1.0, "0.00 ms"),
    (math.inf, "never"),
    (math.nan, "\N{EN DASH}"),
]


@pytest.mark.parametrize(("microseconds", "text"), DURATIONS)
def test_a_duration_has_three_digits(microseconds: float, text: str) -> None:
    assert words.duration(microseconds) == text


SHARES = [(0.0, "0 %"), (1.0, "100 %"), (0.00001, "< 0.1 %"), (0.99999, "99.9 %"), (0.123, "12.3 %")]


@pytest.mark.parametrize(("share", "text"), SHARES)
def test_a_share_is_never_rounded_to_all_or_nothing(share: float, text: str) -> None:
    assert words.percent(share) == text


LABELS = [
    ({"hops": "1"}, {"hops": ["0", "1"]}, "hops 1"),
    ({"delivery": "poll"}, {"delivery": ["stream", "poll"]}, "poll"),
    ({"store": "yes"}, {"store": ["no", "yes"]}, "store yes"),
    ({}, {}, "all"),
]


def test_where_not_all_combinations_are_there_what_is_not_the_case_is_not_told() -> None:
    conditions = [
        {"delivery": "stream", "poll-every": "200ms", "link-loss": "0"},
        {"delivery": "poll", "poll-every": "200ms", "link-loss": "0"},
        {"delivery": "poll", "poll-every": "1s", "link-loss": "0.02"},
    ]
    steps = {"delivery": ["stream", "poll"], "poll-every": ["200ms", "1s"], "link-loss": ["0", "0.02"]}
    assert labels_of(conditions, steps) == [
        "stream",
        "poll · poll-every 200ms",
        "poll · poll-every 1s · link-loss 0.02",
    ]
    alike = [{"link-loss": "0", "store": "no"}, {"link-loss": "none", "store": "no"}]
    assert len(set(labels_of(alike, {"link-loss": ["0", "none", "1"], "store": ["no", "yes"]}))) == 2


@pytest.mark.parametrize(("levels", "steps", "label"), LABELS)
def test_a_condition_is_called_by_what_is_varied(levels: Any, steps: Any, label: str) -> None:
    assert label_of(levels, steps) == label


def test_the_command_writes_both_and_shows_the_answer(run: RunDirectory) -> None:
    done = CliRunner().invoke(main, ["lab", "report", str(run.path)])
    assert done.exit_code == 0
    assert "What counts most is delivery" in done.output
    assert (run.path / "report.html").exists()
    assert "# Relays & <polling>" in CliRunner().invoke(main, ["lab", "report", "--markdown", str(run.path)]).output


def test_the_command_says_what_is_no_run(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["lab", "report", str(tmp_path)])
    assert done.exit_code == 2
    assert "no finished cell" in done.stderr


def test_a_missing_extra_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys.modules["sdp.cli.lab"], "find_spec", lambda name: None)  # sdp.cli.lab is the command
    done = CliRunner().invoke(main, ["lab", "report", str(tmp_path)])
    assert done.exit_code == 1
    assert "numpy and polars: python -m pip install 'sdp-streaming[lab]'" in done.stderr
