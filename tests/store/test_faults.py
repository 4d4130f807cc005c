"""Disks that are full, fail, or die with the process, at every call: promises hold, and nothing raises."""

from __future__ import annotations

import errno
import itertools
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sdp.errors import StorageError
from sdp.store import Files, FileStore, Recording
from sdp.store.index import Entry, Kind, Links, pack_header
from sdp.store.layout import Description
from sdp.stream.record import Flag, Record
from tests.store.simulation import FaultyFiles, ForgetfulFiles, PumpedReactor, content, opened, settled

PIECES = [
    (b"init", [Record(0, Flag.INITIALIZATION, None, 1)]),
    (b"first record", [Record(4, Flag.RANDOM_ACCESS, 10, 11)]),
    (b"second ", [Record(16, Flag.NONE, 20, 21)]),
    (b"record, in two pieces", []),
    (b"third and fourth", [Record(44, Flag.RANDOM_ACCESS, 30, 31), Record(50, Flag.NONE, 40, 41)]),
]
STREAM = b"".join(data for data, _ in PIECES)
RECORDS = [record for _, records in PIECES for record in records]
WHOLE = 1 << 30
"""A segment's size at which the stream has one; with SMALL, it has one for each random access point."""
SMALL = 8
BOUNDARIES = {record.offset for record in RECORDS} | {len(STREAM)}


class Promises:
    """What a recording has told: bytes that were durable once stay."""

    def __init__(self, recording: Recording) -> None:
        self.durable = self.written = 0
        self._recording = recording
        recording.on_change = self.listen

    def listen(self) -> None:
        recording = self._recording
        assert recording.durable >= self.durable
        assert recording.durable <= recording.written <= recording.end
        self.durable, self.written = recording.durable, recording.written


def play(
    store: FileStore, reactor: PumpedReactor, *, finish: bool = True
) -> tuple[Recording, Promises, list[StorageError]]:
    """Record the stream piece by piece, whatever happens."""
    recording = store.create("a/b", "e", "video/mp4")
    promises = Promises(recording)
    for data, records in PIECES:
        recording.append(data, records)
        reactor.until(settled(recording))
    errors: list[StorageError] = []
    if finish:
        try:
            reactor.wait(recording.finish())
        except StorageError as error:
            errors.append(error)
    return recording, promises, errors


def check_next_life(
    directory: Path, durable: int, files: Files | None = None, segment_size: int = WHOLE
) -> tuple[int, bool]:
    """Recover, hold it against the stream, go on, recover again. Return the end found, and whether complete."""
    with opened(directory, files, segment_size=segment_size) as (store, reactor):
        found = reactor.wait(store.recover())
        assert store.failures == 0
        if not found:
            assert durable == 0
            return 0, False
        [recording] = found
        end, ended = recording.end, recording.ended
        assert recording.failure is None
        assert recording.durable == end >= durable
        assert content(reactor, recording) == STREAM[:end]
        held = reactor.wait(recording.records(0, end))
        assert held == RECORDS[: len(held)]
        assert all(record.offset < end for record in held)
        if not ended:
            recording.append(STREAM[end:], [r for r in RECORDS if r not in held])
            reactor.wait(recording.finish())
    with opened(directory) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert recording.ended
        assert content(reactor, recording) == STREAM
        missing = [r for r in RECORDS if r not in reactor.wait(recording.records(0, len(STREAM)))]
        assert missing == []
        assert reactor.wait(recording.last_record(99, Flag.INITIALIZATION)) == RECORDS[0]
    return end, ended


def durable_at(recording: Recording, offset: int) -> Callable[[], bool]:
    """Whether a recording is durable up to an offset."""
    return lambda: recording.durable == offset


def every_call(directory: Path, segment_size: int, **how: Any) -> int:
    """Fail at the first call, the second, and so on until the recording meets no fault. Return how many there were."""
    at = 0
    while True:
        at += 1
        files = FaultyFiles(**how)
        root = directory / str(at)
        with opened(root, files, segment_size=segment_size) as (store, reactor):
            files.arm(at)
            recording, promises, errors = play(store, reactor)
            if not files.failed:
                assert (recording.failure, errors) == (None, [])
                return at - 1
            assert recording.failure is not None
            assert recording.failure.status == 507
            assert "injected" in str(recording.failure)
            assert str(root) in str(recording.failure)
            assert errors == [recording.failure]
            assert not recording.ended
            assert recording.end == recording.written
            assert (store.queued, store.failures) == (0, 1)
            assert recording.written in BOUNDARIES | {promises.durable}
            assert content(reactor, recording) == STREAM[: recording.written]
            durable = recording.durable
        check_next_life(root, durable, segment_size=segment_size)


