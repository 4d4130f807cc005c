"""mpv and VLC, without a screen: what is live from a random access point on, and what has ended to its last frame."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import Clip, Live
from tests.system.processes import Distributor, Process, eventually
from tests.system.programs import finished, need

pytestmark = pytest.mark.system

CONTAINERS = pytest.mark.parametrize("container", ["mp4", "mpegts"])

UNPRIVILEGED = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
"""VLC refuses to run as root."""


def mpv(*arguments: str) -> None:
    """Run mpv to its end, held to have nothing to complain of."""
    result = finished(need("mpv"), "--no-config", "--vo=null", "--ao=null", "--msg-level=all=warn", *arguments)
    assert result.stdout + result.stderr == b""
    assert result.returncode == 0


def vlc(*arguments: str) -> list[str]:
    """The command that plays with VLC, as another user where this one is root."""
    before = UNPRIVILEGED if os.geteuid() == 0 else ()
    options = ("--intf", "dummy", "--vout", "dummy", "--aout", "dummy", "--no-video-title-show", "--play-and-exit")
    return [*before, need("cvlc"), "-vv", *options, *arguments]


@pytest.fixture
def ended(stored: Distributor, name: str, clip: Clip) -> str:
    """The URL of the clip as a stream that has ended."""
    url = f"http://127.0.0.1:{stored.port}/{name}"
    muxed = ("-f", "mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof")
    result = finished(need("ffmpeg"), "-v", "error", "-i", clip.file, "-c", "copy", *muxed, "-method", "PUT", url)
    assert result.returncode == 0, result.stderr
    return url


@CONTAINERS
def test_mpv_plays_what_is_live(live: Live, container: str) -> None:
    mpv("--frames=40", live.url(container))


def test_mpv_plays_a_recording_and_seeks_in_it(ended: str) -> None:
    mpv("--untimed", "--no-audio", ended)
    mpv("--untimed", "--no-audio", "--start=3", ended)


@CONTAINERS
def test_vlc_plays_what_is_live(live: Live, run: Callable[..., Process], container: str) -> None:
    player = run(*vlc(live.url(container)), cwd=Path("/"), HOME="/nonexistent")
    player.wait_for("Received first picture")
    before = len(player.lines)
    # It is still there when some seconds have been sent, and has found nothing wrong with them.
    end = live.server.call("HEAD", f"/{container}").end
    eventually(lambda: live.server.call("HEAD", f"/{container}").end > end + 150_000, "more of the stream")
    assert player.process.poll() is None
    # A picture that a busy machine shows late is no fault; sound that lies seconds before the picture is one.
    wrong = r"EOF reached|decoder error|demux error|buffer too late \(-[0-9]{7,}"
    assert [line for line in player.lines[before:] if re.search(wrong, line)] == []


def test_vlc_plays_a_recording_to_its_end(ended: str, run: Callable[..., Process]) -> None:
    player = run(*vlc(ended, "vlc://quit"), cwd=Path("/"), HOME="/nonexistent")
    player.wait_for("Received first picture")
    assert player.wait(30) == 0
    assert any("EOF reached" in line for line in player.lines)
