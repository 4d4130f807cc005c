"""What a live consumer gets of what is older: which gaps, in which order, and never before what is live."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.distributor.backfill import BUSY_PACE, PACE, Backfill
from sdp.distributor.reading import BLOCK
from sdp.errors import StorageError
from tests.net.peer import head

from .disk import Disk
from .house import House, content_range
from .test_answers import NOTHING, PARTS, again, has, parts_of

OFFSETS = st.integers(0, 60)


def covered(gaps: list[tuple[int, int]]) -> set[int]:
    return {offset for start, end in gaps for offset in range(start, end)}


@given(
    st.lists(st.tuples(OFFSETS, OFFSETS), max_size=6),
    st.lists(st.tuples(st.sampled_from(["skipped", "given"]), OFFSETS, OFFSETS), max_size=12),
)
def test_gaps_are_a_set_of_bytes(gaps: list[tuple[int, int]], steps: list[tuple[str, int, int]]) -> None:
    lacking = Backfill([])
    for start, end in gaps:
        lacking.skipped(start, end)
    bytes_ = covered(gaps)
    for what, start, end in steps:
        getattr(lacking, what)(start, end)
        bytes_ = bytes_ | covered([(start, end)]) if what == "skipped" else bytes_ - covered([(start, end)])
        assert covered(lacking.gaps) == bytes_
        assert bool(lacking) == bool(bytes_)
        assert lacking.gaps == sorted(lacking.gaps)
        assert all(first < last for first, last in lacking.gaps)
        if lacking:
            assert lacking.next(()) == lacking.gaps[-1]
            assert lacking.next([(0, 61)]) is None
    lacking.forget(30)
    assert covered(lacking.gaps) == {offset for offset in bytes_ if offset >= 30}
    lacking.give_up()
    assert not lacking


class Stream:
    """A stream of an unknown format: records of ``size`` bytes, each a random access point."""

    def __init__(self, count: int, disk: Disk | None = None, size: int = 10, **settings: Any) -> None:
        self.size, self.count = size, 0
        self.house = House(disk, **settings)
        self.peer = self.house.posted(self.record(), lines=(b"Content-Type: x/y",))
        self.count = 1
        for _ in range(count - 1):
            self.more()

    def record(self) -> bytes:
        return bytes([self.count % 251]) * self.size

    def more(self) -> None:
        start = self.count * self.size
        self.peer.post(b"/a", self.record(), content_range(start, start + self.size))
        self.count += 1

    def reader(self, *lines: bytes) -> Any:
        peer = self.house.connect()
        peer.send(head(b"GET", b"/a", PARTS, *lines), b"GET")
        return peer

    def steps(self, count: int) -> None:
        """Let so many pauses pass."""
        for _ in range(count):
            self.house.clock.advance(PACE)

    def end(self) -> None:
        self.house.epoch().finish()

    @property
    def log(self) -> bytes:
        return b"".join(bytes([number % 251]) * self.size for number in range(self.count))


BACKFILL = b"Prefer: backfill"


def places(answer: Any) -> list[tuple[int, int]]:
    return [(start, end) for start, end, _ in parts_of(answer)]


def whole(answer: Any, *possessed: tuple[int, bytes]) -> bytes:
    """What the consumer has in the end, each byte given once."""
    content: dict[int, int] = {}
    for start, data in [*possessed, *((start, data) for start, _, data in parts_of(answer))]:
        for at, byte in enumerate(data, start):
            assert at not in content
            content[at] = byte
    assert sorted(content) == list(range(len(content)))
    return bytes(content[at] for at in range(len(content)))


@pytest.mark.parametrize("disk", [False, True])
def test_the_newest_first_and_then_the_rest(disk: bool) -> None:
    stream = Stream(5, Disk() if disk else None, memory=10 if disk else 1 << 20)
    reader = stream.reader(NOTHING, BACKFILL)
    answer = again(reader)
    assert (answer.status, answer[b"preference-applied"]) == (206, b"backfill")
    assert places(answer)[0] == (40, 50)
    stream.steps(5)
    assert whole(again(reader)) == stream.log
    assert not again(reader).whole
    stream.more()
    assert whole(again(reader)) == stream.log
    stream.end()
    answer = again(reader)
    assert (answer.whole, whole(answer)) == (True, stream.log)


def test_the_newest_gap_first_each_from_its_beginning() -> None:
    stream = Stream(10)
    stream.house.clock.advance(10)
    reader = stream.reader(has(20, 30), has(60, 70), BACKFILL)
    stream.steps(5)
    at = [start for start, _ in places(again(reader))]
    assert at == [90, 70, 80, 30, 40, 50, 0, 10]


def test_nothing_is_lacking() -> None:
    stream = Stream(3)
    reader = stream.reader(has(0, 20), BACKFILL)
    stream.steps(3)
    stream.more()
    assert places(again(reader)) == [(20, 30), (30, 40)]
    assert len(stream.house.streams.live(stream.house.epoch()).fanout) == 1


def test_a_block_at_a_time_and_what_is_live_between_them() -> None:
    """Each block is followed by a pause, which a live record ends: it never waits for the next block."""
    stream = Stream(6, size=BLOCK)
    reader = stream.reader(NOTHING, BACKFILL)
    assert len(places(again(reader))) == 2
    stream.more()
    stream.more()
    at = [start // BLOCK for start, _ in places(again(reader))]
    assert at[:3] == [5, 0, 6]
    assert at.index(7) < at.index(2)
    before = len(at)
    stream.house.clock.advance(PACE / 2)
    assert len(places(again(reader))) == before
    stream.house.clock.advance(PACE / 2)
    assert len(places(again(reader))) == before + 1
    stream.steps(8)
    assert whole(again(reader)) == stream.log


def test_it_waits_until_the_connection_takes_more() -> None:
    stream = Stream(6, size=BLOCK)
    live = stream.house.streams.live(stream.house.epoch())
    reader = stream.reader(NOTHING, BACKFILL)
    [delivery] = live.deliveries
    delivery.outflow.pauseProducing()
    before = len(places(again(reader)))
    stream.steps(20)
    assert len(places(again(reader))) <= before + 1
    delivery.outflow.resumeProducing()
    stream.steps(8)
    assert whole(again(reader)) == stream.log


def test_what_the_system_holds_back_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    held = [1]
    monkeypatch.setattr("sdp.net.outflow.unsent", lambda transport: held[0])
    stream = Stream(6, size=BLOCK)
    reader = stream.reader(NOTHING, BACKFILL)
    for _ in range(20):
        stream.house.clock.advance(BUSY_PACE)
    stream.more()
    assert [start // BLOCK for start, _ in places(again(reader))] == [5, 6]
    held[0] = 0
    stream.house.clock.advance(BUSY_PACE)
    stream.steps(8)
    assert whole(again(reader)) == stream.log


def test_the_epoch_ends_before_the_gaps_are_filled() -> None:
    stream = Stream(6, size=BLOCK)
    reader = stream.reader(NOTHING, BACKFILL)
    stream.end()
    assert not again(reader).whole
    stream.steps(8)
    answer = again(reader)
    assert (answer.whole, whole(answer)) == (True, stream.log)


def test_a_consumer_that_leaves_is_forgotten() -> None:
    stream = Stream(6, size=BLOCK)
    reader = stream.reader(NOTHING, BACKFILL)
    reader.lose()
    stream.steps(3)
    assert not stream.house.streams.live(stream.house.epoch()).deliveries
    assert not stream.house.streams._arrivals


def test_what_is_skipped_because_of_lag_is_a_gap_as_well() -> None:
    stream = Stream(2, size=1000, lag_bytes=1500)
    live = stream.house.streams.live(stream.house.epoch())
    reader = stream.reader(NOTHING, BACKFILL)
    stream.steps(3)
    [delivery] = live.deliveries
    delivery.outflow.pauseProducing()
    for _ in range(6):
        stream.more()
    delivery.outflow.resumeProducing()
    assert delivery.jumps == 1
    stream.steps(8)
    assert whole(again(reader)) == stream.log


def test_retention_takes_what_is_to_come() -> None:
    disk = Disk()
    stream = Stream(6, disk, size=BLOCK, memory=1)
    reader = stream.reader(NOTHING, BACKFILL)
    assert [start // BLOCK for start, _ in places(again(reader))] == [5, 0]
    kept = disk.kept[0]
    del kept.data[: 3 * BLOCK]
    kept.start = 3 * BLOCK
    kept.changed()
    stream.steps(8)
    assert [start // BLOCK for start, _ in places(again(reader))] == [5, 0, 3, 4]
    stream.more()
    assert places(again(reader))[-1] == (6 * BLOCK, 7 * BLOCK)


def test_a_disk_that_fails_ends_only_the_backfill() -> None:
    disk = Disk()
    stream = Stream(6, disk, size=BLOCK, memory=3 * BLOCK)
    reader = stream.reader(NOTHING, BACKFILL)
    disk.unreadable = StorageError("It is broken.")
    stream.steps(8)
    stream.more()
    assert [start // BLOCK for start, _ in places(again(reader))] == [5, 0, 6]
    assert not again(reader).whole


@pytest.mark.parametrize("lines", [(NOTHING, b"Accept: */*"), (NOTHING, PARTS, b"Prefer: wait=1"), ()])
def test_where_it_does_not_apply_it_is_ignored(lines: tuple[bytes, ...]) -> None:
    stream = Stream(3)
    reader = stream.house.connect()
    reader.send(head(b"GET", b"/a", *lines, BACKFILL), b"GET")
    stream.steps(5)
    answer = again(reader)
    assert b"backfill" not in (answer.headers.combined(b"preference-applied") or b"")
    assert answer.content.count(stream.record()) <= 1
    assert bytes([1]) * stream.size not in answer.content


class TestLossless:
    def lagging(self, **settings: Any) -> Stream:
        stream = Stream(3, Disk(), **settings)
        stream.house.clock.advance(10)
        for _ in range(3):
            stream.more()
        return stream

    @pytest.mark.parametrize("memory", [1, 1 << 20])
    @pytest.mark.parametrize("accept", [PARTS, b"Accept: */*"])
    def test_it_goes_on_where_it_was(self, memory: int, accept: bytes) -> None:
        stream = self.lagging(memory=memory)
        stream.house.clock.advance(10)
        for preference, start in ((b"Prefer: x", 50), (b"Prefer: lossless", 20)):
            reader = stream.house.connect()
            reader.send(head(b"GET", b"/a", accept, has(0, 20), preference), b"GET")
            answer = again(reader)
            said = answer.headers.get(b"preference-applied")
            if accept is PARTS:
                assert places(answer)[0][0] == start
            else:
                assert answer[b"content-range"].startswith(b"bytes %d-" % start)
            assert said == (None if start == 50 else b"lossless")

    def test_a_long_poll(self) -> None:
        stream = self.lagging()
        stream.house.clock.advance(10)
        answer = stream.house.get(has(0, 20), b"Prefer: wait=1, lossless")
        assert (answer[b"content-range"], answer[b"preference-applied"]) == (b"bytes 20-59/*", b"wait=1, lossless")

    def test_with_backfill(self) -> None:
        stream = self.lagging()
        reader = stream.reader(has(10, 20), b"Prefer: lossless, backfill")
        stream.steps(3)
        answer = again(reader)
        assert answer[b"preference-applied"] == b"backfill, lossless"
        assert places(answer)[-1] == (0, 10)
        assert whole(answer, (10, stream.log[10:20])) == stream.log

    def test_what_follows_is_kept_no_longer(self) -> None:
        stream = self.lagging(memory=1)
        kept = stream.house.disk.kept[0]
        del kept.data[:40]
        kept.start = 40
        kept.changed()
        reader = stream.reader(has(0, 20), b"Prefer: lossless")
        assert places(again(reader)) == [(40, 50), (50, 60)]

    def test_without_a_disk_nothing_is_promised(self) -> None:
        stream = Stream(3)
        stream.house.clock.advance(10)
        reader = stream.reader(has(0, 10), b"Prefer: lossless")
        assert b"preference-applied" not in again(reader).headers

    def test_what_it_has_is_the_initialization_segment_alone(self) -> None:
        """Then it has nothing to go on from: the newest comes."""
        from .test_timeshift import Film

        film = Film(Disk())
        reader = film.house.connect()
        reader.send(head(b"GET", b"/a", PARTS, has(0, film.starts[0]), b"Prefer: lossless"), b"GET")
        assert places(again(reader))[0][0] == film.starts[6]

    @pytest.mark.parametrize("line", [b"Range: bytes=0-9007199254740991", b"Range: bytes=0-"])
    def test_other_live_answers_say_so_too(self, line: bytes) -> None:
        stream = self.lagging()
        reader = stream.house.connect()
        reader.send(head(b"GET", b"/a", line, b"Prefer: lossless"), b"GET")
        assert again(reader)[b"preference-applied"] == b"lossless"
