"""From traces to rows: watermarks, pictures and their records, and that nobody's picture is left out."""

from __future__ import annotations

import attrs
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.lab.crowd import ENTRY, entries
from sdp.lab.design import Cell, cells_of
from sdp.lab.gathering import Captured, Passed, Seen, Servers, Watermarks, captured_pictures, read_probe, read_trace
from sdp.lab.gathering import watermarks as marks_of
from sdp.lab.playing import Played, play
from sdp.lab.scenario import parse_scenario
from sdp.lab.tabling import Gathered, rows_of

MARKS = st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 1000)), max_size=30)


@given(MARKS, st.integers(0, 1100))
def test_a_watermark_s_time_is_the_first_at_which_as_much_had_passed(marks: list[tuple[int, int]], end: int) -> None:
    expected = min((time for time, offset in marks if offset >= end), default=None)
    assert Watermarks(marks).time(end) == expected


def test_a_trace_is_read_but_for_a_line_that_a_kill_cut_off() -> None:
    lines = ["point,stream,offset,capture_time,time\n", "encoded,test,,5,7\n", "appended,lab@e,12,,9\n", "appended,la"]
    assert read_trace(lines) == [
        Passed("encoded", "test", None, 5, 7),
        Passed("appended", "lab@e", 12, None, 9),
    ]


def origin_trace(*pictures: tuple[int, int, int]) -> list[Passed]:
    """Pictures as (captured, record's capture time, record's end): encoded one after, written two after."""
    found = [
        Passed("logged", "lab", 650, None, 1),
        *(Passed("encoded", "test", None, c, c + 1) for c, _, _ in pictures),
    ]
    for begin, end in dict.fromkeys((begin, end) for _, begin, end in pictures):
        found += [Passed("written", "test", None, begin, begin + 2), Passed("logged", "lab", end, begin, begin + 3)]
    return found


def test_pictures_of_one_record_share_its_end() -> None:
    pictures = captured_pictures([origin_trace((100, 100, 900), (200, 100, 900), (300, 300, 1500))])
    assert [(each.number, each.captured, each.end) for each in pictures] == [
        (0, 100, 900),
        (1, 200, 900),
        (2, 300, 1500),
    ]
    assert [(each.encoded, each.written) for each in pictures] == [(101, 102), (201, 102), (301, 302)]


def test_after_the_origin_has_begun_anew_its_offsets_are_not_believed() -> None:
    first, second = origin_trace((100, 100, 900)), origin_trace((700, 700, 800))
    assert [each.end for each in captured_pictures([first, second])] == [900, None]
    anew = [
        *origin_trace((100, 100, 900)),
        Passed("encoded", "test", None, 300, 301),
        Passed("logged", "lab", 700, 300, 302),
    ]
    assert [each.end for each in captured_pictures([anew])] == [900, None]


def test_a_probe_s_file_says_what_it_saw_when_it_came_in_and_what_it_took() -> None:
    lines = ["!0,5\n", "0,100,0,110,112,100,e,700\n", "0,200,1,210,212,,e,900\n", '#{"twice": 3}\n', "0,300,2,31"]
    seen, joined, last = read_probe(lines)
    assert [(each.captured, each.fetched, each.decoded, each.prft, each.end) for each in seen] == [
        (100, 110, 112, 100, 700),
        (200, 210, 212, None, 900),
    ]
    assert joined == {0: 5}
    assert last == ['{"twice": 3}\n']


def test_a_crowd_s_entries_come_back_without_a_last_one_that_was_cut_off() -> None:
    data = ENTRY.pack(3, 700, 9) + ENTRY.pack(4, -1, 11)
    assert entries(data + b"half") == [(3, 700, 9), (4, -1, 11)]


# --- players ---


def test_without_a_target_a_picture_is_shown_when_it_is_decoded() -> None:
    assert play([(0, 5), (10, 90), (20, 91)], 0, drop=False) == [Played(0, 5, 0), Played(10, 90, 0), Played(20, 91, 0)]


def test_a_late_picture_makes_a_player_wait_for_good_or_is_left_out() -> None:
    arrivals = [(0, 50), (100, 250), (200, 251), (300, 320)]
    waits = [Played(0, 100, 0), Played(100, 250, 50), Played(200, 350, 0), Played(300, 450, 0)]
    drops = [Played(0, 100, 0), Played(100, None, 50), Played(200, 300, 0), Played(300, 400, 0)]
    assert play(arrivals, 100, drop=False) == waits
    assert play(arrivals, 100, drop=True) == drops


@given(
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)), max_size=50), st.integers(0, 10**5), st.booleans()
)
def test_a_player_never_shows_before_decoding_and_never_goes_back(
    pairs: list[tuple[int, int]], target: int, drop: bool
) -> None:
    pictures = sorted(((captured, captured + delay) for captured, delay in pairs), key=lambda each: each[1])
    played = play(pictures, target, drop=drop)
    assert len(played) == len(pictures)
    shown = [(each.captured, each.presented) for each in played if each.presented is not None]
    assert [each for each, _ in shown] == sorted({each for each, _ in shown})
    for (_, decoded), each in zip(pictures, played, strict=True):
        assert each.presented is None or each.presented >= decoded
        assert each.presented is None or not target or each.presented >= each.captured + target


