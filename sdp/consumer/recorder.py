"""A gapless copy: from the epoch's first byte, or from where an earlier run stopped, to its last.

The way of a byte: socket > ClientProtocol > :class:`_Body` > Writer > file. Each connection asks for all from the
copy's end on (``Range: bytes=E-9007199254740991``, RFC 8673) of the epoch that it is a copy of (``If-Match``), so that
whatever breaks, the next connection goes on with the very next byte, at the same Distributor or at another one that
holds the epoch. Where the stream has begun another epoch, the rest of this one is asked for by name (``?epoch=``), as
long as it is kept. At a hole the answer waits until it is filled (``Prefer: lossless``); where the epoch has ended with
it, the other Distributors are asked, and then it is told which bytes nobody has.

A disk that takes no more does not end the copy: it goes on when the disk does.
"""

from __future__ import annotations

import json
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from sdp.consumer.output import OutputFault, Progress
from sdp.consumer.sources import Sources
from sdp.consumer.start import find_start
from sdp.consumer.writer import Writer
from sdp.errors import Refusal, SDPError, StorageError
from sdp.http1 import Headers, Response
from sdp.http1.ranges import MAX_LAST, ContentRange, parse_content_range
from sdp.net.attempts import Attempts, Tell, TryAgain
from sdp.net.backoff import Backoff
from sdp.net.client import ClientProtocol, Disconnected
from sdp.net.missing import hole_at
from sdp.net.refusals import complete_length, retry_after, sentence

__all__ = ["Recorder"]

WAIT = 30
"""How long a Distributor is asked to wait for a stream that is not there yet (RFC 7240), in seconds."""

WAIT_OF_SEVERAL = 3
"""The same where another Distributor may have it."""

