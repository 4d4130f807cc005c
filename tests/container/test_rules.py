"""What the format rules say, case by case, on bytes built by hand."""

from __future__ import annotations

import struct
from collections.abc import Iterable

import pytest
from zope.interface.verify import verifyClass, verifyObject

from sdp.container import OpaqueFramer, SniffingFramer, framer_for
from sdp.container.audio import AudioFramer
from sdp.container.fmp4 import HEADER_LIMIT, FragmentedMP4Framer
from sdp.container.fragments import FragmentWriter
from sdp.container.matroska import MatroskaFramer
from sdp.container.mpegts import TransportStreamFramer
from sdp.container.opaque import RECORD_LIMIT
from sdp.container.tracks import Sample, Track
from sdp.distributor.settings import DistributorSettings
from sdp.interfaces import IFramer
from sdp.stream.record import Flag, Record

from .framing_checks import bare, frame, random_sizes

N, INIT, R = Flag.NONE, Flag.INITIALIZATION, Flag.RANDOM_ACCESS
IMPLIED = R | Flag.IMPLIED

VIDEO = Track(id=1, kind="video", codec="avc1", timescale=90000, extradata=b"\1\x42\0\x0a\xff\xe0\0")
SOUND = Track(id=2, kind="audio", codec="mp4a", timescale=48000, extradata=b"\x11\x88")


def box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4s", 8 + len(content), kind) + content


def wide_box(kind: bytes, content: bytes = b"") -> bytes:
    return struct.pack(">I4sQ", 1, kind, 16 + len(content)) + content


HEAD = FragmentWriter([VIDEO, SOUND]).initialization()
MOOV = HEAD[HEAD.index(b"moov") - 4 :]
FTYP = HEAD[: -len(MOOV)]


def fragment(sync: bool = True, track: int = 1, capture_time: int | None = None) -> bytes:
    return FragmentWriter([VIDEO, SOUND]).fragment([Sample(track, b"sample", 5, 1, 0, sync)], capture_time)


def trex(flags: int) -> bytes:
    """The initialization segment, with a default for the video track's sample flags."""
    place = HEAD.index(b"trex") + 24
    return HEAD[:place] + flags.to_bytes(4) + HEAD[place + 4 :]


def moof(tfhd: bytes, trun: bytes, track: int = 1) -> bytes:
    head = box(b"tfhd", tfhd[:4] + track.to_bytes(4) + tfhd[4:])
    return box(b"moof", box(b"mfhd", bytes(8)) + box(b"traf", head + box(b"trun", trun))) + box(b"mdat", b"x")


SYNC, OTHER = 0x0200_0000, 0x0101_0000
PLAIN_TFHD = bytes.fromhex("00020000")


def said(*parts: tuple[bytes, Flag | None]) -> tuple[bytes, list[tuple[int, Flag]]]:
    """Join parts; those with flags begin records."""
    data, expected = b"", []
    for part, flags in parts:
        if flags is not None:
            expected.append((len(data), flags))
        data += part
    return data, expected


