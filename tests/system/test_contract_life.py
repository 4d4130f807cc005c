"""Sections 1, 5 and 8 of the wire contract, from outside: slow consumers, the drain, the crash, and what comes back."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.client import OPEN_END, Cut, Peer, boundary_of, chunk, content_range
from tests.system.media import CONTENT_TYPE, Movie, movie
from tests.system.processes import Distributor, eventually, problem_of

pytestmark = pytest.mark.system

Start = Callable[..., Distributor]

NOTHING = {"Content-Range": "bytes */0"}
MULTIPART = {"Accept": "multipart/byteranges"}
OPEN = {"Content-Range": f"bytes 0-{OPEN_END}/*", "Transfer-Encoding": "chunked", "Content-Type": CONTENT_TYPE}


# -- slow consumers ----------------------------------------------------------------------------------------------

LARGE = movie("Kddd" * 20, size=256 * 1024)
"""20 MiB: more than the kernel holds for a consumer that does not read."""

LAGGING = ("--lag-bytes", "1MiB", "--lag-seconds", "1000")


def slow(server: Distributor, name: str, fields: dict[str, str], version: str = "1.1") -> Peer:
    """A consumer that has read its answer's head, and nothing since."""
    peer = server.peer(receive_buffer=8192)
    peer.ask("GET", f"/{name}", fields, version=version)
    return peer


def post_all(server: Distributor, name: str, clip: Movie, watching: Peer | None = None) -> None:
    """POST all fragments on one connection; ``watching`` reads each before the next one comes."""
    with server.peer() as origin:
        for fragment in clip.fragments:
            fields = content_range(fragment.offset, fragment.end - 1)
            assert origin.call("POST", f"/{name}", fields, fragment.data).status == 204
            if watching is not None:
                assert watching.exactly(len(fragment.data)) == fragment.data


def begin(server: Distributor, name: str, clip: Movie) -> None:
    assert server.post(name, 0, clip.initialization, {"Content-Type": CONTENT_TYPE}).status == 201


def test_a_slow_consumer_of_parts_jumps_and_is_told(start: Start, name: str) -> None:
    server = start(*LAGGING)
    begin(server, name, LARGE)
    with slow(server, name, {**NOTHING, **MULTIPART}) as peer, server.peer() as quick:
        quick.ask("GET", f"/{name}")
        quick.head()
        assert quick.exactly(len(LARGE.initialization)) == LARGE.initialization
        response = peer.head()
        post_all(server, name, LARGE, quick)  # nobody else is slowed
        server.finish(name, len(LARGE.data))
        parts = peer.parts(boundary_of(response))
        assert all(LARGE.data[part.first : part.last + 1] == part.data for part in parts)
        starts = {fragment.offset: fragment for fragment in LARGE.fragments}
        jumps = [(a, b) for a, b in itertools.pairwise(parts) if b.first != a.last + 1]
        assert jumps
        for before, after in jumps:
            assert after.first > before.last
            assert before.last + 1 in starts, "a record that was begun is completed"
            assert starts[after.first].key
            assert after.fields["random-access"] == "?1"
        assert parts[-1].last == len(LARGE.data) - 1
    assert server.metric("sdp_jumps_total") >= 1


def test_a_slow_consumer_of_a_single_range_is_ended_at_a_record(start: Start, name: str) -> None:
    server = start(*LAGGING)
    begin(server, name, LARGE)
    with slow(server, name, NOTHING) as peer:
        assert peer.head()["Content-Range"] == f"bytes 0-{OPEN_END}/*"
        post_all(server, name, LARGE)
        data = peer.rest()  # the last chunk: ask again
        assert data == LARGE.data[: len(data)]
        assert len(data) < len(LARGE.data)
        assert len(data) in {fragment.offset for fragment in LARGE.fragments}
        etag = server.call("HEAD", f"/{name}").etag
        peer.ask("GET", f"/{name}", {**content_range(0, len(data) - 1), "If-Match": etag})
        first = int(peer.head()["Content-Range"].split()[1].split("-")[0])
        assert first >= len(data)


