"""MPEG transport streams taken apart: each access unit is given out with its last packet. Pure.

The reverse of :mod:`sdp.media.transport`. A unit's end is known by PES_packet_length; where that is left open, as
libavformat does for video, by the stuffing that fills a PES packet's last transport packet, and only for one that
happens to fit exactly by the packet after it. Source: ISO/IEC 13818-1 sections 2.4.3 and 2.4.4.
"""

from __future__ import annotations

from typing import Final

from sdp.container.mpegts import KEY_UNIT, PACKET_SIZE
from sdp.container.units import MediaDescription, Unit, microseconds
from sdp.errors import MediaError

__all__ = ["TransportDemuxer"]

SYNC: Final = 0x47
TICKS: Final = 90_000
WRAP: Final = 1 << 33
UNIT_LIMIT: Final = 16 << 20
"""Bytes of one access unit: an 8K key frame is smaller."""
USUAL_DURATION: Final = 40_000
"""How long a picture lasts of which nothing else is known, in microseconds."""
LONGEST: Final = 1_000_000
"""Two times further apart than this (microseconds) do not tell a duration."""
SCANNED: Final = 1024
"""Bytes at a unit's beginning in which a key picture shows itself."""

_CODECS: Final = {
    0x01: ("video", "mpeg1video"),
    0x02: ("video", "mpeg2video"),
    0x03: ("audio", "mp3"),
    0x04: ("audio", "mp3"),
    0x0F: ("audio", "aac"),
    0x11: ("audio", "aac_latm"),
    0x1B: ("video", "h264"),
    0x24: ("video", "hevc"),
    0x81: ("audio", "ac3"),
    0x87: ("audio", "eac3"),
}
_PRIVATE: Final = {0x6A: "ac3", 0x7A: "eac3"}
"""What a descriptor says of a stream of private data (ETSI EN 300 468 annex D)."""


class _Stream:
    """One elementary stream: the access unit that is being gathered, and its times so far."""

    def __init__(self, description: MediaDescription, stream_type: int) -> None:
        self.description = description
        self.stream_type = stream_type
        self.held = bytearray()
        self.begun = False
        self.length = 0
        """Bytes of the unit, where its PES packet says them, else 0."""
        self.sync = False
        self.time = 0
        self.decode_time: int | None = None
        self.duration = USUAL_DURATION if description.kind == "video" else 0
        self.capture_time: int | None = None


