"""Draw docs/picture.svg: one log, an inlet and an outlet, and where each consumer stands in it.

Run it again after a change: ``python docs/draw_picture.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

WIDTH, HEIGHT = 880, 330
INK, PAPER, LINE, KEY, PLAIN, HELD = "#1d2730", "#ffffff", "#64748b", "#d97706", "#93c5fd", "#e2e8f0"

RECORDS = 16
"""How many records of the log are drawn."""
KEYS = frozenset({1, 6, 11})
"""Which of them are random access points."""
ON_DISK = 8
"""So many of the oldest have left the memory."""
LOG_LEFT, LOG_TOP, CELL, LOG_HEIGHT = 232, 140, 26, 44


def text(x: float, y: float, words: str, *, size: int = 13, anchor: str = "middle", weight: str = "normal") -> str:
    """One line of text, its middle (or start, or end) at x."""
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x}" y="{y}" font-size="{size}" text-anchor="{anchor}" font-weight="{weight}">{words}</text>'


def box(x: float, y: float, width: float, height: float, title: str, below: str) -> Iterator[str]:
    """A party: its role, and what it is."""
    yield f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8" fill="{PAPER}" stroke="{LINE}"/>'
    yield text(x + width / 2, y + height / 2 - 3, title, weight="bold")
    yield text(x + width / 2, y + height / 2 + 14, below, size=11)


def arrow(points: list[tuple[float, float]]) -> str:
    """A line with a head at its last point."""
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline points="{path}" fill="none" stroke="{LINE}" stroke-width="1.5" marker-end="url(#head)"/>'


def log() -> Iterator[str]:
    """The log: oldest record left, live edge right."""
    for index in range(RECORDS):
        fill = KEY if index in KEYS else HELD if index < ON_DISK else PLAIN
        x = LOG_LEFT + index * CELL
        yield f'<rect x="{x}" y="{LOG_TOP}" width="{CELL}" height="{LOG_HEIGHT}" fill="{fill}" stroke="{PAPER}"/>'
    end = LOG_LEFT + RECORDS * CELL
    yield f'<line x1="{end}" y1="{LOG_TOP - 12}" x2="{end}" y2="{LOG_TOP + LOG_HEIGHT + 12}" stroke="{INK}"/>'
    yield text(LOG_LEFT, LOG_TOP - 10, "0", size=11)
    yield text(LOG_LEFT + ON_DISK * CELL / 2, LOG_TOP - 10, "on disk", size=11)
    yield text(LOG_LEFT + (ON_DISK + RECORDS) * CELL / 2, LOG_TOP - 10, "and in memory", size=11)
    yield text(end + 6, LOG_TOP - 18, "live edge", size=11, anchor="end")


def picture() -> Iterator[str]:
    """The whole picture's lines."""
    end = LOG_LEFT + RECORDS * CELL
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'font-family="system-ui, sans-serif" fill="{INK}">'
    )
    yield "<title>An Origin appends to a log; Consumers read it, each from its own place</title>"
    yield (
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        f'<path d="M0 0 8 4 0 8z" fill="{LINE}"/></marker></defs>'
    )
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="{PAPER}"/>'
    yield f'<rect x="200" y="56" width="480" height="200" rx="12" fill="#f8fafc" stroke="{LINE}"/>'
    yield text(440, 82, "Distributor: one log for each stream", size=14, weight="bold")
    yield from log()
    yield from box(16, 132, 120, 60, "Origin", "camera, file")
    # Over the log and down to its end: an Origin only ever appends.
    yield arrow([(76, 132), (76, 24), (end + 20, 24), (end + 20, LOG_TOP + 22), (end + 3, LOG_TOP + 22)])
    yield text(380, 17, "POST   Content-Range: bytes A-B/*", size=12)
    places = [
        ("player, browser", "live", RECORDS, 60),
        ("a newcomer", "from the newest orange", 11, 138),
        ("recorder", "from its own end", 4, 216),
    ]
    for title, below, index, y in places:
        yield from box(728, y, 140, 56, title, below)
        x = LOG_LEFT + index * CELL
        if index == RECORDS:
            yield arrow([(x, LOG_TOP + LOG_HEIGHT - 8), (706, LOG_TOP + LOG_HEIGHT - 8), (706, y + 28), (726, y + 28)])
        else:
            depth = LOG_TOP + LOG_HEIGHT + (24 if index > ON_DISK else 48)
            yield arrow([(x, LOG_TOP + LOG_HEIGHT), (x, depth), (698, depth), (698, y + 28), (726, y + 28)])
    yield text(440, 300, "GET   Content-Range: bytes A-B/*   says what a Consumer holds;", size=12)
    yield text(440, 317, "it is sent what it lacks, the newest first.", size=12)
    yield f'<rect x="16" y="290" width="12" height="12" fill="{KEY}"/>'
    yield text(34, 301, "decoding can start here", size=11, anchor="start")
    yield "</svg>"


if __name__ == "__main__":
    Path(__file__).with_name("picture.svg").write_text("\n".join(picture()) + "\n", "utf-8")
