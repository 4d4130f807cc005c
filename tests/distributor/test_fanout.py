"""The live edge: who stands there gets each run; who cannot take it all leaves, and comes back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError

from sdp.distributor.fanout import Counters, Fanout
from sdp.distributor.forms import Parts, Raw

from .marked import marked
from .tap import Consumer, fired

RAW = Raw(chunked=False)
CHUNKED = Raw(chunked=True)
PARTS = Parts(b"x", chunked=False)


def edge(*appends):
    epoch = marked(*appends)
    return epoch, Fanout(epoch, Counters())


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
