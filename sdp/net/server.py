"""A server's connection: bytes from the socket become requests, answers become bytes, in order.

The way of a request: socket > ``dataReceived`` > http1 reader > :meth:`Site.request` > a body's receiver, piece by
piece > the answer. One request is worked on at a time; those that follow in the same packets wait in the reader.
Reading and answering each have a state; the connection turns to the next request when both are DONE.
"""

from __future__ import annotations

from collections.abc import Callable
from email.utils import formatdate
from enum import Enum, auto
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IHalfCloseableProtocol, IProtocolNegotiationFactory, IReactorTime
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sdp.errors import ProtocolError, Refusal, SDPError
from sdp.http1 import End, Request, RequestReader, encode_response
from sdp.http1.fields import parse_keep_alive
from sdp.net.exchange import Answer, Body, Exchange, Lines, Site, problem
from sdp.net.limits import ConnectionCount, ServerLimits
from sdp.net.outflow import Outflow
from sdp.net.sweep import Sweep

__all__ = ["Pause", "ServerChannel", "ServerChannelFactory"]


class Reading(Enum):
    """How far the current request has been read."""

    HEAD = auto()
    BODY = auto()
    DONE = auto()
    NEVER = auto()
    """The connection is going to close: what still comes is dropped."""


class Pause(Enum):
    """Why a connection is not being read."""

    BACKLOG = auto()
    BODY = auto()


