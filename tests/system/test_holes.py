"""Holes behind the real command: over a kill, over a disk that is taken away, and up to a copy without a gap."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.client import OPEN_END
from tests.system.processes import Distributor, eventually
from tests.system.test_store import verify

pytestmark = pytest.mark.system

Start = Callable[..., Distributor]
PIECE = 10_000


def piece(number: int) -> bytes:
    return b"%09d|" % number * (PIECE // 10)


def whole(count: int) -> bytes:
    return b"".join(map(piece, range(count)))


def sparse(server: Distributor, name: str, etag: str, number: int) -> None:
    answer = server.post(name, number * PIECE, piece(number), {"Sparse": "?1", "If-Match": etag})
    assert answer.status == 204, answer


def missing(server: Distributor, name: str) -> str | None:
    return server.call("HEAD", f"/{name}").get("Upload-Missing")


def durable(server: Distributor, name: str) -> Callable[[], bool]:
    return lambda: int(server.call("HEAD", f"/{name}")["Durable-Offset"]) == server.call("HEAD", f"/{name}").end


def test_a_hole_outlives_a_kill_and_is_filled_by_the_next_life(start: Start, tmp_path: Path, name: str) -> None:
    server = start("--sync", "0.1", store=tmp_path / "store")
    etag = server.post(name, 0, piece(0), {"Content-Type": "x/y"}).etag
    sparse(server, name, etag, 4)
    sparse(server, name, etag, 1)
    assert missing(server, name) == f"{2 * PIECE}-{4 * PIECE - 1}"
    eventually(durable(server, name), "all of it to be durable")
    server.kill()
    server = start("--sync", "0.1", store=tmp_path / "store")
    head = server.call("HEAD", f"/{name}")
    assert (head.etag, head.end, head["Upload-Missing"]) == (etag, 5 * PIECE, f"{2 * PIECE}-{4 * PIECE - 1}")
    assert server.call("GET", f"/{name}", {"Range": f"bytes={2 * PIECE}-"}).status == 416
    for number in (5, 2, 6, 3):
        sparse(server, name, etag, number)
    assert missing(server, name) is None
    assert server.finish(name, 7 * PIECE).status == 204
    answer = server.call("GET", f"/{name}")
    assert (answer.status, answer.body == whole(7)) == (200, True)
    server.stop()
    found = verify(tmp_path / "store")
    assert (found.returncode, found.stdout.count("sound")) == (0, 1), found.stdout


def test_who_wants_everything_is_given_it_in_its_order(start: Start, tmp_path: Path, name: str) -> None:
    server = start(store=tmp_path / "store")
    etag = server.post(name, 0, piece(0), {"Content-Type": "x/y"}).etag
    with server.peer() as reader:
        reader.ask("GET", f"/{name}", {"Range": f"bytes=0-{OPEN_END}", "Prefer": "lossless"})
        head = reader.head()
        assert (head.status, head["Preference-Applied"]) == (206, "lossless")
        assert reader.exactly(PIECE) == piece(0)
        for number in (2, 3):
            sparse(server, name, etag, number)
        sparse(server, name, etag, 1)
        assert reader.exactly(3 * PIECE) == whole(4)[PIECE:]
        assert server.finish(name, 4 * PIECE).status == 204
        assert reader.rest() == b""


def test_a_recording_goes_on_after_its_folder_was_taken_away(start: Start, tmp_path: Path, name: str) -> None:
    store = tmp_path / "store"
    server = start("--sync", "0.05", "--store-retry", "0.2", store=store)
    assert server.post(name, 0, piece(0), {"Content-Type": "x/y"}).status == 201
    eventually(durable(server, name), "the first piece to be durable")
    shutil.rmtree(store / name)
    assert server.post(name, PIECE, piece(1)).status == 204
    eventually(lambda: server.metric("sdp_store_resumed_total") == 1, "the recording to go on")
    assert server.post(name, 2 * PIECE, piece(2)).status == 204
    eventually(lambda: server.describe(name)["recording"] == "on", "it to be told")
    eventually(durable(server, name), "all of it to be durable again")
    assert server.metric("sdp_store_failures_total") == 1
    held = server.call("GET", f"/{name}", {"Range": f"bytes={PIECE}-{3 * PIECE - 1}"})
    assert (held.status, held.body == whole(3)[PIECE:]) == (206, True)
    server.stop()
    found = verify(store)
    assert (found.returncode, found.stdout.count("sound")) == (0, 1), found.stdout
