"""One process of a Distributor that was given ``--workers``: started by its supervisor, with orders on its standard
input, sockets as open descriptors, and a log that goes back line by line. Nobody types this."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.internet.error import ConnectionDone, ReactorNotRunning
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.main import CONNECTION_DONE
from twisted.logger import LogEvent, LogLevel, eventAsText, globalLogBeginner
from twisted.python.failure import Failure
from zope.interface import implementer

from sdp.distributor.service import DistributorParts
from sdp.distributor.settings import DistributorSettings
from sdp.distributor.supervisor import BEGUN
from sdp.distributor.workers import FIRST, Seat, make_worker
from sdp.errors import SDPError
from sdp.tap.distributor import settle_memory, store_opener
from sdp.tap.leaving import Leaving
from sdp.tap.tracing import open_trace, trace_path

__all__ = ["main", "read_orders", "say"]


def read_orders(descriptor: int) -> tuple[DistributorSettings, Seat]:
    """Read what the supervisor wants, and not a byte more: what is left is the supervisor's life itself."""
    length = b""
    while not length.endswith(b"\n"):
        length += _read(descriptor, 1)
    orders = b""
    while len(orders) < int(length):
        orders += _read(descriptor, int(length) - len(orders))
    settings, seat = pickle.loads(orders)
    return settings, seat


def _read(descriptor: int, most: int) -> bytes:
    data = os.read(descriptor, most)
    if not data:
        raise SystemExit("The supervisor ended before it had given its orders.")
    return data


def say(level: str, namespace: str, text: str) -> None:
    """Tell the supervisor. Whether it is there still is no concern of whoever logs."""
    with suppress(OSError):
        os.write(1, json.dumps([level, namespace, text]).encode() + b"\n")


def _log(event: LogEvent) -> None:
    level = event.get("log_level") or LogLevel.info
    text = eventAsText(event, includeTimestamp=False, includeSystem=False)
    if text:
        say(level.name, event.get("log_namespace") or "sdp", text)


@implementer(IReadDescriptor)
class _Leash:
    """The supervisor's end of a pipe: when it is closed, the supervisor has ended, in whatever way."""

    def __init__(self, descriptor: int, on_end: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._on_end = on_end

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> Any:
        return None if os.read(self._descriptor, 4096) else CONNECTION_DONE

    def connectionLost(self, reason: Failure) -> None:
        """The pipe has ended; or this process's reactor, which is no news (then it is a ConnectionLost)."""
        if reason.check(ConnectionDone):
            self._on_end()

    def logPrefix(self) -> str:
        return "supervisor"


def main() -> None:
    """Be one process of a Distributor, until the supervisor says or ends."""
    settings, seat = read_orders(0)
    # A terminal's interrupt goes to all its processes; what it means, the supervisor decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from twisted.internet import reactor as global_reactor  # noqa: TID251  (a process begins here)

    reactor: Any = global_reactor
    observer: Any = _log  # any callable observes
    globalLogBeginner.beginLoggingTo([observer], discardBuffer=True, redirectStandardIO=False)
    try:
        trace = open_trace(trace_path(settings.trace, seat.index), reactor)
        parts = DistributorParts(
            open_store=store_opener(settings, reactor), wall_clock=time.time, random_bytes=os.urandom, trace=trace
        )
        service = make_worker(settings, reactor, Leaving(reactor), parts, seat, lambda: say(BEGUN, "", ""))
    except SDPError as error:
        say("error", "sdp.distributor", error.detail)
        raise SystemExit(1) from error

    def orphaned() -> None:
        service.abandon()
        if seat.index == FIRST:
            shutil.rmtree(seat.directory, ignore_errors=True)
        with suppress(ReactorNotRunning):
            reactor.stop()

    reactor.addReader(_Leash(0, orphaned))
    reactor.callWhenRunning(settle_memory)
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


if __name__ == "__main__":
    main()
