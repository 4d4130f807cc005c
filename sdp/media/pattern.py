"""The test pattern: a picture that tells the time, to people and to machines, and a beep on each second.

Drawn straight into the encoder's planes. The colours are drawn once; each frame only overwrites the luma of the
regions that change, line by line with ready-made bytes, so that 720p60 costs a small part of a core. Pure: planes
come in as writable buffers, times as numbers.

From the top: the strip of :mod:`sdp.media.stamp`, the wall clock in digits, the frame number beside the lamp that
flashes on each second, a texture that scrolls (work for the motion search), and a bar that sweeps once a second.
"""

from __future__ import annotations

import math
import random
from array import array
from fractions import Fraction
from functools import cache

from sdp.media.stamp import BLACK, WHITE, Stamp, strip_layout, strip_lines

__all__ = ["Picture", "Tone", "clock_text"]

FLASH_SECONDS = Fraction(1, 10)
"""How long the lamp stays lit; the beep lasts as long."""
SWEEP_FRAMES = 60

_FONT = {
    "0": "01110 10001 10011 10101 11001 10001 01110",
    "1": "00100 01100 00100 00100 00100 00100 01110",
    "2": "01110 10001 00001 00110 01000 10000 11111",
    "3": "11110 00001 00001 01110 00001 00001 11110",
    "4": "00010 00110 01010 10010 11111 00010 00010",
    "5": "11111 10000 11110 00001 00001 10001 01110",
    "6": "00110 01000 10000 11110 10001 10001 01110",
    "7": "11111 00001 00010 00100 01000 01000 01000",
    "8": "01110 10001 10001 01110 10001 10001 01110",
    "9": "01110 10001 10001 01111 00001 00010 01100",
    ":": "00000 01100 01100 00000 01100 01100 00000",
    ".": "00000 00000 00000 00000 00000 01100 01100",
    "#": "01010 01010 11111 01010 11111 01010 01010",
}
_GLYPH_LINES = 7
_GLYPH_COLUMNS = 6  # five, and one between the signs

_BARS = ((128, 128), (16, 146), (166, 16), (54, 34), (202, 222), (90, 240), (240, 110), (128, 128))
"""Chroma (U, V) of the eight colour bars, from left to right."""


def clock_text(clock_us: int) -> str:
    """Return HH:MM:SS.mmm in UTC for microseconds since the Unix epoch."""
    milliseconds = clock_us // 1000
    seconds = milliseconds // 1000
    return f"{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{milliseconds % 1000:03}"


@cache
def _glyph(sign: str, scale: int) -> tuple[bytes, ...]:
    """Return a sign's seven lines of luma, each pixel ``scale`` wide."""
    ink = {"0": bytes((BLACK,)) * scale, "1": bytes((WHITE,)) * scale}
    return tuple(b"".join(map(ink.__getitem__, line + "0")) for line in _FONT[sign].split())


