"""From an input's packets to coded frames the container can carry: copied where the codec suits it, else encoded anew.

A lane serves one elementary stream, over all rounds of a loop: :meth:`bind` gives it the stream of a newly opened
input, and the shift in seconds that lays the input's times onto the source's timeline.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, Protocol

from sdp.container.parameter_sets import avc_from_annex_b, is_annex_b
from sdp.media.coded import Coded, MediaTrack
from sdp.media.encoders import TIMESCALE, AudioEncoder, VideoEncoder
from sdp.media.faults import import_av, media_faults
from sdp.media.spec import SourceSpec
from sdp.media.transport import adts_header, audio_specific_config

__all__ = ["CopyLane", "Lane", "SoundLane", "VideoLane", "frame_duration", "lane_for", "packet_seconds"]

SOUND_RATE = 48_000
GAP_SAMPLES = SOUND_RATE // 50
"""20 ms: how far sound may lie from its time stamps before silence is put in, or samples are left out."""
LEAST_TIMESCALE = 1000


class Lane(Protocol):
    """What a source needs of a lane."""

    track: MediaTrack
    late: bool

    def bind(self, stream: Any, shift: Fraction) -> None:
        """Go on with this stream, ``shift`` seconds later than its time stamps say."""

    def take(self, packet: Any) -> list[Coded]:
        """Return the coded frames that this packet completes."""

    def drain(self) -> list[Coded]:
        """The input has ended (it may be bound again): return what its decoder still held."""

    def finish(self) -> list[Coded]:
        """Nothing follows: return what the encoder still held."""


def rescaled(value: int, time_base: Fraction, timescale: int, shift: Fraction = Fraction(0)) -> int:
    """Return a time in ticks of ``timescale``, for ``value`` units of ``time_base`` and a shift in seconds."""
    return round((value * time_base + shift) * timescale)


def packet_seconds(packet: Any) -> Fraction | None:
    """Return a packet's decoding time in seconds of its input, or None where it has no time at all."""
    time = packet.pts if packet.dts is None else packet.dts
    return None if time is None else time * packet.time_base


def lane_for(number: int, stream: Any, first: bytes, spec: SourceSpec, live: bool) -> Lane:
    """Return the lane for a stream whose first packet is ``first``. Raises MediaError where it cannot be carried."""
    resized = stream.type == "video" and (
        (spec.size not in (None, (stream.codec_context.width, stream.codec_context.height)))
        or (spec.rate is not None and stream.average_rate is not None and spec.rate < stream.average_rate)
    )
    copied = None if resized else _copied(stream, first, spec.container)
    if copied is not None:
        config, convert, bitstream_filter = copied
        return CopyLane(number, stream, config, convert, bitstream_filter, begun=not live or stream.type != "video")
    if stream.type == "video":
        return VideoLane(number, stream, spec, live)
    return SoundLane(number, spec)


Convert = Callable[[bytes], bytes]


def _as_it_is(data: bytes) -> bytes:
    return data


def _without_adts(data: bytes) -> bytes:
    """Return the raw frame after an ADTS header, of seven bytes or, with a CRC, nine."""
    return data[7 if data[1] & 1 else 9 :] if data[:1] == b"\xff" and data[1] & 0xF6 == 0xF0 else data


def _copied(stream: Any, first: bytes, container: str) -> tuple[bytes, Convert, str | None] | None:
    """Return configuration, conversion and bitstream filter by which a stream is copied; None: it must be encoded."""
    if stream.codec_context is None:
        return None
    codec = stream.codec_context.codec.canonical_name
    config = bytes(stream.codec_context.extradata or b"")
    return (_into_transport if container == "mpegts" else _into_mp4)(codec, config, first)


def _into_mp4(codec: str, config: bytes, first: bytes) -> tuple[bytes, Convert, str | None] | None:
    match codec:
        case "h264" | "hevc" if config:
            return config, avc_from_annex_b if is_annex_b(config) else _as_it_is, None
        case "aac" if config:
            return config, _as_it_is, None
        case "aac":
            found = audio_specific_config(first)
            return (found, _without_adts, None) if found else None
        case "mp3" | "vp9":
            return b"", _as_it_is, None
        case "opus" if config.startswith(b"OpusHead"):
            return config, _as_it_is, None
        case "av1" if config[:1] == b"\x81":
            return config, _as_it_is, None
        case "flac" if len(config) >= 34:
            return config, _as_it_is, None
    return None


def _into_transport(codec: str, config: bytes, first: bytes) -> tuple[bytes, Convert, str | None] | None:
    match codec:
        case "h264" | "hevc":
            return b"", _as_it_is, f"{codec}_mp4toannexb" if config[:1] == b"\x01" else None
        case "aac" if config:
            try:
                adts_header(config, 0)
            except ValueError:
                return None
            return config, _as_it_is, None
        case "aac":
            return (b"", _as_it_is, None) if audio_specific_config(first) else None
        case "mp3" | "mp2" | "ac3" | "eac3" | "mpeg2video":
            return b"", _as_it_is, None
    return None


