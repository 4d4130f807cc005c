"""How old a record is when it gets here: a consumer that measures, and throws everything away."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from statistics import median

from sdp.net.fetch import Piece

__all__ = ["LatencyProbe"]

KEPT = 256
"""How many records the figure is about: some seconds of video."""


class LatencyProbe:
    """Takes a LiveFetch's pieces, and gives the time from capture to here.

    ``now`` is this machine's clock in microseconds: the figure is right where the Origin's agrees with it.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._ages: deque[int] = deque(maxlen=KEPT)

    def take(self, piece: Piece) -> None:
        if piece.begins_part and piece.capture_time is not None:
            self._ages.append(self._now() - piece.capture_time)

    @property
    def median_ms(self) -> float | None:
        """Milliseconds, or None where no record with a capture time has come yet."""
        return median(self._ages) / 1000 if self._ages else None
