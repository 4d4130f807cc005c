"""The Origin's outlet: what was captured goes to the Distributor, one record a POST, on one kept connection.

The way of a record: :class:`~sdp.origin.capture.Capture` > :meth:`Poster._post` > ClientProtocol > socket. POSTs are
pipelined: the next one does not wait for the answer to the one before, up to a bound in number and in bytes. What is
not answered is never dropped: it stays in the log, in memory or on disk, and goes out again over the next connection
from wherever the Distributor says that its own log ends.

After an outage the newest may go first (:attr:`PosterLimits.newest_first`): the log jumps to its newest random access
point, which leaves a hole at the Distributor, and the hole is filled behind the live edge, one record at a time between
those that are live. What a former life of this Origin has left in the store goes out before all of that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from sdp.errors import LocalError, Refusal, SDPError
from sdp.http1.ranges import format_content_range
from sdp.net.attempts import Attempts, Tell
from sdp.net.client import Answer, ClientProtocol
from sdp.net.missing import Span, missing_of
from sdp.net.refusals import complete_length, offset_field
from sdp.net.unsent import unsent
from sdp.origin.backfill import Backfill
from sdp.origin.capture import Capture
from sdp.origin.counterpart import Counterpart
from sdp.origin.lives import Former, Life, Lost, Piece
from sdp.origin.succession import Succession
from sdp.stream.record import Flag

__all__ = ["Poster", "PosterLimits"]


@attrs.frozen(kw_only=True)
class PosterLimits:
    """What may be on its way to the Distributor without an answer, and what goes first after an outage."""

    unanswered: int = 64
    unanswered_bytes: int = 4 << 20
    newest_first: bool = False
    """Whether the newest goes first where more than ``catch_up`` is lacking, and what is behind it later."""
    catch_up: float = 1.0
    """In seconds: so much is sent in order all the same."""
    backfill_rate: float | None = None
    """Bytes a second that fill holes; None for as many as the line takes."""
    backfill_unanswered: int = 64 << 10
    """How many bytes that fill holes may be on their way: a live record waits behind no more."""


@attrs.frozen
class _Sent:
    """A POST on its way: the bytes [offset, end), and what for."""

    offset: int
    end: int
    fills: bool
    leaps: bool


class Poster:
    """Delivers a capture to one stream of a Distributor, over as many connections as it takes.

    ``former`` are lives that ended before this one began, oldest first. ``anew``: they are delivered, too, where the
    Distributor knows nothing of them. ``now`` gives the time in microseconds, ``clock`` lets it pass. ``trace`` is told
    the offset up to which bytes were given to the socket.
    """

    def __init__(
        self,
        capture: Capture,
        target: bytes,
        attempts: Attempts,
        tell: Tell,
        clock: IReactorTime,
        *,
        now: Callable[[], int],
        limits: PosterLimits | None = None,
        former: Sequence[Former] = (),
        anew: bool = False,
        trace: Callable[[int], None] | None = None,
    ) -> None:
        self.on_acknowledged: Callable[[], None] = lambda: None
        self._limits = limits if limits is not None else PosterLimits()
        self._backfill = Backfill(self._limits.backfill_rate, self._limits.backfill_unanswered)
        self._at = Succession(capture, Counterpart(target), self._backfill, tell, now=now, former=former, anew=anew)
        self._target = target
        self._attempts = attempts
        self._tell = tell
        self._clock = clock
        self._trace = trace
        self._client: ClientProtocol | None = None
        self._unanswered_bytes = 0
        self._may_leap = False
        self._dense = False
        """The Distributor takes no holes."""
        self._leap: int | None = None
        """The offset that a POST has to say that it leaps to."""
        self._fills: deque[Piece] = deque()
        self._filled: bytes | None = None
        """The epoch that those are of."""
        self._reading: Span | None = None
        self._pacing: IDelayedCall | None = None
        self._fault: SDPError | None = None
        self._waiting: Deferred[None] | None = None

    # -- over all connections ----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Deliver until a finite capture is delivered to its last byte and its epoch has ended.

        Raises an SDPError where the Distributor refuses for good. To be cancelled where that is not to be waited for.
        """
        await self._attempts.run(self._session)

    @property
    def epoch(self) -> bytes | None:
        """The epoch's entity tag, as the Distributor names it."""
        return self._at.epoch

    @property
    def acknowledged(self) -> int:
        """The offset in the capture that the Distributor has said that its log reaches to."""
        return 0 if self._at.is_former else self._at.acknowledged

    @property
    def delivered(self) -> bool:
        """Whether the Distributor has all that was captured so far, as far as it takes it."""
        at = self._at
        return not at.is_former and at.acknowledged >= at.capture.end and self._backfill.settled

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
            self._pace(None)

    async def _deliver(self, client: ClientProtocol) -> None:
        self._fault, self._leap = None, None
        self._unanswered_bytes = 0
        self._fills.clear()
        client.on_writable = self.wake
        client.lost.addCallback(self._lost, client)
        await self._at.agree(client)
        self._may_leap = True
        self.on_acknowledged()
        while True:
            if self._fault is not None:
                raise self._fault
            life, at = self._at.life, self._at
            if at.position < life.end:
                if self._has_room(client):
                    await self._post_next(client, life)
                    continue
            elif life.finished and not life.end:
                raise self._nothing_left()
            elif life.finished and at.acknowledged >= life.end and self._backfill.settled:
                if await at.conclude(client):
                    return
                self.on_acknowledged()
                continue
            if not self._fill_next(client, life):
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

    # -- the live edge -----------------------------------------------------------------------------------------

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
        position = self._at.position
        try:
            pieces = await life.pieces(position)
        except Lost:
            await self._break_off(client)
            return
        if self._may_leap:
            if position and pieces[0].record is not None:
                self._may_leap = False
                if self._leaped(life, position):
                    return
            else:
                del pieces[1:]  # what begins an epoch, and the rest of a record that was cut, go before any leap
        for piece in pieces:
            while not self._has_room(client) and self._fault is None:
                await self._woken()
            if self._fault is not None:
                return
            self._at.position = piece.end
            self._at.reached = max(self._at.reached, piece.end)
            self._post(client, piece, fills=False)

    async def _break_off(self, client: ClientProtocol) -> None:
        """What follows is held nowhere: the epoch ends there, and another one begins."""
        at, self._leap = self._at, None
        self._tell.warn(
            "What follows on offset {offset} has left the memory and is not on disk:"
            " this epoch ends, a new one begins.",
            offset=at.position,
        )
        while client.unanswered and self._fault is None:
            await self._woken()
        if self._fault is None:
            await at.end_epoch(client, at.position)
            at.begin_anew()
            self._may_leap = True
            self.on_acknowledged()

    def _leaped(self, life: Life, position: int) -> bool:
        """Go on at the newest random access point where so much is lacking that it is to be seen first."""
        at, capture = self._at, self._at.capture
        if life is not capture or life.finished or self._dense or not (self._limits.newest_first and at.kept):
            return False
        newest = capture.log.newest(Flag.RANDOM_ACCESS)
        if newest is None or newest.offset <= position or capture.behind(position) <= self._limits.catch_up:
            return False
        self._tell.info(
            "The newest goes first, from offset {offset}; {size} bytes before it come behind the live edge.",
            offset=newest.offset,
            size=newest.offset - position,
        )
        self._backfill.leave(position, newest.offset)
        self._leap = at.position = newest.offset
        return True

    # -- behind it ---------------------------------------------------------------------------------------------

    def _fill_next(self, client: ClientProtocol, life: Life) -> bool:
        """Send one record of a hole, where nothing that is live waits; whether to look again at once."""
        hole = self._backfill.next()
        if hole is None or self._leap is not None or not self._has_room(client) or unsent(client.transport):
            return False  # an answer, or a record, lets look again
        delay = self._backfill.delay(self._clock.seconds())
        if delay is None or delay > 0:
            self._pace(delay)
            return False
        while self._fills and (self._fills[0].offset != hole[0] or self._filled != self.epoch):
            self._fills.popleft()
        if not self._fills:
            self._read(life, hole)
            return self._reading is None
        piece = _up_to(self._fills.popleft(), hole[1])
        self._backfill.sent(piece.end, self._clock.seconds())
        self._post(client, piece, fills=True)
        return True

    def _read(self, life: Life, hole: Span) -> None:
        """Get what a hole's next bytes are, while live records go on."""
        if self._reading is not None:
            return
        self._reading, epoch = hole, self.epoch

        def read(pieces: list[Piece]) -> None:
            self._fills, self._filled = deque(pieces), epoch

        def lost(failure: Failure) -> None:
            failure.trap(Lost)
            if self._backfill.next() == hole and self.epoch == epoch:
                self._tell.warn("What fills the hole at {offset} is not held any more: it stays one.", offset=hole[0])
                self._backfill.nowhere()

        def over(_: object) -> None:
            self._reading = None
            self.wake()

        Deferred.fromCoroutine(life.pieces(hole[0])).addCallback(read).addErrback(lost).addBoth(over)

    def _pace(self, delay: float | None) -> None:
        """Look again after so long; None for not at all."""
        if self._pacing is not None and self._pacing.active():
            self._pacing.cancel()
        self._pacing = None if delay is None else self._clock.callLater(delay, self.wake)

    # -- posting -----------------------------------------------------------------------------------------------

    def _post(self, client: ClientProtocol, piece: Piece, *, fills: bool) -> None:
        sent = _Sent(piece.offset, piece.end, fills, piece.offset == self._leap)
        if sent.leaps:
            self._leap = None
        lines = [(b"Content-Range", format_content_range(sent.offset, sent.end - 1))]
        if self.epoch is not None:
            lines.append((b"If-Match", self.epoch))
        if sent.offset == 0:
            lines.append((b"Content-Type", self._at.life.content_type.encode("ascii")))
        if sent.fills or sent.leaps:
            lines.append((b"Sparse", b"?1"))
        record = piece.record
        if record is not None:
            if record.capture_time is not None:
                lines.append((b"Capture-Time", b"%d" % record.capture_time))
            if record.flags & Flag.RANDOM_ACCESS and not record.flags & Flag.IMPLIED:
                lines.append((b"Random-Access", b"?1"))
        self._unanswered_bytes += sent.end - sent.offset
        answer = client.fetch(b"POST", self._target, lines, piece.data)
        if self._trace is not None:
            self._trace(sent.end)
        answer.addCallbacks(self._answered, self._unanswered, callbackArgs=(client, sent))

    def _answered(self, answer: Answer, client: ClientProtocol, sent: _Sent) -> None:
        if client is not self._client:
            return
        size = sent.end - sent.offset
        self._unanswered_bytes -= size
        if answer.status >= 300:
            self._refused(answer, sent)
            return
        at = self._at
        if at.epoch is None:
            at.epoch = answer.headers.get(b"etag")
            if at.epoch is None:
                self._break(Refusal(502, "No Distributor", "The server names no epoch (ETag): it is no Distributor."))
                return
            at.kept = b"durable-offset" in answer.headers
            self._tell.info("Publishing, epoch {epoch}.", epoch=at.epoch.decode("ascii", "replace"))
        if sent.fills:
            self._backfill.answered(size)
        else:
            at.acknowledged = max(at.acknowledged, sent.end)
        missing = missing_of(answer.headers)
        self._backfill.learn(missing)
        durable = offset_field(answer.headers, b"durable-offset")
        kept = at.acknowledged if durable is None else durable
        at.life.needed_from(
            min([kept, *(start for start, _ in missing), *(start for start, _ in self._backfill.holes)])
        )
        self._attempts.backoff.succeeded()
        self.on_acknowledged()
        self.wake()

    def _refused(self, answer: Answer, sent: _Sent) -> None:
        """What fills a hole may be refused for itself; whatever else is refused ends the connection."""
        error = self._at.counterpart.refused(answer)
        if sent.fills and answer.status in (409, 507):
            self._tell.warn("A hole is not filled now: {detail}", detail=error.detail)
            self._backfill.refused(sent.end - sent.offset, self._clock.seconds())
            self.wake()
            return
        if sent.leaps and answer.status == 409:
            self._dense = True
        if answer.status == 409 and self.epoch is not None and complete_length(answer.headers) is not None:
            # Somebody ended this Origin's epoch: the next connection begins another one, at the live edge.
            self._at.ended_elsewhere = True
        self._break(error)

    def _unanswered(self, failure: Failure) -> None:
        """The connection's loss has told already (:meth:`_lost`), but for the order in which it tells."""
        error = failure.value
        if isinstance(error, SDPError) and self._client is not None:
            self._break(error)

    def _nothing_left(self) -> SDPError:
        """Why a source that has ended has nothing to deliver."""
        if not self._at.capture.taken:
            return LocalError("The source has ended without giving anything.")
        return LocalError(
            "The source has ended, and what could still be played of it has left the memory before the"
            " Distributor took it; give the Origin a --store, or more --memory."
        )


def _up_to(piece: Piece, stop: int) -> Piece:
    """What of a piece lies before ``stop``."""
    if piece.end <= stop:
        return piece
    return piece._replace(data=[b"".join(piece.data)[: stop - piece.offset]])
