"""Writes MPEG-TS (ISO/IEC 13818-1) access unit by access unit, so that none waits for the next.

libavformat's muxer interleaves by decoding time: with sound and pictures it holds each packet until one of the other
stream has come, up to a frame's time. A low-latency stream is in order already; so the packets are written here, whole
at once, with PES_packet_length filled in (else a receiver waits for the next PES packet to know this one's end).
Pure: bytes in, bytes out.
"""

from __future__ import annotations

from functools import cache

from sdp.media.coded import Coded, MediaTrack

__all__ = ["CARRIED", "TransportWriter", "adts_header", "audio_specific_config", "delimited"]

_BODY = 184
_PMT_PID = 0x1000
_FIRST_PID = 0x100
_TICKS = 90_000
PCR_LEAD = 9_000
"""90 kHz ticks (100 ms) by which a frame's decoding time lies after the clock reference sent with it: room for
receivers that pace by the reference; those that do not are not slowed by it."""

CARRIED = {
    "h264": (0x1B, 0xE0, b""),
    "hevc": (0x24, 0xE0, b"\x05\x04HEVC"),
    "mpeg2video": (0x02, 0xE0, b""),
    "aac": (0x0F, 0xC0, b""),
    "mp3": (0x03, 0xC0, b""),
    "mp2": (0x03, 0xC0, b""),
    "ac3": (0x81, 0xBD, b"\x05\x04AC-3"),
    "eac3": (0x87, 0xBD, b"\x05\x04EAC3"),
}
"""What can be carried: stream_type, stream_id, and descriptors (a registration where the type alone is ambiguous)."""

_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
_DELIMITERS = {"h264": b"\x00\x00\x00\x01\x09\xf0", "hevc": b"\x00\x00\x00\x01\x46\x01\x50"}


@cache
def _crc_table() -> tuple[int, ...]:
    table = []
    for number in range(256):
        value = number << 24
        for _ in range(8):
            value = (value << 1 ^ 0x04C11DB7 if value & 0x80000000 else value << 1) & 0xFFFFFFFF
        table.append(value)
    return tuple(table)


def crc32_mpeg(data: bytes) -> int:
    """Return the CRC that ends a PSI section (ISO/IEC 13818-1 annex A)."""
    table = _crc_table()
    value = 0xFFFFFFFF
    for byte in data:
        value = (value << 8 & 0xFFFFFFFF) ^ table[value >> 24 ^ byte]
    return value


def adts_header(config: bytes, size: int) -> bytes:
    """Return the ADTS header (ISO/IEC 13818-7) of a raw AAC frame of ``size`` bytes with this AudioSpecificConfig.

    Raises ValueError for what ADTS cannot say: object types above 4, unusual rates, channels told by an element.
    """
    object_type, frequency, channels = config[0] >> 3, (config[0] & 7) << 1 | config[1] >> 7, config[1] >> 3 & 15
    if object_type in (5, 29):  # HE-AAC told explicitly: ADTS names its core, the extension is found in the frames
        object_type = 2
    if not 1 <= object_type <= 4 or frequency >= len(_RATES) or not 1 <= channels <= 7:
        raise ValueError("this AudioSpecificConfig has no ADTS form")
    whole = size + 7
    head = 0xFFF1 << 40 | (object_type - 1) << 38 | frequency << 34 | channels << 30
    return (head | whole << 13 | 0x7FF << 2).to_bytes(7, "big")


def audio_specific_config(frame: bytes) -> bytes | None:
    """Return the AudioSpecificConfig of an AAC frame that begins with an ADTS header; None where it has none."""
    if len(frame) < 7 or frame[0] != 0xFF or frame[1] & 0xF6 != 0xF0:
        return None
    object_type, frequency = (frame[2] >> 6) + 1, frame[2] >> 2 & 15
    channels = (frame[2] & 1) << 2 | frame[3] >> 6
    if frequency >= len(_RATES) or not channels:
        return None
    return (object_type << 11 | frequency << 7 | channels << 3).to_bytes(2, "big")


def delimited(codec: str, data: bytes) -> bytes:
    """Return an Annex B access unit that begins with its delimiter, as a transport stream asks for."""
    mark = _DELIMITERS.get(codec)
    if mark is None:
        return data
    start = data.find(b"\x00\x00\x01", 0, 5) + 3
    if start >= 3 and len(data) > start:
        kind = data[start] & 0x1F if codec == "h264" else data[start] >> 1 & 0x3F
        if kind == (9 if codec == "h264" else 35):
            return data
    return mark + data


def _section(table: int, number: int, body: bytes) -> bytes:
    head = bytes((table,)) + (0xB000 | len(body) + 9).to_bytes(2, "big") + number.to_bytes(2, "big") + b"\xc1\x00\x00"
    return head + body + crc32_mpeg(head + body).to_bytes(4, "big")


