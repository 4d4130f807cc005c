"""A copy that begins at a time: in a file that can be decoded, and that is gone on with after a stop."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sdp.consumer import output as module
from sdp.consumer.output import FileOutput, PipeOutput, Progress
from sdp.consumer.recorder import Recorder
from sdp.consumer.sources import Source, Sources
from sdp.consumer.writer import Writer
from sdp.errors import Refusal, StorageError
from sdp.net.address import parse_address
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import Role
from tests.consumer.pair import Distributor, Lines, outcome
from tests.consumer.test_recorder import Pool, Reactor
from tests.system.media import CAPTURED, Movie, movie

FRAME = 33_000


def published(film: Movie) -> Distributor:
    distributor = Distributor()
    distributor.post(f"0-{len(film.data) - 1}/*", film.data, Content_Type="video/mp4")
    return distributor


def at(shift: int) -> str:
    """A time so many microseconds after the first frame (2023-11-14T22:13:20Z)."""
    return f"2023-11-14T22:13:{20 + shift // 1_000_000:02d}.{shift % 1_000_000:06d}Z"


class Copy:
    """A recorder that writes a file."""

    def __init__(self, distributor: Distributor, file: Path, time: str | None, url: str = "http://h:8080/a") -> None:
        self.tell = Lines()
        self.output = FileOutput(file, 1.0, lambda: 0.0)
        self.writer = Writer(self.output, Reactor(), Pool(), 1 << 20)
        backoff = Backoff(Random(1))
        clock = distributor.reactor
        sources = Sources([Source(parse_address(url), distributor.connecting(Role.CONSUMER))])
        attempts = Attempts(sources.connect, clock, backoff, self.tell)
        self.recorder = Recorder(sources, self.writer, attempts, self.tell, clock, Backoff(Random(1)), time)
        self.running = Deferred.fromCoroutine(self.recorder.run())
        self.results = outcome(self.running)
        distributor.settle()

    def stop(self, distributor: Distributor) -> None:
        self.running.cancel()
        outcome(Deferred.fromCoroutine(self.writer.close()))
        distributor.settle()


@pytest.mark.parametrize(("shift", "number"), [(0, 0), (2 * FRAME, 0), (4 * FRAME, 3), (10**7, 6)])
def test_it_begins_where_decoding_can(tmp_path: Path, shift: int, number: int) -> None:
    film = movie("KddKddKdd")
    distributor = published(film)
    copy = Copy(distributor, tmp_path / "copy.mp4", at(shift))
    expected = film.initialization + film.data[film.fragments[number].offset :]
    assert (tmp_path / "copy.mp4").read_bytes() == expected
    assert copy.results == []
    distributor.post(f"{len(film.data)}-{len(film.data) + 3}/*", b"more")
    distributor.post(f"*/{len(film.data) + 4}")
    distributor.settle(1)
    assert copy.results == [None]
    assert (tmp_path / "copy.mp4").read_bytes() == expected + b"more"


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    film = movie("KddKddKdd")
    file, distributor = tmp_path / "copy.mp4", published(film)
    Copy(distributor, file, at(4 * FRAME)).stop(distributor)
    distributor.post(f"{len(film.data)}-{len(film.data) + 3}/{len(film.data) + 4}", b"more")
    again = Copy(distributor, file, at(10**7))
    assert again.results == [None]
    assert file.read_bytes() == film.initialization + film.data[film.fragments[3].offset :] + b"more"
    assert Copy(distributor, file, None).results == [None]


def test_where_nothing_can_be_decoded_yet_it_waits(tmp_path: Path) -> None:
    film, file = movie("KddKdd"), tmp_path / "copy.mp4"
    distributor = Distributor()
    copy = Copy(distributor, file, "5")
    distributor.settle(1)
    distributor.post(f"0-{len(film.initialization) - 1}/*", film.initialization, Content_Type="video/mp4")
    distributor.settle(5)
    assert (copy.results, file.read_bytes()) == ([], b"")
    begin, length = len(film.initialization), len(film.data)
    distributor.post(f"{begin}-{length - 1}/{length}", film.data[begin:])
    distributor.settle(60)
    assert (copy.results, file.read_bytes()) == ([None], film.data)


def test_what_is_no_time_is_refused_with_the_distributors_words(tmp_path: Path) -> None:
    copy = Copy(published(movie("K")), tmp_path / "copy.mp4", "noon")
    [error] = copy.results
    assert isinstance(error, Refusal)
    assert "RFC 3339" in error.detail


def test_without_an_initialization_segment_there_is_no_head(tmp_path: Path) -> None:
    distributor = Distributor()
    distributor.post("0-4/*", b"hello", Content_Type="x/y")
    distributor.post("5-9/10", b"world")
    copy = Copy(distributor, tmp_path / "copy", "0")
    assert (copy.results, (tmp_path / "copy").read_bytes()) == ([None], b"world")


class TestNote:
    def opened(self, file: Path) -> tuple[FileOutput, Progress]:
        output = FileOutput(file, 1.0, lambda: 0.0)
        return output, output.open()

    def test_a_headed_copy_comes_back(self, tmp_path: Path) -> None:
        output, _ = self.opened(tmp_path / "copy")
        output.begin('"e"', 100, b"head")
        output.write([b"hello"])
        output.close()
        assert (tmp_path / "copy").read_bytes() == b"headhello"
        assert self.opened(tmp_path / "copy")[1] == Progress(epoch='"e"', first=100, end=105, head=4)

    def test_a_kill_in_the_midst_of_the_head(self, tmp_path: Path) -> None:
        output, _ = self.opened(tmp_path / "copy")
        output.begin('"e"', 100, b"head")
        os.truncate(tmp_path / "copy", 2)
        output, progress = self.opened(tmp_path / "copy")
        assert progress == Progress()
        output.begin('"f"', 7, b"hd")
        assert self.opened(tmp_path / "copy")[1] == Progress(epoch='"f"', first=7, end=7, head=2)

    def test_a_power_loss_before_the_head_was_synced(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        output, _ = self.opened(tmp_path / "copy")
        output.begin('"e"', 100, b"head")
        monkeypatch.setattr(module, "_boot", lambda: "another")
        assert self.opened(tmp_path / "copy")[1] == Progress()
        assert (tmp_path / "copy").read_bytes() == b""

    @pytest.mark.parametrize("head", [None, "4"])
    def test_a_note_that_cannot_be(self, tmp_path: Path, head: Any) -> None:
        output, _ = self.opened(tmp_path / "copy")
        output.begin('"e"', 100, b"head")
        note = tmp_path / "copy.sdp"
        said = json.loads(note.read_text())
        assert (said["version"], said["head"]) == (2, 4)
        note.write_text(json.dumps({**said, "head": head}))
        with pytest.raises(StorageError, match="cannot be read"):
            self.opened(tmp_path / "copy")

    def test_a_pipe(self) -> None:
        reading, writing = os.pipe()
        output = PipeOutput(writing)
        output.begin('"e"', 100, b"head")
        output.write([b"hello"])
        output.close()
        with os.fdopen(reading, "rb") as pipe:
            assert pipe.read() == b"headhello"


def test_the_first_frame_is_where_the_times_count_from() -> None:
    assert CAPTURED == 1_700_000_000_000_000
