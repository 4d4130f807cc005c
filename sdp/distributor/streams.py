"""The Distributor's streams: who is whose Origin, which epoch is current, and what the disk says.

Between the wire (ingest, answers) and the pure catalog: gives epochs their names, framers, recordings and fan-outs,
and keeps the rules that need time or connections.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from sdp.container import framer_for
from sdp.container.formats import DECLARED
from sdp.distributor.fanout import Counters, Fanout
from sdp.distributor.filling import new_framer
from sdp.distributor.posting import Post
from sdp.distributor.recovery import restore
from sdp.distributor.resumption import Resumption
from sdp.distributor.settings import DistributorSettings
from sdp.distributor.tracing import EpochTrace
from sdp.errors import Refusal, StorageError
from sdp.net.exchange import Exchange
from sdp.net.server import ServerChannel
from sdp.observe import Point, Trace
from sdp.store import GoneError
from sdp.stream.catalog import Catalog, Epoch, Stream
from sdp.stream.log import StreamLog

__all__ = ["Live", "Streams"]

HOLES_TOLD = 16
"""How many holes a field section names, the oldest first; the JSON has all of them."""

RATE_SPAN = 5
"""Over how many seconds a stream's bit rate is taken."""


@attrs.define(eq=False)
class Live:
    """What the Distributor keeps about an epoch beside its log.

    ``upstream`` is where a relay has it from, and ``via`` by whom it came (a Via field's value).

    ``holder`` is the connection that is its Origin; ``ordinary`` that its sender is a publisher without ranges.
    """

    epoch: Epoch
    fanout: Fanout
    holder: ServerChannel | None = None
    ordinary: bool = False
    unrecorded: StorageError | None = None
    """Why the epoch has no recording, where there is a store that could not begin one."""
    resumption: Resumption | None = None
    ending: IDelayedCall | None = None
    waiting_for_room: list[Callable[[], None]] = attrs.Factory(list)
    waiting_to_be_written: list[tuple[int, Callable[[], None]]] = attrs.Factory(list)
    deliveries: set[Any] = attrs.Factory(set)
    history: list[tuple[float, int]] = attrs.Factory(list)
    upstream: str | None = None
    via: bytes | None = None
    traced: EpochTrace | None = None

    def take(self, channel: ServerChannel) -> None:
        """``channel`` is the epoch's Origin from now on, until it closes or :meth:`let_go` is called."""
        self.let_go()
        self.holder = channel
        channel.on_closed.add(self.let_go)

    def let_go(self) -> None:
        """Nobody is the epoch's Origin."""
        if self.holder is not None:
            self.holder.on_closed.discard(self.let_go)
            self.holder = None


