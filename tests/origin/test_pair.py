"""The poster and a whole Distributor over transports in memory: whatever is cut, the log is the capture's."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.test.iosim import FakeTransport

from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import Role
from sdp.origin.capture import Capture
from sdp.origin.poster import Poster
from sdp.stream.record import Flag
from tests.consumer.pair import Distributor, Lines, outcome
from tests.distributor.disk import Disk, Kept

INITIALIZATION = b"\0\0\0\x10ftypiso6\0\0\0\0"


class Origin:
    """A capture and its poster."""

    def __init__(self, distributor: Distributor, name: str = "a", content_type: str = "video/x-test") -> None:
        self.distributor = distributor
        self.tell = Lines()
        self.capture = Capture(1 << 20, lambda: None, content_type)
        clock = distributor.reactor
        self.poster = Poster(
            self.capture,
            b"/" + name.encode(),
            Attempts(distributor.connecting(Role.ORIGIN, name), clock, Backoff(Random(1)), self.tell),
            self.tell,
            clock,
            now=lambda: int(clock.seconds() * 1e6),
        )
        self.capture.on_change = self.poster.wake
        self.count = 0
        self.running = Deferred.fromCoroutine(self.poster.run())
        self.results = outcome(self.running)

    def take(self, count: int = 1) -> None:
        for _ in range(count):
            flags = Flag.RANDOM_ACCESS if self.count else Flag.INITIALIZATION
            self.capture.take(b"<record %d>" % self.count if self.count else INITIALIZATION, flags, 1000, 0)
            self.count += 1
        self.distributor.settle()

    def finish(self) -> None:
        self.capture.finish()
        self.distributor.settle()

    @property
    def epoch(self) -> str:
        return (self.poster.epoch or b"").strip(b'"').decode()

    @property
    def captured(self) -> bytes:
        return b"".join(self.capture.log.read(self.capture.log.start))


class Cut:
    """Makes connections, of which the first is lost after so many bytes of one side."""

    def __init__(self, of_server: bool, after: int) -> None:
        self.of_server = of_server
        self.left = after
        self.passed = 0
        self.done = False

    def transport(self, protocol: Any, is_server: bool, **addresses: Any) -> FakeTransport:
        if is_server is self.of_server:
            return _CutTransport(self, protocol, is_server, **addresses)
        return FakeTransport(protocol, is_server, **addresses)


class _CutTransport(FakeTransport):
    def __init__(self, cut: Cut, protocol: Any, is_server: bool, **addresses: Any) -> None:
        super().__init__(protocol, is_server, **addresses)
        self.cut = cut

    def getOutBuffer(self) -> bytes | None:
        data: bytes | None = super().getOutBuffer()
        if data is None or self.cut.done:
            return data
        data = data[: self.cut.left]
        self.cut.left -= len(data)
        self.cut.passed += len(data)
        if not self.cut.left:
            self.cut.done = True
            self.disconnecting = True
        return data


def converse(distributor: Distributor, cut: Cut, name: str) -> Origin:
    """A short stream from its first to its last byte."""
    distributor.transport = cut.transport
    origin = Origin(distributor, name)
    distributor.settle()
    origin.take()
    origin.take(2)
    origin.finish()
    distributor.settle(2)
    return origin


@pytest.mark.parametrize("of_server", [False, True])
def test_a_connection_cut_at_any_byte_of_either_side_leaves_no_mark_in_the_log(of_server):
    distributor = Distributor()
    whole = Cut(of_server, 1 << 30)
    converse(distributor, whole, "whole")
    assert whole.passed > 500
    for after in range(whole.passed + 1):
        cut = Cut(of_server, after)
        origin = converse(distributor, cut, f"cut/{after}")
        assert origin.results == [None], (after, origin.tell.lines)
        assert distributor.content(f"cut/{after}") == origin.captured, after
        assert cut.done or after == whole.passed
        described = distributor.describe(f"cut/{after}")
        assert described["state"] == "ended", after
        assert described["epoch"] == origin.epoch


def lose(kept: Kept, count: int) -> None:
    """A crash takes the recording's last bytes with it."""
    del kept.data[len(kept.data) - count :]
    kept.end = kept.written = kept.durable = len(kept.data)
    kept.index = [record for record in kept.index if record.offset < kept.end]


class TestRestart:
    def test_without_a_store_all_that_is_held_goes_out_again_as_a_new_epoch(self):
        distributor = Distributor()
        origin = Origin(distributor)
        origin.take(4)
        epoch = origin.poster.epoch
        distributor.crash()
        distributor.settle(2)
        origin.take(2)
        assert distributor.content() == origin.captured
        assert origin.poster.epoch != epoch
        assert any("has lost the stream" in line for line in origin.tell.lines)

    @pytest.mark.parametrize("lost", [0, 1, 9, 10, 11, 25])
    def test_with_a_store_the_epoch_goes_on_where_the_recording_ends(self, lost):
        disk = Disk()
        distributor = Distributor(store=disk)
        origin = Origin(distributor)
        origin.take(4)
        epoch = origin.poster.epoch
        before = len(disk.kept[0].data)
        assert before == len(origin.captured)
        distributor.crash(lambda: lose(disk.kept[0], lost))
        distributor.settle(2)
        origin.take(2)
        assert origin.poster.epoch == epoch
        assert distributor.content() == bytes(disk.kept[0].data) == origin.captured
        assert len(disk.kept) == 1
        assert any(f"Going on at offset {before - lost}," in line for line in origin.tell.lines)


class TestTakeOver:
    def test_an_origin_takes_over_from_its_own_connection_of_which_only_it_knows_the_end(self):
        distributor = Distributor()
        origin = Origin(distributor)
        origin.take(3)
        epoch = origin.poster.epoch
        [old] = distributor.part()
        origin.take(2)
        distributor.settle(2)
        assert old.disconnecting  # the Distributor lets the dead one go
        assert origin.poster.epoch == epoch
        assert distributor.content() == origin.captured

    def test_another_origin_waits_for_the_first_one_s_end(self):
        distributor = Distributor()
        first = Origin(distributor)
        first.take(3)
        second = Origin(distributor)
        second.take(4)
        distributor.settle(20)
        first.take(2)
        assert distributor.content() == first.captured
        assert any("trying again" in line for line in second.tell.lines)
        assert first.tell.lines[1:] == []
        first.running.cancel()
        distributor.settle(20)
        second.take(1)
        assert distributor.content() == second.captured
        assert distributor.describe()["epoch"] == second.epoch
