"""``twistd sdp-consumer``: the Consumer's options, and the service that they ask for."""

from __future__ import annotations

import sys
from random import SystemRandom
from typing import Any

from twisted.application.service import IService, IServiceCollection
from twisted.logger import ILogObserver, textFileLogObserver

from sdp.consumer.service import RecorderService
from sdp.consumer.settings import ConsumerSettings
from sdp.errors import ConfigurationError
from sdp.tap.leaving import Leaving
from sdp.tap.options import SettingsOptions, one_line_on_error, options_for
from sdp.tap.tracing import open_trace

__all__ = ["Options", "makeService"]

COMMAND = "sdp-consumer"

Options = options_for(ConsumerSettings, COMMAND)


class _PipeService(RecorderService):
    """Writes the stream to standard output: the log, which twistd would write there, goes to standard error."""

    def setServiceParent(self, parent: IServiceCollection) -> None:
        application: Any = parent
        application.setComponent(ILogObserver, textFileLogObserver(sys.stderr))
        super().setServiceParent(parent)


def makeService(options: SettingsOptions[ConsumerSettings], reactor: Any = None) -> IService:
    """Wire a Consumer. Threads, files and sockets begin with its startService, after twistd has forked."""
    if reactor is None:
        from twisted.internet import reactor  # noqa: TID251  (a process begins here)
    settings = options.settings()
    with one_line_on_error(COMMAND):
        service = RecorderService
        if settings.output == "-":
            if options.parent is not None and not options.parent["nodaemon"]:
                raise ConfigurationError("--output - needs the foreground: twistd -n.")
            service = _PipeService
        return service(settings, reactor, Leaving(reactor), SystemRandom(), open_trace(settings.trace, reactor))
