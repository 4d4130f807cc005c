"""Chromium: what has ended plays from the page, and what no browser plays is explained."""

from __future__ import annotations

from typing import Any

import pytest

from tests.system.browsing import until
from tests.system.conftest import Clip, Live
from tests.system.processes import Distributor
from tests.system.programs import finished, need

pytestmark = pytest.mark.system

PLAYED = """(seconds) => {
    const { video } = document.querySelector("sdp-player");
    if (video.error !== null) return `error ${video.error.code}: ${video.error.message}`;
    window.began ??= video.currentTime || undefined;
    return video.currentTime - window.began >= seconds && video.videoWidth > 0 && !video.paused;
}"""
"""Whether the video has played for so long, by its own clock."""


def test_a_stream_that_no_browser_decodes_is_explained(live: Live, page: Any) -> None:
    page.goto(f"http://127.0.0.1:{live.server.port}/-/watch/mpegts")
    page.locator("#message").wait_for(state="visible")
    assert "VLC" in page.locator("#message").inner_text()


def test_a_recording_that_no_browser_decodes_is_explained(
    stored: Distributor, name: str, clip: Clip, page: Any
) -> None:
    url = f"http://127.0.0.1:{stored.port}/{name}"
    sent = finished(need("ffmpeg"), "-v", "error", "-i", clip.file, "-c", "copy", "-f", "mpegts", "-method", "PUT", url)
    assert sent.returncode == 0, sent.stderr
    page.goto(f"http://127.0.0.1:{stored.port}/-/watch/{name}")
    page.locator("#message").wait_for(state="visible")
    assert "MPEG transport stream" in page.locator("#message").inner_text()
    assert "cannot be played here" in page.locator("#state").inner_text()


def test_a_recording_plays_and_seeks(stored: Distributor, name: str, clip: Clip, page: Any) -> None:
    url = f"http://127.0.0.1:{stored.port}/{name}"
    muxed = ("-f", "mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof")
    sent = finished(need("ffmpeg"), "-v", "error", "-i", clip.file, "-c", "copy", *muxed, "-method", "PUT", url)
    assert sent.returncode == 0, sent.stderr
    page.goto(f"http://127.0.0.1:{stored.port}/-/watch/{name}")
    assert until(page, PLAYED, 0.5) is True
    page.evaluate("() => { document.querySelector('sdp-player').video.currentTime = 3; window.began = 3; }")
    assert until(page, PLAYED, 0.5) is True
    until(page, "() => document.querySelector('sdp-player').video.ended")