@implementer(IHalfCloseableProtocol)
class ServerChannel(Protocol):
    """One connection. ``role`` is what the handshake said, if there was one (the site's to set)."""

    log = Logger(namespace="sdp.net.server")

    def __init__(self, factory: ServerChannelFactory) -> None:
        self.site = factory.site
        self.factory: ServerChannelFactory = factory
        self.limits = factory.limits
        self.role: str | None = None
        self.persistent = True
        self.idle_timeout = factory.limits.idle_timeout
        self.requests_left = factory.limits.requests
        self.deadline: float | None = None
        self.peer = ""
        self.on_closed: set[Callable[[], None]] = set()
        """Called once, in no order, when the connection is lost."""
        self._reader = RequestReader(factory.limits.message)
        self._reading = Reading.HEAD
        self._exchange: Exchange | None = None
        self._body: Body | None = None
        self._paused: frozenset[Pause] = frozenset()
        self._advancing = False
        self._discard_left = 0
        self._head_begun = False
        self._input_over = False

    # -- Twisted calls -----------------------------------------------------------------------------------------

    def connectionMade(self) -> None:
        transport: Any = self.transport
        # Where one socket listens for both families, the kernel writes an IPv4 peer as an IPv6 address.
        self.peer = getattr(transport.getPeer(), "host", "").removeprefix("::ffff:")
        if hasattr(transport, "setTcpNoDelay"):
            transport.setTcpNoDelay(True)
            # Of a peer that waits for a stream which is silent, nothing else would tell that it is gone.
            transport.setTcpKeepAlive(True)
        self.outflow = Outflow(transport, self.factory.sweep.now)
        self.factory.sweep.add(self)
        self._arm(self.limits.head_timeout)
        if not self.factory.enter(self):
            self.refuse_connection()

    def dataReceived(self, data: bytes) -> None:
        self.factory.bytes_received += len(data)
        if self._reading is Reading.NEVER:
            self._discard(len(data))
            return
        self._reader.feed(data)
        self._advance()

    def readConnectionLost(self) -> None:
        """The peer has ended its side: what it has asked for is still answered, but for an answer without an end,
        whose reader is taken to be gone."""
        self._input_over = True
        if self._reading is Reading.NEVER:
            self._transport.loseConnection()
        else:
            self._advance()

    def writeConnectionLost(self) -> None:
        """Our side is ended; the peer's end, or the deadline, closes the connection."""
        if self._input_over:
            self._transport.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.factory.sweep.discard(self)
        self.factory.leave(self)
        self._reading = Reading.NEVER
        body, self._body = self._body, None
        if body is not None:
            body.lost(None)
        if self._exchange is not None and self._exchange.on_lost is not None:
            self._exchange.on_lost()
        self.outflow.close()
        for call in tuple(self.on_closed):
            call()

    # -- reading -----------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Work through what has arrived, until a request waits for its answer or more bytes are needed."""
        if self._advancing:
            return  # an answer that was finished in the midst of this very loop: the loop goes on by itself
        self._advancing = True
        # Answers that are made in one turn go out together, and a head with the content that is there already.
        self.outflow.cork()
        try:
            while self._reading in (Reading.HEAD, Reading.BODY) and Pause.BODY not in self._paused:
                event = self._reader.next_event()
                if event is None:
                    break
                if type(event) is bytes:
                    self._content(event)
                elif type(event) is Request:
                    self._head(event)
                elif type(event) is End:
                    self._end()
        except ProtocolError as error:
            self._malformed(error)
        finally:
            self.outflow.uncork()
            self._advancing = False
        self._watch_backlog()
        self._set_deadline()
        if self._input_over:
            self._settle()

    def _settle(self) -> None:
        """Nothing more comes in: end the connection, unless something is still to be answered."""
        exchange = self._exchange
        if self._reading is Reading.HEAD:
            self.close()
        elif (self._reading is Reading.BODY and not self._paused) or (
            self._reading is Reading.DONE and exchange is not None and exchange.endless
        ):
            self.close_now()

    def _head(self, request: Request) -> None:
        self.requests_left -= 1
        self.persistent = request.persistent and self.requests_left > 0 and not self.factory.draining
        self._reading = Reading.BODY
        self._head_begun = False
        self._discard_left = self.limits.discard
        self._exchange = exchange = Exchange(self, request)
        self.factory.requests += 1
        if b"keep-alive" in request.headers:
            self._heed_keep_alive(request)
        try:
            self._body = self.site.request(exchange)
        except SDPError as error:
            exchange.refuse(error)
        except Exception:
            self.log.failure(
                "A request could not be answered: {method} {target}", method=request.method, target=request.target
            )
            exchange.refuse(SDPError("The server met an error of its own; its log says more."))

    def _heed_keep_alive(self, request: Request) -> None:
        """The client's own ``Keep-Alive: timeout`` lowers the idle time; what cannot be read is no wish."""
        try:
            said = parse_keep_alive(request.headers.combined(b"keep-alive") or b"")
        except ProtocolError:
            return
        self.idle_timeout = min(self.limits.idle_timeout, said.get("timeout", self.idle_timeout))

    def _content(self, data: bytes) -> None:
        if self._body is not None:
            self._body.data(data)
        else:
            self._discard(len(data))

    def _discard(self, count: int) -> None:
        self._discard_left -= count
        if self._discard_left >= 0:
            return
        if self._reading is Reading.NEVER:
            self.close_now()
        else:
            self.close()

    def _end(self) -> None:
        self._reading = Reading.DONE
        body, self._body = self._body, None
        if body is not None:
            body.end()
        self._turn()

    def _malformed(self, error: ProtocolError) -> None:
        self.persistent = False
        exchange = self._exchange
        if self._reading is Reading.BODY and exchange is not None:
            body, self._body = self._body, None
            if body is not None:
                body.lost(error)
            if exchange.answer is Answer.NONE:
                exchange.refuse(error)
        else:
            lines, content = problem(error)
            lines += self.factory.standing_lines()
            length = (b"Content-Length", b"%d" % len(content))
            self.write(encode_response(error.status, [*lines, length, (b"Connection", b"close")]) + content)
        self.close()

    def stop_body(self) -> None:
        """Whoever takes the content wants no more of it: the rest is dropped, up to a limit."""
        self._body = None

    def pause_body(self) -> None:
        """Read no further until :meth:`resume_body`: whoever takes the content cannot take more."""
        self._pause(Pause.BODY)

    def resume_body(self) -> None:
        if Pause.BODY in self._paused:
            self._resume(Pause.BODY)
            self._advance()

    def _watch_backlog(self) -> None:
        if self._reading is Reading.DONE and self._reader.buffered > self.limits.backlog:
            self._pause(Pause.BACKLOG)
        elif Pause.BACKLOG in self._paused:
            self._resume(Pause.BACKLOG)

    def _pause(self, why: Pause) -> None:
        if not self._paused:
            self._transport.pauseProducing()
        self._paused |= {why}

    def _resume(self, why: Pause) -> None:
        self._paused -= {why}
        if not self._paused and not self.outflow.closed and not self._input_over:
            self._transport.resumeProducing()

    @property
    def _transport(self) -> Any:
        return self.transport

    # -- answering ---------------------------------------------------------------------------------------------

    def common_lines(self) -> Lines:
        """Field lines of every answer: who speaks, and how the connection goes on (RFC 9112 section 9.3)."""
        if self.persistent:
            alive = b"timeout=%d, max=%d" % (self.idle_timeout, self.requests_left)
            return [*self.factory.standing_lines(), (b"Connection", b"keep-alive"), (b"Keep-Alive", alive)]
        return [*self.factory.standing_lines(), (b"Connection", b"close")]

    def before_answer(self, exchange: Exchange) -> None:
        """Settle whether the connection goes on: not where a client still waits to be asked for content that nobody
        takes, nor where there is more of it than is read and dropped."""
        request = exchange.request
        dropped = self._reading is Reading.BODY and self._body is None
        too_much = (request.content_length or 0) > self.limits.discard
        if self.factory.draining or (dropped and (request.expect_continue or too_much)):
            self.persistent = False

    def write(self, data: bytes) -> None:
        """Send a head or a whole answer."""
        self.outflow.write(data)

    def answered(self) -> None:
        """The current answer is complete."""
        self._turn()
        if not self._advancing:
            self._advance()

    def _turn(self) -> None:
        """Go on to the next request, if this one is both read and answered."""
        exchange = self._exchange
        if exchange is None or exchange.answer is not Answer.DONE:
            return
        if not self.persistent:
            if self._reading is not Reading.NEVER:
                self.close()
        elif self._reading is Reading.DONE:
            self._exchange = None
            self._reading = Reading.HEAD

    # -- ending ------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Close once what was written is sent, still reading for a moment: an answer must not be lost to a reset."""
        if self._reading is Reading.NEVER:
            return
        self.outflow.flush()
        self.persistent = False
        self._reading = Reading.NEVER
        self._discard_left = self.limits.discard
        body, self._body = self._body, None
        if body is not None:
            body.lost(None)
        if self._paused:
            self._paused = frozenset()
            if not self._input_over:
                self._transport.resumeProducing()
        self._arm(None)
        self.outflow.drained().addCallbacks(self._linger, lambda cancelled: None)

    def _linger(self, result: object) -> None:
        """All is sent: end our side, and wait for the peer's end."""
        self._arm(self.limits.linger_timeout)
        self.outflow.finish()

    def close_now(self) -> None:
        """Close without regard for what is not sent yet."""
        self._reading = Reading.NEVER
        self.outflow.close()
        self._transport.abortConnection()

    def refuse_connection(self) -> None:
        """There are too many connections: say so, and close."""
        error = Refusal(503, "Too many connections", "Try again later, or at another Distributor.")
        lines, content = problem(error)
        lines += [*self.factory.standing_lines(), (b"Retry-After", b"5"), (b"Connection", b"close")]
        self.write(encode_response(503, [*lines, (b"Content-Length", b"%d" % len(content))]) + content)
        self.close()

    @property
    def first_request(self) -> bool:
        """Whether the request at hand is the connection's first."""
        return self.requests_left == self.limits.requests - 1

    def drain(self) -> None:
        """The server is going to end: an idle connection closes now, one whose request is coming in after its answer;
        an answer that is being streamed breaks off, so that its reader can tell."""
        self.persistent = False
        exchange = self._exchange
        if self._reading is Reading.HEAD and self._reader.at_start:
            self.close()
        elif exchange is not None and exchange.answer is Answer.STARTED:
            exchange.abort()

    # -- time --------------------------------------------------------------------------------------------------

    def _arm(self, delay: float | None) -> None:
        self.deadline = None if delay is None else self.factory.sweep.now() + delay

    def _set_deadline(self) -> None:
        match self._reading:
            case Reading.HEAD if self._reader.at_start:
                self._arm(self.idle_timeout)
            case Reading.HEAD:
                if not self._head_begun:
                    self._head_begun = True
                    self._arm(self.limits.head_timeout)
            case Reading.BODY:
                self._arm(None if self._paused else self.limits.body_timeout)
            case Reading.DONE:
                self._arm(None)

    def timed_out(self) -> None:
        """Called by the sweep when the deadline has passed."""
        self.deadline = None
        if self._reading is Reading.NEVER:
            self.close_now()
        elif self._reading is Reading.HEAD and self._reader.at_start:
            self.close()
        else:
            what = "content" if self._reading is Reading.BODY else "head"
            self._malformed(
                ProtocolError(f"The request's {what} took too long to arrive.", status=408, title="Request timeout")
            )


