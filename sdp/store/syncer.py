"""The sync thread: what was written becomes durable, while the writer thread goes on writing.

Syncs of several files under way together share the file system's journal commits; so all recordings that wait are
synced in one round, by one deadline that the first of them sets.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from threading import Condition, Thread

from twisted.logger import Logger

from sdp.errors import StorageError
from sdp.store.epoch import EpochWriter

__all__ = ["Syncer", "guarded"]

_AT_ONCE = 8
_log = Logger()

Moved = Callable[[], None]


def guarded(epoch: EpochWriter, work: Callable[[], None]) -> None:
    """A mistake in one recording's writing stops that recording; the thread goes on with the others."""
    try:
        work()
    except Exception as error:
        _log.failure("Recording {name} stops", name=epoch.description.name)
        epoch.discard(StorageError(f"Recording {epoch.description.name} has stopped: {error!r}; please report it."))


class Syncer:
    """Makes recordings durable within ``interval`` seconds after they asked for it; None: never by itself."""

    def __init__(self, interval: float | None) -> None:
        self._interval = interval
        self._waiting: dict[EpochWriter, Moved] = {}
        self._deadline = 0.0
        self._closing = False
        self._condition = Condition()
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="sdp store sync")
        self._thread = Thread(target=self._run, name="sdp store syncer", daemon=True)
        self._thread.start()

    def wants(self, epoch: EpochWriter, moved: Moved) -> None:
        """``epoch`` has bytes that are not durable; ``moved`` is called when they are. From the writer's thread."""
        if self._interval is None:
            return
        with self._condition:
            if not self._waiting:
                self._deadline = time.monotonic() + self._interval
                self._condition.notify()
            self._waiting.setdefault(epoch, moved)

    def forget(self, epoch: EpochWriter) -> None:
        """Nothing of that recording is left to sync."""
        with self._condition:
            self._waiting.pop(epoch, None)

    def sync(self, epochs: Iterable[EpochWriter]) -> None:
        """Make several recordings durable now, and return once they are."""
        list(self._pool.map(lambda epoch: guarded(epoch, epoch.sync), epochs))

    def adopt(self, epochs: Iterable[EpochWriter]) -> None:
        """Take up several recordings that were found, each of which needs syncs."""
        list(self._pool.map(lambda epoch: guarded(epoch, epoch.adopt), epochs))

    def close(self, rest: Iterable[EpochWriter]) -> None:
        """End the threads, once a round that is under way is over and the ``rest`` is durable."""
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()
        self.sync(rest)
        self._pool.shutdown()

    def _run(self) -> None:
        while (waiting := self._due()) is not None:
            self.sync(waiting)
            for moved in waiting.values():
                moved()

    def _due(self) -> dict[EpochWriter, Moved] | None:
        """Wait for the deadline of those that wait; None once closing."""
        with self._condition:
            while not self._closing:
                left = self._deadline - time.monotonic() if self._waiting else None
                if left is not None and left <= 0:
                    waiting, self._waiting = self._waiting, {}
                    return waiting
                self._condition.wait(left)
        return None
