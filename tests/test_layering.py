"""Who may import whom: the rules of docs/architecture.rst as a table, held against every module under sdp/."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent

SEAMS = frozenset({"sdp.errors", "sdp.interfaces"})
"""What every room may speak: the errors, and the contracts between the rooms."""

ROLE = SEAMS | {"sdp.net", "sdp.http1", "sdp.stream", "sdp.store", "sdp.container", "sdp.observe", "sdp.settings"}
"""What stands below every role."""

PURE_BANS = frozenset(
    {"twisted.internet", "twisted.application", "twisted.web", "asyncio", "socket", "threading", "av"}
)
"""What a pure room never touches: time, threads, sockets and codecs are other rooms' work."""


class Rule(NamedTuple):
    """A room's part of the project (itself always included), and the foreign packages that it must not touch."""

    may: frozenset[str]
    never: frozenset[str] = frozenset({"av"})


RULES: dict[str, Rule] = {
    # sdp/__init__.py, which every import of the project runs, and the seams: below everything.
    "sdp": Rule(frozenset()),
    "sdp.errors": Rule(frozenset(), PURE_BANS),
    "sdp.interfaces": Rule(frozenset(), PURE_BANS),
    "sdp.observe": Rule(SEAMS, PURE_BANS),
    "sdp.settings": Rule(SEAMS, PURE_BANS),
    # Pure cores.
    "sdp.http1": Rule(SEAMS, PURE_BANS),
    "sdp.stream": Rule(SEAMS, PURE_BANS),
    "sdp.container": Rule(SEAMS | {"sdp.stream.record"}, PURE_BANS),
    # Shells around one kind of outside each: files, codecs, sockets.
    "sdp.store": Rule(SEAMS | {"sdp.stream", "sdp.observe"}),
    "sdp.media": Rule(SEAMS | {"sdp.stream.record", "sdp.container", "sdp.observe"}, frozenset()),
    "sdp.net": Rule(SEAMS | {"sdp.http1", "sdp.observe", "sdp.settings"}),
    # Roles: never each other. The distributor does not decode; pages for people are its templates.
    "sdp.distributor": Rule(ROLE | {"sdp.web"}),
    "sdp.origin": Rule(ROLE | {"sdp.media"}),
    "sdp.consumer": Rule(ROLE | {"sdp.media"}),
    "sdp.web": Rule(SEAMS),
    # Where roles are wired, measured and started. Nobody imports these.
    "sdp.tap": Rule(ROLE | {"sdp.distributor", "sdp.origin", "sdp.consumer", "sdp.media", "sdp.web"}),
    "sdp.lab": Rule(frozenset({"sdp"}), frozenset()),
    "sdp.cli": Rule(frozenset({"sdp"})),
}

TOPS = frozenset({"sdp.lab", "sdp.tap", "sdp.cli"})
"""Entry points: nothing below may lean on them. (cli starts commands, and shows their options; lab is one of them.)"""

MAY_IMPORT_TOPS = {"sdp.cli": frozenset({"sdp.lab", "sdp.tap"}), "sdp.lab": frozenset({"sdp.tap"})}

REACTOR = "twisted.internet.reactor"

MAY_TAKE_THE_REACTOR = frozenset({"sdp.tap", "sdp.cli"})
"""Where a process begins; and there inside a function only, so that importing installs no reactor."""


class Import(NamedTuple):
    """One imported name, absolute and as deep as the statement tells."""

    name: str
    line: int
    at_import_time: bool


def within(name: str, package: str) -> bool:
    """Whether ``name`` is ``package`` or lies in it."""
    return name == package or name.startswith(package + ".")


def in_any(name: str, packages: Iterable[str]) -> bool:
    """Whether ``name`` is or lies in one of ``packages``."""
    return any(within(name, package) for package in packages)


def imports_of(source: str, module: str, *, is_package: bool = False) -> Iterator[Import]:
    """Every import of a module's text, wherever it stands; relative ones made absolute.

    ``from a import b`` gives ``a.b``: whether b is a module or a name in a, it is within a. Imports for the
    type checker alone count too: a type that crosses a border is a dependency.
    """
    base = module.split(".") if is_package else module.split(".")[:-1]

    def walk(node: ast.AST, at_import_time: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            deeper = at_import_time and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, child.lineno, at_import_time)
            elif isinstance(child, ast.ImportFrom):
                start = base[: len(base) - child.level + 1] if child.level else []
                origin = ".".join([*start, *([child.module] if child.module else [])])
                for alias in child.names:
                    name = origin if alias.name == "*" else f"{origin}.{alias.name}"
                    yield Import(name, child.lineno, at_import_time)
            yield from walk(child, deeper)

    return walk(ast.parse(source), True)


def room_of(module: str) -> str:
    """The room that a module stands in: the deepest entry of RULES around it, below the project's root."""
    rooms = [room for room in RULES if within(module, room) and (room != "sdp" or module == "sdp")]
    if not rooms:
        raise LookupError(f"{module} stands in no room: add it to RULES and to docs/architecture.rst")
    return max(rooms, key=len)


