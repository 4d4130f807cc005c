"""Holes of the first Distributor, seen at a relay of it: told, passed, waited for, filled."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.distributor.disk import Disk
from tests.distributor.network import Network, Node, Viewer, outcome

TEXT = "Content-Type: text/plain"
SPARSE = "Sparse: ?1"


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    Network.close_all()


class Relayed:
    """A Distributor with a disk, and a relay of it; ten bytes were posted."""

    def __init__(self) -> None:
        self.network = Network()
        self.first = Node(self.network, "/0", disk=Disk())
        self.relay = Node(self.network, "/1", "/0")
        self.etag = (self.first.post("0-9/*", b"0123456789", TEXT).headers.get(b"etag") or b"").decode()

    def sparse(self, content_range: str, content: bytes, status: int = 204) -> None:
        answer = self.first.post(content_range, content, SPARSE, "If-Match: " + self.etag)
        assert answer.status == status

    def leave(self) -> None:
        self.sparse("20-24/*", b"klmno")

    def fill(self) -> None:
        self.sparse("10-19/*", b"abcdefghij")


def test_a_live_consumer_is_taken_over_it() -> None:
    stream = Relayed()
    viewer = Viewer(stream.relay)
    stream.leave()
    stream.network.settle(1)
    assert [piece.offset for piece in viewer.pieces if piece.data] == [0, 20]
    stream.sparse("25-26/*", b"pq")
    stream.network.settle(1)
    assert viewer.content(20) == b"klmnopq"
    viewer.leave()


def test_it_is_told_there_and_read_once_it_is_filled() -> None:
    stream = Relayed()
    stream.leave()
    answer = stream.relay.get("/a", "Range: bytes=5-24")
    assert (answer.status, answer.headers.get(b"content-range"), answer.content) == (206, b"bytes 5-9/*", b"56789")
    answer = stream.relay.get("/a", "Range: bytes=12-24")
    assert (answer.status, answer.headers.get(b"upload-missing")) == (416, b"10-19")
    assert stream.relay.get("/a", "Range: bytes=20-24").content == b"klmno"
    assert json.loads(stream.relay.get("/-/streams/a").content)["holes"] == [[10, 20]]
    stream.fill()
    # A relay looks again at what it was told is missing when somebody waits for that.
    answers = outcome(
        stream.relay.client().fetch(b"GET", b"/a", [(b"Range", b"bytes=10-9007199254740991"), (b"Prefer", b"lossless")])
    )
    stream.network.settle(3)
    assert json.loads(stream.relay.get("/-/streams/a").content)["holes"] == []
    assert stream.relay.get("/a", "Range: bytes=5-24").content == b"56789abcdefghijklmno"
    assert answers == []  # it goes on as long as the epoch does


def test_who_wants_everything_waits_there_too() -> None:
    stream = Relayed()
    stream.leave()
    client = stream.relay.client()
    answers = outcome(client.fetch(b"GET", b"/a", [(b"Range", b"bytes=0-9007199254740991"), (b"Prefer", b"lossless")]))
    stream.network.settle(2)
    assert answers == []
    stream.fill()
    stream.first.post("*/25")
    stream.network.settle(5)
    [answer] = answers
    assert (answer.status, answer.content) == (206, b"0123456789abcdefghijklmno")


def test_it_is_posted_and_filled_through_the_relay() -> None:
    stream = Relayed()
    match = "If-Match: " + stream.etag
    answer = stream.relay.post("20-24/*", b"klmno", SPARSE, match)
    assert (answer.status, answer.headers.get(b"upload-missing")) == (204, b"10-19")
    answer = stream.relay.post("10-19/*", b"abcdefghij", SPARSE, match)
    assert (answer.status, answer.headers.get(b"upload-missing")) == (204, None)
    assert stream.first.get("/a", "Range: bytes=0-24").content == b"0123456789abcdefghijklmno"


def test_an_ended_epoch_gives_what_there_is() -> None:
    stream = Relayed()
    stream.leave()
    stream.first.post("*/25")
    parts = stream.relay.get("/a", "Content-Range: bytes */0", "Accept: multipart/byteranges")
    assert parts.status == 206
    assert (b"0123456789" in parts.content, b"klmno" in parts.content) == (True, True)
    assert b"bytes 20-24/25" in parts.content