MP4_CASES: dict[str, list[tuple[bytes, Flag | None]]] = {
    "init and fragments": [(HEAD, INIT), (fragment(), R), (fragment(False), N), (fragment(track=2), N)],
    "prefixes belong to the fragment": [
        (HEAD, INIT),
        (box(b"styp", b"msdh"), R),
        (box(b"emsg", b"x" * 50) + box(b"sidx", b"x" * 50), None),
        (fragment(capture_time=1), None),
        (box(b"emsg"), N),
        (fragment(False), None),
    ],
    "64-bit sizes, free and uuid boxes": [
        (FTYP + wide_box(b"free", b"12") + MOOV, INIT),
        (box(b"styp"), R),
        (box(b"uuid", bytes(16)) + box(b"free"), None),
        (fragment(), None),
        (wide_box(b"mdat", b"more") + box(b"uuid", bytes(20)), None),
        (fragment(False), N),
    ],
    "mfra": [(HEAD, INIT), (fragment(), R), (box(b"mfra", bytes(40)), N)],
    "a second initialization segment": [(HEAD, INIT), (fragment(), R), (HEAD, INIT), (fragment(), R), (MOOV, INIT)],
    "two movies side by side": [(HEAD, INIT), (HEAD, INIT), (fragment(), R)],
    "no fragments, moov first": [(HEAD + box(b"free"), INIT), (box(b"mdat", bytes(100)), R)],
    "no fragments, moov last": [(FTYP + box(b"free"), INIT), (box(b"mdat", bytes(100)), N), (MOOV, INIT)],
    "to the end": [(HEAD, INIT), (b"\0\0\0\0mdat" + fragment() * 3, R)],
    "styp at the start": [(box(b"styp"), R), (fragment(), None), (HEAD, INIT)],
    "a prefix without a fragment": [
        (HEAD, INIT),
        (box(b"sidx", bytes(9)), N),
        (box(b"mdat", b"x"), None),
        (fragment(), R),
    ],
    "a prefix before a movie": [(HEAD, INIT), (box(b"emsg"), N), (HEAD, INIT)],
    "default of the movie: other": [(trex(OTHER), INIT), (moof(PLAIN_TFHD, bytes(4) + b"\0\0\0\1"), N)],
    "default of the movie: sync": [(trex(SYNC), INIT), (moof(PLAIN_TFHD, bytes(4) + b"\0\0\0\1"), R)],
    "depends on others": [(trex(0x0100_0000), INIT), (moof(PLAIN_TFHD, bytes(4) + b"\0\0\0\1"), N)],
    "default of the fragment": [
        (trex(OTHER), INIT),
        (moof(b"\0\2\0\x3b" + bytes(20) + SYNC.to_bytes(4), bytes(4) + b"\0\0\0\1"), R),
        (moof(b"\0\2\0\x20" + OTHER.to_bytes(4), bytes(4) + b"\0\0\0\1"), N),
    ],
    "first sample's flags": [
        (trex(OTHER), INIT),
        (moof(PLAIN_TFHD, b"\0\0\0\5\0\0\0\1" + bytes(4) + SYNC.to_bytes(4)), R),
        (moof(PLAIN_TFHD, b"\0\0\7\1\0\0\0\1" + bytes(12) + SYNC.to_bytes(4)), R),
        (moof(PLAIN_TFHD, b"\0\0\4\0\0\0\0\1" + OTHER.to_bytes(4)), N),
    ],
    "no samples": [(HEAD, INIT), (moof(PLAIN_TFHD, bytes(8)), N)],
    "an unknown track": [(HEAD, INIT), (moof(PLAIN_TFHD, bytes(4) + b"\0\0\0\1", 9), N)],
    "too short for its fields": [(HEAD, INIT), (moof(PLAIN_TFHD, b"\0\0\0\5\0\0\0\1"), N), (fragment(), R)],
    "too large a moof": [(HEAD, INIT), (box(b"moof", bytes(HEADER_LIMIT)), N), (box(b"mdat"), None), (fragment(), R)],
    "too large a prefix": [(HEAD, INIT), (box(b"emsg", bytes(HEADER_LIMIT)), N), (fragment(), R)],
    "too large a moov": [
        (FTYP, INIT),
        (box(b"moov", bytes(HEADER_LIMIT)), None),
        (fragment(), R),
        (fragment(False), N),
    ],
    "nonsense between fragments": [
        (HEAD, INIT),
        (fragment(), R),
        (b"\0\0\0\3what is this?", None),
        (fragment(False), N),
    ],
    "a kind that cannot be": [(HEAD, INIT), (fragment(), R), (b"\0\0\0\x20\1\2\3\4" * 9, None), (fragment(), R)],
}


@pytest.mark.parametrize("case", MP4_CASES)
@pytest.mark.parametrize("declared", [None, "video/mp4"])
def test_fragmented_mp4(case: str, declared: str | None) -> None:
    data, expected = said(*MP4_CASES[case])
    for sizes in ([], random_sizes(1, 70_000), [1] * min(len(data), 4000)):
        assert [(record.offset, record.flags) for record in frame(data, sizes, declared)] == expected


def test_without_video_sound_counts() -> None:
    writer = FragmentWriter([SOUND])
    data = writer.initialization() + writer.fragment([Sample(2, b"x", 0, 1)])
    assert [record.flags for record in frame(data, [])] == [INIT, R]


