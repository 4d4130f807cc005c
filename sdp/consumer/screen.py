"""The screen's thread: it alone speaks to SDL's window. Pictures in, the newest first of all; keys out.

The way of a picture: reactor > here > window. To present one takes as long as the screen's server likes, and the
reactor has sockets and a loudspeaker to serve meanwhile. A picture that a newer one overtakes on its way is never seen.
"""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from sdp.consumer.decoding import monotonic
from sdp.consumer.figures import lines_of, title_of
from sdp.consumer.lettering import panel
from sdp.consumer.listening import Listening
from sdp.consumer.player_settings import PlayerSettings
from sdp.consumer.sdl import SDLLoudspeaker, import_sdl
from sdp.consumer.showing import Controls, Showing
from sdp.consumer.window import PANEL_WIDTH, Window
from sdp.errors import LocalError, SDPError
from sdp.media.decoding import Picture

if TYPE_CHECKING:
    from sdp.consumer.player import Player, Shown

__all__ = ["WindowScreen", "WindowShowing"]

EVENTS_EVERY: Final = 0.01
"""Seconds between two looks for keys."""
FIGURES_EVERY: Final = 0.25
"""Seconds between two updates of the figures and the title."""
STEP: Final = 10.0
"""Seconds that an arrow goes back or forth; a minute where it points up or down."""
CURVE_HEIGHT: Final = 24
BEGIN_LIMIT: Final = 20.0
"""Seconds that a window may take to come about."""
_INK, _GROUND, _LINE = b"\xf0\xf0\xf0\xff", b"\x10\x10\x10\xb0", b"\x60\xd0\x60\xff"


