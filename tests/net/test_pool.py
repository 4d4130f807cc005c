"""A few kept connections: never more than so many, each asked one thing at a time, replaced where they were closed."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred

from sdp.net.client import Disconnected
from sdp.net.pool import Pool


def fired(deferred: Deferred[Any]) -> list[Any]:
    """A list that holds what the Deferred fires with: the result, or the exception."""
    results: list[Any] = []
    deferred.addCallbacks(results.append, lambda failure: results.append(failure.value))
    return results


class Client:
    """A connection that answers when it is told to."""

    def __init__(self) -> None:
        self.usable = True
        self.unanswered = 0
        self.aborted = self.closed = False
        self.asked: list[tuple[bytes, Deferred[Any]]] = []

    def fetch(self, method: bytes, target: bytes, headers: object, *, head_timeout: object = None) -> Deferred[Any]:
        if not self.usable:
            raise Disconnected("It is closed.")
        self.unanswered += 1
        answer: Deferred[Any] = Deferred()
        self.asked.append((target, answer))
        return answer

    def answer(self, result: Any) -> None:
        """Answer what was asked last."""
        self.unanswered -= 1
        self.asked[-1][1].callback(result)

    def lose(self) -> None:
        self.usable, self.unanswered = False, 0
        self.asked[-1][1].errback(Disconnected("It was lost."))

    def abort(self) -> None:
        self.usable, self.aborted = False, True

    def close(self) -> None:
        self.usable, self.closed = False, True


class Rig:
    def __init__(self, most: int) -> None:
        self.clients: list[Client] = []
        self.refused = False
        self.pool = Pool(self._connect, most)  # type: ignore[arg-type]

    async def _connect(self) -> Client:
        if self.refused:
            raise Disconnected("Nobody is there.")
        self.clients.append(Client())
        return self.clients[-1]

    def ask(self, target: bytes) -> tuple[Deferred[Any], list[Any]]:
        asking = Deferred.fromCoroutine(self.pool.fetch(b"GET", target, []))
        return asking, fired(asking)


def test_never_more_than_so_many_and_in_their_order() -> None:
    rig = Rig(2)
    results = [rig.ask(b"/%d" % number)[1] for number in range(4)]
    assert [client.asked[-1][0] for client in rig.clients] == [b"/0", b"/1"]
    rig.clients[1].answer("one")
    assert results == [[], ["one"], [], []]
    assert rig.clients[1].asked[-1][0] == b"/2"
    rig.clients[0].answer("zero")
    assert rig.clients[0].asked[-1][0] == b"/3"
    for client, result in zip(rig.clients, ("three", "two"), strict=True):
        client.answer(result)
    assert results == [["zero"], ["one"], ["two"], ["three"]]
    assert len(rig.clients) == len(rig.pool) == 2


def test_one_that_was_closed_while_it_idled_is_replaced() -> None:
    rig = Rig(2)
    _, first = rig.ask(b"/0")
    rig.clients[0].answer("zero")
    _, second = rig.ask(b"/1")
    rig.clients[0].lose()
    rig.clients[1].answer("one")
    assert (first, second) == (["zero"], ["one"])
    assert len(rig.pool) == 1


def test_a_new_one_that_is_lost_is_not() -> None:
    rig = Rig(1)
    _, result = rig.ask(b"/0")
    rig.clients[0].lose()
    assert isinstance(result[0], Disconnected)
    rig.refused = True
    assert isinstance(rig.ask(b"/1")[1][0], Disconnected)
    rig.refused = False
    _, result = rig.ask(b"/2")
    rig.clients[-1].answer("two")
    assert result == ["two"]


@pytest.mark.parametrize("waits", [False, True])
def test_who_gives_up_leaves_its_turn(waits: bool) -> None:
    rig = Rig(1)
    asking, result = rig.ask(b"/0")
    waiting, waited = rig.ask(b"/1")
    _, last = rig.ask(b"/2")
    (waiting if waits else asking).cancel()
    if waits:
        rig.clients[0].answer("zero")
        assert (result, len(waited)) == (["zero"], 1)
    else:
        assert rig.clients[0].aborted  # its answer may still come: it can be asked nothing else
        rig.clients[1].answer("one")
        assert waited == ["one"]
    rig.clients[-1].answer("two")
    assert last == ["two"]


def test_what_idles_is_closed() -> None:
    rig = Rig(2)
    rig.ask(b"/0")
    rig.clients[0].answer("zero")
    rig.pool.close()
    assert rig.clients[0].closed
    assert len(rig.pool) == 0
