"""The Origin's outlet: what was captured goes to the Distributor, one record a POST, on one kept connection.

The way of a record: :class:`~sdp.origin.capture.Capture` > :meth:`Poster._post` > ClientProtocol > socket. POSTs are
pipelined: the next one does not wait for the answer to the one before, up to a bound in number and in bytes. What is
not answered is never dropped: it stays in the log, in memory or on disk, and goes out again over the next connection
from wherever the Distributor says that its own log ends.

What a former life of this Origin has left in the store goes out before, as far as the Distributor lacks it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sdp.errors import LocalError, Refusal, SDPError
from sdp.http1.ranges import format_content_range
from sdp.net.attempts import Attempts, Tell
from sdp.net.client import Answer, ClientProtocol
from sdp.net.refusals import complete_length
from sdp.origin.capture import Capture
from sdp.origin.counterpart import Counterpart, Standing
from sdp.origin.lives import Former, Life, Lost, Piece
from sdp.stream.record import Flag

__all__ = ["Poster", "PosterLimits"]


@attrs.frozen(kw_only=True)
class PosterLimits:
    """What may be on its way to the Distributor without an answer."""

    unanswered: int = 64
    unanswered_bytes: int = 4 << 20


class Poster:
    """Delivers a capture to one stream of a Distributor, over as many connections as it takes.

    ``former`` are lives that ended before this one began, oldest first. ``anew``: they are delivered, too, where the
    Distributor knows nothing of them. ``now`` gives the time in microseconds. ``trace`` is told the offset up to which
    bytes were given to the socket.
    """

    def __init__(
        self,
        capture: Capture,
        target: bytes,
        attempts: Attempts,
        tell: Tell,
        *,
        now: Callable[[], int],
        limits: PosterLimits | None = None,
        former: Sequence[Former] = (),
        anew: bool = False,
        trace: Callable[[int], None] | None = None,
    ) -> None:
        self.capture = capture
        self.epoch: bytes | None = None
        """The epoch's entity tag, as the Distributor names it."""
        self.on_acknowledged: Callable[[], None] = lambda: None
        self._counterpart = Counterpart(target)
        self._attempts = attempts
        self._tell = tell
        self._now = now
        self._trace = trace
        self._limits = limits if limits is not None else PosterLimits()
        self._former = list(former)
        self._anew = anew
        self._client: ClientProtocol | None = None
        self._position = 0
        self._reached = 0
        """The end of all that was posted of this epoch: who finds more there is not alone."""
        self._acknowledged = 0
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
    def acknowledged(self) -> int:
        """The offset in the capture below which the Distributor has said that it has everything."""
        return 0 if self._former else self._acknowledged

    @property
    def delivered(self) -> bool:
        """Whether the Distributor has all that was captured so far."""
        return not self._former and self._acknowledged >= self.capture.end

    @property
    def connected(self) -> bool:
        return self._client is not None

    @property
    def _life(self) -> Life:
        """What is being delivered: lives end before the next one begins."""
        return self._former[0] if self._former else self.capture

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
            life = self._life
            if self._position < life.end:
                if self._has_room(client):
                    await self._post_next(client, life)
                    continue
            elif life.finished and not life.end:
                raise self._nothing_left()
            elif life.finished and self._acknowledged >= life.end:
                await self._conclude(client, life)
                if life is self.capture:
                    return
                continue
            await self._woken()

    async def _conclude(self, client: ClientProtocol, life: Life) -> None:
        """All of a life is there: its epoch ends."""
        end = self._acknowledged
        await self._end_epoch(client, end)
        if life is self.capture:
            self._tell.info("Delivered: {end} bytes, epoch {epoch}.", end=end, epoch=self._epoch_text())
            life.complete()
        else:
            self._tell.info(
                "A former life is delivered: {end} bytes, epoch {epoch}.", end=end, epoch=self._epoch_text()
            )
            self._leave_former()
            self._begin_at_zero()

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
        """Learn where the Distributor's log ends, and set the position to go on from (the wire contract's HEAD)."""
        standing = await self._counterpart.ask(client)
        if standing.epoch is None:
            if self.epoch is not None:
                self._tell.warn("The Distributor has lost the stream; it gets what is held, as a new epoch.")
            if not self._anew:
                self._leave_all_former()
            self._begin_at_zero()
        elif standing.epoch == self.epoch and self._ended_elsewhere:
            self._tell.warn("The epoch was ended by somebody else; a new one begins.")
            self._begin_anew()
        elif standing.epoch == self.epoch:
            if standing.end > self._reached:
                raise self._fenced_off(standing)
            await self._go_on(client, standing.end)
        elif not await self._recognized(client, standing):
            await self._displace(client, standing)

    async def _recognized(self, client: ClientProtocol, standing: Standing) -> bool:
        """Whether the Distributor's epoch is of a former life, or of this one, which lost the answer that named it. If
        so, that life goes on; those before it are over."""
        if self.epoch is not None:
            return False
        lives: list[Life] = [*self._former]
        if not lives and standing.end <= self._reached:
            lives.append(self.capture)
        for life in reversed(lives):
            answer = await self._counterpart.knows(client, life, standing)
            if answer is not None:
                while self._former and self._former[0] is not life:
                    self._leave_former()
                self.epoch, self._reached = standing.epoch, max(self._reached, standing.end)
                ended = complete_length(answer.headers)
                if ended is None:
                    await self._go_on(client, standing.end)
                else:
                    self._note_missing(ended)
                    self._begin_anew()
                return True
        return False

    async def _displace(self, client: ClientProtocol, standing: Standing) -> None:
        """End an epoch that is another's, where nobody posts to it, and begin one's own."""
        if self.epoch is not None:
            self._tell.warn("The stream has another epoch now, {epoch}.", epoch=_text(standing.epoch))
        # Without If-Match: an Origin that is alive keeps its epoch, and this one is told (409).
        answer = await self._counterpart.end_epoch(client, standing.end, None)
        if answer.status == 409 and self.epoch is not None:
            raise self._fenced_off(standing)
        if answer.status >= 300:
            raise self._counterpart.refused(answer)
        self._leave_all_former()
        self._begin_at_zero()

    async def _go_on(self, client: ClientProtocol, end: int) -> None:
        """In the epoch that this Origin began: from the Distributor's end, if that is still held here."""
        life = self._life
        if life.held_from <= end:
            behind = max(0, life.end - end)
            self._tell.info("Going on at offset {offset}, {behind} bytes behind.", offset=end, behind=behind)
            self._position = self._acknowledged = end
            self.on_acknowledged()
            return
        self._tell.warn(
            "The Distributor's log ends at {end}, but only {start} to {stop} is held here:"
            " this epoch ends, a new one begins.",
            end=end,
            start=life.held_from,
            stop=life.end,
        )
        await self._end_epoch(client, end)
        self._begin_anew()

    def _begin_at_zero(self) -> None:
        """Begin an epoch with all that is held; where its beginning is not, from the newest random access point."""
        while self._former and (self._former[0].over or self._former[0].held_from > 0):
            self._leave_former()
        if not self._former and self.capture.held_from > 0:
            self.capture.begin_anew(self._now())
        self.epoch = None
        self._ended_elsewhere = False
        self._position = self._reached = self._acknowledged = 0
        self.on_acknowledged()

    def _begin_anew(self) -> None:
        """This epoch is over, whatever is left of it: another one begins where the next life does, or at the newest
        random access point."""
        if self._former:
            self._leave_former()
        else:
            self.capture.begin_anew(self._now())
        self._begin_at_zero()

    def _leave_former(self) -> None:
        """The oldest life is over: the Distributor has what it gets of it."""
        self._former.pop(0).complete()

    def _leave_all_former(self) -> None:
        """The Distributor's epochs are others': there is nothing that it could lack of those lives."""
        for life in self._former:
            if not life.over:
                self._tell.warn(
                    "What was captured before this start ({size} bytes) is no epoch that the Distributor goes on with:"
                    " it stays in the store.",
                    size=life.end - life.held_from,
                )
        while self._former:
            self._leave_former()

    def _note_missing(self, ended: int) -> None:
        if ended < self._life.end:
            self._tell.warn(
                "The epoch was ended at {ended} by somebody else; {missing} bytes more of it stay in the store.",
                ended=ended,
                missing=self._life.end - ended,
            )

    async def _end_epoch(self, client: ClientProtocol, end: int) -> None:
        """Say that this Origin's epoch is complete at ``end``."""
        answer = await self._counterpart.end_epoch(client, end, self.epoch)
        if answer.status >= 300:
            raise self._counterpart.refused(answer)

    def _fenced_off(self, standing: Standing) -> SDPError:
        """Another Origin has the stream: to go on against it would tear it to and fro."""
        return Refusal(
            412,
            "Fenced off",
            f"Another Origin has taken this stream over (epoch {_text(standing.epoch)}, at offset {standing.end}): this"
            " one leaves. Started again, it waits until the other one is gone.",
        )

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

    async def _post_next(self, client: ClientProtocol, life: Life) -> None:
        try:
            pieces = await life.pieces(self._position)
        except Lost:
            self._tell.warn(
                "What follows on offset {offset} has left the memory and is not on disk:"
                " this epoch ends, a new one begins.",
                offset=self._position,
            )
            while client.unanswered and self._fault is None:
                await self._woken()
            if self._fault is None:
                await self._end_epoch(client, self._position)
                self._begin_anew()
            return
        for piece in pieces:
            while not self._has_room(client) and self._fault is None:
                await self._woken()
            if self._fault is not None:
                return
            self._post(client, piece)

    def _post(self, client: ClientProtocol, piece: Piece) -> None:
        end = piece.end
        lines = [(b"Content-Range", format_content_range(piece.offset, end - 1))]
        if self.epoch is not None:
            lines.append((b"If-Match", self.epoch))
        if piece.offset == 0:
            lines.append((b"Content-Type", self._life.content_type.encode("ascii")))
        record = piece.record
        if record is not None:
            if record.capture_time is not None:
                lines.append((b"Capture-Time", b"%d" % record.capture_time))
            if record.flags & Flag.RANDOM_ACCESS and not record.flags & Flag.IMPLIED:
                lines.append((b"Random-Access", b"?1"))
        length = end - piece.offset
        self._position = end
        self._reached = max(self._reached, end)
        self._unanswered_bytes += length
        answer = client.fetch(b"POST", self._counterpart.target, lines, piece.data)
        if self._trace is not None:
            self._trace(end)
        answer.addCallbacks(self._answered, self._unanswered, callbackArgs=(client, end, length))

    def _answered(self, answer: Answer, client: ClientProtocol, end: int, length: int) -> None:
        if client is not self._client:
            return
        self._unanswered_bytes -= length
        if answer.status >= 300:
            self._note_ended(answer)
            self._break(self._counterpart.refused(answer))
            return
        if self.epoch is None:
            self.epoch = answer.headers.get(b"etag")
            if self.epoch is None:
                self._break(Refusal(502, "No Distributor", "The server names no epoch (ETag): it is no Distributor."))
                return
            self._tell.info("Publishing, epoch {epoch}.", epoch=self._epoch_text())
        self._acknowledged = max(self._acknowledged, end)
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

    def _nothing_left(self) -> SDPError:
        """Why a source that has ended has nothing to deliver."""
        if not self.capture.taken:
            return LocalError("The source has ended without giving anything.")
        return LocalError(
            "The source has ended, and what could still be played of it has left the memory before the"
            " Distributor took it; give the Origin a --store, or more --memory."
        )

    def _epoch_text(self) -> str:
        return _text(self.epoch)


def _text(epoch: bytes | None) -> str:
    return "?" if epoch is None else epoch.decode("ascii", "replace")
