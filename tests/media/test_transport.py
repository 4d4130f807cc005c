"""The transport stream: what is written, field by field, and that nothing is held back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.media.coded import Coded, MediaTrack
from sdp.media.packaging import packaging_for
from sdp.media.transport import PCR_LEAD, TransportWriter, adts_header, crc32_mpeg, delimited
from sdp.stream.record import Flag

VIDEO = MediaTrack(kind="video", codec="h264", timescale=90_000, width=320, height=240)
AUDIO = MediaTrack(kind="audio", codec="aac", timescale=48_000, config=b"\x11\x90", channels=2, sample_rate=48_000)
KEY = b"\x00\x00\x00\x01\x09\xf0\x00\x00\x01\x65" + bytes(50)


def split(stream: bytes) -> list[tuple[int, bool, bytes, bytes]]:
    """Return PID, payload unit start, adaptation field and payload of each packet, with continuity checked."""
    counts: dict[int, int] = {}
    found = []
    assert len(stream) % 188 == 0
    for place in range(0, len(stream), 188):
        packet = stream[place : place + 188]
        assert packet[0] == 0x47
        pid = (packet[1] & 0x1F) << 8 | packet[2]
        control, count = packet[3] >> 4, packet[3] & 15
        assert count == (counts.get(pid, -1) + 1) & 15
        counts[pid] = count
        length = packet[4] + 1 if control & 2 else 0
        assert control & 1
        found.append((pid, bool(packet[1] & 0x40), packet[5 : 4 + length], packet[4 + length :]))
    return found


def time_of(field: bytes) -> int:
    assert field[0] & 1
    assert field[2] & 1
    assert field[4] & 1
    return (field[0] >> 1 & 7) << 30 | (field[1] << 8 | field[2]) >> 1 << 15 | (field[3] << 8 | field[4]) >> 1


@given(size=st.integers(11, 2000), sync=st.booleans(), reorder=st.integers(0, 9000), dts=st.integers(0, 2**34))
@settings(max_examples=200, deadline=None)
def test_a_frame_is_whole_and_timed(size: int, sync: bool, reorder: int, dts: int) -> None:
    data = (KEY + bytes(size))[:size]
    writer = TransportWriter([VIDEO])
    found = split(writer.frame(Coded(0, data, dts, dts + reorder, 3000, sync)))
    assert [start for _, start, *_ in found] == [True] + [False] * (len(found) - 1)
    field = found[0][2]
    assert bool(field[0] & 0x40) == sync
    clock = int.from_bytes(field[1:6], "big") >> 7
    assert clock == dts & (2**33 - 1)
    pes = b"".join(payload for *_, payload in found)
    assert pes[:4] == b"\x00\x00\x01\xe0"
    assert int.from_bytes(pes[4:6], "big") == len(pes) - 6
    assert pes[9 + pes[8] :] == data
    assert time_of(pes[9:14]) == (dts + reorder + PCR_LEAD) & (2**33 - 1)
    if reorder:
        assert time_of(pes[14:19]) == (dts + PCR_LEAD) & (2**33 - 1)


def test_a_length_that_does_not_fit_is_left_open() -> None:
    pes = b"".join(
        payload for *_, payload in split(TransportWriter([VIDEO]).frame(Coded(0, KEY * 2000, 0, 0, 1, True)))
    )
    assert pes[4:6] == b"\x00\x00"
    assert pes[14:] == KEY * 2000


def test_the_tables_are_sound() -> None:
    writer = TransportWriter([VIDEO, AUDIO])
    tables = split(writer.tables() + writer.tables())
    assert [(pid, start) for pid, start, *_ in tables] == [(0, True), (0x1000, True)] * 2
    for *_, payload in tables:
        length = int.from_bytes(payload[2:4], "big") & 0xFFF
        assert crc32_mpeg(payload[1 : 4 + length]) == 0  # a sum over its own sum is nought
        assert set(payload[4 + length :]) == {0xFF}


def test_the_delimiter_is_there_once() -> None:
    bare = b"\x00\x00\x00\x01\x65\x01"
    assert delimited("h264", bare) == b"\x00\x00\x00\x01\x09\xf0" + bare
    assert delimited("h264", delimited("h264", bare)) == delimited("h264", bare)
    assert delimited("hevc", b"\x00\x00\x01\x26\x01") == b"\x00\x00\x00\x01\x46\x01\x50\x00\x00\x01\x26\x01"
    assert delimited("hevc", b"\x00\x00\x01\x46\x01\x50") == b"\x00\x00\x01\x46\x01\x50"
    assert delimited("mp3", b"\xff\xfb") == b"\xff\xfb"


def test_adts_headers() -> None:
    assert adts_header(b"\x11\x90", 100).hex() == "fff14c800d7ffc"
    for config in (b"\x11\x80", b"\x17\x90", b"\xf9\x90"):  # no channels told, a rate told in full, object type 31
        with pytest.raises(ValueError, match="ADTS"):
            adts_header(config, 1)


def test_tables_come_with_each_key_frame_and_nothing_waits() -> None:
    packaging, frames = packaging_for("mpegts", [VIDEO, AUDIO], None)
    assert list(packaging.begin()) == []
    given = [frames.add(Coded(0, KEY, n * 3000, n * 3000, 3000, n % 2 == 0), n) for n in range(4)]
    flags = [[packed.flags for packed in packs] for packs in given]
    assert flags == [[Flag.INITIALIZATION, Flag.RANDOM_ACCESS], [Flag.NONE]] * 2
    (sound,) = frames.add(Coded(1, b"abc", 0, 0, 1024, True), 7)
    assert (sound.flags, sound.capture_time) == (Flag.NONE, 7)
    assert sound.data.endswith(adts_header(b"\x11\x90", 3) + b"abc")


def test_sound_alone_brings_tables_each_second() -> None:
    _, frames = packaging_for("mpegts", [AUDIO], None)
    flags = [
        packed.flags for n in range(96) for packed in frames.add(Coded(0, b"abc", n * 1024, n * 1024, 1024, True), n)
    ]
    assert flags.count(Flag.INITIALIZATION) == 3
    assert flags.count(Flag.RANDOM_ACCESS) == 96