@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_a_slow_player_goes_on_at_a_random_access_point(start: Start, name: str, version: str) -> None:
    server = start(*LAGGING)
    begin(server, name, LARGE)
    with slow(server, name, {}, version) as peer:
        peer.head()
        post_all(server, name, LARGE)
        server.finish(name, len(LARGE.data))
        data = peer.rest()
    assert data.startswith(LARGE.initialization)
    place, jumped, following = len(LARGE.initialization), 0, 0
    while place < len(data):
        found = next(
            index
            for index, fragment in enumerate(LARGE.fragments[following:], following)
            if data.startswith(fragment.data, place)
        )
        if found != following:
            jumped += 1
            assert LARGE.fragments[found].key
        place += len(LARGE.fragments[found].data)
        following = found + 1
    assert following == len(LARGE.fragments)
    assert jumped >= 1


def test_who_takes_nothing_is_closed_and_counted(start: Start, name: str) -> None:
    server = start("--stall-timeout", "1")
    begin(server, name, LARGE)
    with slow(server, name, {}) as peer, slow(server, name, {**NOTHING, **MULTIPART}) as other:
        peer.head()
        other.head()
        post_all(server, name, LARGE)
        eventually(lambda: server.metric("sdp_stalled_closed_total") == 2)
        peer.broken_off()
        other.broken_off()
    eventually(lambda: server.describe(name)["consumers"] == [], "their leaving the state")


def test_who_takes_nothing_of_a_recording_is_closed(start: Start, tmp_path: Path, name: str) -> None:
    server = start("--stall-timeout", "1", "--memory", "1MiB", store=tmp_path / "store")
    begin(server, name, LARGE)
    post_all(server, name, LARGE)
    server.finish(name, len(LARGE.data))
    with slow(server, name, {}) as peer:
        assert peer.head()["Content-Length"] == str(len(LARGE.data))
        eventually(lambda: server.metric("sdp_stalled_closed_total") == 1)
        peer.broken_off()


def test_an_open_range_is_given_all_the_same(start: Start, name: str) -> None:
    """It was asked for by its offsets: a jump would be silent."""
    server = start(*LAGGING)
    begin(server, name, LARGE)
    with slow(server, name, {"Range": f"bytes=0-{OPEN_END}"}) as peer:
        peer.head()
        post_all(server, name, LARGE)
        server.finish(name, len(LARGE.data))
        assert peer.rest() == LARGE.data


@pytest.mark.parametrize("form", ["parts", "single", "plain"])
def test_who_asks_for_it_loses_nothing(start: Start, tmp_path: Path, name: str, form: str) -> None:
    server = start(*LAGGING, "--memory", "1MiB", store=tmp_path / "store")
    begin(server, name, LARGE)
    fields = {"parts": {**NOTHING, **MULTIPART}, "single": NOTHING, "plain": {}}[form]
    with slow(server, name, {**fields, "Prefer": "lossless"}) as peer:
        response = peer.head()
        post_all(server, name, LARGE)
        assert server.finish(name, len(LARGE.data)).status == 204
        if form == "parts":
            assert b"".join(part.data for part in peer.parts(boundary_of(response))) == LARGE.data
        else:
            assert peer.rest() == LARGE.data
    assert server.metric("sdp_jumps_total") == 0


def test_without_a_disk_a_lossless_consumer_jumps_as_any_other(start: Start, name: str) -> None:
    server = start(*LAGGING)
    begin(server, name, LARGE)
    with slow(server, name, {**NOTHING, **MULTIPART, "Prefer": "lossless"}) as peer:
        response = peer.head()
        post_all(server, name, LARGE)
        server.finish(name, len(LARGE.data))
        parts = peer.parts(boundary_of(response))
    assert sum(len(part.data) for part in parts) < len(LARGE.data)
    assert server.metric("sdp_jumps_total") >= 1


# -- the drain ---------------------------------------------------------------------------------------------------

SMALL = movie("KddKdd")


