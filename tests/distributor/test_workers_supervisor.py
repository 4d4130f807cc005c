"""The supervisor over processes that are only pretended: what it hands them, and what it does when they end."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tempfile
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import CannotListenError, ProcessDone, ProcessTerminated
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import LogEvent, Logger, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from sdp.distributor.settings import DistributorSettings
from sdp.distributor.supervisor import BEGUN, TERM_PATIENCE, Supervisor, SupervisorParts
from sdp.net.backoff import Backoff
from sdp.net.limits import ServerLimits
from sdp.net.shared_count import SharedCount, create_table
from sdp.net.sockets import Binder, is_shared

LOCAL = "tcp:0:interface=127.0.0.1"


class Pretended:
    """A process: what it was given, and the signals that it got."""

    def __init__(self, child, descriptors):
        self.child = child
        self.descriptors = descriptors
        self.written = b""
        self.signals: list[str] = []
        child.makeConnection(self)

    def write(self, data):
        self.written += data

    def signalProcess(self, name):
        self.signals.append(name)

    @property
    def orders(self):
        length, _, orders = self.written.partition(b"\n")
        assert len(orders) == int(length)
        return pickle.loads(orders)

    def say(self, level, text=""):
        self.child.childDataReceived(1, json.dumps([level, "sdp.test", text]).encode() + b"\n")

    def end(self, signal=None, status=0):
        reason = ProcessTerminated(status, signal) if signal or status else ProcessDone(0)
        self.child.processEnded(Failure(reason))


class TestSupervisor(TestCase):
    def setUp(self):
        self.reactor = MemoryReactorClock()
        self.reactor.running = False
        self.left: list[int] = []
        self.told: list[dict[str, Any]] = []
        self.spawned: list[Pretended] = []
        self.directory = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def begin(self, workers=3, listen=(LOCAL,)):
        def spawn(child, descriptors):
            self.spawned.append(Pretended(child, descriptors))
            return self.spawned[-1]

        parts = SupervisorParts(
            spawn=spawn,
            make_directory=lambda: self.directory,
            new_backoff=lambda: Backoff(Random(1), jitter=0.0),
            random_bytes=os.urandom,
        )
        settings = DistributorSettings(workers=workers, listen=listen, store=None)
        supervisor = Supervisor(settings, self.reactor, self.left.append, parts)
        supervisor.log = Logger(observer=self.told.append)  # type: ignore[arg-type]  # any callable observes
        supervisor.startService()
        self.reactor.run()
        return supervisor

    def begun(self, **settings):
        supervisor = self.begin(**settings)
        for each in self.spawned:
            each.say(BEGUN)
        return supervisor

    def stop(self, supervisor):
        done: list[Any] = []
        supervisor.stopService().addBoth(done.append)
        return done

    def end_all(self, supervisor):
        done = self.stop(supervisor)
        for each in self.spawned:
            if each.signals:
                each.end()
        assert done == [None]

    def texts(self):
        return [each.get("log_format") for each in self.told]

    def test_each_gets_a_socket_of_its_own_and_its_orders(self):
        supervisor = self.begin(listen=(LOCAL, LOCAL, "unix:/nowhere"))
        seats = [each.orders[1] for each in self.spawned]
        assert [seat.index for seat in seats] == [0, 1, 2]
        assert [seat.listening for seat in seats] == [(3, 4)] * 3
        assert [(seat.link, seat.tunnel) for seat in seats] == [(5, 6), (5, None), (5, None)]
        public = [each.descriptors[at] for each in self.spawned for at in (3, 4)]
        assert len(set(public)) == 6
        assert all(each.orders[0] == supervisor.settings for each in self.spawned)
        self.end_all(supervisor)

    def test_it_listens_when_all_do(self):
        supervisor = self.begin()
        for each in self.spawned[:2]:
            each.say(BEGUN)
        assert self.told == []
        self.spawned[2].say(BEGUN)
        [event] = self.told
        assert (event["count"], event["port"].host) == (3, "127.0.0.1")
        self.end_all(supervisor)

    def test_one_that_cannot_begin_is_the_end(self):
        supervisor = self.begin()
        self.spawned[0].say(BEGUN)
        self.spawned[1].end(status=1)
        assert self.left == [1]
        self.end_all(supervisor)
        assert len(self.spawned) == 3

    def test_one_that_dies_comes_back_later_and_later(self):
        supervisor = self.begun()
        for delay in (0.1, 0.2, 0.4):
            count = len(self.spawned)
            self.spawned[-1].end(signal=9)
            self.reactor.advance(delay * 0.9)
            assert len(self.spawned) == count
            self.reactor.advance(delay * 0.2)
            assert len(self.spawned) == count + 1
            assert self.spawned[-1].orders[1] == self.spawned[2].orders[1]
            assert self.spawned[-1].descriptors == self.spawned[2].descriptors
            self.spawned[-1].say(BEGUN)
        assert self.left == []
        self.end_all(supervisor)

    def test_one_that_has_run_for_long_comes_back_soon(self):
        supervisor = self.begun()
        for _ in range(5):
            self.reactor.advance(11)
            self.spawned[-1].end(signal=9)
            self.reactor.advance(0.11)
            self.spawned[-1].say(BEGUN)
        assert len(self.spawned) == 8
        self.end_all(supervisor)

    def test_an_inner_socket_that_was_taken_away_is_made_anew(self):
        supervisor = self.begun()
        link = self.directory / "2.link"
        link.unlink()  # as a process does that ends in good order
        self.spawned[2].end()
        self.reactor.advance(0.2)
        assert link.is_socket()
        self.end_all(supervisor)

    def test_what_they_log_is_told(self):
        supervisor = self.begun()
        told: list[LogEvent] = []
        observer: Any = told.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.spawned[1].say("info", "hello {there}")
        self.spawned[1].child.childDataReceived(2, b"half a ")
        self.spawned[1].child.childDataReceived(2, b"line\n")
        assert [(each["log_level"].name, each["log_namespace"], formatEvent(each)) for each in told] == [
            ("info", "sdp.test", "hello {there} [worker 1]"),
            ("warn", "sdp.distributor.workers", "half a line [worker 1]"),
        ]
        self.end_all(supervisor)

    def test_the_end_is_asked_for_and_then_forced(self):
        supervisor = self.begun()
        done = self.stop(supervisor)
        assert [each.signals for each in self.spawned] == [["TERM"]] * 3
        self.spawned[0].end()
        self.reactor.advance(TERM_PATIENCE + 1)
        assert [each.signals for each in self.spawned] == [["TERM"], ["TERM", "KILL"], ["TERM", "KILL"]]
        assert done == []
        for each in self.spawned[1:]:
            each.end(signal=9)
        assert done == [None]
        assert not self.directory.exists()
        assert self.reactor.getDelayedCalls() == []

    def test_a_restart_that_is_due_is_not_made_while_it_ends(self):
        supervisor = self.begun()
        self.spawned[1].end(signal=9)
        self.end_all(supervisor)
        self.reactor.advance(100)
        assert len(self.spawned) == 3

    def test_an_address_that_cannot_be_had_is_one_line(self):
        taken = Binder(self.reactor, 1)
        port = taken.listenTCP(0, None, interface="127.0.0.1").getHost().port
        self.addCleanup(taken.close)
        supervisor = self.begin(listen=(f"tcp:{port}:interface=127.0.0.1",))
        [event] = self.told
        assert "Address already in use" in event["detail"]
        assert (self.left, self.spawned) == ([1], [])
        assert self.stop(supervisor) == [None]


class TestSockets(TestCase):
    def test_one_port_for_all(self):
        binder = Binder(SimpleNamespace(), 3)
        self.addCleanup(binder.close)
        host = binder.listenTCP(0, None, interface="127.0.0.1").getHost()
        assert [each.getsockname() for each in binder.sockets[0]] == [("127.0.0.1", host.port)] * 3

    def test_shared_by_mistake(self):
        binder, other = Binder(SimpleNamespace(), 2), Binder(SimpleNamespace(), 2)
        self.addCleanup(binder.close)
        port = binder.listenTCP(0, None, interface="127.0.0.1").getHost().port
        self.assertRaises(CannotListenError, other.listenTCP, port, None, interface="127.0.0.1")

    def test_kinds(self):
        kinds = {"tcp:1": True, "tcp6:1": True, "ssl:1": True, "unix:/x": False, "systemd:domain=INET:index=0": False}
        assert {each: is_shared(each) for each in kinds} == kinds


def counts(directory, processes, **limits):
    path = Path(directory) / "table"
    create_table(path, processes)
    return [SharedCount(ServerLimits(**limits), path, index, processes, b"key") for index in range(processes)]


class TestSharedCount(TestCase):
    def setUp(self):
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)

    def test_the_limit_in_all(self):
        one, other = counts(self.directory, 2, connections=3)
        assert one.enter("192.0.2.1", exempt=True)
        assert other.enter("192.0.2.2", exempt=True)
        assert one.enter("192.0.2.3", exempt=True)
        assert not other.enter("192.0.2.4", exempt=True)
        other.leave("192.0.2.4")
        one.leave("192.0.2.1")
        assert other.enter("192.0.2.4", exempt=True)
        assert (one.total, other.total, one.refused, other.refused) == (1, 2, 0, 1)

    def test_the_limit_of_an_address(self):
        one, other = counts(self.directory, 2, connections_per_address=2)
        assert one.enter("192.0.2.1", exempt=False)
        assert other.enter("192.0.2.1", exempt=False)
        assert not one.enter("192.0.2.1", exempt=False)
        assert other.enter("192.0.2.1", exempt=True)
        assert other.enter("192.0.2.9", exempt=False)

    def test_who_takes_a_dead_ones_place_begins_at_none(self):
        one, other = counts(self.directory, 2, connections=2)
        assert one.enter("192.0.2.1", exempt=True)
        assert one.enter("192.0.2.1", exempt=True)
        assert not other.enter("192.0.2.2", exempt=True)
        SharedCount(ServerLimits(connections=2), Path(self.directory) / "table", 0, 2, b"key")
        assert other.enter("192.0.2.2", exempt=True)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), max_size=40))
def test_counts_agree_with_one_count_of_all(moves):
    """Whatever comes and goes where, three counts admit whom one would."""
    with tempfile.TemporaryDirectory() as directory:
        several = counts(directory, 3, connections=6, connections_per_address=3)
        inside: list[str] = []
        for process, number in moves:
            address = f"192.0.2.{number}"
            room = len(inside) < 6 and inside.count(address) < 3
            assert several[process].enter(address, exempt=False) is room
            if room:
                inside.append(address)
            else:
                several[process].leave(address)
