"""Whatever dies: what an Origin has captured is at the Distributor to its last byte, epoch by epoch."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.system import processes
from tests.system.processes import Process, eventually, twistd

pytestmark = pytest.mark.system

pytest.importorskip("av", reason="the Origin needs PyAV")

SMALL = ("--size", "160x120", "--rate", "30")
SOME = 20_000
"""Bytes of the test pattern: half a second, some random access point among them."""


PATIENCE = 120.0
"""How long anything here may take, in seconds: programs start one after the other, and the machine may be busy."""


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "LIMIT", PATIENCE)


@pytest.fixture
def run(request: pytest.FixtureRequest) -> Callable[..., Process]:
    """Start commands; what still runs at the test's end is ended."""

    def begin(*argv: str | Path) -> Process:
        process = Process(twistd(), "-n", "--pidfile=", *argv)
        request.addfinalizer(process.stop)
        return process

    return begin


def origin(port: int, name: str, store: Path, *options: str) -> tuple[str | Path, ...]:
    return ("sdp-origin", "--to", f"http://127.0.0.1:{port}/{name}", *SMALL, "--store", store, *options)


def epochs(store: Path) -> list[bytes]:
    """What a store's epochs hold, the oldest first; those without a byte left out."""
    directories = sorted(store.rglob("@*-*"))
    contents = (b"".join(file.read_bytes() for file in sorted(each.glob("*.mp4"))) for each in directories)
    return [content for content in contents if content]


def held(server: Any, name: str, epoch: dict[str, Any]) -> bytes:
    """What a Distributor gives of one of its epochs."""
    fields = {"Range": f"bytes=0-{epoch['end_offset'] - 1}"}
    response = server.call("GET", f"/{name}?epoch={epoch['epoch']}", fields)
    assert response.status == 206, response
    body: bytes = response.body
    return body


def size(store: Path) -> int:
    return sum(map(len, epochs(store)))


def grows(store: Path, by: int = SOME) -> None:
    before = size(store)
    eventually(lambda: size(store) > before + by, f"more in {store.name}")


@pytest.mark.parametrize("seed", [1, 2])
def test_an_origin_that_is_killed_again_and_again(start, name, run, tmp_path, seed):
    """The Distributor dies between, too, and sometimes before the Origin does."""
    chance, lives = Random(seed), 3
    here, there = tmp_path / "origin", tmp_path / "distributor"
    server: Any = start(store=there)
    port = server.port
    for life in range(lives):
        posting = run(*origin(port, name, here))
        grows(there, chance.randrange(SOME))
        if life:
            server.kill()
            grows(here, chance.randrange(2 * SOME))
        posting.kill()
        if life:
            server = start(store=there, port=port)
    posting = run(*origin(port, name, here))
    posting.wait_for("Publishing")
    grows(there)
    posting.terminate()
    posting.wait()
    listed = json.loads(server.call("GET", f"/-/epochs/{name}").body)["epochs"]
    recorded, received = epochs(here), [held(server, name, each) for each in reversed(listed)]
    assert len(received) == len(recorded) == lives + 1
    # Who is killed may not have written yet what it has posted.
    assert all(theirs.startswith(own) for theirs, own in zip(received, recorded, strict=True))
    assert sha256(received[-1]).digest() == sha256(recorded[-1]).digest()
    assert posting.faults() == []
    assert server.describe(name)["state"] != "ended"


def test_a_stand_by_takes_over_and_who_was_thought_dead_leaves(start, name, run, tmp_path):
    server = start(store=tmp_path / "distributor")
    first = run(*origin(server.port, name, tmp_path / "first"))
    grows(tmp_path / "distributor")
    epoch = server.describe(name)["epoch"]
    first.process.send_signal(signal.SIGSTOP)  # its machine hangs; its connection stays
    try:
        shutil.copytree(tmp_path / "first", tmp_path / "second", ignore=shutil.ignore_patterns("@lock"))
        second = run(*origin(server.port, name, tmp_path / "second"))
        second.wait_for("Publishing")
    finally:
        first.process.send_signal(signal.SIGCONT)
    assert server.describe(name)["epoch"] != epoch
    assert first.wait(PATIENCE) == 1
    assert any("has taken this stream over" in line for line in first.lines)
    grows(tmp_path / "distributor")
    assert first.faults() == second.faults() == []


def test_after_an_outage_the_newest_comes_first_and_then_what_was_missed(start, name, run, tmp_path):
    here, there = tmp_path / "origin", tmp_path / "distributor"
    server: Any = start(store=there)
    port = server.port
    posting = run(*origin(port, name, here, "--gop", "0.3", "--catch-up", "0.1", "--backfill-rate", "1KiB"))
    grows(there)
    server.kill()
    grows(here, 4 * SOME)
    server = start(store=there, port=port)
    posting.wait_for("The newest goes first")
    eventually(lambda: server.call("HEAD", f"/{name}").get("Upload-Missing"), "a hole")
    posting.kill()  # what is left of the hole, the next life brings
    assert server.call("HEAD", f"/{name}").get("Upload-Missing")
    posting = run(*origin(port, name, here))
    posting.wait_for("A former life is delivered")
    posting.wait_for("Publishing")
    received, [recorded, *_] = server.call("GET", f"/-/epochs/{name}"), epochs(here)
    [epoch] = [each["epoch"] for each in json.loads(received.body)["epochs"] if each["state"] == "ended"]
    whole = server.call("GET", f"/{name}?epoch={epoch}")
    assert whole.status == 200
    assert whole.body.startswith(recorded)
    assert posting.faults() == []


def test_a_copy_is_whole_over_all_of_it(start, name, run, tmp_path):
    """A relay dies and is there again, the Distributor dies, a hole is left and filled behind the relay, the recorder
    dies: the copy is the Origin's."""
    here, there, copy = tmp_path / "origin", tmp_path / "distributor", tmp_path / "copy"
    server: Any = start(store=there)
    port = server.port
    relay = start("--upstream", f"http://127.0.0.1:{port}")
    sources = (f"http://127.0.0.1:{each}/{name}" for each in (relay.port, port))
    consumer = ("sdp-consumer", *(word for source in sources for word in ("--from", source)), "--output", copy)
    posting = run(*origin(port, name, here, "--gop", "0.3", "--catch-up", "0.1"))
    copying = run(*consumer)

    def copied(by: int = SOME) -> None:
        before = copy.stat().st_size if copy.exists() else 0
        eventually(lambda: copy.exists() and copy.stat().st_size > before + by, "more of the copy")

    copied()
    relay.kill()
    copied()
    server.kill()
    copying.kill()
    grows(here, 4 * SOME)
    server = start(store=there, port=port)
    posting.wait_for("The newest goes first")
    start("--upstream", f"http://127.0.0.1:{port}", port=relay.port)
    copying = run(*consumer)
    copied(4 * SOME)
    eventually(lambda: server.call("HEAD", f"/{name}").get("Upload-Missing") is None, "all of what was missed")
    posting.terminate()
    posting.wait()
    [recorded] = epochs(here)
    server.finish(name, len(recorded))
    assert copying.wait(PATIENCE) == 0, copying.lines
    assert sha256(copy.read_bytes()).digest() == sha256(recorded).digest() == sha256(server.log_of(name)).digest()
    assert posting.faults() == copying.faults() == []
