"""How a service ends its process, and with which status.

twistd leaves with 0 whenever its reactor has stopped, and swallows what is raised while the reactor runs. A status
other than 0 is therefore set in the interpreter's exit: by then services have stopped, logs are written, the PID
file is gone, other threads have been joined; and what else was registered for the exit is run first.
"""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import Any

from twisted.internet.error import ReactorNotRunning

__all__ = ["Leaving"]


class Leaving:
    """Called with an exit status: stops the reactor, and sees to it that the process leaves with that status.

    The first call counts. A service that fails while it starts may call it before the reactor runs.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self.status: int | None = None

    def __call__(self, status: int) -> None:
        if self.status is not None:
            return
        self.status = status
        if status:
            # As late as can be: what is registered last runs first, and then lets all the others run.
            self._reactor.addSystemEventTrigger("after", "shutdown", atexit.register, self._exit)
        self._reactor.callWhenRunning(self._stop)

    def _stop(self) -> None:
        with suppress(ReactorNotRunning):  # a signal came first, and is stopping it already
            self._reactor.stop()

    def _exit(self) -> None:
        # Handlers run last in, first out: let those that were registered before this one, which os._exit would cut
        # off, run now.
        atexit.unregister(self._exit)
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):  # it was closed, and what it held with it
                stream.flush()
        assert self.status is not None
        os._exit(self.status)
