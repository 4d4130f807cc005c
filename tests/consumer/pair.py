"""A real Distributor in memory, for its clients: its service on a reactor and over transports that tests move."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.testing import MemoryReactorClock
from twisted.test.iosim import FakeTransport, IOPump, connect

from sdp.distributor.service import DistributorParts, DistributorService
from sdp.distributor.settings import DistributorSettings
from sdp.net.address import parse_address
from sdp.net.client import Answer, ClientFactory, ClientProtocol, Role
from sdp.net.client import connect as connect_client
from sdp.settings import load

__all__ = ["Distributor", "Lines", "outcome"]


def outcome(deferred: Deferred[Any]) -> list[Any]:
    """A list that holds what the Deferred fires with: the result, or the exception."""
    results: list[Any] = []
    deferred.addCallbacks(results.append, lambda failure: results.append(failure.value))
    return results


class Lines:
    """What the operator reads."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, format: str, **values: object) -> None:
        self.lines.append(format.format(**values))

    warn = info


class Distributor:
    """One Distributor. ``reactor`` is everyone's clock, another Distributor's too where it is given; ``store`` an
    IStore that outlives a crash, or None.

    ``transport`` makes one end of a connection, as FakeTransport does.
    """

    def __init__(self, store: Any = None, *, reactor: Any = None, **options: str) -> None:
        self.reactor: Any = MemoryReactorClock() if reactor is None else reactor
        self.up = True
        self.mute = False
        """Nothing that is sent arrives."""
        self.seen_as = "127.0.0.1"
        """Where its clients' connections come from."""
        self.transport: Callable[..., Any] = FakeTransport
        self._store = store
        self._options = {"store": "none", **options}
        self._pumps: list[IOPump] = []
        self._ends: list[Any] = []
        self._seeds = itertools.count()
        self._start()
        self._origin: ClientProtocol | None = None

    def _start(self) -> None:
        parts = DistributorParts(
            open_store=lambda: self._store,
            wall_clock=self.reactor.seconds,
            random_bytes=lambda size: next(self._seeds).to_bytes(size, "big"),
        )
        settings = load(DistributorSettings, self._options)
        self.service = DistributorService(settings, self.reactor, lambda status: None, parts)
        self.service.startService()
        self._factory = self.reactor.tcpServers[-1][1]

    def crash(self, meanwhile: Callable[[], None] = lambda: None) -> None:
        """End it, and begin another, which knows what the store holds."""
        self.cut()
        self._origin = None
        self.up = False
        outcome(self.service.stopService())
        self.settle(5)
        meanwhile()
        self._start()
        self.up = True

    def cut(self) -> None:
        """Lose all connections."""
        for transport in self._ends:
            transport.abortConnection()
        self._ends.clear()
        self.settle()

    def part(self) -> list[Any]:
        """Lose all connections so that their clients alone hear of it; return the server's ends."""
        ends, pumps = self._ends, self._pumps
        self._ends, self._pumps = [], []
        for pump in pumps:
            pump.clientIO.reportDisconnect()
        return ends

    def endpoint(self) -> Any:
        return self

    def connect(self, factory: ClientFactory) -> Any:
        """The part of an endpoint."""
        if not self.up:
            return fail(ConnectionRefusedError("Connection refused"))
        peer = IPv4Address("TCP", self.seen_as, 40000)
        server: Any = self._factory.buildProtocol(peer)
        client = factory.buildProtocol(None)
        ends = self.transport(server, True, peerAddress=peer), self.transport(client, False)
        self._ends.append(ends[0])
        self._pumps.append(connect(server, ends[0], client, ends[1]))
        return succeed(client)

    def settle(self, seconds: float = 0) -> None:
        """Let everything that is on its way arrive; then let time pass."""
        self._flush()
        while seconds > 0:
            self.reactor.advance(0.25)
            self._flush()
            seconds -= 0.25

    def _flush(self) -> None:
        for _ in range(1000):
            moved = 0 if self.mute else sum(bool(pump.pump()) for pump in self._pumps)
            self.reactor.advance(0)
            if not moved:
                self._pumps = [pump for pump in self._pumps if not pump.clientIO.disconnected]
                return
        raise AssertionError("it never comes to rest")

    def connecting(self, role: Role | None, name: str = "a") -> Any:
        """How a client of this role connects."""
        factory = ClientFactory(parse_address(f"http://h:8080/{name}"), role, self.reactor)
        return lambda: connect_client(self.endpoint(), factory)

    def post(self, content_range: str, content: bytes = b"", name: str = "a", **fields: str) -> Answer:
        """Post as an Origin, and return the answer."""
        if self._origin is None or not self._origin.usable:
            [self._origin] = outcome(Deferred.fromCoroutine(self._connected(self.connecting(Role.ORIGIN))))
        lines = [(b"Content-Range", f"bytes {content_range}".encode())]
        lines += [(key.replace("_", "-").encode(), value.encode()) for key, value in fields.items()]
        assert self._origin is not None
        answer = outcome(self._origin.fetch(b"POST", b"/" + name.encode(), lines, content))
        self.settle()
        result: Answer = answer[0]
        return result

    def ask(self, method: bytes, target: bytes, *lines: tuple[bytes, bytes]) -> Answer:
        """Ask as an ordinary HTTP client, on a connection of its own."""
        [client] = outcome(Deferred.fromCoroutine(self._connected(self.connecting(None))))
        answer = outcome(client.fetch(method, target, lines))
        self.settle()
        client.close()
        result: Answer = answer[0]
        return result

    def content(self, name: str = "a") -> bytes:
        """All that is held of a stream."""
        end = int(self.ask(b"HEAD", b"/" + name.encode()).headers.get(b"upload-offset") or b"0")
        if not end:
            return b""
        answer = self.ask(b"GET", b"/" + name.encode(), (b"Range", b"bytes=0-%d" % (end - 1)))
        assert answer.status == 206, answer
        return answer.content

    def describe(self, name: str = "a") -> dict[str, Any]:
        """What is listed of a stream."""
        described: dict[str, Any] = json.loads(self.ask(b"GET", b"/-/streams/" + name.encode()).content)
        return described

    async def _connected(self, connecting: Any) -> ClientProtocol:
        waiting = Deferred.fromCoroutine(connecting())
        self.settle()
        client: ClientProtocol = await waiting
        return client
