"""A connection that one process has accepted and another one serves: passed on whole, byte for byte.

The accepting process reads a request's head, finds that the request is not its own to answer, and from then on carries
bytes both ways over a UNIX socket. What it knows of the connection goes ahead on one line: whose it is, in which role,
and how many requests it may still make. The serving process answers as if it had accepted the connection itself.
"""

from __future__ import annotations

import json
from typing import Any, cast

from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IPushProducer, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from sdp.errors import SDPError
from sdp.http1 import Request, encode_response
from sdp.net.exchange import problem
from sdp.net.server import Pause, Reading, ServerChannel, ServerChannelFactory

__all__ = ["OUR_OWN", "LinkFactory", "PassingChannel", "PassingFactory", "TunnelFactory"]

OUR_OWN = "a worker"
"""The peer of a connection between processes of one Distributor: no client's address is like it."""

_LONGEST_PREAMBLE = 4096
_UNAVAILABLE = SDPError(
    "The process that holds the streams is being restarted; ask again.", status=503, title="Restarting"
)


class PassingChannel(ServerChannel):
    """A connection that may be passed on, by :meth:`pass_on`."""

    _tunnel: _Tunnel | None = None

    def pass_on(self, request: Request, endpoint: IStreamClientEndpoint) -> None:
        """Let the process behind ``endpoint`` answer ``request``, of which only the head is read, and all that
        follows on this connection."""
        unread = self._reader.take_rest()
        preamble = {
            "peer": self.peer,
            "role": self.role,
            "requests_left": self.requests_left + 1,
            "idle_timeout": self.idle_timeout,
        }
        self.factory.requests -= 1
        self._exchange = None
        self._reading = Reading.DONE
        self._tunnel = _Tunnel(self, json.dumps(preamble).encode() + b"\n" + _head(request) + unread)
        self._pause(Pause.BODY)
        self._arm(None)
        if self._input_over:
            self._tunnel.end()
        endpoint.connect(_TunnelMaker(self._tunnel)).addErrback(self._not_passed)

    def _not_passed(self, failure: Failure) -> None:
        if self._reading is Reading.NEVER:
            return
        self.log.warn("A connection could not be passed on: {reason}", reason=failure.getErrorMessage())
        lines, content = problem(_UNAVAILABLE)
        lines += [*self.factory.standing_lines(), (b"Retry-After", b"1"), (b"Connection", b"close")]
        self.outflow.write(encode_response(503, [*lines, (b"Content-Length", b"%d" % len(content))]) + content)
        self.close()

    def dataReceived(self, data: bytes) -> None:
        if self._tunnel is None or self._reading is Reading.NEVER:
            super().dataReceived(data)
            return
        self.factory.bytes_received += len(data)
        self._tunnel.up(data)

    def readConnectionLost(self) -> None:
        """The client has ended its side: whoever serves it is told so, and decides."""
        if self._tunnel is None or self._reading is Reading.NEVER:
            super().readConnectionLost()
        else:
            self._input_over = True
            self._tunnel.end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        if self._tunnel is not None:
            self._tunnel.abort()

    def hold_back(self) -> None:
        """Read no further: the tunnel is full."""
        self._pause(Pause.BODY)

    def go_on(self) -> None:
        if Pause.BODY in self._paused:
            self._resume(Pause.BODY)


def _head(request: Request) -> bytes:
    """A request's head as it was read: malformed ones never come so far."""
    lines = b"".join(b"%b: %b\r\n" % line for line in request.headers)
    return b"%b %b HTTP/1.%d\r\n%b\r\n" % (request.method, request.target, request.version % 10, lines)


class _TunnelMaker(Factory):
    noisy = False

    def __init__(self, tunnel: _Tunnel) -> None:
        self._tunnel = tunnel

    def buildProtocol(self, addr: IAddress | None) -> _Tunnel:
        return self._tunnel


