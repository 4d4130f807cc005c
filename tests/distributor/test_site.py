"""From a request's head to who answers it, and the order of the checks on the way."""

from __future__ import annotations

import json

import pytest
from twisted.logger import LogEvent, Logger

from sdp.distributor.access import Access, Secrets

from .house import House, content_range

SECRET = b"Authorization: Bearer hunter2"
ORIGIN, CONSUMER, DISTRIBUTOR = (
    b"Connection-Type: origin",
    b"Connection-Type: consumer",
    b"Connection-Type: Distributor",
)


def guarded(*, read=False, **settings):
    """A Distributor with an open stream ``a`` of five bytes, and with secrets."""
    house = House(**settings)
    house.posted(b"hello")
    secrets = Secrets([(b"cam", b"hunter2")])
    house.factory.site._access = Access(secrets, secrets if read else None, ())
    return house


# Each request has every fault from its row on; what answers is the first of them.
ORDER = [
    # syntax, name, method, may you, epoch, who posts, where
    (400, b"POST", b"/.a", [b"Content-Range: x", b"Content-Length: 1"]),
    (411, b"POST", b"/.a", [b"Content-Range: bytes 9-9/*"]),
    (417, b"POST", b"/.a", [b"Content-Range: bytes 9-9/*", b"Content-Length: 1", b"Expect: more"]),
    (400, b"GET", b"/.a", [b"Content-Range: x"]),
    (400, b"GET", b"/.a", [b"Connection-Type: nobody"]),
    (404, b"BREW", b"/.a", []),
    (404, b"POST", b"/.a", [b"Content-Range: bytes 9-9/*", b"Content-Length: 1"]),
    (404, b"DELETE", b"/-/nothing", []),
    (405, b"BREW", b"/a", [CONSUMER]),
    (405, b"POST", b"/-/streams", [CONSUMER, b"Content-Length: 1"]),
    (401, b"POST", b"/a", [CONSUMER, b'If-Match: "0"', b"Content-Range: bytes 9-9/*", b"Content-Length: 1"]),
    (401, b"DELETE", b"/none", [CONSUMER]),
    (403, b"POST", b"/a", [SECRET, CONSUMER, b'If-Match: "0"', b"Content-Range: bytes 9-9/*", b"Content-Length: 1"]),
    (403, b"DELETE", b"/none", [SECRET, CONSUMER]),
    (412, b"POST", b"/a", [SECRET, b'If-Match: "0"', b"Content-Range: bytes 9-9/*", b"Content-Length: 1"]),
    (409, b"POST", b"/a", [SECRET, b"Content-Range: bytes 9-9/*", b"Content-Length: 1"]),
    (403, b"GET", b"/a", [ORIGIN, b'If-Match: "0"']),
    (412, b"GET", b"/a", [CONSUMER, b'If-Match: "0"', b"Content-Range: bytes 0-9/*"]),
    (412, b"GET", b"/none", [b'If-Match: "0"', b"Prefer: wait=5"]),
    (412, b"DELETE", b"/a", [SECRET, b'If-Match: "0"']),
    (416, b"GET", b"/a", [CONSUMER, b"Content-Range: bytes 0-9/*"]),
    (404, b"GET", b"/none", []),
    (404, b"DELETE", b"/none", [SECRET]),
]


@pytest.mark.parametrize(("status", "method", "target", "lines"), ORDER)
def test_the_order_of_the_checks(status, method, target, lines):
    house = guarded()
    answer = house.get(*lines, target=target, method=method, host="192.0.2.1")
    assert answer.status == status
    document = json.loads(answer.content)
    assert document["status"] == status
    assert document["detail"].endswith(".")
    if target == b"/a":
        assert answer[b"upload-offset"] == b"5"
        assert answer[b"etag"] == house.head()[2]
    elif target == b"/none":
        assert (answer[b"upload-offset"], answer[b"etag"]) == (b"0", None)
    else:
        assert answer[b"upload-offset"] is None


def test_a_refusal_says_what_is_allowed():
    house = guarded()
    assert house.get(method=b"BREW")[b"allow"] == b"GET, HEAD, POST, PUT, DELETE, OPTIONS"
    assert house.get(method=b"POST", target=b"/")[b"allow"] is None  # no length: syntax comes first
    [answer] = house.connect().post(b"/-/streams", b"")
    assert answer[b"allow"] == b"GET, HEAD, OPTIONS"
    assert house.get(method=b"DELETE", host="192.0.2.1")[b"www-authenticate"].startswith(b"Bearer")


def test_reading_may_need_a_secret():
    house = guarded(read=True)
    for target in (b"/a", b"/", b"/-/streams", b"/-/metrics"):
        assert house.get(target=target, method=b"HEAD").status == 401
        assert house.get(SECRET, target=target, method=b"HEAD").status == 200


