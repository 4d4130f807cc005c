"""Who may connect: in all, and from one address."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sdp.net.limits import ConnectionCount, ServerLimits

LIMITS = ServerLimits(connections=5, connections_per_address=2)


def test_each_address_has_its_share():
    count = ConnectionCount(LIMITS)
    assert [count.enter("a", exempt=False) for _ in range(3)] == [True, True, False]
    assert count.enter("b", exempt=False)
    count.leave("a")
    count.leave("a")
    assert count.enter("a", exempt=False)
    assert (count.total, count.accepted, count.refused) == (3, 4, 1)


def test_an_exempt_address_is_held_to_the_limit_in_all():
    count = ConnectionCount(LIMITS)
    assert [count.enter("a", exempt=True) for _ in range(6)] == [True] * 5 + [False]


@given(st.lists(st.tuples(st.sampled_from("abc"), st.booleans())))
def test_against_a_list_of_who_is_there(moves):
    count, there = ConnectionCount(LIMITS), []
    for address, comes in moves:
        if comes:
            there.append(address)
            allowed = len(there) <= 5 and there.count(address) <= 2
            assert count.enter(address, exempt=False) is allowed
        elif address in there:
            there.remove(address)
            count.leave(address)
    assert count.total == len(there)
    for address in there:
        count.leave(address)
    assert (count.total, dict(count._by_address)) == (0, {})
