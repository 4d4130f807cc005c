"""The writer thread: the one place in which a stream's bytes wait for the disk.

append > mailbox > (one wake-up takes all that has come) > one gathered write a recording > the sync thread

A wake-up waits a moment before it looks into the mailbox: what arrives within that moment shares its system calls, and
the reactor's thread, which has consumers to serve with the same bytes, is not interrupted for each record.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from threading import Condition, Thread
from typing import NamedTuple

from twisted.python.failure import Failure

from sdp.store.epoch import EpochWriter
from sdp.store.files import Buffer
from sdp.store.syncer import Syncer, guarded
from sdp.stream.record import Record

__all__ = ["Appended", "Job", "Writer"]

GATHER_EACH = 0.0001
"""Seconds by which gathering takes longer for each recording that the last wake-up wrote to: of a thousand streams,
a few pieces of each share a write, and the thread leaves the processor to the others half of the time."""
GATHER_LIMIT = 0.1
"""Seconds beyond which gathering does not grow: so long bytes wait in memory at most."""
IDLE = 10.0
"""Seconds after which a recording that nothing comes for gives its descriptors back."""


class Appended(NamedTuple):
    """Bytes from ``offset`` on and records on their way to a recording's files; ``moved`` is told what came of it.

    ``taken`` are bytes before a hole that go with them, see :meth:`EpochWriter.write`.
    """

    to: EpochWriter
    moved: Callable[[], None]
    offset: int
    data: Buffer
    records: tuple[Record, ...]
    taken: bytes = b""


class Job(NamedTuple):
    """Something seldom, done after all that was put in before it; ``done`` gets its result or a Failure."""

    work: Callable[[], object]
    done: Callable[[object], None]


class _Piece:
    """Bytes that follow on each other, and go into one write."""

    __slots__ = ("buffers", "end", "offset", "records", "taken")

    def __init__(self, item: Appended) -> None:
        self.offset = self.end = item.offset
        self.taken = item.taken
        self.buffers: list[Buffer] = []
        self.records: list[Record] = []


class _Batch:
    """What one wake-up has for one recording: what is live and what fills a hole may alternate."""

    def __init__(self, moved: Callable[[], None]) -> None:
        self.moved = moved
        self.pieces: list[_Piece] = []

    def add(self, item: Appended) -> None:
        """Put an item behind the piece that it follows on, among the last two; else it begins one."""
        piece = next((each for each in self.pieces[-2:] if each.end == item.offset and not item.taken), None)
        if piece is None:
            piece = _Piece(item)
            self.pieces.append(piece)
        piece.buffers.append(item.data)
        piece.records.extend(item.records)
        piece.end += len(item.data)

    def write(self, epoch: EpochWriter) -> None:
        """Have all of it written."""
        try:
            for piece in self.pieces:
                epoch.write(piece.offset, piece.buffers, piece.records, piece.taken)
        finally:
            epoch.took(sum(piece.end - piece.offset for piece in self.pieces))


class Writer:
    """A thread that writes. ``sync_interval`` and ``gather`` are in seconds; a None interval never syncs.

    Bytes become durable within the interval after they came, beside the writing; with 0 each batch is synced before
    the next one is written.
    """

    def __init__(self, sync_interval: float | None, gather: float) -> None:
        self._interval = sync_interval
        self._gather = gather if sync_interval is None else min(gather, sync_interval)
        longest = GATHER_LIMIT if sync_interval is None else min(GATHER_LIMIT, sync_interval / 4)
        self._gather_limit = max(self._gather, longest) if gather > 0 else 0.0
        self._mail: deque[Appended | Job] = deque()
        self._recent = 0
        self._idle = self._urgent = False
        self._closing = False
        self._condition = Condition()
        self._batches: dict[EpochWriter, _Batch] = {}
        self._open: dict[EpochWriter, float] = {}
        self.syncer = Syncer(None if sync_interval is None else max(0.0, sync_interval - self._gather_limit))
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

    def forget(self, epoch: EpochWriter) -> None:
        """Called by a job that closed the recording: there is nothing left to sync."""
        self._open.pop(epoch, None)
        self.syncer.forget(epoch)

    def _run(self) -> None:
        while not self._closing:
            for item in self._take():
                if isinstance(item, Appended):
                    batch = self._batches.get(item.to)
                    if batch is None:
                        batch = self._batches[item.to] = _Batch(item.moved)
                    batch.add(item)
                else:
                    self._write()
                    self._do(item)
            self._write()
            self._rest()

    def _take(self) -> list[Appended | Job]:
        """Wait for mail, or for the time to close what rests, and empty the mailbox."""
        with self._condition:
            self._idle = True
            while not self._mail:
                self._idle = True
                if not self._condition.wait(IDLE if self._open else None):
                    break
            self._idle = False
        if self._mail and self._gather > 0 and not self._urgent:
            time.sleep(max(self._gather, min(self._recent * GATHER_EACH, self._gather_limit)))
        self._urgent = False
        return [self._mail.popleft() for _ in range(len(self._mail))]

    def _write(self) -> None:
        batches, self._batches = self._batches, {}
        self._recent = len(batches) or self._recent
        now = time.monotonic() if batches else 0.0
        for epoch, batch in batches.items():
            guarded(epoch, partial(batch.write, epoch))
            self._open.pop(epoch, None)
            if epoch.is_open:
                self._open[epoch] = now
            if self._interval != 0 and epoch.unsynced:
                self.syncer.wants(epoch, batch.moved)
            batch.moved()
        if self._interval == 0 and batches:
            self.syncer.sync(batches)
            for batch in batches.values():
                batch.moved()

    def _rest(self) -> None:
        """Close the files of recordings that nothing has come for, in the order in which they were written to."""
        oldest = time.monotonic() - IDLE
        for epoch, written in list(self._open.items()):
            if written > oldest:
                break
            if self._interval is not None and epoch.unsynced:
                continue
            del self._open[epoch]
            epoch.close()

    def _do(self, job: Job) -> None:
        try:
            result = job.work()
        except Exception:
            result = Failure()
        job.done(result)
