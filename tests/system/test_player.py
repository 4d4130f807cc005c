"""The native player as people run it: headless, in a window that is looked at, and with a loudspeaker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from sdp.media.stamp import Stamp, read_stamp
from tests.container.framing_checks import frame
from tests.container.media import fragmented
from tests.system.conftest import Live
from tests.system.processes import Distributor, Process, eventually
from tests.system.programs import PATIENCE, finished, in_foreground, need, sdp
from tests.system.proxy import Line

pytest.importorskip("av", reason="PyAV is not installed: pip install av")
pytestmark = pytest.mark.system

Run = Callable[..., Process]
SCREEN = (800, 600)
PICTURE = (320, 180)
MOST_LIP = 40.0
"""Milliseconds by which sound and picture may be apart."""

needs_sdl = pytest.mark.skipif(
    find_spec("sdl2") is None, reason="PySDL2 is not installed: pip install PySDL2 pysdl2-dll"
)


class Watched:
    """A player that tells its statistics, and the newest of them."""

    def __init__(self, process: Process) -> None:
        self.process = process

    def told(self, member: str = "state") -> list[dict[str, Any]]:
        """The lines that have this member, oldest first."""
        lines = [json.loads(line) for line in list(self.process.lines) if line.startswith("{")]
        return [line for line in lines if member in line]

    def until(self, what: str, holds: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait until the newest statistics are as wanted, and return them."""

        def look() -> dict[str, Any] | None:
            assert self.process.process.poll() is None, "\n".join(self.process.lines)
            told = self.told()
            return told[-1] if told and holds(told[-1]) else None

        found = eventually(look, what, PATIENCE)
        assert found is not None
        return found

    def plays(self, after: dict[str, Any] | None = None) -> dict[str, Any]:
        """Wait until it plays, at its target, and has shown some more pictures."""
        least = 25 + (0 if after is None else after["shown"])

        def holds(told: dict[str, Any]) -> bool:
            near = told["delay_ms"] is not None and told["delay_ms"] < 2 * told["target_ms"] + 100
            return told["state"] == "playing" and told["shown"] >= least and near

        return self.until("to play", holds)


@pytest.fixture
def screen() -> Iterator[str]:
    """A screen that nobody sees, by its name."""
    reading, writing = os.pipe()
    size = f"{SCREEN[0]}x{SCREEN[1]}x24"
    with subprocess.Popen(
        [need("Xvfb"), "-displayfd", str(writing), "-screen", "0", size, "-nolisten", "tcp"],
        pass_fds=(writing,),
        stderr=subprocess.DEVNULL,
    ) as server:
        os.close(writing)
        with os.fdopen(reading) as told:
            number = told.readline().strip()
        assert number, "Xvfb does not begin"
        yield f":{number}"
        server.terminate()


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_headless_it_tells_how_late_each_picture_is(live: Live, run: Run, container: str) -> None:
    """By either command, out of either container."""
    url = live.url(container)
    command = (
        sdp("play", "--headless", url) if container == "mp4" else in_foreground("player", "--headless", "--from", url)
    )
    player = Watched(run(*command))
    told = player.plays()
    assert told["stamped"] >= told["shown"] > 0
    assert 0 < told["to_decoded_ms"]["p50"] <= told["glass_to_glass_ms"]["max"]
    assert told["clock_error_ms"] is not None
    assert abs(told["clock_offset_ms"]) <= told["clock_error_ms"] + 5  # it is the same clock
    assert 0.95 <= told["rate"] <= 1.05
    assert told["bit_rate"] > 10_000
    player.process.terminate()
    assert player.process.wait() in (0, -15)  # twistd leaves by the signal
    assert player.process.faults() == []


def test_it_comes_through_a_stall_a_cut_and_a_restart(
    start: Callable[..., Distributor], run: Run, tmp_path: Path
) -> None:
    """And is at its target after each; the process, and so the last picture, is there all the time."""
    server = start(store=tmp_path / "store")
    line = Line(server.port)
    try:
        url = f"http://127.0.0.1:{server.port}/pattern"
        run(*in_foreground("origin", "--to", url, "--store", "none", "--size", "320x180", "--rate", "25"))
        player = Watched(run(*sdp("play", "--headless", f"http://127.0.0.1:{line.port}/pattern")))
        told = player.plays()
        line.stall()
        player.until("three seconds of stall", lambda told: told["state"] == "stalled" and told["delay_ms"] > 3000)
        line.resume()
        after = player.plays(told)
        assert after["stalls"] > told["stalls"]
        line.cut()
        after = player.plays(after)
        server.kill()
        player.until("a stall", lambda told: told["state"] == "stalled")
        start(store=tmp_path / "store", port=server.port)
        player.plays(after)
        player.process.terminate()
        assert player.process.wait() == 0
        assert player.process.faults() == []
    finally:
        line.close()


def test_what_has_ended_is_played_to_its_end_and_kept(
    distributor: Distributor, run: Run, name: str, tmp_path: Path
) -> None:
    data = fragmented()
    assert distributor.post(name, 0, data, {"Content-Type": "video/mp4"}, complete=len(data)).status == 201
    kept = tmp_path / "kept.mp4"
    url = f"http://127.0.0.1:{distributor.port}/{name}"
    player = Watched(run(*sdp("play", "--headless", "--record", kept, url)))
    assert player.process.wait() == 0
    [*_, told] = player.told()
    assert told["shown"] + told["dropped"] + told["passed"] == 30
    assert kept.read_bytes() == data
    again = finished(*sdp("play", "--headless", "--record", kept, url))
    assert again.returncode == 1
    assert b"exists already" in again.stderr


