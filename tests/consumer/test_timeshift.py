"""Playing what is past: from a time on, over connections that break, to the end; and its clock."""

from __future__ import annotations

from random import Random

import pytest
from twisted.internet.defer import Deferred

from sdp.consumer.playout import State
from sdp.consumer.timeshift import PastFetch, ShiftedPlayout
from sdp.errors import Refusal
from sdp.net.address import parse_address
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import Role
from sdp.net.fetch import Piece
from tests.consumer.pair import Distributor, Lines, outcome
from tests.system.media import movie


class Rig:
    """A film that is live, and somebody who watches it from a time on."""

    def __init__(self, at: str | None, *, ended: bool = False) -> None:
        self.film = movie("KdddKdddKddd")
        self.distributor = Distributor()
        end = f"0-{len(self.film.data) - 1}/{len(self.film.data) if ended else '*'}"
        self.distributor.post(end, self.film.data, Content_Type="video/mp4")
        self.pieces: list[Piece] = []
        self.epochs: list[str] = []
        attempts = Attempts(
            self.distributor.connecting(Role.CONSUMER), self.distributor.reactor, Backoff(Random(1)), Lines()
        )
        address = parse_address("http://h:8080/a")
        self.fetch = PastFetch(address, attempts, at, self.pieces.append, self.epochs.append)
        self.results = outcome(Deferred.fromCoroutine(self.fetch.run()))
        self.distributor.settle()

    @property
    def data(self) -> bytes:
        """All that came, held to follow on without a gap after what heads it."""
        for one, other in zip(self.pieces[1:], self.pieces[2:], strict=False):
            assert one.offset + len(one.data) == other.offset
        return b"".join(piece.data for piece in self.pieces)


def test_what_has_ended_comes_from_its_first_byte_to_its_last() -> None:
    rig = Rig(None, ended=True)
    assert rig.data == rig.film.data
    assert rig.results == [None]
    assert len(rig.epochs) == 1


def test_from_a_time_on_it_goes_on_live_over_connections_that_break() -> None:
    rig = Rig("2023-11-14T22:13:20.165Z")
    assert len(rig.epochs) == 1
    assert rig.film.data.startswith(rig.pieces[0].data)  # what decoding needs comes first
    start = rig.pieces[1].offset
    assert rig.film.data.endswith(rig.data[len(rig.pieces[0].data) :])
    rig.distributor.cut()
    more, end = b"more of it" * 20, len(rig.film.data)
    rig.distributor.post(f"{end}-{end + len(more) - 1}/{end + len(more)}", more)
    rig.distributor.settle(3)
    assert rig.data[len(rig.pieces[0].data) :] == (rig.film.data + more)[start:]
    assert rig.results == [None]


def test_who_takes_no_more_is_given_no_more() -> None:
    rig = Rig("2023-11-14T22:13:20.165Z")
    rig.fetch.pause()
    before, end = len(rig.data), len(rig.film.data)
    rig.distributor.post(f"{end}-{end + 999}/*", bytes(1000))
    rig.distributor.settle(1)
    assert len(rig.data) == before
    rig.fetch.resume()
    rig.distributor.settle(1)
    assert len(rig.data) == before + 1000


def test_what_is_no_time_is_told() -> None:
    [error] = Rig("yesterday").results
    assert isinstance(error, Refusal)


def test_another_epoch_ends_it() -> None:
    rig = Rig("2023-11-14T22:13:20.165Z")
    rig.distributor.post(f"*/{len(rig.film.data)}")
    rig.distributor.settle(1)
    assert rig.results == [None]


def test_time_passes_at_its_pace_and_waits_at_the_end() -> None:
    playout = ShiftedPlayout()
    assert playout.update(0).position is None
    playout.arrived(5_000_000, 0, duration=40_000)
    playout.arrived(5_960_000, 0, duration=40_000, track=1)
    positions = [playout.update(at).position for at in range(1_000_000, 2_500_000, 250_000)]
    assert positions == [5_000_000, 5_250_000, 5_500_000, 5_750_000, 6_000_000, 6_000_000]
    assert playout.update(2_500_000).state is State.STALLED
    assert playout.stalls == 1
    playout.arrived(6_000_000, 0, duration=40_000)
    decision = playout.update(2_510_000, position=6_020_000.0)
    assert decision.position == pytest.approx(6_020_000)
    assert decision.state is State.PLAYING
    line = playout.line
    playout.reset()
    assert playout.line == line + 1
    assert not playout.begun
