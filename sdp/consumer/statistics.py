"""What a player knows of its own doing, as one line of JSON a second, and as figures over the picture. Pure."""

from __future__ import annotations

from collections import deque
from typing import Any, Final

__all__ = ["Curve", "Rate", "Sample", "percentile", "rounded"]

KEPT: Final = 512
"""Values of which percentiles are told: some seconds of pictures."""


def percentile(values: list[int], share: float) -> int:
    """The value that ``share`` (0 to 1) of them do not exceed (nearest rank). There has to be one."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -int(-share * len(ordered) // 1) - 1))]


class Sample:
    """The last values of something, in microseconds; told in milliseconds."""

    def __init__(self, kept: int = KEPT) -> None:
        self.values: deque[int] = deque(maxlen=kept)

    def add(self, value: int) -> None:
        self.values.append(value)

    def told(self) -> dict[str, float] | None:
        """Median, 99th percentile and greatest, or None where there are none."""
        if not self.values:
            return None
        values = list(self.values)
        shares = {"p50": percentile(values, 0.5), "p99": percentile(values, 0.99), "max": max(values)}
        return {name: round(value / 1000, 2) for name, value in shares.items()}

    def share(self, share: float) -> int | None:
        """One percentile, in microseconds."""
        return percentile(list(self.values), share) if self.values else None


class Rate:
    """How much a second, over the last few."""

    def __init__(self, window: int = 2_000_000) -> None:
        self._window = window
        self._seen: deque[tuple[int, int]] = deque()
        self._sum = 0

    def add(self, at: int, amount: int) -> None:
        self._seen.append((at, amount))
        self._sum += amount
        self._forget(at)

    def told(self, at: int) -> float:
        """The amount a second up to ``at`` (microseconds)."""
        self._forget(at)
        return self._sum * 1_000_000 / self._window

    def _forget(self, at: int) -> None:
        while self._seen and self._seen[0][0] <= at - self._window:
            self._sum -= self._seen.popleft()[1]


class Curve:
    """The greatest value of each interval, for a curve of the last ones: (microseconds a step, steps)."""

    def __init__(self, step: int = 250_000, steps: int = 120) -> None:
        self._step = step
        self.points: deque[int] = deque(maxlen=steps)
        self._number: int | None = None

    def add(self, at: int, value: int) -> None:
        number = at // self._step
        if number == self._number:
            self.points[-1] = max(self.points[-1], value)
            return
        self._number = number
        self.points.append(value)


def rounded(value: float | None) -> Any:
    """Microseconds as milliseconds with two places."""
    return None if value is None else round(value / 1000, 2)
