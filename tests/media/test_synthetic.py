"""The source "test": each frame at its time, given out before the next is drawn."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from fractions import Fraction
from typing import Any

import pytest
from zope.interface.verify import verifyObject

from sdp.container import framer_for
from sdp.errors import MediaError
from sdp.interfaces import ISource
from sdp.media import SourceSpec, open_source
from sdp.media.stamp import read_stamp
from sdp.stream.record import Flag

from .doubles import Given, KeepingSink, SteppedClock, decode, packets, run

SMALL: dict[str, Any] = {"size": (320, 240), "rate": 30}


def stamps(frames: list[Any]) -> list[Any]:
    return [read_stamp(memoryview(f.planes[0]), f.width, f.height, f.planes[0].line_size) for f in frames]


def test_it_is_a_source() -> None:
    assert verifyObject(ISource, open_source(SourceSpec()))


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_what_it_gives_is_decoded_whole(container: str) -> None:
    source = open_source(SourceSpec(container=container, **SMALL), SteppedClock())
    sink = run(source, 400)
    assert sink.error is None
    assert source.skipped == 0
    decoded = decode(sink.stream)
    read = stamps(decoded.video)
    assert len(read) > 100
    assert [stamp.frame for stamp in read] == list(range(len(read)))
    for earlier, later in itertools.pairwise(read):
        assert abs(later.clock_us - earlier.clock_us - 1_000_000 / 30) <= 1
    assert len(decoded.audio) > 150


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
@pytest.mark.parametrize("audio", [True, False])
def test_a_frame_is_given_out_before_the_next_is_drawn(container: str, audio: bool) -> None:
    clock = SteppedClock()
    seen: list[int] = []

    def notice(given: Given) -> None:
        if given.capture_time is not None and given.flags is not Flag.INITIALIZATION:
            seen.append(clock.now())

    sink = run(open_source(SourceSpec(container=container, audio=audio, **SMALL), clock), 90, notice)
    drawn = {given.capture_time for given in sink.given}
    video = [at for at, given in zip(seen, [g for g in sink.given if g.flags is not Flag.INITIALIZATION], strict=True)
             if given.capture_time == at]  # fmt: skip
    assert len(video) >= (30 if audio else 86)  # each picture left while the clock still showed its drawing
    assert set(video) <= drawn
    assert video == sorted(video)


@pytest.mark.parametrize("fragment", [None, 0.2, 2.0])
def test_the_distributors_framer_finds_the_same_records(fragment: float | None) -> None:
    source = open_source(SourceSpec(fragment=fragment, **SMALL), SteppedClock())
    sink = run(source, 12 if fragment else 200)
    framer = framer_for(source.content_type)
    found = [*framer.feed(sink.stream, 0), *framer.flush()]
    offsets = itertools.accumulate((len(given.data) for given in sink.given[:-1]), initial=0)
    assert [record.offset for record in found] == list(offsets)
    for record, given in zip(found, sink.given, strict=True):
        assert record.flags == given.flags
        assert abs((record.capture_time or 0) - (given.capture_time or 0)) <= 1  # NTP's fraction of a second


@pytest.mark.parametrize("audio", [True, False])
def test_it_finds_those_of_a_transport_stream_too(audio: bool) -> None:
    sink = run(open_source(SourceSpec(container="mpegts", audio=audio, **SMALL), SteppedClock()), 200)
    framer = framer_for("video/mp2t")
    found = {record.offset: record.flags for record in [*framer.feed(sink.stream, 0), *framer.flush()]}
    offsets = itertools.accumulate((len(given.data) for given in sink.given[:-1]), initial=0)
    given = {offset: record.flags for offset, record in zip(offsets, sink.given, strict=True)}
    assert found.items() <= given.items()
    if not audio:  # sound begins no record of its own where there are pictures
        assert found == given


def test_key_frames_come_at_the_set_distance() -> None:
    sink = run(open_source(SourceSpec(gop=0.5, audio=False, **SMALL), SteppedClock()), 62)
    keys = [number for number, given in enumerate(sink.given[1:]) if given.flags & Flag.RANDOM_ACCESS]
    assert keys == [0, 15, 30, 45, 60]
    assert sink.given[0].flags == Flag.INITIALIZATION


def test_fragments_are_gathered_between_key_frames() -> None:
    sink = run(open_source(SourceSpec(fragment=0.3, gop=1, audio=False, **SMALL), SteppedClock()), 9)
    flags = [given.flags for given in sink.given[1:]]
    assert flags == [Flag.RANDOM_ACCESS, Flag.NONE, Flag.NONE, Flag.NONE] * 2
    long = run(open_source(SourceSpec(fragment=2, gop=1, **SMALL), SteppedClock()), 4)
    assert [given.flags for given in long.given[1:]] == [Flag.RANDOM_ACCESS] * 3
    assert len(decode(long.stream).video) == 180


class LateClock(SteppedClock):
    """Drawing the fifth frame takes 110 ms."""

    drawn = 0

    def now(self) -> int:
        self.drawn += 1
        if self.drawn == 6:  # the first call is the start's
            self.elapsed += 110_000
        return super().now()


def test_who_is_late_leaves_frames_out() -> None:
    source = open_source(SourceSpec(audio=False, **SMALL), LateClock())
    sink = run(source, 11)
    numbers = [stamp.frame for stamp in stamps(decode(sink.stream).video)]
    assert numbers == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]
    assert source.skipped == 2
    times = [pts for _, pts, *_ in packets(sink.stream)["video"]]
    assert [(time - times[0]) // 3000 for time in times] == numbers


class StalledClock(SteppedClock):
    """The machine sleeps for ten seconds."""

    waits = 0

    def wait(self, until: int, stop: threading.Event) -> bool:
        self.waits += 1
        going = super().wait(until, stop)
        self.elapsed += 10_000_000 if self.waits == 20 else 0
        return going


def test_after_a_stall_sound_and_picture_go_on_together() -> None:
    sink = run(open_source(SourceSpec(**SMALL), StalledClock()), 200)
    found = packets(sink.stream)
    video, audio = found["video"][-1][1] / 90_000, found["audio"][-1][1] / 48_000
    assert video > 10
    assert abs(video - audio) < 0.06
    decode(sink.stream)


@pytest.mark.parametrize("rate", [24, 25, 29.97, 60, Fraction(30000, 1001)])
def test_frame_rates(rate: Any) -> None:
    sink = run(open_source(SourceSpec(size=(160, 120), rate=rate, audio=False), SteppedClock()), 61)
    times = [pts for _, pts, *_ in packets(sink.stream)["video"]]
    wanted = 90_000 / Fraction(rate).limit_denominator(1001)
    assert all(abs(times[n] - times[0] - n * wanted) <= 1 for n in range(60))


def test_the_beep_comes_with_the_lamp() -> None:
    sink = run(open_source(SourceSpec(audio_bit_rate=192_000, **SMALL), SteppedClock()), 400)
    decoded = decode(sink.stream)
    lit = []
    for frame in decoded.video:
        stamp = stamps([frame])[0]
        if stamp.clock_us % 1_000_000 < 1_000_000 / 30:
            lit.append(float(frame.time))
    loud = []
    was_quiet = True
    for frame in decoded.audio:
        level = max(map(abs, memoryview(frame.planes[0]).cast("f")))
        if level > 0.2 and was_quiet:
            loud.append(float(frame.time))
        was_quiet = level < 0.1
    assert len(lit) >= 3
    for seen, heard in zip(lit, loud, strict=False):
        assert abs(seen - heard) < 0.05


def test_no_pace_where_none_is_asked() -> None:
    class Unwaited(SteppedClock):
        def wait(self, until: int, stop: threading.Event) -> bool:
            raise AssertionError("waited")

    sink = run(open_source(SourceSpec(realtime=False, **SMALL), Unwaited()), 50)
    assert sink.error is None
    assert len(sink.given) == 50


def test_it_stops_at_once_while_it_waits() -> None:
    waiting = threading.Event()

    class Waiting(SteppedClock):
        def wait(self, until: int, stop: threading.Event) -> bool:
            waiting.set()
            return not stop.wait(3600)

    source = open_source(SourceSpec(**SMALL), Waiting())
    sink = KeepingSink()
    source.start(sink)
    assert waiting.wait(60)
    source.stop()
    source.stop()
    sink.wait()
    assert (sink.error, sink.endings) == (None, 1)


def test_a_sink_that_fails_is_told_of_the_end() -> None:
    def fail(_: Given) -> None:
        raise KeyError("what the sink does not know")

    sink = run(open_source(SourceSpec(**SMALL), SteppedClock()), None, fail)
    assert isinstance(sink.error, MediaError)
    assert "what the sink does not know" in sink.error.detail


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"video_codec": "nonesuch"}, "nonesuch"),
        ({"video_codec": "aac"}, "no video encoder"),
        ({"audio_codec": "libx264"}, "no audio encoder"),
        ({"preset": "hasty"}, "encode video with libx264"),
        ({"container": "mpegts", "audio_codec": "libopus"}, "cannot carry opus"),
    ],
)
def test_what_cannot_be_encoded_is_said_at_once(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(MediaError, match=words) as caught:
        open_source(SourceSpec(**settings)).start(KeepingSink())
    assert caught.value.detail.endswith(".")
    assert "\n" not in caught.value.detail


@pytest.mark.parametrize(
    "settings",
    [{"size": (161, 120)}, {"size": (16, 16)}, {"rate": 0}, {"rate": "x"}, {"gop": -1}, {"container": "avi"},
     {"fragment": 0}, {"video_bit_rate": 0}],
)  # fmt: skip
def test_what_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        SourceSpec(**settings)


def test_nothing_imports_av_before_a_source_is_opened() -> None:
    code = "import sys, sdp.media as m; m.open_source(m.SourceSpec(source='x')); sys.exit('av' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_sound_is_never_captured_in_the_future() -> None:
    clock = SteppedClock()
    late: list[int] = []
    run(
        open_source(SourceSpec(**SMALL), clock), 200, lambda given: late.append(clock.now() - (given.capture_time or 0))
    )
    assert min(late[1:]) >= 0
