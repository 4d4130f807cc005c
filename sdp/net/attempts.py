"""Connections one after another, until what they are for is done: patient, and visibly so."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol as Shape
from typing import TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from sdp.errors import ProtocolError, RemoteError
from sdp.net.backoff import Backoff
from sdp.net.client import ClientProtocol, Disconnected, Retired

__all__ = ["Attempts", "Tell", "TryAgain"]

Result = TypeVar("Result")

SAY_AGAIN_AFTER = 5.0
"""The same sentence is told no more often than this, in seconds."""


class Tell(Shape):
    """Where the operator reads of what happens: one line each (a Logger is one)."""

    def info(self, format: str, **values: object) -> None: ...

    def warn(self, format: str, **values: object) -> None: ...


class TryAgain(RemoteError):
    """This connection is of no more use; another one may be, ``after`` seconds at the least."""

    def __init__(self, detail: str, *, status: int | None = None, after: float = 0.0) -> None:
        super().__init__(detail, status=status)
        self.after = after


class Attempts:
    """Gives each new connection to a session, until a session returns or raises what no connection will mend.

    Whoever achieves something says so by ``backoff.succeeded()``. A run is stopped by cancelling it.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[ClientProtocol]],
        clock: IReactorTime,
        backoff: Backoff,
        tell: Tell,
    ) -> None:
        self.backoff = backoff
        self._connect = connect
        self._clock = clock
        self._tell = tell
        self._said = ""
        self._said_at = float("-inf")

    async def run(self, session: Callable[[ClientProtocol], Awaitable[Result]]) -> Result:
        """Return what ``session`` returns at last. Raises what no other connection will mend."""
        while True:
            try:
                client = await self._connect()
                try:
                    return await session(client)
                finally:
                    client.close()
                    if client.unanswered:
                        client.abort()
            except Retired:
                delay = self.backoff.first
            except TryAgain as error:
                delay = max(error.after, self.backoff.next_delay())
                self._say(error.detail)
            except (Disconnected, ProtocolError) as error:
                delay = self.backoff.next_delay()
                self._say(error.detail)
            await deferLater(self._clock, delay)

    def _say(self, detail: str) -> None:
        now = self._clock.seconds()
        if detail != self._said or now - self._said_at >= SAY_AGAIN_AFTER:
            self._said, self._said_at = detail, now
            self._tell.warn("{detail}; trying again.", detail=detail.rstrip("."))
