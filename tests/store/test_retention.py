"""What leaves the disk: a pure choice, and a store that acts on it and never gives other bytes than it was given."""

from __future__ import annotations

import itertools
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from sdp.errors import StorageError
from sdp.store import FileStore, GoneError, Limits, Recording
from sdp.store.retention import INTERVAL, Piece, choose
from sdp.stream.record import Flag, Record
from tests.store.simulation import FaultyFiles, PumpedReactor, content, opened, settled

INIT, GROUP = b"initialization", b"0123456789"
SECOND = 1_000_000


def taken(streams: dict[str, list[Piece]], limits: Limits, now: int = 0, free: int = 0) -> list[tuple[object, str]]:
    """What is chosen, as (epoch, reason)."""
    return [(one.piece.epoch, one.reason) for one in choose(streams, limits, now, free)]


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (Limits(), []),
        (Limits(size=60), []),
        (Limits(size=59), [("a", "bytes")]),
        (Limits(size=30), [("a", "bytes"), ("b", "bytes")]),
        (Limits(size=0), [("a", "bytes"), ("b", "bytes")]),  # what is written to stays
        (Limits(age=79), [("a", "seconds"), ("b", "seconds")]),
        (Limits(age=80), [("a", "seconds")]),
        (Limits(size=59, age=79), [("a", "bytes"), ("b", "seconds")]),
        (Limits(free=7), []),
        (Limits(free=8), [("a", "free")]),
        (Limits(free=17), [("a", "free")]),
        (Limits(free=18), [("a", "free"), ("b", "free")]),
        (Limits(free=99), [("a", "free"), ("b", "free")]),
        (Limits(size=59, free=17), [("a", "bytes")]),  # which has made room
    ],
)
def test_one_stream(limits: Limits, expected: list[tuple[object, str]]) -> None:
    pieces = [Piece("a", 10, 10, True), Piece("b", 20, 20, True), Piece("c", 30, 30, False)]
    assert taken({"s": pieces}, limits, now=100, free=7) == expected


def test_the_oldest_of_all_streams_goes_first_for_room() -> None:
    streams = {
        "s": [Piece("s1", 10, 10, True), Piece("s2", 10, 40, True), Piece("s3", 10, 50, False)],
        "t": [Piece("t1", 10, 20, True), Piece("t2", 10, 30, True)],
        "u": [Piece("u1", 10, 1, False)],
    }
    assert [epoch for epoch, _ in taken(streams, Limits(free=1000))] == ["s1", "t1", "t2", "s2"]


pieces = st.builds(Piece, st.integers(0, 3), st.integers(0, 50), st.integers(0, 100), st.booleans())


@given(
    st.dictionaries(st.sampled_from("abc"), st.lists(pieces, max_size=6)),
    st.builds(Limits, *[st.none() | st.integers(0, 150)] * 3),
    st.integers(0, 200),
)
def test_only_what_is_complete_goes_and_in_order(streams: dict[str, list[Piece]], limits: Limits, free: int) -> None:
    going = [one.piece for one in choose(streams, limits, 100, free)]
    for held in streams.values():
        mine = [piece for piece in held if any(piece is each for each in going)]
        assert mine == held[: len(mine)]
        assert all(piece.complete for piece in mine)
        left = held[len(mine) :]
        if limits.size is not None and left and left[0].complete:
            assert sum(piece.size for piece in left) <= limits.size
    assert len(going) == len({id(piece) for piece in going})


# --- The store


def groups(recording: Recording, reactor: PumpedReactor, count: int) -> bytes:
    """Append an initialization segment, where nothing was, and some random access points with a record each."""
    whole = b""
    if recording.end == 0:
        recording.append(INIT, [Record(0, Flag.INITIALIZATION)])
        whole = INIT
    for number in range(count):
        start = recording.end
        recording.append(GROUP, [Record(start, Flag.RANDOM_ACCESS, number), Record(start + 7)])
        whole += GROUP
        reactor.until(settled(recording))
    return whole


