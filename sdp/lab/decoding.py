"""A coded picture in, its stamp out: the end of a probe's way, and the ground truth of all that is measured.

A decoder of one thread, told to hold nothing back. When the picture is there is noted before its stamp is read, so that
reading costs the picture nothing; what it costs the probe is counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from sdp.container.units import MediaDescription, Unit
from sdp.errors import LocalError
from sdp.media.stamp import Stamp, read_stamp

__all__ = ["Decoded", "PictureDecoder", "import_av", "now", "read_picture"]


def now() -> int:
    """The machine's wall clock: microseconds since the Unix epoch."""
    return time.time_ns() // 1000


def import_av() -> Any:
    """PyAV. Raises LocalError where it is not installed."""
    try:
        import av
    except ImportError as error:
        raise LocalError("A probe decodes: install PyAV (pip install sdp-streaming[lab]).") from error
    return av


@attrs.frozen
class Decoded:
    """A picture that a decoder gave out, ``at`` that time; ``stamp`` is None where it bears none that can be read."""

    at: int
    stamp: Stamp | None


def read_picture(frame: Any) -> Stamp | None:
    """The stamp of a decoded frame of av."""
    plane = frame.planes[0]
    return read_stamp(memoryview(plane), frame.width, frame.height, plane.line_size)


class PictureDecoder:
    """Decodes the pictures of one stream. ``clock`` gives microseconds."""

    def __init__(self, clock: Callable[[], int] = now) -> None:
        self.reading = 0
        """Microseconds that were spent on reading stamps."""
        self.decoding = 0
        """Microseconds that were spent in the decoder."""
        self.damaged = 0
        """Pictures that could not be decoded."""
        self._clock = clock
        self._av = import_av()
        self._context: Any = None

    def configure(self, tracks: Iterable[MediaDescription]) -> int | None:
        """Be ready for a stream of these tracks; return the id of the one that is decoded, or None for none."""
        for track in tracks:
            if track.kind == "video":
                context = self._av.CodecContext.create(track.codec, "r")
                context.thread_count = 1
                context.flags |= self._av.codec.context.Flags.low_delay
                if track.config:
                    context.extradata = track.config
                context.open()
                self._context = context
                return track.id
        return None

    def decode(self, unit: Unit) -> list[Decoded]:
        """Decode one picture's bytes: usually the picture, at once."""
        began = self._clock()
        try:
            frames = self._context.decode(self._av.Packet(unit.data))
        except (ValueError, EOFError):  # av's InvalidDataError is a ValueError
            self.damaged += 1
            frames = []
        at = self._clock()
        self.decoding += at - began
        pictures = [Decoded(at, read_picture(frame)) for frame in frames]
        self.reading += self._clock() - at
        return pictures
