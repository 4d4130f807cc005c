"""The writer thread: the one place in which a stream's bytes wait for the disk.

append > mailbox > (one wake-up takes all that has come) > one gathered write a recording > group sync

A wake-up waits a moment before it looks into the mailbox: what arrives within that moment shares its system calls, and
the reactor's thread, which has consumers to serve with the same bytes, is not interrupted for each record.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Condition, Thread
from typing import NamedTuple

from twisted.logger import Logger
from twisted.python.failure import Failure

from sdp.errors import StorageError
from sdp.store.epoch import EpochWriter, Progress
from sdp.store.files import Buffer
from sdp.stream.record import Record

__all__ = ["Appended", "Job", "Writer"]

_SYNCS_AT_ONCE = 8
"""Syncs of several files under way together share the file system's journal commits."""
_log = Logger()


class Appended(NamedTuple):
    """Bytes and records on their way to a recording's files; ``moved`` is told what came of it."""

    to: EpochWriter
    moved: Callable[[Progress], None]
    data: Buffer
    records: tuple[Record, ...]


class Job(NamedTuple):
    """Something seldom, done after all that was put in before it; ``done`` gets its result or a Failure."""

    work: Callable[[], object]
    done: Callable[[object], None]


class _Batch:
    """What one wake-up has for one recording."""

    def __init__(self, moved: Callable[[Progress], None]) -> None:
        self.moved = moved
        self.buffers: list[Buffer] = []
        self.records: list[Record] = []


class Writer:
    """A thread that writes. ``sync_interval`` and ``gather`` are in seconds; a None interval never syncs.

    Bytes become durable within the interval after they came (0: with each batch), together: one deadline, set by
    the first that wait, serves all recordings.
    """

    def __init__(self, sync_interval: float | None, gather: float) -> None:
        self._interval = sync_interval
        self._gather = gather if sync_interval is None else min(gather, sync_interval)
        self._mail: deque[Appended | Job] = deque()
        self._idle = self._urgent = False
        self._closing = False
        self._condition = Condition()
        self._batches: dict[EpochWriter, _Batch] = {}
        self._unsynced: dict[EpochWriter, Callable[[Progress], None]] = {}
        self._deadline: float | None = None
        self._syncers = ThreadPoolExecutor(_SYNCS_AT_ONCE, thread_name_prefix="sdp store sync")
        self._thread = Thread(target=self._run, name="sdp store writer", daemon=True)
        self._thread.start()

    def put(self, item: Appended | Job) -> None:
        """Queue something. Takes the lock only to wake the thread: to wait for it while the thread works costs dearly.

        The item lies in the mailbox before ``_idle`` is read, and the thread looks there after it was set.
        """
        self._mail.append(item)
        if isinstance(item, Job):
            self._urgent = True
        if self._idle:
            with self._condition:
                self._idle = False
                self._condition.notify()

    def end(self) -> None:
        """Called by the last job: the thread ends with what it has taken."""
        self._closing = True

    def join(self) -> None:
        """Wait for the thread, after its last job."""
        self._thread.join()
        self._syncers.shutdown()

    def forget(self, epoch: EpochWriter) -> None:
        """Called by a job that closed the recording: there is nothing left to sync."""
        self._unsynced.pop(epoch, None)

    def _run(self) -> None:
        while not self._closing:
            for item in self._take():
                if isinstance(item, Appended):
                    batch = self._batches.setdefault(item.to, _Batch(item.moved))
                    batch.buffers.append(item.data)
                    batch.records.extend(item.records)
                else:
                    self._write()
                    self._do(item)
            self._write()
            if self._deadline is not None and time.monotonic() >= self._deadline:
                self._sync()

    def _take(self) -> list[Appended | Job]:
        """Wait for mail, or for the time to sync, and empty the mailbox."""
        with self._condition:
            self._idle = True
            while not self._mail:
                left = None if self._deadline is None else self._deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._condition.wait(left)
                self._idle = True
            self._idle = False
        if self._mail and self._gather > 0 and not self._urgent:
            time.sleep(self._gather)
        self._urgent = False
        return [self._mail.popleft() for _ in range(len(self._mail))]

    def _write(self) -> None:
        batches, self._batches = self._batches, {}
        for epoch, batch in batches.items():
            self._guarded(epoch, partial(epoch.write, batch.buffers, batch.records))
            if epoch.unsynced and self._interval is not None:
                if self._interval == 0:
                    self._guarded(epoch, epoch.sync)
                else:
                    self._unsynced[epoch] = batch.moved
                    if self._deadline is None:
                        self._deadline = time.monotonic() + self._interval - self._gather
            batch.moved(epoch.progress())

    def _sync(self) -> None:
        waiting, self._unsynced = self._unsynced, {}
        self._deadline = None
        list(self._syncers.map(lambda epoch: self._guarded(epoch, epoch.sync), waiting))
        for epoch, moved in waiting.items():
            moved(epoch.progress())

    def _guarded(self, epoch: EpochWriter, work: Callable[[], None]) -> None:
        """A mistake in one recording's writing stops that recording; the thread goes on with the others."""
        try:
            work()
        except Exception as error:
            _log.failure("Recording {name} stops", name=epoch.description.name)
            epoch.discard(StorageError(f"Recording {epoch.description.name} has stopped: {error!r}; please report it."))

    def _do(self, job: Job) -> None:
        try:
            result = job.work()
        except Exception:
            result = Failure()
        job.done(result)
