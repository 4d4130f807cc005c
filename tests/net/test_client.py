"""The client's end of a connection, against answers written by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import HostnameAddress
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectingCancelledError, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sdp.errors import ProtocolError, SDPError
from sdp.http1 import End, Request, RequestReader
from sdp.net.address import parse_address
from sdp.net.client import (
    ClientFactory,
    ClientLimits,
    ClientProtocol,
    Disconnected,
    HandshakeRefused,
    Retired,
    Role,
    connect,
)

GREETING = b"HTTP/1.1 200 OK\r\nConnection-Type: distributor\r\nKeep-Alive: timeout=30, max=100\r\n\r\n"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


class Wire:
    """A client on a transport that keeps what was written, and a clock that moves when told."""

    def __init__(self, role=None, url="http://h:8080/a", factory=None, **limits):
        self.clock = Clock()
        self.factory = factory or ClientFactory(parse_address(url), role, self.clock, ClientLimits(**limits))
        self.client = self.factory.buildProtocol(None)
        self.transport = StringTransport()
        self.ready = got(self.client.ready)
        self.lost = got(self.client.lost)
        self.client.makeConnection(self.transport)

    def asked(self):
        """The requests written since the last call: (head, content) each."""
        reader = RequestReader()
        reader.feed(self.transport.value())
        self.transport.clear()
        requests: list[Any] = []
        content = b""
        event: Any
        while (event := reader.next_event()) is not None:
            if isinstance(event, Request):
                requests.append(event)
                content = b""
            elif isinstance(event, End):
                requests[-1] = (requests[-1], content)
            elif isinstance(event, bytes):
                content += event
        return requests

    def lose(self, reason=None):
        self.client.connectionLost(Failure(reason or ConnectionDone()))


def got(deferred: Deferred):
    """A list that holds what the Deferred fires with."""
    results: list = []
    deferred.addBoth(lambda result: results.append(result.value if isinstance(result, Failure) else result))
    return results


class Taken:
    """A receiver that writes down what it is told."""

    def __init__(self):
        self.events = []
        self.on_data = lambda: None

    def data_received(self, data):
        self.events.append(data)
        self.on_data()

    def ended(self, trailers):
        self.events.append("ended")

    def failed(self, error):
        self.events.append(error)


# -- requests and answers


def test_a_request_as_it_is_written():
    wire = Wire(url="http://cam:secret@h:8080/a")
    wire.client.fetch(b"POST", b"/a?b", [(b"Content-Range", b"bytes 0-4/*")], [b"he", b"llo"])
    [(request, content)] = wire.asked()
    assert (request.method, request.target, content) == (b"POST", b"/a?b", b"hello")
    assert list(request.headers) == [
        (b"Host", b"h:8080"),
        (b"Authorization", b"Basic Y2FtOnNlY3JldA=="),
        (b"Content-Range", b"bytes 0-4/*"),
        (b"Content-Length", b"5"),
    ]


def test_pipelined_answers_find_their_requests():
    wire = Wire()
    answers = [got(wire.client.fetch(method, b"/a")) for method in (b"HEAD", b"GET", b"POST")]
    assert wire.client.unanswered == 3
    wire.client.dataReceived(
        b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\n\r\n"
        b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nno\r\n1\r\n!\r\n0\r\n\r\n" + NO_CONTENT
    )
    assert [(answer.status, answer.content) for [answer] in answers] == [(200, b""), (404, b"no!"), (204, b"")]
    assert wire.client.unanswered == 0
    assert wire.client.usable


@given(st.lists(st.binary(max_size=20), min_size=1, max_size=6), st.data())
def test_answers_in_any_cuts(contents, data):
    wire = Wire()
    answers = [got(wire.client.fetch(b"GET", b"/a")) for _ in contents]
    stream = b"".join(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(each), each) for each in contents)
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        wire.client.dataReceived(stream[:cut])
        stream = stream[cut:]
    assert [answer.content for [answer] in answers] == contents


def test_content_comes_as_it_arrives():
    wire, taken = Wire(), Taken()
    head = got(wire.client.request(b"GET", b"/a", receiver=taken))
    wire.client.dataReceived(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\na")
    assert head[0].status == 200
    assert taken.events == [b"a"]
    wire.client.dataReceived(b"bc\r\n0\r\n\r\n")
    assert taken.events == [b"a", b"bc", "ended"]


def test_an_answer_until_the_connection_closes():
    wire = Wire()
    answer = got(wire.client.fetch(b"GET", b"/a"))
    wire.client.dataReceived(b"HTTP/1.0 200 OK\r\n\r\nall of it")
    assert not wire.client.usable
    wire.lose()
    assert answer[0].content == b"all of it"


def test_a_gathered_answer_has_a_limit():
    wire = Wire(content=4)
    answer = got(wire.client.fetch(b"GET", b"/a"))
    wire.client.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabcde")
    assert isinstance(answer[0], SDPError)
    assert "longer" in answer[0].detail
    assert wire.transport.disconnecting or wire.transport.disconnected


FAULTS = [
    (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", ProtocolError),
    (b"SSH-2.0-OpenSSH\r\n\r\n", ProtocolError),
]


@pytest.mark.parametrize(("data", "kind"), FAULTS)
def test_a_malformed_answer_fails_all_that_wait(data, kind):
    wire = Wire()
    answers = [got(wire.client.fetch(b"GET", b"/a")) for _ in range(2)]
    wire.client.dataReceived(data)
    assert [type(answer) for [answer] in answers] == [kind, kind]
    assert not wire.client.usable


def test_an_answer_that_nobody_asked_for():
    wire = Wire()
    wire.client.dataReceived(NO_CONTENT)
    assert not wire.client.usable
    wire.lose()
    assert isinstance(wire.lost[0], ProtocolError)


def test_a_lost_connection_fails_all_that_wait_once():
    wire, taken = Wire(), Taken()
    head = got(wire.client.request(b"GET", b"/a", receiver=taken))
    behind = got(wire.client.fetch(b"GET", b"/a"))
    wire.client.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    wire.lose(ConnectionLost())
    assert head[0].status == 200
    assert [type(event) for event in taken.events] == [bytes, Disconnected]
    assert isinstance(behind[0], Disconnected)
    assert isinstance(wire.lost[0], Disconnected)
    with pytest.raises(Disconnected):
        wire.client.request(b"GET", b"/a")


# -- the handshake


def test_the_handshake():
    wire = Wire(Role.ORIGIN)
    [(request, _)] = wire.asked()
    assert (request.method, request.target) == (b"CONNECT", b"h:8080")
    assert request.headers.get(b"connection-type") == b"origin"
    assert request.headers.get(b"connection") == b"keep-alive"
    assert request.headers.get(b"keep-alive") == b"timeout=60"
    assert wire.ready == []
    wire.client.dataReceived(GREETING)
    assert wire.ready == [wire.client]
    assert wire.client.requests_left == 100
    wire.client.fetch(b"GET", b"/a")
    [(request, _)] = wire.asked()
    assert b"connection-type" not in request.headers


@pytest.mark.parametrize("status", [400, 405, 501])
def test_a_refused_handshake_on_a_connection_that_goes_on(status):
    wire = Wire(Role.CONSUMER)
    wire.asked()
    wire.client.dataReceived(b"HTTP/1.1 %d No\r\nContent-Length: 2\r\n\r\nno" % status)
    assert wire.ready == [wire.client]
    wire.client.fetch(b"GET", b"/a")
    [(request, _)] = wire.asked()
    assert request.headers.get(b"connection-type") == b"consumer"


def test_a_refused_handshake_is_remembered_for_the_next_connection():
    wire = Wire(Role.CONSUMER)
    wire.client.dataReceived(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    assert isinstance(wire.ready[0], HandshakeRefused)
    assert wire.transport.disconnecting
    wire = Wire(factory=wire.factory)
    assert wire.ready == [wire.client]
    assert wire.asked() == []


def test_a_tunnel_is_not_spoken_into():
    wire = Wire(Role.CONSUMER)
    wire.client.dataReceived(b"HTTP/1.1 200 Connection established\r\n\r\n")
    assert isinstance(wire.ready[0], HandshakeRefused)
    assert wire.factory.header_alone


def test_another_refusal_is_no_reason_to_do_without():
    wire = Wire(Role.CONSUMER)
    wire.client.dataReceived(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    assert wire.ready[0].status == 503
    assert not wire.factory.header_alone


@implementer(IStreamClientEndpoint)
class Endpoint:
    """Connects at once, to transports that are kept."""

    def __init__(self, answers):
        self.answers = list(answers)

    def connect(self, factory):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            return _failed(answer)
        client = factory.buildProtocol(None)
        client.makeConnection(StringTransport())
        done: Deferred[ClientProtocol] = Deferred()
        done.callback(client)
        if answer:
            client.dataReceived(answer)
        return done


def _failed(error):
    deferred: Deferred = Deferred()
    deferred.errback(error)
    return deferred


def connecting(*answers):
    factory = ClientFactory(parse_address("http://h:8080/a"), Role.CONSUMER, Clock())
    return got(Deferred.fromCoroutine(connect(Endpoint(answers), factory)))


def test_connecting_does_without_the_handshake_where_it_must():
    [client] = connecting(b"HTTP/1.1 405 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", b"")
    assert client.usable


def test_what_cannot_be_connected_to_is_said_in_a_sentence():
    [error] = connecting(ConnectionRefusedError("Connection refused"))
    assert isinstance(error, Disconnected)
    assert error.detail == "h:8080 cannot be reached: Connection refused."


def test_connecting_can_be_called_off():
    class Silent:
        def connect(self, factory):
            return Deferred(lambda deferred: deferred.errback(ConnectingCancelledError(HostnameAddress(b"h", 8080))))

    endpoint: Any = Silent()
    factory = ClientFactory(parse_address("http://h:8080/a"), Role.CONSUMER, Clock())
    running = Deferred.fromCoroutine(connect(endpoint, factory))
    result = got(running)
    running.cancel()
    assert isinstance(result[0], CancelledError)


# -- Keep-Alive


def test_a_connection_is_retired_after_its_last_request():
    wire = Wire()
    first, second = got(wire.client.fetch(b"GET", b"/a")), got(wire.client.fetch(b"GET", b"/a"))
    wire.client.dataReceived(b"HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=9, max=1\r\n\r\n")
    assert not wire.client.usable  # the one request that is left was sent already
    wire.client.dataReceived(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
    assert (first[0].status, second[0].status) == (204, 204)
    assert wire.transport.disconnecting
    wire.lose()
    assert isinstance(wire.lost[0], Retired)


def test_what_is_behind_a_closing_answer_fails():
    wire = Wire()
    got(wire.client.fetch(b"GET", b"/a"))
    second = got(wire.client.fetch(b"GET", b"/a"))
    wire.client.dataReceived(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n" + NO_CONTENT)
    assert isinstance(second[0], Retired)


def test_an_idle_connection_is_closed_before_the_peer_would():
    wire = Wire()
    got(wire.client.fetch(b"GET", b"/a"))
    wire.client.dataReceived(b"HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=5\r\n\r\n")
    wire.clock.advance(3.9)
    assert wire.client.usable
    wire.clock.advance(0.2)
    assert not wire.client.usable
    assert wire.transport.disconnecting
    assert wire.clock.getDelayedCalls() == []


def test_an_unreadable_keep_alive_advises_nothing():
    wire = Wire()
    got(wire.client.fetch(b"GET", b"/a"))
    wire.client.dataReceived(b"HTTP/1.1 204 No Content\r\nKeep-Alive: timeout=soon\r\n\r\n")
    assert wire.client.usable


def test_closing_waits_for_the_answers():
    wire = Wire()
    answer = got(wire.client.fetch(b"GET", b"/a"))
    wire.client.close()
    assert not wire.transport.disconnecting
    wire.client.dataReceived(NO_CONTENT)
    assert answer[0].status == 204
    assert wire.transport.disconnecting


def test_only_so_many_requests_wait():
    wire = Wire(unanswered=2)
    for _ in range(2):
        got(wire.client.fetch(b"GET", b"/a"))
    assert not wire.client.usable
    wire.client.dataReceived(NO_CONTENT)
    assert wire.client.usable


# -- time


def test_a_head_that_does_not_come():
    wire = Wire(head_timeout=10)
    answer = got(wire.client.fetch(b"GET", b"/a"))
    wire.clock.advance(9.5)
    assert answer == []
    wire.clock.advance(1)
    assert answer[0].status == 504
    assert "silent" in answer[0].detail


def test_a_patient_request():
    wire = Wire(head_timeout=10)
    answer = got(wire.client.fetch(b"GET", b"/a", head_timeout=40))
    wire.clock.pump([5] * 7)
    wire.client.dataReceived(NO_CONTENT)
    assert answer[0].status == 204


def test_content_that_pauses_too_long():
    wire, taken = Wire(body_timeout=20), Taken()
    got(wire.client.request(b"GET", b"/a", receiver=taken))
    wire.client.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    wire.clock.pump([6, 6, 6])
    wire.client.dataReceived(b"d")
    wire.clock.pump([6, 6, 6])
    assert taken.events == [b"abc", b"d"]
    wire.clock.pump([6])
    assert isinstance(taken.events[-1], Disconnected)


def test_content_may_pause_for_ever_where_so_set():
    wire, taken = Wire(body_timeout=None), Taken()
    got(wire.client.request(b"GET", b"/a", receiver=taken))
    wire.client.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    wire.clock.pump([100] * 100)
    assert taken.events == [b"abc"]


# -- flow control


def test_a_receiver_that_pauses_holds_back_the_socket():
    wire, taken = Wire(), Taken()
    got(wire.client.request(b"GET", b"/a", receiver=taken))
    behind = got(wire.client.fetch(b"GET", b"/b"))
    taken.on_data = wire.client.pause_receiving
    wire.client.dataReceived(
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n" + NO_CONTENT
    )
    assert taken.events == [b"a"]
    assert wire.transport.producerState == "paused"
    wire.client.resume_receiving()
    assert taken.events == [b"a", b"b"]
    assert wire.transport.producerState == "paused"
    wire.client.resume_receiving()
    assert taken.events == [b"a", b"b", "ended"]
    assert wire.transport.producerState == "producing"
    assert behind[0].status == 204


def test_a_pause_does_not_count_as_silence():
    wire, taken = Wire(body_timeout=20), Taken()
    got(wire.client.request(b"GET", b"/a", receiver=taken))
    taken.on_data = wire.client.pause_receiving
    wire.client.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
    wire.clock.pump([15] * 10)
    wire.client.resume_receiving()
    wire.clock.pump([15])
    assert taken.events == [b"abc"]
    wire.clock.pump([15])
    assert isinstance(taken.events[-1], Disconnected)


def test_what_arrived_before_the_loss_waits_for_a_paused_receiver():
    wire, taken = Wire(), Taken()
    got(wire.client.request(b"GET", b"/a", receiver=taken))
    taken.on_data = wire.client.pause_receiving
    wire.client.dataReceived(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n1")
    wire.lose()
    assert taken.events == [b"a"]
    assert not wire.client.usable
    wire.client.resume_receiving()
    assert taken.events == [b"a", b"b"]
    wire.client.resume_receiving()
    assert isinstance(taken.events[-1], Disconnected)
    assert wire.clock.getDelayedCalls() == []


def test_a_socket_that_takes_no_more_is_told_to_who_writes():
    wire = Wire()
    client: Any = wire.client
    woken = []
    client.on_writable = lambda: woken.append(True)
    client.pauseProducing()
    assert not client.writable
    client.resumeProducing()
    assert client.writable
    assert woken == [True]


def test_the_client_is_the_producer_of_its_socket():
    assert verifyObject(IPushProducer, Wire().client)


def test_a_receiver_may_ask_again_from_within():
    wire, second = Wire(), []

    class Asking(Taken):
        def ended(self, trailers):
            second.append(got(wire.client.fetch(b"GET", b"/b")))

    taken = Asking()
    got(wire.client.request(b"GET", b"/a", receiver=taken))
    wire.asked()
    wire.client.dataReceived(NO_CONTENT)
    [(request, _)] = wire.asked()
    assert request.target == b"/b"
    wire.client.dataReceived(NO_CONTENT)
    assert second[0][0].status == 204
