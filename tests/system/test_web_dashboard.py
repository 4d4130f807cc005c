"""The dashboard at ``/``, in Chromium: what there is, as it is now, with a picture; and no more asked than is seen."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.system.browsing import until
from tests.system.conftest import Live
from tests.system.processes import Distributor, eventually

pytestmark = pytest.mark.system

STAMP = """async (name) => {
    const { readStamp } = await import("/-/assets/stamp.js");
    const canvas = document.querySelector(`[data-name="${name}"] .thumbnail canvas`);
    const pixels = canvas?.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    return pixels && readStamp(pixels, canvas.width, 320, 180);
}"""


def newer(page: Any, name: str, frame: int) -> int:
    """Wait for a thumbnail that is newer than a frame; its number."""

    def found() -> int | None:
        seen = page.evaluate(STAMP, name)
        return int(seen["frame"]) if seen and seen["frame"] > frame else None

    number = eventually(found, f"a thumbnail of {name}")
    assert number is not None
    return number


def test_each_stream_has_a_card_with_its_newest_picture(live: Live, page: Any) -> None:
    page.goto(f"http://127.0.0.1:{live.server.port}/")
    newer(page, "mp4", newer(page, "mp4", 0))
    card = page.locator('[data-name="mp4"]')
    assert card.locator(".word").inner_text() == "live"
    assert "bit/s" in card.locator(".bit-rate").inner_text()
    until(page, """() => document.querySelector('[data-name="mp4"] .latency').innerText.endsWith('ms')""")
    # What no browser decodes has a card as well.
    until(page, """() => document.querySelector('[data-name="mpegts"]').classList.contains('without')""")


def test_a_consumer_is_counted_and_its_lag_shown(live: Live, page: Any) -> None:
    page.goto(f"http://127.0.0.1:{live.server.port}/")
    with live.server.peer() as consumer:
        consumer.send(b"GET /mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(page, """() => Number(document.querySelector('[data-name="mp4"] .consumers').innerText) > 0""")
        until(page, """() => / m?s$/.test(document.querySelector('[data-name="mp4"] .lag').innerText)""")


def test_it_follows_what_comes_and_goes(distributor: Distributor, name: str, page: Any) -> None:
    page.goto(f"http://127.0.0.1:{distributor.port}/")
    card = page.locator(f'[data-name="{name}"]')
    assert card.count() == 0
    distributor.post(name, 0, b"x" * 100, {"Content-Type": "text/plain"})
    card.wait_for(state="visible")
    assert card.locator(".plain").inner_text() == f"http://127.0.0.1:{distributor.port}/{name}"
    distributor.finish(name, 100)
    card.get_by_text("ended").wait_for(state="visible")
    distributor.call("DELETE", f"/{name}")
    card.wait_for(state="detached")


def test_only_what_is_seen_is_fetched(distributor: Distributor, page: Any) -> None:
    names = [f"many/{number:02}" for number in range(40)]
    for each in names:
        distributor.post(each, 0, b"x", {"Content-Type": "text/plain"})
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).path))
    page.goto(f"http://127.0.0.1:{distributor.port}/")
    until(page, "() => document.querySelectorAll('.stream.without').length >= 3")
    assert f"/-/records/{names[0]}" in asked
    assert f"/-/records/{names[-1]}" not in asked
    with page.expect_request(lambda request: urlsplit(request.url).path == f"/-/records/{names[-1]}"):
        page.locator(f'[data-name="{names[-1]}"]').scroll_into_view_if_needed()


def test_from_a_card_to_its_player(live: Live, page: Any) -> None:
    page.goto(f"http://127.0.0.1:{live.server.port}/")
    page.get_by_role("link", name="mp4", exact=True).click()
    until(page, "() => document.querySelector('sdp-player')?.statistics?.shown")
