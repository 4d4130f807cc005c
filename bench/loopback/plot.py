"""Line charts as SVG, on logarithmic axes: enough to see how a cost grows. Standard library only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

__all__ = ["Panel", "draw"]

_WIDTH, _HEIGHT = 440, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 16, 44, 40
_COLOURS = ("#555555", "#0b6bcb", "#c2410c", "#15803d", "#7e22ce", "#a16207", "#be185d")
_DASHES = ("6 4", "", "", "2 3", "", "8 3 2 3", "4 2")


class Panel(NamedTuple):
    """One chart: ``points`` are (series, x, y), all greater than 0 to be drawn."""

    name: str
    about: str
    points: Sequence[tuple[str, float, float]]


class _Axis:
    """Places values between two powers of ten (or on half of one) on a stretch of pixels."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self.low = math.floor(math.log10(min(values)) * 2 - 1e-9) / 2
        self.high = max(math.ceil(math.log10(max(values)) * 2 + 1e-9) / 2, self.low + 0.5)
        self._start, self._end = start, end

    def place(self, value: float) -> float:
        share = (math.log10(value) - self.low) / (self.high - self.low)
        return self._start + share * (self._end - self._start)

    def ticks(self) -> list[float]:
        powers = range(math.floor(self.low), math.ceil(self.high) + 1)
        every = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        inside = [tick for tick in every if self.low - 1e-9 <= math.log10(tick) <= self.high + 1e-9]
        return inside if len(inside) <= 8 else [tick for tick in inside if f"{tick:e}"[0] == "1"]


def _number(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 10_000 else f"{value:g}"


def _panel(panel: Panel, colours: dict[str, tuple[str, str]], left: float, top: float) -> list[str]:
    """The elements of one chart, whose upper left corner is at (left, top)."""
    points = [point for point in panel.points if point[1] > 0 and point[2] > 0]
    out = [
        f'<text x="{left + _LEFT}" y="{top + 16}" class="name">{escape(panel.name)}</text>',
        f'<text x="{left + _LEFT}" y="{top + 32}" class="about">{escape(panel.about)}</text>',
    ]
    if not points:
        return [*out, f'<text x="{left + _LEFT}" y="{top + 80}">nothing was measured</text>']
    x0, x1 = left + _LEFT, left + _WIDTH - _RIGHT
    y0, y1 = top + _HEIGHT - _BOTTOM, top + _TOP
    across = _Axis([x for _, x, _ in points], x0, x1)
    up = _Axis([y for _, _, y in points], y0, y1)
    for tick in across.ticks():
        at = across.place(tick)
        out.append(f'<path d="M{at:.1f} {y0}V{y1}" class="grid"/>')
        out.append(f'<text x="{at:.1f}" y="{y0 + 18}" text-anchor="middle">{_number(tick)}</text>')
    for tick in up.ticks():
        at = up.place(tick)
        out.append(f'<path d="M{x0} {at:.1f}H{x1}" class="grid"/>')
        out.append(f'<text x="{x0 - 6}" y="{at + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    for series in dict.fromkeys(name for name, _, _ in points):
        colour, dash = colours[series]
        line = sorted((x, y) for name, x, y in points if name == series)
        path = " ".join(f"{across.place(x):.1f},{up.place(y):.1f}" for x, y in line)
        out.append(f'<polyline points="{path}" stroke="{colour}" stroke-dasharray="{dash}"/>')
        out += [f'<circle cx="{across.place(x):.1f}" cy="{up.place(y):.1f}" r="3" fill="{colour}"/>' for x, y in line]
    return out


def draw(title: str, panels: Sequence[Panel]) -> str:
    """Return an SVG document of the panels, two in a row, with one legend."""
    series = list(dict.fromkeys(name for panel in panels for name, _, _ in panel.points))
    colours = {
        name: (_COLOURS[number % len(_COLOURS)], _DASHES[number % len(_DASHES)]) for number, name in enumerate(series)
    }
    rows = -(-len(panels) // 2)
    width, height = 2 * _WIDTH, 60 + rows * _HEIGHT
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        "<style>text{font:12px sans-serif;fill:#333}.title{font-size:16px;font-weight:bold}.name{font-weight:bold}"
        ".about{fill:#666}.grid{stroke:#ddd}polyline{fill:none;stroke-width:2}</style>",
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="26" class="title">{escape(title)}</text>',
    ]
    at = _LEFT
    for name in series:
        colour, dash = colours[name]
        out.append(f'<polyline points="{at},42 {at + 28},42" stroke="{colour}" stroke-dasharray="{dash}"/>')
        out.append(f'<text x="{at + 34}" y="46">{escape(name)}</text>')
        at += 60 + 8 * len(name)
    for number, panel in enumerate(panels):
        out += _panel(panel, colours, number % 2 * _WIDTH, 60 + number // 2 * _HEIGHT)
    return "\n".join([*out, "</svg>", ""])
