"""Sections 1 to 3 of the wire contract, from outside: names, roles and the handshake, kept connections."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

from tests.system.client import Response
from tests.system.processes import Distributor, eventually, problem_of

pytestmark = pytest.mark.system

KEEP_ALIVE = re.compile(r"timeout=(\d+), max=(\d+)")


def keep_alive(response: Response) -> tuple[int, int]:
    """What an answer announces: idle seconds, requests left."""
    assert response["Connection"] == "keep-alive"
    match = KEEP_ALIVE.fullmatch(response["Keep-Alive"])
    assert match is not None, response
    return int(match[1]), int(match[2])


# -- 1: names ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "n1", "N.1_~-", "a/b/c", "-x", "--", "a/-", "_", "~", "a..b", "a.", "x" * 255, "/".join("y" * 128),
    ],
)  # fmt: skip
def test_names_that_are_streams(distributor: Distributor, path: str) -> None:
    posted = distributor.post(path, 0, b"abc")
    assert posted.status == 201, posted
    assert distributor.describe(path)["name"] == path
    assert distributor.log_of(path) == b"abc"
    assert distributor.call("DELETE", f"/{path}").status == 204


@pytest.mark.parametrize(
    "path",
    [
        "x" * 256, ".a", "a/.b", "..", "a/../b", "a/..", "a//b", "a/", "/a", "-", "-/x", "-/streamsx",
        "a%2Fb", "a%00", "%2e%2e/%2e%2e/etc/passwd", "%2ea", "a%20b", "a%zz", "a%2", "a%", "a+b", "a:b", "a,b",
        "%C3%A4", "a\\b", "%25", "%2561",
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_names_are_404_whatever_the_method(distributor: Distributor, path: str, method: str) -> None:
    fields = {"Content-Range": "bytes 0-2/*"} if method in ("POST", "PUT") else {}
    with distributor.peer() as peer:
        peer.ask(method, f"/{path}", fields, b"abc" if fields else None)
        response = peer.response(method)
    assert response.status == 404
    if method != "HEAD":
        problem_of(response, 404)


def test_an_escape_of_a_name_character_is_that_character(distributor: Distributor) -> None:
    assert distributor.post("%65scaped%2Done%7e%2E", 0, b"abc").status == 201
    assert distributor.log_of("escaped-one~.") == b"abc"
    assert distributor.log_of("%65scaped-one~%2e") == b"abc"


def test_unknown_query_parameters_are_ignored(distributor: Distributor, name: str) -> None:
    assert distributor.call("POST", f"/{name}?a=b&c", {"Content-Range": "bytes 0-2/*"}, b"abc").status == 201
    assert distributor.call("HEAD", f"/{name}?x").end == 3


def test_absolute_form_names_the_same_stream(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    assert distributor.call("HEAD", f"http://somewhere.example:1/{name}").end == 3


def test_nothing_outside_the_store_is_touched(start, tmp_path: Path) -> None:
    stored = start(store=tmp_path / "in" / "store")
    for path in ("../escape", "..%2fescape", "%2e%2e/escape", "a/../../escape", ".%2e/escape"):
        assert stored.post(path, 0, b"abc").status == 404
        assert stored.call("DELETE", f"/{path}").status == 404
    stored.stop()
    assert [each.name for each in tmp_path.iterdir()] == ["in"]
    assert [each.name for each in (tmp_path / "in").iterdir()] == ["store"]
    assert not [each for each in (tmp_path / "in").rglob("*") if "escape" in each.name]


# -- 1: views ----------------------------------------------------------------------------------------------------


def test_streams_are_listed_and_described(distributor: Distributor, name: str) -> None:
    posted = distributor.post(name, 0, b"abc", {"Content-Type": "text/x-test"})
    listed = distributor.call("GET", "/-/streams")
    assert listed["Content-Type"] == "application/json"
    mine = [one for one in json.loads(listed.body)["streams"] if one["name"] == name]
    single = distributor.describe(name)
    assert len(mine) == 1
    wanted = {"name", "epoch", "content_type", "state", "first_offset", "end_offset", "durable_offset", "bit_rate"}
    for one in (*mine, single):
        assert wanted | {"consumers"} <= one.keys()
        assert one["epoch"] == posted.etag.strip('"')
        assert (one["content_type"], one["state"]) == ("text/x-test", "live")
        assert (one["first_offset"], one["end_offset"]) == (0, 3)
        assert one["consumers"] == []
    distributor.finish(name, 3)
    assert distributor.describe(name)["state"] == "ended"
    problem_of(distributor.call("GET", "/-/streams/no-such"), 404)


def test_a_consumer_is_described_with_its_lag(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    with distributor.peer() as consumer:
        consumer.ask("GET", f"/{name}")
        consumer.head()
        assert consumer.exactly(3) == b"abc"
        (described,) = eventually(lambda: distributor.describe(name)["consumers"], "the consumer in the state")
        assert described["lag_bytes"] == 0
        assert described["lag_ms"] == 0


def test_a_stream_without_bytes_is_stalled(start, name: str) -> None:
    server = start("--stalled-after", "0.001")
    server.post(name, 0, b"abc")
    eventually(lambda: server.describe(name)["state"] == "stalled", "the stall")


def test_the_page_for_people_links_to_what_plays_a_stream(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    page = distributor.call("GET", "/")
    assert page["Content-Type"].startswith("text/html")
    assert f"/-/watch/{name}" in page.body.decode()
    player = distributor.call("GET", f"/-/watch/{name}")
    assert player.status == 200
    assert player["Content-Type"].startswith("text/html")


def test_time_is_the_clock_in_microseconds(distributor: Distributor) -> None:
    before = time.time_ns() // 1000
    response = distributor.call("GET", "/-/time")
    after = time.time_ns() // 1000
    assert response["Content-Type"].startswith("text/plain")
    assert re.fullmatch(rb"\d+\n?", response.body)
    assert before <= int(response.body) <= after


def test_health_and_metrics(distributor: Distributor) -> None:
    assert distributor.call("GET", "/-/health").status == 200
    metrics = distributor.call("GET", "/-/metrics")
    assert metrics["Content-Type"].startswith("text/plain")
    assert re.search(rb"^# TYPE \w+ (counter|gauge)$", metrics.body, re.MULTILINE)


@pytest.mark.parametrize("path", ["/", "/-/streams", "/-/health", "/-/metrics", "/-/time"])
def test_views_are_not_posted_to(distributor: Distributor, path: str) -> None:
    refused = distributor.call("POST", path, {"Content-Range": "bytes 0-2/*"}, b"abc")
    problem_of(refused, 405)
    assert set(refused["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}
    with distributor.peer() as peer:
        assert peer.call("HEAD", path).status == 200
        assert peer.call("GET", "/-/health").status == 200


# -- 2: the handshake --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["origin", "consumer", "distributor", "ORIGIN", "Consumer"])
@pytest.mark.parametrize("target", ["127.0.0.1:8080", "example.org:1", "[::1]:65535"])
def test_connect_says_who_speaks(distributor: Distributor, role: str, target: str) -> None:
    with distributor.peer() as peer:
        response = peer.call("CONNECT", target, {"Host": target, "Connection-Type": role})
        assert response.status == 200
        assert response.get("Content-Length") is None
        assert response.get("Transfer-Encoding") is None
        assert response["Connection-Type"] == "distributor"
        assert "connection-type" not in response["Connection"].lower()
        timeout, left = keep_alive(response)
        assert timeout > 0
        assert left > 0
        assert peer.call("GET", "/-/health").status == 200


@pytest.mark.parametrize(
    ("target", "fields"),
    [
        ("example.org:80", {}),
        ("example.org:80", {"Connection-Type": "proxy"}),
        ("example.org:80", {"Connection-Type": ""}),
        ("example.org", {"Connection-Type": "origin"}),
        ("example.org:0", {"Connection-Type": "origin"}),
        ("example.org:65536", {"Connection-Type": "origin"}),
        ("example.org:x", {"Connection-Type": "origin"}),
        ("/stream", {"Connection-Type": "origin"}),
    ],
)
def test_a_connect_that_is_refused(distributor: Distributor, target: str, fields: dict[str, str]) -> None:
    problem_of(distributor.call("CONNECT", target, fields), 400)


def test_requests_may_follow_the_handshake_in_the_same_packet(distributor: Distributor, name: str) -> None:
    with distributor.peer() as peer:
        handshake = peer.head_bytes("CONNECT", "a:1", {"Connection-Type": "origin"})
        post = peer.head_bytes("POST", f"/{name}", {"Content-Range": "bytes 0-2/*", "Content-Length": "3"}) + b"abc"
        peer.send(handshake + post + peer.head_bytes("HEAD", f"/{name}"))
        assert peer.response("CONNECT").status == 200
        assert peer.response("POST").status == 201
        assert peer.response("HEAD").end == 3


def test_a_second_connect_is_refused(distributor: Distributor) -> None:
    with distributor.peer() as peer:
        assert peer.call("CONNECT", "a:1", {"Connection-Type": "origin"}).status == 200
        problem_of(peer.call("CONNECT", "a:1", {"Connection-Type": "origin"}), 400)
    with distributor.peer() as peer:
        assert peer.call("GET", "/-/health").status == 200
        problem_of(peer.call("CONNECT", "a:1", {"Connection-Type": "origin"}), 400)


METHODS = {
    "POST": ({"Content-Range": "bytes 0-2/*"}, b"abc"),
    "PUT": ({"Content-Range": "bytes 0-2/*"}, b"abc"),
    "GET": ({"Range": "bytes=0-2"}, None),
    "HEAD": ({}, None),
}
FORBIDDEN = {("consumer", "POST"), ("consumer", "PUT"), ("origin", "GET")}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("role", ["origin", "consumer", "distributor", None])
@pytest.mark.parametrize("way", ["handshake", "header", "both"])
def test_what_each_role_may_do(distributor: Distributor, name: str, role: str | None, method: str, way: str) -> None:
    fields, body = METHODS[method]
    distributor.post(name, 0, b"abc")
    said = {} if role is None else {"Connection-Type": role}
    with distributor.peer() as peer:
        if role is not None and way != "header":
            assert peer.call("CONNECT", "a:1", said).status == 200
        response = peer.call(method, f"/{name}", {**fields, **(said if way != "handshake" else {})}, body)
    if (role, method) in FORBIDDEN:
        problem_of(response, 403)
    else:
        assert response.status in (200, 204, 206), response
    assert response.end == 3
    assert response["Connection-Type"] == "distributor"


@pytest.mark.parametrize("role", ["origin", "consumer", "distributor"])
def test_what_lies_under_the_dash_is_open_to_all_roles(distributor: Distributor, role: str) -> None:
    with distributor.peer() as peer:
        peer.call("CONNECT", "a:1", {"Connection-Type": role})
        for path in ("/-/streams", "/-/time", "/"):
            assert peer.call("GET", path).status == 200


@pytest.mark.parametrize("shaken", ["origin", "consumer"])
def test_a_header_that_contradicts_the_handshake(distributor: Distributor, name: str, shaken: str) -> None:
    distributor.post(name, 0, b"abc")
    other = "consumer" if shaken == "origin" else "origin"
    with distributor.peer() as peer:
        peer.call("CONNECT", "a:1", {"Connection-Type": shaken})
        refused = peer.call("HEAD", f"/{name}", {"Connection-Type": other})
        assert refused.status == 403
        assert peer.call("HEAD", f"/{name}", {"Connection-Type": shaken}).status == 200


@pytest.mark.parametrize("value", ["player", "", "origin, consumer"])
def test_an_unknown_role_is_400(distributor: Distributor, name: str, value: str) -> None:
    response = distributor.call("GET", f"/{name}", {"Connection-Type": value})
    problem_of(response, 400)


def test_a_role_by_header_holds_for_its_request_alone(distributor: Distributor, name: str) -> None:
    with distributor.peer() as peer:
        fields = {"Content-Range": "bytes 0-2/*", "Connection-Type": "origin"}
        assert peer.call("POST", f"/{name}", fields, b"abc").status == 201
        got = peer.call("GET", f"/{name}", {"Range": "bytes=0-2", "Connection-Type": "consumer"})
        assert got.body == b"abc"


def test_curl_is_served_by_its_method(distributor: Distributor, name: str) -> None:
    url = f"http://127.0.0.1:{distributor.port}/{name}"
    subprocess.run(["curl", "-sf", "-T", "-", url], input=b"from curl", check=True, timeout=20)
    got = subprocess.run(["curl", "-sf", url], capture_output=True, check=True, timeout=20)
    assert got.stdout == b"from curl"


# -- 3: Keep-Alive -----------------------------------------------------------------------------------------------


def test_max_counts_down_and_at_zero_the_connection_closes(start) -> None:
    server = start("--max-requests", "3", "--idle-timeout", "7")
    with server.peer() as peer:
        assert keep_alive(peer.call("CONNECT", "a:1", {"Connection-Type": "consumer"})) == (7, 2)
        assert keep_alive(peer.call("GET", "/-/health")) == (7, 1)
        last = peer.call("GET", "/-/health")
        assert last.status == 200
        assert last["Connection"] == "close"
        assert last.get("Keep-Alive") is None
        assert peer.ended()


def test_refusals_keep_the_connection_too(distributor: Distributor) -> None:
    with distributor.peer() as peer:
        _, first = keep_alive(peer.call("GET", "/no-such"))
        _, second = keep_alive(peer.call("PATCH", "/no-such"))
        assert second == first - 1


def test_an_idle_connection_closes_after_the_announced_time(start) -> None:
    server = start("--idle-timeout", "1")
    with server.peer() as peer:
        assert keep_alive(peer.call("GET", "/-/health"))[0] == 1
        assert peer.ended()


def test_a_clients_own_timeout_lowers_the_idle_time(start) -> None:
    server = start("--idle-timeout", "1000")
    with server.peer() as peer:
        response = peer.call("GET", "/-/health", {"Connection": "keep-alive", "Keep-Alive": "timeout=1, max=5"})
        assert keep_alive(response)[0] == 1
        assert peer.ended()


def test_a_clients_timeout_never_raises_the_idle_time(distributor: Distributor) -> None:
    with distributor.peer() as peer:
        assert keep_alive(peer.call("GET", "/-/health", {"Keep-Alive": "timeout=4000"}))[0] == 20
        # It is a hint, hop by hop: one that cannot be read changes nothing.
        for value in ("timeout=x", "timeout", "300", "timeout=-1", '"'):
            assert keep_alive(peer.call("GET", "/-/health", {"Keep-Alive": value}))[0] == 20


def test_connection_close_is_obeyed(distributor: Distributor) -> None:
    with distributor.peer() as peer:
        response = peer.call("GET", "/-/health", {"Connection": "close"})
        assert response["Connection"] == "close"
        assert response.get("Keep-Alive") is None
        assert peer.ended()


def test_http_1_0_with_keep_alive(distributor: Distributor) -> None:
    with distributor.peer() as peer:
        for _ in range(2):
            response = peer.call("GET", "/-/health", {"Connection": "keep-alive"}, version="1.0")
            assert response.status == 200
            keep_alive(response)
        assert peer.call("GET", "/-/health", version="1.0")["Connection"] == "close"
        assert peer.ended()


def test_http_1_0_head_keeps_the_connection(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    with distributor.peer() as peer:
        keep_alive(peer.call("HEAD", f"/{name}", {"Connection": "keep-alive"}, version="1.0"))
        keep_alive(peer.call("HEAD", f"/{name}", {"Connection": "keep-alive"}, version="1.0"))


def test_answers_come_in_the_order_of_the_requests(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"0123456789")
    with distributor.peer() as peer:
        peer.send(
            b"".join(peer.head_bytes("GET", f"/{name}", {"Range": f"bytes={place}-{place}"}) for place in range(10))
        )
        assert b"".join(peer.response().body for _ in range(10)) == b"0123456789"


def test_head_tells_no_length_that_a_live_get_would_not(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    with distributor.peer() as peer:
        assert peer.call("HEAD", f"/{name}").get("Content-Length") is None
        assert peer.call("GET", "/-/health").status == 200
