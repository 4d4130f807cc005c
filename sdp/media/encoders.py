"""Encoders that return a frame's packet in the same call that takes the frame: no look-ahead, no B-frames.

A thin layer over PyAV's codec contexts. Their packets leave as :class:`~sdp.media.coded.Coded`, with the decoder's
configuration in the track: as MP4 keeps it, or within the packets where a transport stream is made.
"""

from __future__ import annotations

import os
from fractions import Fraction
from typing import Any

from sdp.container.parameter_sets import avc_from_annex_b, is_annex_b
from sdp.errors import MediaError
from sdp.media.coded import Coded, MediaTrack
from sdp.media.faults import import_av, media_faults

__all__ = ["TIMESCALE", "AudioEncoder", "VideoEncoder"]

TIMESCALE = 90_000
"""Ticks a second of encoded video: whole numbers at all usual frame rates, and MPEG-TS's own."""

_SMALL = 640 * 480
"""Pixels up to which one thread encodes: slicing such a picture costs more than it gains."""


def video_options(codec: str, preset: str, in_band: bool, bit_rate: int | None) -> dict[str, str]:
    """Return the options that make ``codec`` (an encoder's name) answer each frame at once."""
    if codec == "libx264":
        private = "scenecut=0" + (":aud=1" if in_band else ":annexb=0")
        options = {"preset": preset, "tune": "zerolatency", "x264-params": private, "forced-idr": "1"}
    elif codec == "libx265":
        private = "scenecut=0:bframes=0:log-level=none:repeat-headers=" + ("1:aud=1" if in_band else "0")
        options = {"preset": preset, "tune": "zerolatency", "x265-params": private, "forced-idr": "1"}
    else:
        options = {}
    if bit_rate is not None and codec in ("libx264", "libx265"):
        # Half a second of buffer: a key frame may be large, and the rate still holds within each second.
        options |= {"maxrate": str(bit_rate), "bufsize": str(bit_rate // 2)}
    return options


class VideoEncoder:
    """H.264 (or HEVC) for YUV 4:2:0 frames of one size. Raises MediaError where it cannot be set up.

    ``gop`` is in seconds; ``bit_rate`` in bits a second, None for constant quality; ``in_band``: parameter sets go
    with each key frame (MPEG-TS), else into the track's configuration (MP4).
    """

    def __init__(
        self,
        codec: str,
        size: tuple[int, int],
        rate: Fraction,
        *,
        number: int = 0,
        gop: float = 1.0,
        bit_rate: int | None = None,
        preset: str = "ultrafast",
        in_band: bool = False,
    ) -> None:
        av = import_av()
        self.number = number
        self._frame_ticks = round(TIMESCALE / rate)
        with media_faults(f"encode video with {codec} at {size[0]}x{size[1]}"):
            context: Any = av.CodecContext.create(codec, "w")
            if context.type != "video":
                raise MediaError(f"{codec} is no video encoder; libx264 is the usual one.")
            context.width, context.height = size
            context.pix_fmt = "yuv420p"
            context.time_base = Fraction(1, TIMESCALE)
            context.framerate = rate
            context.gop_size = max(1, round(gop * rate))
            context.max_b_frames = 0
            if bit_rate is not None:
                context.bit_rate = bit_rate
            context.options = video_options(codec, preset, in_band, bit_rate)
            if not in_band:
                context.flags |= av.codec.context.Flags.global_header
            context.thread_type = "SLICE"
            context.thread_count = 1 if size[0] * size[1] <= _SMALL else min(4, os.cpu_count() or 1)
            context.open()
        self._context = context
        config = b"" if in_band else bytes(context.extradata or b"")
        self._annex_b = is_annex_b(config)
        self.track = MediaTrack(
            kind="video",
            codec=context.codec.canonical_name,
            timescale=TIMESCALE,
            config=config,
            width=size[0],
            height=size[1],
            bit_rate=bit_rate or 0,
        )

    def encode(self, frame: Any | None, pts: int | None = None) -> list[Coded]:
        """Take a frame (``pts`` in ticks of TIMESCALE), or None for the end; return what is ready: its packet."""
        if frame is not None:
            frame.time_base = Fraction(1, TIMESCALE)
            frame.pts = pts
        with media_faults("encode a picture"):
            packets = self._context.encode(frame)
        return [self._coded(packet) for packet in packets]

    def _coded(self, packet: Any) -> Coded:
        data = avc_from_annex_b(bytes(packet)) if self._annex_b else bytes(packet)
        dts = packet.pts if packet.dts is None else packet.dts
        return Coded(self.number, data, dts, packet.pts, packet.duration or self._frame_ticks, packet.is_keyframe)


class AudioEncoder:
    """AAC (or another encoder of av) for stereo at ``rate``; times in samples. Raises MediaError.

    The first packet decodes to ``priming`` samples that precede the first sample given: its time is -priming.
    """

    def __init__(self, codec: str, *, number: int = 1, rate: int = 48_000, bit_rate: int = 128_000) -> None:
        av = import_av()
        self.number = number
        with media_faults(f"encode audio with {codec}"):
            context: Any = av.CodecContext.create(codec, "w")
            if context.type != "audio":
                raise MediaError(f"{codec} is no audio encoder; aac is the usual one.")
            context.sample_rate = rate
            context.layout = "stereo"
            formats = [format_.name for format_ in context.codec.audio_formats or ()]
            context.format = "fltp" if "fltp" in formats or not formats else formats[0]
            context.bit_rate = bit_rate
            context.time_base = Fraction(1, rate)
            context.flags |= av.codec.context.Flags.global_header
            context.open()
        self._context = context
        self.rate = rate
        self.frame_size: int = context.frame_size or 1024
        self.priming: int = 1024
        self.track = MediaTrack(
            kind="audio",
            codec=context.codec.canonical_name,
            timescale=rate,
            config=bytes(context.extradata or b""),
            channels=2,
            sample_rate=rate,
            bit_rate=bit_rate,
        )

    def encode(self, frame: Any | None) -> list[Coded]:
        """Take a frame of ``frame_size`` samples with its pts in samples, or None for the end."""
        with media_faults("encode sound"):
            packets = self._context.encode(frame)
        return [
            Coded(self.number, bytes(packet), packet.pts, packet.pts, packet.duration or self.frame_size, True)
            for packet in packets
            if packet.pts is not None
        ]
