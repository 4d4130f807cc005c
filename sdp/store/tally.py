"""What a store has done since it was opened, counted in its threads, for the metrics."""

from __future__ import annotations

from threading import Lock

__all__ = ["Tally"]


class Tally:
    """Counts. Bytes are written in one thread; syncs run in several."""

    def __init__(self) -> None:
        self.bytes_written = 0
        self.syncs = 0
        self.failures = 0
        self.resumed = 0
        self._lock = Lock()

    def synced(self) -> None:
        """Count a sync. From any thread."""
        with self._lock:
            self.syncs += 1

    def failed(self) -> None:
        """Count a failure. From any thread."""
        with self._lock:
            self.failures += 1
