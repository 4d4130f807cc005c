"""A gapless copy: from the epoch's first byte, or from where an earlier run stopped, to its last.

The way of a byte: socket > ClientProtocol > :class:`_Body` > Writer > file. Each connection asks for all from the
copy's end on (``Range: bytes=E-9007199254740991``, RFC 8673) of the epoch that it is a copy of (``If-Match``), so that
whatever breaks, the next connection goes on with the very next byte. Where the stream has begun another epoch, the
rest of this one is asked for by name (``?epoch=``), as long as the Distributor keeps it.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from twisted.internet.defer import Deferred

from sdp.consumer.output import Progress
from sdp.consumer.start import find_start
from sdp.consumer.writer import Writer
from sdp.errors import Refusal, SDPError
from sdp.http1 import Headers, Response
from sdp.http1.ranges import MAX_LAST, ContentRange, parse_content_range
from sdp.net.address import Address
from sdp.net.attempts import Attempts, Tell, TryAgain
from sdp.net.client import ClientProtocol, Disconnected
from sdp.net.refusals import complete_length, retry_after, sentence

__all__ = ["Recorder"]

WAIT = 30
"""How long a Distributor is asked to wait for a stream that is not there yet (RFC 7240), in seconds."""

_FOR_EVER = frozenset({401, 403, 405, 414, 431})
_LONGEST_REFUSAL = 1 << 16


class _Body:
    """Takes one answer's content: to the recorder where it is the stream's, else to be read as a refusal."""

    def __init__(self, recorder: Recorder, client: ClientProtocol) -> None:
        self.over: Deferred[SDPError | None] = Deferred()
        """Fires at the content's end, with what cut it or None."""
        self.is_stream = False
        self.other = b""
        self._recorder = recorder
        self._client = client

    def data_received(self, data: bytes) -> None:
        if self.is_stream:
            self._recorder.take(data, self._client)
        elif len(self.other) < _LONGEST_REFUSAL:
            self.other += data

    def ended(self, trailers: Headers) -> None:
        self.over.callback(None)

    def failed(self, error: SDPError) -> None:
        self.over.callback(error)


