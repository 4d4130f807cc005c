"""Digests of ranges, and the search for the first difference between two copies that only digests are asked of."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed

from sdp.cli.verify import FINEST, compare
from sdp.container import framer_for
from sdp.distributor.digest import DIGEST_LIMIT, WAITING_LIMIT, Digests
from sdp.errors import Refusal
from sdp.stream.catalog import Epoch
from sdp.stream.log import StreamLog
from sdp.stream.record import Record

T = TypeVar("T")


def done(deferred: Deferred[T]) -> T:
    """A Deferred's result, which is there, or its exception."""
    found: list[Any] = []
    deferred.addBoth(found.append)
    if hasattr(found[0], "raiseException"):
        found[0].raiseException()
    result: T = found[0]
    return result


def at_once(work: Callable[[], None]) -> Deferred[None]:
    work()
    return succeed(None)


def epoch_of(*pieces: bytes, start: int = 0) -> Epoch:
    log = StreamLog(1 << 30, start)
    for piece in pieces:
        log.append(piece, [Record(log.end)], log.end + len(piece), 0)
    return Epoch("s", "e", log, framer_for(None))


def ask(digests: Digests, epoch: Epoch, query: Mapping[str, str]) -> Deferred[dict[str, Any]]:
    return Deferred.fromCoroutine(digests.answer(epoch, query))


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(0, 260), st.integers(0, 260))
def test_a_digest_is_that_of_the_bytes(pieces: list[bytes], first: int, last: int) -> None:
    whole = b"".join(pieces)
    asking = ask(Digests(at_once), epoch_of(*pieces), {"first": str(first), "last": str(last)})
    if first >= min(last + 1, len(whole)):
        with pytest.raises(Refusal) as refused:
            done(asking)
        assert refused.value.status == 416
        return
    said = done(asking)
    assert (said["first"], said["last"]) == (first, min(last, len(whole) - 1))
    assert said["sha256"] == hashlib.sha256(whole[first : last + 1]).hexdigest()


def test_all_that_there_is_where_nothing_is_named() -> None:
    said = done(ask(Digests(at_once), epoch_of(b"abc", b"defg", start=5), {}))
    digest = hashlib.sha256(b"abcdefg").hexdigest()
    assert said == {"name": "s", "epoch": "e", "first": 5, "last": 11, "sha256": digest, "holes": []}


@pytest.mark.parametrize(
    ("query", "status"),
    [({"first": "4"}, 410), ({"first": "x"}, 400), ({"last": "-1"}, 400), ({"last": "4"}, 416), ({"first": "12"}, 416)],
)
def test_refusals(query: dict[str, str], status: int) -> None:
    with pytest.raises(Exception, match=r".") as refused:
        done(ask(Digests(at_once), epoch_of(b"abc", b"defg", start=5), query))
    assert getattr(refused.value, "status", None) == status


def test_a_digest_is_bounded() -> None:
    block = bytes(1 << 20)
    epoch = epoch_of(*[block] * (DIGEST_LIMIT // len(block)), b"x")
    with pytest.raises(Refusal, match="Ask for at most") as refused:
        done(ask(Digests(at_once), epoch, {}))
    assert refused.value.status == 400


def test_one_at_a_time_and_not_too_many_in_the_queue() -> None:
    waiting: list[Deferred[None]] = []

    def later(work: Callable[[], None]) -> Deferred[None]:
        work()
        waiting.append(Deferred())
        return waiting[-1]

    digests, epoch = Digests(later), epoch_of(b"abc")
    asked = [ask(digests, epoch, {}) for _ in range(1 + WAITING_LIMIT)]
    assert len(waiting) == 1
    with pytest.raises(Refusal) as refused:
        done(ask(digests, epoch, {}))
    assert refused.value.status == 503
    gone = asked.pop(3)
    gone.addErrback(lambda failure: None)
    gone.cancel()  # whoever waits may go away
    for number in range(len(asked)):
        waiting[number].callback(None)
    assert {done(each)["sha256"] for each in asked} == {hashlib.sha256(b"abc").hexdigest()}


class Held:
    """A copy that is at hand; counts the digests that were asked of it."""

    def __init__(self, data: bytes, first: int = 0, holes: list[tuple[int, int]] | None = None) -> None:
        self.data, self.first, self.end = data, first, len(data)
        self.holes = holes or []
        self.asked = 0

    async def digest(self, start: int, end: int) -> str:
        assert self.first <= start < end <= self.end
        assert all(stop <= start or end <= begin for begin, stop in self.holes)
        self.asked += 1
        return hashlib.sha256(self.data[start:end]).hexdigest()


@settings(max_examples=50)
@given(st.integers(0, 1 << 20), st.none() | st.integers(0, (1 << 20) - 1), st.integers(0, 5000))
def test_the_first_difference_is_found_in_few_steps(length: int, at: int | None, first: int) -> None:
    whole = bytes(length)
    other = bytearray(whole)
    if at is not None and at < length:
        other[at] = 1
        other[-1] = 1
    one, two = Held(whole, first), Held(bytes(other))
    found = done(Deferred.fromCoroutine(compare(one, two)))  # type: ignore[arg-type]  # as much as is used
    if bytes(other[first:]) == whole[first:]:
        assert found is None
    else:
        assert found is not None
        start, end = found
        assert end - start <= FINEST
        assert other[first:start] == whole[first:start]
        assert other[start:end] != whole[start:end]
    assert one.asked <= 12


@pytest.mark.parametrize(
    ("at", "found"), [(None, None), (5, (0, 10)), (15, None), (25, (20, 30)), (35, None), (45, (40, 50)), (55, None)]
)
def test_what_only_one_of_them_holds_is_no_difference(at: int | None, found: tuple[int, int] | None) -> None:
    other = bytearray(60)
    if at is not None:
        other[at] = 1
    one, two = Held(bytes(60), holes=[(10, 20)]), Held(bytes(other[:50]), holes=[(30, 40)])
    assert done(Deferred.fromCoroutine(compare(one, two))) == found  # type: ignore[arg-type]  # as much as is used
