"""Stamped records: the last bytes of each say its number and when it was sent, so that whoever finds them has it whole.

A stamp is MAGIC, the number (64 bits, big endian) and the time of the monotonic clock in nanoseconds (the same), which
on Linux is one clock for all processes. It stands at a record's end; what comes before never looks like one. So the
way in which a server frames records does not matter to whoever reads them.
"""

from __future__ import annotations

import struct
from array import array
from pathlib import Path

__all__ = ["MAGIC", "STAMP_SIZE", "Finder", "Samples", "record_body", "stamp"]

MAGIC = b"\xfe\xa7SDPSTAMP\x1c\xfd\x0b\x9f\xd4\xee"
_NUMBERS = struct.Struct(">QQ")
STAMP_SIZE = len(MAGIC) + _NUMBERS.size


def record_body(size: int) -> bytes:
    """The part of a record before its stamp: ASCII only, so that no byte of it begins a stamp."""
    if size < STAMP_SIZE:
        raise ValueError(f"a stamped record has {STAMP_SIZE} bytes at least")
    return (b"0123456789abcdef" * (size // 16 + 1))[: size - STAMP_SIZE]


def stamp(number: int, sent: int) -> bytes:
    """A record's last bytes."""
    return MAGIC + _NUMBERS.pack(number, sent)


class Finder:
    """Finds the stamps in one connection's bytes, over any cuts."""

    __slots__ = ("_rest", "last", "missed")

    def __init__(self) -> None:
        self._rest = b""
        self.last: int | None = None
        self.missed = 0
        """How many records lie between those that came."""

    def feed(self, data: bytes) -> list[int]:
        """Take what was received next, and return the times at which the records that are now whole were sent."""
        if self._rest:
            data = self._rest + data
        found = []
        at, end = data.find(MAGIC), len(data)
        after = 0
        while at >= 0 and at + STAMP_SIZE <= end:
            number, sent = _NUMBERS.unpack_from(data, at + len(MAGIC))
            if self.last is not None and number > self.last + 1:
                self.missed += number - self.last - 1
            self.last = number
            found.append(sent)
            after = at + STAMP_SIZE
            at = data.find(MAGIC, after)
        self._rest = data[max(after, end - STAMP_SIZE + 1) :]
        return found


class Samples:
    """When records were sent and when they were whole at a consumer: pairs of monotonic nanoseconds."""

    def __init__(self, pairs: array[int]) -> None:
        self.sent = pairs[0::2]
        self.received = pairs[1::2]

    @classmethod
    def read(cls, path: Path) -> Samples:
        """Read what a consumers' process has left: native 64-bit pairs."""
        pairs = array("Q")
        pairs.frombytes(path.read_bytes())
        return cls(pairs)

    def delays(self, start: int, end: int) -> list[float]:
        """Milliseconds from sending to having it whole, ascending, of the records sent in [start, end)."""
        return sorted(
            (received - sent) / 1e6
            for sent, received in zip(self.sent, self.received, strict=True)
            if start <= sent < end
        )
