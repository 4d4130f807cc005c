"""The framer for MPEG transport streams (ISO/IEC 13818-1): tables, then pictures.

A run of table packets with a PAT and a PMT is an initialization segment; each start of a picture's PES packet
begins a record. Of the transport packets only those that start something are looked at one by one: they are
found by the header bytes alone, taken out of the whole feed by slices with a stride of 188.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from sdp.container.framing import Framing
from sdp.stream.record import Flag, Record

__all__ = ["KEY_UNIT", "PACKET_SIZE", "TransportStreamFramer", "fits_transport_stream"]

PACKET_SIZE: Final = 188
SYNC: Final = 0x47

RUN_LIMIT: Final = 256
"""Packets of tables that are waited for until something else comes; a longer run is a plain continuation."""

SECTION_LIMIT: Final = 1024
"""Bytes of a PAT or PMT section (ISO/IEC 13818-1 section 2.4.4.5: section_length is at most 1021)."""

PAT_PID: Final = 0
TABLE_PIDS: Final = frozenset({0x00, 0x01, 0x02, *range(0x10, 0x20)})
NULL_PID: Final = 0x1FFF

MPEG_VIDEO, AVC, HEVC = frozenset({0x01, 0x02}), frozenset({0x1B}), frozenset({0x24, 0x25})
VIDEO_TYPES: Final = MPEG_VIDEO | AVC | HEVC | {0x10, 0x1F, 0x20, 0x33, 0x42, 0xD1, 0xD2, 0xEA}
AUDIO_TYPES: Final = frozenset({0x03, 0x04, 0x0F, 0x11, 0x1C, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x06})

_NOT_CONTINUED = re.compile(rb"[\x40-\x7f\xc0-\xff]")
"""The second byte of a packet in which a PES packet or a section starts (payload_unit_start_indicator)."""

_THREE_PACKETS = re.compile(rb"G(?=.{187}G.{187}G)", re.DOTALL)
_THREE_PACKETS_SIZE: Final = 2 * PACKET_SIZE + 1

KEY_UNIT: Final[dict[int, re.Pattern[bytes]]] = {
    **dict.fromkeys(MPEG_VIDEO, re.compile(rb"\x00\x00\x01\xb3")),
    **dict.fromkeys(AVC, re.compile(rb"\x00\x00\x01[\x05\x07\x25\x27\x45\x47\x65\x67]")),
    **dict.fromkeys(HEVC, re.compile(rb"\x00\x00\x01[\x20-\x2b\x40-\x45]")),
}
"""What shows a random access point where the multiplexer does not: a sequence header (MPEG-2), an IDR picture or an
SPS (H.264), an IRAP picture or a parameter set (HEVC)."""


def fits_transport_stream(head: bytes, final: bool) -> bool | None:
    """Whether a stream that begins with ``head`` has sync bytes at 0, 188 and 376; None while that cannot be seen."""
    if any(byte != SYNC for byte in head[:_THREE_PACKETS_SIZE:PACKET_SIZE]):
        return False
    if len(head) >= _THREE_PACKETS_SIZE:
        return True
    return len(head) >= PACKET_SIZE if final else None


class TransportStreamFramer(Framing):
    """Finds tables and the starts of pictures; see the module.

    Without a video stream each start of a PES packet of the first audio stream begins a record.
    """

    content_type = "video/mp2t"

    def __init__(self, start: int = 0) -> None:
        super().__init__(start)
        self._held = b""
        self._locked = start == 0
        self._tables: dict[int, bytes] = {}
        """The newest section (its first packet's part) of each table PID of interest."""
        self._map_pids: frozenset[int] = frozenset()
        self._leader: int | None = None
        """The PID whose PES packets begin records, and the PID of the map that names it."""
        self._leader_map: int | None = None
        self._leader_type = 0
        self._has_video = False
        self._indicated = False
        self._initialized = False
        self._after_tables = False
        self._run: int | None = None
        self._run_packets = 0
        self._run_tables: set[int] = set()

    def _take(self, data: bytes) -> list[Record]:
        if self._held:
            data = self._held + data
        base = self.end - len(data)
        records: list[Record] = []
        position = 0
        while True:
            if not self._locked:
                found = _THREE_PACKETS.search(data, position)
                if found is None:
                    position = max(position, len(data) - _THREE_PACKETS_SIZE + 1)
                    break
                self._locked = True
                position = found.start()
            count = (len(data) - position) // PACKET_SIZE
            end = position + count * PACKET_SIZE
            syncs = data[position:end:PACKET_SIZE]
            good = count if syncs.count(SYNC) == count else len(syncs) - len(syncs.lstrip(b"G"))
            if good:
                self._packets(data, position, good, base, records)
                position += good * PACKET_SIZE
            if good == count:
                if position < len(data) and data[position] != SYNC:
                    self._lose(base + position, records)
                    continue
                break
            self._lose(base + position, records)
        self._held = data[position:]
        self.known = base + position if self._run is None else self._run
        return records

    def _settle(self) -> list[Record]:
        records: list[Record] = []
        self._end_run(records, starts=True)
        return records

    def _lose(self, offset: int, records: list[Record]) -> None:
        self._end_run(records, starts=False)
        self._locked = False
        if not self._begun:
            records.append(self._record(offset, Flag.NONE))

    def _packets(self, data: bytes, position: int, count: int, base: int, records: list[Record]) -> None:
        """Look at each of ``count`` packets that may begin or end something."""
        end = position + count * PACKET_SIZE
        heads = data[position + 1 : end : PACKET_SIZE]
        index = 0
        while index < count:
            if self._run is None and not self._after_tables and self._begun:
                found = _NOT_CONTINUED.search(heads, index)
                if found is None:
                    return
                index = found.start()
            place = position + index * PACKET_SIZE
            self._packet(data, place, base + place, records)
            index += 1

    def _packet(self, data: bytes, place: int, offset: int, records: list[Record]) -> None:
        pid = (data[place + 1] & 0x1F) << 8 | data[place + 2]
        starts = data[place + 1] & 0x40 != 0
        if (pid in TABLE_PIDS or pid in self._map_pids) and (starts or self._run is not None):
            if self._run is None:
                self._run, self._run_packets = offset, 0
                self._run_tables.clear()
            if starts and (pid == PAT_PID or pid in self._map_pids):
                self._table(data, place, pid)
        elif self._run is not None and pid != NULL_PID and not self._waits_for_map():
            self._end_run(records, starts)
        if self._run is not None:
            self._run_packets += 1
            if self._run_packets > RUN_LIMIT:
                self._end_run(records, starts=False)
            return
        if starts and pid == self._leader:
            flags = Flag.RANDOM_ACCESS if self._decodable(data, place) else Flag.NONE
            records.append(self._record(offset, flags))
        elif self._after_tables or not self._begun:
            records.append(self._record(offset, Flag.NONE))
        self._after_tables = False

    def _waits_for_map(self) -> bool:
        """Whether the very first tables are not whole: some multiplexers put other packets between PAT and PMT."""
        return not self._initialized and PAT_PID in self._run_tables and len(self._run_tables) < 2

    def _end_run(self, records: list[Record], starts: bool) -> None:
        """Tables end before a packet that ``starts`` something, or amidst a PES packet that goes on."""
        run = self._run
        if run is None:
            return
        self._run = None
        whole = PAT_PID in self._run_tables and len(self._run_tables) > 1
        if whole and (starts or not self._initialized):
            self._initialized = self._after_tables = True
            records.append(self._record(run, Flag.INITIALIZATION))
        elif not self._begun:
            records.append(self._record(run, Flag.NONE))

    def _table(self, data: bytes, place: int, pid: int) -> None:
        """Read a PAT or PMT section, as far as its first packet has it (2.4.4.3, 2.4.4.8)."""
        section = _section(data, place)
        if section is None:
            return
        self._run_tables.add(pid)
        if self._tables.get(pid) == section:
            return
        if pid == PAT_PID:
            self._tables.clear()
            self._leader_map = None
            programs = ((section[at] << 8 | section[at + 1], at) for at in range(8, len(section) - 3, 4))
            self._map_pids = frozenset(
                (section[at + 2] & 0x1F) << 8 | section[at + 3] for program, at in programs if program
            )
        else:
            self._follow(pid, section)
        self._tables[pid] = section

    def _follow(self, map_pid: int, section: bytes) -> None:
        """Choose the stream that begins records: the first video stream, else the first audio stream."""
        streams = list(_elementary_streams(section))
        video = next(((kind, pid) for kind, pid in streams if kind in VIDEO_TYPES), None)
        chosen = video or next(((kind, pid) for kind, pid in streams if kind in AUDIO_TYPES), None)
        others = self._leader_map is not None and self._leader_map != map_pid
        if chosen is None or (others and (self._has_video or video is None)):
            return  # of several programs, the first with video leads
        self._leader_map = map_pid
        self._leader_type, self._leader = chosen
        self._has_video = video is not None

    def _decodable(self, data: bytes, place: int) -> bool:
        """Whether decoding can start with the PES packet that starts in this transport packet."""
        payload = place + 4
        indicated = False
        if data[place + 3] & 0x20:
            length = data[payload]
            indicated = length > 0 and data[payload + 1] & 0x40 != 0
            payload += 1 + length
        if not self._has_video:
            return True
        if indicated:
            self._indicated = True
        if indicated or self._indicated:
            return indicated
        pattern = KEY_UNIT.get(self._leader_type)
        return pattern is not None and pattern.search(data, payload, place + PACKET_SIZE) is not None


def _section(data: bytes, place: int) -> bytes | None:
    """Return the section that starts in the packet at ``place``, without its CRC, cut where the packet ends."""
    end = place + PACKET_SIZE
    at = place + 4
    if not data[place + 3] & 0x10:
        return None
    if data[place + 3] & 0x20:
        at += 1 + data[at]
    if at >= end:
        return None
    at += 1 + data[at]  # pointer_field
    if at + 12 > end or data[at] not in (0, 2):
        return None
    length = (data[at + 1] & 0x0F) << 8 | data[at + 2]
    if length > SECTION_LIMIT:
        return None
    return data[at : min(at + 3 + length - 4, end)]


def _elementary_streams(section: bytes) -> Iterator[tuple[int, int]]:
    """Yield (stream_type, PID) out of a PMT section."""
    if len(section) < 12:
        return
    at = 12 + ((section[10] & 0x0F) << 8 | section[11])
    while at + 5 <= len(section):
        yield section[at], (section[at + 1] & 0x1F) << 8 | section[at + 2]
        at += 5 + ((section[at + 3] & 0x0F) << 8 | section[at + 4])
