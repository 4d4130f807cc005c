"""``sdp lab report`` and ``sdp lab compare``: from a run's rows to what a person reads."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.markup import escape

from sdp.cli.running import say
from sdp.errors import SDPError
from sdp.lab.compare import compare, lines_of
from sdp.lab.report import markdown_of, virtual_beside, write_report
from sdp.lab.rows import RunDirectory
from sdp.lab.summary import summarize
from sdp.lab.words import answer

__all__ = ["run_compare", "run_report"]

CHANGED = 1
UNABLE = 2


def run_report(directory: Path, *, markdown: bool = False) -> int:
    """Write the report of a run and show its answer; with ``markdown`` show its summary only. Returns the status."""
    console = Console(highlight=False, soft_wrap=True)
    try:
        run = RunDirectory(directory)
        summary = summarize(run)
        if markdown:
            console.print(escape(markdown_of(summary, virtual_beside(run, summary))), end="")
            return 0
        page, _ = write_report(run, summary)
    except SDPError as error:
        say(f"sdp: {error.detail}")
        return UNABLE
    console.print(escape(answer(summary)))
    console.print(escape(f"The report is {page}."))
    return 0


def run_compare(before: Path, after: Path) -> int:
    """Show what changed beyond noise. Returns 0 where nothing did, 1 where something did, 2 where one cannot say."""
    try:
        one, other = (summarize(RunDirectory(each)) for each in (before, after))
        bounds = [float(each.run.get("clock", {}).get("bound_us", 0)) for each in (one, other)]
        found = compare(one, other, clock_bound_us=max(bounds))
    except (SDPError, ValueError) as error:
        say(f"sdp: {error.detail if isinstance(error, SDPError) else f'These runs cannot be compared: {error}.'}")
        return UNABLE
    if not found.changes:
        say(f"sdp: {found.answer}")
        return UNABLE
    console = Console(highlight=False, soft_wrap=True)
    for line in lines_of(found):
        console.print(escape(line))
    return CHANGED if found.real else 0
