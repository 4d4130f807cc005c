"""Corners of the wire contract, from outside: where two of its rules meet."""

from __future__ import annotations

import itertools
import resource
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.client import LAST_CHUNK, OPEN_END, Peer, boundary_of, chunk, content_range
from tests.system.media import CONTENT_TYPE, movie
from tests.system.processes import Distributor, eventually, problem_of

pytestmark = pytest.mark.system

Start = Callable[..., Distributor]

DIGITS = [b"%d" % digit for digit in range(10)]
CHUNKED = {"Transfer-Encoding": "chunked"}
OPEN = {"Content-Range": f"bytes 0-{OPEN_END}/*", **CHUNKED}


def begun(server: Distributor, name: str, data: bytes, **fields: str) -> Peer:
    """A connection whose POST has begun: open-ended, or an ordinary publisher's with ``Content_Range=""``."""
    peer = server.peer()
    peer.send(peer.head_bytes("POST", f"/{name}", fields or OPEN) + chunk(data))
    eventually(lambda: server.call("HEAD", f"/{name}").end == len(data))
    return peer


def is_let_go(server: Distributor, name: str) -> None:
    eventually(lambda: not server.describe(name)["origin_connected"], "the connection's end at the Distributor")


# -- who posts ---------------------------------------------------------------------------------------------------


def test_the_end_by_if_match_takes_over(distributor: Distributor, name: str) -> None:
    with begun(distributor, name, b"abc") as origin:
        etag = distributor.call("HEAD", f"/{name}").etag
        response = distributor.call("POST", f"/{name}", {"Content-Range": "bytes */3", "If-Match": etag}, b"")
        assert response.status == 204
        assert origin.ended()
    assert distributor.describe(name)["state"] == "ended"


def test_an_origin_that_ended_its_epoch_begins_the_next(distributor: Distributor, name: str) -> None:
    with distributor.peer() as origin:
        origin.call("CONNECT", "a:1", {"Connection-Type": "origin"})
        first = origin.call("POST", f"/{name}", content_range(0, 2), b"abc")
        assert origin.call("POST", f"/{name}", {"Content-Range": "bytes */3"}, b"").status == 204
        second = origin.call("POST", f"/{name}", content_range(0, 1), b"xy")
        assert second.status == 201
        assert second.etag != first.etag
        problem_of(distributor.post(name, 2, b"z"), 409)  # it holds the new one
        assert distributor.call("DELETE", f"/{name}").status == 204
        assert origin.call("POST", f"/{name}", content_range(0, 1), b"uv").status == 201


def test_one_origin_may_hold_several_streams(distributor: Distributor, name: str) -> None:
    with distributor.peer() as origin:
        origin.call("CONNECT", "a:1", {"Connection-Type": "origin"})
        for number in range(3):
            assert origin.call("POST", f"/{name}/{number}", content_range(0, 2), b"abc").status == 201
        for number in range(3):
            problem_of(distributor.post(f"{name}/{number}", 3, b"x"), 409)
    for number in range(3):
        is_let_go(distributor, f"{name}/{number}")
        assert distributor.post(f"{name}/{number}", 3, b"x").status == 204


def test_an_ordinary_epoch_that_is_resumed_by_range_stays_open(start: Start, name: str) -> None:
    """From then on its Origin is one that resumes, and a lost connection leaves the epoch open."""
    server = start("--publisher-timeout", "0.2")
    with begun(server, name, b"abc", **CHUNKED) as publisher:
        etag = server.call("HEAD", f"/{name}").etag
        fields = {"Content-Range": f"bytes 3-{OPEN_END}/*", **CHUNKED, "If-Match": etag}
        with server.peer() as newcomer:
            newcomer.send(newcomer.head_bytes("POST", f"/{name}", fields) + chunk(b"def"))
            assert publisher.ended()
            eventually(lambda: server.call("HEAD", f"/{name}").end == 6)
    is_let_go(server, name)
    # Another stream's publisher is cut after it: when that one has ended, this one's time is over as well.
    begun(server, f"{name}/clock", b"x", **CHUNKED).close()
    eventually(lambda: server.describe(f"{name}/clock")["state"] == "ended")
    assert server.describe(name)["state"] != "ended"
    assert server.post(name, 6, b"ghi", {"If-Match": etag}).status == 204


