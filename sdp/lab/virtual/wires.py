"""Connections in virtual time: two transports, each with a way out that carries by a model of its line.

A transport buffers what its line has no room for and holds its producer back, as Twisted's do over a socket; a line
carries no more than a window that is not acknowledged, as TCP does. Slow start and congestion are not modelled: a line
has its rate at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.interfaces import ITransport
from twisted.python.failure import Failure
from zope.interface import implementer

from sdp.lab.link import Link

if TYPE_CHECKING:
    from sdp.lab.virtual.world import Egress, Place, World

__all__ = ["BUFFER", "SEGMENT", "WINDOW", "Ends", "Outgoing", "join"]

BUFFER: Final = 64 * 1024
"""Bytes that may wait in a transport before its producer is held back: Twisted's own bound."""

WINDOW: Final = 1 << 20
"""Bytes on the way, or come and not read yet: about what Linux lets a connection grow to by itself."""

SEGMENT: Final = 1448
"""What is carried at a time where a line has a rate: the content of an Ethernet frame's TCP segment."""

_ADDRESS = IPv4Address("TCP", "127.0.0.1", 40000)
"""Everyone's: publishing is open to who is on the same host."""


class Outgoing:
    """One direction of a connection: what carries it, and which of its siblings it is at whoever sends."""

    def __init__(self, link: Link, egress: Egress, rank: int, siblings: int) -> None:
        self.link = link
        self.rank = rank
        self.siblings = siblings
        self._egress = egress

    @property
    def piece(self) -> int:
        """How many bytes are carried at a time."""
        spec = self.link.spec
        return BUFFER if spec.rate is None and spec.trace == "none" else SEGMENT

    def enter(self, now: float, size: int) -> float:
        """Take so many bytes; return when they are at the other end."""
        return self.link.enter(self._egress.carry(now, size, self), size)


