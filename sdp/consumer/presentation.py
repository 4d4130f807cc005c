"""Decoded pictures on their way to the screen, in the order of their times: which one is due, and what became of all.
Pure.
"""

from __future__ import annotations

from bisect import insort
from typing import Final

import attrs

from sdp.media.decoding import Picture

__all__ = ["Account", "Presentation"]

EARLY: Final = 500
"""A picture is due so many microseconds before its time: no timer is more exact, and half a millisecond is unseen."""


@attrs.define
class Account:
    """What became of the pictures: every one that was decoded is in one of these, or still waits."""

    shown: int = 0
    late: int = 0
    """Of those shown: more than their own duration after their time."""
    dropped: int = 0
    """A newer one was due already."""
    passed: int = 0
    """Left out by a skip, or run through at the beginning."""


class Presentation:
    """Takes pictures as they are decoded, and gives the one that is due."""

    def __init__(self) -> None:
        self.account = Account()
        self._pictures: list[Picture] = []
        self._last: int | None = None
        """The time of the picture on the screen."""

    def __len__(self) -> int:
        return len(self._pictures)

    @property
    def blank(self) -> bool:
        """Whether nothing of this line of time has been shown."""
        return self._last is None

    @property
    def next_time(self) -> int | None:
        """When the next picture is due, on the stream's line."""
        return self._pictures[0].time if self._pictures else None

    def begin(self) -> None:
        """Another line of time begins; what was shown last stays on the screen."""
        self.account.passed += len(self._pictures)
        self._pictures.clear()
        self._last = None

    def add(self, picture: Picture) -> None:
        """A picture whose time is past that of the one shown is dropped: time goes forward only."""
        if self._last is not None and picture.time <= self._last:
            self.account.dropped += 1
            return
        insort(self._pictures, picture, key=lambda each: each.time)

    def leave_out(self, before: int) -> None:
        """A skip: what lies before this time is not shown."""
        kept = [picture for picture in self._pictures if picture.time >= before]
        self.account.passed += len(self._pictures) - len(kept)
        self._pictures = kept

    def due(self, position: float, *, running_through: bool = False) -> Picture | None:
        """The newest picture that is due, taken out; those before it are dropped, or passed while a start runs
        through what was sent to catch up. The first one of all is due at once."""
        pictures = self._pictures
        count = 0
        while count < len(pictures) and pictures[count].time <= position + EARLY:
            count += 1
        if not count:
            if self._last is not None or not pictures:
                return None
            count = 1
        picture = pictures[count - 1]
        del pictures[:count]
        account = self.account
        if running_through:
            account.passed += count - 1
        else:
            account.dropped += count - 1
        account.shown += 1
        lateness = position - picture.time
        if self._last is not None and not running_through and lateness > max(picture.duration, 1):
            account.late += 1
        self._last = picture.time
        return picture
