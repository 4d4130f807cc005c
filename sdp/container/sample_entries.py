"""How a track's codec is described in MP4: the sample entries of ``stsd``, one builder a codec.

Sources: ISO/IEC 14496-12 section 12 (entries), 14496-15 (avcC, hvcC), 14496-14 and 14496-1 (esds), and the codecs'
own "in ISOBMFF" documents for AV1, VP9, Opus and FLAC.
"""

from __future__ import annotations

import struct
from typing import Final

from sdp.container.av1 import av1_configuration
from sdp.container.parameter_sets import avc_configuration, hevc_configuration, is_annex_b
from sdp.container.tracks import Track
from sdp.errors import MediaError

__all__ = ["box", "full_box", "sample_entry"]

MP3_OBJECT_TYPE: Final = 0x6B
AAC_OBJECT_TYPE: Final = 0x40


def box(kind: bytes, *contents: bytes) -> bytes:
    """Write a box with a 32-bit size (ISO/IEC 14496-12 section 4.2)."""
    content = b"".join(contents)
    return struct.pack(">I4s", 8 + len(content), kind) + content


def full_box(kind: bytes, version: int, flags: int, *contents: bytes) -> bytes:
    """Write a box with a version and flags."""
    return box(kind, struct.pack(">I", version << 24 | flags), *contents)


def sample_entry(track: Track) -> bytes:
    """Write the entry for ``track``; MediaError where its codec or its extradata cannot be described."""
    writer = _WRITERS.get(track.codec)
    if writer is None:
        raise MediaError(f"MP4 fragments cannot carry {track.codec}; they can carry {', '.join(_WRITERS)}.")
    return writer(track)


def _visual(track: Track, *boxes: bytes) -> bytes:
    head = struct.pack(
        ">6xH16xHHIIIH32sHh", 1, track.width, track.height, 0x0048_0000, 0x0048_0000, 0, 1, b"", 0x18, -1
    )
    if track.bit_rate:
        boxes = (*boxes, box(b"btrt", struct.pack(">III", 0, track.bit_rate, track.bit_rate)))
    return box(track.codec.encode(), head, *boxes)


def _sound(track: Track, kind: bytes, *boxes: bytes) -> bytes:
    rate = track.sample_rate if track.sample_rate < 1 << 16 else 0
    return box(kind, struct.pack(">6xH8xHHHHI", 1, track.channels, 16, 0, 0, rate << 16), *boxes)


def _avc(track: Track) -> bytes:
    extradata = track.extradata
    return _visual(track, box(b"avcC", avc_configuration(extradata) if is_annex_b(extradata) else extradata))


def _hevc(track: Track) -> bytes:
    extradata = track.extradata
    return _visual(track, box(b"hvcC", hevc_configuration(extradata) if is_annex_b(extradata) else extradata))


def _av1(track: Track) -> bytes:
    extradata = track.extradata
    return _visual(track, box(b"av1C", extradata if extradata[:1] == b"\x81" else av1_configuration(extradata)))


def _vp9(track: Track) -> bytes:
    """Without extradata: profile 0, 8 bits, 4:2:0 (VP Codec ISO Media File Format Binding, section 2.2)."""
    fields = track.extradata or bytes((0, _vp9_level(track.width * track.height), 0x82, 2, 2, 2, 0, 0))
    return _visual(track, full_box(b"vpcC", 1, 0, fields))


def _vp9_level(pixels: int) -> int:
    """The least level for a picture of so many pixels (VP9 levels, by picture size alone)."""
    sizes = ((36864, 10), (73728, 11), (122880, 20), (245760, 21), (552960, 30), (983040, 31), (2228224, 40))
    return next((level for size, level in sizes if pixels <= size), 50 if pixels <= 8912896 else 60)


def _mp4a(track: Track) -> bytes:
    return _sound(track, b"mp4a", _elementary_stream(track, AAC_OBJECT_TYPE))


def _mp3(track: Track) -> bytes:
    return _sound(track, b"mp4a", _elementary_stream(track, MP3_OBJECT_TYPE))


def _elementary_stream(track: Track, object_type: int) -> bytes:
    """Write an esds box (ISO/IEC 14496-14 section 5.6, 14496-1 section 7.2.6)."""
    specific = _descriptor(5, track.extradata) if track.extradata else b""
    rates = struct.pack(">BBHII", 0x15, 0, 0, track.bit_rate, track.bit_rate)
    configuration = _descriptor(4, bytes((object_type,)) + rates + specific)
    stream = _descriptor(3, struct.pack(">HB", track.id & 0xFFFF, 0) + configuration + _descriptor(6, b"\x02"))
    return full_box(b"esds", 0, 0, stream)


def _descriptor(tag: int, content: bytes) -> bytes:
    size = len(content)
    lengths = bytes(size >> shift & 0x7F | (0x80 if shift else 0) for shift in (21, 14, 7, 0))
    return bytes((tag,)) + lengths + content


def _opus(track: Track) -> bytes:
    """Turn an OpusHead (RFC 7845 section 5.1, little-endian) into a dOps box."""
    head = track.extradata
    if len(head) < 19 or not head.startswith(b"OpusHead"):
        raise MediaError("An Opus track's extradata is an OpusHead of at least 19 bytes.")
    channels, skip, rate, gain, family = struct.unpack_from("<BHIhB", head, 9)
    fields = struct.pack(">BBHIhB", 0, channels, skip, rate, gain, family) + head[19:]
    return _sound(track, b"Opus", box(b"dOps", fields))


def _flac(track: Track) -> bytes:
    information = track.extradata[-34:]
    if len(information) != 34:
        raise MediaError("A FLAC track's extradata is its STREAMINFO of 34 bytes.")
    return _sound(track, b"fLaC", full_box(b"dfLa", 0, 0, b"\x80\x00\x00\x22" + information))


_WRITERS: Final = {
    "avc1": _avc,
    "hvc1": _hevc,
    "hev1": _hevc,
    "av01": _av1,
    "vp09": _vp9,
    "mp4a": _mp4a,
    "mp3": _mp3,
    "Opus": _opus,
    "fLaC": _flac,
}
