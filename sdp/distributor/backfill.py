"""What a live consumer lacks behind its place, and wants as well: given while it stands at the live edge and is idle.

A gap > a block of it > the consumer's outflow, and then a pause that ends when a live record comes. So a live record
waits for one block at most. The newest gap comes first, and each gap from its beginning on. What the log itself lacks
comes once somebody has brought it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sdp.distributor.asking import Interval, missing

__all__ = ["BUSY_PACE", "PACE", "Backfill"]

PACE = 0.01
"""The pause after each block, in seconds, as long as no live record comes: with blocks of 64 KiB a consumer is given
some 6 MB a second of what is old, and the reactor's turns stay short however many consumers ask."""

BUSY_PACE = 0.05
"""How long is waited for the system to have sent what it has taken, in seconds, before it is asked again."""


class Backfill:
    """One consumer's gaps, in offsets, half-open."""

    def __init__(self, gaps: Iterable[Interval]) -> None:
        self._gaps = sorted(gaps)

    def __bool__(self) -> bool:
        return bool(self._gaps)

    @property
    def gaps(self) -> list[Interval]:
        """What is lacking, in ascending order."""
        return list(self._gaps)

    def next(self, holes: Sequence[Interval]) -> Interval | None:
        """The gap to be filled now, or what of it is held; None where all that is lacking lies in ``holes``."""
        for start, end in reversed(self._gaps):
            held = missing(list(holes), start, end)
            if held:
                return held[-1]
        return None

    def skipped(self, start: int, end: int) -> None:
        """The consumer was taken past these bytes: they are lacking, too."""
        if start < end:
            self.given(start, end)
            self._gaps = sorted([*self._gaps, (start, end)])

    def given(self, start: int, end: int) -> None:
        """The consumer has these bytes now."""
        if start < end:
            self._gaps = [left for gap in self._gaps for left in missing([(start, end)], *gap)]

    def forget(self, below: int) -> None:
        """What lies before that offset is held no longer."""
        self.given(0, below)

    def give_up(self) -> None:
        """Nothing more of it can be had: the consumer knows what it lacks, and may ask again."""
        self._gaps = []
