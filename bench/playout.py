"""The playout controller beside the rules of dash.js, hls.js and mpegts.js, on the same arrivals.

    python bench/playout.py [--seconds S] [--rst FILE]

The three are models of what their authors document, written for this: they know when pictures arrive, and nothing else
of a browser. Each is set for low latency as its documentation advises. Delay is over the fastest arrival.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import deque
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sdp.consumer.playout import Playout
from tests.playout.series import CLOCK, MILLISECOND, SECOND, Unit, bursts, even, outage, series

INTERVAL = 10 * MILLISECOND
WARM_UP = 5 * SECOND
WINDOW = 10 * SECOND
"""The fastest arrival of so long a time counts: clocks drift."""


class Player(Protocol):
    """What the same loop drives. ``position`` None: not begun."""

    position: float | None
    rate: float
    seeks: int

    def arrived(self, unit: Unit) -> None: ...

    def update(self, at: int) -> None: ...


class Ours:
    """The controller of sdp/consumer/playout.py."""

    def __init__(self) -> None:
        self.playout = Playout()
        self.position: float | None = None
        self.rate = 1.0

    @property
    def seeks(self) -> int:
        return self.playout.skips

    def arrived(self, unit: Unit) -> None:
        self.playout.arrived(unit.time, unit.at, duration=unit.duration, random_access=unit.random_access)

    def update(self, at: int) -> None:
        decision = self.playout.update(at)
        self.position, self.rate = decision.position, decision.rate


class Buffered:
    """A media element over a buffer: begins ``start`` behind its end, waits at its end, and adapts by a rule.

    What it knows of latency is how far the buffer's end is ahead (mpegts.js), or the wall clock against the stream's
    (dash.js, hls.js): ``base`` is the fastest arrival.
    """

    start = SECOND

    def __init__(self) -> None:
        self.position: float | None = None
        self.rate = 1.0
        self.seeks = 0
        self.stalls = 0
        self.end = 0
        self.first = 0
        self.base: int | None = None
        self._at = 0
        self._waiting = False

    def arrived(self, unit: Unit) -> None:
        if self.base is None:
            self.first = unit.time
        self.base = unit.at - unit.time if self.base is None else min(self.base, unit.at - unit.time)
        self.end = max(self.end, unit.time + unit.duration)

    def update(self, at: int) -> None:
        elapsed, self._at = at - self._at, at
        if self.base is None:
            return
        if self.position is None:
            if self.end - self.first >= self.start:
                self.position = float(self.end - self.start)
            return
        self.position += elapsed * self.rate
        if self.position >= self.end:
            self.position = float(self.end)
            self.stalls += not self._waiting
            self._waiting = True
        else:
            self._waiting = False
        self.adapt(at - self.base - self.position, self.end - self.position)

    def adapt(self, latency: float, buffered: float) -> None:
        raise NotImplementedError

    def seek(self, position: float) -> None:
        self.position = position
        self.seeks += 1
        self.rate = 1.0


class Dash(Buffered):
    """dash.js: liveDelay 1 s, liveCatchup with playbackRate 0.5 and maxDrift 12 s: a logistic curve of the distance;
    a change is made only where it is more than 0.02; no speeding up with less than half of the delay in the buffer."""

    target, most, drift = SECOND, 0.5, 12 * SECOND

    def adapt(self, latency: float, buffered: float) -> None:
        distance = latency - self.target
        if distance > self.drift:
            self.seek(self.end - self.target)
            return
        rate = 1 - self.most + 2 * self.most / (1 + math.exp(-5 * distance / SECOND))
        if rate > 1 and buffered < self.target / 2:
            rate = 1.0
        if abs(rate - self.rate) > 0.02:
            self.rate = rate


class Hls(Buffered):
    """hls.js: liveSyncDuration 1 s, liveMaxLatencyDuration 3 s, maxLiveSyncPlaybackRate 1.5: a logistic curve in steps
    of 0.05, above the target and with a second in the buffer only; each stall adds a second to the target."""

    base_target, longest, fastest = SECOND, 3 * SECOND, 1.5

    def adapt(self, latency: float, buffered: float) -> None:
        target = self.base_target + min(self.stalls, 4) * SECOND
        distance = latency - target
        if latency > self.longest + target - self.base_target:
            self.seek(max(self.position or 0.0, self.end - target))
        elif distance > 50 * MILLISECOND and buffered > SECOND:
            rate = round(2 / (1 + math.exp(-0.75 * distance / SECOND)) * 20) / 20
            self.rate = min(self.fastest, max(1.0, rate))
        else:
            self.rate = 1.0


class Mpegts(Buffered):
    """mpegts.js: liveSync (faster than 1.2 s: 1.2 times, until 0.8 s), and liveBufferLatencyChasing (past 1.5 s of
    buffer: to 0.5 s before its end)."""

    def adapt(self, latency: float, buffered: float) -> None:
        if buffered > 1_500 * MILLISECOND:
            self.seek(self.end - 500 * MILLISECOND)
        elif buffered > 1_200 * MILLISECOND:
            self.rate = 1.2
        elif buffered <= 800 * MILLISECOND:
            self.rate = 1.0


class Outcome(NamedTuple):
    """Delays in milliseconds, waiting in seconds."""

    median: float
    most: float
    stalls: int
    waiting: float
    seeks: int
    changes: float


def play(units: list[Unit], player: Player) -> Outcome:
    """Play a series, and tell what it was like after the first seconds."""
    delays, rates, held = [], [], []
    recent: deque[tuple[int, int]] = deque()
    due, before = CLOCK, None
    for unit in units:
        while due < unit.at:
            player.update(due)
            if player.position is not None and recent and due - CLOCK > WARM_UP:
                delays.append((due - min(recent)[0] - player.position) / 1000)
                rates.append(player.rate)
                held.append(before is not None and player.position <= before)
            before, due = player.position, due + INTERVAL
        player.arrived(unit)
        recent.append((unit.at - unit.time, unit.at))
        while recent[0][1] < unit.at - WINDOW:
            recent.popleft()
    ordered = sorted(delays)
    stalls = sum(b and not a for a, b in pairwise(held))
    changes = sum(a != b for a, b in pairwise(rates)) / (len(rates) * INTERVAL / 60 / SECOND)
    return Outcome(
        ordered[len(ordered) // 2],
        ordered[int(len(ordered) * 0.99)],
        stalls,
        sum(held) * INTERVAL / SECOND,
        player.seeks,
        changes,
    )


PLAYERS: dict[str, Callable[[], Player]] = {"SDP": Ours, "dash.js": Dash, "hls.js": Hls, "mpegts.js": Mpegts}


def cases(seconds: float) -> dict[str, list[Unit]]:
    """The same networks as in the controller's tests."""
    half = int(seconds / 2) * SECOND
    return {
        "steady, 1 ms": series(seconds, even(MILLISECOND)),
        "jitter, 20 ms": series(seconds, even(20 * MILLISECOND)),
        "bursts of 0.3 s": series(seconds, bursts(SECOND // 3)),
        "one stall of 3 s": series(seconds, outage(half, half + 3 * SECOND, MILLISECOND)),
        "a clock 0.1 % slow": series(seconds, even(MILLISECOND), drift=0.001),
        "a clock 0.1 % fast": series(seconds, even(MILLISECOND), drift=-0.001),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0)
    parser.add_argument("--rst", type=Path, help="write the table for the documentation")
    given = parser.parse_args()
    head = ("arrivals", "player", "delay p50", "delay p99", "stalls", "waiting", "seeks", "changes a minute")
    rows: list[tuple[str, ...]] = []
    for case, units in cases(given.seconds).items():
        for name, make in PLAYERS.items():
            one = play(units, make())
            rows.append(
                (case, name, f"{one.median:.1f}", f"{one.most:.1f}", str(one.stalls), f"{one.waiting:.1f} s",
                 str(one.seeks), f"{one.changes:.1f}")
            )  # fmt: skip
    for row in (head, *rows):
        print("".join(f"{cell:<20}" if place == 0 else f"{cell:>12}" for place, cell in enumerate(row)))
    if given.rst is not None:
        lines = [".. list-table::", "   :header-rows: 1", ""]
        for row in (head, *rows):
            lines += [f"   {'* ' if place == 0 else '  '}- {cell}" for place, cell in enumerate(row)]
        given.rst.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    main()
