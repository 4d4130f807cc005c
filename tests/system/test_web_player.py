"""The browser's player, in Chromium: what it paints, hears and says, and how it gets over what happens to a network."""

from __future__ import annotations

import io
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.system.browsing import ELSEWHERE, Player, page_of, until
from tests.system.conftest import Live
from tests.system.processes import Distributor, Process, eventually
from tests.system.programs import in_foreground, need
from tests.system.proxy import Line

av = pytest.importorskip("av", reason="PyAV is not installed: pip install av")

pytestmark = pytest.mark.system

NEAR = "s.state === 'playing' && s.latency !== null && s.latency < 2 && s.delay - s.target < 0.25"
"""It is live again, and near its target."""


@pytest.fixture(scope="module")
def playing(live: Live, browser: Any) -> Iterator[Player]:
    """One page that plays the test pattern, for all tests that do it no harm: it costs seconds to begin."""
    with page_of(browser) as page:
        page.goto(f"http://127.0.0.1:{live.server.port}/-/watch/mp4")
        yield Player(page)


@pytest.fixture
def watched(playing: Player) -> Player:
    """The page that plays the test pattern, live and silent."""
    playing.until("s.shown !== null")
    playing.do("player.live(), player.muted = true, player.shadowRoot.activeElement?.blur()")
    playing.until("player.isLive && s.shown !== null")
    return playing


@pytest.fixture
def shaky(browser: Any) -> Iterator[Any]:
    """A page that may find its Distributor away."""
    with page_of(browser, outage=True) as opened:
        yield opened


def accounted(before: dict[str, Any], after: dict[str, Any]) -> int:
    """How many pictures have been painted, or left out by rule, between two that showed."""
    first, last = before["statistics"]["pictures"], after["statistics"]["pictures"]
    return sum(int(last[how] - first[how]) for how in ("painted", "late", "skipped"))


def published(live: Live, before: dict[str, Any], after: dict[str, Any]) -> int:
    """How many pictures the stream has after the first of these up to the second: a busy Origin leaves some out."""
    first, last = (seen["statistics"]["shown"]["time"] for seen in (before, after))
    with av.open(io.BytesIO(live.server.log_of("mp4"))) as container:
        times = [float(packet.pts * packet.time_base) for packet in container.demux(video=0) if packet.pts is not None]
    return sum(first + 0.001 < time < last + 0.001 for time in times)


def test_every_picture_is_painted_or_accounted_for(watched: Player, live: Live) -> None:
    watched.plays()
    first = watched.stamp()
    watched.plays(2)
    last = watched.stamp()
    assert last["frame"] > first["frame"]
    assert accounted(first, last) == published(live, first, last) > 0
    statistics = last["statistics"]
    assert statistics["kind"] == "WebCodecs"
    # The latency that it says is that of the clock in the picture.
    assert abs(statistics["shown"]["captured"] - last["clock"]) < 1000
    glass = statistics["shown"]["painted"] + statistics["clock"]["offset"] - last["clock"] / 1000
    assert abs(statistics["latency"] * 1000 - glass) < 1
    assert statistics["latency"] > 0


def test_the_browser_s_own_decoders_play_it_where_webcodecs_are_not_wanted(live: Live, page: Any) -> None:
    page.goto(f"http://127.0.0.1:{live.server.port}/-/watch/mp4?engine=mse")
    player = Player(page)
    assert player.plays()["kind"] == "Media Source Extensions"
    player.until("s.latency !== null && s.latency > 0 && s.latency < 5")
    player.do("player.seek(2)")
    player.until("!player.isLive && s.latency > 1")
    player.plays()
    player.do("player.live()")
    player.until("player.isLive")
    player.plays()