def test_known_trails_by_the_moof_alone() -> None:
    framer = framer_for("video/mp4")
    framer.feed(HEAD, 0)
    assert framer.known == len(HEAD)
    data = box(b"styp", b"msdh") + fragment(capture_time=5)
    settled = data.index(b"mdat") - 4
    assert framer.feed(data[: settled - 1], 1) == []
    assert framer.known == len(HEAD)
    assert framer.feed(data[settled - 1 : settled], 2) == [Record(len(HEAD), R, 5, 1)]
    assert framer.known == len(HEAD) + settled
    assert framer.feed(data[settled : settled + 12], 3) == []
    assert framer.known == framer.end


@pytest.mark.parametrize("cut", [4, len(HEAD), len(HEAD) + 5])
def test_what_is_said_of_a_body_ends_with_it(cut: int) -> None:
    data = HEAD + fragment() + fragment()
    framer = framer_for("video/mp4")
    framer.boundary(0, 99, None)
    records = framer.feed(data[:cut], None)
    framer.boundary(cut, 5, None)
    framer.boundary(cut, None, None)
    records += framer.feed(data[cut:], None)
    within = cut > len(HEAD)
    assert [record.capture_time for record in records] == [99, 99 if within else None, None]


def test_a_body_within_a_fragment_begins_nothing() -> None:
    framer = framer_for("video/mp4")
    data = HEAD + fragment() + fragment(False)
    framer.feed(data[:-3], 0)
    framer.boundary(len(data) - 3, 9, True)
    assert framer.feed(data[-3:], 0) == []
    framer.boundary(len(data), None, None)
    assert framer.feed(fragment(False), 4) == [Record(len(data), N, None, 4)]


@pytest.mark.parametrize("content_type", ["video/mp4", "video/mp2t", "video/webm", "audio/aac", "audio/mpeg", None])
def test_what_does_not_fit_is_opaque(content_type: str | None) -> None:
    framer = framer_for(content_type)
    framer.boundary(0, None, None)
    assert framer.feed(b"plain text, first body", 1) == [Record(0, IMPLIED, None, 1)]
    framer.boundary(22, 5, None)
    assert framer.feed(b"second", 2) == [Record(22, IMPLIED, 5, 2)]
    assert framer.feed(b"more of it", 3) == []
    assert framer.known == framer.end == 38
    assert framer.content_type is None
    assert not framer.explicit


def test_opaque_bodies() -> None:
    framer = OpaqueFramer(record_limit=10)
    framer.boundary(0, None, True)
    assert framer.feed(bytes(10), 1) == [Record(0, R, None, 1)]
    framer.boundary(10, None, None)
    framer.boundary(10, 3, False)
    assert framer.explicit
    assert framer.feed(bytes(5), 2) == [Record(10, N, 3, 2)]
    assert framer.feed(bytes(26), 3) == [Record(20, N, None, 3), Record(30, N, None, 3), Record(40, N, None, 3)]
    framer.boundary(41, None, None)
    assert framer.feed(b"x", 4) == [Record(41, IMPLIED, None, 4)]
    assert framer.flush() == []


def test_opaque_from_an_offset_continues_until_a_body_begins() -> None:
    framer = OpaqueFramer(100)
    assert framer.feed(b"tail", 1) == []
    framer.boundary(104, None, None)
    assert bare(framer.feed(b"body", 1)) == [(104, IMPLIED, None)]


def test_a_boundary_elsewhere_is_a_mistake() -> None:
    for framer in (framer_for(None), framer_for("text/plain", 7), OpaqueFramer()):
        with pytest.raises(ValueError, match="the fed bytes end at"):
            framer.boundary(3, None, None)


SHORT = {
    b"G" + bytes(187): "video/mp2t",
    b"G" + bytes(20): None,
    b"\0\0\0": None,
    b"\x1a\x45\xdf\xa3\x9f": "video/x-matroska",
    bytes.fromhex("fff150800b9ffc") + bytes(85): "audio/aac",
    bytes.fromhex("fffb9064") + bytes(100): "audio/mpeg",
}


