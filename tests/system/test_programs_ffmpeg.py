"""ffmpeg and ffprobe: publishing as people do, and reading what is live and what has ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.system.conftest import Clip, Live
from tests.system.processes import Distributor, Process, eventually
from tests.system.programs import SOON, finished, first_packet, frames_of, need

pytestmark = pytest.mark.system

MPEGTS = ("-f", "mpegts")
FRAGMENTED = ("-f", "mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof")


@pytest.fixture
def url(stored: Distributor, name: str) -> str:
    return f"http://127.0.0.1:{stored.port}/{name}"


def publishing(clip: Clip, url: str, method: str, container: Sequence[str], *before: str) -> list[str]:
    """The command that publishes the clip as it is."""
    options = ("-hide_banner", "-nostats", "-loglevel", "warning", *before, "-i", str(clip.file), "-c", "copy")
    return [need("ffmpeg"), *options, *container, "-method", method, url]


@pytest.mark.parametrize("method", ["POST", "PUT"])
@pytest.mark.parametrize("container", [MPEGTS, FRAGMENTED], ids=["mpegts", "mp4"])
def test_a_clip_is_published_and_read_again(
    stored: Distributor, url: str, clip: Clip, method: str, container: Sequence[str]
) -> None:
    result = finished(*publishing(clip, url, method, container))
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""
    # It does not wait for the answer to its last chunk.
    name = url.rpartition("/")[2]
    eventually(lambda: stored.describe(name)["state"] == "ended", "the end")
    described = stored.describe(name)
    assert described["content_type"] == ("video/mp2t" if container is MPEGTS else "video/mp4")
    # ffmpeg knows the sound encoder's priming from the clip's edit list, and may leave that one frame out.
    frames = frames_of(url)
    assert frames["video"] == clip.frames["video"]
    assert clip.frames["audio"] - frames["audio"] in (0, 1)


@pytest.mark.parametrize("container", [MPEGTS, FRAGMENTED], ids=["mpegts", "mp4"])
def test_whoever_joins_in_the_middle_decodes_without_an_error(
    stored: Distributor, url: str, clip: Clip, run: Callable[..., Process], container: Sequence[str]
) -> None:
    """In real time, and again and again, from ffmpeg; decoded by another ffmpeg."""
    run(*publishing(clip, url, "POST", container, "-re", "-stream_loop", "-1"))
    name = url.rpartition("/")[2]
    # Somebody who is there from the start, in whose hands a second random access point has come, knows when to join.
    with stored.peer() as peer:
        peer.ask("GET", f"/{name}", {"Prefer": "wait=20"})
        assert peer.head().status == 200
        peer.exactly(clip.file.stat().st_size // 2)
    result = finished(need("ffmpeg"), "-v", "error", *SOON, "-i", url, "-frames:v", "30", "-f", "null", "-")
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""
    packet = first_packet(url)
    assert packet["flags"].startswith("K")


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_the_test_pattern_is_joined_at_a_random_access_point(live: Live, container: str) -> None:
    packet = first_packet(live.url(container))
    assert packet["flags"].startswith("K")
    assert float(packet["pts_time"]) > 1.0  # not the first one
    result = finished(
        *(need("ffmpeg"), "-v", "error", *SOON, "-i", live.url(container)),
        *("-frames:v", "40", "-frames:a", "40", "-f", "null", "-"),
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""


def test_a_live_stream_is_remuxed_into_a_file(live: Live, tmp_path: Path) -> None:
    file = tmp_path / "part.mp4"
    result = finished(need("ffmpeg"), "-v", "error", "-i", live.url("mp4"), "-c", "copy", "-t", "2", file)
    assert result.returncode == 0, result.stderr
    assert result.stderr == b""
    frames = frames_of(file)
    assert frames["video"] >= 45
    assert frames["audio"] >= 80


def test_a_publisher_that_is_stopped_leaves_a_stream_that_plays(
    start: Callable[..., Distributor], clip: Clip, run: Callable[..., Process], tmp_path: Path
) -> None:
    """On Ctrl-C it writes its trailer and ends its POST: the epoch ends with it."""
    server = start(store=tmp_path)
    url = f"http://127.0.0.1:{server.port}/cam"
    publisher = run(*publishing(clip, url, "POST", MPEGTS, "-re", "-stream_loop", "-1"))
    with server.peer() as peer:
        peer.ask("GET", "/cam", {"Prefer": "wait=20"})
        assert peer.head().status == 200
        peer.exactly(100_000)
        publisher.terminate()
        publisher.wait()
        # Its readers hear of the end as an end.
        peer.rest()
    eventually(lambda: server.describe("cam")["state"] == "ended", "the end")
    assert frames_of(url)["video"] > 0
