"""From a picture's drawing to its record in the sink: draw, encode, package, step by step, and as the source does it.

Run: python bench/capture.py [seconds]. Prints medians and 99th percentiles in milliseconds.
"""

from __future__ import annotations

import statistics
import sys
import threading
import time
from collections.abc import Sequence
from fractions import Fraction

import av

from sdp.errors import SDPError
from sdp.media import SourceSpec, open_source
from sdp.media.encoders import VideoEncoder
from sdp.media.packaging import packaging_for
from sdp.media.pattern import Picture
from sdp.media.stamp import Stamp, read_stamp
from sdp.stream.record import Flag

CASES = (((640, 360), 30), ((1280, 720), 30), ((1280, 720), 60))


def told(name: str, seconds: Sequence[float]) -> None:
    ordered = sorted(seconds)
    p99 = ordered[int(len(ordered) * 0.99)]
    print(f"  {name:<28} median {statistics.median(ordered) * 1000:6.2f} ms   p99 {p99 * 1000:6.2f} ms")


def steps(size: tuple[int, int], rate: int, container: str, frames: int) -> None:
    """Time each step, without pacing."""
    encoder = VideoEncoder("libx264", size, Fraction(rate), in_band=container == "mpegts")
    packaging, gathering = packaging_for(container, [encoder.track], None)
    packaging.begin()
    picture = Picture(*size)
    frame = av.VideoFrame(*size, "yuv420p")
    y, u, v = frame.planes
    picture.prime((memoryview(y), memoryview(u), memoryview(v)), (y.line_size, u.line_size, v.line_size))
    drawing, encoding, packing, reading = [], [], [], []
    for number in range(frames):
        start = time.perf_counter()
        frame.make_writable()
        plane = frame.planes[0]
        picture.draw(memoryview(plane), plane.line_size, Stamp(time.time_ns() // 1000, number), lamp=False)
        drawn = time.perf_counter()
        (coded,) = encoder.encode(frame, number * 90_000 // rate)
        encoded = time.perf_counter()
        gathering.add(coded, 0)
        packed = time.perf_counter()
        read_stamp(memoryview(plane), *size, plane.line_size)
        reading.append(time.perf_counter() - packed)
        drawing.append(drawn - start)
        encoding.append(encoded - drawn)
        packing.append(packed - encoded)
    told("draw", drawing)
    told("encode", encoding)
    told(f"package ({container})", packing)
    told("(read a stamp)", reading)


class Sink:
    """Notes when each picture's record came."""

    def __init__(self, records: int) -> None:
        self.delays: list[float] = []
        self.ready = threading.Event()
        self._left = records

    def record(self, data: bytes, flags: Flag, capture_time: int | None) -> bool:
        if capture_time is not None and Flag.INITIALIZATION not in flags:
            self.delays.append((time.time_ns() // 1000 - capture_time) / 1e6)
        self._left -= 1
        return self._left > 0

    def ended(self, error: SDPError | None) -> None:
        self.ready.set()


def paced(size: tuple[int, int], rate: int, container: str, seconds: float) -> None:
    """Time the source as it runs: at its pace, with cold caches."""
    sink = Sink(int(rate * seconds))
    source = open_source(SourceSpec(size=size, rate=Fraction(rate), container=container, audio=False))
    source.start(sink)
    sink.ready.wait()
    told(f"source at its pace ({container})", sink.delays)
    print(f"  {'':<28} skipped {source.skipped} of {len(sink.delays)}")


def main(seconds: float) -> None:
    for size, rate in CASES:
        print(f"{size[0]}x{size[1]} at {rate} frames/s")
        for container in ("mp4", "mpegts"):
            steps(size, rate, container, 300)
            paced(size, rate, container, seconds)


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 4.0)