def look(clock: Clock, reactor: PumpedReactor, store: FileStore) -> None:
    """Let the store hold what there is against its limits, and wait until it has."""
    clock.advance(INTERVAL)
    reactor.until(clock.getDelayedCalls)


def settings(clock: Clock, now: list[int], **limits: int) -> dict[str, Any]:
    return {"segment_size": 20, "limits": Limits(**limits), "clock": clock, "now": lambda: now[0]}


def test_segments_begin_with_random_access_points(tmp_path: Path) -> None:
    with opened(tmp_path, segment_size=20) as (store, reactor):
        recording = store.create("a", "e", "video/mp4")
        whole = groups(recording, reactor, 7)
        reactor.wait(recording.finish())
        assert content(reactor, recording) == whole
    files = sorted((tmp_path / "a/@e").glob("*.mp4"))
    assert [int(path.stem) for path in files] == [0, 24, 44, 64]
    assert b"".join(path.read_bytes() for path in files) == whole


def test_a_point_that_is_known_late_takes_its_first_bytes_along(tmp_path: Path) -> None:
    for interval in (0, None):
        root = tmp_path / str(interval)
        with opened(root, sync_interval=interval, segment_size=20) as (store, reactor):
            recording = store.create("a", "e", "")
            recording.append(bytes(range(25)), [Record(0, Flag.RANDOM_ACCESS)])
            reactor.until(settled(recording))
            recording.append(b"xyz", [Record(22, Flag.RANDOM_ACCESS), Record(26)])
            reactor.until(settled(recording))
            whole = bytes(range(25)) + b"xyz"
            assert content(reactor, recording) == whole
            assert [r.offset for r in reactor.wait(recording.records(0, 99))] == [0, 22, 26]
        assert (root / "a/@e/00000000000000000022.bin").read_bytes() == whole[22:]
        with opened(root, segment_size=20) as (store, reactor):
            [recording] = reactor.wait(store.recover())
            assert content(reactor, recording) == whole
            assert [r.offset for r in reactor.wait(recording.records(0, 99))] == [0, 22, 26]


def test_without_a_random_access_point_any_record_will_do_in_the_end(tmp_path: Path) -> None:
    with opened(tmp_path, segment_size=20) as (store, reactor):
        recording = store.create("a", "e", "")
        for at in range(0, 100, 10):
            recording.append(bytes(10), [Record(at)])
            reactor.until(settled(recording))
    assert [int(path.stem) for path in sorted((tmp_path / "a/@e").glob("*.bin"))] == [0, 40, 80]


def test_a_segment_that_is_old_is_followed_by_another_one(tmp_path: Path) -> None:
    clock, now = Clock(), [SECOND]
    with opened(tmp_path, **settings(clock, now, age=80 * SECOND) | {"segment_size": 1 << 30}) as (store, reactor):
        recording = store.create("a", "e", "")
        groups(recording, reactor, 2)
        now[0] += 10 * SECOND  # an eighth of what is kept
        groups(recording, reactor, 2)
        now[0] += 79 * SECOND
        look(clock, reactor, store)
        assert recording.start == 0
        now[0] += 2 * SECOND
        look(clock, reactor, store)
        assert recording.start == len(INIT) + 20


