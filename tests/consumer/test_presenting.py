"""What stands between a decoder and its screen and loudspeaker: pure, by tables and hand-made sounds."""

from __future__ import annotations

import math
from array import array
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.consumer.figures import lines_of, title_of
from sdp.consumer.lettering import panel
from sdp.consumer.listening import Listening, samples_in
from sdp.consumer.offset import QUESTIONS, ClockOffset
from sdp.consumer.playout import Decision, State
from sdp.consumer.presentation import Presentation
from sdp.consumer.statistics import Curve, Rate, Sample, percentile
from sdp.consumer.stretching import LONGEST, Stretcher
from sdp.consumer.terminal import fitted, half_blocks
from sdp.errors import RemoteError
from sdp.media.decoding import SOUND_RATE, Picture, Sound

FRAME = 40_000


def picture(number: int) -> Picture:
    return Picture(number * FRAME, FRAME, None, None, 0)


# -- pictures ------------------------------------------------------------------------------------------------------


def test_a_picture_is_shown_when_it_is_due() -> None:
    presentation = Presentation()
    for number in (0, 2, 1):
        presentation.add(picture(number))
    assert presentation.due(0.0) == picture(0)
    assert presentation.due(FRAME - 1_000.0) is None
    assert presentation.due(float(FRAME)) == picture(1)
    assert presentation.next_time == 2 * FRAME
    assert vars_of(presentation) == (2, 0, 0, 0)


def vars_of(presentation: Presentation) -> tuple[int, int, int, int]:
    account = presentation.account
    return account.shown, account.late, account.dropped, account.passed


def test_of_several_that_are_due_the_newest_is_shown() -> None:
    presentation = Presentation()
    for number in range(5):
        presentation.add(picture(number))
    assert presentation.due(0.0) == picture(0)
    assert presentation.due(3.5 * FRAME) == picture(3)
    assert vars_of(presentation) == (2, 0, 2, 0)
    presentation.add(picture(2))  # too late to be shown at all
    assert presentation.due(10.0 * FRAME) == picture(4)
    assert vars_of(presentation) == (3, 1, 3, 0)


def test_the_first_one_is_due_at_once_and_what_a_start_runs_through_is_not_dropped() -> None:
    presentation = Presentation()
    presentation.add(picture(50))
    assert presentation.due(0.0) == picture(50)
    for number in range(51, 60):
        presentation.add(picture(number))
    assert presentation.due(58.0 * FRAME, running_through=True) == picture(58)
    assert vars_of(presentation) == (2, 0, 0, 7)
    presentation.leave_out(70 * FRAME)
    assert not len(presentation)
    presentation.begin()
    presentation.add(picture(1))
    assert presentation.due(0.0) == picture(1)
    assert vars_of(presentation) == (3, 0, 0, 8)


@given(st.lists(st.integers(0, 200), max_size=60), st.lists(st.integers(0, 200), max_size=30))
def test_every_picture_is_accounted_for(numbers: list[int], positions: list[int]) -> None:
    presentation = Presentation()
    shown = []
    for number in dict.fromkeys(numbers):
        presentation.add(picture(number))
    for position in sorted(positions):
        due = presentation.due(float(position * FRAME))
        shown += [due.time] if due is not None else []
    assert shown == sorted(set(shown))
    assert sum(vars_of(presentation)) - presentation.account.late + len(presentation) == len(set(numbers))


# -- sound ---------------------------------------------------------------------------------------------------------


class Loudspeaker:
    """Plays as time passes."""

    chunk = 240

    def __init__(self) -> None:
        self.written = bytearray()
        self.played = 0

    def write(self, samples: bytes) -> None:
        self.written += samples

    def queued(self) -> int:
        return len(self.written) - self.played

    def clear(self) -> None:
        del self.written[self.played :]

    def play(self, microseconds: int) -> None:
        self.played = min(len(self.written), self.played + 4 * samples_in(microseconds))


def tone(milliseconds: int, frequency: float = 440.0, level: int = 9000, first: int = 0) -> bytes:
    count = SOUND_RATE * milliseconds // 1000
    values = (round(level * math.sin(2 * math.pi * frequency * (first + n) / SOUND_RATE)) for n in range(count))
    return array("h", [value for one in values for value in (one, one)]).tobytes()


