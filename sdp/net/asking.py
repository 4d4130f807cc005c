"""What a client says of itself, what it may be told, and who takes an answer: the words around ``sdp.net.client``."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Protocol as Shape

import attrs
from twisted.internet.defer import Deferred

from sdp.errors import RemoteError, SDPError
from sdp.http1 import Headers, Limits, Response

__all__ = [
    "Answer",
    "ClientLimits",
    "Discarding",
    "Disconnected",
    "Gathering",
    "HandshakeRefused",
    "Receiver",
    "Retired",
    "Role",
]


class Disconnected(RemoteError):
    """The connection was lost, timed out or never came: asking again on another one may help."""

    status = 502
    default_title = "Disconnected"


class HandshakeRefused(Disconnected):
    """The peer takes no CONNECT and closed the connection; the next one will do without."""


class Retired(Disconnected):
    """The connection was closed in good order: it idled, or had taken all the requests that it may."""


class Role(Enum):
    """Who this client is: the value of Connection-Type."""

    ORIGIN = b"origin"
    CONSUMER = b"consumer"
    DISTRIBUTOR = b"distributor"


@attrs.frozen(kw_only=True)
class ClientLimits:
    """Limits of a client's connections. Times are seconds, sizes bytes."""

    message: Limits = attrs.Factory(Limits)
    connect_timeout: float = 10.0
    """How long a connection may take to come about, name look-up and TLS included."""
    head_timeout: float = 30.0
    """How long the head of the oldest unanswered request may take, counted from the last sign of life."""
    body_timeout: float | None = 60.0
    """How long content may pause; None for any time."""
    keep_alive: float = 60.0
    """How long an idle connection is kept; told to the peer as ``Keep-Alive: timeout``, and lowered by its own."""
    unanswered: int = 1024
    """How many requests may wait for their answers on one connection."""
    content: int = 1 << 20
    """The longest content that is gathered in memory (``ClientProtocol.fetch``)."""


class Receiver(Shape):
    """Takes one answer's content, as it comes. ``head`` has been told by the request's Deferred before."""

    def data_received(self, data: bytes) -> None: ...

    def ended(self, trailers: Headers) -> None:
        """The content is whole."""

    def failed(self, error: SDPError) -> None:
        """No more will come: the connection was lost, or the peer's message is malformed."""


@attrs.frozen
class Answer:
    """A whole answer: its head, and its content."""

    response: Response
    content: bytes

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def headers(self) -> Headers:
        return self.response.headers


class Discarding:
    """Takes content that nobody asked for."""

    def data_received(self, data: bytes) -> None:
        pass

    def ended(self, trailers: Headers) -> None:
        pass

    def failed(self, error: SDPError) -> None:
        pass


class Gathering:
    """Gathers a short answer for ``ClientProtocol.fetch``."""

    def __init__(self, abort: Callable[[SDPError], None], limit: int) -> None:
        self._abort = abort
        self._room = limit
        self._pieces: list[bytes] = []
        self._response: Response | None = None
        self.answer: Deferred[Answer] = Deferred()

    def begun(self, response: Response) -> None:
        self._response = response

    def data_received(self, data: bytes) -> None:
        self._room -= len(data)
        if self._room < 0:
            self._abort(RemoteError("The answer is longer than this client takes.", status=502))
        else:
            self._pieces.append(data)

    def ended(self, trailers: Headers) -> None:
        assert self._response is not None
        self.answer.callback(Answer(self._response, b"".join(self._pieces)))

    def failed(self, error: SDPError) -> None:
        if not self.answer.called:
            self.answer.errback(error)
