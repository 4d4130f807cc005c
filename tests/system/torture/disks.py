"""A disk that is full when it is told to be: without privileges by a limit on the size of files, for root a tmpfs."""

from __future__ import annotations

import os
import resource
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["Disk", "Tmpfs"]

ROOM = 256 << 20
"""How large a tmpfs is, in bytes: a run of some hundred faults writes less."""


class Disk:
    """The directory that a node writes to, on whatever file system that is."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @contextmanager
    def full(self, pid: int, amount: int) -> Iterator[None]:
        """No file of the process may get longer than the longest that it writes to now and ``amount`` bytes.

        By RLIMIT_FSIZE, which an own process may be given and freed of again without privileges: a write that reaches
        the limit is cut short there, and the next one fails (EFBIG), as on a disk that is full.
        """
        limit = max([0, *(file.stat().st_size for file in self._written())]) + amount
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            with suppress(ProcessLookupError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def _written(self) -> list[Path]:
        """The file of data that was written to last."""
        files = [
            each for each in self.directory.rglob("*") if each.is_file() and each.suffix not in (".index", ".json")
        ]
        return sorted(files, key=lambda file: file.stat().st_mtime)[-1:]

    def close(self) -> None:
        """Nothing is left of it."""


class Tmpfs(Disk):
    """A file system of its own, which is filled up to the last byte (ENOSPC). Raises OSError where none can be had."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        if os.geteuid():
            raise PermissionError("only root may mount a file system")
        words = ["mount", "-t", "tmpfs", "-o", f"size={ROOM},mode=700", "sdp-torture", str(directory)]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.returncode:
            raise OSError(f"no tmpfs can be mounted: {done.stderr.strip()}")

    @contextmanager
    def full(self, pid: int, amount: int) -> Iterator[None]:
        """There is room for ``amount`` bytes more, rounded up to a page."""
        ballast = self.directory / "ballast"
        with ballast.open("wb") as file:
            self._fill(file.fileno(), amount)
        try:
            yield
        finally:
            ballast.unlink()

    def _fill(self, descriptor: int, amount: int) -> None:
        """Leave ``amount`` bytes, or fewer: others write at the same time."""
        for _ in range(100):
            there = os.statvfs(self.directory)
            with suppress(OSError):
                os.posix_fallocate(descriptor, 0, max(1, there.f_bavail * there.f_frsize - amount))
                return

    def close(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.directory)], capture_output=True, check=False)
