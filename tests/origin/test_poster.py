"""The poster against a Distributor in memory: whatever breaks, every epoch's bytes are the capture's, in order."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from sdp.errors import LocalError, Refusal
from sdp.net.address import parse_address
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import ClientFactory, Role
from sdp.origin.capture import Capture
from sdp.origin.poster import Poster, PosterLimits
from sdp.stream.record import Flag, Record
from tests.origin.peer import Peer


class Disk:
    """A recording that keeps all in memory, written at once where so told."""

    start = 0
    failure = None
    backlogged = False
    holes: tuple[tuple[int, int], ...] = ()
    keep_from: int | None = None

    def __init__(self, instant: bool = True) -> None:
        self.data = b""
        self.entries: list[Record] = []
        self.written = 0
        self.ended = False
        self.instant = instant
        self.on_change: Any = None

    @property
    def end(self) -> int:
        return len(self.data)

    def append(self, data: bytes, records: list[Record]) -> None:
        self.data += data
        self.entries += records
        if self.instant:
            self.write()

    def write(self) -> None:
        self.written = len(self.data)
        if self.on_change:
            self.on_change()

    def finish(self) -> Any:
        self.ended = True
        return succeed(None)

    def read(self, offset: int, length: int) -> Any:
        return succeed(self.data[offset : offset + min(length, 1000)])

    def records(self, start: int, end: int, limit: int = 4096) -> Any:
        first = max((i for i, entry in enumerate(self.entries) if entry.offset <= start), default=0)
        return succeed([entry for entry in self.entries[first:] if entry.offset < end][:limit])


class Lines:
    """What the operator reads."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def info(self, format: str, **values: object) -> None:
        self.lines.append(format.format(**values))

    warn = info


class Rig:
    """An Origin's capture and poster, a Distributor, and a clock."""

    def __init__(self, peer: Peer | None = None, window: int = 1 << 20, disk: bool = False, **limits: Any) -> None:
        self.clock = Clock()
        self.peer = peer or Peer()
        self.disks: list[Disk] = []
        self.tell = Lines()
        factory = ClientFactory(parse_address("http://h:8080/a"), Role.ORIGIN, self.clock)
        self.capture = Capture(window, self.new_disk if disk else lambda: None, "video/mp4")
        backoff = Backoff(Random(1), first=0.1, most=10)
        self.poster = Poster(
            self.capture,
            b"/a",
            Attempts(self.peer.connecting(factory), self.clock, backoff, self.tell),
            self.tell,
            self.clock,
            now=lambda: int(self.clock.seconds() * 1e6),
            limits=PosterLimits(**limits),
        )
        self.capture.on_change = self.poster.wake
        self.results: list[Any] = []
        self.count = 0

    def new_disk(self) -> Disk:
        self.disks.append(Disk())
        return self.disks[-1]

    def start(self) -> None:
        self.running = Deferred.fromCoroutine(self.poster.run())
        self.running.addBoth(lambda result: self.results.append(result.value if result else "done"))
        self.settle()

    def settle(self, seconds: float = 0) -> None:
        self.peer.flush()
        while seconds > 0:
            self.clock.advance(0.25)
            self.peer.flush()
            seconds -= 0.25

    def take(self, count: int = 1, size: int = 100, every: int = 5) -> None:
        """Capture records: an initialization segment first, then every ``every``-th a random access point."""
        for _ in range(count):
            if self.count == 0:
                data, flags = b"init" + bytes(10), Flag.INITIALIZATION
            else:
                flags = Flag.RANDOM_ACCESS if self.count % every == 1 else Flag.NONE
                data = (b"<%d>" % self.count).ljust(size, b"r" if flags else b".")
            self.capture.take(data, flags, 1000 + self.count, int(self.clock.seconds() * 1e6))
            self.count += 1
        self.peer.flush()

    @property
    def received(self) -> bytes:
        assert self.peer.stream is not None
        return self.peer.stream.data

    def captured(self) -> bytes:
        return b"".join(self.capture.log.read(self.capture.log.start))


def test_one_record_a_post():
    rig = Rig()
    rig.take(3)
    rig.start()
    rig.take()
    assert rig.peer.log == ["HEAD", "0-13/*", "14-113/*", "114-213/*", "214-313/*"]
    assert rig.received == rig.captured()
    fields = [fields for _, fields, _ in rig.peer.posts]
    assert fields[0][b"content-type"] == b"video/mp4"
    assert b"if-match" not in fields[0]
    assert b"random-access" not in fields[0]
    assert fields[1][b"if-match"] == b'"e1"'
    assert b"content-type" not in fields[1]
    assert fields[1][b"random-access"] == b"?1"
    assert fields[1][b"capture-time"] == b"1001"
    assert b"random-access" not in fields[2]


