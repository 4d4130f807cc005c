"""Origin, Consumer and the ``sdp`` command as processes: what they deliver, what they say, and how they leave."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.system.processes import ROOT, Process, eventually, twistd

pytestmark = pytest.mark.system

av = pytest.importorskip("av", reason="the Origin needs PyAV")

SMALL = ("--size", "160x120", "--rate", "30")


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A second and a half of video."""
    file = tmp_path / "clip.mp4"
    with av.open(str(file), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(45):
            frame = av.VideoFrame(160, 120, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes([number]) * plane.buffer_size)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Any:
    """Start commands; what still runs at the test's end is ended."""

    def begin(*argv: str | Path, **environment: Any) -> Process:
        process = Process(*argv, **environment)
        request.addfinalizer(process.stop)
        return process

    return begin


def origin(port: int, name: str, *options: str | Path) -> tuple[str | Path, ...]:
    return (twistd(), "-n", "--pidfile=", "sdp-origin", "--to", f"http://127.0.0.1:{port}/{name}", *options)


def consumer(port: int, name: str, output: str | Path) -> tuple[str | Path, ...]:
    url = f"http://127.0.0.1:{port}/{name}"
    return (twistd(), "-n", "--pidfile=", "sdp-consumer", "--from", url, "--output", output)


def stored(directory: Path) -> bytes:
    [file] = directory.rglob("*.mp4")
    return file.read_bytes()


def size_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def grows(file: Path) -> None:
    """Wait for more of a copy."""
    before = size_of(file)
    eventually(lambda: size_of(file) > before + 10_000, "more of the copy")


def test_a_finite_source_is_delivered_and_copied_to_its_last_byte(distributor, name, run, tmp_path, clip):
    copying = run(*consumer(distributor.port, name, tmp_path / "copy"))
    posting = run(*origin(distributor.port, name, "--source", clip, "--store", tmp_path / "store"))
    assert posting.wait() == 0, posting.lines
    assert copying.wait() == 0, copying.lines
    copy = (tmp_path / "copy").read_bytes()
    assert copy == stored(tmp_path / "store") == distributor.log_of(name)
    assert distributor.describe(name)["state"] == "ended"
    with av.open(str(tmp_path / "copy")) as container:
        assert sum(1 for _ in container.decode(video=0)) == 45
    assert posting.faults() == copying.faults() == []


def test_a_source_that_cannot_be_opened_is_one_line_and_a_status(distributor, name, run, tmp_path):
    posting = run(*origin(distributor.port, name, "--source", tmp_path / "absent.mp4", "--store", "none"))
    assert posting.wait() == 1
    assert sum("absent.mp4" in line for line in posting.lines) == 1
    assert posting.faults() == []


def test_an_origin_that_is_told_to_end_delivers_what_it_has_and_leaves_the_epoch_open(distributor, name, run, tmp_path):
    posting = run(*origin(distributor.port, name, *SMALL, "--store", tmp_path / "store"))
    posting.wait_for("Publishing")
    eventually(lambda: distributor.call("HEAD", f"/{name}").end > 20_000, "some video")
    posting.terminate()
    posting.wait()
    assert posting.faults() == []
    assert stored(tmp_path / "store") == distributor.log_of(name)
    assert distributor.describe(name)["state"] != "ended"


def test_an_origin_in_the_background(distributor, name, run, tmp_path):
    pid_file, log = tmp_path / "pid", tmp_path / "log"
    url = f"http://127.0.0.1:{distributor.port}/{name}"
    options = ("--to", url, *SMALL, "--store", tmp_path / "store")
    starting = run(twistd(), f"--pidfile={pid_file}", f"--logfile={log}", "sdp-origin", *options)
    assert starting.wait() == 0
    pid = int(eventually(lambda: pid_file.exists() and pid_file.read_text(), "the PID file"))
    try:
        eventually(lambda: distributor.call("HEAD", f"/{name}").end > 20_000, "some video")
    finally:
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not pid_file.exists(), "its end")
    assert "Traceback" not in log.read_text()


def test_a_second_origin_is_told_of_the_first_and_waits(distributor, name, run):
    first = run(*origin(distributor.port, name, *SMALL, "--store", "none"))
    first.wait_for("Publishing")
    second = run(*origin(distributor.port, name, *SMALL, "--store", "none"))
    second.wait_for("trying again")
    epoch = distributor.describe(name)["epoch"]
    first.kill()
    second.wait_for("Publishing")
    assert distributor.describe(name)["epoch"] != epoch