@implementer(IProtocolNegotiationFactory)
class ServerChannelFactory(ServerFactory):
    """Makes a channel for each connection, and counts them."""

    noisy = False

    def __init__(
        self,
        site: Site,
        sweep: Sweep,
        limits: ServerLimits,
        *,
        wall_clock: Callable[[], float],
        standing: Lines = (),
        exempt: Callable[[str], bool] = lambda address: False,
    ) -> None:
        self.site = site
        self.sweep = sweep
        self.limits = limits
        self.count = ConnectionCount(limits)
        self.draining = False
        self.requests = 0
        self.stalled = 0
        self.bytes_received = 0
        self.channels: set[ServerChannel] = set()
        self._emptied: Deferred[None] | None = None
        self._exempt = exempt
        self._wall_clock = wall_clock
        self._standing = tuple(standing)
        self._standing_at = (-1, [*self._standing])

    def buildProtocol(self, addr: IAddress | None) -> ServerChannel:  # type: ignore[override]  # it has a factory
        return ServerChannel(self)

    def acceptableProtocols(self) -> list[bytes]:
        """What is spoken over TLS (ALPN, RFC 7301): where that is not said, clients that offer h2 as well fail."""
        return [b"http/1.1", b"http/1.0"]

    def standing_lines(self) -> list[tuple[bytes, bytes]]:
        """Field lines that every answer carries: Date (RFC 9110 section 6.6.1), and those that were handed in."""
        now = int(self._wall_clock())
        if self._standing_at[0] != now:
            self._standing_at = (now, [(b"Date", formatdate(now, usegmt=True).encode()), *self._standing])
        return self._standing_at[1]

    def enter(self, channel: ServerChannel) -> bool:
        self.channels.add(channel)
        return self.count.enter(channel.peer, exempt=self._exempt(channel.peer))

    def leave(self, channel: ServerChannel) -> None:
        self.channels.discard(channel)
        self.count.leave(channel.peer)
        if not self.channels and self._emptied is not None:
            emptied, self._emptied = self._emptied, None
            emptied.callback(None)

    def close_stalled(self) -> None:
        """Close the connections whose peers have taken nothing for too long. Called about once a second."""
        late = self.sweep.now() - self.limits.stall_timeout
        for channel in tuple(self.channels):
            if channel.outflow.paused and channel.outflow.taken_at < late:
                self.stalled += 1
                channel.close_now()

    async def drain(self, clock: IReactorTime, limit: float) -> None:
        """Serve nothing new on the connections that there are, and return when they are gone, or after ``limit``
        seconds in which they did not end by themselves."""
        self.draining = True
        for channel in tuple(self.channels):
            channel.drain()
        if not self.channels:
            return
        self._emptied = Deferred()
        late = clock.callLater(limit, self._break_off)
        await self._emptied
        if late.active():
            late.cancel()

    def _break_off(self) -> None:
        for channel in tuple(self.channels):
            channel.close_now()
