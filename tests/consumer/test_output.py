"""Where a copy goes: what a file and its note remember over stops, kills and power losses."""

from __future__ import annotations

import json
import os

import pytest

from sdp.consumer import output as module
from sdp.consumer.output import FileOutput, PipeOutput, Progress
from sdp.errors import StorageError


def opened(file, interval=1.0, clock=lambda: 0.0):
    output = FileOutput(file, interval, clock)
    return output, output.open()


def test_a_copy_from_beginning_to_end(tmp_path):
    file = tmp_path / "copy.mp4"
    output, progress = opened(file)
    assert progress == Progress()
    output.begin('"e"', 0)
    output.write([b"hel", b"lo"])
    output.complete()
    output.close()
    assert file.read_bytes() == b"hello"
    assert opened(file)[1] == Progress(epoch='"e"', first=0, end=5, complete=True)


def test_a_stop_remembers_the_end(tmp_path):
    file = tmp_path / "copy"
    output, _ = opened(file)
    output.begin('"e"', 40)
    output.write([b"hello"])
    output.close()
    output, progress = opened(file)
    assert progress == Progress(epoch='"e"', first=40, end=45)
    output.write([b"!"])
    output.close()
    assert file.read_bytes() == b"hello!"


def test_a_kill_keeps_what_was_written(tmp_path):
    file = tmp_path / "copy"
    output, _ = opened(file)
    output.begin('"e"', 0)
    output.write([b"hello"])  # neither synced nor closed: the process is gone, the system is not
    assert opened(file)[1].end == 5


def test_nothing_is_written_where_the_note_could_not_be(tmp_path):
    file = tmp_path / "copy"
    obstacle = tmp_path / "copy.sdp.new"
    obstacle.mkdir()
    output, _ = opened(file)
    for head in (b"", b"head"):
        with pytest.raises(StorageError, match="cannot be written"):
            output.begin('"e"', 0, head)
        with pytest.raises(StorageError, match="left empty"):
            output.write([b"queued before that was known"])
    output.close()
    assert file.read_bytes() == b""
    obstacle.rmdir()
    output, progress = opened(file)
    assert progress == Progress()
    output.begin('"e"', 0)
    output.write([b"hello"])
    assert opened(file)[1].end == 5


def test_a_power_loss_keeps_what_was_synced(tmp_path, monkeypatch):
    file = tmp_path / "copy"
    now = [0.0]
    output, _ = opened(file, clock=lambda: now[0])
    output.begin('"e"', 0)
    now[0] = 1.5
    output.write([b"synced"])
    output.write([b" and not"])
    monkeypatch.setattr(module, "_boot", lambda: "another run of the machine")
    assert opened(file)[1].end == 6
    assert file.read_bytes() == b"synced"


def test_a_file_that_is_no_copy_is_left_alone(tmp_path):
    file = tmp_path / "precious"
    file.write_bytes(b"precious")
    with pytest.raises(StorageError, match="is no copy"):
        opened(file)
    assert file.read_bytes() == b"precious"


NOTE = {"version": 1, "epoch": '"e"', "first": 0, "synced": 0, "boot": "b", "complete": False}


@pytest.mark.parametrize(
    ("note", "said"),
    [
        ("no JSON", "cannot be read"),
        ("[]", "cannot be read"),
        (json.dumps({**NOTE, "epoch": None}), "cannot be read"),
        (json.dumps({**NOTE, "version": 9}), "another version"),
        (json.dumps({**NOTE, "synced": 99}), "shorter than"),
    ],
)
def test_a_note_that_cannot_be_trusted(tmp_path, note, said):
    file = tmp_path / "copy"
    file.write_bytes(b"hello")
    (tmp_path / "copy.sdp").write_text(note)
    with pytest.raises(StorageError, match=said):
        opened(file)
    assert file.read_bytes() == b"hello"


def test_a_directory_that_is_not_there(tmp_path):
    with pytest.raises(StorageError, match="cannot be written: No such file"):
        opened(tmp_path / "absent" / "copy")


def test_a_disk_that_fails(tmp_path, monkeypatch):
    output, _ = opened(tmp_path / "copy")
    output.begin('"e"', 0)

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "writev", full)
    with pytest.raises(StorageError, match="No space left"):
        output.write([b"hello"])


def test_writes_that_come_up_short_are_gone_on_with(tmp_path, monkeypatch):
    output, _ = opened(tmp_path / "copy")
    output.begin('"e"', 0)
    real = os.write
    monkeypatch.setattr(os, "writev", lambda descriptor, pieces: real(descriptor, b"".join(pieces)[:3]))
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:2]))
    output.write([b"hel", b"lo", b" world"] * 300)
    assert (tmp_path / "copy").read_bytes() == b"hello world" * 300


def test_a_pipe():
    read, write = os.pipe()
    output = PipeOutput(write)
    assert output.open() == Progress()
    output.begin('"e"', 0)
    output.write([b"hello"])
    output.complete()
    assert os.read(read, 10) == b"hello"
    os.close(read)
    with pytest.raises(StorageError, match="Nobody reads"):
        output.write([b"more"])
    output.close()
    output.close()
