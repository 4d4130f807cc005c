"""What the store's tests put around it: a reactor without an event loop, and disks that fail, die and forget."""

from __future__ import annotations

import errno
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue
from threading import Lock
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sdp.store import Files, FileStore, Recording
from sdp.store.files import Buffer

T = TypeVar("T")

PATIENCE = 30.0
"""Seconds after which a test gives up waiting for the store's threads: no test passes because of it."""


class PumpedReactor:
    """callFromThread, for a test that runs the calls itself while it waits for something."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], object]] = SimpleQueue()

    def callFromThread(self, call: Callable[..., Any], *args: object, **kwargs: object) -> None:
        self._calls.put(lambda: call(*args, **kwargs))

    def until(self, holds: Callable[[], object]) -> None:
        """Run calls until something holds; raises queue.Empty where the threads have nothing more to tell."""
        while not holds():
            self._calls.get(timeout=PATIENCE)()

    def wait(self, deferred: Deferred[T]) -> T:
        """Run calls until a Deferred has fired, and return its result, or raise."""
        results: list[Any] = []
        deferred.addBoth(results.append)
        self.until(lambda: results)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        result: T = results[0]
        return result


class FaultyFiles(Files):
    """A disk that fails: at call ``fail_at`` (from 1, of those that change something), or past ``room`` bytes.

    ``for_good`` makes every later call fail as well; with ``kill()`` they do from now on, which to the files is what
    kill -9 is. A write that fails has taken half of its bytes. ``only`` counts just the calls of that name.
    """

    def __init__(
        self,
        fail_at: int = 0,
        error: int = errno.EIO,
        *,
        for_good: bool = False,
        room: int | None = None,
        only: str | None = None,
        mark: int = 1,
    ) -> None:
        self.calls = 0
        self.failed = False
        self._fail_at = fail_at
        self._error = error
        self._for_good = for_good
        self._only = only
        self._mark = mark
        self._lock = Lock()
        self.room = room

    def arm(self, fail_at: int) -> None:
        """Count anew from here."""
        with self._lock:
            self.calls, self._fail_at = 0, fail_at

    def kill(self) -> None:
        """Let nothing reach the files any more."""
        with self._lock:
            self.failed = self._for_good = True

    def boot_mark(self) -> int:
        return self._mark

    def _step(self, call: str) -> None:
        """Count a call, and fail where it has to. With the lock held."""
        if self._only in (None, call):
            self.calls += 1
            if self.calls == self._fail_at or (self.failed and self._for_good):
                self.failed = True
                raise OSError(self._error, "injected")

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        with self._lock:
            if write:
                self._step("open")
            return super().open(path, write=write, create=create)

    def pwritev(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        with self._lock:
            joined = b"".join(buffers)
            dead = self.failed and self._for_good
            try:
                self._step("pwritev")
            except OSError:
                if not dead and len(joined) > 1:
                    self._write(descriptor, joined[: len(joined) // 2], offset)
                raise
            if self.room is not None:
                if self.room == 0:
                    self.failed = True
                    raise OSError(errno.ENOSPC, "No space left on device")
                joined = joined[: self.room]
                self.room -= len(joined)
            return self._write(descriptor, joined, offset)

    def _write(self, descriptor: int, data: bytes, offset: int) -> int:
        return super().pwritev(descriptor, [data], offset)

    def truncate(self, descriptor: int, length: int) -> None:
        with self._lock:
            self._step("truncate")
            super().truncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        with self._lock:
            self._step("sync")
            super().sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        with self._lock:
            self._step("sync_directory")
            super().sync_directory(path)

    def make_directory(self, path: Path) -> None:
        with self._lock:
            self._step("make_directory")
            super().make_directory(path)

    def remove_directory(self, path: Path) -> None:
        with self._lock:
            self._step("remove_directory")
            super().remove_directory(path)

    def rename(self, old: Path, new: Path) -> None:
        with self._lock:
            self._step("rename")
            super().rename(old, new)

    def unlink(self, path: Path) -> None:
        with self._lock:
            self._step("unlink")
            super().unlink(path)


class ForgetfulFiles(Files):
    """A machine whose power can go: it knows what was synced, and how to leave the rest half-written.

    Power goes before its ``calls_left``-th call, or when ``lose_power`` rewrites the directory as its going leaves it.
    """

    SECTOR = 64  # as small as an index entry, so that short tests have many

    def __init__(self, calls_left: int = 10**9) -> None:
        self._mark = 1
        self._calls_left = calls_left
        self._lock = Lock()
        self._paths: dict[int, Path] = {}
        self._synced: dict[Path, bytes] = {}
        self._off = False

    def boot_mark(self) -> int:
        return self._mark

    def _alive(self) -> None:
        self._calls_left -= 1
        if self._off or self._calls_left <= 0:
            raise OSError(errno.EIO, "power is off")

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        with self._lock:
            self._alive()
            descriptor = super().open(path, write=write, create=create)
            self._paths[descriptor] = path
            return descriptor

    def pwritev(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        with self._lock:
            self._alive()
            return super().pwritev(descriptor, buffers, offset)

    def truncate(self, descriptor: int, length: int) -> None:
        with self._lock:
            self._alive()
            super().truncate(descriptor, length)

    def rename(self, old: Path, new: Path) -> None:
        with self._lock:
            self._alive()
            super().rename(old, new)
            if old in self._synced:
                self._synced[new] = self._synced.pop(old)

    def sync(self, descriptor: int) -> None:
        with self._lock:
            self._alive()
            self._synced[self._paths[descriptor]] = self._paths[descriptor].read_bytes()

    def lose_power(self, root: Path, chance: random.Random) -> ForgetfulFiles:
        """Cut the power; return the machine after it was switched on again."""
        with self._lock:
            self._off = True
        after = ForgetfulFiles()
        after._mark = self._mark + 1
        for path in sorted(p for p in root.rglob("*") if p.is_file() and not p.name.startswith(("@", "epoch"))):
            old, new = self._synced.get(path, b""), path.read_bytes()
            length = chance.randint(min(len(old), len(new)), max(len(old), len(new)))
            left = bytearray(length)
            for at in range(0, length, self.SECTOR):
                source = new if chance.random() < 0.5 else old
                sector = source[at : min(at + self.SECTOR, length)]
                left[at : at + len(sector)] = sector
            path.write_bytes(left)
            after._synced[path] = bytes(left)
        return after


@contextmanager
def opened(
    directory: Path, files: Files | None = None, sync_interval: float | None = 0, **options: Any
) -> Iterator[tuple[FileStore, PumpedReactor]]:
    """A store for the time of a ``with``; its threads end with it, whatever the disk does."""
    reactor = PumpedReactor()
    store = FileStore(directory, reactor, sync_interval=sync_interval, gather=0, files=files, **options)  # type: ignore[arg-type]
    try:
        yield store, reactor
    finally:
        reactor.wait(store.close())


def content(reactor: PumpedReactor, recording: Recording) -> bytes:
    """All that a recording holds, read in pieces as a consumer would."""
    parts = []
    offset = recording.start
    while part := reactor.wait(recording.read(offset, 1 << 30)):
        parts.append(part)
        offset += len(part)
    return b"".join(parts)


def runs_of(reactor: PumpedReactor, recording: Recording) -> list[tuple[int, int, bytes]]:
    """All that a recording holds, as (first offset, offset after the last, bytes) between its holes."""
    runs = []
    edges = [recording.start, *(edge for hole in recording.holes for edge in hole), recording.written]
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        data = b""
        while start + len(data) < end:
            part = reactor.wait(recording.read(start + len(data), end - start - len(data)))
            assert part, (start, end, recording)
            data += part
        if data:
            runs.append((start, end, data))
    return runs


def settled(recording: Recording) -> Callable[[], bool]:
    """Whether all that was appended is written, or the recording has failed."""
    return lambda: recording.written == recording.end
