"""A scenario: a question, what is varied to answer it, and how often; read from a TOML file and checked at once.

::

    title = "Relays"
    question = "What does each relay between the Distributor and a player add?"
    design = "full"                # or one-at-a-time, or listed
    repeats = 3
    warm-up = "1s"
    duration = "4s"
    seed = 1

    [fixed]                        # what is the same in all cells, where it is not the default
    rate = 30

    [factors]                      # what is varied, and its levels; one at a time: the first is the base
    hops = [0, 1, 2, 3]

    [short]                        # what ``--short`` changes: any of the above, factors by name
    repeats = 1
    factors.hops = [0, 2]

With ``design = "listed"`` each treatment is a table of an array, ``[[cells]]``, in place of the factors.
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import attrs

from sdp.errors import ConfigurationError
from sdp.lab.way import Way
from sdp.settings import choice, count, load, positive, seconds, setting, settings_of, text

__all__ = ["DESIGNS", "Plan", "Scenario", "levels_text", "read_scenario", "shipped", "way_of"]

DESIGNS = ("full", "one-at-a-time", "listed")

_NAME = re.compile(r"[a-z0-9][a-z0-9-]*")
_TABLES = ("fixed", "factors", "cells", "short")


@attrs.frozen(kw_only=True)
class Plan:
    """How a scenario is run, whatever it varies."""

    title: str = setting("a scenario", "What it is called.", parse=text)
    question: str = setting("none", "What it is to answer, as a sentence.", parse=text)
    design: str = setting("full", "How treatments are made of the factors' levels.", parse=choice(*DESIGNS))
    repeats: int = setting("3", "How often each treatment is run.", parse=positive)
    seed: int = setting("1", "What chance begins with: the order of cells, joins, links.", parse=count)
    warm_up: float = setting("1s", "How long a cell runs before it is measured.", parse=seconds)
    duration: float = setting("4s", "How long a cell is measured.", parse=seconds)


@attrs.frozen(kw_only=True)
class Scenario:
    """A scenario that has been read: ``levels`` maps each factor to its levels, as texts; ``listed`` is a listed
    design's treatments, each a mapping of factor to level; ``fixed`` is what all cells share."""

    name: str
    source: str
    """The text of its file."""
    plan: Plan
    fixed: Mapping[str, str]
    levels: Mapping[str, Sequence[str]]
    listed: Sequence[Mapping[str, str]] = ()
    is_short: bool = False

    @property
    def factors(self) -> tuple[str, ...]:
        """The factors, in the order in which they were written."""
        return tuple(self.levels)


def levels_text(value: object) -> str:
    """A level as it is written in a scenario and stands in the rows."""
    match value:
        case bool():
            return "yes" if value else "no"
        case float() if value == math.floor(value):
            return str(int(value))
        case _:
            return str(value)


def way_of(levels: Mapping[str, str]) -> Way:
    """The way that these settings ask for, by their names. Raises ConfigurationError that begins with the name."""
    try:
        return load(Way, levels)
    except ConfigurationError as error:
        raise ConfigurationError(error.detail.removeprefix("--")) from error


# --- reading ---


def shipped() -> dict[str, str]:
    """The scenarios that come with the laboratory: name and text."""
    directory = resources.files("sdp.lab") / "scenarios"
    texts = {each.name.removesuffix(".toml"): each.read_text("utf-8") for each in directory.iterdir()}
    return dict(sorted(texts.items()))


def read_scenario(given: str, *, short: bool = False) -> Scenario:
    """The scenario of a file, or the shipped one of a name. Raises ConfigurationError, which names file and key."""
    path = Path(given).expanduser()
    known = shipped()
    if path.suffix == ".toml" or path.exists():
        try:
            source = path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path} cannot be read: {getattr(error, 'strerror', error)}.") from error
        return parse_scenario(source, path.stem, str(path), short=short)
    if given not in known:
        raise ConfigurationError(
            f"There is no scenario {given!r}.{_near(given, known)} sdp lab list shows those that are shipped;"
            " one of your own is named by its file, such as mine.toml."
        )
    return parse_scenario(known[given], given, f"{given}.toml", short=short)


