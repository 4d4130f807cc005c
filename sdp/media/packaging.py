"""Coded frames into records: fragmented MP4 or MPEG-TS, one record a frame, or gathered for a given time.

Without gathering each frame leaves in the call that brings it. A sound frame is a record of its own: waiting for the
next picture would cost it up to a frame's time, and what it would save (some 150 bytes of boxes for each of 47 frames
a second) is little beside the pictures.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction

from sdp.container.fragments import FragmentWriter
from sdp.container.tracks import Sample, Track
from sdp.errors import MediaError
from sdp.media.coded import Coded, MediaTrack, Packaging, Packed
from sdp.media.transport import CARRIED, TransportWriter
from sdp.stream.record import Flag

__all__ = ["MP4_CODECS", "FragmentPackaging", "Gathering", "TransportPackaging", "packaging_for"]

MP4_CODECS = {
    "h264": "avc1",
    "hevc": "hvc1",
    "av1": "av01",
    "vp9": "vp09",
    "aac": "mp4a",
    "opus": "Opus",
    "mp3": "mp3",
    "flac": "fLaC",
}
"""FFmpeg's name of a format, and the sample entry it is written as."""


def _random_access(tracks: Sequence[MediaTrack], frames: Iterable[Coded]) -> bool:
    """Whether decoding can start at these frames: the first of video is sync; without a video track, always."""
    if not any(track.kind == "video" for track in tracks):
        return True
    return next((frame.sync for frame in frames if tracks[frame.track].kind == "video"), False)


class FragmentPackaging:
    """Fragmented MP4: ftyp and moov, then for each call a fragment (prft, moof, mdat)."""

    def __init__(self, tracks: list[MediaTrack]) -> None:
        self._tracks = tracks
        self._writer = FragmentWriter(
            [
                Track(
                    id=number + 1,
                    kind=track.kind,
                    codec=MP4_CODECS[track.codec],
                    timescale=track.timescale,
                    extradata=track.config,
                    width=track.width,
                    height=track.height,
                    channels=track.channels,
                    sample_rate=track.sample_rate,
                    bit_rate=track.bit_rate,
                )
                for number, track in enumerate(tracks)
            ]
        )

    @property
    def content_type(self) -> str:
        """video/mp4, or audio/mp4 where there is no video."""
        return "video/mp4" if any(track.kind == "video" for track in self._tracks) else "audio/mp4"

    def begin(self) -> list[Packed]:
        """Return the initialization segment."""
        return [Packed(self._writer.initialization(), Flag.INITIALIZATION, None)]

    def pack(self, frames: list[tuple[Coded, int | None]]) -> list[Packed]:
        """Return one fragment of these frames, timed by the first of them."""
        samples = [
            Sample(
                track_id=frame.track + 1,
                data=frame.data,
                decode_time=frame.dts,
                composition_offset=frame.pts - frame.dts,
                duration=frame.duration,
                sync=frame.sync,
            )
            for frame, _ in frames
        ]
        capture_time = frames[0][1]
        flags = Flag.RANDOM_ACCESS if _random_access(self._tracks, (frame for frame, _ in frames)) else Flag.NONE
        return [Packed(self._writer.fragment(samples, capture_time), flags, capture_time)]


class TransportPackaging:
    """MPEG-TS. Before each key frame the tables come again, as a record of their own: the Distributor's framer cuts
    there too, so that both logs hold the same records. Without video they come once a second."""

    def __init__(self, tracks: list[MediaTrack]) -> None:
        self._tracks = tracks
        self._video = any(track.kind == "video" for track in tracks)
        self._writer = TransportWriter(tracks)
        self._next_tables: int | None = None

    @property
    def content_type(self) -> str:
        """video/mp2t (RFC 3555), with or without video."""
        return "video/mp2t"

    def begin(self) -> list[Packed]:
        """Return nothing: the first random access point brings its tables along."""
        return []

    def pack(self, frames: list[tuple[Coded, int | None]]) -> list[Packed]:
        """Return the tables where they are due, and one record of these frames' packets."""
        packed = []
        first, capture_time = frames[0]
        random_access = _random_access(self._tracks, (frame for frame, _ in frames))
        if self._tables_due(first, random_access):
            packed.append(Packed(self._writer.tables(), Flag.INITIALIZATION, None))
        data = b"".join(self._writer.frame(frame) for frame, _ in frames)
        packed.append(Packed(data, Flag.RANDOM_ACCESS if random_access else Flag.NONE, capture_time))
        return packed

    def _tables_due(self, first: Coded, random_access: bool) -> bool:
        if self._next_tables is None or (self._video and random_access):
            self._next_tables = first.dts + self._tracks[first.track].timescale
            return True
        if not self._video and first.dts >= self._next_tables:
            self._next_tables += self._tracks[first.track].timescale
            return True
        return False


class Gathering:
    """Collects frames until they last ``seconds``, for another packaging.

    A fragment ends as soon as its video (or, without video, its sound) is that long. It also ends before a key frame
    when it does not itself begin with one: so key frames begin fragments whether the fragments are shorter than the
    distance of key frames, or longer.
    """

    def __init__(self, tracks: list[MediaTrack], seconds: float, packaging: Packaging) -> None:
        self._tracks = tracks
        self._packaging = packaging
        self._clock = next((number for number, track in enumerate(tracks) if track.kind == "video"), 0)
        self._length = round(Fraction(seconds) * tracks[self._clock].timescale)
        self._held: list[tuple[Coded, int | None]] = []
        self._first: Coded | None = None

    def add(self, frame: Coded, capture_time: int | None) -> list[Packed]:
        """Take a frame, and return the records that are complete by it."""
        packed: list[Packed] = []
        if frame.track != self._clock:
            self._held.append((frame, capture_time))
            return packed
        if self._first is not None and frame.sync and not self._first.sync:
            packed += self.finish()
        if self._first is None:
            self._first = frame
        self._held.append((frame, capture_time))
        if frame.dts + frame.duration - self._first.dts >= self._length:
            packed += self.finish()
        return packed

    def finish(self) -> list[Packed]:
        """Return what is held, as it is."""
        held, self._held, self._first = self._held, [], None
        return list(self._packaging.pack(held)) if held else []


class _Alone:
    """Each frame at once."""

    def __init__(self, packaging: Packaging) -> None:
        self._packaging = packaging

    def add(self, frame: Coded, capture_time: int | None) -> list[Packed]:
        """Return the frame's records."""
        return list(self._packaging.pack([(frame, capture_time)]))

    def finish(self) -> list[Packed]:
        """Return nothing: nothing is held."""
        return []


def packaging_for(
    container: str, tracks: list[MediaTrack], fragment: float | None
) -> tuple[Packaging, Gathering | _Alone]:
    """Return the packaging, and what frames are added to. Raises MediaError for codecs the container cannot carry."""
    carried = CARRIED if container == "mpegts" else MP4_CODECS
    for track in tracks:
        if track.codec not in carried:
            raise MediaError(f"{container} cannot carry {track.codec} here; choose one of {', '.join(carried)}.")
    packaging: Packaging = TransportPackaging(tracks) if container == "mpegts" else FragmentPackaging(tracks)
    return packaging, _Alone(packaging) if fragment is None else Gathering(tracks, fragment, packaging)
