"""``twistd sdp-player``: the player's options, and the service that they ask for."""

from __future__ import annotations

import sys
from random import SystemRandom
from typing import Any

from twisted.application.service import IService, IServiceCollection
from twisted.logger import ILogObserver, textFileLogObserver

from sdp.consumer.player_service import PlayerService
from sdp.consumer.player_settings import PlayerSettings
from sdp.errors import ConfigurationError
from sdp.tap.leaving import Leaving
from sdp.tap.options import SettingsOptions, one_line_on_error, options_for
from sdp.tap.tracing import open_trace

__all__ = ["Options", "makeService"]

COMMAND = "sdp-player"

Options = options_for(PlayerSettings, COMMAND)


class _OutputService(PlayerService):
    """Writes to standard output: the log, which twistd would write there, goes to standard error."""

    def setServiceParent(self, parent: IServiceCollection) -> None:
        application: Any = parent
        application.setComponent(ILogObserver, textFileLogObserver(sys.stderr))
        super().setServiceParent(parent)


def tell_on_output(line: str) -> None:
    """A line of statistics, for whoever reads standard output: the process's own, where twistd has its log."""
    assert sys.__stdout__ is not None
    sys.__stdout__.write(line + "\n")
    sys.__stdout__.flush()


def makeService(options: SettingsOptions[PlayerSettings], reactor: Any = None) -> IService:
    """Wire a player. Threads, windows and sockets begin with its startService, after twistd has forked."""
    if reactor is None:
        from twisted.internet import reactor  # noqa: TID251  (a process begins here)
    settings = options.settings()
    with one_line_on_error(COMMAND):
        uses_output = settings.headless or settings.terminal
        if uses_output and options.parent is not None and not options.parent["nodaemon"]:
            raise ConfigurationError("--headless and --terminal need the foreground: twistd -n.")
        service = _OutputService if uses_output else PlayerService
        tell = tell_on_output if settings.headless else None
        trace = open_trace(settings.trace, reactor)
        return service(settings, reactor, Leaving(reactor), SystemRandom(), trace, tell)