def test_by_bytes_the_front_goes_and_the_initialization_segment_stays(tmp_path: Path) -> None:
    clock = Clock()
    how = settings(clock, [1], size=200)
    with opened(tmp_path, **how) as (store, reactor):
        recording = store.create("a", "e", "video/mp4")
        told: list[int] = []
        whole = groups(recording, reactor, 40)
        recording.on_change = lambda: told.append(recording.start)
        look(clock, reactor, store)
        start = recording.start
        assert len(whole) - start <= 200 < len(whole) - start + 25 + 20
        assert told[-1] == start
        assert store.trimmed == {"bytes": start, "seconds": 0, "free": 0}
        check_front(reactor, recording, whole)
        with pytest.raises(GoneError):
            reactor.wait(recording.read(len(INIT), 1))
        for _ in range(3):
            whole += groups(recording, reactor, 10)
            look(clock, reactor, store)
            check_front(reactor, recording, whole)
    with opened(tmp_path, **how) as (store, reactor):
        [again] = reactor.wait(store.recover())
        assert (again.start, again.end) == (recording.start, len(whole))
        check_front(reactor, again, whole)
        reactor.wait(again.finish())
        check_front(reactor, again, whole)


def check_front(reactor: PumpedReactor, recording: Recording, whole: bytes) -> None:
    """What is left is right, begins where decoding can, and can be decoded."""
    start = recording.start
    assert start > 0
    assert content(reactor, recording) == whole[start:]
    [first] = reactor.wait(recording.records(start, start + 1))
    assert (first.offset, first.flags) == (start, Flag.RANDOM_ACCESS)
    found = reactor.wait(recording.last_record(start, Flag.INITIALIZATION))
    assert found == Record(0, Flag.INITIALIZATION)
    assert [r.offset for r in reactor.wait(recording.records(0, start + 1, 2))] == [0, len(INIT)]
    assert reactor.wait(recording.read(0, 1 << 20)) == INIT
    assert reactor.wait(recording.read(5, 3)) == INIT[5:8]


def test_a_later_initialization_segment_takes_the_place_of_the_first(tmp_path: Path) -> None:
    clock = Clock()
    with opened(tmp_path, **settings(clock, [1], size=160)) as (store, reactor):
        recording = store.create("a", "e", "")
        groups(recording, reactor, 40)
        look(clock, reactor, store)
        at = recording.end
        recording.append(b"another", [Record(at, Flag.INITIALIZATION)])
        groups(recording, reactor, 40)
        look(clock, reactor, store)
        assert recording.start > at
        assert reactor.wait(recording.last_record(recording.start, Flag.INITIALIZATION)) == Record(
            at, Flag.INITIALIZATION
        )
        assert reactor.wait(recording.read(at, 99)) == b"another"
        with pytest.raises(GoneError):
            reactor.wait(recording.read(0, 1))
    assert [path.name for path in (tmp_path / "a/@e").glob("*.initialization")] == [f"{at:020d}.initialization"]


def test_ended_epochs_go_whole_and_the_name_with_the_last(tmp_path: Path) -> None:
    clock, now = Clock(), [SECOND]
    with opened(tmp_path, **settings(clock, now, age=10 * SECOND)) as (store, reactor):
        recordings = []
        for epoch in ("1", "2"):
            recording = store.create("a/b", epoch, "")
            groups(recording, reactor, 5)
            reactor.wait(recording.finish())
            recordings.append(recording)
            now[0] += 6 * SECOND
        look(clock, reactor, store)
        first, second = recordings
        assert [isinstance(each.failure, GoneError) for each in recordings] == [True, False]
        assert [path.name for path in (tmp_path / "a/b").iterdir()] == ["@2"]
        with pytest.raises(GoneError):
            reactor.wait(first.read(0, 1))
        now[0] += 6 * SECOND
        look(clock, reactor, store)
        assert isinstance(second.failure, GoneError)
        assert [path.name for path in tmp_path.iterdir()] == ["@lock"]
        assert (store.failures, store.trimmed["seconds"]) == (0, 2 * (len(INIT) + 50))


def test_what_is_written_to_never_goes(tmp_path: Path) -> None:
    clock = Clock()
    how = settings(clock, [1], age=0, free=1 << 60)
    with opened(tmp_path, **how) as (store, reactor):
        recording = store.create("a", "e", "")
        groups(recording, reactor, 9)
        look(clock, reactor, store)
        assert (recording.start, recording.end, recording.failure) == (len(INIT) + 80, len(INIT) + 90, None)
        whole = groups(recording, reactor, 1)
        assert content(reactor, recording)[-10:] == whole


