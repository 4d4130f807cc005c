"""All streams on one disk: epochs are found, begun, removed here; their bytes go through :mod:`sdp.store.writer`.

The reactor's thread never waits for the disk: it puts bytes and jobs into the writer thread's mailbox, and asks the
reader threads for what has left the memory. Answers come back through the reactor's callFromThread.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import accumulate
from pathlib import Path
from typing import Any, TypeVar, cast

from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorFromThreads, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sdp.errors import StorageError
from sdp.interfaces import IStore
from sdp.store.announcer import Announcer
from sdp.store.epoch import EpochWriter
from sdp.store.faults import disk_error
from sdp.store.files import Buffer, Files
from sdp.store.layout import LOCK, Description, NewerFormatError, check_name, epoch_directory
from sdp.store.recording import Recording
from sdp.store.recovery import Tail, examine, find_epochs, read_description
from sdp.store.removal import remove_epoch, remove_name
from sdp.store.retention import INTERVAL, REASONS, SHARE, Limits, Piece, Taken, choose
from sdp.store.run import Rolling
from sdp.store.segments import GoneError
from sdp.store.tally import Tally
from sdp.store.writer import Appended, Job, Writer
from sdp.stream.record import Record

__all__ = ["GATHER", "QUEUE_LIMIT", "SEGMENT_SIZE", "SYNC_INTERVAL", "FileStore"]

SYNC_INTERVAL = 1.0
"""Seconds after which written bytes are made durable."""
SEGMENT_SIZE = 1024 * 1024 * 1024
"""Bytes after which a recording goes on in another segment: the least that retention can take of it."""
QUEUE_LIMIT = 64 * 1024 * 1024
"""Bytes, of all recordings together, that may wait for a slow disk before ingest has to pause (no status: it waits)."""
GATHER = 0.005
"""Seconds in which appended bytes are gathered into one write; see :mod:`sdp.store.writer`."""

_READERS = 2
_log = Logger()
T = TypeVar("T")


def _microseconds() -> int:
    return time.time_ns() // 1000


@implementer(IStore)
class FileStore:
    """Keeps streams under one directory, which it alone uses. Raises StorageError where it cannot.

    ``sync_interval`` is in seconds: 0 makes each batch durable at once, None leaves it to the system while a
    recording runs (what is finished or closed is synced all the same).
    ``queue_limit`` and ``segment_size`` are in bytes. ``now`` gives microseconds since the Unix epoch. With ``limits``
    a ``clock`` has to say when to look at them. ``bytes_written``, ``syncs``, ``failures`` and ``trimmed`` (bytes, by
    reason) count since the store was opened.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        reactor: IReactorFromThreads,
        *,
        sync_interval: float | None = SYNC_INTERVAL,
        queue_limit: int = QUEUE_LIMIT,
        gather: float = GATHER,
        segment_size: int = SEGMENT_SIZE,
        limits: Limits | None = None,
        clock: IReactorTime | None = None,
        now: Callable[[], int] = _microseconds,
        files: Files | None = None,
    ) -> None:
        self.files = files if files is not None else Files()
        self.directory = Path(directory).absolute()
        self.queue_limit = queue_limit
        self.queued = 0
        self.backlogged = False
        self.trimmed = dict.fromkeys(REASONS, 0)
        self._durably = sync_interval is not None
        self._now = now
        self._limits = limits if limits is not None else Limits()
        self._rolling = _rolling(segment_size, self._limits)
        self._tally = Tally()
        self._created = 0
        self._recordings: dict[str, list[Recording]] = {}
        self._closed = False
        self._closing: list[Deferred[None]] | None = None
        self._lock = self._take_directory()
        self._announcer = Announcer(reactor)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="sdp store reader")
        self._writer = Writer(sync_interval, gather)
        self._clock = clock
        self._looking: IDelayedCall | None = None
        if self._limits:
            self._look_later()

    @property
    def bytes_written(self) -> int:
        """Stream bytes that were written."""
        return self._tally.bytes_written

    @property
    def syncs(self) -> int:
        """How often a recording was made durable."""
        return self._tally.syncs

    @property
    def failures(self) -> int:
        """How many recordings the disk has stopped, or could not be recovered."""
        return self._tally.failures

    @property
    def resumed(self) -> int:
        """How many recordings have gone on after the disk had stopped them."""
        return self._tally.resumed

    def free_bytes(self) -> int:
        """What the disk has left. Raises StorageError."""
        try:
            return self.files.free_bytes(self.directory)
        except OSError as error:
            raise disk_error("look at", self.directory, error) from error

    def _take_directory(self) -> int:
        """Make the directory where it is missing, and lock it; return the lock's descriptor."""
        path = self.directory / LOCK
        try:
            missing = [place for place in (self.directory, *self.directory.parents) if not place.exists()]
            self.directory.mkdir(parents=True, exist_ok=True)
            if self._durably:  # what is durable below must not hang on a name that is not
                for made in missing:
                    self.files.sync_directory(made.parent)
            descriptor = self.files.open(path, write=True, create=True)
        except FileExistsError as error:
            raise StorageError(f"{self.directory} is not a directory: name another one for the store.") from error
        except OSError as error:
            raise disk_error("keep streams in", self.directory, error) from error
        try:
            self.files.lock(descriptor)
        except BlockingIOError:
            holder = self.files.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            self.files.close(descriptor)
            raise StorageError(
                f"{self.directory} is in use by process {holder}: stop it, or name another directory."
            ) from None
        except OSError as error:
            self.files.close(descriptor)
            raise disk_error("lock", path, error) from error
        with suppress(OSError):  # a courtesy; on a full disk what is stored can be read all the same
            self.files.truncate(descriptor, 0)
            self.files.pwritev(descriptor, [b"%d\n" % os.getpid()], 0)
        return descriptor

    # IStore

    def recover(self) -> Deferred[list[Recording]]:
        """Read what is stored: all epochs not known yet, the oldest first for each name, cut to what holds.

        One that is damaged is left as it is, logged and counted; a later format's fails the whole with StorageError.
        """
        known = {(r.name, r.epoch) for recordings in self._recordings.values() for r in recordings}
        return self._job(lambda: self._recover(known)).addCallback(self._recovered)

    def create(self, name: str, epoch: str, content_type: str) -> Recording:
        """Begin an epoch. Raises StorageError once closed, and where ``name`` or ``epoch`` cannot be part of a path."""
        directory = epoch_directory(self.directory, name, epoch)
        if self._closed:
            raise self._closed_error()
        self._created = max(self._now(), self._created + 1)
        writer = self._epoch_writer(directory, Description(name, epoch, content_type, self._created), Tail(()))
        recording = self._keep(writer)
        root = self.directory

        def make() -> None:
            writer.create(root)
            recording.moved()

        self._job(make).addErrback(_log_failure)
        return recording

    def remove(self, name: str) -> Deferred[None]:
        """Delete every epoch of ``name``; its recordings fail from now on. Fires (None) when nothing is left."""
        try:
            check_name(name)
        except StorageError as error:
            return fail(error)
        if self._closed:
            return fail(self._closed_error())
        gone = GoneError(f"The recordings of {name} were removed.")
        recordings = self._recordings.pop(name, [])

        def work() -> None:
            for recording in recordings:
                recording.writer.discard(gone)
                self._writer.forget(recording.writer)
                recording.moved()
            remove_name(self.files, self.directory, name, sync=self._durably)

        return self._job(work)

    def close(self) -> Deferred[None]:
        """Write and sync what was accepted, end the threads, give the directory free. May be called again."""
        done: Deferred[None] = Deferred()
        if self._closing is None:
            self._closing = [done]
            if self._looking is not None:
                self._looking.cancel()
                self._looking = None
            self._job(self._shut).addErrback(_log_failure).addCallback(self._shut_down)
            self._closed = True
        elif self._closing:
            self._closing.append(done)
        else:
            done.callback(None)
        return done

    # What recordings ask for.

    def put(
        self, recording: Recording, offset: int, data: Buffer, records: Sequence[Record], taken: bytes = b""
    ) -> bool:
        """Queue bytes for the writer thread; after close() they are dropped. Return whether they are queued."""
        if self._closed:
            recording.failure = self._closed_error()
            return False
        self.queued += len(data)
        if self.queued > self.queue_limit:
            self.backlogged = True
        self._writer.put(Appended(recording.writer, recording.moved, offset, data, tuple(records), taken))
        return True

    def finish(self, recording: Recording) -> Deferred[None]:
        """Complete a recording in the writer thread."""
        if self._closed:
            recording.failure = self._closed_error()
            return fail(recording.failure)

        def work() -> None:
            recording.writer.finish()
            self._writer.forget(recording.writer)
            recording.moved()
            if recording.writer.failure is not None:
                raise recording.writer.failure

        return self._job(work)

    def resume(self, recording: Recording, offset: int) -> Deferred[bool]:
        """Try, in the writer thread, to go on with a recording that has failed."""

        def resumed(_: None) -> bool:
            recording.resumed()
            return recording.failure is None

        return self._job(lambda: recording.writer.resume(self.directory, offset)).addCallback(resumed)

    def settle(self) -> Deferred[None]:
        """Fires (None) when the writer thread has done all that was queued by now."""
        return self._job(lambda: None)

    def read(self, work: Callable[[], T]) -> Deferred[T]:
        """Do blocking work in a reader thread."""
        done: Deferred[T] = Deferred()
        if self._closed:
            done.errback(self._closed_error())
            return done

        def tell(future: Future[T]) -> None:
            error = future.exception()
            if error is None:
                self.post(lambda: done.callback(future.result()))
            else:
                self.post(lambda: done.errback(error))

        self._readers.submit(work).add_done_callback(tell)
        return done

    def settled(self, size: int) -> None:
        """``size`` bytes wait no more. Whoever paused is told once half of the limit is free again."""
        self.queued -= size
        if self.backlogged and self.queued <= self.queue_limit // 2:
            self.backlogged = False
            for recordings in self._recordings.values():
                for recording in recordings:
                    if not recording.ended and recording.on_change is not None:
                        self.post(recording.on_change)

    def post(self, call: Callable[[], object]) -> None:
        """Have ``call`` called in the reactor's thread. From any thread."""
        self._announcer.post(call)

    # Inside.

    def _closed_error(self) -> StorageError:
        return StorageError(f"The store in {self.directory} is closed.")

    def _job(self, work: Callable[[], T]) -> Deferred[T]:
        """Do ``work`` in the writer thread, after all that was queued before. OSErrors become StorageErrors."""
        done: Deferred[T] = Deferred()
        if self._closed:
            done.errback(self._closed_error())
            return done

        def tell(result: object) -> None:
            if isinstance(result, Failure) and isinstance(result.value, OSError):
                result = Failure(disk_error("work on", self.directory, result.value))
            self.post(lambda: done.callback(cast(T, result)))

        self._writer.put(Job(work, tell))
        return done

    def _epoch_writer(self, directory: Path, description: Description, tail: Tail) -> EpochWriter:
        return EpochWriter(
            self.files,
            directory,
            description,
            tail,
            rolling=self._rolling,
            durably=self._durably,
            now=self._now,
            tally=self._tally,
        )

    def _keep(self, writer: EpochWriter) -> Recording:
        recording = Recording(self, writer)
        self._recordings.setdefault(recording.name, []).append(recording)
        return recording

    def _recover(self, known: set[tuple[str, str]]) -> list[EpochWriter]:
        """In the writer thread: look at every epoch, but for those that are in use already."""
        found = []
        for name, epoch, directory in find_epochs(self.files, self.directory):
            if (name, epoch) in known:
                continue
            try:
                description = read_description(self.files, directory)
                if description is None:
                    continue
                tail = examine(self.files, directory, description.content_type, trust=not self._durably)
                found.append(self._epoch_writer(directory, description._replace(name=name, epoch=epoch), tail))
            except NewerFormatError:
                raise
            except (OSError, StorageError) as error:
                self._tally.failed()
                text = str(disk_error("read", directory, error) if isinstance(error, OSError) else error)
                self.post(partial(_log.error, "An epoch is left out: {text}", text=text))
        self._writer.syncer.adopt(found)
        return sorted(found, key=lambda writer: (writer.description.name, writer.description.created))

    def _recovered(self, found: list[EpochWriter]) -> list[Recording]:
        self._created = max([self._created, *(writer.description.created for writer in found)])
        return [self._keep(writer) for writer in found]

    # Retention.

    def _look_later(self, _: object = None) -> None:
        if self._clock is None:
            raise ValueError("limits need a clock")
        if not self._closed:
            self._looking = self._clock.callLater(INTERVAL, self._look)

    def _look(self) -> None:
        """Hold what there is against the limits, in the writer thread."""
        self._looking = None
        streams = {name: list(recordings) for name, recordings in self._recordings.items()}
        self._job(lambda: self._trim(streams)).addCallback(self._trimmed).addErrback(_log_failure).addBoth(
            self._look_later
        )

    def _trim(self, streams: dict[str, list[Recording]]) -> list[Recording]:
        """In the writer thread: take what is too much. Return the recordings of which nothing is left."""
        pieces = {name: _pieces(recordings) for name, recordings in streams.items()}
        whole: list[Recording] = []
        going: dict[Recording, list[Taken]] = {}
        free = self.files.free_bytes(self.directory) if self._limits.free is not None else 0
        for taken in choose(pieces, self._limits, self._now(), free):
            going.setdefault(cast(Recording, taken.piece.epoch), []).append(taken)
        for recording, all_taken in going.items():
            try:
                if len(all_taken) < len(recording.writer.pieces):
                    recording.writer.trim(len(all_taken), recording.moved)
                else:
                    self._remove_epoch(recording)
                    whole.append(recording)
                for taken in all_taken:
                    self.trimmed[taken.reason] += taken.piece.size
            except (OSError, StorageError) as error:
                text = str(
                    disk_error("trim", recording.writer.directory, error) if isinstance(error, OSError) else error
                )
                self.post(partial(_log.error, "{name} cannot be trimmed: {text}", name=recording.name, text=text))
        return whole

    def _remove_epoch(self, recording: Recording) -> None:
        writer = recording.writer
        writer.discard(GoneError(f"This epoch of {recording.name} is not kept any longer."))
        self._writer.forget(writer)
        recording.moved()
        remove_epoch(self.files, self.directory, writer.directory, sync=self._durably)

    def _trimmed(self, whole: list[Recording]) -> None:
        for recording in whole:
            kept = self._recordings.get(recording.name, [])
            if recording in kept:
                kept.remove(recording)
            if not kept:
                self._recordings.pop(recording.name, None)

    def _shut(self) -> None:
        """In the writer thread, last of all."""
        self._writer.end()
        recordings = [recording for known in list(self._recordings.values()) for recording in known]
        self._writer.syncer.close([recording.writer for recording in recordings if recording.writer.unsynced])
        for recording in recordings:
            recording.moved()
            recording.writer.close()
        self._readers.shutdown(wait=True)
        with suppress(OSError):
            self.files.close(self._lock)

    def _shut_down(self, _: Any) -> None:
        self._writer.join()
        waiting, self._closing = self._closing or [], []
        for done in waiting:
            done.callback(None)