class TransportDemuxer:
    """Takes the bytes of a transport stream from any packet on; see :class:`~sdp.container.units.Demuxer`."""

    def __init__(self) -> None:
        self.tracks: tuple[MediaDescription, ...] | None = None
        self._streams: dict[int, _Stream] = {}
        self._map_pid: int | None = None
        self._sections: dict[int, bytearray] = {}
        self._map = b""
        self._held = bytearray()
        self._at = 0
        self._clock: int | None = None
        """The last time seen, unwrapped, in ticks."""
        self._capture_time: int | None = None

    def feed(self, offset: int, data: bytes, capture_time: int | None = None) -> list[Unit]:
        if offset != self._at + len(self._held):
            self._held.clear()
            self._at = offset
            for stream in self._streams.values():
                stream.begun = False
        if capture_time is not None:
            self._capture_time = capture_time
        self._held += data
        units: list[Unit] = []
        place, held = 0, bytes(self._held)
        while place + PACKET_SIZE <= len(held):
            if held[place] != SYNC:
                found = held.find(SYNC, place + 1)
                place = len(held) if found < 0 else found
                continue
            self._packet(held[place : place + PACKET_SIZE], self._at + place + PACKET_SIZE, units)
            place += PACKET_SIZE
        del self._held[:place]
        self._at += place
        return units

    def _packet(self, packet: bytes, offset: int, units: list[Unit]) -> None:
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        begins = bool(packet[1] & 0x40)
        start, stuffed, sync = 4, False, False
        if packet[3] & 0x20:
            length = packet[4]
            start += 1 + length
            if length:
                sync = bool(packet[5] & 0x40)
                used = 1 + (6 if packet[5] & 0x10 else 0) + (6 if packet[5] & 0x08 else 0)
                stuffed = length > used and not packet[5] & 0x07
            else:
                stuffed = True
        if not packet[3] & 0x10 or start >= PACKET_SIZE:
            return
        payload = packet[start:]
        stream = self._streams.get(pid)
        if stream is None:
            if pid == 0 or pid == self._map_pid:
                self._section(pid, begins, payload)
            return
        if begins:
            if stream.begun:
                self._give(stream, offset - PACKET_SIZE, units)
            self._begin(stream, payload, sync)
        elif stream.begun:
            stream.held += payload
            if len(stream.held) > UNIT_LIMIT:
                raise MediaError(f"An access unit of more than {UNIT_LIMIT} bytes is more than this player takes.")
        if stream.begun and (len(stream.held) >= stream.length if stream.length else stuffed):
            self._give(stream, offset, units)

    # -- access units ------------------------------------------------------------------------------------------

    def _begin(self, stream: _Stream, payload: bytes, sync: bool) -> None:
        if len(payload) < 14 or payload[:3] != b"\x00\x00\x01" or not payload[7] & 0x80:
            stream.begun = False  # without a time nobody knows when it is due
            return
        header = 9 + payload[8]
        length = int.from_bytes(payload[4:6])
        shown = self._unwrapped(_time(payload[9:14]))
        decoded = self._unwrapped(_time(payload[14:19])) if payload[7] & 0x40 and len(payload) >= 19 else shown
        stream.time = microseconds(shown, TICKS)
        decode_time = microseconds(decoded, TICKS)
        before, stream.decode_time = stream.decode_time, decode_time
        if before is not None and 0 < decode_time - before <= LONGEST:
            stream.duration = decode_time - before
        stream.begun, stream.sync = True, sync
        stream.length = max(0, length + 6 - header) if length else 0
        stream.held = bytearray(payload[header:])
        stream.capture_time = None
        if self._capture_time is not None and (stream.description.kind == "video" or not self._has_video):
            stream.capture_time, self._capture_time = self._capture_time, None

    def _give(self, stream: _Stream, offset: int, units: list[Unit]) -> None:
        data = bytes(stream.held[: stream.length] if stream.length else stream.held)
        stream.begun = False
        stream.held = bytearray()
        pattern = KEY_UNIT.get(stream.stream_type)
        sync = stream.description.kind == "audio" or stream.sync
        if not sync and pattern is not None:
            sync = pattern.search(data, 0, SCANNED) is not None
        track = stream.description.id
        if data:
            units.append(Unit(track, data, stream.time, stream.duration, sync, stream.capture_time, offset))

    def _unwrapped(self, ticks: int) -> int:
        """A 33-bit time laid onto one line, next to the last one."""
        if self._clock is None:
            self._clock = ticks
            return ticks
        near = (ticks - self._clock + WRAP // 2) % WRAP - WRAP // 2
        self._clock += near
        return self._clock

    @property
    def _has_video(self) -> bool:
        return any(stream.description.kind == "video" for stream in self._streams.values())

    # -- tables ------------------------------------------------------------------------------------------------

    def _section(self, pid: int, begins: bool, payload: bytes) -> None:
        if begins:
            self._sections[pid] = bytearray(payload[1 + payload[0] :])
        elif pid in self._sections:
            self._sections[pid] += payload
        held = self._sections.get(pid, b"")
        if len(held) < 3:
            return
        size = 3 + ((held[1] & 0x0F) << 8 | held[2])
        if len(held) < size:
            return
        section = bytes(held[:size])
        del self._sections[pid]
        if pid == 0 and section[0] == 0:
            self._association(section)
        elif pid == self._map_pid and section[0] == 2 and section != self._map:
            self._map = section
            self._program(section)

    def _association(self, section: bytes) -> None:
        for place in range(8, len(section) - 7, 4):
            if section[place : place + 2] != b"\x00\x00":  # 0 is the network's
                self._map_pid = int.from_bytes(section[place + 2 : place + 4]) & 0x1FFF
                return

    def _program(self, section: bytes) -> None:
        streams: dict[int, _Stream] = {}
        place = 12 + (int.from_bytes(section[10:12]) & 0x0FFF)
        while place + 5 <= len(section) - 4:
            stream_type, pid = section[place], int.from_bytes(section[place + 1 : place + 3]) & 0x1FFF
            size = int.from_bytes(section[place + 3 : place + 5]) & 0x0FFF
            kind, codec = _CODECS.get(stream_type, ("", ""))
            if stream_type == 0x06:
                kind, codec = "audio", _private(section[place + 5 : place + 5 + size])
            if codec and kind == "video":
                streams[pid] = _Stream(MediaDescription(id=pid, kind="video", codec=codec), stream_type)
            elif codec:
                streams[pid] = _Stream(MediaDescription(id=pid, kind="audio", codec=codec), stream_type)
            place += 5 + size
        if not streams:
            raise MediaError("The transport stream has neither pictures nor sound that this player knows.")
        self._streams = streams
        self.tracks = tuple(stream.description for stream in streams.values())


def _time(field: bytes) -> int:
    return (field[0] >> 1 & 7) << 30 | (int.from_bytes(field[1:3]) >> 1) << 15 | int.from_bytes(field[3:5]) >> 1


def _private(descriptors: bytes) -> str:
    place = 0
    while place + 2 <= len(descriptors):
        if descriptors[place] in _PRIVATE:
            return _PRIVATE[descriptors[place]]
        place += 2 + descriptors[place + 1]
    return ""
