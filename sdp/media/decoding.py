"""Decoders that return a picture in the same call that takes its bytes: no parser, no frame threads, no waiting.

A thin layer over PyAV's codec contexts, used in a player's decode thread. Where a stream reorders its pictures
(B-frames) the decoder holds back what it must, and no more: H.264 and HEVC tell how much in their parameter sets.
"""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any, NamedTuple

from sdp.container.units import MediaDescription, Unit
from sdp.errors import MediaError
from sdp.media.faults import import_av, media_faults
from sdp.media.stamp import Stamp

__all__ = ["SOUND_RATE", "Picture", "Sound", "SoundDecoder", "VideoDecoder", "decoder_for"]

SOUND_RATE = 48_000
"""Samples a second of decoded sound: two channels of 16 bits each, interleaved."""
_BYTES = 4
_TIME_BASE = Fraction(1, 1_000_000)
_REMEMBERED = 64
"""Pictures that may be within a decoder: more than any reorders."""
_SMALL = 640 * 480
_REORDERING = frozenset({"h264", "hevc", "mpeg2video", "mpeg1video"})
"""Codecs whose low-delay switch would show pictures in the wrong order where the stream has B-frames."""


class Picture(NamedTuple):
    """A decoded picture: PyAV's frame, YUV 4:2:0. ``time`` and ``duration`` are microseconds on the stream's line,
    ``capture_time`` microseconds since the Unix epoch or None, ``offset`` the one after its last coded byte. ``stamp``
    is what is burned into it, where somebody looked, and ``decoded_at`` when it was decoded (Unix epoch)."""

    time: int
    duration: int
    frame: Any
    capture_time: int | None
    offset: int
    stamp: Stamp | None = None
    decoded_at: int = 0

    @property
    def captured(self) -> int | None:
        """When it was captured: by what is burned in, else by what was said of it."""
        return self.capture_time if self.stamp is None else self.stamp.clock_us


class Sound(NamedTuple):
    """Decoded sound: interleaved native 16-bit samples of two channels, SOUND_RATE a second."""

    time: int
    samples: bytes

    @property
    def duration(self) -> int:
        """In microseconds."""
        return len(self.samples) // _BYTES * 1_000_000 // SOUND_RATE


def decoder_for(description: MediaDescription) -> VideoDecoder | SoundDecoder:
    """The decoder of a track. Raises MediaError where there is none."""
    return VideoDecoder(description) if description.kind == "video" else SoundDecoder(description)


def _context(description: MediaDescription) -> Any:
    av = import_av()
    with media_faults(f"decode {description.codec}"):
        context: Any = av.CodecContext.create(description.codec, "r")
        if context.type != description.kind:
            raise MediaError(f"{description.codec} is no {description.kind} codec.")
        if description.config:
            context.extradata = description.config
        if description.codec not in _REORDERING:
            context.flags |= av.codec.context.Flags.low_delay
    return context


class _Decoder:
    """What both have in common: packets in, and what is said of them kept until they come out."""

    def __init__(self, description: MediaDescription) -> None:
        self._packet = import_av().Packet
        self._waiting_for_sync = True
        self.damaged = 0
        """Units that could not be decoded."""
        self.description = description
        self.context = _context(description)

    def flush(self) -> None:
        """What follows does not follow on what came before: begin anew at the next random access point."""
        self.context.flush_buffers()
        self._waiting_for_sync = True

    def _decode(self, unit: Unit) -> list[Any]:
        if self._waiting_for_sync and not unit.sync:
            return []
        packet = self._packet(unit.data)
        packet.pts = unit.time
        packet.time_base = _TIME_BASE
        packet.is_keyframe = unit.sync
        try:
            with media_faults("decode a unit"):
                frames: list[Any] = self.context.decode(packet)
        except MediaError:
            self.damaged += 1
            self._waiting_for_sync = True
            return []
        self._waiting_for_sync = False
        return frames


class VideoDecoder(_Decoder):
    """Coded pictures to pictures."""

    def __init__(self, description: MediaDescription) -> None:
        super().__init__(description)
        self._known: dict[int, Unit] = {}
        self.context.thread_type = "SLICE"
        small = 0 < description.width * description.height <= _SMALL
        self.context.thread_count = 1 if small else min(4, os.cpu_count() or 1)

    def decode(self, unit: Unit) -> list[Picture]:
        """Return what the unit completes: its own picture, or where pictures are reordered an earlier one's."""
        known = self._known
        known[unit.time] = unit
        if len(known) > _REMEMBERED:
            del known[next(iter(known))]
        return [self._picture(frame, unit) for frame in self._decode(unit)]

    def _picture(self, frame: Any, latest: Unit) -> Picture:
        unit = self._known.pop(frame.pts, latest) if frame.pts is not None else latest
        if frame.format.name not in ("yuv420p", "yuvj420p"):
            with media_faults("convert a picture"):
                frame = frame.reformat(format="yuv420p")
        return Picture(unit.time, unit.duration, frame, unit.capture_time, unit.offset)


class SoundDecoder(_Decoder):
    """Packets of sound to samples."""

    def __init__(self, description: MediaDescription) -> None:
        super().__init__(description)
        self._resampler: Any = import_av().AudioResampler(format="s16", layout="stereo", rate=SOUND_RATE)
        self._next = 0

    def flush(self) -> None:
        super().flush()
        self._resampler = import_av().AudioResampler(format="s16", layout="stereo", rate=SOUND_RATE)

    def decode(self, unit: Unit) -> list[Sound]:
        """Return the unit's sound. A unit may hold several frames, of which only the first has a time."""
        sounds = []
        self._next = unit.time
        for frame in self._decode(unit):
            with media_faults("convert sound"):
                resampled = self._resampler.resample(frame)
            for part in resampled:
                sound = Sound(self._next, bytes(part.planes[0])[: part.samples * _BYTES])
                self._next += sound.duration
                if sound.samples:
                    sounds.append(sound)
        return sounds
