"""The Origin as a service: source thread > inlet > capture > poster, from start to a clean stop.

A source may take long to open (a camera that wakes up, a URL that does not answer), so that is done in a thread of its
own; the poster begins once it is open.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from sdp.errors import SDPError, StorageError
from sdp.media.faults import without_secret
from sdp.net.address import with_authorities, with_token
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import ClientFactory, Role, connecting
from sdp.net.threads import DaemonPool
from sdp.observe import Point, Trace
from sdp.origin.capture import Capture
from sdp.origin.inlet import Inlet
from sdp.origin.lives import Former, former_lives
from sdp.origin.poster import Poster, PosterLimits
from sdp.origin.settings import OriginSettings
from sdp.stream.record import Flag

__all__ = ["OriginParts", "OriginService"]

OPENING_TOLD_AFTER = 1.0
"""How long a source may take to open before that is told, in seconds."""

SOURCE_STOP = 1.0
"""How long a stop waits for the source's last records, in seconds."""

MOST_PAUSE = 60.0
"""The longest pause between two attempts to go on with a recording that the disk has stopped, in seconds."""

STORE_CLOSE = 3.0
"""How long a stop waits for the disk; with the other waits it stays within the ten seconds of a stop."""


@attrs.frozen(kw_only=True)
class OriginParts:
    """What an Origin is put together from, so that each part may be another one."""

    open_source: Callable[[], Any]
    """Makes the ISource, at once: what takes time, or may raise MediaError, is left to its content_type and start."""
    open_store: Callable[[], Any]
    """Makes the IStore, or None for no disk; may raise StorageError."""
    now: Callable[[], int]
    """The wall clock, in microseconds."""
    random: Random
    trace: Trace | None = None
    """What is told of each record's way, where that was asked for."""
    pool: Any = attrs.Factory(lambda: DaemonPool(1, "sdp origin opener"))
    """The thread pool that the source is opened in."""


