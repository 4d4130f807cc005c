"""``sdp lab run``, ``list`` and ``check``: scenarios at a terminal, with how far a run has come and the time left."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from sdp.cli.running import INTERRUPTED, say
from sdp.errors import SDPError
from sdp.lab.beside import sibling_name
from sdp.lab.design import Cell, cells_of
from sdp.lab.rows import RunDirectory
from sdp.lab.run import Run, obstacles
from sdp.lab.scenario import parse_scenario, read_scenario, shipped

__all__ = ["run_check", "run_list", "run_scenario"]

UNABLE = 2


class _Shown:
    """A run's progress: a bar at a terminal, else a line a cell."""

    def __init__(self, console: Console, left: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        self.bar = Progress(
            *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
        )
        self._task = self.bar.add_task("beginning", total=left)
        self._is_terminal = console.is_terminal

    def cell_begins(self, cell: Cell, number: int, of: int) -> None:
        text = f"{cell.text}, repeat {cell.repeat + 1}"
        self.bar.update(self._task, completed=number, description=escape(text))
        if not self._is_terminal:
            say(f"{number + 1} of {of}: {text}")

    def cell_fails(self, cell: Cell, error: SDPError) -> None:
        self.bar.console.print(escape(f"{cell.text}: {error.detail}"), highlight=False)

    def over(self, cells: int) -> None:
        self.bar.update(self._task, completed=cells, description="done")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM is what Ctrl-C is: what was started has to be ended."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def run_scenario(given: str, out: Path | None, engine: str, *, short: bool, leave_out: bool = False) -> int:
    """Run a scenario, or what is left of it; returns the exit status."""
    console = Console(stderr=True, highlight=False)
    try:
        scenario = read_scenario(given, short=short)
        name = sibling_name(scenario.name) if engine == "virtual" else scenario.name
        directory = RunDirectory(out if out is not None else Path("lab") / name)
        run = Run(scenario=scenario, directory=directory, engine=engine, command=("sdp", *sys.argv[1:]))
        if leave_out:
            for each in obstacles(run.left(), engine):
                say(f"Left out: {each}")
            run = attrs.evolve(run, leave_out=True)
        left = run.left()
        shown = _Shown(console, len(left))
        with shown.bar, _terminated_as_interrupted():
            run.go(shown)
            shown.over(len(left))
    except SDPError as error:
        say(f"sdp: {error.detail}")
        return UNABLE
    except KeyboardInterrupt:
        say(f"Interrupted. The same command goes on with what is left; {directory.path} keeps what is done.")
        return INTERRUPTED
    say(f"The rows are in {directory.path}; sdp lab report {directory.path} makes a report of them.")
    return 0


def run_list() -> int:
    """Show the scenarios that are shipped."""
    table = Table("scenario", "cells", "what it asks", box=None, pad_edge=False)
    for name, source in shipped().items():
        scenario = parse_scenario(source, name, f"{name}.toml")
        table.add_row(name, str(len(cells_of(scenario))), escape(scenario.plan.question))
    Console(highlight=False).print(table)
    return 0


def run_check(given: str, engine: str, *, short: bool) -> int:
    """Say what a scenario would do, and whether it can be run here; returns the exit status."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        scenario = read_scenario(given, short=short)
        cells = cells_of(scenario)
    except SDPError as error:
        say(f"sdp: {error.detail}")
        return UNABLE
    plan = scenario.plan
    console.print(escape(f"{plan.title}: {plan.question}"))
    for name, levels in scenario.levels.items():
        console.print(escape(f"  {name}: {', '.join(levels)}"))
    seconds = len(cells) * (plan.warm_up + plan.duration)
    console.print(f"{len(cells)} cells of {plan.duration:g} s; at least {seconds:.0f} s, and the time to set each up.")
    standing = obstacles(cells, engine)
    for each in standing:
        console.print(escape(f"It cannot be run here: {each}"))
    return 1 if standing else 0
