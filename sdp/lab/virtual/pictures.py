"""Pictures without a camera or a codec: coded frames of modelled sizes, which bear their own number as real ones do.

A key frame weighs :data:`KEY_WEIGHT` times what the others do, each is drawn within a quarter of its mean by seed, and
the mean is the bit rate's. Each begins with the stamp that a consumer reads: what is shown is told by what came.
"""

from __future__ import annotations

import struct
from random import Random
from typing import Final

from sdp.lab.way import Way
from sdp.media.coded import Coded, MediaTrack

__all__ = ["KEY_WEIGHT", "TIMESCALE", "Pictures", "read_number", "track_of"]

KEY_WEIGHT: Final = 6.0
BITS_A_PIXEL: Final = 0.1
"""Of a picture's mean size where the way names no bit rate: a fair guess at a quick encoder's."""

TIMESCALE: Final = 90_000
SPREAD: Final = 0.25

_STAMP = struct.Struct(">4sQI")
_MAGIC: Final = b"\xffNo."
_CHECK: Final = 0x5DEECE6


def track_of(way: Way) -> MediaTrack:
    """The one track that the pictures are of. VP9 needs no parameter sets, which there are none of."""
    width, height = (int(side) for side in way.size.split("x"))
    return MediaTrack(kind="video", codec="vp9", timescale=TIMESCALE, width=width, height=height)


class Pictures:
    """The coded frames of one cell, by their number."""

    def __init__(self, way: Way, seed: int) -> None:
        width, height = (int(side) for side in way.size.split("x"))
        bits = way.bit_rate if way.bit_rate is not None else BITS_A_PIXEL * width * height * way.rate
        self.group = max(1, round(way.gop * way.rate))
        self._mean = bits / 8 / way.rate * self.group / (KEY_WEIGHT + self.group - 1)
        self._duration = round(TIMESCALE / way.rate)
        self._seed = seed

    def picture(self, number: int) -> Coded:
        """The coded frame of that number."""
        is_key = number % self.group == 0
        drawn = Random(self._seed * 1_000_003 + number).uniform(1 - SPREAD, 1 + SPREAD)
        size = max(_STAMP.size, round(self._mean * drawn * (KEY_WEIGHT if is_key else 1.0)))
        stamp = _STAMP.pack(_MAGIC, number, (number ^ _CHECK) & 0xFFFF_FFFF)
        time = number * self._duration
        return Coded(0, stamp.ljust(size, b"\0"), time, time, self._duration, is_key)


def read_number(data: bytes) -> int | None:
    """The number that a coded frame bears; None where it is none of these, or not whole."""
    if len(data) < _STAMP.size:
        return None
    magic, number, check = _STAMP.unpack_from(data)
    return int(number) if magic == _MAGIC and check == (number ^ _CHECK) & 0xFFFF_FFFF else None
