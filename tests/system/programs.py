"""What people have on their machines: found, or the test is skipped with what to install; and SDP's own commands."""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.system.client import LIMIT
from tests.system.processes import ROOT, eventually, twistd

PATIENCE = 60.0
"""How long a foreign program may take for what lasts a few seconds, before it counts as hanging."""

SOON = ("-analyzeduration", "1000000")
"""For live streams: in MPEG-TS ffmpeg looks for more tracks for five seconds, unless it is told to look for less."""

_PACKAGES = {
    "Xvfb": "xvfb",
    "chromium": "chromium",
    "curl": "curl",
    "cvlc": "vlc-bin vlc-plugin-base",
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    "mpv": "mpv",
    "nginx": "nginx-light",
}

FRAMES = 132
"""How many pictures the clip that is made here has: five seconds and a quarter."""


def need(program: str) -> str:
    """The program's path; where it is missing, the test is skipped."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if found is None:
        pytest.skip(f"{program} is not installed; on Debian: apt-get install {_PACKAGES[program]}")
    return found


def finished(
    *argv: str | Path, data: bytes | None = None, timeout: float = PATIENCE, **options: Any
) -> subprocess.CompletedProcess[bytes]:
    """Run a program to its end, with ``data`` on its standard input."""
    given: dict[str, Any] = {"stdin": subprocess.DEVNULL} if data is None else {"input": data}
    return subprocess.run([str(each) for each in argv], capture_output=True, timeout=timeout, **given, **options)


# -- SDP's own commands ----------------------------------------------------------------------------------------


def in_foreground(command: str, *options: str | Path) -> list[str]:
    """``twistd -n`` with one of SDP's commands."""
    return [twistd(), "-n", "--pidfile=", f"sdp-{command}", *map(str, options)]


def sdp(*arguments: str | Path) -> list[str]:
    """The ``sdp`` command, from the tree under test."""
    return [sys.executable, "-c", "import sys; from sdp.cli import main; main(prog_name='sdp')", *map(str, arguments)]


def environment() -> dict[str, str]:
    """What a command needs to find the tree under test."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


_SET_CHILD_SUBREAPER = 36  # prctl(2)


def _children() -> set[int]:
    """The processes whose parent this one is, ended ones that were not waited for among them."""
    return {int(each) for task in Path("/proc/self/task").iterdir() for each in (task / "children").read_text().split()}


def _started(pid: int) -> tuple[int, int]:
    """When a process began, for the order (proc_pid_stat(5))."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]), pid


