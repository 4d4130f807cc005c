"""The index: entries as bytes, and searches held against a plain list."""

from __future__ import annotations

import struct
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.errors import StorageError
from sdp.store.index import ENTRY_SIZE, Entry, Index, Kind, Links, check_header, pack_header, position
from sdp.store.layout import NewerFormatError
from sdp.stream.record import Flag, Record

TIMES = st.none() | st.integers(-(2**63) + 1, 2**63 - 1)
FLAGS = st.integers(0, 7).map(Flag)
MARK = 7


@st.composite
def indexes(draw: st.DrawFn) -> tuple[list[Record], bytes]:
    """Records, and an index of them with other kinds of entry strewn in, one of them unknown."""
    offsets = sorted(draw(st.sets(st.integers(0, 300), max_size=30)))
    records = [Record(o, draw(FLAGS), draw(TIMES), draw(TIMES)) for o in offsets]
    content = pack_header(0, MARK)
    links = Links()
    ordinal = 0
    entries: list[Entry] = []
    for record in [*records, None]:
        others = draw(st.lists(st.sampled_from([Kind.CHECKPOINT, 9]), max_size=3))
        entries = [Entry(kind, 0, record.offset if record else 400, 0, 0, links, MARK) for kind in others]
        if record is not None:
            entries.append(Entry.of_record(record, links, MARK))
        for entry in entries:
            entry = entry._replace(links=links)
            content += entry.pack()
            links = entry.links_after(ordinal)
            ordinal += 1
    return records, content


def index_of(content: bytes) -> Index:
    return Index(lambda at, length: content[at : at + length], len(content) // ENTRY_SIZE - 1, "test.index")


@given(st.integers(0, 2**63), FLAGS, TIMES, TIMES)
def test_a_record_comes_back(offset: int, flags: Flag, capture: int | None, received: int | None) -> None:
    record = Record(offset, flags, capture, received)
    packed = Entry.of_record(record, Links(4, 3, 2), MARK).pack()
    assert len(packed) == ENTRY_SIZE
    entry = Entry.unpack(packed)
    assert entry is not None
    assert (entry.record, entry.links, entry.boot) == (record, Links(4, 3, 2), MARK)


def test_no_flipped_bit_and_no_missing_byte_goes_unnoticed() -> None:
    packed = Entry.of_record(Record(5, Flag.RANDOM_ACCESS, 1, None), Links(), MARK).pack()
    for bit in range(ENTRY_SIZE * 8):
        flipped = bytearray(packed)
        flipped[bit // 8] ^= 1 << bit % 8
        assert Entry.unpack(bytes(flipped)) is None
    assert all(Entry.unpack(packed[:length]) is None for length in range(ENTRY_SIZE))
    assert Entry.unpack(bytes(ENTRY_SIZE)) is None


@given(indexes(), st.integers(0, 310), st.integers(0, 310), st.integers(0, 40))
def test_records_are_those_that_cover_a_range(
    made: tuple[list[Record], bytes], start: int, end: int, limit: int
) -> None:
    records, content = made
    ends = [*(r.offset for r in records[1:]), 400]
    expected = [r for r, stop in zip(records, ends, strict=bool(records)) if r.offset < end and stop > start]
    assert index_of(content).records(start, end, limit) == (expected[:limit] if start < end else [])


@given(indexes(), st.integers(0, 310), FLAGS)
def test_the_last_record_with_a_flag(made: tuple[list[Record], bytes], before: int, flag: Flag) -> None:
    records, content = made
    expected = [r for r in records if r.offset <= before and r.flags & flag == flag]
    assert index_of(content).last_record(before, flag) == (expected[-1] if expected else None)


def test_a_search_reads_little_of_a_long_index() -> None:
    links, parts = Links(), [pack_header(0, MARK)]
    for ordinal in range(20_000):
        flags = Flag.INITIALIZATION if ordinal == 0 else Flag.RANDOM_ACCESS if ordinal % 1000 == 0 else Flag.NONE
        entry = Entry.of_record(Record(ordinal * 10, flags), links, MARK)
        parts.append(entry.pack())
        links = entry.links_after(ordinal)
    content = b"".join(parts)
    read = []

    def reading(at: int, length: int) -> bytes:
        read.append(length)
        return content[at : at + length]

    index = Index(reading, 20_000, "test.index")
    assert index.last_record(199_999, Flag.INITIALIZATION) == Record(0, Flag.INITIALIZATION)
    assert index.last_record(199_999, Flag.RANDOM_ACCESS) == Record(190_000, Flag.RANDOM_ACCESS)
    assert sum(read) < 100 * ENTRY_SIZE


def test_a_damaged_entry_is_told_with_its_place() -> None:
    content = pack_header(0, MARK) + Entry.of_record(Record(0), Links(), MARK).pack()
    with pytest.raises(StorageError, match=r"test\.index is damaged at byte 64"):
        index_of(content[:-1] + b"x").records(0, 10, 10)


def test_the_header() -> None:
    header = pack_header(1234, MARK)
    assert len(header) == position(0)
    assert check_header(header, "x") == (1234, MARK, False)
    assert check_header(pack_header(1234, MARK, follows=True), "x").follows


def test_in_the_first_version_every_segment_follows_on_the_one_before_it() -> None:
    packed = struct.pack("<8sHHIQQ28x", b"SDPindex", 1, 64, 0, 1234, MARK)
    header = packed + crc32(packed).to_bytes(4, "little")
    assert check_header(header, "x") == (1234, MARK, True)


@pytest.mark.parametrize("at", [0, 10, 16, 24, 40, 63])
def test_a_damaged_header_is_refused(at: int) -> None:
    header = bytearray(pack_header(0, MARK))
    header[at] ^= 1
    with pytest.raises(StorageError, match=r"there\.index"):
        check_header(bytes(header), "there.index")


def test_a_later_version_is_refused_with_advice() -> None:
    header = bytearray(pack_header(0, MARK))
    header[8:10] = (3).to_bytes(2, "little")
    with pytest.raises(NewerFormatError, match="index version 3, and this program knows up to 2: use the program"):
        check_header(bytes(header), "there.index")
