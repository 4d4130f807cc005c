"""The operating system's files, as the store uses them: the one place where a write can fail.

Everything that the store does to a disk goes through a :class:`Files`, so that tests (and whoever wants to
prove what a full disk or a power loss does) can put a faulty one in its place. The methods raise OSError, as
the calls below them do; the store turns that into StorageError where it knows what it was doing.

Only what is called here is assumed of a file system: that fdatasync() makes a file's bytes and its length
durable, that fsync() of a directory makes its names durable, and that rename() is atomic.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

__all__ = ["Buffer", "Files"]

Buffer = bytes | bytearray | memoryview

_BOOT_IDENTIFIER = Path("/proc/sys/kernel/random/boot_id")
_data_sync = getattr(os, "fdatasync", os.fsync)


class Files:
    """Files and directories, by path and by descriptor. Offsets and lengths are in bytes."""

    def boot_mark(self) -> int:
        """A number from 1 to 2**64 - 1 that is another one after each start of the machine; 0 where none is known.

        While it stays the same, what was written is in the page cache at least, whatever became of the process.
        """
        try:
            identifier = _BOOT_IDENTIFIER.read_bytes().strip()
        except OSError:
            return 0
        return int.from_bytes(blake2b(identifier, digest_size=8).digest(), "little") or 1

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        """Open a file for reading, or for both; ``create`` makes it where it is missing."""
        flags = (os.O_RDWR if write else os.O_RDONLY) | (os.O_CREAT if create else 0)
        return os.open(path, flags | os.O_CLOEXEC, 0o644)

    def close(self, descriptor: int) -> None:
        """Give the descriptor back."""
        os.close(descriptor)

    def size(self, descriptor: int) -> int:
        """The file's length."""
        return os.fstat(descriptor).st_size

    def has_name(self, descriptor: int) -> bool:
        """Whether an open file can still be found under some name."""
        return os.fstat(descriptor).st_nlink > 0

    def pread(self, descriptor: int, length: int, offset: int) -> bytes:
        """Read at most ``length`` bytes; fewer only where the file ends, or the system says so."""
        return os.pread(descriptor, length, offset)

    def pwritev(self, descriptor: int, buffers: Sequence[Buffer], offset: int) -> int:
        """Write the buffers one after the other (at most IOV_MAX of them); return how many bytes were taken."""
        return os.pwritev(descriptor, buffers, offset)

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut the file at ``length``."""
        os.ftruncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        """Return once the file's bytes and length would survive a power loss."""
        _data_sync(descriptor)

    def sync_directory(self, path: Path) -> None:
        """Return once the names in a directory would survive a power loss."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def lock(self, descriptor: int) -> None:
        """Take the file for this process alone. Raises BlockingIOError where another has it."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def make_directory(self, path: Path) -> None:
        """Make one directory, in one that is there. Raises FileExistsError."""
        path.mkdir(mode=0o755)

    def remove_directory(self, path: Path) -> None:
        """Remove an empty directory."""
        path.rmdir()

    def rename(self, old: Path, new: Path) -> None:
        """Give a file or a directory another name, atomically."""
        old.replace(new)

    def unlink(self, path: Path) -> None:
        """Remove a file."""
        path.unlink()

    def entries(self, path: Path) -> list[tuple[str, bool]]:
        """What a directory holds, sorted: names, and whether each is a directory (a link to one is none)."""
        with os.scandir(path) as found:
            return sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in found)

    def free_bytes(self, path: Path) -> int:
        """What the file system that holds ``path`` has left for this user."""
        state = os.statvfs(path)
        return state.f_bavail * state.f_frsize
