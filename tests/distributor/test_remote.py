"""An epoch whose disk is elsewhere: blocks that are shared, upstreams that are asked in turn."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from sdp.distributor.remote import BLOCK_SIZE, Blocks, RemoteRecording, ToldFramer
from sdp.errors import Refusal, StorageError
from sdp.interfaces import IRecording
from sdp.net.client import Disconnected
from sdp.stream.record import Flag, Record
from tests.distributor.network import outcome

CONTENT = bytes(number * 7 % 251 for number in range(BLOCK_SIZE * 2 + 1000))


class Source:
    """An upstream that has a content, or a fault."""

    def __init__(self, fault: Exception | None = None) -> None:
        self.fault = fault
        self.reads: list[tuple[int, int]] = []
        self.gate: Deferred[None] | None = None

    async def read(self, name: str, epoch: str, start: int, end: int) -> bytes:
        self.reads.append((start, end))
        if self.gate is not None:
            await self.gate
        if self.fault is not None:
            raise self.fault
        return CONTENT[start:end]

    async def last_record(self, name: str, epoch: str, before: int, flag: Flag) -> Record | None:
        if self.fault is not None:
            raise self.fault
        return Record(before, flag)


def recording(*sources: Source, first: int = 0, end: int = len(CONTENT)) -> RemoteRecording:
    given: Any = list(sources)
    return RemoteRecording("a", "e", "video/mp4", first, end, lambda: given, Blocks())


def test_it_is_a_recording() -> None:
    assert verifyObject(IRecording, recording())
    assert recording().durable is None


@given(st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(1, BLOCK_SIZE * 2)), max_size=8))
def test_any_range_is_what_it_is_upstream(ranges: list[tuple[int, int]]) -> None:
    source = Source()
    remote = recording(source)
    for start, length in ranges:
        data, stop = b"", min(start + length, len(CONTENT))
        while start + len(data) < stop:
            [piece] = outcome(remote.read(start + len(data), stop - start - len(data)))
            assert piece
            data += piece
        assert data == CONTENT[start:stop]
    assert len(source.reads) == len(set(source.reads))


def test_many_who_want_a_block_ask_once() -> None:
    source = Source()
    source.gate = Deferred()
    remote = recording(source)
    readings = [remote.read(number, 10) for number in range(5)]
    results = [outcome(each) for each in readings]
    readings[2].cancel()
    source.gate.callback(None)
    assert len(source.reads) == 1
    assert [each[0] for each in results[:2]] == [CONTENT[:10], CONTENT[1:11]]
    assert results[4] == [CONTENT[4:14]]


def test_a_block_that_has_grown_is_asked_for_again() -> None:
    source = Source()
    remote = recording(source, end=100)
    assert outcome(remote.read(0, 1000)) == [CONTENT[:100]]
    remote.end = 200
    assert outcome(remote.read(50, 10)) == [CONTENT[50:60]]
    assert outcome(remote.read(150, 10)) == [CONTENT[150:160]]
    assert source.reads == [(0, 100), (0, 200)]


def test_what_retention_took_is_not_asked_for() -> None:
    source = Source()
    assert outcome(recording(source, first=70).read(80, 5)) == [CONTENT[80:85]]
    assert source.reads == [(70, BLOCK_SIZE)]


def test_one_after_the_other_is_asked() -> None:
    broken, sound = Source(Disconnected("It is gone.")), Source()
    assert outcome(recording(broken, sound).read(0, 5)) == [CONTENT[:5]]
    assert outcome(recording(broken, sound).last_record(5, Flag.INITIALIZATION)) == [Record(5, Flag.INITIALIZATION)]
    [error] = outcome(recording(broken).read(0, 5))
    assert isinstance(error, StorageError)
    assert (error.status, "It is gone" in error.detail) == (502, True)
    [error] = outcome(recording(broken, Source(Refusal(410, "Gone", "It is kept no longer."))).read(0, 5))
    assert error.status == 410


def test_the_least_recently_used_block_goes() -> None:
    blocks, loads = Blocks(most=2), []

    def load(number: int) -> Any:
        async def loading() -> bytes:
            loads.append(number)
            return b"%d" % number

        def begin() -> Coroutine[Any, Any, bytes]:
            return loading()

        return begin

    for number in (1, 2, 1, 3, 1, 2):
        assert outcome(blocks.get("e", number, 0, load(number))) == [b"%d" % number]
    assert loads == [1, 2, 3, 2]


def test_a_failure_is_everybodys_and_is_not_kept() -> None:
    blocks = Blocks()
    gate: Deferred[bytes] = Deferred()

    async def failing() -> bytes:
        return await gate

    async def loading() -> bytes:
        return b"data"

    waiting = [outcome(blocks.get("e", 0, 0, failing)) for _ in range(2)]
    gate.errback(StorageError("It failed."))
    assert [type(each[0]) for each in waiting] == [StorageError, StorageError]
    assert outcome(blocks.get("e", 0, 0, loading)) == [b"data"]


def test_records_are_where_they_are_told_to_be() -> None:
    framer = ToldFramer(5)
    framer.tell(Record(5, Flag.RANDOM_ACCESS))
    assert framer.feed(b"abc") == [Record(5, Flag.RANDOM_ACCESS)]
    assert framer.feed(b"de") == []
    assert framer.known == 10
    framer.restart(50)
    assert (framer.flush(), framer.known) == ([], 50)