def frame_duration(stream: Any) -> Fraction:
    """Return what a packet without a duration lasts, in seconds."""
    if stream.type == "video":
        return 1 / Fraction(stream.average_rate or stream.guessed_rate or 25)
    return Fraction(stream.codec_context.frame_size or 1024, stream.codec_context.sample_rate or SOUND_RATE)


class CopyLane:
    """Packets as they are, but for what the container asks for."""

    late = False

    def __init__(
        self,
        number: int,
        stream: Any,
        config: bytes,
        convert: Convert,
        bitstream_filter: str | None,
        *,
        begun: bool = True,
    ) -> None:
        self._begun = begun  # else the packets before the first key frame, which nobody could decode, are left out
        context = stream.codec_context
        video = stream.type == "video"
        base = stream.time_base
        usable = base.numerator == 1 and LEAST_TIMESCALE <= base.denominator < 1 << 31
        self._timescale: int = base.denominator if usable else (TIMESCALE if video else context.sample_rate)
        self._number = number
        self._convert = convert
        self._filter_name = bitstream_filter
        self._last = -1
        self.track = MediaTrack(
            kind="video" if video else "audio",
            codec=context.codec.canonical_name,
            timescale=self._timescale,
            config=config,
            width=context.width if video else 0,
            height=context.height if video else 0,
            channels=0 if video else context.layout.nb_channels,
            sample_rate=0 if video else context.sample_rate,
            bit_rate=context.bit_rate or 0,
        )

    def bind(self, stream: Any, shift: Fraction) -> None:
        """Go on with ``stream``; a bitstream filter begins afresh."""
        self._shift = shift
        self._default_duration = frame_duration(stream)
        self._filter: Any = None
        if self._filter_name is not None:
            import_av()
            from av.bitstream import BitStreamFilterContext

            self._filter = BitStreamFilterContext(self._filter_name, stream)
        self._time_base = stream.time_base

    def take(self, packet: Any) -> list[Coded]:
        """Return the packet's frame."""
        self._begun = self._begun or packet.is_keyframe
        if not self._begun:
            return []
        if self._filter is None:
            return [self._coded(packet)]
        return [self._coded(filtered) for filtered in self._filter.filter(packet)]

    def _coded(self, packet: Any) -> Coded:
        base = self._time_base
        duration = packet.duration * base if packet.duration else self._default_duration
        if packet.dts is not None:
            dts = rescaled(packet.dts, base, self._timescale, self._shift)
        elif packet.pts is not None:
            dts = rescaled(packet.pts, base, self._timescale, self._shift)
        else:
            dts = self._last + round(duration * self._timescale)
        pts = dts if packet.pts is None else rescaled(packet.pts, base, self._timescale, self._shift)
        dts = max(dts, self._last + 1)  # decoding time only goes forward, whatever a broken input says
        self._last = dts
        ticks = max(1, round(duration * self._timescale))
        sync = packet.is_keyframe or self.track.kind == "audio"
        return Coded(self._number, self._convert(bytes(packet)), dts, max(pts, dts), ticks, sync)

    def drain(self) -> list[Coded]:
        """Return nothing: packets are passed on whole."""
        return []

    finish = drain


class VideoLane:
    """Decoded, scaled where asked, and encoded with low delay."""

    def __init__(self, number: int, stream: Any, spec: SourceSpec, live: bool) -> None:
        context = stream.codec_context
        self._live = live
        self._size: tuple[int, int] = spec.size or (context.width & ~1, context.height & ~1)
        own = stream.average_rate or stream.guessed_rate or Fraction(25)
        rate = min(spec.rate, own) if spec.rate is not None else own
        self._interval = 1 / spec.rate if spec.rate is not None and spec.rate < own else Fraction(0)
        self._encoder = VideoEncoder(
            spec.video_codec,
            self._size,
            rate,
            number=number,
            gop=spec.gop,
            bit_rate=spec.video_bit_rate,
            preset=spec.preset,
            in_band=spec.container == "mpegts",
        )
        self.track = self._encoder.track
        self.late = False
        """Set by the source while it is behind a live input: pictures are decoded, but not encoded."""
        self._last = -1
        self._due = Fraction(0)

    def bind(self, stream: Any, shift: Fraction) -> None:
        """Decode ``stream`` from now on."""
        self._context = stream.codec_context
        self._time_base = stream.time_base
        if not self._context.is_open:
            # Frame threads hold back a picture for each thread; a file's cost nothing, a camera's would.
            self._context.thread_type = "SLICE" if self._live else "AUTO"
        self._shift = shift

    def take(self, packet: Any) -> list[Coded]:
        """Return the coded frames of the pictures that this packet completes."""
        return self._encoded(_decoded(self._context, self._time_base, packet))

    def drain(self) -> list[Coded]:
        """Return what the decoder still held."""
        return self._encoded(_decoded(self._context, self._time_base, None))

    def finish(self) -> list[Coded]:
        """Return what the encoder still held."""
        return self._encoder.encode(None)

    def _encoded(self, frames: list[Any]) -> list[Coded]:
        coded: list[Coded] = []
        for frame in frames:
            if frame.pts is None or self.late:
                continue
            seconds = frame.pts * frame.time_base + self._shift
            if self._interval:
                if seconds < self._due:
                    continue
                self._due = max(self._due + self._interval, seconds)
            pts = max(round(seconds * TIMESCALE), self._last + 1)
            self._last = pts
            with media_faults("convert a picture"):
                frame = frame.reformat(width=self._size[0], height=self._size[1], format="yuv420p")
                frame.pict_type = 0  # the encoder decides which pictures are key frames
            coded += self._encoder.encode(frame, pts)
        return coded


