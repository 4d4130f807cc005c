"""A window and a loudspeaker, by SDL: pictures go up as YUV textures, the sound into SDL's queue. The player's end.

Everything here happens in the reactor's thread, which is the main one, as SDL wants it: to show a picture is to copy
its three planes, and nothing waits for the screen's refresh. Keys are looked for a hundred times a second.
"""

from __future__ import annotations

import ctypes
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from sdp.consumer.figures import lines_of, title_of
from sdp.consumer.lettering import panel
from sdp.consumer.listening import Listening
from sdp.consumer.player_settings import PlayerSettings
from sdp.consumer.showing import Controls, Showing
from sdp.errors import LocalError
from sdp.media.decoding import SOUND_RATE, Picture

if TYPE_CHECKING:
    from sdp.consumer.player import Player

__all__ = ["SDLLoudspeaker", "Window", "WindowShowing", "import_sdl"]

EVENTS_EVERY: Final = 0.01
"""Seconds between two looks for keys."""
FIGURES_EVERY: Final = 25
"""Looks for keys between two updates of the figures and the title."""
CHUNK: Final = 256
"""Samples that the loudspeaker takes at once: 5 ms. SDL may take another number."""
STEP: Final = 10.0
"""Seconds that an arrow goes back or forth; a minute where it points up or down."""
PANEL_WIDTH: Final = 264
CURVE_HEIGHT: Final = 24
_FIRST_SIZE: Final = (960, 540)
_INK, _GROUND, _LINE = b"\xf0\xf0\xf0\xff", b"\x10\x10\x10\xb0", b"\x60\xd0\x60\xff"


def import_sdl() -> Any:
    """PySDL2, which only installations with the [player] extra have. Raises LocalError with the way to get it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it tells each time where it has its library from
            import sdl2
    except ImportError as error:
        raise LocalError(
            f"A window needs PySDL2, which cannot be imported ({error}); install it by: pip install"
            " 'sdp-streaming[player]'. Without it, --terminal and --headless play as well."
        ) from None
    return sdl2


def _checked(sdl: Any, done: bool, what: str) -> None:
    if not done:
        said = sdl.SDL_GetError().decode("utf-8", "replace").rstrip(".")
        raise LocalError(f"SDL cannot {what} ({said}): look whether DISPLAY names a screen, or use --headless.")


class SDLLoudspeaker:
    """SDL's default loudspeaker, by its queue. Raises LocalError where there is none."""

    def __init__(self, sdl: Any) -> None:
        self._sdl = sdl
        _checked(sdl, sdl.SDL_InitSubSystem(sdl.SDL_INIT_AUDIO) == 0, "play sound")
        wanted = sdl.SDL_AudioSpec(SOUND_RATE, sdl.AUDIO_S16SYS, 2, CHUNK)
        got = sdl.SDL_AudioSpec(0, 0, 0, 0)
        self._device = sdl.SDL_OpenAudioDevice(None, 0, ctypes.byref(wanted), ctypes.byref(got), 0)
        _checked(sdl, self._device != 0, "open a loudspeaker")
        self.chunk = int(got.samples)
        sdl.SDL_PauseAudioDevice(self._device, 0)

    def write(self, samples: bytes) -> None:
        self._sdl.SDL_QueueAudio(self._device, samples, len(samples))

    def queued(self) -> int:
        return int(self._sdl.SDL_GetQueuedAudioSize(self._device))

    def clear(self) -> None:
        self._sdl.SDL_ClearQueuedAudio(self._device)

    def close(self) -> None:
        self._sdl.SDL_CloseAudioDevice(self._device)


