"""A few kept connections to one server, for requests that are short: each gets a connection to itself.

Who asks while all are busy waits for the next one that is free, in the order in which they came. A connection that
its peer closed while it idled is replaced without a word.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable

from twisted.internet.defer import Deferred

from sdp.net.client import Answer, ClientProtocol, Disconnected

__all__ = ["Pool"]


class Pool:
    """At most ``most`` connections, made by ``connect`` when they are needed."""

    def __init__(self, connect: Callable[[], Awaitable[ClientProtocol]], most: int) -> None:
        self._connect = connect
        self._most = most
        self._idle: list[ClientProtocol] = []
        self._count = 0
        self._waiting: deque[Deferred[None]] = deque()

    def __len__(self) -> int:
        """How many connections there are, or are on their way."""
        self._forget_unusable()
        return self._count + len(self._idle)

    async def fetch(
        self, method: bytes, target: bytes, headers: Iterable[tuple[bytes, bytes]], *, head_timeout: float | None = None
    ) -> Answer:
        """Ask, and return the whole answer. Raises an SDPError, Disconnected where no connection can be had."""
        lines = list(headers)
        await self._turn()
        try:
            while True:
                self._forget_unusable()
                kept = self._idle.pop() if self._idle else None
                client = kept if kept is not None else await self._connect()
                try:
                    return await client.fetch(method, target, lines, head_timeout=head_timeout)
                except Disconnected as error:
                    # A kept connection may have been closed while the request was on its way: a new one tells. One
                    # that was waited on in vain (504) has told already.
                    if kept is None or error.status == 504:
                        raise
                finally:
                    self._give_back(client)
        finally:
            self._count -= 1
            self._wake()

    async def _turn(self) -> None:
        while self._count >= self._most:
            waiting: Deferred[None] = Deferred(self._leave)
            self._waiting.append(waiting)
            await waiting
        self._count += 1

    def _leave(self, waiting: Deferred[None]) -> None:
        if waiting in self._waiting:
            self._waiting.remove(waiting)

    def _wake(self) -> None:
        if self._waiting:
            self._waiting.popleft().callback(None)

    def _give_back(self, client: ClientProtocol) -> None:
        if client.unanswered:  # given up in the midst of an answer
            client.abort()
        elif client.usable:
            self._idle.append(client)

    def _forget_unusable(self) -> None:
        self._idle = [client for client in self._idle if client.usable]

    def close(self) -> None:
        """Close what idles; what is busy ends with its answer."""
        idle, self._idle = self._idle, []
        for client in idle:
            client.close()