@pytest.mark.parametrize("body", SHORT)
@pytest.mark.parametrize("ends", [True, False])
def test_a_short_first_body_is_settled_by_what_there_is(body: bytes, ends: bool) -> None:
    framer = framer_for(None)
    framer.boundary(0, 8, None)
    assert framer.feed(body, 6) == []
    assert (framer.known, framer.end, framer.content_type) == (0, len(body), None)
    if ends:
        records = framer.flush()
    else:
        framer.boundary(len(body), None, None)
        records = framer.feed(b"any", 7)
    assert (records[0].offset, records[0].received_time, records[0].capture_time) == (0, 6, 8)
    assert framer.content_type == SHORT[body]


def test_what_follows_an_ebml_header_does_not_make_it_webm() -> None:
    data = EBML + b"\x42\x82\x84webm"
    for framer in (framer_for(None), framer_for("video/webm")):
        framer.feed(data, None)
        assert framer.content_type == "video/x-matroska"
    assert (
        bare(frame(EBML[:4] + b"\0" * 300, []))
        == bare(frame(EBML[:4] + b"\0" * 300, [1] * 304))
        == [(0, IMPLIED, None)]
    )


def test_opaque_is_settled_by_the_first_byte() -> None:
    for first in range(256):
        framer = framer_for("application/octet-stream")
        decided = bool(framer.feed(bytes((first,)), 0))
        assert decided == (first not in (0x00, 0x47, 0x1A, 0xFF, ord("I")))


# MPEG-TS


def packet(pid: int, payload: bytes, start: bool = False, indicator: bool = False) -> bytes:
    room = 184 - len(payload)
    head = bytes((0x47, (0x40 if start else 0) | pid >> 8, pid & 0xFF, 0x10 | (0x20 if room else 0)))
    if not room:
        return head + payload
    field = bytes((room - 1,)) + (bytes((0x40 if indicator else 0,)) + b"\xff" * (room - 2) if room > 1 else b"")
    return head + field + payload


def section(table: int, content: bytes) -> bytes:
    return b"\0" + bytes((table, 0xB0, 5 + len(content) + 4)) + b"\0\1\xc1\0\0" + content + b"\xff" * 4


def program_map(*streams: tuple[int, int]) -> bytes:
    entries = b"".join(bytes((kind, 0xE0 | pid >> 8, pid & 0xFF, 0xF0, 0)) for kind, pid in streams)
    return packet(0x1000, section(2, b"\xe1\0\xf0\0" + entries), start=True)


PAT = packet(0, section(0, b"\0\1\xf0\0"), start=True)
PMT = program_map((0x1B, 256), (0x0F, 257))
PES = b"\0\0\1\xe0\0\0\x80\0\0"
KEY = packet(256, PES + b"\0\0\0\1\x09\xf0\0\0\0\1\x67", start=True)
DELTA = packet(256, PES + b"\0\0\0\1\x09\xf0\0\0\0\1\x41", start=True)
MARKED = packet(256, PES + b"\0\0\0\1\x41", start=True, indicator=True)
MORE = packet(256, bytes(184))
AUDIO = packet(257, b"\0\0\1\xc0\0\0\x80\0\0sound", start=True)
NULL = packet(0x1FFF, bytes(184))
SDT = packet(0x11, section(0x42, b"x"), start=True)

