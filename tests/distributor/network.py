"""Distributors that reach each other in memory: real services on one clock, over transports that tests move and cut."""

from __future__ import annotations

import itertools
import json
from random import Random
from typing import Any, ClassVar

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect

from sdp.distributor.service import DistributorParts, DistributorService
from sdp.distributor.settings import DistributorSettings
from sdp.net.address import parse_address
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import Answer, ClientFactory, ClientProtocol, Role
from sdp.net.client import connect as connect_client
from sdp.net.fetch import LiveFetch, Piece
from sdp.settings import load

PEER = IPv4Address("TCP", "127.0.0.1", 40000)


def outcome(deferred: Deferred[Any]) -> list[Any]:
    """A list that holds what the Deferred fires with: the result, or the exception."""
    results: list[Any] = []
    deferred.addCallbacks(results.append, lambda failure: results.append(failure.value))
    return results


class _Connector:
    def stopConnecting(self) -> None:
        """A connection here has come about, or failed, by the time that anybody could stop it."""


class Network(MemoryReactorClock):
    """The clock of all, and the wires between them: ``unix:NAME`` is the node of that name."""

    open: ClassVar[list[Network]] = []

    def __init__(self) -> None:
        super().__init__()
        self.open.append(self)
        self.nodes: dict[str, Node] = {}
        self.wires: list[tuple[IOPump, FakeTransport, FakeTransport]] = []
        self.uplinks: list[tuple[IOPump, FakeTransport, FakeTransport]] = []
        """Those of them that a relay made."""
        self.mute: set[str] = set()
        """Nodes that take connections, and never say a word."""

    def join(self, node: Node, factory: Any) -> Any:
        """A wire from whoever has ``factory`` to a node: the client's protocol."""
        server: Any = node.factory.buildProtocol(PEER)
        client = factory.buildProtocol(None)
        ends = FakeTransport(server, True, peerAddress=PEER), FakeTransport(client, False)
        node.ends.append(ends[0])
        self.wires.append((connect(server, ends[0], client, ends[1]), *ends))
        return client

    def connectUNIX(self, address: Any, factory: Any, timeout: float = 30, checkPID: int = 0) -> Any:
        connector = _Connector()
        factory.startedConnecting(connector)
        node = self.nodes.get(address)
        if node is None or not node.up:
            factory.clientConnectionFailed(connector, Failure(ConnectionRefusedError()))
        else:
            self.join(node, factory)
            self.uplinks.append(self.wires[-1])
            if address in self.mute:
                self.wires.pop()
        return connector

    @classmethod
    def close_all(cls) -> None:
        """End every node that there is."""
        while cls.open:
            for node in cls.open.pop().nodes.values():
                if node.up:
                    node.kill()

    def settle(self, seconds: float = 0) -> None:
        """Let everything that is on its way arrive; then let time pass."""
        self._flush()
        while seconds > 0:
            self.advance(0.25)
            self._flush()
            seconds -= 0.25

    def _flush(self) -> None:
        for _ in range(2000):
            moved = sum(bool(pump.pump()) for pump, *_ in self.wires)
            self.advance(0)
            if not moved:
                return
        raise AssertionError("it never comes to rest")


