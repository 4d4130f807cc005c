"""Virtual time's own parts: the clock, the lines, the tree; and that a cell takes the same course each time."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.error import AlreadyCalled, AlreadyCancelled, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITransport
from twisted.internet.protocol import Factory, Protocol
from zope.interface.verify import verifyObject

from sdp.errors import LocalError
from sdp.lab.design import Cell
from sdp.lab.link import Link, LinkSpec
from sdp.lab.rows import EVENTS, PROCESSES
from sdp.lab.run import obstacles
from sdp.lab.scenario import way_of
from sdp.lab.summary import summary_of
from sdp.lab.virtual import run_cell, unable
from sdp.lab.virtual.pictures import KEY_WEIGHT, Pictures, read_number
from sdp.lab.virtual.tree import SAMPLED, branches_of
from sdp.lab.virtual.wires import BUFFER, Outgoing
from sdp.lab.virtual.world import START_US, Egress, World


def cell(seed: int = 1, /, **levels: str) -> Cell:
    named = {name.replace("_", "-"): level for name, level in levels.items()}
    return Cell(number=0, repeat=0, seed=seed, levels=named, way=way_of(named))


# --- the clock ---


def test_what_is_due_happens_at_its_time_and_in_the_order_asked_for() -> None:
    world = World()
    done: list[tuple[float, str]] = []

    def note(word: str) -> None:
        done.append((world.seconds(), word))

    for delay, word in ((2, "c"), (1, "a"), (1, "b"), (9, "late")):
        world.callLater(delay, note, word)
    world.callLater(1, world.callLater, 0, note, "after")
    world.run_until(5)
    assert done == [(1, "a"), (1, "b"), (1, "after"), (2, "c")]
    assert world.seconds() == 5
    assert world.microseconds() == START_US + 5_000_000
    assert int(world.wall() * 1e6) == world.microseconds()


def test_a_call_can_be_cancelled_put_off_and_brought_forward() -> None:
    world = World()
    done: list[int] = []
    calls = [world.callLater(delay, done.append, delay) for delay in (1, 2, 3)]
    verifyObject(IDelayedCall, calls[0])
    verifyObject(IReactorTime, world)
    calls[0].cancel()
    calls[1].delay(5)
    calls[2].reset(0.5)
    assert sorted(call.getTime() for call in world.getDelayedCalls()) == [0.5, 7]
    world.run_until(1)
    assert done == [3]
    world.run_until(10)
    assert done == [3, 2]
    with pytest.raises(AlreadyCancelled):
        calls[0].cancel()
    with pytest.raises(AlreadyCalled):
        calls[2].reset(1)
    with pytest.raises(ValueError, match="past"):
        world.callLater(-1, done.append, 0)


def test_a_killed_machine_does_nothing_any_more() -> None:
    world = World()
    done: list[str] = []
    place = world.place("a")
    place.callLater(1, done.append, "never")
    place.kill()
    place.callLater(2, done.append, "anew")
    world.run_until(5)
    assert done == ["anew"]


# --- the lines ---


class End(Protocol):
    """Keeps what comes, and when."""

    transport: Any

    def __init__(self, world: World) -> None:
        self.world = world
        self.came: list[tuple[float, bytes]] = []
        self.lost: list[Any] = []

    def dataReceived(self, data: bytes) -> None:
        self.came.append((self.world.seconds(), data))

    def connectionLost(self, reason: Any = None) -> None:
        self.lost.append(reason.type)

    @property
    def content(self) -> bytes:
        return b"".join(data for _, data in self.came)


class Client(Factory):
    """Makes the one End that it has."""

    def __init__(self, world: World) -> None:
        self.end = End(world)
        self.failed: list[Any] = []

    def buildProtocol(self, addr: Any) -> End:
        return self.end

    def startedConnecting(self, connector: Any) -> None:
        """Nothing to prepare."""

    def clientConnectionFailed(self, connector: Any, reason: Any) -> None:
        self.failed.append(reason.type.__name__)


def pair(**line: Any) -> tuple[World, End, End]:
    """A world in which a client has connected to a server over a line: it, the client's end and the server's."""
    world = World()
    server, client = Client(world), Client(world)
    world.place("server").listenTCP(80, server)
    world.place("client", line=LinkSpec(**line)).connectUNIX("server", client)
    world.run_until(1)
    return world, client.end, server.end


def test_nobody_listens_there() -> None:
    world = World()
    client = Client(world)
    world.place("client").connectUNIX("nowhere", client)
    world.run_until(1)
    assert client.failed == ["ConnectionRefusedError"]


def test_bytes_take_as_long_as_the_line_says() -> None:
    world, client, server = pair(delay=0.05, rate=8_000_000)
    verifyObject(ITransport, client.transport)
    server.transport.write(bytes(100_000))
    world.run_until(2)
    assert client.came[0][0] == pytest.approx(1.05 + 1448 / 1e6)
    assert client.came[-1][0] == pytest.approx(1.05 + 0.1)
    assert len(client.content) == 100_000


@settings(max_examples=40)
@given(
    st.lists(st.binary(min_size=1, max_size=5000), max_size=20),
    st.sampled_from([None, 100_000, 5_000_000]),
    st.sampled_from([0.0, 0.02]),
    st.sampled_from([0.0, 0.3]),
    st.integers(0, 100),
)
def test_whatever_the_line_bytes_come_whole_and_in_order(
    writes: list[bytes], rate: int | None, delay: float, chance: float, seed: int
) -> None:
    world, client, server = pair(rate=rate, delay=delay, jitter=chance, loss=chance, seed=seed)
    for data in writes:
        server.transport.write(data)
        client.transport.write(data[::-1])
    server.transport.loseConnection()
    world.run_until(60)
    assert client.content == b"".join(writes)
    assert client.lost == [ConnectionDone]
    assert server.lost == [ConnectionDone]
    assert b"".join(data[::-1] for data in writes).startswith(server.content)


class Producer:
    """Counts what it is told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def pauseProducing(self) -> None:
        self.told.append("pause")

    def resumeProducing(self) -> None:
        self.told.append("resume")

    def stopProducing(self) -> None:
        self.told.append("stop")


