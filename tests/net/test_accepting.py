"""A crowd at the door: few come in each turn, and all of them in the end."""

from __future__ import annotations

import socket

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.tcp import Port
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from sdp.net.accepting import ACCEPTED_A_TURN, MOST_ACCEPTED_A_TURN, accept_few


class Crowd(Factory):
    """Counts who came in."""

    noisy = False

    def __init__(self):
        self.came = []

    def buildProtocol(self, addr):
        protocol = Protocol()
        self.came.append(protocol)
        return protocol


class Readers(MemoryReactorClock):
    """Takes the file descriptors of real ports, and reads nothing of them by itself."""

    def addReader(self, reader):
        pass

    def removeReader(self, reader):
        pass


@pytest.fixture
def door():
    crowd = Crowd()
    port = Port(0, crowd, interface="127.0.0.1", reactor=Readers())
    port.startListening()
    callers = [socket.create_connection(("127.0.0.1", port.getHost().port)) for _ in range(20)]
    yield port, crowd
    for each in [*callers, *(protocol.transport.socket for protocol in crowd.came), port.socket]:
        each.close()


def test_a_crowd_comes_in_a_few_at_a_time_and_all_of_it_in_the_end(door):
    port, crowd = door
    accept_few(port, Clock().seconds)
    for turn in range(1, 20 // ACCEPTED_A_TURN + 1):
        port.doRead()
        assert len(crowd.came) == turn * ACCEPTED_A_TURN
    port.doRead()
    assert len(crowd.came) == 20


@pytest.mark.parametrize(("turn", "most"), [(0.0001, ACCEPTED_A_TURN), (0.007, 7), (60, MOST_ACCEPTED_A_TURN)])
def test_a_long_turn_lets_more_in(door, turn, most):
    port, crowd = door
    clock = Clock()
    accept_few(port, clock.seconds)
    clock.advance(turn)
    port.doRead()
    assert len(crowd.came) == most


def test_without_it_the_port_takes_all_at_once(door):
    port, crowd = door
    port.doRead()
    assert len(crowd.came) == 20


def test_another_kind_of_port_is_left_alone():
    @implementer(IListeningPort)
    class Other:
        def getHost(self):
            return IPv4Address("TCP", "192.0.2.1", 1)

        def startListening(self):
            """It listens."""

        def stopListening(self):
            """It does not."""

    other = Other()
    accept_few(other, Clock().seconds)
    assert vars(other) == {}
