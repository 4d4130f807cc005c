"""A small fragmented MP4 stream for the wire: its boxes are real, its pictures are noise of a known length."""

from __future__ import annotations

from typing import NamedTuple

from sdp.container.fragments import FragmentWriter
from sdp.container.tracks import Sample, Track

CONTENT_TYPE = "video/mp4"


class Fragment(NamedTuple):
    """One fragment: its place in the stream, whether decoding can start there, and when it was captured."""

    offset: int
    data: bytes
    key: bool
    captured: int | None

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


class Movie(NamedTuple):
    """An initialization segment, and fragments that follow on it."""

    initialization: bytes
    fragments: list[Fragment]

    @property
    def data(self) -> bytes:
        return self.initialization + b"".join(fragment.data for fragment in self.fragments)


CAPTURED = 1_700_000_000_000_000
"""When the first frame was captured, in microseconds since the Unix epoch."""


def movie(pattern: str, size: int = 400) -> Movie:
    """A fragment for each letter: ``K`` a key frame, ``d`` one that depends on others; ``size`` bytes of picture."""
    writer = FragmentWriter([Track(id=1, kind="video", codec="vp09", timescale=30, width=64, height=48)])
    initialization = writer.initialization()
    offset = len(initialization)
    fragments = []
    for number, letter in enumerate(pattern):
        key, captured = letter == "K", CAPTURED + number * 33_000
        sample = Sample(1, bytes((number + at) % 251 for at in range(size)), number, 1, sync=key)
        data = writer.fragment([sample], captured)
        fragments.append(Fragment(offset, data, key, captured))
        offset += len(data)
    return Movie(initialization, fragments)
