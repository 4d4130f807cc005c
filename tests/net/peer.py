"""A client by hand: bytes in and out of a server's channel, over a transport in memory and a clock that is told."""

from __future__ import annotations

from typing import Any, NamedTuple

from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from sdp.http1 import End, Headers, Response, ResponseReader
from sdp.net.limits import ServerLimits
from sdp.net.server import ServerChannel, ServerChannelFactory
from sdp.net.sweep import Sweep


class Answered(NamedTuple):
    """One answer; ``whole`` is whether its end has come."""

    status: int
    headers: Headers
    content: bytes
    whole: bool

    def __getitem__(self, name):  # a field by its name
        return self.headers.get(name) if isinstance(name, bytes) else tuple.__getitem__(self, name)


class Address(NamedTuple):
    host: str


class Wire(StringTransport):
    """A transport that counts the writes, and closes as sockets do: the protocol hears of it on the next turn."""

    def __init__(self, clock, host):
        super().__init__(peerAddress=Address(host))
        self.clock = clock
        self.protocol: Any = None
        self.writes: list[bytes] = []
        self.lost = False
        self.aborted = False

    def write(self, data):
        self.writes.append(bytes(data))
        super().write(bytes(data))

    def abortConnection(self):
        self.aborted = True
        self.clock.callLater(0, self.lose)

    def lose(self):
        if not self.lost:
            self.lost = True
            self.protocol.connectionLost(Failure(ConnectionLost()))


class Server:
    """A factory, its sweep and its clock."""

    def __init__(self, site, exempt=lambda address: False, **limits):
        self.clock = Clock()
        self.sweep = Sweep(self.clock)
        self.sweep.start()
        self.factory = ServerChannelFactory(
            site,
            self.sweep,
            ServerLimits(**limits),
            wall_clock=lambda: 784111777.5 + self.clock.seconds(),
            standing=((b"Server", b"test"),),
            exempt=exempt,
        )

    def connect(self, host="192.0.2.1"):
        return Peer(self, host)


class Peer:
    """One connection's client."""

    def __init__(self, server, host="192.0.2.1"):
        self.server = server
        self.channel: ServerChannel = server.factory.buildProtocol(None)
        self.wire = Wire(server.clock, host)
        self.wire.protocol = self.channel
        self._reader = ResponseReader()
        self._left = b""
        self.channel.makeConnection(self.wire)

    def send(self, data, *methods):
        """Send bytes, which hold requests of these methods, as far as the server still reads."""
        for method in methods:
            self._reader.expect(method)
        if not self.wire.lost:
            self.channel.dataReceived(data)

    def get(self, target=b"/a", *lines, method=b"GET", version=b"1.1"):
        """Send a request without content, and return the answers that are here."""
        self.send(head(method, target, *lines, version=version), method)
        return self.answers()

    def post(self, target, content, *lines, method=b"POST"):
        self.send(head(method, target, *lines, b"Content-Length: %d" % len(content)) + content, method)
        return self.answers()

    def raw(self):
        """What was written since the last look."""
        data = self.wire.value()
        self.wire.clear()
        return data

    def answers(self):
        """The answers since the last look, the last one perhaps not whole: its content is then seen again."""
        data = self._left + self.raw()
        reader = ResponseReader()
        for method in self._reader._expected:
            reader.expect(method)
        reader.feed(data)
        found: list[Answered] = []
        event: Any
        consumed = 0
        while (event := reader.next_event()) is not None:
            if isinstance(event, Response):
                found.append(Answered(event.status, event.headers, b"", event.interim))
            elif isinstance(event, End):
                found[-1] = found[-1]._replace(whole=True)
                self._reader._expected.popleft()
                consumed = len(data) - reader.buffered
            elif isinstance(event, bytes):
                found[-1] = found[-1]._replace(content=found[-1].content + event)
        self._left = data[consumed:]
        return found

    def answer(self):
        [found] = self.answers()
        return found

    @property
    def closing(self):
        """Whether the server has ended its side."""
        return self.wire.disconnecting or self.wire.aborted

    @property
    def reading(self):
        """Whether the server reads on."""
        return self.wire.producerState == "producing"

    def lose(self):
        self.wire.lose()


def head(method=b"GET", target=b"/a", *lines, version=b"1.1"):
    """A request's head."""
    return b"%b %b HTTP/%b\r\n%b\r\n" % (
        method,
        target,
        version,
        b"".join(b"%b\r\n" % line for line in (b"Host: h", *lines)),
    )
