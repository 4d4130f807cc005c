"""The clock that paces a source: wall time for stamps, monotonic time for when a picture is due, and the wait between.

It is handed to every source, so that a test walks through an hour of pictures without sleeping.
"""

from __future__ import annotations

import threading
import time
from typing import Protocol

__all__ = ["Clock", "WallClock"]


class Clock(Protocol):
    """What a source asks of time. All values are integer microseconds."""

    def now(self) -> int:
        """Wall time since the Unix epoch."""

    def monotonic(self) -> int:
        """Time that only goes forward, from an unknown beginning."""

    def wait(self, until: int, stop: threading.Event) -> bool:
        """Return True when :meth:`monotonic` has reached ``until``, or False as soon as ``stop`` is set."""


class WallClock:
    """The machine's own clocks."""

    def now(self) -> int:
        """Wall time, microseconds since the Unix epoch."""
        return time.time_ns() // 1000

    def monotonic(self) -> int:
        """Monotonic time, microseconds."""
        return time.monotonic_ns() // 1000

    def wait(self, until: int, stop: threading.Event) -> bool:
        """Sleep until ``until`` (monotonic microseconds), unless ``stop`` is set: then return False at once."""
        while not stop.is_set():
            left = until - self.monotonic()
            if left <= 0:
                return True
            stop.wait(left / 1_000_000)
        return False
