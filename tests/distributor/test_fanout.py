"""The live edge: who stands there gets each run; who cannot take it all leaves, and comes back."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock

from sdp.distributor.fanout import RUN_LIMIT, SETTLING, SLICE_BYTES, SLICE_CONSUMERS, Counters, Fanout
from sdp.distributor.forms import Parts, Raw

from .marked import marked
from .tap import Consumer, fired

RAW = Raw(chunked=False)
CHUNKED = Raw(chunked=True)
PARTS = Parts(b"x", chunked=False)


def edge(*appends):
    epoch = marked(*appends)
    return epoch, Fanout(epoch, Counters(), Clock())


def test_who_stands_there_gets_every_run():
    epoch, fanout = edge(b"K1")
    plain, chunked = Consumer(2), Consumer(2)
    left = [fired(fanout.stand(plain, RAW)), fired(fanout.stand(chunked, CHUNKED))]
    assert len(fanout) == 2
    epoch.append(b"f234", 0)
    epoch.append(b"f5", 0)
    assert plain.outflow.sends == [b"f234", b"f5"]
    assert chunked.outflow.sends == [b"4\r\nf234\r\n", b"2\r\nf5\r\n"]
    assert left == [[], []]
    assert fanout.places() == {id(plain): 8, id(chunked): 8}
    counters = fanout.counters
    assert (counters.deliveries, counters.bytes_sent, counters.left_edge) == (4, 6 + 16, 0)


def test_each_form_is_framed_once_for_all():
    epoch, fanout = edge(b"K1")
    consumers = [Consumer(2) for _ in range(5)]
    for consumer in consumers:
        fanout.stand(consumer, CHUNKED)
    epoch.append(b"f234", 0)
    assert len({id(consumer.outflow.sends[0]) for consumer in consumers}) == 1


def test_everybody_is_first_and_last_in_turn():
    epoch, fanout = edge(b"K1")
    order: list[int] = []

    def noting(number):
        def send(data):
            order.append(number)
            return len(data)

        consumer = Consumer(2)
        consumer.outflow.send = send
        return consumer

    for number in range(3):
        fanout.stand(noting(number), RAW)
    for _ in range(4):
        epoch.append(b"f", 0)
    assert order == [1, 2, 0, 2, 0, 1, 0, 1, 2, 1, 2, 0]


def test_who_cannot_take_all_of_it_leaves_with_the_rest_in_its_outflow():
    epoch, fanout = edge(b"K1")
    quick, slow, blocked, broken = Consumer(2), Consumer(2, room=3), Consumer(2, room=0), Consumer(2)
    broken.outflow.broken = True
    left = [fired(fanout.stand(each, RAW)) for each in (quick, slow, blocked, broken)]
    epoch.append(b"f234", 0)
    assert left == [[], [None], [None], [None]]
    assert [each.offset for each in (slow, blocked, broken)] == [6, 6, 6]
    assert (slow.outflow.taken, slow.outflow.rest) == (b"f23", b"4")
    assert (blocked.outflow.taken, blocked.outflow.rest) == (b"", b"f234")
    assert len(fanout) == 1
    assert fanout.counters.left_edge == 3
    epoch.append(b"f5", 0)
    assert quick.outflow.taken == b"f234f5"
    assert slow.outflow.rest == b"4"


def test_it_comes_back():
    epoch, fanout = edge(b"K1")
    slow = Consumer(2, room=1)
    fanout.stand(slow, RAW)
    epoch.append(b"f234", 0)
    assert fired(fanout.stand(slow, RAW)) == [None]
    slow.outflow.open()
    assert fired(fanout.stand(slow, RAW)) == []
    epoch.append(b"f5", 0)
    assert slow.outflow.taken == b"f234f5"


def test_who_is_behind_does_not_stand():
    epoch, fanout = edge(b"K1")
    fanout.stand(Consumer(2), RAW)
    epoch.append(b"f2", 0)
    assert fired(fanout.stand(Consumer(2), RAW)) == [None]
    assert len(fanout) == 1


def test_an_edge_where_nobody_stood_is_where_the_log_is():
    epoch, fanout = edge(b"K1")
    fanout.stand(Consumer(2), RAW).cancel()
    epoch.append(b"f2", 0)
    late = Consumer(4)
    assert fired(fanout.stand(late, RAW)) == []
    epoch.append(b"f3", 0)
    assert late.outflow.taken == b"f3"


def test_who_is_ahead_of_what_is_known_waits_for_it():
    epoch, fanout = edge(b"K1", b"??")
    assert (epoch.log.known, epoch.end) == (2, 4)
    ahead, other = Consumer(4), Consumer(2)
    left = fired(fanout.stand(ahead, PARTS))
    fanout.stand(other, PARTS)
    assert len(fanout) == 2
    epoch.append(b"?", 0)
    assert (left, ahead.outflow.sends) == ([], [])
    epoch.append(b"1", 0)
    assert left == [None]
    assert ahead.offset == 4
    assert len(fanout) == 1


def test_who_is_ahead_may_go():
    epoch, fanout = edge(b"K1", b"??")
    standing = fanout.stand(Consumer(4), PARTS)
    left = fired(standing)
    standing.cancel()
    assert isinstance(left[0], CancelledError)
    assert len(fanout) == 0
    epoch.append(b"1", 0)


def test_the_end_of_the_log_lets_everybody_go():
    epoch, fanout = edge(b"K1", b"??")
    plain, parts, ahead = Consumer(4), Consumer(2), Consumer(3)
    left = [
        fired(fanout.stand(plain, RAW)),
        fired(fanout.stand(parts, PARTS)),
        fired(fanout.stand(ahead, PARTS)),
    ]
    epoch.finish()
    assert left == [[None]] * 3
    assert (plain.offset, parts.offset, ahead.offset) == (4, 4, 3)
    assert b"??" in parts.outflow.taken
    assert len(fanout) == 0
    assert fired(fanout.stand(Consumer(4), RAW)) == [None]


def test_who_cancels_is_gone():
    epoch, fanout = edge(b"K1")
    consumer = Consumer(2)
    standing = fanout.stand(consumer, RAW)
    left = fired(standing)
    standing.cancel()
    assert isinstance(left[0], CancelledError)
    epoch.append(b"f2", 0)
    assert consumer.outflow.sends == []
    assert len(fanout) == 0


def test_a_closed_connection_stands_nowhere():
    _, fanout = edge(b"K1")
    consumer = Consumer(2)
    consumer.outflow.close()
    assert isinstance(fired(fanout.stand(consumer, RAW))[0], CancelledError)


def test_one_who_leaves_may_end_another():
    epoch, fanout = edge(b"K1")
    first, second = fanout.stand(Consumer(2, room=0), RAW), fanout.stand(Consumer(2, room=0), RAW)
    both = [fired(first), fired(second)]
    first.addCallback(lambda _: second.cancel())
    second.addCallback(lambda _: first.cancel())
    epoch.append(b"f2", 0)
    assert len(fanout) == 0
    assert [len(each) for each in both] == [1, 1]
    assert {type(each[0]) for each in both} == {type(None), CancelledError}


def test_one_who_leaves_may_bring_a_new_form():
    epoch, fanout = edge(b"K1")
    newcomer = Consumer(4)
    fanout.stand(Consumer(2, room=0), RAW).addCallback(lambda _: fanout.stand(newcomer, CHUNKED) and None)
    epoch.append(b"f2", 0)
    epoch.append(b"f3", 0)
    assert newcomer.outflow.sends == [b"2\r\nf3\r\n"]


@given(
    rooms=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    appends=st.lists(st.binary(min_size=1, max_size=9).map(lambda data: b"f" + data), max_size=8),
)
def test_nobody_loses_a_byte_or_gets_one_twice(rooms, appends):
    epoch, fanout = edge(b"K")
    consumers = [Consumer(1, room) for room in rooms]
    for consumer in consumers:
        fanout.stand(consumer, RAW)
    for data in appends:
        epoch.append(data, 0)
    whole = b"".join(appends)
    places = fanout.places()
    for consumer in consumers:
        reached = places.get(id(consumer), consumer.offset) - 1
        assert consumer.outflow.taken + consumer.outflow.rest == whole[:reached]
        assert (id(consumer) in places) is not consumer.outflow.paused


def test_whoever_has_just_come_is_served_last():
    epoch = marked(b"K1")
    clock = Clock()
    fanout = Fanout(epoch, Counters(), clock)
    order: list[int] = []

    def come(number):
        consumer = Consumer(epoch.end)

        def send(data):
            order.append(number)
            return len(data)

        consumer.outflow.send = send
        fanout.stand(consumer, RAW)

    def served():
        order.clear()
        epoch.append(b"f", 0)
        return list(order)

    for number in range(3):
        come(number)
    clock.advance(SETTLING)
    served()
    for number in range(3, 6):
        come(number)
    rounds = [served() for _ in range(6)]
    assert all({*each[:3]} == {0, 1, 2} for each in rounds)
    assert {each[0] for each in rounds} == {0, 1, 2}
    assert {each[-1] for each in rounds} == {3, 4, 5}
    clock.advance(SETTLING)
    assert {served()[-1] for _ in range(6)} == set(range(6))


class Turns:
    """A reactor that is turned by hand: what is to be called in the next turn, and how often there was one."""

    def __init__(self):
        self.calls: list = []

    def callLater(self, delay, call, *arguments):
        assert delay == 0
        self.calls.append((call, arguments))
        return self.calls[-1]

    def seconds(self):
        return 0.0

    def turn(self):
        calls, self.calls = self.calls, []
        for call, arguments in calls:
            call(*arguments)


class Crowded:
    """An edge with more consumers than one turn serves."""

    def __init__(self, count, room=None, window=1 << 24):
        self.reactor = Turns()
        clock: Any = self.reactor  # of a clock's methods it has those that are called
        self.epoch = marked(b"K1", window=window)
        self.fanout = Fanout(self.epoch, Counters(), clock)
        self.consumers = [Consumer(2, room) for _ in range(count)]
        self.standing = [self.fanout.stand(consumer, RAW) for consumer in self.consumers]
        self.left = [fired(each) for each in self.standing]

    def served(self):
        return sum(1 for consumer in self.consumers if consumer.outflow.sends)

    def turns(self):
        """Turn the reactor until it has nothing more to do; how often it was."""
        count = 0
        while self.reactor.calls:
            self.reactor.turn()
            count += 1
        return count


def test_a_turn_serves_no_more_than_so_many():
    crowd = Crowded(SLICE_CONSUMERS * 2 + 1)
    crowd.epoch.append(b"f2", 0)
    assert crowd.served() == SLICE_CONSUMERS
    crowd.reactor.turn()
    assert crowd.served() == SLICE_CONSUMERS * 2
    assert crowd.turns() == 1
    assert {consumer.outflow.taken for consumer in crowd.consumers} == {b"f2"}
    assert crowd.fanout.counters.deliveries == len(crowd.consumers)


def test_a_turn_gives_out_no_more_bytes_than_so_many():
    size = 1 << 18
    crowd = Crowded(SLICE_BYTES // size + 2)
    crowd.epoch.append(b"f" + bytes(size - 1), 0)
    assert crowd.served() == SLICE_BYTES // size
    waiting = [consumer for consumer in crowd.consumers if not consumer.outflow.sends]
    places = crowd.fanout.places()
    assert {places[id(consumer)] for consumer in waiting} == {2}
    assert set(places.values()) == {2, 2 + size}
    crowd.turns()
    assert crowd.served() == len(crowd.consumers)
    assert set(crowd.fanout.places().values()) == {2 + size}


def test_what_comes_during_a_round_goes_out_together_in_the_next():
    crowd = Crowded(SLICE_CONSUMERS + 1)
    for data in (b"f2", b"f3", b"f4"):
        crowd.epoch.append(data, 0)
    crowd.turns()
    assert {tuple(consumer.outflow.sends) for consumer in crowd.consumers} == {(b"f2", b"f3f4")}


def test_a_round_has_a_greatest_length():
    crowd = Crowded(SLICE_CONSUMERS + 1)
    crowd.epoch.append(b"f2", 0)
    crowd.epoch.append(b"f" + bytes(2 * RUN_LIMIT), 0)
    crowd.turns()
    lengths = [len(data) for data in crowd.consumers[0].outflow.sends]
    assert lengths == [2, RUN_LIMIT, RUN_LIMIT, 1]
    assert len({consumer.outflow.taken for consumer in crowd.consumers}) == 1


def test_who_joins_during_a_round_gets_what_comes_after_it():
    crowd = Crowded(SLICE_CONSUMERS + 1)
    crowd.epoch.append(b"f2", 0)
    here, ahead, behind = Consumer(4), Consumer(6), Consumer(2)
    assert fired(crowd.fanout.stand(here, RAW)) == []
    assert fired(crowd.fanout.stand(behind, RAW)) == [None]
    crowd.epoch.append(b"f3", 0)
    left = fired(crowd.fanout.stand(ahead, RAW))
    crowd.turns()
    assert (here.outflow.taken, ahead.outflow.taken, left) == (b"f3", b"", [None])
    assert fired(crowd.fanout.stand(ahead, RAW)) == []
    crowd.epoch.append(b"f4", 0)
    crowd.turns()
    assert (here.outflow.taken, ahead.outflow.taken) == (b"f3f4", b"f4")


def test_who_goes_during_a_round_is_sent_nothing_more():
    crowd = Crowded(SLICE_CONSUMERS + 2)
    crowd.epoch.append(b"f2", 0)
    at = next(i for i, consumer in enumerate(crowd.consumers) if not consumer.outflow.sends)
    crowd.standing[at].cancel()
    crowd.turns()
    assert crowd.consumers[at].outflow.sends == []
    assert crowd.served() == len(crowd.consumers) - 1
    assert len(crowd.fanout) == len(crowd.consumers) - 1


def test_the_end_waits_for_the_round():
    crowd = Crowded(SLICE_CONSUMERS + 1)
    crowd.epoch.append(b"f2", 0)
    crowd.epoch.append(b"f3", 0)
    crowd.epoch.finish()
    assert crowd.left[0] == []
    crowd.turns()
    assert {consumer.outflow.taken for consumer in crowd.consumers} == {b"f2f3"}
    assert {consumer.offset for consumer in crowd.consumers} == {6}
    assert all(left == [None] for left in crowd.left)
    assert len(crowd.fanout) == 0


def test_who_cannot_take_a_run_goes_on_right_after_it():
    crowd = Crowded(SLICE_CONSUMERS + 1, room=1)
    crowd.epoch.append(b"f2", 0)
    crowd.epoch.append(b"f3", 0)
    crowd.turns()
    assert all(left == [None] for left in crowd.left)
    assert {(each.offset, each.outflow.taken, each.outflow.rest) for each in crowd.consumers} == {(4, b"f", b"2")}


def test_who_posts_waits_where_too_much_waits_for_a_round():
    crowd = Crowded(SLICE_CONSUMERS + 1, window=4000)
    calls: list[str] = []
    crowd.epoch.append(b"f2", 0)
    assert crowd.fanout.when_room(lambda: calls.append("never"))
    crowd.epoch.append(b"f" + bytes(2000), 0)
    assert not crowd.fanout.when_room(lambda: calls.append("now"))
    assert calls == []
    crowd.turns()
    assert calls == ["now"]
    assert crowd.fanout.when_room(lambda: None)
