"""Between the source's thread and the reactor's: order, and a source that waits when it is told to."""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from zope.interface.verify import verifyObject

from sdp.errors import MediaError
from sdp.interfaces import IRecordSink
from sdp.origin import inlet as module
from sdp.origin.inlet import Inlet
from sdp.stream.record import Flag

PATIENCE = 20.0


class Reactor:
    """Keeps what it is to call until the test lets it."""

    def __init__(self):
        self.calls: deque[Any] = deque()
        self.news = threading.Event()

    def callFromThread(self, call, *args):
        self.calls.append((call, args))
        self.news.set()

    def turn(self):
        while self.calls:
            call, args = self.calls.popleft()
            call(*args)


class Rig:
    def __init__(self):
        self.reactor = Reactor()
        self.taken: list[Any] = []
        self.inlet = Inlet(self.reactor, lambda *record: self.taken.append(record), self.taken.append)

    def source(self, *records):
        """A thread that gives records; ``given`` holds what it was answered."""
        given: list[bool] = []

        def give():
            given.extend(self.inlet.record(data, Flag.NONE, None) for data in records)

        thread = threading.Thread(target=give)
        thread.start()
        return thread, given


def test_records_pass_in_order():
    rig = Rig()
    assert verifyObject(IRecordSink, rig.inlet)
    thread, given = rig.source(b"a", b"b")
    thread.join(PATIENCE)
    assert given == [True, True]
    assert rig.taken == []
    error = MediaError("The camera is gone.")
    rig.inlet.ended(error)
    rig.reactor.turn()
    assert rig.taken == [(b"a", Flag.NONE, None), (b"b", Flag.NONE, None), error]


def test_a_held_source_waits_until_it_may_go_on():
    rig = Rig()
    rig.inlet.hold(True)
    thread, given = rig.source(b"a")
    assert given == []
    rig.inlet.hold(False)
    thread.join(PATIENCE)
    assert given == [True]


def test_a_reactor_that_is_busy_is_not_given_without_bound(monkeypatch):
    monkeypatch.setattr(module, "IN_FLIGHT", 10)
    rig = Rig()
    thread, given = rig.source(b"x" * 8, b"y" * 8, b"z" * 8)
    while len(rig.reactor.calls) < 2:
        assert rig.reactor.news.wait(PATIENCE)
        rig.reactor.news.clear()
    assert len(rig.reactor.calls) == 2  # the third waits
    rig.reactor.turn()
    thread.join(PATIENCE)
    rig.reactor.turn()
    assert given == [True, True, True]
    assert [record[0][:1] for record in rig.taken] == [b"x", b"y", b"z"]


def test_a_stop_lets_a_held_source_go_and_tells_it():
    rig = Rig()
    rig.inlet.hold(True)
    thread, given = rig.source(b"a")
    rig.inlet.stop()
    thread.join(PATIENCE)
    assert given == [False]