def test_a_producer_is_held_back_while_the_line_is_full() -> None:
    world, client, server = pair(rate=1_000_000)
    producer = Producer()
    server.transport.registerProducer(producer, True)
    server.transport.write(bytes(4 * BUFFER))
    assert producer.told == ["pause"]
    world.run_until(10)
    assert producer.told == ["pause", "resume"]
    assert len(client.content) == 4 * BUFFER


def test_who_does_not_read_holds_the_sender_back() -> None:
    world, client, server = pair()
    client.transport.pauseProducing()
    producer = Producer()
    server.transport.registerProducer(producer, True)
    server.transport.write(bytes(3 << 20))
    world.run_until(5)
    assert producer.told == ["pause"]
    assert client.content == b""
    client.transport.resumeProducing()
    world.run_until(6)
    assert producer.told == ["pause", "resume"]
    assert len(client.content) == 3 << 20


def test_a_stalled_line_goes_on_where_it_was() -> None:
    world, client, server = pair(delay=0.01)
    world.places["client"].stall(2)
    server.transport.write(b"held")
    world.run_until(2.9)
    assert client.content == b""
    world.run_until(4)
    [(time, content)] = client.came
    assert time == pytest.approx(3.01)
    assert content == b"held"


ENDS = ["cut", "kill", "abort"]


@pytest.mark.parametrize("way", ENDS)
def test_a_broken_connection_is_told_to_who_is_there(way: str) -> None:
    world, client, server = pair(delay=0.01)
    producer = Producer()
    client.transport.registerProducer(producer, True)
    if way == "cut":
        world.places["client"].cut()
    elif way == "kill":
        world.places["server"].kill()
    else:
        server.transport.abortConnection()
    world.run_until(2)
    assert client.lost == [ConnectionLost]
    assert producer.told == ["stop"]
    assert server.lost == ([] if way == "kill" else [ConnectionLost])
    assert world.places["client"].connections == []


# --- a server's network ---


def test_the_last_of_many_gets_its_bytes_after_all_before_it() -> None:
    egress = Egress(8_000_000)  # a byte a microsecond
    first, last = (Outgoing(Link(LinkSpec()), egress, rank, 1000) for rank in (0, 999))
    assert egress.carry(1.0, 100, first) == pytest.approx(1.0001)
    assert egress.carry(1.0, 100, last) == pytest.approx(1.1)
    assert egress.carry(1.0, 100, last) == pytest.approx(1.2)  # what goes out at one moment goes out as one
    assert egress.carry(1.05, 100, first) == pytest.approx(1.2001)  # the round before is not over yet
    assert egress.carry(9.0, 100, first) == pytest.approx(9.0001)


# --- who stands for whom ---


@given(st.integers(0, 3), st.integers(1, 5), st.integers(0, 3000), st.booleans(), st.integers(0, 9))
def test_each_consumer_is_stood_for_once(hops: int, fan: int, consumers: int, bounded: bool, seed: int) -> None:
    way = way_of(
        {"hops": str(hops), "fan": str(fan), "consumers": str(consumers), "egress": "1M" if bounded else "none"}
    )
    branches = branches_of(way, seed)
    assert sum(branch.weight for branch in branches) == consumers
    assert 1 <= len(branches) <= SAMPLED
    assert branches == branches_of(way, seed)
    for branch in branches:
        assert len(branch.relays) == hops
        assert all(0 <= rank < fan for rank in branch.relays)
        assert 0 <= branch.leaf < max(branch.leaves, 1)


