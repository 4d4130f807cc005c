"""How far this machine's clock is from the Distributor's: asked at /-/time, bounded by the round trip. Pure.

A question that leaves at ``left`` and whose answer, ``theirs``, is here at ``back`` says that their clock is ahead by
``theirs - (left + back) / 2``, wrong by at most half the round trip. The quickest of the last QUESTIONS counts.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from sdp.errors import RemoteError

__all__ = ["ClockOffset", "Estimate"]

QUESTIONS: Final = 16
_LONGEST: Final = 20
"""Digits: microseconds since the Unix epoch have 16."""


class Estimate(NamedTuple):
    """Both in microseconds: add ``offset`` to this machine's clock to have the Distributor's, within ``error``."""

    offset: int
    error: int


class ClockOffset:
    """Gathers questions and answers; times are microseconds."""

    def __init__(self) -> None:
        self._known: deque[Estimate] = deque(maxlen=QUESTIONS)

    def answered(self, left: int, back: int, content: bytes) -> None:
        """An answer of /-/time. Raises RemoteError where it is none."""
        text = content.strip()
        if not text.isdigit() or len(text) > _LONGEST:
            raise RemoteError("The server does not tell its time: it is no SDP Distributor.")
        self._known.append(Estimate(int(text) - (left + back) // 2, max(0, back - left) // 2 + 1))

    @property
    def best(self) -> Estimate | None:
        """The one with the least error; None before the first answer."""
        return min(self._known, key=lambda each: each.error, default=None)
