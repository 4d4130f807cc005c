"""Drawing: scales, axes and marks as SVG text, in colours that a page may set for day and night.

Nothing here knows what is drawn. A figure is a list of elements in user units, 1000 wide, scaled by the page; each
mark may have a title, which browsers show under the pointer and screen readers read. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Final

import attrs

__all__ = ["COLOURS", "STYLE", "WIDTH", "Figure", "Scale", "linear", "logarithmic"]

WIDTH: Final = 1000
"""User units from left to right; a page shows them as wide as it is."""

COLOURS: Final = 8
"""How many colours there are that can be told apart: classes c0 to c7."""

STYLE: Final = (files("sdp.lab") / "templates" / "figure.css").read_text("utf-8")
"""The sheet that figures need: a page has it once, a figure by itself brings it along."""


@attrs.frozen
class Scale:
    """Values to places: ``low`` and ``high`` are values, ``first`` and ``last`` the places where they are drawn."""

    low: float
    high: float
    first: float
    last: float
    is_logarithmic: bool
    ticks: tuple[float, ...]

    def __call__(self, value: float) -> float:
        """Where to draw a value; what lies beyond an end is drawn at it."""
        value = min(max(value, self.low), self.high)
        if self.is_logarithmic:
            part = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            part = (value - self.low) / (self.high - self.low)
        return self.first + part * (self.last - self.first)


def linear(low: float, high: float, first: float, last: float, *, count: int = 6) -> Scale:
    """Return a scale that begins and ends at round numbers, with about so many of them marked."""
    if not high > low:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 2.5, 5, 10) if factor * power >= rough * 0.999)
    begin, end = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return Scale(begin * step, end * step, first, last, False, tuple(at * step for at in range(begin, end + 1)))


def logarithmic(low: float, high: float, first: float, last: float) -> Scale:
    """Return a logarithmic scale from a round number to a round number: 1, 2 or 5 times a power of ten."""
    low = max(low, 1e-9)
    high = max(high, low * 2)
    rounds = [digit * 10.0**power for power in range(-9, 16) for digit in (1, 2, 5)]
    begin = max(value for value in rounds if value <= low * 1.001)
    end = min(value for value in rounds if value >= high * 0.999)
    within = [value for value in rounds if begin * 0.999 <= value <= end * 1.001]
    tens = [value for value in within if math.log10(value) % 1 < 1e-6 or math.log10(value) % 1 > 1 - 1e-6]
    return Scale(begin, end, first, last, True, tuple(within if len(within) <= 10 else tens))


class Figure:
    """A drawing under way. Its methods add marks; ``svg`` is the text, and a notebook shows it by itself."""

    def __init__(self, height: float, label: str) -> None:
        self.height = height
        self.label = label
        self._elements: list[str] = []

    # -- marks ---------------------------------------------------------------------------------------------

    def line(self, x1: float, y1: float, x2: float, y2: float, kind: str, title: str = "") -> None:
        """A straight line."""
        self._add(f'line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"', title)

    def box(
        self, x: float, y: float, width: float, height: float, kind: str = "", title: str = "", fill: str = ""
    ) -> None:
        """A box, or a bar; ``fill`` names a colour of the sheet where the class does not."""
        style = f' style="fill:var(--{fill})"' if fill else ""
        size = f'width="{max(width, 0):.1f}" height="{height:.1f}"'
        self._add(f'rect x="{x:.1f}" y="{y:.1f}" {size} rx="1.5" class="{kind}"{style}', title)

    def dot(self, x: float, y: float, radius: float, kind: str, title: str = "") -> None:
        """A filled circle."""
        self._add(f'circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" class="{kind}"', title)

    def path(self, points: Iterable[tuple[float, float]], kind: str, title: str = "", *, closed: bool = False) -> None:
        """A line through points, or the area that it bounds."""
        places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self._add(f'{"polygon" if closed else "polyline"} points="{places}" class="{kind}"', title)

    def text(self, x: float, y: float, words: str, kind: str = "", *, anchor: str = "start") -> None:
        """Words, ``anchor`` being start, middle or end."""
        self._elements.append(
            f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words, quote=False)}</text>'
        )

    def _add(self, element: str, title: str) -> None:
        name = element.split(" ", 1)[0]
        inner = f"><title>{escape(title, quote=False)}</title></{name}>" if title else "/>"
        self._elements.append(f"<{element}{inner}")

    # -- furniture -----------------------------------------------------------------------------------------

    def across(self, scale: Scale, top: float, bottom: float, words: Sequence[str], title: str) -> None:
        """A horizontal axis: a line of the grid and a word for each tick, and what it is an axis of."""
        for tick, word in zip(scale.ticks, words, strict=True):
            self.line(scale(tick), top, scale(tick), bottom, "grid")
            self.text(scale(tick), bottom + 17, word, "quiet small", anchor="middle")
        self.text((scale.first + scale.last) / 2, bottom + 35, title, "quiet", anchor="middle")

    def upward(self, scale: Scale, left: float, right: float, words: Sequence[str], title: str) -> None:
        """A vertical axis."""
        for tick, word in zip(scale.ticks, words, strict=True):
            self.line(left, scale(tick), right, scale(tick), "grid")
            self.text(left - 8, scale(tick) + 4, word, "quiet small", anchor="end")
        self.text(left - 8, min(scale.first, scale.last) - 12, title, "quiet", anchor="start")

    def legend(self, x: float, y: float, entries: Sequence[tuple[str, str]]) -> float:
        """Swatches with words, as (colour of the sheet, word), in lines; returns where the last one ends."""
        at = x
        for colour, word in entries:
            needed = 34 + 7.2 * len(word)
            if at + needed > WIDTH and at > x:
                at, y = x, y + 20
            self.box(at, y - 10, 12, 12, fill=colour)
            self.text(at + 18, y, word, "small")
            at += needed
        return y

    # -- out -----------------------------------------------------------------------------------------------

    @property
    def svg(self) -> str:
        """The drawing, for a page that has :data:`STYLE`."""
        body = "".join(self._elements)
        label = escape(self.label)
        return (
            f'<svg class="figure" viewBox="0 0 {WIDTH} {self.height:.0f}" role="img" aria-label="{label}"'
            f' xmlns="http://www.w3.org/2000/svg">{body}</svg>'
        )

    @property
    def alone(self) -> str:
        """The drawing with the sheet that it needs: a file, or a notebook's cell."""
        return self.svg.replace(">", f"><style>{STYLE}</style>", 1)

    def save(self, path: str | Path) -> None:
        """Keep the drawing as an SVG file."""
        Path(path).write_text(self.alone, "utf-8")

    def _repr_html_(self) -> str:
        return self.alone