def test_a_post_of_nothing_comes_short(distributor: Distributor, name: str) -> None:
    problem_of(distributor.call("POST", f"/{name}", content_range(0, 2), b""), 400)
    assert distributor.call("HEAD", f"/{name}").end == 0


def test_many_posts_in_one_packet(distributor: Distributor, name: str) -> None:
    with distributor.peer() as peer:
        peer.send(
            b"".join(
                peer.head_bytes("POST", f"/{name}", {**content_range(at, at), "Content-Length": "1"}) + DIGITS[at % 10]
                for at in range(200)
            )
        )
        assert [peer.response("POST").end for _ in range(200)] == list(range(1, 201))
    assert distributor.log_of(name) == b"0123456789" * 20


def test_a_post_over_http_1_0(distributor: Distributor, name: str) -> None:
    with distributor.peer() as peer:
        response = peer.call("POST", f"/{name}", content_range(0, 2), b"abc", version="1.0")
        assert (response.status, response["Connection"]) == (201, "close")
        assert peer.ended()
    assert distributor.call("POST", f"/{name}", {"Connection": "keep-alive", **content_range(3, 3)}, b"d").end == 4


def test_a_large_overlap_is_compared_with_the_disk(start: Start, tmp_path: Path, name: str) -> None:
    server = start("--memory", "64KiB", store=tmp_path / "store")
    data = bytes(at * 7 % 251 for at in range(600_000))
    server.post(name, 0, data[:500_000])
    response = server.post(name, 10, data[10:])
    assert (response.status, response.end) == (204, 600_000)
    wrong = bytearray(data[10:])
    wrong[300_000] ^= 1
    problem_of(server.post(name, 10, bytes(wrong)), 409)
    with server.peer() as peer:
        peer.send(peer.head_bytes("POST", f"/{name}", {**content_range(10, 600_009), **CHUNKED}))
        for at in range(10, 600_000, 50_000):
            peer.send(chunk(data[at : at + 50_000]))
        peer.send(chunk(b"0123456789") + LAST_CHUNK)
        assert peer.response("POST").end == 600_010
        # What comes behind a body that waits for the disk is answered in its turn.
        peer.send(peer.head_bytes("POST", f"/{name}", {**content_range(0, 99_999), "Content-Length": "100000"}))
        peer.send(data[:100_000] + peer.head_bytes("HEAD", f"/{name}"))
        assert peer.response("POST").status == 204
        assert peer.response("HEAD").end == 600_010
    assert server.log_of(name) == data + b"0123456789"


def test_a_compare_with_the_disk_that_is_overtaken(start: Start, tmp_path: Path, name: str) -> None:
    server = start("--memory", "64KiB", store=tmp_path / "store")
    data = bytes(at * 7 % 251 for at in range(700_000))
    server.post(name, 0, data[:500_000])
    with server.peer() as origin, server.peer() as newcomer:
        origin.send(origin.head_bytes("POST", f"/{name}", {"Content-Range": f"bytes 500000-{OPEN_END}/*", **CHUNKED}))
        etag = server.call("HEAD", f"/{name}").etag
        fields = {**content_range(0, 699_999), "If-Match": etag, "Content-Length": "700000"}
        newcomer.send(newcomer.head_bytes("POST", f"/{name}", fields) + data[:200_000])
        origin.send(chunk(data[500_000:600_000]))
        eventually(lambda: server.call("HEAD", f"/{name}").end == 600_000)
        newcomer.send(data[200_000:])
        response = newcomer.response("POST")
        assert (response.status, response.end) == (204, 700_000)
        assert origin.ended()
    assert server.log_of(name) == data


# -- the disk ----------------------------------------------------------------------------------------------------