def test_the_first_post_names_the_epoch_before_another_follows():
    rig = Rig()
    rig.start()
    rig.peer.silent = True
    rig.take(4)
    assert rig.peer.log == ["HEAD", "0-13/*"]
    rig.peer.silent = False
    rig.peer.connections[0].release()
    rig.settle()
    assert rig.received == rig.captured()


@pytest.mark.parametrize(
    ("limits", "posts"), [({"unanswered": 3}, 3), ({"unanswered_bytes": 250}, 3), ({"unanswered_bytes": 1}, 1)]
)
def test_posts_wait_for_answers_but_not_one_by_one(limits, posts):
    rig = Rig(**limits)
    rig.take(1)
    rig.start()
    rig.peer.silent = True
    rig.take(9)
    assert len(rig.peer.log) == 2 + posts
    rig.peer.silent = False
    rig.peer.connections[0].release()
    rig.settle()
    assert rig.received == rig.captured()
    assert rig.poster.delivered


def test_a_socket_that_takes_no_more_holds_back_the_posts():
    rig = Rig()
    rig.take(1)
    rig.start()
    client = rig.poster._client
    assert client is not None
    client.pauseProducing()
    rig.take(3)
    assert len(rig.peer.posts) == 1
    client.resumeProducing()
    rig.settle()
    assert rig.received == rig.captured()


def test_a_broken_connection_goes_on_where_the_distributor_ends():
    rig = Rig()
    rig.take(3)
    rig.start()
    rig.peer.cut()
    rig.take(3)
    rig.settle(1)
    assert rig.peer.log[3:] == ["114-213/*", "HEAD", "214-313/*", "314-413/*", "414-513/*"]
    assert rig.received == rig.captured()
    assert rig.peer.past == []


def test_an_answer_that_was_lost_is_not_posted_twice():
    rig = Rig()
    rig.take(1)
    rig.start()
    rig.peer.silent = True
    rig.take(2)
    rig.peer.cut()
    rig.peer.silent = False
    rig.settle(1)
    assert rig.received == rig.captured()
    assert rig.peer.log.count("14-113/*") == 1


def test_a_record_that_was_cut_goes_on_in_its_middle():
    rig = Rig()
    rig.take(2)
    rig.start()
    rig.peer.cut()
    assert rig.peer.stream is not None
    rig.peer.stream.data = rig.peer.stream.data[:50]
    rig.settle(1)
    said, fields, _ = rig.peer.posts[-1]
    assert said == b"bytes 50-113/*"
    assert b"capture-time" not in fields
    assert b"random-access" not in fields
    assert rig.received == rig.captured()


def test_a_distributor_that_is_not_there_is_waited_for_visibly():
    rig = Rig()
    rig.peer.up = False
    rig.start()
    rig.settle(30)
    rig.take(3)
    told = [line for line in rig.tell.lines if "cannot be reached" in line]
    assert 2 <= len(told) <= 7
    assert all("trying again" in line for line in told)
    rig.peer.up = True
    rig.settle(10)
    assert rig.received == rig.captured()


def test_a_distributor_that_has_lost_all_gets_all_that_is_held():
    rig = Rig()
    rig.take(3)
    rig.start()
    rig.peer.crash()
    rig.take(3)
    rig.settle(1)
    assert rig.received == rig.captured()
    assert any("lost the stream" in line for line in rig.tell.lines)


def test_all_that_has_left_the_memory_comes_from_the_disk():
    rig = Rig(window=2000, disk=True)
    rig.peer.up = False
    rig.start()
    rig.take(60)
    assert rig.capture.log.start > 0
    rig.peer.up = True
    rig.settle(10)
    assert rig.received == rig.disks[0].data
    # One record a POST, from the disk too: a consumer joins at the same places.
    assert [fields.get(b"capture-time") for _, fields, _ in rig.peer.posts] == [b"%d" % (1000 + i) for i in range(60)]
    assert rig.peer.past == []


