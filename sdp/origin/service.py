"""The Origin as a service: source thread > inlet > capture > poster, from start to a clean stop."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred
from twisted.logger import Logger

from sdp.errors import SDPError
from sdp.net.address import Address, with_token
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import ClientFactory, ClientProtocol, Role, connect
from sdp.origin.capture import Capture
from sdp.origin.inlet import Inlet
from sdp.origin.poster import Poster, PosterLimits
from sdp.origin.settings import OriginSettings
from sdp.stream.record import Flag

__all__ = ["OriginParts", "OriginService"]

SOURCE_STOP = 1.0
"""How long a stop waits for the source's last records, in seconds."""

STORE_CLOSE = 3.0
"""How long a stop waits for the disk; with the other waits it stays within the ten seconds of a stop."""


@attrs.frozen(kw_only=True)
class OriginParts:
    """What an Origin is put together from, so that each part may be another one."""

    open_source: Callable[[OriginSettings], Any]
    """Makes the ISource; may raise MediaError."""
    open_store: Callable[[], Any]
    """Makes the IStore, or None for no disk; may raise StorageError."""
    now: Callable[[], int]
    """The wall clock, in microseconds."""
    random: Random


class OriginService(Service):
    """Streams a source to a Distributor until the source ends, or the service is stopped.

    ``leave`` is called with the process's exit status once there is nothing more to do.
    """

    log = Logger(namespace="sdp.origin")

    def __init__(
        self, settings: OriginSettings, reactor: Any, leave: Callable[[int], None], parts: OriginParts
    ) -> None:
        self.setName("sdp-origin")
        self.settings = settings
        self.address: Address = with_token(settings.to, settings.publish_token)
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
        """Everything that can be refused is refused before the first record."""
        settings, address = self.settings, self.address
        self._store = self._parts.open_store()
        if self._store is not None:
            await self._store.recover()
        self._source = self._parts.open_source(settings)
        content_type: str = self._source.content_type
        self.capture = Capture(settings.memory, lambda: self._record_epoch(content_type))
        self.capture.on_change = self._changed
        factory = ClientFactory(address, Role.ORIGIN, self._reactor)

        async def connect_to() -> ClientProtocol:
            return await connect(address.endpoint(self._reactor, factory.limits.connect_timeout), factory)

        backoff = Backoff(self._parts.random, first=settings.retry_first, most=settings.retry_most)
        self.poster = Poster(
            self.capture,
            address.target,
            content_type.encode("ascii"),
            Attempts(connect_to, self._reactor, backoff, self.log),
            self.log,
            now=self._parts.now,
            limits=PosterLimits(unanswered=settings.max_unanswered, unanswered_bytes=settings.max_unanswered_bytes),
        )
        self.poster.on_acknowledged = self._balance
        self._source.start(self._inlet)
        self._source_done = Deferred()
        self.log.info("Streaming {source} to {to}.", source=settings.source, to=str(address))

    def _record_epoch(self, content_type: str) -> Any:
        """A recording of its own for each epoch; its identifier is this machine's, not the Distributor's."""
        if self._store is None:
            return None
        epoch = f"{self._parts.now():016x}-{self._parts.random.getrandbits(32):08x}"
        return self._store.create(self.address.name, epoch, content_type)

    # -- what the source gives ---------------------------------------------------------------------------------

    def _take(self, data: bytes, flags: Flag, capture_time: int | None) -> None:
        if self.capture is not None and not self.capture.log.finished:
            self.capture.take(data, flags, capture_time, self._parts.now())

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
        self._balance()
        if self.poster is not None:
            self.poster.wake()

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
        if self._source_done is not None:
            self._source.stop()
            await self._at_most(SOURCE_STOP, self._source_done)
        poster = self.poster
        if poster is not None and poster.connected and not poster.delivered:
            self._drained = Deferred()
            await self._at_most(self.settings.drain, self._drained)
        if self._run_call is not None:
            self._run_call.cancel()
        if self._store is not None:
            await self._at_most(STORE_CLOSE, maybeDeferred(self._store.close))

    async def _at_most(self, seconds: float, waiting: Deferred[None]) -> None:
        try:
            await waiting.addTimeout(seconds, self._reactor)
        except TimeoutError:
            self.log.warn("The stop does not wait any longer.")
