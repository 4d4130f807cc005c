"""H.264 and HEVC as encoders give them (Annex B) turned into what MP4 wants: length prefixes, avcC and hvcC.

Sources: ITU-T H.264 sections 7.3.2.1 and Annex B, ITU-T H.265 section 7.3.2.2, ISO/IEC 14496-15 sections 5.3.3
and 8.3.3. Pure functions; MediaError where the parameter sets that a configuration needs are not there.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from sdp.errors import MediaError

__all__ = [
    "BitReader",
    "avc_configuration",
    "avc_from_annex_b",
    "hevc_configuration",
    "is_annex_b",
    "network_abstraction_layer_units",
]

START_CODE: Final = b"\x00\x00\x01"

AVC_SPS, AVC_PPS, AVC_SPS_EXTENSION = 7, 8, 13
AVC_PROFILES_WITHOUT_EXTRAS: Final = frozenset({66, 77, 88})
AVC_PROFILES_WITH_CHROMA: Final = frozenset({44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 144, 244})
HEVC_VPS, HEVC_SPS, HEVC_PPS = 32, 33, 34

_LENGTH = struct.Struct(">I")


def is_annex_b(data: bytes) -> bool:
    """Whether ``data`` begins with a start code, as no avcC or hvcC does."""
    return data.startswith((START_CODE, b"\x00" + START_CODE))


def network_abstraction_layer_units(data: bytes) -> Iterator[bytes]:
    """Yield the units between the start codes of an Annex B byte stream, without trailing zeros."""
    start = data.find(START_CODE)
    while start >= 0:
        start += 3
        following = data.find(START_CODE, start)
        unit = (data[start:] if following < 0 else data[start:following]).rstrip(b"\x00")
        if unit:
            yield unit
        start = following


def avc_from_annex_b(data: bytes) -> bytes:
    """Turn an access unit's start codes into 4-byte lengths (H.264 and HEVC alike)."""
    pieces: list[bytes] = []
    for unit in network_abstraction_layer_units(data):
        pieces.append(_LENGTH.pack(len(unit)))
        pieces.append(unit)
    return b"".join(pieces)


def avc_configuration(extradata: bytes) -> bytes:
    """Build an avcC's content from Annex B parameter sets (ISO/IEC 14496-15 section 5.3.3.1)."""
    units: dict[int, list[bytes]] = {AVC_SPS: [], AVC_PPS: [], AVC_SPS_EXTENSION: []}
    for unit in network_abstraction_layer_units(extradata):
        kind = unit[0] & 0x1F
        if kind in units and unit not in units[kind]:
            units[kind].append(unit)
    sequences, pictures, extensions = units[AVC_SPS], units[AVC_PPS], units[AVC_SPS_EXTENSION]
    if not sequences or not pictures or len(sequences[0]) < 4:
        raise MediaError("The H.264 encoder gave no SPS and PPS: ask it for global headers.")
    first = sequences[0]
    parts = [bytes((1, first[1], first[2], first[3], 0xFF, 0xE0 | len(sequences)))]
    parts += [_sized(unit) for unit in sequences]
    parts.append(bytes((len(pictures),)))
    parts += [_sized(unit) for unit in pictures]
    if first[1] not in AVC_PROFILES_WITHOUT_EXTRAS:
        chroma, luma_depth, chroma_depth = _avc_chroma(first)
        parts.append(bytes((0xFC | chroma, 0xF8 | luma_depth, 0xF8 | chroma_depth, len(extensions))))
        parts += [_sized(unit) for unit in extensions]
    return b"".join(parts)


def _avc_chroma(unit: bytes) -> tuple[int, int, int]:
    """Return chroma_format_idc and both bit depths less 8."""
    if unit[1] not in AVC_PROFILES_WITH_CHROMA:
        return 1, 0, 0
    bits = BitReader(_payload(unit[4:]))
    bits.exponential()  # seq_parameter_set_id
    chroma = bits.exponential()
    if chroma == 3:
        bits.read(1)  # separate_colour_plane_flag
    return chroma & 3, bits.exponential() & 7, bits.exponential() & 7


def hevc_configuration(extradata: bytes) -> bytes:
    """Build an hvcC's content from Annex B parameter sets (ISO/IEC 14496-15 section 8.3.3.1)."""
    units: dict[int, list[bytes]] = {HEVC_VPS: [], HEVC_SPS: [], HEVC_PPS: []}
    for unit in network_abstraction_layer_units(extradata):
        kind = unit[0] >> 1 & 0x3F
        if kind in units and unit not in units[kind]:
            units[kind].append(unit)
    if not all(units.values()):
        raise MediaError("The HEVC encoder gave no VPS, SPS and PPS: ask it for global headers.")
    bits = BitReader(_payload(units[HEVC_SPS][0][2:]))
    bits.read(4)  # sps_video_parameter_set_id
    sub_layers = bits.read(3)
    nested = bits.read(1)
    profile = bits.read(96).to_bytes(12)
    present = [bits.read(2) for _ in range(sub_layers)]
    if sub_layers:
        bits.read(2 * (8 - sub_layers))
    for flags in present:
        bits.read((88 if flags & 2 else 0) + (8 if flags & 1 else 0))
    bits.exponential()  # sps_seq_parameter_set_id
    chroma = bits.exponential()
    if chroma == 3:
        bits.read(1)
    bits.exponential()  # width
    bits.exponential()  # height
    if bits.read(1):  # conformance_window_flag
        for _ in range(4):
            bits.exponential()
    depths = bits.exponential(), bits.exponential()
    head = b"\x01" + profile + b"\xf0\x00\xfc"
    head += bytes((0xFC | chroma & 3, 0xF8 | depths[0] & 7, 0xF8 | depths[1] & 7, 0, 0))
    head += bytes(((sub_layers + 1) << 3 | nested << 2 | 3, len(units)))
    for kind, found in units.items():
        head += bytes((0x80 | kind,)) + len(found).to_bytes(2) + b"".join(map(_sized, found))
    return head


def _sized(unit: bytes) -> bytes:
    return len(unit).to_bytes(2) + unit


class BitReader:
    """Reads the fields of a header bit by bit; MediaError where it ends too early."""

    def __init__(self, payload: bytes) -> None:
        self._value = int.from_bytes(payload)
        self._left = 8 * len(payload)

    def read(self, count: int) -> int:
        """Read an unsigned number of ``count`` bits."""
        self._left -= count
        if self._left < 0:
            raise MediaError("The encoder gave a codec header that ends too early.")
        return self._value >> self._left & ((1 << count) - 1)

    def exponential(self) -> int:
        """Read an unsigned Exp-Golomb code (ue(v), H.264 section 9.1; AV1's uvlc())."""
        zeros = 0
        while not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)


def _payload(unit: bytes) -> bytes:
    """Return a unit without its emulation prevention bytes (H.264 section 7.4.1)."""
    return unit.replace(b"\x00\x00\x03", b"\x00\x00")