def test_only_what_would_outlive_a_power_loss_at_the_distributor_may_be_given_up():
    rig = Rig(disk=True)
    rig.peer.kept = True
    rig.peer.durable = 0
    rig.start()
    rig.take(5)
    assert rig.disks[0].keep_from == 0
    rig.peer.durable = 214
    rig.take(1)
    assert rig.disks[0].keep_from == 214
    assert rig.peer.stream is not None
    rig.peer.fills_refused = (507, "The disk is full.")
    rig.peer.stream.holes = [(114, 214)]
    rig.take(2)
    assert rig.disks[0].keep_from == 114
    rig.peer.stream.holes = []
    rig.peer.kept = False
    rig.take(2)
    assert rig.disks[0].keep_from == rig.capture.log.end
    rig.capture.finish()
    rig.settle()
    assert rig.disks[0].keep_from is None


def test_an_outage_longer_than_the_memory_begins_a_new_epoch_at_a_random_access_point():
    rig = Rig(window=4000)
    rig.take(3)
    rig.start()
    rig.peer.cut()
    rig.peer.up = False
    rig.take(40)
    rig.peer.up = True
    rig.settle(10)
    rig.take(2)
    assert [stream.ended for stream in rig.peer.past] == [True]
    assert rig.peer.past[0].data == rig.received[:0] + rig.peer.past[0].data
    assert rig.received.startswith(b"init")
    assert rig.received[14:].startswith(b"<41>")
    assert rig.received == rig.captured()
    assert any("a new one begins" in line for line in rig.tell.lines)


def test_where_no_random_access_point_is_held_the_new_epoch_waits_for_one():
    rig = Rig(window=1500)
    rig.take(2)
    rig.start()
    rig.peer.cut()
    rig.peer.up = False
    rig.take(20, every=1000)
    rig.peer.up = True
    rig.settle(10)
    assert rig.peer.stream is not None
    assert rig.peer.stream.ended
    rig.take(2, every=1000)
    assert rig.peer.past == []
    rig.take(1, every=rig.count - 1)
    assert rig.received[14:].startswith(b"<%d>" % (rig.count - 1))
    assert rig.capture.dropped == 2


def test_a_former_life_s_epoch_is_ended_and_a_new_one_begun():
    peer = Peer()
    peer.new_epoch(b"video/mp4").data = b"what a former life posted"
    rig = Rig(peer)
    rig.take(3)
    rig.start()
    assert peer.log[:3] == ["HEAD", "*/25", "0-13/*"]
    assert peer.past[0].ended
    assert rig.received == rig.captured()


def test_another_origin_is_left_alone_and_told_of():
    peer = Peer()
    stream = peer.new_epoch(b"video/mp4")
    stream.data, stream.owner = b"live", object()
    rig = Rig(peer)
    rig.take(3)
    rig.start()
    rig.settle(30)
    assert not stream.ended
    assert stream.data == b"live"
    assert any("Another Origin posts" in line and "trying again" in line for line in rig.tell.lines)
    stream.owner = None
    rig.settle(12)
    assert rig.received == rig.captured()


def test_one_s_own_epoch_is_taken_over_from_one_s_own_dead_connection():
    rig = Rig()
    rig.take(2)
    rig.start()
    rig.peer.cut()
    assert rig.peer.stream is not None
    rig.peer.stream.owner = object()
    rig.take(2)
    rig.settle(1)
    assert rig.received == rig.captured()


def test_an_epoch_that_somebody_ended_is_followed_by_another():
    rig = Rig()
    rig.take(7)
    rig.start()
    assert rig.peer.stream is not None
    rig.peer.stream.ended = True
    rig.take(2)
    rig.settle(1)
    assert len(rig.peer.past) == 1
    assert rig.received == rig.captured()
    assert rig.received[14:].startswith(b"<6>")


def test_a_finite_source_is_delivered_and_its_epoch_ended():
    rig = Rig()
    rig.start()
    rig.take(4)
    rig.capture.finish()
    rig.settle()
    assert rig.results == ["done"]
    assert rig.peer.stream is not None
    assert rig.peer.stream.ended
    assert rig.peer.log[-1] == "*/314"
    assert rig.received == rig.captured()


def test_a_source_that_gives_nothing():
    rig = Rig()
    rig.start()
    rig.capture.finish()
    rig.settle()
    assert isinstance(rig.results[0], LocalError)
    assert "without giving anything" in rig.results[0].detail


