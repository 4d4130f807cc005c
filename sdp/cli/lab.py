"""``sdp lab``: experiments on latency, run and read. What is heavy is imported by the command that needs it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import click

__all__ = ["lab"]

_directory = click.Path(path_type=Path, file_okay=False)


@click.group()
def lab() -> None:
    """Measure what an architecture costs, in milliseconds."""
    missing = [name for name in ("numpy", "polars") if find_spec(name) is None]
    if missing:
        raise click.ClickException(
            f"The laboratory needs {' and '.join(missing)}: python -m pip install 'sdp-streaming[lab]'."
        )


_short = click.option("--short", is_flag=True, help="The scenario's short form: fewer levels, less time.")
_engine = click.option(
    "--engine",
    type=click.Choice(["processes", "virtual"]),
    default="processes",
    show_default=True,
    help="Real processes over real sockets, or the same cores in virtual time.",
)


@lab.command()
@click.argument("scenario")
@click.option(
    "--out",
    type=_directory,
    help="The run's directory; by default lab/SCENARIO, with -virtual behind it in virtual time.",
)
@click.option("--leave-out", is_flag=True, help="Leave out what cannot be run here, in place of running nothing.")
@_engine
@_short
def run(scenario: str, out: Path | None, engine: str, short: bool, leave_out: bool) -> None:
    """Run SCENARIO: a shipped one's name, or a file (.toml). Stopped before its end, it goes on where it was."""
    from sdp.cli.lab_running import run_scenario

    sys.exit(run_scenario(scenario, out, engine, short=short, leave_out=leave_out))


@lab.command(name="list")
def list_() -> None:
    """Show the scenarios that come with SDP."""
    from sdp.cli.lab_running import run_list

    sys.exit(run_list())


@lab.command()
@click.argument("scenario")
@_engine
@_short
def check(scenario: str, engine: str, short: bool) -> None:
    """Say what SCENARIO would do, and what is missing here to run it. Leaves with 1 where something is."""
    from sdp.cli.lab_running import run_check

    sys.exit(run_check(scenario, engine, short=short))


@lab.command()
@click.argument("directory", type=_directory)
@click.option("--markdown", is_flag=True, help="Only show the summary, as Markdown.")
def report(directory: Path, markdown: bool) -> None:
    """Write the report of the run in DIRECTORY, from its rows alone: report.html and report.md.

    Where DIRECTORY-virtual holds the same scenario by virtual time, the report holds the two against each other.
    """
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
