"""Writing fragmented MP4: an initialization segment, then a fragment for each frame as soon as it is encoded.

It stands between an Origin's encoder and its log. A muxer that waits for the next packet, to know how long this
one lasts, costs a frame's interval; here the caller says the duration, and the fragment is given out at once.
Sources: ISO/IEC 14496-12 sections 8.1.1, 8.2 to 8.8, and 8.16.5 (prft).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Final

from sdp.container.boxes import ntp_from_microseconds
from sdp.container.sample_entries import box, full_box, sample_entry
from sdp.container.tracks import Sample, Track
from sdp.errors import MediaError

__all__ = ["FragmentWriter"]

SYNC: Final = 0x0200_0000
"""Sample flags: depends on no other sample (section 8.8.3.1)."""
NON_SYNC: Final = 0x0101_0000
"""Sample flags: depends on others, and is no sync sample."""

DEFAULT_BASE_IS_MOOF: Final = 0x02_0000
DATA_OFFSET, SAMPLE_DURATION, SAMPLE_SIZE, SAMPLE_FLAGS, SAMPLE_OFFSET = 0x1, 0x100, 0x200, 0x400, 0x800
CAPTURED: Final = 24
"""prft flags: the time is when the frame was captured."""

CONTENT_LIMIT: Final = 1 << 30
"""Bytes of samples in a fragment: a trun's data offset has 31 bits."""

UNITY: Final = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x4000_0000)
UNDETERMINED_LANGUAGE: Final = 0x55C4

_TRUN_HEAD = struct.Struct(">IIi")
_WITH_OFFSET = struct.Struct(">IIIi")
_WITHOUT_OFFSET = struct.Struct(">III")


class FragmentWriter:
    """Writes one stream: :meth:`initialization` first, then :meth:`fragment` as often as there are samples.

    MediaError where a track cannot be described, or a sample names no track.
    """

    def __init__(self, tracks: Sequence[Track]) -> None:
        if not tracks:
            raise MediaError("A stream needs at least one track.")
        if len({track.id for track in tracks}) != len(tracks) or min(track.id for track in tracks) < 1:
            raise MediaError("Each track needs an id of its own, from 1 on.")
        self._tracks = tuple(tracks)
        self._ids = frozenset(track.id for track in tracks)
        self._initialization = _file_type() + _movie(self._tracks)
        self._sequence = 0
        self._video = frozenset(track.id for track in tracks if track.kind == "video")
        self._not_yet: frozenset[int] = frozenset()
        """Tracks of which no fragment has come since the last random access point."""

    def initialization(self) -> bytes:
        """Return ``ftyp`` and ``moov``."""
        return self._initialization

    def fragment(
        self, samples: Iterable[Sample], capture_time: int | None = None, reference_track: int | None = None
    ) -> bytes:
        """Return a whole fragment with ``samples``, in the order given within each track.

        ``capture_time`` (microseconds since the Unix epoch) is when the first sample of ``reference_track`` (by
        default: of the first sample's track) was captured; it goes ahead in a ``prft``.
        """
        runs: dict[int, list[Sample]] = {}
        for sample in samples:
            runs.setdefault(sample.track_id, []).append(sample)
            if not sample.data:
                raise MediaError("A sample without bytes: leave a coder's empty packets out.")
        if not runs:
            raise MediaError("A fragment needs at least one sample.")
        if not runs.keys() <= self._ids:
            raise MediaError(f"A sample names track {min(runs.keys() - self._ids)}, which the stream does not have.")
        self._number(runs)
        prefix = b""
        if capture_time is not None:
            reference = reference_track if reference_track in runs else next(iter(runs))
            first = runs[reference][0]
            media_time = max(0, first.decode_time + first.composition_offset)
            prefix = _reference_time(reference, capture_time, media_time)
        content = [sample.data for run in runs.values() for sample in run]
        size = sum(map(len, content))
        if size > CONTENT_LIMIT:
            raise MediaError(f"A fragment of {size} bytes is too large: give fewer samples at a time.")
        head = struct.pack(">I4s", 8 + size, b"mdat")
        return b"".join((prefix, _movie_fragment(self._sequence & 0xFFFF_FFFF, runs), head, *content))

    def _number(self, runs: dict[int, list[Sample]]) -> None:
        """Number the fragment with ``runs``: numbers increase, by one for most (section 8.8.5.1).

        After a random access point each other track's first fragment leaves a number out. VLC 3 heeds a fragment's
        own time (tfdt) at such a gap only; whoever joins at a picture would have it play all sound as if it began at 0.
        """
        if not self._not_yet.isdisjoint(runs):
            self._sequence += 1
        self._sequence += 1
        if not self._video or any(runs[track_id][0].sync for track_id in self._video & runs.keys()):
            self._not_yet = self._ids
        self._not_yet -= runs.keys()


