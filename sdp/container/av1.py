"""AV1's sequence header turned into the av1C that MP4 wants (AV1 Codec ISO Media File Format Binding, section 2.3)."""

from __future__ import annotations

from sdp.container.parameter_sets import BitReader
from sdp.errors import MediaError

__all__ = ["av1_configuration"]

SEQUENCE_HEADER = 1
MATRIX_IDENTITY, PRIMARIES_BT709, TRANSFER_SRGB = 0, 1, 13


def av1_configuration(extradata: bytes) -> bytes:
    """Build an av1C's content from OBUs, the first of which is a sequence header (AV1 sections 5.3 and 5.5)."""
    if not extradata or extradata[0] >> 3 & 0xF != SEQUENCE_HEADER or not extradata[0] & 2:
        raise MediaError("The AV1 encoder gave no sequence header: ask it for global headers.")
    at = 2 if extradata[0] & 4 else 1
    while extradata[at : at + 1] >= b"\x80":  # leb128
        at += 1
    bits = BitReader(extradata[at + 1 :])
    profile = bits.read(3)
    bits.read(1)  # still_picture
    reduced = bits.read(1)
    level, tier = (bits.read(5), 0) if reduced else _operating_point(bits)
    _skip_to_colour(bits, reduced)
    colour = _colour(bits, profile)
    return bytes((0x81, profile << 5 | level, tier << 7 | colour, 0)) + extradata


def _operating_point(bits: BitReader) -> tuple[int, int]:
    """Return the level and tier of the first operating point."""
    delay_length = 0
    if bits.read(1):  # timing_info_present_flag
        bits.read(64)
        if bits.read(1):  # equal_picture_interval
            bits.exponential()
        if bits.read(1):  # decoder_model_info_present_flag
            delay_length = bits.read(5) + 1
            bits.read(42)
    display_delay = bits.read(1)
    points = []
    for _ in range(bits.read(5) + 1):
        bits.read(12)
        level = bits.read(5)
        tier = bits.read(1) if level > 7 else 0
        if delay_length and bits.read(1):
            bits.read(2 * delay_length + 1)
        if display_delay and bits.read(1):
            bits.read(4)
        points.append((level, tier))
    return points[0]


def _skip_to_colour(bits: BitReader, reduced: int) -> None:
    widths, heights = bits.read(4) + 1, bits.read(4) + 1
    bits.read(widths + heights)
    if not reduced and bits.read(1):  # frame_id_numbers_present_flag
        bits.read(7)
    bits.read(3)  # superblocks, filter intra, intra edge
    if not reduced:
        bits.read(4)  # interintra, masked, warped, dual filter
        order_hint = bits.read(1)
        if order_hint:
            bits.read(2)
        screen_content = 2 if bits.read(1) else bits.read(1)
        if screen_content and not bits.read(1):  # seq_choose_integer_mv
            bits.read(1)
        if order_hint:
            bits.read(3)
    bits.read(3)  # superres, cdef, restoration


def _colour(bits: BitReader, profile: int) -> int:
    """Return the seven low bits of av1C's third byte (AV1 section 5.5.2)."""
    high = bits.read(1)
    twelve = bits.read(1) if profile == 2 and high else 0
    monochrome = 0 if profile == 1 else bits.read(1)
    description = (bits.read(8), bits.read(8), bits.read(8)) if bits.read(1) else None
    position = 0
    if monochrome:
        bits.read(1)
        across = down = 1
    elif description == (PRIMARIES_BT709, TRANSFER_SRGB, MATRIX_IDENTITY):
        across = down = 0
    else:
        bits.read(1)
        across = down = 1 - (profile & 1)
        if profile == 2:
            across, down = (1, 0)
            if twelve:
                across = bits.read(1)
                down = bits.read(1) if across else 0
        if across and down:
            position = bits.read(2)
    return high << 6 | twelve << 5 | monochrome << 4 | across << 3 | down << 2 | position
