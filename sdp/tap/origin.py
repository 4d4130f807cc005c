"""``twistd sdp-origin``: the Origin's options, and the service that they ask for."""

from __future__ import annotations

import time
from fractions import Fraction
from random import SystemRandom
from typing import Any

from twisted.application.service import IService

from sdp.errors import ConfigurationError
from sdp.origin.service import OriginParts, OriginService
from sdp.origin.settings import OriginSettings
from sdp.tap.leaving import Leaving
from sdp.tap.options import SettingsOptions, one_line_on_error, options_for
from sdp.tap.tracing import open_trace

__all__ = ["Options", "makeService"]

COMMAND = "sdp-origin"

Options = options_for(OriginSettings, COMMAND)


def source_spec(settings: OriginSettings) -> Any:
    """What the settings ask of sdp.media (a SourceSpec). Raises ConfigurationError."""
    from sdp.media import SourceSpec

    try:
        return SourceSpec(
            source=settings.source,
            container=settings.container,
            fragment=settings.fragment,
            loop=settings.loop,
            size=settings.size,
            rate=None if settings.rate is None else Fraction(settings.rate),
            gop=settings.gop,
            video_bit_rate=settings.bit_rate,
            audio=settings.audio,
            preset=settings.preset,
        )
    except (ValueError, ZeroDivisionError) as error:
        raise ConfigurationError(f"{error}.") from error


def makeService(options: SettingsOptions[OriginSettings], reactor: Any = None) -> IService:
    """Wire an Origin. Threads, files and sockets begin with its startService, after twistd has forked."""
    if reactor is None:
        from twisted.internet import reactor  # noqa: TID251  (a process begins here)
    settings = options.settings()

    def open_source() -> Any:
        from sdp.media import open_source

        return open_source(spec, trace=trace)

    def open_store() -> Any:
        if settings.store is None:
            return None
        from sdp.store import FileStore
        from sdp.store.retention import Limits

        limits = Limits(
            size=settings.retain_bytes,
            age=None if settings.retain_seconds is None else round(settings.retain_seconds * 1e6),
            free=settings.retain_free,
        )
        return FileStore(settings.store, reactor, sync_interval=settings.sync, limits=limits, clock=reactor)

    with one_line_on_error(COMMAND):
        spec = source_spec(settings)
        trace = open_trace(settings.trace, reactor)
        parts = OriginParts(
            open_source=open_source,
            open_store=open_store,
            now=lambda: time.time_ns() // 1000,
            random=SystemRandom(),
            trace=trace,
        )
        return OriginService(settings, reactor, Leaving(reactor), parts)
