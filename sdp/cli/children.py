"""Roles as child processes, by the same commands that a person would type; their last words are kept."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

__all__ = ["Child"]

KEPT_LINES = 12
"""How many of a child's last log lines are told when it dies."""

TERM_PATIENCE = 10.0
"""How long a child has to end after SIGTERM before it is killed, in seconds: what every role promises."""

_LONGEST_LINE = 1 << 16
_TWISTD = "from twisted.scripts.twistd import run; run()"


class Child(ProcessProtocol):
    """One ``twistd -n`` child. ``ended`` fires with its exit status (negative for a signal); it never fails."""

    def __init__(self, reactor: Any, command: str, options: list[str]) -> None:
        self.command = command
        self.ended: Deferred[int] = Deferred()
        self.status: int | None = None
        self.on_end: Callable[[Child], None] = lambda child: None
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)
        self._reactor = reactor
        self._rest = b""
        arguments = [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", command, *options]
        # Its own directory of the commands' plugins is found as this process finds it.
        self._process = reactor.spawnProcess(self, sys.executable, arguments, env=None)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[-_LONGEST_LINE:]
        self.lines.extend(line.decode("utf-8", "replace") for line in lines)

    def processEnded(self, reason: Failure) -> None:
        value: Any = reason.value
        self.status = 0 if reason.check(ProcessDone) else value.exitCode if value.signal is None else -value.signal
        if self._rest:
            self.lines.append(self._rest.decode("utf-8", "replace"))
        self.ended.callback(self.status)
        self.on_end(self)

    async def stop(self) -> None:
        """End it: by SIGTERM, and where that is not enough, by SIGKILL."""
        for signal, patience in (("TERM", TERM_PATIENCE), ("KILL", TERM_PATIENCE)):
            if self.status is not None:
                return
            self._process.signalProcess(signal)
            gone: Deferred[int] = Deferred()
            self.ended.addCallback(_pass_to, gone)
            try:
                await gone.addTimeout(patience, self._reactor)
            except TimeoutError:
                continue


def _pass_to(status: int, gone: Deferred[int]) -> int:
    if not gone.called:
        gone.callback(status)
    return status
