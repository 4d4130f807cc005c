"""Relays as processes: a tree of three levels, killed at its joints, and what goes up and down it is the same bytes."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import pytest

from tests.net.certificates import certificate
from tests.system.client import OPEN_END, Part, Peer, boundary_of
from tests.system.conftest import Clip
from tests.system.media import CONTENT_TYPE, Movie, movie
from tests.system.processes import Distributor, Process, eventually, problem_of, twistd
from tests.system.programs import PATIENCE, in_foreground

pytestmark = pytest.mark.system

Start = Callable[..., Distributor]


def url(server: Distributor) -> str:
    return f"http://127.0.0.1:{server.port}"


def relay(start: Start, *upstreams: Distributor, options: tuple[str, ...] = ()) -> Distributor:
    return start(*(word for each in upstreams for word in ("--upstream", url(each))), *options)


def tree(start: Start) -> list[Distributor]:
    """A Distributor, a relay, and a relay of that."""
    first = start()
    second = relay(start, first)
    return [first, second, relay(start, second)]


def post(server: Distributor, name: str, film: Movie, first: int, last: int) -> None:
    """Post the fragments from ``first`` up to ``last``, each by itself; the first one with what comes before it."""
    for fragment in film.fragments[first:last]:
        begin = 0 if fragment is film.fragments[0] else fragment.offset
        fields = {"Content-Type": CONTENT_TYPE} if begin == 0 else {}
        response = server.post(name, begin, film.data[begin : fragment.end], fields)
        assert response.status in (201, 204), response


@pytest.fixture(autouse=True)
def _left() -> Iterator[None]:
    """Every viewer leaves with its test."""
    yield
    while Viewer.all:
        Viewer.all.pop().leave()


class Viewer:
    """Takes parts, and goes on at another server with what it has."""

    all: ClassVar[list[Viewer]] = []

    def __init__(self, name: str) -> None:
        self.name = name
        self.etag: str | None = None
        self.parts: list[Part] = []
        self.end = 0
        self._peer: Peer | None = None
        self._boundary = ""
        self.all.append(self)

    def at(self, server: Distributor) -> Viewer:
        self.leave()
        peer = self._peer = server.peer()
        has = f"bytes {self.parts[0].first}-{self.end - 1}/*" if self.end else "bytes */0"
        fields = {"Accept": "multipart/byteranges", "Content-Range": has, "Connection-Type": "consumer"}
        if self.etag is not None:
            fields["If-Match"] = self.etag
        peer.ask("GET", f"/{self.name}", fields)
        response = peer.head()
        assert response.status == 206, response
        assert self.etag in (None, response.etag)
        self.etag, self._boundary = response.etag, boundary_of(response)
        return self

    def up_to(self, end: int) -> Viewer:
        """Take what comes until all before ``end`` is here."""
        assert self._peer is not None
        while self.end < end:
            part = self._peer.part(self._boundary)
            assert part is not None
            self.parts.append(part)
            self.end = part.last + 1
        return self

    def leave(self) -> None:
        if self._peer is not None:
            self._peer.close()
            self._peer = None

    @property
    def content(self) -> bytes:
        """What came; it follows on from part to part."""
        for before, after in zip(self.parts, self.parts[1:], strict=False):
            assert after.first == before.last + 1
        return b"".join(part.data for part in self.parts)


def test_three_levels_give_the_same_bytes_and_records(start: Start, name: str) -> None:
    servers = tree(start)
    film = movie("Kdd" * 5, size=3000)
    post(servers[0], name, film, 0, 1)
    viewers = [Viewer(name).at(server) for server in servers]
    post(servers[0], name, film, 1, 15)
    for depth, viewer in enumerate(viewers):
        assert viewer.up_to(len(film.data)).content == film.data
        begun = [part for part in viewer.parts if "received-time" in part.fields]
        assert [part.first for part in begun] == [0, *(each.offset for each in film.fragments)]
        assert [part.fields.get("capture-time") for part in begun[1:]] == [
            str(each.captured) for each in film.fragments
        ]
        for part in begun:
            hops = part.fields["hop-times"].split(", ") if depth else []
            assert len(hops) == depth
            assert "hop-times" in part.fields or not depth
            times = [*map(int, hops), int(part.fields["received-time"])]
            assert times == sorted(times)
        servers[0].finish(name, len(film.data))
    told = {json.loads(server.call("GET", f"/-/digest/{name}").body)["sha256"] for server in servers}
    assert told == {sha256(film.data).hexdigest()}
    assert all(server.call("GET", f"/{name}").body == film.data for server in servers)


def test_a_late_joiner_at_the_third_level_begins_where_decoding_can(start: Start, name: str) -> None:
    servers = tree(start)
    film = movie("KdddKdd", size=3000)
    post(servers[0], name, film, 0, 7)
    viewer = Viewer(name).at(servers[2]).up_to(len(film.data))
    assert viewer.parts[0].fields["initialization"] == "?1"
    assert viewer.parts[0].data == film.initialization
    assert (viewer.parts[1].first, viewer.parts[1].fields["random-access"]) == (film.fragments[4].offset, "?1")
    with servers[2].peer() as plain:
        plain.ask("GET", f"/{name}")
        assert plain.head().status == 200
        expected = film.initialization + film.data[film.fragments[4].offset :]
        assert plain.exactly(len(expected)) == expected


def test_a_consumer_moves_between_relays(start: Start, name: str) -> None:
    first = start()
    relays = [relay(start, first), relay(start, first)]
    film = movie("Kdddd" * 6, size=2000)
    post(first, name, film, 0, 1)
    viewer = Viewer(name)
    for number in range(1, 30):
        viewer.at(relays[number % 2])
        post(first, name, film, number, number + 1)
        viewer.up_to(film.fragments[number].end)
    assert viewer.content == film.data


def test_the_joints_of_a_tree_are_killed(start: Start, name: str) -> None:
    first = start()
    middle = [relay(start, first), relay(start, first)]
    last = relay(start, *middle, first)
    film = movie("Kdd" * 10, size=5000)
    post(first, name, film, 0, 3)
    viewer = Viewer(name).at(last)
    with last.peer() as plain:
        plain.ask("GET", f"/{name}", {"Range": f"bytes=0-{OPEN_END}"})
        assert plain.head().status == 206
        for number, upstream in enumerate([*middle, None]):
            post(first, name, film, 3 + number * 9, 7 + number * 9)
            viewer.up_to(film.fragments[6 + number * 9].end)
            if upstream is None:
                break
            assert last.describe(name)["upstream"] == url(upstream)
            upstream.kill()
            post(first, name, film, 7 + number * 9, 12 + number * 9)
            viewer.up_to(film.fragments[11 + number * 9].end)
        end = film.fragments[24].end
        assert viewer.content == film.data[:end]
        assert plain.exactly(end) == film.data[:end]
        first.finish(name, end)
        assert plain.rest() == b""
    assert last.metric("sdp_upstream_failovers_total") == 2


def test_the_source_of_all_is_killed_and_an_heir_goes_on(start: Start, name: str, tmp_path: Path) -> None:
    """The same store under another process at another port: to a relay that is the next upstream."""
    film = movie("Kdd" * 4, size=5000)
    source = start(store=tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    last = start("--upstream", url(source), "--upstream", f"http://127.0.0.1:{port}")
    post(source, name, film, 0, 1)
    viewer = Viewer(name).at(last)
    post(source, name, film, 1, 6)
    viewer.up_to(film.fragments[5].end)
    eventually(lambda: int(source.call("HEAD", f"/{name}")["Durable-Offset"]) == film.fragments[5].end)
    source.kill()
    heir = Distributor(store=tmp_path, port=port)
    try:
        tag = {"If-Match": str(viewer.etag)}
        for fragment in film.fragments[6:]:
            assert heir.post(name, fragment.offset, fragment.data, tag).status == 204
        assert viewer.up_to(len(film.data)).content == film.data
    finally:
        heir.stop()


def test_circles_are_refused(start: Start, name: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    other = start("--upstream", f"http://127.0.0.1:{port}")
    one = Distributor("--upstream", url(other), port=port)
    try:
        for server in (one, other):
            problem_of(server.call("GET", f"/{name}"), 508)
            problem_of(server.post(name, 0, b"abc"), 508)
            assert server.call("HEAD", f"/{name}").status == 508
    finally:
        one.stop()


def test_publishing_at_the_third_level(start: Start, name: str) -> None:
    servers = tree(start)
    film = movie("Kdd" * 4, size=40_000)
    post(servers[2], name, film, 0, 1)
    viewers = [Viewer(name).at(server) for server in servers]
    post(servers[2], name, film, 1, 12)
    refused = problem_of(servers[2].post(name, 10**9, b"x"), 409)
    assert "gap" in refused["detail"]
    assert servers[2].finish(name, len(film.data)).status == 204
    for server, viewer in zip(servers, viewers, strict=True):
        assert viewer.up_to(len(film.data)).content == film.data
        assert server.call("GET", f"/{name}").body == film.data


def test_a_recording_by_range_through_two_relays(start: Start, name: str, tmp_path: Path) -> None:
    """All of it is on the first one's disk, and nothing of it in the relays' memory."""
    first = start("--memory", "64KiB", store=tmp_path)
    last = relay(start, relay(start, first), options=("--memory", "64KiB"))
    film = movie("Kddd" * 8, size=60_000)
    post(first, name, film, 0, 32)
    first.finish(name, len(film.data))
    size = len(film.data)
    assert last.call("GET", f"/{name}").body == film.data
    for begin, end in [(0, 1), (100_000, 400_000), (size - 5, size), (0, size), (262_143, 262_146)]:
        response = last.call("GET", f"/{name}", {"Range": f"bytes={begin}-{end - 1}"})
        assert (response.status, response.body) == (206, film.data[begin:end])
        assert response["Content-Range"] == f"bytes {begin}-{end - 1}/{size}"
    etag = last.call("HEAD", f"/{name}").etag
    past = last.call("GET", f"/{name}?epoch={etag[1:-1]}", {"Range": "bytes=-7"})
    assert past.body == film.data[-7:]
    assert last.call("GET", f"/{name}", {"Range": f"bytes={size}-"}).status == 416


def test_time_shift_through_a_relay(start: Start, name: str, tmp_path: Path) -> None:
    """A live stream from its first byte on, which only the disk two hops away still has."""
    first = start("--memory", "64KiB", store=tmp_path)
    last = relay(start, relay(start, first), options=("--memory", "64KiB"))
    film = movie("Kddd" * 8, size=60_000)
    post(first, name, film, 0, 30)
    live = Viewer(name).at(last).up_to(film.fragments[29].end)
    with last.peer() as late:
        late.ask("GET", f"/{name}", {"Range": f"bytes=0-{OPEN_END}"})
        assert late.head().status == 206
        assert late.exactly(500_000) == film.data[:500_000]
        post(first, name, film, 30, 32)
        assert late.exactly(len(film.data) - 500_000) == film.data[500_000:]
    live.up_to(len(film.data))


def test_a_copy_by_the_consumer_at_the_third_level(
    start: Start, name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    servers = tree(start)
    film = movie("Kdd" * 8, size=30_000)
    post(servers[0], name, film, 0, 6)
    copy = tmp_path / "copy.mp4"
    target = ("--from", f"{url(servers[2])}/{name}", "--output", copy)
    copying = Process(twistd(), "-n", "--pidfile=", "sdp-consumer", *map(str, target))
    request.addfinalizer(copying.stop)
    copying.wait_for("Copying epoch")
    post(servers[0], name, film, 6, 24)
    servers[0].finish(name, len(film.data))
    assert copying.wait() == 0, copying.lines
    assert copy.read_bytes() == film.data


def test_an_origin_and_a_consumer_while_the_relay_between_them_is_killed(
    start: Start, name: str, tmp_path: Path, clip: Clip, run: Callable[..., Process]
) -> None:
    """The clip goes up through two relays and down through two; the one in the middle of both ways dies."""
    first = start(store=tmp_path / "kept")
    middle = relay(start, first)
    last = relay(start, middle, first)
    copy = tmp_path / "copy.mp4"
    target = f"{url(last)}/{name}"
    consumer = run(*in_foreground("consumer", "--from", target, "--output", copy), cwd=tmp_path)
    origin = run(
        *in_foreground("origin", "--source", clip.file, "--to", target, "--store", tmp_path / "captured"), cwd=tmp_path
    )
    origin.wait_for("Publishing, epoch")
    third = clip.file.stat().st_size // 3
    eventually(lambda: first.call("HEAD", f"/{name}").end > third, "a third of the clip")
    middle.kill()
    assert origin.wait(PATIENCE) == 0, origin.lines
    assert consumer.wait(PATIENCE) == 0, consumer.lines
    [captured] = (tmp_path / "captured").rglob("*.mp4")
    assert copy.read_bytes() == captured.read_bytes()
    assert last.call("GET", f"/{name}").body == captured.read_bytes()


def test_an_upstream_over_tls(start: Start, name: str, tmp_path: Path) -> None:
    made, key = certificate("localhost")
    (tmp_path / "cert.pem").write_bytes(made)
    (tmp_path / "key.pem").write_bytes(key)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    keys = f"privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    first = start("--listen", f"ssl:{port}:interface=127.0.0.1:{keys}")
    upstream = ("--upstream", f"https://localhost:{port}")
    last, other = start(*upstream, "--upstream-ca-file", str(tmp_path / "cert.pem")), start(*upstream)
    film = movie("Kdd", size=30_000)
    post(last, name, film, 0, 1)
    viewer = Viewer(name).at(last)
    post(last, name, film, 1, 3)
    assert viewer.up_to(len(film.data)).content == film.data
    assert first.log_of(name) == film.data
    problem_of(other.call("GET", f"/{name}"), 502)


def test_an_upstream_behind_a_local_socket(start: Start, name: str, tmp_path: Path) -> None:
    path = tmp_path / "upstream.socket"
    first = start("--listen", f"unix:{path}")
    last = start("--upstream", f"unix:{path}")
    film = movie("Kdd")
    post(first, name, film, 0, 3)
    assert Viewer(name).at(last).up_to(len(film.data)).content == film.data
    assert last.describe(name)["upstream"] == f"unix:{path}"


def test_a_relay_has_no_store_of_its_own(tmp_path: Path) -> None:
    options = ("--upstream", "http://127.0.0.1:9", "--store", str(tmp_path))
    process = Process(twistd(), "-n", "--pidfile=", "sdp-distributor", *options)
    assert process.wait() != 0
    assert any("--store and --upstream" in line for line in process.lines), process.lines
