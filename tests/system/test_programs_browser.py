"""Chromium: the pages at / and /-/watch/NAME play what is live, and what has ended."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.system.conftest import Clip, Live
from tests.system.processes import Distributor
from tests.system.programs import finished, need

pytestmark = pytest.mark.system

LIMIT = 40_000
"""How long a page may take for anything, in ms."""

PLAYED = """([selector, seconds]) => {
    const video = document.querySelector(selector);
    if (video === null) return false;
    if (video.error !== null) return `error ${video.error.code}: ${video.error.message}`;
    window.began ??= video.currentTime || undefined;
    return video.currentTime - window.began >= seconds && video.videoWidth > 0 && !video.paused;
}"""
"""Whether the video has played for so long, by its own clock."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    program = need("chromium")
    with api.sync_playwright() as playwright:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required", "--disable-gpu"]
        chromium = playwright.chromium.launch(executable_path=program, args=options)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of its own, in which no script fails and nothing is missing."""
    context = browser.new_context()
    opened = context.new_page()
    wrong: list[str] = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    yield opened
    context.close()
    assert wrong == []


def plays(page: Any, selector: str, seconds: float = 1.5) -> None:
    """Wait until the video has played for so long."""
    found = page.wait_for_function(PLAYED, arg=[selector, seconds], timeout=LIMIT, polling=100).json_value()
    assert found is True, found


def test_the_first_page_shows_what_is_live(live: Live, page: Any) -> None:
    page.goto(f"http://127.0.0.1:{live.server.port}/")
    plays(page, "#preview")
    assert page.locator("#streams .stream").count() >= 2
    assert "/mp4" in page.evaluate("document.querySelector('#preview').currentSrc")


def test_the_player_plays_what_is_live(live: Live, page: Any) -> None:
    page.goto(f"http://127.0.0.1:{live.server.port}/-/watch/mp4")
    plays(page, "#video")
    assert page.locator("#message").is_hidden()


def test_a_stream_that_no_browser_decodes_is_explained(live: Live, page: Any) -> None:
    page.goto(f"http://127.0.0.1:{live.server.port}/-/watch/mpegts")
    page.locator("#message").wait_for(state="visible", timeout=LIMIT)
    assert "VLC" in page.locator("#message").inner_text()


def test_a_recording_that_no_browser_decodes_is_explained(
    stored: Distributor, name: str, clip: Clip, page: Any
) -> None:
    url = f"http://127.0.0.1:{stored.port}/{name}"
    sent = finished(need("ffmpeg"), "-v", "error", "-i", clip.file, "-c", "copy", "-f", "mpegts", "-method", "PUT", url)
    assert sent.returncode == 0, sent.stderr
    page.goto(f"http://127.0.0.1:{stored.port}/-/watch/{name}")
    page.locator("#message").wait_for(state="visible", timeout=LIMIT)
    assert "MPEG transport stream" in page.locator("#message").inner_text()
    assert "cannot be played here" in page.locator("#state").inner_text()


def test_a_recording_plays_and_seeks(stored: Distributor, name: str, clip: Clip, page: Any) -> None:
    url = f"http://127.0.0.1:{stored.port}/{name}"
    muxed = ("-f", "mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof")
    sent = finished(need("ffmpeg"), "-v", "error", "-i", clip.file, "-c", "copy", *muxed, "-method", "PUT", url)
    assert sent.returncode == 0, sent.stderr
    page.goto(f"http://127.0.0.1:{stored.port}/-/watch/{name}")
    plays(page, "#video", 0.5)
    page.evaluate("() => { document.querySelector('#video').currentTime = 3; window.began = 3; }")
    plays(page, "#video", 0.5)
    page.wait_for_function("() => document.querySelector('#video').ended", timeout=LIMIT, polling=100)
