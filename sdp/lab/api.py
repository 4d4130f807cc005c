"""The laboratory from Python, for notebooks and scripts: define a scenario, run it, look at its rows, plot, compare.

::

    from sdp.lab import api as lab

    scenario = lab.define("What does a relay cost?", {"hops": [0, 1, 2]}, fixed={"hop-delay": "10ms"})
    results = lab.run(scenario, engine="virtual")
    results.answer
    results.table()
    results.plot("waterfalls")

A :class:`Results` reads a run's directory, the same that ``sdp lab run`` writes and ``sdp lab report`` reads: what was
begun here goes on there, and the other way round. Errors are of :mod:`sdp.errors`, each with a sentence that says what
to do.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, Final

import click
import polars as pl

from sdp.errors import ConfigurationError, SDPError
from sdp.lab import courses, plots
from sdp.lab.beside import sibling_name
from sdp.lab.compare import Comparison
from sdp.lab.compare import compare as compare_summaries
from sdp.lab.design import Cell
from sdp.lab.measures import latencies
from sdp.lab.report import write_report
from sdp.lab.rows import RunDirectory, toml_text
from sdp.lab.run import ENGINES, Run
from sdp.lab.scenario import Scenario, parse_scenario, read_scenario, shipped
from sdp.lab.summary import Summary, summarize
from sdp.lab.svg import Figure
from sdp.lab.words import answer, question

__all__ = ["FIGURES", "Results", "compare", "define", "load", "run", "scenarios"]

FIGURES: Final[Mapping[str, Callable[[Summary], Figure | None]]] = {
    "distributions": plots.distributions,
    "tails": plots.tails,
    "waterfalls": plots.waterfalls,
    "effects": plots.effects,
    "profile": courses.profile,
    "start-ups": courses.start_ups,
    "time-lines": courses.time_lines,
}
"""What :meth:`Results.plot` can draw, by name."""

_NAMES: Final = ("p50", "p95", "p99", "max")


def scenarios() -> list[str]:
    """Return the names of the scenarios that come with SDP; :func:`run` takes each of them."""
    return list(shipped())


def define(
    question: str,
    factors: Mapping[str, Sequence[object]] | None = None,
    *,
    name: str = "mine",
    title: str | None = None,
    fixed: Mapping[str, object] | None = None,
    cells: Sequence[Mapping[str, object]] | None = None,
    design: str = "full",
    repeats: int = 3,
    seed: int = 1,
    warm_up: float = 1.0,
    duration: float = 4.0,
) -> Scenario:
    """Return a scenario that asks ``question`` by varying ``factors``, each a list of levels.

    ``fixed`` is what is the same in all cells. In place of factors, ``cells`` lists treatments, each a mapping of names
    to levels (the design is ``listed`` then). Times are in seconds. Raises ConfigurationError, which names what is
    wrong. ``scenario.source`` is the TOML of it, to be kept in a file for ``sdp lab run``.
    """
    plan = {
        "title": title if title is not None else question.rstrip("?."),
        "question": question,
        "design": "listed" if cells is not None else design,
        "repeats": repeats,
        "seed": seed,
        "warm-up": warm_up,
        "duration": duration,
    }
    tables: dict[str, Any] = {"fixed": dict(fixed or {})}
    if cells is None:
        tables["factors"] = {each: list(levels) for each, levels in (factors or {}).items()}
    elif factors:
        raise ConfigurationError("A scenario has factors or cells, not both: leave one out.")
    source = toml_text({**plan, **{key: table for key, table in tables.items() if table}})
    for cell in cells or ():
        source += "\n[[cells]]\n" + toml_text(dict(cell))
    return parse_scenario(source, name, name)


class _Silent:
    """Who is told how far a run has come, and does not say it."""

    def cell_begins(self, cell: Cell, number: int, of: int) -> None:
        """Not told."""

    def cell_fails(self, cell: Cell, error: SDPError) -> None:
        """Not told."""


class _Told:
    """Tells a line a cell, over the one before."""

    def cell_begins(self, cell: Cell, number: int, of: int) -> None:
        click.echo(f"\r{number + 1} of {of}: {cell.text:<60.60}", nl=number + 1 == of, err=True)

    def cell_fails(self, cell: Cell, error: SDPError) -> None:
        click.echo(f"\n{cell.text}: {error.detail}", err=True)


def run(
    scenario: Scenario | str | Path,
    *,
    engine: str = "processes",
    out: str | Path | None = None,
    short: bool = False,
    progress: bool = False,
) -> Results:
    """Run a scenario, a shipped one's name, or a file's, and return what came of it.

    What is finished in the directory ``out`` already is not run again; without it that is ``lab/NAME``, and
    ``lab/NAME-virtual`` in virtual time. ``short`` takes a shipped scenario's or a file's short form. Raises SDPError:
    ConfigurationError where the scenario, or what the directory holds, is wrong, and LocalError where it cannot be run
    here.
    """
    if engine not in ENGINES:
        raise ConfigurationError(f"There is no engine {engine!r}: it is one of {', '.join(ENGINES)}.")
    chosen = scenario if isinstance(scenario, Scenario) else read_scenario(str(scenario), short=short)
    name = sibling_name(chosen.name) if engine == "virtual" else chosen.name
    directory = RunDirectory(Path(out) if out is not None else Path("lab") / name)
    command = ("sdp.lab.api.run", chosen.name, engine)
    Run(scenario=chosen, directory=directory, engine=engine, command=command).go(_Told() if progress else _Silent())
    return Results(directory.path)


def load(path: str | Path) -> Results:
    """Return the results in a run's directory. Raises StorageError where there are none."""
    results = Results(Path(path))
    results.directory.rows()
    return results


