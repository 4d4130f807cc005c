"""A stream's records, live: the newest first of all, then each as soon as it comes.

The way of a byte: socket > ClientProtocol > PartsReader > :class:`Piece` > whoever plays or measures. Each connection
tells which bytes are here already (Content-Range on GET), and takes ``multipart/byteranges``, whose parts tell where
they belong: a jump to the live edge is never silent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from twisted.internet.defer import Deferred

from sdp.errors import ProtocolError, Refusal, SDPError
from sdp.http1 import Headers, Response
from sdp.http1.fields import parse_boolean, parse_digits, parse_list
from sdp.http1.multipart import Part, PartsReader, boundary_of
from sdp.http1.ranges import MAX_LAST
from sdp.net.attempts import Attempts, Tell, TryAgain
from sdp.net.client import ClientProtocol
from sdp.net.possession import Possession
from sdp.net.refusals import complete_length, retry_after, sentence

__all__ = ["LiveFetch", "PartsBody", "Piece"]

_FOR_EVER = frozenset({401, 403, 405, 406, 414, 431})
_LONGEST_REFUSAL = 1 << 16
_MOST_HOPS = 32


class Piece(NamedTuple):
    """Some of a record's bytes, as they came.

    The times (microseconds since the Unix epoch, by the clocks of the Origin and of the Distributor) and what the
    record is are told with the first piece of a part, and are None and False on those that follow on it. ``hop_times``
    are those at which each Distributor before this one received it, oldest first.
    """

    offset: int
    data: bytes
    begins_part: bool
    capture_time: int | None
    received_time: int | None
    random_access: bool
    initialization: bool = False
    hop_times: tuple[int, ...] = ()


class PartsBody:
    """Takes one answer's content: parts, once ``parts`` is set, or else a refusal (``other``).

    ``take`` is called with each :class:`Piece`, ``abort`` with the fault of what cannot be read.
    """

    def __init__(self, take: Callable[[Piece], None], abort: Callable[[SDPError], None]) -> None:
        self.over: Deferred[SDPError | None] = Deferred()
        """Fires at the content's end, with what cut it or None."""
        self.parts: PartsReader | None = None
        self.other = b""
        self._take = take
        self._abort = abort
        self._offset = 0
        self._part: Part | None = None

    def data_received(self, data: bytes) -> None:
        if self.parts is None:
            if len(self.other) < _LONGEST_REFUSAL:
                self.other += data
            return
        self.parts.feed(data)
        try:
            self._read(self.parts)
        except ProtocolError as error:
            self._abort(error)

    def _read(self, parts: PartsReader) -> None:
        while (event := parts.next_event()) is not None:
            if isinstance(event, Part):
                assert event.content_range.first is not None
                self._part, self._offset = event, event.content_range.first
            elif isinstance(event, bytes):
                self._give(event)

    def _give(self, data: bytes) -> None:
        part, self._part = self._part, None
        if part is None:
            piece = Piece(self._offset, data, False, None, None, False)
        else:
            headers = part.headers
            piece = Piece(
                self._offset,
                data,
                True,
                _time(headers, b"capture-time"),
                _time(headers, b"received-time"),
                _true(headers, b"random-access"),
                _true(headers, b"initialization"),
                _times(headers, b"hop-times"),
            )
        self._offset += len(data)
        self._take(piece)

    def ended(self, trailers: Headers) -> None:
        error: SDPError | None = None
        if self.parts is not None:
            self.parts.feed_eof()
            try:
                self._read(self.parts)
            except ProtocolError as fault:
                error = fault
        self._finish(error)

    def failed(self, error: SDPError) -> None:
        self._finish(error)

    def _finish(self, error: SDPError | None) -> None:
        if not self.over.called:
            self.over.callback(error)


