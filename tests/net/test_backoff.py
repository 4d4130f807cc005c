"""Delays grow to their limit, differ between clients, and begin anew after a success."""

from __future__ import annotations

from random import Random

from sdp.net.backoff import Backoff


def test_delays_grow_to_the_limit_and_begin_anew():
    backoff = Backoff(Random(1), first=0.1, most=2.0, jitter=0.0)
    assert [round(backoff.next_delay(), 3) for _ in range(7)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    backoff.succeeded()
    assert backoff.next_delay() == 0.1


def test_delays_differ_but_stay_within_the_jitter():
    delays = [Backoff(Random(seed), first=1.0, jitter=0.5).next_delay() for seed in range(50)]
    assert len(set(delays)) > 40
    assert all(0.5 <= delay <= 1.0 for delay in delays)


def test_a_year_of_failures():
    backoff = Backoff(Random(1), jitter=0.0)
    backoff.failures = 10**7
    assert backoff.next_delay() == 10.0
