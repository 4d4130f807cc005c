"""How fast the framers find records: GB/s of each container at feeds of 64 KiB (or what --feed says).

    python bench/framers.py [--feed BYTES] [--seconds S]

The media are made on the spot: 30 frames a second of 5 Mbit/s, a key frame of 120 kB in each second.
"""

from __future__ import annotations

import argparse
import random
import struct
import time
from collections.abc import Callable, Iterator

from sdp.container import framer_for
from sdp.container.fragments import FragmentWriter
from sdp.container.tracks import Sample, Track

TOTAL = 64 << 20
VIDEO = Track(id=1, kind="video", codec="avc1", timescale=90000, extradata=b"\1\x42\0\x0a\xff\xe0\0")


def frames(total: int) -> Iterator[tuple[bytes, bool]]:
    chance = random.Random(1)
    noise = chance.randbytes(1 << 20).replace(b"\0\0", b"\1\1")
    made = number = 0
    while made < total:
        key = number % 30 == 0
        size = 120_000 if key else 17_400
        start = chance.randrange(len(noise) - size)
        yield noise[start : start + size], key
        made += size
        number += 1


def fragmented_mp4() -> bytes:
    writer = FragmentWriter([VIDEO])
    parts = [writer.initialization()]
    for number, (data, key) in enumerate(frames(TOTAL)):
        parts.append(writer.fragment([Sample(1, data, number * 3000, 3000, 0, key)], number * 33_333))
    return b"".join(parts)


def large_mdat() -> bytes:
    writer = FragmentWriter([VIDEO])
    data = random.Random(2).randbytes(8 << 20)
    return writer.initialization() + b"".join(writer.fragment([Sample(1, data, 0, 1)]) for _ in range(8))


def transport_packets(pid: int, payload: bytes, key: bool) -> Iterator[bytes]:
    head = struct.pack(">BHB", 0x47, 0x4000 | pid, 0x30) + bytes((1, 0x40 if key else 0))
    yield head + payload[:182]
    middle = struct.pack(">BHB", 0x47, pid, 0x10)
    for at in range(182, len(payload) - 183, 184):
        yield middle + payload[at : at + 184]


def transport_stream() -> bytes:
    pat = b"\x47\x40\x00\x10\0" + bytes.fromhex("00b00d0001c100000001f000ffffffff").ljust(183, b"\xff")
    pmt = b"\x47\x50\x00\x10\0" + bytes.fromhex("02b0120001c10000e100f0001be100f000ffffffff").ljust(183, b"\xff")
    parts = []
    for data, key in frames(TOTAL):
        if key:
            parts += [pat, pmt]
        parts += transport_packets(256, b"\0\0\1\xe0\0\0\x80\0\0" + data, key)
    return b"".join(parts)


def matroska() -> bytes:
    def element(identifier: str, content: bytes) -> bytes:
        return bytes.fromhex(identifier) + (0x1000_0000 | len(content)).to_bytes(4) + content

    track = element("ae", element("d7", b"\1") + element("83", b"\1"))
    parts = [element("1a45dfa3", element("4282", b"webm")), b"\x18\x53\x80\x67\xff", element("1654ae6b", track)]
    for data, key in frames(TOTAL):
        if key:
            parts.append(b"\x1f\x43\xb6\x75\xff" + element("e7", b"\0"))
        parts.append(element("a3", b"\x81\0\0" + (b"\x80" if key else b"\0") + data))
    return b"".join(parts)


def adts() -> bytes:
    size = 371
    head = bytes((0xFF, 0xF1, 0x4C, 0x80, size >> 3, (size & 7) << 5 | 0x1F, 0xFC))
    return (head + bytes(size - 7)) * (TOTAL // 4 // size)


def opaque() -> bytes:
    return b"x" * TOTAL


CASES: dict[str, tuple[str, Callable[[], bytes]]] = {
    "fragmented MP4, a frame each": ("video/mp4", fragmented_mp4),
    "fragmented MP4, 8 MiB each": ("video/mp4", large_mdat),
    "MPEG-TS": ("video/mp2t", transport_stream),
    "WebM, clusters of unknown size": ("video/webm", matroska),
    "ADTS, 128 kbit/s": ("audio/aac", adts),
    "opaque": ("text/plain", opaque),
}


def measure(content_type: str, data: bytes, feed: int, seconds: float) -> tuple[float, int]:
    """Return the best rate in bytes a second of the runs that fit into ``seconds``, and the records found."""
    pieces = [data[at : at + feed] for at in range(0, len(data), feed)]
    best, found, until = 0.0, 0, time.perf_counter() + seconds
    while True:
        framer = framer_for(content_type)
        started = time.perf_counter()
        found = sum(len(framer.feed(piece, 0)) for piece in pieces)
        ended = time.perf_counter()
        best = max(best, len(data) / (ended - started))
        if ended > until:
            return best, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feed", type=int, default=64 << 10, help="bytes of each feed")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each container is measured")
    options = parser.parse_args()
    print(f"{'container':32} {'GB/s':>8} {'records':>8}   (feeds of {options.feed} bytes)")
    for name, (content_type, make) in CASES.items():
        rate, found = measure(content_type, make(), options.feed, options.seconds)
        print(f"{name:32} {rate / 1e9:8.2f} {found:8}")

    writer = FragmentWriter([VIDEO])
    sample = Sample(1, bytes(17_400), 0, 3000, 0, False)
    started = time.perf_counter()
    for _ in range(20_000):
        writer.fragment([sample], 1_700_000_000_000_000)
    print(f"writing a fragment of one frame: {(time.perf_counter() - started) / 20_000 * 1e6:.1f} us")


if __name__ == "__main__":
    main()
