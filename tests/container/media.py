"""Small real media, made by libavformat's own muxers: what the framers' findings are compared with."""

from __future__ import annotations

import functools
import io
from fractions import Fraction
from typing import Any, cast

import av
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

FRAMES = 30
KEY_INTERVAL = 10


class Pipe(io.RawIOBase):
    """A file that cannot be sought, as a live muxer's output is."""

    def __init__(self) -> None:
        super().__init__()
        self.content = bytearray()

    def write(self, data: Any) -> int:
        self.content += data
        return len(data)

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False


def picture(number: int) -> VideoFrame:
    frame = VideoFrame(64, 48, "yuv420p")
    for index, plane in enumerate(frame.planes):
        plane.update(bytes((place * (index + 1) + number * 5) & 0xFF for place in range(plane.buffer_size)))
    frame.pts = number
    frame.time_base = Fraction(1, 30)
    return frame


def silence(number: int, size: int) -> AudioFrame:
    frame = AudioFrame(format="fltp", layout="mono", samples=size)
    for plane in frame.planes:
        plane.update(bytes(plane.buffer_size))
    frame.sample_rate = 48000
    frame.pts = number * size
    frame.time_base = Fraction(1, 48000)
    return frame


@functools.cache
def clip(
    form: str,
    video: str | None = "libx264",
    audio: str | None = "aac",
    options: tuple[tuple[str, str], ...] = (),
    seekable: bool = False,
    coder: tuple[tuple[str, str], ...] = (("preset", "ultrafast"), ("tune", "zerolatency")),
) -> bytes:
    """A second of video (a key frame in ten) and of sound, in one container."""
    pipe: Any = io.BytesIO() if seekable else Pipe()
    with av.open(pipe, "w", format=form, options=dict(options)) as container:
        pictures = sound = None
        if video is not None:
            pictures = cast(VideoStream, container.add_stream(video, rate=30, options=dict(coder)))
            pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
            pictures.codec_context.gop_size = KEY_INTERVAL
        if audio is not None:
            sound = cast(AudioStream, container.add_stream(audio, rate=48000, layout="mono"))
        samples = 0
        size = 1152 if audio in ("libmp3lame", "mp2") else 960 if audio == "libopus" else 1024
        for number in range(FRAMES):
            if pictures is not None:
                container.mux(pictures.encode(picture(number)))
            while sound is not None and samples * size < (number + 1) * 1600:
                container.mux(sound.encode(silence(samples, size)))
                samples += 1
        for stream in (pictures, sound):
            if stream is not None:
                container.mux(stream.encode(None))
    return bytes(pipe.getvalue() if seekable else pipe.content)


def fragmented(**others: Any) -> bytes:
    return clip("mp4", options=(("movflags", "frag_every_frame+empty_moov+default_base_moof"),), **others)


def every_form() -> dict[str, bytes]:
    """One clip of each container and way of writing it, by a name for the test."""
    webm = {"coder": (("deadline", "realtime"), ("cpu-used", "8")), "video": "libvpx"}
    return {
        "fmp4": fragmented(),
        "fmp4 key": clip("mp4", options=(("movflags", "frag_keyframe+empty_moov+default_base_moof"),)),
        "fmp4 sound": fragmented(video=None),
        "fmp4 cmaf": clip("mp4", options=(("movflags", "cmaf+frag_every_frame"), ("write_prft", "wallclock"))),
        "mp4": clip("mp4", seekable=True),
        "ts": clip("mpegts"),
        "ts video": clip("mpegts", audio=None),
        "ts sound": clip("mpegts", video=None),
        "ts mpeg2": clip("mpegts", video="mpeg2video", audio="mp2", coder=()),
        "webm": clip("webm", audio="libopus", options=(("live", "1"),), **cast(Any, webm)),
        "webm file": clip("webm", audio="libopus", seekable=True, **cast(Any, webm)),
        "webm sound": clip("webm", video=None, audio="libopus"),
        "mkv": clip("matroska", options=(("cluster_time_limit", "200"),)),
        "mkv file": clip("matroska", seekable=True),
        "adts": clip("adts", video=None),
        "mp3": clip("mp3", video=None, audio="libmp3lame"),
        "mp3 bare": clip("mp3", video=None, audio="libmp3lame", options=(("id3v2_version", "0"), ("write_xing", "0"))),
    }