class Window:
    """Shows pictures, as large as the window allows without distortion, with a panel of figures over them."""

    def __init__(self, sdl: Any, title: str, *, full_screen: bool = False) -> None:
        self._sdl = sdl
        _checked(sdl, sdl.SDL_InitSubSystem(sdl.SDL_INIT_VIDEO) == 0, "open a window")
        place = sdl.SDL_WINDOWPOS_CENTERED
        self._window = sdl.SDL_CreateWindow(
            title.encode(), place, place, *_FIRST_SIZE, sdl.SDL_WINDOW_RESIZABLE | sdl.SDL_WINDOW_ALLOW_HIGHDPI
        )
        _checked(sdl, bool(self._window), "open a window")
        self._renderer = sdl.SDL_CreateRenderer(self._window, -1, 0)
        _checked(sdl, bool(self._renderer), "draw into a window")
        sdl.SDL_SetHint(sdl.SDL_HINT_RENDER_SCALE_QUALITY, b"linear")
        self._texture: Any = None
        self._size = (0, 0)
        self._panel: Any = None
        self._panel_size = (0, 0)
        self.full_screen = False
        self.redraw()
        if full_screen:
            self.toggle_full_screen()

    def show(self, picture: Picture) -> None:
        """Copy the picture's planes, and draw."""
        sdl, frame = self._sdl, picture.frame
        if (frame.width, frame.height) != self._size:
            self._fit(frame.width, frame.height)
        planes: list[Any] = []
        for plane in frame.planes:
            planes += (ctypes.cast(plane.buffer_ptr, ctypes.POINTER(ctypes.c_ubyte)), plane.line_size)
        sdl.SDL_UpdateYUVTexture(self._texture, None, *planes)
        self.redraw()

    def _fit(self, width: int, height: int) -> None:
        """Another size of picture: another texture, and at the first a window of that size."""
        sdl = self._sdl
        if self._texture:
            sdl.SDL_DestroyTexture(self._texture)
        elif not self.full_screen:
            sdl.SDL_SetWindowSize(self._window, width, height)
            sdl.SDL_SetWindowPosition(self._window, sdl.SDL_WINDOWPOS_CENTERED, sdl.SDL_WINDOWPOS_CENTERED)
        self._texture = sdl.SDL_CreateTexture(
            self._renderer, sdl.SDL_PIXELFORMAT_IYUV, sdl.SDL_TEXTUREACCESS_STREAMING, width, height
        )
        _checked(sdl, bool(self._texture), f"show pictures of {width}x{height}")
        self._size = (width, height)

    def redraw(self) -> None:
        """Draw what there is: the picture in the middle, the panel at its top left."""
        sdl, renderer = self._sdl, self._renderer
        sdl.SDL_SetRenderDrawColor(renderer, 0, 0, 0, 255)
        sdl.SDL_RenderClear(renderer)
        if self._texture:
            sdl.SDL_RenderCopy(renderer, self._texture, None, ctypes.byref(self._middle()))
        if self._panel:
            width, height = self._panel_size
            place = sdl.SDL_Rect(8, 8, width * 2, height * 2)
            sdl.SDL_RenderCopy(renderer, self._panel, None, ctypes.byref(place))
        sdl.SDL_RenderPresent(renderer)

    def _middle(self) -> Any:
        sdl = self._sdl
        wide, high = ctypes.c_int(), ctypes.c_int()
        sdl.SDL_GetRendererOutputSize(self._renderer, ctypes.byref(wide), ctypes.byref(high))
        width, height = self._size
        scale = min(wide.value / width, high.value / height)
        shown = round(width * scale), round(height * scale)
        return sdl.SDL_Rect((wide.value - shown[0]) // 2, (high.value - shown[1]) // 2, *shown)

    def set_panel(self, height: int, rows: list[bytes]) -> None:
        """Show these rows of pixels over the picture; none where there are none."""
        sdl = self._sdl
        if self._panel and (PANEL_WIDTH, height) != self._panel_size:
            sdl.SDL_DestroyTexture(self._panel)
            self._panel = None
        if not rows:
            return
        if not self._panel:
            self._panel_size = (PANEL_WIDTH, height)
            self._panel = sdl.SDL_CreateTexture(
                self._renderer, sdl.SDL_PIXELFORMAT_RGBA32, sdl.SDL_TEXTUREACCESS_STREAMING, PANEL_WIDTH, height
            )
            sdl.SDL_SetTextureBlendMode(self._panel, sdl.SDL_BLENDMODE_BLEND)
        sdl.SDL_UpdateTexture(self._panel, None, b"".join(rows), PANEL_WIDTH * 4)

    def set_title(self, title: str) -> None:
        self._sdl.SDL_SetWindowTitle(self._window, title.encode())

    def toggle_full_screen(self) -> None:
        sdl = self._sdl
        self.full_screen = not self.full_screen
        sdl.SDL_SetWindowFullscreen(self._window, sdl.SDL_WINDOW_FULLSCREEN_DESKTOP if self.full_screen else 0)

    def close(self) -> None:
        self._sdl.SDL_DestroyRenderer(self._renderer)
        self._sdl.SDL_DestroyWindow(self._window)


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
        self._looks = 0
        self._looking: Any = None
        self._player: Player | None = None
        self.loudspeaker: SDLLoudspeaker | None = None
        self._window = Window(sdl, self._name, full_screen=settings.full_screen)
        if settings.video:
            self.screens.append(self._window)
        if settings.audio:
            self.loudspeaker = SDLLoudspeaker(sdl)
            self.listening = Listening(self.loudspeaker)
        self._keys: dict[int, Callable[[], None]] = {
            sdl.SDLK_SPACE: controls.pause,
            sdl.SDLK_LEFT: lambda: controls.shift(-STEP),
            sdl.SDLK_RIGHT: lambda: controls.shift(STEP),
            sdl.SDLK_DOWN: lambda: controls.shift(-6 * STEP),
            sdl.SDLK_UP: lambda: controls.shift(6 * STEP),
            sdl.SDLK_END: controls.go_live,
            sdl.SDLK_f: self._window.toggle_full_screen,
            sdl.SDLK_m: self._toggle_sound,
            sdl.SDLK_s: self._toggle_figures,
            sdl.SDLK_q: controls.quit,
            sdl.SDLK_ESCAPE: controls.quit,
        }

    def begin(self, player: Player) -> None:
        self._player = player
        self._look()

    def close(self) -> None:
        if self._looking is not None and self._looking.active():
            self._looking.cancel()
        self._player = None
        if self.loudspeaker is not None:
            self.loudspeaker.close()
        self._window.close()
        self._sdl.SDL_Quit()

    def _look(self) -> None:
        """Do what was typed; every now and then tell the figures."""
        sdl, event = self._sdl, self._sdl.SDL_Event()
        while self._player is not None and sdl.SDL_PollEvent(ctypes.byref(event)):
            if event.type == sdl.SDL_QUIT:
                self._controls.quit()
            elif event.type == sdl.SDL_KEYDOWN:
                self._keys.get(event.key.keysym.sym, lambda: None)()
            elif event.type == sdl.SDL_WINDOWEVENT:
                self._window.redraw()
        if self._player is None:
            return
        self._looks += 1
        if self._looks % FIGURES_EVERY == 1:
            self._tell(self._player)
        self._looking = self._reactor.callLater(EVENTS_EVERY, self._look)

    def _tell(self, player: Player) -> None:
        told, past = player.report.told(), self._controls.past
        self._window.set_title(title_of(self._name, told, past))
        if self._figures:
            lines = lines_of(told, past)
            curve = [point for point in player.report.curve.points for _ in (0, 1)]
            self._window.set_panel(*panel(lines, curve, PANEL_WIDTH, _INK, _GROUND, _LINE, CURVE_HEIGHT))

    def _toggle_figures(self) -> None:
        self._figures = not self._figures
        if not self._figures:
            self._window.set_panel(0, [])
        elif self._player is not None:
            self._tell(self._player)
        self._window.redraw()

    def _toggle_sound(self) -> None:
        if self.listening is not None:
            self.listening.muted = not self.listening.muted
