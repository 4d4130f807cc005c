"""Sections 6 and 7 of the wire contract, from outside: what is malformed, what is too much, and who may do what."""

from __future__ import annotations

import base64
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.client import LAST_CHUNK, OPEN_END, Peer, chunk, content_range
from tests.system.processes import Distributor, eventually, problem_of

pytestmark = pytest.mark.system

HOST = b"Host: h\r\n"
POST = b"POST /malformed HTTP/1.1\r\nHost: h\r\nContent-Range: bytes 0-2/*\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

Start = Callable[..., Distributor]


# -- malformed messages ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("message", "status"),
    [
        (POST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n", 400),
        (POST + b"Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd", 400),
        (POST + b"Content-Length: 3, 4\r\n\r\nabcd", 400),
        (POST + b"Content-Length: +3\r\n\r\nabc", 400),
        (POST + b"Content-Length: -3\r\n\r\nabc", 400),
        (POST + b"Content-Length: 0x3\r\n\r\nabc", 400),
        (POST + b"Content-Length: 3 \xa0\r\n\r\nabc", 400),
        (POST + b"Content-Length: \r\n\r\nabc", 400),
        (POST + b"Content-Length: 99999999999999999999999\r\n\r\nabc", 400),
        (POST + b"Transfer-Encoding: gzip\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
        (POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n", 400),
        (POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET / HTTP/1.1\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\n\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n Host: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA b: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n: empty\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nA: b\0c\r\n\r\n", 400),
        (b"GET /\0 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / x HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET /\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400),
        (b"GET /#fragment HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET nowhere HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h:x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: user@h\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h/path\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"SSH-2.0-client\r\n", 400),
    ],
)
def test_a_malformed_head(distributor: Distributor, message: bytes, status: int) -> None:
    problem_of(distributor.raw(message), status)
    assert distributor.call("HEAD", "/malformed").status == 404


@pytest.mark.parametrize(
    "content",
    [
        b"0x3\r\nabc\r\n", b"+3\r\nabc\r\n", b"-3\r\nabc\r\n", b" 3\r\nabc\r\n", b"1_0\r\nabc\r\n", b"\r\nabc\r\n",
        b"g\r\nabc\r\n", b"3\nabc\r\n", b"3\rabc\r\n", b"3 ;\0\r\nabc\r\n", b"11111111111111113\r\nabc\r\n",
        b"2\r\nabc\r\n", b"3\r\nabc\n", b"3\r\nabcX\r\n", b"3\r\nabc\r\n0\r\nbad trailer\r\n\r\n",
        b"3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n",
        b"3\r\nabc\r\n0\r\nA : b\r\n\r\n", b"3\r\nabc\r\n0\r\n A: b\r\n\r\n",
        b"3\r\nabc\r\n0\r\nA: b\n\r\n\r\n", b"3\r\nabc\r\n0\r\nHost: h\r\n\r\n",
    ],
)  # fmt: skip
def test_a_malformed_body(distributor: Distributor, name: str, content: bytes) -> None:
    refused = distributor.raw(CHUNKED.replace(b"malformed", name.encode()) + content)
    problem_of(refused, 400)
    # What came before the fault was valid by its offset; nothing of the fault itself is taken.
    assert distributor.log_of(name) == b"abc"[: refused.end]
    assert distributor.post(name, refused.end, b"ab").status == 204


def test_trailers_and_chunk_extensions_are_taken(distributor: Distributor, name: str) -> None:
    with distributor.peer() as peer:
        peer.send(CHUNKED.replace(b"malformed", name.encode()))
        peer.send(b'3;a=b;c="d;e"\r\nabc\r\n0;x\r\nX-Digest: y\r\n\r\n')
        assert peer.response("POST").status == 201
        assert peer.call("HEAD", f"/{name}").end == 3


def test_what_follows_a_malformed_message_is_not_read(distributor: Distributor, name: str) -> None:
    smuggled = f"POST /{name} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc".encode()
    for message in (
        b"GET / HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n",
        POST + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n",
        CHUNKED + b"0_0\r\n\r\n",
    ):
        distributor.raw(message + smuggled)
        assert distributor.call("HEAD", f"/{name}").status == 404
    distributor.call("DELETE", "/malformed")


# -- refusals of the well-formed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "get", "BREW"])
def test_a_method_that_is_not_for_streams(distributor: Distributor, name: str, method: str) -> None:
    refused = distributor.call(method, f"/{name}")
    problem_of(refused, 405)
    assert set(refused["Allow"].split(", ")) == {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"}


def test_a_post_without_a_length(distributor: Distributor, name: str) -> None:
    for fields in ({}, content_range(0, 2)):
        problem_of(distributor.call("POST", f"/{name}", fields), 411)


def test_an_expectation_that_is_not_understood(distributor: Distributor, name: str) -> None:
    problem_of(distributor.post(name, 0, b"abc", {"Expect": "200-ok"}), 417)
    assert distributor.call("HEAD", f"/{name}").status == 404


def test_a_body_that_stops_coming(start: Start, name: str) -> None:
    server = start("--body-timeout", "1")
    with server.peer() as peer:
        peer.send(peer.head_bytes("POST", f"/{name}", {**content_range(0, 9), "Content-Length": "10"}) + b"abc")
        refused = peer.response("POST")
        problem_of(refused, 408)
        assert (refused.end, refused["Connection"]) == (3, "close")
        assert peer.ended()
    assert server.post(name, 3, b"def").end == 6


def test_a_head_that_stops_coming(start: Start) -> None:
    server = start("--head-timeout", "1")
    with server.peer() as peer:
        peer.send(b"GET / HTTP/1.1\r\nHost:")
        problem_of(peer.response(), 408)
        assert peer.ended()


def test_a_connection_that_says_nothing(start: Start) -> None:
    server = start("--head-timeout", "1", "--idle-timeout", "1")
    with server.peer() as peer:
        assert peer.ended()


LIMITS = (
    *("--max-start-line", "200", "--max-field-section", "400", "--max-fields", "5", "--max-chunk-extension", "50"),
    *("--max-trailer-section", "60", "--max-record", "1000", "--max-streams", "1"),
)


def test_every_limit_is_settable(start: Start) -> None:
    server = start(*LIMITS)
    long = "x" * 500
    get = b"GET / HTTP/1.1\r\nHost: h\r\n"
    problem_of(server.raw(f"GET /{long} HTTP/1.1\r\nHost: h\r\n\r\n".encode()), 414)
    problem_of(server.raw(b"GET /" + b"x" * 300), 414)
    problem_of(server.raw(get + b"A: " + long.encode() + b"\r\n\r\n"), 431)
    problem_of(server.raw(get + b"A: " + long.encode()), 431)
    problem_of(server.raw(get + b"A: b\r\n" * 5 + b"\r\n"), 431)
    problem_of(server.raw(CHUNKED + b"3;" + b"e" * 60 + b"\r\nabc\r\n0\r\n\r\n"), 413)
    problem_of(server.raw(CHUNKED + b"1;" + b"e" * 30 + b"\r\na\r\n1;" + b"e" * 30 + b"\r\nb\r\n"), 413)
    eventually(lambda: server.call("DELETE", "/malformed").status in (204, 404))
    problem_of(server.raw(CHUNKED + b"3\r\nabc\r\n0\r\n" + b"A: " + b"x" * 60 + b"\r\n\r\n"), 431)
    server.call("DELETE", "/malformed")
    refused = server.post("large", 0, bytes(1001), {"Content-Type": "application/octet-stream"})
    problem_of(refused, 413)
    assert server.post("large", 0, bytes(1000), {"Content-Type": "application/octet-stream"}).status == 201
    problem_of(server.post("second", 0, b"abc"), 503)
    assert server.post("large", 1000, b"abc").status == 204


def test_connections_in_all(start: Start) -> None:
    server = start("--max-connections", "3")
    held = [server.peer() for _ in range(3)]
    for peer in held:
        assert peer.call("GET", "/-/health").status == 200
    with server.peer() as peer:
        refused = peer.response()
        problem_of(refused, 503)
        assert refused["Connection"] == "close"
        assert peer.ended()
    for peer in held:
        assert peer.call("GET", "/-/health").status == 200
        peer.close()
    eventually(lambda: server.call("GET", "/-/health").status == 200)


def test_what_is_refused_loses_nothing(distributor: Distributor, name: str) -> None:
    """A live stream goes on for its consumer while others are refused in all ways."""
    with distributor.peer() as origin, distributor.peer() as consumer:
        fields = {"Content-Range": f"bytes 0-{OPEN_END}/*", "Transfer-Encoding": "chunked"}
        origin.send(origin.head_bytes("POST", f"/{name}", fields) + chunk(b"<"))
        eventually(lambda: distributor.call("HEAD", f"/{name}").end == 1)
        consumer.ask("GET", f"/{name}")
        consumer.head()
        assert consumer.exactly(1) == b"<"
        for number in range(20):
            with distributor.peer() as stray:
                stray.send((b"\0" * 100, b"GET / HTTP/9\r\n\r\n", POST + b"\r\n", CHUNKED + b"zz\r\n")[number % 4])
                if number % 2:
                    assert stray.response().status >= 400
            origin.send(chunk(b"%d" % (number % 10)))
            assert consumer.exactly(1) == b"%d" % (number % 10)
        origin.send(LAST_CHUNK)
        assert origin.response("POST").end == 21


# -- who may do what ---------------------------------------------------------------------------------------------

OUTSIDE = ({"X-Forwarded-For": "192.0.2.7"}, {"Forwarded": "for=192.0.2.7"}, {"Forwarded": 'for="[2001:db8::1]"'})
INSIDE = ({"X-Forwarded-For": "127.0.0.1"}, {"Forwarded": "for=127.0.0.1"}, {"Forwarded": 'for="[::1]:4711"'})
BEARER = {"Authorization": "Bearer s3cret-of-cam"}


def basic(user: str, secret: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("secrets") / "secrets"
    path.write_text("# who may publish\ncam:s3cret-of-cam\nother:0ther-secret\n")
    return path


def refused_401(server: Distributor, method: str, fields: dict[str, str]) -> None:
    body = b"abc" if method in ("POST", "PUT") else None
    lines = {**(content_range(0, 2) if body else {}), **fields}
    response = server.call(method, "/closed", lines, body)
    problem_of(response, 401)
    assert "Bearer" in response["WWW-Authenticate"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
@pytest.mark.parametrize("fields", [*OUTSIDE, *INSIDE, {"Forwarded": "nonsense;;"}, {"X-Forwarded-For": ""}])
def test_behind_an_unknown_proxy_everybody_is_from_outside(
    distributor: Distributor, method: str, fields: dict[str, str]
) -> None:
    refused_401(distributor, method, fields)
    assert distributor.call("HEAD", "/closed", fields).status == 404


def test_with_a_secret_one_may_publish_from_anywhere(start: Start, secrets: Path, name: str) -> None:
    server = start("--publish-token", str(secrets))
    good = (
        BEARER,
        basic("cam", "s3cret-of-cam"),
        basic("other", "0ther-secret"),
        {"Authorization": "bearer 0ther-secret"},
    )
    for number, fields in enumerate(good):
        posted = server.post(f"{name}-{number}", 0, b"abc", {**OUTSIDE[0], **fields})
        assert posted.status == 201, posted
        assert server.call("DELETE", f"/{name}-{number}", {**OUTSIDE[0], **fields}).status == 204
    bad: tuple[dict[str, str], ...] = (
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer cam:s3cret-of-cam"},
        {"Authorization": "Basic !!!"},
        {"Authorization": "Digest x"},
        basic("cam", "0ther-secret"),
        basic("", "s3cret-of-cam"),
    )
    for fields in bad:
        for method in ("POST", "DELETE"):
            refused_401(server, method, {**OUTSIDE[0], **fields})
    assert server.post(name, 0, b"abc").status == 201  # from this machine, as ever
    assert server.call("GET", f"/{name}", {**OUTSIDE[0], "Range": "bytes=0-2"}).body == b"abc"  # reading is open
    output = "\n".join(server.lines)
    assert "s3cret" not in output
    assert "0ther" not in output


def test_the_secret_in_the_urls_user_part(start: Start, secrets: Path, name: str) -> None:
    server = start("--publish-token", str(secrets))
    url = f"http://cam:s3cret-of-cam@127.0.0.1:{server.port}/{name}"
    command = ["curl", "-sf", "-H", "X-Forwarded-For: 192.0.2.7", "-T", "-", url]
    subprocess.run(command, input=b"from curl", check=True, timeout=20)
    assert server.call("GET", f"/{name}").body == b"from curl"
    command[-1] = url.replace("s3cret", "wrong")
    assert subprocess.run(command, input=b"x", check=False, timeout=20).returncode == 22


def test_a_trusted_proxy_names_the_client(start: Start, secrets: Path, name: str) -> None:
    server = start("--trust-proxy", "127.0.0.1", "--publish-token", str(secrets))
    for fields in OUTSIDE:
        refused_401(server, "POST", fields)
    refused_401(server, "POST", {"X-Forwarded-For": "127.0.0.1, 192.0.2.7"})
    refused_401(server, "POST", {"Forwarded": "for=127.0.0.1, for=192.0.2.7"})
    refused_401(server, "POST", {"Forwarded": "for=unknown"})
    refused_401(server, "POST", {"X-Forwarded-For": "nobody"})
    assert server.post(name, 0, b"abc", {**OUTSIDE[0], **BEARER}).status == 201


def test_a_trusted_proxy_on_another_address(start: Start, name: str) -> None:
    server = start("--trust-proxy", "127.0.0.9")
    for number, fields in enumerate(INSIDE):
        with server.peer(source="127.0.0.9") as proxy:
            assert proxy.call("POST", f"/{name}-{number}", {**content_range(0, 2), **fields}, b"abc").status == 201
        problem_of(server.post(f"{name}-{number}", 3, b"abc", fields), 401)


def test_reading_needs_a_secret_where_there_is_one(start: Start, secrets: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "readers").write_text("viewer:read-secret\n")
    server = start("--read-token", str(tmp_path / "readers"), "--publish-token", str(secrets))
    server.post(name, 0, b"abc")
    fields = {"Range": "bytes=0-2"}
    for method in ("GET", "HEAD"):
        assert server.call(method, f"/{name}", fields).status == 401
    refused = server.call("GET", f"/{name}", fields)
    problem_of(refused, 401)
    assert "Basic" in refused["WWW-Authenticate"]
    problem_of(server.call("GET", f"/{name}", {**fields, "Authorization": "Bearer wrong"}), 401)
    for good in ({"Authorization": "Bearer read-secret"}, basic("viewer", "read-secret")):
        assert server.call("GET", f"/{name}", {**fields, **good}).body == b"abc"
    problem_of(server.post(name, 3, b"abc", {**OUTSIDE[0], "Authorization": "Bearer read-secret"}), 401)


def own_address() -> str | None:
    """An address of this machine that is not loopback, without a word to the network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address: str = probe.getsockname()[0]
    return None if address.startswith("127.") else address


def test_publishing_is_closed_to_the_outside_by_default(start: Start, name: str) -> None:
    address = own_address()
    if address is None:
        pytest.skip("this machine has no address but loopback")
    server = start("--listen", f"tcp:0:interface={address}")
    line = server.wait_for(rf"Listening on .*host='{re.escape(address)}'")
    match = re.search(r"port=(\d+)", line)
    assert match is not None
    with Peer(int(match[1]), host=address) as outside:
        for method in ("POST", "PUT", "DELETE"):
            body = b"abc" if method != "DELETE" else None
            problem_of(outside.call(method, f"/{name}", content_range(0, 2) if body else {}, body), 401)
        assert outside.call("GET", "/-/streams").status == 200
    assert server.post(name, 0, b"abc").status == 201