def parse_scenario(source: str, name: str, where: str, *, short: bool = False) -> Scenario:
    """The scenario that a TOML text says; ``where`` names it in errors. Raises ConfigurationError."""
    try:
        document = tomllib.loads(source)
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{where} is no TOML: {error}.") from error
    if not _NAME.fullmatch(name):
        raise ConfigurationError(f"{where}: a scenario's name has small letters, digits and hyphens only.")
    changed = _table(document.pop("short", {}), f"{where}: short")
    if short:
        document = {**document, **{key: value for key, value in changed.items() if key not in _TABLES}}
        for key in ("fixed", "factors"):
            document[key] = {**_table(document.get(key, {}), f"{where}: {key}"), **changed.get(key, {})}
        document["cells"] = changed.get("cells", document.get("cells", []))
    plan = _plan({key: value for key, value in document.items() if key not in _TABLES}, where)
    fixed = {key: levels_text(value) for key, value in _table(document.get("fixed", {}), f"{where}: fixed").items()}
    if plan.design == "listed":
        levels, listed = _listed(document, where)
    else:
        levels, listed = _levels(document, where), []
    scenario = Scenario(name=name, source=source, plan=plan, fixed=fixed, levels=levels, listed=listed, is_short=short)
    _check(scenario, where)
    return scenario


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigurationError(f"{where} must be a table.")
    return value


def _plan(given: Mapping[str, Any], where: str) -> Plan:
    known = [name for _, name, _ in settings_of(Plan)]
    for key in given:
        if key not in known:
            raise ConfigurationError(f"{where}: there is no key {key!r}.{_near(key, [*known, *_TABLES])}")
    try:
        return load(Plan, {key: levels_text(value) for key, value in given.items()})
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error.detail.removeprefix('--')}") from error


def _levels(document: Mapping[str, Any], where: str) -> dict[str, Sequence[str]]:
    if document.get("cells"):
        raise ConfigurationError(f'{where}: cells are for design = "listed"; this design takes factors.')
    levels: dict[str, Sequence[str]] = {}
    for name, value in _table(document.get("factors", {}), f"{where}: factors").items():
        if not isinstance(value, list) or not value:
            raise ConfigurationError(f"{where}: factors.{name} must be a list of levels, such as [0, 1].")
        levels[name] = [levels_text(each) for each in value]
        if len(set(levels[name])) < len(value):
            raise ConfigurationError(f"{where}: factors.{name} names a level twice.")
    if not levels:
        raise ConfigurationError(f"{where}: factors is missing: what is to be varied?")
    return levels


def _listed(document: Mapping[str, Any], where: str) -> tuple[dict[str, Sequence[str]], list[Mapping[str, str]]]:
    if document.get("factors"):
        raise ConfigurationError(f"{where}: factors are for the other designs; a listed one takes [[cells]].")
    cells = document.get("cells")
    if not isinstance(cells, list) or not cells:
        raise ConfigurationError(f"{where}: cells is missing: write each treatment as a table [[cells]].")
    listed = [{key: levels_text(value) for key, value in _table(cell, f"{where}: cells").items()} for cell in cells]
    names = dict.fromkeys(name for cell in listed for name in cell)
    defaults = {name: row.default for _, name, row in settings_of(Way)}
    whole = [{name: cell.get(name, defaults.get(name, "")) for name in names} for cell in listed]
    return {name: list(dict.fromkeys(cell[name] for cell in whole)) for name in names}, list(whole)


def _check(scenario: Scenario, where: str) -> None:
    """Every name is one of Way's, and every level can be taken."""
    known = [name for _, name, _ in settings_of(Way)]
    for table, names in (("fixed", scenario.fixed), ("factors", scenario.levels)):
        for name in names:
            if name not in known:
                raise ConfigurationError(f"{where}: {table}.{name}: there is nothing of that name.{_near(name, known)}")
    for name in scenario.fixed:
        if name in scenario.levels:
            raise ConfigurationError(f"{where}: {name} is fixed and a factor: leave one out.")
    for table, given in (("fixed", scenario.fixed), *(("factors", each) for each in _each_level(scenario.levels))):
        try:
            way_of(given)
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {table}.{error.detail}") from error


def _each_level(levels: Mapping[str, Sequence[str]]) -> Iterable[dict[str, str]]:
    return ({name: level} for name, each in levels.items() for level in each)


def _near(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name.replace("_", "-"), list(known), n=3)
    return f" Did you mean {' or '.join(near)}?" if near else ""
