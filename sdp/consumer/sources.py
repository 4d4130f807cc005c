"""From where a copy's bytes may come: Distributors and relays of one stream, in the order of preference.

An epoch is the same bytes wherever it is held, so whoever is reached gives the next ones. What one of them has not got,
another one may have: only where all of them lack it, nobody has it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import attrs

from sdp.errors import Refusal, SDPError
from sdp.net.address import Address
from sdp.net.attempts import TryAgain
from sdp.net.client import ClientProtocol

__all__ = ["Source", "Sources"]


@attrs.define(eq=False)
class Source:
    """One of them. ``connect`` makes a connection to it."""

    address: Address
    connect: Callable[[], Awaitable[ClientProtocol]]
    by_name: bool = attrs.field(default=False, init=False)
    """The copy's epoch is not the current one there any more: it has to be asked for by its name."""
    lacks: str | None = attrs.field(default=None, init=False)
    """Why the copy's next byte is not to be had there, now or later."""


class Sources:
    """Chooses whom to connect to: the most preferred one first, and after a failure the next one."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = list(sources)
        self._at = 0
        self._next = 0

    @property
    def current(self) -> Source:
        return self._sources[self._at]

    @property
    def several(self) -> bool:
        return len(self._sources) > 1

    async def connect(self) -> ClientProtocol:
        """A connection to who is next. Raises what that one's ``connect`` does."""
        self._at = self._next
        self.move_on()
        return await self.current.connect()

    def gave(self) -> None:
        """The current one gives what is asked for. After it, the most preferred one is tried first."""
        for each in self._sources:
            each.lacks = None
        self._next = 0

    def move_on(self) -> None:
        """The next connection is to be made to the one after the current one."""
        self._next = (self._at + 1) % len(self._sources)

    def lack(self, why: str) -> SDPError:
        """The current one has not got what is asked for, and never will: what to raise, which is a Refusal once that is
        true of all of them."""
        self.current.lacks = why
        if all(each.lacks is not None for each in self._sources):
            return Refusal(410, "Gone", why)
        return TryAgain(why)

    def forget(self) -> None:
        """Another epoch is to be copied: what was known of the last one says nothing of it."""
        for each in self._sources:
            each.by_name, each.lacks = False, None
