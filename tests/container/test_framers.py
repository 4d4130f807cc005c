"""Every framer over real media: the same records for all cuts, and decoding starts where they say."""

from __future__ import annotations

import io
import itertools
import os
import random
import re
import struct
from pathlib import Path

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.container import framer_for
from sdp.stream.record import Flag, Record

from .framing_checks import bare, check_partition, frame, random_sizes
from .media import FRAMES, KEY_INTERVAL, every_form

FORMS = every_form()
TYPES = {
    "fmp4": "video/mp4",
    "mp4": "video/mp4",
    "ts": "video/MP2T; charset=x",
    "webm": "video/webm",
    "mkv": "video/x-matroska",
    "adts": "audio/aac",
    "mp3": "audio/mpeg",
}


def flagged(records: list[Record], flag: Flag) -> list[int]:
    return [record.offset for record in records if record.flags & flag]


def joined(data: bytes, records: list[Record], offset: int) -> bytes:
    """What a consumer gets that joins at ``offset``: the last initialization segment before it, and the rest."""
    for record, following in itertools.pairwise(records):
        if record.flags & Flag.INITIALIZATION and record.offset < offset:
            initialization = data[record.offset : following.offset]
    return (initialization if any(r.flags & Flag.INITIALIZATION for r in records) else b"") + data[offset:]


@pytest.mark.parametrize("form", FORMS)
def test_cuts_do_not_matter(form: str) -> None:
    data = FORMS[form]
    whole = bare(frame(data, []))
    assert bare(frame(data, [1] * len(data))) == whole
    for seed in range(8):
        assert bare(frame(data, random_sizes(seed))) == whole


@pytest.mark.parametrize("form", FORMS)
def test_declared_and_sniffed_agree(form: str) -> None:
    data = FORMS[form]
    declared = TYPES[form.split()[0]]
    assert bare(frame(data, [100] * 1000, declared)) == bare(frame(data, []))
    sniffing = framer_for(None)
    sniffing.feed(data, None)
    assert sniffing.content_type == declared.partition(";")[0].lower()


@pytest.mark.parametrize("form", [form for form in FORMS if form != "mp4"])
def test_decoding_starts_at_each_random_access_point(form: str) -> None:
    data = FORMS[form]
    records = frame(data, random_sizes(1))
    starts = flagged(records, Flag.RANDOM_ACCESS)
    assert starts
    for offset in starts:
        # A last record of a few samples is too little for libavformat to probe; the points before it show enough.
        if len(data) - offset < 2000 and offset != starts[0]:
            continue
        with av.open(io.BytesIO(joined(data, records, offset)), "r") as container:
            if container.streams.video:
                assert next(iter(container.decode(video=0))).key_frame
            else:
                assert next(iter(container.decode(audio=0))).samples


@pytest.mark.parametrize("form", ["fmp4", "fmp4 key", "fmp4 cmaf", "ts", "ts video", "ts mpeg2", "mkv file"])
def test_every_key_frame_is_found(form: str) -> None:
    records = frame(FORMS[form], [])
    assert len(flagged(records, Flag.RANDOM_ACCESS)) == FRAMES // KEY_INTERVAL


@pytest.mark.parametrize("form", ["fmp4", "fmp4 cmaf", "ts", "ts video"])
def test_each_picture_begins_a_record(form: str) -> None:
    data = FORMS[form]
    records = frame(data, [])
    with av.open(io.BytesIO(data), "r") as container:
        starts = {packet.pos or 0 for packet in container.demux(container.streams.video[0]) if packet.size}
    offsets = [record.offset for record in records]
    following = dict(itertools.pairwise([*offsets, len(data)]))
    owners = {max(offset for offset in offsets if offset <= start) for start in starts}
    assert len(owners) == FRAMES
    assert all(following[owner] > owner for owner in owners)


def test_sound_beside_video_is_no_random_access_point() -> None:
    data = FORMS["fmp4"]
    for record, following in itertools.pairwise(frame(data, [])):
        part = data[record.offset : following.offset]
        if not record.flags & Flag.INITIALIZATION:
            track = int.from_bytes(part[part.index(b"tfhd") + 8 :][:4])
            assert not record.flags or track == 1


def test_prft_tells_the_capture_time() -> None:
    data = FORMS["fmp4 cmaf"]
    records = frame(data, [])
    expected = {}
    for found in re.finditer(b"prft", data):
        place = found.start() - 4
        seconds, fraction = struct.unpack_from(">II", data, place + 16)
        expected[place] = (seconds - 2_208_988_800) * 1_000_000 + round(fraction * 1_000_000 / (1 << 32))
    assert expected
    assert {record.offset: record.capture_time for record in records if record.capture_time} == expected


def test_what_was_said_wins() -> None:
    data = FORMS["fmp4 key"]
    offsets = [record.offset for record in frame(data, [])]
    framer = framer_for("video/mp4")
    records = []
    says = [(None, None), (11, False), (22, None), (33, True), (44, True)]
    for (start, end), (time, random_access) in zip(itertools.pairwise([*offsets, len(data)]), says, strict=True):
        framer.boundary(start, time, random_access)
        records += framer.feed(data[start:end], start)
    assert [record.capture_time for record in records] == [None, 11, 22, 33, 44]
    expected = [Flag.INITIALIZATION, Flag.NONE, Flag.RANDOM_ACCESS, Flag.RANDOM_ACCESS, Flag.RANDOM_ACCESS]
    assert [record.flags for record in records] == expected
    assert [record.received_time for record in records] == offsets
    assert framer.explicit