@pytest.mark.parametrize("segment_size", [WHOLE, SMALL])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("for_good", [False, True])
def test_a_fault_at_every_call(tmp_path: Path, code: int, for_good: bool, segment_size: int) -> None:
    assert every_call(tmp_path, segment_size, error=code, for_good=for_good) > 20


@pytest.mark.parametrize("only", ["open", "pwritev", "sync", "sync_directory", "make_directory", "rename"])
def test_every_call_is_among_them(tmp_path: Path, only: str) -> None:
    assert every_call(tmp_path, SMALL, only=only) > 0


@pytest.mark.parametrize("segment_size", [WHOLE, SMALL])
def test_a_disk_that_is_full_after_any_number_of_bytes(tmp_path: Path, segment_size: int) -> None:
    whole = FaultyFiles(room=10**9)
    with opened(tmp_path / "whole", whole, segment_size=segment_size) as (store, reactor):
        play(store, reactor)
    assert whole.room is not None
    needed = 10**9 - whole.room
    for room in range(20, needed, 5):
        root = tmp_path / str(room)
        files = FaultyFiles(room=room)
        with opened(root, files, segment_size=segment_size) as (store, reactor):
            recording, promises, _ = play(store, reactor)
            assert recording.failure is not None
            assert "No space left on device; make room on the disk" in str(recording.failure)
            assert recording.written in BOUNDARIES | {promises.durable}
            assert content(reactor, recording) == STREAM[: recording.written]
            durable = recording.durable
            files.room = None  # someone has made room: other recordings do not need a restart
            other = store.create("other", "e", "")
            other.append(b"abc", [Record(0)])
            reactor.until(durable_at(other, 3))
            shutil.rmtree(root / "other")
        check_next_life(root, durable, segment_size=segment_size)
        shutil.rmtree(root)


@pytest.mark.parametrize("segment_size", [WHOLE, SMALL])
def test_the_process_dies_at_every_call(tmp_path: Path, segment_size: int) -> None:
    """After ``for_good`` nothing reaches the files any more: as after kill -9, between two calls or within a write."""
    ends = set()
    for at in itertools.count(1):
        files = FaultyFiles(for_good=True)
        root = tmp_path / str(at)
        with opened(root, files, segment_size=segment_size) as (store, reactor):
            files.arm(at)
            _, promises, _ = play(store, reactor)
        if not files.failed:
            break
        ends.add(check_next_life(root, promises.durable, FaultyFiles(), segment_size)[0])
    assert len(ends) > 10


def test_the_process_dies_while_the_store_is_recovered(tmp_path: Path) -> None:
    for at in itertools.count(1):
        root = tmp_path / str(at)
        files = FaultyFiles()
        with opened(root, files) as (store, reactor):
            play(store, reactor, finish=False)
            files.kill()
        index = root / "a/b/@e/00000000000000000000.index"
        index.write_bytes(index.read_bytes()[:-7])
        files = FaultyFiles(for_good=True)
        with opened(root, files) as (store, reactor):
            files.arm(at)
            [recording] = reactor.wait(store.recover())
            assert (recording.failure is not None) == files.failed
        assert check_next_life(root, 0, FaultyFiles())[0] == len(STREAM)
        if not files.failed:
            break
    assert at > 5


@pytest.mark.parametrize("cut", range(64 * 4))
def test_an_index_torn_at_any_byte_keeps_all_bytes(tmp_path: Path, cut: int) -> None:
    files = FaultyFiles()
    with opened(tmp_path, files, sync_interval=3600) as (store, reactor):
        play(store, reactor, finish=False)
        files.kill()
    index = tmp_path / "a/b/@e/00000000000000000000.index"
    whole = index.read_bytes()
    assert len(whole) == 64 * (1 + len(RECORDS))
    index.write_bytes(whole[: len(whole) - cut])
    assert check_next_life(tmp_path, 0, FaultyFiles())[0] == len(STREAM)