@implementer(IHalfCloseableProtocol, IPushProducer)
class _Tunnel(Protocol):
    """The way to the serving process, and the pace at which the client may send. ``first`` goes ahead of all else."""

    def __init__(self, channel: PassingChannel, first: bytes) -> None:
        self._channel = channel
        self._first = first
        self._over = False
        self._input_over = False

    @property
    def _wire(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        if self._over:
            self._wire.abortConnection()
            return
        self._wire.registerProducer(self, True)
        first, self._first = self._first, b""
        self._wire.write(first)
        self._channel.go_on()
        if self._input_over:
            self.end()

    def up(self, data: bytes) -> None:
        """From the client."""
        self._wire.write(data)

    def end(self) -> None:
        """The client sends nothing more."""
        self._input_over = True
        if self.transport is not None:
            self._wire.unregisterProducer()
            self._wire.loseWriteConnection()

    def abort(self) -> None:
        """The client is gone."""
        self._over = True
        if self.transport is not None:
            self._wire.abortConnection()

    def dataReceived(self, data: bytes) -> None:
        """To the client."""
        outflow = self._channel.outflow
        if not outflow.write(data) and not outflow.closed:
            self._wire.pauseProducing()
            outflow.drained().addCallbacks(lambda _: self._read_on(), lambda cancelled: None)

    def _read_on(self) -> None:
        if not self._over:
            self._wire.resumeProducing()

    def readConnectionLost(self) -> None:
        """What serves the connection has closed it."""
        self._channel.close()

    def writeConnectionLost(self) -> None:
        """The client's end has been passed on."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._over = True
        self._channel.close()

    # IPushProducer: the client, as the tunnel sees it

    def pauseProducing(self) -> None:
        self._channel.hold_back()

    def resumeProducing(self) -> None:
        self._channel.go_on()

    def stopProducing(self) -> None:
        self._channel.hold_back()


class PassingFactory(ServerChannelFactory):
    """Makes connections that may be passed on."""

    def buildProtocol(self, addr: IAddress | None) -> PassingChannel:  # type: ignore[override]  # it has a factory
        return PassingChannel(self)


class _InnerFactory(ServerChannelFactory):
    """Makes channels on UNIX sockets: whoever is at their other end was counted where it was accepted."""

    def enter(self, channel: ServerChannel) -> bool:
        assert isinstance(channel, _Named)
        channel.peer = channel.named
        super().enter(channel)
        return True


class _Named(ServerChannel):
    """A connection whose peer is not the one at the other end of its socket."""

    def __init__(self, factory: ServerChannelFactory, peer: str) -> None:
        super().__init__(factory)
        self.named = peer


class LinkFactory(_InnerFactory):
    """Makes the channels on which one process of a Distributor asks another."""

    def buildProtocol(self, addr: IAddress | None) -> ServerChannel:  # type: ignore[override]  # it has a factory
        return _Named(self, OUR_OWN)


class TunnelFactory(_InnerFactory):
    """Makes the channels of connections that other processes have passed on."""

    def buildProtocol(self, addr: IAddress | None) -> Any:
        return _Arrival(self)


class _Arrival(Protocol):
    """Reads the line that comes ahead of a connection, and makes way for its channel."""

    def __init__(self, factory: TunnelFactory) -> None:
        self._factory = factory
        self._held = b""

    def dataReceived(self, data: bytes) -> None:
        self._held += data
        line, found, rest = self._held.partition(b"\n")
        if not found:
            if len(line) > _LONGEST_PREAMBLE:
                cast(Any, self.transport).abortConnection()
            return
        said = json.loads(line)
        channel = _Named(self._factory, said["peer"])
        channel.role, channel.requests_left = said["role"], said["requests_left"]
        channel.idle_timeout = said["idle_timeout"]
        wire: Any = self.transport
        wire.protocol = channel
        channel.makeConnection(wire)
        channel.dataReceived(rest)
