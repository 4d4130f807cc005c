"""Sound on its way to the loudspeaker: aligned with the pictures, stretched where the rate asks for it, never a gap
without silence. What the loudspeaker has played is the player's clock where there is sound.

Pure but for the loudspeaker that it is handed.
"""

from __future__ import annotations

from collections import deque
from typing import Final
from typing import Protocol as Shape

from sdp.consumer.playout import Decision, State
from sdp.consumer.stretching import Stretcher
from sdp.media.decoding import SOUND_RATE, Sound

__all__ = ["Listening", "Loudspeaker"]

BYTES: Final = 4
"""A sample of two channels."""
AHEAD: Final = 30_000
"""Microseconds of sound that the loudspeaker is kept supplied with, beyond what it takes at once: the reactor may be
busy with a picture meanwhile."""
SLACK: Final = 3_000
"""Sound this far from where it should follow on (microseconds) follows on: time stamps are rounded."""
LONGEST_SILENCE: Final = 1_000_000
"""A gap up to this long (microseconds) is silence; past it the sound begins anew, aligned with the pictures."""
SNAP: Final = 30_000
"""So far from what the loudspeaker says (microseconds) its clock is believed at once; nearer it is followed slowly."""
FOLLOW: Final = 0.05


class Loudspeaker(Shape):
    """Plays interleaved 16-bit samples of two channels, SOUND_RATE a second."""

    chunk: int
    """Samples that it takes at once."""

    def write(self, samples: bytes) -> None: ...

    def queued(self) -> int:
        """How many bytes of what was written it has not taken yet."""

    def clear(self) -> None:
        """Forget what it has not taken."""


def samples_in(microseconds: float) -> int:
    """So long a time, in samples."""
    return round(microseconds * SOUND_RATE / 1_000_000)


class Listening:
    """Feeds a loudspeaker, and tells from it which moment of the stream is being heard."""

    def __init__(self, loudspeaker: Loudspeaker) -> None:
        self.ahead = AHEAD + loudspeaker.chunk * 1_000_000 // SOUND_RATE
        """How long before it is heard sound has to be here, in microseconds."""
        self.muted = False
        self.gaps = 0
        """How often silence had to be put in, or the loudspeaker ran dry."""
        self._loudspeaker = loudspeaker
        self._stretcher = Stretcher()
        self._sounds: deque[Sound] = deque()
        self._heard_any = False
        self._end: int | None = None
        """The time of what follows on the last sample written; None where nothing plays."""
        self._clock: float | None = None
        """The position less the machine's clock, followed."""

    @property
    def wanted(self) -> bool:
        """Whether the stream has sound."""
        return self._heard_any

    def begin(self) -> None:
        """Another line of time begins."""
        self._sounds.clear()
        self._heard_any = False
        self._silence()

    def leave_out(self, position: float) -> None:
        """A skip to ``position``: what lies before it is not heard."""
        while self._sounds and self._sounds[0].time + self._sounds[0].duration <= position:
            self._sounds.popleft()
        self._silence()

    def _silence(self) -> None:
        self._loudspeaker.clear()
        self._stretcher = Stretcher()
        self._end = self._clock = None

    def add(self, sound: Sound) -> None:
        """Decoded sound, in order."""
        self._heard_any = True
        self._sounds.append(sound)

    # -- the clock ---------------------------------------------------------------------------------------------

    def position(self, at: int) -> float | None:
        """The moment of the stream that is being heard ``at`` this moment (microseconds); None where none is."""
        if self._end is None:
            return None
        queued = self._loudspeaker.queued() // BYTES
        # What it takes at once is on its way out: on average half of that is still to be heard.
        waiting = queued + self._loudspeaker.chunk // 2
        said = self._end - waiting * 1_000_000 / SOUND_RATE
        if not queued:
            # It ran dry: where nothing has arrived the playout waits by itself; where the stream has a hole it goes on.
            self.gaps += 1
            self._end = self._clock = None
            return None
        if self._clock is None or abs(said - at - self._clock) > SNAP:
            self._clock = said - at
        else:
            self._clock += (said - at - self._clock) * FOLLOW
        return min(at + self._clock, float(self._end))

    # -- feeding -----------------------------------------------------------------------------------------------

    def feed(self, decision: Decision, at: int) -> None:
        """Write what is due within the loudspeaker's reach."""
        if decision.position is None or decision.state in (State.WAITING, State.STARTING):
            self._drop_before(decision.position)
            return
        if self._end is None and not self._align(decision.position):
            return
        reach = samples_in(self.ahead) * BYTES
        while self._sounds and self._loudspeaker.queued() < reach:
            if not self._follows():
                return
            sound = self._sounds.popleft()
            assert self._end is not None
            self._write(self._stretcher.stretched(sound.samples, decision.rate))
            self._end = sound.time + sound.duration

    def _drop_before(self, position: float | None) -> None:
        if position is not None:
            while self._sounds and self._sounds[0].time + self._sounds[0].duration <= position:
                self._sounds.popleft()

    def _align(self, position: float) -> bool:
        """Begin: with silence until the first sound is due, or in the middle of one. False where none is here."""
        self._drop_before(position)
        if not self._sounds:
            return False
        first = self._sounds[0]
        early = first.time - position
        if early > self.ahead:
            return False
        if early >= 0:
            self._write(bytes(samples_in(early) * BYTES))
            self._end = first.time
            return True
        cut = samples_in(-early) * BYTES
        self._sounds[0] = Sound(round(position), first.samples[cut:])
        self._end = round(position)
        return True

    def _follows(self) -> bool:
        """See to it that the next sound follows on the last one: silence in a gap, a cut where they overlap."""
        assert self._end is not None
        sound = self._sounds[0]
        gap = sound.time - self._end
        if abs(gap) <= SLACK:
            return True
        if gap > LONGEST_SILENCE:
            if not self._loudspeaker.queued():
                self._silence()
            return False
        if gap > 0:
            self.gaps += 1
            self._write(bytes(samples_in(gap) * BYTES))
            self._end = sound.time
            return True
        cut = samples_in(-gap) * BYTES
        if cut >= len(sound.samples):
            self._sounds.popleft()
            return bool(self._sounds) and self._follows()
        self._sounds[0] = Sound(self._end, sound.samples[cut:])
        return True

    def _write(self, samples: bytes) -> None:
        if samples:
            self._loudspeaker.write(bytes(len(samples)) if self.muted else samples)
