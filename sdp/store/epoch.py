"""One epoch's files as the writer thread has them: queued bytes go in here, and are on the disk after it.

What is live goes to one run (:mod:`sdp.store.run`), what fills a hole to another one: each is written at its own end,
and what lies between two of them is a hole.

Syncs run in a thread of their own beside the writing: an :class:`EpochWriter` is a monitor, and gives its lock up only
while the system makes bytes durable. What holds at the end of each step is laid down in ``progress``, which any thread
may look at.

When a write fails, the recording stops: where a record begins, so that the file ends with a whole one, but never below
what was told to be durable. Once :meth:`EpochWriter.resume` finds that the disk can be written to again, it goes on in
another segment. Everything here blocks, and nothing here raises for the disk's sake: see :attr:`EpochWriter.failure`.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from sdp.errors import StorageError
from sdp.store.appending import AppendedFile
from sdp.store.faults import disk_error
from sdp.store.files import Buffer, Files
from sdp.store.index import Kind
from sdp.store.layout import DESCRIPTION, NEW, Description, Initialization
from sdp.store.recovery import Found, Tail
from sdp.store.removal import empty_directory
from sdp.store.run import Closed, Ground, Monitor, Rolling, RunWriter
from sdp.store.segment import SegmentWriter
from sdp.store.segments import GoneError, Held, Segment
from sdp.store.tally import Tally
from sdp.store.trimming import keep_initialization, remove_segments
from sdp.stream.record import Record

__all__ = ["EpochWriter", "Progress"]


class Progress(NamedTuple):
    """What readers may rely on: goes from the writer's threads to the reactor's as one value.

    ``durable`` is that of the live run; ``unsettled`` is where in a hole bytes begin that are not (None: nowhere).
    ``taken`` counts the bytes that came, whatever became of them.
    """

    held: Held
    durable: int
    unsettled: int | None
    failure: StorageError | None
    ended: bool
    taken: int


class EpochWriter:
    """Where an epoch goes on. Offsets are absolute. ``sync`` may be called from any thread, all else from the writer's.

    ``now`` gives microseconds since the Unix epoch. ``durably`` is False in a store that never syncs while it runs.
    """

    def __init__(
        self,
        files: Files,
        directory: Path,
        description: Description,
        tail: Tail,
        *,
        rolling: Rolling,
        durably: bool,
        now: Callable[[], int],
        tally: Tally,
    ) -> None:
        self.description = description
        self.directory = directory
        self.ended = tail.ended
        self.failure: StorageError | None = None
        self._files = files
        self._tail = tail
        self._monitor = Monitor()
        self._ground = Ground(
            files, directory, description.content_type, files.boot_mark(), rolling, durably, now, tally
        )
        self._tally = tally
        began = now()
        self._closed = [
            Closed(Segment(found.place, found.entries, found.end), found.closed or began) for found in tail.found[:-1]
        ]
        self._loose: list[Segment] = []
        """What was closed and never synced."""
        self._initialization: Initialization | None = tail.initialization
        self._live = self._run_of(tail.found[-1]) if tail.found else self._first_run(description)
        self._filling: RunWriter | None = None
        self._limit = 0
        self._touched = began if tail.closed is None else tail.closed
        self._explicit = tail.explicit
        self._made = bool(tail.found)
        self._taken = 0
        self.progress = self._progress()

    def __repr__(self) -> str:
        return f"<EpochWriter {self.description.name} @{self.description.epoch} {self.written}>"

    def _run_of(self, found: Found) -> RunWriter:
        """The run that ends with a segment that was found."""
        ground = self._ground
        segment = SegmentWriter(
            ground.files,
            found.place,
            ground.boot,
            entries=found.entries,
            links=found.links,
            last=found.last,
            follows=found.follows,
        )
        began = self._closed[-1].at if self._closed else self.description.created
        durable = found.end if found.ended else 0
        return RunWriter(
            ground, self._monitor, segment, written=found.end, durable=durable, began=began, keep=self._keep
        )

    def _first_run(self, description: Description) -> RunWriter:
        segment = SegmentWriter(self._ground.files, self._ground.place(0), self._ground.boot)
        began = description.created
        return RunWriter(self._ground, self._monitor, segment, written=0, durable=0, began=began, keep=self._keep)

    @property
    def written(self) -> int:
        """The offset up to which the live run is written."""
        return self._live.written

    @property
    def durable(self) -> int:
        """The offset up to which what was written live is durable."""
        return self._live.durable

    @property
    def unsynced(self) -> bool:
        """Whether a sync has something to do."""
        return self.failure is None and any(run.durable < run.written for run in self._going)

    @property
    def explicit(self) -> bool:
        """Whether only what was said to be a random access point is one."""
        return self._explicit

    @property
    def is_open(self) -> bool:
        """Whether it holds descriptors."""
        return any(run.segment.is_open for run in (self._live, self._filling) if run is not None)

    @property
    def _going(self) -> list[RunWriter]:
        """The runs that may have something to sync."""
        return [*([] if self.ended else [self._live]), *([] if self._filling is None else [self._filling])]

    @property
    def pieces(self) -> list[Closed]:
        """All segments in order; the last one is the live run's."""
        with_filling = list(self._closed)
        if self._filling is not None:
            insort(with_filling, Closed(self._filling.picture, self._ground.now(), filling=True), key=_first)
        return [*with_filling, Closed(self._live.picture, self._touched)]

    def _progress(self) -> Progress:
        held = Held(tuple(piece.segment for piece in self.pieces), self.written, self._initialization)
        filling = self._filling
        unsettled = None if filling is None or filling.durable >= filling.written else filling.durable
        return Progress(held, self.durable, unsettled, self.failure, self.ended, self._taken)

    def _keep(self, closed: Closed) -> None:
        """A segment is complete: another one follows, or a hole."""
        insort(self._closed, closed, key=_first)
        if not self._ground.durably:
            self._loose.append(closed.segment)

    # The beginning: from nothing, or from what was found.

    def create(self, root: Path) -> None:
        """Make the epoch's directory below ``root``, its description and its first segment."""
        with self._monitor:
            made = False
            try:
                self._make_directories(root, new=True)
                made = True
                self._describe()
                self._live.open()
                if self._ground.durably:
                    self._files.sync_directory(self.directory)
                self._made = True
            except OSError as error:
                self._fail("create", self.directory, error)
                self._live.close()
                if made:
                    with suppress(OSError):
                        empty_directory(self._files, self.directory)
            self.progress = self._progress()

    def adopt(self) -> None:
        """Cut off what does not hold, and see to it that what does would survive the next power loss."""
        durably = self._ground.durably
        with self._monitor:
            try:
                for path in self._tail.leftovers:
                    with suppress(OSError):
                        self._files.unlink(path)
                if not self._tail.found:
                    return
                for number, found in enumerate(self._tail.found[:-1]):
                    if not found.clean:
                        self._adopt_earlier(number, found)
                if not self.ended:
                    self._live.open()
                    if durably:
                        self._live.sync(None if self._tail.clean else Kind.CHECKPOINT)
                elif durably:
                    self._live.segment.open_to_sync()
                    self._live.sync(None)
            except OSError as error:
                self._fail("recover", self.directory, error)
            finally:
                self._live.close()
                self.progress = self._progress()

    def _adopt_earlier(self, number: int, found: Found) -> None:
        """A segment before a hole that something has stopped in the midst."""
        run = self._run_of(found)
        try:
            run.open()
            if self._ground.durably:
                run.sync(Kind.CHECKPOINT)
        finally:
            run.close()
        self._closed[number] = self._closed[number]._replace(segment=run.picture)

    def _make_directories(self, root: Path, *, new: bool) -> None:
        """Make the directories from ``root`` down to the epoch's own, which must be a ``new`` one."""
        parent = root
        for part in self.directory.relative_to(root).parts:
            path = parent / part
            try:
                self._files.make_directory(path)
            except FileExistsError:
                if new and path == self.directory:
                    raise
            else:
                if self._ground.durably:
                    self._files.sync_directory(parent)
            parent = path

    def _describe(self) -> None:
        """Write the description under another name first: it is there whole, or not at all."""
        new = AppendedFile(self._files, self.directory / f"{DESCRIPTION}{NEW}")
        try:
            new.open(0)
            new.append([self.description.dump()])
            if self._ground.durably:
                new.sync()
        finally:
            new.close()
        self._files.rename(new.path, self.directory / DESCRIPTION)

    # Going on.

    def write(self, offset: int, buffers: Sequence[Buffer], records: Sequence[Record], taken: bytes = b"") -> None:
        """Put bytes where they belong: at the live run's end, past it (which leaves a hole), or at the front of a hole.

        ``records`` are those that are known by now; one that has no byte yet waits for it. ``taken`` are bytes before a
        hole that belong to a record which is known only now.
        """
        with self._monitor:
            if self.failure is None:
                try:
                    if offset >= self.written:
                        self._write_live(offset, buffers, records)
                    else:
                        self._fill(offset, buffers, records, taken)
                except OSError as error:
                    self._stop("write to", error, syncable=True)
            self.progress = self._progress()

    def took(self, size: int) -> None:
        """All of a batch of ``size`` bytes was written, or never will be."""
        with self._monitor:
            self._taken += size
            self.progress = self._progress()

    def _write_live(self, offset: int, buffers: Sequence[Buffer], records: Sequence[Record]) -> None:
        if self.ended:
            return
        if offset > self.written:
            self._skip(offset)
        self._live.write(buffers, records, explicit=self._explicit)

    def _skip(self, offset: int) -> None:
        """Leave a hole: the live run goes on at ``offset`` in a segment of its own."""
        before = self._live
        closed = before.seal(durably=self._ground.durably)
        live = RunWriter.begin(
            self._ground,
            self._monitor,
            offset,
            durable=offset if self._ground.durably else before.durable,
            explicit=self._explicit,
            keep=self._keep,
        )
        self._live = live
        if closed.segment.end > closed.segment.place.first:
            self._keep(closed)
        else:  # nothing of it was ever written: its files say nothing
            self._unlink(closed.segment)

    def _unlink(self, segment: Segment) -> None:
        for path in (segment.place.index_file, segment.place.data_file):
            with suppress(OSError):
                self._files.unlink(path)

    def _fill(self, offset: int, buffers: Sequence[Buffer], records: Sequence[Record], taken: bytes) -> None:
        """Fill a hole from its front. Bytes that find none, since retention has taken its surroundings, are dropped."""
        run = self._filling
        if run is None or run.written != offset:
            self._end_filling()
            held = self._progress().held
            hole = next((gap for gap in held.gaps if gap[0] == offset), None)
            if hole is None:
                return
            keep, explicit = self._keep, self._explicit
            run = RunWriter.begin(
                self._ground, self._monitor, offset, taken, durable=offset, explicit=explicit, keep=keep
            )
            self._filling, self._limit = run, hole[1]
        run.write(buffers, records, explicit=self._explicit)
        if run.written >= self._limit:
            self._end_filling()

    def _end_filling(self) -> None:
        """What was filled is complete, or another hole's turn has come."""
        run = self._filling
        if run is not None:
            closed = run.seal(durably=True)
            self._filling = None
            self._keep(closed)

    def sync(self) -> None:
        """Make what is written durable, and say so in the index. While another thread does, nothing."""
        with self._monitor:
            if self.unsynced and not self._monitor.syncing:
                try:
                    self._sync_loose()
                    for run in self._going:
                        if run.durable < run.written:
                            run.open()
                            run.sync(Kind.CHECKPOINT)
                except OSError as error:
                    self._stop("sync", error, syncable=False)
                self.progress = self._progress()

    def _sync_loose(self) -> None:
        """In a store that never syncs: what was closed becomes durable only now, that something is to be."""
        loose, self._loose = self._loose, []
        for segment in loose:
            if segment.place not in (closed.segment.place for closed in self._closed):
                continue  # retention has taken it
            run = SegmentWriter(self._files, segment.place, self._ground.boot)
            try:
                run.open_to_sync()
                run.sync_data()
                run.sync_index()
            finally:
                run.close()

    def finish(self) -> None:
        """Complete the epoch at its end, durably, or have a ``failure``."""
        with self._monitor:
            self._monitor.settle()
            if self.failure is None and not self.ended:
                try:
                    self._end_filling()
                    self._sync_loose()
                    self._live.open()
                    self._live.sync(Kind.END)
                    self.ended = True
                    self._touched = self._ground.now()
                except OSError as error:
                    self._stop("finish", error, syncable=False)
            self._close()
            self.progress = self._progress()

    def close(self) -> None:
        """Give the descriptors back; the next write opens the files again."""
        with self._monitor:
            self._close()

    def forget_implied(self) -> None:
        """What is a random access point by implication is none: the next write says so first. From any thread."""
        self._explicit = True

    def discard(self, failure: StorageError) -> None:
        """Take nothing more: the files are about to go."""
        with self._monitor:
            if self.failure is None or isinstance(failure, GoneError):
                self.failure = failure
            self._live.known.clear()
            self._close()
            self.progress = self._progress()

    def trim(self, count: int, told: Callable[[], None]) -> None:
        """Forget the first ``count`` segments. ``told`` is called when ``progress`` says so, before files go.

        Raises OSError and StorageError; what has gone by then stays gone.
        """
        with self._monitor:
            going = [closed.segment.place for closed in self._closed[:count]]
            if not going:
                return
            left = [piece.segment.place for piece in self.pieces if piece.segment.place not in going]
            before = self._initialization
            self._initialization = keep_initialization(
                self._files, self.directory, self.progress.held, left[0].first, sync=self._ground.durably
            )
            del self._closed[:count]
            self.progress = self._progress()
        told()
        stale = before if before != self._initialization else None
        remove_segments(self._files, self.directory, going, stale, sync=self._ground.durably)

    # After a failure.

    def resume(self, root: Path, offset: int) -> None:
        """Try whether the disk can be written to again: ``failure`` is None then, and the live run goes on at
        ``offset``, at its end or past it, in a new segment. Nothing where nothing has failed, or all was given up."""
        with self._monitor:
            if self.failure is None or isinstance(self.failure, GoneError):
                return
            try:
                self._find_again(root)
                self._begin_again(offset)
                self.failure = None
                self._tally.resumed += 1
            except OSError as error:
                self.failure = disk_error("go on in", self.directory, error)
            self.progress = self._progress()

    def _find_again(self, root: Path) -> None:
        """See what is left of the files, should somebody have taken them away; make what has to be there."""
        self._make_directories(root, new=False)
        names = {name for name, _ in self._files.entries(self.directory)}
        if DESCRIPTION not in names:
            self._describe()
        self._closed = [closed for closed in self._closed if closed.segment.place.index_file.name in names]
        if self._initialization is not None and self._initialization.file.name not in names:
            self._initialization = None
        if self._live.segment.place.index_file.name not in names:
            self._made = False

    def _begin_again(self, offset: int) -> None:
        before, durably = self._live, self._ground.durably
        offset = max(offset, before.written)
        closed = before.seal(durably=durably) if self._made and before.written > before.first else None
        live = RunWriter.begin(
            self._ground,
            self._monitor,
            offset,
            durable=offset if durably else before.durable,
            explicit=self._explicit,
            keep=self._keep,
        )
        if durably:
            self._files.sync_directory(self.directory)
        if closed is not None:
            self._keep(closed)
        elif before.first != offset:
            self._unlink(before.picture)
        self._live, self._made = live, True

    # What raises OSError. The lock is held.

    def _close(self) -> None:
        for run in (self._live, self._filling):
            if run is not None:
                run.close()

    def _fail(self, doing: str, path: Path, error: OSError) -> None:
        self.failure = disk_error(doing, path, error)
        self._tally.failed()

    def _stop(self, doing: str, error: OSError, *, syncable: bool) -> None:
        """Stop at the last record's beginning. ``syncable``: no sync has failed, so a later one can be believed."""
        self._monitor.settle()
        if self.failure is not None:
            return
        self._fail(doing, self._live.segment.place.data_file, error)
        if not self.ended:
            self._live.stop(syncable=syncable)
        self._close()
        run, self._filling = self._filling, None
        if run is not None:
            run.stop(syncable=syncable)
            # Nothing would tell any longer that the rest is not durable: it is missing again.
            run.written = min(run.written, run.durable)
            if run.written > run.first:
                self._keep(Closed(run.picture, self._ground.now()))


def _first(piece: Closed) -> int:
    return piece.segment.place.first
