"""The store on a healthy disk: what goes in comes out, in this life and the next."""

from __future__ import annotations

import json
import os
from pathlib import Path
from threading import Event
from typing import Any, cast

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from zope.interface.verify import verifyObject

from sdp.errors import StorageError
from sdp.interfaces import IRecording, IStore
from sdp.store import READ_LIMIT, Files, FileStore
from sdp.store.files import Buffer
from sdp.store.index import ENTRY_SIZE, Entry, Kind, Links, pack_header
from sdp.store.layout import Description
from sdp.stream.record import Flag, Record
from tests.store.simulation import FaultyFiles, PumpedReactor, content, opened, settled


def test_the_contracts(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        assert verifyObject(IStore, store)
        assert verifyObject(IRecording, store.create("a", "e", "video/mp4"))


def test_bytes_and_records_come_back(tmp_path: Path) -> None:
    records = [
        Record(0, Flag.INITIALIZATION, None, 5),
        Record(3, Flag.RANDOM_ACCESS, 7, 8),
        Record(6, Flag.NONE, 9, None),
    ]
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a/b", "e", "video/mp4; codecs=x")
        assert (recording.start, recording.end, recording.written, recording.durable) == (0, 0, 0, 0)
        recording.append(b"abc", records[:1])
        recording.append(bytearray(b"de"), ())
        recording.append(memoryview(b"fghij"), records[1:])
        assert recording.end == 10
        reactor.until(lambda: recording.durable == 10)
        assert recording.written == 10
        assert reactor.wait(recording.read(2, 5)) == b"cdefg"
        assert reactor.wait(recording.read(8, 100)) == b"ij"
        assert reactor.wait(recording.read(10, 1)) == b""
        assert reactor.wait(recording.read(999, 1)) == b""
        assert reactor.wait(recording.records(4, 6)) == records[1:2]
        assert reactor.wait(recording.records(0, 99)) == records
        assert reactor.wait(recording.records(0, 99, 2)) == records[:2]
        assert reactor.wait(recording.records(10, 99)) == []
        assert reactor.wait(recording.last_record(99, Flag.RANDOM_ACCESS)) == records[1]
        assert reactor.wait(recording.last_record(2, Flag.RANDOM_ACCESS)) is None
        assert (store.bytes_written, store.failures, store.queued) == (10, 0, 0)
        assert store.syncs >= 1
        assert store.free_bytes() > 0
    assert (tmp_path / "a/b/@e/00000000000000000000.mp4").read_bytes() == b"abcdefghij"


def test_a_read_gives_no_more_than_its_limit(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(bytes(READ_LIMIT + 10), [Record(0)])
        reactor.until(settled(recording))
        assert len(reactor.wait(recording.read(0, 1 << 40))) == READ_LIMIT
        assert len(reactor.wait(recording.read(READ_LIMIT, 1 << 40))) == 10


def test_a_record_without_bytes_waits_for_them(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(b"ab", [Record(0), Record(2)])
        recording.append(b"", [Record(2), Record(1)])  # known already, and out of order: not kept twice
        reactor.until(settled(recording))
        assert reactor.wait(recording.records(0, 9)) == [Record(0)]
        recording.append(b"c", ())
        reactor.until(settled(recording))
        assert reactor.wait(recording.records(0, 9)) == [Record(0), Record(2)]


def test_a_finished_epoch_stays_finished(tmp_path: Path) -> None:
    with opened(tmp_path, sync_interval=None) as (store, reactor):
        recording = store.create("a", "e", "video/mp4")
        recording.append(b"abc", [Record(0)])
        done = recording.finish()
        assert recording.ended
        recording.append(b"never", [Record(3)])
        assert reactor.wait(done) is None
        assert (recording.end, recording.durable) == (3, 3)
        assert reactor.wait(recording.finish()) is None
    with opened(tmp_path) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert (recording.ended, recording.end, recording.written, recording.durable) == (True, 3, 3, 3)
        recording.append(b"never", [Record(3)])
        assert content(reactor, recording) == b"abc"
        assert reactor.wait(recording.finish()) is None


def test_an_open_epoch_goes_on_in_the_next_life(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.create("a", "e", "video/mp2t").append(b"abc", [Record(0, Flag.RANDOM_ACCESS, 1, 2)])
    with opened(tmp_path) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert (recording.name, recording.epoch, recording.content_type) == ("a", "e", "video/mp2t")
        assert (recording.ended, recording.end, recording.durable) == (False, 3, 3)
        recording.append(b"def", [Record(4)])
        reactor.wait(recording.finish())
        assert content(reactor, recording) == b"abcdef"
        assert reactor.wait(recording.records(0, 9)) == [Record(0, Flag.RANDOM_ACCESS, 1, 2), Record(4)]
        assert reactor.wait(store.recover()) == []  # what is in use is not found again


def test_an_epoch_without_bytes(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        reactor.wait(store.create("a", "e", "").finish())
        store.create("b", "e", "")
    with opened(tmp_path) as (store, reactor):
        first, second = reactor.wait(store.recover())
        assert (first.name, first.ended, first.end) == ("a", True, 0)
        assert (second.name, second.ended, second.end) == ("b", False, 0)


def test_epochs_are_recovered_oldest_first_even_where_the_clock_goes_back(tmp_path: Path) -> None:
    times = iter(range(100, 0, -1))
    for epochs in (["z", "m"], ["a"]):
        with opened(tmp_path, now=lambda: next(times)) as (store, reactor):
            reactor.wait(store.recover())
            for epoch in epochs:
                store.create("s", epoch, "")
    with opened(tmp_path) as (store, reactor):
        assert [r.epoch for r in reactor.wait(store.recover())] == ["z", "m", "a"]


def test_bytes_become_durable_without_further_bytes(tmp_path: Path) -> None:
    with opened(tmp_path, sync_interval=0.01) as (store, reactor):
        recordings = [store.create(name, "e", "") for name in "abc"]
        for recording in recordings:
            recording.append(b"abc", [Record(0)])
        reactor.until(lambda: all(r.durable == 3 for r in recordings))
        syncs = store.syncs
        recordings[1].append(b"d", ())
        reactor.until(lambda: recordings[1].durable == 4)
        assert store.syncs == syncs + 1  # only what changed


def test_a_store_that_never_syncs_says_so(tmp_path: Path) -> None:
    with opened(tmp_path, sync_interval=None) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(b"abc", [Record(0)])
        reactor.until(settled(recording))
        assert (recording.durable, store.syncs) == (0, 0)
    assert recording.failure is None
    assert store.syncs == 1


def test_changes_are_told_in_the_reactors_thread(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        told: list[tuple[int, int]] = []
        recording.on_change = lambda: told.append((recording.written, recording.durable))
        recording.append(b"abc", [Record(0)])
        assert (recording.written, told) == (0, [])
        reactor.until(lambda: told)
        assert told[-1] == (recording.written, recording.durable)
        assert told == sorted(set(told))


def test_a_listener_that_fails_does_no_harm(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        bad, good = store.create("a", "e", ""), store.create("b", "e", "")

        def fail() -> None:
            raise RuntimeError("a mistake in whoever listens")

        bad.on_change = fail
        bad.append(b"abc", [Record(0)])
        good.append(b"abc", [Record(0)])
        reactor.until(lambda: good.durable == 3 and bad.durable == 3)
        assert store.failures == 0


class _HeldFiles(Files):
    """A disk that takes its time: stream bytes are written when the test says so."""

    def __init__(self) -> None:
        self.go = Event()

    def pwritev(self, descriptor: int, buffers: list[Buffer], offset: int) -> int:  # type: ignore[override]
        if len(buffers[0]) == 1000:
            self.go.wait()
        return super().pwritev(descriptor, buffers, offset)


def test_a_slow_disk_is_told_of_until_half_of_the_limit_is_free(tmp_path: Path) -> None:
    files = _HeldFiles()
    with opened(tmp_path, files, queue_limit=2000) as (store, reactor):
        recording, other = store.create("a", "e", ""), store.create("b", "e", "")
        told: list[bool] = []
        other.on_change = lambda: told.append(other.backlogged)
        for _ in range(2):
            recording.append(bytes(1000), ())
        assert (store.queued, recording.queued, recording.backlogged) == (2000, 2000, False)
        recording.append(bytes(1000), ())
        assert recording.backlogged
        assert other.backlogged
        files.go.set()
        reactor.until(lambda: told)
        assert told == [False]
        reactor.until(settled(recording))
        assert (store.queued, recording.queued) == (0, 0)


def test_remove_takes_the_name_and_nothing_below_it(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        for name in ("a", "a/b", "c/d/e"):
            for epoch in ("1", "2"):
                store.create(name, epoch, "").append(b"x", [Record(0)])
        doomed = store.create("a", "3", "")
        doomed.append(b"abc", [Record(0)])
        assert reactor.wait(store.remove("a")) is None
        assert doomed.failure is not None
        assert doomed.failure.status == 410
        doomed.append(b"dropped", ())
        with pytest.raises(StorageError, match="were removed"):
            reactor.wait(doomed.finish())
        assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["b"]
        assert reactor.wait(store.remove("c/d/e")) is None
        assert not (tmp_path / "c").exists()
        assert reactor.wait(store.remove("never/there")) is None
        again = store.create("a", "1", "")
        again.append(b"new", [Record(0)])
        reactor.until(settled(again))
        assert content(reactor, again) == b"new"
        assert store.queued == 0
    with opened(tmp_path) as (store, reactor):
        assert {r.name for r in reactor.wait(store.recover())} == {"a", "a/b"}


@pytest.mark.parametrize("name", ["../x", "", "a/../..", "@lock"])
def test_nothing_outside_is_made_or_removed(tmp_path: Path, name: str) -> None:
    with opened(tmp_path / "store") as (store, reactor):
        with pytest.raises(StorageError):
            store.create(name, "e", "")
        with pytest.raises(StorageError):
            reactor.wait(store.remove(name))
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["@lock", "store"]


def test_an_epoch_is_begun_once(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        first = store.create("a", "e", "")
        first.append(b"first", [Record(0)])
        second = store.create("a", "e", "")
        second.append(b"second", [Record(0)])
        reactor.until(lambda: second.failure)
        assert "an epoch's identifier can be used once" in str(second.failure)
        reactor.until(settled(first))
        assert content(reactor, first) == b"first"


def test_what_is_done_after_close(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(b"abc", [Record(0)])
        reactor.until(settled(recording))
        recording.append(b"def", [Record(3)])
        first, second = store.close(), store.close()
        recording.append(b"ghi", ())
        assert (recording.end, str(recording.failure)) == (6, f"The store in {tmp_path} is closed.")
        reactor.wait(first)
        reactor.wait(second)
        assert (recording.written, recording.durable) == (6, 6)
        lates: list[Deferred[Any]] = [recording.read(0, 3), recording.finish(), store.recover(), store.remove("a")]
        for late in lates:
            with pytest.raises(StorageError, match="is closed"):
                reactor.wait(late)
        with pytest.raises(StorageError, match="is closed"):
            store.create("b", "e", "")
    with opened(tmp_path) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert (content(reactor, recording), recording.ended) == (b"abcdef", False)


def test_a_directory_is_used_by_one_store_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path):
        reactor = cast(IReactorFromThreads, PumpedReactor())
        with pytest.raises(StorageError, match=f"is in use by process {os.getpid()}: stop it"):
            FileStore(tmp_path, reactor)
    with opened(tmp_path):
        pass


def test_a_directory_that_cannot_be_used_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    reactor = cast(IReactorFromThreads, PumpedReactor())
    with pytest.raises(StorageError, match="is not a directory: name another one"):
        FileStore(tmp_path / "file", reactor)
    with pytest.raises(StorageError, match=r"Cannot keep streams in .*: Not a directory"):
        FileStore(tmp_path / "file" / "below", reactor)


def test_what_is_no_epoch_is_left_alone(tmp_path: Path) -> None:
    outside = tmp_path / "outside" / "@e"
    outside.mkdir(parents=True)
    (outside / "epoch.json").write_bytes(Description("s", "e", "", 0).dump())
    root = tmp_path / "store"
    with opened(root) as (store, _):
        store.create("s", "good", "")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "@top").mkdir()
    (root / "s" / "@half-made").mkdir()
    (root / "s" / "@half@removed").mkdir()
    (root / "s" / "@half@removed" / "00000000000000000000.bin").write_bytes(b"x")
    (root / "lost+found").mkdir()
    (root / ".hidden").mkdir()
    with opened(root) as (store, reactor):
        assert [r.epoch for r in reactor.wait(store.recover())] == ["good"]
        assert store.failures == 0
    assert not (root / "s" / "@half@removed").exists()
    assert (root / "s" / "@half-made").exists()


def test_a_damaged_epoch_is_left_out_and_left_as_it_is(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        for name in ("a", "b", "c"):
            store.create(name, "e", "").append(name.encode(), [Record(0)])
    (tmp_path / "a/@e/epoch.json").write_bytes(b"not JSON")
    index = tmp_path / "b/@e/00000000000000000000.index"
    index.write_bytes(b"not an index".ljust(200))
    with opened(tmp_path) as (store, reactor):
        assert [r.name for r in reactor.wait(store.recover())] == ["c"]
        assert store.failures == 2
    assert (tmp_path / "b/@e/00000000000000000000.bin").read_bytes() == b"b"
    assert index.read_bytes() == b"not an index".ljust(200)


def test_a_later_format_is_not_touched(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.create("a", "e", "")
    path = tmp_path / "a/@e/epoch.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 2}))
    with opened(tmp_path) as (store, reactor), pytest.raises(StorageError, match="use the program that wrote it"):
        reactor.wait(store.recover())


def test_several_segments_are_one_recording(tmp_path: Path) -> None:
    """No writer makes them yet; the reading and the going on are the format's."""
    directory = tmp_path / "a" / "@e"
    directory.mkdir(parents=True)
    (directory / "epoch.json").write_bytes(Description("a", "e", "video/mp2t", 1).dump())
    expected = []
    for first, size in ((0, 10), (10, 20), (30, 5)):
        (directory / f"{first:020d}.ts").write_bytes(bytes(range(first, first + size)))
        links, packed = Links(), pack_header(first, Files().boot_mark())
        for ordinal, offset in enumerate(range(first, first + size, 5)):
            record = Record(offset, Flag.INITIALIZATION if offset == 0 else Flag.NONE)
            expected.append(record)
            entry = Entry.of_record(record, links, Files().boot_mark())
            links = entry.links_after(ordinal)
            packed += entry.pack()
        (directory / f"{first:020d}.index").write_bytes(packed)
    with opened(tmp_path) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        recording.append(bytes(range(35, 40)), [Record(35)])
        reactor.wait(recording.finish())
        assert content(reactor, recording) == bytes(range(40))
        assert reactor.wait(recording.read(8, 25)) == bytes(range(8, 33))
        assert reactor.wait(recording.records(0, 99)) == [*expected, Record(35)]
        assert reactor.wait(recording.records(12, 31)) == expected[2:7]
        assert reactor.wait(recording.records(0, 99, 3)) == expected[:3]
        assert reactor.wait(recording.last_record(39, Flag.INITIALIZATION)) == expected[0]


def test_a_file_that_was_cut_by_someone_else_is_told(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(b"abc", [Record(0)])
        reactor.until(settled(recording))
        path = tmp_path / "a/@e/00000000000000000000.bin"
        os.truncate(path, 1)
        with pytest.raises(StorageError, match="is shorter than what was written"):
            reactor.wait(recording.read(1, 2))
        path.unlink()
        with pytest.raises(StorageError, match=r"Cannot read .*: No such file"):
            reactor.wait(recording.read(0, 2))


def test_an_end_needs_the_bytes_before_it(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(b"abcdef", [Record(0), Record(3)])
        reactor.wait(recording.finish())
    index = tmp_path / "a/@e/00000000000000000000.index"
    last = Entry.unpack(index.read_bytes()[-ENTRY_SIZE:])
    assert last is not None
    assert (last.kind, last.offset) == (Kind.END, 6)
    os.truncate(tmp_path / "a/@e/00000000000000000000.bin", 5)
    with opened(tmp_path) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert (recording.ended, recording.end) == (False, 5)
        recording.append(b"f", ())
        reactor.wait(recording.finish())
        assert content(reactor, recording) == b"abcdef"


class _StuckSyncs(Files):
    """A disk that takes its time to sync: data files are synced when the test says so."""

    def __init__(self) -> None:
        self.go, self.began = Event(), Event()
        self._data: set[int] = set()

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        descriptor = super().open(path, write=write, create=create)
        self._data.discard(descriptor)
        if write and path.suffix == ".bin":
            self._data.add(descriptor)
        return descriptor

    def sync(self, descriptor: int) -> None:
        if descriptor in self._data:
            self.began.set()
            self.go.wait()
        super().sync(descriptor)


def test_writing_goes_on_while_the_disk_syncs(tmp_path: Path) -> None:
    files = _StuckSyncs()
    with opened(tmp_path, files, sync_interval=0.001) as (store, reactor):
        recording, other = store.create("a", "e", ""), store.create("b", "e", "")
        recording.append(b"abc", [Record(0)])
        files.began.wait()
        for each in (recording, other):
            each.append(b"def", [Record(each.end), Record(each.end + 2)])
            reactor.until(settled(each))
        assert (recording.written, recording.durable, other.written) == (6, 0, 3)
        assert reactor.wait(recording.read(0, 9)) == b"abcdef"
        assert [r.offset for r in reactor.wait(recording.records(0, 9))] == [0, 3, 5]
        files.go.set()
        reactor.until(lambda: recording.durable == 6 and other.durable == 3)
        assert content(reactor, recording) == b"abcdef"


def test_a_finish_waits_for_the_sync_that_is_under_way(tmp_path: Path) -> None:
    files = _StuckSyncs()
    with opened(tmp_path, files, sync_interval=0.001) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(b"abc", [Record(0)])
        files.began.wait()
        recording.append(b"def", [Record(3)])
        done = recording.finish()
        files.go.set()
        reactor.wait(done)
        assert (recording.durable, recording.failure) == (6, None)
    with opened(tmp_path) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert (recording.ended, recording.end) == (True, 6)


def test_power_that_goes_after_such_a_sync_leaves_the_records_before_it(tmp_path: Path) -> None:
    """A CHECKPOINT may come after RECORDs that begin past it: those are not believed."""
    files = _StuckSyncs()
    with opened(tmp_path, files, sync_interval=0.001) as (store, reactor):
        recording = store.create("a", "e", "")
        recording.append(b"abc", [Record(0)])
        files.began.wait()
        recording.append(b"def", [Record(3), Record(4)])
        reactor.until(settled(recording))
        files.go.set()
        reactor.until(lambda: recording.durable == 6)
    index = tmp_path / "a/@e/00000000000000000000.index"
    entries = [Entry.unpack(index.read_bytes(), at) for at in range(ENTRY_SIZE, index.stat().st_size, ENTRY_SIZE)]
    kinds = [(entry.kind, entry.offset) for entry in entries if entry is not None]
    assert kinds[:4] == [(Kind.RECORD, 0), (Kind.RECORD, 3), (Kind.RECORD, 4), (Kind.CHECKPOINT, 3)]
    os.truncate(index, 5 * ENTRY_SIZE)  # up to that CHECKPOINT
    with opened(tmp_path, FaultyFiles(mark=2)) as (store, reactor):
        [recording] = reactor.wait(store.recover())
        assert (recording.end, content(reactor, recording)) == (3, b"abc")
        assert reactor.wait(recording.records(0, 9)) == [Record(0)]
        recording.append(b"XYZ", [Record(3)])
        reactor.wait(recording.finish())
        assert content(reactor, recording) == b"abcXYZ"
        assert [r.offset for r in reactor.wait(recording.records(0, 9))] == [0, 3]
