"""``twistd sdp-distributor``: the Distributor's options, and the service that they ask for."""

from __future__ import annotations

import gc
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from twisted.application.service import IService
from twisted.internet.protocol import ProcessProtocol

from sdp.distributor.service import DistributorParts, DistributorService
from sdp.distributor.settings import DistributorSettings
from sdp.distributor.supervisor import Supervisor, SupervisorParts
from sdp.net.backoff import Backoff
from sdp.store import FileStore, Limits
from sdp.tap.leaving import Leaving
from sdp.tap.options import SettingsOptions, one_line_on_error, options_for
from sdp.tap.tracing import open_trace

__all__ = ["Options", "makeService", "settle_memory", "store_opener"]

COMMAND = "sdp-distributor"

_COLLECTOR = (10_000, 20, 50)
"""When the garbage collector looks at new and at older objects: less often than by Python's default, for a connection
is some sixty objects that live long, and a thousand of them at once are no garbage."""

Options = options_for(DistributorSettings, COMMAND)


def settle_memory() -> None:
    """Take what has been imported out of the garbage collector's sight: it lives as long as the process does, and to
    look at all of it again takes longer than to send a record to a hundred consumers."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_COLLECTOR)


def store_opener(settings: DistributorSettings, reactor: Any) -> Callable[[], FileStore | None]:
    """What opens the store that the settings ask for."""

    def open_store() -> FileStore | None:
        if settings.store is None:
            return None
        limits = Limits(
            size=settings.retain_bytes,
            age=None if settings.retain_seconds is None else round(settings.retain_seconds * 1e6),
            free=settings.retain_free,
        )
        return FileStore(
            settings.store,
            reactor,
            sync_interval=settings.sync,
            segment_size=settings.segment_bytes,
            limits=limits,
            clock=reactor,
        )

    return open_store


def makeService(options: SettingsOptions[DistributorSettings], reactor: Any = None) -> IService:
    """Wire a Distributor. Threads, files and sockets begin with its startService, after twistd has forked."""
    if reactor is None:
        from twisted.internet import reactor  # noqa: TID251  (a process begins here)
    settings = options.settings()
    leave = Leaving(reactor)
    reactor.callWhenRunning(settle_memory)
    with one_line_on_error(COMMAND):
        # Where there are several workers, each opens a trace of its own, and this process has nothing to tell.
        trace = open_trace(settings.trace if settings.workers == 1 else None, reactor)
        parts = DistributorParts(
            open_store=store_opener(settings, reactor), wall_clock=time.time, random_bytes=os.urandom, trace=trace
        )
        # Made even where its work is the workers': what is wrong with the settings shows before anything begins.
        service = DistributorService(settings, reactor, leave, parts)
    return service if settings.workers == 1 else _supervisor(settings, reactor, leave)


def _supervisor(settings: DistributorSettings, reactor: Any, leave: Leaving) -> Supervisor:
    def spawn(child: ProcessProtocol, descriptors: dict[int, Any]) -> Any:
        # A worker finds the project where this process has found it.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in sys.path)}
        command = [sys.executable, "-m", "sdp.tap.worker"]
        return reactor.spawnProcess(child, sys.executable, command, environment, childFDs=descriptors)

    random = Random(os.urandom(8))
    parts = SupervisorParts(
        spawn=spawn,
        make_directory=lambda: Path(tempfile.mkdtemp(prefix="sdp-")),
        new_backoff=lambda: Backoff(random, most=5.0),
        random_bytes=os.urandom,
    )
    return Supervisor(settings, reactor, leave, parts)
