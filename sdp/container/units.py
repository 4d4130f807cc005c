"""Units: what a decoder is fed, taken out of a container as soon as the last byte of each is here. Pure.

A demuxer stands between a consumer's socket and its decoder. None of them waits for what follows a unit: a parser that
looks for the next start code costs a frame's interval.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol

import attrs

from sdp.errors import MediaError

__all__ = ["Demuxer", "MediaDescription", "Unit", "microseconds"]


@attrs.frozen(kw_only=True)
class MediaDescription:
    """One elementary stream, as a decoder wants it described.

    ``codec`` is FFmpeg's name of the format (h264, aac, ...), ``config`` what FFmpeg calls extradata, empty where the
    units say it themselves. ``id`` is the container's number of the track.
    """

    id: int
    kind: Literal["video", "audio"]
    codec: str
    config: bytes = b""
    width: int = 0
    height: int = 0
    channels: int = 0
    sample_rate: int = 0


class Unit(NamedTuple):
    """One coded picture, or packet of sound, of the track with this id. Times are microseconds on the stream's line;
    ``capture_time`` is in microseconds since the Unix epoch, None where unknown. ``offset`` is the one after its last
    byte; ``sync``: decoding can start here."""

    track: int
    data: bytes
    time: int
    duration: int
    sync: bool
    capture_time: int | None
    offset: int


class Demuxer(Protocol):
    """Takes a stream's bytes, and gives what can be decoded of them."""

    tracks: tuple[MediaDescription, ...] | None
    """None until they are known; another tuple where a later initialization segment says otherwise."""

    def feed(self, offset: int, data: bytes, capture_time: int | None = None) -> list[Unit]:
        """Take the bytes at ``offset``; return the units that are whole now. ``capture_time`` is what was said of the
        record that begins with them. Where they do not follow on those before, what is unfinished is dropped.
        Raises MediaError for what no decoder could be fed with, in a sentence that says why."""


def microseconds(ticks: int, timescale: int) -> int:
    """A time in a track's ticks, as microseconds."""
    if timescale <= 0:
        raise MediaError("A track has no time scale: its pictures cannot be timed.")
    return ticks * 1_000_000 // timescale
