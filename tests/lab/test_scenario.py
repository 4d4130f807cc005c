"""Scenarios and designs: every mistake names its file and key, and the order of cells is chance but not luck."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.errors import ConfigurationError
from sdp.lab.design import Cell, cells_of, in_chance_order, treatments
from sdp.lab.scenario import parse_scenario, read_scenario, shipped

FULL = """
question = "?"
repeats = 2
seed = 5
[fixed]
rate = 25
store = true
[factors]
hops = [0, 1]
gop = [0.5, 1.0, "2s"]
[short]
repeats = 1
factors.gop = [1]
"""


def parse(source: str, *, short: bool = False):
    return parse_scenario(source, "mine", "mine.toml", short=short)


def test_a_full_design_has_every_combination_as_often_as_asked() -> None:
    cells = cells_of(parse(FULL))
    seen = Counter((cell.levels["hops"], cell.levels["gop"]) for cell in cells)
    assert seen == {(hops, gop): 2 for hops in "01" for gop in ("0.5", "1", "2s")}
    assert [cell.number for cell in cells] == list(range(12))
    assert {(cell.way.rate, cell.way.store) for cell in cells} == {(25, True)}
    assert {(cell.levels["gop"], cell.way.gop) for cell in cells} == {("0.5", 0.5), ("1", 1.0), ("2s", 2.0)}
    assert len({cell.seed for cell in cells}) == 12


def test_the_short_form_changes_what_it_names_and_nothing_else() -> None:
    cells = cells_of(parse(FULL, short=True))
    assert [(cell.levels["hops"], cell.levels["gop"], cell.way.rate) for cell in cells] == [
        ("0", "1", 25),
        ("1", "1", 25),
    ]


def test_one_at_a_time_leaves_the_others_at_their_first_level() -> None:
    source = 'design = "one-at-a-time"\n[factors]\nhops = [0, 1]\ngop = [1, 2, 4]\n'
    assert list(treatments(parse(source))) == [
        {"hops": "0", "gop": "1"},
        {"hops": "1", "gop": "1"},
        {"hops": "0", "gop": "2"},
        {"hops": "0", "gop": "4"},
    ]


def test_a_listed_design_fills_in_the_defaults() -> None:
    source = 'design = "listed"\n[[cells]]\ndelivery = "stream"\n[[cells]]\ndelivery = "poll"\npoll-every = "40ms"\n'
    scenario = parse(source)
    assert scenario.factors == ("delivery", "poll-every")
    first, second = treatments(scenario)
    assert first == {"delivery": "stream", "poll-every": "200ms"}
    assert second == {"delivery": "poll", "poll-every": "40ms"}


MISTAKES = [
    ("= 1", "mine.toml is no TOML: "),
    ("[factors]\nhop = [1]", "mine.toml: factors.hop: there is nothing of that name. Did you mean hops"),
    ("[factors]\nhops = [0, -1]", "mine.toml: factors.hops: '-1' is no whole number."),
    ("[factors]\nhops = 3", "mine.toml: factors.hops must be a list of levels"),
    ("[factors]\nhops = [1, 1]", "mine.toml: factors.hops names a level twice"),
    ("[factors]\n", "mine.toml: factors is missing"),
    ("factors = 3", "mine.toml: factors must be a table"),
    ("repeat = 3\n[factors]\nhops = [0]", "mine.toml: there is no key 'repeat'. Did you mean repeats"),
    ("repeats = 0\n[factors]\nhops = [0]", "mine.toml: repeats: '0' must be 1 or more."),
    ('duration = "long"\n[factors]\nhops = [0]', "mine.toml: duration: 'long' is no duration"),
    ("[fixed]\nsize = 5\n[factors]\nhops = [0]", "mine.toml: fixed.size: '5' is no picture size"),
    ("[fixed]\nhops = 1\n[factors]\nhops = [0]", "mine.toml: hops is fixed and a factor"),
    ('design = "half"\n[factors]\nhops = [0]', "mine.toml: design: 'half' must be one of full"),
    ('design = "listed"\n[factors]\nhops = [0]', "mine.toml: factors are for the other designs"),
    ('design = "listed"', "mine.toml: cells is missing"),
    ("[[cells]]\nhops = 0", 'mine.toml: cells are for design = "listed"'),
]


@pytest.mark.parametrize(("source", "said"), MISTAKES)
def test_a_mistake_is_told_with_its_file_and_key(source: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse(source)
    assert caught.value.detail.startswith(said)


CONTRADICTIONS = [
    ('fan-out = ["after-sync"]', "needs store = true"),
    ('fault = ["kill-relay"]', "needs hops"),
    ("slow = [0.5]", "needs consumers"),
    ('consumers = [1]\npath = ["tls"]', "speak no TLS"),
    ('poll-every = ["1s"]', "delivery poll only"),
    ('connection = ["new"]', "needs a polling delivery"),
    ('system = ["icecast"]\nhops = [1]', "through icecast only pictures"),
]


@pytest.mark.parametrize(("factors", "said"), CONTRADICTIONS)
def test_a_treatment_that_contradicts_itself_is_told(factors: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        cells_of(parse(f"[factors]\n{factors}\n"))


@given(st.integers(0, 2**32), st.integers(1, 5), st.integers(1, 5))
def test_the_order_has_every_cell_once_and_repeat_after_repeat(seed: int, repeats: int, levels: int) -> None:
    source = f"repeats = {repeats}\n[factors]\nhops = {list(range(levels))}\n"
    cells = cells_of(parse(source))
    order = in_chance_order(cells, seed)
    assert sorted(cell.number for cell in order) == list(range(repeats * levels))
    assert all(before.repeat <= after.repeat for before, after in pairwise(order))
    assert order == in_chance_order(cells, seed)


def test_the_order_is_not_the_design_s() -> None:
    cells = cells_of(parse("[factors]\nhops = [0, 1, 2, 3, 4, 5, 6, 7]\n"))
    orders = {tuple(cell.number for cell in in_chance_order(cells, seed)) for seed in range(5)}
    assert len(orders) == 5


def test_cells_of_neighbouring_scenarios_share_no_chance() -> None:
    def seeds(seed: int) -> set[int]:
        cells: list[Cell] = cells_of(parse(f"seed = {seed}\nrepeats = 9\n[factors]\nhops = [0]\n"))
        return {cell.seed for cell in cells}

    assert not seeds(1) & seeds(2)


@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize("name", sorted(shipped()))
def test_every_shipped_scenario_can_be_read(name: str, short: bool) -> None:
    scenario = read_scenario(name, short=short)
    assert scenario.plan.question.endswith("?")
    assert cells_of(scenario)


def test_a_file_of_one_s_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(FULL)
    assert read_scenario(str(path)).name == "mine"
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_scenario(str(tmp_path / "yours.toml"))


def test_a_name_that_nobody_ships_is_told_with_those_that_are_near() -> None:
    with pytest.raises(ConfigurationError, match=r"no scenario 'relay'\. Did you mean relays"):
        read_scenario("relay")
