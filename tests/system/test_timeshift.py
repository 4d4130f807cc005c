"""Time shift, backfill and lossless consumers on the running commands: live, ended, and across a restart."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.client import Part, Peer, boundary_of, content_range
from tests.system.conftest import Live
from tests.system.media import CAPTURED, CONTENT_TYPE, Movie, movie
from tests.system.processes import Distributor, Process, eventually
from tests.system.programs import environment, finished, first_packet, frames_of, sdp

pytestmark = pytest.mark.system

Start = Callable[..., Distributor]
KEYS = "KddKddKdd"
FRAME = 33_000
"""Microseconds from one frame of a movie to the next."""


def rfc3339(microseconds: int) -> str:
    seconds, fraction = divmod(microseconds, 1_000_000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{fraction:06d}Z"


def publish(server: Distributor, name: str, film: Movie) -> None:
    begun = server.post(name, 0, film.initialization, {"Content-Type": CONTENT_TYPE})
    assert begun.status == 201
    for fragment in film.fragments:
        assert server.post(name, fragment.offset, fragment.data).status == 204


def from_frame(film: Movie, number: int) -> bytes:
    return film.initialization + film.data[film.fragments[number].offset :]


SHIFTS = [(-1, 0), (2 * FRAME, 0), (3 * FRAME, 3), (5 * FRAME + 1, 3), (1_000_000, 6)]


def check_live(server: Distributor, name: str, film: Movie) -> None:
    """What comes at once from each time on, and where it is said to begin."""
    for shift, number in SHIFTS:
        with server.peer() as peer:
            peer.ask("GET", f"/{name}?at={rfc3339(CAPTURED + shift)}")
            head = peer.head()
            assert (head.status, head["Cache-Control"]) == (200, "no-store")
            assert head["Capture-Time"] == str(film.fragments[number].captured)
            expected = from_frame(film, number)
            assert peer.exactly(len(expected)) == expected


@pytest.mark.parametrize("memory", ["1KiB", "64MiB"])
def test_live_ended_and_after_a_restart(start: Start, tmp_path: Path, name: str, memory: str) -> None:
    film = movie(KEYS)
    server = start("--memory", memory, store=tmp_path / "store")
    publish(server, name, film)
    check_live(server, name, film)
    target = f"/{name}?at={rfc3339(CAPTURED + 3 * FRAME)}"
    with server.peer() as peer:
        peer.ask("GET", target)
        assert peer.head().status == 200
        peer.exactly(len(from_frame(film, 3)))
        # and from there on it is live
        more = movie(KEYS + "d").fragments[-1]
        assert server.post(name, more.offset, more.data).status == 204
        assert peer.exactly(len(more.data)) == more.data
    film.fragments.append(more)
    eventually(lambda: server.call("HEAD", f"/{name}")["Durable-Offset"] == str(more.end), "the disk")
    server.kill()
    server = start("--memory", memory, store=tmp_path / "store")
    check_live(server, name, film)
    assert server.finish(name, more.end).status == 204
    expected = from_frame(film, 3)
    ended = server.call("GET", target, {"Range": "bytes=0-"})
    assert (ended.status, ended.body, ended["Accept-Ranges"]) == (200, expected, "none")
    assert server.call("HEAD", target)["Content-Length"] == str(len(expected))
    assert server.call("GET", target, {"Range": "bytes=0-5"}).status == 400
    assert server.call("GET", f"/{name}?at=yesterday").status == 400


def test_what_a_post_has_said_of_random_access_holds_after_a_kill(start: Start, tmp_path: Path, name: str) -> None:
    server = start(store=tmp_path / "store")
    said = {"Content-Type": "x/y", "Random-Access": "?1"}
    assert server.post(name, 0, b"first,", said).status == 201
    assert server.post(name, 6, b"second,").status == 204
    eventually(lambda: server.call("HEAD", f"/{name}")["Durable-Offset"] == "13", "the disk")
    server.kill()
    server = start(store=tmp_path / "store")
    for target in (f"/{name}", f"/{name}?at=0"):
        with server.peer() as peer:
            peer.ask("GET", target)
            assert peer.head().status == 200
            assert peer.exactly(13) == b"first,second,"


def parts_until(peer: Peer, boundary: str, size: int) -> list[Part]:
    """The parts that come until there are so many bytes."""
    found: list[Part] = []
    while sum(len(part.data) for part in found) < size:
        part = peer.part(boundary)
        assert part is not None
        found.append(part)
    return found


@pytest.mark.parametrize("memory", ["1KiB", "64MiB"])
def test_backfill_ends_with_all_of_it(start: Start, tmp_path: Path, name: str, memory: str) -> None:
    film = movie(KEYS, size=50_000)
    server = start("--memory", memory, store=tmp_path / "store")
    publish(server, name, film)
    wanted = {"Content-Range": "bytes */0", "Accept": "multipart/byteranges", "Prefer": "backfill"}
    with server.peer() as peer:
        peer.ask("GET", f"/{name}", wanted)
        head = peer.head()
        assert (head.status, head["Preference-Applied"]) == (206, "backfill")
        parts = parts_until(peer, boundary_of(head), len(film.data))
        assert [part.first for part in parts[:2]] == [0, film.fragments[6].offset]
        assert b"".join(part.data for part in sorted(parts)) == film.data
        assert server.finish(name, len(film.data)).status == 204
        assert peer.part(boundary_of(head)) is None


def test_a_lossless_consumer_goes_on_where_it_was(start: Start, tmp_path: Path, name: str) -> None:
    film = movie(KEYS)
    server = start("--catch-up", "0", store=tmp_path / "store")
    publish(server, name, film)
    had = film.fragments[1].end
    for prefer, first in (("x", film.fragments[6].offset), ("lossless", had)):
        with server.peer() as peer:
            fields = {**content_range(0, had - 1), "Prefer": prefer}
            peer.ask("GET", f"/{name}", fields)
            assert peer.head()["Content-Range"].startswith(f"bytes {first}-")


def test_a_copy_of_what_retention_has_left(
    start: Start, run: Callable[..., Process], tmp_path: Path, name: str
) -> None:
    """The initialization segment outlives the beginning: each form gives it, and a copy begins with it."""
    film = movie("Kd" * 20, size=50_000)
    server = start("--retain-bytes", "800000", "--memory", "1KiB", store=tmp_path / "store")
    publish(server, name, film)
    eventually(lambda: server.describe(name)["first_offset"] > 0, "the front to go")
    last = len(film.initialization) - 1
    first = next(each for each in film.fragments if each.offset == server.describe(name)["first_offset"])
    assert first.key
    kept = server.call("GET", f"/-/initialization/{name}?before={first.offset}")
    assert (kept.status, kept.body, kept["Content-Range"]) == (206, film.initialization, f"bytes 0-{last}/*")
    assert server.call("GET", f"/-/initialization/{name}?before=x").status == 400
    assert server.call("GET", f"/-/initialization/{name}?epoch=x").status == 404
    assert server.call("GET", f"/{name}", {"Range": f"bytes=0-{last}"}).status == 410
    url = f"http://127.0.0.1:{server.port}/{name}"
    recording = run(*sdp("record", "--at", rfc3339(CAPTURED), url, tmp_path / "copy.mp4"))
    expected = film.initialization + film.data[first.offset :]
    eventually(lambda: (tmp_path / "copy.mp4").exists() and (tmp_path / "copy.mp4").stat().st_size == len(expected))
    recording.kill()
    relay = start("--upstream", f"http://127.0.0.1:{server.port}")
    with relay.peer() as peer:
        peer.ask("GET", f"/{name}?at={rfc3339(CAPTURED)}")
        assert peer.head()["Capture-Time"] == str(first.captured)
        assert peer.exactly(len(expected)) == expected
    assert server.finish(name, len(film.data)).status == 204
    again = finished(*sdp("record", "--at", "0", url, tmp_path / "copy.mp4"), env=environment())
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "copy.mp4").read_bytes() == expected
    both = finished(*sdp("record", "--at", "0", "--from-start", url, tmp_path / "x"), env=environment())
    assert (both.returncode, b"leave one out" in both.stderr) == (2, True)


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_players_begin_in_the_past(live: Live, tmp_path: Path, container: str) -> None:
    """The whole of a live stream decodes from an earlier time on, and begins with a key frame that is earlier."""
    url = live.url(container)
    eventually(
        lambda: (
            live.server.call("HEAD", f"/{container}?at=0")["Capture-Time"]
            != live.server.call("HEAD", f"/{container}?at=3600")["Capture-Time"]
        ),
        "a second random access point",
    )
    earliest = first_packet(f"{url}?at=3600")
    newest = first_packet(url)
    assert earliest["flags"].startswith("K")
    assert float(earliest["pts_time"]) < float(newest["pts_time"])
    # As far as the last record that is known: a player that comes late sees each frame of it.
    (point,) = json.loads(live.server.call("GET", f"/-/records/{container}?at=3600").body)["records"]
    last = json.loads(live.server.call("GET", f"/-/records/{container}?newest=random-access").body)["records"][0]
    size = last["offset"] - point["offset"] + (point["offset"] if container == "mp4" else 0)
    copy = tmp_path / f"copy.{container}"
    with live.server.peer() as peer:
        peer.ask("GET", f"/{container}?at=3600")
        assert peer.head().status == 200
        copy.write_bytes(peer.exactly(size))
    assert frames_of(copy)["video"] > 0