def test_for_room_what_a_failed_disk_has_left_behind_can_go(tmp_path: Path) -> None:
    clock, files = Clock(), FaultyFiles()
    with opened(tmp_path, files, **settings(clock, [1], free=1 << 60)) as (store, reactor):
        stopped = store.create("a", "1", "")
        groups(stopped, reactor, 1)
        files.room = 0
        stopped.append(GROUP, [Record(stopped.end)])
        reactor.until(lambda: stopped.failure)
        look(clock, reactor, store)
        assert not isinstance(stopped.failure, GoneError)  # it is the name's newest: somebody may be reading
        files.room = None
        newer = store.create("a", "2", "")
        groups(newer, reactor, 1)
        look(clock, reactor, store)
        assert isinstance(stopped.failure, GoneError)
        assert content(reactor, newer) == INIT + GROUP


class _Told(FaultyFiles):
    """A disk on which somebody looks in the midst of a read: whatever ``opened`` does, happens before the file is."""

    def __init__(self) -> None:
        super().__init__()
        self.before_open: Any = None

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        if not write and self.before_open is not None and path.suffix == ".bin":
            call, self.before_open = self.before_open, None
            call(path)
        return super().open(path, write=write, create=create)


def test_a_reader_whose_segment_goes_at_this_moment_is_told(tmp_path: Path) -> None:
    clock, files = Clock(), _Told()
    with opened(tmp_path, files, **settings(clock, [1], size=80)) as (store, reactor):
        recording = store.create("a", "e", "")
        groups(recording, reactor, 20)
        held = recording.writer.pieces
        files.before_open = lambda path: recording.writer.trim(3, recording.moved)
        with pytest.raises(GoneError, match=f"is kept from offset {held[3].segment.place.first} on only"):
            reactor.wait(recording.read(0, 10))
        assert recording.start == held[3].segment.place.first


@pytest.mark.parametrize("for_good", [False, True])
def test_trimming_that_is_cut_short_leaves_a_whole_recording(tmp_path: Path, for_good: bool) -> None:
    for at in itertools.count(1):
        root, clock, files = tmp_path / str(at), Clock(), FaultyFiles(for_good=for_good)
        with opened(root, files, **settings(clock, [1], size=80)) as (store, reactor):
            recording = store.create("a", "e", "")
            whole = groups(recording, reactor, 20)
            ended = store.create("b", "e", "")
            groups(ended, reactor, 20)
            with suppress(StorageError):
                reactor.wait(ended.finish())
            files.arm(at)
            look(clock, reactor, store)
            failed = files.failed
        with opened(root, FaultyFiles()) as (store, reactor):
            found = {recording.name: recording for recording in reactor.wait(store.recover())}
            assert set(found) == {"a", "b"}
            for again in found.values():
                assert again.failure is None
                assert content(reactor, again) == whole[again.start :]
                init = reactor.wait(again.last_record(again.start, Flag.INITIALIZATION))
                assert init is not None
                assert reactor.wait(again.read(init.offset, len(INIT))) == INIT
            orphans = [path for path in (root / "a/@e").glob("*.bin") if not path.with_suffix(".index").exists()]
            assert orphans == []
        if not failed:
            break
    assert at > 10


def test_what_is_still_needed_stays_whatever_the_limits_say(tmp_path: Path) -> None:
    clock, now = Clock(), [SECOND]
    with opened(tmp_path, **settings(clock, now, size=40)) as (store, reactor):
        recording = store.create("a", "e", "video/mp4")
        recording.keep_from = 30
        whole = groups(recording, reactor, 7)
        look(clock, reactor, store)
        assert 0 < recording.start <= 30
        assert content(reactor, recording) == whole[recording.start :]
        recording.keep_from = None
        look(clock, reactor, store)
        assert recording.start > 30
