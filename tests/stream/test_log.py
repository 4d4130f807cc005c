"""The log against a model that keeps every byte: whatever is appended and evicted, what can be read is the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.stream.log import PIECE_OVERHEAD, StreamLog
from sdp.stream.record import Flag, Record

INIT, RAP, IMPLIED = Flag.INITIALIZATION, Flag.RANDOM_ACCESS, Flag.RANDOM_ACCESS | Flag.IMPLIED


def filled(*records: tuple[int, Flag], window: int = 1 << 20, start: int = 0) -> StreamLog:
    """A log of records (length, flags), each appended in one piece, one second apart."""
    log = StreamLog(window, start)
    for i, (length, flags) in enumerate(records):
        offset = log.end
        data = bytes([i % 251]) * length
        log.append(data, [Record(offset, flags, None, i)], offset + length, i * 1_000_000)
    return log


class TestReading:
    def test_pieces_are_given_back_as_they_are(self) -> None:
        log = StreamLog(1 << 20)
        first, second = b"abc", b"defgh"
        log.append(first, [Record(0)], 3, 0)
        log.append(second, [], 8, 0)
        pieces = log.read(0)
        assert pieces == [first, second]
        assert pieces[0] is first  # not a copy
        assert log.read(1, 4) == [b"bc", b"de"]
        assert log.read(4, end=6) == [b"ef"]
        assert log.read(8) == []

    @pytest.mark.parametrize("offset", [-1, 9])
    def test_outside_the_window_is_an_error(self, offset: int) -> None:
        log = filled((8, RAP))
        with pytest.raises(LookupError):
            log.read(offset)

    def test_arrival_is_that_of_the_piece(self) -> None:
        log = filled((3, RAP), (5, RAP))
        assert [log.arrival(offset) for offset in (0, 2, 3, 7)] == [0, 0, 1_000_000, 1_000_000]
        assert log.arrival(8) is None
        assert StreamLog(10).arrival(0) is None

    def test_spans_are_cut_where_records_begin(self) -> None:
        log = StreamLog(1 << 20)
        log.append(b"aaab", [Record(0, INIT), Record(3, RAP)], 4, 0)
        log.append(b"bbcX", [Record(6)], 7, 0)
        spans = [(span.offset, span.data, span.record and span.record.flags) for span in log.spans(0)]
        assert spans == [(0, b"aaa", INIT), (3, b"bbb", RAP), (6, b"c", Flag.NONE)]
        assert [(span.offset, span.data, span.record) for span in log.spans(4, 1)] == [(4, b"b", None)]

    def test_nothing_is_spanned_beyond_what_is_known(self) -> None:
        log = StreamLog(1 << 20)
        log.append(b"abcdef", [Record(0)], 2, 0)
        assert b"".join(span.data for span in log.spans(0)) == b"ab"
        log.finish([Record(4)])
        assert [(span.offset, span.data) for span in log.spans(2)] == [(2, b"cd"), (4, b"ef")]


class TestWindow:
    def test_the_oldest_pieces_go_first(self) -> None:
        log = filled(*[(1000, RAP)] * 10, window=3 * (1000 + 2 * PIECE_OVERHEAD))
        assert (log.start, log.end) == (7000, 10000)
        assert log.evicted_bytes == 7000
        assert [record.offset for record in log.records] == [7000, 8000, 9000]

    def test_tiny_pieces_count_more_than_their_bytes(self) -> None:
        log = filled(*[(1, RAP)] * 10_000, window=100 * (1 + 2 * PIECE_OVERHEAD))
        assert log.end - log.start == 100

    def test_what_the_disk_has_not_got_stays(self) -> None:
        log = StreamLog(0)
        log.hold_from = 0
        log.append(b"x" * 100, [Record(0)], 100, 0)
        log.append(b"y" * 100, [Record(100)], 200, 0)
        assert log.start == 0
        log.hold_from = 150
        log.evict()
        assert log.start == 100  # whole pieces only
        log.hold_from = 200
        log.evict()
        assert (log.start, log.read(200)) == (200, [])

    def test_the_last_initialization_segment_before_the_window_stays(self) -> None:
        window = 2 * (1000 + 2 * PIECE_OVERHEAD)
        log = filled((10, INIT), (1000, RAP), (20, INIT), *[(1000, RAP)] * 9, window=window)
        assert log.start > 1030
        record = log.initialization_before(log.start)
        assert record is not None
        assert record.offset == 1010
        assert log.initialization(record) == bytes([2]) * 20
        assert log.initialization_before(1009) is None

    def test_an_initialization_segment_in_several_pieces_stays_whole(self) -> None:
        log = StreamLog(1)
        for i in range(5):
            log.append(bytes([i]) * 3, [Record(0, INIT)] if i == 0 else [], 3 * i + 3, 0)
        assert log.start == 0  # as long as nobody knows where it ends, nothing of it may go
        log.append(b"media", [Record(15, RAP)], 20, 0)
        record = log.initialization_before(20)
        assert record is not None
        assert log.initialization(record) == b"".join(bytes([i]) * 3 for i in range(5))

    def test_an_unfinished_initialization_segment_is_not_given(self) -> None:
        log = filled((10, INIT))
        record = log.initialization_before(0)
        assert record is not None
        assert log.initialization(record) is None
        log.finish()
        assert log.initialization(record) == bytes(10)


class TestRecords:
    def test_finding(self) -> None:
        log = filled((4, INIT), (6, RAP), (5, Flag.NONE), (5, RAP))
        at = log.record_at(9)
        following = log.next_record(5)
        assert (at and at.offset, following and following.offset) == (4, 10)
        assert log.next_record(16) is None
        newest, older = log.newest(), log.newest(before=14)
        assert (newest and newest.offset, older and older.offset) == (15, 4)
        assert log.newest(INIT, before=3) == Record(0, INIT, None, 0)
        assert [log.record_end(record) for record in log.records] == [4, 10, 15, None]

    def test_implied_random_access_is_void_once_somebody_says_it(self) -> None:
        log = filled((5, IMPLIED), (5, IMPLIED))
        assert log.newest() is not None
        log.forget_implied()
        assert log.newest() is None
        assert not log.had_random_access
        log.append(b"12345", [Record(10, IMPLIED)], 15, 0)
        assert log.newest() is None
        log.append(b"12345", [Record(15, RAP)], 20, 0)
        newest, before = log.newest(), log.newest(before=19)
        assert newest == before
        assert newest is not None
        assert newest.offset == 15

    def test_listeners_hear_of_appending_and_of_the_end(self) -> None:
        log, heard = StreamLog(100), []
        log.listeners.append(lambda: heard.append((log.end, log.finished)))
        log.append(b"abc", [], 0, 0)
        log.finish()
        assert heard == [(3, False), (3, True)]
        with pytest.raises(ValueError, match="finished"):
            log.append(b"x", [], 4, 0)


@given(
    lengths=st.lists(st.integers(0, 40), max_size=60),
    window=st.integers(0, 20_000),
    marks=st.sets(st.integers(0, 60 * 40)),
    holds=st.lists(st.integers(0, 60 * 40), max_size=60),
    reads=st.lists(st.tuples(st.integers(0, 60 * 40), st.integers(0, 100)), max_size=20),
)
def test_against_a_model(
    lengths: list[int], window: int, marks: set[int], holds: list[int], reads: list[tuple[int, int]]
) -> None:
    log, model, hold = StreamLog(window), b"", 0
    for i, length in enumerate(lengths):
        data = bytes((i * 7 + j) % 256 for j in range(length))
        offset = len(model)
        model += data
        records = [Record(mark, RAP) for mark in sorted(marks) if offset <= mark < len(model)]
        hold = max(hold, min(holds[i], len(model))) if i < len(holds) else hold
        log.hold_from = hold
        log.append(data, records, len(model), i)
        assert log.end == len(model)
        assert log.start <= max(hold, 0)
        for record in log.records[1:]:
            assert record.offset > log.start
    for offset, limit in reads:
        if log.start <= offset <= log.end:
            assert b"".join(log.read(offset, limit)) == model[offset : offset + limit]
            joined = b"".join(span.data for span in log.spans(offset, limit))
            assert joined == model[offset : offset + limit]
    spans = list(log.spans(log.start))
    inside = {mark for mark in marks if log.start <= mark < log.end}
    assert {span.offset for span in spans if span.record is not None} == inside


class TestRestart:
    """A relay's log that jumps: see :meth:`StreamLog.restart`."""

    def test_the_window_begins_anew_and_reads_on(self) -> None:
        log = filled((8, RAP), (8, Flag.NONE))
        log.restart(100)
        assert (log.start, log.end, log.known) == (100, 100, 100)
        assert log.records == []
        log.append(b"after", [Record(100, RAP)], 105, 9)
        assert log.read(100) == [b"after"]
        assert log.evicted_bytes == 16
        assert log.newest() == Record(100, RAP)
        assert [span.record for span in log.spans(100)] == [Record(100, RAP)]
        with pytest.raises(LookupError):
            log.read(15)

    def test_the_initialization_segment_stays_whole(self) -> None:
        log = filled((10, INIT))
        log.append(b"more", [], 14, 0)
        log.restart(50)
        log.append(b"frame", [Record(50, RAP)], 55, 0)
        found = log.initialization_before(50)
        assert found is not None
        assert log.initialization(found) == b"\0" * 10 + b"more"

    def test_what_was_pinned_before_stays_pinned(self) -> None:
        log = filled((10, INIT), (400, RAP), (400, RAP), window=700)
        assert log.start > 10
        log.restart(5000)
        found = log.initialization_before(5000)
        assert found is not None
        assert log.initialization(found) == b"\0" * 10

    def test_of_two_initialization_segments_the_last_is_kept(self) -> None:
        log = filled((10, INIT), (20, RAP), (7, INIT), (20, RAP))
        log.restart(1000)
        found = log.initialization_before(1000)
        assert found is not None
        assert found.offset == 30
        assert log.initialization(found) == bytes([2]) * 7
        assert log.initialization_before(29) is None

    def test_not_backwards_and_not_after_the_end(self) -> None:
        log = filled((8, RAP))
        with pytest.raises(ValueError, match="at or after its end"):
            log.restart(7)
        log.finish()
        with pytest.raises(ValueError, match="at or after its end"):
            log.restart(100)


def test_what_the_disk_has_given_up_leaves_the_memory_too() -> None:
    log = StreamLog(1 << 20)
    for at in range(0, 40, 10):
        log.append(bytes(10), [Record(at, Flag.INITIALIZATION if at == 0 else Flag.RANDOM_ACCESS)], at + 10, 0)
    log.hold_from = 30
    log.evict(25)
    assert (log.start, log.evicted_bytes) == (20, 20)  # whole pieces only
    init = log.initialization_before(20)
    assert init is not None
    assert log.initialization(init) == bytes(10)
    log.evict(99)
    assert log.start == 30  # the disk has not got the rest