class OriginService(Service):
    """Streams a source to a Distributor until the source ends, or the service is stopped.

    ``leave`` is called with the process's exit status once there is nothing more to do.
    """

    def __init__(
        self, settings: OriginSettings, reactor: Any, leave: Callable[[int], None], parts: OriginParts
    ) -> None:
        self.setName("sdp-origin")
        # Not the class's, where Twisted would put the class's name in place of this one.
        self.log = Logger(namespace="sdp.origin")
        self.settings = settings
        self.address = with_authorities(with_token(settings.to, settings.publish_token), settings.ca_file)
        self.capture: Capture | None = None
        self.poster: Poster | None = None
        self._reactor = reactor
        self._leave = leave
        self._parts = parts
        self._source: Any = None
        self._store: Any = None
        self._inlet = Inlet(reactor, self._take, self._source_ended)
        self._source_done: Deferred[None] | None = None
        """Fires at the source's end; None where it has not begun."""
        self._drained: Deferred[None] | None = None
        self._run_call: Deferred[None] | None = None
        self._said_disk_failure = False
        self._mending: Any = None
        """The call that tries to go on with a recording, from when it is planned until it has told."""
        self._pauses = Backoff(parts.random, first=settings.store_retry, most=max(settings.store_retry, MOST_PAUSE))

    def startService(self) -> None:
        super().startService()
        self._run_call = Deferred.fromCoroutine(self._run())

    async def _run(self) -> None:
        try:
            await self._open()
            assert self.poster is not None
            await self.poster.run()
        except CancelledError:
            return
        except SDPError as error:
            self.log.error("{detail}", detail=error.detail)
            self._leave(1)
        except Exception:
            self.log.failure("The Origin failed by a fault of its own.")
            self._leave(1)
        else:
            self._leave(0)

    async def _open(self) -> None:
        """Everything that can be refused is refused before the first record. The poster stands where all is open."""
        settings = self.settings
        self._store = self._parts.open_store()
        recordings = await self._store.recover() if self._store is not None else []
        self._source = self._parts.open_source()
        shown = without_secret(settings.source)
        patience = self._reactor.callLater(OPENING_TOLD_AFTER, self.log.info, "Opening {source}.", source=shown)
        self._parts.pool.start()
        try:
            await self._begin_source()
        finally:
            if patience.active():
                patience.cancel()
        self._parts.pool.stop()
        assert self.capture is not None
        self.poster = self._make_poster(self.capture, former_lives(recordings, self.address.name))
        self.log.info("Streaming {source} to {to}.", source=shown, to=str(self.address))

    async def _begin_source(self) -> None:
        """Open the source in the pool's thread, and let it begin."""
        reactor, pool, source = self._reactor, self._parts.pool, self._source
        content_type: str = await deferToThreadPool(reactor, pool, lambda: source.content_type)
        self.capture = Capture(self.settings.memory, lambda: self._record_epoch(content_type), content_type)
        self.capture.on_change = self._changed
        self._source_done = Deferred()
        await deferToThreadPool(reactor, pool, source.start, self._inlet)

    def _make_poster(self, capture: Capture, former: Sequence[Former]) -> Poster:
        settings, address, reactor = self.settings, self.address, self._reactor
        backoff = Backoff(self._parts.random, first=settings.retry_first, most=settings.retry_most)
        factory = ClientFactory(address, Role.ORIGIN, reactor)
        poster = Poster(
            capture,
            address.target,
            Attempts(connecting(factory, reactor), reactor, backoff, self.log),
            self.log,
            reactor,
            now=self._parts.now,
            limits=PosterLimits(
                unanswered=settings.max_unanswered,
                unanswered_bytes=settings.max_unanswered_bytes,
                newest_first=settings.newest_first,
                catch_up=settings.catch_up,
                backfill_rate=settings.backfill_rate,
                backfill_unanswered=settings.backfill_unanswered,
            ),
            former=former,
            anew=not settings.newest_first,
            trace=None if self._parts.trace is None else partial(self._parts.trace, Point.POSTED, address.name),
        )
        poster.on_acknowledged = self._balance
        return poster

    def _record_epoch(self, content_type: str) -> Any:
        """A recording of its own for each epoch; its identifier is this machine's, not the Distributor's."""
        if self._store is None:
            return None
        epoch = f"{self._parts.now():016x}-{self._parts.random.getrandbits(32):08x}"
        return self._store.create(self.address.name, epoch, content_type)

    # -- what the source gives ---------------------------------------------------------------------------------

    def _take(self, data: bytes, flags: Flag, capture_time: int | None) -> None:
        capture, trace = self.capture, self._parts.trace
        if capture is None or capture.log.finished:
            return
        now, dropped = self._parts.now(), capture.dropped
        capture.take(data, flags, capture_time, now)
        if trace is not None and capture.dropped == dropped:
            trace(Point.LOGGED, self.address.name, capture.log.end, capture_time=capture_time, at=now)

    def _source_ended(self, error: SDPError | None) -> None:
        assert self._source_done is not None
        self._source_done.callback(None)
        if not self.running or self.capture is None:
            return  # it ended because it was told to: the epoch stays open
        if error is None:
            self.log.info("The source has ended, after {bytes} bytes.", bytes=self.capture.log.end)
            self.capture.finish()
        else:
            # What was captured before still goes out, while the service stops. The epoch stays open: this is
            # no end that the stream's author meant.
            self.log.error("The source failed: {detail}", detail=error.detail)
            self._leave(1)

    def _changed(self) -> None:
        capture = self.capture
        assert capture is not None
        if capture.failure is not None and not self._said_disk_failure:
            self._said_disk_failure = True
            self.log.error("Recording has stopped, streaming goes on: {detail}", detail=capture.failure.detail)
        if self._mending is None and capture.recording is not None and capture.recording.failure is not None:
            self._mend_later()
        self._balance()
        if self.poster is not None:
            self.poster.wake()

    def _mend_later(self) -> None:
        if self.running:
            self._mending = self._reactor.callLater(self._pauses.next_delay(), self._mend)

    def _mend(self) -> None:
        """Try whether the disk takes the recording again."""
        assert self.capture is not None
        trying = Deferred.fromCoroutine(self.capture.resume())
        trying.addErrback(lambda failure: failure.trap(StorageError) is None)
        trying.addCallback(self._mended)

    def _mended(self, going_on: bool) -> None:
        self._mending = None
        if not going_on:
            self._mend_later()
            return
        assert self.capture is not None
        self._pauses.succeeded()
        self._said_disk_failure = False
        recording = self.capture.recording
        missing = sum(end - start for start, end in recording.holes)
        self.log.info("Recording goes on; {missing} bytes are missing of {end}.", missing=missing, end=recording.end)

    def _balance(self) -> None:
        """Hold the source where neither the disk nor the Distributor keeps up with it."""
        capture, poster = self.capture, self.poster
        if capture is None or poster is None:
            return
        recording = capture.recording
        if recording is not None and recording.failure is None:
            self._inlet.hold(recording.backlogged)
        else:
            behind = capture.log.end - poster.acknowledged
            self._inlet.hold(self.settings.can_wait and behind > self.settings.memory // 2)
        if self._drained is not None and poster.delivered:
            drained, self._drained = self._drained, None
            drained.callback(None)

    # -- the stop ----------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        """Post what is captured, sync the log; the epoch stays open where its source has not ended."""
        self._inlet.stop()
        if self._mending is not None and self._mending.active():
            self._mending.cancel()
        if self._source is not None:
            self._source.stop()
        if self.poster is None:
            self.capture = None  # a source that opens too late gives its records to nobody
        else:
            await self._drain(self.poster)
        if self._run_call is not None:
            self._run_call.cancel()
        if self._store is not None:
            await self._at_most(STORE_CLOSE, maybeDeferred(self._store.close))
        # The answer that was waited for may be just on its way up through a transport: whoever ends the process at
        # once takes that transport away beneath its own feet, which TLS's does not bear.
        await deferLater(self._reactor, 0)

    async def _drain(self, poster: Poster) -> None:
        if self._source_done is not None:
            await self._at_most(SOURCE_STOP, self._source_done)
        if poster.connected and not poster.delivered:
            self._drained = Deferred()
            await self._at_most(self.settings.drain, self._drained)

    async def _at_most(self, seconds: float, waiting: Deferred[None]) -> None:
        try:
            await waiting.addTimeout(seconds, self._reactor)
        except TimeoutError:
            self.log.warn("The stop does not wait any longer.")
