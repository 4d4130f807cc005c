"""The framer for bare sound: ADTS (ISO/IEC 14496-3 section 1.A.3) and MPEG audio (11172-3 section 2.4), layers II, III.

Every frame can be decoded from its start, but a record a frame would be many small ones: a record begins at the
first frame after every 100 ms of sound. That depends on the bytes alone, never on how they were cut into feeds;
nobody waits for it, since a record's bytes are passed on as they come, and joining costs at most 100 ms.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from sdp.container.framing import Framing
from sdp.stream.record import Flag, Record

__all__ = ["AudioFramer", "fits_adts", "fits_mpeg_audio"]

RECORDS_A_SECOND: Final = 10
HEAD_SIZE: Final = 10
"""Bytes that tell a frame's or a tag's size: 7 of ADTS, 4 of MPEG audio, 10 of an ID3v2 tag."""

ADTS_RATES: Final = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
MPEG_RATES: Final = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
LAYER_2_RATES: Final = (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384)
LAYER_3_RATES: Final = (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
LOW_RATES: Final = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)

_ADTS, _MPEG, _TAG = "audio/aac", "audio/mpeg", "ID3"
_CANDIDATE = re.compile(rb"\xff(?=[\xe2-\xff])")


class _Frame(NamedTuple):
    """A frame or tag: its size in bytes, and how long it sounds (``samples`` at ``rate`` a second)."""

    kind: str
    size: int
    samples: int
    rate: int


def _read(data: bytes, at: int) -> _Frame | None:
    """Read the header at ``at``, of which HEAD_SIZE bytes are there; None where there is none."""
    if data[at] == 0xFF:
        if data[at + 1] & 0xF6 == 0xF0:
            return _adts(data, at)
        return _mpeg(data, at)
    if data[at : at + 3] == b"ID3":
        return _tag(data, at)
    return None


def _adts(data: bytes, at: int) -> _Frame | None:
    index = data[at + 2] >> 2 & 0xF
    size = (data[at + 3] & 3) << 11 | data[at + 4] << 3 | data[at + 5] >> 5
    if index >= len(ADTS_RATES) or size < 7:
        return None
    return _Frame(_ADTS, size, 1024 * (1 + (data[at + 6] & 3)), ADTS_RATES[index])


def _mpeg(data: bytes, at: int) -> _Frame | None:
    second, third = data[at + 1], data[at + 2]
    version, layer = second >> 3 & 3, second >> 1 & 3
    bit_rate, rate = third >> 4, third >> 2 & 3
    if second & 0xE0 != 0xE0 or version == 1 or layer not in (1, 2) or not 0 < bit_rate < 15 or rate == 3:
        return None
    rates = LOW_RATES if version != 3 else LAYER_3_RATES if layer == 1 else LAYER_2_RATES
    samples = 576 if layer == 1 and version != 3 else 1152
    frequency = MPEG_RATES[version][rate]
    size = samples * 125 * rates[bit_rate - 1] // frequency + (third >> 1 & 1)
    return _Frame(_MPEG, size, samples, frequency)


def _tag(data: bytes, at: int) -> _Frame | None:
    """Read an ID3v2 tag's header (id3.org, ID3v2.4 section 3.1): its size has 7 bits a byte."""
    sizes = data[at + 6 : at + 10]
    if data[at + 3] == 0xFF or max(sizes) > 0x7F:
        return None
    size = HEAD_SIZE + (sizes[0] << 21 | sizes[1] << 14 | sizes[2] << 7 | sizes[3])
    return _Frame(_TAG, size + (HEAD_SIZE if data[at + 5] & 0x10 else 0), 0, 1)


def _fits(head: bytes, final: bool, kind: str) -> bool | None:
    """Two headers, one right behind the other's frame; or one, where nothing more is to come."""
    if not (b"\xff".startswith(head[:1]) or b"ID3".startswith(head[:3])):
        return False
    if len(head) < HEAD_SIZE:
        return False if final else None
    first = _read(head, 0)
    if first is None or first.kind not in (kind, _TAG):
        return False
    if first.kind == _TAG:
        return kind == _MPEG
    if len(head) >= first.size + HEAD_SIZE:
        second = _read(head, first.size)
        return second is not None and second.kind in (kind, _TAG)
    return True if final else None


def fits_adts(head: bytes, final: bool) -> bool | None:
    """Whether a stream that begins with ``head`` is ADTS; None where more bytes are needed (at most 8201)."""
    return _fits(head, final, _ADTS)


def fits_mpeg_audio(head: bytes, final: bool) -> bool | None:
    """Whether a stream that begins with ``head`` is MPEG audio (or has an ID3v2 tag); None where more are needed."""
    return _fits(head, final, _MPEG)


class AudioFramer(Framing):
    """Finds frames of either format, and begins a record every 100 ms of sound; see the module."""

    content_type = "audio/mpeg"

    def __init__(self, start: int = 0) -> None:
        super().__init__(start)
        self._held = b""
        self._skip = 0
        self._locked = start == 0
        self._elapsed = 0.0
        """Seconds of sound in the record, or since its start."""

    def _take(self, data: bytes) -> list[Record]:
        if self._skip >= len(data):
            self._skip -= len(data)
            self.known = self.end
            return []
        return self._walk(self._held + data if self._held else data, final=False)

    def _settle(self) -> list[Record]:
        return self._walk(self._held, final=True)

    def _walk(self, data: bytes, final: bool) -> list[Record]:
        """Go from frame to frame through ``data``, which ends at the end of all that was fed."""
        base, size = self.end - len(data), len(data)
        position, self._skip = self._skip, 0
        records: list[Record] = []
        while position + HEAD_SIZE <= size:
            frame = _read(data, position) if self._locked else None
            if frame is not None:
                self._begin(base + position, frame, records)
                position += frame.size
                continue
            if self._locked:
                self._locked = False
                if not self._begun:
                    records.append(self._record(base + position, Flag.NONE))
            found = self._search(data, position, final)
            if found is None:
                position = max(position, size - HEAD_SIZE + 1)
                break
            position = found
            if not self._locked:
                break
        self._skip, self._held = max(0, position - size), data[position:]
        self.known = self.end - len(self._held)
        return records

    def _begin(self, offset: int, frame: _Frame, records: list[Record]) -> None:
        """A frame begins at ``offset``: also a record, where the last one is long enough, or a body begins there."""
        if not self._begun or self._elapsed * RECORDS_A_SECOND >= 1 or self._says_something(offset):
            records.append(self._record(offset, Flag.RANDOM_ACCESS))
            self._elapsed = 0.0
        self._elapsed += frame.samples / frame.rate

    def _search(self, data: bytes, position: int, final: bool) -> int | None:
        """Look for a frame that is followed by another: return its place, locked then; None where there is none.

        Where the second header has not come yet (and still may), return the first one's place, not locked.
        """
        for candidate in _CANDIDATE.finditer(data, position):
            place = candidate.start()
            if place + HEAD_SIZE > len(data):
                break
            first = _read(data, place)
            if first is None:
                continue
            following = place + first.size
            if following + HEAD_SIZE > len(data):
                if final:
                    continue
                return place
            second = _read(data, following)
            if second is not None and second.kind in (first.kind, _TAG):
                self._locked = True
                self._elapsed = 1.0
                return place
        return None
