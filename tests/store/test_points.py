"""Random access points on the disk: found by time, and void for good where they were only implied."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.store import FileStore, Recording
from sdp.store.index import ENTRY_SIZE, Entry, Index, Kind, Links, pack_header
from sdp.store.verifying import verify
from sdp.stream.record import Flag, Record
from tests.store.simulation import ForgetfulFiles, PumpedReactor, opened, settled

IMPLIED = Flag.RANDOM_ACCESS | Flag.IMPLIED
KINDS = st.sampled_from([Flag.NONE, Flag.INITIALIZATION, Flag.RANDOM_ACCESS])


@st.composite
def timed(draw: st.DrawFn) -> list[Record]:
    """Records whose times ascend: captured, or where that is unknown, received."""
    records, time = [], 100
    for offset in sorted(draw(st.sets(st.integers(0, 300), max_size=30))):
        time += draw(st.integers(0, 20))
        captured = draw(st.booleans())
        both = (time, draw(st.integers(0, 900))) if captured else (None, time)
        records.append(Record(offset, draw(KINDS), *both))
    return records


def time_of(record: Record) -> int | None:
    return record.received_time if record.capture_time is None else record.capture_time


def index_of(records: list[Record], *, explicit_at: int | None = None) -> Index:
    """An index of these, with a CHECKPOINT after each third one."""
    content, links = pack_header(0, 1), Links()
    entries = []
    for number, record in enumerate(records):
        if number == explicit_at:
            entries.append(Entry(Kind.EXPLICIT, 0, 0, 0, 0, Links(), 1))
        entries.append(Entry.of_record(record, Links(), 1))
        if number % 3 == 2:
            entries.append(Entry(Kind.CHECKPOINT, 0, record.offset, 0, 0, Links(), 1))
    for ordinal, bare in enumerate(entries):
        entry = bare._replace(links=links)
        content += entry.pack()
        links = entry.links_after(ordinal)
    return Index(lambda at, length: content[at : at + length], len(content) // ENTRY_SIZE - 1, "test.index")


@given(timed(), st.integers(80, 800), st.integers(0, 310))
def test_the_last_point_at_a_time(records: list[Record], time: int, before: int) -> None:
    points = [each for each in records if each.flags & Flag.RANDOM_ACCESS and each.offset <= before]
    early = [each for each in points if (time_of(each) or 0) <= time]
    index = index_of(records)
    assert index.random_access_at(time, before) == (early[-1] if early else None)
    assert index.first_random_access(before) == (points[0] if points else None)


@given(st.lists(st.none() | st.integers(0, 50), max_size=30), st.integers(0, 50))
def test_where_times_are_in_no_order_it_is_a_place_where_the_next_is_too_late(
    times: list[int | None], time: int
) -> None:
    points = [Record(number * 10, Flag.RANDOM_ACCESS, each) for number, each in enumerate(times)]
    found = index_of(points).random_access_at(time, 1000)
    late = [at is None or at > time for at in times]
    if found is None:
        assert not points or late[0]
    else:
        number = found.offset // 10
        assert not late[number]
        assert number + 1 == len(points) or late[number + 1]


@given(timed(), st.integers(0, 29), st.integers(80, 800))
def test_implied_points_count_until_somebody_says_something(records: list[Record], at: int, time: int) -> None:
    records = [
        each._replace(flags=IMPLIED) if number < at and each.flags & Flag.RANDOM_ACCESS else each
        for number, each in enumerate(records)
    ]
    index = index_of(records, explicit_at=at)
    for explicit in (False, True):
        points = [
            each for each in records if each.flags & Flag.RANDOM_ACCESS and not (explicit and each.flags & Flag.IMPLIED)
        ]
        early = [each for each in points if (time_of(each) or 0) <= time]
        assert index.random_access_at(time, 400, explicit=explicit) == (early[-1] if early else None)
        assert index.first_random_access(400, explicit=explicit) == (points[0] if points else None)
        last = index.last_record(400, Flag.RANDOM_ACCESS, explicit=explicit)
        assert last == (points[-1] if points else None)


def point(reactor: PumpedReactor, recording: Recording, time: int, before: int) -> int | None:
    """Where the random access point at a time is, in bytes."""
    found = reactor.wait(recording.random_access_at(time, before))
    return None if found is None else found.offset


def fill(store: FileStore, reactor: PumpedReactor, say_at: int | None, count: int = 8) -> Recording:
    """Records of ten bytes and a second each; from number ``say_at`` on, each other one is said to be a point."""
    recording = store.create("a", "e", "x/y")
    for number in range(count):
        said = say_at is not None and number >= say_at
        flags = Flag(Flag.RANDOM_ACCESS if number % 2 == 0 else 0) if said else IMPLIED
        if number == say_at:
            recording.forget_implied()
        recording.append(bytes([number]) * 10, [Record(number * 10, flags, number * 1_000_000)])
        reactor.until(settled(recording))
    return recording


@pytest.mark.parametrize("size", [1 << 30, 30, 10])
@pytest.mark.parametrize("say_at", [0, 3, 4, 7])
def test_what_was_said_holds_in_the_next_life(tmp_path: Path, size: int, say_at: int) -> None:
    with opened(tmp_path, segment_size=size) as (store, reactor):
        recording = fill(store, reactor, say_at)
        assert recording.explicit
    for _ in range(2):
        with opened(tmp_path, segment_size=size) as (store, reactor):
            [recording] = reactor.wait(store.recover())
            assert recording.explicit
            found = [reactor.wait(recording.random_access_at(time * 1_000_000, 79)) for time in range(9)]
            points = [number for number in range(say_at, 8) if number % 2 == 0]
            expected = [max((p for p in points if p <= time), default=min(points, default=None)) for time in range(9)]
            assert [None if each is None else each.offset // 10 for each in found] == expected
            last = reactor.wait(recording.last_record(99, Flag.RANDOM_ACCESS))
            assert (None if last is None else last.offset // 10) == (points[-1] if points else None)
    [verdict] = verify(tmp_path)
    assert (verdict.faults, verdict.records) == ((), 8)


def test_without_a_word_all_stay_points(tmp_path: Path) -> None:
    with opened(tmp_path, segment_size=20) as (store, reactor):
        fill(store, reactor, None)
    with opened(tmp_path) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert not recording.explicit
        assert point(reactor, recording, 3_500_000, 79) == 30
        assert point(reactor, recording, 3_500_000, 25) == 20
        assert point(reactor, recording, -1, 79) == 0


def test_a_word_with_nothing_after_it_is_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = fill(store, reactor, None, 2)
        recording.forget_implied()
        recording.forget_implied()
    with opened(tmp_path) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert recording.explicit
        assert reactor.wait(recording.last_record(99, Flag.RANDOM_ACCESS)) is None
        assert reactor.wait(recording.random_access_at(1, 99)) is None


def test_a_segment_without_a_point_says_nothing(tmp_path: Path) -> None:
    with opened(tmp_path, segment_size=10) as (store, reactor):
        recording = store.create("a", "e", "x/y")
        for number in range(12):
            flags = Flag.RANDOM_ACCESS if number in (0, 3) else Flag.NONE
            recording.append(bytes(10), [Record(number * 10, flags, number)])
        reactor.until(settled(recording))
        assert len(recording.writer.pieces) > 3
        found = [point(reactor, recording, time, 119) for time in range(12)]
        assert found == [0, 0, 0, *[30] * 9]


@pytest.mark.parametrize("seed", range(12))
def test_a_power_loss_takes_what_was_said_only_with_what_it_was_said_of(tmp_path: Path, seed: int) -> None:
    files = ForgetfulFiles()
    size = (1 << 30, 30)[seed % 2]
    with opened(tmp_path, files, segment_size=size) as (store, reactor):
        recording = fill(store, reactor, 4, 6)
        reactor.until(lambda: recording.durable == 60)
    after = files.lose_power(tmp_path, random.Random(seed))
    with opened(tmp_path, after, segment_size=size) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert recording.end == 60
        assert recording.explicit
        assert point(reactor, recording, 3_000_000, 59) == 40
