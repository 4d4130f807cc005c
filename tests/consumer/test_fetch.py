"""The live receiver against a real Distributor in memory: newest first, every jump told, nothing twice."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from sdp.consumer.probe import LatencyProbe
from sdp.errors import Refusal
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import Role
from sdp.net.fetch import LiveFetch, Piece
from tests.consumer.pair import Distributor, Lines, outcome


class Rig:
    def __init__(self, distributor: Distributor | None = None) -> None:
        self.distributor = distributor or Distributor()
        self.pieces: list[Piece] = []
        self.epochs: list[str] = []
        self.tell = Lines()
        attempts = Attempts(
            self.distributor.connecting(Role.CONSUMER), self.distributor.reactor, Backoff(Random(1)), self.tell
        )
        self.fetch = LiveFetch(b"/a", attempts, self.tell, self.pieces.append, self.epochs.append)

    def start(self) -> Rig:
        self.results = outcome(Deferred.fromCoroutine(self.fetch.run()))
        self.distributor.settle()
        return self

    @property
    def bytes_by_offset(self) -> dict[int, int]:
        result: dict[int, int] = {}
        for piece in self.pieces:
            for i, byte in enumerate(piece.data):
                assert piece.offset + i not in result, "it was received twice"
                result[piece.offset + i] = byte
        return result


def test_it_begins_with_the_newest_record_and_goes_on_live():
    rig = Rig()
    post = rig.distributor.post
    post("0-4/*", b"first", Content_Type="text/plain", Random_Access="?1", Capture_Time="100")
    post("5-10/*", b"second", Random_Access="?1", Capture_Time="200")
    rig.start()
    post("11-15/*", b"third", Random_Access="?0", Capture_Time="300")
    said = [(piece.offset, piece.data, piece.capture_time, piece.random_access) for piece in rig.pieces]
    assert said == [(5, b"second", 200, True), (11, b"third", 300, False)]
    assert all(piece.begins_part and piece.received_time is not None for piece in rig.pieces)
    assert len(rig.epochs) == 1
    post("*/16")
    rig.distributor.settle(2)
    # With no live edge to hurry to, the beginning that was skipped is sent as well.
    assert sorted(rig.bytes_by_offset) == list(range(16))
    assert rig.results == [None]


def test_a_broken_connection_goes_on_with_the_next_byte():
    rig = Rig()
    post = rig.distributor.post
    post("0-4/*", b"first", Content_Type="text/plain", Random_Access="?1")
    rig.start()
    rig.distributor.cut()
    post("5-10/*", b"second")
    rig.distributor.settle(2)
    assert b"".join(piece.data for piece in rig.pieces) == b"firstsecond"
    assert len(rig.epochs) == 1


def test_a_new_epoch_is_told():
    rig = Rig()
    rig.distributor.post("0-4/*", b"first", Content_Type="text/plain")
    rig.start()
    rig.distributor.crash()
    rig.distributor.post("0-4/*", b"other", Content_Type="text/plain")
    rig.distributor.settle(12)
    assert len(set(rig.epochs)) == 2
    assert [piece.data for piece in rig.pieces] == [b"first", b"other"]
    assert [piece.offset for piece in rig.pieces] == [0, 0]


def test_a_stream_that_is_not_there_yet():
    rig = Rig().start()
    rig.distributor.settle(3)
    assert any("not there" in line for line in rig.tell.lines)
    rig.distributor.post("0-4/*", b"first", Content_Type="text/plain")
    rig.distributor.settle(12)
    assert [piece.data for piece in rig.pieces] == [b"first"]


def test_reading_that_is_not_allowed(tmp_path):
    (tmp_path / "token").write_text("reader:secret\n")
    rig = Rig(Distributor(**{"read-token": str(tmp_path / "token")})).start()
    assert isinstance(rig.results[0], Refusal)


def test_a_receiver_that_pauses():
    rig = Rig()
    rig.distributor.post("0-4/*", b"first", Content_Type="text/plain")
    rig.start()
    rig.fetch.pause()
    rig.distributor.post("5-10/*", b"second")
    assert b"".join(piece.data for piece in rig.pieces) == b"first"
    rig.fetch.resume()
    rig.distributor.settle()
    assert b"".join(piece.data for piece in rig.pieces) == b"firstsecond"


def test_the_probe_measures_from_capture_to_here():
    probe = LatencyProbe(lambda: 10_000)
    assert probe.median_ms is None
    for capture_time in (9_000, 8_000, 1_000, None):
        probe.take(Piece(0, b"x", True, capture_time, None, False))
    probe.take(Piece(1, b"x", False, None, None, False))
    assert probe.median_ms == 2.0


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_breaks_nothing_comes_twice_and_every_byte_is_where_it_belongs(data):
    rig = Rig()
    sent = b"...."
    rig.distributor.post("0-3/*", sent, Content_Type="text/plain", Random_Access="?1")
    rig.start()
    for number in range(data.draw(st.integers(1, 10))):
        match data.draw(st.sampled_from(["post", "post", "key", "cut", "wait"])):
            case "cut":
                rig.distributor.cut()
            case "wait":
                rig.distributor.settle(1)
            case kind:
                piece = b"<%d>" % number * data.draw(st.integers(1, 20))
                fields = {"Random_Access": "?1"} if kind == "key" else {}
                rig.distributor.post(f"{len(sent)}-{len(sent) + len(piece) - 1}/*", piece, **fields)
                sent += piece
    rig.distributor.post(f"*/{len(sent)}")
    rig.distributor.settle(15)
    assert rig.results == [None]
    assert bytes(rig.bytes_by_offset[i] for i in range(len(sent))) == sent
