"""Distributors for the system tests: one for each module, and others with options of their own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.processes import Distributor

_numbers = itertools.count(1)
_running: list[Distributor] = []


@pytest.fixture(scope="module")
def distributor() -> Iterator[Distributor]:
    """A Distributor without a disk, for a whole module."""
    yield from _run(Distributor("--idle-timeout", "20"))


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Distributor]:
    """A Distributor with a disk, for a whole module."""
    yield from _run(Distributor(store=tmp_path_factory.mktemp("store")))


def _run(server: Distributor) -> Iterator[Distributor]:
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

    def begin(*options: str, store: str | Path = "none") -> Distributor:
        server = Distributor(*options, store=store)
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
