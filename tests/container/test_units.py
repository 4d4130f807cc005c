"""Demultiplexing, beside libavformat's, over arbitrary cuts and from the middle on."""

from __future__ import annotations

import io
import random
from contextlib import suppress
from typing import Any

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.container.fragment_units import FragmentDemuxer
from sdp.container.transport_units import TransportDemuxer
from sdp.container.units import Demuxer, Unit
from sdp.errors import MediaError
from sdp.media import SourceSpec
from sdp.media.coded import Coded
from sdp.media.encoders import AudioEncoder
from sdp.media.packaging import packaging_for
from tests.container.framing_checks import pieces, random_sizes
from tests.container.media import clip, fragmented

REORDERED = (("preset", "fast"), ("bf", "2"))
FORMS: dict[str, tuple[type[Any], Any]] = {
    "a fragment each frame": (FragmentDemuxer, fragmented),
    "a fragment each group": (
        FragmentDemuxer,
        lambda: clip("mp4", options=(("movflags", "frag_keyframe+empty_moov+default_base_moof"),)),
    ),
    "edit lists": (
        FragmentDemuxer,
        lambda: clip("mp4", options=(("movflags", "frag_keyframe+delay_moov"),), coder=REORDERED),
    ),
    "absolute places": (FragmentDemuxer, lambda: clip("mp4", options=(("movflags", "frag_keyframe+empty_moov"),))),
    "hevc": (
        FragmentDemuxer,
        lambda: fragmented(video="libx265", coder=(("preset", "ultrafast"), ("x265-params", "log-level=none"))),
    ),
    "opus": (FragmentDemuxer, lambda: fragmented(audio="libopus")),
    "mp3": (FragmentDemuxer, lambda: fragmented(audio="libmp3lame")),
    "sound": (FragmentDemuxer, lambda: fragmented(video=None)),
    "transport stream": (TransportDemuxer, lambda: clip("mpegts")),
    "transport stream, reordered": (TransportDemuxer, lambda: clip("mpegts", coder=REORDERED)),
    "transport stream, pictures": (TransportDemuxer, lambda: clip("mpegts", audio=None)),
}


def units_of(demuxer: Demuxer, data: bytes, sizes: Any, start: int = 0) -> list[Unit]:
    found: list[Unit] = []
    offset = start
    for piece in pieces(data, sizes):
        found += demuxer.feed(offset, piece)
        offset += len(piece)
    return found


def expected(data: bytes) -> dict[str, list[tuple[int, bytes]]]:
    """By kind: (time in microseconds, bytes), as libavformat takes it apart."""
    packets: dict[str, list[tuple[int, bytes]]] = {}
    with av.open(io.BytesIO(data), "r") as container:
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                time = int(packet.pts * packet.time_base * 1_000_000)
                packets.setdefault(packet.stream.type, []).append((time, bytes(packet)))
    return packets


@pytest.mark.parametrize("form", FORMS)
def test_units_are_what_libavformat_finds(form: str) -> None:
    make, made = FORMS[form]
    data = made()
    demuxer = make()
    units = units_of(demuxer, data, random_sizes(7))
    assert demuxer.tracks is not None
    wanted = expected(data)
    assert {track.kind for track in demuxer.tracks} == set(wanted)
    for track in demuxer.tracks:
        own = [unit for unit in units if unit.track == track.id]
        theirs = wanted[track.kind]
        if make is TransportDemuxer:
            # The last unit's end may not show, and sound comes several frames at a time.
            whole = b"".join(unit.data for unit in own)
            assert b"".join(data for _, data in theirs).startswith(whole)
            assert {unit.time for unit in own} <= {time for time, _ in theirs}
            assert track.kind == "audio" or len(own) >= len(theirs) - 1
        else:
            assert [unit.data for unit in own] == [data for _, data in theirs]
            shift = own[0].time - theirs[0][0]
            assert all(abs(a.time - shift - b) <= 1 for a, (b, _) in zip(own, theirs, strict=True))
            assert form == "edit lists" or shift == 0
        assert all(unit.duration > 0 for unit in own) or (make is TransportDemuxer and track.kind == "audio")
        if track.kind == "video":
            assert [unit.sync for unit in own].count(True) == 3


@pytest.mark.parametrize("form", FORMS)
def test_cuts_do_not_matter(form: str) -> None:
    make, made = FORMS[form]
    data = made()
    whole = units_of(make(), data, [len(data)])
    assert units_of(make(), data, [1] * len(data)) == whole
    assert units_of(make(), data, random_sizes(3)) == whole


def test_a_unit_is_given_out_with_its_last_byte() -> None:
    """No byte later, for then it would wait for the next frame."""
    for form in ("a fragment each frame", "opus", "hevc"):
        demuxer, data = FragmentDemuxer(), FORMS[form][1]()
        for offset, byte in enumerate(pieces(data, [1] * len(data))):
            assert all(unit.offset == offset + 1 for unit in demuxer.feed(offset, byte))


@pytest.mark.parametrize("container", ["mp4", "mpegts"])
def test_our_own_packaging_is_taken_apart_at_once(container: str) -> None:
    """Each record gives its units when it is here, with the capture time; also after records that are missing."""
    sound = AudioEncoder("aac", number=0)
    packaging, gathering = packaging_for(container, [sound.track], SourceSpec().fragment)
    records = [record.data for record in packaging.begin()]
    frames = [Coded(0, bytes((0x21, n, n)) * 40, n * 1024, n * 1024, 1024, True) for n in range(20)]
    for number, frame in enumerate(frames):
        records += [record.data for record in gathering.add(frame, 1_700_000_000_000_000 + number)]
    demuxer: Demuxer = FragmentDemuxer() if container == "mp4" else TransportDemuxer()
    offset, times = 0, []
    for number, record in enumerate(records):
        said = None if container == "mp4" or not number else 1_700_000_000_000_000 + number - 1
        units = [] if number == 7 else demuxer.feed(offset, record, said)
        offset += len(record)
        if number and number != 7:
            [unit] = units
            assert unit.offset == offset
            assert unit.data.endswith(bytes((0x21, number - 1, number - 1)) * 40)
            assert unit.capture_time == 1_700_000_000_000_000 + number - 1
            times.append(unit.time)
    assert times == sorted(times)
    assert len(times) == 19


@given(st.integers(0, 2**32), st.sampled_from(["a fragment each frame", "transport stream"]))
def test_damage_is_met_with_a_sentence_or_passed_over(seed: int, form: str) -> None:
    make, made = FORMS[form]
    data, chance = bytearray(made()), random.Random(seed)
    for _ in range(chance.randrange(1, 6)):
        data[chance.randrange(len(data))] = chance.randrange(256)
    with suppress(MediaError):
        units_of(make(), bytes(data), random_sizes(seed))


def test_what_is_no_mp4_is_told() -> None:
    with pytest.raises(MediaError, match="no fragmented MP4"):
        FragmentDemuxer().feed(0, b"\x00\x00\x00\x04moof" * 4)
