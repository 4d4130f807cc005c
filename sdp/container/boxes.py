"""Reading ISO base media boxes (ISO/IEC 14496-12): headers, tracks, and the first sample of a fragment.

Pure functions over bytes. They raise :class:`MalformedBox` where a box contradicts itself; a framer takes that
for "nothing is known", never for an error.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = [
    "Box",
    "FirstSample",
    "MalformedBox",
    "TrackHead",
    "children",
    "first_samples",
    "is_sync",
    "microseconds_from_ntp",
    "movie_tracks",
    "ntp_from_microseconds",
    "read_box",
    "reference_time",
]

NTP_TO_UNIX: Final = 2_208_988_800
"""Seconds from the NTP epoch (1900) to the Unix epoch (RFC 5905 section 6)."""

SAMPLE_IS_NON_SYNC: Final = 0x0001_0000
SAMPLE_DEPENDS_SHIFT: Final = 24

_U32 = struct.Struct(">I")
_U64 = struct.Struct(">Q")
_HEAD = struct.Struct(">I4s")


class MalformedBox(ValueError):
    """A box whose size or type cannot be."""


class Box(NamedTuple):
    """A box's place within the bytes it was read from: all offsets in bytes, ``end`` None where it runs to the end."""

    kind: bytes
    start: int
    content: int
    end: int | None


class TrackHead(NamedTuple):
    """What a framer wants to know of a track: its handler (``b"vide"``, ``b"soun"``, ...) and its trex flags."""

    track_id: int
    handler: bytes
    default_flags: int


class FirstSample(NamedTuple):
    """A track's first sample in a fragment; ``flags`` is None where only the movie's trex default says them."""

    track_id: int
    flags: int | None


def read_box(data: bytes, start: int = 0) -> Box | None:
    """Read the header of the box at ``start``; None where more bytes are needed (at most 16; section 4.2.2)."""
    available = len(data) - start
    if available < 8:
        return None
    size, kind = _HEAD.unpack_from(data, start)
    if size >= 8:
        return Box(kind, start, start + 8, start + size)
    if size == 0:
        return Box(kind, start, start + 8, None)
    if size != 1:
        raise MalformedBox(f"a box of {size} bytes")
    if available < 16:
        return None
    (size,) = _U64.unpack_from(data, start + 8)
    if size < 16:
        raise MalformedBox(f"a box of {size} bytes with a 64-bit size")
    return Box(kind, start, start + 16, start + size)


def children(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, content start, content end) of the boxes that lie side by side in [start, end)."""
    while end - start >= 8:
        box = read_box(data, start)
        if box is None:
            raise MalformedBox("a header that its parent cuts off")
        stop = end if box.end is None else box.end
        if stop > end or box.content > end:
            raise MalformedBox("a box larger than its parent")
        yield box.kind, box.content, stop
        start = stop


def movie_tracks(data: bytes, start: int, end: int) -> dict[int, TrackHead]:
    """Read the tracks out of a moov's content in [start, end) (sections 8.3, 8.4.3, 8.8.3)."""
    handlers: dict[int, bytes] = {}
    defaults: dict[int, int] = {}
    for kind, begin, stop in children(data, start, end):
        if kind == b"trak":
            track_id, handler = _track(data, begin, stop)
            handlers[track_id] = handler
        elif kind == b"mvex":
            for inner, at, inner_end in children(data, begin, stop):
                if inner == b"trex":
                    _within(at + 24, inner_end)
                    track_id, *_, flags = struct.unpack_from(">5I", data, at + 4)
                    defaults[track_id] = flags
    return {track_id: TrackHead(track_id, handler, defaults.get(track_id, 0)) for track_id, handler in handlers.items()}


def _track(data: bytes, start: int, end: int) -> tuple[int, bytes]:
    track_id, handler = 0, b""
    for kind, begin, stop in children(data, start, end):
        if kind == b"tkhd":
            place = begin + (20 if data[begin : begin + 1] == b"\x01" else 12)
            _within(place + 4, stop)
            (track_id,) = _U32.unpack_from(data, place)
        elif kind == b"mdia":
            for inner, at, inner_end in children(data, begin, stop):
                if inner == b"hdlr":
                    _within(at + 12, inner_end)
                    handler = data[at + 8 : at + 12]
    return track_id, handler


def first_samples(data: bytes, start: int, end: int) -> list[FirstSample]:
    """Read, out of a moof's content in [start, end), the first sample of each traf that has one (section 8.8)."""
    found = []
    for kind, begin, stop in children(data, start, end):
        if kind == b"traf":
            sample = _first_sample(data, begin, stop)
            if sample is not None:
                found.append(sample)
    return found


def _first_sample(data: bytes, start: int, end: int) -> FirstSample | None:
    track_id: int | None = None
    default: int | None = None
    for kind, begin, stop in children(data, start, end):
        if kind == b"tfhd":
            track_id, default = _track_fragment_header(data, begin, stop)
        elif kind == b"trun" and track_id is not None:
            _within(begin + 8, stop)
            flags, count = struct.unpack_from(">II", data, begin)
            if not count:
                continue
            place = begin + 8 + (4 if flags & 0x1 else 0)
            if flags & 0x4:
                default = _flags_at(data, place, stop)
            elif flags & 0x400:
                place += 4 * ((flags >> 8 & 1) + (flags >> 9 & 1))
                default = _flags_at(data, place, stop)
            return FirstSample(track_id, default)
    return None


def _track_fragment_header(data: bytes, start: int, end: int) -> tuple[int, int | None]:
    _within(start + 8, end)
    flags, track_id = struct.unpack_from(">II", data, start)
    if not flags & 0x20:
        return track_id, None
    place = start + 8 + 8 * (flags & 1) + 4 * ((flags >> 1 & 1) + (flags >> 3 & 1) + (flags >> 4 & 1))
    return track_id, _flags_at(data, place, end)


def _flags_at(data: bytes, place: int, end: int) -> int:
    _within(place + 4, end)
    flags: int = _U32.unpack_from(data, place)[0]
    return flags


def _within(place: int, end: int) -> None:
    if place > end:
        raise MalformedBox("a box too short for its fields")


def is_sync(flags: int) -> bool:
    """Whether sample flags say that decoding can start there (section 8.8.3.1: not non-sync, depends on no other)."""
    return not flags & SAMPLE_IS_NON_SYNC and (flags >> SAMPLE_DEPENDS_SHIFT) & 3 != 1


def reference_time(data: bytes, start: int, end: int) -> int:
    """Read a prft's NTP time out of its content in [start, end), as microseconds since the Unix epoch (8.16.5)."""
    _within(start + 16, end)
    (ntp,) = _U64.unpack_from(data, start + 8)
    return microseconds_from_ntp(ntp)


def microseconds_from_ntp(ntp: int) -> int:
    """Turn a 64-bit NTP time into microseconds since the Unix epoch; eras by RFC 4330 section 3 (1968 to 2104)."""
    seconds = ntp >> 32
    if seconds < 0x8000_0000:
        seconds += 1 << 32
    return (seconds - NTP_TO_UNIX) * 1_000_000 + (((ntp & 0xFFFF_FFFF) * 1_000_000 + (1 << 31)) >> 32)


def ntp_from_microseconds(time: int) -> int:
    """Turn microseconds since the Unix epoch into a 64-bit NTP time, from which they come back exactly."""
    seconds, rest = divmod(time, 1_000_000)
    return (((seconds + NTP_TO_UNIX) & 0xFFFF_FFFF) << 32) | ((rest << 32) + 500_000) // 1_000_000
