"""What a moov says of its tracks, as far as a decoder needs it: codec, configuration, time scale, shift. Pure.

The reverse of :mod:`sdp.container.sample_entries`. Sources: ISO/IEC 14496-12 sections 8.3 to 8.8 and 12, 14496-14 and
14496-1 (esds), and the codecs' own "in ISOBMFF" documents.
"""

from __future__ import annotations

import struct
from typing import Final, Literal

import attrs

from sdp.container.boxes import MalformedBox, children
from sdp.container.units import MediaDescription
from sdp.errors import MediaError

__all__ = ["MovieTrack", "read_movie"]

_VISUAL_HEAD: Final = 78
_SOUND_HEAD: Final = 28
_CONFIGURATIONS: Final = {
    b"avc1": ("h264", b"avcC"),
    b"avc3": ("h264", b"avcC"),
    b"hvc1": ("hevc", b"hvcC"),
    b"hev1": ("hevc", b"hvcC"),
    b"av01": ("av1", b"av1C"),
    b"vp09": ("vp9", b""),
    b"vp08": ("vp8", b""),
    b"Opus": ("opus", b"dOps"),
    b"fLaC": ("flac", b"dfLa"),
    b"ac-3": ("ac3", b""),
    b"ec-3": ("eac3", b""),
    b"mp4a": ("aac", b"esds"),
}
_OBJECT_TYPES: Final = {0x40: "aac", 0x66: "aac", 0x67: "aac", 0x68: "aac", 0x69: "mp3", 0x6B: "mp3"}


@attrs.frozen(kw_only=True)
class MovieTrack:
    """A track, and what its fragments leave unsaid: ``duration``, ``size`` and ``flags`` of a sample by default.

    ``shift`` (ticks of ``timescale``) is what an edit list adds to all presentation times.
    """

    description: MediaDescription
    timescale: int
    shift: int = 0
    duration: int = 0
    size: int = 0
    flags: int = 0


def read_movie(data: bytes, start: int, end: int) -> tuple[MovieTrack, ...]:
    """Read the tracks of a moov's content in [start, end): pictures and sound, no others. Raises MalformedBox, and
    MediaError where a track's codec is none that is known."""
    tracks: list[MovieTrack] = []
    defaults: dict[int, tuple[int, int, int]] = {}
    movie_scale = 1000
    try:
        for kind, begin, stop in children(data, start, end):
            if kind == b"mvhd":
                movie_scale = struct.unpack_from(">I", data, begin + (20 if data[begin] == 1 else 12))[0]
            elif kind == b"trak":
                track = _Track(movie_scale)
                track.read(data, begin, stop)
                if track.description is not None:
                    tracks.append(track.whole())
            elif kind == b"mvex":
                for inner, at, _ in children(data, begin, stop):
                    if inner == b"trex":
                        track_id, _, duration, size, flags = struct.unpack_from(">5I", data, at + 4)
                        defaults[track_id] = duration, size, flags
    except (struct.error, IndexError):
        raise MalformedBox("a moov too short for its fields") from None
    return tuple(
        attrs.evolve(track, duration=duration, size=size, flags=flags)
        for track in tracks
        for duration, size, flags in (defaults.get(track.description.id, (0, 0, 0)),)
    )