def _file_type() -> bytes:
    return box(b"ftyp", b"iso6", struct.pack(">I", 0x200), b"iso6", b"iso5", b"mp41")


def _movie(tracks: tuple[Track, ...]) -> bytes:
    following = max(track.id for track in tracks) + 1
    header = struct.pack(">IIIIIH10x36s24xI", 0, 0, 1000, 0, 0x10000, 0x100, UNITY, following)
    extends = [full_box(b"trex", 0, 0, struct.pack(">IIIII", track.id, 1, 0, 0, 0)) for track in tracks]
    return box(b"moov", full_box(b"mvhd", 0, 0, header), *map(_track, tracks), box(b"mvex", *extends))


def _track(track: Track) -> bytes:
    video = track.kind == "video"
    header = struct.pack(
        ">IIIIIQHHHH36sII",
        *(0, 0, track.id, 0, 0, 0, 0, 0 if video else 1, 0 if video else 0x100, 0),
        *(UNITY, track.width << 16, track.height << 16),
    )
    media_header = struct.pack(">IIIIHH", 0, 0, track.timescale, 0, UNDETERMINED_LANGUAGE, 0)
    handler = struct.pack(">I4s12x", 0, b"vide" if video else b"soun") + (b"video\0" if video else b"audio\0")
    kind_header = full_box(b"vmhd", 0, 1, bytes(8)) if video else full_box(b"smhd", 0, 0, bytes(4))
    references = full_box(b"dref", 0, 0, struct.pack(">I", 1), full_box(b"url ", 0, 1))
    table = box(
        b"stbl",
        full_box(b"stsd", 0, 0, struct.pack(">I", 1), sample_entry(track)),
        *(full_box(kind, 0, 0, bytes(4)) for kind in (b"stts", b"stsc")),
        full_box(b"stsz", 0, 0, bytes(8)),
        full_box(b"stco", 0, 0, bytes(4)),
    )
    media = box(
        b"mdia",
        full_box(b"mdhd", 0, 0, media_header),
        full_box(b"hdlr", 0, 0, handler),
        box(b"minf", kind_header, box(b"dinf", references), table),
    )
    return box(b"trak", full_box(b"tkhd", 0, 3, header), media)


def _reference_time(track_id: int, capture_time: int, media_time: int) -> bytes:
    return full_box(
        b"prft", 1, CAPTURED, struct.pack(">IQQ", track_id, ntp_from_microseconds(capture_time), media_time)
    )


def _movie_fragment(sequence: int, runs: dict[int, list[Sample]]) -> bytes:
    """Write the moof; a run's data offset counts from the moof's first byte, so its size comes first."""
    shapes = {track_id: _trun_shape(run) for track_id, run in runs.items()}
    size = 8 + 16 + sum(8 + 16 + 20 + 20 + shape.size * len(runs[track_id]) for track_id, (_, shape) in shapes.items())
    offset = size + 8
    parts = [struct.pack(">I4sI4sII", size, b"moof", 16, b"mfhd", 0, sequence)]
    for track_id, run in runs.items():
        if run[0].decode_time < 0:
            raise MediaError(
                "A sample's decode time is negative: shift all times of the stream by the encoder's delay."
            )
        flags, shape = shapes[track_id]
        run_size = 20 + shape.size * len(run)
        parts.append(
            struct.pack(
                ">I4sI4sIII4sIQI4s",
                *(8 + 16 + 20 + run_size, b"traf", 16, b"tfhd", DEFAULT_BASE_IS_MOOF, track_id),
                *(20, b"tfdt", 1 << 24, run[0].decode_time, run_size, b"trun"),
            )
        )
        parts.append(_TRUN_HEAD.pack(1 << 24 | flags, len(run), offset))
        for sample in run:
            fields = sample.duration, len(sample.data), SYNC if sample.sync else NON_SYNC
            if shape is _WITH_OFFSET:
                parts.append(shape.pack(*fields, sample.composition_offset))
            else:
                parts.append(shape.pack(*fields))
            offset += len(sample.data)
    return b"".join(parts)


def _trun_shape(run: list[Sample]) -> tuple[int, struct.Struct]:
    flags = DATA_OFFSET | SAMPLE_DURATION | SAMPLE_SIZE | SAMPLE_FLAGS
    if any(sample.composition_offset for sample in run):
        return flags | SAMPLE_OFFSET, _WITH_OFFSET
    return flags, _WITHOUT_OFFSET
