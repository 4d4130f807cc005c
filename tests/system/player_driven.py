"""The player with its real window and loudspeaker, and somebody beside it: keys come in, what it does goes out as JSON.

``python -m tests.system.player_driven URL``: a line on standard input is the name of a key (SDL's, as ``LEFT``).
Standard output has lines of JSON: the player's statistics, with ``past`` (seconds; 0 where it is live); and for each
beginning of a flash ``lip_ms``, how much later than the picture the beep was on its way out of the loudspeaker, and
``late_ms``, how late that picture was by the player's own clock: on a busy machine it may be, and the sound goes on.
"""

from __future__ import annotations

import ctypes
import json
import sys
from array import array
from collections import deque
from random import SystemRandom
from typing import Any

from twisted.internet import stdio
from twisted.protocols.basic import LineReceiver

from sdp.consumer.player import Player, Shown
from sdp.consumer.player_service import PlayerService
from sdp.consumer.player_settings import PlayerSettings
from sdp.consumer.screen import WindowShowing
from sdp.consumer.sdl import import_sdl
from sdp.media.decoding import SOUND_RATE, Picture
from sdp.media.pattern import Picture as Pattern
from sdp.settings import load

LOUD = 3000
"""Above this a sample belongs to a beep: the tone under it has a tenth of that."""
BLACK_AND_WHITE = 126


def say(**what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


class Beside:
    """Somebody before the window: sees each picture once it is shown, and hears what the loudspeaker has taken."""

    def __init__(self, player: Player, loudspeaker: Any, reactor: Any) -> None:
        self._player = player
        self._screen: Any = player.screen
        self._reactor = reactor
        self._loudspeaker = loudspeaker
        self._written = 0
        self._quiet_until = 0
        """Up to where (in samples) what is loud is the beep that has begun."""
        self._beeps: deque[int] = deque(maxlen=8)
        """Where beeps begin, in samples since the start."""
        self._flashes: deque[tuple[int, float]] = deque(maxlen=8)
        """The same of flashes, and how late in milliseconds each was."""
        self._lit = False
        self._write, self._clear = loudspeaker.write, loudspeaker.clear
        loudspeaker.write, loudspeaker.clear = self.write, self.clear

    def write(self, samples: bytes) -> None:
        for place, value in enumerate(array("h", samples)[0::2]):
            if abs(value) > LOUD:
                if self._written + place > self._quiet_until:
                    self._beeps.append(self._written + place)
                self._quiet_until = self._written + place + SOUND_RATE // 2
        self._written += len(samples) // 4
        self._write(samples)

    def clear(self) -> None:
        self._written -= self._loudspeaker.queued() // 4
        self._clear()
        self._beeps.clear()
        self._flashes.clear()

    @property
    def unseen(self) -> int:
        return int(self._screen.unseen)

    def show(self, picture: Picture, shown: Shown) -> None:
        def shown_and_seen(picture: Picture, at: int, wall: int) -> None:
            self._reactor.callFromThread(self.see, picture)
            shown(picture, at, wall)

        self._screen.show(picture, shown_and_seen)

    def see(self, picture: Picture) -> None:
        frame = picture.frame
        pattern = Pattern(frame.width, frame.height)
        scale = pattern._number_scale
        plane = frame.planes[0]
        lamp = memoryview(plane)[(pattern._number_top + 3 * scale) * plane.line_size + frame.width - 12 * scale]
        lit = lamp > BLACK_AND_WHITE
        if lit and not self._lit:
            assert self._player.listening is not None
            heard = self._player.listening.position(self._player.clock.monotonic())
            if heard is not None:
                # Of what it has taken, the last bit is on its way out.
                taken = self._written - self._loudspeaker.queued() // 4 - self._loudspeaker.chunk // 2
                self._flashes.append((taken, (heard - picture.time) / 1000))
        self._lit = lit
        self._tell()

    def _tell(self) -> None:
        """A flash and the beep nearest to it, once both are there."""
        while self._flashes and self._beeps and self._written - self._flashes[0][0] > SOUND_RATE // 2:
            flash, late = self._flashes.popleft()
            beep = min(self._beeps, key=lambda each: abs(each - flash))
            say(lip_ms=(beep - flash) * 1000 / SOUND_RATE, late_ms=late)


class Keys(LineReceiver):
    """Presses the keys that standard input names."""

    delimiter = b"\n"

    def __init__(self, sdl: Any) -> None:
        self._sdl = sdl

    def lineReceived(self, line: bytes) -> None:
        event = self._sdl.SDL_Event()
        event.type = self._sdl.SDL_KEYDOWN
        event.key.keysym.sym = getattr(self._sdl, f"SDLK_{line.decode()}")
        self._sdl.SDL_PushEvent(ctypes.byref(event))


def main(url: str) -> None:
    from twisted.internet import reactor as global_reactor  # noqa: TID251  (a process begins here)

    reactor: Any = global_reactor

    def leave(status: int) -> None:
        say(left=status)
        reactor.stop()

    service = PlayerService(
        load(PlayerSettings, {"from": url}),
        reactor,
        leave,
        SystemRandom(),
        None,
        lambda line: say(**json.loads(line), past=service.past),
    )

    def begin() -> None:
        service.startService()
        showing, player = service.showing, service.player
        assert isinstance(showing, WindowShowing)
        assert player is not None
        assert player.screen is not None
        player.screen = Beside(player, showing.loudspeaker, reactor)
        stdio.StandardIO(Keys(import_sdl()))

    reactor.callWhenRunning(begin)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    reactor.run()


if __name__ == "__main__":
    main(sys.argv[1])