def test_webm_is_played_by_the_browser_s_own_decoders(
    distributor: Distributor, run: Callable[..., Process], name: str, page: Any
) -> None:
    url = f"http://127.0.0.1:{distributor.port}/{name}"
    source = ("-re", "-f", "lavfi", "-i", "testsrc=size=160x120:rate=10")
    coded = ("-c:v", "libvpx", "-deadline", "realtime", "-g", "10", "-f", "webm", "-cluster_time_limit", "500")
    run(need("ffmpeg"), "-v", "error", *source, *coded, "-method", "POST", url)
    eventually(lambda: distributor.call("HEAD", f"/{name}").end > 8000, "a start")
    page.goto(f"http://127.0.0.1:{distributor.port}/-/watch/{name}")
    assert Player(page).plays()["kind"] == "Media Source Extensions"


def test_sound_goes_with_the_picture(watched: Player) -> None:
    watched.plays()
    assert watched.do("player.muted")
    watched.page.get_by_role("button", name="Sound on").press("Enter")
    watched.until("s.sound?.isOpen && s.sound.decoded > 100 && s.sound.position")
    # What is handed to the loudspeaker is heard a little later: that much it is ahead of the picture.
    watched.until("Math.abs(s.sound.position / 1e6 - s.shown.time) < 0.3")
    watched.page.get_by_role("button", name="Sound off").press("Enter")
    watched.until("s.sound === null")
    watched.plays()


def test_a_person_looks_back_and_returns_to_the_live_edge(watched: Player) -> None:
    page = watched.page
    page.locator("#time").wait_for(state="visible")
    watched.until(NEAR)
    now = watched.do("player.statistics.shown.captured")
    page.keyboard.press("ArrowLeft")
    back = watched.until("!player.isLive && s.shown && s.shown.captured < arg - 3e6", now)
    assert "time shift" in page.locator("#state").inner_text()
    page.keyboard.press(" ")
    watched.until("player.paused")
    page.keyboard.press(" ")
    on = watched.until("!player.paused && s.shown.captured > arg + 5e5", back["shown"]["captured"])
    assert on["state"] == "playing"
    page.keyboard.press("End")
    watched.until(NEAR + " && player.isLive")


def test_pausing_leaves_no_picture_out(watched: Player, live: Live) -> None:
    watched.plays()
    watched.page.get_by_role("button", name="Pause").press("Enter")
    until(watched.page, "() => document.querySelector('sdp-player').paused")
    first = watched.stamp()
    watched.page.get_by_role("button", name="Play").press("Enter")
    watched.plays(1.2)
    last = watched.stamp()
    assert accounted(first, last) == published(live, first, last) > 0


