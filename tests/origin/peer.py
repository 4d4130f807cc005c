"""A Distributor for the Origin's tests: the wire contract's table of POSTs, in memory, with switches for trouble."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import fail, succeed
from twisted.internet.protocol import Protocol
from twisted.test.iosim import FakeTransport, IOPump, connect

from sdp.http1 import End, Request, RequestReader, encode_response
from sdp.http1.ranges import parse_content_range
from sdp.net.client import ClientFactory, ClientProtocol
from sdp.net.client import connect as connect_client

__all__ = ["Peer"]


class Stream:
    """One epoch."""

    def __init__(self, tag: bytes, content_type: bytes | None) -> None:
        self.tag = tag
        self.content_type = content_type
        self.data = b""
        """With zeros in its holes."""
        self.holes: list[tuple[int, int]] = []
        self.ended = False
        self.owner: Any = None


class Peer:
    """What the connections of one Distributor share."""

    def __init__(self) -> None:
        self.stream: Stream | None = None
        self.past: list[Stream] = []
        self.log: list[str] = []
        self.posts: list[tuple[bytes, dict[bytes, bytes], bytes]] = []
        self.up = True
        self.silent = False
        """Answers are held back."""
        self.refuse: tuple[int, str] | None = None
        """Every POST is refused like this."""
        self.needs_secret = False
        """Nobody may even read, so that HEAD is refused, too."""
        self.takes_handshake = True
        self.says_offset = True
        """It is a Distributor, which says Upload-Offset in every answer."""
        self.keeps = True
        """Connections are kept."""
        self.kept = False
        """What is posted is kept on a disk: holes can be filled."""
        self.durable: int | None = None
        """How much of it a power loss would leave; None: all."""
        self.takes_holes = True
        self.fills_refused: tuple[int, str] | None = None
        """What fills a hole is refused like this."""
        self.connections: list[_Connection] = []
        self.pumps: list[IOPump] = []
        self._epochs = 0

    def new_epoch(self, content_type: bytes | None) -> Stream:
        if self.stream is not None:
            self.past.append(self.stream)
        self._epochs += 1
        self.stream = Stream(b'"e%d"' % self._epochs, content_type)
        return self.stream

    def connecting(self, factory: ClientFactory) -> Any:
        """How a Poster connects to this."""

        endpoint: Any = _Endpoint(self)

        async def connect_to() -> ClientProtocol:
            return await connect_client(endpoint, factory)

        return connect_to

    def flush(self) -> None:
        """Let everything that is on its way arrive."""
        busy = True
        while busy:
            busy = sum(bool(pump.pump()) for pump in self.pumps) > 0  # each of them, not the first only

    def cut(self) -> None:
        """Lose all connections."""
        connections, self.connections = self.connections, []
        for connection in connections:
            transport: Any = connection.transport
            transport.abortConnection()
        self.flush()
        if self.stream is not None:
            self.stream.owner = None

    def crash(self) -> None:
        """Lose all connections and all that was in memory."""
        self.cut()
        self.stream = None


class _Endpoint:
    """Connects in memory, where the peer is up."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def connect(self, factory: ClientFactory) -> Any:
        if not self.peer.up:
            return fail(ConnectionRefusedError("Connection refused"))
        server, client = _Connection(self.peer), factory.buildProtocol(None)
        self.peer.connections.append(server)
        self.peer.pumps.append(connect(server, FakeTransport(server, True), client, FakeTransport(client, False)))
        return succeed(client)