@pytest.mark.parametrize("cut", range(0, len(STREAM) + 1, 4))
def test_a_data_file_that_is_shorter_than_its_index(tmp_path: Path, cut: int) -> None:
    with opened(tmp_path) as (store, reactor):
        play(store, reactor)
    data = tmp_path / "a/b/@e/00000000000000000000.mp4"
    data.write_bytes(STREAM[: len(STREAM) - cut])
    assert check_next_life(tmp_path, 0) == (len(STREAM) - cut, cut == 0)


def test_a_last_entry_with_a_flipped_bit_is_cut_off(tmp_path: Path) -> None:
    files = FaultyFiles()
    with opened(tmp_path, files, sync_interval=3600) as (store, reactor):
        play(store, reactor, finish=False)
        files.kill()
    index = tmp_path / "a/b/@e/00000000000000000000.index"
    damaged = bytearray(index.read_bytes())
    damaged[-20] ^= 4
    index.write_bytes(damaged)
    assert check_next_life(tmp_path, 0, FaultyFiles())[0] == len(STREAM)


@pytest.mark.parametrize("seed", range(200))
def test_the_power_goes(tmp_path: Path, seed: int) -> None:
    """What was not synced is there in part, in any order, or as zeros; what was is whole."""
    chance = random.Random(seed)
    machine = ForgetfulFiles(chance.randint(8, 70))
    how: dict[str, Any] = {"sync_interval": chance.choice([0, 0, 0.001, 3600])}
    with opened(tmp_path, machine, segment_size=chance.choice([WHOLE, SMALL]), **how) as (store, reactor):
        recording = store.create("a/b", "e", "video/mp4")
        promises = Promises(recording)
        pieces = PIECES[: chance.randint(0, len(PIECES))]
        for data, records in pieces:
            recording.append(data, records)
            if chance.random() < 0.7:
                reactor.until(settled(recording))
        if pieces == PIECES and chance.random() < 0.5:
            recording.finish().addErrback(lambda failure: failure.trap(StorageError))
        reactor.until(settled(recording))
        machine = machine.lose_power(tmp_path, chance)
        durable = promises.durable
    check_next_life(tmp_path, durable, machine)


def test_after_a_power_loss_unsynced_bytes_are_not_believed(tmp_path: Path) -> None:
    """Their file may be as long as they were, and hold zeros."""
    files = FaultyFiles(mark=1)
    with opened(tmp_path, files, sync_interval=3600) as (store, reactor):
        play(store, reactor, finish=False)
        files.kill()
    copy = tmp_path.with_name("copy")
    shutil.copytree(tmp_path, copy)
    assert check_next_life(tmp_path, 0, FaultyFiles(mark=1))[0] == len(STREAM)
    assert check_next_life(copy, 0, FaultyFiles(mark=2))[0] == 0


def test_a_machine_without_a_boot_mark_believes_what_was_synced(tmp_path: Path) -> None:
    files = FaultyFiles(mark=0)
    with opened(tmp_path, files) as (store, reactor):
        recording = store.create("a/b", "e", "")
        recording.append(*PIECES[0])
        reactor.until(lambda: recording.durable == 4)
        files.kill()
    assert check_next_life(tmp_path, 4, FaultyFiles(mark=0))[0] == 4


def test_bytes_of_a_second_life_without_an_entry_are_believed_in_the_same_boot(tmp_path: Path) -> None:
    first, second = FaultyFiles(mark=1), FaultyFiles(mark=2)
    with opened(tmp_path, first) as (store, reactor):
        recording = store.create("a/b", "e", "")
        for piece in PIECES[:3]:
            recording.append(*piece)
        reactor.until(lambda: recording.durable == 23)
    with opened(tmp_path, second, sync_interval=3600) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        recording.append(*PIECES[3])
        reactor.until(settled(recording))
        second.kill()
    assert check_next_life(tmp_path, 23, FaultyFiles(mark=2))[0] == 44


def test_a_failed_sync_is_not_tried_again(tmp_path: Path) -> None:
    """After a failed fsync() the system may have thrown the bytes away, and a second one succeeds for nothing."""
    files = FaultyFiles(3, only="sync")  # the first two are the description's and the header's
    with opened(tmp_path, files) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(b"abc", [Record(0), Record(2)])
        reactor.until(lambda: recording.failure)
        assert "Cannot sync" in str(recording.failure)
        assert (recording.durable, files.calls) == (0, 3)


