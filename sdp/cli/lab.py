"""``sdp lab``: experiments on latency, run and read. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

__all__ = ["lab"]

_directory = click.Path(path_type=Path, file_okay=False)


@click.group()
def lab() -> None:
    """Measure what an architecture costs, in milliseconds."""


@lab.command()
@click.argument("directory", type=_directory)
@click.option("--markdown", is_flag=True, help="Only show the summary, as Markdown.")
def report(directory: Path, markdown: bool) -> None:
    """Write the report of the run in DIRECTORY, from its rows alone: report.html and report.md."""
    from sdp.cli.lab_reading import run_report

    sys.exit(run_report(directory, markdown=markdown))


@lab.command()
@click.argument("before", type=_directory)
@click.argument("after", type=_directory)
def compare(before: Path, after: Path) -> None:
    """Say what changed beyond noise from the run in BEFORE to that in AFTER.

    Leaves with 0 where nothing did, with 1 where something did, and with 2 where they cannot be compared.
    """
    from sdp.cli.lab_reading import run_compare

    sys.exit(run_compare(before, after))
