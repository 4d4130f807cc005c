"""What is published at a relay goes up as it comes, and the upstream's answer comes back as it is."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sdp.distributor.passing import forwarded_lines
from sdp.http1 import Headers, Request, Response
from sdp.net.client import Answer, ClientProtocol, Disconnected, Role
from tests.distributor.network import Network, Node, Viewer, outcome

TEXT = "Content-Type: text/plain"
OPEN = [(b"Content-Type", b"text/plain"), (b"Transfer-Encoding", b"chunked")]


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """What a test has begun ends with it."""
    yield
    Network.close_all()


@pytest.fixture
def nodes() -> list[Node]:
    """A Distributor, a relay of it, a relay of that."""
    network = Network()
    return [Node(network, "/0"), Node(network, "/1", "/0"), Node(network, "/2", "/1")]


class Taken:
    """Takes an answer that is not gathered."""

    def __init__(self) -> None:
        self.response: Response | None = None
        self.content = b""
        self.errors: list[Exception] = []

    def data_received(self, data: bytes) -> None:
        self.content += data

    def ended(self, trailers: Headers) -> None:
        """It is whole."""

    def failed(self, error: Exception) -> None:
        self.errors.append(error)

    def head(self, response: Response) -> None:
        self.response = response


def begin(client: ClientProtocol, lines: list[tuple[bytes, bytes]]) -> Taken:
    taken = Taken()
    head: Deferred[Response] = client.begin(b"POST", b"/a", lines, taken)
    head.addCallbacks(taken.head, lambda failure: None)
    return taken


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_it_goes_up_and_comes_back_down(nodes: list[Node]) -> None:
    begun = nodes[2].post("0-3/*", b"abcd", TEXT)
    assert (begun.status, begun.headers.get(b"upload-offset")) == (201, b"4")
    assert begun.headers.get(b"etag") == nodes[0].get("/a", method="HEAD").headers.get(b"etag")
    viewer = Viewer(nodes[2])
    assert nodes[2].post("4-5/*", b"ef").status == 204
    assert nodes[2].post("*/6").status == 204
    assert viewer.content() == b"abcdef"
    assert nodes[0].get("/a").content == b"abcdef"


def test_refusals_are_the_upstreams_own(nodes: list[Node]) -> None:
    nodes[2].post("0-3/*", b"abcd", TEXT)
    gap = nodes[2].post("9-9/*", b"x")
    assert (gap.status, gap.headers.get(b"upload-offset")) == (409, b"4")
    assert b"gap" in gap.content
    assert nodes[2].post("4-4/*", b"x", 'If-Match: "else"').status == 412
    assert nodes[2].post("2-5/*", b"cdef").status == 204  # an overlap that is equal
    assert nodes[2].post("0-0/*", b"z").status == 409


def test_content_goes_up_before_it_is_whole(nodes: list[Node]) -> None:
    origin = nodes[2].client()
    taken = begin(origin, OPEN)
    nodes[0].network.settle()
    origin.write(chunk(b"abc"))
    nodes[0].network.settle()
    viewer = Viewer(nodes[1])
    origin.write(chunk(b"def"))
    nodes[0].network.settle()
    assert viewer.content() == b"abcdef"
    origin.write(b"0\r\n\r\n")
    nodes[0].network.settle(1)
    assert taken.response is not None
    assert taken.response.status == 201
    assert viewer.results == [None]


def test_content_is_not_asked_for_where_it_is_refused(nodes: list[Node]) -> None:
    nodes[0].post("0-3/*", b"abcd", TEXT)
    origin, asked = nodes[2].client(), []
    origin.on_continue = lambda: asked.append(True)
    lines = [(b"Content-Range", b"bytes 9-10/*"), (b"Content-Length", b"2"), (b"Expect", b"100-continue")]
    refused = begin(origin, lines)
    nodes[0].network.settle()
    assert refused.response is not None
    assert (refused.response.status, asked) == (409, [])
    origin = nodes[2].client()
    origin.on_continue = lambda: asked.append(True)
    lines[0] = (b"Content-Range", b"bytes 4-5/*")
    nodes[0]._origin.close()  # type: ignore[union-attr]  # nobody else is the Origin any more
    nodes[0].network.settle()
    accepted = begin(origin, lines)
    nodes[0].network.settle()
    assert asked == [True]
    origin.write(b"ef")
    nodes[0].network.settle()
    assert accepted.response is not None
    assert accepted.response.status == 204


def test_two_publishers_are_told_apart_up_there(nodes: list[Node]) -> None:
    nodes[2].post("0-3/*", b"abcd", TEXT)
    other = nodes[2].client(Role.ORIGIN)
    [answer] = outcome(_posted(other, b"bytes 4-4/*", b"x", nodes[0].network))
    assert answer.status == 409
    assert b"Origin" in answer.content
    nodes[2]._origin.close()  # type: ignore[union-attr]  # the first one leaves
    nodes[0].network.settle()
    [answer] = outcome(_posted(other, b"bytes 4-4/*", b"x", nodes[0].network))
    assert answer.status == 204


def _posted(client: ClientProtocol, content_range: bytes, content: bytes, network: Network) -> Deferred[Answer]:
    answer = client.fetch(b"POST", b"/a", [(b"Content-Range", content_range)], content)
    network.settle()
    return answer


def test_a_publisher_that_is_lost_is_lost_up_there(nodes: list[Node]) -> None:
    origin = nodes[2].client()
    begin(origin, [(b"Content-Range", b"bytes 0-9/*"), (b"Content-Length", b"10"), *OPEN[:1]])
    nodes[0].network.settle()
    origin.write(b"abc")
    nodes[0].network.settle()
    assert nodes[0].streams()[0]["origin_connected"]
    origin.abort()
    nodes[0].network.settle()
    stream = nodes[0].streams()[0]
    assert (stream["end_offset"], stream["origin_connected"]) == (3, False)
    assert nodes[1].post("3-9/*", b"defghij").status == 204


def test_an_upstream_that_is_lost(nodes: list[Node]) -> None:
    origin = nodes[2].client()
    taken = begin(origin, OPEN)
    nodes[0].network.settle()
    nodes[1].kill()
    nodes[0].network.settle()
    assert taken.response is not None
    assert taken.response.status == 502
    assert nodes[2].post("0-1/*", b"ab").status == 502


def test_the_first_upstream_that_can_be_reached() -> None:
    network = Network()
    first = Node(network, "/0")
    relay = Node(network, "/1", "/nowhere", "/0")
    assert relay.post("0-1/*", b"ab", TEXT).status == 201
    assert first.get("/a", "Range: bytes=0-1").content == b"ab"


def test_who_may_not_publish_here_is_not_passed_up(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("me:inner\n")
    (tmp_path / "there").write_text("me:outer\n")
    network = Network()
    first = Node(network, "/0", publish_token=str(tmp_path / "there"))
    relay = Node(network, "/1", "/0", publish_token=str(tmp_path / "here"))
    outside = [TEXT, "Content-Range: bytes 0-1/*", "X-Forwarded-For: 192.0.2.1"]
    assert relay.ask("POST", "/a", *outside, content=b"ab")[0].status == 401
    assert first.streams() == []
    # Its own secret goes up as it is; there it is as good as none, but the relay comes from this machine.
    assert relay.ask("POST", "/a", *outside, "Authorization: Bearer inner", content=b"ab")[0].status == 201


def test_the_relays_secret_is_shown_to_its_upstream_alone(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("relay:hush\n")
    network = Network()
    first = Node(network, "/0", read_token=str(tmp_path / "there"))
    relay = Node(network, "/1", "/0")
    first.post("0-1/*", b"ab", TEXT)
    refused = relay.get("/a")
    assert refused.status == 502
    upstream: Any = relay.factory.site._relay.upstreams[0]
    upstream.place = upstream.place.__class__(_with_secret(upstream.place.address), "unix:/0")
    assert Viewer(relay).content() == b"ab"
    assert b"hush" not in relay.get("/-/streams").content + relay.get("/-/metrics").content


def _with_secret(address: Any) -> Any:
    return address.__class__(
        scheme=address.scheme, host=address.host, port=address.port, target=address.target, authorization=b"Bearer hush"
    )


def test_what_is_said_to_the_hop_is_not_passed_on(nodes: list[Node]) -> None:
    lines = [(b"Connection", b"X-Secret"), (b"X-Secret", b"mine"), (b"Keep-Alive", b"timeout=1"), (b"If-Match", b"x")]
    request = Request(b"POST", b"/a", 11, Headers(lines), 0, False, False, True)
    assert forwarded_lines(request) == [(b"If-Match", b"x")]
    head = nodes[2].get("/a", method="HEAD")
    assert head.status == 404
    assert head.headers.get_all(b"date") == [head.headers.get(b"date")]
    assert len(head.headers.get_all(b"connection-type")) == 1


def test_a_lost_upstream_breaks_no_connection_that_waits(nodes: list[Node]) -> None:
    first = nodes[2].post("0-1/*", b"ab", TEXT)
    assert first.status == 201
    nodes[1].cut()
    again: Any = nodes[2].post("2-3/*", b"cd")
    assert not isinstance(again, Disconnected)
    assert again.status in (204, 502)
    assert nodes[2].post("2-3/*", b"cd").status == 204
