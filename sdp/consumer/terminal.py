"""The picture in a terminal, for a machine without a screen: two pixels a character, by half blocks in true colour."""

from __future__ import annotations

import shutil
import sys
import time
from typing import TYPE_CHECKING, Any, Final, TextIO

from sdp.consumer.decoding import monotonic
from sdp.consumer.showing import Showing
from sdp.media.decoding import Picture

if TYPE_CHECKING:
    from sdp.consumer.player import Shown

__all__ = ["TerminalScreen", "TerminalShowing", "half_blocks"]

LEAST_INTERVAL: Final = 60_000
"""Microseconds between two pictures: a terminal at the end of a slow line is not to be filled."""
_MOST_COLUMNS: Final = 160


def fitted(width: int, height: int, columns: int, lines: int) -> tuple[int, int]:
    """The size in pixels of a picture in so many characters: as wide as they allow, and of even height."""
    columns = max(2, min(columns, _MOST_COLUMNS))
    scale = min(columns / width, 2 * max(1, lines) / height)
    return max(2, round(width * scale)), max(2, round(height * scale) // 2 * 2)


def half_blocks(rgb: bytes | memoryview, width: int, height: int, stride: int) -> str:
    """Rows of red, green and blue as text: a character's upper half has one pixel's colour, its ground the other's."""
    lines = []
    for top in range(0, height - 1, 2):
        upper, lower = rgb[top * stride :][: 3 * width], rgb[(top + 1) * stride :][: 3 * width]
        cells, before = [], None
        for place in range(0, 3 * width, 3):
            colours = tuple(upper[place : place + 3]), tuple(lower[place : place + 3])
            if colours == before:
                cells.append("▀")
                continue
            before = colours
            (red, green, blue), (red2, green2, blue2) = colours
            cells.append(f"\x1b[38;2;{red};{green};{blue};48;2;{red2};{green2};{blue2}m▀")
        lines.append("".join(cells) + "\x1b[0m")
    return "\x1b[H" + "\r\n".join(lines)


class TerminalScreen:
    """Shows pictures on a terminal, as large as it is."""

    def __init__(self, output: TextIO) -> None:
        self.unseen = 0
        """Pictures that were too near to the one before."""
        self._output = output
        self._last = -LEAST_INTERVAL
        self._size: Any = None

    def show(self, picture: Picture, shown: Shown) -> None:
        """Draw it, unless the one before is too recent."""
        if 0 <= picture.time - self._last < LEAST_INTERVAL:
            self.unseen += 1
            return
        self._last = picture.time
        columns, lines = shutil.get_terminal_size()
        frame = picture.frame
        width, height = fitted(frame.width, frame.height, columns, lines - 1)
        if (width, height) != self._size:
            self._size = (width, height)
            self._output.write("\x1b[2J\x1b[?25l")
        small = frame.reformat(width=width, height=height, format="rgb24")
        plane = small.planes[0]
        self._output.write(half_blocks(memoryview(plane), width, height, plane.line_size))
        self._output.flush()
        shown(picture, monotonic(), time.time_ns() // 1000)

    def close(self) -> None:
        """Give the terminal back as it was."""
        self._output.write("\x1b[0m\x1b[?25h\r\n")
        self._output.flush()


class TerminalShowing(Showing):
    """A terminal, and no sound."""

    def __init__(self) -> None:
        super().__init__()
        self._screen = TerminalScreen(sys.__stdout__ or sys.stdout)
        self.screen = self._screen

    def close(self) -> None:
        self._screen.close()
