"""The index of a stream, asked over HTTP: from the window, and what is no index."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.distributor.index_view import parse_index, record_from_json, record_to_json
from sdp.http1.ranges import MAX_LAST
from sdp.stream.record import Flag, Record
from tests.distributor.network import Network, Node
from tests.system.media import movie

TIMES = st.none() | st.integers(0, MAX_LAST)
RECORDS = st.builds(
    Record,
    st.integers(0, MAX_LAST),
    st.sampled_from([Flag.NONE, Flag.INITIALIZATION, Flag.RANDOM_ACCESS]),
    TIMES,
    TIMES,
    st.lists(st.integers(0, MAX_LAST), max_size=4).map(tuple),
)


@given(RECORDS)
def test_a_record_comes_back_as_it_was(record: Record) -> None:
    assert record_from_json(json.loads(json.dumps(record_to_json(record)))) == record


@pytest.mark.parametrize(
    "said",
    [
        None,
        [],
        {},
        {"offset": "1"},
        {"offset": -1},
        {"offset": True},
        {"offset": 1, "capture_time": 1.5},
        {"offset": 1, "hop_times": ["x"]},
        {"offset": 1, "hop_times": 3},
        {"offset": MAX_LAST + 1},
    ],
)
def test_what_is_no_record(said: Any) -> None:
    with pytest.raises(ValueError, match=r"record|index"):
        parse_index({"records": [said]})


@pytest.mark.parametrize("document", [None, [], {}, {"records": {}}])
def test_what_is_no_index(document: Any) -> None:
    with pytest.raises(ValueError, match="index"):
        parse_index(document)


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node(Network(), "/0")
    yield node
    Network.close_all()


def test_what_is_asked_for(node: Node) -> None:
    film = movie("KdKdd")
    node.post(f"0-{len(film.data) - 1}/*", film.data, "Content-Type: video/mp4")
    offsets = [0, *(each.offset for each in film.fragments)]

    def ask(query: str) -> list[int]:
        answer = node.get(f"/-/records/a?{query}")
        assert answer.status == 200, answer
        return [each["offset"] for each in json.loads(answer.content)["records"]]

    assert ask("") == offsets
    assert ask(f"first={offsets[2]}&last={offsets[4]}") == offsets[2:5]
    assert ask(f"first={offsets[2] + 1}&last={offsets[4] - 1}") == offsets[2:4]
    assert ask("limit=2") == offsets[:2]
    assert ask("newest=random-access") == [offsets[3]]
    assert ask(f"newest=random-access&before={offsets[3] - 1}") == [offsets[1]]
    assert ask("newest=initialization") == [0]
    assert ask("newest=random-access&before=3") == []


@pytest.mark.parametrize(
    ("target", "status"),
    [("a?first=x", 400), ("a?newest=frame", 400), ("none", 404), ("a?epoch=none", 404), ("..", 404)],
)
def test_what_cannot_be_told(node: Node, target: str, status: int) -> None:
    node.post("0-2/*", b"abc", "Content-Type: text/plain")
    assert node.get(f"/-/records/{target}").status == status
