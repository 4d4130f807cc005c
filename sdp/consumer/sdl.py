"""SDL, where it is installed: its library, its errors, and its loudspeaker. The sound's end."""

from __future__ import annotations

import ctypes
import warnings
from typing import Any, Final

from sdp.errors import LocalError
from sdp.media.decoding import SOUND_RATE

__all__ = ["SDLLoudspeaker", "checked", "import_sdl"]

CHUNK: Final = 256
"""Samples that the loudspeaker takes at once: 5 ms. SDL may take another number."""


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


def checked(sdl: Any, done: bool, what: str) -> None:
    """Raise LocalError with what SDL says, unless it is ``done``."""
    if not done:
        said = sdl.SDL_GetError().decode("utf-8", "replace").rstrip(".")
        raise LocalError(f"SDL cannot {what} ({said}): look whether DISPLAY names a screen, or use --headless.")


class SDLLoudspeaker:
    """SDL's default loudspeaker, by its queue. Raises LocalError where there is none."""

    def __init__(self, sdl: Any) -> None:
        self._sdl = sdl
        checked(sdl, sdl.SDL_InitSubSystem(sdl.SDL_INIT_AUDIO) == 0, "play sound")
        wanted = sdl.SDL_AudioSpec(SOUND_RATE, sdl.AUDIO_S16SYS, 2, CHUNK)
        got = sdl.SDL_AudioSpec(0, 0, 0, 0)
        self._device = sdl.SDL_OpenAudioDevice(None, 0, ctypes.byref(wanted), ctypes.byref(got), 0)
        checked(sdl, self._device != 0, "open a loudspeaker")
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
