"""One question for many, and none that was asked before whoever is answered came."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from sdp.distributor.looking import Looks
from sdp.errors import Refusal

from .tap import fired


class First:
    """Answers by hand."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Deferred[Any]]] = []

    async def look(self, name: str) -> Any:
        answer: Deferred[Any] = Deferred()
        self.asked.append((name, answer))
        return await answer

    def answer(self, number: int, what: Any) -> None:
        self.asked[number][1].callback(what)


def test_who_comes_while_a_question_is_out_shares_the_next_one() -> None:
    first = First()
    looks = Looks(first.look)
    results = [fired(looks.ask("a")) for _ in range(4)]
    other = fired(looks.ask("b"))
    assert [name for name, _ in first.asked] == ["a", "b"]
    first.answer(0, 1)
    assert results == [[1], [], [], []]
    late = fired(looks.ask("a"))
    first.answer(2, 2)
    assert results == [[1], [2], [2], [2]]
    assert late == []
    first.answer(3, 3)
    first.answer(1, "b")
    assert (late, other) == ([3], ["b"])
    assert len(first.asked) == 4


def test_a_refusal_is_everybodys_who_shares_it() -> None:
    first = First()
    looks = Looks(first.look)
    results = [fired(looks.ask("a")) for _ in range(3)]
    first.answer(0, 1)
    refusal = Refusal(404, "No such stream", "There is none.")
    first.asked[1][1].errback(refusal)
    assert results == [[1], [refusal], [refusal]]
    again = fired(looks.ask("a"))
    first.answer(2, 4)
    assert again == [4]


def test_who_leaves_is_asked_for_no_more() -> None:
    first = First()
    looks = Looks(first.look)
    leaving = [looks.ask("a"), looks.ask("a")]
    for each in leaving:
        fired(each)
        each.cancel()
    first.answer(0, 1)
    assert len(first.asked) == 1
    assert fired(looks.ask("a")) == []
    assert len(first.asked) == 2
