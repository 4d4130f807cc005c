"""What flows between an encoder (or a demuxer) and the packaging: coded frames, and what their track is.

Pure values. Times are integers in the track's timescale (ticks a second), on one timeline for all tracks of a source.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple, Protocol

from attrs import frozen

from sdp.stream.record import Flag

__all__ = ["Coded", "MediaTrack", "Packaging", "Packed"]


@frozen(kw_only=True)
class MediaTrack:
    """One elementary stream.

    ``codec`` is FFmpeg's name of the format ("h264", "hevc", "aac", ...). ``config`` is the decoder's configuration
    as MP4 keeps it (avcC, hvcC, av1C, AudioSpecificConfig, OpusHead), or Annex B parameter sets. For a transport
    stream it is empty where the packets say it themselves (Annex B with parameter sets at key frames, ADTS).
    """

    kind: Literal["video", "audio"]
    codec: str
    timescale: int
    config: bytes = b""
    width: int = 0
    height: int = 0
    channels: int = 0
    sample_rate: int = 0
    bit_rate: int = 0


class Coded(NamedTuple):
    """One access unit of the track numbered ``track``; ``sync``: decoding can start here."""

    track: int
    data: bytes
    dts: int
    pts: int
    duration: int
    sync: bool


class Packed(NamedTuple):
    """A record ready for the log."""

    data: bytes
    flags: Flag
    capture_time: int | None


class Packaging(Protocol):
    """Turns coded frames into records; holds nothing back but what a fragment's length asks for."""

    @property
    def content_type(self) -> str:
        """The media type of the bytes."""

    def begin(self) -> Iterable[Packed]:
        """What a decoder needs first."""

    def pack(self, frames: list[tuple[Coded, int | None]]) -> Iterable[Packed]:
        """The records of these frames, each with its capture time (microseconds since the Unix epoch, or None)."""
