"""Files and other inputs: every packet delivered, in time, copied where that can be, in a loop without a seam."""

from __future__ import annotations

import itertools
import os
import sys
import threading
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from sdp.errors import MediaError
from sdp.media import SourceSpec, open_source
from sdp.media.files import Lateness
from sdp.media.inputs import describe_input
from sdp.stream.record import Flag

from .doubles import KeepingSink, SteppedClock, decode, packets, run

FRAMES = 50


def make(path: Path, video: str | None, audio: str | None, layout: str = "stereo", **options: str) -> Path:
    """Write two seconds of moving grey at 25 frames a second, and sound, with these encoders."""
    with av.open(str(path), "w") as output:
        pictures: Any = None
        sound: Any = None
        if video is not None:
            pictures = output.add_stream(video, rate=25, options=options)
            pictures.width, pictures.height, pictures.pix_fmt = 160, 120, "yuv420p"
        if audio is not None:
            sound = output.add_stream(audio, rate=48_000, layout=layout)
        for number in range(FRAMES if video else 0):
            frame = av.VideoFrame(160, 120, "yuv420p")
            for plane in frame.planes:
                plane.update(bytes((number * 5 % 256,)) * plane.buffer_size)
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(pictures.encode(frame))
        for number in range(94 if audio else 0):
            samples = av.AudioFrame("fltp", layout, 1024)
            for part in samples.planes:
                part.update(bytes(part.buffer_size))
            samples.sample_rate, samples.pts, samples.time_base = 48_000, number * 1024, Fraction(1, 48_000)
            output.mux(sound.encode(samples))
        for stream in (pictures, sound):
            if stream is not None:
                output.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """H.264 with B-frames, and AAC."""
    path = tmp_path_factory.mktemp("media") / "film.mp4"
    return make(path, "libx264", "aac", bf="2", g="25", preset="medium")


def counted(path: Path) -> dict[str, int]:
    with av.open(str(path)) as container:
        found = [packet.stream.type for packet in container.demux() if packet.size]
    return {kind: found.count(kind) for kind in set(found)}


def media_data(path: Path) -> dict[str, list[bytes]]:
    with av.open(str(path)) as container:
        held = [(packet.stream.type, bytes(packet)) for packet in container.demux() if packet.size]
    return {kind: [data for of, data in held if of == kind] for kind in ("video", "audio")}


def steady(times: list[int]) -> set[int]:
    return {later - earlier for earlier, later in itertools.pairwise(times)}


def test_every_packet_is_delivered_as_it_was(film: Path) -> None:
    sink = run(open_source(SourceSpec(source=str(film)), SteppedClock()))
    assert sink.error is None
    assert sink.given[0].flags == Flag.INITIALIZATION
    number = counted(film)
    assert len(sink.given) == 1 + number["video"] + number["audio"]
    copy = film.with_name("copy.mp4")
    copy.write_bytes(sink.stream)
    assert media_data(copy) == media_data(film)
    decoded = decode(sink.stream)
    assert len(decoded.video) == FRAMES
    times = [frame.pts for frame in decoded.video]
    assert len(steady(times)) == 1
    found = packets(sink.stream)["video"]
    assert any(pts > dts for dts, pts, *_ in found)  # B-frames keep their composition offsets
    assert [dts for dts, *_ in found] == sorted(dts for dts, *_ in found)


def test_random_access_where_the_file_has_key_frames(film: Path) -> None:
    sink = run(open_source(SourceSpec(source=str(film), audio=False), SteppedClock()))
    with av.open(str(film)) as container:
        keys = [packet.is_keyframe for packet in container.demux(video=0) if packet.size]
    assert [bool(given.flags & Flag.RANDOM_ACCESS) for given in sink.given[1:]] == keys
    assert sum(keys) >= 2


def test_into_a_transport_stream(film: Path) -> None:
    sink = run(open_source(SourceSpec(source=str(film), container="mpegts"), SteppedClock()))
    assert sink.error is None
    decoded = decode(sink.stream)
    assert len(decoded.video) == FRAMES
    assert len(decoded.audio) == counted(film)["audio"]
    for number, given in enumerate(sink.given):
        if given.flags & Flag.RANDOM_ACCESS:
            assert sink.given[number - 1].flags == Flag.INITIALIZATION


def test_given_out_at_the_speed_of_its_time_stamps(film: Path) -> None:
    clock = SteppedClock()
    begin = clock.now()
    sink = run(open_source(SourceSpec(source=str(film), audio=False), clock))
    times = [given.capture_time for given in sink.given[1:]]
    due = [begin + number * 40_000 for number in range(FRAMES)]
    assert all(abs((time or 0) - wanted) <= 1 for time, wanted in zip(times, due, strict=True))


