"""A window, by SDL: pictures go up as YUV textures. The picture's end.

To show a picture is to copy its three planes and to wait until the screen's server has them; it is done in the thread
of :mod:`sdp.consumer.screen`, so that nothing else waits for that.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

from sdp.consumer.sdl import checked
from sdp.media.decoding import Picture

__all__ = ["PANEL_WIDTH", "Window"]

PANEL_WIDTH: Final = 264
"""Pixels of the figures' panel; each is shown twice as wide and high."""
_BY_SIZE: Final = 3
"""SDL_YUV_CONVERSION_AUTOMATIC, which PySDL2 does not name: BT.601 for small pictures, BT.709 for large ones."""
_FIRST_SIZE: Final = (960, 540)


class Window:
    """Shows pictures, as large as the window allows without distortion, with a panel of figures over them."""

    def __init__(self, sdl: Any, title: str, *, full_screen: bool = False) -> None:
        self._sdl = sdl
        checked(sdl, sdl.SDL_InitSubSystem(sdl.SDL_INIT_VIDEO) == 0, "open a window")
        place = sdl.SDL_WINDOWPOS_CENTERED
        self._window = sdl.SDL_CreateWindow(
            title.encode(), place, place, *_FIRST_SIZE, sdl.SDL_WINDOW_RESIZABLE | sdl.SDL_WINDOW_ALLOW_HIGHDPI
        )
        checked(sdl, bool(self._window), "open a window")
        self._renderer = sdl.SDL_CreateRenderer(self._window, -1, 0)
        checked(sdl, bool(self._renderer), "draw into a window")
        sdl.SDL_SetHint(sdl.SDL_HINT_RENDER_SCALE_QUALITY, b"linear")
        sdl.SDL_SetYUVConversionMode(_BY_SIZE)
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
        checked(sdl, bool(self._texture), f"show pictures of {width}x{height}")
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
