"""A link as a model: when a piece of bytes that enters it comes out, in order, and whether more may enter. Pure.

A piece waits until those before it have been carried (at the rate that the trace allows then), then travels for the
delay and a chance share of the jitter; a chance few wait for as long as TCP would take to send them again, and hold up
what is behind them, as TCP does. While a link is stalled it carries nothing. Times are in seconds.
"""

from __future__ import annotations

from random import Random

import attrs

from sdp.lab.traces import capacity

__all__ = ["QUEUE", "Link", "LinkSpec"]

QUEUE = 64 * 1024
"""Bytes that may wait in a link before whoever sends is held back: a home router's buffer, not a data centre's."""

STEP = 0.005
"""How finely a trace is followed, in seconds."""

RETRANSMISSION = 0.2
"""How long a lost piece takes to be missed, beside the way there and back: the least time-out that Linux has (RFC 6298
asks for more)."""


@attrs.frozen(kw_only=True)
class LinkSpec:
    """What a link is like: bits a second (None: no bound), seconds, and the share of pieces that are lost once."""

    rate: int | None = None
    trace: str = "none"
    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    seed: int = 0


class Link:
    """One direction of one connection."""

    def __init__(self, spec: LinkSpec) -> None:
        self.spec = spec
        self.lost = 0
        """How many pieces had to be sent again."""
        self._capacity = capacity(spec.trace, spec.seed)
        self._chance = Random(spec.seed)
        self._free_at = 0.0
        self._last_out = 0.0
        self._stalled_until = 0.0
        self._carried: list[tuple[float, int]] = []

    def stall(self, now: float, seconds: float) -> None:
        """Carry nothing from ``now`` on for so long; what is on its way arrives."""
        self._stalled_until = max(self._stalled_until, now + seconds)
        self._free_at = max(self._free_at, self._stalled_until)

    def waiting(self, now: float) -> int:
        """Bytes that have entered and have not been carried yet."""
        self._carried = [each for each in self._carried if each[0] > now]
        return sum(size for _, size in self._carried)

    def has_room(self, now: float) -> bool:
        """Whether more may enter."""
        return self.waiting(now) < QUEUE

    def room_at(self, now: float) -> float:
        """When there will be room again, where nothing else enters."""
        self.waiting(now)
        left = sum(size for _, size in self._carried)
        for at, size in self._carried:
            if left < QUEUE:
                break
            left -= size
            now = at
        return now

    def enter(self, now: float, size: int) -> float:
        """Take ``size`` bytes; return when they come out."""
        spec = self.spec
        carried = self._carry(max(now, self._free_at, self._stalled_until), size)
        self._free_at = carried
        self._carried.append((carried, size))
        out = carried + spec.delay
        if spec.jitter:
            out += spec.jitter * self._chance.random()
        if spec.loss and self._chance.random() < spec.loss:
            self.lost += 1
            out += RETRANSMISSION + 2 * spec.delay
        self._last_out = max(self._last_out, out)
        return self._last_out

    def _carry(self, at: float, size: int) -> float:
        """When ``size`` bytes that begin to be carried at ``at`` have been."""
        rate = self.spec.rate
        if rate is None and self.spec.trace == "none":
            return at
        bits = size * 8.0
        mean = rate if rate is not None else 10_000_000
        while bits > 0:
            share = self._capacity(at)
            carried = share * mean * STEP
            if carried >= bits:
                return at + bits / (share * mean)
            bits -= carried
            at += STEP
        return at