def test_everything_goes_on_over_the_distributor_s_sudden_death(start, name, run, tmp_path):
    server = start(store=tmp_path / "distributor")
    port = server.port
    copying = run(*consumer(port, name, tmp_path / "copy"))
    # A busy machine takes its time to start a Distributor: by itself the Origin would then leave a hole for later.
    order = ("--after-outage", "oldest")
    posting = run(*origin(port, name, *SMALL, *order, "--store", tmp_path / "origin"))
    for _ in range(2):
        grows(tmp_path / "copy")
        server.kill()
        server = start(store=tmp_path / "distributor", port=port)
    grows(tmp_path / "copy")
    posting.terminate()
    posting.wait()
    captured = stored(tmp_path / "origin")
    eventually(lambda: size_of(tmp_path / "copy") == len(captured), "the rest of the copy")
    assert (tmp_path / "copy").read_bytes() == captured
    assert posting.faults() == copying.faults() == []


def test_a_recorder_that_is_killed_goes_on_where_it_was(distributor, name, run, tmp_path):
    posting = run(*origin(distributor.port, name, *SMALL, "--store", tmp_path / "origin"))
    posting.wait_for("Publishing")
    for _ in range(2):
        copying = run(*consumer(distributor.port, name, tmp_path / "copy"))
        grows(tmp_path / "copy")
        copying.kill()
    posting.terminate()
    posting.wait()
    captured = stored(tmp_path / "origin")
    assert captured.startswith((tmp_path / "copy").read_bytes())
    distributor.finish(name, len(captured))
    assert run(*consumer(distributor.port, name, tmp_path / "copy")).wait() == 0
    assert (tmp_path / "copy").read_bytes() == captured


def test_a_copy_on_standard_output_is_the_stream_and_nothing_else(distributor, name):
    distributor.post(name, 0, b"\x00\xffhello", {"Content-Type": "text/plain"}, complete=7)
    done = subprocess.run(
        [str(each) for each in consumer(distributor.port, name, "-")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, b"\x00\xffhello")
    assert b"The copy is complete" in done.stderr


@pytest.mark.parametrize("command", ["sdp-origin", "sdp-consumer"])
def test_a_mistake_in_the_options_is_one_line_and_a_status(run, command):
    process = run(twistd(), "-n", "--pidfile=", command, "--nonsense")
    assert process.wait() == 1
    assert [line for line in process.lines if line.startswith(f"{command}: ")] == process.lines


SDP = (sys.executable, "-c", "from sdp.cli import main; main()")


def test_the_demo_shows_what_it_started_and_ends_all_of_it(run):
    demo = run(*SDP, "demo", "--size", "160x120", "--port", str(free_port()), "--seconds", "7")
    line = demo.wait_for("/-/watch/demo")
    assert "http://127.0.0.1:" in line
    line = demo.wait_for(r"demo: live.*capture to consumer [0-9.]+ ms")
    directory = Path(line.rsplit(" in ", 1)[1])
    assert demo.wait() == 0
    assert not directory.exists()
    assert demo.faults() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_demo_ends_on_a_signal(run, number):
    demo = run(*SDP, "demo", "--size", "160x120", "--port", str(free_port()))
    directory = Path(demo.wait_for("demo: live").rsplit(" in ", 1)[1])
    demo.process.send_signal(number)
    assert demo.wait() == 0
    assert not directory.exists()
    assert demo.faults() == []


def test_the_demo_tells_why_a_child_died(run, tmp_path):
    demo = run(*SDP, "demo", str(tmp_path / "absent.mp4"), "--port", str(free_port()))
    assert demo.wait() == 1
    assert any("sdp-origin ended with 1" in line for line in demo.lines)
    assert any("absent.mp4" in line for line in demo.lines)


def test_status_and_record_at_a_terminal(distributor, name, run, tmp_path):
    distributor.post(name, 0, b"hello", {"Content-Type": "text/plain"}, complete=5)
    base = f"http://127.0.0.1:{distributor.port}"
    status = run(*SDP, "status", base, COLUMNS="200")
    assert status.wait() == 0
    assert any(name in line and "ended" in line for line in status.lines)
    status = run(*SDP, "status", f"{base}/absent")
    assert status.wait() == 1
    recording = run(*SDP, "record", f"{base}/{name}", tmp_path / "copy")
    assert recording.wait() == 0
    assert (tmp_path / "copy").read_bytes() == b"hello"
    status = run(*SDP, "status", f"http://127.0.0.1:{free_port()}")
    assert status.wait() == 1
    assert any("cannot be reached" in line for line in status.lines)


def test_the_command_starts_quickly_and_without_what_it_does_not_need():
    said = subprocess.run(
        [sys.executable, "-c", "import sys, sdp.cli; print(*sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(said.stdout.split())
    assert "sdp.cli" in modules
    assert modules.isdisjoint({"av", "twisted.internet.reactor", "rich.console", "numpy"})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
