"""Distributors for the system tests: one for each module, and others with options of their own; and programs."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.system.browsing import chromium, page_of
from tests.system.processes import Distributor, Process, eventually
from tests.system.programs import Service, frames_of, in_foreground, keys_of, make_clip

_numbers = itertools.count(1)
_running: list[Distributor] = []


@pytest.fixture(scope="module")
def distributor() -> Iterator[Distributor]:
    """A Distributor without a disk, for a whole module."""
    yield from running(Distributor("--idle-timeout", "20"))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distributor]:
    """A Distributor with a disk, for a whole module."""
    yield from running(Distributor(store=tmp_path_factory.mktemp("store")))


def running(server: Distributor) -> Iterator[Distributor]:
    """Give out a Distributor that is looked after, and end it then."""
    _running.append(server)
    try:
        yield server
    finally:
        _running.remove(server)
        server.stop()


@pytest.fixture
def start() -> Iterator[Callable[..., Distributor]]:
    """Start Distributors with options; they end with the test."""
    mine: list[Distributor] = []

    def begin(*options: str, store: str | Path = "none", port: int = 0) -> Distributor:
        server = Distributor(*options, store=store, port=port)
        mine.append(server)
        _running.append(server)
        return server

    yield begin
    for server in mine:
        _running.remove(server)
        server.stop()
        assert server.faults() == []


@pytest.fixture
def name() -> str:
    """A stream's name that no other test uses."""
    return f"stream-{next(_numbers)}"


@pytest.fixture(autouse=True)
def sound() -> Iterator[None]:
    """Whatever a test does to a Distributor, it goes on, and meets no fault of its own."""
    before = {id(server): len(server.faults()) for server in _running}
    yield
    for server in _running:
        if server.process.poll() is None:
            assert server.call("GET", "/-/health").status == 200
        assert server.faults()[before.get(id(server), 0) :] == []


# -- programs ------------------------------------------------------------------------------------------------------


@pytest.fixture
def run() -> Iterator[Callable[..., Process]]:
    """Start programs; they end with the test."""
    with ExitStack() as stack:

        def begin(*argv: str | Path, **options: Any) -> Process:
            process = Process(*argv, **options)
            stack.callback(process.stop)
            return process

        yield begin


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Start SDP's commands as background services; they end with the test."""
    with ExitStack() as stack:

        def begin(command: str, *options: str | Path) -> Service:
            begun = Service(tmp_path, command, *options)
            stack.callback(begun.terminate)
            return begun

        yield begin


class Clip(NamedTuple):
    """A file, how many frames ffprobe finds in it, and the times of its key frames in seconds."""

    file: Path
    frames: dict[str, int]
    keys: list[float]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """The clip that SDP_TEST_CLIP names (H.264 and AAC), else one that is made now."""
    given = os.environ.get("SDP_TEST_CLIP")
    file = Path(given) if given else make_clip(tmp_path_factory.mktemp("clip") / "clip.mp4")
    # An edit list hides the sound encoder's priming frame, which a stream carries as any other.
    return Clip(file.resolve(), frames_of(file, "-ignore_editlist", "1"), keys_of(file))


class Live(NamedTuple):
    """A Distributor with the test pattern on it, in each container."""

    server: Distributor

    def url(self, container: str) -> str:
        return f"http://127.0.0.1:{self.server.port}/{container}"


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    """The test pattern, live: /mp4 and /mpegts, with a random access point a second, and some seconds old."""
    pytest.importorskip("av", reason="PyAV is not installed: pip install av")
    with ExitStack() as stack:
        server = Distributor()
        stack.callback(server.stop)
        shown = Live(server)
        for container in ("mp4", "mpegts"):
            options = ("--to", shown.url(container), "--container", container, "--store", "none")
            origin = Process(*in_foreground("origin", *options, "--size", "320x180", "--rate", "25"))
            stack.callback(origin.stop)
        _running.append(server)
        stack.callback(_running.remove, server)
        # More than a second, and so a random access point that is not the first one.
        eventually(lambda: all(server.call("HEAD", f"/{name}").end > 100_000 for name in ("mp4", "mpegts")), "a start")
        yield shown


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    with chromium() as opened:
        yield opened


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page of its own, in which no script fails and nothing is missing."""
    with page_of(browser) as opened:
        yield opened
