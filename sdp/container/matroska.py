"""The framer for Matroska and WebM (RFC 9559, EBML: RFC 8794): headers, then clusters.

What precedes the first Cluster is the initialization segment; each Cluster begins a record. Whether decoding
can start with it shows in its first video block. Segments and Clusters of unknown size, as live muxers write
them, are walked through by their children's headers; blocks are counted through, never kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final

from sdp.container.elements import ElementFramer
from sdp.stream.record import Flag, Record

__all__ = ["MatroskaFramer", "fits_matroska", "fits_webm"]

HEADER_LIMIT: Final = 1 << 20
"""Bytes of Tracks that are read, and of a block group that is waited for; what is longer counts as no random access."""

LEAD_LIMIT: Final = 64 << 10
"""Bytes of a cluster (of sound, before its first video block) that are waited for."""

DOCTYPE_LIMIT: Final = 256
"""Bytes of an EBML header that are waited for to tell WebM from Matroska; both have some 40."""

UNKNOWN: Final = -1

EBML, SEGMENT, TRACKS, CLUSTER = 0x1A45DFA3, 0x18538067, 0x1654AE6B, 0x1F43B675
SIMPLE_BLOCK, BLOCK_GROUP, BLOCK, REFERENCE_BLOCK = 0xA3, 0xA0, 0xA1, 0xFB
TRACK_ENTRY, TRACK_NUMBER, TRACK_TYPE = 0xAE, 0xD7, 0x83
FILLERS: Final = frozenset({0xEC, 0xBF})
"""Void and CRC-32."""
VIDEO: Final = 1
NO_TRACK: Final = -2
BLOCK_HEAD: Final = 11
"""Bytes that a block's track number, time and flags take at most (RFC 9559 section 10.1)."""
SEGMENT_CHILDREN: Final = frozenset({
    EBML, SEGMENT, TRACKS, CLUSTER, 0x114D9B74, 0x1549A966, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367,
})  # fmt: skip
"""SeekHead, Info, Cues, Attachments, Chapters and Tags too: what ends a Cluster of unknown size."""

_CLUSTER = re.compile(
    rb"\x1f\x43\xb6\x75(?:[\x80-\xff]|[\x40-\x7f].|[\x20-\x3f]..|[\x10-\x1f].{3}|[\x08-\x0f].{4}|[\x04-\x07].{5}"
    rb"|[\x02\x03].{6}|\x01.{7})\xe7",
    re.DOTALL,
)
_CLUSTER_HEAD: Final = 13


def fits_matroska(head: bytes, final: bool) -> bool | None:
    """Whether a stream that begins with ``head`` is Matroska of any kind; None where more bytes are needed."""
    header = _ebml_header(head, final)
    return header if header is None else bool(header)


def fits_webm(head: bytes, final: bool) -> bool | None:
    """Whether a stream that begins with ``head`` is Matroska with the DocType webm."""
    header = _ebml_header(head, final)
    return header if header is None else b"\x42\x82\x84webm" in header


def _ebml_header(head: bytes, final: bool) -> bytes | None:
    """Return the EBML header that ``head`` begins with, empty where it is none, None where bytes are missing.

    What is returned depends on the stream alone, not on how much of it is there already, unless ``final``.
    """
    magic = EBML.to_bytes(4)
    if head[:4] != magic[: len(head)]:
        return b""
    try:
        size = _number(head, 4)
    except ValueError:
        return b""
    if size is not None:
        end = DOCTYPE_LIMIT if size[0] == UNKNOWN else min(DOCTYPE_LIMIT, size[0] + size[1])
        if len(head) >= end or final:
            return head[:end]
    return (head if len(head) >= 4 else b"") if final else None


def _number(data: bytes, at: int) -> tuple[int, int] | None:
    """Read an element's size at ``at`` (RFC 8794 section 4): (size, next offset); None where bytes are missing.

    A first byte of zero, which no size of 8 bytes has, raises ValueError.
    """
    if at >= len(data):
        return None
    first = data[at]
    if not first:
        raise ValueError("a variable-size integer of more than 8 bytes")
    length = 9 - first.bit_length()
    if at + length > len(data):
        return None
    mask = (1 << 7 * length) - 1
    value = int.from_bytes(data[at : at + length]) & mask
    return (UNKNOWN if value == mask else value), at + length


