"""What is published at a relay goes up as it comes: request content upwards, the answer back down.

The way of a byte: publisher's socket > channel > :class:`PassedUp` > the upstream's socket, each side held back by the
other's flow control. Nothing is kept here, so nothing here can contradict what the upstream has.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum, auto

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sdp.distributor.upstream import Upstream
from sdp.errors import RemoteError, SDPError
from sdp.http1 import LAST_CHUNK, Headers, Request, Response, encode_chunk
from sdp.http1.fields import parse_list
from sdp.http1.via import format_via, parse_via
from sdp.net.client import ClientProtocol, Role
from sdp.net.exchange import Answer, Exchange
from sdp.net.server import ServerChannel

__all__ = ["PassedUp", "Uplinks", "answer_lines", "forwarded_lines"]

Lines = list[tuple[bytes, bytes]]

PATIENCE = 90.0
"""How long an upstream may take to answer after the last byte of content, in seconds; and how long a publisher may
pause, which the channel's own time-out ends before."""

MOST_CONTENT = 1 << 20
"""The longest content of an answer that is passed back, in bytes: answers to POST are a head, or a refusal."""

_HOP_BY_HOP = frozenset(
    {
        *(b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
        *(b"content-length", b"via"),
    }
)
"""What is each connection's own (RFC 9110 section 7.6.1), or is written anew."""
_OWN_OF_REQUESTS = frozenset(
    {b"host", b"expect", b"connection-type", b"authorization", b"forwarded", b"x-forwarded-for"}
)
_OWN_OF_ANSWERS = frozenset({b"date", b"server", b"connection-type"})


def _end_to_end(headers: Headers, without: frozenset[bytes]) -> Lines:
    named = {each.lower() for value in headers.get_all(b"connection") for each in parse_list(value)}
    return [
        (name, value)
        for name, value in headers
        if (lower := name.lower()) not in _HOP_BY_HOP and lower not in without and lower not in named
    ]


def forwarded_lines(request: Request) -> Lines:
    """The field lines of a request that are passed on as they are."""
    return _end_to_end(request.headers, _OWN_OF_REQUESTS)


def answer_lines(response: Response) -> Lines:
    """The field lines of an answer that are passed back as they are."""
    return _end_to_end(response.headers, _OWN_OF_ANSWERS)


class Uplinks:
    """The connections upwards of those who publish here: one for each of theirs, in its role, and as long as it lives.

    So an upstream tells apart who is whose Origin as this Distributor would.
    """

    def __init__(self, upstreams: list[Upstream]) -> None:
        self._upstreams = upstreams
        self._links: dict[ServerChannel, tuple[Upstream, ClientProtocol]] = {}

    async def get(self, exchange: Exchange) -> tuple[Upstream, ClientProtocol]:
        """The connection there is, or a new one to the first upstream that can be reached. Raises Disconnected."""
        channel = exchange.channel
        link = self._links.get(channel)
        if link is not None and link[1].usable:
            return link
        said = exchange.request.headers.get(b"connection-type")
        name = channel.role.encode() if channel.role is not None else said
        role = None if name is None else Role(name.lower())
        last: SDPError | None = None
        for upstream in self._upstreams:
            try:
                client = await upstream.connect(role, header_alone=channel.role is None and role is not None)
            except SDPError as error:
                last = error
                continue
            if link is None:
                channel.on_closed.add(lambda: self._closed(channel))
            self._links[channel] = upstream, client
            return upstream, client
        assert last is not None
        raise last

    def _closed(self, channel: ServerChannel) -> None:
        self._links.pop(channel)[1].abort()


class _Stage(Enum):
    """How far a request has been passed up."""

    CONNECTING = auto()
    CONTENT = auto()
    ANSWER = auto()
    OVER = auto()


class PassedUp:
    """Takes one POST's or PUT's content, for an upstream. ``target`` gives the request target there."""

    log = Logger(namespace="sdp.distributor.relay")

    def __init__(
        self, exchange: Exchange, uplinks: Uplinks, target: Callable[[Upstream], bytes], passed: Iterable[str]
    ) -> None:
        self.exchange = exchange
        self._passed = tuple(passed)
        self._stage = _Stage.CONNECTING
        self._client: ClientProtocol | None = None
        self._response: Response | None = None
        self._content: list[bytes] = []
        self._size = 0
        # No content is read before there is somewhere for it to go.
        exchange.channel.pause_body()
        self._beginning = Deferred.fromCoroutine(self._begin(uplinks, target))
        self._beginning.addErrback(self._failed_to_begin)

    # -- up ----------------------------------------------------------------------------------------------------

    async def _begin(self, uplinks: Uplinks, target: Callable[[Upstream], bytes]) -> None:
        request, channel = self.exchange.request, self.exchange.channel
        upstream, client = await uplinks.get(self.exchange)
        lines = forwarded_lines(request)
        lines += upstream.lines(self._passed, authorization=request.headers.get(b"authorization"))
        if request.chunked:
            lines.append((b"Transfer-Encoding", b"chunked"))
        elif b"content-length" in request.headers:
            lines.append((b"Content-Length", b"%d" % (request.content_length or 0)))
        if request.expect_continue:
            lines.append((b"Expect", b"100-continue"))
        head = client.begin(request.method, target(upstream), lines, self, head_timeout=PATIENCE)
        head.addCallbacks(self._answered, lambda failure: None)  # the receiver hears of the failure as well
        self._client, self._stage = client, _Stage.CONTENT
        client.on_writable = channel.resume_body
        client.on_continue = self.exchange.send_continue
        channel.resume_body()

    def _failed_to_begin(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        error = failure.value
        if not isinstance(error, SDPError):
            self.log.failure("A request could not be passed up.", failure=failure)
            error = SDPError("The relay met an error of its own; its log says more.")
        self._refuse(error)

    def data(self, data: bytes) -> None:
        """The next bytes of the content."""
        client = self._client
        if self._stage is not _Stage.CONTENT or client is None:
            return
        client.write(encode_chunk(data) if self.exchange.request.chunked else data)
        if not client.writable:
            self.exchange.channel.pause_body()

    def end(self) -> None:
        """The content is whole: what is left is the answer."""
        if self._stage is _Stage.CONTENT and self._client is not None:
            self._stage = _Stage.ANSWER
            if self.exchange.request.chunked:
                self._client.write(LAST_CHUNK)

    def lost(self, error: SDPError | None) -> None:
        """The publisher is gone, or sent what cannot be read: the upstream is to see a broken POST as well."""
        self._beginning.cancel()
        self._leave(abort=True)

    def _leave(self, *, abort: bool) -> None:
        """Nothing more is passed up. The connection is of further use only after a whole request."""
        client, self._client, self._stage = self._client, None, _Stage.OVER
        if client is not None:
            client.on_writable = client.on_continue = None
            if abort:
                client.abort()

    # -- back down ---------------------------------------------------------------------------------------------

    def _answered(self, response: Response) -> None:
        self._response = response

    def data_received(self, data: bytes) -> None:
        self._size += len(data)
        if self._size <= MOST_CONTENT:
            self._content.append(data)

    def ended(self, trailers: Headers) -> None:
        """The answer is whole; where the content is not, what follows of it is nobody's."""
        response, stage, channel = self._response, self._stage, self.exchange.channel
        if response is None or stage is _Stage.OVER:
            return
        self._leave(abort=stage is not _Stage.ANSWER)
        if stage is not _Stage.ANSWER:
            channel.stop_body()
        lines = answer_lines(response)
        passed = parse_via(response.headers.get_all(b"via"))
        if passed:
            lines.append((b"Via", format_via(passed)))
        self.exchange.respond(response.status, lines, b"".join(self._content))
        channel.resume_body()

    def failed(self, error: SDPError) -> None:
        """The upstream is lost: what it has of the content, a HEAD will tell."""
        if self._stage is not _Stage.OVER:
            self._refuse(RemoteError(f"The upstream failed: {error.detail}", status=502, title="Upstream failed"))

    def _refuse(self, error: SDPError) -> None:
        self._leave(abort=True)
        channel = self.exchange.channel
        channel.stop_body()
        if self.exchange.answer is Answer.NONE:
            self.exchange.refuse(error)
        channel.resume_body()