def test_sound_and_pictures_leave_in_the_order_of_their_times(tmp_path: Path) -> None:
    coarse = make(tmp_path / "coarse.mkv", "libx264", "aac", tune="zerolatency")  # all pictures, then all sound
    sink = run(open_source(SourceSpec(source=str(coarse)), SteppedClock()))
    times = [given.capture_time or 0 for given in sink.given[1:]]
    assert times == sorted(times)


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_a_loop_has_no_seam(film: Path, container: str) -> None:
    rounds = 3
    number = counted(film)
    limit = rounds * (number["video"] + number["audio"]) + 20
    sink = run(open_source(SourceSpec(source=str(film), container=container, loop=True), SteppedClock()), limit)
    assert sink.error is None
    found = packets(sink.stream)
    assert len(found["video"]) >= FRAMES * rounds - 5
    for kind, frame in (("video", Fraction(1, 25)), ("audio", Fraction(1024, 48_000))):
        base = 90_000 if container == "mpegts" else 48_000 if kind == "audio" else 12_800
        steps = steady([dts for dts, *_ in found[kind]])
        assert min(steps) > 0
        # At the seam the shorter track waits for the longer, which goes on without a pause.
        assert max(steps) / base <= float(frame) + 0.1
    ends = [found[kind][-1][0] / (90_000 if container == "mpegts" else base) for kind, base in
            (("video", 12_800), ("audio", 48_000))]  # fmt: skip
    assert abs(ends[0] - ends[1]) < 0.15
    assert len(decode(sink.stream).video) > FRAMES * 2


def test_the_longer_track_runs_through_the_loop(film: Path) -> None:
    sink = run(open_source(SourceSpec(source=str(film), loop=True), SteppedClock()), 500)
    found = packets(sink.stream)
    steps = {kind: steady([dts for dts, *_ in found[kind]]) for kind in found}
    assert any(len(each) == 1 for each in steps.values())


CASES = [
    ("a.mkv", "libx264", "aac", "mp4", ("h264", "aac")),
    ("b.ts", "libx264", "aac", "mp4", ("h264", "aac")),
    ("c.ts", "libx264", "aac", "mpegts", ("h264", "aac")),
    ("d.ts", "libx264", "mp2", "mpegts", ("h264", "mp2")),
    ("e.ts", "libx264", "ac3", "mpegts", ("h264", "ac3")),
    ("f.ts", "libx264", "ac3", "mp4", ("h264", "aac")),
    ("g.mkv", "libx264", "libopus", "mp4", ("h264", "opus")),
    ("h.mkv", "libx264", "libopus", "mpegts", ("h264", "aac")),
    ("i.webm", "libvpx", "libopus", "mp4", ("h264", "opus")),
    ("j.webm", "libvpx-vp9", "libopus", "mp4", ("vp9", "opus")),
    ("k.avi", "mpeg4", "libmp3lame", "mp4", ("h264", "mp3float")),
    ("l.avi", "mpeg4", "libmp3lame", "mpegts", ("h264", "mp3float")),
    ("m.mkv", "libx264", "flac", "mp4", ("h264", "flac")),
    ("n.mp3", None, "libmp3lame", "mp4", ("mp3float",)),
    ("o.m4a", None, "aac", "mpegts", ("aac",)),
    ("p.aac", None, "aac", "mp4", ("aac",)),
    ("q.h264", "libx264", None, "mp4", ("h264",)),
    ("r.mkv", "libx265", "aac", "mp4", ("hevc", "aac")),
    ("s.mkv", "libx265", "aac", "mpegts", ("hevc", "aac")),
    ("t.ts", "libx265", "aac", "mp4", ("hevc", "aac")),
]


