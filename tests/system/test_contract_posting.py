"""Section 4 of the wire contract, from outside: each row of the posting table, and what surrounds it."""

from __future__ import annotations

import pytest

from tests.system.client import LAST_CHUNK, OPEN_END, Peer, Response, chunk, content_range
from tests.system.processes import Distributor, eventually, problem_of

pytestmark = pytest.mark.system

CHUNKED = {"Transfer-Encoding": "chunked"}
OPEN = {"Content-Range": f"bytes 0-{OPEN_END}/*", **CHUNKED}


def handshaken(server: Distributor, role: str = "origin") -> Peer:
    peer = server.peer()
    assert peer.call("CONNECT", "a:1", {"Connection-Type": role}).status == 200
    return peer


def begin_open(server: Distributor, name: str, data: bytes, first: int = 0, **fields: str) -> Peer:
    """Begin an open-ended POST and wait until its first bytes are in the log."""
    peer = server.peer()
    head = {"Content-Range": f"bytes {first}-{OPEN_END}/*", **CHUNKED, **fields}
    peer.send(peer.head_bytes("POST", f"/{name}", head) + chunk(data))
    reaches(server, name, first + len(data))
    return peer


def reaches(server: Distributor, name: str, end: int) -> None:
    eventually(lambda: server.call("HEAD", f"/{name}").end == end, f"{name} at {end}")


def is_let_go(server: Distributor, name: str) -> None:
    eventually(lambda: not server.describe(name)["origin_connected"], "the connection's end at the Distributor")


def untouched(server: Distributor, name: str, data: bytes, etag: str) -> None:
    head = server.call("HEAD", f"/{name}")
    assert (head.end, head.etag) == (len(data), etag)
    assert server.log_of(name) == data


# -- rows of the table -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_first_post_begins_an_epoch(distributor: Distributor, name: str, method: str) -> None:
    response = distributor.call(method, f"/{name}", {**content_range(0, 2), "Content-Type": "a/b"}, b"abc")
    assert (response.status, response.end) == (201, 3)
    head = distributor.call("HEAD", f"/{name}")
    assert (head.etag, head["Content-Type"]) == (response.etag, "a/b")


def test_a_post_at_the_end_is_appended(distributor: Distributor, name: str) -> None:
    first = distributor.post(name, 0, b"abc")
    second = distributor.post(name, 3, b"defg")
    assert (second.status, second.end, second.etag) == (204, 7, first.etag)
    assert distributor.log_of(name) == b"abcdefg"


def test_a_chunked_post_has_the_length_its_range_says(distributor: Distributor, name: str) -> None:
    with distributor.peer() as peer:
        peer.send(peer.head_bytes("POST", f"/{name}", {**content_range(0, 5), **CHUNKED}))
        peer.send(chunk(b"ab") + chunk(b"cdef") + LAST_CHUNK)
        response = peer.response("POST")
        assert (response.status, response.end) == (201, 6)
        assert peer.call("HEAD", f"/{name}").end == 6


@pytest.mark.parametrize(
    ("first", "data", "end"), [(0, b"abc", 6), (0, b"abcdef", 6), (2, b"cd", 6), (3, b"defgh", 8), (0, b"abcdefg", 7)]
)
def test_sending_again_is_safe(distributor: Distributor, name: str, first: int, data: bytes, end: int) -> None:
    distributor.post(name, 0, b"abcdef")
    response = distributor.post(name, first, data)
    assert (response.status, response.end) == (204, end)
    assert distributor.log_of(name) == b"abcdefgh"[:end]


@pytest.mark.parametrize(("first", "data"), [(0, b"Xbc"), (3, b"deX"), (5, b"Xgh"), (0, b"abcdeX")])
def test_an_overlap_that_differs(distributor: Distributor, name: str, first: int, data: bytes) -> None:
    etag = distributor.post(name, 0, b"abcdef").etag
    refused = distributor.post(name, first, data)
    problem_of(refused, 409)
    assert (refused.end, refused.etag) == (6, etag)
    untouched(distributor, name, b"abcdef", etag)


def test_an_overlap_that_is_no_longer_held(start, name: str) -> None:
    server = start("--memory", "64KiB")
    block = bytes(range(256)) * 128
    for number in range(8):
        assert server.post(name, number * len(block), block).status in (201, 204)
    held = server.describe(name)["first_offset"]
    assert held > 0
    problem_of(server.post(name, 0, block), 409)
    assert server.post(name, held, block[held % 256 : held % 256 + 100]).status == 204
    assert server.call("HEAD", f"/{name}").end == 8 * len(block)


