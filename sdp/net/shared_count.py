"""The connections of several processes, counted together: the limits are of the whole, not of a process.

A file in memory that all of them map has a row for each process: how many connections it has, and how many of them in
each of 65,536 groups of addresses. Each writes its own row alone, so nothing is locked, and a row whose process died
is cleared by the one that takes its place.
"""

from __future__ import annotations

import mmap
from hashlib import blake2s
from pathlib import Path

from sdp.net.limits import ConnectionCount, ServerLimits

__all__ = ["SharedCount", "create_table"]

GROUPS = 1 << 16
"""Into how many groups addresses fall. By a hash with a key that nobody outside knows, so that no client can choose to
share another's group; that two do by chance, and together pass one's limit, is as rare as it is harmless."""

_ROW = GROUPS + 1
_WIDTH = 4


def create_table(path: Path, processes: int) -> None:
    """Make the file, all zero."""
    with path.open("xb") as file:
        file.truncate(processes * _ROW * _WIDTH)


class SharedCount(ConnectionCount):
    """As :class:`ConnectionCount`, with limits that hold over ``processes`` processes, of which this is ``index``.

    ``total``, ``accepted`` and ``refused`` are this process's own.
    """

    def __init__(self, limits: ServerLimits, path: Path, index: int, processes: int, key: bytes) -> None:
        super().__init__(limits)
        with path.open("r+b") as file:
            table = memoryview(mmap.mmap(file.fileno(), processes * _ROW * _WIDTH)).cast("I")
        self._rows = [table[each * _ROW : (each + 1) * _ROW] for each in range(processes)]
        self._own = self._rows[index]
        self._own[:] = memoryview(bytes(_ROW * _WIDTH)).cast("I")
        self._key = key

    def _group(self, address: str) -> int:
        digest = blake2s(address.encode(), key=self._key, digest_size=2).digest()
        return 1 + int.from_bytes(digest, "big")

    def enter(self, address: str, *, exempt: bool) -> bool:
        group = self._group(address)
        self.total += 1
        self._own[0] += 1
        self._own[group] += 1
        allowed = sum(row[0] for row in self._rows) <= self._limits.connections and (
            exempt or sum(row[group] for row in self._rows) <= self._limits.connections_per_address
        )
        if allowed:
            self.accepted += 1
        else:
            self.refused += 1
        return allowed

    def leave(self, address: str) -> None:
        self.total -= 1
        self._own[0] -= 1
        self._own[self._group(address)] -= 1