class LiveFetch:
    """Receives one stream, live, over as many connections as it takes.

    ``on_piece`` is called with each :class:`Piece`; ``on_epoch`` before the first of each epoch, with its entity
    tag: offsets begin anew then, and what was received before is of no more use.
    """

    def __init__(
        self,
        target: bytes,
        attempts: Attempts,
        tell: Tell,
        on_piece: Callable[[Piece], None],
        on_epoch: Callable[[str], None] = lambda epoch: None,
    ) -> None:
        self.epoch: bytes | None = None
        self.possession = Possession()
        self._target = target
        self._attempts = attempts
        self._tell = tell
        self._on_piece = on_piece
        self._on_epoch = on_epoch
        self._client: ClientProtocol | None = None

    async def run(self) -> None:
        """Receive until the epoch has ended and nothing of it is lacking. Raises an SDPError where it is refused."""
        await self._attempts.run(self._session)

    def pause(self) -> None:
        """Take no more for now; the Distributor leaves records out where this lasts too long."""
        if self._client is not None:
            self._client.pause_receiving()

    def resume(self) -> None:
        if self._client is not None:
            self._client.resume_receiving()

    def take(self, piece: Piece) -> None:
        """What came is here: the next connection does not ask for it again."""
        self.possession.add(piece.offset, piece.offset + len(piece.data))
        self._attempts.backoff.succeeded()
        self._on_piece(piece)

    def abort(self, error: SDPError) -> None:
        """Nothing that follows on this connection can be trusted."""
        if self._client is not None:
            self._client.abort(error)

    async def _session(self, client: ClientProtocol) -> None:
        self._client = client
        try:
            while not await self._get(client):
                pass
        finally:
            self._client = None

    async def _get(self, client: ClientProtocol) -> bool:
        """Ask once; whether the epoch has ended, and all of it is here."""
        lines = [(b"Accept", b"multipart/byteranges"), *self.possession.lines()]
        if self.epoch is not None:
            lines.append((b"If-Match", self.epoch))
        body, before = PartsBody(self.take, self.abort), self.possession.ranges
        head = client.request(b"GET", self._target, lines, None, body)
        head.addCallback(self._look_at, body)
        response = await head
        cut = await body.over
        if cut is not None:
            raise cut
        if body.parts is None:
            return self._without_parts(response, body.other)
        if self.possession.ranges == before:
            raise TryAgain("The Distributor's answer ended without a byte.")
        return False

    def _look_at(self, response: Response, body: PartsBody) -> Response:
        """Let the content through where it is what was asked for; a new epoch begins with nothing possessed."""
        if response.status not in (200, 206):
            return response
        boundary = boundary_of(response.headers.get(b"content-type") or b"")
        epoch = response.headers.get(b"etag")
        if epoch is None:
            raise Refusal(502, "No Distributor", "The server names no epoch (ETag): it is no SDP Distributor.")
        if epoch != self.epoch:
            self.epoch, self.possession = epoch, Possession()
            self._on_epoch(epoch.decode("ascii", "replace"))
        body.parts = PartsReader(boundary)
        return response

    def _without_parts(self, response: Response, content: bytes) -> bool:
        said = sentence(response.status, content)
        match response.status:
            case 204 if complete_length(response.headers) is not None:
                return True
            case 204:
                raise TryAgain("The Distributor has nothing new.")
            case 412:
                self._tell.info("The stream has begun another epoch.")
                self.epoch, self.possession = None, Possession()
                return False
            case 404:
                raise TryAgain(f"The stream is not there: {said}.", after=retry_after(response.headers))
            case status if status in _FOR_EVER:
                raise Refusal(status, "Refused", f"The Distributor refuses: {said}.")
            case _:
                raise TryAgain(f"The Distributor does not give the stream now: {said}.")


def _time(headers: Headers, name: bytes) -> int | None:
    value = headers.get(name)
    return None if value is None else parse_digits(value, MAX_LAST)


def _times(headers: Headers, name: bytes) -> tuple[int, ...]:
    value = headers.get(name)
    if value is None:
        return ()
    return tuple(parse_digits(each, MAX_LAST) for each in parse_list(value)[:_MOST_HOPS])


def _true(headers: Headers, name: bytes) -> bool:
    value = headers.get(name)
    return value is not None and parse_boolean(value)
