"""Effects whose truth is known, in whole and in sparse designs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sdp.lab.effects import Point, interactions, main_effects, shares_of_variance, steps_of

HOPS = ["0", "1", "2"]
DELIVERIES = ["stream", "poll"]


def points(
    value: Callable[..., float], cells: Sequence[Mapping[str, str]] | None = None, noise: float = 0.0
) -> list[Point]:
    random = np.random.default_rng(1)
    full = [dict(zip(("hops", "delivery"), pair, strict=True)) for pair in itertools.product(HOPS, DELIVERIES)]
    return [
        Point(levels, value(**levels), value(**levels) + random.normal(0, noise, 200))
        for levels in (full if cells is None else cells)
    ]


def additive(hops: str, delivery: str) -> float:
    return 1000 + 500 * int(hops) + (200 if delivery == "poll" else 0)


def crossed(hops: str, delivery: str) -> float:
    return additive(hops, delivery) + (70 * int(hops) if delivery == "poll" else 0)


def test_main_effects_of_a_full_design_are_differences_of_marginal_means() -> None:
    found = {(each.factor, each.level): (each.interval.value, each.pairs) for each in main_effects(points(additive))}
    assert found == {("hops", "1"): (500, 2), ("hops", "2"): (1000, 2), ("delivery", "poll"): (200, 3)}


def test_one_factor_at_a_time_has_main_effects_and_no_interactions() -> None:
    sparse = [{"hops": hops, "delivery": "stream"} for hops in HOPS] + [{"hops": "0", "delivery": "poll"}]
    found = points(crossed, sparse)
    assert [(each.level, each.interval.value, each.pairs) for each in main_effects(found)] == [
        ("1", 500, 1),
        ("2", 1000, 1),
        ("poll", 200, 1),
    ]
    assert interactions(found) == []
    assert shares_of_variance(found) is None


def test_interactions_are_what_the_steps_add_together() -> None:
    assert [each.interval.value for each in interactions(points(additive))] == [0, 0]
    found = {each.levels: each.interval.value for each in interactions(points(crossed))}
    assert found == {("1", "poll"): 70, ("2", "poll"): 140}


def test_an_interval_tells_an_effect_from_noise() -> None:
    for effect in main_effects(points(additive, noise=20)):
        assert effect.interval.excludes_zero
    for interaction in interactions(points(additive, noise=20)):
        assert not interaction.interval.excludes_zero


def test_a_level_that_nothing_matches_is_left_out() -> None:
    lone = [{"hops": "0", "delivery": "stream"}, {"hops": "1", "delivery": "poll"}]
    assert main_effects(points(additive, lone)) == []


def test_given_levels_say_which_is_the_reference() -> None:
    steps = {"hops": ["2", "1", "0"], "delivery": ["stream", "poll"]}
    assert main_effects(points(additive), steps)[1].interval.value == -1000


def test_a_level_at_which_most_is_lost_has_no_finite_effect() -> None:
    found = main_effects(points(lambda hops, delivery: math.inf if hops == "2" else additive(hops, delivery)))
    by_level = {each.level: each.interval.value for each in found}
    assert by_level["1"] == 500
    assert by_level["2"] == math.inf
    assert by_level["poll"] == 200  # the pair that is lost either way tells nothing


def test_shares_of_variance_sum_to_one_and_name_the_cause() -> None:
    shares = shares_of_variance(points(additive))
    assert shares is not None
    by_hops, by_delivery = (500**2 + 0 + 500**2) / 3, 100**2
    assert shares[("hops",)] == pytest.approx(by_hops / (by_hops + by_delivery))
    assert shares[("hops", "delivery")] == pytest.approx(0, abs=1e-12)
    assert sum(shares.values()) == pytest.approx(1)


@given(st.lists(st.floats(0, 1e6), min_size=6, max_size=6))
@example([26215.323820094767] * 6)
def test_shares_of_variance_are_shares(values: list[float]) -> None:
    table = dict(zip(itertools.product(HOPS, DELIVERIES), values, strict=True))
    found = shares_of_variance(points(lambda hops, delivery: table[hops, delivery]))
    if found is not None:
        assert sum(found.values()) == pytest.approx(1, abs=1e-6)
        assert all(-1e-9 <= share <= 1 + 1e-9 for share in found.values())


def test_all_alike_has_no_variance_to_share() -> None:
    assert shares_of_variance(points(lambda hops, delivery: 7.0)) is None


def test_levels_come_in_the_order_of_the_cells() -> None:
    assert steps_of(points(additive)) == {"hops": HOPS, "delivery": DELIVERIES}
