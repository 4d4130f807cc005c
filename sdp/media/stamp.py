"""The machine-readable strip in the test pattern: a clock and a frame number that survive encoding.

120 black or white cells at the top left of the picture, read row by row, most significant bit first:

    8 bits marker | 64 bits capture clock (us since the Unix epoch) | 32 bits frame number | 16 bits CRC

40 cells a row in pictures at least 640 pixels wide, else 20. Cells align with macroblocks where there is room, so
that the transform of one cell holds one flat value. A reader averages the middle of each cell, tells black from
white by the marker's cells (four of each), and believes nothing whose CRC does not fit. Pure: no codec, no NumPy.
"""

from __future__ import annotations

from binascii import crc_hqx
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple

__all__ = ["Stamp", "StripLayout", "read_stamp", "strip_layout", "strip_lines"]

MARKER = 0b10110010
CELLS = 120
BLACK = 16
WHITE = 235
LEAST_CONTRAST = 48
"""Luma between the marker's black and white below which a picture is taken to bear no strip."""

_PAYLOAD = 12  # bytes of clock and frame number, under the CRC
_SCALES = tuple(Fraction(scale) for scale in ("1", "2", "3/2", "3", "4", "1/2"))
"""How much larger the picture may have been when it was drawn: 1/2 is a picture that was enlarged since."""


class Stamp(NamedTuple):
    """What the strip says: wall clock of drawing (microseconds since the Unix epoch), and the frame's number."""

    clock_us: int
    frame: int


class StripLayout(NamedTuple):
    """The strip's grid: cells a row, rows, and a cell's width and height in pixels."""

    columns: int
    rows: int
    cell_width: int
    cell_height: int


def strip_layout(width: int, height: int) -> StripLayout:
    """Return the grid for a picture of ``width`` x ``height`` pixels (at least 160x120)."""
    columns = 40 if width >= 640 else 20
    cell_width = width // columns
    cell_width -= cell_width % (16 if cell_width >= 16 else 8)
    cell_height = 32 if height >= 720 else 16 if height >= 240 else 8
    return StripLayout(columns, CELLS // columns, max(cell_width, 8), cell_height)


def _bits(stamp: Stamp) -> str:
    payload = (stamp.clock_us & (2**64 - 1)).to_bytes(8, "big") + (stamp.frame & (2**32 - 1)).to_bytes(4, "big")
    whole = bytes((MARKER,)) + payload + crc_hqx(payload, 0xFFFF).to_bytes(2, "big")
    return f"{int.from_bytes(whole, 'big'):0{CELLS}b}"


def strip_lines(stamp: Stamp, layout: StripLayout) -> list[bytes]:
    """Return one line of luma for each row of cells; each is drawn ``cell_height`` times."""
    cells = {"0": bytes((BLACK,)) * layout.cell_width, "1": bytes((WHITE,)) * layout.cell_width}
    bits = _bits(stamp)
    return [
        b"".join(map(cells.__getitem__, bits[start : start + layout.columns]))
        for start in range(0, CELLS, layout.columns)
    ]


def read_stamp(luma: bytes | bytearray | memoryview, width: int, height: int, stride: int) -> Stamp | None:
    """Read the strip in a plane of 8-bit luma, whose lines are ``stride`` bytes apart; None where there is none.

    Finds strips that were drawn at this size, at one and a half to four times it, and at half of it.
    """
    if width < 40 or height < 24 or stride < width or len(luma) < stride * (height - 1) + width:
        return None
    plane = memoryview(luma)
    for scale in _SCALES:
        stamp = _read_at(plane, stride, width, height, scale)
        if stamp is not None:
            return stamp
    return None


class _Places(NamedTuple):
    """Where to look in a plane: for each cell the offsets of a few runs of ``span`` pixels in its middle."""

    cells: tuple[range, ...]
    span: int


@lru_cache(maxsize=32)
def _places(stride: int, width: int, height: int, scale: Fraction) -> _Places | None:
    drawn_width, drawn_height = round(width * scale), round(height * scale)
    if drawn_width < 160 or drawn_height < 120:
        return None
    layout = strip_layout(drawn_width, drawn_height)
    cell_width, cell_height = layout.cell_width / scale, layout.cell_height / scale
    if cell_width < 2 or cell_height < 2 or cell_height * layout.rows > height:
        return None
    lines = max(1, int(cell_height / 2))
    step = max(1, lines // 2)  # two or three lines say as much as all
    cells = []
    for index in range(CELLS):
        row, column = divmod(index, layout.columns)
        left = int((column + Fraction(1, 4)) * cell_width)
        top = int((row + Fraction(1, 4)) * cell_height)
        cells.append(range(top * stride + left, (top + lines) * stride + left, stride * step))
    return _Places(tuple(cells), max(1, int(cell_width / 2)))


def _read_at(luma: memoryview, stride: int, width: int, height: int, scale: Fraction) -> Stamp | None:
    places = _places(stride, width, height, scale)
    if places is None:
        return None
    span = places.span

    def level(cell: range) -> int:
        return sum(sum(luma[place : place + span]) for place in cell)

    marker = [level(cell) for cell in places.cells[:8]]
    wanted = [bool(MARKER >> (7 - index) & 1) for index in range(8)]
    white = sum(value for value, is_white in zip(marker, wanted, strict=True) if is_white)
    black = sum(value for value, is_white in zip(marker, wanted, strict=True) if not is_white)
    middle = (white + black) / 8
    pixels = 4 * span * len(places.cells[0])
    if white - black < LEAST_CONTRAST * pixels or [value > middle for value in marker] != wanted:
        return None
    bits = "".join("1" if level(cell) > middle else "0" for cell in places.cells[8:])
    whole = int(bits, 2).to_bytes(_PAYLOAD + 2, "big")
    payload, check = whole[:_PAYLOAD], int.from_bytes(whole[_PAYLOAD:], "big")
    if crc_hqx(payload, 0xFFFF) != check:
        return None
    return Stamp(int.from_bytes(payload[:8], "big"), int.from_bytes(payload[8:], "big"))
