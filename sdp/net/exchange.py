"""One request and its answer, between the connection and the site that answers: the seam of a server.

A :class:`Site` is given an :class:`Exchange` for each request, and answers through it, at once or later: as a whole by
``respond``, or by ``start``, then content through the connection's outflow, then ``finish``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol

from sdp.errors import Refusal, SDPError
from sdp.http1 import LAST_CHUNK, Request, encode_response

if TYPE_CHECKING:
    from sdp.net.server import ServerChannel

__all__ = ["Answer", "Body", "Exchange", "Framing", "Lines", "Site", "problem"]

Lines = Iterable[tuple[bytes, bytes]]


class Body(Protocol):
    """Takes a request's content, as it comes."""

    def data(self, data: bytes) -> None: ...

    def end(self) -> None: ...

    def lost(self, error: SDPError | None) -> None:
        """The content is cut: by a malformed message (``error``, to be answered), or by a lost connection (None)."""


class Site(Protocol):
    """Answers requests. May raise an SDPError before it has answered: that becomes a problem document."""

    def request(self, exchange: Exchange) -> Body | None:
        """A request's head is here. Return who takes its content, or None to have it dropped."""

    def refusal_headers(self, exchange: Exchange) -> Lines:
        """Field lines that the answer to a raised error carries as well."""


class Answer(Enum):
    """How far the current request has been answered."""

    NONE = auto()
    STARTED = auto()
    DONE = auto()


class Framing(Enum):
    """How a streamed answer's content is delimited (RFC 9112 section 6)."""

    CHUNKED = auto()
    LENGTH = auto()
    CLOSE = auto()


def problem(error: SDPError) -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Return the field lines and the content of the answer to an error (RFC 9457)."""
    document = {"title": error.title, "status": error.status, "detail": error.detail}
    lines = [(b"Content-Type", b"application/problem+json")]
    if isinstance(error, Refusal):
        lines += error.headers
    return lines, json.dumps(document).encode() + b"\n"


class Exchange:
    """One request and its answer."""

    __slots__ = ("_head_only", "answer", "channel", "framing", "on_lost", "request", "status")

    def __init__(self, channel: ServerChannel, request: Request) -> None:
        self.channel = channel
        self.request = request
        self.answer = Answer.NONE
        self.framing = Framing.LENGTH
        self.status = 0
        self.on_lost: Callable[[], None] | None = None
        """Called once if the connection is lost before the answer is finished."""
        self._head_only = request.method == b"HEAD"

    @property
    def endless(self) -> bool:
        """Whether an answer is under way whose length nobody knows."""
        return self.answer is Answer.STARTED and self.framing is not Framing.LENGTH

    def send_continue(self) -> None:
        """Ask for the content, where the peer waits to be asked (RFC 9110 section 10.1.1)."""
        if self.request.expect_continue and self.answer is Answer.NONE:
            self.channel.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def respond(self, status: int, lines: Lines = (), body: bytes = b"") -> None:
        """Answer as a whole."""
        head = list(lines)
        if self.request.method == b"CONNECT" and status < 300:
            pass  # RFC 9110 section 9.3.6: no Content-Length in a successful answer to CONNECT
        elif status != 204 and status != 304:
            head.append((b"Content-Length", b"%d" % len(body)))
        encoded = self._head(status, head)
        self.channel.write(encoded if self._head_only else encoded + body)
        self.finish()

    def start(self, status: int, lines: Lines, length: int | None) -> Framing:
        """Begin an answer whose content follows through ``channel.outflow``, framed as is returned.

        ``length`` is the content's, in bytes, or None where it is not known. The answer to HEAD is finished by this.
        """
        head = list(lines)
        if length is not None:
            head.append((b"Content-Length", b"%d" % length))
        elif self.request.version >= 11:
            self.framing = Framing.CHUNKED
            head.append((b"Transfer-Encoding", b"chunked"))
        elif not self._head_only:
            self.framing = Framing.CLOSE
            self.channel.persistent = False
        self.channel.write(self._head(status, head))
        if self._head_only:
            self.finish()
        return self.framing

    def _head(self, status: int, lines: list[tuple[bytes, bytes]]) -> bytes:
        if self.answer is not Answer.NONE:
            raise RuntimeError("the request is answered already")
        self.answer = Answer.STARTED
        self.status = status
        channel = self.channel
        channel.before_answer(self)
        return encode_response(status, [*lines, *channel.common_lines()])

    def finish(self) -> None:
        """The answer's content is complete."""
        if self.answer is Answer.DONE:
            return
        if self.framing is Framing.CHUNKED and not self._head_only:
            self.channel.outflow.write(LAST_CHUNK)
        self.answer = Answer.DONE
        self.on_lost = None
        self.channel.answered()

    def abort(self) -> None:
        """Break the answer off, so that the peer can tell: the connection closes without its end."""
        self.answer = Answer.DONE
        self.channel.close_now()

    def refuse(self, error: SDPError) -> None:
        """Answer with a problem document, or break off where the answer has begun."""
        if self.answer is not Answer.NONE:
            self.abort()
            return
        lines, body = problem(error)
        self.respond(error.status, [*lines, *self.channel.site.refusal_headers(self)], body)
