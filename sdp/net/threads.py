"""Threads for what blocks: writing into a pipe, opening a camera, looking up a name."""

from __future__ import annotations

from threading import Thread
from typing import Any

from twisted.python.threadpool import ThreadPool

__all__ = ["DaemonPool"]


class _Daemon(Thread):
    def __init__(self, **how: Any) -> None:
        super().__init__(daemon=True, **how)


class DaemonPool(ThreadPool):
    """A pool whose threads never keep the process: what they wait for may never come, and cannot be called off.

    Threads begin when they are needed, once the pool has been started. ``stop`` waits for what runs: leave it out where
    that may hang.
    """

    threadFactory: Any = _Daemon

    def __init__(self, most: int, name: str) -> None:
        super().__init__(0, most, name)
