"""A server's connection, against requests written by hand and sites of a few lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolNegotiationFactory
from twisted.logger import LogEvent, Logger
from zope.interface.verify import verifyObject

from sdp.errors import ProtocolError, Refusal, SDPError
from sdp.http1.limits import Limits
from sdp.net.exchange import Framing
from sdp.net.server import ServerChannel
from tests.net.peer import Server, head


class Taker:
    """A body that writes down what it is told, and answers at its end with how much came."""

    def __init__(self, exchange):
        self.exchange = exchange
        self.events: list[Any] = []

    def data(self, data):
        self.events.append(data)

    def end(self):
        self.events.append("end")
        self.exchange.respond(200, [], b"took %d" % sum(len(each) for each in self.events[:-1]))

    def lost(self, error):
        self.events.append(error)


class Script:
    """A site: each target has its own behaviour; the exchanges and bodies are kept."""

    def __init__(self):
        self.exchanges: list[Any] = []
        self.bodies: list[Any] = []
        self.lost: list[bytes] = []
        self.also: Callable[[Any], Any] = lambda exchange: None

    def request(self, exchange):
        self.exchanges.append(exchange)
        target = exchange.request.target
        if target == b"/now":
            exchange.respond(200, [], b"now")
        elif target == b"/later":
            exchange.on_lost = lambda: self.lost.append(target)
        elif target == b"/stream":
            exchange.start(200, [], None)
            exchange.on_lost = lambda: self.lost.append(target)
        elif target == b"/refused":
            raise Refusal(409, "No", "Not so.", ((b"Retry-After", b"1"),))
        elif target == b"/bug":
            raise ZeroDivisionError
        elif target in (b"/take", b"/takelate"):
            exchange.send_continue()
            self.bodies.append(Taker(exchange))
            return self.bodies[-1]
        else:
            self.also(exchange)
        return None

    def refusal_headers(self, exchange):
        return [(b"Upload-Offset", b"7")]


def serving(**limits):
    site = Script()
    server = Server(site, **limits)
    return site, server, server.connect()


# -- requests and answers


def test_an_answer_as_it_is_written():
    _, _, peer = serving()
    peer.send(head(target=b"/now"), b"GET")
    assert peer.raw() == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: test\r\n"
        b"Connection: keep-alive\r\nKeep-Alive: timeout=30, max=999999\r\n\r\nnow"
    )


def test_the_date_moves():
    _, server, peer = serving()
    server.clock.advance(1)
    [answer] = peer.get(b"/now")
    assert answer[b"date"] == b"Sun, 06 Nov 1994 08:49:38 GMT"


def test_pipelined_requests_are_answered_in_their_order():
    site, _, peer = serving()
    targets = [b"/later", b"/now", b"/later", b"/now"]
    peer.send(b"".join(head(target=target) for target in targets), *[b"GET"] * 4)
    assert peer.answers() == []
    assert len(site.exchanges) == 1
    site.exchanges[0].respond(200, [], b"first")
    assert [answer.content for answer in peer.answers()] == [b"first", b"now"]
    site.exchanges[2].respond(204)
    assert [answer.status for answer in peer.answers()] == [204, 200]
    assert peer.reading


def test_answers_made_in_one_turn_go_out_in_one_write():
    _, server, peer = serving()
    peer.send(head(target=b"/now") * 5, *[b"GET"] * 5)
    assert len(peer.wire.writes) == 1
    assert len(peer.answers()) == 5
    assert server.factory.requests == 5


@given(st.data())
def test_whatever_the_cuts_the_answers_are_the_same(data):
    site, _, peer = serving()
    stream = (
        head(b"POST", b"/take", b"Content-Length: 5")
        + b"hello"
        + head(target=b"/now")
        + head(b"POST", b"/take", b"Transfer-Encoding: chunked")
        + b"3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
        + head(b"POST", b"/refused", b"Content-Length: 4")
        + b"drop"
        + head(target=b"/now")
    )
    methods = [b"POST", b"GET", b"POST", b"POST", b"GET"]
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        peer.send(stream[:cut], *methods)
        methods = []
        stream = stream[cut:]
    answers = [(answer.status, answer.content) for answer in peer.answers()]
    assert answers[:3] == [(200, b"took 5"), (200, b"now"), (200, b"took 4")]
    assert [status for status, _ in answers[3:]] == [409, 200]
    assert b"".join(site.bodies[0].events[:-1]) == b"hello"


def test_an_answer_from_within_the_answer_before_does_not_nest():
    site, _, peer = serving()
    depth = 2000
    peer.send(head(target=b"/now") * depth, *[b"GET"] * depth)
    assert len(peer.answers()) == depth
    peer.send(head(target=b"/later") + head(target=b"/now") * depth, *[b"GET"] * (depth + 1))
    site.exchanges[-1].respond(204)
    assert len(peer.answers()) == depth + 1


class TestStreamed:
    def test_chunked(self):
        site, _, peer = serving()
        [answer] = peer.get(b"/stream")
        assert (answer[b"transfer-encoding"], answer.whole) == (b"chunked", False)
        exchange = site.exchanges[0]
        assert exchange.framing is Framing.CHUNKED
        peer.channel.outflow.write(b"2\r\nhi\r\n")
        exchange.finish()
        exchange.finish()
        assert peer.answer()[2:] == (b"hi", True)
        assert peer.get(b"/now")[0].content == b"now"

    def test_its_head_goes_before_content_that_follows_at_once(self):
        site, _, peer = serving()

        def hello(exchange):
            assert exchange.start(200, [], 5) is Framing.LENGTH
            peer.channel.outflow.write(b"hello")
            exchange.finish()

        site.also = hello
        peer.send(head(target=b"/now") + head(target=b"/x") + head(target=b"/y"), *[b"GET"] * 3)
        assert [answer.content for answer in peer.answers()] == [b"now", b"hello", b"hello"]

    def test_until_close_for_http_1_0(self):
        site, _, peer = serving()
        [answer] = peer.get(b"/stream", b"Connection: keep-alive", version=b"1.0")
        assert (answer[b"connection"], answer[b"transfer-encoding"]) == (b"close", None)
        peer.channel.outflow.write(b"hi")
        assert not peer.closing
        site.exchanges[0].finish()
        assert peer.closing
        assert peer.answer().content == b"hi"

    def test_to_head_it_is_finished_by_its_head(self):
        _, _, peer = serving()
        [answer] = peer.get(b"/stream", method=b"HEAD")
        assert (answer[b"transfer-encoding"], answer.whole) == (b"chunked", True)
        [answer] = peer.get(b"/now", method=b"HEAD")
        assert (answer[b"content-length"], answer.content) == (b"3", b"")
        [answer] = peer.get(b"/stream", b"Connection: keep-alive", method=b"HEAD", version=b"1.0")
        assert answer[b"connection"] == b"keep-alive"

    def test_broken_off_it_has_no_end(self):
        site, server, peer = serving()
        peer.get(b"/stream")
        site.exchanges[0].refuse(SDPError("No more."))
        assert peer.wire.aborted
        assert not peer.answer().whole
        server.clock.advance(0)
        assert site.lost == [b"/stream"]
        assert (peer.channel.outflow.closed, len(server.sweep), server.factory.count.total) == (True, 0, 0)

    def test_an_answer_is_given_once(self):
        site, _, peer = serving()
        peer.get(b"/stream")
        with pytest.raises(RuntimeError):
            site.exchanges[0].respond(200)


@pytest.mark.parametrize(
    ("status", "method", "length"),
    [(204, b"GET", None), (304, b"GET", None), (200, b"CONNECT", None), (200, b"GET", b"0"), (400, b"CONNECT", b"0")],
)
def test_where_a_content_length_is_said(status, method, length):
    site, _, peer = serving()
    site.also = lambda exchange: exchange.respond(status)
    [answer] = peer.get(b"h:80" if method == b"CONNECT" else b"/x", method=method)
    assert (answer.status, answer[b"content-length"]) == (status, length)


# -- content


def test_content_that_nobody_takes_is_dropped():
    site, _, peer = serving(discard=10)
    answers = peer.post(b"/now", b"x" * 10) + peer.get(b"/now")
    assert [answer.status for answer in answers] == [200, 200]
    assert not peer.closing
    assert len(site.exchanges) == 2


def test_a_refusal_is_answered_before_its_content_comes_and_the_rest_is_dropped():
    _, _, peer = serving()
    peer.send(head(b"POST", b"/refused", b"Content-Length: 100"), b"POST")
    answer = peer.answer()
    assert (answer.status, answer[b"connection"]) == (409, b"keep-alive")
    assert (answer[b"retry-after"], answer[b"upload-offset"]) == (b"1", b"7")
    assert answer[b"content-type"] == b"application/problem+json"
    assert json.loads(answer.content) == {"title": "No", "status": 409, "detail": "Not so."}
    peer.send(b"x" * 100 + head(target=b"/now"), b"GET")
    assert peer.answer().content == b"now"


def test_content_beyond_the_limit_is_not_waited_for():
    _, _, peer = serving(discard=10)
    [answer] = peer.post(b"/refused", b"x" * 11)
    assert (answer.status, answer[b"connection"]) == (409, b"close")
    assert peer.closing


def test_chunked_content_beyond_the_limit_closes_after_the_answer():
    _, server, peer = serving(discard=10)
    peer.send(head(b"POST", b"/refused", b"Transfer-Encoding: chunked"), b"POST")
    assert peer.answer()[b"connection"] == b"keep-alive"
    peer.send(b"8\r\n" + b"x" * 8 + b"\r\n")
    assert not peer.closing
    peer.send(b"8\r\n" + b"x" * 8 + b"\r\n")
    assert peer.closing
    assert not peer.wire.aborted
    peer.send(b"y" * 10)
    assert not peer.wire.aborted
    peer.send(b"y")
    assert peer.wire.aborted
    server.clock.advance(0)
    assert server.factory.count.total == 0


def test_expect_is_asked_for_only_where_somebody_takes_the_content():
    _, _, peer = serving()
    peer.send(head(b"POST", b"/take", b"Content-Length: 2", b"Expect: 100-continue"), b"POST")
    assert peer.raw() == b"HTTP/1.1 100 Continue\r\n\r\n"
    peer.send(b"ab")
    assert peer.answer().content == b"took 2"
    peer.send(head(b"POST", b"/refused", b"Content-Length: 2", b"Expect: 100-continue"), b"POST")
    [answer] = peer.answers()
    assert (answer.status, answer[b"connection"]) == (409, b"close")
    assert peer.closing


def test_no_100_to_who_does_not_wait_for_it():
    _, _, peer = serving()
    assert [answer.status for answer in peer.post(b"/take", b"ab")] == [200]


def test_a_taker_may_pause_the_connection():
    site, _, peer = serving()
    peer.send(head(b"POST", b"/take", b"Content-Length: 6") + b"ab", b"POST")
    peer.channel.pause_body()
    peer.channel.pause_body()
    assert not peer.reading
    peer.send(b"cd")
    assert site.bodies[0].events == [b"ab"]
    peer.channel.resume_body()
    assert peer.reading
    peer.send(b"ef")
    assert site.bodies[0].events == [b"ab", b"cd", b"ef", "end"]
    peer.channel.resume_body()
    assert peer.answer().content == b"took 6"


def test_a_taker_may_stop():
    site, _, peer = serving()
    peer.send(head(b"POST", b"/take", b"Content-Length: 6") + b"ab", b"POST")
    peer.channel.stop_body()
    site.exchanges[0].refuse(ProtocolError("Enough."))
    peer.send(b"cdef" + head(target=b"/now"), b"GET")
    assert [answer.status for answer in peer.answers()] == [400, 200]
    assert site.bodies[0].events == [b"ab"]


def test_lost_in_the_midst():
    site, server, peer = serving()
    told: list[str] = []
    peer.channel.on_closed.add(lambda: told.append("closed"))
    peer.send(head(b"POST", b"/take", b"Content-Length: 6") + b"ab", b"POST")
    peer.lose()
    assert site.bodies[0].events == [b"ab", None]
    assert told == ["closed"]
    assert (len(server.sweep), server.factory.count.total, server.factory.channels) == (0, 0, set())
    site.exchanges[0].respond(200)
    peer.channel.resume_body()
    assert peer.raw() == b""


def test_lost_while_an_answer_is_waited_for():
    site, _, peer = serving()
    peer.get(b"/later")
    peer.lose()
    assert site.lost == [b"/later"]


# -- faults


class TestMalformed:
    def test_a_head(self):
        _, _, peer = serving()
        peer.send(head(target=b"/now") + b"GET /x HTTP/1.1\r\nHost: h\r\nBad Field: x\r\n\r\n", b"GET", b"GET")
        first, second = peer.answers()
        assert (first.status, second.status, second[b"connection"]) == (200, 400, b"close")
        assert second[b"server"] == b"test"
        assert json.loads(second.content)["status"] == 400
        assert peer.closing

    def test_nothing_after_it_is_read(self):
        site, _, peer = serving()
        peer.send(b"\x00\r\n\r\n" + head(target=b"/now"), b"GET")
        peer.send(head(target=b"/now"))
        assert [answer.status for answer in peer.answers()] == [400]
        assert site.exchanges == []

    def test_content_that_is_taken(self):
        site, _, peer = serving()
        peer.send(head(b"POST", b"/take", b"Transfer-Encoding: chunked") + b"2\r\nab\r\nxx\r\n", b"POST")
        assert peer.answer().status == 400
        taken, error = site.bodies[0].events
        assert (taken, error.status) == (b"ab", 400)
        assert peer.closing

    def test_content_after_its_answer_closes(self):
        _, _, peer = serving()
        peer.send(head(b"POST", b"/refused", b"Transfer-Encoding: chunked") + b"xx\r\n", b"POST")
        assert [answer.status for answer in peer.answers()] == [409]
        assert peer.closing

    def test_a_limit_has_its_own_status(self):
        _, _, peer = serving(message=Limits(start_line=20))
        peer.send(b"GET /" + b"x" * 30, b"GET")
        assert peer.answer().status == 414


def test_a_fault_of_our_own_is_logged_and_told():
    _, _, peer = serving()
    told: list[LogEvent] = []
    peer.channel.log = Logger(observer=told.append)  # type: ignore[arg-type]  # any callable observes
    [answer] = peer.get(b"/bug")
    assert (answer.status, answer[b"upload-offset"]) == (500, b"7")
    assert [event["log_failure"].type for event in told] == [ZeroDivisionError]
    assert peer.get(b"/now")[0].status == 200


# -- persistence


class TestPersistence:
    def test_the_count_runs_down(self):
        _, _, peer = serving(requests=3, idle_timeout=12)
        answers = [peer.get(b"/now")[0] for _ in range(3)]
        assert [answer[b"keep-alive"] for answer in answers] == [b"timeout=12, max=2", b"timeout=12, max=1", None]
        assert [answer[b"connection"] for answer in answers] == [b"keep-alive", b"keep-alive", b"close"]
        assert peer.closing

    def test_what_follows_the_last_request_is_not_answered(self):
        site, _, peer = serving(requests=1)
        peer.send(head(target=b"/now") * 2, b"GET", b"GET")
        assert len(peer.answers()) == len(site.exchanges) == 1

    @pytest.mark.parametrize(
        ("version", "connection", "kept"),
        [
            (b"1.1", (), True),
            (b"1.1", (b"Connection: close",), False),
            (b"1.0", (), False),
            (b"1.0", (b"Connection: keep-alive",), True),
        ],
    )
    def test_by_version_and_connection(self, version, connection, kept):
        _, _, peer = serving()
        [answer] = peer.get(b"/now", *connection, version=version)
        assert answer[b"connection"] == (b"keep-alive" if kept else b"close")
        assert (answer[b"keep-alive"] is not None) is kept
        assert peer.closing is not kept

    @pytest.mark.parametrize(
        ("said", "timeout"), [(b"timeout=3", 3), (b"timeout=300, max=5", 30), (b"max=5", 30), (b"timeout=-", 30)]
    )
    def test_a_client_lowers_the_idle_time(self, said, timeout):
        _, server, peer = serving()
        [answer] = peer.get(b"/now", b"Keep-Alive: " + said)
        assert answer[b"keep-alive"].startswith(b"timeout=%d," % timeout)
        [answer] = peer.get(b"/now")
        assert answer[b"keep-alive"].startswith(b"timeout=%d," % timeout)
        server.clock.pump([1.0] * (timeout - 1))
        assert not peer.closing
        server.clock.pump([1.0] * 2)
        assert peer.closing

    def test_whether_a_request_is_the_first(self):
        site, _, peer = serving()
        firsts: list[bool] = []

        def note(exchange):
            firsts.append(exchange.channel.first_request)
            exchange.respond(204)

        site.also = note
        peer.get(b"/x")
        peer.get(b"/x")
        assert firsts == [True, False]


# -- time


class TestTime:
    def test_a_connection_that_says_nothing_is_closed_without_a_word(self):
        _, server, peer = serving(head_timeout=3)
        server.clock.pump([1.0] * 3)
        assert peer.closing
        assert peer.raw() == b""

    def test_a_head_that_does_not_come_to_its_end(self):
        _, server, peer = serving(head_timeout=3)
        server.clock.pump([1.0] * 2)
        for byte in head(target=b"/now")[:2]:
            peer.send(bytes([byte]), b"GET")
            server.clock.advance(1)
        server.clock.advance(1)
        assert peer.answer().status == 408
        assert peer.closing

    def test_a_later_head_has_as_long(self):
        _, server, peer = serving(head_timeout=3, idle_timeout=10)
        peer.get(b"/now")
        server.clock.pump([1.0] * 9)
        peer.send(b"GET", b"GET")
        server.clock.pump([1.0] * 2)
        assert not peer.closing
        server.clock.pump([1.0] * 2)
        assert peer.answer().status == 408

    def test_content_may_come_slowly_but_not_stop(self):
        site, server, peer = serving(body_timeout=3)
        peer.send(head(b"POST", b"/take", b"Content-Length: 100"), b"POST")
        for _ in range(4):
            server.clock.pump([1.0] * 2)
            peer.send(b"x")
        assert peer.answers() == []
        server.clock.pump([1.0] * 3)
        assert peer.answer().status == 408
        assert site.bodies[0].events[-1].status == 408

    def test_who_is_paused_by_us_is_not_late(self):
        site, server, peer = serving(body_timeout=3)
        peer.send(head(b"POST", b"/take", b"Content-Length: 4"), b"POST")
        site.bodies[0].data = lambda data: peer.channel.pause_body()
        peer.send(b"ab")
        server.clock.pump([1.0] * 10)
        assert peer.answers() == []
        peer.channel.resume_body()
        server.clock.pump([1.0] * 3)
        assert peer.answer().status == 408

    def test_an_answer_may_take_as_long_as_it_takes(self):
        site, server, peer = serving(head_timeout=1, body_timeout=1, idle_timeout=1)
        peer.get(b"/later")
        server.clock.pump([1.0] * 100)
        assert not peer.closing
        site.exchanges[0].respond(200)
        assert peer.answer().status == 200

    def test_a_peer_that_does_not_close_in_turn_is_cut_off(self):
        _, server, peer = serving(linger_timeout=2)
        peer.get(b"/now", b"Connection: close")
        assert not peer.wire.aborted
        server.clock.pump([1.0] * 2)
        assert peer.wire.aborted
        server.clock.advance(0)
        assert server.factory.count.total == 0

    def test_what_is_sent_is_waited_for_before_the_end(self):
        site, server, peer = serving(linger_timeout=2)
        peer.send(head(b"GET", b"/later", b"Connection: close"), b"GET")
        peer.channel.outflow.pauseProducing()
        site.exchanges[0].respond(200)
        server.clock.pump([1.0] * 10)
        assert not peer.closing
        peer.channel.outflow.resumeProducing()
        assert peer.closing
        assert not peer.wire.aborted

    def test_who_takes_nothing_is_closed_and_counted(self):
        _, server, peer = serving(stall_timeout=5)
        other = server.connect()
        other.get(b"/stream")
        peer.get(b"/stream")
        peer.channel.outflow.pauseProducing()
        server.clock.advance(5)
        server.factory.close_stalled()
        assert not peer.wire.aborted
        server.clock.advance(1)
        server.factory.close_stalled()
        server.clock.advance(0)
        assert (peer.wire.aborted, other.wire.aborted, server.factory.stalled) == (True, False, 1)


# -- too much


def test_reading_stops_where_too_much_waits_behind_an_answer():
    site, server, peer = serving(backlog=100)
    peer.send(head(target=b"/later"), b"GET")
    peer.send(head(target=b"/later") * 2, b"GET", b"GET")
    assert peer.reading
    peer.send(head(target=b"/now") * 4, *[b"GET"] * 4)
    assert not peer.reading
    site.exchanges[0].respond(204)
    assert not peer.reading
    site.exchanges[1].respond(204)
    assert not peer.reading
    site.exchanges[2].respond(204)
    assert peer.reading
    assert len(peer.answers()) == 7
    assert server.factory.bytes_received == len(head(target=b"/later") * 3 + head(target=b"/now") * 4)


def test_a_connection_that_is_closed_while_it_is_paused_is_read_again():
    _, _, peer = serving(backlog=10)
    peer.send(head(target=b"/later") + b"x" * 100, b"GET")
    assert not peer.reading
    peer.channel.close()
    peer.channel.close()
    assert peer.reading


def test_too_many_connections():
    _, server, first = serving(connections_per_address=1)
    second = server.connect()
    second.send(head(target=b"/now"), b"GET")
    answer = second.answer()
    assert (answer.status, answer[b"connection"], answer[b"retry-after"]) == (503, b"close", b"5")
    assert second.closing
    assert first.get(b"/now")[0].status == 200
    second.lose()
    first.lose()
    assert server.connect().get(b"/now")[0].status == 200
    assert (server.factory.count.accepted, server.factory.count.refused) == (2, 1)


def test_an_exempt_address_has_no_limit_of_its_own():
    server = Server(Script(), exempt=lambda address: address == "127.0.0.1", connections_per_address=1)
    peers = [server.connect("127.0.0.1") for _ in range(3)]
    assert [peer.get(b"/now")[0].status for peer in peers] == [200] * 3


# -- the end of the server


class TestDraining:
    def drain(self, server, limit=3.0):
        done: list[None] = []
        Deferred.fromCoroutine(server.factory.drain(server.clock, limit)).addCallback(done.append)
        return done

    def test_where_nobody_is(self):
        assert self.drain(Server(Script())) == [None]

    def test_each_connection_by_where_it_is(self):
        site, server, idle = serving()
        half, waiting, streaming = server.connect(), server.connect(), server.connect()
        half.send(head(target=b"/now")[:-2], b"GET")
        waiting.get(b"/later")
        streaming.get(b"/stream")
        done = self.drain(server)
        assert (idle.closing, half.closing, waiting.closing, streaming.wire.aborted) == (True, False, False, True)
        half.send(b"\r\n")
        assert (half.answer()[b"connection"], half.closing) == (b"close", True)
        site.exchanges[0].respond(200)
        assert (waiting.answer()[b"connection"], waiting.closing) == (b"close", True)
        server.clock.advance(0)
        assert done == []
        for peer in (idle, half, waiting, streaming):
            peer.lose()
        assert done == [None]
        assert server.clock.getDelayedCalls() == [server.sweep._loop.call]

    def test_who_does_not_end_is_broken_off(self):
        _, server, peer = serving()
        peer.get(b"/later")
        done = self.drain(server, 3)
        server.clock.advance(2.9)
        assert not peer.wire.aborted
        server.clock.advance(0.1)
        assert peer.wire.aborted
        server.clock.advance(0)
        assert done == [None]

    def test_who_connects_meanwhile_is_answered_once(self):
        _, server, first = serving()
        self.drain(server)
        late = server.connect()
        assert late.get(b"/now")[0][b"connection"] == b"close"
        assert first.closing


def test_a_socket_sends_small_answers_at_once_and_tells_of_a_peer_that_is_gone():
    class Socketlike:
        def __init__(self, wire):
            self.wire = wire
            self.options = []

        def __getattr__(self, name):
            return getattr(self.wire, name)

        def setTcpNoDelay(self, enabled):
            self.options.append(("no delay", enabled))

        def setTcpKeepAlive(self, enabled):
            self.options.append(("keep alive", enabled))

    server = Server(Script())
    channel: ServerChannel = server.factory.buildProtocol(None)
    transport: Any = Socketlike(server.connect().wire)
    transport.wire.unregisterProducer()
    channel.makeConnection(transport)
    assert transport.options == [("no delay", True), ("keep alive", True)]


def test_over_tls_it_is_said_what_is_spoken():
    factory = Server(Script()).factory
    assert verifyObject(IProtocolNegotiationFactory, factory)
    assert factory.acceptableProtocols()[0] == b"http/1.1"
