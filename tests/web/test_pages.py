"""The pages: what is escaped, in which order streams stand, and that no name reaches past the fixed files."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from importlib.resources import files
from typing import Any

import pytest

from sdp.web import Pages
from sdp.web.pages import bit_rate

PAGES = Pages()


def stream(name: str, state: str = "live", **fields: Any) -> dict[str, Any]:
    return {
        "name": name,
        "epoch": "e1",
        "content_type": "video/mp4",
        "state": state,
        "first_offset": 0,
        "end_offset": 1000,
        "durable_offset": 900,
        "bit_rate": 1_205_959,
        "consumers": [{"lag_bytes": 0, "lag_ms": 0.0}] * 3,
    } | fields


class Reader(HTMLParser):
    """Collects the start tags of a page, outside its ``template``, and all text."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._inert = False
        self.feed(page.decode())
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "template":
            self._inert = True
        if not self._inert:
            self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag == "template":
            self._inert = False

    def handle_data(self, data: str) -> None:
        if not self._inert:
            self.text += data

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag and wanted.items() <= found.items()]


def test_live_streams_come_first_then_stalled_then_ended_each_by_name() -> None:
    streams = [stream("z", "ended"), stream("m", "stalled"), stream("b"), stream("a/c"), stream("a", "ended")]
    rows = Reader(PAGES.index(streams)).all("li")
    assert [row["data-name"] for row in rows] == ["a/c", "b", "m", "a", "z"]


def test_a_stream_says_its_state_in_words_its_figures_and_where_it_plays() -> None:
    page = Reader(PAGES.index([stream("hall/cam-1", "stalled")]))
    for words in ("hall/cam-1", "stalled", "1.21 Mbit/s", "3", "video/mp4"):
        assert words in page.text
    links = [link["href"] for link in page.all("a")]
    assert "/-/watch/hall/cam-1" in links
    assert "/hall/cam-1" in links


def test_without_streams_the_page_says_how_to_publish_one() -> None:
    page = Reader(PAGES.index([]))
    assert "twistd -n sdp-origin" in page.text
    assert "ffmpeg" in page.text
    (details,) = page.all("details")
    assert "open" in details


def test_an_unknown_state_comes_last_and_is_shown() -> None:
    page = Reader(PAGES.index([stream("odd", "resting"), stream("z", "ended")]))
    assert [row["data-state"] for row in page.all("li")] == ["ended", "resting"]


HOSTILE = "\"><script>alert(1)</script>&'{{ 7 * 7 }}"


def test_what_a_publisher_says_is_escaped() -> None:
    clean = len(Reader(PAGES.index([stream("a")])).tags)
    page = Reader(PAGES.index([stream(HOSTILE, content_type=HOSTILE)]))
    assert len(page.tags) == clean
    assert page.text.count(HOSTILE) >= 2
    (row,) = page.all("li")
    assert row["data-name"] == HOSTILE


def test_the_name_of_a_watched_stream_is_escaped() -> None:
    page = Reader(PAGES.watch(HOSTILE))
    assert len(page.tags) == len(Reader(PAGES.watch("a")).tags)
    (player,) = page.all("sdp-player", id="player")
    assert player["label"] == HOSTILE


def test_the_watch_page_links_to_the_plain_stream() -> None:
    page = Reader(PAGES.watch("hall/cam-1"))
    assert {"/hall/cam-1", "/"} <= {link["href"] for link in page.all("a")}


@pytest.mark.parametrize("page", [PAGES.index([stream("a")]), PAGES.index([]), PAGES.watch("a")])
def test_a_page_keeps_to_its_policy(page: bytes) -> None:
    """Under ``default-src 'self'`` an inline script, style or event attribute would be dead."""
    read = Reader(page)
    for tag, fields in read.tags:
        assert tag != "style"
        assert not {field for field in fields if field == "style" or field.startswith("on")}
        if tag == "script":
            assert fields["src"]
    for tag, fields in read.tags:
        for field in ("src", "href"):
            address = fields.get(field)
            assert address is None or address.startswith(("/", "#")), (tag, address)


@pytest.mark.parametrize("page", [PAGES.index([stream("a")]), PAGES.watch("a")])
def test_a_page_loads_only_assets_that_there_are(page: bytes) -> None:
    names = re.findall(r'"/-/assets/([^"]+)"', page.decode())
    assert names
    assert [name for name in names if PAGES.asset(name) is None] == []


def test_modules_import_only_assets_that_there_are() -> None:
    seen = 0
    for entry in files("sdp.web").joinpath("assets").iterdir():
        for name in re.findall(r'(?:from|import) "\./([^"]+)"', entry.read_text("utf-8")):
            seen += 1
            assert PAGES.asset(name) is not None, (entry.name, name)
    assert seen


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("style.css", "text/css; charset=utf-8"),
        ("watch.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_an_asset_comes_with_its_type(name: str, content_type: str) -> None:
    found = PAGES.asset(name)
    assert found is not None
    assert found == (content_type, files("sdp.web").joinpath("assets", name).read_bytes())


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "nothing.js",
        "../pages.py",
        "..%2fpages.py",
        "/style.css",
        "./style.css",
        "style.css/",
        "pages.py",
    ],
)
def test_there_are_no_other_assets(name: str) -> None:
    assert PAGES.asset(name) is None


@pytest.mark.parametrize(
    ("rate", "words"),
    [
        (0, "0 bit/s"),
        (999, "999 bit/s"),
        (999.7, "1.00 kbit/s"),
        (1000, "1.00 kbit/s"),
        (64_000, "64.0 kbit/s"),
        (999_900, "1.00 Mbit/s"),
        (1_205_959, "1.21 Mbit/s"),
        (123_456_789, "123 Mbit/s"),
        (2.5e9, "2.50 Gbit/s"),
    ],
)
def test_a_bit_rate_is_said_with_three_figures(rate: float, words: str) -> None:
    assert bit_rate(rate) == words