class Streams:
    """All streams of one Distributor, as ingest and answers meet them."""

    log = Logger(namespace="sdp.distributor.streams")

    def __init__(
        self,
        settings: DistributorSettings,
        clock: IReactorTime,
        *,
        wall_clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        store: Any | None = None,
        trace: Trace | None = None,
    ) -> None:
        self.settings = settings
        self.trace = trace
        self.catalog = Catalog(settings.keep_unrecorded)
        self.counters = Counters()
        self.store = store
        self._clock = clock
        self._wall_clock = wall_clock
        self._random = random_bytes
        self._live: dict[str, Live] = {}
        self._arrivals: dict[str, list[Deferred[None]]] = {}

    def now(self) -> int:
        """The wall clock in microseconds."""
        return int(self._wall_clock() * 1_000_000)

    # -- finding -----------------------------------------------------------------------------------------------

    def current(self, name: str) -> Epoch | None:
        return self.catalog.current(name)

    def find(self, name: str, identifier: str | None) -> Epoch | None:
        """Return the epoch of that identifier, or the current one for None, as long as it is kept."""
        stream = self.catalog.get(name)
        return None if stream is None else stream.epoch(identifier)

    def live(self, epoch: Epoch) -> Live:
        """What is kept about ``epoch``.

        Who still holds an epoch that has been forgotten meanwhile finds that nobody posts to it or stands at it.
        """
        live = self._live.get(epoch.id)
        return live if live is not None else Live(epoch, Fanout(epoch, self.counters, self._clock))

    def stream_lines(self, epoch: Epoch | None) -> list[tuple[bytes, bytes]]:
        """The field lines of every answer about a stream: where its log ends, and whose offsets these are."""
        if epoch is None:
            return [(b"Upload-Offset", b"0")]
        lines = [(b"Upload-Offset", b"%d" % epoch.accepted_end), (b"ETag", b'"%s"' % epoch.id.encode())]
        durable = epoch.durable_offset
        if durable is not None:
            lines.append((b"Durable-Offset", b"%d" % durable))
        missing = epoch.missing
        if missing:
            told = b", ".join(b"%d-%d" % (start, end - 1) for start, end in missing[:HOLES_TOLD])
            lines.append((b"Upload-Missing", told))
        live = self._live.get(epoch.id)
        if live is not None and live.via is not None:
            lines.append((b"Via", live.via))
        return lines

    def bit_rate(self, live: Live) -> float:
        """Bits a second that the epoch received over the last seconds."""
        history = live.history
        if len(history) < 2 or live.epoch.ended:
            return 0.0
        (before, start), (after, end) = history[0], history[-1]
        return (end - start) * 8 / (after - before) if after > before else 0.0

    def tick(self) -> None:
        """Called about once a second: note how much each open epoch has received."""
        now = self._clock.seconds()
        for live in self._live.values():
            if not live.epoch.ended:
                live.history.append((now, live.epoch.end))
                while now - live.history[0][0] > RATE_SPAN:
                    del live.history[0]

    def state(self, epoch: Epoch) -> str:
        """One word: ``live``, ``stalled`` or ``ended``."""
        if epoch.ended:
            return "ended"
        last = epoch.last_arrival
        quiet = last is None or self.now() - last > self.settings.stalled_after * 1_000_000
        return "stalled" if quiet else "live"

    async def change(self, epoch: Epoch, timeout: float) -> None:
        """Wait until the epoch's log changes, at most ``timeout`` seconds."""
        await self._arrival(epoch.name, timeout)

    async def first_record(self, name: str, wait: float) -> Epoch | None:
        """Return the current epoch of ``name`` once it has a record, or None where that takes over ``wait`` seconds."""
        deadline = self._clock.seconds() + wait
        while True:
            epoch = self.current(name)
            if epoch is not None and (epoch.log.known > epoch.log.start or epoch.ended):
                return epoch
            left = deadline - self._clock.seconds()
            if left <= 0:
                return None
            await self._arrival(name, left)

    def _arrival(self, name: str, timeout: float) -> Deferred[None]:
        waiting: Deferred[None] = Deferred(lambda cancelled: self._forget_arrival(name, cancelled))
        self._arrivals.setdefault(name, []).append(waiting)
        if timeout == float("inf"):
            return waiting
        late = self._clock.callLater(timeout, self._wake_one, name, waiting)

        def stop(result: Any) -> Any:
            if late.active():
                late.cancel()
            return result

        return waiting.addBoth(stop)

    def _forget_arrival(self, name: str, waiting: Deferred[None]) -> None:
        if waiting in self._arrivals.get(name, []):
            self._arrivals[name].remove(waiting)
            if not self._arrivals[name]:
                del self._arrivals[name]

    def _wake_one(self, name: str, waiting: Deferred[None]) -> None:
        self._forget_arrival(name, waiting)
        waiting.callback(None)

    def _wake(self, name: str) -> None:
        for waiting in self._arrivals.pop(name, []):
            waiting.callback(None)

    # -- beginning ---------------------------------------------------------------------------------------------

    def begin(self, name: str, declared_type: str | None, *, ordinary: bool) -> Epoch:
        """Begin a new epoch of ``name``: it is current from now on. Refusal 503, or 507 where the store is required."""
        if self.catalog.get(name) is None and len(self.catalog) >= self.settings.max_streams:
            raise Refusal(503, "Too many streams", "This Distributor keeps --max-streams already; delete one.")
        started = datetime.fromtimestamp(self._wall_clock(), UTC)
        identifier = f"{started:%Y%m%dT%H%M%S}-{self._random(6).hex()}"
        epoch = Epoch(
            name,
            identifier,
            StreamLog(self.settings.memory),
            framer_for(declared_type),
            declared_type=declared_type,
            begin_recording=None if self.store is None else lambda kind: self._record(name, identifier, kind),
            new_framer=new_framer,
        )
        epoch.after_sync = self.settings.fan_out_after_sync
        kind = declared_type or "a format yet to be found"
        self.log.info("{name}: epoch {epoch} begins, {kind}", name=name, epoch=identifier, kind=kind)
        return self._enter(epoch, ordinary=ordinary)

    def _record(self, name: str, identifier: str, media_type: str) -> Any:
        """Begin an epoch's recording; None where the store cannot."""
        live = self._live[identifier]
        try:
            recording = self.store.create(name, identifier, media_type)  # type: ignore[union-attr]  # there is one
        except StorageError as error:
            self.log.error("{name} is not recorded: {detail}", name=name, detail=error.detail)
            live.unrecorded = error
            return None
        recording.on_change = lambda: self._disk_changed(live)
        return recording

    def _enter(self, epoch: Epoch, *, ordinary: bool, arrives: Point = Point.RECEIVED) -> Epoch:
        stream = self.catalog.get(epoch.name)
        before = [] if stream is None else stream.epochs
        for past in before:
            self._cancel_ending(self.live(past))
        live = Live(epoch, Fanout(epoch, self.counters, self._clock), ordinary=ordinary)
        self._live[epoch.id] = live
        if self.trace is not None:
            live.traced = EpochTrace(self.trace, epoch, live.fanout, arrives)
        recording = cast(Any, epoch.recording)
        if recording is not None:
            recording.on_change = lambda: self._disk_changed(live)
        epoch.log.listeners.append(lambda: self._changed(epoch))
        self.catalog.begin(epoch)
        for past in before:
            if self.find(epoch.name, past.id) is None:
                del self._live[past.id]
        return epoch

    def adopt(self, epoch: Epoch) -> None:
        """Take up an epoch that comes from an upstream: it is current from now on, and of those before it the last one
        stays for those who are still being given its end."""
        self._enter(epoch, ordinary=False, arrives=Point.FETCHED)
        stream = self.catalog.get(epoch.name)
        assert stream is not None
        for past in list(stream.past)[:-1]:
            del stream.past[past]
            del self._live[past]

    def forget(self, name: str) -> None:
        """Let go of a stream that is an upstream's; what is open of it does not end by this."""
        stream = self.catalog.forget(name)
        if stream is not None:
            self._forget(stream)

    def _changed(self, epoch: Epoch) -> None:
        self._wake(epoch.name)
        if epoch.ended:
            self.log.info("{name}: epoch {epoch} has ended at {end}", name=epoch.name, epoch=epoch.id, end=epoch.end)

    async def recover(self) -> None:
        """Take up what the store holds: each recording is an epoch again, at the end that was recovered."""
        if self.store is None:
            return
        recovering: Deferred[list[Any]] = self.store.recover()
        for recording in await recovering:
            try:
                epoch = await restore(recording, self.settings.memory, self.now())
            except StorageError as error:
                self.log.error("{name} is left out: {detail}", name=recording.name, detail=error.detail)
                continue
            epoch.after_sync = self.settings.fan_out_after_sync
            self._enter(epoch, ordinary=False)

    # -- Ingest ------------------------------------------------------------------------------------------------

    def held_by_another(self, epoch: Epoch | None, channel: ServerChannel) -> bool:
        """Whether a connection other than ``channel`` is the epoch's Origin."""
        if epoch is None:
            return False
        holder = self.live(epoch).holder
        return holder is not None and holder is not channel

    def accepted(self, exchange: Exchange, epoch: Epoch, *, ordinary: bool) -> None:
        live, channel = self.live(epoch), exchange.channel
        holder = live.holder
        live.ordinary = ordinary
        self._cancel_ending(live)
        live.take(channel)
        if holder is not None and holder is not channel:
            self.log.info("{name}: another Origin has taken over", name=epoch.name)
            holder.close_now()

    def released(self, exchange: Exchange, epoch: Epoch, *, broken: bool) -> None:
        live = self._live.get(epoch.id)
        if live is None or live.holder is not exchange.channel:
            return  # the stream was removed, or another Origin has taken over
        if exchange.channel.role is None or epoch.closed:
            live.let_go()
        if broken and live.ordinary and not epoch.closed and live.ending is None:
            live.ending = self._clock.callLater(self.settings.publisher_timeout, self._end_broken, live)

    def _end_broken(self, live: Live) -> None:
        live.ending = None
        self.log.info(
            "{name}: its publisher is gone, the epoch ends at {end}", name=live.epoch.name, end=live.epoch.accepted_end
        )
        live.epoch.finish()

    @staticmethod
    def _cancel_ending(live: Live) -> None:
        if live.ending is not None:
            live.ending.cancel()
            live.ending = None

    def when_room(self, epoch: Epoch, call: Callable[[], None]) -> bool:
        recording = cast(Any, epoch.recording)
        live = self._live.get(epoch.id)
        if live is None or epoch.closed:
            return True  # nothing more goes there, and nobody would be told
        if recording is None or not (recording.backlogged or epoch.overfull):
            return live.fanout.when_room(call)
        if call not in live.waiting_for_room:
            live.waiting_for_room.append(call)
        return False

    def when_written(self, epoch: Epoch, call: Callable[[], None]) -> bool:
        recording = cast(Any, epoch.recording)
        live = self._live.get(epoch.id)
        if not self.settings.store_required or live is None or recording is None or recording.failure is not None:
            return True
        if recording.written >= recording.end and recording.holes == recording.missing:
            return True
        live.waiting_to_be_written.append((recording.end, call))
        return False

    def check_record_size(self, post: Post, epoch: Epoch | None) -> None:
        """Raise the Refusal (413) of content that is one record, of no known format, and too long for one."""
        length = None if post.range is None or post.open_ended else post.declared_length
        if length is None or length <= self.settings.max_record:
            return
        if epoch is None:
            opaque = (
                post.content_type is not None and post.content_type.partition(";")[0].strip().lower() not in DECLARED
            )
        else:
            opaque = epoch.log.known > 0 and epoch.framer.content_type is None
        if opaque:
            detail = f"In an unknown format a POST may have {self.settings.max_record} bytes (--max-record): split it."
            raise Refusal(413, "Record too large", detail)

    def disk_failure(self, epoch: Epoch) -> StorageError | None:
        if not self.settings.store_required:
            return None
        if epoch.recording is None:
            return self.live(epoch).unrecorded
        failure: StorageError | None = cast(Any, epoch.recording).failure
        return failure

    def _disk_changed(self, live: Live) -> None:
        recording = cast(Any, live.epoch.recording)
        if live.traced is not None:
            live.traced.stored()
        live.epoch.stored()
        if isinstance(recording.failure, GoneError):
            self._forget_trimmed(live.epoch)
        elif recording.failure is not None:
            self._resume_later(live, recording.failure)
        self._wake(live.epoch.name)  # who waits at a hole finds that it is filled
        written = float("inf") if recording.failure is not None else recording.written
        if recording.failure is None and recording.holes != recording.missing:
            written = -1  # what fills a hole is on its way
        concluded = [call for offset, call in live.waiting_to_be_written if offset <= written]
        live.waiting_to_be_written = [each for each in live.waiting_to_be_written if each[0] > written]
        for call in concluded:
            call()
        if not (recording.backlogged or live.epoch.overfull) or recording.failure is not None:
            waiting, live.waiting_for_room = live.waiting_for_room, []
            for call in waiting:
                call()

    def _resume_later(self, live: Live, failure: StorageError) -> None:
        """The disk has stopped a recording: it is tried again and again whether it can go on."""
        if live.resumption is None:
            epoch = live.epoch
            live.resumption = Resumption(
                epoch, self._clock, self.settings.store_retry, lambda: self._live.get(epoch.id) is live
            )
        live.resumption.failed(failure)

    def stop_resuming(self) -> None:
        """The store is about to be closed."""
        for live in self._live.values():
            if live.resumption is not None:
                live.resumption.cancel()

    def _forget_trimmed(self, epoch: Epoch) -> None:
        """Retention has left nothing of an ended epoch: it is forgotten, and its name with the last one."""
        stream = self.catalog.get(epoch.name)
        if stream is None or stream.epoch(epoch.id) is not epoch:
            return  # deleted, which has told the store
        if stream.current is not epoch:
            del stream.past[epoch.id]
            del self._live[epoch.id]
        elif not stream.past:
            self.catalog.remove(epoch.name)
            self._forget(stream)
        self.log.info("{name}: epoch {epoch} is kept no longer", name=epoch.name, epoch=epoch.id)

    async def remove(self, name: str) -> None:
        """End a stream and delete what is stored of it. Refusal 404 where there is none."""
        stream = self.catalog.remove(name)
        if stream is None:
            raise no_stream(name)
        self._forget(stream)
        if self.store is not None:
            removing: Deferred[None] = self.store.remove(name)
            await removing

    def _forget(self, stream: Stream) -> None:
        for epoch in stream.epochs:
            live = self._live.pop(epoch.id, None)
            if live is not None:
                self._cancel_ending(live)
                if live.resumption is not None:
                    live.resumption.cancel()
                waiting = [*live.waiting_for_room, *(call for _, call in live.waiting_to_be_written)]
                # The recording still tells of its own end: nobody may be told of that as well.
                live.waiting_for_room, live.waiting_to_be_written = [], []
                for call in waiting:
                    call()


def no_stream(name: str) -> Refusal:
    """The refusal of a stream that is not there (yet)."""
    detail = f"There is no stream {name} yet. Ask again, or with Prefer: wait=SECONDS to be answered when it begins."
    return Refusal(404, "No such stream", detail, ((b"Retry-After", b"1"),))