def _time(mark: int, ticks: int) -> bytes:
    """A 33-bit time stamp in five bytes, with its marker bits."""
    ticks &= (1 << 33) - 1
    high, middle, low = ticks >> 30, ticks >> 15 & 0x7FFF, ticks & 0x7FFF
    return ((mark << 4 | high << 1 | 1) << 32 | (middle << 1 | 1) << 16 | low << 1 | 1).to_bytes(5, "big")


class TransportWriter:
    """One program of these tracks; the first video track, else the first track, bears the clock reference."""

    def __init__(self, tracks: list[MediaTrack]) -> None:
        self.tracks = tracks
        self._pids = [_FIRST_PID + number for number in range(len(tracks))]
        self._continuity: dict[int, int] = {}
        self._clock = next((number for number, track in enumerate(tracks) if track.kind == "video"), 0)
        loop = b"".join(
            bytes((stream_type,)) + (0xE000 | pid).to_bytes(2, "big") + (0xF000 | len(more)).to_bytes(2, "big") + more
            for pid, (stream_type, _, more) in zip(self._pids, (CARRIED[track.codec] for track in tracks), strict=True)
        )
        self._association = _section(0, 1, (1).to_bytes(2, "big") + (0xE000 | _PMT_PID).to_bytes(2, "big"))
        self._map = _section(2, 1, (0xE000 | self._pids[self._clock]).to_bytes(2, "big") + b"\xf0\x00" + loop)

    def tables(self) -> bytes:
        """Return the program association and program map tables: two packets, from which decoding can start."""
        return b"".join(
            self._head(pid, 0x40, 0x10) + b"\x00" + section + b"\xff" * (_BODY - 1 - len(section))
            for pid, section in ((0, self._association), (_PMT_PID, self._map))
        )

    def frame(self, coded: Coded) -> bytes:
        """Return the packets of one access unit, whole."""
        track = self.tracks[coded.track]
        data = coded.data
        if track.codec == "aac" and track.config:
            data = adts_header(track.config, len(data)) + data
        else:
            data = delimited(track.codec, data)
        pts, dts = (value * _TICKS // track.timescale + PCR_LEAD for value in (coded.pts, coded.dts))
        clock = dts - PCR_LEAD if coded.track == self._clock else None
        return self._packets(self._pids[coded.track], self._pes(track, data, pts, dts), coded.sync, clock)

    def _pes(self, track: MediaTrack, data: bytes, pts: int, dts: int) -> bytes:
        times = _time(2, pts) if pts == dts else _time(3, pts) + _time(1, dts)
        length = len(data) + 3 + len(times)
        if length > 0xFFFF:  # only video may leave its length open, and only video grows so large
            length = 0
        head = b"\x00\x00\x01" + bytes((CARRIED[track.codec][1],)) + length.to_bytes(2, "big")
        return head + bytes((0x84, 0x80 if pts == dts else 0xC0, len(times))) + times + data

    def _packets(self, pid: int, pes: bytes, sync: bool, clock: int | None) -> bytes:
        field = b""
        if clock is not None:
            clock &= (1 << 33) - 1
            field = bytes((0x50 if sync else 0x10,)) + (clock << 15 | 0x3F << 9).to_bytes(6, "big")
        elif sync:
            field = b"\x40"
        first = _BODY - (len(field) + 1 if field else 0)
        if len(pes) < first:
            return self._stuffed(pid, 0x40, field, pes)
        parts = [self._head(pid, 0x40, 0x30 if field else 0x10)]
        if field:
            parts.append(bytes((len(field),)) + field)
        parts.append(pes[:first])
        whole = first + (len(pes) - first) // _BODY * _BODY
        for place in range(first, whole, _BODY):
            parts += (self._head(pid, 0, 0x10), pes[place : place + _BODY])
        if whole < len(pes):
            parts.append(self._stuffed(pid, 0, b"", pes[whole:]))
        return b"".join(parts)

    def _stuffed(self, pid: int, start: int, field: bytes, body: bytes) -> bytes:
        """One packet whose adaptation field fills what ``body`` leaves free (at least one byte)."""
        length = _BODY - 1 - len(body)
        if length and not field:
            field = b"\x00"
        return self._head(pid, start, 0x30) + bytes((length,)) + field + b"\xff" * (length - len(field)) + body

    def _head(self, pid: int, start: int, control: int) -> bytes:
        count = self._continuity.get(pid, 0)
        self._continuity[pid] = count + 1 & 15
        return bytes((0x47, start | pid >> 8, pid & 0xFF, control | count))
