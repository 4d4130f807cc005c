"""Relays of relays: the same epochs, offsets and records at every hop, whatever breaks between them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sdp.distributor.index_view import MOST_RECORDS
from sdp.distributor.inflow import SILENCE
from sdp.distributor.relay import AHEAD_WAIT
from sdp.distributor.settings import DistributorSettings
from sdp.distributor.upstream import ANSWER_TIMEOUT
from sdp.errors import ConfigurationError
from sdp.net.client import Disconnected
from sdp.settings import load
from tests.distributor.disk import Disk
from tests.distributor.network import Network, Node, Viewer, outcome
from tests.system.media import movie

MP4 = "Content-Type: video/mp4"
TEXT = "Content-Type: text/plain"
KEY = "Random-Access: ?1"


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    """What a test has begun ends with it."""
    yield
    Network.close_all()


def chain(levels: int = 3, **options: str) -> tuple[Network, list[Node]]:
    """A Distributor, a relay of it, a relay of that..."""
    network = Network()
    nodes = [Node(network, "/0", **options)]
    nodes += [Node(network, f"/{number}", f"/{number - 1}", **options) for number in range(1, levels)]
    return network, nodes


def test_requests_in_one_packet_are_all_answered() -> None:
    """Each comes to be asked while the one before it is told that there is no such stream."""
    network, nodes = chain(2)
    client = nodes[1].client()
    answers = [outcome(client.fetch(b"GET", b"/none")) for _ in range(3)]
    network.settle(10)
    assert [[answer.status for answer in each] for each in answers] == [[404]] * 3


def test_who_asks_while_the_stream_is_removed_is_answered() -> None:
    network, nodes = chain(2)
    nodes[0].post("0-3/*", b"abcd", TEXT)
    nodes[0].post("*/4")
    answer = outcome(nodes[1].client().fetch(b"GET", b"/a"))
    for pump, *_ in network.wires:
        pump.pump()
    relay = nodes[1].factory.site._relay
    [kept] = relay._kept.values()
    relay._removed("a", kept)  # as the answer to a DELETE has it, which has come in this moment
    network.settle(5)
    assert [each.status for each in answer] == [404]


def test_who_does_not_wait_is_answered_while_another_one_waits() -> None:
    network, nodes = chain(2)
    waiting = nodes[1].ask("GET", "/none", "Prefer: wait=50")
    assert nodes[1].get("/none").status == 404
    assert waiting == []
    nodes[0].post("0-3/*", b"abcd", TEXT, name="none")
    network.settle(1)
    assert waiting == []  # it is live, and so is the answer
    assert nodes[1].get("/none", "Range: bytes=0-3").content == b"abcd"


class TestChain:
    def test_a_late_joiner_at_the_end_begins_at_a_random_access_point(self) -> None:
        _, nodes = chain(4)
        film = movie("KddKdd")
        nodes[0].post(f"0-{len(film.data) - 1}/*", film.data, MP4)
        viewers = [Viewer(node) for node in nodes]
        for viewer in viewers:
            assert [each[0] for each in viewer.records] == [0, *(each.offset for each in film.fragments[3:])]
            assert viewer.records == viewers[0].records
            assert viewer.pieces[0].initialization
        more = movie("KddKddKd").fragments[6:]
        for each in more:
            nodes[0].post(f"{each.offset}-{each.end - 1}/*", each.data)
        for viewer in viewers:
            assert viewer.content(film.fragments[3].offset) == film.data[film.fragments[3].offset :] + b"".join(
                each.data for each in more
            )

    def test_each_hop_adds_its_time(self) -> None:
        network, nodes = chain(4)
        nodes[0].post("0-1/*", b"ab", TEXT, KEY, "Capture-Time: 77")
        viewers = [Viewer(node) for node in nodes]
        network.settle(2)
        nodes[0].post("2-3/*", b"cd", KEY, "Capture-Time: 99")
        for depth, viewer in enumerate(viewers):
            piece = viewer.pieces[-1]
            assert (piece.data, piece.capture_time) == (b"cd", 99)
            assert len(piece.hop_times) == depth
            assert [*piece.hop_times, piece.received_time] == sorted([*piece.hop_times, piece.received_time or 0])
            assert piece.received_time == 2_000_000

    def test_the_end_is_the_end_at_every_hop(self) -> None:
        _, nodes = chain(3)
        nodes[0].post("0-3/*", b"abcd", TEXT)
        viewer, plain = Viewer(nodes[2]), nodes[2].ask("GET", "/a")
        nodes[0].post("*/4")
        assert viewer.results == [None]
        assert plain[0].content == b"abcd"
        whole = nodes[2].get("/a")
        assert (whole.status, whole.content) == (200, b"abcd")
        assert whole.headers.get(b"etag") == nodes[0].get("/a").headers.get(b"etag")

    def test_it_says_what_it_relays_and_whence(self) -> None:
        _, nodes = chain(3)
        nodes[0].post("0-3/*", b"abcd", TEXT)
        assert nodes[2].streams() == []
        Viewer(nodes[2])
        [stream] = nodes[2].streams()
        assert (stream["upstream"], stream["state"], stream["recording"]) == ("unix:/1", "live", None)
        assert nodes[0].streams()[0]["upstream"] is None
        metrics = nodes[2].get("/-/metrics").content
        assert b'sdp_upstream_bytes_total{upstream="unix:/1"} 4.0' in metrics
        assert nodes[2].get("/a", method="HEAD").headers.get(b"via") is not None
        assert nodes[0].get("/a", method="HEAD").headers.get(b"via") is None

    def test_opaque_records_keep_their_edges(self) -> None:
        _, nodes = chain(3)
        nodes[0].post("0-2/*", b"000", TEXT)
        viewers = [Viewer(node) for node in nodes]
        for number in range(1, 5):
            nodes[0].post(f"{number * 3}-{number * 3 + 2}/*", b"%03d" % number, TEXT)
        for viewer in viewers:
            assert [each[:2] for each in viewer.records] == [(number * 3, True) for number in range(5)]

    @settings(max_examples=30, deadline=None)
    @given(st.data())
    def test_whatever_breaks_nothing_is_lost_or_comes_twice(self, data: Any) -> None:
        network, nodes = chain(3)
        sent = b"...."
        nodes[0].post("0-3/*", sent, TEXT, KEY)
        viewer = Viewer(nodes[2])
        for number in range(data.draw(st.integers(1, 8))):
            match data.draw(st.sampled_from(["post", "post", "key", "cut 0", "cut 1", "cut 2", "anew 1", "anew 2"])):
                case "post" | "key" as kind:
                    piece = b"<%d>" % number * data.draw(st.integers(1, 20))
                    fields = [KEY] if kind == "key" else []
                    nodes[0].post(f"{len(sent)}-{len(sent) + len(piece) - 1}/*", piece, *fields)
                    sent += piece
                case "anew 1" | "anew 2" as anew:
                    nodes[int(anew[-1])].begin_anew()
                case cut:
                    nodes[int(cut[-1])].cut()
            network.settle(data.draw(st.sampled_from([0, 0.25])))
        network.settle(3)
        nodes[0].post(f"*/{len(sent)}")
        network.settle(3)
        assert viewer.results == [None]
        assert viewer.content() == sent


class TestOlderBytes:
    def test_what_is_not_in_memory_comes_from_the_upstream(self) -> None:
        network, nodes = chain(3)
        film = movie("KdKdKd")
        nodes[0].post(f"0-{len(film.data) - 1}/*", film.data, MP4)
        Viewer(nodes[2])
        for start, end in [(0, 10), (600, 1500), (0, len(film.data))]:
            answer = nodes[2].get("/a", f"Range: bytes={start}-{end - 1}")
            assert (answer.status, answer.content) == (206, film.data[start:end])
        network.settle(1)
        index = json.loads(nodes[2].get("/-/records/a").content)
        assert index["records"] == json.loads(nodes[2].get("/-/records/a?first=0&last=99999").content)["records"]
        assert [each["offset"] for each in index["records"]] == [0, *(each.offset for each in film.fragments)]
        last = json.loads(nodes[2].get("/-/records/a?newest=random-access&before=1500").content)
        assert [each["offset"] for each in last["records"]] == [film.fragments[0].offset]

    def test_more_records_than_one_answer_of_the_index_holds(self) -> None:
        network, nodes = chain(2)
        for number in range(MOST_RECORDS + 500):
            nodes[0].post(f"{number}-{number}/*", b"x", TEXT)
        nodes[0].post(f"*/{MOST_RECORDS + 500}")
        viewer = Viewer(nodes[1])
        network.settle(1)
        assert viewer.results == [None]
        assert [each[0] for each in viewer.records] == list(range(MOST_RECORDS + 500))

    def test_what_the_upstream_no_longer_has_is_gone(self) -> None:
        _, nodes = chain(2, memory="2KiB")
        nodes[0].post("0-999/*", b"a" * 1000, TEXT, KEY)
        viewer = Viewer(nodes[1])
        for number in range(1, 6):
            nodes[0].post(f"{number * 1000}-{number * 1000 + 999}/*", b"b" * 1000, KEY)
        assert nodes[0].get("/a", "Range: bytes=0-9").status == 410
        assert nodes[1].get("/a", "Range: bytes=0-9").status == 410
        assert len(viewer.content()) == 6000

    def test_a_recording_by_range_and_by_what_is_had(self) -> None:
        network, nodes = chain(3)
        film = movie("KddKdd")
        nodes[0].post(f"0-{len(film.data) - 1}/{len(film.data)}", film.data, MP4)
        assert nodes[2].get("/a", "Range: bytes=-20").content == film.data[-20:]
        viewer = Viewer(nodes[2])
        network.settle(1)
        assert viewer.results == [None]
        assert viewer.content() == film.data
        # Not a byte of it went through a log here, and yet its records are told.
        assert [each[0] for each in viewer.records] == [0, *(each.offset for each in film.fragments)]

    def test_a_past_epoch_by_its_name(self) -> None:
        _, nodes = chain(3)
        nodes[0].post("0-3/4", b"past", TEXT)
        past = (nodes[2].get("/a").headers.get(b"etag") or b"").decode().strip('"')
        nodes[0].post("0-2/*", b"new", TEXT)
        assert Viewer(nodes[2]).content() == b"new"
        assert nodes[2].get(f"/a?epoch={past}").content == b"past"
        assert nodes[2].get("/a?epoch=nobody").status == 404

    def test_a_relay_that_lagged_jumps_and_its_consumers_do_not(self) -> None:
        network, nodes = chain(2, catch_up="0.5")
        nodes[0].post("0-3/*", b"key0", TEXT, KEY)
        viewer = Viewer(nodes[1])
        nodes[0].cut()
        nodes[0].up = False
        network.settle(1)
        sent = b"key0"
        for number in range(1, 5):
            nodes[0].up = True
            nodes[0].post(f"{len(sent)}-{len(sent) + 3}/*", b"key%d" % number, KEY)
            nodes[0].up = False
            sent += b"key%d" % number
            network.settle(1)
        nodes[0].up = True
        network.settle(4)
        epoch: Any = nodes[1].factory.site._streams.current("a")
        assert epoch.log.start == 16  # the upstream has left something out
        assert viewer.content() == sent


class TestComingAndGoing:
    def test_it_stays_for_a_while_after_the_last_has_left(self) -> None:
        network, nodes = chain(3)
        nodes[0].post("0-3/*", b"abcd", TEXT)
        viewer = Viewer(nodes[2])
        viewer.leave()
        network.settle(29)
        assert len(nodes[2].streams()) == 1
        again = Viewer(nodes[2])
        network.settle(40)
        assert len(nodes[2].streams()) == 1
        again.leave()
        network.settle(31)
        assert nodes[2].streams() == []
        network.settle(31)
        assert nodes[1].streams() == []
        assert len(nodes[0].streams()) == 1
        assert Viewer(nodes[2]).content() == b"abcd"

    def test_a_thousand_at_once_are_one_to_the_upstream(self) -> None:
        _, nodes = chain(2)
        nodes[0].post("0-3/*", b"abcd", TEXT)
        viewers = [Viewer(nodes[1]) for _ in range(20)]
        assert all(viewer.content() == b"abcd" for viewer in viewers)
        assert len(nodes[0].streams()[0]["consumers"]) == 1

    def test_what_is_not_there(self) -> None:
        _, nodes = chain(3)
        answer = nodes[2].get("/a")
        assert (answer.status, answer.headers.get(b"retry-after")) == (404, b"1")
        assert nodes[2].get("/a", 'If-Match: "x"').status == 412
        # Where a stream ends that it does not hold, it cannot say by itself.
        options = nodes[2].get("/a", method="OPTIONS")
        assert (options.status, options.headers.get(b"upload-offset")) == (204, None)
        head = nodes[2].get("/a", method="HEAD")
        assert (head.status, head.headers.get(b"upload-offset")) == (404, b"0")
        assert nodes[2].factory.site._relay._kept == {}

    def test_waiting_for_what_is_not_there_yet(self) -> None:
        network, nodes = chain(3)
        waiting = nodes[2].ask("GET", "/a", "Prefer: wait=40", "Content-Range: bytes */0")
        late = nodes[2].ask("GET", "/a", "Prefer: wait=3", "Content-Range: bytes */0")
        network.settle(10)
        assert waiting == []
        assert late[0].status == 404
        nodes[0].post("0-3/*", b"abcd", TEXT)
        network.settle(1)
        assert (waiting[0].status, waiting[0].content) == (206, b"abcd")

    def test_a_stream_without_a_byte_yet_is_there(self) -> None:
        network, nodes = chain(2)
        origin = nodes[0].client()
        origin.begin(b"POST", b"/a", [(b"Content-Type", b"video/mp4"), (b"Transfer-Encoding", b"chunked")], _Ignoring())
        network.settle()
        viewer = Viewer(nodes[1])
        assert nodes[1].get("/a", method="HEAD").headers.get(b"content-type") == b"video/mp4"
        film = movie("Kd")
        origin.write(b"%x\r\n%b\r\n" % (len(film.data), film.data))
        network.settle()
        assert viewer.content() == film.data

    def test_a_new_epoch_ends_the_old_one_and_begins(self) -> None:
        network, nodes = chain(3)
        nodes[0].post("0-3/*", b"abcd", TEXT)
        viewer, plain = Viewer(nodes[2]), nodes[2].ask("GET", "/a")
        nodes[0].post("*/4")
        nodes[0].post("0-2/*", b"new", TEXT)
        network.settle(3)
        assert plain[0].content == b"abcd"
        # LiveFetch is done with an epoch's end; the next who asks is given the new one.
        assert viewer.results == [None]
        assert Viewer(nodes[2]).content() == b"new"

    def test_an_epoch_that_the_upstream_lost_breaks_off(self) -> None:
        network, nodes = chain(2)
        nodes[0].post("0-3/*", b"abcd", TEXT)
        viewer, plain = Viewer(nodes[1]), nodes[1].ask("GET", "/a")
        nodes[0].begin_anew()
        network.settle(2)
        nodes[0].post("0-4/*", b"other", TEXT)
        network.settle(5)
        assert isinstance(plain[0], Disconnected)  # it did not end as if it were whole
        assert len(set(viewer.epochs)) == 2
        assert viewer.pieces[-1].data == b"other"

    @pytest.mark.parametrize("another", [True, False])
    def test_an_epoch_that_ended_before_what_is_here_breaks_off(self, another: bool) -> None:
        """Its Distributor died with bytes that it had given out, and its Origin did not send them again."""
        network, disk = Network(), Disk()
        node = Node(network, "/0", disk=disk)
        relay = Node(network, "/1", "/0")
        node.post("0-7/*", b"abcdefgh", TEXT)
        viewer, plain = Viewer(relay), relay.ask("GET", "/a")
        assert viewer.content() == b"abcdefgh"
        node.kill()
        [kept] = disk.kept
        del kept.data[5:]
        kept.end = kept.written = kept.durable = 5
        node.begin_anew()
        network.settle(2)
        assert not plain  # the Origin may send the rest again
        node.post("*/5")
        if another:
            node.post("0-2/*", b"new", TEXT)
        network.settle(5)
        assert isinstance(plain[0], Disconnected)  # it did not end as if it were whole
        assert Viewer(relay).content() == (b"new" if another else b"abcde")

    def test_what_an_upstream_did_not_have_for_a_while_is_there_again(self) -> None:
        """Its disk was gone when it was started, all but the newest of it; and then it was back."""
        network, disk = Network(), Disk()
        node = Node(network, "/0", disk=disk, memory="0")
        relay = Node(network, "/1", "/0", memory="0")
        node.post("0-7/*", b"abcdefgh", TEXT, KEY)
        viewer = Viewer(relay)
        [kept] = disk.kept
        content, index = bytes(kept.data), list(kept.index)
        for start, status in ((4, 410), (0, 206)):
            node.kill()
            kept.start, kept.data[:] = start, content[start:]
            kept.index[:] = [each for each in index if each.offset >= start]
            node.begin_anew()
            network.settle(5)
            assert relay.get("/a", "Range: bytes=0-1").status == status
        assert viewer.content() == b"abcdefgh"

    def test_an_epoch_that_went_on_elsewhere_while_we_were_cut_off_is_taken_to_its_end(self) -> None:
        network, nodes = chain(2)
        nodes[0].post("0-3/*", b"abcd", TEXT)
        plain = nodes[1].ask("GET", "/a")
        nodes[0].cut()
        nodes[0].up = False
        for call in (
            ("4-7/8", b"efgh"),
            ("0-2/*", b"new"),
        ):
            nodes[0].post(*call, TEXT)
        nodes[0].up = True
        network.settle(3)
        assert plain[0].content == b"abcdefgh"
        assert Viewer(nodes[1]).content() == b"new"

    def test_a_stream_that_is_deleted_ends(self) -> None:
        network, nodes = chain(3)
        nodes[0].post("0-3/*", b"abcd", TEXT)
        plain = nodes[2].ask("GET", "/a")
        assert nodes[2].get("/a", method="DELETE").status == 204
        network.settle(3)
        assert plain[0].content == b"abcd"
        assert [node.get("/a").status for node in nodes] == [404, 404, 404]


class TestMoving:
    def test_a_consumer_goes_from_relay_to_relay(self) -> None:
        network = Network()
        first = Node(network, "/d")
        relays = [Node(network, f"/r{number}", "/d") for number in range(3)]
        sent = b"key"
        first.post("0-2/*", sent, TEXT, KEY)
        viewer = Viewer(relays[0])
        for number in range(9):
            piece = b"<%d>" % number
            first.post(f"{len(sent)}-{len(sent) + len(piece) - 1}/*", piece, *([KEY] if number % 2 else []))
            sent += piece
            viewer.move(relays[number % 3])
        assert viewer.content() == sent
        assert len(set(viewer.epochs)) == 1

    def test_to_one_that_begins_behind_its_place(self) -> None:
        """The newest random access point lies after what the consumer has: what lies between is not skipped."""
        network = Network()
        first = Node(network, "/d", catch_up="30")
        relays = [Node(network, f"/r{number}", "/d", catch_up="30") for number in range(2)]
        first.post("0-3/*", b"key0", TEXT, KEY)
        viewer = Viewer(relays[0])
        relays[0].kill()
        first.post("4-7/*", b"dep0")
        first.post("8-11/*", b"key1", KEY)
        viewer.move(relays[1])
        network.settle(2)
        assert viewer.content() == b"key0dep0key1"

    def test_one_that_is_ahead_waits(self) -> None:
        network, nodes = chain(2)
        nodes[0].post("0-3/*", b"abcd", TEXT, KEY)
        Viewer(nodes[1])
        tag = (nodes[0].get("/a", method="HEAD").headers.get(b"etag") or b"").decode()
        delayed = network.uplinks
        network.wires = [wire for wire in network.wires if wire not in delayed]
        nodes[0].post("4-7/*", b"efgh")
        ahead = nodes[1].ask("GET", "/a", f"If-Match: {tag}", "Content-Range: bytes 0-7/*", "Prefer: wait=9")
        network.settle(AHEAD_WAIT / 2)
        assert ahead == []
        network.wires += delayed
        nodes[0].post("8-9/*", b"ij")
        network.settle(1)
        assert ahead[0].content == b"ij"

    def test_one_that_has_another_epoch_is_told_at_once(self) -> None:
        _, nodes = chain(2)
        nodes[0].post("0-3/*", b"abcd", TEXT, KEY)
        Viewer(nodes[1])
        answer = nodes[1].get("/a", 'If-Match: "former"', "Content-Range: bytes 0-7/*")
        assert answer.status == 412

    def test_one_that_has_what_nobody_has(self) -> None:
        network, nodes = chain(2)
        nodes[0].post("0-3/*", b"abcd", TEXT, KEY)
        Viewer(nodes[1])
        wrong = nodes[1].ask("GET", "/a", "Content-Range: bytes 0-7/*")
        network.settle(AHEAD_WAIT + 1)
        assert wrong[0].status == 416


class _Ignoring:
    """A receiver of nothing."""

    def data_received(self, data: bytes) -> None:
        """Not looked at."""

    def ended(self, trailers: object) -> None:
        """Not looked at."""

    def failed(self, error: object) -> None:
        """Not looked at."""


class TestFailover:
    def diamond(self) -> tuple[Network, Node, list[Node], Node]:
        network = Network()
        first = Node(network, "/d")
        middle = [Node(network, f"/m{number}", "/d") for number in range(2)]
        return network, first, middle, Node(network, "/r", "/m0", "/m1", "/d")

    def test_the_next_one_in_their_order(self) -> None:
        network, first, middle, last = self.diamond()
        sent = b"key"
        first.post("0-2/*", sent, TEXT, KEY)
        viewer, plain = Viewer(last), last.ask("GET", "/a")

        def post() -> bytes:
            piece = b"<%d>" % len(sent)
            first.post(f"{len(sent)}-{len(sent) + len(piece) - 1}/*", piece)
            return sent + piece

        sent = post()
        assert last.streams()[0]["upstream"] == "unix:/m0"
        for number, upstream in ((0, "unix:/m1"), (1, "unix:/d")):
            middle[number].kill()
            sent = post()
            network.settle(1)
            sent = post()
            assert last.streams()[0]["upstream"] == upstream
        assert b"sdp_upstream_failovers_total 2.0" in last.get("/-/metrics").content
        first.post(f"*/{len(sent)}")
        assert viewer.content() == sent
        assert viewer.results == [None]
        assert plain[0].content == sent

    def test_one_that_falls_silent(self) -> None:
        network, first, middle, last = self.diamond()
        first.post("0-2/*", b"key", TEXT, KEY)
        viewer = Viewer(last)
        network.settle(20)
        assert last.streams()[0]["upstream"] == "unix:/m0"  # that nothing is posted is no silence of the upstream
        # Nothing comes through any more from the first one in the middle, and no connection breaks.
        network.wires = [wire for wire in network.wires if wire[1] not in middle[0].ends]
        network.mute.add(middle[0].name)
        first.post("3-5/*", b"new")
        network.settle(SILENCE * 2 + ANSWER_TIMEOUT + 1)
        assert last.streams()[0]["upstream"] == "unix:/m1"
        assert viewer.content() == b"keynew"

    def test_a_connection_that_alone_is_dead(self) -> None:
        network = Network()
        first = Node(network, "/d")
        relay = Node(network, "/r", "/d")
        first.post("0-2/*", b"key", TEXT, KEY)
        viewer = Viewer(relay)
        live = network.uplinks[-1]
        network.wires.remove(live)
        first.post("3-5/*", b"new")
        network.settle(SILENCE * 4)
        assert viewer.content() == b"keynew"

    def test_none_is_left_until_one_comes_back(self) -> None:
        network, first, middle, last = self.diamond()
        first.post("0-2/*", b"key", TEXT, KEY)
        viewer = Viewer(last)
        for node in (*middle, first):
            node.cut()
            node.up = False
        network.settle(20)
        assert last.streams()[0]["end_offset"] == 3
        first.up = True
        first.post("3-5/*", b"new")
        network.settle(3)
        assert viewer.content() == b"keynew"
        assert viewer.epochs == [viewer.epochs[0]]

    def test_nobody_is_left_for_who_asks_first(self) -> None:
        network = Network()
        relay = Node(network, "/r", "/nowhere", "/else")
        assert relay.get("/a").status == 502
        assert relay.get("/a", method="HEAD").status == 502
        assert relay.factory.site._relay._kept == {}

    def test_the_first_one_does_not_have_it(self) -> None:
        network = Network()
        Node(network, "/empty")
        first = Node(network, "/d")
        relay = Node(network, "/r", "/empty", "/d")
        first.post("0-2/*", b"key", TEXT, KEY)
        assert Viewer(relay).content() == b"key"


class TestCircles:
    def test_relays_of_each_other(self) -> None:
        network = Network()
        one, other = Node(network, "/1", "/2"), Node(network, "/2", "/1")
        for node in (one, other):
            answer = node.get("/a")
            assert answer.status == 508
            assert b"circle" in answer.content
        answer = one.post("0-2/*", b"abc", TEXT)
        assert answer.status == 508

    def test_caches_of_one_kind_on_both_sides_are_no_circle(self) -> None:
        _, nodes = chain(2)
        nodes[0].post("0-2/*", b"abc", TEXT, KEY)
        Viewer(nodes[1])
        inflow = nodes[1].factory.site._relay._kept["a"].inflow
        inflow.path = ("cache",)  # as if one stood between the relay and its upstream
        assert nodes[1].get("/a", "Via: 1.1 cache", "Range: bytes=0-1").content == b"ab"
        inflow.path = ("sdp-0123",)
        assert nodes[1].get("/a", "Via: 1.1 cache, 1.1 sdp-0123", "Range: bytes=0-1").status == 508

    def test_a_circle_beside_a_source(self) -> None:
        """Who loses the source does not take the stream from one that has it from oneself."""
        network = Network()
        first = Node(network, "/d")
        one, other = Node(network, "/1", "/d", "/2"), Node(network, "/2", "/d", "/1")
        first.post("0-2/*", b"abc", TEXT, KEY)
        viewers = [Viewer(one), Viewer(other)]
        first.cut()
        first.up = False
        network.settle(5)
        first.up = True
        first.post("3-5/*", b"def")
        network.settle(5)
        assert [viewer.content() for viewer in viewers] == [b"abcdef", b"abcdef"]

    def test_a_circle_that_a_failover_would_close(self) -> None:
        network = Network()
        first = Node(network, "/d")
        one = Node(network, "/1", "/d", "/3")
        two, three = Node(network, "/2", "/1"), Node(network, "/3", "/2")
        first.post("0-2/*", b"abc", TEXT, KEY)
        viewers = [Viewer(node) for node in (one, two, three)]
        first.cut()
        first.up = False
        network.settle(5)
        assert one.streams()[0]["end_offset"] == 3
        first.up = True
        first.post("3-5/*", b"def")
        network.settle(5)
        assert [viewer.content() for viewer in viewers] == [b"abcdef"] * 3


class TestSettings:
    def test_a_store_of_its_own_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="--store and --upstream"):
            Node(Network(), "/r", "/d", store="elsewhere")

    @pytest.mark.parametrize("given", ["http://", "ftp://h/", "h", "http://h/?a=b", ":", "http://user:secret@h:x/"])
    def test_what_is_no_upstream(self, given: str) -> None:
        with pytest.raises(ConfigurationError, match="--upstream: ") as caught:
            load(DistributorSettings, {"upstream": [given]})
        assert "secret" not in str(caught.value)
