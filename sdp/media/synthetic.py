"""The source "test": draws, encodes and gives out one frame after the other, each when its time has come.

Frame n is due at start + n / rate of the monotonic clock. Who is late leaves frames out rather than shift all that
follow: the numbers in the picture tell, and :attr:`PatternSource.skipped` counts. Frame times lie on a grid from
the wall clock's whole second, so that lamp and beep come with it.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from sdp.media.encoders import TIMESCALE, AudioEncoder, VideoEncoder
from sdp.media.faults import import_av
from sdp.media.pattern import FLASH_SECONDS, Picture, Tone
from sdp.media.running import RunningSource
from sdp.media.stamp import Stamp

__all__ = ["PatternSource"]

DEFAULT_SIZE = (1280, 720)
DEFAULT_RATE = Fraction(30)
LEAD = Fraction(1024, 48_000)
"""Seconds by which the timeline begins before frame 0: room for the sound encoder's priming, whose time is negative."""
SOUND_GAP = 48_000
"""Samples (one second) of sound that are made up for at once after a stall; a longer stall leaves a gap instead."""


class PatternSource(RunningSource):
    """The test pattern as a live source."""

    def open(self) -> None:
        """Set up the encoders. Raises MediaError."""
        av = import_av()
        spec = self.spec
        self._size = spec.size or DEFAULT_SIZE
        self._rate = spec.rate or DEFAULT_RATE
        self._video = VideoEncoder(
            spec.video_codec,
            self._size,
            self._rate,
            gop=spec.gop,
            bit_rate=spec.video_bit_rate,
            preset=spec.preset,
            in_band=spec.container == "mpegts",
        )
        tracks = [self._video.track]
        self._audio: AudioEncoder | None = None
        if spec.audio:
            self._audio = AudioEncoder(spec.audio_codec, number=1, bit_rate=spec.audio_bit_rate)
            tracks.append(self._audio.track)
        self.pack_into(tracks)
        self._picture = Picture(*self._size)
        self._frame: Any = av.VideoFrame(*self._size, "yuv420p")
        luma, u, v = self._frame.planes
        self._picture.prime(
            (memoryview(luma), memoryview(u), memoryview(v)), (luma.line_size, u.line_size, v.line_size)
        )
        self._make_sound_frame = av.AudioFrame

    def produce(self) -> None:
        """Run until stopped."""
        self._begin_clock()
        number = 0
        while True:
            self.wait_until(self._start + int(number * 1_000_000 / self._rate))
            if self.spec.realtime:
                due = int((self.clock.monotonic() - self._start) * self._rate / 1_000_000)
                self.skipped += max(0, due - number)
                number = max(number, due)
            else:
                self.check_stop()
            self._give_picture(number)
            if self._audio is not None:
                self._give_sound(self._audio, number)
            number += 1

    def _begin_clock(self) -> None:
        """Choose the start: the next point of the frame grid that begins with the wall clock's second."""
        wall = self.clock.now()
        into = wall % 1_000_000
        self._phase = -(-into * self._rate // 1_000_000)  # frames of the second that lie before frame 0
        ahead = int(self._phase * 1_000_000 / self._rate) - into
        self._start = self.clock.monotonic() + ahead
        self._start_wall = wall + ahead
        self._tone: Tone | None = None
        self._sound_frames = 0
        if self._audio is not None:
            rate = self._audio.rate
            self._tone = Tone(rate, phase=int(self._phase / self._rate * rate) % rate)
            self._lead = int(LEAD * rate)

    def _give_picture(self, number: int) -> None:
        self._frame.make_writable()  # copies only if the encoder has kept a reference
        plane = self._frame.planes[0]
        into_second = (Fraction(number) + self._phase) / self._rate % 1
        capture_time = self.clock.now()
        lamp = into_second < FLASH_SECONDS
        self._picture.draw(memoryview(plane), plane.line_size, Stamp(capture_time, number & 0xFFFFFFFF), lamp)
        pts = round((number / self._rate + LEAD) * TIMESCALE)
        for coded in self._video.encode(self._frame, pts):
            self.give(coded, capture_time)

    def _give_sound(self, encoder: AudioEncoder, number: int) -> None:
        """Give out the sound that plays until the next picture: it is known beforehand, so it need not lag."""
        assert self._tone is not None
        size, rate = encoder.frame_size, encoder.rate
        # The packet that a frame's encoding returns is the one of two frames before.
        until = (number + 1) * rate / self._rate + 2 * size
        if until - self._sound_frames * size > SOUND_GAP + 2 * size:
            self._sound_frames = int(until) // size - 2
        while self._sound_frames * size < until:
            start = self._sound_frames * size
            frame = self._make_sound_frame("fltp", "stereo", size)
            frame.sample_rate = rate
            frame.pts = start
            frame.time_base = Fraction(1, rate)
            samples = self._tone.samples(start, size)
            for plane in frame.planes:
                plane.update(samples)
            self._sound_frames += 1
            for coded in encoder.encode(frame):
                # It is made ahead of its time; what is captured in the future would confuse whoever measures.
                captured = min(self._start_wall + coded.pts * 1_000_000 // rate, self.clock.now())
                self.give(coded._replace(dts=coded.dts + self._lead, pts=coded.pts + self._lead), captured)