# --- rows ---


def cell(source: str = "hops = [1]") -> Cell:
    return cells_of(parse_scenario(f"repeats = 1\n[factors]\n{source}\n", "mine", "mine.toml"))[0]


def gathered(**changes: object) -> Gathered:
    pictures = [
        Captured(number=n, captured=1000 + n, encoded=1001 + n, written=None, end=100 * (n + 1)) for n in range(6)
    ]
    distributor = {("appended", "e"): Watermarks((2000 + n, 100 * (n + 1)) for n in range(6))}
    origin = marks_of([Passed("posted", "lab", 100 * (n + 1), None, 1500 + n) for n in range(6)])
    relays = [{("fetched", "e"): Watermarks((3000 + n, 100 * (n + 1)) for n in range(6))}]
    servers = Servers(origin=origin, distributor=distributor, relays=relays)
    made = Gathered(begin=1001, end=1005, pictures=pictures, servers=servers)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def saw(number: int, consumer: int = 0, decoded: int = 4000) -> Seen:
    return Seen(
        consumer=consumer,
        captured=1000 + number,
        fetched=decoded - 10,
        decoded=decoded + number,
        prft=None,
        epoch="e",
        end=100 * (number + 1),
    )


def rows(made: Gathered, source: str = "hops = [1]") -> pl.DataFrame:
    return rows_of(made, "mine", cell(source))[1]


def test_every_picture_that_was_captured_meanwhile_has_a_row_and_no_other() -> None:
    table = rows(gathered(probes={0: None}, seen=[saw(0), saw(1), saw(3), saw(3, decoded=5000), saw(5)]))
    assert table.select("frame", "outcome").rows() == [
        (1, "shown"),
        (2, "never"),
        (3, "shown"),
        (3, "duplicate"),
        (4, "never"),
    ]
    shown = table.row(0, named=True)
    assert [shown[name] for name in ("captured", "encoded", "posted", "appended", "hop1", "fetched", "decoded")] == [
        1001,
        1002,
        1501,
        2001,
        3001,
        3990,
        4001,
    ]
    assert shown["presented"] == shown["decoded"]
    assert shown["factor.hops"] == "1"
    never = table.row(1, named=True)
    assert (never["appended"], never["fetched"], never["decoded"]) == (2002, None, None)


def test_a_probe_that_left_is_told_from_one_that_missed_something() -> None:
    table = rows(gathered(probes={0: 1003}, seen=[saw(1)]))
    assert table["outcome"].to_list() == ["shown", "never", "never", "departed"]


def test_a_player_that_leaves_late_pictures_out_never_showed_them() -> None:
    source = 'target = ["3ms"]\nlate = ["drop"]'
    late = gathered(probes={0: None}, seen=[saw(1, decoded=3999), saw(2, decoded=9000)])
    events, table = rows_of(late, "mine", cell(source.replace("late", "hops = [1]\nlate")))
    assert table["outcome"].to_list() == ["shown", "never", "never", "never"]
    assert table["presented"].to_list()[0] == 1001 + 3000
    assert [each["kind"] for each in events] == []  # it was too late after the time that is measured
    events, _ = rows_of(attrs.evolve(late, end=10_000), "mine", cell(source.replace("late", "hops = [1]\nlate")))
    assert [each["detail"] for each in events] == ["0 by 5000"]


def test_light_consumers_have_rows_by_their_offsets_and_those_that_left_are_departed() -> None:
    light = {5: Watermarks([(4000, 250), (4100, 900)]), 6: Watermarks([(4000, 250)]), 7: Watermarks([(4000, 250)])}
    table = rows(gathered(light=light, light_left={6: 4050}))
    found = table.group_by("consumer", maintain_order=True).agg(pl.col("outcome"), pl.col("fetched"))
    assert found.rows() == [
        (5, ["shown"] * 4, [4000, 4100, 4100, 4100]),
        (6, ["shown", "departed", "departed", "departed"], [4000, None, None, None]),
        (7, ["shown", "never", "never", "never"], [4000, None, None, None]),
    ]
    assert set(table["kind"]) == {"light"}


@pytest.mark.parametrize("epoch", ["e", "other"])
def test_with_two_epochs_only_what_a_probe_saw_is_placed(epoch: str) -> None:
    made = gathered(probes={0: None}, seen=[saw(1)])
    more = {**made.servers.distributor, ("appended", "other"): Watermarks([(7000, 150)])}
    made.servers = attrs.evolve(made.servers, distributor=more)
    made.seen = [attrs.evolve(saw(1), epoch=epoch, end=150)]
    table = rows(made)
    assert table["appended"].to_list() == [2001 if epoch == "e" else 7000, None, None, None]
    assert table["posted"].to_list() == [None] * 4
