"""What an Origin still owes of the bytes behind the live edge: which hole is filled next, and when some of it may go.

Pure: it counts bytes, and is told the time (in seconds). A hole is filled from its front, the newest hole first, and
only as much is on its way at once as a live record may wait behind.
"""

from __future__ import annotations

from collections.abc import Sequence

from sdp.net.missing import Span

__all__ = ["Backfill"]

REST = 10.0
"""How long nothing is brought after the Distributor has refused some, in seconds: its disk may be full."""


class Backfill:
    """The holes of one epoch, as the Distributor tells them, and what is sent to fill them.

    ``rate`` is in bytes a second, None for any; ``window`` is how many bytes may be on their way without an answer.
    """

    def __init__(self, rate: float | None, window: int) -> None:
        self.in_flight = 0
        self._rate = rate
        self._window = window
        self._holes: list[Span] = []
        self._nowhere: set[int] = set()
        self._refused = False
        self._paid = 0.0
        """The time up to which what was sent is paid for."""

    @property
    def holes(self) -> Sequence[Span]:
        """What is still to be sent, in ascending order."""
        return self._holes

    @property
    def done(self) -> bool:
        """Whether there is nothing to bring, or on its way."""
        return not self._holes and not self.in_flight

    @property
    def settled(self) -> bool:
        """Whether an epoch need not be kept open for what is left: there is none, or it was not taken."""
        return self.done or (self._refused and not self.in_flight)

    def forget(self) -> None:
        """Another epoch begins."""
        self._nowhere.clear()
        self.restart(())

    def restart(self, missing: Sequence[Span]) -> None:
        """Another connection begins, over which nothing is on its way yet."""
        self.in_flight = 0
        self._refused = False
        self._holes = self._brought(missing)

    def learn(self, missing: Sequence[Span]) -> None:
        """An answer has named the holes that there are. While some are being filled it is behind the times."""
        if self.done:
            self._holes = self._brought(missing)

    def leave(self, start: int, end: int) -> None:
        """The live edge jumps over [start, end): that comes later."""
        self._holes.append((start, end))

    def _brought(self, missing: Sequence[Span]) -> list[Span]:
        return [span for span in missing if span[0] not in self._nowhere]

    def next(self) -> Span | None:
        """Where the next bytes are to be taken from."""
        return self._holes[-1] if self._holes else None

    def delay(self, now: float) -> float | None:
        """How long the next bytes have to wait: 0 for not at all, None for until an answer comes."""
        if self.in_flight and self.in_flight >= self._window:
            return None
        return max(0.0, self._paid - now)

    def sent(self, end: int, now: float) -> None:
        """The bytes of the next hole up to ``end`` are on their way."""
        start, stop = self._holes.pop()
        if end < stop:
            self._holes.append((end, stop))
        self.in_flight += end - start
        if self._rate is not None:
            self._paid = max(self._paid, now) + (end - start) / self._rate

    def answered(self, size: int) -> None:
        """So many bytes are there."""
        self.in_flight = max(0, self.in_flight - size)
        self._refused = False

    def refused(self, size: int, now: float) -> None:
        """So many bytes were not taken: the holes that are left are told anew, and not before some time has passed."""
        self.answered(size)
        self._refused = True
        self._holes.clear()
        self._paid = max(self._paid, now + REST)

    def nowhere(self) -> None:
        """The next hole's first bytes are held here no more. It stays one: it is filled from there, or not at all."""
        self._nowhere.add(self._holes.pop()[0])
