"""``twistd sdp-distributor``: the Distributor's options, and the service that they ask for."""

from __future__ import annotations

import gc
import os
import time
from typing import Any

from twisted.application.service import IService

from sdp.distributor.service import DistributorParts, DistributorService
from sdp.distributor.settings import DistributorSettings
from sdp.store import FileStore, Limits
from sdp.tap.leaving import Leaving
from sdp.tap.options import SettingsOptions, one_line_on_error, options_for

__all__ = ["Options", "makeService"]

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


def makeService(options: SettingsOptions[DistributorSettings], reactor: Any = None) -> IService:
    """Wire a Distributor. Threads, files and sockets begin with its startService, after twistd has forked."""
    if reactor is None:
        from twisted.internet import reactor  # noqa: TID251  (a process begins here)
    settings = options.settings()

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

    reactor.callWhenRunning(settle_memory)
    with one_line_on_error(COMMAND):
        parts = DistributorParts(open_store=open_store, wall_clock=time.time, random_bytes=os.urandom)
        return DistributorService(settings, reactor, Leaving(reactor), parts)
