"""A file that is appended to: the descriptor, and how far it was written, also when a write ends half-way."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from sdp.store.files import Buffer, Files

__all__ = ["AppendedFile"]

_BUFFERS_AT_ONCE = max(16, os.sysconf("SC_IOV_MAX"))
"""IOV_MAX: what one gathered write may take; 16 is what POSIX grants everywhere."""
_BYTES_AT_ONCE = 512 * 1024
"""For a longer write a system looks for larger runs of free memory; where that is in fragments, it takes many times as
long as several short ones."""


class AppendedFile:
    """A file written at its end only. ``size`` counts what the system took, in bytes; methods raise OSError."""

    def __init__(self, files: Files, path: Path) -> None:
        self._files = files
        self._descriptor = -1
        self.path = path
        self.size = 0

    @property
    def is_open(self) -> bool:
        """Whether it holds a descriptor."""
        return self._descriptor >= 0

    def open(self, keep: int) -> None:
        """Open the file, made where it is missing, and cut off what it has past ``keep`` bytes."""
        if self.is_open:
            return
        self._descriptor = self._files.open(self.path, write=True, create=True)
        self.size = self._files.size(self._descriptor)
        if self.size > keep:
            self.cut(keep)

    def open_to_sync(self) -> None:
        """Open a file that nothing is written to any more."""
        self._descriptor = self._files.open(self.path)

    def append(self, buffers: Sequence[Buffer]) -> None:
        """Write all buffers at the end, gathered. After an error ``size`` says how much of them is there."""
        for left in _runs(buffers):
            while left:
                taken = self._files.pwritev(self._descriptor, left, self.size)
                self.size += taken
                left = _after(left, taken)

    def read(self, offset: int, length: int) -> bytes:
        """Read back what was written."""
        parts = []
        while length > 0 and (part := self._files.pread(self._descriptor, length, offset)):
            parts.append(part)
            offset += len(part)
            length -= len(part)
        return b"".join(parts)

    def cut(self, size: int) -> None:
        """Forget what lies past ``size``: the next write goes there even where the system refuses to cut."""
        self.size = size
        self._files.truncate(self._descriptor, size)

    def sync(self) -> None:
        """Return once all that was written would survive a power loss; FileNotFoundError where the file was removed."""
        self._files.sync(self._descriptor)
        if not self._files.has_name(self._descriptor):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.path))

    def close(self) -> None:
        """Give the descriptor back, if there is one. Raises nothing: what had to be durable was synced."""
        if self.is_open:
            with suppress(OSError):
                self._files.close(self._descriptor)
            self._descriptor = -1


def _runs(buffers: Sequence[Buffer]) -> Iterator[Sequence[Buffer]]:
    """Cut a list of buffers into what one write each takes."""
    start = size = 0
    for number, buffer in enumerate(buffers):
        if number > start and (number - start == _BUFFERS_AT_ONCE or size + len(buffer) > _BYTES_AT_ONCE):
            yield buffers[start:number]
            start, size = number, 0
        size += len(buffer)
    yield buffers[start:]


def _after(buffers: Sequence[Buffer], taken: int) -> Sequence[Buffer]:
    """What is left of ``buffers`` after their first ``taken`` bytes."""
    for position, buffer in enumerate(buffers):
        size = len(buffer)
        if taken < size:
            return [memoryview(buffer)[taken:], *buffers[position + 1 :]]
        taken -= size
    return ()