def compare(before: Results, after: Results) -> Comparison:
    """Hold two runs against each other: ``answer`` says what changed beyond noise, ``changes`` what was looked at."""
    return compare_summaries(before.summary, after.summary)


class Results:
    """A run's directory, read when it is asked for. In a notebook it shows its answer and its table."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.directory = RunDirectory(path)

    @cached_property
    def rows(self) -> pl.DataFrame:
        """One row for each frame and consumer (:mod:`sdp.lab.rows`), with its ``latency`` in microseconds.

        That is infinite for what was never shown, and null for a duplicate, which has none.
        """
        rows = self.directory.rows()
        timed = latencies(rows.with_row_index("row"), self.summary.end).select("row", "latency")
        return rows.with_row_index("row").join(timed, on="row", how="left", maintain_order="left").drop("row")

    @cached_property
    def events(self) -> pl.DataFrame:
        """What happened in each cell, and when: begins and ends, joins, faults."""
        return self.directory.events()

    @cached_property
    def processes(self) -> pl.DataFrame:
        """What each process of each cell used; empty in virtual time."""
        return self.directory.processes()

    @cached_property
    def summary(self) -> Summary:
        """All that a report says, as values."""
        return summarize(self.directory)

    @property
    def question(self) -> str:
        """What was asked."""
        return question(self.summary)

    @property
    def answer(self) -> str:
        """What came out, in a sentence or a few."""
        return answer(self.summary)

    def table(self) -> pl.DataFrame:
        """One row a condition: its levels, its quantiles in milliseconds with the ends of their intervals, and what
        was due and never shown."""
        found = []
        for each in self.summary.conditions:
            row: dict[str, object] = dict(each.levels)
            for name, quantile in zip(_NAMES, each.quantiles, strict=True):
                row |= {
                    name: quantile.value / 1e3,
                    f"{name}_low": quantile.low / 1e3,
                    f"{name}_high": quantile.high / 1e3,
                }
            found.append({**row, "due": each.counts.due, "lost": each.counts.lost})
        return pl.DataFrame(found)

    def plot(self, kind: str = "distributions") -> Figure:
        """Return one of :data:`FIGURES`, which a notebook shows; ``figure.save(path)`` keeps it as a file.

        Raises ConfigurationError where there is no such figure, or where this run has nothing to show in it.
        """
        if kind not in FIGURES:
            raise ConfigurationError(f"There is no figure {kind!r}: it is one of {', '.join(FIGURES)}.")
        figure = FIGURES[kind](self.summary)
        if figure is None:
            raise ConfigurationError(f"This run has nothing that {kind} could show.")
        return figure

    def report(self) -> Path:
        """Write the report into the run's directory, and return the page's path."""
        return write_report(self.directory, self.summary)[0]

    def __repr__(self) -> str:
        return f"<Results of {self.summary.name}, {len(self.summary.conditions)} conditions, in {self.path}>"

    def _repr_html_(self) -> str:
        table = self.table().select(pl.exclude("^.*_(low|high)$"))
        shown = f"<p><b>{escape(self.question)}</b></p><p>{escape(self.answer)}</p>"
        return shown + table._repr_html_()
