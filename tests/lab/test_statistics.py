"""Quantiles, intervals and slopes: known answers, and what holds for any sample."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.lab.statistics import (
    Interval,
    Sample,
    difference,
    drift,
    mean_interval,
    pool,
    quantile,
    quantiles,
    share,
    widened,
)

INF = math.inf
LATENCIES = st.lists(st.one_of(st.floats(0, 1e9), st.just(INF)), min_size=1, max_size=60)
PROBABILITY = st.floats(0.001, 1)

NEAREST_RANKS = [
    ([1, 2, 3, 4], 0.5, 2),
    ([1, 2, 3, 4, 5], 0.5, 3),
    ([4, 1, 3, 2], 0.75, 3),
    ([4, 1, 3, 2], 0.76, 4),
    (list(range(1, 101)), 0.95, 95),
    (list(range(1, 101)), 0.99, 99),
    ([7], 0.01, 7),
    ([1, 2, 3, INF], 0.75, 3),
    ([1, 2, 3, INF], 0.76, INF),
    ([1, 2, INF, INF, INF], 0.5, INF),
]


@pytest.mark.parametrize(("values", "probability", "expected"), NEAREST_RANKS)
def test_a_quantile_is_the_nearest_rank_of_the_whole(values: list[float], probability: float, expected: float) -> None:
    assert quantile([Sample.of(values)], probability) == expected


@given(LATENCIES, PROBABILITY)
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(values: list[float], probability: float) -> None:
    found = quantile([Sample.of(values)], probability)
    assert found in values
    need = probability * len(values) - 1e-6
    assert sum(value <= found for value in values) >= need
    assert sum(value < found for value in values) < probability * len(values) + 1e-6


@given(LATENCIES, PROBABILITY)
def test_a_lost_frame_never_makes_it_better(values: list[float], probability: float) -> None:
    assert quantile([Sample.of([*values, INF])], probability) >= quantile([Sample.of(values)], probability)


@given(st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 9)), min_size=1, max_size=30), PROBABILITY)
def test_a_weight_is_so_many_rows(pairs: list[tuple[int, int]], probability: float) -> None:
    values, weights = zip(*pairs, strict=True)
    repeated = [value for value, weight in pairs for _ in range(weight)]
    assert quantile([Sample.of(values, weight=weights)], probability) == quantile([Sample.of(repeated)], probability)


@given(st.lists(LATENCIES, min_size=1, max_size=4))
def test_an_interval_holds_its_value_for_the_median_and_is_repeatable(repeats: list[list[float]]) -> None:
    samples = [Sample.of(values) for values in repeats]
    [first] = quantiles(samples, (0.5,), seed=3)
    assert first.low <= first.high
    assert [first] == quantiles(samples, (0.5,), seed=3)
    everything = [value for values in repeats for value in values]
    assert min(everything) <= first.low
    assert first.high <= max(everything)


def test_no_frames_at_all_say_nothing() -> None:
    assert all(math.isnan(each) for each in quantiles([], (0.5,))[0])
    assert math.isnan(quantile([Sample.of([])], 0.5))
    assert math.isnan(difference(pool([]), pool([Sample.of([1.0])]), 0.5).value)


def test_constant_latency_has_no_width() -> None:
    assert quantiles([Sample.of([5.0] * 30)] * 3) == [Interval(5, 5, 5)] * 4


def test_the_interval_of_a_median_covers_the_truth_about_as_often_as_it_says() -> None:
    random = np.random.default_rng(8)
    covered = 0
    for _ in range(30):
        samples = [Sample.of(random.exponential(1000, 80)) for _ in range(6)]
        [interval] = quantiles(samples, (0.5,), seed=1)
        covered += interval.low <= 1000 * math.log(2) <= interval.high
    assert 25 <= covered <= 30


def test_repeats_that_differ_widen_the_interval() -> None:
    random = np.random.default_rng(1)
    alike = [Sample.of(random.normal(1000, 10, 200)) for _ in range(4)]
    apart = [Sample.of(random.normal(1000 + 200 * at, 10, 200)) for at in range(4)]
    [narrow], [wide] = quantiles(alike, (0.5,)), quantiles(apart, (0.5,))
    assert wide.high - wide.low > 20 * (narrow.high - narrow.low)


def test_consumers_of_one_frame_are_no_witnesses_of_their_own() -> None:
    random = np.random.default_rng(2)
    frames = random.normal(1000, 100, 100)
    alone = Sample.of(frames)
    crowd = Sample.of(np.repeat(frames, 50), np.repeat(np.arange(100), 50))
    [one], [many] = quantiles([alone] * 2, (0.5,)), quantiles([crowd] * 2, (0.5,))
    assert (many.high - many.low) == pytest.approx(one.high - one.low, rel=0.5)


def test_frames_that_are_alike_for_a_while_widen_the_interval() -> None:
    random = np.random.default_rng(3)
    free = random.normal(1000, 100, 400)
    held = np.repeat(random.normal(1000, 100, 40), 10)
    [independent], [dependent] = quantiles([Sample.of(free)], (0.5,)), quantiles([Sample.of(held)], (0.5,))
    assert dependent.high - dependent.low > 1.5 * (independent.high - independent.low)


def test_a_difference_is_found_and_noise_is_not() -> None:
    random = np.random.default_rng(4)
    base, same, later = (
        pool([Sample.of(random.normal(shift, 50, 150)) for _ in range(3)]) for shift in (1000, 1000, 1100)
    )
    assert not difference(base, same, 0.5).excludes_zero
    found = difference(base, later, 0.5)
    assert found.excludes_zero
    assert found.value == pytest.approx(100, abs=20)


DIFFERENCES = [([INF] * 9, [INF] * 9, 0.0), ([1.0] * 9, [INF] * 9, INF), ([INF] * 9, [1.0] * 9, -INF)]


@pytest.mark.parametrize(("before", "after", "expected"), DIFFERENCES)
def test_what_is_lost_differs_by_infinity_and_twice_lost_by_nothing(
    before: list[float], after: list[float], expected: float
) -> None:
    assert difference(pool([Sample.of(before)]), pool([Sample.of(after)]), 0.5) == Interval(*[expected] * 3)


def test_more_comparisons_need_a_wider_interval() -> None:
    one = Interval(10.0, 8.0, 13.0)
    assert widened(one, 1) == pytest.approx(one)
    wide = widened(one, 20)
    assert wide.low < one.low
    assert wide.high > one.high
    assert (wide.high - 10) / (10 - wide.low) == pytest.approx(1.5)
    lost = Interval(INF, INF, INF)
    assert widened(lost, 20) == lost


def test_a_mean_of_repeats() -> None:
    found = mean_interval([1.0, 2.0, 3.0])
    assert found.value == 2
    assert 1 <= found.low < 2 < found.high <= 3
    assert math.isnan(mean_interval([]).value)


SHARES = [(0, 100, 0.0, 0.0, 0.037), (50, 100, 0.5, 0.404, 0.596), (100, 100, 1.0, 0.963, 1.0)]


@pytest.mark.parametrize(("part", "whole", "value", "low", "high"), SHARES)
def test_a_share_by_wilson(part: int, whole: int, value: float, low: float, high: float) -> None:
    assert share(part, whole) == pytest.approx(Interval(value, low, high), abs=0.001)


def test_a_share_of_nothing_is_none() -> None:
    assert math.isnan(share(0, 0).value)


def times(frames: int) -> np.ndarray:
    return np.arange(frames) * 33_333.0


def test_drift_is_found_under_noise_and_outliers() -> None:
    random = np.random.default_rng(5)
    latency = 5000 + times(900) / 1e6 * 40 + random.normal(0, 100, 900)
    latency[::50] = INF
    latency[7::90] = 9e6
    found = drift([times(900)], [latency])
    assert found.value == pytest.approx(40, rel=0.1)
    assert found.low < 40 < found.high
    assert found.excludes_zero


def test_no_drift_is_told_from_drift() -> None:
    random = np.random.default_rng(6)
    found = drift([times(900)] * 3, [5000 + random.normal(0, 100, 900) for _ in range(3)])
    assert not found.excludes_zero


def test_repeats_that_stand_at_different_heights_do_not_drift() -> None:
    found = drift([times(300)] * 2, [np.full(300, 1000.0), np.full(300, 9000.0)])
    assert found == Interval(0, 0, 0)


@pytest.mark.parametrize("latencies", [[], [5.0] * 4, [INF] * 400])
def test_too_little_has_no_drift(latencies: list[float]) -> None:
    assert math.isnan(drift([times(len(latencies))], [np.asarray(latencies)]).value)
