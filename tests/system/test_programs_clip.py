"""The clip on its whole way, by the three real commands: what Origin, Distributor and Consumer keep is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.system.conftest import Clip
from tests.system.processes import Distributor, Process, eventually
from tests.system.programs import Service, first_packet, frames_of, in_foreground, kept_in, sdp, sha256

pytestmark = pytest.mark.system

PATIENT = 40.0
"""A clip is sent as fast as it plays."""


def url_of(server: Distributor, name: str) -> str:
    return f"http://127.0.0.1:{server.port}/{name}"


def test_in_the_foreground(
    start: Callable[..., Distributor], run: Callable[..., Process], tmp_path: Path, clip: Clip
) -> None:
    server = start(store=tmp_path / "kept")
    url = url_of(server, "clip")
    # The Consumers are there first, and wait.
    copy, shown = tmp_path / "copy.mp4", tmp_path / "shown.mp4"
    consumer = run(*in_foreground("consumer", "--from", url, "--output", copy), cwd=tmp_path)
    recorder = run(*sdp("record", url, shown), cwd=tmp_path)
    origin = run(
        *in_foreground("origin", "--source", clip.file, "--to", url, "--store", tmp_path / "captured"), cwd=tmp_path
    )
    origin.wait_for("Publishing, epoch")
    # A player that comes in the middle begins at a random access point: the newest, of those that the clip has.
    eventually(lambda: server.call("HEAD", "/clip").end > clip.file.stat().st_size // 2, "half of the clip")
    packet = first_packet(url)
    assert packet["flags"].startswith("K")
    assert float(packet["pts_time"]) > 0.9 or not any(0.9 < key < 2 for key in clip.keys)

    assert origin.wait(PATIENT) == 0
    assert consumer.wait(PATIENT) == 0
    assert recorder.wait(PATIENT) == 0
    assert_equal(server, tmp_path, copy, clip)
    assert sha256(shown) == sha256(copy)
    server.terminate()
    assert server.wait() in (0, -15)
    for process in (origin, consumer, recorder):
        assert "Traceback" not in "\n".join(process.lines)


def test_as_background_services(service: Callable[..., Service], tmp_path: Path, clip: Clip) -> None:
    distributor = service("distributor", "--listen", "tcp:0:interface=127.0.0.1", "--store", tmp_path / "kept")
    assert distributor.begun == 0
    url = f"http://127.0.0.1:{distributor.said(r'Listening on .*port=([0-9]+)')[1]}/clip"
    copy = tmp_path / "copy.mp4"
    consumer = service("consumer", "--from", url, "--output", copy)
    origin = service("origin", "--source", clip.file, "--to", url, "--store", tmp_path / "captured")
    assert origin.wait(PATIENT) == 0
    assert consumer.wait(PATIENT) == 0
    assert distributor.terminate() in (0, -15)

    # Distributor and Origin have written all of it, and so it is there after their end.
    assert sha256(copy) == sha256(kept_in(tmp_path / "kept")) == sha256(kept_in(tmp_path / "captured"))
    assert frames_of(copy) == clip.frames
    for each in (distributor, consumer, origin):
        assert not each.pid_file.exists()
        assert "Traceback" not in each.log()


def assert_equal(server: Distributor, directory: Path, copy: Path, clip: Clip) -> None:
    """The Origin's log, the Distributor's file, what it gives, and the Consumer's copy are the same bytes."""
    described: dict[str, Any] = server.describe("clip")
    assert described["state"] == "ended"
    assert described["durable_offset"] == described["end_offset"]
    digests = {
        "copy": sha256(copy),
        "captured": sha256(kept_in(directory / "captured")),
        "kept": sha256(kept_in(directory / "kept")),
        "given": sha256(server.log_of("clip")),
    }
    assert len(set(digests.values())) == 1, digests
    # Nothing is lost and nothing is broken: as many pictures, and as much sound, as the clip itself has.
    assert frames_of(copy) == clip.frames
    assert frames_of(url_of(server, "clip")) == clip.frames