def test_a_source_of_which_nothing_is_left_when_it_ends():
    rig = Rig(window=1500)
    rig.take(2)
    rig.start()
    rig.peer.cut()
    rig.peer.up = False
    rig.take(20, every=1000)
    rig.peer.up = True
    rig.settle(10)
    asked = len(rig.peer.log)
    rig.settle(20)
    assert len(rig.peer.log) == asked
    rig.capture.finish()
    rig.settle(1)
    assert isinstance(rig.results[0], LocalError)
    assert "--store" in rig.results[0].detail


def test_the_end_is_said_again_where_its_answer_was_lost():
    rig = Rig()
    rig.start()
    rig.take(4)
    rig.peer.silent = True
    rig.capture.finish()
    rig.settle()
    rig.peer.cut()
    rig.peer.silent = False
    assert rig.results == []
    rig.settle(1)
    assert rig.results == ["done"]
    assert rig.peer.past == []
    assert rig.received == rig.captured()


@pytest.mark.parametrize("status", [401, 403, 415])
def test_a_refusal_for_good_ends_the_run(status):
    rig = Rig()
    rig.peer.refuse = (status, "Give a token.")
    rig.take(1)
    rig.start()
    assert isinstance(rig.results[0], Refusal)
    assert "Give a token" in rig.results[0].detail


def test_a_secret_that_is_missing_is_asked_for_where_head_says_no_more_than_401():
    rig = Rig()
    rig.peer.needs_secret = True
    rig.take(1)
    rig.start()
    assert isinstance(rig.results[0], Refusal)
    assert "--publish-token" in rig.results[0].detail


@pytest.mark.parametrize("status", [507, 503, 500, 412])
def test_a_refusal_for_now_is_tried_again(status):
    rig = Rig()
    rig.peer.refuse = (status, "The disk is full.")
    rig.take(3)
    rig.start()
    rig.settle(3)
    assert rig.results == []
    assert any("The disk is full" in line for line in rig.tell.lines)
    rig.peer.refuse = None
    rig.settle(10)
    assert rig.received == rig.captured()


def test_a_server_that_is_no_distributor():
    rig = Rig()
    rig.peer.new_epoch(None)
    rig.peer.takes_handshake = False
    rig.take(1)
    rig.start()
    assert rig.results == []  # it says Upload-Offset, by the header alone
    assert rig.peer.posts[-1][1][b"connection-type"] == b"origin"


@pytest.mark.parametrize(
    ("switch", "said"), [("says_offset", "no SDP Distributor"), ("keeps", "closes the connection")]
)
def test_a_server_that_takes_no_stream_is_told_of_and_is_sent_none(switch, said):
    rig = Rig()
    setattr(rig.peer, switch, False)
    rig.take(1)
    rig.start()
    rig.settle(2)
    assert rig.results == []
    assert rig.peer.posts == []
    assert any(said in line and "trying again" in line for line in rig.tell.lines)
    setattr(rig.peer, switch, True)
    rig.settle(12)
    assert rig.received == rig.captured()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_whatever_breaks_each_epoch_is_a_run_of_the_capture(data):
    """Random cuts, crashes, outages and held answers: nothing is lost, doubled or moved within an epoch."""
    disk = data.draw(st.booleans())
    rig = Rig(window=data.draw(st.sampled_from([3000, 100_000])), disk=disk, unanswered=4)
    rig.start()
    for _ in range(data.draw(st.integers(3, 15))):
        match data.draw(st.sampled_from(["take", "take", "take", "cut", "crash", "down", "up", "silent", "wait"])):
            case "take":
                rig.take(data.draw(st.integers(1, 12)))
            case "cut":
                rig.peer.cut()
            case "crash":
                rig.peer.crash()
            case "down":
                rig.peer.cut()
                rig.peer.up = False
            case "up":
                rig.peer.up = True
            case "silent":
                rig.peer.silent = not rig.peer.silent
            case "wait":
                rig.settle(2)
    rig.peer.silent = False
    rig.peer.up = True
    for connection in rig.peer.connections:
        connection.release()
    rig.take(6)
    rig.capture.finish()
    rig.settle(60)
    if not disk and isinstance(rig.results[0], LocalError):
        assert rig.capture.log.end == 0  # all of it went by while nobody took it: that is told, not passed over
        return
    assert rig.results == ["done"]
    assert rig.received.endswith(rig.captured()[-200:])
    if disk:
        assert rig.received == rig.disks[-1].data
    for stream in [*rig.peer.past, rig.peer.stream]:
        assert stream is not None
        numbers = [int(part.split(b">")[0]) for part in stream.data.split(b"<")[1:] if b">" in part]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True
        assert stream.data[:4] == b"init"[: len(stream.data)]