TS_CASES: dict[str, list[tuple[bytes, Flag | None]]] = {
    "tables and pictures": [(PAT + PMT, INIT), (KEY + MORE + AUDIO, R), (DELTA + MORE, N), (PAT + PMT, INIT), (KEY, R)],
    "more tables": [(SDT + PAT + NULL + PMT, INIT), (KEY, R), (SDT, None), (DELTA, N)],
    "the indicator, once seen, is trusted": [(PAT + PMT, INIT), (KEY, R), (MARKED, R), (KEY, N), (MARKED, R)],
    "tables amidst a picture": [(PAT + PMT, INIT), (KEY + MORE + PAT + PMT + MORE, R), (DELTA, N)],
    "sound after tables": [(PAT + PMT, INIT), (AUDIO, N), (KEY, R)],
    "packets before the tables": [(MORE + AUDIO, N), (PAT + PMT, INIT), (KEY, R)],
    "PAT and PMT apart": [(PAT + MORE + AUDIO + PMT, INIT), (KEY, R)],
    "PAT alone": [(PAT + MORE * 300, N)],
    "sound only": [(PAT + program_map((0x0F, 257)), INIT), (AUDIO + MORE, R), (AUDIO, R)],
    "HEVC": [
        (PAT + program_map((0x24, 256)), INIT),
        (packet(256, PES + b"\0\0\1\x26\1", start=True), R),
        (packet(256, PES + b"\0\0\1\x02\1", start=True), N),
    ],
    "MPEG-2": [
        (PAT + program_map((0x02, 256)), INIT),
        (packet(256, PES + b"\0\0\1\xb3", start=True), R),
        (packet(256, PES + b"\0\0\1\0", start=True), N),
    ],
    "another codec, never marked": [(PAT + program_map((0x33, 256)), INIT), (KEY, N)],
    "sync lost": [(PAT + PMT, INIT), (KEY + b"lost" + MORE + MORE, R), (DELTA, N), (DELTA, N)],
    "a byte lost": [(PAT + PMT, INIT), (KEY + MORE[:50] + MORE[51:] + MORE + MORE, R), (DELTA, N), (KEY, R)],
    "a part of a packet at the end": [(PAT + PMT, INIT), (KEY + MORE[:100], R)],
}


