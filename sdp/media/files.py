"""Files, URLs, devices and standard input: read packet by packet, paced by decoding time, and given out.

Files are read ahead a little, so that sound and pictures leave in the order of their decoding times however the file
interleaves them; each packet waits for its time. Live inputs set the pace themselves: what arrives is given out at
once, and where encoding falls behind, pictures are left out rather than delay all that follow.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain, count
from typing import Any

from sdp.errors import MediaError
from sdp.media.clock import Clock
from sdp.media.coded import Coded
from sdp.media.faults import media_faults
from sdp.media.inputs import describe_input, open_input
from sdp.media.lanes import CopyLane, Lane, SoundLane, frame_duration, lane_for, packet_seconds
from sdp.media.running import RunningSource
from sdp.media.spec import SourceSpec
from sdp.observe import Trace

__all__ = ["Lateness", "MediaSource"]

READ_AHEAD = Fraction(1)
"""Seconds of a file that are sorted by decoding time: no usual muxer interleaves more coarsely."""
READ_AHEAD_PACKETS = 1000
FIRST_PACKETS = 200
"""Packets within which each stream of an input must have shown one; a stream that has not is left out."""
REANCHOR = 1_000_000
"""Microseconds of lateness (a sink that held back, a machine that slept) after which a file goes on from now,
rather than hurry through what was missed."""
LATE = 300_000
"""Microseconds behind a live input from which on pictures are not encoded, until the source has caught up."""
TOLD_AGE = 5_000_000
"""Microseconds within which a device's time stamp is believed to be the wall clock's."""
PRIMING = Fraction(1024, 48_000)


class Lateness:
    """How far behind a live input we are: its packets' arrival against the promptest of the last 10 to 20 seconds.

    The window lets the input's clock run a little fast or slow.
    """

    window = 10_000_000

    def __init__(self) -> None:
        self._least: int | None = None
        self._before: int | None = None
        self._until = 0

    def behind(self, now: int, media: int) -> int:
        """Return microseconds of delay, for a packet of media time ``media`` that is taken at ``now``."""
        offset = now - media
        if self._least is None or now >= self._until:
            self._before, self._least = self._least, offset
            self._until = now + self.window
        self._least = min(self._least, offset)
        least = self._least if self._before is None else min(self._least, self._before)
        return offset - least


class MediaSource(RunningSource):
    """Anything libavformat opens."""

    def __init__(self, spec: SourceSpec, clock: Clock | None = None, trace: Trace | None = None) -> None:
        super().__init__(spec, clock, trace)
        self._input = describe_input(spec)
        self._container: Any = None
        self._lateness = Lateness()
        self._anchor: int | None = None

    @property
    def content_type(self) -> str:
        """The Content-Type; a file is opened to learn whether it has pictures (raises MediaError)."""
        if self._container is None and not self._input.live and not self._input.url:
            self.open()
        return super().content_type if self._container is None else self._packaging.content_type

    def open(self) -> None:
        """Open the input, look at its first packets, and set up a lane for each stream. Raises MediaError."""
        if self._container is not None:
            return
        container = open_input(self._input, self._stop)
        try:
            self._set_up(container)
        except BaseException:
            container.close()
            raise
        self._container = container

    def _set_up(self, container: Any) -> None:
        self._streams = self._choose(container)
        self._live = self._input.live or (self._input.url and container.duration is None)
        with media_faults(f"read {self.shown}"):
            self._packets: Iterator[Any] = container.demux(self._streams)
            self._first = self._first_packets(self._packets)
        firsts = {packet.stream_index: bytes(packet) for packet in reversed(self._first)}
        self._streams = [stream for stream in self._streams if stream.index in firsts]
        if not self._streams:
            raise MediaError(f"Cannot read {self.shown}: it holds no packet of sound or video.")
        self._lanes: list[Lane] = [
            lane_for(number, stream, firsts[stream.index], self.spec, self._live)
            for number, stream in enumerate(self._streams)
        ]
        # Kept apart from the streams, which cannot be asked once their container is closed.
        self._numbers = {stream.index: number for number, stream in enumerate(self._streams)}
        times = [time for time in map(packet_seconds, self._first) if time is not None]
        self._base = min(times, default=Fraction(0))
        # The sound encoder's first packet lies before the first sample.
        self._lead = PRIMING if any(isinstance(lane, SoundLane) for lane in self._lanes) else Fraction(0)
        self.pack_into([lane.track for lane in self._lanes])

    def _choose(self, container: Any) -> list[Any]:
        """Return the first stream of pictures that is no cover picture, and the first of sound."""
        chosen = [
            stream
            for stream in container.streams.video
            if stream.codec_context is not None and not stream.disposition & stream.disposition.attached_pic
        ][:1]
        if self.spec.audio:
            chosen += [stream for stream in container.streams.audio if stream.codec_context is not None][:1]
        if not chosen:
            raise MediaError(f"Cannot use {self.shown}: it holds neither video nor sound that can be decoded.")
        return chosen

    def _first_packets(self, packets: Iterator[Any]) -> list[Any]:
        """Read until each stream has told a decoding time.

        Where B-frames come before it (Matroska keeps no decoding times), theirs are counted back from it.
        """
        found: list[Any] = []
        missing = {stream.index for stream in self._streams}
        for packet in packets:
            if packet.size:
                found.append(packet)
            if packet.size and packet.dts is not None and packet.stream_index in missing:
                missing.discard(packet.stream_index)
                dts = packet.dts
                for earlier in reversed(found[:-1]):
                    if earlier.stream_index == packet.stream_index:
                        dts -= max(1, int(_duration(earlier) / earlier.time_base))
                        earlier.dts = dts
            if not missing or len(found) >= FIRST_PACKETS:
                break
        return found

    def produce(self) -> None:
        """Give out the input, once or in a loop."""
        shift = self._lead - self._base
        while True:
            for lane, stream in zip(self._lanes, self._streams, strict=True):
                lane.bind(stream, shift)
            extents: dict[int, tuple[Fraction, Fraction]] = {}
            for packet, seconds in self._in_order():
                begin, end = extents.get(packet.stream_index, (seconds, seconds))
                extents[packet.stream_index] = begin, max(end, seconds + _duration(packet))
                self._take(packet, seconds + shift)
            for lane in self._lanes:
                self._give_all(lane.drain(), None)
            length = max((end - begin for begin, end in extents.values()), default=Fraction(0))
            if not self.spec.loop or self._live or not length:
                break
            # The longest stream goes on where it ended, and the others with it: sound and pictures stay together.
            shift += length
            self._reopen()
        for lane in self._lanes:
            self._give_all(lane.finish(), None)

    def _reopen(self) -> None:
        self._container.close()
        self._container = open_input(self._input, self._stop)
        by_index = {stream.index: stream for stream in self._container.streams}
        try:
            self._streams = [by_index[index] for index in self._numbers]
        except KeyError:
            raise MediaError(f"Cannot loop {self.shown}: it has changed since it was opened.") from None
        with media_faults(f"read {self.shown}"):
            self._packets = self._container.demux(self._streams)
            self._first = self._first_packets(self._packets)

    def _read(self) -> Iterator[tuple[Any, Fraction]]:
        """Yield packets with their decoding time in seconds, which within a stream never goes back."""
        latest: dict[int, Fraction] = {}
        packets = chain(self._first, self._packets)
        self._first = []
        while True:
            self.check_stop()
            with media_faults(f"read {self.shown}"):
                packet = next(packets, None)
            if packet is None:
                return
            if packet.size and packet.stream_index in self._numbers:
                before = latest.get(packet.stream_index, self._base)
                told = packet_seconds(packet)
                latest[packet.stream_index] = seconds = before if told is None else max(before, told)
                yield packet, seconds

    def _in_order(self) -> Iterator[tuple[Any, Fraction]]:
        """Yield packets in the order of decoding times: for a file by reading ahead, a live input as it comes."""
        if self._live:
            yield from self._read()
            return
        held: list[tuple[Fraction, int, Any]] = []
        numbers = count()
        latest = self._base
        for packet, seconds in self._read():
            heapq.heappush(held, (seconds, next(numbers), packet))
            latest = max(latest, seconds)
            while len(held) > READ_AHEAD_PACKETS or latest - held[0][0] >= READ_AHEAD:
                seconds, _, packet = heapq.heappop(held)
                yield packet, seconds
        while held:
            seconds, _, packet = heapq.heappop(held)
            yield packet, seconds

    def _take(self, packet: Any, seconds: Fraction) -> None:
        """Wait for the packet's time where it is due, and give out what it completes."""
        media = int(seconds * 1_000_000)
        if not self._live:
            self._pace(media)
        lane = self._lanes[self._numbers[packet.stream_index]]
        if self._live and not isinstance(lane, CopyLane):
            lane.late = self._lateness.behind(self.clock.monotonic(), media) > LATE
            if lane.late and lane.track.kind == "video":
                self.skipped += 1
        captured = self._told_time(packet) if self._input.device else None
        with media_faults(f"convert {self.shown}"):
            coded = lane.take(packet)
        self._give_all(coded, captured)

    def _pace(self, media: int) -> None:
        if not self.spec.realtime:
            self.check_stop()
            return
        now = self.clock.monotonic()
        if self._anchor is None or now - self._anchor - media > REANCHOR:
            self._anchor = now - media
        self.wait_until(self._anchor + media)

    def _told_time(self, packet: Any) -> int | None:
        """Return a device's own time stamp, where it is the wall clock's."""
        if packet.pts is None:
            return None
        told = int(packet.pts * packet.time_base * 1_000_000)
        return told if 0 <= self.clock.now() - told <= TOLD_AGE else None

    def _give_all(self, coded: list[Coded], captured: int | None) -> None:
        for frame in coded:
            self.give(frame, self.clock.now() if captured is None else captured)

    def close(self) -> None:
        """Close the input."""
        if self._container is not None:
            self._container.close()


def _duration(packet: Any) -> Fraction:
    """Return how long a packet lasts, in seconds; where it does not say, as long as its stream's usually do."""
    if packet.duration:
        return Fraction(packet.duration * packet.time_base)
    return frame_duration(packet.stream)