class Picture:
    """Draws frame after frame into the same YUV 4:2:0 planes; sizes in pixels, even, at least 160x120."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._strip = strip_layout(width, height)
        top = self._strip.rows * self._strip.cell_height
        self._scale = max(1, min(width // (12 * _GLYPH_COLUMNS + 2), (height - top) // 30))
        self._clock_top = top + self._scale
        self._number_top = self._clock_top + (_GLYPH_LINES + 1) * self._scale
        self._number_scale = max(1, self._scale // 2)
        self._texture_top = self._number_top + (_GLYPH_LINES + 1) * self._number_scale
        rest = height - self._texture_top
        self._texture_lines = rest // 2
        self._bar_top = self._texture_top + self._texture_lines
        self._texture = self._make_texture()

    def _make_texture(self) -> list[bytes]:
        """Return lines of flat 8x8 blocks of chance luma, twice as wide as the picture: a window moves over them."""
        chance = random.Random(1)
        lines: list[bytes] = []
        for _ in range(0, self._texture_lines, 8):
            row = b"".join(bytes((chance.randrange(60, 200),)) * 8 for _ in range(0, self.width, 8))[: self.width]
            lines += [row * 2] * 8
        return lines[: self._texture_lines]

    def prime(self, planes: tuple[memoryview, memoryview, memoryview], strides: tuple[int, int, int]) -> None:
        """Draw once what never changes: a dark picture, and the colour bars over its lower half."""
        luma, *chroma = planes
        luma[:] = bytes((BLACK,)) * len(luma)
        coloured = self._texture_top // 2
        for part, plane in enumerate(chroma):
            stride, wide = strides[part + 1], self.width // 2
            bar = -(-wide // len(_BARS))
            line = b"".join(bytes((pair[part],)) * bar for pair in _BARS)[:wide]
            plane[:] = b"\x80" * len(plane)
            _blit(plane, stride, coloured, 0, line, self.height // 2 - coloured)

    def draw(self, luma: memoryview, stride: int, stamp: Stamp, lamp: bool) -> None:
        """Overwrite what changes: the strip, the digits, the lamp, the texture and the bar."""
        strip = self._strip
        for row, line in enumerate(strip_lines(stamp, strip)):
            _blit(luma, stride, row * strip.cell_height, 0, line, strip.cell_height)
        self._write(luma, stride, self._clock_top, clock_text(stamp.clock_us), self._scale)
        self._write(luma, stride, self._number_top, f"#{stamp.frame:08}", self._number_scale)
        lamp_width = 8 * self._number_scale
        lamp_line = bytes((WHITE if lamp else BLACK,)) * lamp_width
        left = self.width - 2 * lamp_width
        _blit(luma, stride, self._number_top, left, lamp_line, _GLYPH_LINES * self._number_scale)
        shift = stamp.frame * 4 % self.width
        place = self._texture_top * stride
        for line in self._texture:
            luma[place : place + self.width] = line[shift : shift + self.width]
            place += stride
        _blit(luma, stride, self._bar_top, 0, self._bar_line(stamp.frame), self.height - self._bar_top)

    def _bar_line(self, frame: int) -> bytes:
        wide = max(8, self.width // 40)
        left = (self.width - wide) * (frame % SWEEP_FRAMES) // SWEEP_FRAMES
        dark = bytes((80,))
        return dark * left + bytes((WHITE,)) * wide + dark * (self.width - wide - left)

    def _write(self, luma: memoryview, stride: int, top: int, text: str, scale: int) -> None:
        glyphs = [_glyph(sign, scale) for sign in text]
        for number, parts in enumerate(zip(*glyphs, strict=True)):
            _blit(luma, stride, top + number * scale, 2 * scale, b"".join(parts), scale)


def _blit(plane: memoryview, stride: int, top: int, left: int, line: bytes, lines: int) -> None:
    """Write ``line`` into ``lines`` lines of a plane."""
    size = len(line)
    if size == stride:
        plane[top * stride : (top + lines) * stride] = line * lines
        return
    for place in range(top * stride + left, (top + lines) * stride + left, stride):
        plane[place : place + size] = line


class Tone:
    """The sound: a 1 kHz beep at the start of each second over a tone so soft that it only proves presence.

    ``phase`` is the sample of the second that sample 0 of the stream is (samples at ``rate`` a second).
    """

    def __init__(self, rate: int = 48_000, phase: int = 0) -> None:
        self.rate = rate
        self._phase = phase
        beep = int(rate * FLASH_SECONDS)
        ramp = rate // 200  # 5 ms in and out, so that it does not click
        second = array("f")
        for place in range(rate):
            value = 0.005 * math.sin(2 * math.pi * 250 * place / rate)
            if place < beep:
                loud = min(1.0, place / ramp, (beep - place) / ramp)
                value += 0.4 * loud * math.sin(2 * math.pi * 1000 * place / rate)
            second.append(value)
        self._sound = memoryview((second + second).tobytes())

    def samples(self, start: int, count: int) -> memoryview:
        """Return ``count`` (at most ``rate``) native float32 samples of one channel, from sample ``start`` on."""
        place = (start + self._phase) % self.rate * 4
        return self._sound[place : place + count * 4]
