"""A relay's inlet: one stream, fetched from one upstream after the other into a log with the same offsets.

The way of a byte: upstream > ClientProtocol > PartsBody > :meth:`Inflow._take` > StreamLog.append > fan-out. Each
connection says what is here already, as if all before it were: so nothing comes twice, and the upstream sends nothing
old. Where it jumps, because we lagged, the log's window begins anew; what lies before is read from the upstream.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum, auto
from typing import Any, ClassVar, Protocol, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from sdp.distributor.remote import Blocks, RemoteRecording, ToldFramer
from sdp.distributor.upstream import Told, Upstream, refusal_of
from sdp.errors import ProtocolError, Refusal, SDPError
from sdp.http1 import Response
from sdp.http1.multipart import PartsReader, boundary_of
from sdp.net.backoff import Backoff
from sdp.net.client import Answer, ClientProtocol, Disconnected, Retired
from sdp.net.fetch import PartsBody, Piece
from sdp.net.refusals import complete_length
from sdp.stream.catalog import Epoch
from sdp.stream.log import StreamLog
from sdp.stream.record import Flag, Record

__all__ = ["Inflow", "Outlet", "Phase"]

SILENCE = 3.0
"""After how many seconds without a byte an upstream is asked whether it is still there; it may take as many to say."""

LONGEST_POLL = 30
"""How long an upstream is asked to wait for a stream that is not there, in seconds; then it is asked again."""


class Phase(Enum):
    """How far an inflow has come."""

    SEEKING = auto()
    """No upstream has been found that has the stream."""
    FLOWING = auto()
    """The stream's epoch is here and goes on, with or without a connection just now."""
    ENDED = auto()
    """Its epoch has ended; whether another one has begun is for the next request to find out."""


class Outlet(Protocol):
    """What an inflow needs of the Distributor around it."""

    def now(self) -> int:
        """The wall clock, in microseconds."""

    def begin(self, epoch: Epoch, upstream: Upstream, path: tuple[str, ...]) -> None:
        """``epoch`` is its stream's current one from now on, and comes from ``upstream`` by way of ``path``."""

    def moved(self, epoch: Epoch, upstream: Upstream, path: tuple[str, ...]) -> None:
        """``epoch`` comes from another upstream, or by another way."""

    def cut(self, epoch: Epoch) -> None:
        """The rest of ``epoch`` is lost: its answers must not end as if they were whole."""


class _Changed(Exception):
    """The upstream's current epoch is not the one that was asked for."""


