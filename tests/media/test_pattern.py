"""The picture and the sound of the test pattern."""

from __future__ import annotations

from array import array

import pytest

from sdp.media.pattern import Picture, Tone, clock_text
from sdp.media.stamp import Stamp


def test_the_clock_is_readable() -> None:
    assert clock_text(0) == "00:00:00.000"
    assert clock_text(86_399_999_999) == "23:59:59.999"
    assert clock_text((13 * 3600 + 2 * 60 + 7) * 1_000_000 + 45_678) == "13:02:07.045"


@pytest.mark.parametrize("size", [(160, 120), (162, 122), (320, 240), (640, 360), (1280, 720), (720, 1280)])
def test_every_frame_moves_and_stays_within_its_lines(size: tuple[int, int]) -> None:
    width, height = size
    stride = width + 16
    luma = memoryview(bytearray(b"\x77" * (stride * height)))
    chroma = [memoryview(bytearray(stride * height // 4)) for _ in range(2)]
    picture = Picture(width, height)
    picture.draw(luma, stride, Stamp(0, 0), lamp=False)
    padding = {bytes(luma[line * stride + width : (line + 1) * stride]) for line in range(height)}
    assert padding == {b"\x77" * 16}
    picture.prime((luma, chroma[0], chroma[1]), (stride, stride // 2, stride // 2))
    seen = set()
    for number in range(60):
        picture.draw(luma, stride, Stamp(number * 16_667, number), lamp=number < 6)
        seen.add(bytes(luma))
    assert len(seen) == 60


def test_the_lamp_is_seen() -> None:
    picture = Picture(320, 240)
    dark, lit = memoryview(bytearray(320 * 240)), memoryview(bytearray(320 * 240))
    picture.draw(dark, 320, Stamp(5, 5), lamp=False)
    picture.draw(lit, 320, Stamp(5, 5), lamp=True)
    changed = [place for place in range(320 * 240) if dark[place] != lit[place]]
    assert len(changed) > 100
    assert {lit[place] for place in changed} == {235}


def loudness(samples: memoryview) -> float:
    values = array("f", bytes(samples))
    return max(map(abs, values))


def test_it_beeps_at_the_start_of_each_second() -> None:
    tone = Tone(48_000)
    for second in (0, 1, 7):
        assert loudness(tone.samples(second * 48_000, 1024)) > 0.3
        assert 0 < loudness(tone.samples(second * 48_000 + 6_000, 1024)) < 0.01
        assert loudness(tone.samples(second * 48_000 - 1024, 1024)) < 0.01 if second else True


def test_the_phase_says_where_in_the_second_it_starts() -> None:
    assert bytes(Tone(48_000, phase=12_345).samples(0, 1024)) == bytes(Tone(48_000).samples(12_345, 1024))


def test_samples_join_across_the_second() -> None:
    tone = Tone(48_000)
    joined = bytes(tone.samples(47_500, 1024))
    assert joined == bytes(tone.samples(47_500, 500)) + bytes(tone.samples(0, 524))
