"""The way out of one connection: straight to the socket, and what it does not take as soon as it takes more.

Twisted's ``transport.write`` copies into a buffer and sends it on the reactor's next turn; at a thousand consumers
that doubles the cost of a record, and of each who reads nothing it keeps a copy. So a plain socket's transport is only
asked to tell when the socket takes more: what waits are views of what was written, which many connections share.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable
from itertools import islice
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IPushProducer
from twisted.internet.tcp import Connection
from zope.interface import implementer

from sdp.net.unsent import unsent

__all__ = ["PIECE", "Outflow"]

PIECE = 64 * 1024
"""What is held at most between :meth:`Outflow.cork` and :meth:`Outflow.uncork`, in bytes."""

_MOST_PIECES = 64
"""How many pieces one system call is given; POSIX promises 16, Linux takes 1024."""

_FULL = frozenset({errno.EAGAIN, errno.EWOULDBLOCK, errno.ENOBUFS, errno.ENOMEM})
"""Errors of a socket, or a system, that takes nothing just now."""


@implementer(IPushProducer)
class Outflow:
    """One connection's outgoing bytes, and the only owner of their flow control.

    ``send(data)`` is the raw step for the fan-out's loop: it returns how many bytes were taken, or raises
    BlockingIOError, and may be called only while ``paused`` is False; whoever calls it gives what was not taken to
    :meth:`put_back` at once. ``taken_at`` is when the peer was last seen to take something (the clock's seconds).

    Between :meth:`cork` and :meth:`uncork` what is written is held, up to ``PIECE`` bytes, and goes out by one system
    call, which at a join costs more than all else; ``send`` needs a :meth:`flush` before it then.
    """

    __slots__ = (
        "_clock",
        "_held",
        "_held_size",
        "_rest",
        "_transport",
        "_waiting",
        "closed",
        "direct",
        "paused",
        "send",
        "taken_at",
    )

    def __init__(self, transport: Any, clock: Callable[[], float]) -> None:
        self._transport = transport
        self._clock = clock
        self._waiting: list[Deferred[None]] = []
        self._rest: deque[memoryview] = deque()
        self._held: list[bytes] | None = None
        self._held_size = 0
        self.paused = False
        self.closed = False
        self.taken_at = clock()
        self.send: Callable[[bytes], int]
        # A TLS transport passes attribute look-ups on to the socket below it, so the class itself is asked for.
        self.direct = isinstance(transport, Connection) and not getattr(transport, "TLS", False)
        if self.direct:
            self.send = transport.socket.send
        else:
            self.send = self._send_through
        # As a pull producer we hear each time that the socket takes more; as a push producer we would hear only of
        # more than 64 KiB in the transport's buffer.
        transport.registerProducer(self, not self.direct)

    def _send_through(self, data: bytes) -> int:
        if self.paused:
            raise BlockingIOError
        self._transport.write(data)
        return len(data)

    def write(self, data: bytes) -> bool:
        """Send ``data`` after all that was written before. Return whether more is welcome now; if not,
        :meth:`drained` tells when."""
        if self.closed:
            return False
        if self._held is not None:
            self._held.append(data)
            self._held_size += len(data)
            if self._held_size >= PIECE:
                self.flush()
            return not self.paused
        sent = 0
        if not self.paused:
            try:
                sent = self.send(data)
            except OSError:
                # Also where the connection is broken: the transport meets the same error and tells the protocol.
                sent = 0
        if sent < len(data):
            self.put_back(data, sent)
        return not self.paused

    def cork(self) -> None:
        """Hold what is written from now on, so that it goes out together."""
        if self._held is None:
            self._held = []

    def uncork(self) -> None:
        """Send what is held, and hold nothing more."""
        self.flush()
        self._held = None

    def flush(self) -> None:
        """Send what is held."""
        held = self._held
        if not held or self.closed:
            return
        self._held, self._held_size = [], 0
        sent = 0
        if not self.paused:
            try:
                sent = self._send_all(held)
            except OSError:
                sent = 0
        for data in held:
            if sent < len(data):
                self.put_back(data, sent)
            sent = max(sent - len(data), 0)

    def _send_all(self, pieces: list[bytes]) -> int:
        """Send pieces that follow on each other, and return how many bytes of them were taken."""
        if len(pieces) == 1 or not self.direct or len(pieces) > _MOST_PIECES:
            return self.send(b"".join(pieces))
        sent: int = self._transport.socket.sendmsg(pieces)
        return sent

    def put_back(self, data: bytes, sent: int) -> None:
        """Send what ``send(data)`` has not taken, after ``sent`` bytes of it."""
        if self.closed:
            return
        if not self.direct:
            self._transport.write(data[sent:])
            return
        self._rest.append(memoryview(data)[sent:])
        if not self.paused:
            self.pauseProducing()
            # There is nothing in its buffer: it only tells, by resumeProducing(), when the socket takes more.
            self._transport.startWriting()

    def _send_rest(self) -> None:
        """Give the socket as much of what waits as it takes."""
        rest = self._rest
        while rest:
            try:
                sent = self._transport.socket.sendmsg(list(islice(rest, _MOST_PIECES)))
            except OSError as error:
                if error.errno not in _FULL:
                    # The transport is to meet the same error, and to tell the protocol of it.
                    self._transport.write(bytes(rest[0]))
                return
            while rest and sent >= len(rest[0]):
                sent -= len(rest.popleft())
            if sent:
                rest[0] = rest[0][sent:]

    def drained(self) -> Deferred[None]:
        """Return a Deferred that fires (None) when more is welcome: at once where it is already. It fails with
        CancelledError where the connection is lost."""
        if self.closed:
            return fail(CancelledError())
        self.flush()
        if not self.paused:
            return succeed(None)
        waiting: Deferred[None] = Deferred(self._forget)
        self._waiting.append(waiting)
        return waiting

    def _forget(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    @property
    def unsent(self) -> int:
        """How many bytes the system has taken and not sent yet, where it says so, else 0: what is written now has to
        wait for them."""
        return unsent(self._transport)

    def finish(self) -> None:
        """Nothing more will be written: end this side of the connection once all is sent."""
        self.flush()
        self.close()
        if self.direct:
            self._transport.loseWriteConnection()
        else:
            self._transport.loseConnection()

    def close(self) -> None:
        """The connection is lost, or about to be: nothing more is taken, and whoever waits is cancelled."""
        if not self.closed:
            self.closed = True
            self._rest.clear()
            self._held = None
            self._transport.unregisterProducer()
            for one in tuple(self._waiting):
                one.cancel()

    # IPushProducer, called by the transport

    def pauseProducing(self) -> None:
        if not self.paused:
            self.paused = True
            self.taken_at = self._clock()

    def resumeProducing(self) -> None:
        self.taken_at = self._clock()
        if self._rest:
            self._send_rest()
            if self._rest:
                self._transport.startWriting()
                return
        self.paused = False
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)

    def stopProducing(self) -> None:
        self.close()