def playing(position: float, rate: float = 1.0) -> Decision:
    return Decision(State.PLAYING, position, rate, 0.0, 0.0, None)


def test_sound_begins_at_the_position_in_the_middle_of_a_packet_or_after_silence() -> None:
    for position, silent in ((1_005_000.0, 0), (990_000.0, 10_000)):
        speaker = Loudspeaker()
        listening = Listening(speaker)
        listening.add(Sound(1_000_000, tone(20)))
        assert listening.position(0) is None
        listening.feed(playing(position), 0)
        head = bytes(4 * samples_in(silent))
        assert speaker.written == head + tone(20)[max(0, 4 * samples_in(position - 1_000_000)) :]
        assert listening.position(0) == pytest.approx(position, abs=3_000)


def test_the_loudspeaker_is_the_clock_and_gaps_are_silent() -> None:
    speaker = Loudspeaker()
    listening = Listening(speaker)
    times = [*range(0, 200, 20), *range(260, 400, 20)]  # 60 ms are missing
    for time in times:
        listening.add(Sound(time * 1000, tone(20)))
    heard = []
    for at in range(0, 330_000, 5_000):
        position = listening.position(at)
        listening.feed(playing(0.0 if position is None else position), at)
        heard.append(listening.position(at))
        speaker.play(5_000)
    assert all(said is not None and abs(said - n * 5_000) < 5_000 for n, said in enumerate(heard))
    assert listening.gaps == 1
    assert bytes(speaker.written[4 * samples_in(205_000) : 4 * samples_in(255_000)]).count(0) == 4 * samples_in(50_000)


def test_a_loudspeaker_that_runs_dry_is_no_clock_until_there_is_sound_again() -> None:
    speaker = Loudspeaker()
    listening = Listening(speaker)
    listening.add(Sound(0, tone(20)))
    listening.feed(playing(0.0), 0)
    speaker.play(100_000)
    assert listening.position(100_000) is listening.position(300_000) is None
    assert listening.gaps == 1
    listening.add(Sound(20_000, tone(20)))
    listening.add(Sound(40_000, tone(20)))
    listening.feed(playing(45_000.0), 300_000)
    assert speaker.queued() == len(tone(20)) * 3 // 4
    assert listening.position(300_000) == pytest.approx(45_000, abs=3_000)


def test_after_a_skip_the_sound_begins_anew() -> None:
    speaker = Loudspeaker()
    listening = Listening(speaker)
    for time in range(0, 2000, 20):
        listening.add(Sound(time * 1000, tone(20)))
    listening.feed(playing(0.0), 0)
    listening.leave_out(1_000_000.0)
    assert speaker.queued() == 0
    assert listening.position(0) is None
    listening.muted = True
    listening.feed(playing(1_000_000.0), 0)
    assert listening.position(0) == pytest.approx(1_000_000, abs=3_000)
    assert not any(speaker.written)


@pytest.mark.parametrize("rate", [0.95, 0.98, 1.005, 1.05])
@pytest.mark.parametrize("frequency", [110.0, 440.0, 1000.0])
def test_stretching_keeps_pitch_and_length(rate: float, frequency: float) -> None:
    """Two seconds become 2 / rate; the tone still crosses zero as often a second; nothing jumps."""
    stretcher = Stretcher()
    packet = 1024
    whole = tone(2000, frequency)
    played = b"".join(
        stretcher.stretched(whole[start : start + 4 * packet], rate) for start in range(0, len(whole), 4 * packet)
    )
    left = array("h", played)[0::2]
    assert len(left) == pytest.approx(2 * SOUND_RATE / rate, abs=LONGEST)
    crossings = sum(a < 0 <= b for a, b in pairwise(left))
    assert crossings / (len(left) / SOUND_RATE) == pytest.approx(frequency, rel=0.01)
    steepest = 2 * math.pi * frequency / SOUND_RATE * 9000
    assert max(abs(a - b) for a, b in pairwise(left)) < 2 * steepest + 200


