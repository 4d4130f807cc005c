"""A Distributor in several processes, each of which may die: consumers get every byte, and views are of the whole."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.net.certificates import certificate
from tests.system.client import LAST_CHUNK, OPEN_END, Cut, Peer, chunk
from tests.system.media import CONTENT_TYPE, movie
from tests.system.processes import Distributor, Process, eventually
from tests.system.programs import Service, in_foreground
from tests.system.test_relay import Viewer, post

pytestmark = pytest.mark.system

Start = Callable[..., Distributor]
TWO = ("--workers", "2")
MANY = 16
"""Viewers: that the kernel deals them all to one of two processes happens once in thirty thousand runs."""

FILM = movie("Kdd" * 5, size=3000)


@pytest.fixture(autouse=True)
def _left() -> Iterator[None]:
    """Every viewer leaves with its test."""
    yield
    while Viewer.all:
        Viewer.all.pop().leave()


def goes_on(viewer: Viewer) -> bool:
    """Take the film to its end on the connection that there is; False where that is lost."""
    try:
        viewer.up_to(len(FILM.data))
    except (Cut, ConnectionError):
        return False
    return True


def test_consumers_on_both_get_the_same(start: Start, name: str) -> None:
    server = start(*TWO)
    post(server, name, FILM, 0, 3)
    viewers = [Viewer(name).at(server) for _ in range(MANY)]
    post(server, name, FILM, 3, 15)
    assert all(goes_on(viewer) for viewer in viewers)
    assert {viewer.content for viewer in viewers} == {FILM.data[viewers[0].parts[0].first :]}
    told = [[(part.first, part.last, part.fields) for part in viewer.parts] for viewer in viewers]
    assert len({str(each[-9:]) for each in told}) == 1, "times, places and fields are the same at each worker"


@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_worker_comes_back_and_nobody_loses_a_byte(
    start: Start, tmp_path: Path, name: str, victim: int
) -> None:
    server = start(*TWO, "--catch-up", "60", "--sync", "0.1", store=tmp_path / "store")
    post(server, name, FILM, 0, 3)
    eventually(lambda: server.call("HEAD", f"/{name}")["Durable-Offset"] == str(FILM.fragments[2].end), "durability")
    viewers = [Viewer(name).at(server).up_to(FILM.fragments[2].end) for _ in range(MANY)]
    before = server.processes()
    os.kill(before[1 + victim], signal.SIGKILL)
    post(server, name, FILM, 3, 15)
    cut = [viewer for viewer in viewers if not goes_on(viewer)]
    assert 0 < len(cut) < MANY, "those of the other worker stay connected"
    for viewer in cut:
        viewer.at(server).up_to(len(FILM.data))
    assert [viewer.content == FILM.data for viewer in viewers] == [True] * MANY
    eventually(lambda: len(server.processes()) == 3, "another worker in its place")
    assert before[1 + victim] not in server.processes()
    eventually(lambda: len(server.describe(name)["consumers"]) == MANY, "all consumers in the state")


def test_views_and_counts_are_of_the_whole(start: Start, name: str) -> None:
    server = start(*TWO)
    post(server, name, FILM, 0, 3)
    for _ in range(MANY):
        Viewer(name).at(server).up_to(FILM.fragments[2].end)
    with ExitStack() as ending:
        # They stay: of one that has left, each process learns in its own time.
        asking = [ending.enter_context(server.peer()) for _ in range(6)]

        def whole(peer: Peer) -> bool:
            described = json.loads(peer.call("GET", f"/-/streams/{name}").body)
            text = peer.call("GET", "/-/metrics").body.decode()
            return (
                len(described["consumers"]) == MANY
                and f'sdp_stream_consumers{{stream="{name}"}} {MANY}.0' in text
                and f"sdp_connections {MANY + len(asking)}.0" in text
            )

        for peer in asking:  # whichever process is asked
            eventually(partial(whole, peer), "the same count wherever it is asked for")
    assert server.metric("sdp_connections_accepted_total") >= MANY


def test_the_limit_of_connections_is_of_the_whole(start: Start) -> None:
    server = start(*TWO, "--max-connections", "6")
    peers = [server.peer() for _ in range(6)]
    assert [peer.call("GET", "/-/health").status for peer in peers] == [200] * 6
    with server.peer() as one_more:
        assert one_more.head().status == 503
    for peer in peers:
        peer.close()
    eventually(lambda: server.call("GET", "/-/health").status == 200, "room again")


def test_a_connection_may_go_from_what_is_live_to_anything_else(start: Start, name: str) -> None:
    server = start(*TWO)
    for number in range(8):
        with server.peer() as peer:
            own = f"{name}-{number}"
            assert peer.call("GET", f"/{own}").status == 404
            body = {"Content-Range": "bytes 0-2/*", "Content-Type": CONTENT_TYPE}
            assert peer.call("POST", f"/{own}", body, b"abc").status == 201
            assert peer.call("HEAD", f"/{own}").end == 3
            assert peer.call("DELETE", f"/{own}").status == 204


def test_over_tls_each_of_them_serves(run: Callable[..., Process], tmp_path: Path, name: str) -> None:
    made, key = certificate("localhost")
    (tmp_path / "cert.pem").write_bytes(made)
    (tmp_path / "key.pem").write_bytes(key)
    listen = f"ssl:0:interface=127.0.0.1:privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    process = run(*in_foreground("distributor", *TWO, "--store", "none", "--listen", listen))
    port = int(process.wait_for(r"Listening on .*port=\d+").partition("port=")[2].partition(")")[0])
    trusting = ssl.create_default_context(cadata=made.decode())
    with ExitStack() as ending:

        def peer() -> Peer:
            return ending.enter_context(Peer(port, tls=trusting))

        origin = peer()
        fields = {"Content-Type": CONTENT_TYPE, "Transfer-Encoding": "chunked"}
        origin.send(origin.head_bytes("POST", f"/{name}", fields) + chunk(FILM.data[:7000]))
        eventually(lambda: peer().call("HEAD", f"/{name}").end == 7000, "the beginning")
        viewers = [peer() for _ in range(MANY)]
        for viewer in viewers:
            viewer.ask("GET", f"/{name}", {"Content-Range": "bytes */0"})
            assert viewer.head()["Content-Range"] == f"bytes 0-{OPEN_END}/*"
        origin.send(chunk(FILM.data[7000:]) + LAST_CHUNK)
        assert {viewer.rest() for viewer in viewers} == {FILM.data}
        assert origin.response("POST").end == len(FILM.data)
    process.stop()
    assert process.faults() == []


def test_an_address_that_is_taken_is_one_clear_line(run: Callable[..., Process]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        where = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        process = run(*in_foreground("distributor", *TWO, "--listen", where, "--store", "none"))
        assert process.wait() == 1
    told = [line for line in process.lines if "Address already in use" in line]
    assert len(told) == 1
    assert process.faults() == []
    assert not [line for line in process.lines if "[worker" in line]


def test_two_distributors_do_not_share_an_address_by_mistake(start: Start, run: Callable[..., Process]) -> None:
    where = f"tcp:{start(*TWO).port}:interface=127.0.0.1"
    assert run(*in_foreground("distributor", *TWO, "--listen", where, "--store", "none")).wait() == 1


def test_a_store_that_cannot_be_opened_ends_them_all(run: Callable[..., Process], tmp_path: Path) -> None:
    (tmp_path / "store").write_text("not a directory")
    process = run(
        *in_foreground("distributor", *TWO, "--listen", "tcp:0:interface=127.0.0.1", "--store", tmp_path / "store")
    )
    assert process.wait() == 1
    assert process.faults() == []


def runs(process: int) -> bool:
    """Whether a process goes on; one that has ended may stay in the table until somebody asks for its status."""
    try:
        stat = Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def test_workers_end_with_their_supervisor(start: Start, name: str) -> None:
    server = start(*TWO)
    post(server, name, FILM, 0, 3)
    workers = server.processes()[1:]
    assert len(workers) == 2
    server.kill()
    eventually(lambda: not any(runs(worker) for worker in workers), "their end")
    again = start(*TWO, port=server.port)
    assert again.call("GET", "/-/health").status == 200


def test_in_the_background(service: Callable[..., Service], tmp_path: Path) -> None:
    running = service("distributor", *TWO, "--listen", "tcp:0:interface=127.0.0.1", "--store", tmp_path / "store")
    port = int(running.said(r"Listening on .*port=(\d+)")[1])
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /-/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert client.recv(12) == b"HTTP/1.1 200"
    running.terminate()
    assert "Traceback" not in running.log()
