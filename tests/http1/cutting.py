"""One runner for every table of messages: each row is read whole, byte by byte, and in random cuts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from random import Random
from typing import Any, NamedTuple

from sdp.errors import ProtocolError
from sdp.http1 import RequestReader, ResponseReader


class Outcome(NamedTuple):
    """What a reader gave: heads, contents (each message's joined) and Ends in order, and the status of its error."""

    events: list[Any]
    status: int | None
    at_start: bool


def cuts_of(data: bytes, seed: int = 1, rounds: int = 4) -> Iterator[list[bytes]]:
    """The ways in which a row is fed: whole, in single bytes, and ``rounds`` times at random places."""
    yield [data]
    yield [data[i : i + 1] for i in range(len(data))]
    random = Random(seed)
    for _ in range(rounds):
        places = sorted(random.randrange(len(data) + 1) for _ in range(random.randrange(1, 8)))
        edges = [0, *places, len(data)]
        yield [data[edges[i] : edges[i + 1]] for i in range(len(edges) - 1)]


def drain(reader: Any, events: list[Any]) -> None:
    """Append all events that can be had now."""
    while (event := reader.next_event()) is not None:
        events.append(event)


def joined(events: Iterable[Any]) -> list[Any]:
    """Events with neighbouring pieces of content made one; a piece is never empty."""
    out: list[Any] = []
    for event in events:
        if isinstance(event, bytes):
            assert event
            if out and isinstance(out[-1], bytes):
                out[-1] += event
                continue
        out.append(event)
    return out


def read(reader: Any, pieces: Iterable[bytes], *, eof: bool = False, late: bool = False) -> Outcome:
    """Feed pieces and read events after each of them; with ``late`` only when all are fed, as after a pause."""
    events: list[Any] = []
    fault: ProtocolError | None = None
    try:
        for piece in pieces:
            reader.feed(piece)
            if not late:
                drain(reader, events)
        if eof:
            reader.feed_eof()
        drain(reader, events)
    except ProtocolError as error:
        fault = error
    assert fault is None or fault.detail.endswith(".")
    return Outcome(joined(events), None if fault is None else fault.status, reader.at_start)


def read_requests(data: bytes, *, eof: bool = False, **limits: Any) -> Outcome:
    """Read requests in every way; they all have to give the same outcome, which is returned."""
    return _same(lambda: RequestReader(**limits), data, eof)


def read_responses(data: bytes, methods: Iterable[bytes] = (b"GET",), *, eof: bool = False, **limits: Any) -> Outcome:
    """Read the responses to requests with ``methods`` in every way, as :func:`read_requests`."""
    methods = list(methods)

    def make() -> ResponseReader:
        reader = ResponseReader(**limits)
        for method in methods:
            reader.expect(method)
        return reader

    return _same(make, data, eof)


def _same(make: Any, data: bytes, eof: bool) -> Outcome:
    outcome = read(make(), [data], eof=eof)
    for pieces in cuts_of(data):
        for late in (False, True):
            other = read(make(), pieces, eof=eof, late=late)
            if outcome.status is not None:
                # The cut decides how much content comes out before a fault in it is met.
                assert _heads(other) == _heads(outcome), pieces
            assert other.status == outcome.status, pieces
            assert outcome.status is not None or other == outcome, pieces
    return outcome


def _heads(outcome: Outcome) -> list[Any]:
    return [event for event in outcome.events if not isinstance(event, bytes)]