@given(st.binary(min_size=0, max_size=6000), st.floats(0.95, 1.05))
def test_any_sound_can_be_stretched(content: bytes, rate: float) -> None:
    samples = content[: len(content) // 4 * 4]
    stretcher = Stretcher()
    for _ in range(3):
        played = stretcher.stretched(samples, rate)
        assert len(played) % 4 == 0
        assert abs(len(played) - len(samples)) <= 4 * LONGEST
    assert stretcher.stretched(samples, 1.0) == samples


# -- figures -------------------------------------------------------------------------------------------------------


def test_the_quickest_answer_tells_the_clock() -> None:
    assert ClockOffset().best is None
    offset = ClockOffset()
    for left, back, theirs in ((0, 10_000, 90_000), (20_000, 20_400, 105_200), (40_000, 90_000, 150_000)):
        offset.answered(left, back, b"%d\n" % theirs)
    assert offset.best == (85_000, 201)
    for number in range(QUESTIONS):
        offset.answered(number, number + 1_000, b"%d" % (number + 500 + 7))
    assert offset.best == (7, 501)
    with pytest.raises(RemoteError, match="no SDP Distributor"):
        offset.answered(0, 1, b"<html>")


def test_percentiles_rates_and_curves() -> None:
    assert [percentile(list(range(1, 101)), share) for share in (0.0, 0.5, 0.99, 1.0)] == [1, 50, 99, 100]
    sample = Sample(3)
    assert sample.told() is None
    for value in (9_000, 1_000, 2_000, 3_000):
        sample.add(value)
    assert sample.told() == {"p50": 2.0, "p99": 3.0, "max": 3.0}
    rate = Rate(2_000_000)
    for at in range(0, 4_000_000, 100_000):
        rate.add(at, 50)
    assert rate.told(3_900_000) == 500
    assert rate.told(9_000_000) == 0
    curve = Curve(100, 3)
    for at, value in ((0, 5), (50, 9), (100, 1), (250, 2), (310, 3)):
        curve.add(at, value)
    assert list(curve.points) == [1, 2, 3]


def test_the_panel_has_the_letters_and_the_curve() -> None:
    height, rows = panel(["A1", "?"], [1, 2, 4], 16, b"#", b".", b"+", 4)
    assert height == len(rows) == 2 + 9 + 9 + 4 + 1
    assert {len(row) for row in rows} == {16}
    assert [row[2:14].decode() for row in rows[2:9]] == [
        ".###....#...",
        "#...#..##...",
        "#...#...#...",
        "#####...#...",
        "#...#...#...",
        "#...#...#...",
        "#...#..###..",
    ]
    assert [row[:3].decode() for row in rows[20:24]] == ["..+", "..+", ".++", "+++"]


def test_figures_tell_what_is_known_and_what_is_not() -> None:
    figures = {
        "state": "playing", "glass_to_glass_ms": None, "to_decoded_ms": {"p50": 4.0}, "clock_offset_ms": 0.5,
        "clock_error_ms": 0.1, "delay_ms": None, "target_ms": 2.0, "rate": 1.0, "buffer_ms": 30.0,
        "bit_rate": 2_500_000,
        "shown": 7, "late": 0, "dropped": 1, "stalls": 0, "skips": 0, "missing": 0,
    }  # fmt: skip
    lines = lines_of(figures, 0.0)
    assert "glass to glass ?, p99 ?" in lines
    assert "buffer 30.0 ms, 2.50 Mbit/s" in lines
    assert lines[-1] == "clock +0.50 (+/- 0.10) ms"
    assert title_of("a", figures, 0.0) == "a: playing"
    assert title_of("a", figures, 12.3) == "a: 12 s ago"
    assert title_of("a", {**figures, "glass_to_glass_ms": {"p50": 12.0}}, 0.0) == "a: playing, 12 ms"


# -- the terminal --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("picture", "columns", "lines", "size"),
    [((640, 360), 80, 24, (80, 44)), ((640, 360), 200, 100, (160, 90)), ((100, 400), 80, 20, (10, 40))],
)
def test_the_picture_fits_the_terminal(
    picture: tuple[int, int], columns: int, lines: int, size: tuple[int, int]
) -> None:
    assert fitted(*picture, columns, lines) == size


def test_two_pixels_are_one_character() -> None:
    red, blue = b"\xff\x00\x00", b"\x00\x00\xff"
    text = half_blocks(red * 2 + blue + b"??" + blue * 2 + blue + b"??", 3, 2, 11)
    assert text == ("\x1b[H\x1b[38;2;255;0;0;48;2;0;0;255m▀▀\x1b[38;2;0;0;255;48;2;0;0;255m▀\x1b[0m")
