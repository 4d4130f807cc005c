"""Fragmented MP4 taken apart: each sample is given out as soon as its last byte has come. Pure.

The reverse of :mod:`sdp.container.fragments`. What a fragment's ``moof`` says of sizes and places is turned into a list
of samples to come; the ``mdat`` is cut by it while it still arrives. Source: ISO/IEC 14496-12 sections 8.8 and 8.16.5.
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Final, NamedTuple

from sdp.container.boxes import MalformedBox, children, is_sync, read_box, reference_time
from sdp.container.movie_tracks import MovieTrack, read_movie
from sdp.container.units import MediaDescription, Unit, microseconds
from sdp.errors import MediaError

__all__ = ["FragmentDemuxer"]

BOX_LIMIT: Final = 8 << 20
"""Bytes of one moov or moof that are gathered; what claims more is no stream that can be played live."""
SAMPLES_LIMIT: Final = 100_000
"""Samples in one fragment: a moof of eight megabytes cannot say more in a useful way."""
USUAL_DURATION: Final = 40_000
"""How long a sample lasts of which nothing else is known, in microseconds."""

_GATHERED: Final = frozenset({b"moov", b"moof", b"prft"})


class _Sample(NamedTuple):
    """A sample to come: its place and size in bytes of the stream, and what is known of it."""

    start: int
    size: int
    track: int
    time: int
    duration: int
    sync: bool
    capture_time: int | None


class FragmentDemuxer:
    """Takes the bytes of fragmented MP4 from any record's beginning on; see :class:`~sdp.container.units.Demuxer`."""

    def __init__(self) -> None:
        self.tracks: tuple[MediaDescription, ...] | None = None
        self._movie: dict[int, MovieTrack] = {}
        self._held = bytearray()
        self._at = 0
        """The offset of what is held."""
        self._skip = 0
        """Bytes to pass over from there on; the samples to come lie among them."""
        self._coming: deque[_Sample] = deque()
        self._capture_time: int | None = None
        self._next: dict[int, int] = {}
        """Each track's next decode time, for fragments that do not say theirs."""
        self._before: dict[int, tuple[int, int]] = {}
        """Each track's last fragment: its decode time, and how many samples it had."""
        self._usual: dict[int, int] = {}
        """How long a track's samples last, by that: who writes a fragment before the next picture is there says 0."""

    def feed(self, offset: int, data: bytes, capture_time: int | None = None) -> list[Unit]:
        if offset != self._at + len(self._held):
            self._held.clear()
            self._coming.clear()
            self._at, self._skip, self._capture_time = offset, 0, None
        if capture_time is not None:
            self._capture_time = capture_time
        self._held += data
        units: list[Unit] = []
        try:
            while self._step(units):
                pass
        except (MalformedBox, struct.error):
            raise MediaError(
                f"The stream is no fragmented MP4 at byte {self._at}: its Origin has to send whole fragments."
            ) from None
        return units

    def _step(self, units: list[Unit]) -> bool:
        """Go on by one box, or one sample; False where more bytes are needed."""
        if self._skip:
            return self._pass(units)
        held = self._held
        box = read_box(bytes(held[:16]))
        if box is None:
            return False
        if box.end is None:
            raise MalformedBox("a box without an end")
        if box.kind not in _GATHERED:
            self._skip = box.end
            return True
        if box.end > BOX_LIMIT:
            raise MediaError(f"A {box.kind.decode()} box of {box.end} bytes is more than this player takes.")
        if len(held) < box.end:
            return False
        whole = bytes(held[: box.end])
        if box.kind == b"moov":
            movie = read_movie(whole, box.content, box.end)
            self._movie = {track.description.id: track for track in movie}
            self.tracks = tuple(track.description for track in movie)
            self._next.clear()
            self._before.clear()
            self._usual.clear()
        elif box.kind == b"prft":
            self._capture_time = reference_time(whole, box.content, box.end)
        else:
            self._fragment(whole, box.content, box.end)
        self._drop(box.end)
        return True

    def _pass(self, units: list[Unit]) -> bool:
        """Give out the samples that are whole; drop what is of no more use."""
        held, end = self._held, self._at + len(self._held)
        while self._coming and self._coming[0].start + self._coming[0].size <= end:
            sample = self._coming.popleft()
            begin = sample.start - self._at
            if begin >= 0:
                data = bytes(held[begin : begin + sample.size])
                stop = sample.start + sample.size
                units.append(
                    Unit(sample.track, data, sample.time, sample.duration, sample.sync, sample.capture_time, stop)
                )
        kept = max(0, self._coming[0].start - self._at) if self._coming else len(held)
        passed = min(self._skip, kept, len(held))
        self._drop(passed)
        self._skip -= passed
        return not self._skip and bool(self._held)

    def _drop(self, count: int) -> None:
        del self._held[:count]
        self._at += count

    # -- fragments ---------------------------------------------------------------------------------------------

    def _fragment(self, data: bytes, start: int, end: int) -> None:
        self._coming.clear()
        samples: list[_Sample] = []
        for kind, begin, stop in children(data, start, end):
            if kind == b"traf":
                self._track_fragment(data, begin, stop, samples)
        self._coming.extend(sorted(samples))
        self._capture_time = None

    def _track_fragment(self, data: bytes, start: int, end: int, samples: list[_Sample]) -> None:
        track: MovieTrack | None = None
        base, duration, size, flags = self._at, 0, 0, 0
        decode_time: int | None = None
        for kind, begin, _ in children(data, start, end):
            if kind == b"tfhd":
                said, track_id = struct.unpack_from(">II", data, begin)
                track = self._movie.get(track_id)
                if track is None:
                    return
                place = begin + 8
                duration, size, flags = track.duration, track.size, track.flags
                if said & 1:
                    (base,) = struct.unpack_from(">Q", data, place)  # a place in the file, and so in the epoch
                place += 8 * (said & 1) + 4 * (said >> 1 & 1)
                if said & 0x8:
                    (duration,) = struct.unpack_from(">I", data, place)
                    place += 4
                if said & 0x10:
                    (size,) = struct.unpack_from(">I", data, place)
                    place += 4
                if said & 0x20:
                    (flags,) = struct.unpack_from(">I", data, place)
            elif kind == b"tfdt":
                (decode_time,) = struct.unpack_from(">Q" if data[begin] == 1 else ">I", data, begin + 4)
            elif kind == b"trun" and track is not None:
                if decode_time is None:
                    decode_time = self._next.get(track.description.id, 0)
                usual = self._usual_duration(track, decode_time, struct.unpack_from(">I", data, begin + 4)[0])
                run = _Run(track, base, duration, size, flags, decode_time, self._capture_time, usual)
                decode_time, base = run.read(data, begin, samples)
                self._next[track.description.id] = decode_time

    def _usual_duration(self, track: MovieTrack, decode_time: int, count: int) -> int:
        """In microseconds, by the fragment before this one."""
        own = track.description.id
        before, samples = self._before.get(own, (decode_time, 0))
        self._before[own] = decode_time, count
        between = decode_time - before
        if samples and 0 < between <= samples * track.timescale:
            self._usual[own] = microseconds(between, samples * track.timescale)
        return self._usual.get(own, USUAL_DURATION)