class SoundLane:
    """Decoded, resampled to stereo at 48 kHz, held to its time stamps, and encoded."""

    late = False

    def __init__(self, number: int, spec: SourceSpec) -> None:
        self._encoder = AudioEncoder(spec.audio_codec, number=number, rate=SOUND_RATE, bit_rate=spec.audio_bit_rate)
        self.track = self._encoder.track
        self._held = (bytearray(), bytearray())
        self._start: int | None = None  # the sample number of the first held sample

    def bind(self, stream: Any, shift: Fraction) -> None:
        """Decode ``stream`` from now on."""
        self._context = stream.codec_context
        self._time_base = stream.time_base
        self._shift = shift
        av = import_av()
        self._resampler = av.AudioResampler("fltp", "stereo", SOUND_RATE)
        self._frame_type = av.AudioFrame

    def take(self, packet: Any) -> list[Coded]:
        """Return the coded frames that this packet's samples complete."""
        return self._encoded(_decoded(self._context, self._time_base, packet))

    def drain(self) -> list[Coded]:
        """Return what decoder and resampler still held."""
        return self._encoded([*_decoded(self._context, self._time_base, None), None])

    def finish(self) -> list[Coded]:
        """Return the last samples, with silence up to a whole frame, and what the encoder still held."""
        size = self._encoder.frame_size
        held = len(self._held[0]) // 4
        if held % size:
            self._silence(size - held % size)
        return self._whole_frames() + self._encoder.encode(None)

    def _encoded(self, frames: list[Any]) -> list[Coded]:
        for frame in frames:
            with media_faults("resample sound"):
                resampled = self._resampler.resample(frame)
            for part in resampled:
                self._hold(part)
        return self._whole_frames()

    def _hold(self, frame: Any) -> None:
        """Keep a frame's samples where its time stamp says."""
        skip = 0
        if frame.pts is not None:
            place = round((frame.pts * frame.time_base + self._shift) * SOUND_RATE)
            if self._start is None:
                self._start = place
            expected = self._start + len(self._held[0]) // 4
            if place - expected > GAP_SAMPLES:
                self._silence(min(place - expected, 60 * SOUND_RATE))
            elif expected - place > GAP_SAMPLES:
                skip = min(frame.samples, expected - place)
        elif self._start is None:
            self._start = round(self._shift * SOUND_RATE)
        for held, plane in zip(self._held, frame.planes, strict=True):
            held += memoryview(plane)[skip * 4 : frame.samples * 4]

    def _silence(self, samples: int) -> None:
        for held in self._held:
            held += bytes(4 * samples)

    def _whole_frames(self) -> list[Coded]:
        coded: list[Coded] = []
        size = self._encoder.frame_size
        while self._start is not None and len(self._held[0]) >= 4 * size:
            frame = self._frame_type("fltp", "stereo", size)
            frame.sample_rate = SOUND_RATE
            frame.time_base = Fraction(1, SOUND_RATE)
            frame.pts = self._start
            for held, plane in zip(self._held, frame.planes, strict=True):
                plane.update(bytes(held[: 4 * size]))
                del held[: 4 * size]
            self._start += size
            coded += self._encoder.encode(frame)
        return coded


def _decoded(context: Any, time_base: Fraction, packet: Any | None) -> list[Any]:
    """Return the frames a packet (None: the end) completes; damaged ones are left out, as a player would.

    What comes out at the end, av leaves without a time base: it is the stream's."""
    try:
        frames: list[Any] = context.decode(packet)
    except (EOFError, ValueError):  # av's InvalidDataError is a ValueError
        return []
    for frame in frames:
        frame.time_base = time_base
    return frames