@pytest.mark.parametrize(("name", "video", "audio", "container", "codecs"), CASES)
def test_what_suits_is_copied_and_the_rest_is_encoded(
    tmp_path: Path, name: str, video: str | None, audio: str | None, container: str, codecs: tuple[str, ...]
) -> None:
    options = {"x265-params": "log-level=none"} if video == "libx265" else {}
    path = make(tmp_path / name, video, audio, **options)
    source = open_source(SourceSpec(source=str(path), container=container), SteppedClock())
    kind = "audio/mp4" if video is None and container == "mp4" else "video/mp4" if container == "mp4" else "video/mp2t"
    assert source.content_type == kind
    sink = run(source)
    assert sink.error is None, sink.error
    (tmp_path / "out").write_bytes(sink.stream)
    with av.open(str(tmp_path / "out")) as result:
        found = tuple(stream.codec_context.name for stream in result.streams)
    assert {n.replace("libdav1d", "av1").replace("libopus", "opus") for n in found} == set(codecs)
    decoded = decode(sink.stream)
    if video is not None:
        assert len(decoded.video) == FRAMES
    if audio is not None:
        seconds = sum(frame.samples / frame.sample_rate for frame in decoded.audio)
        assert seconds == pytest.approx(94 * 1024 / 48_000, abs=0.1)


def test_six_channels_are_copied(tmp_path: Path) -> None:
    path = make(tmp_path / "round.mp4", "libx264", "aac", layout="5.1")
    for container in ("mp4", "mpegts"):
        decoded = decode(run(open_source(SourceSpec(source=str(path), container=container), SteppedClock())).stream)
        assert decoded.audio[0].layout.nb_channels == 6


def test_encoded_anew_in_a_loop(tmp_path: Path) -> None:
    path = make(tmp_path / "old.avi", "mpeg4", "ac3")
    sink = run(open_source(SourceSpec(source=str(path), loop=True), SteppedClock()), 400)
    assert sink.error is None
    found = packets(sink.stream)
    assert steady([dts for dts, *_ in found["audio"]]) == {1024}
    pictures = [pts / 90_000 for _, pts, *_ in found["video"]]
    assert all(0 < later - earlier < 0.15 for earlier, later in itertools.pairwise(pictures))
    assert abs(found["audio"][-1][1] / 48_000 - pictures[-1]) < 0.2
    decode(sink.stream)


def test_another_size_and_rate(film: Path) -> None:
    spec = SourceSpec(source=str(film), size=(320, 240), rate=10, audio=False)
    decoded = decode(run(open_source(spec, SteppedClock())).stream)
    assert {(frame.width, frame.height) for frame in decoded.video} == {(320, 240)}
    assert 19 <= len(decoded.video) <= 21


