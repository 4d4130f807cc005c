"""How fast connections come in: so many a turn of the reactor, however many wait.

A crowd that arrives at once would else be taken at once, and next turn all of its requests be answered in one go; those
who are being served already wait for all of that. What waits in the kernel's backlog meanwhile loses nothing: the turns
follow on each other at once.
"""

from __future__ import annotations

from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import Port

__all__ = ["ACCEPTED_A_TURN", "accept_few"]

ACCEPTED_A_TURN = 2
"""Connections that a port accepts in one turn of the reactor."""


def accept_few(port: IListeningPort) -> None:
    """Bound what ``port`` accepts in a turn, if it is one of the reactor's own; another is left as it is."""
    if not isinstance(port, Port):
        return
    accept = port.doRead

    def accept_some() -> None:
        # The port raises its own bound each time that it is reached.
        port.numberAccepts = ACCEPTED_A_TURN
        accept()

    port.doRead = accept_some  # type: ignore[method-assign]  # the reactor asks the port for it each time