class _Connection(Protocol):
    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self.reader = RequestReader()
        self.head: Request | None = None
        self.content = b""
        self.held: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:
        self.reader.feed(data)
        while (event := self.reader.next_event()) is not None:
            if isinstance(event, Request):
                self.head, self.content = event, b""
            elif isinstance(event, End):
                assert self.head is not None
                self._answer(self.head, self.content)
            else:
                assert isinstance(event, bytes)
                self.content += event

    def release(self) -> None:
        """Give the answers that were held back."""
        assert self.transport is not None
        held, self.held = self.held, []
        self.transport.write(b"".join(held))

    def _say(self, status: int, *lines: tuple[bytes, bytes], detail: str = "", head: bool = False) -> None:
        body = json.dumps({"title": "No", "status": status, "detail": detail}).encode() if detail else b""
        stream = self.peer.stream
        fields = [*lines]
        if self.peer.says_offset:
            fields.append((b"Upload-Offset", b"%d" % (len(stream.data) if stream else 0)))
        if not self.peer.keeps:
            fields.append((b"Connection", b"close"))
        if stream is not None:
            fields.append((b"ETag", stream.tag))
            if self.peer.kept:
                durable = len(stream.data) if self.peer.durable is None else self.peer.durable
                fields.append((b"Durable-Offset", b"%d" % durable))
            if stream.holes:
                named = b", ".join(b"%d-%d" % (start, end - 1) for start, end in stream.holes)
                fields.append((b"Upload-Missing", named))
        if status != 204:
            fields.append((b"Content-Length", b"%d" % len(body)))
        data = encode_response(status, fields) + (b"" if head else body)
        assert self.transport is not None
        if self.peer.silent:
            self.held.append(data)
        else:
            self.transport.write(data)

    def _answer(self, head: Request, content: bytes) -> None:
        peer = self.peer
        assert self.transport is not None
        if head.method == b"CONNECT":
            if peer.takes_handshake:
                self.transport.write(encode_response(200, [(b"Connection-Type", b"distributor")]))
            else:
                self._say(405)
        elif head.method == b"HEAD":
            peer.log.append("HEAD")
            self._say(401 if peer.needs_secret else 200 if peer.stream is not None else 404, head=True)
        else:
            said = head.headers.get(b"content-range")
            assert said is not None
            peer.log.append(said.decode().removeprefix("bytes "))
            peer.posts.append((said, {name.lower(): value for name, value in head.headers}, content))
            if peer.refuse is not None:
                self._say(peer.refuse[0], detail=peer.refuse[1])
            else:
                self._post(head, parse_content_range(said), content)

    def _post(self, head: Request, said: Any, content: bytes) -> None:
        peer, stream = self.peer, self.peer.stream
        match = head.headers.get(b"if-match")
        if match is not None and (stream is None or match != stream.tag):
            return self._say(412, detail="Another epoch.")
        if stream is not None and not stream.ended and stream.owner not in (None, self) and match is None:
            return self._say(409, detail="Another Origin posts to this stream.")
        if said.first is None:
            if stream is None or said.complete != len(stream.data):
                return self._say(409, detail="It does not end there.")
            stream.ended = True
            return self._say(204)
        if (stream is None or stream.ended) and said.first == 0 and match is None:
            stream = peer.new_epoch(head.headers.get(b"content-type"))
            stream.owner = self
            stream.data = content
            return self._say(201)
        assert stream is not None
        if peer.takes_holes and match is not None and head.headers.get(b"sparse") == b"?1":
            if said.first in [start for start, _ in stream.holes]:
                return self._fill(stream, said.first, content)
            if said.first > len(stream.data):
                stream.holes.append((len(stream.data), said.first))
                stream.data = stream.data.ljust(said.first, b"\0")
        if stream.ended:
            return self._say(409, (b"Content-Range", b"bytes */%d" % len(stream.data)), detail="It has ended.")
        if said.first > len(stream.data):
            return self._say(409, detail="A gap.")
        known = stream.data[said.first :]
        if not (content.startswith(known) or known.startswith(content)):
            return self._say(409, detail="Not the same bytes.")
        stream.owner = self
        stream.data += content[len(known) :]
        return self._say(204)

    def _fill(self, stream: Stream, first: int, content: bytes) -> None:
        """Put content where a hole begins."""
        if self.peer.fills_refused is not None:
            return self._say(self.peer.fills_refused[0], detail=self.peer.fills_refused[1])
        [hole] = [each for each in stream.holes if each[0] == first]
        end = first + len(content)
        assert end <= hole[1], "it runs past the hole's end"
        stream.holes.remove(hole)
        if end < hole[1]:
            stream.holes = sorted([*stream.holes, (end, hole[1])])
        stream.data = stream.data[:first] + content + stream.data[end:]
        stream.owner = self
        return self._say(204)
