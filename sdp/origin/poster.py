"""The Origin's outlet: what was captured goes to the Distributor, one record a POST, on one kept connection.

The way of a record: :class:`~sdp.origin.capture.Capture` > :meth:`Poster._post` > ClientProtocol > socket. POSTs are
pipelined: the next one does not wait for the answer to the one before, up to a bound in number and in bytes. What is
not answered is never dropped: it stays in the log, in memory or on disk, and goes out again over the next connection
from wherever the Distributor says that its own log ends.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sdp.errors import LocalError, Refusal, SDPError
from sdp.http1.ranges import format_content_range
from sdp.net.attempts import Attempts, Tell, TryAgain
from sdp.net.client import Answer, ClientProtocol
from sdp.net.refusals import complete_length, offset_field, sentence
from sdp.origin.capture import Capture, Lost, Piece
from sdp.stream.record import Flag

__all__ = ["Poster", "PosterLimits"]

_FOR_EVER = frozenset({401, 403, 405, 411, 413, 414, 415, 417, 431})
"""Refusals that asking again does not mend: the operator has to."""


@attrs.frozen(kw_only=True)
class PosterLimits:
    """What may be on its way to the Distributor without an answer."""

    unanswered: int = 64
    unanswered_bytes: int = 4 << 20


class Poster:
    """Delivers a capture to one stream of a Distributor, over as many connections as it takes.

    ``now`` gives the time in microseconds; ``content_type`` is the stream's. ``trace`` is told the offset up to which
    bytes were given to the socket.
    """

    def __init__(
        self,
        capture: Capture,
        target: bytes,
        content_type: bytes,
        attempts: Attempts,
        tell: Tell,
        *,
        now: Callable[[], int],
        limits: PosterLimits | None = None,
        trace: Callable[[int], None] | None = None,
    ) -> None:
        self.capture = capture
        self.acknowledged = 0
        """The offset below which the Distributor has said that it has everything."""
        self.epoch: bytes | None = None
        """The epoch's entity tag, as the Distributor names it."""
        self.on_acknowledged: Callable[[], None] = lambda: None
        self._target = target
        self._content_type = content_type
        self._attempts = attempts
        self._tell = tell
        self._now = now
        self._trace = trace
        self._limits = limits if limits is not None else PosterLimits()
        self._client: ClientProtocol | None = None
        self._position = 0
        self._ended_elsewhere = False
        self._unanswered_bytes = 0
        self._fault: SDPError | None = None
        self._waiting: Deferred[None] | None = None

    # -- over all connections ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until a finite capture is delivered to its last byte and its epoch has ended.

        Raises an SDPError where the Distributor refuses for good. To be cancelled where that is not to be waited for.
        """
        await self._attempts.run(self._session)

    @property
    def delivered(self) -> bool:
        """Whether the Distributor has all that was captured so far."""
        return self.acknowledged >= self.capture.log.end

    @property
    def connected(self) -> bool:
        return self._client is not None

    # -- over one connection -----------------------------------------------------------------------------------

    async def _session(self, client: ClientProtocol) -> None:
        self._client = client
        try:
            await self._deliver(client)
        finally:
            self._client = None
            client.on_writable = None

    async def _deliver(self, client: ClientProtocol) -> None:
        self._fault = None
        self._unanswered_bytes = 0
        client.on_writable = self.wake
        client.lost.addCallback(self._lost, client)
        await self._agree(client)
        while True:
            if self._fault is not None:
                raise self._fault
            log = self.capture.log
            if self._position < log.end:
                if self._has_room(client):
                    await self._post_next(client)
                    continue
            elif log.finished and not log.end:
                raise self._nothing_left()
            elif log.finished and self.acknowledged >= log.end:
                await self._end_epoch(client, log.end, by_name=True)
                self._tell.info("Delivered: {end} bytes, epoch {epoch}.", end=log.end, epoch=self._epoch_text())
                return
            await self._woken()

    def _lost(self, error: SDPError, client: ClientProtocol) -> None:
        if self._client is client:
            self._break(error)

    def _break(self, error: SDPError) -> None:
        """The first fault of a connection counts; those that follow only follow from it."""
        if self._fault is None:
            self._fault = error
        self.wake()

    def wake(self) -> None:
        """Something may have changed: look again for what there is to do."""
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    def _woken(self) -> Deferred[None]:
        self._waiting = Deferred()
        return self._waiting

    # -- where to go on ----------------------------------------------------------------------------------------

    async def _agree(self, client: ClientProtocol) -> None:
        """Learn where the Distributor's log ends, and set the position to go on from (PROTOCOL: HEAD)."""
        answer = await client.fetch(b"HEAD", self._target)
        if answer.status not in (200, 206, 404):
            raise self._refused(answer)
        epoch = answer.headers.get(b"etag")
        end = offset_field(answer.headers, b"upload-offset")
        if end is None:
            raise TryAgain(f"What answers there is no SDP Distributor: it says no Upload-Offset ({answer.status}).")
        if not answer.response.persistent:
            raise TryAgain("The server closes the connection after its first answer: no stream can be posted so.")
        if answer.status == 404 or epoch is None:
            if self.epoch is not None:
                self._tell.warn("The Distributor has lost the stream; it gets what is held, as a new epoch.")
            self._begin_at_zero()
        elif epoch == self.epoch and self._ended_elsewhere:
            self._tell.warn("The epoch was ended by somebody else; a new one begins.")
            self._begin_anew()
        elif epoch == self.epoch:
            await self._go_on(client, end)
        else:
            if self.epoch is not None:
                self._tell.warn("The stream has another epoch now, {epoch}.", epoch=_text(epoch))
            # Without If-Match: an Origin that is alive keeps its epoch, and this one is told (409).
            await self._end_epoch(client, end, by_name=False)
            self._begin_at_zero()

    async def _go_on(self, client: ClientProtocol, end: int) -> None:
        """In the epoch that this Origin began: from the Distributor's end, if that is still held here."""
        log = self.capture.log
        if self.capture.held_from <= end <= log.end:
            self._tell.info("Going on at offset {offset}, {behind} bytes behind.", offset=end, behind=log.end - end)
            self._position = self.acknowledged = end
            self.on_acknowledged()
            return
        self._tell.warn(
            "The Distributor's log ends at {end}, but only {start} to {stop} is held here:"
            " this epoch ends, a new one begins.",
            end=end,
            start=self.capture.held_from,
            stop=log.end,
        )
        await self._end_epoch(client, end, by_name=True)
        self._begin_anew()

    def _begin_at_zero(self) -> None:
        """Begin an epoch with all that is held; where its beginning is not, from the newest random access point."""
        if self.capture.held_from > 0:
            self._begin_anew()
            return
        self._forget_epoch()

    def _forget_epoch(self) -> None:
        self.epoch = None
        self._ended_elsewhere = False
        self._position = self.acknowledged = 0

    def _begin_anew(self) -> None:
        self.capture.begin_anew(self._now())
        self._forget_epoch()
        self.on_acknowledged()

    async def _end_epoch(self, client: ClientProtocol, end: int, *, by_name: bool) -> None:
        """Say that the epoch is complete at ``end``; ``by_name`` where it is this Origin's own."""
        lines = [(b"Content-Range", format_content_range(None, None, end))]
        if by_name and self.epoch is not None:
            lines.append((b"If-Match", self.epoch))
        answer = await client.fetch(b"POST", self._target, lines, b"")
        if answer.status >= 300:
            raise self._refused(answer)

    # -- posting -----------------------------------------------------------------------------------------------

    def _has_room(self, client: ClientProtocol) -> bool:
        """Whether one more POST may be sent: the next of an epoch waits until the first has named it."""
        if not client.usable or not client.writable:
            return False
        if not client.unanswered:
            return True
        return (
            self.epoch is not None
            and client.unanswered < self._limits.unanswered
            and self._unanswered_bytes < self._limits.unanswered_bytes
        )

    async def _post_next(self, client: ClientProtocol) -> None:
        capture, log = self.capture, self.capture.log
        try:
            pieces = await capture.pieces(self._position)
        except Lost:
            self._tell.warn(
                "What follows on offset {offset} has left the memory and is not on disk:"
                " this epoch ends, a new one begins.",
                offset=self._position,
            )
            while client.unanswered and self._fault is None:
                await self._woken()
            if self._fault is None:
                await self._end_epoch(client, self._position, by_name=True)
                self._begin_anew()
            return
        for piece in pieces:
            while not self._has_room(client) and self._fault is None:
                await self._woken()
            if self._fault is not None or capture.log is not log:
                return
            self._post(client, piece)

    def _post(self, client: ClientProtocol, piece: Piece) -> None:
        end = piece.end
        lines = [(b"Content-Range", format_content_range(piece.offset, end - 1))]
        if self.epoch is not None:
            lines.append((b"If-Match", self.epoch))
        if piece.offset == 0:
            lines.append((b"Content-Type", self._content_type))
        record = piece.record
        if record is not None:
            if record.capture_time is not None:
                lines.append((b"Capture-Time", b"%d" % record.capture_time))
            if record.flags & Flag.RANDOM_ACCESS and not record.flags & Flag.IMPLIED:
                lines.append((b"Random-Access", b"?1"))
        length = end - piece.offset
        self._position = end
        self._unanswered_bytes += length
        answer = client.fetch(b"POST", self._target, lines, piece.data)
        if self._trace is not None:
            self._trace(end)
        answer.addCallbacks(self._answered, self._unanswered, callbackArgs=(client, end, length))

    def _answered(self, answer: Answer, client: ClientProtocol, end: int, length: int) -> None:
        if client is not self._client:
            return
        self._unanswered_bytes -= length
        if answer.status >= 300:
            self._note_ended(answer)
            self._break(self._refused(answer))
            return
        if self.epoch is None:
            self.epoch = answer.headers.get(b"etag")
            if self.epoch is None:
                self._break(Refusal(502, "No Distributor", "The server names no epoch (ETag): it is no Distributor."))
                return
            self._tell.info("Publishing, epoch {epoch}.", epoch=self._epoch_text())
        self.acknowledged = max(self.acknowledged, end)
        self._attempts.backoff.succeeded()
        self.on_acknowledged()
        self.wake()

    def _unanswered(self, failure: Failure) -> None:
        """The connection's loss has told already (:meth:`_lost`), but for the order in which it tells."""
        error = failure.value
        if isinstance(error, SDPError) and self._client is not None:
            self._break(error)

    def _note_ended(self, answer: Answer) -> None:
        """Somebody ended this Origin's epoch: the next connection begins another one, at the live edge."""
        if answer.status == 409 and self.epoch is not None and complete_length(answer.headers) is not None:
            self._ended_elsewhere = True

    def _refused(self, answer: Answer) -> SDPError:
        """What a refusal means for this Origin: try again, or give up."""
        said = sentence(answer.status, answer.content)
        if answer.status == 401 and not answer.content:  # HEAD's has none, and it is the first to be asked
            said += ", so it needs a secret: --publish-token FILE, or NAME:SECRET@ before the host of --to"
        if answer.status in _FOR_EVER:
            return Refusal(answer.status, "Refused", f"The Distributor refuses the stream: {said}.")
        return TryAgain(f"The Distributor does not take the stream now: {said}.", status=answer.status)

    def _nothing_left(self) -> SDPError:
        """Why a source that has ended has nothing to deliver."""
        if not self.capture.taken:
            return LocalError("The source has ended without giving anything.")
        return LocalError(
            "The source has ended, and what could still be played of it has left the memory before the"
            " Distributor took it; give the Origin a --store, or more --memory."
        )

    def _epoch_text(self) -> str:
        return _text(self.epoch) if self.epoch is not None else "?"


def _text(epoch: bytes) -> str:
    return epoch.decode("ascii", "replace")
