"""A real browser for the system tests: Chromium without a window, and a player in one of its pages."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.system.processes import eventually
from tests.system.programs import need

LIMIT = 60_000
"""How long a page may take for anything, in ms."""

ELSEWHERE = "elsewhere.example"
"""A name of this machine that a browser does not know for one: its pages are no secure context."""

_OPTIONS = (
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-gpu",
    f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
)

_UNREACHABLE = ("net::ERR_", "404 (Not Found)")
"""What the console says of a Distributor that is away, or has not got its stream back yet."""


@contextmanager
def chromium() -> Iterator[Any]:
    """The browser; a test without Playwright or Chromium is skipped."""
    api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed: pip install playwright")
    program = need("chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(_OPTIONS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def page_of(browser: Any, *, outage: bool = False, **context: Any) -> Iterator[Any]:
    """A page of its own, in which no script fails and nothing is missing, but for what an ``outage`` takes away."""
    opened = browser.new_context(**context)
    page = opened.new_page()
    page.set_default_timeout(LIMIT)
    wrong: list[str] = []

    def heard(message: Any) -> None:
        if message.type == "error" and not (outage and any(each in message.text for each in _UNREACHABLE)):
            wrong.append(f"{message.text} ({message.location})")

    page.on("pageerror", lambda error: wrong.append(error.stack or str(error)))
    page.on("console", heard)
    try:
        yield page
    finally:
        opened.close()
    assert wrong == []


def until(page: Any, condition: str, argument: object = None) -> Any:
    """Wait until a function of the page's script gives something true, and return it."""
    return page.wait_for_function(condition, arg=argument, timeout=LIMIT, polling=50).json_value()


class Player:
    """The first ``sdp-player`` of a page."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def do(self, script: str) -> Any:
        """What a script gives that has the element as ``player``."""
        return self.page.evaluate(f"() => {{ const player = document.querySelector('sdp-player'); return {script}; }}")

    def until(self, condition: str, argument: object = None) -> dict[str, Any]:
        """Wait for a condition on the player's statistics ``s``, ``player`` and ``arg``; return the statistics."""
        found: dict[str, Any] = until(
            self.page,
            "(arg) => { const player = document.querySelector('sdp-player'); const s = player?.statistics;"
            f" return s && ({condition}) ? s : null; }}",
            argument,
        )
        return found

    def plays(self, seconds: float = 0.6) -> dict[str, Any]:
        """Wait until what it shows is so much further in the stream; return the statistics."""
        before = self.until("s.shown !== null")["shown"]["time"]
        return self.until("s.shown !== null && s.shown.time >= arg", before + seconds)

    def stamp(self) -> dict[str, Any]:
        """What the strip in the picture on the canvas says, with the statistics of the same moment."""
        found = eventually(self._stamp, "a picture with a stamp")
        assert found is not None
        return found

    def _stamp(self) -> dict[str, Any] | None:
        found: dict[str, Any] | None = self.page.evaluate(
            """async () => {
                const { readStamp, stripSize } = await import("/-/assets/stamp.js");
                const player = document.querySelector("sdp-player");
                const { canvas } = player;
                const [columns, lines] = stripSize(canvas.width, canvas.height);
                const pixels = canvas.getContext("2d").getImageData(0, 0, columns, lines).data;
                const found = readStamp(pixels, columns, canvas.width, canvas.height);
                return found && { ...found, statistics: player.statistics };
            }"""
        )
        return found
