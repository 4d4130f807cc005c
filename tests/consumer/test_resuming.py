"""A copy over what fails (its disk, one Distributor of several, a hole) is the epoch, or says which bytes it lacks."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.consumer.output import FileOutput
from sdp.consumer.sources import Source, Sources
from sdp.errors import Refusal, StorageError
from sdp.net.attempts import TryAgain
from tests.consumer.pair import Distributor
from tests.consumer.test_recorder import ADDRESS, Rig, Scripted
from tests.distributor.disk import Disk

TEXT = {"Content_Type": "text/plain"}


def same_stream() -> tuple[Distributor, Distributor]:
    """Two Distributors on one clock, at which an epoch that is begun at once has the same tag."""
    first = Distributor()
    return first, Distributor(reactor=first.reactor)


def both(distributors: tuple[Distributor, ...], said: str, content: bytes = b"", **fields: str) -> None:
    for each in distributors:
        each.post(said, content, **fields)


class TestSources:
    def names(self, count: int) -> tuple[Sources, list[int]]:
        asked: list[int] = []

        def connecting(number: int) -> Callable[[], Any]:
            async def connect() -> Any:
                asked.append(number)

            return connect

        return Sources([Source(ADDRESS, connecting(number)) for number in range(count)]), asked

    def connect(self, sources: Sources, times: int = 1) -> None:
        for _ in range(times):
            with pytest.raises(StopIteration):
                sources.connect().send(None)

    def test_one_after_the_other_and_the_first_one_again_after_success(self):
        sources, asked = self.names(3)
        self.connect(sources, 5)
        assert asked == [0, 1, 2, 0, 1]
        sources.gave()
        self.connect(sources, 2)
        assert asked[5:] == [0, 1]
        sources.gave()
        sources.move_on()
        self.connect(sources)
        assert asked[7:] == [2]

    def test_what_all_of_them_lack_nobody_has(self):
        sources, _ = self.names(2)
        self.connect(sources)
        assert isinstance(sources.lack("Not here."), TryAgain)
        assert isinstance(sources.lack("Not here."), TryAgain)
        self.connect(sources)
        assert isinstance(sources.lack("Nor here."), Refusal)

    def test_who_gives_shows_that_not_all_lack_it(self):
        sources, _ = self.names(2)
        self.connect(sources)
        sources.lack("Not here.")
        self.connect(sources)
        sources.gave()
        self.connect(sources)
        assert isinstance(sources.lack("Not here."), TryAgain)


class TestSeveral:
    def test_a_copy_goes_on_at_the_next_one(self):
        first, second = same_stream()
        both((first, second), "0-4/*", b"hello", **TEXT)
        rig = Rig(first, others=[second]).start()
        assert rig.output.data == b"hello"
        first.up = False
        first.cut()
        both((second,), "5-10/11", b" world")
        for _ in range(4):
            first.settle(1)
            second.settle()
        assert rig.results == [None]
        assert rig.output.data == b"hello world"

    def test_what_one_has_lost_another_one_gives(self):
        first, second = same_stream()
        both((first, second), "0-4/*", b"hello", **TEXT)
        rig = Rig(first, others=[second]).start()
        first.crash()
        first.post("0-4/*", b"other", **TEXT)
        second.post("5-10/11", b" world")
        for _ in range(20):
            first.settle(1)
            second.settle()
        assert rig.results == [None]
        assert rig.output.data == b"hello world"

    def test_what_none_of_them_has_is_told(self):
        first, second = same_stream()
        both((first, second), "0-4/*", b"hello", **TEXT)
        rig = Rig(first, others=[second]).start()
        for each in (first, second):
            each.crash()
            each.post("0-4/*", b"other", **TEXT)
        for _ in range(20):
            first.settle(1)
            second.settle()
        [error] = rig.results
        assert isinstance(error, Refusal)
        assert "the copy is cut at 5 bytes" in error.detail
        assert rig.output.data == b"hello"


class TestHoles:
    def test_a_live_copy_waits_for_what_is_missing(self):
        distributor = Distributor(store=Disk())
        tag = distributor.post("0-4/*", b"hello", **TEXT).headers.get(b"etag")
        assert tag is not None
        named = {"If_Match": tag.decode(), "Sparse": "?1"}
        distributor.post("11-15/*", b"after", Random_Access="?1", **named)
        rig = Rig(distributor).start()
        assert rig.output.data == b"hello"
        distributor.post("5-10/*", b" hole ", **named)
        distributor.settle(2)
        assert rig.output.data == b"hello hole after"
        distributor.post("*/16")
        distributor.settle(2)
        assert rig.results == [None]

    def test_an_epoch_that_ends_with_a_hole_leaves_a_copy_that_says_what_nobody_has(self):
        rig = Scripted(epoch='"e"', first=0, end=7)
        rig.answer(
            "416 Range Not Satisfiable", 'ETag: "e"', "Content-Range: bytes */40", "Upload-Missing: 2-3, 7-19, 30-31"
        )
        [error] = rig.results
        assert isinstance(error, Refusal)
        assert 'Nobody who was asked has the bytes 7 to 19 of epoch "e"' in error.detail
        assert not rig.output.done

    def test_a_hole_elsewhere_is_none_of_this_copy_s_end(self):
        rig = Scripted(epoch='"e"', first=0, end=40)
        rig.answer("416 Range Not Satisfiable", 'ETag: "e"', "Content-Range: bytes */40", "Upload-Missing: 2-3")
        assert rig.results == [None]


class Faulty:
    """The system's calls, of which one fails as long as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.failing: set[str] = set()
        self.number = errno.ENOSPC
        for name in ("writev", "fsync", "open"):
            monkeypatch.setattr(os, name, self._guarded(name, getattr(os, name)))

    def _guarded(self, name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(*args: Any, **named: Any) -> Any:
            if name in self.failing:
                raise OSError(self.number, os.strerror(self.number))
            return call(*args, **named)

        return guarded


class TestDisk:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        return tmp_path / "folder" / "copy"

    @pytest.fixture
    def rig(self, file: Path) -> Rig:
        file.parent.mkdir()
        rig = Rig(output=FileOutput(file, 0.0, lambda: 0.0))
        rig.distributor.post("0-4/*", b"hello", **TEXT)
        return rig

    def told(self, rig: Rig) -> int:
        return sum("the copy goes on when it can" in line for line in rig.tell.lines)

    @pytest.mark.parametrize("name", ["writev", "fsync"])
    @pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EROFS])
    def test_what_the_disk_does_not_take_now_it_takes_later(self, rig, file, monkeypatch, name, number):
        faulty = Faulty(monkeypatch)
        rig.start()
        faulty.failing, faulty.number = {name}, number
        rig.distributor.post("5-10/*", b" world")
        rig.distributor.settle(100)
        assert rig.results == []
        assert self.told(rig) == 1
        rig.distributor.post("11-11/12", b"!")
        faulty.failing.clear()
        rig.distributor.settle(40)
        assert rig.results == [None]
        assert file.read_bytes() == b"hello world!"

    def test_where_not_even_the_beginning_could_be_noted_the_copy_begins_later(self, rig, file, monkeypatch):
        faulty = Faulty(monkeypatch)
        faulty.failing = {"fsync"}
        rig.start()
        rig.distributor.settle(5)
        assert self.told(rig) == 1
        assert file.read_bytes() == b""
        faulty.failing.clear()
        rig.distributor.post("*/5")
        rig.distributor.settle(40)
        assert rig.results == [None]
        assert file.read_bytes() == b"hello"

    def test_each_outage_is_told_of_once(self, rig, file, monkeypatch):
        faulty = Faulty(monkeypatch)
        rig.start()
        end = 5
        for _ in range(3):
            faulty.failing = {"writev"}
            rig.distributor.post(f"{end}-{end}/*", b".")
            end += 1
            rig.distributor.settle(10)
            faulty.failing.clear()
            rig.distributor.settle(40)
        assert self.told(rig) == 3
        assert file.read_bytes() == b"hello..."

    def test_what_a_failed_sync_leaves_in_doubt_is_fetched_again(self, file, monkeypatch):
        file.parent.mkdir()
        faulty = Faulty(monkeypatch)
        output = FileOutput(file, 0.0, lambda: 0.0)
        output.open()
        output.begin('"e"', 0)
        output.write([b"hello"])
        faulty.failing = {"fsync"}
        with pytest.raises(StorageError):
            output.write([b" world"])
        faulty.failing.clear()
        output.close()
        assert output.open().end == 5
        assert file.read_bytes() == b"hello"

    def test_a_folder_that_is_gone_for_a_while(self, rig, file):
        rig.start()
        away = file.parent.with_name("away")
        file.parent.rename(away)
        rig.distributor.post("5-10/*", b" world")
        rig.distributor.settle(10)
        assert self.told(rig) == 1
        away.rename(file.parent)
        rig.distributor.post("*/11")
        rig.distributor.settle(40)
        assert rig.results == [None]
        assert file.read_bytes() == b"hello world"

    def test_all_that_is_there_is_made_durable_without_anybody_s_help(self, rig, file, monkeypatch):
        faulty = Faulty(monkeypatch)
        rig.output._sync_after = None  # the first sync is that of the complete copy
        rig.start()
        faulty.failing = {"open"}
        rig.distributor.post("*/5")
        rig.distributor.settle(2)
        rig.distributor.up = False
        rig.distributor.cut()
        rig.distributor.settle(10)
        assert (rig.results, self.told(rig)) == ([], 1)
        faulty.failing.clear()
        rig.distributor.settle(40)
        assert rig.results == [None]
        assert file.read_bytes() == b"hello"

    def test_a_file_that_was_removed_ends_the_copy(self, rig, file):
        rig.start()
        file.unlink()
        rig.distributor.post("5-10/*", b" world")
        rig.distributor.settle(10)
        [error] = rig.results
        assert isinstance(error, StorageError)
        assert "was removed while it was written" in error.detail

    @settings(max_examples=30, deadline=None)
    @given(data=st.data())
    def test_whatever_fails_the_copy_is_the_epoch(self, tmp_path_factory, data):
        file = tmp_path_factory.mktemp("copies") / "copy"
        with pytest.MonkeyPatch.context() as monkeypatch:
            faulty = Faulty(monkeypatch)
            rig = Rig(output=FileOutput(file, data.draw(st.sampled_from([0.0, 100.0, None])), lambda: 0.0))
            sent = b"...."
            rig.distributor.post("0-3/*", sent, **TEXT)
            rig.start()
            for number in range(data.draw(st.integers(1, 10))):
                match data.draw(st.sampled_from(["post", "post", "cut", "wait", "fail", "mend"])):
                    case "post":
                        piece = b"<%d>" % number * data.draw(st.integers(1, 50))
                        rig.distributor.post(f"{len(sent)}-{len(sent) + len(piece) - 1}/*", piece)
                        sent += piece
                    case "cut":
                        rig.distributor.cut()
                    case "wait":
                        rig.distributor.settle(5)
                    case "fail":
                        faulty.failing = data.draw(st.sets(st.sampled_from(["writev", "fsync", "open"])))
                    case "mend":
                        faulty.failing = set()
            faulty.failing = set()
            rig.distributor.post(f"*/{len(sent)}")
            rig.distributor.settle(70)
            assert rig.results == [None], rig.tell.lines
            assert file.read_bytes() == sent
