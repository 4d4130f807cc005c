"""The series that both players are held to, the native one and the browser's: arrivals, and what is decided on them.

``python -m tests.playout.vectors`` writes them anew beside this file, after a change of the rules. A file has
``about``; ``rules`` and ``overhead`` (microseconds); ``steps``, each ``["arrived", at, time, duration, track,
random_access]`` or ``["update", at]`` or ``["update", at, position]``; ``decisions``, one for each update: ``[state,
position, rate, target, delay, skip]``; and ``tolerance``, by how much position, target and delay (microseconds) and
the rate may differ.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from sdp.consumer.playout import Decision, Playout, Rules
from tests.playout.series import MILLISECOND, SECOND, Unit, backlog, bursts, even, outage, series

HERE = Path(__file__).parent
INTERVAL = 40 * MILLISECOND
TOLERANCE = {"microseconds": 5, "rate": 1e-6}

Step = list[Any]


class Vector(NamedTuple):
    about: str
    units: list[Unit]
    rules: Rules = Rules()
    overhead: int = 0
    loudspeaker: bool = False
    """Whether the position is told by what is being heard, 0.1 ms late at each update."""


VECTORS = {
    "steady": Vector("Pictures at their pace, each up to 1 ms late.", series(8, even(MILLISECOND))),
    "jitter": Vector("Pictures and sound, each up to 30 ms late.", series(14, even(30 * MILLISECOND), sound=True)),
    "bursts": Vector("Ten pictures at a time.", series(12, bursts(SECOND // 3))),
    "backlog": Vector(
        "The first picture is 0.9 s old, and what follows on it comes at once.", series(5, backlog(900 * MILLISECOND))
    ),
    "stall": Vector(
        "Nothing for 3 s, then all of it: a skip.", series(16, outage(5 * SECOND, 8 * SECOND, 2 * MILLISECOND))
    ),
    "short-stall": Vector(
        "Nothing for 0.3 s, twice: caught up with.",
        series(14, lambda n, sent: max(outage(4_000_000, 4_300_000)(n, sent), outage(8_000_000, 8_300_000)(n, sent))),
    ),
    "jump": Vector(
        "Nothing for 3 s, and what was sent meanwhile never comes.",
        series(12, even(2 * MILLISECOND), sound=True, lost=(4 * SECOND, 7 * SECOND)),
    ),
    "slow-source": Vector("The source's clock is 0.1 % slow.", series(14, even(MILLISECOND), drift=0.001)),
    "fast-source": Vector("The source's clock is 0.1 % fast.", series(14, even(MILLISECOND), drift=-0.001)),
    "fixed": Vector(
        "A target of 200 ms, 12 ms for decoding and presenting, and the loudspeaker's own position.",
        series(8, even(20 * MILLISECOND), sound=True, drift=0.001),
        Rules(target=200 * MILLISECOND),
        12 * MILLISECOND,
        True,
    ),
    "fragments": Vector(
        "Fragments of a second, under auto of at most 4 s.",
        series(12, bursts(SECOND)),
        Rules(least=20 * MILLISECOND, most=4 * SECOND),
    ),
    "new-line": Vector(
        "After 3 s the stream's time begins anew.",
        [
            *(units := series(3, even(MILLISECOND))),
            *(_._replace(time=_.time - 49 * SECOND, at=_.at + 3 * SECOND) for _ in units),
        ],
    ),
}


def steps_of(vector: Vector) -> tuple[list[Step], list[Decision]]:
    """Play a series; return what was done and decided."""
    playout = Playout(vector.rules)
    playout.overhead = vector.overhead
    steps: list[Step] = []
    decisions: list[Decision] = []
    due = vector.units[0].at

    def update(at: int) -> None:
        position = None
        if vector.loudspeaker and decisions and decisions[-1].position is not None:
            last = decisions[-1]
            position = round(decisions[-1].position + INTERVAL * last.rate) - 100
        steps.append(["update", at] if position is None else ["update", at, position])
        decisions.append(playout.update(at, position))

    for unit in vector.units:
        while due < unit.at:
            update(due)
            due += INTERVAL
        steps.append(["arrived", unit.at, unit.time, unit.duration, unit.track, unit.random_access])
        playout.arrived(unit.time, unit.at, duration=unit.duration, track=unit.track, random_access=unit.random_access)
    return steps, decisions


def row_of(decision: Decision) -> list[Any]:
    def rounded(value: float | None, digits: int) -> float | None:
        return None if value is None else round(value, digits)

    state, position, rate, target, delay, skip = decision
    return [state.value, rounded(position, 1), round(rate, 8), round(target, 1), round(delay, 1), skip]


def text_of(vector: Vector) -> str:
    """A vector's file: a line for each step and each decision, so that a difference can be read."""
    steps, decisions = steps_of(vector)
    rules = vector.rules
    head = {
        "about": vector.about,
        "rules": {name: getattr(rules, name) for name in ("target", "least", "most", "skip_after")},
        "overhead": vector.overhead,
        "tolerance": TOLERANCE,
    }
    lines = json.dumps(head, indent=0)[:-2]
    for name, rows in (("steps", steps), ("decisions", map(row_of, decisions))):
        lines += f',\n"{name}": [\n' + ",\n".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n]"
    return lines + "\n}\n"


def main() -> None:
    for name, vector in VECTORS.items():
        (HERE / f"{name}.json").write_text(text_of(vector), "utf-8")


if __name__ == "__main__":
    main()
