"""``docs/lab/findings.rst`` and its figures, out of finished runs: what each shipped scenario has found.

    python docs/draw_findings.py lab

``lab`` is where ``sdp lab run`` leaves its runs: ``lab/NAME``, and ``lab/NAME-virtual`` for those in virtual time. Of a
scenario that was run by real processes that is shown, with virtual time's word beside it; of another one virtual time's
alone; one that was not run is left out.
"""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import TextWrapper

from sdp.lab.api import FIGURES
from sdp.lab.beside import pairs_of, sibling_name
from sdp.lab.report import virtual_beside
from sdp.lab.rows import RunDirectory
from sdp.lab.scenario import shipped
from sdp.lab.summary import Summary, summarize
from sdp.lab.words import answer, duration, question, signed

HERE = Path(__file__).resolve().parent / "lab"

MAIN = {"faults": "time-lines", "joining": "start-ups", "player-target": "distributions"}
"""The figure that shows a scenario's finding, where it is neither its course nor its distributions."""

WRAP = TextWrapper(width=120, break_on_hyphens=False)

HEAD = """\
What the shipped scenarios have found
=====================================

.. This page is made by draw_findings.py out of finished runs.

Each scenario's question, its answer as its report gives it, and the figure that shows it. Figures in milliseconds are
those of the machine that they were measured on, and of what else it did; the differences are what to look at.
"""


def main_figure(name: str, summary: Summary) -> str | None:
    """The figure's SVG, by itself."""
    for kind in (MAIN.get(name), "profile", "distributions"):
        figure = None if kind is None else FIGURES[kind](summary)
        if figure is not None:
            return figure.alone
    return None


def about(summary: Summary) -> str:
    """Where and how it was run, in a sentence."""
    run = summary.run
    if run.get("engine") == "virtual":
        return "In virtual time: what the architecture and the lines cost, without a machine."
    machine = run.get("machine", {})
    where = f"{machine.get('processor', 'a machine')}, {machine.get('cores', '?')} cores, {machine.get('system', '')}"
    return f"By real processes: {where}, {run.get('begun', '')[:10]}."


def beside(summary: Summary, virtual: Summary | None) -> str:
    """What virtual time says of it, in a sentence."""
    pairs = [] if virtual is None else pairs_of(summary, virtual)
    if not pairs:
        return ""
    told = ", ".join(f"{each.label} {duration(each.virtual.value)} ({signed(each.machine)})" for each in pairs[:6])
    return f"In virtual time the medians are (and this machine adds): {told}."


def section(name: str, lab: Path) -> str | None:
    """One scenario's part of the page; None where it was not run."""
    for directory in (RunDirectory(lab / name), RunDirectory(lab / sibling_name(name))):
        if directory.finished():
            break
    else:
        return None
    summary = summarize(directory)
    title = str(summary.run.get("title") or name)
    parts = [title, "-" * len(title), "", f"*{question(summary)}*", "", WRAP.fill(answer(summary)), ""]
    figure = main_figure(name, summary)
    if figure is not None:
        (HERE / "figures").mkdir(exist_ok=True)
        (HERE / "figures" / f"{name}.svg").write_text(figure, "utf-8")
        parts += [f".. image:: figures/{name}.svg", f"   :alt: {title}", "   :width: 100%", ""]
    for sentence in (about(summary), beside(summary, virtual_beside(directory, summary))):
        if sentence:
            parts += [WRAP.fill(sentence), ""]
    engine = " --engine virtual" if summary.run.get("engine") == "virtual" else ""
    parts += [f"``sdp lab run {name}{engine}``", ""]
    return "\n".join(parts)


def main(lab: Path) -> None:
    sections = [each for each in (section(name, lab) for name in shipped()) if each is not None]
    (HERE / "findings.rst").write_text(HEAD + "\n" + "\n".join(sections), "utf-8")
    print(f"{len(sections)} findings in {HERE / 'findings.rst'}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