class _Track:
    """A trak while it is read."""

    def __init__(self, movie_scale: int) -> None:
        self.id = 0
        self.timescale = 0
        self.kind: Literal["video", "audio"] | None = None
        self.description: MediaDescription | None = None
        self._movie_scale = movie_scale
        self._edits: list[tuple[int, int]] = []

    def read(self, data: bytes, start: int, end: int) -> None:
        for kind, begin, stop in children(data, start, end):
            wide = data[begin : begin + 1] == b"\x01"
            if kind in (b"mdia", b"minf", b"stbl", b"edts"):
                self.read(data, begin, stop)
            elif kind == b"tkhd":
                (self.id,) = struct.unpack_from(">I", data, begin + (20 if wide else 12))
            elif kind == b"mdhd":
                (self.timescale,) = struct.unpack_from(">I", data, begin + (20 if wide else 12))
            elif kind == b"hdlr":
                handler = data[begin + 8 : begin + 12]
                self.kind = "video" if handler == b"vide" else "audio" if handler == b"soun" else None
            elif kind == b"elst":
                (count,) = struct.unpack_from(">I", data, begin + 4)
                shape = ">Qq" if wide else ">Ii"
                step = 20 if wide else 12
                self._edits = [struct.unpack_from(shape, data, begin + 8 + step * n) for n in range(min(count, 16))]
            elif kind == b"stsd" and self.kind is not None:
                self._describe(self.kind, data, begin + 8, stop)

    def _describe(self, kind: Literal["video", "audio"], data: bytes, start: int, end: int) -> None:
        for entry, begin, stop in children(data, start, end):
            name = entry.decode("latin-1")
            if entry not in _CONFIGURATIONS:
                raise MediaError(
                    f"The stream's {kind} is {name!r}, which this player does not know: use another codec."
                )
            codec, wanted = _CONFIGURATIONS[entry]
            width = height = channels = rate = 0
            if kind == "video":
                width, height = struct.unpack_from(">HH", data, begin + 24)
                boxes = begin + _VISUAL_HEAD
            else:
                channels, rate = struct.unpack_from(">H6xI", data, begin + 16)
                rate >>= 16
                boxes = begin + _SOUND_HEAD
            config = b""
            for inner, at, inner_end in children(data, boxes, stop):
                if inner == wanted:
                    config = data[at:inner_end]
            if wanted == b"esds":
                codec, config = _elementary_stream(config)
            elif wanted == b"dOps":
                config = _opus_head(config)
            elif wanted == b"dfLa":
                config = config[8:42]
            self.description = MediaDescription(
                id=self.id,
                kind=kind,
                codec=codec,
                config=config,
                width=width,
                height=height,
                channels=channels,
                sample_rate=rate,
            )
            return

    def whole(self) -> MovieTrack:
        """What an edit list says, as a shift: an empty edit delays, a media time leaves out what lies before it."""
        assert self.description is not None
        shift = 0
        for duration, media_time in self._edits:
            if media_time >= 0:
                shift -= media_time
                break
            shift += duration * self.timescale // max(1, self._movie_scale)
        return MovieTrack(description=attrs.evolve(self.description, id=self.id), timescale=self.timescale, shift=shift)


def _elementary_stream(content: bytes) -> tuple[str, bytes]:
    """The codec and the decoder's specific information of an esds (ISO/IEC 14496-1 section 7.2.6)."""
    place, object_type = 4, 0
    while place + 2 <= len(content):
        tag, place = content[place], place + 1
        size = 0
        for _ in range(4):
            byte, place = content[place], place + 1
            size = size << 7 | byte & 0x7F
            if not byte & 0x80:
                break
        if tag == 3:
            flags = content[place + 2]
            place += 3 + (2 if flags & 0x80 else 0) + (2 if flags & 0x20 else 0)
            if flags & 0x40:
                place += 1 + content[place]
        elif tag == 4:
            object_type = content[place]
            place += 13
        elif tag == 5:
            return _object(object_type), content[place : place + size]
        else:
            place += size
    return _object(object_type), b""


def _object(object_type: int) -> str:
    codec = _OBJECT_TYPES.get(object_type)
    if codec is None:
        raise MediaError(f"The stream's sound is of MPEG-4 object type {object_type:#x}: use AAC, MP3 or Opus.")
    return codec


def _opus_head(content: bytes) -> bytes:
    """An OpusHead (RFC 7845 section 5.1) of a dOps box."""
    _, channels, skip, rate, gain = struct.unpack_from(">BBHIh", content)
    return b"OpusHead\x01" + struct.pack("<BHIh", channels, skip, rate, gain) + content[10:]