def fault(module: str, found: Import) -> str | None:
    """What is wrong with one import of ``module``, in a sentence, or None."""
    room = room_of(module)
    rule = RULES[room]
    where = f"{module}, line {found.line}: {found.name}"
    if within(found.name, REACTOR):
        if room not in MAY_TAKE_THE_REACTOR:
            return f"{where}: the reactor is handed in"
        return f"{where}: only inside a function, since importing it installs one" if found.at_import_time else None
    if in_any(found.name, rule.never):
        return f"{where}: not in {room}"
    if not within(found.name, "sdp") or (within(found.name, room) and room != "sdp"):
        return None
    if in_any(found.name, TOPS) and not in_any(found.name, MAY_IMPORT_TOPS.get(room, ())):
        return f"{where}: nobody imports the entry points"
    if found.name.count(".") == 1 and not in_any(found.name, RULES.keys() - {"sdp"}):
        return None  # A name of sdp/__init__.py itself.
    if in_any(found.name, rule.may):
        return None
    return f"{where}: {room} may import {', '.join(sorted(rule.may)) or 'nothing'} of the project"


def faults(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """All that is wrong with the imports of one module."""
    found = (fault(module, each) for each in imports_of(source, module, is_package=is_package))
    return [sentence for sentence in found if sentence is not None]


def modules(root: Path) -> Iterator[tuple[str, Path]]:
    """Dotted name and file of each module below ``root``/sdp."""
    for path in sorted((root / "sdp").rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


MODULES = list(modules(ROOT))


@pytest.mark.parametrize(("module", "path"), MODULES, ids=[name for name, _ in MODULES])
def test_a_module_imports_only_what_its_room_may(module: str, path: Path) -> None:
    assert faults(path.read_text("utf-8"), module, is_package=path.name == "__init__.py") == []


def test_the_plugins_are_strings_only() -> None:
    """So ``twistd --help`` stays quick, and nothing of the project is imported for a command that is not run."""
    plugins = list((ROOT / "twisted" / "plugins").glob("*.py"))
    assert plugins
    for path in plugins:
        names = [each.name for each in imports_of(path.read_text("utf-8"), "twisted.plugins." + path.stem)]
        assert not [name for name in names if within(name, "sdp")]


def test_the_plugins_shadow_nothing() -> None:
    assert not list((ROOT / "twisted").rglob("__init__.py"))


ALLOWED = [
    ("sdp.http1.reader", "from sdp.errors import ProtocolError"),
    ("sdp.http1.reader", "from .fields import parse_digits"),
    ("sdp.http1.reader", "from . import fields"),
    ("sdp.container.mp4", "from sdp.stream.record import Record"),
    ("sdp.stream.log", "from twisted.python import log"),
    ("sdp.store.files", "from twisted.internet.defer import Deferred"),
    ("sdp.store.files", "from sdp.stream import record"),
    ("sdp.net.server", "from sdp import http1"),
    ("sdp.media.files", "def start():\n    import av"),
    ("sdp.origin.service", "from sdp.media import open_source"),
    ("sdp.tap.origin", "def make():\n    from twisted.internet import reactor"),
    ("sdp.cli", "async def run():\n    import twisted.internet.reactor"),
    ("sdp.cli", "from sdp.tap.origin import Options"),
    ("sdp.lab.clock", "import av\nfrom sdp.consumer import fetch"),
    ("sdp.distributor.views", "from sdp import __version__"),
]

FORBIDDEN = [
    ("sdp", "from sdp.stream.record import Record"),
    ("sdp", "from . import media"),
    ("sdp.http1.reader", "import twisted.internet.defer"),
    ("sdp.http1.reader", "from twisted import internet"),
    ("sdp.http1.reader", "from sdp import stream"),
    ("sdp.http1.reader", "from ..stream import record"),
    ("sdp.http1.reader", "def later():\n    from sdp.stream.record import Record"),
    ("sdp.http1.reader", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from sdp.net import server"),
    ("sdp.http1.reader", "try:\n    import av\nexcept ImportError:\n    av = None"),
    ("sdp.stream.log", "import sdp.store"),
    ("sdp.container.mp4", "from sdp.stream.log import StreamLog"),
    ("sdp.container.mp4", "from sdp.stream import *"),
    ("sdp.store.files", "from sdp.http1 import ranges"),
    ("sdp.net.server", "from sdp.stream.log import StreamLog"),
    ("sdp.media.files", "from sdp.origin import service"),
    ("sdp.distributor.ingest", "from sdp.media import open_source"),
    ("sdp.distributor.ingest", "from av import open"),
    ("sdp.origin.poster", "from sdp.distributor.catalog import Catalog"),
    ("sdp.consumer.recorder", "from sdp import origin"),
    ("sdp.consumer.recorder", "from sdp import tap"),
    ("sdp.consumer.recorder", "import sdp.cli"),
    ("sdp.origin.poster", "import sdp.lab.probe as probe"),
    ("sdp.tap.origin", "from sdp import cli"),
    ("sdp.net.server", "def start():\n    from twisted.internet import reactor"),
    ("sdp.cli", "from twisted.internet import reactor"),
    ("sdp.tap.origin", "class Maker:\n    from twisted.internet import reactor"),
]


@pytest.mark.parametrize(("module", "source"), ALLOWED)
def test_the_checker_lets_pass_what_is_allowed(module: str, source: str) -> None:
    assert faults(source, module) == []


@pytest.mark.parametrize(("module", "source"), FORBIDDEN)
def test_the_checker_catches_what_is_not(module: str, source: str) -> None:
    assert len(faults(source, module, is_package=module == "sdp")) == 1


def test_a_relative_import_counts_from_the_package_itself() -> None:
    assert [each.name for each in imports_of("from .record import Record", "sdp.stream", is_package=True)] == [
        "sdp.stream.record.Record"
    ]


def test_a_new_room_has_to_be_given_a_rule() -> None:
    with pytest.raises(LookupError, match=r"sdp\.attic"):
        faults("import sdp.errors", "sdp.attic.box")