class Service:
    """One of SDP's commands as a background service: ``twistd`` without ``-n``.

    It is adopted by this process (a subreaper, prctl(2)), so that its exit status can be seen.
    """

    def __init__(self, directory: Path, command: str, *options: str | Path) -> None:
        self.log_file = directory / f"{command}.log"
        self.pid_file = directory / f"{command}.pid"
        own = [f"--pidfile={self.pid_file}", f"--logfile={self.log_file}", f"--rundir={directory}"]
        before = _children()
        prctl = ctypes.CDLL(None, use_errno=True).prctl
        assert prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
        try:
            # Nothing is captured: a background process that kept a pipe open would be waited for.
            self.begun = subprocess.run(
                [twistd(), *own, f"sdp-{command}", *map(str, options)],
                env=environment(),
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=PATIENCE,
            ).returncode
        finally:
            prctl(_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        self.status: int | None = None
        # To leave its terminal it forks twice: the one between ended at once, the last is the service.
        *between, self.pid = sorted(_children() - before, key=_started)
        for pid in between:
            os.waitpid(pid, 0)

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def said(self, pattern: str) -> re.Match[str]:
        """Wait until its log has what matches."""
        found = eventually(lambda: re.search(pattern, self.log()), f"{pattern!r} in the log")
        assert found is not None
        return found

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end, and return its exit status (negative: the signal)."""
        if self.status is None:
            pidfd = os.pidfd_open(self.pid)
            try:
                ready, _, _ = select.select([pidfd], [], [], timeout)
            finally:
                os.close(pidfd)
            assert ready, f"still running:\n{self.log()}"
            self.status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        return self.status

    def terminate(self) -> int:
        """Ask it to end, wait, and return its exit status."""
        if self.status is None:
            os.kill(self.pid, signal.SIGTERM)
            try:
                self.wait(LIMIT)
            except AssertionError:
                os.kill(self.pid, signal.SIGKILL)
                self.wait()
                raise
        assert self.status is not None
        return self.status


# -- media -----------------------------------------------------------------------------------------------------


def frames_of(source: str | Path, *options: str) -> dict[str, int]:
    """Decode all of it with ffprobe, held to find nothing wrong; how many frames of each kind there are."""
    result = finished(
        *(need("ffprobe"), "-v", "error", *options, "-count_frames", "-of", "json"),
        *("-show_entries", "stream=codec_type,nb_read_frames", source),
    )
    assert result.stderr == b"", result.stderr[:2000]
    assert result.returncode == 0
    return {each["codec_type"]: int(each["nb_read_frames"]) for each in json.loads(result.stdout)["streams"]}


def first_packet(url: str) -> dict[str, Any]:
    """The first video packet that a stream begins with, as ffprobe sees it."""
    result = finished(
        *(need("ffprobe"), "-v", "error", *SOON, "-select_streams", "v", "-read_intervals", "%+#1", "-of", "json"),
        *("-show_entries", "packet=pts_time,flags", url),
    )
    assert result.stderr == b"", result.stderr[:2000]
    packet: dict[str, Any] = json.loads(result.stdout)["packets"][0]
    return packet


def keys_of(file: Path) -> list[float]:
    """The times of a file's key frames, in seconds."""
    result = finished(
        *(need("ffprobe"), "-v", "error", "-select_streams", "v", "-of", "json"),
        *("-show_entries", "packet=pts_time,flags", file),
    )
    assert result.stderr == b"", result.stderr[:2000]
    packets = json.loads(result.stdout)["packets"]
    return sorted(float(packet["pts_time"]) for packet in packets if packet["flags"].startswith("K"))


def sha256(data: bytes | Path) -> str:
    return hashlib.sha256(data if isinstance(data, bytes) else data.read_bytes()).hexdigest()


def kept_in(store: Path) -> bytes:
    """All bytes of the only epoch in a store: its content files are named by their offsets."""
    (epoch,) = {file.parent for file in store.rglob("epoch.json")}
    return b"".join(file.read_bytes() for file in sorted(epoch.iterdir()) if file.suffix not in (".index", ".json"))


def make_clip(file: Path) -> Path:
    """A clip of :data:`FRAMES` pictures at 25 a second, H.264 and AAC in MP4."""
    av = pytest.importorskip("av", reason="PyAV is not installed: pip install av")
    with av.open(str(file), "w") as container:
        video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast", "g": "25"})
        video.width, video.height, video.pix_fmt = 320, 180, "yuv420p"
        sound = container.add_stream("aac", rate=48_000)
        sound.layout = "stereo"
        for number in range(FRAMES):
            frame = av.VideoFrame(320, 180, "yuv420p")
            for at, plane in enumerate(frame.planes):
                row = bytes((x * (at + 1) + number * 7) % 256 for x in range(plane.line_size))
                plane.update(b"".join(row[y % 64 :] + row[: y % 64] for y in range(plane.height)))
            frame.pts, frame.time_base = number, Fraction(1, 25)
            container.mux(video.encode(frame))
        for number in range(FRAMES * 1920 // 1024):
            frame = av.AudioFrame("fltp", "stereo", 1024)
            frame.sample_rate, frame.pts, frame.time_base = 48_000, number * 1024, Fraction(1, 48_000)
            for plane in frame.planes:
                plane.update(bytes(plane.buffer_size))
            container.mux(sound.encode(frame))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return file