def _identifier(data: bytes, at: int) -> tuple[int, int] | None:
    """Read an element's ID at ``at`` (RFC 8794 section 5): (ID, next offset)."""
    if at >= len(data):
        return None
    length = 9 - data[at].bit_length()
    if length > 4:
        raise ValueError("an element ID of more than 4 bytes")
    if at + length > len(data):
        return None
    return int.from_bytes(data[at : at + length]), at + length


def _elements(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield (ID, content start, content end) of the elements in [start, end); ValueError where they do not fit."""
    while start < end:
        identifier = _identifier(data, start)
        size = identifier and _number(data, identifier[1])
        if not identifier or not size or size[0] == UNKNOWN or size[0] + size[1] > end:
            raise ValueError("an element larger than its parent")
        start = size[0] + size[1]
        yield identifier[0], size[1], start


def _video_tracks(data: bytes, start: int, end: int) -> frozenset[int]:
    """Return the numbers of the video tracks in the content of a Tracks element (RFC 9559 section 5.1.4)."""
    found = []
    for kind, begin, stop in _elements(data, start, end):
        if kind == TRACK_ENTRY:
            fields = {inner: data[at:inner_end] for inner, at, inner_end in _elements(data, begin, stop)}
            if int.from_bytes(fields.get(TRACK_TYPE, b"")) == VIDEO:
                found.append(int.from_bytes(fields.get(TRACK_NUMBER, b"")))
    return frozenset(found)


class _Level(Enum):
    TOP = "EBML headers and Segments"
    SEGMENT = "a Segment's children"
    CLUSTER = "a Cluster's children"
    GROUP = "a BlockGroup's children"
    LOST = "no telling, until something that looks like a Cluster"


class MatroskaFramer(ElementFramer):
    """Finds headers and clusters; see the module."""

    content_type = "video/x-matroska"

    def __init__(self, start: int = 0) -> None:
        super().__init__(start)
        self._level = _Level.TOP
        self._segment_end: int | None = None
        self._cluster_end: int | None = None
        self._group_end = 0
        self._group_is_video = self._group_refers = False
        self._video: frozenset[int] | None = None

    def _take(self, data: bytes) -> list[Record]:
        records = super()._take(data)
        if self._pending is not None and not self._skip and not self._held:
            self._ascend(self._at, records)
            self._account()
        return records

    def _step(self, data: bytes, position: int, base: int, records: list[Record]) -> int | None:
        if self._level is _Level.LOST:
            return self._search(data, position)
        offset = base + position
        self._ascend(offset, records)
        try:
            identifier = _identifier(data, position)
            size = identifier and _number(data, identifier[1])
        except ValueError:
            return self._lose(position, base, records)
        if identifier is None or size is None:
            self._need = len(data) - position + 1
            return None
        kind, length, content = identifier[0], size[0], size[1]
        if self._level in (_Level.CLUSTER, _Level.GROUP) and kind in SEGMENT_CHILDREN:
            self._decide(records)
            self._level = _Level.SEGMENT
        if kind == SEGMENT and self._level in (_Level.TOP, _Level.SEGMENT):
            self._level = _Level.SEGMENT
            self._segment_end = None if length == UNKNOWN else base + content + length
            if not self._begun:
                records.append(self._record(offset, Flag.INITIALIZATION))
            return content
        if kind == CLUSTER:
            return self._cluster(offset, content, length, base, records)
        if length == UNKNOWN:
            return self._lose(position, base, records)
        if self._level is _Level.CLUSTER:
            return self._child(kind, data, position, content, length, base, records)
        if self._level is _Level.GROUP:
            return self._group_child(kind, data, position, content, length, base, records)
        return self._header(kind, data, position, content, length, base, records)

    def _ascend(self, offset: int, records: list[Record]) -> None:
        """Leave the elements that end at ``offset``."""
        if self._level is _Level.GROUP and offset >= self._group_end:
            self._level = _Level.CLUSTER
            if self._group_is_video:
                self._decide(records, Flag.NONE if self._group_refers else Flag.RANDOM_ACCESS)
        if self._level is _Level.CLUSTER and self._cluster_end is not None and offset >= self._cluster_end:
            self._level = _Level.SEGMENT
            self._decide(records)
        if self._level is _Level.SEGMENT and self._segment_end is not None and offset >= self._segment_end:
            self._level = _Level.TOP

    def _header(
        self, kind: int, data: bytes, position: int, content: int, length: int, base: int, records: list[Record]
    ) -> int | None:
        """Read what stands outside of clusters."""
        end = content + length
        if kind == EBML:
            records.append(self._record(base + position, Flag.INITIALIZATION))
            self._level = _Level.TOP
            self._segment_end = self._video = None
        elif kind not in SEGMENT_CHILDREN and kind not in FILLERS:
            return self._lose(position, base, records)
        elif not self._begun:
            records.append(self._record(base + position, Flag.NONE))
        elif kind == TRACKS and length <= HEADER_LIMIT:
            self._claimed = end > len(data)
            if self._claimed:
                self._need = end - position
                return None
            try:
                self._video = _video_tracks(data, content, end)
            except ValueError:
                self._video = None
        return end

    def _cluster(self, offset: int, content: int, length: int, base: int, records: list[Record]) -> int:
        self._pending = offset
        self._level = _Level.CLUSTER
        self._cluster_end = None if length == UNKNOWN else base + content + length
        if self._video is not None and not self._video:
            self._decide(records, Flag.RANDOM_ACCESS)
            return self._after_decision(content, base)
        return content

    def _after_decision(self, following: int, base: int) -> int:
        """Where to go on in a cluster of which nothing more need be known."""
        return following if self._cluster_end is None else max(following, self._cluster_end - base)

    def _child(
        self, kind: int, data: bytes, position: int, content: int, length: int, base: int, records: list[Record]
    ) -> int | None:
        """Read a cluster's child; until its first video block is found, see whether this is one."""
        end = content + length
        if self._pending is None:
            return self._after_decision(end, base)
        if base + content - self._pending > LEAD_LIMIT or (kind == BLOCK_GROUP and length > HEADER_LIMIT):
            self._decide(records)
            return self._after_decision(end, base)
        if kind == BLOCK_GROUP:
            self._level = _Level.GROUP
            self._group_end = base + end
            self._group_is_video = self._group_refers = False
            return content
        if kind == SIMPLE_BLOCK:
            track = self._track(data, position, content, length)
            if track is None:
                return None
            if self._is_video(track[0]):
                key = data[track[1] + 2] & 0x80
                self._decide(records, Flag.RANDOM_ACCESS if key else Flag.NONE)
                return self._after_decision(end, base)
        return end

    def _group_child(
        self, kind: int, data: bytes, position: int, content: int, length: int, base: int, records: list[Record]
    ) -> int | None:
        end = content + length
        if base + end > self._group_end:
            return self._lose(position, base, records)
        if kind == REFERENCE_BLOCK:
            self._group_refers = True
        elif kind == BLOCK:
            track = self._track(data, position, content, length)
            if track is None:
                return None
            if not self._is_video(track[0]):
                return self._group_end - base
            self._group_is_video = True
        return end

    def _is_video(self, track: int) -> bool:
        return track != NO_TRACK and (self._video is None or track in self._video)

    def _track(self, data: bytes, position: int, content: int, length: int) -> tuple[int, int] | None:
        """Read a block's track number and where its time stands; None where its head is not whole yet."""
        head = min(length, BLOCK_HEAD)
        if content + head > len(data):
            self._need = content + head - position
            return None
        try:
            number = _number(data, content)
        except ValueError:
            number = None
        if number is None or number[1] + 3 > content + length:
            return NO_TRACK, content
        return number

    def _lose(self, position: int, base: int, records: list[Record]) -> int:
        """What stands at ``position`` is no element: it continues the record before it."""
        self._decide(records)
        if not self._begun:
            records.append(self._record(base + position, Flag.NONE))
        self._level = _Level.LOST
        return position

    def _search(self, data: bytes, position: int) -> int | None:
        found = _CLUSTER.search(data, position)
        if found is not None:
            self._level = _Level.SEGMENT
            self._segment_end = None
            return found.start()
        rest = max(position, len(data) - _CLUSTER_HEAD + 1)
        if rest == position:
            self._need = 0
            return None
        return rest