class TestHandshake:
    @pytest.mark.parametrize("role", [b"origin", b"Consumer", b"DISTRIBUTOR"])
    def test_as_it_is_answered(self, role):
        peer = House().connect()
        [answer] = peer.get(b"anywhere.example:443", b"Connection-Type: " + role, method=b"CONNECT")
        assert answer.status == 200
        assert answer[b"connection-type"] == b"distributor"
        assert answer[b"keep-alive"] == b"timeout=30, max=999999"
        for name in (b"content-length", b"transfer-encoding", b"upload-offset"):
            assert answer[name] is None
        assert answer[b"connection"] == b"keep-alive"

    def test_requests_may_follow_in_the_same_packet(self):
        house = House()
        house.posted(b"hello")
        peer = house.connect()
        head = b"HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n"
        connect = b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\nConnection-Type: consumer\r\n\r\n"
        peer.send(connect + head, b"CONNECT", b"HEAD")
        assert [answer.status for answer in peer.answers()] == [200, 200]

    def test_it_needs_a_role(self):
        answer = House().get(target=b"h:80", method=b"CONNECT")
        assert answer.status == 400
        assert b"no proxy" in answer.content

    def test_it_comes_first_and_once(self):
        peer = House().connect()
        statuses = [peer.get(b"h:80", ORIGIN, method=b"CONNECT")[0].status for _ in range(2)]
        assert statuses == [200, 400]
        late = House().connect()
        late.get(b"/-/time")
        assert late.get(b"h:80", ORIGIN, method=b"CONNECT")[0].status == 400

    @pytest.mark.parametrize(
        ("role", "method", "target", "said", "status"),
        [
            (CONSUMER, b"POST", b"/a", (), 403),
            (CONSUMER, b"PUT", b"/a", (), 403),
            (CONSUMER, b"DELETE", b"/a", (), 403),
            (CONSUMER, b"HEAD", b"/a", (), 200),
            (CONSUMER, b"HEAD", b"/a", (CONSUMER,), 200),
            (CONSUMER, b"HEAD", b"/a", (ORIGIN,), 403),
            (ORIGIN, b"GET", b"/a", (), 403),
            (ORIGIN, b"HEAD", b"/a", (), 200),
            (ORIGIN, b"GET", b"/-/streams", (), 200),
            (ORIGIN, b"GET", b"/", (), 200),
            (ORIGIN, b"POST", b"/a", (), 204),
            (ORIGIN, b"PUT", b"/a", (), 204),
            (DISTRIBUTOR, b"POST", b"/a", (), 204),
            (DISTRIBUTOR, b"HEAD", b"/a", (DISTRIBUTOR,), 200),
            (DISTRIBUTOR, b"HEAD", b"/a", (CONSUMER,), 403),
        ],
    )
    def test_the_role_holds(self, role, method, target, said, status):
        house = House()
        house.posted(b"hello")
        peer = house.connect()
        peer.get(b"h:80", role, method=b"CONNECT")
        lines = [*said, content_range(5, 6), b"Content-Length: 1"] if method in (b"POST", b"PUT") else said
        [answer] = peer.get(target, *lines, method=method) or [None]
        if answer is None:
            peer.send(b"!")
            [answer] = peer.answers()
        assert answer.status == status

    def test_the_header_alone_holds_for_its_request(self):
        house = House()
        house.posted(b"hello")
        peer = house.connect()
        assert peer.get(b"/a", ORIGIN)[0].status == 403
        assert peer.get(b"/a", CONSUMER, method=b"HEAD")[0].status == 200


class TestCrossOrigin:
    def test_streams_and_views_may_be_read(self):
        house = guarded()
        for answer in (
            house.get(method=b"HEAD"),
            house.get(target=b"/-/streams"),
            house.get(target=b"/none"),
            house.get(method=b"OPTIONS"),
        ):
            assert answer[b"access-control-allow-origin"] == b"*"
            assert b"Upload-Offset" in (answer[b"access-control-expose-headers"] or b"")

    def test_posting_may_not_be_asked_for(self):
        house = guarded()
        answer = house.get(method=b"OPTIONS")
        assert (answer.status, answer[b"allow"]) == (204, b"GET, HEAD, POST, PUT, DELETE, OPTIONS")
        assert answer[b"access-control-allow-methods"] == b"GET, HEAD, OPTIONS"
        assert house.get(target=b"/-/time", method=b"OPTIONS")[b"allow"] == b"GET, HEAD, OPTIONS"
        [answer] = house.connect().post(b"/a", b"X", content_range(0, 1))
        assert answer[b"access-control-allow-origin"] is None

    def test_an_operator_may_name_one_or_none(self):
        house = House(allow_origin="https://x.example")
        answer = house.get(target=b"/-/time")
        assert (answer[b"access-control-allow-origin"], answer[b"vary"]) == (b"https://x.example", b"Origin")
        house = House(allow_origin="none")
        assert house.get(target=b"/-/time")[b"access-control-allow-origin"] is None
        assert house.get(target=b"/a", method=b"OPTIONS")[b"access-control-allow-methods"] is None

    def test_the_server_as_a_whole(self):
        answer = House().get(target=b"*", method=b"OPTIONS")
        assert (answer.status, answer[b"allow"]) == (204, b"GET, HEAD, POST, PUT, DELETE, OPTIONS")


def test_a_fault_of_our_own_is_logged_and_told():
    house = House()
    house.posted(b"hello")
    site = house.factory.site
    told: list[LogEvent] = []
    site.log = Logger(observer=told.append)  # type: ignore[arg-type]  # any callable observes

    async def broken(*anything):
        raise ZeroDivisionError

    site._answers.answer = broken
    answer = house.get()
    assert (answer.status, answer[b"upload-offset"]) == (500, b"5")
    assert [event["log_failure"].type for event in told] == [ZeroDivisionError]
