"""Fragments as they are written: decoded by libavformat, described as its muxer describes, framed by our framer."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import av
import pytest
from av.audio.codeccontext import AudioCodecContext
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream
from hypothesis import given
from hypothesis import strategies as st

from sdp.container.av1 import av1_configuration
from sdp.container.boxes import microseconds_from_ntp, ntp_from_microseconds
from sdp.container.fragments import FragmentWriter
from sdp.container.parameter_sets import (
    avc_configuration,
    avc_from_annex_b,
    hevc_configuration,
    is_annex_b,
    network_abstraction_layer_units,
)
from sdp.container.tracks import Sample, Track
from sdp.errors import MediaError
from sdp.stream.record import Flag

from .framing_checks import bare, frame, random_sizes
from .media import picture, silence

GLOBAL_HEADER = 1 << 22
VIDEO = {
    "libx264": ("avc1", {"preset": "ultrafast", "tune": "zerolatency"}),
    "libx265": ("hvc1", {"preset": "ultrafast", "x265-params": "log-level=none"}),
    "libsvtav1": ("av01", {"preset": "12", "svtav1-params": "lp=1"}),
    "libvpx-vp9": ("vp09", {"deadline": "realtime"}),
}
SOUND = {"aac": "mp4a", "libopus": "Opus", "flac": "fLaC", "libmp3lame": "mp3"}


def encoded_video(encoder: str, options: dict[str, str], pix_fmt: str = "yuv420p") -> tuple[bytes, list[Sample]]:
    coder = cast(VideoCodecContext, av.CodecContext.create(encoder, "w"))
    coder.width, coder.height, coder.pix_fmt = 64, 48, pix_fmt
    coder.time_base, coder.framerate, coder.gop_size = Fraction(1, 30), Fraction(30), 10
    coder.options = options
    coder.flags |= GLOBAL_HEADER
    coder.open()
    packets = [packet for number in range(25) for packet in coder.encode(picture(number).reformat(format=pix_fmt))]
    packets += coder.encode(None)
    delay = -min(packet.dts or 0 for packet in packets)
    samples = []
    for packet in packets:
        assert packet.pts is not None
        assert packet.dts is not None
        data = bytes(packet)
        data = avc_from_annex_b(data) if is_annex_b(data) else data
        offset = (packet.pts - packet.dts) * 512
        samples.append(Sample(1, data, (packet.dts + delay) * 512, 512, offset, packet.is_keyframe))
    return bytes(coder.extradata or b""), samples


def encoded_sound(encoder: str, track_id: int) -> tuple[bytes, list[Sample]]:
    coder = cast(AudioCodecContext, av.CodecContext.create(encoder, "w"))
    coder.sample_rate, coder.layout, coder.time_base = 48000, "mono", Fraction(1, 48000)
    coder.format = coder.codec.audio_formats[0] if coder.codec.audio_formats else "fltp"
    coder.flags |= GLOBAL_HEADER
    coder.open()
    size = coder.frame_size or 1024
    resampler = av.AudioResampler(format=coder.format, layout="mono", rate=48000)
    frames = [made for number in range(20) for made in resampler.resample(silence(number, size))]
    packets = [packet for made in frames for packet in coder.encode(made)] + coder.encode(None)
    # flac ends with a packet that has no bytes, only a new header.
    filled = [bytes(packet) for packet in packets if packet.size]
    samples = [Sample(track_id, data, number * size, size) for number, data in enumerate(filled)]
    return bytes(coder.extradata or b""), samples


def video_track(encoder: str, extradata: bytes) -> Track:
    codec = VIDEO[encoder][0]
    return Track(id=1, kind="video", codec=codec, timescale=15360, extradata=extradata, width=64, height=48)


@pytest.fixture(autouse=True)
def no_real_time() -> Iterator[None]:
    """SVT-AV1, run by root, puts the thread that opens it before all others of the machine (SCHED_FIFO) and leaves it
    there: whatever this process started afterwards would stand before all others as well."""
    before = os.sched_getscheduler(0), os.sched_getparam(0)
    yield
    os.sched_setscheduler(0, *before)


@pytest.mark.parametrize("encoder", VIDEO)
def test_pictures_come_back(encoder: str) -> None:
    extradata, samples = encoded_video(encoder, VIDEO[encoder][1])
    writer = FragmentWriter([video_track(encoder, extradata)])
    data = writer.initialization() + b"".join(writer.fragment([sample], 10**15 + n) for n, sample in enumerate(samples))
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.video[0]
        assert (stream.width, stream.height, stream.time_base) == (64, 48, Fraction(1, 15360))
        packets = [packet for packet in container.demux(stream) if packet.size]
        assert [packet.is_keyframe for packet in packets] == [sample.sync for sample in samples]
        assert [packet.dts for packet in packets] == [sample.decode_time for sample in samples]
        assert [bytes(packet) for packet in packets] == [sample.data for sample in samples]
    with av.open(io.BytesIO(data), "r") as container:
        times = [decoded.pts for decoded in container.decode(video=0)]
        assert times == sorted(sample.decode_time + sample.composition_offset for sample in samples)
    records = frame(data, random_sizes(3))
    assert len(records) == 1 + len(samples)
    assert [record.capture_time for record in records[1:]] == [10**15 + n for n in range(len(samples))]
    assert [bool(record.flags) for record in records[1:]] == [sample.sync for sample in samples]


@pytest.mark.parametrize(
    ("encoder", "options", "kind", "pix_fmt"),
    [
        ("libx264", {"preset": "ultrafast"}, b"avcC", "yuv420p"),
        ("libx264", {"preset": "medium"}, b"avcC", "yuv420p"),
        ("libx264", {"preset": "ultrafast"}, b"avcC", "yuv444p"),
        ("libx264", {"preset": "ultrafast"}, b"avcC", "yuv422p10le"),
        ("libx265", VIDEO["libx265"][1], b"hvcC", "yuv420p"),
        ("libx265", VIDEO["libx265"][1], b"hvcC", "yuv444p10le"),
        ("libsvtav1", VIDEO["libsvtav1"][1], b"av1C", "yuv420p"),
        ("libsvtav1", VIDEO["libsvtav1"][1], b"av1C", "yuv420p10le"),
    ],
)
def test_codecs_are_described_as_libavformat_does(
    encoder: str, options: dict[str, str], kind: bytes, pix_fmt: str
) -> None:
    extradata, samples = encoded_video(encoder, options, pix_fmt)
    assert samples
    make = {b"avcC": avc_configuration, b"hvcC": hevc_configuration, b"av1C": av1_configuration}[kind]
    ours = make(extradata)
    theirs = io.BytesIO()
    with av.open(theirs, "w", format="mp4", options={"movflags": "empty_moov"}) as container:
        stream = cast(VideoStream, container.add_stream(encoder, rate=30, options={**options}))
        stream.width, stream.height, stream.pix_fmt = 64, 48, pix_fmt
        stream.codec_context.time_base, stream.codec_context.gop_size = Fraction(1, 30), 10
        stream.codec_context.flags |= GLOBAL_HEADER
        if kind == b"hvcC":
            stream.codec_context.codec_tag = "hvc1"
        container.start_encoding()
        container.mux(stream.encode(picture(0).reformat(format=pix_fmt)))
        container.mux(stream.encode(None))
    written = theirs.getvalue()
    place = written.index(kind)
    size = int.from_bytes(written[place - 4 : place])
    described = written[place + 4 : place - 4 + size]
    if kind == b"hvcC":
        # libavformat keeps x265's greeting too, an SEI message, as a fourth array.
        assert (ours[22], described[22]) == (3, 4)
        ours, described = ours[:22] + ours[23:], described[:22] + described[23 : len(ours)]
    assert ours == described


def obu(*fields: tuple[int, int]) -> bytes:
    """A sequence header OBU out of (width, value) fields."""
    bits = "".join(f"{value:0{width}b}" for width, value in fields)
    bits += "1" + "0" * (-(len(bits) + 1) % 8)
    payload = int(bits, 2).to_bytes(len(bits) // 8)
    return bytes((0x0A, len(payload))) + payload


SIZES = ((4, 5), (4, 5), (6, 63), (6, 47))
AV1_HEADERS = {
    "reduced, 4:4:4 sRGB of 10 bits": (
        obu((3, 1), (1, 1), (1, 1), (5, 4), *SIZES, (3, 0), (3, 0), (1, 1), (1, 1), (8, 1), (8, 13), (8, 0)),
        b"\x81\x24\x40\0",
    ),
    "a still, monochrome": (
        obu((3, 0), (1, 1), (1, 1), (5, 2), *SIZES, (3, 0), (3, 0), (1, 0), (1, 1), (1, 0), (1, 0)),
        b"\x81\x02\x1c\0",
    ),
    "4:2:2 of 12 bits, high tier, with timing, a decoder model and a display delay": (
        obu(
            *(
                (3, 2),
                (1, 0),
                (1, 0),
                (1, 1),
                (32, 1),
                (32, 60),
                (1, 1),
                (1, 1),
                (1, 1),
                (5, 9),
                (32, 1),
                (5, 9),
                (5, 9),
            ),
            *((1, 1), (5, 1), (12, 0), (5, 9), (1, 1), (1, 1), (10, 7), (10, 7), (1, 0), (1, 1), (4, 9)),
            *((12, 0), (5, 3), (1, 0), (1, 0), *SIZES, (1, 1), (4, 1), (3, 1), (3, 0), (4, 0), (1, 1), (2, 0)),
            *((1, 0), (1, 1), (1, 0), (1, 1), (3, 6), (3, 0), (1, 1), (1, 1), (1, 0), (1, 0), (1, 0), (1, 1), (1, 0)),
        ),
        b"\x81\x49\xe8\0",
    ),
}


@pytest.mark.parametrize("case", AV1_HEADERS)
def test_av1_sequence_headers(case: str) -> None:
    header, expected = AV1_HEADERS[case]
    assert av1_configuration(header) == expected + header


@pytest.mark.parametrize("encoder", SOUND)
def test_sound_comes_back(encoder: str) -> None:
    extradata, samples = encoded_sound(encoder, 7)
    track = Track(
        id=7, kind="audio", codec=SOUND[encoder], timescale=48000, extradata=extradata, channels=1, sample_rate=48000
    )
    writer = FragmentWriter([track])
    data = writer.initialization() + writer.fragment(samples[:5]) + b"".join(writer.fragment([s]) for s in samples[5:])
    with av.open(io.BytesIO(data), "r") as container:
        stream = container.streams.audio[0]
        assert (stream.rate, stream.layout.nb_channels) == (48000, 1)
        assert [bytes(packet) for packet in container.demux(stream) if packet.size] == [s.data for s in samples]
    with av.open(io.BytesIO(data), "r") as container:
        assert sum(decoded.samples for decoded in container.decode(audio=0)) > 10_000
    records = frame(data, [])
    assert [bool(record.flags & Flag.RANDOM_ACCESS) for record in records[1:]] == [True] * (len(samples) - 4)


def test_pictures_and_sound_in_one_fragment() -> None:
    video_data, pictures = encoded_video("libx264", VIDEO["libx264"][1])
    sound_data, sound = encoded_sound("aac", 2)
    writer = FragmentWriter(
        [
            video_track("libx264", video_data),
            Track(id=2, kind="audio", codec="mp4a", timescale=48000, extradata=sound_data, channels=1, bit_rate=64000),
        ]
    )
    data = writer.initialization() + writer.fragment([*sound[:3], *pictures[:3], *sound[3:6]], 10**15, 1)
    data += writer.fragment(sound[6:]) + writer.fragment(pictures[3:])
    for kind, expected in ((0, pictures), (1, sound)):
        with av.open(io.BytesIO(data), "r") as container:
            packets = [bytes(packet) for packet in container.demux(container.streams[kind]) if packet.size]
        assert packets == [sample.data for sample in expected]
    records = frame(data, [])
    assert bare(records)[0][1:] == (Flag.INITIALIZATION, None)
    assert [(r.flags, r.capture_time) for r in records[1:]] == [
        (Flag.RANDOM_ACCESS, 10**15),
        (Flag.NONE, None),
        (Flag.NONE, None),
    ]


PLAIN_TRACKS = [
    Track(id=1, kind="video", codec="avc1", timescale=1000, extradata=b"\1\x42\0\x0a\xff\xe0\0", width=2, height=2),
    Track(id=2, kind="audio", codec="mp4a", timescale=48000, extradata=b"\x11\x88"),
]


@given(
    st.lists(
        st.tuples(
            st.lists(
                st.builds(
                    Sample,
                    st.sampled_from([1, 2]),
                    st.binary(min_size=1, max_size=60),
                    st.integers(0, 2**63),
                    st.integers(0, 2**32 - 1),
                    st.integers(-(2**31), 2**31 - 1),
                    st.booleans(),
                ),
                min_size=1,
                max_size=6,
            ),
            st.none() | st.integers(0, 4_000_000_000_000_000),
        ),
        max_size=6,
    ),
    st.integers(0, 1000),
)
def test_what_is_written_is_framed(fragments: list[tuple[list[Sample], int | None]], seed: int) -> None:
    writer = FragmentWriter(PLAIN_TRACKS)
    parts = [writer.initialization()]
    expected: list[tuple[int, Flag, int | None]] = [(0, Flag.INITIALIZATION, None)]
    for samples, capture_time in fragments:
        pictures = [sample for sample in samples if sample.track_id == 1]
        flags = Flag.RANDOM_ACCESS if pictures and pictures[0].sync else Flag.NONE
        expected.append((sum(map(len, parts)), flags, capture_time))
        parts.append(writer.fragment(samples, capture_time))
    assert bare(frame(b"".join(parts), random_sizes(seed, 300), "video/mp4")) == expected


@given(st.integers(0, 4_000_000_000_000_000))
def test_ntp_times_come_back(time: int) -> None:
    ntp = ntp_from_microseconds(time)
    assert 0 <= ntp < 1 << 64
    assert microseconds_from_ntp(ntp) == time


@given(st.lists(st.binary(min_size=1).filter(lambda unit: b"\0\0" not in unit and unit[-1]), max_size=5), st.booleans())
def test_annex_b(units: list[bytes], long: bool) -> None:
    stream = b"".join((b"\0\0\0\1" if long else b"\0\0\1") + unit for unit in units)
    assert list(network_abstraction_layer_units(stream)) == units
    assert avc_from_annex_b(stream) == b"".join(len(unit).to_bytes(4) + unit for unit in units)


@pytest.mark.parametrize(
    ("codec", "extradata"),
    [
        ("avc1", b"\0\0\0\1\x67\x42"),
        ("avc1", b"\0\0\0\1\x67\x64\0\x0a\0\0\0\1\x68\xee"),
        ("hvc1", b"\0\0\0\1\x42\1"),
        ("av01", b""),
        ("av01", b"\x0a\x01\x00"),
        ("Opus", b"OpusHead"),
        ("fLaC", b""),
        ("vorbis", b""),
    ],
)
def test_what_cannot_be_described(codec: str, extradata: bytes) -> None:
    track = Track(id=1, kind="video", codec=codec, timescale=1000, extradata=extradata)
    with pytest.raises(MediaError):
        FragmentWriter([track])


def test_what_cannot_be_written() -> None:
    writer = FragmentWriter(PLAIN_TRACKS)
    for samples in ([], [Sample(3, b"x", 0, 1)], [Sample(1, b"x", -1, 1)], [Sample(1, b"", 0, 1)]):
        with pytest.raises(MediaError):
            writer.fragment(samples)
    for tracks in ([], [PLAIN_TRACKS[0]] * 2):
        with pytest.raises(MediaError):
            FragmentWriter(tracks)


def test_numbers_leave_one_out_where_a_track_begins_after_a_random_access_point() -> None:
    writer = FragmentWriter(PLAIN_TRACKS)

    def number(track_id: int, sync: bool = True) -> int:
        fragment = writer.fragment([Sample(track_id, b"x", 0, 1, sync=sync)])
        return int.from_bytes(fragment[fragment.index(b"mfhd") + 8 :][:4])

    told = [
        number(1),
        number(2),
        number(2),
        number(1, sync=False),
        number(2),
        number(1),
        number(1, sync=False),
        number(2),
    ]
    assert told == [1, 3, 4, 5, 6, 7, 8, 10]
    # Where both come together, nothing is left out; nor where there is but one track.
    both = writer.fragment([Sample(1, b"x", 0, 1), Sample(2, b"x", 0, 1)])
    assert int.from_bytes(both[both.index(b"mfhd") + 8 :][:4]) == 11
    assert number(2) == 12
    writer = FragmentWriter(PLAIN_TRACKS[1:])
    assert [number(2), number(2)] == [1, 2]