def _rolling(size: int, limits: Limits) -> Rolling:
    """How long a segment may get, so that the limits can be kept by taking whole ones."""
    if limits.size is not None:
        size = min(size, limits.size // SHARE)
    return Rolling(max(size, 1), None if limits.age is None else limits.age // SHARE)


def _pieces(recordings: Sequence[Recording]) -> list[Piece]:
    """A name's segments, the oldest first. One that is written to may not go; nor, as long as it is the name's newest,
    what a failing disk has stopped; nor what is needed. What has filled a hole is no younger than what follows it."""
    pieces: list[Piece] = []
    for recording in recordings:
        writer = recording.writer
        found = writer.pieces
        over = writer.ended or (writer.failure is not None and recording is not recordings[-1])
        stops = [*(closed.segment.place.first for closed in found[1:]), writer.written]
        complete_ones = accumulate((closed.at for closed in reversed(found[:-1])), min)
        ages = [*list(complete_ones)[::-1], found[-1].at]
        for closed, stop, at in zip(found, stops, ages, strict=True):
            needed = recording.keep_from is not None and stop > recording.keep_from
            complete = not closed.filling and not needed and (over or closed is not found[-1])
            size = min(stop, closed.segment.end) - closed.segment.place.first
            pieces.append(Piece(recording, size, at, complete))
    return pieces


def _log_failure(failure: Failure) -> None:
    _log.failure("The store's own work failed", failure)