class WindowScreen:
    """A window in a thread of its own. ``act`` is called in that thread with what a key asks for, to be done elsewhere.

    Raises LocalError where there can be no window.
    """

    def __init__(self, sdl: Any, title: str, act: Callable[[Callable[[], None]], None], *, full_screen: bool) -> None:
        self.unseen = 0
        """Pictures that newer ones overtook."""
        self.keys: dict[int, Callable[[], None]] = {}
        self.on_close: Callable[[], None] = lambda: None
        self._sdl = sdl
        self._act = act
        self._work: SimpleQueue[Callable[[Window], None] | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._next: tuple[Picture, Shown] | None = None
        self._failure: SDPError | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(title, full_screen), name="sdp screen", daemon=True)
        self._thread.start()
        if not self._begun.wait(BEGIN_LIMIT):
            raise LocalError("The window does not come about: look whether the screen that DISPLAY names answers.")
        if self._failure is not None:
            raise self._failure

    # -- from the reactor's thread -----------------------------------------------------------------------------

    def show(self, picture: Picture, shown: Shown) -> None:
        """Show it as soon as may be; ``shown`` is called in the screen's thread once it is."""
        with self._lock:
            overtaken, self._next = self._next, (picture, shown)
        if overtaken is not None:
            self.unseen += 1
        else:
            self._work.put(self._present)

    def do(self, work: Callable[[Window], None]) -> None:
        """Have something done to the window, after what was asked for before."""
        self._work.put(work)

    def close(self) -> None:
        """End the window, and wait for that."""
        self._work.put(None)
        self._thread.join(BEGIN_LIMIT)

    # -- in the screen's thread --------------------------------------------------------------------------------

    def _run(self, title: str, full_screen: bool) -> None:
        try:
            window = Window(self._sdl, title, full_screen=full_screen)
        except SDPError as error:
            self._failure = error
            return
        except Exception as error:  # a fault of this program: whoever waits has to learn of it
            self._failure = LocalError(f"The window failed unexpectedly: {error!r}; please report this.")
            return
        finally:
            self._begun.set()
        while True:
            try:
                work = self._work.get(timeout=EVENTS_EVERY)
            except Empty:
                self._look(window)
                continue
            if work is None:
                break
            work(window)
            self._look(window)
        window.close()

    def _present(self, window: Window) -> None:
        with self._lock:
            taken, self._next = self._next, None
        if taken is not None:
            picture, shown = taken
            window.show(picture)
            shown(picture, monotonic(), time.time_ns() // 1000)

    def _look(self, window: Window) -> None:
        """Do what was typed."""
        sdl, event = self._sdl, self._sdl.SDL_Event()
        while sdl.SDL_PollEvent(ctypes.byref(event)):
            if event.type == sdl.SDL_QUIT:
                self._act(self.on_close)
            elif event.type == sdl.SDL_KEYDOWN and event.key.keysym.sym == sdl.SDLK_f:
                window.toggle_full_screen()
            elif event.type == sdl.SDL_KEYDOWN and event.key.keysym.sym in self.keys:
                self._act(self.keys[event.key.keysym.sym])
            elif event.type == sdl.SDL_WINDOWEVENT:
                window.redraw()


class WindowShowing(Showing):
    """A window, a loudspeaker, and the keys. Raises LocalError where there can be neither."""

    def __init__(self, settings: PlayerSettings, controls: Controls, reactor: Any) -> None:
        super().__init__()
        sdl = self._sdl = import_sdl()
        sdl.SDL_SetHint(sdl.SDL_HINT_NO_SIGNAL_HANDLERS, b"1")  # they are the reactor's
        self._controls = controls
        self._reactor = reactor
        self._name = settings.from_.name
        self._figures = False
        self._telling: Any = None
        self._player: Player | None = None
        self.loudspeaker: SDLLoudspeaker | None = None
        if settings.audio:
            self.loudspeaker = SDLLoudspeaker(sdl)
            self.listening = Listening(self.loudspeaker)
        self._screen = WindowScreen(sdl, self._name, reactor.callFromThread, full_screen=settings.full_screen)
        if settings.video:
            self.screen = self._screen
        self._screen.on_close = controls.quit
        self._screen.keys = {
            sdl.SDLK_SPACE: controls.pause,
            sdl.SDLK_LEFT: lambda: controls.shift(-STEP),
            sdl.SDLK_RIGHT: lambda: controls.shift(STEP),
            sdl.SDLK_DOWN: lambda: controls.shift(-6 * STEP),
            sdl.SDLK_UP: lambda: controls.shift(6 * STEP),
            sdl.SDLK_END: controls.go_live,
            sdl.SDLK_m: self._toggle_sound,
            sdl.SDLK_s: self._toggle_figures,
            sdl.SDLK_q: controls.quit,
            sdl.SDLK_ESCAPE: controls.quit,
        }

    def begin(self, player: Player) -> None:
        self._player = player
        self._tell()

    def close(self) -> None:
        self._player = None
        if self._telling is not None and self._telling.active():
            self._telling.cancel()
        self._screen.close()
        if self.loudspeaker is not None:
            self.loudspeaker.close()
        self._sdl.SDL_Quit()

    def _tell(self) -> None:
        """The title and the figures, every now and then."""
        if self._player is None:
            return
        self._draw_figures(self._player)
        self._telling = self._reactor.callLater(FIGURES_EVERY, self._tell)

    def _draw_figures(self, player: Player) -> None:
        told, past = player.report.told(), self._controls.past
        title = title_of(self._name, told, past)
        height = 0
        rows: list[bytes] = []
        if self._figures:
            curve = [point for point in player.report.curve.points for _ in (0, 1)]
            height, rows = panel(lines_of(told, past), curve, PANEL_WIDTH, _INK, _GROUND, _LINE, CURVE_HEIGHT)

        def draw(window: Window) -> None:
            window.set_title(title)
            window.set_panel(height, rows)

        self._screen.do(draw)

    def _toggle_figures(self) -> None:
        self._figures = not self._figures
        if self._player is not None:
            self._draw_figures(self._player)
            self._screen.do(Window.redraw)

    def _toggle_sound(self) -> None:
        if self.listening is not None:
            self.listening.muted = not self.listening.muted
