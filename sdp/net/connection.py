"""The client's end of a connection: requests out, pipelined, and answers in, each to who waits for it.

The way of an answer: socket > ``dataReceived`` > http1 reader > the oldest request that is not answered yet > its
receiver, piece by piece. A connection begins with SDP's handshake (CONNECT with Connection-Type); where that is
refused, the role is said on each request instead, and so on the connections that follow.

This protocol is the only owner of its connection's flow control: towards the socket by ``pauseProducing`` when a
receiver asks for it, and from the socket by ``writable``, which whoever sends much has to look at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from enum import Enum, auto
from typing import Any
from typing import Protocol as Shape

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IPushProducer,
    IReactorTime,
    ITCPTransport,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from sdp.errors import ProtocolError, SDPError
from sdp.http1 import End, Response, ResponseReader, encode_request
from sdp.http1.fields import parse_keep_alive
from sdp.net.address import Address
from sdp.net.asking import (
    Answer,
    ClientLimits,
    Discarding,
    Disconnected,
    Gathering,
    HandshakeRefused,
    Receiver,
    Retired,
    Role,
)
from sdp.net.reasons import reason as said_of
from sdp.net.watch import Deadline, Watch

__all__ = ["ClientProtocol", "Speaker"]

Lines = Iterable[tuple[bytes, bytes]]

_HANDSHAKE_REFUSED = frozenset({400, 405, 501})
"""How servers and proxies that take no CONNECT say so: then the role is said on each request."""


@attrs.define(eq=False)
class _Pending:
    """A request that was sent, and whoever waits for its answer."""

    head: Deferred[Response]
    receiver: Receiver
    head_timeout: float
    response: Response | None = None


class _State(Enum):
    """What a connection is for; the table of a client's life, in order."""

    NEW = auto()
    HANDSHAKE = auto()
    OPEN = auto()
    """Requests may be made."""
    DRAINING = auto()
    """What was asked is still answered; nothing more may be asked."""
    CLOSED = auto()


class Speaker(Shape):
    """What the connections to one server share: whom they speak to, and how. (A ClientFactory is one.)"""

    address: Address
    role: Role | None
    limits: ClientLimits
    header_alone: bool
    """The server takes no handshake: the role is said on each request. A connection that learns it sets it."""


