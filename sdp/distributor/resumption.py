"""A recording that the disk has stopped goes on when the disk can be written to again.

a failure > a pause > a try (in the store's thread) > what the memory still holds is recorded > what comes is recorded

What came meanwhile and has left the memory is a hole in the recording.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from sdp.errors import StorageError
from sdp.stream.catalog import Epoch

__all__ = ["MOST_PAUSE", "Resumption"]

MOST_PAUSE = 60.0
"""The longest pause between two tries, in seconds: each that fails doubles it. A disk is at times full for days."""


class Resumption:
    """One epoch's. The first pause is ``first`` seconds; ``wanted`` says whether anybody still has a use for it."""

    log = Logger(namespace="sdp.distributor.resumption")

    def __init__(self, epoch: Epoch, clock: IReactorTime, first: float, wanted: Callable[[], bool]) -> None:
        self._epoch = epoch
        self._clock = clock
        self._first = self._pause = first
        self._wanted = wanted
        self._later: IDelayedCall | None = None
        self._trying = False

    def failed(self, error: StorageError) -> None:
        """The recording has stopped. Said again while it is so, nothing happens."""
        if self._later is None and not self._trying:
            self.log.error(
                "{name}: recording stopped at {end}: {detail}",
                name=self._epoch.name,
                end=cast(Any, self._epoch.recording).written,
                detail=error.detail,
            )
            self._wait()

    def cancel(self) -> None:
        """No more tries."""
        if self._later is not None:
            self._later.cancel()
            self._later = None

    def _wait(self) -> None:
        self._later = self._clock.callLater(self._pause, self._try)
        self._pause = min(self._pause * 2, max(MOST_PAUSE, self._first))

    def _try(self) -> None:
        self._later = None
        offset = self._epoch.resumption()
        if not self._wanted():
            return
        if offset is None:
            self._wait()
            return
        self._trying = True
        trying: Deferred[bool] = cast(Any, self._epoch.recording).resume(offset)
        trying.addCallback(self._tried)
        trying.addErrback(self._given_up)

    def _tried(self, going_on: bool) -> None:
        self._trying = False
        if not going_on:
            self._wait()
            return
        self._pause = self._first
        self._epoch.resumed()
        self.log.info(
            "{name}: recording goes on, {missing} bytes are missing of {end}",
            name=self._epoch.name,
            missing=sum(end - start for start, end in self._epoch.missing),
            end=self._epoch.end,
        )

    def _given_up(self, failure: Any) -> None:
        """The store is closed, or all that it had of this was removed."""
        self._trying = False
        if not failure.check(StorageError):
            self.log.failure("{name}: recording does not go on", failure=failure, name=self._epoch.name)