def full_disk(server: Distributor) -> None:
    """Let no file of its processes grow: writing fails as it does on a full disk."""
    for process in server.processes():
        resource.prlimit(process, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


def test_a_full_disk_stops_the_recording_and_not_the_stream(start: Start, tmp_path: Path, name: str) -> None:
    server = start("--sync", "0.1", store=tmp_path / "store")
    server.post(name, 0, b"abc")
    eventually(lambda: server.call("HEAD", f"/{name}").get("Durable-Offset") == "3")
    with server.peer() as consumer:
        consumer.ask("GET", f"/{name}")
        consumer.head()
        assert consumer.exactly(3) == b"abc"
        full_disk(server)
        assert server.post(name, 3, b"def").status == 204
        assert consumer.exactly(3) == b"def"
        eventually(lambda: server.describe(name)["recording"] == "failed", "the failure in the state")
        assert server.metric("sdp_store_failures_total") >= 1
        assert server.post(name, 6, b"ghi").status == 204
        assert consumer.exactly(3) == b"ghi"
        assert server.call("HEAD", f"/{name}")["Durable-Offset"] == "3"
        assert server.log_of(name) == b"abcdefghi"
        assert server.finish(name, 9).status == 204
        assert consumer.rest() == b""
    server.lines[:] = [line for line in server.lines if "recording stopped" not in line]
    server.kill()
    again = start(store=tmp_path / "store")
    assert again.call("HEAD", f"/{name}").end == 3  # what the disk has, up to a record's boundary
    assert again.log_of(name) == b"abc"


def test_a_full_disk_where_the_store_is_required(start: Start, tmp_path: Path, name: str) -> None:
    server = start("--sync", "0.1", "--store-required", store=tmp_path / "store")
    server.post(name, 0, b"abc")
    eventually(lambda: server.call("HEAD", f"/{name}").get("Durable-Offset") == "3")
    full_disk(server)
    refused = server.post(name, 3, b"def")
    problem_of(refused, 507)
    assert refused["Durable-Offset"] == "3"
    assert server.describe(name)["recording"] == "failed"
    problem_of(server.post(name, server.call("HEAD", f"/{name}").end, b"ghi"), 507)
    problem_of(server.post(f"{name}/new", 0, b"abc"), 507)
    server.kill()


def test_delete_leaves_nothing_on_the_disk(start: Start, tmp_path: Path, name: str) -> None:
    server = start(store=tmp_path / "store")
    server.post(f"keep/{name}", 0, b"kept")
    eventually(lambda: server.call("HEAD", f"/keep/{name}").get("Durable-Offset") == "4")
    before = {path for path in (tmp_path / "store").rglob("*") if path.is_file()}
    for _ in range(2):
        server.post(f"gone/{name}", 0, b"abc", complete=3)
    server.post(f"gone/{name}/below", 0, b"another stream")
    assert server.call("DELETE", f"/gone/{name}").status == 204
    assert server.log_of(f"gone/{name}/below") == b"another stream"
    assert server.call("DELETE", f"/gone/{name}/below").status == 204
    assert {path for path in (tmp_path / "store").rglob("*") if path.is_file()} == before


LONG = bytes(range(256)) * 40_000
"""10 MiB: more than the kernel holds for a consumer that does not read."""


@pytest.mark.parametrize("ended", [True, False])
def test_delete_while_a_recording_is_read_from_the_disk(start: Start, tmp_path: Path, name: str, ended: bool) -> None:
    server = start("--memory", "64KiB", store=tmp_path / "store")
    server.post(name, 0, LONG)
    if ended:
        server.finish(name, len(LONG))
    with server.peer(receive_buffer=8192) as peer:
        peer.ask("GET", f"/{name}", {"Range": f"bytes=0-{OPEN_END}"})
        assert peer.head().status == 206
        assert peer.exactly(1000) == LONG[:1000]
        assert server.call("DELETE", f"/{name}").status == 204
        data = peer.broken_off()
        assert data == LONG[1000 : 1000 + len(data)]
        assert len(data) < len(LONG) - 1000
    problem_of(server.call("GET", f"/{name}"), 404)


def test_delete_while_an_overlap_is_compared_with_the_disk(start: Start, tmp_path: Path, name: str) -> None:
    server = start("--memory", "64KiB", store=tmp_path / "store")
    server.post(name, 0, LONG)
    with server.peer() as peer:
        fields = {**content_range(0, len(LONG) - 1), "Content-Length": str(len(LONG))}
        peer.send(peer.head_bytes("POST", f"/{name}", fields) + LONG[:100_000])
        for _ in range(3):
            server.call("GET", "/-/health")
        assert server.call("DELETE", f"/{name}").status == 204
        peer.send(LONG[100_000:300_000])
        problem_of(peer.response("POST"), 409)
    assert server.call("HEAD", f"/{name}").status == 404


def test_delete_while_somebody_waits_for_the_first_byte(distributor: Distributor, name: str) -> None:
    with distributor.peer() as origin, distributor.peer() as plain, distributor.peer() as poll:
        origin.send(origin.head_bytes("POST", f"/{name}", OPEN))
        eventually(lambda: distributor.call("HEAD", f"/{name}").status == 200)
        for peer in (plain, poll):
            assert peer.call("GET", "/-/health").status == 200  # from here on the process that answers it counts it
        before = distributor.metric("sdp_requests_total")
        plain.ask("GET", f"/{name}")
        poll.ask("GET", f"/{name}", {"Content-Range": "bytes */0", "Prefer": "wait=30"})
        asked = itertools.count(int(before) + 1)
        eventually(lambda: distributor.metric("sdp_requests_total") == next(asked) + 2, "both requests")
        assert distributor.call("DELETE", f"/{name}").status == 204
        ended = plain.response()
        assert (ended.status, ended.body) == (200, b"")
        assert distributor.post(name, 0, b"another").status == 201
        assert poll.response().body == b"another"


@pytest.mark.parametrize("fields", [{"Prefer": "wait=60"}, {"Prefer": "wait=60", "Content-Range": "bytes 0-2/*"}])
def test_who_waits_does_not_hold_up_the_drain(start: Start, name: str, fields: dict[str, str]) -> None:
    server = start()
    path = f"{name}/none"
    if "Content-Range" in fields:
        server.post(name, 0, b"abc")
        path = name
    with server.peer() as peer:
        peer.ask("GET", f"/{path}", fields)
        server.call("GET", "/-/health")
        server.terminate()
        assert server.wait(10) in (0, -15)
        assert peer.ended()


# -- who gets ----------------------------------------------------------------------------------------------------


def test_a_body_of_a_get_is_dropped(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    with distributor.peer() as peer:
        assert peer.call("GET", f"/{name}", {"Range": "bytes=0-2"}, b"what is this").body == b"abc"
        assert peer.call("GET", f"/{name}", {"Range": "bytes=1-2"}).body == b"bc"


def test_a_live_answer_is_followed_by_the_next_request(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    with distributor.peer() as peer:
        peer.send(peer.head_bytes("GET", f"/{name}") + peer.head_bytes("GET", "/-/time"))
        peer.head()
        assert peer.exactly(3) == b"abc"
        distributor.finish(name, 3)
        assert peer.rest() == b""
        assert peer.response().status == 200


def test_consumers_that_vanish_are_forgotten(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    for _ in range(5):
        with distributor.peer() as peer:
            peer.ask("GET", f"/{name}")
            peer.head()
            assert peer.exactly(3) == b"abc"
            peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    eventually(lambda: distributor.describe(name)["consumers"] == [])
    assert distributor.post(name, 3, b"def").status == 204


def test_several_forms_of_one_live_stream_at_once(distributor: Distributor, name: str) -> None:
    clip = movie("K" + "d" * 40, size=3000)
    with begun(distributor, name, clip.initialization, **OPEN, **{"Content-Type": CONTENT_TYPE}) as origin:
        forms: list[tuple[dict[str, str], str]] = [
            ({}, "1.1"),
            ({}, "1.0"),
            ({"Content-Range": "bytes */0"}, "1.1"),
            ({"Range": f"bytes=0-{OPEN_END}"}, "1.1"),
        ]
        peers = []
        for fields, version in forms:
            peer = distributor.peer()
            peer.ask("GET", f"/{name}", fields, version=version)
            assert peer.head().status in (200, 206)
            peers.append(peer)
        parts = distributor.peer()
        parts.ask("GET", f"/{name}", {"Content-Range": "bytes */0", "Accept": "multipart/byteranges"})
        boundary = boundary_of(parts.head())
        for fragment in clip.fragments:
            for at in range(0, len(fragment.data), 1000):
                origin.send(chunk(fragment.data[at : at + 1000]))
        origin.send(LAST_CHUNK)
        assert origin.response("POST").end == len(clip.data)
        distributor.finish(name, len(clip.data))
        for peer in peers:
            assert peer.rest() == clip.data
            peer.close()
        assert b"".join(part.data for part in parts.parts(boundary)) == clip.data
        parts.close()


# -- programs that people have -----------------------------------------------------------------------------------


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="ffmpeg is not installed")
def test_ffmpeg_publishes_and_reads(distributor: Distributor, name: str, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{distributor.port}/{name}"
    source = ["-f", "lavfi", "-i", "testsrc=size=64x48:rate=10:duration=2"]
    publish = ["-f", "mp4", "-movflags", "frag_keyframe+empty_moov+default_base_moof", "-g", "5", "-method", "PUT", url]
    quiet = ["ffmpeg", "-v", "error", "-nostdin"]
    subprocess.run([*quiet, *source, *publish], check=True, timeout=60)
    described = distributor.describe(name)
    assert (described["state"], described["content_type"]) == ("ended", "video/mp4")
    got = subprocess.run(
        [*quiet, "-i", url, "-f", "framemd5", "-"], check=True, timeout=60, capture_output=True, text=True
    )
    assert len([line for line in got.stdout.splitlines() if not line.startswith("#")]) == 20


# -- a client that ends its own side ------------------------------------------------------------------------------


def test_what_was_asked_before_the_client_ended_its_side_is_answered_whole(stored: Distributor, name: str) -> None:
    data = bytes(range(256)) * 20_000
    assert stored.post(name, 0, data).status == 201
    assert stored.call("POST", f"/{name}", {"Content-Range": f"bytes */{len(data)}"}, b"").status == 204
    with stored.peer() as peer:
        peer.send(peer.head_bytes("HEAD", f"/{name}") + peer.head_bytes("GET", f"/{name}"))
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.head("HEAD").status == 200
        assert peer.response().body == data
        assert peer.ended()


def test_a_post_that_its_client_does_not_finish_keeps_what_came(distributor: Distributor, name: str) -> None:
    with distributor.peer() as peer:
        peer.send(
            peer.head_bytes("POST", f"/{name}", {"Content-Range": "bytes 0-9/*", "Content-Length": "10"}) + b"abc"
        )
        peer.socket.shutdown(socket.SHUT_WR)
        assert peer.ended()
    assert distributor.call("HEAD", f"/{name}").end == 3


def test_a_live_reader_that_ends_its_side_is_let_go(distributor: Distributor, name: str) -> None:
    with begun(distributor, name, b"abc"), distributor.peer() as reader:
        reader.ask("GET", f"/{name}")
        assert reader.head().status == 200
        reader.socket.shutdown(socket.SHUT_WR)
        eventually(lambda: not distributor.describe(name)["consumers"], "the reader's end at the Distributor")


# -- If-None-Match ------------------------------------------------------------------------------------------------


def test_a_recording_that_a_cache_has_is_not_sent_again(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc").etag
    live = distributor.call("HEAD", f"/{name}", {"If-None-Match": etag})
    assert live.status == 200  # it grows: what a cache has of it is not all
    assert distributor.call("POST", f"/{name}", {"Content-Range": "bytes */3"}, b"").status == 204
    for tag in (etag, f"W/{etag}", "*", f'"other", {etag}'):
        response = distributor.call("GET", f"/{name}", {"If-None-Match": tag})
        assert (response.status, response.body, response.etag) == (304, b"", etag)
    assert distributor.call("GET", f"/{name}", {"If-None-Match": '"other"'}).body == b"abc"


def test_a_post_may_ask_to_be_the_first(distributor: Distributor, name: str) -> None:
    fields = {**content_range(0, 2), "If-None-Match": "*"}
    assert distributor.call("POST", f"/{name}", fields, b"abc").status == 201
    problem_of(distributor.call("POST", f"/{name}", fields, b"abc"), 412)
