"""A thread of its own for what blocks: bytes on their way to an output, in order, and never too many of them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure

from sdp.consumer.output import Output, OutputFault, Progress
from sdp.errors import SDPError

__all__ = ["Writer"]

Result = TypeVar("Result")


class Writer:
    """Gives an output what it is given, in the output's own thread.

    ``pool`` is a thread pool of one thread. Once :attr:`backlog` has passed ``limit`` (bytes), the caller should wait
    for ``on_room``; ``on_failure`` is called at the first thing that cannot be written, and no more is then.
    """

    def __init__(self, output: Output, reactor: Any, pool: Any, limit: int) -> None:
        self.backlog = 0
        self.failure: SDPError | None = None
        self.has_begun = False
        """Whether the output has noted what it is a copy of."""
        self.has_written = False
        """Whether anything was written since it was opened."""
        self.on_room: Callable[[], None] = lambda: None
        self.on_failure: Callable[[SDPError], None] = lambda error: None
        self._output = output
        self._reactor = reactor
        self._pool = pool
        self._limit = limit
        self._pieces: list[bytes] = []
        self._busy = False
        self._idle: list[Deferred[None]] = []

    @property
    def full(self) -> bool:
        return self.backlog > self._limit

    async def open(self) -> Progress:
        progress = await self._in_thread(self._output.open)
        self.has_begun, self.has_written = progress.epoch is not None, False
        return progress

    def begin(self, epoch: str, first: int, head: bytes = b"") -> None:
        """Before anything is written: the thread does one after the other."""
        self._in_thread(self._output.begin, epoch, first, head).addCallbacks(self._begun, self._failed)

    def _begun(self, _: None) -> None:
        self.has_begun = True

    def write(self, data: bytes) -> None:
        """Queue bytes. What waits is written by one call."""
        if self.failure is None:
            self._pieces.append(data)
            self.backlog += len(data)
            self._next()

    def _next(self) -> None:
        if self._busy:
            return
        if not self._pieces or self.failure is not None:
            idle, self._idle = self._idle, []
            for each in idle:
                each.callback(None)
            return
        pieces, self._pieces = self._pieces, []
        self._busy = True
        self._in_thread(self._output.write, pieces).addCallbacks(
            self._written, self._failed, callbackArgs=(sum(map(len, pieces)),)
        )

    def _written(self, _: None, size: int) -> None:
        self.has_written = True
        was_full = self.full
        self.backlog -= size
        self._busy = False
        self._next()
        if was_full and not self.full:
            self.on_room()

    def _failed(self, failure: Failure) -> None:
        self._busy = False
        if self.failure is not None:
            return
        error = failure.value
        if not isinstance(error, SDPError):
            error = SDPError(f"The output failed: {error}.")
        self.failure = error
        self._pieces.clear()
        self.backlog = 0
        self._next()
        self.on_failure(error)

    def flush(self) -> Deferred[None]:
        """Fires once nothing waits to be written any more; look at :attr:`failure` then."""
        done: Deferred[None] = Deferred()
        self._idle.append(done)
        self._next()
        return done

    async def complete(self) -> None:
        """Write what waits, and make it durable. Raises StorageError."""
        await self.flush()
        if self.failure is not None:
            raise self.failure
        await self._in_thread(self._output.complete)

    async def reopen(self) -> Progress:
        """After a failure: open the output again, and return how far it is. Raises StorageError."""
        await self.flush()
        with suppress(OutputFault):  # what it could not make durable is found out by opening it
            await self._in_thread(self._output.close)
        progress = await self.open()
        self.failure = None
        return progress

    async def close(self) -> None:
        """Write what waits, and close the output. Raises StorageError."""
        await self.flush()
        await self._in_thread(self._output.close)

    def _in_thread(self, work: Callable[..., Result], *args: object) -> Deferred[Result]:
        return deferToThreadPool(self._reactor, self._pool, work, *args)
