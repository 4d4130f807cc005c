"""Sound made a little shorter or longer without changing its pitch: whole periods are left out or said twice. Pure.

A filter that stretches by overlapping windows (libav's atempo is one) holds back one or two windows, 40 to 85 ms: more
than all else between an encoder and this loudspeaker. Rates within 5 % need no such window. Where enough is owed, the
period of the sound is looked for (the lag at which it resembles itself most), and one period is faded out of it, or
into it, within a packet that is here already. Nothing is held back.
"""

from __future__ import annotations

from array import array
from typing import Final

__all__ = ["Stretcher"]

CHANNELS: Final = 2
SHORTEST: Final = 120
LONGEST: Final = 432
"""A period in samples at 48 kHz: 2.5 to 9 ms, which holds whole periods of every voice."""
COARSE: Final = 8
"""The period is looked for in every eighth sample first: 6 kHz tells it well enough."""


class Stretcher:
    """Keeps account of what the rate has asked for so far, and pays it period by period."""

    def __init__(self) -> None:
        self.owed = 0.0
        """Samples to be left out; negative: to be added."""

    def stretched(self, samples: bytes, rate: float) -> bytes:
        """The samples (interleaved 16 bits, two channels) as they are played at ``rate``: fewer above 1, more below."""
        count = len(samples) // (2 * CHANNELS)
        if rate == 1.0:
            self.owed = 0.0
            return samples
        self.owed += count * (1.0 - 1.0 / rate)
        room = count // 2
        if abs(self.owed) < SHORTEST or room < SHORTEST:
            return samples
        sound = array("h", samples)
        lag = _period(sound, min(LONGEST, room))
        if abs(self.owed) < lag:
            return samples
        if self.owed > 0:
            self.owed -= lag
            return _shortened(sound, lag).tobytes()
        self.owed += lag
        return _lengthened(sound, lag).tobytes()


def _period(sound: array[int], longest: int) -> int:
    """The lag in samples, from SHORTEST to ``longest``, at which the beginning resembles what follows it most."""
    mono = [left + right for left, right in zip(sound[:: 2 * COARSE], sound[1 :: 2 * COARSE], strict=True)]
    width = min(longest // COARSE, len(mono) - longest // COARSE)
    best, least = SHORTEST, None
    for lag in range(SHORTEST // COARSE, longest // COARSE + 1):
        difference = sum(abs(a - b) for a, b in zip(mono[:width], mono[lag : lag + width], strict=False))
        if least is None or difference < least:
            best, least = lag * COARSE, difference
    around = range(max(SHORTEST, best - COARSE), min(longest, best + COARSE) + 1, 2)
    left = sound[0::2]
    probe = left[: 4 * COARSE * 4]
    return min(
        around, key=lambda lag: sum(abs(a - b) for a, b in zip(probe, left[lag : lag + len(probe)], strict=False))
    )


def _faded(out: array[int], into: array[int]) -> array[int]:
    """From one to the other, over their common length."""
    frames = len(out) // CHANNELS
    faded = array("h", bytes(2 * len(out)))
    for frame in range(frames):
        share = (frame + 1) / (frames + 1)
        for place in (2 * frame, 2 * frame + 1):
            faded[place] = round(out[place] * (1 - share) + into[place] * share)
    return faded


def _shortened(sound: array[int], lag: int) -> array[int]:
    """One period left out: the first one fades into the second."""
    cut = lag * CHANNELS
    return _faded(sound[:cut], sound[cut : 2 * cut]) + sound[2 * cut :]


def _lengthened(sound: array[int], lag: int) -> array[int]:
    """One period more: the second one fades back into the first, and then they follow as they are."""
    cut = lag * CHANNELS
    return sound[:cut] + _faded(sound[cut : 2 * cut], sound[:cut]) + sound[cut:]