def test_a_gap(distributor: Distributor, name: str) -> None:
    refused = distributor.post(name, 4, b"efg")
    problem_of(refused, 409)
    assert refused.end == 0
    assert refused.get("ETag") is None
    etag = distributor.post(name, 0, b"abc").etag
    refused = distributor.post(name, 4, b"efg")
    problem_of(refused, 409)
    assert (refused.end, refused.etag) == (3, etag)
    untouched(distributor, name, b"abc", etag)


@pytest.mark.parametrize("way", ["length", "chunked"])
def test_a_body_shorter_than_its_range(distributor: Distributor, name: str, way: str) -> None:
    distributor.post(name, 0, b"abc")
    with distributor.peer() as peer:
        if way == "length":
            peer.ask("POST", f"/{name}", content_range(3, 9), b"def")
        else:
            head = peer.head_bytes("POST", f"/{name}", {**content_range(3, 9), **CHUNKED})
            peer.send(head + chunk(b"def") + LAST_CHUNK)
        refused = peer.response("POST")
        problem_of(refused, 400)
        assert refused.end == 6
        assert refused["Connection"] == "close"
        assert peer.ended()
    assert distributor.log_of(name) == b"abcdef"
    assert distributor.post(name, 6, b"ghij").end == 10


@pytest.mark.parametrize("way", ["length", "chunked"])
def test_a_body_longer_than_its_range(distributor: Distributor, name: str, way: str) -> None:
    distributor.post(name, 0, b"abc")
    with distributor.peer() as peer:
        if way == "length":
            peer.ask("POST", f"/{name}", content_range(3, 5), b"defghi")
        else:
            head = peer.head_bytes("POST", f"/{name}", {**content_range(3, 5), **CHUNKED})
            peer.send(head + chunk(b"defg") + chunk(b"hi") + LAST_CHUNK)
        refused = peer.response("POST")
        problem_of(refused, 400)
        assert refused["Connection"] == "close"
        assert peer.ended()
    assert distributor.log_of(name) == b"abcdef"


