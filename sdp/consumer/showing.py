"""Where a player's pictures and sound go: a window and a loudspeaker, a terminal, or nowhere, as was chosen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from sdp.consumer.listening import Listening
from sdp.consumer.player_settings import PlayerSettings

if TYPE_CHECKING:
    from sdp.consumer.player import Player, Screen

__all__ = ["Controls", "Showing", "showing_for"]


class Controls(Protocol):
    """What a person at a window may ask for."""

    @property
    def past(self) -> float:
        """How many seconds ago what is shown was captured; 0 where it is live."""

    def pause(self) -> None: ...

    def shift(self, seconds: float) -> None: ...

    def go_live(self) -> None: ...

    def quit(self) -> None: ...


class Showing:
    """Nothing is shown, and nothing is heard; what the others begin with."""

    def __init__(self) -> None:
        self.screen: Screen | None = None
        self.listening: Listening | None = None

    def begin(self, player: Player) -> None:
        """The player is there."""

    def close(self) -> None:
        """It is over."""


def showing_for(settings: PlayerSettings, controls: Controls, reactor: Any) -> Showing:
    """What the settings ask for. Raises LocalError where this machine has no screen, or lacks the library for it."""
    if settings.headless:
        return Showing()
    if settings.terminal:
        from sdp.consumer.terminal import TerminalShowing

        return TerminalShowing()
    from sdp.consumer.screen import WindowShowing

    return WindowShowing(settings, controls, reactor)
