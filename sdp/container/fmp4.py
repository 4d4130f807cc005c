"""The framer for fragmented MP4 (ISO/IEC 14496-12 section 8.8): an initialization segment, then fragments.

A fragment's record begins with the first ``styp``, ``prft``, ``emsg`` or ``sidx`` before its ``moof``, and goes
on until the next of these: so it is known as soon as the ``moof`` is whole, while its ``mdat`` still arrives.
An ``mdat`` is counted through, never kept and never looked into. An MP4 file without fragments becomes an
initialization segment and a record for its ``mdat``.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final

from sdp.container.boxes import (
    FirstSample,
    MalformedBox,
    TrackHead,
    first_samples,
    is_sync,
    movie_tracks,
    read_box,
    reference_time,
)
from sdp.container.elements import TO_THE_END, ElementFramer
from sdp.stream.record import Flag, Record

__all__ = ["HEADER_LIMIT", "FragmentedMP4Framer", "fits_mp4"]

HEADER_LIMIT: Final = 1 << 20
"""Bytes of boxes before a fragment's first sample (and of a moov) that are waited for; what is longer is not read,
and its fragment is no random access point. A moof of one frame has some 100 bytes."""

PREFIXES: Final = frozenset({b"styp", b"prft", b"emsg", b"sidx"})
FILLERS: Final = frozenset({b"free", b"skip", b"wide", b"uuid"})
TOP_LEVEL: Final = PREFIXES | FILLERS | {b"ftyp", b"moov", b"moof", b"mdat", b"mfra", b"pdin", b"meta", b"ssix"}

_KIND = re.compile(rb"[\x20-\x7e\xa9]{4}")
_MOOF = re.compile(rb"\x00.{3}moof\x00\x00\x00\x10mfhd", re.DOTALL)
_MOOF_HEAD: Final = 16


class _State(Enum):
    TRIAL = "the next header must be of a box that may stand at the top"
    BOXES = "the next header follows on a box"
    LOST = "there is no telling where a box begins, until a moof is seen or a body begins"


class _Place(Enum):
    START = "no record has begun"
    INITIALIZATION = "the record is an initialization segment"
    MEDIA = "the record is a fragment, or anything else"


def fits_mp4(head: bytes, final: bool) -> bool | None:
    """Whether a stream that begins with ``head`` is MP4; None where more bytes are needed to tell."""
    if head[:1] not in (b"\x00", b""):
        return False
    kind = head[4:8]
    if len(kind) == 4:
        return kind in TOP_LEVEL and (int.from_bytes(head[:4]) >= 8 or (head[:4] == b"\0\0\0\1" and kind == b"mdat"))
    if final or not any(known.startswith(kind) for known in TOP_LEVEL):
        return False
    return None


class FragmentedMP4Framer(ElementFramer):
    """Finds initialization segments and fragments; see the module."""

    content_type = "video/mp4"

    def __init__(self, start: int = 0) -> None:
        super().__init__(start)
        self._state = _State.TRIAL
        self._place = _Place.START if start == 0 else _Place.MEDIA
        self._has_type = False
        self._has_movie = False
        self._tracks: dict[int, TrackHead] | None = None

    def boundary(self, offset: int, capture_time: int | None = None, random_access: bool | None = None) -> None:
        super().boundary(offset, capture_time, random_access)
        if self._state is _State.LOST:
            self._release()
            self._state = _State.TRIAL

    def _step(self, data: bytes, position: int, base: int, records: list[Record]) -> int | None:
        if self._state is _State.LOST:
            return self._search(data, position)
        try:
            box = read_box(data, position)
        except MalformedBox:
            return self._lose(position, base, records)
        if box is None:
            self._need = 8 if len(data) - position < 8 else 16
            return None
        kind = box.kind
        if kind not in TOP_LEVEL and (self._state is _State.TRIAL or not _KIND.fullmatch(kind)):
            return self._lose(position, base, records)
        self._state = _State.BOXES
        end = position + TO_THE_END if box.end is None else box.end
        offset = base + position
        if kind in PREFIXES or kind == b"moof":
            if self._pending is None:
                self._pending = offset
            if base + end - self._pending > HEADER_LIMIT:
                self._decide(records)
            elif kind in (b"moof", b"prft"):
                if end > len(data):
                    self._need = end - position
                    return None
                self._read_pending(kind, data, box.content, end, records)
        elif kind == b"moov":
            return self._movie(data, position, box.content, end, base, records)
        elif self._pending is None or kind not in FILLERS or base + end - self._pending > HEADER_LIMIT:
            self._decide(records)
            self._other(kind, offset, records)
        return end

    def _read_pending(self, kind: bytes, data: bytes, content: int, end: int, records: list[Record]) -> None:
        """A whole prft tells the time of the fragment to come; a whole moof settles it."""
        try:
            if kind == b"prft":
                if self._pending_time is None:
                    self._pending_time = reference_time(data, content, end)
                return
            flags = Flag.RANDOM_ACCESS if self._decodable(first_samples(data, content, end)) else Flag.NONE
        except MalformedBox:
            if kind == b"prft":
                return
            flags = Flag.NONE
        self._decide(records, flags)

    def _decide(self, records: list[Record], flags: Flag = Flag.NONE) -> None:
        if self._pending is not None:
            self._place = _Place.MEDIA
        super()._decide(records, flags)

    def _decodable(self, samples: list[FirstSample]) -> bool:
        """Whether decoding can start with a fragment that has these first samples."""
        tracks = self._tracks
        if tracks is None:
            return bool(samples) and is_sync(samples[0].flags or 0)
        if all(track.handler != b"vide" for track in tracks.values()):
            return bool(samples)
        for track_id, flags in samples:
            track = tracks.get(track_id)
            if track is not None and track.handler == b"vide":
                return is_sync(track.default_flags if flags is None else flags)
        return False

    def _movie(
        self, data: bytes, position: int, content: int, end: int, base: int, records: list[Record]
    ) -> int | None:
        if not self._claimed:
            self._decide(records)
            if self._place is not _Place.INITIALIZATION or self._has_movie:
                self._initialization(base + position, records)
            self._has_movie = True
            self._tracks = None
        if end - position > HEADER_LIMIT:
            return end
        if end > len(data):
            self._claimed = True
            self._need = end - position
            return None
        self._claimed = False
        try:
            self._tracks = movie_tracks(data, content, end)
        except MalformedBox:
            self._tracks = None
        return end

    def _initialization(self, offset: int, records: list[Record]) -> None:
        records.append(self._record(offset, Flag.INITIALIZATION))
        self._place = _Place.INITIALIZATION
        self._has_type = self._has_movie = False

    def _other(self, kind: bytes, offset: int, records: list[Record]) -> None:
        place = self._place
        if kind == b"ftyp":
            if place is not _Place.INITIALIZATION or self._has_type or self._has_movie:
                self._initialization(offset, records)
            self._has_type = True
        elif kind == b"mfra" or (kind == b"mdat" and place is not _Place.MEDIA):
            whole_movie = kind == b"mdat" and place is _Place.INITIALIZATION and self._has_movie
            records.append(self._record(offset, Flag.RANDOM_ACCESS if whole_movie else Flag.NONE))
            self._place = _Place.MEDIA
        elif place is _Place.START:
            self._initialization(offset, records)

    def _lose(self, position: int, base: int, records: list[Record]) -> int:
        """What stands at ``position`` is no box: it continues the record before it."""
        self._decide(records)
        if not self._begun:
            records.append(self._record(base + position, Flag.NONE))
        self._place = _Place.MEDIA
        self._state = _State.LOST
        return position

    def _search(self, data: bytes, position: int) -> int | None:
        found = _MOOF.search(data, position)
        if found is not None:
            self._state = _State.BOXES
            return found.start()
        rest = max(position, len(data) - _MOOF_HEAD + 1)
        if rest == position:
            self._need = 0
            return None
        return rest
