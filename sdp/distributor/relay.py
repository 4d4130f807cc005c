"""A relay: a Distributor whose inlet is another's outlet, and whose disk is its upstream.

What a consumer asks for comes when the first one asks, and stays for a while after the last has left. Epochs, offsets
and records are the upstream's, so a consumer may go from one relay to another, and neither lose a byte nor get one
twice. What is published here is passed up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from sdp.distributor.asking import Ask
from sdp.distributor.conditions import matches
from sdp.distributor.inflow import Inflow, Phase
from sdp.distributor.passing import PassedUp, Uplinks, answer_lines, forwarded_lines
from sdp.distributor.remote import Blocks, RemoteRecording, ToldFramer
from sdp.distributor.streams import Streams, no_stream
from sdp.distributor.upstream import Upstream
from sdp.errors import Refusal, SDPError
from sdp.http1 import Request
from sdp.http1.ranges import MAX_LAST
from sdp.http1.via import format_via, parse_via
from sdp.net.backoff import Backoff
from sdp.net.exchange import Answer, Body, Exchange
from sdp.stream.catalog import Epoch
from sdp.stream.log import StreamLog

__all__ = ["AHEAD_WAIT", "PSEUDONYM", "Relay"]

PSEUDONYM = "sdp-"
"""What a relay's name in Via begins with; what follows each process makes up at random."""

AHEAD_WAIT = 5.0
"""How long a consumer that is ahead of this relay, because it comes from a faster one, is kept waiting, in seconds."""

REFRESH_INTERVAL = 1.0
"""How long what an upstream said of its first offset is believed, in seconds."""

_MOST_PAST = 64
"""How many past epochs that were asked for by name are remembered; each is only where its bytes can be had."""


class _Kept:
    """One stream that is relayed: who wants it, and since when nobody does."""

    def __init__(self, inflow: Inflow) -> None:
        self.inflow = inflow
        self.users = 0
        self.leaving: IDelayedCall | None = None
        self.running: Deferred[None] | None = None
        self.refreshed_at = float("-inf")


