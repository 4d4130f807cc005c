"""The recorder as a service: from start to a complete copy, or to a clean stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, TimeoutError
from twisted.logger import Logger

from sdp.consumer.output import FileOutput, Output, PipeOutput
from sdp.consumer.recorder import Recorder
from sdp.consumer.settings import ConsumerSettings
from sdp.consumer.sources import Source, Sources
from sdp.consumer.writer import Writer
from sdp.errors import SDPError
from sdp.net.address import Address, with_authorities, with_token
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import ClientFactory, ClientLimits, Role, connecting
from sdp.net.threads import DaemonPool
from sdp.observe import Point, Trace

__all__ = ["RecorderService"]

STANDARD_OUTPUT = 1

MENDING_FIRST, MENDING_MOST = 1.0, 30.0
"""How long a disk that failed is left alone before it is tried again, in seconds: at first, and at most."""

LAST_WRITES = 5.0
"""How long a stop waits for the output to take what was received, in seconds: a pipe may never be read again."""


def _addresses(settings: ConsumerSettings) -> list[Address]:
    """Where the stream is, with what it takes to be let in there, and to know each server by."""
    addresses = [with_token(each, settings.read_token) for each in settings.from_]
    only_http = all(each.scheme == "http" for each in addresses)  # then a certificate is a mistake
    return [
        with_authorities(each, settings.ca_file) if each.scheme == "https" or only_http else each for each in addresses
    ]


class RecorderService(Service):
    """Keeps a gapless copy of one epoch; ``leave`` is called with the process's exit status once that is done."""

    def __init__(
        self,
        settings: ConsumerSettings,
        reactor: Any,
        leave: Callable[[int], None],
        random: Random,
        trace: Trace | None = None,
    ) -> None:
        self.setName("sdp-consumer")
        # Not the class's, where Twisted would put the class's name in place of this one.
        self.log = Logger(namespace="sdp.consumer")
        self.settings = settings
        self.addresses = _addresses(settings)
        self.recorder: Recorder | None = None
        self._reactor = reactor
        self._leave = leave
        self._random = random
        self._trace = trace
        # A write into a pipe that nobody reads cannot be called off: its thread must not keep the process.
        self._pool = DaemonPool(1, "sdp consumer writer")
        self._writer: Writer | None = None
        self._run_call: Deferred[None] | None = None

    def startService(self) -> None:
        super().startService()
        settings, reactor = self.settings, self._reactor
        self._pool.start()
        self._writer = Writer(self._output(), reactor, self._pool, settings.backlog)
        limits = ClientLimits(body_timeout=settings.silence)
        sources = Sources(
            [
                Source(address, connecting(ClientFactory(address, Role.CONSUMER, reactor, limits), reactor))
                for address in self.addresses
            ]
        )
        backoff = Backoff(self._random, first=settings.retry_first, most=settings.retry_most)
        mending = Backoff(self._random, first=MENDING_FIRST, most=MENDING_MOST)
        attempts = Attempts(sources.connect, reactor, backoff, self.log)
        self.recorder = Recorder(sources, self._writer, attempts, self.log, reactor, mending, settings.at)
        if self._trace is not None:
            self.recorder.on_progress = partial(self._tell_of, self._trace, self.recorder)
        self._run_call = Deferred.fromCoroutine(self._run(self.recorder))

    def _tell_of(self, trace: Trace, recorder: Recorder) -> None:
        trace(Point.FETCHED, f"{self.addresses[0].name}@{recorder.epoch}", recorder.end)

    def _output(self) -> Output:
        if self.settings.output == "-":
            # A descriptor of its own: what prints to sys.stdout is not to be mixed into the stream.
            return PipeOutput(os.dup(STANDARD_OUTPUT))
        return FileOutput(Path(self.settings.output), self.settings.sync, self._reactor.seconds)

    async def _run(self, recorder: Recorder) -> None:
        try:
            await recorder.run()
        except CancelledError:
            return
        except SDPError as error:
            self.log.error("{detail}", detail=error.detail)
            self._leave(1)
        except Exception:
            self.log.failure("The Consumer failed by a fault of its own.")
            self._leave(1)
        else:
            self._leave(0)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        """Write and sync what was received; the copy goes on there the next time."""
        if self._run_call is not None:
            self._run_call.cancel()
        if self._writer is not None:
            closing = Deferred.fromCoroutine(self._writer.close())
            try:
                await closing.addTimeout(LAST_WRITES, self._reactor)
            except SDPError as error:
                self.log.error("{detail}", detail=error.detail)
            except TimeoutError:
                self.log.warn("The output takes no more: what was received last is not in it.")
                return
        if self._pool.started:
            self._pool.stop()
