"""Holes on the disk: left, filled from their front, found again after whatever ended the process; recordings resume."""

from __future__ import annotations

import errno
import itertools
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from sdp.errors import StorageError
from sdp.store import Files, Recording
from sdp.store.verifying import verify
from sdp.stream.record import Flag, Record
from tests.store.simulation import FaultyFiles, ForgetfulFiles, PumpedReactor, opened, runs_of, settled

LENGTH = 10
WHOLE, SMALL = 1 << 30, 25


def record(number: int) -> tuple[bytes, list[Record]]:
    """Ten bytes that begin with a record; each third one is a random access point."""
    flags = Flag.RANDOM_ACCESS if number % 3 == 0 else Flag.NONE
    return b"%09d|" % number, [Record(number * LENGTH, flags, number * 1000)]


def stream(start: int, end: int) -> bytes:
    """The bytes of [start, end)."""
    return b"".join(record(number)[0] for number in range(end // LENGTH + 1))[start:end]


def append(recording: Recording, *numbers: int) -> None:
    for number in numbers:
        if number * LENGTH > recording.end:
            recording.skip_to(number * LENGTH)
        recording.append(*record(number))


def fill(recording: Recording, *numbers: int) -> None:
    for number in numbers:
        recording.fill(number * LENGTH, *record(number))


def quiet(recording: Recording) -> bool:
    return recording.queued == 0


def check(reactor: PumpedReactor, recording: Recording, numbers: set[int]) -> None:
    """What is held is these records, and the rest up to the end is missing."""
    expected = sorted(numbers)
    assert recording.end == (expected[-1] + 1) * LENGTH
    missing = {number * LENGTH for number in range(expected[0], expected[-1])} - {
        number * LENGTH for number in expected
    }
    assert {at for start, end in recording.holes for at in range(start, end, LENGTH)} == missing
    for start, end, data in runs_of(reactor, recording):
        assert data == stream(start, end)
    held = reactor.wait(recording.records(0, recording.end))
    assert [each.offset // LENGTH for each in held] == expected
    points = [each for each in expected if each % 3 == 0]
    found = reactor.wait(recording.last_record(recording.end, Flag.RANDOM_ACCESS))
    assert (None if found is None else found.offset // LENGTH) == (points[-1] if points else None)
    for time in range(0, recording.end // LENGTH + 1, 2):
        found = reactor.wait(recording.random_access_at(time * 1000, recording.end))
        early = [each for each in points if each <= time]
        wanted = early[-1] if early else (points[0] if points else None)
        assert (None if found is None else found.offset // LENGTH) == wanted


@pytest.mark.parametrize("size", [WHOLE, SMALL])
@pytest.mark.parametrize("interval", [0, None, 3600])
def test_a_hole_is_left_filled_and_found_again(tmp_path: Path, size: int, interval: float | None) -> None:
    steps: list[tuple[str, tuple[int, ...]]] = [
        ("append", (0, 1)),
        ("append", (8, 9)),
        ("fill", (2, 3)),
        ("append", (10,)),
        ("fill", (4,)),
        ("append", (14,)),
        ("fill", (11, 12, 13)),
        ("fill", (5, 6, 7)),
    ]
    numbers: set[int] = set()
    for kind, given in steps:
        with opened(tmp_path, segment_size=size, sync_interval=interval) as (store, reactor):
            found = reactor.wait(store.recover())
            recording = found[0] if found else store.create("a", "e", "")
            (append if kind == "append" else fill)(recording, *given)
            numbers.update(given)
            reactor.until(lambda r=recording: quiet(r))  # type: ignore[misc]
            check(reactor, recording, numbers)
        [verdict] = verify(tmp_path)
        assert (verdict.faults, verdict.records) == ((), len(numbers))
    with opened(tmp_path, segment_size=size, sync_interval=interval) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert recording.holes == ()
        check(reactor, recording, numbers)
        reactor.wait(recording.finish())


def test_live_and_old_ones_in_turn_make_one_segment_each(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        append(recording, 0, 10)
        reactor.until(lambda: quiet(recording))
        for number in range(1, 10):
            fill(recording, number)
            append(recording, number + 10)
            assert recording.missing == (((number + 1) * LENGTH, 100),) or number == 9
        reactor.until(lambda: quiet(recording))
        check(reactor, recording, set(range(20)))
    assert [int(path.stem) for path in sorted((tmp_path / "a/@e").glob("*.bin"))] == [0, 10, 100]


def test_what_fills_a_hole_is_read_once_it_is_written(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        append(recording, 0, 2)
        assert (recording.missing, recording.holes) == (((10, 20),), ((10, 20),))
        fill(recording, 1)
        assert (recording.missing, recording.holes) == ((), ((10, 20),))
        reactor.wait(recording.settled())
        assert recording.holes == ()
        assert reactor.wait(recording.read(0, 99)) == stream(0, 30)


def test_a_hole_reads_as_one(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        append(recording, 0, 2)
        reactor.until(lambda: quiet(recording))
        with pytest.raises(StorageError) as caught:
            reactor.wait(recording.read(12, 5))
        assert caught.value.status == 416
        assert reactor.wait(recording.read(5, 99)) == stream(5, 10)
        assert reactor.wait(recording.records(12, 18)) == []


def test_a_record_that_a_hole_cuts_goes_on_in_it(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(b"01234567", [Record(0), Record(5)])
        recording.skip_to(20)
        recording.append(b"x", [Record(20)])
        recording.fill(8, b"89ab", [Record(10)])
        reactor.until(lambda: quiet(recording))
        assert [r.offset for r in reactor.wait(recording.records(9, 10))] == [5]
        assert [r.offset for r in reactor.wait(recording.records(8, 21))] == [5, 10, 20]


def test_a_record_may_begin_just_before_the_hole_and_be_known_in_it(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(b"01234567", [Record(0)])
        recording.skip_to(20)
        recording.append(b"x", [Record(20)])
        recording.fill(8, b"89ab", [Record(6, Flag.RANDOM_ACCESS)], b"67")
        recording.fill(12, b"cdefghij", [])
        reactor.until(lambda: quiet(recording))
        assert reactor.wait(recording.read(0, 99)) == b"0123456789abcdefghijx"
        assert [r.offset for r in reactor.wait(recording.records(0, 21))] == [0, 6, 20]
    with opened(tmp_path) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert reactor.wait(recording.read(0, 99)) == b"0123456789abcdefghijx"
        assert reactor.wait(recording.last_record(19, Flag.RANDOM_ACCESS)) == Record(6, Flag.RANDOM_ACCESS)


def test_a_hole_can_be_filled_after_the_end(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        append(recording, 0, 3)
        reactor.wait(recording.finish())
        fill(recording, 1)
        reactor.until(lambda: quiet(recording) and recording.unsettled is None)
    with opened(tmp_path) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert (recording.ended, recording.holes) == (True, ((20, 30),))
        fill(recording, 2)
        reactor.until(lambda: quiet(recording))
        check(reactor, recording, {0, 1, 2, 3})
    [verdict] = verify(tmp_path)
    assert (verdict.ended, verdict.holes, verdict.faults) == (True, (), ())


def test_what_finds_no_hole_is_dropped(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        append(recording, 0, 3)
        recording.fill(15, b"x", [Record(15)])
        reactor.until(lambda: quiet(recording))
        assert recording.holes == recording.missing == ((10, 30),)
        assert [r.offset for r in reactor.wait(recording.records(0, 40))] == [0, 30]


def test_durable_goes_back_to_what_fills_a_hole(tmp_path: Path) -> None:
    with opened(tmp_path, sync_interval=3600) as (store, reactor):
        recording = store.create("a", "e", "")
        append(recording, 0, 3)
        reactor.until(lambda: quiet(recording))
        recording.writer.sync()
        fill(recording, 1)
        reactor.until(lambda: quiet(recording))
        assert (recording.durable, recording.unsettled) == (40, 10)
        fill(recording, 2)  # the hole is full: all of it is synced
        reactor.until(lambda: quiet(recording))
        assert (recording.durable, recording.unsettled) == (40, None)


PLAN: list[tuple[str, tuple[int, ...]]] = [
    ("append", (0,)),
    ("append", (1,)),
    ("append", (6,)),
    ("fill", (2,)),
    ("append", (7,)),
    ("append", (10,)),
    ("fill", (8,)),
    ("fill", (3,)),
    ("fill", (4,)),
    ("fill", (5,)),
    ("append", (11,)),
    ("fill", (9,)),
]


HOWS = list(itertools.product([WHOLE, SMALL], [0, 0.001, 3600, None]))


class Told:
    """What a recording has told to be durable, byte by byte: the greatest set of all that it ever was."""

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.kept: set[int] = set()
        recording.on_change = self.listen

    def listen(self) -> None:
        recording = self._recording
        limit = recording.durable if recording.unsettled is None else min(recording.durable, recording.unsettled)
        lacking = {at for start, end in recording.missing for at in range(start, end)}
        self.kept |= set(range(recording.start, limit)) - lacking


def play(
    recording: Recording, reactor: PumpedReactor, chance: random.Random | None = None, told: Told | None = None
) -> None:
    for kind, numbers in PLAN:
        (append if kind == "append" else fill)(recording, *numbers)
        if told is not None:
            told.listen()
        if chance is None or chance.random() < 0.7:
            reactor.until(lambda: quiet(recording))
    reactor.until(lambda: quiet(recording))


def check_next_life(root: Path, kept: set[int], files: Files | None, size: int, interval: float | None = 0) -> None:
    """All that was told to be durable is there; what is there is right; it can be gone on with, and filled."""
    for life in range(2):
        with opened(root, files, segment_size=size, sync_interval=interval) as (store, reactor):
            found = reactor.wait(store.recover())
            assert store.failures == 0
            if not found:
                assert not kept
                return
            [recording] = found
            assert recording.failure is None
            there: set[int] = set()
            for start, end, data in runs_of(reactor, recording):
                assert data == stream(start, end)
                there.update(range(start, end))
            assert kept <= there
            for each in reactor.wait(recording.records(0, recording.end)):
                assert each == record(each.offset // LENGTH)[1][0]
            assert all(verdict.faults == () for verdict in verify(root))
            if life:
                assert there == set(range(recording.end))
                continue
            recording.append(stream(recording.end, 130), [record(n)[1][0] for n in range(recording.end // 10 + 1, 13)])
            for start, end in recording.holes:
                numbers = range(-(-start // LENGTH), -(-end // LENGTH))
                recording.fill(start, stream(start, end), [record(number)[1][0] for number in numbers])
            reactor.until(lambda r=recording: quiet(r))  # type: ignore[misc]
            assert recording.holes == recording.missing == ()


@pytest.mark.parametrize(("size", "interval", "first"), [(*how, 1 + number) for number, how in enumerate(HOWS)])
def test_the_process_dies_at_every_call(tmp_path: Path, size: int, interval: float | None, first: int) -> None:
    at = 0
    for at in itertools.count(first, len(HOWS)):
        files = FaultyFiles(for_good=True)
        root = tmp_path / str(at)
        with opened(root, files, segment_size=size, sync_interval=interval) as (store, reactor):
            files.arm(at)
            recording = store.create("a", "e", "")
            told = Told(recording)
            play(recording, reactor, told=told)
            died = files.failed
        check_next_life(root, told.kept, FaultyFiles(), size, interval)
        shutil.rmtree(root)
        if not died:
            break
    assert at > 20


@pytest.mark.parametrize(("size", "first"), [(WHOLE, 8), (SMALL, 9)])
def test_the_power_goes_at_every_call(tmp_path: Path, size: int, first: int) -> None:
    """What was told to be durable is there, at every write and sync point."""
    most = 0
    for at in itertools.count(first, 2):
        chance = random.Random(at)
        interval = (0, 0.001, 3600)[at % 3]
        machine = ForgetfulFiles(at)
        root = tmp_path / str(at)
        with opened(root, machine, segment_size=size, sync_interval=interval) as (store, reactor):
            recording = store.create("a", "e", "")
            told = Told(recording)
            play(recording, reactor, chance, told)
            over = recording.failure is None
            machine = machine.lose_power(root, chance)
        check_next_life(root, told.kept, machine, size)
        most = max(most, len(told.kept))
        shutil.rmtree(root)
        if over and at > 60:
            break
    assert most > 60


@pytest.mark.parametrize(
    ("size", "code", "first"),
    [(WHOLE, errno.ENOSPC, 1), (SMALL, errno.ENOSPC, 2), (WHOLE, errno.EIO, 3), (SMALL, errno.EACCES, 4)],
)
def test_a_fault_at_every_call_and_then_it_goes_on(tmp_path: Path, code: int, size: int, first: int) -> None:
    """The disk fails once, for a while; what comes after it was mended is recorded, what came meanwhile is a hole."""
    at = 0
    for at in itertools.count(first, 4):
        files = FaultyFiles(error=code)
        root = tmp_path / str(at)
        with opened(root, files, segment_size=size) as (store, reactor):
            files.arm(at)
            recording = store.create("a", "e", "")
            told = Told(recording)
            play(recording, reactor, told=told)
            if not files.failed:
                break
            assert recording.failure is not None
            assert told.kept <= set(range(recording.written))
            held = runs_of(reactor, recording)
            append(recording, 20)  # nobody records it
            assert reactor.wait(recording.resume(150))
            assert (store.resumed, recording.end) == (1, 150)
            recording.append(*record(15))
            reactor.until(lambda r=recording: quiet(r))  # type: ignore[misc]
            if held:
                assert recording.holes[-1] == (held[-1][1], 150)
            append(recording, 16)
            reactor.until(lambda r=recording: quiet(r) and r.durable == 170)  # type: ignore[misc]
            for start, stop in recording.holes:
                recording.fill(start, stream(start, stop), [])
            reactor.until(lambda r=recording: quiet(r))  # type: ignore[misc]
            assert recording.holes == ()
        with opened(root, segment_size=size) as (store, reactor):
            [recording] = reactor.wait(store.recover())
            assert recording.end == 170
            [(start, _, data)] = runs_of(reactor, recording)
            assert data == stream(start, 170)
            assert start == (0 if held else 150)
        [verdict] = verify(root)
        assert (verdict.faults, verdict.holes) == ((), ())
        shutil.rmtree(root)
    assert at > 20


def test_a_disk_that_still_fails_is_told(tmp_path: Path) -> None:
    files = FaultyFiles(for_good=True)
    with opened(tmp_path, files) as (store, reactor):
        recording = store.create("a", "e", "")
        append(recording, 0)
        reactor.until(settled(recording))
        files.kill()
        append(recording, 1)
        reactor.until(lambda: recording.failure)
        for _ in range(3):
            assert not reactor.wait(recording.resume(recording.end))
            assert "Cannot go on in" in str(recording.failure)
        files.failed = False
        assert reactor.wait(recording.resume(recording.end))
        append(recording, 1)
        reactor.until(lambda: recording.durable == 20)
        assert (store.failures, store.resumed) == (1, 1)


def test_a_folder_that_has_vanished_is_made_anew(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a/b", "e", "")
        append(recording, 0)
        reactor.until(lambda: recording.durable == 10)
        shutil.rmtree(tmp_path / "a")
        append(recording, 1)
        reactor.until(lambda: recording.failure)
        assert "No such file" in str(recording.failure)
        assert reactor.wait(recording.resume(recording.end))
        end = recording.end
        append(recording, *range(end // LENGTH, 4))
        reactor.until(lambda: recording.durable == 40)
        assert (recording.start, recording.holes) == (end, ())
        assert reactor.wait(recording.read(end, 99)) == stream(end, 40)
    with opened(tmp_path) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert (recording.start, recording.end) == (end, 40)


def test_what_was_given_up_does_not_go_on(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        append(recording, 0)
        reactor.wait(store.remove("a"))
        assert not reactor.wait(recording.resume(10))
        assert recording.failure is not None
        assert recording.failure.status == 410


def test_a_store_of_the_first_version_is_read_and_gone_on_with(tmp_path: Path) -> None:
    from zlib import crc32

    with opened(tmp_path, segment_size=SMALL) as (store, reactor):
        recording = store.create("a", "e", "")
        append(recording, *range(8))
        reactor.until(settled(recording))
    for path in (tmp_path / "a/@e").glob("*.index"):
        content = bytearray(path.read_bytes())
        content[8:10], content[12:16] = (1).to_bytes(2, "little"), bytes(4)
        content[60:64] = crc32(content[:60]).to_bytes(4, "little")
        path.write_bytes(content)
    with opened(tmp_path, segment_size=SMALL) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        check(reactor, recording, set(range(8)))
        append(recording, 8, 12)
        reactor.until(lambda: quiet(recording))
        check(reactor, recording, {*range(9), 12})
    [verdict] = verify(tmp_path)
    assert (verdict.faults, verdict.holes) == ((), ((90, 120),))


def test_retention_takes_the_front_and_its_holes(tmp_path: Path) -> None:
    with opened(tmp_path, segment_size=WHOLE) as (store, reactor):
        recording = store.create("a", "e", "")
        append(recording, 0, 3, 6)
        reactor.until(lambda: quiet(recording))
        assert len(recording.holes) == 2
        recording.writer.trim(1, recording.moved)
        reactor.until(lambda: recording.start == 30)
        assert list(recording.holes) == [(40, 60)]
        fill(recording, 1)  # too late: its surroundings are gone
        reactor.until(lambda: quiet(recording))
        assert (recording.start, recording.missing) == (30, ((40, 60),))


def test_what_is_being_filled_is_not_taken(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        append(recording, 0, 9)
        reactor.until(lambda: quiet(recording))
        fill(recording, 1)
        reactor.until(lambda: quiet(recording))
        assert [(piece.segment.place.first, piece.filling) for piece in recording.writer.pieces] == [
            (0, False),
            (10, True),
            (90, False),
        ]


def test_two_stores_of_the_same_bytes_need_not_have_the_same_segments(tmp_path: Path) -> None:
    contents: list[Any] = []
    for name, order in (("straight", None), ("late", random.Random(1))):
        with opened(tmp_path / name, segment_size=SMALL) as (store, reactor):
            recording = store.create("a", "e", "")
            if order is None:
                append(recording, *range(12))
            else:
                play(recording, reactor, order)
            reactor.wait(recording.finish())
            held = reactor.wait(recording.records(0, 120))
            contents.append((runs_of(reactor, recording), held))
    assert contents[0] == contents[1]
