"""Where streams stand at the first process: asked once for all who want to know it at the same time.

Each answer has to have been asked for after whoever wants it came: a client that has posted must see that in its next
GET. So who comes while a question is out waits for the next one, and shares it with all who came meanwhile.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sdp.distributor.upstream import Told

__all__ = ["Looks"]

Waiting = list[Deferred[Told]]


class Looks:
    """Asks by ``look``, which raises an SDPError where there is no answer: all who share it are told."""

    def __init__(self, look: Callable[[str], Awaitable[Told]]) -> None:
        self._look = look
        self._next: dict[str, Waiting] = {}
        """Of each stream about which a question is out: who waits for the next one."""

    def ask(self, name: str) -> Deferred[Told]:
        """Fire with what the first process says from now on. It may be cancelled."""
        waiting: Deferred[Told] = Deferred()
        following = self._next.get(name)
        if following is not None:
            following.append(waiting)
        else:
            self._go(name, [waiting])
        return waiting

    def _go(self, name: str, asking: Waiting) -> None:
        self._next[name] = []
        work: Deferred[Told] = Deferred.fromCoroutine(self._run(name))
        work.addBoth(lambda result: self._answered(name, asking, result))

    async def _run(self, name: str) -> Told:
        return await self._look(name)

    def _answered(self, name: str, asking: Waiting, result: Told | Failure) -> None:
        following = [each for each in self._next.pop(name) if not each.called]
        if following:
            self._go(name, following)
        for each in asking:
            if not each.called:
                each.callback(result)