HIDE = """(hidden) => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_hidden_page_takes_nothing_and_is_live_again_when_it_is_seen(watched: Player, live: Live) -> None:
    watched.plays()
    watched.page.evaluate(HIDE, True)
    eventually(lambda: live.server.describe("mp4")["consumers"] == [], "a connection less")
    watched.page.evaluate(HIDE, False)
    watched.until(NEAR)
    watched.plays()


def test_a_page_that_is_opened_unseen_begins_when_it_is_seen(live: Live, page: Any) -> None:
    asked: set[str] = set()
    page.on("request", lambda request: asked.add(urlsplit(request.url).path))
    page.add_init_script(f"({HIDE})(true)")
    page.goto(f"http://127.0.0.1:{live.server.port}/-/watch/mp4")
    player = Player(page)
    player.until("s.state === 'waiting' && s.clock !== null")
    assert "/mp4" not in asked
    page.evaluate(HIDE, False)
    player.plays()
    assert "/mp4" in asked


def test_figures_curves_and_controls_are_there_for_everyone(watched: Player) -> None:
    watched.plays()
    assert watched.page.locator("#panel").is_hidden()
    watched.page.keyboard.press("s")
    watched.page.locator("#panel").wait_for(state="visible")
    watched.until("/^[0-9.]+ m?s ±/.test(player.shadowRoot.querySelector('#latency').innerText)")
    for figure, words in (("#size", "320"), ("#way", "WebCodecs"), ("#clock", "ms"), ("#codecs", "avc1")):
        assert words in watched.page.locator(figure).inner_text()
    drawn = """(id) => {
        const canvas = document.querySelector('sdp-player').shadowRoot.querySelector(id);
        return canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.some((value) => value > 0);
    }"""
    for curve in ("#latency-curve", "#buffer-curve", "#rate-curve"):
        assert until(watched.page, drawn, curve)
    for name in ("Pause", "Sound on", "Live", "Statistics", "Full screen"):
        watched.page.get_by_role("button", name=name, exact=True).focus()
        assert watched.page.evaluate("document.activeElement.shadowRoot.activeElement.tagName") == "BUTTON"
    assert watched.page.get_by_role("group", name="Controls").count() == 1
    assert watched.page.get_by_role("img", name="mp4", exact=True).count() == 1


def test_on_a_phone_nothing_is_wider_than_the_screen(live: Live, browser: Any) -> None:
    with page_of(browser, viewport={"width": 360, "height": 740}, has_touch=True, color_scheme="dark") as page:
        page.goto(f"http://127.0.0.1:{live.server.port}/-/watch/mp4")
        Player(page).plays()
        page.locator("#figures").tap()
        page.locator("#panel").wait_for(state="visible")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


@pytest.fixture
def other_site(live: Live) -> Iterator[str]:
    """A page of another origin, which has the player in it."""
    port = live.server.port
    page = f"""<!DOCTYPE html><title>Elsewhere</title><link rel="icon" href="data:,">
        <script type="module" src="http://127.0.0.1:{port}/-/assets/element.js"></script>
        <sdp-player src="http://127.0.0.1:{port}/mp4" label="Hall"></sdp-player>""".encode()

    class Site(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *said: object) -> None:
            """Nothing on the terminal."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_the_element_plays_in_a_page_of_another_site(other_site: str, page: Any) -> None:
    page.goto(other_site)
    player = Player(page)
    assert player.plays()["kind"] == "WebCodecs"
    assert page.get_by_role("img", name="Hall").count() == 1
    player.do("player.muted = false")
    player.until("s.sound?.isOpen && s.sound.position")
    player.do("player.remove()")


def test_a_page_that_is_no_secure_context_plays_by_the_browser_s_own_decoders(live: Live, page: Any) -> None:
    """WebCodecs are for pages that came over TLS, or from this machine by a name that says so."""
    page.goto(f"http://{ELSEWHERE}:{live.server.port}/-/watch/mp4")
    assert not page.evaluate("isSecureContext")
    assert Player(page).plays()["kind"] == "Media Source Extensions"


def test_it_outlives_a_restart_of_the_distributor(
    start: Callable[..., Distributor], run: Callable[..., Process], tmp_path: Path, shaky: Any
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    first = start(store=tmp_path / "store", port=port)
    run(*in_foreground("origin", "--to", f"http://127.0.0.1:{port}/cam", "--store", "none", "--size", "320x180"))
    eventually(lambda: first.call("HEAD", "/cam").end > 50_000, "a start")
    shaky.goto(f"http://127.0.0.1:{port}/-/watch/cam")
    player = Player(shaky)
    player.plays()
    before = player.stamp()
    first.stop()
    start(store=tmp_path / "store", port=port)
    player.until(NEAR + " && s.shown.captured > arg", before["clock"] + 1_000_000)
    after = player.stamp()
    assert after["frame"] > before["frame"]
    shaky.locator("#state").get_by_text("live", exact=True).wait_for(state="visible")


def test_it_gets_over_three_seconds_without_a_network(live: Live, shaky: Any) -> None:
    line = Line(live.server.port)
    try:
        shaky.goto(f"http://127.0.0.1:{line.port}/-/watch/mp4")
        player = Player(shaky)
        player.until(NEAR)
        before = player.stamp()
        line.stall()
        player.until("s.state === 'stalled'")
        until(shaky, "() => { window.since ??= performance.now(); return performance.now() - window.since > 2900; }")
        line.resume()
        player.until(NEAR + " && s.stalls >= 1 && s.shown.captured > arg", before["clock"] + 3_000_000)
        player.plays()
        after = player.stamp()
        # More than a second later it is given what is newest, and what lies before that it never gets.
        assert 0 < accounted(before, after) <= published(live, before, after)
    finally:
        line.close()
