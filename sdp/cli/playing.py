"""``sdp play``: the player, for people."""

from __future__ import annotations

import sys
from random import SystemRandom
from typing import Any

from twisted.internet.defer import Deferred

from sdp.cli.running import run
from sdp.consumer.player_service import PlayerService
from sdp.consumer.player_settings import PlayerSettings
from sdp.errors import ConfigurationError
from sdp.settings import load
from sdp.tap.player import tell_on_output
from sdp.tap.tracing import open_trace

__all__ = ["run_play"]


def run_play(url: str, options: dict[str, str]) -> int:
    """Play the stream at ``url`` until it ends, or somebody has seen enough; return the exit status. ``options`` are
    the player's, by their names without dashes."""
    try:
        settings = load(PlayerSettings, {"from": url, **options})
    except ConfigurationError as error:
        sys.stderr.write(f"sdp play: {error.detail.removeprefix('--from: ')}\n")
        return 2
    return run(lambda reactor: _play(settings, reactor), interrupted=0)


async def _play(settings: PlayerSettings, reactor: Any) -> int:
    done: Deferred[int] = Deferred()

    def leave(status: int) -> None:
        if not done.called:
            done.callback(status)

    tell = tell_on_output if settings.headless else None
    service = PlayerService(settings, reactor, leave, SystemRandom(), open_trace(settings.trace, reactor), tell)
    service.startService()
    try:
        return await done
    finally:
        await service.stopService()
