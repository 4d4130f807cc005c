"""Trace points into a file: what ``--trace FILE`` asks of a role.

A point, told in any thread > a bounded queue > a thread of its own > lines of comma-separated values. Nobody who tells
waits for the disk, and where more comes than it takes, points are left out, and how many is the last line's word.
"""

from __future__ import annotations

import time
from collections import deque
from pathlib import Path
from threading import Event, Thread
from typing import Any

from sdp.errors import ConfigurationError
from sdp.observe import Point

__all__ = ["COLUMNS", "LOST", "TraceFile", "open_trace", "trace_path"]

COLUMNS = ("point", "stream", "offset", "capture_time", "time")
"""The head line. ``offset`` and ``capture_time`` are empty where a point does not say them; times in microseconds."""

LOST = "lost"
"""In the place of a point, in the last line: as many points as its ``offset`` were left out."""

QUEUE_LIMIT = 100_000
"""How many points may wait to be written: some ten MiB, a second or more of a busy Distributor."""

FLUSH_INTERVAL = 0.1
"""How long a point waits at most before it is written, in seconds: as much is missing after a kill."""

_Told = tuple[Point, str, int | None, int | None, int]


class TraceFile:
    """A :class:`sdp.observe.Trace` that writes. Raises ConfigurationError where the file cannot be made.

    The thread begins with :meth:`start`: after a daemon's fork, not before it.
    """

    def __init__(self, path: Path, limit: int = QUEUE_LIMIT) -> None:
        try:
            self._file = path.open("wb", buffering=0)
        except OSError as error:
            raise ConfigurationError(f"--trace: {path} cannot be written: {error.strerror}.") from error
        self._told: deque[_Told] = deque()
        self._limit = limit
        self._lost = 0
        self._closing = Event()
        self._thread: Thread | None = None
        self._put([",".join(COLUMNS)])

    def __call__(
        self,
        point: Point,
        stream: str,
        offset: int | None = None,
        *,
        capture_time: int | None = None,
        at: int | None = None,
    ) -> None:
        if len(self._told) >= self._limit:
            self._lost += 1
            return
        self._told.append((point, stream, offset, capture_time, time.time_ns() // 1000 if at is None else at))

    def start(self) -> None:
        """Begin to write."""
        self._thread = Thread(target=self._run, name="sdp trace", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Write what was told so far, and end."""
        self._closing.set()
        if self._thread is not None:
            self._thread.join()
        self._write()
        if self._lost:
            self._put([f"{LOST},,{self._lost},,"])
        self._file.close()

    def _run(self) -> None:
        while not self._closing.wait(FLUSH_INTERVAL):
            self._write()

    def _write(self) -> None:
        lines = []
        for _ in range(len(self._told)):
            point, stream, offset, capture_time, at = self._told.popleft()
            said = "" if offset is None else offset
            lines.append(f"{point.value},{stream},{said},{'' if capture_time is None else capture_time},{at}")
        self._put(lines)

    def _put(self, lines: list[str]) -> None:
        try:
            self._file.write("".join(line + "\n" for line in lines).encode())
        except OSError:  # a full disk is no reason to end a stream
            self._lost += len(lines)


def trace_path(path: Path | None, worker: int) -> Path | None:
    """Where one of a Distributor's workers writes: the first to the file itself, the others beside it, ``FILE.N``."""
    return path.with_name(f"{path.name}.{worker}") if path is not None and worker else path


def open_trace(path: Path | None, reactor: Any) -> TraceFile | None:
    """What ``--trace`` asks for: a trace that begins and ends with the reactor; None where there is no path."""
    if path is None:
        return None
    trace = TraceFile(path)
    reactor.callWhenRunning(trace.start)
    reactor.addSystemEventTrigger("after", "shutdown", trace.close)
    return trace