def test_a_filter_graph_is_a_source() -> None:
    spec = SourceSpec(source="lavfi:testsrc=size=320x240:rate=25:duration=1")
    clock = SteppedClock()
    sink = run(open_source(spec, clock))
    assert len(decode(sink.stream).video) == 25
    assert clock.elapsed >= 950_000


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Put a pipe in the place of standard input; return its writing end."""
    reading, writing = os.pipe()
    with open(reading, "rb", buffering=0) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        yield writing


def test_standard_input(piped: int, film: Path, tmp_path: Path) -> None:
    transport = tmp_path / "film.ts"
    transport.write_bytes(run(open_source(SourceSpec(source=str(film), container="mpegts"), SteppedClock())).stream)

    def feed() -> None:
        with open(piped, "wb") as pipe:
            pipe.write(transport.read_bytes())

    feeder = threading.Thread(target=feed)
    feeder.start()
    sink = run(open_source(SourceSpec(source="-"), SteppedClock()))
    feeder.join()
    assert sink.error is None
    assert len(decode(sink.stream).video) == FRAMES


def test_a_silent_pipe_stops_promptly(piped: int, film: Path) -> None:
    flowing = threading.Event()
    stream = run(open_source(SourceSpec(source=str(film), container="mpegts"), SteppedClock())).stream
    feeder = threading.Thread(target=os.write, args=(piped, stream))
    feeder.start()
    source = open_source(SourceSpec(source="-"), SteppedClock())
    sink = KeepingSink(on_record=lambda _: flowing.set())
    source.start(sink)
    assert flowing.wait(60)
    source.stop()
    sink.wait()
    feeder.join()
    os.close(piped)
    assert sink.error is None


def test_a_waiting_file_stops_promptly(film: Path) -> None:
    waiting = threading.Event()

    class Waiting(SteppedClock):
        def wait(self, until: int, stop: threading.Event) -> bool:
            waiting.set()
            return not stop.wait(3600)

    source = open_source(SourceSpec(source=str(film)), Waiting())
    sink = KeepingSink()
    source.start(sink)
    assert waiting.wait(60)
    source.stop()
    sink.wait()
    assert (sink.error, sink.endings) == (None, 1)


def test_a_long_hold_is_not_hurried_through(film: Path) -> None:
    clock = SteppedClock()
    taken: list[int] = []

    def hold(_: Any) -> None:
        taken.append(clock.now())
        if len(taken) == 10:
            clock.elapsed += 30_000_000

    run(open_source(SourceSpec(source=str(film), audio=False), clock), None, hold)
    assert max(steady(taken[10:])) <= 40_001
    assert min(steady(taken[12:])) >= 39_999


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("missing.mp4", "does not exist"),
        ("", "no media that FFmpeg can read"),
        (".", "is a directory|FFmpeg says"),
    ],
)
def test_what_cannot_be_opened_is_said(tmp_path: Path, name: str, words: str) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no media at all " * 100)
    path = {"": broken, ".": tmp_path}.get(name, tmp_path / name)
    source = open_source(SourceSpec(source=str(path)), SteppedClock())
    with pytest.raises(MediaError, match=words) as caught:
        source.start(KeepingSink())
    with pytest.raises(MediaError, match=words):  # and again: nothing half open is left behind
        source.start(KeepingSink())
    assert str(path) in caught.value.detail
    assert caught.value.detail.endswith(".")
    assert "\n" not in caught.value.detail


def test_a_file_without_sound_or_pictures(tmp_path: Path) -> None:
    path = tmp_path / "words.srt"
    path.write_text("1\n00:00:01,000 --> 00:00:02,000\nwords\n\n")
    source = open_source(SourceSpec(source=str(path)), SteppedClock())
    for _ in range(2):
        with pytest.raises(MediaError, match="neither video nor sound"):
            source.start(KeepingSink())


def test_a_url_nobody_answers_and_its_secret() -> None:
    source = open_source(SourceSpec(source="http://name:secret@127.0.0.1:9/film.mp4"), SteppedClock())
    with pytest.raises(MediaError, match=r"http://127\.0\.0\.1:9/film\.mp4") as caught:
        source.start(KeepingSink())
    assert "secret" not in caught.value.detail


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(MediaError, match="/dev/video987"):
        open_source(SourceSpec(source="/dev/video987"), SteppedClock()).start(KeepingSink())
    with pytest.raises(MediaError, match="has no dshow input"):
        open_source(SourceSpec(source="dshow:video=x"), SteppedClock()).start(KeepingSink())


def test_a_file_that_breaks_off_is_given_out_up_to_there(film: Path, tmp_path: Path) -> None:
    whole = run(open_source(SourceSpec(source=str(film), container="mpegts"), SteppedClock())).stream
    short = tmp_path / "short.ts"
    short.write_bytes(whole[: len(whole) // 2])
    sink = run(open_source(SourceSpec(source=str(short), container="mpegts"), SteppedClock()))
    assert sink.error is None
    assert len(sink.given) > 20


def test_what_a_source_name_means() -> None:
    def of(source: str, **settings: Any) -> Any:
        return describe_input(SourceSpec(source=source, **settings))

    camera = of("/dev/video2", size=(640, 480), rate=30)
    assert (camera.format, camera.name, camera.live) == ("v4l2", "/dev/video2", True)
    assert camera.options == {"video_size": "640x480", "framerate": "30", "timestamps": "abs"}
    assert of("v4l2:/dev/video0").format == "v4l2"
    assert (of("x11grab::0.0").format, of("x11grab::0.0").name) == ("x11grab", ":0.0")
    assert of("x11grab:99").name == ":99"
    assert (of("rtsp://camera/1").live, of("rtsp://camera/1").url) == (True, True)
    assert (of("https://host/a.mp4").live, of("https://host/a.mp4").url) == (False, True)
    assert of("-").live
    assert of("/films/a:b.mp4").format is None
    assert not of("C:/films/a.mp4").url


def test_lateness_is_measured_against_the_promptest() -> None:
    late = Lateness()
    assert late.behind(1000, 0) == 0
    assert late.behind(41_000, 40_000) == 0
    assert late.behind(181_000, 80_000) == 100_000
    # The input's clock runs 1 % slow: what grows over minutes is no lateness.
    late = Lateness()
    assert max(late.behind(int(media * 1.01), media) for media in range(0, 600_000_000, 40_000)) < 250_000


@pytest.mark.skipif("SDP_TEST_CLIP" not in os.environ, reason="SDP_TEST_CLIP names no film")
def test_a_film_of_ones_own() -> None:
    path = Path(os.environ["SDP_TEST_CLIP"])
    for container in ("mp4", "mpegts"):
        sink = run(open_source(SourceSpec(source=str(path), container=container), SteppedClock()))
        found = packets(sink.stream)
        assert {kind: len(each) for kind, each in found.items() if each} == counted(path)