def test_a_live_stream_that_ends_is_played_to_its_end_and_no_further(
    distributor: Distributor, run: Run, name: str
) -> None:
    """Not its beginning, which was skipped and would be sent as well."""
    data = fragmented(audio=None)
    records = frame(data, [len(data)])
    cut = records[19].offset  # the initialization segment and 18 pictures; the newest random access point is the 11th
    assert distributor.post(name, 0, data[:cut], {"Content-Type": "video/mp4"}).status == 201
    player = Watched(run(*sdp("play", "--headless", f"http://127.0.0.1:{distributor.port}/{name}")))
    player.until("a picture", lambda told: told["shown"] >= 1)
    assert distributor.post(name, cut, data[cut:], complete=len(data)).status == 204
    assert player.process.wait() == 0
    told = player.told()[-1]
    assert told["shown"] + told["dropped"] + told["passed"] == 20
    assert any("has ended" in line for line in player.process.lines)


def test_mistakes_are_told_in_a_sentence(distributor: Distributor, name: str) -> None:
    url = f"http://127.0.0.1:{distributor.port}/{name}"
    wrong = finished(*sdp("play", "--target", "soon", url))
    assert wrong.returncode == 2
    assert b"must be auto, or a number of milliseconds" in wrong.stderr
    without = "import sys; sys.modules['sdl2'] = None; from sdp.cli import main; main(prog_name='sdp')"
    missing = finished(sys.executable, "-c", without, "play", url)
    assert missing.returncode == 1
    assert b"pip install 'sdp-streaming[player]'" in missing.stderr
    assert distributor.post(name, 0, bytes(range(256)) * 4, complete=1024).status == 201
    unknown = finished(*sdp("play", "--headless", url))
    assert unknown.returncode == 1
    assert b"fragmented MP4" in unknown.stderr


def seen_on(screen: str) -> Stamp | None:
    """The clock and number in the picture that is in the middle of the screen."""
    size = f"{SCREEN[0]}x{SCREEN[1]}"
    grabbed = finished(
        *(need("ffmpeg"), "-v", "error", "-f", "x11grab", "-draw_mouse", "0", "-video_size", size, "-i", screen),
        *("-frames:v", "1", "-f", "rawvideo", "-pix_fmt", "gray", "-"),
    ).stdout
    left, top = ((whole - part) // 2 for whole, part in zip(SCREEN, PICTURE, strict=True))
    return read_stamp(memoryview(grabbed)[top * SCREEN[0] + left :], *PICTURE, SCREEN[0])


@needs_sdl
def test_the_window_shows_what_is_live(live: Live, run: Run, screen: str) -> None:
    environment = {"DISPLAY": screen, "SDL_VIDEODRIVER": "x11", "SDL_AUDIODRIVER": "dummy"}
    player = run(*sdp("play", live.url("mp4")), **environment)
    first = eventually(lambda: seen_on(screen), "a picture", PATIENCE)
    assert first is not None
    later = eventually(
        lambda: (now := seen_on(screen)) is not None and now.frame > first.frame + 25 and now, "another", PATIENCE
    )
    assert isinstance(later, Stamp)
    assert later.clock_us > first.clock_us
    player.terminate()
    assert player.wait() == 0
    assert player.faults() == []


@needs_sdl
def test_lips_and_keys(live: Live, run: Run, tmp_path: Path) -> None:
    """Flash and beep go together, live and in the past; what was to be heard was written by SDL's own driver."""
    sound = tmp_path / "sound.raw"
    player = Watched(
        run(
            *(sys.executable, "-m", "tests.system.player_driven", live.url("mp4")),
            stdin=subprocess.PIPE,
            SDL_VIDEODRIVER="dummy",
            SDL_AUDIODRIVER="disk",
            SDL_DISKAUDIOFILE=str(sound),
        )
    )
    keys = player.process.process.stdin
    assert keys is not None

    def press(key: str) -> None:
        keys.write(key + "\n")
        keys.flush()

    def together() -> bool:
        """Whether three flashes had their beeps; a picture that a busy machine showed late is judged as if in time."""
        return sum(abs(each["lip_ms"] + each["late_ms"]) < MOST_LIP for each in player.told("lip_ms")) >= 3

    told = player.plays()
    press("s")
    eventually(together, "lips that move with the sound", 2 * PATIENCE)
    press("LEFT")
    player.until("the past", lambda told: told["past"] > 2 and told["state"] == "playing")
    press("END")
    player.until("what is live", lambda now: now["past"] == 0 and now["shown"] > told["shown"])
    told = player.plays(told)
    press("SPACE")
    player.until("a pause", lambda told: len(player.told()) > 2 and told["shown"] == player.told()[-2]["shown"])
    press("f")
    press("m")
    press("q")
    keys.close()
    assert player.process.wait() == 0
    assert player.told("left")[-1]["left"] == 0
    assert player.process.faults() == []
    assert any(sound.read_bytes())
