"""Section 5 of the wire contract, from outside: getting by what the consumer has, and long polls."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.system.client import (
    LAST_CHUNK,
    OPEN_END,
    Part,
    Peer,
    Response,
    boundary_of,
    chunk,
    content_range,
)
from tests.system.media import CONTENT_TYPE, Movie, movie
from tests.system.processes import Distributor, eventually, problem_of

pytestmark = pytest.mark.system

MULTIPART = {"Accept": "multipart/byteranges"}
NOTHING = {"Content-Range": "bytes */0"}
FOREVER = f"bytes 0-{OPEN_END}/*"


def publish(server: Distributor, name: str, clip: Movie) -> str:
    """POST the initialization segment and then each fragment; return the ETag."""
    posted = server.post(name, 0, clip.initialization, {"Content-Type": CONTENT_TYPE})
    assert posted.status == 201
    for fragment in clip.fragments:
        assert server.post(name, fragment.offset, fragment.data).status == 204
    return posted.etag


def ask(server: Distributor, name: str, *ranges: str, **fields: str) -> tuple[Peer, Response]:
    """Ask for what lacks to one who has ``ranges``; ``fields`` are further ones."""
    peer = server.peer()
    lines = [("Content-Range", each) for each in ranges]
    peer.ask("GET", f"/{name}", [*lines, *((key.replace("_", "-"), value) for key, value in fields.items())])
    return peer, peer.head()


def live_parts(peer: Peer, response: Response, count: int) -> list[Part]:
    boundary = boundary_of(response)
    parts = []
    for _ in range(count):
        part = peer.part(boundary)
        assert part is not None
        parts.append(part)
    return parts


# -- multipart ---------------------------------------------------------------------------------------------------


def test_who_has_nothing_gets_the_initialization_and_the_newest_join_point(distributor: Distributor, name: str) -> None:
    clip = movie("KddKddKdd")
    before = time.time_ns() // 1000
    etag = publish(distributor, name, clip)
    after = time.time_ns() // 1000
    peer, response = ask(distributor, name, "bytes */0", **MULTIPART)
    with peer:
        assert response.status == 206
        assert response["Transfer-Encoding"] == "chunked"
        assert response["Cache-Control"] == "no-store"
        assert response["Connection-Type"] == "distributor"
        assert (response.etag, response.end) == (etag, len(clip.data))
        assert response.get("Content-Range") is None
        initialization, *parts = live_parts(peer, response, 4)
        assert (initialization.first, initialization.data) == (0, clip.initialization)
        assert "random-access" not in initialization.fields
        for part, fragment in zip(parts, clip.fragments[6:], strict=True):
            assert (part.first, part.data, part.complete) == (fragment.offset, fragment.data, "*")
            assert part.fields.get("random-access") == ("?1" if fragment.key else None)
            assert part.fields["capture-time"] == str(fragment.captured)
            assert before <= int(part.fields["received-time"]) <= after
        new = movie("KddKddKddKd")
        for fragment in new.fragments[9:]:
            distributor.post(name, fragment.offset, fragment.data)
            (part,) = live_parts(peer, response, 1)
            assert (part.first, part.data) == (fragment.offset, fragment.data)
        distributor.finish(name, len(new.data))
        assert peer.part(boundary_of(response)) is None


@pytest.mark.parametrize("pattern", ["Kdd", "KddK"])
def test_holding_only_the_initialization_segment_is_holding_nothing(
    distributor: Distributor, name: str, pattern: str
) -> None:
    clip = movie(pattern)
    publish(distributor, name, clip)
    joined = [fragment for fragment in clip.fragments if fragment.key][-1]
    peer, response = ask(distributor, name, f"bytes 0-{len(clip.initialization) - 1}/*", **MULTIPART)
    with peer:
        (part,) = live_parts(peer, response, 1)
        assert (part.first, part.data) == (joined.offset, joined.data)


def test_who_has_all_up_to_b_goes_on_after_it(distributor: Distributor, name: str) -> None:
    clip = movie("KddKdd")
    etag = publish(distributor, name, clip)
    held = clip.fragments[3].end
    peer, response = ask(distributor, name, f"bytes 0-{held - 1}/*", If_Match=etag, **MULTIPART)
    with peer:
        parts = live_parts(peer, response, 2)
        assert [(part.first, part.data) for part in parts] == [(each.offset, each.data) for each in clip.fragments[4:]]


def test_who_lags_less_than_catch_up_goes_on_where_it_was(start: Callable[..., Distributor], name: str) -> None:
    server = start("--catch-up", "1000")
    clip = movie("KddKddKdd")
    etag = publish(server, name, clip)
    held = clip.fragments[1].end
    peer, response = ask(server, name, f"bytes 0-{held - 1}/*", If_Match=etag, **MULTIPART)
    with peer:
        parts = live_parts(peer, response, 7)
        assert b"".join(part.data for part in parts) == clip.data[held:]
        assert parts[0].first == held
    peer, response = ask(server, name, f"bytes 0-{held - 1}/*", If_Match=etag)
    with peer:
        assert response["Content-Range"] == f"bytes {held}-{OPEN_END}/*"
        assert peer.exactly(len(clip.data) - held) == clip.data[held:]


def test_who_lags_more_joins_at_the_newest_random_access_point(start: Callable[..., Distributor], name: str) -> None:
    server = start("--catch-up", "0")
    clip = movie("KddKddKdd")
    etag = publish(server, name, clip)
    held = clip.fragments[1].end
    newest = clip.fragments[6]
    peer, response = ask(server, name, f"bytes 0-{held - 1}/*", If_Match=etag, **MULTIPART)
    with peer:
        (part,) = live_parts(peer, response, 1)
        assert (part.first, part.data) == (newest.offset, newest.data)
    peer, response = ask(server, name, f"bytes 0-{held - 1}/*", If_Match=etag)
    with peer:
        assert response["Content-Range"] == f"bytes {newest.offset}-{OPEN_END}/*"
        assert peer.exactly(len(newest.data)) == newest.data


def test_no_random_access_point_lies_after_b(start: Callable[..., Distributor], name: str) -> None:
    server = start("--catch-up", "0")
    clip = movie("KddKdd")
    etag = publish(server, name, clip)
    for held in (clip.fragments[3].offset, clip.fragments[3].offset + 10, clip.fragments[4].end):
        peer, response = ask(server, name, f"bytes 0-{held - 1}/*", If_Match=etag)
        with peer:
            assert response["Content-Range"] == f"bytes {held}-{OPEN_END}/*"
            assert peer.exactly(len(clip.data) - held) == clip.data[held:]


def test_the_initialization_segment_is_sent_where_it_is_lacking(distributor: Distributor, name: str) -> None:
    clip = movie("Kddd")
    etag = publish(distributor, name, clip)
    second = clip.fragments[1]
    peer, response = ask(distributor, name, f"bytes {second.offset}-{second.end - 1}/*", If_Match=etag, **MULTIPART)
    with peer:
        parts = live_parts(peer, response, 3)
        assert [part.first for part in parts] == [0, second.end, clip.fragments[3].offset]
        assert parts[0].data == clip.initialization


@pytest.mark.parametrize("joined", [True, False])
def test_ranges_come_on_many_lines_or_on_one(distributor: Distributor, name: str, joined: bool) -> None:
    clip = movie("KddKdd")
    publish(distributor, name, clip)
    held = clip.fragments[3].end
    ranges = [f"bytes 0-{len(clip.initialization) - 1}/*", f"bytes {clip.fragments[3].offset}-{held - 1}/*"]
    peer, response = ask(distributor, name, *([", ".join(ranges)] if joined else ranges), **MULTIPART)
    with peer:
        (part,) = live_parts(peer, response, 1)
        assert part.first == held


def test_the_last_initialization_before_the_join_point_counts(distributor: Distributor, name: str) -> None:
    first, second = movie("Kd"), movie("Kdd", size=300)
    distributor.post(name, 0, first.data, {"Content-Type": CONTENT_TYPE})
    at = len(first.data)
    distributor.post(name, at, second.data)
    peer, response = ask(distributor, name, "bytes */0", **MULTIPART)
    with peer:
        parts = live_parts(peer, response, 2)
        assert [part.first for part in parts] == [at, at + len(second.initialization)]
        assert parts[0].data == second.initialization
    plain = distributor.peer()
    with plain:
        plain.ask("GET", f"/{name}")
        plain.head()
        assert plain.exactly(len(second.data)) == second.data


def test_a_record_that_is_still_coming_comes_in_parts(distributor: Distributor, name: str) -> None:
    clip = movie("Kd", size=4000)
    fragment = clip.fragments[0]
    with distributor.peer() as origin:
        fields = {"Content-Range": FOREVER, "Transfer-Encoding": "chunked", "Content-Type": CONTENT_TYPE}
        origin.send(origin.head_bytes("POST", f"/{name}", fields) + chunk(clip.initialization))
        eventually(lambda: distributor.call("HEAD", f"/{name}").end == len(clip.initialization))
        peer, response = ask(distributor, name, "bytes */0", **MULTIPART)
        with peer:
            boundary = boundary_of(response)
            (initialization,) = live_parts(peer, response, 1)
            assert initialization.data == clip.initialization
            parts: list[Part] = []
            for piece in (fragment.data[:1500], fragment.data[1500:3000], fragment.data[3000:]):
                origin.send(chunk(piece))
                end = (parts[-1].last + 1 if parts else fragment.offset) + len(piece)
                while not parts or parts[-1].last + 1 < end:
                    part = peer.part(boundary)
                    assert part is not None
                    parts.append(part)
            assert len(parts) >= 3
            assert b"".join(part.data for part in parts) == fragment.data
            assert [part.first for part in parts[1:]] == [part.last + 1 for part in parts[:-1]]
            assert parts[0].fields["random-access"] == "?1"
            for part in parts[1:]:
                assert part.fields.keys() == {"content-range"}
            origin.send(chunk(clip.fragments[1].data) + LAST_CHUNK)
            (following,) = live_parts(peer, response, 1)
            assert following.first == fragment.end


def test_without_a_known_format_each_post_is_a_record(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"aaa", {"Capture-Time": "1700000000000000"})
    distributor.post(name, 3, b"bbb")
    peer, response = ask(distributor, name, "bytes */0", **MULTIPART)
    with peer:
        (part,) = live_parts(peer, response, 1)
        assert (part.first, part.data) == (3, b"bbb")
        assert part.fields["random-access"] == "?1"
        assert "capture-time" not in part.fields
        distributor.post(name, 6, b"cc", {"Capture-Time": "1700000000000001"})
        (part,) = live_parts(peer, response, 1)
        assert (part.first, part.data, part.fields["capture-time"]) == (6, b"cc", "1700000000000001")


def test_random_access_of_a_post_counts_alone_once_it_is_said(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"aaa")
    distributor.post(name, 3, b"bbb", {"Random-Access": "?1"})
    distributor.post(name, 6, b"ccc")
    peer, response = ask(distributor, name, "bytes */0", **MULTIPART)
    with peer:
        parts = live_parts(peer, response, 2)
        assert [(part.first, part.fields.get("random-access")) for part in parts] == [(3, "?1"), (6, None)]


def test_a_wildcard_names_no_multipart(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    for accept in ("*/*", "multipart/*", "video/mp4, */*;q=0.1"):
        peer, response = ask(distributor, name, "bytes */0", Accept=accept)
        peer.close()
        assert response["Content-Range"] == FOREVER, accept
    peer, response = ask(distributor, name, "bytes */0", Accept="video/mp4, multipart/byteranges;q=0.5")
    peer.close()
    boundary_of(response)


# -- a single range ----------------------------------------------------------------------------------------------


def test_a_single_range_runs_on_without_a_gap(distributor: Distributor, name: str) -> None:
    clip = movie("Kdd")
    etag = publish(distributor, name, clip)
    peer, response = ask(distributor, name, "bytes */0")
    with peer:
        assert response.status == 206
        assert response["Content-Range"] == FOREVER
        assert response["Transfer-Encoding"] == "chunked"
        assert response["Content-Type"] == CONTENT_TYPE
        assert response.etag == etag
        assert peer.exactly(len(clip.data)) == clip.data
        distributor.post(name, len(clip.data), b"more")
        assert peer.exactly(4) == b"more"
        distributor.finish(name, len(clip.data) + 4)
        assert peer.rest() == b""


def test_an_initialization_segment_that_the_join_point_does_not_follow_comes_alone(
    distributor: Distributor, name: str
) -> None:
    clip = movie("KdKd")
    etag = publish(distributor, name, clip)
    size = len(clip.initialization)
    with distributor.peer() as peer:
        response = peer.call("GET", f"/{name}", NOTHING)
        assert response.status == 206
        assert response["Content-Range"] == f"bytes 0-{size - 1}/*"
        assert response["Content-Length"] == str(size)
        assert response.body == clip.initialization
        peer.ask("GET", f"/{name}", {**content_range(0, size - 1), "If-Match": etag})
        assert peer.head()["Content-Range"] == f"bytes {clip.fragments[2].offset}-{OPEN_END}/*"
        assert peer.exactly(len(clip.fragments[2].data)) == clip.fragments[2].data


def test_a_stream_that_has_begun_and_has_no_bytes_yet(distributor: Distributor, name: str) -> None:
    with distributor.peer() as origin:
        fields = {"Content-Range": FOREVER, "Transfer-Encoding": "chunked", "Content-Type": "a/b"}
        origin.send(origin.head_bytes("POST", f"/{name}", fields))
        eventually(lambda: distributor.call("HEAD", f"/{name}").status == 200)
        peer, response = ask(distributor, name, "bytes */0")
        with peer:
            assert response["Content-Range"] == FOREVER
            origin.send(chunk(b"abc"))
            assert peer.exactly(3) == b"abc"


# -- what cannot be ----------------------------------------------------------------------------------------------


def test_if_match_with_another_epoch(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc").etag
    for tag in ('"other"', f"W/{etag}"):
        refused = distributor.call("GET", f"/{name}", {**content_range(0, 1), "If-Match": tag})
        problem_of(refused, 412)
        assert refused.etag == etag
    problem_of(distributor.call("GET", "/no-such", {**content_range(0, 1), "If-Match": etag}), 412)


def test_a_range_beyond_the_end(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    for value in ("bytes 0-3/*", "bytes 0-1/*, bytes 100-200/*", "bytes 3-3/*"):
        refused = distributor.call("GET", f"/{name}", {"Content-Range": value})
        problem_of(refused, 416)
        assert refused["Content-Range"] == "bytes */3"
    distributor.finish(name, 3)
    refused = distributor.call("GET", f"/{name}", {"Content-Range": "bytes 0-3/*"})
    problem_of(refused, 416)
    assert refused["Content-Range"] == "bytes */3"


@pytest.mark.parametrize(
    "value",
    ["bytes 2-1/*", "bytes 0-1", "bytes=0-1/*", "bytes */5", "bytes */*", "items 0-1/*", "", ",", "bytes 0-1/1"],
)
def test_an_unreadable_range(distributor: Distributor, name: str, value: str) -> None:
    distributor.post(name, 0, b"abc")
    problem_of(distributor.call("GET", f"/{name}", {"Content-Range": value}), 400)


def test_nothing_and_something_contradict(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    fields = [("Content-Range", "bytes */0"), ("Content-Range", "bytes 0-1/*")]
    problem_of(distributor.call("GET", f"/{name}", fields), 400)


def test_too_many_ranges(start: Callable[..., Distributor], name: str) -> None:
    server = start("--max-ranges", "3")
    server.post(name, 0, bytes(100))
    many = ", ".join(f"bytes {at}-{at}/*" for at in range(0, 8, 2))
    problem_of(server.call("GET", f"/{name}", {"Content-Range": many}), 400)


def test_a_stream_that_is_not_there(distributor: Distributor, name: str) -> None:
    for fields in (NOTHING, {}, {"Range": "bytes=0-5"}, MULTIPART):
        refused = distributor.call("GET", f"/{name}", fields)
        problem_of(refused, 404)
        assert refused["Retry-After"] == "1"


# -- ended: no live edge -----------------------------------------------------------------------------------------


def test_of_an_ended_epoch_what_is_lacking_comes_in_ascending_order(distributor: Distributor, name: str) -> None:
    clip = movie("KdKd")
    publish(distributor, name, clip)
    total = len(clip.data)
    distributor.finish(name, total)
    held = clip.fragments[2]
    with distributor.peer() as peer:
        peer.ask("GET", f"/{name}", {**content_range(held.offset, held.end - 1), **MULTIPART})
        response = peer.head()
        assert response.status == 206
        parts = peer.parts(boundary_of(response))
        assert [part.first for part in parts] == [
            0, clip.fragments[0].offset, clip.fragments[1].offset, clip.fragments[3].offset
        ]  # fmt: skip
        assert {part.complete for part in parts} == {str(total)}
        assert all(clip.data[part.first : part.last + 1] == part.data for part in parts)
        gap = peer.call("GET", f"/{name}", content_range(held.offset, held.end - 1))
        assert gap["Content-Range"] == f"bytes 0-{held.offset - 1}/{total}"
        assert gap["Content-Length"] == str(held.offset)
        assert gap.body == clip.data[: held.offset]
        rest = peer.call("GET", f"/{name}", content_range(0, held.end - 1))
        assert rest["Content-Range"] == f"bytes {held.end}-{total - 1}/{total}"
        assert rest.body == clip.data[held.end :]


def test_nothing_lacking_of_an_ended_epoch(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc", complete=3).etag
    for fields in ({}, MULTIPART, {"Prefer": "wait=5"}):
        response = distributor.call("GET", f"/{name}", {**content_range(0, 2), "If-Match": etag, **fields})
        assert (response.status, response["Content-Range"], response.etag) == (204, "bytes */3", etag)


def test_an_ended_epoch_without_bytes(distributor: Distributor, name: str) -> None:
    distributor.call("PUT", f"/{name}", {}, b"")
    response = distributor.call("GET", f"/{name}", NOTHING)
    assert (response.status, response["Content-Range"]) == (204, "bytes */0")
    plain = distributor.call("GET", f"/{name}")
    assert (plain.status, plain.body) == (200, b"")


# -- long poll ---------------------------------------------------------------------------------------------------


def test_a_long_poll_brings_all_that_is_new(distributor: Distributor, name: str) -> None:
    clip = movie("Kddd")
    etag = publish(distributor, name, clip)
    held = clip.fragments[0].end
    fields = {**content_range(0, held - 1), "If-Match": etag, "Prefer": "wait=5"}
    with distributor.peer() as peer:
        response = peer.call("GET", f"/{name}", fields)
        assert response.status == 206
        assert response["Preference-Applied"] == "wait=5"
        assert response["Content-Range"] == f"bytes {held}-{len(clip.data) - 1}/*"
        assert response["Content-Length"] == str(len(clip.data) - held)
        assert response.body == clip.data[held:]
        peer.ask("GET", f"/{name}", {**fields, **MULTIPART})
        response = peer.head()
        assert response["Preference-Applied"] == "wait=5"
        assert response["Content-Length"]
        parts = peer.parts(boundary_of(response))
        assert [part.first for part in parts] == [fragment.offset for fragment in clip.fragments[1:]]


def test_a_long_poll_waits_for_what_is_new(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc").etag
    with distributor.peer() as peer, distributor.peer() as other:
        fields = {**content_range(0, 2), "If-Match": etag, "Prefer": "wait=30"}
        peer.ask("GET", f"/{name}", fields)
        other.ask("GET", f"/{name}", {**fields, **MULTIPART})
        distributor.call("GET", "/-/health")
        distributor.post(name, 3, b"de")
        response = peer.response()
        assert (response["Content-Range"], response.body) == ("bytes 3-4/*", b"de")
        (part,) = other.parts(boundary_of(other.head()))
        assert (part.first, part.data) == (3, b"de")


def test_a_long_poll_in_vain(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc").etag
    for wait in ("0", "1"):
        fields = {**content_range(0, 2), "If-Match": etag, "Prefer": f"wait={wait}"}
        response = distributor.call("GET", f"/{name}", fields)
        assert (response.status, response["Preference-Applied"], response.end) == (204, f"wait={wait}", 3)


def test_a_long_poll_ends_with_the_epoch(distributor: Distributor, name: str) -> None:
    etag = distributor.post(name, 0, b"abc").etag
    with distributor.peer() as peer:
        peer.ask("GET", f"/{name}", {**content_range(0, 2), "If-Match": etag, "Prefer": "wait=30"})
        distributor.call("GET", "/-/health")
        distributor.finish(name, 3)
        response = peer.response()
        assert (response.status, response["Content-Range"]) == (204, "bytes */3")


def test_a_long_poll_lasts_at_most_a_minute(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    response = distributor.call("GET", f"/{name}", {**NOTHING, "Prefer": "wait=3600"})
    assert response["Preference-Applied"] == "wait=60"
    assert response.body == b"abc"


def test_any_get_waits_for_the_first_record(distributor: Distributor, name: str) -> None:
    with distributor.peer() as plain, distributor.peer() as by_range, distributor.peer() as parts:
        plain.ask("GET", f"/{name}", {"Prefer": "wait=30"})
        by_range.ask("GET", f"/{name}", {"Prefer": "wait=30", "Range": "bytes=0-1"})
        parts.ask("GET", f"/{name}", {"Prefer": "wait=30", **NOTHING, **MULTIPART})
        distributor.call("GET", "/-/health")
        distributor.post(name, 0, b"abc")
        assert plain.head().status == 200
        assert plain.exactly(3) == b"abc"
        assert by_range.response().body == b"ab"
        (part,) = parts.parts(boundary_of(parts.head()))
        assert part.data == b"abc"


def test_any_get_waits_in_vain(distributor: Distributor, name: str) -> None:
    refused = distributor.call("GET", f"/{name}", {"Prefer": "wait=1"})
    problem_of(refused, 404)
    assert refused["Retry-After"] == "1"


def test_a_preference_that_cannot_be_read_is_ignored(distributor: Distributor, name: str) -> None:
    distributor.post(name, 0, b"abc")
    for value in ("wait=x", "wait", "wait=-1", '"', "other; wait=3"):
        peer, response = ask(distributor, name, "bytes 0-0/*", Prefer=value)
        peer.close()
        assert response["Content-Range"].endswith(f"-{OPEN_END}/*"), value