def test_a_long_record_keeps_what_was_durable_of_it(tmp_path: Path) -> None:
    files = FaultyFiles()
    with opened(tmp_path, files) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(b"a record that ", [Record(0)])
        reactor.until(lambda: recording.durable == 14)
        files.room = 6
        recording.append(b"does not end", [])
        reactor.until(lambda: recording.failure)
        assert (recording.written, recording.durable, recording.end) == (14, 14, 14)
        assert content(reactor, recording) == b"a record that "


def test_a_recording_that_was_cut_is_durable_at_its_cut(tmp_path: Path) -> None:
    files = FaultyFiles(error=errno.EFBIG)
    with opened(tmp_path, files, sync_interval=3600) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(b"first", [Record(0)])
        recording.append(b"second", [Record(5)])
        reactor.until(settled(recording))
        files.arm(1)
        recording.append(b"second goes on", [Record(99)])
        reactor.until(lambda: recording.failure)
        assert "raise the limit on the size of files" in str(recording.failure)
        assert (recording.written, recording.durable) == (5, 5)
        assert reactor.wait(recording.records(0, 99)) == [Record(0)]
    with opened(tmp_path) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        recording.append(b"anew", [Record(5)])
        reactor.until(settled(recording))
        assert content(reactor, recording) == b"firstanew"
        assert reactor.wait(recording.records(0, 99)) == [Record(0), Record(5)]


@pytest.mark.parametrize("at", range(1, 8))
def test_a_removal_that_is_cut_short_leaves_all_or_nothing(tmp_path: Path, at: int) -> None:
    with opened(tmp_path) as (store, reactor):
        reactor.wait(store.create("a", "1", "").finish())
    files = FaultyFiles(for_good=True)
    with opened(tmp_path, files) as (store, reactor):
        files.arm(at)
        with suppress(StorageError):
            reactor.wait(store.remove("a"))
    with opened(tmp_path) as (store, reactor):
        found = reactor.wait(store.recover())
        assert [(r.epoch, r.ended, r.end) for r in found] in ([], [("1", True, 0)])
        reactor.wait(store.remove("a"))
    left = sorted(p.name for p in tmp_path.rglob("*"))
    assert left in (["@lock"], ["@lock", "a"])


def test_a_mistake_in_the_writing_stops_that_recording_alone(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        bad, good = store.create("a", "e", ""), store.create("b", "e", "")
        bad.append("not bytes", [Record(0)])  # type: ignore[arg-type]
        good.append(b"abc", [Record(0)])
        reactor.until(lambda: bad.failure is not None and good.durable == 3)
        assert "please report it" in str(bad.failure)
        assert store.queued == 0


@pytest.mark.parametrize(("torn", "end", "held"), [(None, 10, [0, 5, 8]), (3, 5, [0]), (2, 5, [0]), (4, 5, [0])])
def test_a_checkpoint_is_believed_if_what_it_was_not_sure_of_is_whole(
    tmp_path: Path, torn: int | None, end: int, held: list[int]
) -> None:
    """Of two sectors of the index that were written and not synced, the later one alone may be there."""
    directory = tmp_path / "a" / "@e"
    directory.mkdir(parents=True)
    (directory / "epoch.json").write_bytes(Description("a", "e", "", 1).dump())
    (directory / "00000000000000000000.bin").write_bytes(STREAM[:10])
    packed, links, checkpoints = pack_header(0, 1), Links(), {1: (5, 1), 4: (10, 2)}
    offsets = iter((0, 5, 8))
    for ordinal in range(5):
        if ordinal in checkpoints:
            offset, synced = checkpoints[ordinal]
            entry = Entry(Kind.CHECKPOINT, 0, offset, synced, 0, links, 1)
        else:
            entry = Entry.of_record(Record(next(offsets)), links, 1)
        links = entry.links_after(ordinal)
        packed += bytes(64) if ordinal == torn else entry.pack()
    (directory / "00000000000000000000.index").write_bytes(packed)
    with opened(tmp_path, FaultyFiles(mark=2)) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert (recording.end, recording.durable) == (end, end)
        assert [r.offset for r in reactor.wait(recording.records(0, 99))] == held
