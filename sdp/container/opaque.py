"""The framer for bytes of no known format: what was posted together is a record."""

from __future__ import annotations

from typing import Final

from sdp.container.framing import Framing
from sdp.stream.record import Flag, Record

__all__ = ["RECORD_LIMIT", "OpaqueFramer"]

RECORD_LIMIT: Final = 64 << 20
"""Bytes after which a body goes on in a further record, so that the store can begin another segment within it. A body
with a known length is no longer than that by default (``--max-record``): only an open-ended one comes this far."""

_POINT: Final = Flag.RANDOM_ACCESS | Flag.IMPLIED


class OpaqueFramer(Framing):
    """Each POST's body is a record; a body longer than ``record_limit`` bytes goes on in records without flags.

    A record is a random access point where its sender said so, or by implication where nobody said anything.
    """

    def __init__(self, start: int = 0, record_limit: int = RECORD_LIMIT) -> None:
        super().__init__(start)
        self.record_limit = record_limit
        self._fresh = start == 0
        self._split = start + record_limit

    def boundary(self, offset: int, capture_time: int | None = None, random_access: bool | None = None) -> None:
        super().boundary(offset, capture_time, random_access)
        self._fresh = True

    def _take(self, data: bytes) -> list[Record]:
        records = []
        if self._fresh:
            self._fresh = False
            offset = self.end - len(data)
            records.append(self._record(offset, _POINT))
            self._split = offset + self.record_limit
        while self._split < self.end:
            records.append(self._record(self._split, Flag.NONE))
            self._split += self.record_limit
        self.known = self.end
        return records