class Recorder:
    """Copies one epoch of one stream to a writer: from its first byte, or from a time on (``at``, as ``?at=`` takes
    it)."""

    def __init__(self, address: Address, writer: Writer, attempts: Attempts, tell: Tell, at: str | None = None) -> None:
        self.end = 0
        """The offset up to which bytes have been taken."""
        self.first = 0
        self.epoch: str | None = None
        self.complete_length: int | None = None
        self.on_progress: Callable[[], None] = lambda: None
        self._address = address
        self._writer = writer
        self._attempts = attempts
        self._tell = tell
        self._at = at
        self._by_name = False
        """The epoch is not the stream's current one any more."""

    async def run(self) -> None:
        """Copy until the epoch has ended and all of it is durable. Raises an SDPError where that cannot be."""
        progress: Progress = await self._writer.open()
        self.epoch, self.first, self.end = progress.epoch, progress.first, progress.end
        if progress.complete:
            self._tell.info("The copy is complete already: {end} bytes.", end=self.end - self.first)
            return
        if self.epoch is not None:
            self._tell.info("Going on with epoch {epoch} at offset {end}.", epoch=self.epoch, end=self.end)
        await self._attempts.run(self._session)
        await self._writer.complete()
        self._tell.info("The copy is complete: {end} bytes.", end=self.end - self.first)

    async def _session(self, client: ClientProtocol) -> None:
        self._writer.on_room = client.resume_receiving
        self._writer.on_failure = client.abort
        try:
            if self.epoch is None and self._at is not None:
                await self._begin_at(client, self._at)
            while self.end != self.complete_length:
                await self._get(client)
        except Disconnected:
            if self._writer.failure is not None:
                raise self._writer.failure from None
            raise
        finally:
            self._writer.on_room = lambda: None
            self._writer.on_failure = lambda error: None

    # -- one request -------------------------------------------------------------------------------------------

    async def _begin_at(self, client: ClientProtocol, at: str) -> None:
        """Find out where the copy begins."""
        self.epoch, start = await find_start(client, self._address, at)
        self.first = self.end = start.offset
        self._writer.begin(self.epoch, start.offset, start.head)
        self._tell.info("Copying epoch {epoch} from offset {end} on.", epoch=self.epoch, end=self.end)

    async def _get(self, client: ClientProtocol) -> None:
        lines = [(b"Range", b"bytes=%d-%d" % (self.end, MAX_LAST))]
        target, patience = self._address.target, None
        if self._by_name:
            assert self.epoch is not None
            target += (b"&" if b"?" in target else b"?") + b"epoch=" + self.epoch.strip('"').encode("ascii")
        elif self.epoch is not None:
            lines += [(b"If-Match", self.epoch.encode("ascii")), (b"Prefer", b"lossless")]
        else:
            lines.append((b"Prefer", b"lossless, wait=%d" % WAIT))
            patience = client.limits.head_timeout + WAIT
        body, before = _Body(self, client), self.end
        head = client.request(b"GET", target, lines, None, body, head_timeout=patience)
        # Within the callback, for the content follows the head at once.
        head.addCallback(self._look_at, body)
        response = await head
        cut = await body.over
        if cut is not None:
            raise cut
        if not body.is_stream:
            await self._refused(client, response, body.other)
        elif self.end == before != self.complete_length:
            raise TryAgain("The Distributor's answer ended without a byte.")

    def take(self, data: bytes, client: ClientProtocol) -> None:
        """The bytes that follow on the copy's end."""
        self.end += len(data)
        self._attempts.backoff.succeeded()
        self._writer.write(data)
        if self._writer.full:
            client.pause_receiving()
        self.on_progress()

    def _look_at(self, response: Response, body: _Body) -> Response:
        """Let the content through where it is what was asked for."""
        if response.status not in (200, 206):
            return response
        complete = self._length_of_what_comes(response)
        tag = response.headers.get(b"etag")
        if tag is None or not tag.startswith(b'"'):
            raise Refusal(502, "No Distributor", "The server names no epoch (a strong ETag): a copy might be of two.")
        epoch = tag.decode("ascii", "replace")
        if self.epoch is None:
            self.epoch = epoch
            self._writer.begin(epoch, self.first)
            self._tell.info("Copying epoch {epoch} from offset {end} on.", epoch=epoch, end=self.end)
        elif epoch != self.epoch:
            raise TryAgain(f"The server answers with epoch {epoch} where {self.epoch} was asked for.")
        if complete is not None:
            self.complete_length = complete
        body.is_stream = True
        return response

    def _length_of_what_comes(self, response: Response) -> int | None:
        """Return the epoch's complete length where it is said. Raises where the content does not begin at the copy's
        end: such bytes must never be written."""
        if response.status == 200:
            if self.end == 0 and response.content_length is not None:
                return response.content_length
            raise Refusal(502, "No ranges", "The server takes no Range on this stream: no gapless copy can be made.")
        value = response.headers.get(b"content-range")
        said = parse_content_range(value) if value is not None else ContentRange(None, None, None)
        if said.first != self.end:
            raise TryAgain(f"The server answers with other bytes than those from {self.end} on.")
        if said.complete is not None and said.last == said.complete - 1:
            return said.complete
        return None

    # -- refusals ----------------------------------------------------------------------------------------------

    async def _refused(self, client: ClientProtocol, response: Response, content: bytes) -> None:
        """Do what a refusal asks for, or raise."""
        said = sentence(response.status, content)
        match response.status:
            case 416 if (length := complete_length(response.headers)) is not None:
                if length < self.end and self._by_name:
                    # Another epoch has begun: this one grows no more.
                    raise Refusal(
                        410,
                        "Gone",
                        f"Epoch {self.epoch} has ended at {length} bytes, and this copy of it has {self.end}:"
                        " whoever sent the rest could not keep it. The copy holds all that there is.",
                    )
                if length < self.end:
                    raise TryAgain(f"The Distributor has only {length} bytes, less than the copy's {self.end}.")
                # On a live stream the Distributor waits at its end, so this one has ended.
                self.complete_length = self.end
                if self.epoch is None:
                    self._begin_empty(response)
            case 412 if not self._by_name:
                self._tell.warn("The stream has begun another epoch; fetching the rest of {epoch}.", epoch=self.epoch)
                self._by_name = True
            case 410 if self.epoch is None:
                await self._find_first(client)
            case 410:
                raise Refusal(410, "Gone", f"What follows on offset {self.end} is kept no more: {said}.")
            case 404 if self._by_name:
                raise Refusal(
                    410,
                    "Gone",
                    f"Epoch {self.epoch} has ended and is kept no more: the copy is cut at {self.end} bytes.",
                )
            case 404:
                raise TryAgain(f"Waiting for {self._address}: {said}.", after=retry_after(response.headers))
            case status if status in _FOR_EVER:
                raise Refusal(status, "Refused", f"The Distributor refuses: {said}.")
            case _:
                raise TryAgain(f"The Distributor does not give the stream now: {said}.")

    def _begin_empty(self, response: Response) -> None:
        """An epoch that has ended without a byte is copied as well."""
        tag = response.headers.get(b"etag")
        if tag is not None:
            self.epoch = tag.decode("ascii", "replace")
            self._writer.begin(self.epoch, self.first)

    async def _find_first(self, client: ClientProtocol) -> None:
        """Retention has removed the epoch's beginning: begin at the first byte that is left."""
        path = self._address.target.partition(b"?")[0]
        answer = await client.fetch(b"GET", b"/-/streams" + path)
        try:
            first = json.loads(answer.content)["first_offset"] if answer.status == 200 else None
        except (ValueError, KeyError, TypeError):
            first = None
        if not isinstance(first, int) or isinstance(first, bool) or first <= self.end:
            raise TryAgain("The Distributor keeps the stream's beginning no more, and does not say from where on.")
        self._tell.warn("The beginning is kept no more: the copy begins at offset {first}.", first=first)
        self.first = self.end = first
