"""A reactor for one command: run something, end cleanly on a signal, and leave with a status."""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ReactorNotRunning
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import provider

from sdp.errors import SDPError
from sdp.net.address import Address, with_authorities, with_token

__all__ = ["run", "say", "trusted"]

INTERRUPTED = 130
"""What shells expect of a command that Ctrl-C ended: 128 and the signal's number."""


def say(line: str) -> None:
    """Tell the person at the terminal; standard output is the command's own."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def trusted(address: Address, read_token: str | None, ca_file: str | None) -> Address:
    """An address with what two options name: the file of a secret to read with, and the certificates that may vouch.

    Raises ConfigurationError.
    """
    address = with_token(address, None if read_token is None else Path(read_token))
    return with_authorities(address, None if ca_file is None else Path(ca_file))


@provider(ILogObserver)
def _observe(event: LogEvent) -> None:
    namespace = str(event.get("log_namespace", ""))
    level = event.get("log_level", LogLevel.info)
    if namespace.startswith("sdp.") or level >= LogLevel.error:
        say(formatEvent(event))
        if "log_failure" in event:
            say(event["log_failure"].getTraceback())


def run(work: Callable[[Any], Awaitable[int]], *, interrupted: int = INTERRUPTED) -> int:
    """Run ``work(reactor)`` to its end, and return its status.

    On a signal it is cancelled, and has until its last ``finally`` is through; the status is ``interrupted`` then.
    """
    from twisted.internet import reactor as global_reactor  # noqa: TID251  (a process begins here)

    reactor: Any = global_reactor
    globalLogBeginner.beginLoggingTo([_observe], redirectStandardIO=False, discardBuffer=True)
    status: list[int] = []

    async def guarded() -> None:
        try:
            status.append(await work(reactor))
        except CancelledError:
            status.append(interrupted)
        except SDPError as error:
            say(f"sdp: {error.detail}")
            status.append(1)

    def begin() -> None:
        ended: Deferred[None] = Deferred()
        working = Deferred.fromCoroutine(guarded())

        def on_stop() -> Deferred[None]:
            working.cancel()
            return ended

        def over(failure: Failure | None) -> None:
            if failure is not None:  # a fault of this program
                say(failure.getTraceback())
                status.append(1)
            ended.callback(None)
            with suppress(ReactorNotRunning):  # a signal has begun the stop
                reactor.stop()

        reactor.addSystemEventTrigger("before", "shutdown", on_stop)
        working.addBoth(over)

    reactor.callWhenRunning(begin)
    reactor.run()
    return status[0] if status else interrupted