def test_what_is_said_of_an_initialization_segment_goes_for_the_frame_behind_it() -> None:
    framer = framer_for("video/mp4")
    framer.boundary(0, 77, True)
    records = framer.feed(FORMS["fmp4 key"], 1)
    assert [(record.flags, record.capture_time) for record in records[:3]] == [
        (Flag.INITIALIZATION, 77),
        (Flag.RANDOM_ACCESS, 77),
        (Flag.RANDOM_ACCESS, None),
    ]


def test_received_time_is_that_of_the_first_byte() -> None:
    data = FORMS["fmp4"]
    framer = framer_for("video/mp4")
    records = [record for at in range(len(data)) for record in framer.feed(data[at : at + 1], at)]
    assert all(
        record.received_time is not None and abs(record.received_time - record.offset) == 0 for record in records
    )


@pytest.mark.parametrize("form", ["fmp4", "ts", "webm", "mkv"])
def test_an_epoch_goes_on_behind_its_initialization_segment(form: str) -> None:
    data = FORMS[form]
    records = frame(data, [])
    place = 2 if form == "webm" else len(records) // 2
    start = records[place].offset
    earlier = [index for index in range(place) if records[index].flags & Flag.INITIALIZATION][-1]
    initialization = data[records[earlier].offset : records[earlier + 1].offset]
    framer = framer_for(None, start, initialization=initialization)
    found = []
    for at in range(start, len(data), 50):
        found += framer.feed(data[at : at + 50], None)
        assert start <= framer.known <= framer.end
    found += framer.flush()
    assert bare(found) == bare(records[place:])


@pytest.mark.parametrize("form", ["fmp4", "ts", "mkv file", "adts", "mp3"])
def test_the_middle_of_a_stream_finds_its_records_again(form: str) -> None:
    data = FORMS[form]
    records = frame(data, [])
    start = records[2].offset + 7
    framer = framer_for(TYPES[form.split()[0]], start)
    found = framer.feed(data[start:], None) + framer.flush()
    offsets = {record.offset for record in found}
    # Sound counts its 100 ms from another frame on, and a lost prft is no loss of the fragment.
    if form in ("adts", "mp3"):
        assert len(offsets) >= len(records) - 4
    else:
        assert {record.offset for record in records[4:]} - offsets == set()


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(FORMS)), st.randoms(use_true_random=False), st.booleans())
def test_damaged_bytes_are_framed_without_loss(form: str, chance: random.Random, declared: bool) -> None:
    data = bytearray(FORMS[form][:6000])
    for _ in range(chance.randint(1, 12)):
        place = chance.randrange(len(data))
        action = chance.randrange(4)
        if action == 0:
            data[place] = chance.randrange(256)
        elif action == 1:
            del data[place : place + chance.randint(1, 300)]
        elif action == 2:
            data[place:place] = chance.randbytes(chance.randint(1, 300))
        else:
            data[place : place + 8] = chance.choice((bytes(8), b"\xff" * 8, b"\0\0\0\1moof", b"\0\0\0\x08prft"))
        if not data:
            data += b"\0"
    content_type = TYPES[form.split()[0]] if declared else None
    content = bytes(data)
    whole = bare(frame(content, [], content_type))
    assert bare(frame(content, random_sizes(chance.randrange(1000), 400), content_type)) == whole
    assert bare(frame(content, [1] * len(content), content_type)) == whole


@settings(max_examples=200, deadline=None)
@given(
    st.sampled_from(sorted(set(TYPES.values()) | {"text/plain"})),
    st.sampled_from(
        [b"", b"\0\0\0\x20ftyp", b"G", b"\x1a\x45\xdf\xa3", b"\xff\xf1", b"\xff\xfb", b"ID3\4\0\0\0\0\0\1"]
    ),
    st.lists(st.binary(min_size=1, max_size=700), max_size=8),
)
def test_any_bodies_are_framed_without_loss(content_type: str, magic: bytes, bodies: list[bytes]) -> None:
    if magic and bodies:
        bodies[0] = magic + bodies[0]
    framer = framer_for(content_type)
    records: list[Record] = []
    for body in bodies:
        framer.boundary(framer.end, None, None)
        records += framer.feed(body, None)
        assert framer.known <= framer.end
    records += framer.flush()
    assert framer.known == framer.end == sum(map(len, bodies))
    check_partition(records, framer.end)


@pytest.mark.skipif("SDP_TEST_CLIP" not in os.environ, reason="SDP_TEST_CLIP names no clip")
def test_a_clip_of_the_readers_own() -> None:
    data = Path(os.environ["SDP_TEST_CLIP"]).read_bytes()[: 8 << 20]
    whole = bare(frame(data, []))
    assert whole
    assert bare(frame(data, [65536] * (len(data) // 65536))) == whole
