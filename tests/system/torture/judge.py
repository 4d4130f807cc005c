"""What is said at the end of a torture run: whether all copies of an epoch are the same bytes, and what was promised.

Pure: it is given what the nodes hold and what they have announced, and returns sentences. Offsets are absolute and
half-open.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256

import attrs

__all__ = ["STORE", "Copy", "Epoch", "Extent", "add", "covers", "missing", "subtract"]

STORE = "the Distributor's store"

Ranges = tuple[tuple[int, int], ...]
"""Ascending, apart from each other, none of them empty."""


def add(ranges: Ranges, start: int, end: int) -> Ranges:
    """The union with [start, end)."""
    if start >= end:
        return ranges
    apart = [each for each in ranges if each[1] < start or each[0] > end]
    joined = [each for each in ranges if not (each[1] < start or each[0] > end)]
    whole = (min([start, *(each[0] for each in joined)]), max([end, *(each[1] for each in joined)]))
    return tuple(sorted([*apart, whole]))


def subtract(ranges: Ranges, others: Ranges) -> Ranges:
    """What of ``ranges`` lies in none of ``others``."""
    left = list(ranges)
    for start, end in others:
        cut = []
        for first, last in left:
            cut += [(first, min(last, start)), (max(first, end), last)]
        left = [each for each in cut if each[0] < each[1]]
    return tuple(left)


def covers(ranges: Ranges, wanted: Ranges) -> bool:
    """Whether all of ``wanted`` lies in ``ranges``."""
    return not subtract(wanted, ranges)


def missing(ranges: Ranges, end: int) -> Ranges:
    """What of [0, end) is not in ``ranges``."""
    return subtract(whole_of(end), ranges)


def whole_of(end: int) -> Ranges:
    """[0, end)."""
    return ((0, end),) if end else ()


@attrs.frozen
class Extent:
    """Bytes that are held from an offset on."""

    offset: int
    data: bytes = attrs.field(repr=False)

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


@attrs.frozen
class Copy:
    """What one place holds of one epoch. ``complete``: it has said that this is all of it."""

    who: str
    extents: tuple[Extent, ...]
    complete: bool = False

    @property
    def ranges(self) -> Ranges:
        found: Ranges = ()
        for each in self.extents:
            found = add(found, each.offset, each.end)
        return found

    @property
    def end(self) -> int:
        return max((each.end for each in self.extents), default=0)

    def digest(self) -> str:
        """The SHA-256 of all that it holds."""
        return sha256(b"".join(each.data for each in self.extents)).hexdigest()


class Epoch:
    """All that is known of an epoch: each copy is held against the bytes that the ones before it had."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.copies: list[Copy] = []
        self.wrong: list[str] = []
        """Sentences: what is not as it was promised."""
        self.complete: int | None = None
        """How long the Distributor says that it is, where it has ended."""
        self._bytes = bytearray()
        self._known: Ranges = ()
        self._owners: list[tuple[Extent, str]] = []

    def hold(self, copy: Copy) -> None:
        """Compare a copy with those before it."""
        self.copies.append(copy)
        for extent in copy.extents:
            for start, end in self._known:
                self._compare(copy, extent, max(start, extent.offset), min(end, extent.end))
            if extent.end > len(self._bytes):
                self._bytes.extend(bytes(extent.end - len(self._bytes)))
            for start, end in subtract(((extent.offset, extent.end),), self._known):
                self._bytes[start:end] = extent.data[start - extent.offset : end - extent.offset]
            self._owners.append((extent, copy.who))
            self._known = add(self._known, extent.offset, extent.end)

    def _compare(self, copy: Copy, extent: Extent, start: int, end: int) -> None:
        if start >= end:
            return
        given = extent.data[start - extent.offset : end - extent.offset]
        at = first_difference(given, self._bytes[start:end])
        if at is not None:
            others = sorted({who for each, who in self._owners if each.offset <= start + at < each.end})
            self.wrong.append(
                f"{self.name}: {copy.who} differs at offset {start + at} from {', '.join(others)}:"
                f" {given[at : at + 8].hex()} and not {self._bytes[start + at : start + at + 8].hex()}."
            )

    def common_with(self, data: bytes) -> int:
        """How many bytes from the beginning on are known and the same as these."""
        known = self._known[0][1] if self._known and self._known[0][0] == 0 else 0
        count = min(known, len(data))
        at = first_difference(data[:count], self._bytes[:count])
        return count if at is None else at

    @property
    def known_from_zero(self) -> int:
        """Up to where all bytes are known."""
        return self._known[0][1] if self._known and self._known[0][0] == 0 else 0

    def captured(self, copy: Copy) -> None:
        """What the Origin has kept of it: the Distributor must have got all of that by the epoch's end."""
        self.hold(copy)
        held: Ranges = ()
        for each in self.copies:
            if each.who == STORE:
                for start, end in each.ranges:
                    held = add(held, start, end)
        if self.complete is not None and (lacking := subtract(copy.ranges, held)):
            self.wrong.append(
                f"{self.name}: ended at {self.complete}, {copy.who} holds {spans(copy.ranges)}, and {STORE} lacks"
                f" {spans(lacking)} of that."
            )

    def announced(self, who: str, required: Ranges) -> None:
        """``who`` has announced at some time that these bytes are durable: its copies must hold all of them."""
        held: Ranges = ()
        for copy in self.copies:
            if copy.who == who:
                for start, end in copy.ranges:
                    held = add(held, start, end)
        lost = subtract(required, held)
        if lost:
            self.wrong.append(f"{self.name}: {who} had announced as durable, and does not hold, {spans(lost)}.")

    def ended(self, length: int, *, doubtful: bool) -> None:
        """The epoch is complete: whoever says that its copy is, has just these bytes.

        Where the disk had failed meanwhile (``doubtful``), those who were quick may have got what was lost afterwards.
        """
        self.complete = length
        for copy in self.copies:
            has_more = covers(copy.ranges, whole_of(length))
            if copy.complete and copy.ranges != whole_of(length) and not (doubtful and has_more):
                self.wrong.append(
                    f"{self.name}: {copy.who} says that it is complete with {spans(copy.ranges)} of {length} bytes."
                )

    def whole(self, length: int, who: Sequence[str]) -> None:
        """Each of these must hold all of it."""
        for wanted in who:
            found = [copy for copy in self.copies if copy.who == wanted]
            if not any(covers(copy.ranges, whole_of(length)) for copy in found):
                held = "; ".join(spans(copy.ranges) for copy in found) or "nothing"
                self.wrong.append(f"{self.name}: {wanted} holds {held} of {length} bytes.")


def first_difference(one: bytes | bytearray, other: bytes | bytearray) -> int | None:
    """Where two runs of the same length differ first; None where they do not."""
    if one == other:
        return None
    low, high = 0, len(one)
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] != other[low:middle]:
            high = middle
        else:
            low = middle
    return low


def spans(ranges: Iterable[tuple[int, int]]) -> str:
    """Ranges for a person."""
    return ", ".join(f"[{start}, {end})" for start, end in ranges) or "nothing"