@pytest.mark.parametrize("case", TS_CASES)
def test_transport_stream(case: str) -> None:
    data, expected = said(*TS_CASES[case])
    for sizes in ([], random_sizes(1), [1] * len(data), [188] * (len(data) // 188)):
        assert [(record.offset, record.flags) for record in frame(data, sizes, "video/mp2t")] == expected


# Matroska


def element(identifier: str, content: bytes = b"", unknown: bool = False) -> bytes:
    size = b"\xff" if unknown else (0x1000_0000 | len(content)).to_bytes(4)
    return bytes.fromhex(identifier) + size + content


EBML = element("1a45dfa3", element("4282", b"matroska"))
TRACKS = element(
    "1654ae6b",
    element("ae", element("d7", b"\1") + element("83", b"\1"))
    + element("ae", element("d7", b"\2") + element("83", b"\2")),
)
SOUND_TRACKS = element("1654ae6b", element("ae", element("d7", b"\2") + element("83", b"\2")))
SEGMENT = element("18538067", unknown=True)
TIME = element("e7", b"\0")


def block(track: int, key: bool, size: int = 20) -> bytes:
    return element("a3", bytes((0x80 | track, 0, 0, 0x80 if key else 0)) + bytes(size))


def group(track: int, refers: bool, size: int = 20) -> bytes:
    inner = element("a1", bytes((0x80 | track, 0, 0, 0)) + bytes(size)) + element("9b", b"\1")
    return element("a0", inner + (element("fb", b"\1") if refers else b""))


def cluster(*blocks: bytes, unknown: bool = False) -> bytes:
    content = TIME + b"".join(blocks)
    return element("1f43b675", unknown=True) + content if unknown else element("1f43b675", content)


HEADERS = EBML + SEGMENT + element("ec", bytes(10)) + TRACKS
MATROSKA_CASES: dict[str, list[tuple[bytes, Flag | None]]] = {
    "clusters": [(HEADERS, INIT), (cluster(block(1, True), block(1, False)), R), (cluster(block(1, False)), N)],
    "sound first": [(HEADERS, INIT), (cluster(block(2, True), block(1, False)), N), (cluster(block(2, True)), N)],
    "unknown sizes": [
        (HEADERS, INIT),
        (cluster(block(2, True), block(1, True), unknown=True), R),
        (cluster(block(1, False), block(1, True), unknown=True), N),
        (element("1254c367", bytes(9)), None),
        (cluster(block(1, True), unknown=True), R),
    ],
    "groups": [
        (HEADERS, INIT),
        (cluster(group(2, False), group(1, False)), R),
        (cluster(group(1, True), group(1, False), unknown=True), N),
        (cluster(group(1, False), unknown=True), R),
    ],
    "sound only": [(EBML + SEGMENT + SOUND_TRACKS, INIT), (cluster(block(2, True)), R), (cluster(unknown=True), R)],
    "tracks unknown": [(EBML + SEGMENT, INIT), (cluster(block(7, True)), R), (cluster(block(7, False)), N)],
    "too much sound before video": [(HEADERS, INIT), (cluster(block(2, True, 70_000), block(1, True)), N)],
    "another stream": [(HEADERS, INIT), (cluster(block(1, True), unknown=True), R), (HEADERS, INIT), (cluster(), N)],
    "segments of known size": [
        (EBML + element("18538067", TRACKS + cluster(block(1, True)))[: 8 + len(TRACKS)], INIT),
        (cluster(block(1, True)), R),
        (EBML + element("18538067", TRACKS), INIT),
        (cluster(block(1, True)), R),
    ],
    "nonsense": [
        (HEADERS, INIT),
        (cluster(block(1, True)), R),
        (b"\0nonsense" * 3, None),
        (cluster(block(1, True)), R),
    ],
}


@pytest.mark.parametrize("case", MATROSKA_CASES)
def test_matroska(case: str) -> None:
    data, expected = said(*MATROSKA_CASES[case])
    for sizes in ([], random_sizes(1), [1] * len(data)):
        assert [(record.offset, record.flags) for record in frame(data, sizes, "video/webm")] == expected


# Sound

FALSE_START = b"x" + bytes.fromhex("fff14c")
"""With the true header behind it this looks like one of a frame of 8074 bytes."""


def adts(size: int = 100) -> bytes:
    return bytes((0xFF, 0xF1, 0x4C, 0x80 | size >> 11, size >> 3 & 0xFF, (size & 7) << 5 | 0x1F, 0xFC)) + bytes(
        size - 7
    )


def test_adts_begins_a_record_each_tenth_of_a_second() -> None:
    data, expected = said(*[(adts() * 5, R)] * 4)
    sizes: Iterable[int]
    for sizes in ([], random_sizes(1)):
        assert [(record.offset, record.flags) for record in frame(data, sizes)] == expected


def test_adts_is_found_again() -> None:
    data, expected = said((adts() * 5 + b"lost\xff\xf1\xff", R), (adts() * 5, R), (adts(), R))
    sizes: Iterable[int]
    for sizes in ([], random_sizes(1)):
        assert [(record.offset, record.flags) for record in frame(data, sizes)] == expected


def test_a_false_start_holds_nothing_back_forever() -> None:
    data = adts() * 5 + FALSE_START + adts() * 90
    records = frame(data, [])
    assert bare(records) == bare(frame(data, random_sizes(2)))
    assert records[1].offset == 500 + len(FALSE_START)
    short = adts() * 5 + FALSE_START + adts() * 6
    assert [(record.offset, record.flags) for record in frame(short, [])][1] == (504, R)


def test_a_body_that_begins_with_a_frame_begins_a_record_where_it_says_something() -> None:
    framer = framer_for("audio/aac")
    framer.feed(adts() * 2, None)
    framer.boundary(200, 66, None)
    assert bare(framer.feed(adts() * 2, None)) == [(200, R, 66)]


def test_an_id3_tag_belongs_to_the_first_record() -> None:
    tag = b"ID3\4\0\0\0\0\1\x10" + bytes(144)
    frames = (bytes.fromhex("fffb9064") + bytes(413)) * 6
    expected = [(0, R), (154 + 4 * 417, R)]  # 1152 samples at 44100 a second: a record each four frames
    assert [(record.offset, record.flags) for record in frame(tag + frames, [1] * 300)] == expected


@pytest.mark.parametrize(
    "framer_class",
    [FragmentedMP4Framer, TransportStreamFramer, MatroskaFramer, AudioFramer, OpaqueFramer, SniffingFramer],
)
def test_the_contract(framer_class: type) -> None:
    assert verifyClass(IFramer, framer_class)
    assert verifyObject(IFramer, framer_for("video/mp4"))
    assert verifyObject(IFramer, framer_for(None, 10, initialization=b"\0"))


def test_a_body_of_a_known_length_is_one_record() -> None:
    assert DistributorSettings().max_record == RECORD_LIMIT
    framer = OpaqueFramer()
    framer.boundary(0, None, None)
    block = bytes(1 << 20)
    found = [record for _ in range(RECORD_LIMIT >> 20) for record in framer.feed(block, 1)]
    assert bare(found) == [(0, IMPLIED, None)]
