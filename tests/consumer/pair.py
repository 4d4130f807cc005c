"""A real Distributor in memory, for the consumers: its service on a reactor and over transports that tests move."""

from __future__ import annotations

import itertools
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
    """One Distributor without a disk. ``reactor`` is everyone's clock."""

    def __init__(self, **options: str) -> None:
        self.reactor: Any = MemoryReactorClock()
        self.up = True
        self._options = {"store": "none", **options}
        self._pumps: list[IOPump] = []
        self._ends: list[Any] = []
        self._seeds = itertools.count()
        self._start()
        self._origin: ClientProtocol | None = None

    def _start(self) -> None:
        parts = DistributorParts(
            open_store=lambda: None,
            wall_clock=self.reactor.seconds,
            random_bytes=lambda size: next(self._seeds).to_bytes(size, "big"),
        )
        settings = load(DistributorSettings, self._options)
        self.service = DistributorService(settings, self.reactor, lambda status: None, parts)
        self.service.startService()
        self._factory = self.reactor.tcpServers[-1][1]

    def crash(self) -> None:
        """End it, and begin another that knows nothing."""
        self.cut()
        self._origin = None
        outcome(self.service.stopService())
        self.settle(5)
        self._start()

    def cut(self) -> None:
        """Lose all connections."""
        for transport in self._ends:
            transport.abortConnection()
        self._ends.clear()
        self.settle()

    def endpoint(self) -> Any:
        return self

    def connect(self, factory: ClientFactory) -> Any:
        """The part of an endpoint."""
        if not self.up:
            return fail(ConnectionRefusedError("Connection refused"))
        peer = IPv4Address("TCP", "127.0.0.1", 40000)
        server: Any = self._factory.buildProtocol(peer)
        client = factory.buildProtocol(None)
        ends = FakeTransport(server, True, peerAddress=peer), FakeTransport(client, False)
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
            moved = sum(bool(pump.pump()) for pump in self._pumps)
            self.reactor.advance(0)
            if not moved:
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

    async def _connected(self, connecting: Any) -> ClientProtocol:
        waiting = Deferred.fromCoroutine(connecting())
        self.settle()
        client: ClientProtocol = await waiting
        return client
