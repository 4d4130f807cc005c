"""The ``sdp`` command, as a person at a terminal uses it: demo, status, record."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import Clip, Live
from tests.system.processes import Process
from tests.system.programs import environment, finished, first_packet, need, sdp, sha256

pytestmark = pytest.mark.system


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def test_the_demo_is_watched_and_recorded(run: Callable[..., Process], clip: Clip, tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install av")
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    demo = run(*sdp("demo", clip.file, "--port", str(port)), cwd=tmp_path)
    demo.wait_for(f"{base}/-/watch/demo")
    assert first_packet(f"{base}/demo")["flags"].startswith("K")
    status = finished(*sdp("status", base), env=environment(), cwd=tmp_path)
    assert status.returncode == 0
    assert b"demo" in status.stdout
    assert b"live" in status.stdout
    # A recorder that is stopped has what came so far, and goes on there the next time.
    copy = tmp_path / "copy.mp4"
    sizes: list[int] = []
    for _ in range(2):
        recorder = run(*sdp("record", f"{base}/demo", copy), cwd=tmp_path)
        recorder.wait_for("Copying epoch" if not sizes else "Going on with epoch")
        first_packet(f"{base}/demo")
        recorder.process.send_signal(signal.SIGINT)
        assert recorder.wait() == 130
        sizes.append(copy.stat().st_size)
    assert sizes[0] <= sizes[1]
    demo.process.send_signal(signal.SIGINT)
    assert demo.wait() == 0
    # Nothing of it is left: neither its processes nor its files.
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))
    assert {each.name for each in tmp_path.iterdir()} <= {"copy.mp4", "copy.mp4.sdp"}
    assert "Traceback" not in "\n".join(demo.lines)


def test_the_demo_ends_by_itself(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install av")
    result = finished(*sdp("demo", "--seconds", "1", "--size", "320x180"), env=environment(), cwd=tmp_path)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize(("arguments", "words"), [(["missing.mp4"], "missing.mp4"), (["--port", "{taken}"], "{taken}")])
def test_a_demo_that_cannot_be(tmp_path: Path, arguments: list[str], words: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        taken = str(listening.getsockname()[1])
        given = [each.format(taken=taken) for each in arguments]
        result = finished(*sdp("demo", *given), env=environment(), cwd=tmp_path)
    said = (result.stdout + result.stderr).decode()
    assert result.returncode not in (0, -15), said
    assert words.format(taken=taken) in said
    assert "Traceback" not in said


def test_a_recording_goes_to_standard_output(live: Live, run: Callable[..., Process], tmp_path: Path) -> None:
    """Its bytes alone: what is told goes to standard error."""
    url = live.url("given")
    sent = finished(
        *(need("curl"), "-sS", "-T", "-", "-H", "Content-Type: text/plain", url), data=b"a stream, whole\n" * 1000
    )
    assert sent.returncode == 0, sent.stderr
    result = finished(*sdp("record", url, "-"), env=environment(), cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout == b"a stream, whole\n" * 1000
    again = tmp_path / "copy"
    assert finished(*sdp("record", url, again), env=environment(), cwd=tmp_path).returncode == 0
    assert sha256(again) == sha256(result.stdout)


def test_status_names_one_stream(live: Live, tmp_path: Path) -> None:
    result = finished(*sdp("status", live.url("mp4")), env=environment(), cwd=tmp_path)
    assert result.returncode == 0
    assert b"live" in result.stdout
    assert b"bit/s" in result.stdout
    assert b"mpegts" not in result.stdout