class Node:
    """One Distributor, or a relay where it has ``upstream`` nodes. ``disk`` is an IStore that outlives it, or None."""

    def __init__(self, network: Network, name: str, *upstream: str, disk: Any = None, **options: str) -> None:
        self.network = network
        self.name = name
        self.up = True
        self.ends: list[Any] = []
        self._disk = disk
        given: dict[str, Any] = {"listen": "tcp:80", "store": "none"}
        given |= {key.replace("_", "-"): value for key, value in options.items()}
        if upstream:
            given["upstream"] = [each if ":" in each else f"unix:{each}" for each in upstream]
        self._given = given
        self._seeds = itertools.count()
        self._origin: ClientProtocol | None = None
        self._start()
        network.nodes[name] = self

    def _start(self) -> None:
        parts = DistributorParts(
            open_store=lambda: self._disk,
            wall_clock=self.network.seconds,
            random_bytes=lambda size: f"{self.name}{next(self._seeds)}".encode().rjust(size, b".")[-size:],
        )
        self.left: list[int] = []
        self.service = DistributorService(load(DistributorSettings, self._given), self.network, self.left.append, parts)
        self.service.startService()
        self.factory: Any = self.network.tcpServers[-1][1]

    # -- what becomes of it ------------------------------------------------------------------------------------

    def cut(self) -> None:
        """Lose all connections to it."""
        ends, self.ends = self.ends, []
        for end in ends:
            end.abortConnection()
        self.network.settle()

    def kill(self) -> None:
        """It is gone, from one moment to the next."""
        self.up = False
        self._origin = None
        outcome(self.service.stopService())
        self.cut()

    def begin_anew(self) -> None:
        """Another one in its place, which knows nothing."""
        self.kill()
        self.network.settle(5)
        self.up = True
        self._start()

    # -- talking to it -----------------------------------------------------------------------------------------

    def client(self, role: Role | None = None) -> ClientProtocol:
        factory = ClientFactory(parse_address("http://h/"), role, self.network)
        client: ClientProtocol = self.network.join(self, factory)
        self.network.settle()
        return client

    def ask(self, method: str, target: str, *lines: str, content: bytes | None = None) -> list[Any]:
        """A request on a connection of its own; the answer, once there is one."""
        fields = [tuple(part.encode() for part in line.split(": ", 1)) for line in lines]
        answer = outcome(self.client().fetch(method.encode(), target.encode(), fields, content))  # type: ignore[arg-type]
        self.network.settle()
        return answer

    def get(self, target: str, *lines: str, method: str = "GET") -> Answer:
        [answer] = self.ask(method, target, *lines)
        assert isinstance(answer, Answer), answer
        return answer

    def post(self, content_range: str, content: bytes = b"", *lines: str, name: str = "a") -> Answer:
        """Post as an Origin, always on the same connection while it lasts."""
        if self._origin is None or not self._origin.usable:
            self._origin = self.client(Role.ORIGIN)
        fields = [b"Content-Range: bytes " + content_range.encode(), *(line.encode() for line in lines)]
        answer = outcome(
            self._origin.fetch(b"POST", b"/" + name.encode(), [tuple(line.split(b": ", 1)) for line in fields], content)  # type: ignore[misc]
        )
        self.network.settle()
        assert isinstance(answer[0], Answer), answer
        return answer[0]

    def streams(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(self.get("/-/streams").content)["streams"]
        return listed


class Silent:
    """An operator who does not read."""

    def info(self, format: str, **values: object) -> None:
        """Not read."""

    warn = info


class Viewer:
    """A consumer that takes parts, and goes on where it was with whichever node it is at."""

    def __init__(self, node: Node, name: str = "a") -> None:
        self.node = node
        self.pieces: list[Piece] = []
        self.epochs: list[str] = []
        attempts = Attempts(self._connect, node.network, Backoff(Random(1), most=0.5), Silent())
        self.fetch = LiveFetch(b"/" + name.encode(), attempts, Silent(), self.pieces.append, self.epochs.append)
        self._running = Deferred.fromCoroutine(self.fetch.run())
        self.results = outcome(self._running)
        node.network.settle()

    async def _connect(self) -> ClientProtocol:
        endpoint: Any = self
        return await connect_client(
            endpoint, ClientFactory(parse_address("http://h/"), Role.CONSUMER, self.node.network)
        )

    def connect(self, factory: ClientFactory) -> Any:
        """The part of an endpoint."""
        connected: Deferred[Any] = Deferred()
        if self.node.up:
            connected.callback(self.node.network.join(self.node, factory))
        else:
            connected.errback(ConnectionRefusedError())
        return connected

    def move(self, node: Node) -> None:
        """Go on at another node."""
        self.node = node
        client: Any = self.fetch._client
        if client is not None:
            client.abort()
        node.network.settle(1)

    def leave(self) -> None:
        self._running.cancel()
        self.node.network.settle()

    @property
    def records(self) -> list[tuple[int, bool, bool, int | None]]:
        """Offset, whether decoding can start there, whether it is an initialization segment, capture time."""
        return [
            (piece.offset, piece.random_access, piece.initialization, piece.capture_time)
            for piece in self.pieces
            if piece.begins_part and piece.received_time is not None
        ]

    def content(self, start: int = 0) -> bytes:
        """What came, from ``start`` on; each byte once, none lacking in between."""
        result, at = b"", start
        for piece in sorted(piece for piece in self.pieces if piece.offset >= start):
            assert piece.offset == at, f"{at} is lacking or came twice: {piece}"
            result += piece.data
            at += len(piece.data)
        return result
