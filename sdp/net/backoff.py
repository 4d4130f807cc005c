"""How long to wait before the next attempt, so that a server that comes back is not met by everyone at once."""

from __future__ import annotations

from random import Random

import attrs

__all__ = ["Backoff"]


@attrs.define
class Backoff:
    """Delays in seconds that grow from ``first`` to ``most``, each shortened at random by up to ``jitter`` of it.

    The first delay after a success is ``first``, so that a broken connection is mended at once while a server
    that is gone is not hammered.
    """

    random: Random
    first: float = 0.1
    most: float = 10.0
    factor: float = 2.0
    jitter: float = 0.5
    failures: int = attrs.field(default=0, init=False)

    def next_delay(self) -> float:
        """Count a failure, and return how long to wait after it."""
        # The exponent is bounded because a float is.
        delay = min(self.most, self.first * self.factor ** min(self.failures, 64))
        self.failures += 1
        return delay * (1 - self.jitter * self.random.random())

    def succeeded(self) -> None:
        """Something was achieved: the next failure counts as the first."""
        self.failures = 0
