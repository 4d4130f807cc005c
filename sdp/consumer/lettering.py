"""Letters for the figures over the picture: five by seven dots each, so that no font has to be found. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Final

__all__ = ["COLUMNS", "LINES", "panel"]

COLUMNS: Final = 6
"""Dots from one letter to the next."""
LINES: Final = 9
"""Dots from one line to the next."""
_ROWS: Final = 7

_DOTS: Final = {
    "A": "0E1111 1F111111", "B": "1E11111E11111E", "C": "0E11101010110E", "D": "1E11111111111E",
    "E": "1F10101E10101F", "F": "1F10101E101010", "G": "0E11101711110F", "H": "1111111F111111",
    "I": "0E04040404040E", "J": "0702020202120C", "K": "11121418141211", "L": "1010101010101F",
    "M": "111B1515111111", "N": "11191513111111", "O": "0E11111111110E", "P": "1E11111E101010",
    "Q": "0E11111115120D", "R": "1E11111E141211", "S": "0F10100E01011E", "T": "1F040404040404",
    "U": "1111111111110E", "V": "111111110A0A04", "W": "11111115151B11", "X": "11110A040A1111",
    "Y": "11110A04040404", "Z": "1F01020408101F", "0": "0E11131519110E", "1": "040C040404040E",
    "2": "0E11010204081F", "3": "1F02040201110E", "4": "02060A121F0202", "5": "1F101E0101110E",
    "6": "0608101E11110E", "7": "1F010204080808", "8": "0E11110E11110E", "9": "0E11110F01020C",
    ".": "00000000000C0C", ",": "000000000C0408", ":": "000C0C000C0C00", "-": "0000001F000000",
    "+": "0004041F040400", "/": "01020204080810", "%": "18190204081303", "(": "02040808080402",
    ")": "08040202020408", "=": "00001F001F0000", "?": "0E110102040004", "'": "04040800000000",
}  # fmt: skip


@cache
def _glyph(letter: str) -> tuple[str, ...]:
    """A letter's rows as words of ``0`` and ``1``; an empty one for what there is no letter for."""
    dots = _DOTS.get(letter.upper(), "00" * _ROWS).replace(" ", "")
    return tuple(f"{int(dots[2 * row : 2 * row + 2], 16):05b}0" for row in range(_ROWS))


def panel(
    lines: Sequence[str],
    curve: Sequence[int],
    width: int,
    ink: bytes,
    ground: bytes,
    line_ink: bytes,
    curve_height: int,
) -> tuple[int, list[bytes]]:
    """Draw lines of text, and below them a curve of the values that fits the width: return its height, and its rows.

    ``ink``, ``ground`` and ``line_ink`` are one pixel's bytes each; all rows have ``width`` pixels.
    """
    empty = ground * width
    rows = [empty, empty]
    for text in lines:
        glyphs = [_glyph(letter) for letter in text[: width // COLUMNS]]
        for row in range(_ROWS):
            dots = "".join(glyph[row] for glyph in glyphs)
            drawn = b"".join(ink if dot == "1" else ground for dot in dots)
            rows.append((ground * 2 + drawn + empty)[: len(empty)])
        rows += [empty] * (LINES - _ROWS)
    greatest = max(curve, default=0)
    if greatest > 0:
        heights = [round(value * curve_height / greatest) for value in list(curve)[-width:]]
        for level in range(curve_height, 0, -1):
            drawn = b"".join(line_ink if height >= level else ground for height in heights)
            rows.append((drawn + empty)[: len(empty)])
        rows.append(empty)
    return len(rows), rows
