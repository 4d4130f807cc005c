"""A run's report: one HTML file that needs nothing beside it, and a summary in Markdown; made from the rows alone.

DIR/report.html   what was asked, the answer, figures, tables, and how to do it again
DIR/report.md     the same without the figures
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from sdp.errors import StorageError
from sdp.lab import courses, plots, words
from sdp.lab.beside import figure_of, pairs_of, sibling_name
from sdp.lab.rows import RunDirectory
from sdp.lab.summary import Summary, summarize
from sdp.lab.svg import STYLE, Figure

__all__ = ["Section", "html_of", "markdown_of", "sections_of", "write_report"]


class Recovered(NamedTuple):
    """How a condition got over one kind of fault, over consumers and repeats. Microseconds."""

    label: str
    kind: str
    faults: int
    median: float
    slowest: float
    lost: int
    """The most frames that one consumer lost."""
    sent_twice: int


class Section(NamedTuple):
    """A figure, its heading, and what to see in it."""

    title: str
    lead: str
    figure: Figure


_FIGURES: Final[tuple[tuple[str, str, Callable[[Summary], Figure | None]], ...]] = (
    (
        "Latency over the factor",
        "Medians with the interval that they lie in, by 95 %.",
        courses.profile,
    ),
    (
        "How latencies lie",
        "Every frame that was due counts; one that was never shown has no latency, and is told at the right.",
        plots.distributions,
    ),
    (
        "The slowest frames",
        "How many frames are later than what stands below: the lower and the further left, the better. "
        "A line that does not come down ends at the share that was never shown.",
        plots.tails,
    ),
    (
        "Where the time goes",
        "Medians from point to point; they need not add up to the median of the whole, which stands at the end.",
        plots.waterfalls,
    ),
    (
        "What each level costs",
        "The mean difference over all cells that differ in nothing else. Grey: may be noise.",
        plots.effects,
    ),
    (
        "Coming in",
        "From a newcomer's request to its first frame.",
        courses.start_ups,
    ),
    (
        "Over time",
        "The first repeat of each condition.",
        courses.time_lines,
    ),
)


_BESIDE: Final = (
    "The same scenario, by the same cores, where computing takes no time: what is left is what the architecture and the"
    " lines cost. What was measured beyond that is this machine's: encoding, decoding, the kernel, and whoever else"
    " used its processors."
)


def sections_of(summary: Summary) -> list[Section]:
    """Return the figures that have something to show."""
    found = ((title, lead, draw(summary)) for title, lead, draw in _FIGURES)
    return [Section(title, lead, figure) for title, lead, figure in found if figure is not None]


def write_report(directory: RunDirectory, summary: Summary | None = None) -> tuple[Path, Path]:
    """Write a run's HTML and Markdown into its directory, and return their paths. Raises StorageError.

    Where the directory beside it holds the same scenario by virtual time, the two are held against each other.
    """
    summary = summarize(directory) if summary is None else summary
    virtual = virtual_beside(directory, summary)
    paths = directory.path / "report.html", directory.path / "report.md"
    for path, text in zip(paths, (html_of(summary, virtual), markdown_of(summary, virtual)), strict=True):
        try:
            path.write_text(text, "utf-8")
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}.") from error
    return paths


def virtual_beside(directory: RunDirectory, summary: Summary) -> Summary | None:
    """Return the summary of the same scenario by virtual time, where it lies beside this run by processes."""
    other = RunDirectory(directory.path.with_name(sibling_name(directory.path.name)))
    if summary.run.get("engine") != "processes" or not other.finished():
        return None
    found = summarize(other)
    same = all(found.run.get(key) == summary.run.get(key) for key in ("text", "short"))
    return found if same and found.run.get("engine") == "virtual" else None


def html_of(summary: Summary, virtual: Summary | None = None) -> str:
    """Return the report as a page that loads nothing; ``virtual`` is the same scenario by the other engine."""
    return _environment(autoescape=True).get_template("report.html").render(_values(summary, virtual), style=STYLE)


def markdown_of(summary: Summary, virtual: Summary | None = None) -> str:
    """Return the report's text and tables."""
    return _environment(autoescape=False).get_template("report.md").render(_values(summary, virtual))


def _environment(*, autoescape: bool) -> Environment:
    environment = Environment(
        loader=PackageLoader("sdp.lab", "templates"),
        autoescape=autoescape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "duration": words.duration,
        "signed": words.signed,
        "interval": words.interval,
        "percent": words.percent,
        "rate": lambda value: words.signed(value) + "/s" if value == value else words.NOTHING,
        "mebibytes": lambda value: f"{value / 2**20:,.0f} MiB",
        "bytes": lambda value: words.NOTHING if value is None else f"{value / 1e6:,.2f} MB",
        "cell": lambda value: str(value).replace("|", "\\|"),
    }
    return environment


def _values(summary: Summary, virtual: Summary | None) -> dict[str, Any]:
    pairs = [] if virtual is None else pairs_of(summary, virtual)
    beside = figure_of(pairs)
    sections = sections_of(summary)
    if beside is not None:
        sections.append(Section("Beside virtual time", _BESIDE, beside))
    return {
        "pairs": pairs,
        "summary": summary,
        "title": summary.run.get("title") or summary.name,
        "question": words.question(summary),
        "answer": words.answer(summary),
        "way": words.way(summary.end),
        "sections": sections,
        "shares": sorted((summary.shares or {}).items(), key=lambda each: -each[1]) if len(summary.steps) > 1 else [],
        "recoveries": list(recovered(summary)),
        "has_start_ups": any(each.start_ups for each in summary.conditions),
        "has_delivery": any(each.delivery for each in summary.conditions),
        "facts": list(facts_of(summary.run)),
        "source": summary.run.get("text"),
        "middle": _middle,
    }


def recovered(summary: Summary) -> Iterator[Recovered]:
    """Sum up the recoveries of each condition by the kind of fault."""
    for each in summary.conditions:
        for kind in dict.fromkeys(recovery.kind for recovery in each.recoveries):
            found = [recovery for recovery in each.recoveries if recovery.kind == kind]
            seconds = tuple(recovery.seconds * 1e6 for recovery in found)
            lost = max(recovery.lost for recovery in found)
            yield Recovered(each.label, kind, len(found), _middle(seconds), max(seconds), lost, each.sent_twice)


def _middle(values: tuple[float, ...]) -> float:
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2] if ordered else float("nan")


_TOLD_ELSEWHERE: Final = frozenset({"title", "question", "text"})


def facts_of(run: Mapping[str, Any], *, within: str = "") -> list[tuple[str, str]]:
    """Return what ``run.toml`` says, but for the scenario's text, as rows of a table."""
    found: list[tuple[str, str]] = []
    for key, value in run.items():
        if key in _TOLD_ELSEWHERE:
            continue
        if isinstance(value, Mapping):
            found += facts_of(value, within=f"{within}{key} ")
        elif not (isinstance(value, str) and "\n" in value):
            told = ", ".join(str(each) for each in value) if isinstance(value, list) else str(value)
            found.append((f"{within}{key}".replace("_", " "), told))
    return found