def consumers(server: Distributor, name: str) -> dict[str, Peer]:
    """One live consumer of each form, that has read what there is."""
    forms: dict[str, tuple[dict[str, str], str]] = {
        "plain": ({}, "1.1"),
        "plain 1.0": ({}, "1.0"),
        "parts": ({**NOTHING, **MULTIPART}, "1.1"),
        "open range": ({"Range": f"bytes=0-{OPEN_END}"}, "1.1"),
    }
    peers = {}
    for form, (fields, version) in forms.items():
        peer = server.peer()
        peer.ask("GET", f"/{name}", fields, version=version)
        assert peer.head().status in (200, 206)
        assert peer.exactly(10)
        peers[form] = peer
    return peers


def test_sigterm_drains(start: Start, tmp_path: Path, name: str) -> None:
    server = start(store=tmp_path / "store")
    origin = server.peer()
    origin.send(origin.head_bytes("POST", f"/{name}", OPEN) + chunk(SMALL.data))
    eventually(lambda: server.call("HEAD", f"/{name}").end == len(SMALL.data))
    etag = server.call("HEAD", f"/{name}").etag
    idle = server.peer()
    assert idle.call("GET", "/-/health").status == 200
    live = consumers(server, name)
    server.terminate()
    for peer in live.values():
        peer.broken_off()
        peer.close()
    assert idle.ended()
    assert server.wait(10) in (0, -signal.SIGTERM)
    assert server.faults() == []
    with pytest.raises((Cut, ConnectionError)):
        origin.head("POST")
    origin.close()
    idle.close()
    again = start(store=tmp_path / "store")
    head = again.call("HEAD", f"/{name}")
    assert (head.end, head.etag, head["Content-Type"]) == (len(SMALL.data), etag, CONTENT_TYPE)
    assert head["Durable-Offset"] == str(len(SMALL.data))
    assert again.describe(name)["state"] != "ended"
    assert again.log_of(name) == SMALL.data
    more = movie("KddKddK").fragments[6]
    resumed = again.post(name, more.offset, more.data, {"If-Match": etag})
    assert (resumed.status, resumed.etag) == (204, etag)
    with again.peer() as consumer:
        consumer.ask("GET", f"/{name}")
        consumer.head()
        assert consumer.exactly(len(SMALL.initialization)) == SMALL.initialization
        assert consumer.exactly(len(more.data)) == more.data


def test_the_drain_waits_for_an_answer_that_is_all_there(start: Start, name: str) -> None:
    """A request in the midst of its body may still be completed while the Distributor drains."""
    server = start()
    with server.peer() as origin:
        origin.send(origin.head_bytes("POST", f"/{name}", {**content_range(0, 5), "Content-Length": "6"}) + b"abc")
        eventually(lambda: server.call("HEAD", f"/{name}").end == 3)
        server.terminate()
        server.wait_for(r"Port \d+ Closed")
        origin.send(b"def")
        response = origin.response("POST")
        assert (response.status, response.end, response["Connection"]) == (201, 6, "close")
    assert server.wait(10) in (0, -signal.SIGTERM)


def test_no_new_connections_while_draining(start: Start, name: str) -> None:
    server = start()
    with server.peer() as origin:
        origin.send(origin.head_bytes("POST", f"/{name}", {**content_range(0, 5), "Content-Length": "6"}) + b"abc")
        eventually(lambda: server.call("HEAD", f"/{name}").end == 3)
        server.terminate()
        server.wait_for(r"Port \d+ Closed")
        eventually(lambda: refuses(server), "the port's end")
    assert server.wait(10) in (0, -signal.SIGTERM)


def refuses(server: Distributor) -> bool:
    try:
        server.peer().close()
    except ConnectionRefusedError:
        return True
    return False


# -- the crash ---------------------------------------------------------------------------------------------------


def test_what_was_durable_survives_a_kill(start: Start, tmp_path: Path, name: str) -> None:
    server = start(store=tmp_path / "store")
    origin = server.peer()
    origin.send(origin.head_bytes("POST", f"/{name}", OPEN) + chunk(SMALL.data))
    whole = str(len(SMALL.data))
    eventually(lambda: server.call("HEAD", f"/{name}").get("Durable-Offset") == whole)
    etag = server.call("HEAD", f"/{name}").etag
    live = consumers(server, name)
    server.kill()
    origin.close()
    for peer in live.values():
        # A process that is killed cannot reset its connections: what has no framing of its own just ends.
        peer.close()
    again = start(store=tmp_path / "store")
    head = again.call("HEAD", f"/{name}")
    assert (head.end, head.etag) == (len(SMALL.data), etag)
    assert again.log_of(name) == SMALL.data
    again.finish(name, len(SMALL.data))
    assert again.call("GET", f"/{name}").body == SMALL.data


