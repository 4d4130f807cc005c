"""A clock that stands still until it is waited for, and a sink that keeps what it is given."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import av
from zope.interface import implementer

from sdp.errors import SDPError
from sdp.interfaces import IRecordSink
from sdp.stream.record import Flag

WALL = 1_700_000_000_123_456
PATIENCE = 60.0
"""Seconds after which a thread that has not ended is a failure."""


class SteppedClock:
    """Waiting moves it to the time waited for, at once."""

    def __init__(self, wall: int = WALL) -> None:
        self.elapsed = 0
        self._wall = wall

    def now(self) -> int:
        return self._wall + self.elapsed

    def monotonic(self) -> int:
        return 5_000_000 + self.elapsed

    def wait(self, until: int, stop: threading.Event) -> bool:
        self.elapsed = max(self.elapsed, until - 5_000_000)
        return not stop.is_set()


class Given(NamedTuple):
    data: bytes
    flags: Flag
    capture_time: int | None


@implementer(IRecordSink)
class KeepingSink:
    """Wants ``limit`` records, and calls ``on_record`` for each, in the source's thread."""

    def __init__(self, limit: int | None = None, on_record: Callable[[Given], None] | None = None) -> None:
        self.given: list[Given] = []
        self.error: SDPError | None = None
        self._limit = limit
        self._on_record = on_record
        self._ended = threading.Event()
        self.endings = 0

    def record(self, data: bytes, flags: Flag, capture_time: int | None) -> bool:
        given = Given(data, flags, capture_time)
        self.given.append(given)
        if self._on_record is not None:
            self._on_record(given)
        return self._limit is None or len(self.given) < self._limit

    def ended(self, error: SDPError | None) -> None:
        self.error = error
        self.endings += 1
        self._ended.set()

    def wait(self) -> None:
        assert self._ended.wait(PATIENCE), "the source has not ended"

    @property
    def stream(self) -> bytes:
        return b"".join(given.data for given in self.given)


class Decoded(NamedTuple):
    video: list[Any]
    audio: list[Any]


def run(source: Any, limit: int | None = None, on_record: Callable[[Given], None] | None = None) -> KeepingSink:
    """Run a source to its end, or to ``limit`` records."""
    sink = KeepingSink(limit, on_record)
    source.start(sink)
    sink.wait()
    assert source.join(PATIENCE)
    assert sink.endings == 1
    return sink


def decode(stream: bytes) -> Decoded:
    """Decode a whole stream; av raises where it is damaged."""
    decoded = Decoded([], [])
    with av.open(io.BytesIO(stream), "r") as container:
        for stream_ in container.streams:
            stream_.codec_context.options = {"err_detect": "explode"}
        for packet in container.demux():
            for frame in packet.decode():
                (decoded.video if isinstance(frame, av.VideoFrame) else decoded.audio).append(frame)
    return decoded


def packets(stream: bytes) -> dict[str, list[tuple[int, int, int, bool]]]:
    """Return dts, pts, size and key flag of each packet, by kind of stream."""
    found: dict[str, list[tuple[int, int, int, bool]]] = {"video": [], "audio": []}
    with av.open(io.BytesIO(stream), "r") as container:
        for packet in container.demux():
            if packet.dts is not None and packet.pts is not None:
                found[packet.stream.type].append((packet.dts, packet.pts, packet.size, packet.is_keyframe))
    return found
