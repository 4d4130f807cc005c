"""How fast connections come in: so many a turn of the reactor, however many wait.

A crowd that arrives at once would else be taken at once, and next turn all of its requests be answered in one go; those
who are being served already wait for all of that. What waits in the kernel's backlog meanwhile loses nothing: the turns
follow on each other at once. Where the turns are long, since many are served in each, more may come in each: the share
of newcomers in a turn stays the same, and so does the rate at which they come.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IListeningPort
from twisted.internet.tcp import Port

__all__ = ["ACCEPTED_A_MILLISECOND", "ACCEPTED_A_TURN", "MOST_ACCEPTED_A_TURN", "accept_few"]

ACCEPTED_A_TURN = 2
"""Connections that a port accepts in one turn of the reactor, however short it is."""

ACCEPTED_A_MILLISECOND = 1
"""Connections that it accepts for each millisecond of the turn before: each costs some 0.2 ms to let in and answer."""

MOST_ACCEPTED_A_TURN = 16
"""Connections that it accepts in one turn at the most, however long the one before was."""


def accept_few(port: IListeningPort, now: Callable[[], float]) -> None:
    """Bound what ``port`` accepts in a turn, if it is one of the reactor's own; another is left alone. ``now`` is the
    reactor's clock, in seconds."""
    if not isinstance(port, Port):
        return
    accept = port.doRead
    before = now()

    def accept_some() -> None:
        nonlocal before
        turn, before = now() - before, now()
        # The port raises its own bound each time that it is reached.
        bound = int(turn * 1000 * ACCEPTED_A_MILLISECOND)
        port.numberAccepts = min(max(bound, ACCEPTED_A_TURN), MOST_ACCEPTED_A_TURN)
        accept()

    port.doRead = accept_some  # type: ignore[method-assign]  # the reactor asks the port for it each time
