"""The way back: what other threads have to tell goes to the reactor's thread, many tidings in one crossing."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from twisted.internet.interfaces import IReactorFromThreads
from twisted.logger import Logger

__all__ = ["Announcer"]

_log = Logger()


class Announcer:
    """Calls things in the reactor's thread, in the order in which they were posted.

    Crossing costs a wake-up of the reactor; so at most one is under way, and takes along what comes meanwhile.
    """

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._lock = Lock()
        self._posted: list[Callable[[], object]] = []

    def post(self, call: Callable[[], object]) -> None:
        """Have ``call`` called in the reactor's thread. From any thread."""
        with self._lock:
            self._posted.append(call)
            first = len(self._posted) == 1
        if first:
            self._reactor.callFromThread(self._deliver)

    def _deliver(self) -> None:
        with self._lock:
            posted, self._posted = self._posted, []
        for call in posted:
            try:
                call()
            except Exception:
                _log.failure("A listener of the store failed")
