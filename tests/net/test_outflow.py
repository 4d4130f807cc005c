"""The way out of a connection: straight to a socket, through the transport for the rest, and who is told of it."""

from __future__ import annotations

import socket

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.main import CONNECTION_LOST
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from zope.interface.verify import verifyObject

from sdp.net.outflow import PIECE, Outflow


def fired(deferred: Deferred):
    """A list that holds what the Deferred fires with."""
    results: list = []
    deferred.addBoth(lambda result: results.append(result.type if isinstance(result, Failure) else result))
    return results


class Line:
    """An outflow on a real socket, whose other end reads only when told; the reactor is turned by hand."""

    def __init__(self, buffer=4096):
        self.near, self.far = socket.socketpair()
        for each in (self.near, self.far):
            each.setblocking(False)
        self.near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer)
        self.reactor = MemoryReactorClock()
        self.transport = Connection(self.near, Protocol(), self.reactor)
        self.transport.connected = True
        self.transport.startReading()
        self.clock = Clock()
        self.outflow = Outflow(self.transport, self.clock.seconds)

    def read(self):
        """All that the other end can read now."""
        data = b""
        while True:
            try:
                piece = self.far.recv(1 << 16)
            except BlockingIOError:
                return data
            if not piece:
                return data
            data += piece

    def turn(self):
        """One turn of the reactor: what waits is written as far as the socket takes it."""
        if self.transport in self.reactor.writers:
            self.transport.doWrite()

    def buffered(self):
        return len(self.transport.dataBuffer) - self.transport.offset + self.transport._tempDataLen

    def close(self):
        for each in (self.near, self.far):
            each.close()


@pytest.fixture
def line():
    line = Line()
    yield line
    line.close()


class TestDirect:
    def test_what_the_socket_takes_never_meets_the_transport(self, line):
        verifyObject(IPushProducer, line.outflow)
        assert line.outflow.direct
        assert line.outflow.write(b"hello")
        assert line.read() == b"hello"
        assert line.transport not in line.reactor.writers

    def test_what_it_does_not_take_follows_in_order_and_is_never_copied(self, line):
        data = bytes(range(256)) * 4096
        assert not line.outflow.write(data)
        assert not line.outflow.write(b"the end")
        assert line.outflow.paused
        drained = fired(line.outflow.drained())
        received = b""
        while line.outflow.paused:
            assert drained == []
            assert line.buffered() == 0
            received += line.read()
            line.turn()
        received += line.read()
        assert drained == [None]
        assert received == data + b"the end"
        assert line.outflow.write(b"!")
        assert line.read() == b"!"

    def test_a_peer_that_takes_piece_after_piece_is_seen_to_take(self, line):
        line.clock.advance(5)
        line.outflow.write(b"x" * (PIECE * 4))
        assert line.outflow.taken_at == 5
        times = set()
        while line.outflow.paused:
            line.clock.advance(1)
            line.read()
            line.turn()
            times.add(line.outflow.taken_at)
        assert len(times) > 3
        assert line.outflow.taken_at == line.clock.seconds()

    def test_put_back_goes_on_after_what_send_took(self, line):
        data = b"0123456789" * 20_000
        sent = line.outflow.send(data)
        assert 0 < sent < len(data)
        line.outflow.put_back(data, sent)
        received = b""
        while line.outflow.paused:
            received += line.read()
            line.turn()
        assert received + line.read() == data

    def test_a_broken_connection_is_left_to_the_transport(self, line):
        line.far.close()
        assert not line.outflow.write(b"hello")
        assert line.outflow.paused
        assert line.transport in line.reactor.writers

    def test_a_connection_that_breaks_while_something_waits_is_the_transport_s_to_tell(self, line):
        line.outflow.write(bytes(1 << 20))
        line.far.close()
        for _ in range(3):
            if line.transport in line.reactor.writers:
                ended = line.transport.doWrite()
        assert ended is CONNECTION_LOST
        assert line.outflow.paused

    def test_what_waits_is_shared(self, line):
        other = Line()
        try:
            data = bytes(1 << 20)
            for each in (line, other):
                each.outflow.write(data)
            assert {id(rest.obj) for each in (line, other) for rest in each.outflow._rest} == {id(data)}
        finally:
            other.close()

    def test_finish_ends_this_side_only(self, line):
        line.outflow.write(b"bye")
        line.outflow.finish()
        assert line.far.recv(10) == b"bye"
        line.turn()
        assert line.far.recv(10) == b""
        line.far.send(b"still read")
        assert line.near.recv(20) == b"still read"
        assert not line.outflow.write(b"more")

    def test_what_is_corked_goes_out_together(self, line):
        line.outflow.cork()
        assert line.outflow.write(b"head ")
        assert line.outflow.write(b"content ")
        with pytest.raises(BlockingIOError):
            line.far.recv(100, socket.MSG_DONTWAIT)
        line.outflow.flush()
        assert line.read() == b"head content "
        line.outflow.write(b"and ")
        line.outflow.uncork()
        line.outflow.write(b"more")
        assert line.read() == b"and more"

    def test_what_is_held_has_a_limit(self, line):
        line.outflow.cork()
        line.outflow.write(b"a" * (PIECE - 1))
        with pytest.raises(BlockingIOError):
            line.far.recv(100, socket.MSG_DONTWAIT)
        assert not line.outflow.write(b"b")  # it was sent, and the small socket did not take all of it
        assert line.read() != b""

    def test_whoever_waits_or_finishes_sends_what_is_held(self, line):
        line.outflow.cork()
        line.outflow.write(b"one ")
        assert fired(line.outflow.drained()) == [None]
        line.outflow.write(b"two")
        line.outflow.finish()
        assert line.far.recv(100) == b"one two"

    def test_a_lost_connection_takes_what_is_held_along(self, line):
        line.outflow.cork()
        line.outflow.write(b"never sent")
        line.outflow.close()
        line.outflow.uncork()
        with pytest.raises(BlockingIOError):
            line.far.recv(100, socket.MSG_DONTWAIT)

    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.tuples(st.binary(min_size=1, max_size=64), st.integers(1, 4000), st.booleans()), max_size=8))
    def test_every_byte_in_order_however_it_is_taken(self, writes):
        line = Line()
        try:
            sent = received = b""
            for content, times, reads in writes:
                # Corked or not, in one piece or in many: a third of the cases each is enough of both.
                if times % 3:
                    line.outflow.cork()
                for piece in (content, content * (times - 1)):
                    line.outflow.write(piece)
                if times % 3 == 1:
                    line.outflow.uncork()
                sent += content * times
                if reads:
                    line.outflow.flush()
                    received += line.read()
                    line.turn()
            line.outflow.uncork()
            while line.outflow.paused:
                received += line.read()
                line.turn()
            assert received + line.read() == sent
        finally:
            line.close()


