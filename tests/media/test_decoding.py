"""Decoding: a picture with its own bytes, in the same call; and what is done with damage."""

from __future__ import annotations

from array import array
from fractions import Fraction

import av
import pytest

from sdp.container.demuxing import demuxer_for
from sdp.container.units import MediaDescription, Unit
from sdp.errors import MediaError
from sdp.media.decoding import SOUND_RATE, Picture, Sound, SoundDecoder, VideoDecoder, decoder_for
from sdp.media.encoders import AudioEncoder, VideoEncoder
from sdp.media.packaging import packaging_for
from sdp.media.pattern import Picture as Drawing
from sdp.media.pattern import Tone
from sdp.media.stamp import Stamp, read_stamp
from tests.container.media import clip, fragmented

SIZE = (320, 180)


def pattern(container: str, frames: int) -> list[bytes]:
    """Records of the test pattern: the first is the initialization."""
    encoder = VideoEncoder("libx264", SIZE, Fraction(25), in_band=container == "mpegts")
    packaging, gathering = packaging_for(container, [encoder.track], None)
    records = [b"".join(record.data for record in packaging.begin())]
    drawing = Drawing(*SIZE)
    frame = av.VideoFrame(*SIZE, "yuv420p")
    y, u, v = frame.planes
    drawing.prime((memoryview(y), memoryview(u), memoryview(v)), (y.line_size, u.line_size, v.line_size))
    for number in range(frames):
        frame.make_writable()
        drawing.draw(memoryview(frame.planes[0]), y.line_size, Stamp(1_000_000 + number, number), lamp=False)
        [coded] = encoder.encode(frame, number * 3600)
        records.append(b"".join(record.data for record in gathering.add(coded, 1_000_000 + number)))
    return records


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_each_record_gives_its_own_picture_at_once(container: str) -> None:
    records = pattern(container, 12)
    offset = 0
    demuxer = decoder = None
    head = b""
    for number, record in enumerate(records):
        head += record
        if demuxer is None:
            demuxer = demuxer_for(head)
            if demuxer is None:
                continue
            record = head
        units = demuxer.feed(offset, record)
        offset += len(record)
        if decoder is None and demuxer.tracks:
            decoder = VideoDecoder(demuxer.tracks[0])
        for unit in units:
            assert decoder is not None
            [picture] = decoder.decode(unit)
            plane = picture.frame.planes[0]
            assert read_stamp(memoryview(plane), *SIZE, plane.line_size) == (1_000_000 + number - 1, number - 1)
            assert picture.time == unit.time
            assert picture.offset == offset
            if container == "mp4":
                assert picture.captured == 1_000_000 + number - 1
                assert picture._replace(stamp=Stamp(5, 6)).captured == 5
    assert decoder is not None
    assert offset == sum(map(len, records))


def units_of(data: bytes) -> tuple[tuple[MediaDescription, ...], list[Unit]]:
    demuxer = demuxer_for(data)
    assert demuxer is not None
    units = demuxer.feed(0, data)
    assert demuxer.tracks is not None
    return demuxer.tracks, units


def test_reordered_pictures_come_in_the_order_of_their_times() -> None:
    (track, *_), units = units_of(
        clip("mp4", options=(("movflags", "frag_keyframe+empty_moov+default_base_moof"),), coder=(("bf", "2"),))
    )
    decoder = decoder_for(track)
    pictures = [each for unit in units if unit.track == track.id for each in decoder.decode(unit)]
    assert all(isinstance(each, Picture) for each in pictures)
    times = [each.time for each in pictures]
    assert times == sorted(times)
    assert len(times) >= 25


@pytest.mark.parametrize("codec", ["aac", "libopus", "libmp3lame", "flac"])
def test_sound_is_two_channels_at_one_rate(codec: str) -> None:
    tracks, units = units_of(fragmented(video=None, audio=codec))
    decoder = SoundDecoder(tracks[0])
    sounds = [sound for unit in units for sound in decoder.decode(unit)]
    assert sum(sound.duration for sound in sounds) == pytest.approx(1_000_000, abs=80_000)
    assert [sound.time for sound in sounds] == sorted({sound.time for sound in sounds})
    assert all(len(sound.samples) % 4 == 0 for sound in sounds)


def test_the_beep_is_where_its_time_says() -> None:
    encoder = AudioEncoder("aac", number=0)
    tone = Tone(encoder.rate)
    packaging, gathering = packaging_for("mp4", [encoder.track], None)
    data = b"".join(record.data for record in packaging.begin())
    for number in range(60):
        frame = av.AudioFrame("fltp", "stereo", encoder.frame_size)
        frame.sample_rate = encoder.rate
        frame.pts = number * encoder.frame_size
        frame.time_base = Fraction(1, encoder.rate)
        for plane in frame.planes:
            plane.update(bytes(tone.samples(number * encoder.frame_size, encoder.frame_size)))
        for coded in encoder.encode(frame):
            late = coded._replace(dts=coded.dts + 1024, pts=coded.pts + 1024)
            data += b"".join(record.data for record in gathering.add(late, None))
    (track,), units = units_of(data)
    decoder = SoundDecoder(track)
    sounds: list[Sound] = [sound for unit in units for sound in decoder.decode(unit)]
    samples = array("h", b"".join(sound.samples for sound in sounds))[0::2]
    second_beep = next(place for place in range(SOUND_RATE // 2, len(samples)) if abs(samples[place]) > 3000)
    time = sounds[0].time + second_beep * 1_000_000 // SOUND_RATE
    assert time == pytest.approx(1_000_000 + 1024 * 1_000_000 // SOUND_RATE, abs=5_000)


def test_after_damage_it_goes_on_at_a_random_access_point() -> None:
    (track, *_), units = units_of(fragmented(audio=None))
    decoder = VideoDecoder(track)
    assert decoder.decode(units[3]) == []  # nothing has been there to begin with
    units[4] = units[4]._replace(sync=True, data=b"\x00\x00\x00\x01")
    shown = [len(decoder.decode(unit)) for unit in units]
    assert shown[:4] == [1] * 4
    assert sum(shown[5:10]) in (0, 5)  # whether this build of FFmpeg calls it damage or nothing at all
    assert shown[10:] == [1] * 20
    decoder.flush()
    assert decoder.decode(units[11]) == []
    assert len(decoder.decode(units[20])) == 1


def test_what_cannot_be_decoded_is_told() -> None:
    with pytest.raises(MediaError, match="decode nonsense"):
        decoder_for(MediaDescription(id=1, kind="video", codec="nonsense"))
    with pytest.raises(MediaError, match="neither"):
        demuxer_for(b"\x1a\x45\xdf\xa3" + bytes(600))
    assert demuxer_for(b"") is None
    assert demuxer_for(b"\x47" + bytes(100)) is None
    assert demuxer_for((b"\x47" + bytes(187)) * 3) is not None
