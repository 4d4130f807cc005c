"""What the framers of MP4 and Matroska share: both formats are made of elements that say their size ahead.

Headers are read where they stand; what they announce is counted through without being kept. Only the few elements
whose content matters (a moov, a moof, a Tracks) are waited for, each within its limit.
"""

from __future__ import annotations

from sdp.container.framing import Framing
from sdp.stream.record import Flag, Record

__all__ = ["TO_THE_END", "ElementFramer"]

TO_THE_END = 1 << 62
"""Bytes still to come of an element without a size."""


class ElementFramer(Framing):
    """Walks through elements by :meth:`_step`, which a format defines."""

    def __init__(self, start: int = 0) -> None:
        super().__init__(start)
        self._at = start
        """Where the next thing to read begins."""
        self._skip = 0
        """Bytes that are still to be counted through before it."""
        self._held = bytearray()
        self._need = 0
        """Bytes of it that must be there before reading it makes sense."""
        self._claimed = False
        """Whether what is held belongs to a record that was returned already."""
        self._pending: int | None = None
        """Where a record begins whose flags are not known yet."""
        self._pending_time: int | None = None

    def _step(self, data: bytes, position: int, base: int, records: list[Record]) -> int | None:
        """Read what begins at ``position`` of ``data``, whose first byte has the offset ``base``.

        Return the position where the next thing begins (maybe beyond the data), or None where bytes are missing,
        with ``_need`` set.
        """
        raise NotImplementedError

    def _take(self, data: bytes) -> list[Record]:
        size = len(data)
        if self._skip >= size:
            self._skip -= size
            self._at = self.end
            self.known = self.end if self._pending is None else self._pending
            return []
        held = self._held
        if held:
            held += data
            if len(held) < self._need:
                self._account()
                return []
            data = bytes(held)
            held.clear()
        position, size = self._skip, len(data)
        base = self.end - size
        self._skip = 0
        records: list[Record] = []
        while position < size:
            following = self._step(data, position, base, records)
            if following is None:
                break
            position = following
        if position >= size:
            self._skip = position - size
            self._at = self.end
        else:
            self._at = base + position
            held += memoryview(data)[position:]
        self._account()
        return records

    def _account(self) -> None:
        if self._pending is not None:
            self.known = self._pending
        elif self._held and not self._claimed:
            self.known = self._at
        else:
            self.known = self.end

    def _release(self) -> None:
        """What is held continues the record before it, after all."""
        self._held.clear()
        self._at = self.known = self.end

    def _settle(self) -> list[Record]:
        records: list[Record] = []
        self._decide(records)
        return records

    def _decide(self, records: list[Record], flags: Flag = Flag.NONE) -> None:
        """The pending record's flags are known: return it with the others."""
        if self._pending is None:
            return
        records.append(self._record(self._pending, flags, self._pending_time))
        self._pending = self._pending_time = None