class TestThroughTheTransport:
    """Where the transport is no plain socket (TLS, a test): it pauses us, and buffers."""

    def setup_method(self):
        self.transport = StringTransport()
        self.outflow = Outflow(self.transport, Clock().seconds)

    def test_it_is_a_push_producer_there(self):
        assert not self.outflow.direct
        assert self.transport.streaming
        assert self.outflow.send(b"hello") == 5
        assert self.transport.value() == b"hello"

    def test_a_paused_one_takes_no_run_but_still_writes(self):
        self.outflow.pauseProducing()
        with pytest.raises(BlockingIOError):
            self.outflow.send(b"run")
        assert not self.outflow.write(b"abc")
        self.outflow.put_back(b"xxdef", 2)
        assert self.transport.value() == b"abcdef"
        self.outflow.resumeProducing()
        assert self.outflow.write(b"g")

    def test_finish_closes(self):
        self.outflow.finish()
        assert self.transport.disconnecting
        assert self.transport.producer is None


class TestWaiting:
    def setup_method(self):
        self.transport = StringTransport()
        self.outflow = Outflow(self.transport, Clock().seconds)

    def test_at_once_where_nothing_waits(self):
        assert fired(self.outflow.drained()) == [None]

    def test_all_who_wait_are_told(self):
        self.outflow.pauseProducing()
        self.outflow.pauseProducing()
        first, second = fired(self.outflow.drained()), fired(self.outflow.drained())
        assert first == second == []
        self.outflow.resumeProducing()
        assert first == second == [None]

    def test_who_has_given_up_is_not_told(self):
        self.outflow.pauseProducing()
        waiting = self.outflow.drained()
        result = fired(waiting)
        waiting.cancel()
        assert result == [CancelledError]
        self.outflow.resumeProducing()
        assert result == [CancelledError]

    def test_a_lost_connection_cancels_and_takes_nothing_more(self):
        self.outflow.pauseProducing()
        result = fired(self.outflow.drained())
        self.outflow.stopProducing()
        self.outflow.close()
        assert result == [CancelledError]
        assert fired(self.outflow.drained()) == [CancelledError]
        assert not self.outflow.write(b"more")
        self.outflow.put_back(b"more", 0)
        assert self.transport.value() == b""