@implementer(IPushProducer)
class ClientProtocol(Protocol):
    """One connection to a Distributor. ``ready`` fires with it once requests may be made."""

    def __init__(self, speaker: Speaker, clock: IReactorTime) -> None:
        self.speaker = speaker
        self.limits = speaker.limits
        self.ready: Deferred[ClientProtocol] = Deferred()
        self.lost: Deferred[SDPError] = Deferred()
        """Fires with the reason once the connection is no more; it never fails."""
        self.writable = True
        """Whether the socket takes more without piling it up in memory."""
        self.on_writable: Callable[[], None] | None = None
        self.on_continue: Callable[[], None] | None = None
        """Called where the peer asks for the content of a request that waits for it (RFC 9110 section 10.1.1)."""
        self.requests_left: int | None = None
        """How many requests the peer still takes on this connection, as far as it said so."""
        self._clock = clock
        self._state = _State.NEW
        self._reader = ResponseReader(self.limits.message)
        self._pending: deque[_Pending] = deque()
        self._fault: SDPError | None = None
        self._paused = False
        self._reading = False
        self._at_end = False
        self._idle_timeout = self.limits.keep_alive
        self._alive_at = clock.seconds()
        self._watch = Watch(clock, self._deadline, self._time_is_up)

    # -- asking ------------------------------------------------------------------------------------------------

    @property
    def unanswered(self) -> int:
        """How many requests wait for the end of their answers."""
        return len(self._pending)

    @property
    def usable(self) -> bool:
        """Whether one more request may be made now."""
        return (
            self._state is _State.OPEN
            and len(self._pending) < self.limits.unanswered
            and (self.requests_left is None or self.requests_left > 0)
        )

    def request(
        self,
        method: bytes,
        target: bytes,
        headers: Lines = (),
        body: bytes | Sequence[bytes] | None = None,
        receiver: Receiver | None = None,
        *,
        head_timeout: float | None = None,
    ) -> Deferred[Response]:
        """Send a request behind those that are not answered yet.

        Fires with the final response's head; its content then goes to ``receiver``. Both fail with an SDPError
        where the connection fails first. ``body`` None is no content. Raises Disconnected where the connection
        is not :attr:`usable`.
        """
        if not self.usable:
            raise Disconnected("This connection takes no more requests.")
        lines = self._lines(headers)
        pieces: Sequence[bytes] = ()
        if body is not None:
            pieces = (body,) if isinstance(body, bytes) else body
            lines.append((b"Content-Length", b"%d" % sum(map(len, pieces))))
        return self._send(method, encode_request(method, target, lines), pieces, receiver, head_timeout)

    def begin(
        self, method: bytes, target: bytes, headers: Lines, receiver: Receiver, *, head_timeout: float | None = None
    ) -> Deferred[Response]:
        """As :meth:`request`, for content that is not here yet: ``headers`` say how it is delimited, and it follows by
        :meth:`write`. Nothing else may be asked on this connection meanwhile; look at ``writable``."""
        if not self.usable:
            raise Disconnected("This connection takes no more requests.")
        return self._send(method, encode_request(method, target, self._lines(headers)), (), receiver, head_timeout)

    def write(self, data: bytes) -> None:
        """More of the content of the request that was begun, framed as its head says."""
        if self._state is not _State.CLOSED and not self._at_end:
            self._alive_at = self._clock.seconds()
            assert self.transport is not None
            self.transport.write(data)

    def fetch(
        self,
        method: bytes,
        target: bytes,
        headers: Lines = (),
        body: bytes | Sequence[bytes] | None = None,
        *,
        head_timeout: float | None = None,
    ) -> Deferred[Answer]:
        """As :meth:`request`, for an answer that is short enough to be gathered: fires when it is whole."""
        gathering = Gathering(self.abort, self.limits.content)
        head = self.request(method, target, headers, body, gathering, head_timeout=head_timeout)
        head.addCallbacks(gathering.begun, lambda failure: None)  # the receiver hears of the failure as well
        return gathering.answer

    def _lines(self, headers: Lines) -> list[tuple[bytes, bytes]]:
        speaker = self.speaker
        lines = [(b"Host", speaker.address.host_field)]
        if speaker.header_alone and speaker.role is not None:
            lines.append((b"Connection-Type", speaker.role.value))
        if speaker.address.authorization is not None:
            lines.append((b"Authorization", speaker.address.authorization))
        lines += headers
        return lines

    def _send(
        self,
        method: bytes,
        head: bytes,
        pieces: Sequence[bytes],
        receiver: Receiver | None,
        head_timeout: float | None,
    ) -> Deferred[Response]:
        timeout = self.limits.head_timeout if head_timeout is None else head_timeout
        pending = _Pending(Deferred(), receiver if receiver is not None else Discarding(), timeout)
        if not self._pending:
            self._alive_at = self._clock.seconds()
        self._pending.append(pending)
        self._reader.expect(method)
        if self.requests_left is not None:
            self.requests_left -= 1
        assert self.transport is not None
        self.transport.writeSequence([head, *pieces])
        self._watch.look()
        return pending.head

    # -- the connection ----------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport: Any = self.transport
        if ITCPTransport.providedBy(transport):
            transport.setTcpNoDelay(True)
            transport.setTcpKeepAlive(True)
        transport.registerProducer(self, True)
        speaker = self.speaker
        if speaker.role is None or speaker.header_alone:
            self._open()
            return
        self._state = _State.HANDSHAKE
        address = speaker.address
        head = encode_request(
            b"CONNECT",
            address.authority,
            [
                (b"Host", address.authority),
                (b"Connection-Type", speaker.role.value),
                (b"Connection", b"keep-alive"),
                (b"Keep-Alive", b"timeout=%d" % max(1, int(self.limits.keep_alive))),
            ],
        )
        self._send(b"CONNECT", head, (), None, None).addCallbacks(self._greeted, lambda failure: None)

    def _greeted(self, response: Response) -> None:
        """The peer's word on the handshake."""
        said = response.headers.get(b"connection-type")
        if response.status in _HANDSHAKE_REFUSED:
            self.speaker.header_alone = True
            if response.persistent:
                self._open()
            else:
                self._close(HandshakeRefused("The peer takes no CONNECT and closed the connection."))
        elif 200 <= response.status < 300 and said is not None and said.strip().lower() == b"distributor":
            self._open()
        elif 200 <= response.status < 300:
            # A proxy made a tunnel to somewhere: whatever speaks there, it is not to be spoken to over this.
            self.speaker.header_alone = True
            self._close(HandshakeRefused("A proxy answered the handshake in the Distributor's place."))
        else:
            self._close(Disconnected(f"The peer refuses the handshake with {response.status}.", status=response.status))

    def _open(self) -> None:
        self._state = _State.OPEN
        self._watch.look()
        self.ready.callback(self)

    def close(self) -> None:
        """Close once all that was sent is answered."""
        if self._state is not _State.CLOSED:
            self._state = _State.DRAINING
            if not self._pending:
                self._close(Disconnected("The connection was closed."))

    def abort(self, error: SDPError | None = None) -> None:
        """Close at once; whoever waits for an answer gets ``error``."""
        self._close(error if error is not None else Disconnected("The connection was closed."), hard=True)

    def _close(self, error: SDPError, *, hard: bool = False) -> None:
        if self._state is _State.CLOSED:
            return
        transport: Any = self.transport
        self._fail(error)
        if hard:
            transport.abortConnection()
        else:
            transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._state is _State.CLOSED:
            self._fire_lost()
            return
        where = self.speaker.address.host_field.decode()
        error = Disconnected(f"The connection to {where} was lost: {said_of(reason.value)}.")
        self._fault = error
        self._at_end = True
        self._watch.stop()
        if self._state is _State.OPEN:
            self._state = _State.DRAINING
        self._reader.feed_eof()
        self._read()
        if not self._paused:
            self._fail(error)
        self._fire_lost()

    def _fail(self, error: SDPError) -> None:
        """No more is asked or answered on this connection."""
        self._state = _State.CLOSED
        if self._fault is None:
            self._fault = error
        self._watch.stop()
        transport: Any = self.transport
        if not self._at_end:
            transport.unregisterProducer()
        pending, self._pending = self._pending, deque()
        if not self.ready.called:
            self.ready.errback(error)
        for each in pending:
            if each.response is None:
                each.head.errback(error)
            each.receiver.failed(error)

    def _fire_lost(self) -> None:
        if not self.lost.called:
            self.lost.callback(self._fault if self._fault is not None else Disconnected("The connection was closed."))

    # -- answers -----------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if self._state is _State.CLOSED:
            return
        self._alive_at = self._clock.seconds()
        self._reader.feed(data)
        self._read()

    def _read(self) -> None:
        """Give out what has arrived, until more is needed or a receiver wants a pause."""
        if self._reading:
            return
        self._reading = True
        try:
            while not self._paused and self._state is not _State.CLOSED:
                try:
                    event = self._reader.next_event()
                except ProtocolError as error:
                    self._malformed(error)
                    return
                if event is None:
                    return
                self._take(event)
        finally:
            self._reading = False

    def _malformed(self, error: ProtocolError) -> None:
        if self._at_end:  # cut short by the loss of the connection, which is the better reason
            assert self._fault is not None
            self._fail(self._fault)
        else:
            self._close(error, hard=True)

    def _take(self, event: object) -> None:
        pending = self._pending[0]
        if isinstance(event, bytes):
            pending.receiver.data_received(event)
        elif isinstance(event, Response):
            if not event.interim:
                pending.response = event
                self._note_keep_alive(event)
                pending.head.callback(event)
                self._watch.look()
            elif event.status == 100 and self.on_continue is not None:
                self.on_continue()
        elif isinstance(event, End):
            self._pending.popleft()
            pending.receiver.ended(event.trailers)
            self._answered(pending)

    def _note_keep_alive(self, response: Response) -> None:
        value = response.headers.combined(b"keep-alive")
        if not response.persistent and self._state is _State.OPEN:
            self._state = _State.DRAINING
        if value is None:
            return
        try:
            said = parse_keep_alive(value)
        except ProtocolError:
            return  # it only advises: what cannot be read advises nothing
        timeout, most = said.get("timeout"), said.get("max")
        if timeout is not None:
            self._idle_timeout = min(self.limits.keep_alive, float(timeout))
        if most is not None:
            # The peer counted up to this answer; those behind it are on their way already.
            self.requests_left = max(0, most - (len(self._pending) - 1))

    def _answered(self, pending: _Pending) -> None:
        assert pending.response is not None
        if self._state is _State.CLOSED:
            return
        if not pending.response.persistent:
            self._close(Retired("The peer closes the connection after this answer."))
        elif not self._pending and (self._state is _State.DRAINING or self.requests_left == 0):
            self._close(Retired("The connection has taken all the requests it may."))
        else:
            self._watch.look()

    # -- flow control ------------------------------------------------------------------------------------------

    def pause_receiving(self) -> None:
        """The receiver wants no more for now: the socket is not read."""
        if not self._paused:
            self._paused = True
            if not self._at_end:
                transport: Any = self.transport
                transport.pauseProducing()

    def resume_receiving(self) -> None:
        """The receiver takes more."""
        if not self._paused:
            return
        self._paused = False
        self._alive_at = self._clock.seconds()
        self._read()
        if self._paused or self._state is _State.CLOSED:
            return
        if self._at_end:
            assert self._fault is not None
            self._fail(self._fault)
        else:
            transport: Any = self.transport
            transport.resumeProducing()
            self._watch.look()

    def pauseProducing(self) -> None:
        self.writable = False

    def resumeProducing(self) -> None:
        self.writable = True
        self._alive_at = self._clock.seconds()
        if self.on_writable is not None:
            self.on_writable()

    def stopProducing(self) -> None:
        self.writable = False

    # -- time --------------------------------------------------------------------------------------------------

    def _deadline(self) -> Deadline | None:
        """When this connection has waited long enough, and for what; None where it may wait for ever."""
        if self._state is _State.CLOSED or self._at_end:
            return None
        if not self._pending:
            # Somewhat before the peer closes it: a request must not cross the close on its way.
            return self._alive_at + max(self._idle_timeout - 1.0, self._idle_timeout / 2), ""
        oldest = self._pending[0]
        if oldest.response is None:
            return self._alive_at + oldest.head_timeout, "no answer"
        if self.limits.body_timeout is None or self._paused:
            return None
        return self._alive_at + self.limits.body_timeout, "no more of the answer"

    def _time_is_up(self, what: str) -> None:
        if what:
            self._close(Disconnected(f"The peer was silent for too long: {what}.", status=504), hard=True)
        else:
            self._close(Retired("The idle connection was closed before the peer would."))