class Inflow:
    """Keeps one stream coming for as long as somebody wants it: see :meth:`run`."""

    log = Logger(namespace="sdp.distributor.relay")

    accept: ClassVar[bytes] = b"multipart/byteranges"
    """The form in which the upstream is asked for the log."""
    framer: ClassVar[type[ToldFramer]] = ToldFramer

    def __init__(
        self,
        name: str,
        upstreams: list[Upstream],
        clock: IReactorTime,
        backoff: Backoff,
        outlet: Outlet,
        blocks: Blocks,
        memory: int,
        passed: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.phase = Phase.SEEKING
        self.epoch: Epoch | None = None
        self.path: tuple[str, ...] = ()
        """The relays between the stream's source and here."""
        self._upstreams = upstreams
        self._at = 0
        self._clock = clock
        self._backoff = backoff
        self._outlet = outlet
        self._blocks = blocks
        self._memory = memory
        self._passed = tuple(passed)
        self._waiting: list[Deferred[SDPError | None]] = []
        self._fault: SDPError | None = None
        """Why there is nothing to give out, as the last round has found it; None while one is under way."""
        self._wanted_until = 0.0
        self._told: Told | None = None
        self._achieved = False
        self._in_initialization = False
        self._heard_at = 0.0
        self._current: Epoch | None = None
        """The epoch that is being received: ``self.epoch`` once it may be given out."""

    # -- who waits ---------------------------------------------------------------------------------------------

    async def ready(self, wait: float) -> Epoch:
        """Return the stream's epoch once it can be given out; raise why it cannot, at the latest after ``wait``
        seconds in which no upstream had the stream."""
        deadline = self._clock.seconds() + wait
        self._wanted_until = max(self._wanted_until, deadline)
        while self.phase is Phase.SEEKING:
            fault = self._fault if self._clock.seconds() >= deadline else None
            if fault is None:
                fault = await self._next_settlement(deadline)
            if fault is None or self._worth_waiting(fault, deadline):
                continue
            if self.epoch is not None and fault.status != 404:
                break  # nobody can say whether it is still the current one
            raise fault
        assert self.epoch is not None
        return self.epoch

    async def _next_settlement(self, deadline: float) -> SDPError | None:
        """Wait until something is known, at most until ``deadline``, where that is ahead."""
        waiting: Deferred[SDPError | None] = Deferred(self._leave)
        self._waiting.append(waiting)
        left = deadline - self._clock.seconds()
        late = self._clock.callLater(left, self._late, waiting) if left > 0 else None
        try:
            return await waiting
        finally:
            if late is not None and late.active():
                late.cancel()

    def _late(self, waiting: Deferred[SDPError | None]) -> None:
        self._leave(waiting)
        waiting.callback(Refusal(404, "No such stream", f"There was no stream {self.name} in this time."))

    def _worth_waiting(self, fault: SDPError, deadline: float) -> bool:
        return fault.status in (404, 502, 504) and self._clock.seconds() < deadline

    def _leave(self, waiting: Deferred[SDPError | None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def forget(self) -> bool:
        """The stream is no more. Return whether there was an epoch of it."""
        had, self.epoch, self._current = self.epoch is not None, None, None
        return had

    def _settle(self, fault: SDPError | None) -> None:
        self._fault = fault
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.callback(fault)

    # -- from one upstream to the next -------------------------------------------------------------------------

    async def run(self) -> None:
        """Receive until the epoch has ended, or there is no such stream and nobody waits for one. It is stopped by
        cancelling it."""
        try:
            await self._run()
        finally:  # whoever waits is told, also where the stream was removed meanwhile
            if self._waiting:
                self._settle(Refusal(404, "No such stream", f"There is no stream {self.name} any more."))

    async def _run(self) -> None:
        if self.phase is Phase.ENDED:
            self.phase = Phase.SEEKING
        self._fault = None
        await deferLater(self._clock, 0)  # whoever starts this comes to wait for it first
        while True:
            self._fault = None
            fault = await self._round()
            if fault is None:
                self.phase = Phase.ENDED
                self._settle(None)
                return
            delay = self._backoff.next_delay()
            if self.phase is not Phase.SEEKING:
                self.log.warn("{name}: {detail}; trying again.", name=self.name, detail=fault.detail.rstrip("."))
            else:
                self._settle(fault)
                left = self._wanted_until - self._clock.seconds()
                if left <= 0 or not self._waiting:
                    return
                if await self._await_stream(left):
                    continue
                delay = min(delay, left)
            await deferLater(self._clock, delay)

    async def _round(self) -> SDPError | None:
        """Try each upstream once, the next one first. Return None when the epoch has ended, else what is wrong: that
        there is no such stream only where all that answer say so."""
        faults: list[SDPError] = []
        while len(faults) < len(self._upstreams):
            upstream = self._upstreams[self._at]
            self._achieved = False
            try:
                await self._session(upstream)
                return None
            except SDPError as error:
                if self._achieved:
                    faults.clear()
                    self._backoff.succeeded()
                faults.append(error)
            self._at = (self._at + 1) % len(self._upstreams)
            if self.phase is Phase.FLOWING and len(self._upstreams) > 1:
                self.log.info("{name}: going on at {next}", name=self.name, next=self._upstreams[self._at])
        return min(faults, key=lambda error: {410: 0, 404: 1, 508: 2}.get(error.status, 3))

    async def _await_stream(self, left: float) -> bool:
        """Let an upstream tell when the stream begins. Return whether one did wait for it."""
        for upstream in self._upstreams:
            try:
                await upstream.wait_for(self.name, max(1, min(LONGEST_POLL, int(left + 0.999))), self._passed)
            except SDPError:
                continue
            return True
        return False

    def sources(self) -> list[Upstream]:
        """The upstreams, the one in use first."""
        return self._upstreams[self._at :] + self._upstreams[: self._at]

    # -- one upstream ------------------------------------------------------------------------------------------

    async def _session(self, upstream: Upstream) -> None:
        """Receive from one upstream, until the epoch has ended. Raises why it cannot go on there."""
        while True:
            told = await self._look(upstream)
            epoch = self._current
            if epoch is not None and not epoch.ended and epoch.id == told.epoch and told.ended and told.end < epoch.end:
                # It died with its newest bytes, and the epoch ended before anybody had sent them again.
                self._lose(upstream, epoch, told)
                epoch = None
            if epoch is None or epoch.id != told.epoch or epoch.ended:
                if epoch is not None and not epoch.ended:
                    await self._let_go(upstream, epoch, told)
                if epoch is None or epoch.id != told.epoch:
                    epoch = self._new_epoch(told, upstream)
            self._told, self.path = told, told.path
            recording: Any = epoch.recording
            recording.start = told.first  # less than before, where a disk that had failed is there again
            recording.holes = told.holes
            if self.epoch is epoch:
                self._outlet.moved(epoch, upstream, told.path)
            if epoch.ended:
                return
            try:
                await self._receive(upstream, epoch)
            except (_Changed, Retired):
                continue
            self._finish(epoch)
            return

    async def _look(self, upstream: Upstream) -> Told:
        """Ask what there is, until the media type is sure. Refusal 508 where it comes from here itself."""
        while True:
            told = await upstream.look(self.name, self._passed)
            if upstream.pseudonym in told.path:
                detail = f"The stream would come from this relay itself, by way of {upstream}: relays form a circle."
                raise Refusal(508, "Loop detected", detail)
            if told.typed:
                return told
            await upstream.wait_for(self.name, LONGEST_POLL, self._passed)

    def _new_epoch(self, told: Told, upstream: Upstream) -> Epoch:
        """The upstream's epoch, with a log that begins at what comes first; an ended one has nothing to come."""
        recording = RemoteRecording(
            self.name, told.epoch, told.content_type, told.first, told.end, self.sources, self._blocks
        )
        recording.holes = told.holes
        start = told.end if told.ended else 0
        epoch = Epoch(
            self.name,
            told.epoch,
            StreamLog(self._memory, start),
            self.framer(start),
            declared_type=told.content_type,
            recording=cast(Any, recording),
        )
        self._current, self.path, self._in_initialization = epoch, told.path, False
        if told.ended:
            epoch.complete_length = told.end
            epoch.log.finished = recording.ended = True
        else:
            recording.end = 0
        if told.ended or told.end == 0:
            self._give_out(epoch, upstream)
        return epoch

    def _give_out(self, epoch: Epoch, upstream: Upstream) -> None:
        self.epoch = epoch
        self.phase = Phase.FLOWING
        self._passed = ()
        self._outlet.begin(epoch, upstream, self.path)
        self._settle(None)

    def _finish(self, epoch: Epoch) -> None:
        if self.epoch is not epoch:
            self._give_out(epoch, self._upstreams[self._at])
        epoch.finish()

    async def _let_go(self, upstream: Upstream, epoch: Epoch, told: Told) -> None:
        """Another epoch has begun: take the rest of this one by its name, as long as it is kept."""
        try:
            await self._receive(upstream, epoch, by_name=True)
        except (SDPError, _Changed) as error:
            if isinstance(error, Disconnected):
                raise
            self._lose(upstream, epoch, told)
        else:
            self._finish(epoch)

    def _lose(self, upstream: Upstream, epoch: Epoch, told: Told) -> None:
        """Nothing more of an epoch is to be had here. Disconnected where another upstream may have it."""
        if told.ended and len(self._upstreams) > 1:
            raise Disconnected(f"{upstream} has only what has ended, and not all of epoch {epoch.id}.")
        self.log.warn("{name}: the rest of epoch {epoch} is lost.", name=self.name, epoch=epoch.id)
        if self.epoch is epoch:
            self._outlet.cut(epoch)

    async def _receive(self, upstream: Upstream, epoch: Epoch, *, by_name: bool = False) -> None:
        """Ask on a connection of our own, again and again, until the epoch has ended and is here."""
        client = await upstream.connect(live=True)
        upstream.streaming += 1
        whole = False
        self._heard_at = self._clock.seconds()
        watching: Deferred[None] = Deferred.fromCoroutine(self._watch(client, upstream, epoch))
        watching.addErrback(lambda failure: failure.trap(CancelledError) and None)
        try:
            while True:
                before = epoch.end, epoch.log.known
                try:
                    if await self._ask(client, upstream, epoch, by_name=by_name):
                        return
                except Refusal as error:
                    if whole and error.status in (404, 410):
                        return  # the answer ended as an epoch does, and then the stream was removed
                    raise
                except _Changed:
                    if whole and await self._gone(upstream):
                        return
                    raise
                whole = True
                if (epoch.end, epoch.log.known) == before:
                    raise Disconnected("The upstream's answer ended without a byte.")
        finally:
            watching.cancel()
            upstream.streaming -= 1
            client.close()
            if client.unanswered:
                client.abort()

    async def _gone(self, upstream: Upstream) -> bool:
        """Whether there is no such stream any longer: to If-Match that is the same as another epoch."""
        try:
            await upstream.look(self.name, self._passed)
        except Refusal as error:
            return error.status in (404, 410)
        return False

    async def _watch(self, client: ClientProtocol, upstream: Upstream, epoch: Epoch) -> None:
        """Ask an upstream that has been silent whether it is still there: it may have been cut off without a word, or
        have more than it sends."""
        behind = 0
        while True:
            await deferLater(self._clock, SILENCE)
            heard_at = self._heard_at
            if self._clock.seconds() - heard_at < SILENCE:
                behind = 0
                continue
            try:
                told = await upstream.look(self.name, epoch=epoch.id, patience=SILENCE)
            except Disconnected as error:
                client.abort(Disconnected(f"{upstream} was silent, and does not answer: {error.detail}"))
                return
            except SDPError:
                continue  # what it has to say of the stream, the answer itself will
            behind = behind + 1 if told.end > epoch.end and self._heard_at == heard_at else 0
            if behind == 2:
                client.abort(Disconnected(f"{upstream} has more than comes from it."))
                return

    async def _ask(self, client: ClientProtocol, upstream: Upstream, epoch: Epoch, *, by_name: bool) -> bool:
        """Ask once for what follows on the log's end. Return whether nothing ever will."""
        held = self._held(epoch)
        lines = [
            *upstream.lines(self._passed),
            (b"Accept", self.accept),
            (b"Content-Range", b"bytes 0-%d/*" % (held - 1) if held else b"bytes */0"),
            (b"If-Match", b'"%b"' % epoch.id.encode("latin-1")),
        ]
        query = b"epoch=" + epoch.id.encode("latin-1") if by_name else b""
        body = self._body(client, upstream, epoch)
        head = client.request(b"GET", upstream.target(self.name, query), lines, None, body)
        head.addCallback(self._look_at, body, epoch)
        response = await head
        cut = await body.over
        if cut is not None:
            raise cut
        if body.parts is not None:
            return False
        if response.status == 204 and complete_length(response.headers) == epoch.end:
            return True
        if response.status == 412:
            raise _Changed
        if response.status == 416 and by_name:
            # Where another epoch is the current one, this one grows no more.
            raise Refusal(
                416, "Behind", f"The epoch has ended at {complete_length(response.headers)} there, before here."
            )
        raise refusal_of(Answer(response, body.other))

    def _look_at(self, response: Response, body: Any, epoch: Epoch) -> Response:
        """Let the content through where it is this epoch's."""
        if response.status == 206:
            if response.headers.get(b"etag") != b'"%b"' % epoch.id.encode("latin-1"):
                raise ProtocolError("The upstream answers with another epoch than was asked for.")
            self._open(response, body)
        return response

    def _held(self, epoch: Epoch) -> int:
        """How much of the log need not come again."""
        return epoch.end

    def _body(self, client: ClientProtocol, upstream: Upstream, epoch: Epoch) -> Any:
        """What takes an answer's content: it has ``parts``, ``other`` and ``over`` as :class:`PartsBody` has."""

        def take(piece: Piece) -> None:
            upstream.bytes_received += len(piece.data)
            self._take(upstream, epoch, piece)

        return PartsBody(take, client.abort)

    def _open(self, response: Response, body: Any) -> None:
        """The content is the log, in the form that was asked for. ProtocolError where it is in another."""
        body.parts = PartsReader(boundary_of(response.headers.get(b"content-type") or b""))

    # -- records -----------------------------------------------------------------------------------------------

    def _take(self, upstream: Upstream, epoch: Epoch, piece: Piece) -> None:
        """Append what came; where it does not follow on, the log jumps to it."""
        log, now = epoch.log, self._outlet.now()
        data, begins = piece.data, piece.begins_part and piece.received_time is not None
        if piece.offset < log.end:
            data, begins = data[log.end - piece.offset :], False  # never asked for: here already
            if not data:
                return
        elif piece.offset > log.end:
            self._jump(epoch, piece.offset)
        if begins:
            self._tell(epoch, piece, now)
        epoch.append(data, now)
        self._appended(upstream, epoch)

    @staticmethod
    def _jump(epoch: Epoch, offset: int) -> None:
        """The log goes on at ``offset``; what lies before is the upstream's to give."""
        framer: Any = epoch.framer
        recording: Any = epoch.recording
        for each in (epoch.log, framer, recording):
            each.restart(offset)

    def _appended(self, upstream: Upstream, epoch: Epoch) -> None:
        self._achieved = True
        self._heard_at = self._clock.seconds()
        if self.epoch is not epoch and self._current is epoch and self._joined(epoch):
            self._give_out(epoch, upstream)

    def _tell(self, epoch: Epoch, piece: Piece, now: int) -> None:
        """The piece begins a record: the upstream's word on it holds, and its time of receipt is one more hop's."""
        assert piece.received_time is not None
        flags = Flag.NONE
        if piece.initialization:
            flags |= Flag.INITIALIZATION
        if piece.random_access:
            flags |= Flag.RANDOM_ACCESS
        self._in_initialization = piece.initialization
        framer: Any = epoch.framer
        framer.tell(Record(epoch.end, flags, piece.capture_time, now, (*piece.hop_times, piece.received_time)))

    def _joined(self, epoch: Epoch) -> bool:
        """Whether the log stands where a joining consumer begins: an initialization segment alone may come before a
        jump to the newest random access point."""
        return not self._in_initialization or (self._told is not None and epoch.end >= self._told.end)
