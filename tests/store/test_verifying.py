"""A store is looked at and not touched: sound ones are found sound, and every damaged byte of an index is found."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sdp.errors import StorageError
from sdp.store import Verdict, verify
from sdp.store.files import Files
from sdp.stream.record import Flag, Record
from tests.store.simulation import FaultyFiles, opened, settled

SEGMENT = 40


def make(root: Path, *, finish: bool = True) -> None:
    """A stream of three segments, and one that is empty."""
    with opened(root, segment_size=SEGMENT) as (store, reactor):
        recording = store.create("a/b", "e", "video/mp4")
        recording.append(b"init", [Record(0, Flag.INITIALIZATION)])
        for _ in range(10):
            at = recording.end
            recording.append(bytes(10), [Record(at, Flag.RANDOM_ACCESS), Record(at + 5)])
            reactor.until(settled(recording))
        if finish:
            reactor.wait(recording.finish())
        store.create("empty", "e", "")


def snapshot(root: Path) -> dict[str, bytes | None]:
    """All that lies there."""
    return {str(p): p.read_bytes() if p.is_file() else None for p in sorted(root.rglob("*"))}


def one(root: Path, name: str = "a/b") -> Verdict:
    before = snapshot(root)
    verdicts = {verdict.name: verdict for verdict in verify(root)}
    assert snapshot(root) == before
    return verdicts[name]


@pytest.mark.parametrize("finish", [True, False])
def test_a_sound_store(tmp_path: Path, finish: bool) -> None:
    make(tmp_path, finish=finish)
    assert one(tmp_path) == Verdict("a/b", "e", 0, 104, 3, 21, finish, ())
    assert one(tmp_path, "empty") == Verdict("empty", "e", 0, 0, 1, 0, False, ())


def test_a_store_that_is_written_to(tmp_path: Path) -> None:
    with opened(tmp_path, sync_interval=None) as (store, reactor):
        recording = store.create("a/b", "e", "")
        recording.append(bytes(30), [Record(0), Record(20)])
        reactor.until(settled(recording))
        assert one(tmp_path).faults == ()


def test_what_a_dead_process_left_is_no_damage(tmp_path: Path) -> None:
    files = FaultyFiles(mark=Files().boot_mark())
    with opened(tmp_path, files, sync_interval=3600) as (store, reactor):
        recording = store.create("a/b", "e", "")
        recording.append(bytes(30), [Record(0), Record(20)])
        reactor.until(settled(recording))
        files.kill()
    with (tmp_path / "a/b/@e/00000000000000000000.index").open("ab") as index:
        index.write(b"half an entry")
    (tmp_path / "a/b/@gone@removed").mkdir()
    (tmp_path / "a/b/@begun").mkdir()
    assert one(tmp_path) == Verdict("a/b", "e", 0, 30, 1, 2, False, ())


@pytest.mark.parametrize("number", range(3))
def test_every_bit_of_an_index_counts(tmp_path: Path, number: int) -> None:
    make(tmp_path)
    path = sorted((tmp_path / "a/b/@e").glob("*.index"))[number]
    whole = path.read_bytes()
    last = len(whole) - 64 if number == 2 else len(whole)  # the END's loss makes it an epoch that nobody has finished
    for at in range(0, last, 7):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << at % 8
        path.write_bytes(damaged)
        found = one(tmp_path)
        assert found.faults != (), at
        assert str(path) in found.faults[0]
    path.write_bytes(whole)
    assert one(tmp_path).faults == ()


@pytest.mark.parametrize(
    ("number", "change", "fault"), [(0, -1, "bytes of"), (1, -1, "bytes of"), (2, 3, "3 bytes past")]
)
def test_a_data_file_of_another_length(tmp_path: Path, number: int, change: int, fault: str) -> None:
    make(tmp_path)
    path = sorted((tmp_path / "a/b/@e").glob("*.mp4"))[number]
    os.truncate(path, path.stat().st_size + change)
    assert fault in one(tmp_path).faults[0]


def test_a_segment_that_is_missing(tmp_path: Path) -> None:
    make(tmp_path)
    middle = sorted((tmp_path / "a/b/@e").glob("*.index"))[1]
    middle.unlink()
    assert "bytes of" in one(tmp_path).faults[0]


def test_an_epoch_that_cannot_be_read(tmp_path: Path) -> None:
    make(tmp_path)
    (tmp_path / "a/b/@e/epoch.json").write_bytes(b"{}")
    assert "is damaged" in one(tmp_path).faults[0]
    with pytest.raises(StorageError, match="No such file"):
        list(verify(tmp_path / "nowhere"))