@implementer(ITransport)
class Wire:
    """A transport whose bytes arrive at ``peer`` when its line has carried them."""

    disconnecting = False

    def __init__(self, world: World, outgoing: Outgoing) -> None:
        self.outgoing = outgoing
        self.protocol: Any = None
        self.peer: Wire | None = None
        self._world = world
        self._buffer: deque[memoryview] = deque()
        self._buffered = 0
        self._unacknowledged = 0
        self._producer: Any = None
        self._holds_producer = False
        self._is_waiting = False
        self._is_paused = False
        self._arrived: deque[Callable[[], None]] = deque()
        self._is_ending = False
        self.is_lost = False

    # -- sending -----------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        if self.is_lost or self._is_ending or not data:
            return
        self._buffer.append(memoryview(bytes(data)))
        self._buffered += len(data)
        self._push()
        if self._buffered > BUFFER and self._producer is not None and not self._holds_producer:
            self._holds_producer = True
            self._producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def _push(self) -> None:
        """Give the line what it takes."""
        now, most = self._world.seconds(), self.outgoing.piece
        while self._buffer and not self._is_waiting:
            if self._unacknowledged >= WINDOW:
                return  # an acknowledgement calls again
            if not self.outgoing.link.has_room(now):
                self._is_waiting = True
                self._world.callLater(max(self.outgoing.link.room_at(now) - now, 1e-6), self._room)
                return
            piece = self._buffer.popleft()
            if len(piece) > most:
                self._buffer.appendleft(piece[most:])
                piece = piece[:most]
            self._buffered -= len(piece)
            self._unacknowledged += len(piece)
            self._send(partial(self._at_peer, bytes(piece)), len(piece))
        if not self._buffer and not self.is_lost:
            if self._holds_producer and self._producer is not None:
                self._holds_producer = False
                self._producer.resumeProducing()
            elif self._is_ending:
                self._send(self._end_at_peer, 0)

    def _room(self) -> None:
        self._is_waiting = False
        if not self.is_lost:
            self._push()

    def _send(self, arrive: Callable[[], None], size: int) -> None:
        now = self._world.seconds()
        self._world.callLater(max(self.outgoing.enter(now, size) - now, 0.0), self._arrive, arrive)

    # -- at the other end --------------------------------------------------------------------------------------

    def _arrive(self, arrive: Callable[[], None]) -> None:
        peer = self.peer
        if peer is None or peer.is_lost:
            return
        peer._arrived.append(arrive)
        peer._read()

    def _read(self) -> None:
        while self._arrived and not self._is_paused and not self.is_lost:
            self._arrived.popleft()()

    def _at_peer(self, data: bytes) -> None:
        assert self.peer is not None
        self._world.callLater(self.outgoing.link.spec.delay, self._acknowledged, len(data))
        self.peer.protocol.dataReceived(data)

    def _acknowledged(self, size: int) -> None:
        self._unacknowledged -= size
        if self._buffer and not self.is_lost:
            self._push()

    def _end_at_peer(self) -> None:
        """All is sent: this side is closed, and so is the other one, as Twisted answers a FIN."""
        assert self.peer is not None
        self.lose(ConnectionDone())
        self.peer.lose(ConnectionDone())

    # -- flow control ------------------------------------------------------------------------------------------

    def pauseProducing(self) -> None:
        self._is_paused = True

    def resumeProducing(self) -> None:
        self._is_paused = False
        self._world.callLater(0, self._read)

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        if not streaming:
            raise NotImplementedError("virtual connections hold back streaming producers only")
        if self._producer is not None:
            raise RuntimeError("another producer is registered")
        self._producer = producer
        if self.is_lost:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        self._producer = None
        self._holds_producer = False

    # -- ending ------------------------------------------------------------------------------------------------

    def loseConnection(self) -> None:
        if not self._is_ending and not self.is_lost:
            self._is_ending = self.disconnecting = True
            if not self._buffer:
                self._send(self._end_at_peer, 0)

    def abortConnection(self) -> None:
        if not self.is_lost:
            self.lose(ConnectionLost())
            self._world.callLater(self.outgoing.link.spec.delay, self._break_peer)

    def _break_peer(self) -> None:
        if self.peer is not None:
            self.peer.lose(ConnectionLost())

    def forsake(self) -> None:
        """Whoever had this end is gone: nobody is told here, and nothing more is sent."""
        self.is_lost = True
        self._buffer.clear()
        self._arrived.clear()
        self._producer = None
        self._world.callLater(self.outgoing.link.spec.delay, self._break_peer)

    def lose(self, reason: Exception) -> None:
        """It is over: the protocol is told, in a turn of its own."""
        if self.is_lost:
            return
        self.is_lost = self.disconnecting = True
        self._buffer.clear()
        self._arrived.clear()
        self._world.callLater(0, self._tell, Failure(reason))

    def _tell(self, reason: Failure) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            producer.stopProducing()
        self.protocol.connectionLost(reason)

    # -- who is there ------------------------------------------------------------------------------------------

    def getPeer(self) -> IPv4Address:
        return _ADDRESS

    def getHost(self) -> IPv4Address:
        return _ADDRESS

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Nothing is gathered here anyway."""

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """A line says when it is cut."""


class Ends:
    """A connection, by its two places and their wires."""

    def __init__(self, places: tuple[Place, Place], wires: tuple[Wire, Wire]) -> None:
        self.places = places
        self._wires = wires

    @property
    def is_open(self) -> bool:
        """Whether either end still is."""
        return not all(wire.is_lost for wire in self._wires)

    def cut(self) -> None:
        """Both ends see it break."""
        for wire in self._wires:
            wire.lose(ConnectionLost())

    def stall(self, seconds: float) -> None:
        """Carry nothing for so long, either way."""
        for wire in self._wires:
            wire.outgoing.link.stall(wire._world.seconds(), seconds)

    def forsake(self, place: Place) -> None:
        """``place`` is gone, and the other one sees the connection break."""
        for owner, wire in zip(self.places, self._wires, strict=True):
            if owner is place:
                wire.forsake()


End = tuple["Place", Any, Outgoing]


def join(world: World, client: End, server: End) -> Ends:
    """Connect a client's factory with a server's, each given with its place and its way out."""
    wires = Wire(world, client[2]), Wire(world, server[2])
    wires[0].peer, wires[1].peer = wires[1], wires[0]
    for wire, (_, factory, _) in zip(reversed(wires), (server, client), strict=True):
        wire.protocol = factory.buildProtocol(_ADDRESS)
    for wire in reversed(wires):  # the server is there before the client speaks
        wire.protocol.makeConnection(wire)
    return Ends((client[0], server[0]), wires)