def test_an_epoch_is_ended(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc").etag
    for _ in range(2):
        response = distributor.finish(name, 3)
        assert (response.status, response.end, response.etag) == (204, 3, etag)
        assert distributor.describe(name)["state"] == "ended"
    refused = distributor.finish(name, 4)
    problem_of(refused, 409)
    assert (refused.end, refused.etag) == (3, etag)


@pytest.mark.parametrize("length", [0, 2, 4])
def test_an_epoch_is_not_ended_elsewhere(distributor: Distributor, name: str, length: int) -> None:
    etag = distributor.post(name, 0, b"abc").etag
    refused = distributor.finish(name, length)
    problem_of(refused, 409)
    assert refused.etag == etag
    assert distributor.describe(name)["state"] == "live"


def test_no_stream_is_ended(distributor: Distributor, name: str) -> None:
    for length in (0, 3):
        refused = distributor.finish(name, length)
        problem_of(refused, 409)
        assert refused.end == 0
        assert refused.get("ETag") is None
    assert distributor.call("HEAD", f"/{name}").status == 404


def test_the_end_needs_an_empty_body(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    problem_of(distributor.call("POST", f"/{name}", {"Content-Range": "bytes */3"}, b"x"), 400)
    with distributor.peer() as peer:
        peer.send(peer.head_bytes("POST", f"/{name}", {"Content-Range": "bytes */3", **CHUNKED}))
        peer.send(chunk(b"x") + LAST_CHUNK)
        problem_of(peer.response("POST"), 400)
    assert distributor.describe(name)["state"] == "live"
    with distributor.peer() as peer:
        peer.send(peer.head_bytes("POST", f"/{name}", {"Content-Range": "bytes */3", **CHUNKED}) + LAST_CHUNK)
        assert peer.response("POST").status == 204
    with distributor.peer() as peer:
        assert peer.call("POST", f"/{name}", {"Content-Range": "bytes */3"}).status == 204


def test_a_complete_length_ends_the_epoch_when_it_is_reached(distributor: Distributor, name: str) -> None:
    assert distributor.post(name, 0, b"abc", complete=7).status == 201
    assert distributor.describe(name)["state"] == "live"
    assert distributor.post(name, 3, b"d").status == 204
    assert distributor.post(name, 4, b"efg").status == 204
    assert distributor.describe(name)["state"] == "ended"
    assert distributor.call("GET", f"/{name}").body == b"abcdefg"


def test_a_complete_length_in_one_post(distributor: Distributor, name: str) -> None:
    assert distributor.post(name, 0, b"abc", complete=3).status == 201
    assert distributor.describe(name)["state"] == "ended"
    assert distributor.finish(name, 3).status == 204


def test_a_complete_length_that_is_held_already(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    assert distributor.post(name, 0, b"abc", complete=3).status == 204
    assert distributor.describe(name)["state"] == "ended"


def test_another_complete_length(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc", complete=10).etag
    problem_of(distributor.post(name, 3, b"def", complete=9), 409)
    problem_of(distributor.post(name, 3, b"def", complete=11), 409)
    untouched(distributor, name, b"abc", etag)
    assert distributor.post(name, 3, b"def", complete=10).status == 204


def test_nothing_passes_a_complete_length(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc", complete=5).etag
    problem_of(distributor.post(name, 3, b"def"), 409)
    assert distributor.call("HEAD", f"/{name}").etag == etag
    assert distributor.call("HEAD", f"/{name}").end <= 5


def test_a_complete_length_below_the_end(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abcdef").etag
    problem_of(distributor.post(name, 0, b"abc", complete=3), 409)
    untouched(distributor, name, b"abcdef", etag)
    assert distributor.describe(name)["state"] == "live"


@pytest.mark.parametrize(
    ("first", "data", "complete", "match", "status"),
    [
        (3, b"d", "*", False, 409),  # past the end
        (2, b"cd", "*", False, 409),
        (2, b"c", "*", False, 204),  # held and equal
        (1, b"bc", "*", True, 204),
        (0, b"abc", "*", True, 204),
        (0, b"abc", 3, True, 204),
        (0, b"abX", "*", True, 409),
        (1, b"X", "*", False, 409),
        (3, b"def", "*", True, 409),
        (5, b"f", "*", False, 409),
        (0, b"abcd", "*", True, 409),
        (0, b"abc", 4, True, 409),
    ],
)
def test_the_epoch_has_ended(
    distributor: Distributor, name: str, first: int, data: bytes, complete: int | str, match: bool, status: int
) -> None:
    etag = distributor.post(name, 0, b"abc", complete=3).etag
    response = distributor.post(name, first, data, {"If-Match": etag} if match else {}, complete)
    if status == 409:
        problem_of(response, 409)
    assert (response.status, response.end, response.etag) == (status, 3, etag)
    assert response["Content-Range"] == "bytes */3"
    untouched(distributor, name, b"abc", etag)


def test_a_chunked_post_to_an_ended_epoch_is_compared(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc", complete=3).etag
    with distributor.peer() as peer:
        head = peer.head_bytes("POST", f"/{name}", {**content_range(1, 2), **CHUNKED, "If-Match": etag})
        peer.send(head + chunk(b"b") + chunk(b"c") + LAST_CHUNK)
        response = peer.response("POST")
    assert (response.status, response["Content-Range"]) == (204, "bytes */3")


def test_after_an_ended_epoch_a_new_one_begins(distributor: Distributor, name: str) -> None:
    old = distributor.post(name, 0, b"abc", complete=3).etag
    response = distributor.post(name, 0, b"xy")
    assert (response.status, response.end) == (201, 2)
    assert response.etag != old
    assert distributor.log_of(name) == b"xy"


def test_if_match_names_another_epoch_or_none(distributor: Distributor, name: str) -> None:
    for tag in ('"nobody"', "*"):
        refused = distributor.post(name, 0, b"abc", {"If-Match": tag})
        problem_of(refused, 412)
        assert refused.end == 0
    etag = distributor.post(name, 0, b"abc").etag
    for tag in ('"nobody"', f"W/{etag}"):
        refused = distributor.post(name, 3, b"def", {"If-Match": tag})
        problem_of(refused, 412)
        assert (refused.end, refused.etag) == (3, etag)
    for tag in (etag, "*", f'"nobody", {etag}'):
        end = distributor.call("HEAD", f"/{name}").end
        assert distributor.post(name, end, b"x", {"If-Match": tag}).status == 204
    problem_of(distributor.call("POST", f"/{name}", {"Content-Range": "bytes */6", "If-Match": '"x"'}, b""), 412)
    problem_of(distributor.call("POST", f"/{name}", {"Content-Range": "bytes */6", "If-Match": "x"}, b""), 400)
    assert distributor.describe(name)["state"] == "live"


def test_a_different_content_type_later(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc", {"Content-Type": "video/x-one"}).etag
    problem_of(distributor.post(name, 3, b"def", {"Content-Type": "video/x-two"}), 409)
    untouched(distributor, name, b"abc", etag)
    assert distributor.post(name, 3, b"def", {"Content-Type": "video/x-one"}).status == 204
    assert distributor.post(name, 6, b"ghi").status == 204


# -- the open-ended form -----------------------------------------------------------------------------------------


def test_an_open_ended_post_runs_until_its_last_chunk(distributor: Distributor, name: str) -> None:
    with begin_open(distributor, name, b"abc") as peer:
        peer.send(chunk(b"def") + LAST_CHUNK)
        response = peer.response("POST")
        assert (response.status, response.end) == (201, 6)
    assert distributor.describe(name)["state"] == "live"
    with begin_open(distributor, name, b"ghi", first=6) as peer:
        peer.send(LAST_CHUNK)
        assert peer.response("POST").status == 204
    assert distributor.log_of(name) == b"abcdefghi"


def test_an_open_ended_post_that_is_cut_is_resumed(distributor: Distributor, name: str) -> None:
    peer = begin_open(distributor, name, b"abc")
    peer.send(b"6\r\nde")
    reaches(distributor, name, 5)
    peer.close()
    is_let_go(distributor, name)
    head = distributor.call("HEAD", f"/{name}")
    assert head.end == 5
    with begin_open(distributor, name, b"fgh", first=head.end, **{"If-Match": head.etag}) as again:
        again.send(LAST_CHUNK)
        assert again.response("POST").etag == head.etag
    assert distributor.log_of(name) == b"abcdefgh"


def test_an_open_ended_post_overlaps(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abcdef")
    with distributor.peer() as peer:
        head = {"Content-Range": f"bytes 2-{OPEN_END}/*", **CHUNKED}
        peer.send(peer.head_bytes("POST", f"/{name}", head) + chunk(b"cd") + chunk(b"efgh") + LAST_CHUNK)
        assert peer.response("POST").status == 204
    assert distributor.log_of(name) == b"abcdefgh"


def test_an_open_ended_post_has_no_content_length(distributor: Distributor, name: str) -> None:
    problem_of(distributor.call("POST", f"/{name}", {"Content-Range": f"bytes 0-{OPEN_END}/*"}, b"abc"), 400)
    assert distributor.call("HEAD", f"/{name}").status == 404


def test_bytes_reach_a_consumer_while_the_post_is_still_coming(distributor: Distributor, name: str) -> None:
    with begin_open(distributor, name, b"abc") as origin, distributor.peer() as consumer:
        consumer.ask("GET", f"/{name}")
        assert consumer.head().status == 200
        assert consumer.exactly(3) == b"abc"
        origin.send(b"8\r\nde")
        assert consumer.exactly(2) == b"de"
        origin.send(b"fg")
        assert consumer.exactly(2) == b"fg"
        origin.send(b"hijk\r\n" + LAST_CHUNK)
        assert consumer.exactly(4) == b"hijk"
        assert origin.response("POST").end == 11


def test_a_malformed_chunk_keeps_what_came_before_it(distributor: Distributor, name: str) -> None:
    with begin_open(distributor, name, b"abc") as peer:
        peer.send(chunk(b"def") + b"xyz\r\n")
        refused = peer.response("POST")
        problem_of(refused, 400)
        assert (refused.end, refused["Connection"]) == (6, "close")
        assert peer.ended()
    assert distributor.log_of(name) == b"abcdef"
    assert distributor.post(name, 6, b"ghi").status == 204


# -- who posts ---------------------------------------------------------------------------------------------------


def test_a_post_in_progress_makes_its_connection_the_origin(distributor: Distributor, name: str) -> None:
    with begin_open(distributor, name, b"abc") as origin:
        refused = distributor.post(name, 3, b"def")
        problem_of(refused, 409)
        assert refused.end == 3
        problem_of(distributor.finish(name, 3), 409)
        origin.send(chunk(b"def") + LAST_CHUNK)
        assert origin.response("POST").status == 201
        assert distributor.post(name, 6, b"g").status == 204


def test_a_handshaken_origin_holds_the_epoch_between_posts(distributor: Distributor, name: str) -> None:
    origin = handshaken(distributor)
    assert origin.call("POST", f"/{name}", content_range(0, 2), b"abc").status == 201
    problem_of(distributor.post(name, 3, b"x"), 409)
    assert origin.call("POST", f"/{name}", content_range(3, 5), b"def").status == 204
    origin.close()
    is_let_go(distributor, name)
    assert distributor.post(name, 6, b"g").status == 204
    assert distributor.log_of(name) == b"abcdefg"


@pytest.mark.parametrize("how", ["in progress", "handshaken"])
def test_take_over_by_if_match(distributor: Distributor, name: str, how: str) -> None:
    if how == "handshaken":
        origin = handshaken(distributor)
        origin.call("POST", f"/{name}", content_range(0, 2), b"abc")
    else:
        origin = begin_open(distributor, name, b"abc")
    etag = distributor.call("HEAD", f"/{name}").etag
    with handshaken(distributor) as newcomer:
        response = newcomer.call("POST", f"/{name}", {**content_range(1, 5), "If-Match": etag}, b"bcdef")
        assert (response.status, response.end, response.etag) == (204, 6, etag)
        assert origin.ended()
        origin.close()
        assert newcomer.call("POST", f"/{name}", content_range(6, 6), b"g").status == 204
    assert distributor.log_of(name) == b"abcdefg"


@pytest.mark.parametrize(
    ("first", "data", "tag", "status"),
    [(1, b"bX", None, 409), (4, b"e", None, 409), (3, b"d", '"other"', 412), (0, b"abX", None, 409)],
)
def test_a_take_over_that_is_refused_leaves_the_origin_alone(
    distributor: Distributor, name: str, first: int, data: bytes, tag: str | None, status: int
) -> None:
    with begin_open(distributor, name, b"abc") as origin:
        etag = distributor.call("HEAD", f"/{name}").etag
        problem_of(distributor.post(name, first, data, {"If-Match": tag or etag}), status)
        origin.send(chunk(b"def") + LAST_CHUNK)
        assert origin.response("POST").status == 201
    assert distributor.log_of(name) == b"abcdef"


def test_a_newcomer_whose_overlap_is_overtaken_appends_only_what_follows(distributor: Distributor, name: str) -> None:
    """The log grows by the Origin's hand while a newcomer's overlap is compared: offsets stay what they are."""
    with begin_open(distributor, name, b"0123") as origin, distributor.peer() as newcomer:
        etag = distributor.call("HEAD", f"/{name}").etag
        newcomer.send(newcomer.head_bytes("POST", f"/{name}", {**content_range(0, 11), "If-Match": etag, **CHUNKED}))
        newcomer.send(chunk(b"01"))
        in_progress(distributor)
        origin.send(chunk(b"4567"))
        reaches(distributor, name, 8)
        newcomer.send(chunk(b"23456789ab") + LAST_CHUNK)
        response = newcomer.response("POST")
        assert (response.status, response.end) == (204, 12)
        assert origin.ended()
    assert distributor.log_of(name) == b"0123456789ab"


def test_one_who_was_overtaken_and_differs_changes_nothing(distributor: Distributor, name: str) -> None:
    with begin_open(distributor, name, b"0123") as origin, distributor.peer() as newcomer:
        etag = distributor.call("HEAD", f"/{name}").etag
        newcomer.send(newcomer.head_bytes("POST", f"/{name}", {**content_range(2, 11), "If-Match": etag, **CHUNKED}))
        newcomer.send(chunk(b"2"))
        in_progress(distributor)
        origin.send(chunk(b"4567"))
        reaches(distributor, name, 8)
        newcomer.send(chunk(b"3XXXX89ab") + LAST_CHUNK)
        problem_of(newcomer.response("POST"), 409)
        origin.send(chunk(b"89") + LAST_CHUNK)
        assert origin.response("POST").end == 10
    assert distributor.log_of(name) == b"0123456789"


def test_who_has_no_if_match_takes_nothing_over_after_a_long_overlap(distributor: Distributor, name: str) -> None:
    """The epoch had no Origin when the POST began, and has one when its overlap has been compared."""
    distributor.post(name, 0, b"0123")
    with distributor.peer() as slow:
        slow.send(slow.head_bytes("POST", f"/{name}", {**content_range(0, 7), **CHUNKED}) + chunk(b"01"))
        in_progress(distributor)
        with begin_open(distributor, name, b"45", first=4) as origin:
            slow.send(chunk(b"234567") + LAST_CHUNK)
            problem_of(slow.response("POST"), 409)
            origin.send(chunk(b"xy") + LAST_CHUNK)
            assert origin.response("POST").status == 204
    assert distributor.log_of(name) == b"012345xy"


def in_progress(server: Distributor) -> None:
    """Let the Distributor have read what was sent to it before: another connection's answer comes after it."""
    for _ in range(3):
        server.call("GET", "/-/health")


# -- ordinary publishers -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["length", "chunked"])
def test_an_ordinary_publisher(distributor: Distributor, name: str, way: str) -> None:
    if way == "length":
        response = distributor.call("PUT", f"/{name}", {}, b"abc")
    else:
        with distributor.peer() as peer:
            peer.send(peer.head_bytes("PUT", f"/{name}", CHUNKED) + chunk(b"ab") + chunk(b"c") + LAST_CHUNK)
            response = peer.response("PUT")
    assert (response.status, response.end) == (201, 3)
    assert distributor.describe(name)["state"] == "ended"
    again = distributor.call("PUT", f"/{name}", {}, b"xyz")
    assert again.status == 201
    assert again.etag != response.etag


def test_an_ordinary_publisher_ends_an_open_epoch_without_an_origin(distributor: Distributor, name: str) -> None:
    old = distributor.post(name, 0, b"abc").etag
    with distributor.peer() as consumer:
        consumer.ask("GET", f"/{name}")
        consumer.head()
        response = distributor.call("POST", f"/{name}", {}, b"xyz")
        assert response.status == 201
        assert response.etag != old
        assert consumer.rest() == b"abc"
    assert distributor.log_of(name) == b"xyz"


def test_an_ordinary_publisher_is_refused_while_an_origin_is_connected(distributor: Distributor, name: str) -> None:
    with begin_open(distributor, name, b"abc") as origin:
        problem_of(distributor.call("POST", f"/{name}", {}, b"xyz"), 409)
        origin.send(LAST_CHUNK)
        assert origin.response("POST").status == 201
    assert distributor.log_of(name) == b"abc"


def test_an_ordinary_publisher_sends_no_if_match(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc").etag
    problem_of(distributor.call("POST", f"/{name}", {"If-Match": etag}, b"xyz"), 400)
    untouched(distributor, name, b"abc", etag)


def ordinary(server: Distributor, name: str, data: bytes) -> Peer:
    peer = server.peer()
    peer.send(peer.head_bytes("POST", f"/{name}", CHUNKED) + chunk(data))
    reaches(server, name, len(data))
    return peer


def test_a_cut_ordinary_epoch_ends_after_the_publisher_timeout(start, name: str) -> None:
    server = start("--publisher-timeout", "0.3")
    publisher = ordinary(server, name, b"abc")
    with server.peer() as consumer:
        consumer.ask("GET", f"/{name}")
        consumer.head()
        assert consumer.exactly(3) == b"abc"
        publisher.close()
        assert consumer.rest() == b""
    assert server.describe(name)["state"] == "ended"
    assert server.call("GET", f"/{name}").body == b"abc"


def test_a_cut_ordinary_epoch_stays_open_until_then(start, name: str) -> None:
    server = start("--publisher-timeout", "1000")
    ordinary(server, name, b"abc").close()
    is_let_go(server, name)
    assert server.describe(name)["state"] == "live"


def test_a_cut_ordinary_epoch_ends_when_the_next_publisher_comes(start, name: str) -> None:
    server = start("--publisher-timeout", "1000")
    ordinary(server, name, b"abc").close()
    is_let_go(server, name)
    old = server.call("HEAD", f"/{name}").etag
    with server.peer() as consumer:
        consumer.ask("GET", f"/{name}")
        consumer.head()
        assert server.call("POST", f"/{name}", {}, b"xy").status == 201
        assert consumer.rest() == b"abc"
    assert server.call("HEAD", f"/{name}").etag != old


# -- the order of checks -----------------------------------------------------------------------------------------


def test_checks_come_in_their_order(start, tmp_path) -> None:
    """Each request has all faults from its row on; the first one decides."""
    (tmp_path / "secrets").write_text("me:secret\n")
    server = start("--trust-proxy", "127.0.0.1", "--publish-token", str(tmp_path / "secrets"))
    outside = {"X-Forwarded-For": "192.0.2.1"}
    wrong = {"If-Match": '"other"', **content_range(50, 52)}
    origin = begin_open(server, "s", b"abc")

    def status(path: str, fields: dict[str, str], body: bytes | None = b"abc", method: str = "POST") -> int:
        response = server.call(method, path, fields, body)
        return response.status

    assert status("/.bad", {**outside, **wrong, "Content-Range": "bytes 5-3/*"}) == 400
    assert status("/.bad", {**outside, **wrong}, None) == 411
    assert status("/.bad", {**outside, **wrong, "Expect": "other"}) == 417
    assert status("/.bad", {**outside, **wrong}) == 404
    assert status("/s", {**outside, **wrong}, method="PATCH") == 405
    assert status("/-/streams", {**outside, **wrong}) == 405
    assert status("/s", {**outside, **wrong}) == 401
    assert status("/s", {**wrong, "Connection-Type": "consumer"}) == 403
    assert status("/s", wrong) == 412
    refused = server.call("POST", "/s", content_range(50, 52), b"abc")
    assert "Origin" in problem_of(refused, 409)["detail"]
    origin.close()
    is_let_go(server, "s")
    refused = server.call("POST", "/s", content_range(50, 52), b"abc")
    assert "gap" in problem_of(refused, 409)["detail"]


# -- answers -----------------------------------------------------------------------------------------------------


def test_every_answer_about_a_stream_says_where_its_log_ends(stored: Distributor, name: str) -> None:
    def both(method: str, path: str, fields: dict[str, str], body: bytes | None = None) -> list[Response]:
        with stored.peer() as peer:
            return [peer.call(method, path, fields, body)]

    for response in (
        *both("HEAD", f"/{name}", {}),
        *both("GET", f"/{name}", {}),
        *both("DELETE", f"/{name}", {}),
        *both("POST", f"/{name}", content_range(5, 7), b"abc"),
        *both("PATCH", f"/{name}", {}),
    ):
        assert response.end == 0, response
        assert response.get("ETag") is None
        assert response.get("Durable-Offset") is None
    etag = stored.post(name, 0, b"abc").etag
    consumer = {"Connection-Type": "consumer"}
    for response in (
        *both("HEAD", f"/{name}", {}),
        *both("GET", f"/{name}", {"Range": "bytes=0-1"}),
        *both("GET", f"/{name}", {"Range": "bytes=0-0,2-2"}),
        *both("GET", f"/{name}", {"Range": "bytes=7-8"}),
        *both("GET", f"/{name}", {"Content-Range": "bytes 0-7/*"}),
        *both("GET", f"/{name}", {"Content-Range": "nonsense"}),
        *both("GET", f"/{name}", {"If-Match": '"x"', "Content-Range": "bytes */0"}),
        *both("GET", f"/{name}", {"Content-Range": "bytes 0-2/*", "Prefer": "wait=0"}),
        *both("GET", f"/{name}", {"Connection-Type": "origin"}),
        *both("POST", f"/{name}", content_range(5, 7), b"abc"),
        *both("POST", f"/{name}", {**content_range(3, 5), "If-Match": '"x"'}, b"abc"),
        *both("POST", f"/{name}", content_range(0, 2), b"abX"),
        *both("POST", f"/{name}", content_range(0, 2), b"abc"),
        *both("POST", f"/{name}", {"Content-Range": "x"}, b"abc"),
        *both("POST", f"/{name}", {**content_range(3, 5), **consumer}, b"abc"),
        *both("POST", f"/{name}", {"Content-Range": "bytes */4"}, b""),
        *both("PATCH", f"/{name}", {}),
        *both("OPTIONS", f"/{name}", {}),
    ):
        assert (response.end, response.etag) == (3, etag), response
        assert 0 <= int(response["Durable-Offset"]) <= 3


def test_the_durable_offset_reaches_the_end_without_further_bytes(stored: Distributor, name: str) -> None:
    stored.post(name, 0, b"abc")
    eventually(lambda: stored.call("HEAD", f"/{name}")["Durable-Offset"] == "3", "the disk")
    assert stored.describe(name)["durable_offset"] == 3


def test_without_a_store_there_is_no_durable_offset(distributor: Distributor, name: str) -> None:
    assert distributor.post(name, 0, b"abc").get("Durable-Offset") is None


# -- refused by the head -----------------------------------------------------------------------------------------

EXPECT = {"Expect": "100-continue"}


def test_with_expect_the_body_of_an_accepted_post_is_asked_for(distributor: Distributor, name: str) -> None:
    with distributor.peer() as peer:
        peer.send(peer.head_bytes("POST", f"/{name}", {**content_range(0, 2), **EXPECT, "Content-Length": "3"}))
        assert peer.response("POST").status == 100
        peer.send(b"abc")
        assert peer.response("POST").status == 201
        peer.send(peer.head_bytes("POST", f"/{name}", {"Content-Range": "bytes */3", **EXPECT, **CHUNKED}))
        assert peer.response("POST").status == 100
        peer.send(LAST_CHUNK)
        assert peer.response("POST").status == 204


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (content_range(7, 9), 409),
        ({**content_range(3, 5), "If-Match": '"x"'}, 412),
        ({**content_range(3, 5), "Connection-Type": "consumer"}, 403),
        ({"Content-Range": "bytes 5-3/*"}, 400),
    ],
)
def test_with_expect_the_body_of_a_refused_post_is_never_asked_for(
    distributor: Distributor, name: str, fields: dict[str, str], status: int
) -> None:
    distributor.post(name, 0, b"abc")
    with distributor.peer() as peer:
        peer.send(peer.head_bytes("POST", f"/{name}", {**fields, **EXPECT, "Content-Length": "3"}))
        problem_of(peer.response("POST"), status)


def test_without_expect_the_rest_of_a_refused_post_is_dropped(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    with distributor.peer() as peer:
        peer.send(peer.head_bytes("POST", f"/{name}", {**content_range(7, 106), "Content-Length": "100"}))
        problem_of(peer.response("POST"), 409)
        peer.send(bytes(100))
        assert peer.call("HEAD", f"/{name}").end == 3


def test_where_the_rest_is_too_much_the_connection_closes(start, name: str) -> None:
    server = start("--max-discard", "1KiB")
    with server.peer() as peer:
        peer.send(peer.head_bytes("POST", f"/{name}", {**content_range(7, 10006), "Content-Length": "10000"}))
        refused = peer.response("POST")
        problem_of(refused, 409)
        assert refused["Connection"] == "close"
        assert peer.ended()
    with server.peer() as peer:
        peer.send(peer.head_bytes("POST", f"/{name}", {**content_range(7, 10006), **CHUNKED}))
        problem_of(peer.response("POST"), 409)
        peer.send(chunk(bytes(2000)))
        assert peer.ended()


@pytest.mark.parametrize(
    "value",
    [
        "bytes 0-2", "bytes 2-0/*", "bytes=0-2/*", "bytes 0-2/2", "bytes */*", "bytes +0-2/*", "bytes 0-0x2/*",
        "bytes 0-1_0/*", "items 0-2/*", "0-2/*", "bytes 0-2/*, bytes 3-4/*", "bytes  0-2/*", "bytes 0 - 2/*", "",
        "bytes 0-9007199254740992/*", "bytes 9007199254740992-9007199254740993/*", "bytes -2/*", "bytes 0-/*",
        "bytes */9007199254740992", "bytes 0-2/999999999999999999999999999999",
    ],
)  # fmt: skip
def test_an_unreadable_content_range(distributor: Distributor, name: str, value: str) -> None:
    problem_of(distributor.call("POST", f"/{name}", {"Content-Range": value}, b"abc"), 400)
    assert distributor.call("HEAD", f"/{name}").status == 404


def test_two_content_range_fields(distributor: Distributor, name: str) -> None:
    fields = [("Content-Range", "bytes 0-2/*"), ("Content-Range", "bytes 0-2/*")]
    problem_of(distributor.call("POST", f"/{name}", fields, b"abc"), 400)
    assert distributor.call("HEAD", f"/{name}").status == 404


@pytest.mark.parametrize(
    "fields",
    [
        {"Capture-Time": "now"},
        {"Capture-Time": "-1"},
        {"Capture-Time": "1.5"},
        {"Random-Access": "1"},
        {"Random-Access": "true"},
    ],
)
def test_optional_fields_are_read_strictly(distributor: Distributor, name: str, fields: dict[str, str]) -> None:
    problem_of(distributor.post(name, 0, b"abc", fields), 400)


# -- DELETE ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["distributor", "stored"])
def test_delete_removes_all_epochs(request: pytest.FixtureRequest, name: str, which: str) -> None:
    server: Distributor = request.getfixturevalue(which)
    old = server.post(name, 0, b"abc", complete=3).etag
    server.post(name, 0, b"xyz")
    assert server.call("GET", f"/{name}?epoch={old[1:-1]}").body == b"abc"
    with server.peer() as consumer:
        consumer.ask("GET", f"/{name}")
        consumer.head()
        assert server.call("DELETE", f"/{name}").status == 204
        assert consumer.rest() == b"xyz"
    problem_of(server.call("GET", f"/{name}"), 404)
    problem_of(server.call("GET", f"/{name}?epoch={old[1:-1]}"), 404)
    problem_of(server.call("DELETE", f"/{name}"), 404)
    assert server.post(name, 0, b"new").status == 201


@pytest.mark.parametrize("which", ["distributor", "stored"])
def test_delete_while_a_post_is_in_progress(request: pytest.FixtureRequest, name: str, which: str) -> None:
    server: Distributor = request.getfixturevalue(which)
    with begin_open(server, name, b"abc") as origin:
        assert server.call("DELETE", f"/{name}").status == 204
        origin.send(chunk(b"def"))
        problem_of(origin.response("POST"), 409)
    problem_of(server.call("GET", f"/{name}"), 404)


def test_delete_and_the_last_chunk(distributor: Distributor, name: str) -> None:
    with begin_open(distributor, name, b"abc") as origin:
        assert distributor.call("DELETE", f"/{name}").status == 204
        origin.send(LAST_CHUNK)
        problem_of(origin.response("POST"), 409)
    with begin_open(distributor, name, b"abc"):
        assert distributor.call("DELETE", f"/{name}").status == 204
    problem_of(distributor.call("GET", f"/{name}"), 404)


def test_delete_obeys_if_match(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc").etag
    problem_of(distributor.call("DELETE", f"/{name}", {"If-Match": '"other"'}), 412)
    untouched(distributor, name, b"abc", etag)
    assert distributor.call("DELETE", f"/{name}", {"If-Match": etag}).status == 204