def test_after_a_kill_the_origin_goes_on_from_where_the_log_ends(start: Start, tmp_path: Path, name: str) -> None:
    server = start("--sync", "1000", store=tmp_path / "store")
    etag = server.post(name, 0, SMALL.initialization, {"Content-Type": CONTENT_TYPE}).etag
    post_all(server, name, SMALL)
    server.kill()
    again = start(store=tmp_path / "store")
    head = again.call("HEAD", f"/{name}")
    assert head.end <= len(SMALL.data)
    if head.status == 200:
        assert head.etag == etag
        assert again.log_of(name) == SMALL.data[: head.end]
        fields = {"If-Match": etag}
    else:
        fields = {"Content-Type": CONTENT_TYPE}
    assert again.post(name, head.end, SMALL.data[head.end :] + b"!", fields).status in (201, 204)
    assert again.log_of(name) == SMALL.data + b"!"


def test_ended_and_past_epochs_survive_a_kill(start: Start, tmp_path: Path, name: str) -> None:
    server = start(store=tmp_path / "store")
    old = server.post(name, 0, b"old", {"Content-Type": "text/x-old"}, complete=3).etag
    new = server.post(name, 0, b"newer", {"Content-Type": "text/x-new"}, complete=5).etag
    eventually(lambda: server.call("HEAD", f"/{name}").get("Durable-Offset") == "5")
    server.kill()
    again = start(store=tmp_path / "store")
    whole = again.call("GET", f"/{name}")
    assert (whole.status, whole.body, whole.etag, whole["Content-Type"]) == (200, b"newer", new, "text/x-new")
    assert again.describe(name)["state"] == "ended"
    past = again.call("GET", f"/{name}?epoch={old[1:-1]}")
    assert (past.body, past.etag, past["Content-Type"]) == (b"old", old, "text/x-old")
    assert again.post(name, 1, b"ewer", {"If-Match": new})["Content-Range"] == "bytes */5"
    assert again.finish(name, 5).status == 204


def test_after_a_restart_an_ordinary_publisher_begins_a_new_epoch(start: Start, tmp_path: Path, name: str) -> None:
    server = start(store=tmp_path / "store")
    etag = server.post(name, 0, b"abc").etag
    server.stop()
    again = start(store=tmp_path / "store")
    assert again.call("HEAD", f"/{name}").etag == etag
    posted = again.call("PUT", f"/{name}", {}, b"xyz")
    assert posted.status == 201
    assert posted.etag != etag
    assert again.call("GET", f"/{name}?epoch={etag[1:-1]}").body == b"abc"
    assert again.call("GET", f"/{name}").body == b"xyz"


def test_what_was_deleted_stays_deleted(start: Start, tmp_path: Path, name: str) -> None:
    server = start(store=tmp_path / "store")
    server.post(name, 0, b"abc", complete=3)
    server.post(name, 0, b"xyz")
    assert server.call("DELETE", f"/{name}").status == 204
    server.kill()
    again = start(store=tmp_path / "store")
    problem_of(again.call("GET", f"/{name}"), 404)
    assert again.call("GET", "/-/streams").body.strip() == b'{"streams": []}'


# -- the command -------------------------------------------------------------------------------------------------


def test_the_store_is_written_while_bytes_come(start: Start, tmp_path: Path, name: str) -> None:
    server = start(store=tmp_path / "store")
    with server.peer() as origin:
        origin.send(origin.head_bytes("POST", f"/{name}", OPEN) + b"1000\r\n" + SMALL.data[:100])
        eventually(lambda: server.call("HEAD", f"/{name}").get("Durable-Offset") == "100")