class _Run(NamedTuple):
    """A trun, and what holds for it from outside."""

    track: MovieTrack
    base: int
    duration: int
    size: int
    flags: int
    decode_time: int
    capture_time: int | None
    usual: int

    def read(self, data: bytes, begin: int, samples: list[_Sample]) -> tuple[int, int]:
        """Append the samples; return the decode time and the place that follow on them."""
        said, count = struct.unpack_from(">II", data, begin)
        if count > SAMPLES_LIMIT:
            raise MediaError(f"A fragment of {count} samples is more than this player takes.")
        signed = data[begin] == 1
        place, start = begin + 8, self.base
        if said & 0x1:
            start += struct.unpack_from(">i", data, place)[0]
            place += 4
        first_flags = None
        if said & 0x4:
            (first_flags,) = struct.unpack_from(">I", data, place)
            place += 4
        time, timescale = self.decode_time, self.track.timescale
        for number in range(count):
            duration, size, flags, shift = self.duration, self.size, self.flags, 0
            if said & 0x100:
                (duration,) = struct.unpack_from(">I", data, place)
                place += 4
            if said & 0x200:
                (size,) = struct.unpack_from(">I", data, place)
                place += 4
            if said & 0x400:
                (flags,) = struct.unpack_from(">I", data, place)
                place += 4
            if number == 0 and first_flags is not None:
                flags = first_flags
            if said & 0x800:
                (shift,) = struct.unpack_from(">i" if signed else ">I", data, place)
                place += 4
            shown = microseconds(time + shift + self.track.shift, timescale)
            capture_time = self.capture_time if number == 0 else None
            lasts = microseconds(duration, timescale) or self.usual
            samples.append(_Sample(start, size, self.track.description.id, shown, lasts, is_sync(flags), capture_time))
            start += size
            time += duration
        return time, start