class Relay:
    """What a Distributor does about streams that are its upstreams'.

    ``hop`` is False where the upstream is another process of this very Distributor: then Via does not tell of the way
    between them. ``kind`` is how a stream comes from there.
    """

    log = Logger(namespace="sdp.distributor.relay")

    def __init__(
        self,
        streams: Streams,
        upstreams: list[Upstream],
        clock: IReactorTime,
        new_backoff: Callable[[], Backoff],
        pseudonym: str,
        linger: float,
        *,
        hop: bool = True,
        kind: type[Inflow] = Inflow,
    ) -> None:
        self.upstreams = upstreams
        self.pseudonym = pseudonym
        self.failovers = 0
        self._streams = streams
        self._clock = clock
        self._new_backoff = new_backoff
        self._linger = linger
        self._hop = hop
        self._kind = kind
        self._blocks = Blocks()
        self._uplinks = Uplinks(upstreams)
        self._kept: dict[str, _Kept] = {}
        self._past: dict[tuple[str, str], Epoch] = {}

    # -- who asks ----------------------------------------------------------------------------------------------

    def check_circle(self, request: Request, name: str | None = None) -> tuple[str, ...]:
        """Return whom a request has passed. Refusal 508 where that is this relay, or one that the stream comes by."""
        passed = parse_via(request.headers.get_all(b"via"))
        kept = None if name is None else self._kept.get(name)
        # Other intermediaries' names are not their own: every cache of a kind may call itself the same.
        path = kept.inflow.path if kept is not None else ()
        way = {self.pseudonym, *(each for each in path if each.startswith(PSEUDONYM))}
        if not way.isdisjoint(passed):
            raise Refusal(508, "Loop detected", "The request has come round to a relay that it went out from.")
        return passed

    @contextmanager
    def wanted(self, name: str) -> Iterator[None]:
        """Somebody is being given a stream: it stays as long."""
        kept = self._kept.get(name)
        if kept is None:
            yield
            return
        kept.users += 1
        if kept.leaving is not None:
            kept.leaving.cancel()
            kept.leaving = None
        try:
            yield
        finally:
            kept.users -= 1
            self._look_after(name, kept)

    def _look_after(self, name: str, kept: _Kept) -> None:
        """Nobody may want it any longer: then it goes, unless somebody comes in time."""
        if kept.users or self._kept.get(name) is not kept:
            return
        if kept.inflow.epoch is None and kept.running is None:
            del self._kept[name]
            if kept.leaving is not None:
                kept.leaving.cancel()
        elif kept.leaving is None:
            kept.leaving = self._clock.callLater(self._linger, self._drop, name, kept)

    def _drop(self, name: str, kept: _Kept) -> None:
        kept.leaving = None
        if self._kept.get(name) is not kept:
            return
        del self._kept[name]
        if kept.running is not None:
            kept.running.cancel()
        self._streams.forget(name)
        self.log.info("{name} is relayed no longer: nobody wants it", name=name)

    # -- what is asked for -------------------------------------------------------------------------------------

    def relays(self, name: str) -> bool:
        """Whether a stream comes in now."""
        kept = self._kept.get(name)
        return kept is not None and kept.inflow.phase is Phase.FLOWING

    def enlist(self, name: str, passed: tuple[str, ...]) -> None:
        """See to it that a stream is fetched, or looked for. Refusal 503 where there are too many."""
        kept = self._kept.get(name)
        if kept is None:
            settings = self._streams.settings
            if len(self._kept) >= settings.max_streams:
                raise Refusal(503, "Too many streams", "This relay carries --max-streams already.")
            inflow = self._kind(
                name, self.upstreams, self._clock, self._new_backoff(), self, self._blocks, settings.memory, passed
            )
            kept = self._kept[name] = _Kept(inflow)
        if kept.running is None:
            self._run(name, kept)

    def _run(self, name: str, kept: _Kept) -> None:
        running: Deferred[None] = Deferred.fromCoroutine(kept.inflow.run())
        kept.running = running
        running.addErrback(self._failed, name)
        running.addBoth(lambda _: self._ran(name, kept))

    def _failed(self, failure: Any, name: str) -> None:
        if not failure.check(CancelledError):
            self.log.failure("{name} cannot be relayed, by a fault of this relay's own.", failure=failure, name=name)

    def _ran(self, name: str, kept: _Kept) -> None:
        """The epoch has ended, or there is no stream."""
        kept.running = None
        self._look_after(name, kept)

    async def view(self, exchange: Exchange, name: str, identifier: str | None) -> Epoch:
        """Return the epoch that a view is asked of: for as long as it is looked at, and a while after."""
        passed = self.check_circle(exchange.request, name)
        self.enlist(name, passed)
        with self.wanted(name):
            if identifier is None:
                return await self._kept[name].inflow.ready(0)
            return self._streams.find(name, identifier) or await self._past_epoch(name, identifier, passed)

    async def find(self, name: str, identifier: str | None, ask: Ask, passed: tuple[str, ...]) -> Epoch:
        """Return the epoch that a GET asks for. Raises the Refusal that the upstreams have for it."""
        kept = self._kept[name]
        if identifier is not None:
            return self._streams.find(name, identifier) or await self._past_epoch(name, identifier, passed)
        try:
            epoch = await kept.inflow.ready(ask.wait or 0)
        except SDPError as error:
            if error.status == 404:
                if kept.inflow.forget():
                    self._streams.forget(name)
                if ask.tags is not None:
                    raise Refusal(412, "No such epoch", "If-Match names an epoch, and there is none.") from error
            raise
        if (ask.ranges is not None or ask.backfill or ask.at is not None) and not epoch.ended:
            await self._refresh(epoch, kept)
        await self._catch_up(epoch, ask)
        return epoch

    async def _refresh(self, epoch: Epoch, kept: _Kept) -> None:
        """Learn from where on the upstream holds what may be asked for: a head cannot be taken back."""
        now = self._clock.seconds()
        recording: Any = epoch.recording
        if recording.start >= epoch.log.start or now - kept.refreshed_at < REFRESH_INTERVAL:
            return
        kept.refreshed_at = now
        try:
            await recording.refresh()
        except SDPError as error:
            self.log.debug("{name}: {detail}", name=epoch.name, detail=error.detail)

    async def _past_epoch(self, name: str, identifier: str, passed: tuple[str, ...]) -> Epoch:
        """An epoch by its name, as the upstream still keeps it."""
        known = self._past.get((name, identifier))
        if known is not None:
            return known
        upstreams = self._kept[name].inflow.sources()
        for upstream in upstreams:
            try:
                told = await upstream.look(name, passed, identifier)
            except SDPError as error:
                if upstream is upstreams[-1]:
                    raise
                self.log.debug("{name}: {detail}", name=name, detail=error.detail)
                continue
            if told.epoch == identifier and told.ended:
                break
        else:
            raise no_stream(name)
        recording: Any = RemoteRecording(
            name, identifier, told.content_type, told.first, told.end, lambda: upstreams, self._blocks
        )
        recording.holes = told.holes
        log = StreamLog(0, told.end)
        epoch = Epoch(name, identifier, log, ToldFramer(told.end), declared_type=told.content_type, recording=recording)
        epoch.complete_length = told.end
        log.finished = recording.ended = True
        while len(self._past) >= _MOST_PAST:
            del self._past[next(iter(self._past))]
        self._past[name, identifier] = epoch
        return epoch

    async def _catch_up(self, epoch: Epoch, ask: Ask) -> None:
        """Whoever comes from another relay may have bytes that are still on their way to this one; not whoever has
        another epoch's."""
        if not matches(ask.tags, epoch):
            return
        ahead = 0
        if ask.possessed:
            ahead = ask.possessed[-1][1]
        elif ask.ranges is not None and len(ask.ranges) == 1 and ask.ranges[0].last == MAX_LAST:
            ahead = ask.ranges[0].first or 0
        deadline = self._clock.seconds() + AHEAD_WAIT
        while epoch.end < ahead and not epoch.ended and (left := deadline - self._clock.seconds()) > 0:
            await self._streams.change(epoch, left)

    # -- Outlet ------------------------------------------------------------------------------------------------

    def now(self) -> int:
        return self._streams.now()

    def begin(self, epoch: Epoch, upstream: Upstream, path: tuple[str, ...]) -> None:
        self._streams.adopt(epoch)
        self._say(epoch, upstream, path)
        self.log.info("{name}: relaying epoch {epoch} of {up}", name=epoch.name, epoch=epoch.id, up=str(upstream))

    def moved(self, epoch: Epoch, upstream: Upstream, path: tuple[str, ...]) -> None:
        live = self._streams.live(epoch)
        self.failovers += live.upstream != str(upstream)
        if live.via == self._way(path):
            live.upstream = str(upstream)
            return
        self._say(epoch, upstream, path)
        # Relays that this stream goes on to must learn of its new way, to find out whether it is a circle: they ask
        # again, with what they have.
        for delivery in tuple(live.deliveries):
            if b"via" in delivery.exchange.request.headers:
                delivery.exchange.abort()

    def _say(self, epoch: Epoch, upstream: Upstream, path: tuple[str, ...]) -> None:
        live = self._streams.live(epoch)
        live.upstream = str(upstream)
        live.via = self._way(path)

    def _way(self, path: tuple[str, ...]) -> bytes | None:
        """The Via field's value; a process of the same Distributor is no hop of its own."""
        passed = [*path, self.pseudonym] if self._hop else list(path)
        return format_via(passed) if passed else None

    def cut(self, epoch: Epoch) -> None:
        for delivery in tuple(self._streams.live(epoch).deliveries):
            delivery.exchange.abort()
        self._streams.forget(epoch.name)

    # -- passing up --------------------------------------------------------------------------------------------

    def post(self, exchange: Exchange, name: str, query: bytes) -> Body:
        """Pass a POST or PUT up, its content as it comes."""
        passed = self.check_circle(exchange.request, name)
        return PassedUp(exchange, self._uplinks, lambda upstream: upstream.target(name, query), passed)

    async def forward(self, exchange: Exchange, name: str, query: bytes, passed: tuple[str, ...]) -> None:
        """Pass up a request without content (HEAD, DELETE), and its answer back."""
        request = exchange.request
        authorization = request.headers.get(b"authorization") if request.method == b"DELETE" else None
        last: SDPError | None = None
        for upstream in self.upstreams:
            lines = [*forwarded_lines(request), *upstream.lines(passed, authorization=authorization)]
            try:
                answer = await upstream.fetch(request.method, upstream.target(name, query), lines)
                break
            except SDPError as error:
                last = error
        else:
            raise last if last is not None else no_stream(name)
        if exchange.answer is not Answer.NONE:
            return
        via = (b"Via", format_via([*parse_via(answer.headers.get_all(b"via")), self.pseudonym]))
        head = [*answer_lines(answer.response), via]
        if request.method == b"HEAD" and answer.status != 204:
            length = answer.headers.get(b"content-length")
            exchange.start(answer.status, head, None if length is None else int(length))
        else:
            exchange.respond(answer.status, head, answer.content)
        kept = self._kept.get(name)
        if request.method == b"DELETE" and answer.status == 204 and kept is not None:
            self._removed(name, kept)

    def _removed(self, name: str, kept: _Kept) -> None:
        """The stream is no more: its answers end as the upstream's do."""
        if self._kept.get(name) is kept:
            del self._kept[name]
        if kept.leaving is not None:
            kept.leaving.cancel()
            kept.leaving = None
        if kept.running is not None:
            kept.running.cancel()
        if kept.inflow.epoch is not None:
            kept.inflow.epoch.finish()
            self._streams.forget(name)

    # -- ending ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Fetch nothing more."""
        kept, self._kept = self._kept, {}
        for each in kept.values():
            if each.leaving is not None:
                each.leaving.cancel()
            if each.running is not None:
                each.running.cancel()
        for upstream in self.upstreams:
            upstream.close()