_FOR_EVER = frozenset({401, 403, 405, 414, 431})
_SILENT = 504
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
    it). ``attempts`` connect to ``sources``; ``mending`` is how long a failed disk is left alone each time."""

    def __init__(
        self,
        sources: Sources,
        writer: Writer,
        attempts: Attempts,
        tell: Tell,
        clock: IReactorTime,
        mending: Backoff,
        at: str | None = None,
    ) -> None:
        self.end = 0
        """The offset up to which bytes have been taken."""
        self.first = 0
        self.epoch: str | None = None
        self.complete_length: int | None = None
        self.on_progress: Callable[[], None] = lambda: None
        self._sources = sources
        self._writer = writer
        self._attempts = attempts
        self._tell = tell
        self._clock = clock
        self._mending = mending
        self._at = at

    async def run(self) -> None:
        """Copy until the epoch has ended and all of it is durable. Raises an SDPError where that cannot be."""
        progress: Progress = await self._writer.open()
        self.epoch, self.first, self.end = progress.epoch, progress.first, progress.end
        if progress.complete:
            self._tell.info("The copy is complete already: {end} bytes.", end=self.end - self.first)
            return
        if self.epoch is not None:
            self._tell.info("Going on with epoch {epoch} at offset {end}.", epoch=self.epoch, end=self.end)
        while True:
            try:
                if self.complete_length is None or self.end != self.complete_length:
                    await self._attempts.run(self._session)
                await self._writer.complete()
                break
            except OutputFault as fault:
                await self._mend(fault)
        self._tell.info("The copy is complete: {end} bytes.", end=self.end - self.first)

    async def _mend(self, fault: OutputFault) -> None:
        """Wait until the output can be opened again, and go on with what it holds."""
        if self._writer.has_written:
            self._mending.succeeded()
        if not self._mending.failures:
            self._tell.warn("{detail}; the copy goes on when it can.", detail=fault.detail.rstrip("."))
        had_begun = self._writer.has_begun
        while True:
            await deferLater(self._clock, self._mending.next_delay())
            try:
                progress = await self._writer.reopen()
                break
            except OutputFault:
                continue
        if not had_begun:
            self.epoch, self.first, self.end, self.complete_length = None, 0, 0, None
            self._sources.forget()
        elif progress.epoch != self.epoch:
            raise StorageError("What was copied so far was removed meanwhile. Started again, the copy begins anew.")
        else:
            self.first, self.end = progress.first, progress.end

    async def _session(self, client: ClientProtocol) -> None:
        self._writer.on_room = client.resume_receiving
        self._writer.on_failure = client.abort
        try:
            if self._writer.failure is not None:
                raise self._writer.failure
            if self.epoch is None and self._at is not None:
                await self._begin_at(client, self._at)
            while self.end != self.complete_length:
                await self._get(client)
        except Disconnected as error:
            if self._writer.failure is not None:
                raise self._writer.failure from None
            if error.status == _SILENT:  # it may wait for what another one has
                self._sources.move_on()
            raise
        finally:
            self._writer.on_room = lambda: None
            self._writer.on_failure = lambda error: None

    # -- one request -------------------------------------------------------------------------------------------

    async def _begin_at(self, client: ClientProtocol, at: str) -> None:
        """Find out where the copy begins."""
        self.epoch, start = await find_start(client, self._sources.current.address, at)
        self.first = self.end = start.offset
        self._writer.begin(self.epoch, start.offset, start.head)
        self._tell.info("Copying epoch {epoch} from offset {end} on.", epoch=self.epoch, end=self.end)

    async def _get(self, client: ClientProtocol) -> None:
        lines = [(b"Range", b"bytes=%d-%d" % (self.end, MAX_LAST))]
        source, patience = self._sources.current, None
        target = source.address.target
        if source.by_name:
            assert self.epoch is not None
            target += (b"&" if b"?" in target else b"?") + b"epoch=" + self.epoch.strip('"').encode("ascii")
        elif self.epoch is not None:
            lines += [(b"If-Match", self.epoch.encode("ascii")), (b"Prefer", b"lossless")]
        else:
            wait = WAIT_OF_SEVERAL if self._sources.several else WAIT
            lines.append((b"Prefer", b"lossless, wait=%d" % wait))
            patience = client.limits.head_timeout + wait
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
        self._sources.gave()
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
            case 416 if (hole := hole_at(response.headers, self.end)) is not None:
                raise self._sources.lack(
                    f"Nobody who was asked has the bytes {self.end} to {hole[1] - 1} of epoch {self.epoch}: the copy"
                    " has what is before them. Started again when they are there, it goes on."
                )
            case 416 if (length := complete_length(response.headers)) is not None:
                if length < self.end and self._sources.current.by_name:
                    # Another epoch has begun: this one grows no more.
                    raise self._sources.lack(
                        f"Epoch {self.epoch} has ended at {length} bytes, and this copy of it has {self.end}:"
                        " whoever sent the rest could not keep it. The copy holds all that there is."
                    )
                if length < self.end:
                    raise TryAgain(f"The Distributor has only {length} bytes, less than the copy's {self.end}.")
                # On a live stream the Distributor waits at its end, so this one has ended.
                self.complete_length = self.end
                if self.epoch is None:
                    self._begin_empty(response)
            case 412 if not self._sources.current.by_name:
                self._tell.warn("The stream has begun another epoch; fetching the rest of {epoch}.", epoch=self.epoch)
                self._sources.current.by_name = True
            case 410 if self.epoch is None:
                await self._find_first(client)
            case 410:
                raise self._sources.lack(f"What follows on offset {self.end} is kept no more: {said}.")
            case 404 if self._sources.current.by_name:
                raise self._sources.lack(
                    f"Epoch {self.epoch} has ended and is kept no more: the copy is cut at {self.end} bytes."
                )
            case 404:
                address = self._sources.current.address
                raise TryAgain(f"Waiting for {address}: {said}.", after=retry_after(response.headers))
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
        path = self._sources.current.address.target.partition(b"?")[0]
        answer = await client.fetch(b"GET", b"/-/streams" + path)
        try:
            first = json.loads(answer.content)["first_offset"] if answer.status == 200 else None
        except (ValueError, KeyError, TypeError):
            first = None
        if not isinstance(first, int) or isinstance(first, bool) or first <= self.end:
            raise TryAgain("The Distributor keeps the stream's beginning no more, and does not say from where on.")
        self._tell.warn("The beginning is kept no more: the copy begins at offset {first}.", first=first)
        self.first = self.end = first