def test_without_a_bound_one_stands_for_all() -> None:
    [branch] = branches_of(way_of({"hops": "2", "fan": "100", "consumers": "1000000"}), 1)
    assert (branch.weight, branch.leaves) == (1_000_000, 100)


def test_places_are_spread_evenly_at_each_level() -> None:
    branches = branches_of(way_of({"hops": "1", "fan": "48", "consumers": "480000", "egress": "1M"}), 1)
    assert sorted(branch.relays[0] for branch in branches) == list(range(1, 48, 2))


# --- pictures ---


def test_pictures_weigh_what_the_bit_rate_says_and_bear_their_number() -> None:
    pictures = Pictures(way_of({"bit-rate": "800k", "rate": "25", "gop": "2"}), 3)
    coded = [pictures.picture(number) for number in range(500)]
    assert sum(len(each.data) for each in coded) == pytest.approx(20 * 100_000, rel=0.05)
    assert [number for number, each in enumerate(coded) if each.sync] == list(range(0, 500, 50))
    keys = [len(each.data) for each in coded if each.sync]
    rest = [len(each.data) for each in coded if not each.sync]
    assert sum(keys) / len(keys) == pytest.approx(KEY_WEIGHT * sum(rest) / len(rest), rel=0.2)
    assert [read_number(each.data) for each in coded] == list(range(500))
    assert pictures.picture(7) == Pictures(way_of({"bit-rate": "800k", "rate": "25", "gop": "2"}), 3).picture(7)


@given(st.binary(max_size=64))
def test_what_is_no_picture_has_no_number(data: bytes) -> None:
    assert read_number(data) is None or data.startswith(b"\xffNo.")


# --- a cell ---


def test_the_same_cell_takes_the_same_course_to_the_microsecond() -> None:
    spec = cell(7, hops="1", link_delay="10ms", link_jitter="20ms", link_loss="0.05", consumers="5", joiners="2")
    first, second = (run_cell("x", spec, 0.5, 1.5) for _ in range(2))
    assert first.rows.equals(second.rows)
    assert first.events == second.events
    other = run_cell("x", cell(8, **spec.levels), 0.5, 1.5)
    assert not other.rows["fetched"].equals(first.rows["fetched"])


def test_rows_say_how_many_consumers_they_stand_for() -> None:
    found = run_cell("x", cell(hops="1", fan="10", consumers="1000000"), 0.2, 0.5).rows
    light = found.filter(pl.col("kind") == "light")
    assert light["weight"].unique().to_list() == [1_000_000]
    assert found.filter(pl.col("kind") == "probe")["weight"].unique().to_list() == [1]


UNABLE = [
    ({"system": "icecast"}, "icecast"),
    ({"store": "yes"}, "store"),
    ({"workers": "2"}, "worker"),
    ({"path": "tls"}, "tls"),
]


@pytest.mark.parametrize(("levels", "word"), UNABLE)
def test_what_virtual_time_has_not_is_told_before_it_begins(levels: dict[str, str], word: str) -> None:
    way = way_of(levels)
    reason = unable(way)
    assert reason is not None
    assert word in reason
    assert "--engine processes" in reason
    with pytest.raises(LocalError, match="--engine processes"):
        run_cell("x", cell(**levels), 0.1, 0.1)
    [told] = obstacles([cell(**levels)], "virtual")
    assert "1 of the cells" in told


@pytest.mark.parametrize("levels", [{"egress": "1M"}, {"fan": "2"}])
def test_what_only_virtual_time_has_is_told_to_the_other_engine(levels: dict[str, str]) -> None:
    [told] = obstacles([cell(**levels)], "processes")
    assert "--engine virtual" in told
    assert obstacles([cell(**levels)], "virtual") == []


def test_a_line_that_is_too_slow_is_told() -> None:
    with pytest.raises(LocalError, match="too slow"):
        run_cell("x", cell(link_rate="1000", bit_rate="200k", rate="5"), 0.1, 0.1)


def test_a_report_speaks_of_all_consumers_and_not_of_the_probe_alone() -> None:
    found = run_cell("x", cell(hops="1", fan="10", consumers="1000000"), 0.2, 0.5)
    frames = found.rows["frame"].n_unique()
    summary = summary_of(found.rows, pl.DataFrame(schema=dict(PROCESSES)), pl.DataFrame(schema=dict(EVENTS)), {})
    [condition] = summary.conditions
    assert condition.counts.due == frames * 1_000_001
    assert condition.delivery == ()
    assert condition.quantiles[3].value == 0
