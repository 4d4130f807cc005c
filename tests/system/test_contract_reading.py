"""Section 5 of the wire contract, from outside: Range, plain GETs, past epochs, and what pages may read."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.client import LAST_CHUNK, OPEN_END, Peer, Response, boundary_of, chunk, content_range
from tests.system.media import CONTENT_TYPE, movie
from tests.system.processes import Distributor, eventually, problem_of

pytestmark = pytest.mark.system

DIGITS = b"0123456789"


def by_range(server: Distributor, name: str, value: str, **fields: str) -> Response:
    return server.call("GET", f"/{name}", {"Range": value, **{key.replace("_", "-"): fields[key] for key in fields}})


def opened(server: Distributor, name: str, fields: dict[str, str], version: str = "1.1") -> tuple[Peer, Response]:
    peer = server.peer()
    peer.ask("GET", f"/{name}", fields, version=version)
    return peer, peer.head()


@pytest.fixture
def live(distributor: Distributor, name: str) -> str:
    """A live stream of ten digits."""
    distributor.post(name, 0, DIGITS, {"Content-Type": "text/x-digits"})
    return name


@pytest.fixture
def ended(distributor: Distributor, name: str) -> str:
    """An ended stream of ten digits."""
    distributor.post(name, 0, DIGITS, {"Content-Type": "text/x-digits"}, complete=10)
    return name


# -- Range on a live stream --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [
        ("bytes=2-5", 2, 5),
        ("bytes=0-0", 0, 0),
        ("bytes=0-9", 0, 9),
        ("bytes=3-", 3, 9),
        ("bytes=9-", 9, 9),
        ("bytes=4-10", 4, 9),
        ("bytes=4-999999", 4, 9),
        ("bytes=-3", 7, 9),
        ("bytes=-10", 0, 9),
        ("bytes=-99", 0, 9),
        ("BYTES=1-2", 1, 2),
        ("bytes= 1-2 ,", 1, 2),
    ],
)
def test_a_range_of_a_live_stream(distributor: Distributor, live: str, value: str, first: int, last: int) -> None:
    response = by_range(distributor, live, value)
    assert response.status == 206
    assert response["Content-Range"] == f"bytes {first}-{last}/*"
    assert response["Content-Length"] == str(last - first + 1)
    assert response.body == DIGITS[first : last + 1]
    assert response["Content-Type"] == "text/x-digits"
    assert response["Cache-Control"] == "no-store"
    assert response.end == 10


def test_a_head_tells_what_is_held(distributor: Distributor, live: str) -> None:
    with distributor.peer() as peer:
        response = peer.call("HEAD", f"/{live}", {"Range": "bytes=0-"})
        assert (response.status, response["Content-Range"]) == (206, "bytes 0-9/*")
        assert response["Content-Length"] == "10"
        assert peer.call("HEAD", f"/{live}").status == 200


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_get_with_exactly_bytes_0_is_served_as_if_without(distributor: Distributor, live: str, version: str) -> None:
    peer, response = opened(distributor, live, {"Range": "bytes=0-"}, version)
    with peer:
        assert response.status == 200
        assert response.get("Content-Range") is None
        assert peer.exactly(10) == DIGITS
        distributor.post(live, 10, b"abc")
        assert peer.exactly(3) == b"abc"


def test_an_open_range_echoes_its_end_and_stays_open(distributor: Distributor, live: str) -> None:
    peer, response = opened(distributor, live, {"Range": f"bytes=4-{OPEN_END}"})
    with peer:
        assert response.status == 206
        assert response["Content-Range"] == f"bytes 4-{OPEN_END}/*"
        assert response["Transfer-Encoding"] == "chunked"
        assert peer.exactly(6) == DIGITS[4:]
        distributor.post(live, 10, b"abc")
        assert peer.exactly(3) == b"abc"
        distributor.finish(live, 13)
        assert peer.rest() == b""


def test_an_open_range_at_the_end_waits(distributor: Distributor, live: str) -> None:
    peer, response = opened(distributor, live, {"Range": f"bytes=10-{OPEN_END}"})
    with peer:
        assert response["Content-Range"] == f"bytes 10-{OPEN_END}/*"
        distributor.post(live, 10, b"abc")
        assert peer.exactly(3) == b"abc"


@pytest.mark.parametrize("value", ["bytes=10-", "bytes=10-12", f"bytes=11-{OPEN_END}", "bytes=-0", "bytes=50-60,70-"])
def test_a_range_that_cannot_be_given(distributor: Distributor, live: str, value: str) -> None:
    refused = by_range(distributor, live, value)
    problem_of(refused, 416)
    assert refused["Content-Range"] == "bytes */10"
    distributor.finish(live, 10)
    refused = by_range(distributor, live, value)
    problem_of(refused, 416)
    assert refused["Content-Range"] == "bytes */10"


@pytest.mark.parametrize(
    "value", ["items=0-1", "bytes=5-2", "bytes=", "bytes=-", "bytes=a-b", "bytes 0-1", "bytes=0-1;2-3", "bytes=1-2-3"]
)
def test_a_range_that_cannot_be_read_is_ignored(distributor: Distributor, live: str, value: str) -> None:
    peer, response = opened(distributor, live, {"Range": value})
    peer.close()
    assert response.status == 200


@pytest.mark.parametrize("open_epoch", [True, False])
def test_several_ranges(distributor: Distributor, live: str, open_epoch: bool) -> None:
    if not open_epoch:
        distributor.finish(live, 10)
    with distributor.peer() as peer:
        peer.ask("GET", f"/{live}", {"Range": "bytes=0-1, 4-5, 90-95, -2"})
        response = peer.head()
        assert response.status == 206
        assert response.get("Content-Range") is None
        parts = peer.parts(boundary_of(response))
        assert [(part.first, part.data) for part in parts] == [(0, b"01"), (4, b"45"), (8, b"89")]
        assert {part.complete for part in parts} == {"*" if open_epoch else "10"}
        assert {part.fields["content-type"] for part in parts} == {"text/x-digits"}
        assert peer.call("GET", "/-/health").status == 200


def test_if_range(distributor: Distributor, ended: str) -> None:
    etag = distributor.call("HEAD", f"/{ended}").etag
    assert by_range(distributor, ended, "bytes=2-3", If_Range=etag).body == b"23"
    for other in ('"other"', f"W/{etag}", "Wed, 21 Oct 2015 07:28:00 GMT"):
        response = by_range(distributor, ended, "bytes=2-3", If_Range=other)
        assert (response.status, response.body) == (200, DIGITS)
    distributor.post(ended, 0, b"new epoch")
    peer, response = opened(distributor, ended, {"Range": "bytes=2-3", "If-Range": etag})
    peer.close()
    assert response.status == 200


def test_if_match_on_a_range(distributor: Distributor, live: str) -> None:
    etag = distributor.call("HEAD", f"/{live}").etag
    assert by_range(distributor, live, "bytes=0-1", If_Match=etag).body == b"01"
    problem_of(by_range(distributor, live, "bytes=0-1", If_Match='"other"'), 412)
    problem_of(distributor.call("GET", f"/{live}", {"If-Match": '"other"'}), 412)


# -- Range on an ended one ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "first", "last"),
    [("bytes=0-", 0, 9), ("bytes=2-5", 2, 5), (f"bytes=3-{OPEN_END}", 3, 9), ("bytes=-4", 6, 9), ("bytes=8-20", 8, 9)],
)
def test_a_range_of_an_ended_stream(distributor: Distributor, ended: str, value: str, first: int, last: int) -> None:
    response = by_range(distributor, ended, value)
    assert response.status == 206
    assert response["Content-Range"] == f"bytes {first}-{last}/10"
    assert response["Content-Length"] == str(last - first + 1)
    assert response.body == DIGITS[first : last + 1]
    assert response["Accept-Ranges"] == "bytes"


# -- out of the memory -------------------------------------------------------------------------------------------

BLOCK = bytes(range(256)) * 128


def test_bytes_that_have_left_the_memory_come_from_the_disk(
    start: Callable[..., Distributor], tmp_path: Path, name: str
) -> None:
    server = start("--memory", "64KiB", store=tmp_path / "store")
    for number in range(16):
        server.post(name, number * len(BLOCK), BLOCK)
    assert server.describe(name)["first_offset"] == 0
    whole = BLOCK * 16
    assert by_range(server, name, "bytes=100-299").body == whole[100:300]
    assert by_range(server, name, f"bytes=1000-{len(whole) - 1}").body == whole[1000:]
    peer, response = opened(server, name, {"Range": f"bytes=10-{OPEN_END}"})
    with peer:
        assert response.status == 206
        assert peer.exactly(len(whole) - 10) == whole[10:]
        server.post(name, len(whole), b"more")
        assert peer.exactly(4) == b"more"
    assert server.post(name, 5, BLOCK[5:]).status == 204
    problem_of(server.post(name, 5, BLOCK), 409)
    server.finish(name, len(whole) + 4)
    assert server.call("GET", f"/{name}").body == whole + b"more"


def test_bytes_that_nothing_keeps_are_gone(start: Callable[..., Distributor], name: str) -> None:
    server = start("--memory", "64KiB")
    for number in range(16):
        server.post(name, number * len(BLOCK), BLOCK)
    first = server.describe(name)["first_offset"]
    assert first > 0
    for value in ("bytes=0-10", f"bytes={first - 1}-", f"bytes=0-{OPEN_END}"):
        problem_of(by_range(server, name, value), 410)
    assert by_range(server, name, f"bytes={first}-{first}").body == BLOCK[first % 256 : first % 256 + 1]
    end = 16 * len(BLOCK)
    assert by_range(server, name, f"bytes=-{2 * end}")["Content-Range"] == f"bytes {first}-{end - 1}/*"
    server.finish(name, end)
    rest = server.call("GET", f"/{name}")
    assert (rest.status, rest["Content-Range"]) == (206, f"bytes {first}-{end - 1}/{end}")
    assert rest.body == (BLOCK * 16)[first:]


# -- plainly -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_plain_get_of_a_live_stream(distributor: Distributor, name: str, version: str) -> None:
    clip = movie("KddKdd")
    etag = distributor.post(name, 0, clip.data, {"Content-Type": CONTENT_TYPE}).etag
    joined = clip.data[clip.fragments[3].offset :]
    peer, response = opened(distributor, name, {}, version)
    with peer:
        assert response.status == 200
        assert response["Content-Type"] == CONTENT_TYPE
        assert response["Cache-Control"] == "no-store"
        assert response["Connection-Type"] == "distributor"
        assert response.etag == etag
        assert response.get("Accept-Ranges") is None
        assert response.get("Content-Length") is None
        if version == "1.1":
            assert response["Transfer-Encoding"] == "chunked"
        else:
            assert response.get("Transfer-Encoding") is None
            assert response["Connection"] == "close"
        assert peer.exactly(len(clip.initialization) + len(joined)) == clip.initialization + joined
        distributor.post(name, len(clip.data), b"tail")
        assert peer.exactly(4) == b"tail"
        distributor.finish(name, len(clip.data) + 4)
        assert peer.rest() == b""
        if version == "1.1":
            assert peer.call("GET", "/-/health").status == 200


def test_a_plain_get_of_an_ended_stream(distributor: Distributor, ended: str) -> None:
    with distributor.peer() as peer:
        for _ in range(2):
            response = peer.call("GET", f"/{ended}")
            assert response.status == 200
            assert response["Content-Length"] == "10"
            assert response["Accept-Ranges"] == "bytes"
            assert response.body == DIGITS
            assert response.etag
        head = peer.call("HEAD", f"/{ended}")
        assert (head.status, head["Content-Length"]) == (200, "10")


def test_a_plain_get_of_many_joins_at_once(distributor: Distributor, name: str) -> None:
    clip = movie("Kdd", size=20_000)
    distributor.post(name, 0, clip.data, {"Content-Type": CONTENT_TYPE})
    peers = [opened(distributor, name, {})[0] for _ in range(20)]
    more = movie("KddK", size=20_000).fragments[3]
    distributor.post(name, more.offset, more.data)
    for peer in peers:
        with peer:
            assert peer.exactly(more.end) == clip.data + more.data


def test_the_media_type_is_found_in_the_first_bytes(distributor: Distributor, name: str) -> None:
    clip = movie("Kd")
    with distributor.peer() as origin:
        origin.send(origin.head_bytes("POST", f"/{name}", {"Transfer-Encoding": "chunked"}))
        eventually(lambda: distributor.call("HEAD", f"/{name}").status == 200)
        with distributor.peer() as peer:
            peer.ask("GET", f"/{name}")
            origin.send(chunk(clip.data))
            assert peer.head()["Content-Type"] == CONTENT_TYPE
            assert peer.exactly(len(clip.data)) == clip.data
            origin.send(LAST_CHUNK)
            assert origin.response("POST").status == 201
            assert peer.rest() == b""


def test_curl_copies_a_stream(distributor: Distributor, ended: str) -> None:
    url = f"http://127.0.0.1:{distributor.port}/{ended}"
    for options in ([], ["--http1.0"], ["-r", "0-"], ["-C", "0"]):
        got = subprocess.run(["curl", "-sf", *options, url], capture_output=True, check=True, timeout=20)
        assert got.stdout == DIGITS


# -- past epochs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["distributor", "stored"])
def test_a_past_epoch_by_its_name(request: pytest.FixtureRequest, name: str, which: str) -> None:
    server: Distributor = request.getfixturevalue(which)
    old = server.post(name, 0, DIGITS, complete=10).etag
    new = server.post(name, 0, b"xyz").etag
    past = f"{name}?epoch={old[1:-1]}"
    whole = server.call("GET", f"/{past}")
    assert (whole.status, whole.body, whole.etag, whole.end) == (200, DIGITS, old, 10)
    head = server.call("HEAD", f"/{past}&x=y")
    assert (head.status, head.etag, head.end) == (200, old, 10)
    assert by_range(server, past, "bytes=3-4").body == b"34"
    lacking = server.call("GET", f"/{past}", {**content_range(0, 6), "If-Match": old})
    assert (lacking["Content-Range"], lacking.body) == ("bytes 7-9/10", b"789")
    refused = server.call("GET", f"/{past}", {**content_range(0, 6), "If-Match": new})
    problem_of(refused, 412)
    assert refused.etag == old
    refused = by_range(server, past, "bytes=20-")
    problem_of(refused, 416)
    assert (refused.etag, refused.end) == (old, 10)
    current = f"{name}?epoch={new[1:-1]}"
    assert by_range(server, current, "bytes=0-1").body == b"xy"


@pytest.mark.parametrize("identifier", ["unknown", "", "%22", "../x"])
def test_an_unknown_epoch(distributor: Distributor, live: str, identifier: str) -> None:
    for method in ("GET", "HEAD"):
        assert distributor.call(method, f"/{live}?epoch={identifier}", {"Range": "bytes=0-1"}).status == 404
    problem_of(distributor.call("GET", f"/{live}?epoch={identifier}"), 404)


# -- pages of other sites ----------------------------------------------------------------------------------------


def test_pages_may_read_and_not_post(distributor: Distributor, live: str) -> None:
    origin = {"Origin": "http://page.example"}
    for path in (f"/{live}", "/-/streams", "/-/time", f"/-/streams/{live}"):
        response = distributor.call("GET", path, {**origin, "Range": "bytes=0-1"})
        assert response["Access-Control-Allow-Origin"] == "*", path
        assert distributor.call("HEAD", path, origin)["Access-Control-Allow-Origin"] == "*"
    exposed = {field.strip() for field in response["Access-Control-Expose-Headers"].lower().split(",")}
    assert exposed >= {
        "upload-offset", "etag", "durable-offset", "content-range", "capture-time", "received-time", "random-access",
        "connection-type", "retry-after",
    }  # fmt: skip
    refused = distributor.call("GET", "/no-such", origin)
    assert refused["Access-Control-Allow-Origin"] == "*"
    posted = distributor.post(live, 10, b"abc", origin)
    assert posted.get("Access-Control-Allow-Origin") is None
    refused = distributor.post(live, 50, b"abc", origin)
    assert refused.get("Access-Control-Allow-Origin") is None


def test_options_is_answered(distributor: Distributor, live: str) -> None:
    preflight = {
        "Origin": "http://page.example",
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "range,content-range,prefer,if-match,connection-type",
    }
    for path in (f"/{live}", "/not/there/yet", "/-/streams"):
        response = distributor.call("OPTIONS", path, preflight)
        assert response.status in (200, 204)
        assert response["Access-Control-Allow-Origin"] == "*"
        methods = response["Access-Control-Allow-Methods"].replace(" ", "").split(",")
        assert "GET" in methods
        assert "POST" not in methods
        allowed = response["Access-Control-Allow-Headers"].lower().replace(" ", "").split(",")
        assert {"range", "content-range", "prefer", "if-match", "connection-type"} <= set(allowed)
    assert "POST" in distributor.call("OPTIONS", f"/{live}")["Allow"].split(", ")
    assert distributor.call("OPTIONS", "*").status in (200, 204)


def test_allow_origin_names_one_site_or_none(start: Callable[..., Distributor], name: str) -> None:
    server = start("--allow-origin", "https://site.example")
    server.post(name, 0, b"abc")
    response = by_range(server, name, "bytes=0-1")
    assert response["Access-Control-Allow-Origin"] == "https://site.example"
    assert "Origin" in response["Vary"]
    server = start("--allow-origin", "none")
    server.post(name, 0, b"abc")
    assert by_range(server, name, "bytes=0-1").get("Access-Control-Allow-Origin") is None
