"""One timer for deadlines that move with each byte: it is set anew only when it has gone off, or must sooner."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

__all__ = ["Deadline", "Watch"]

Deadline = tuple[float, str]
"""When it has been waited for long enough, by the clock's seconds, and for what."""


class Watch:
    """Calls ``expired`` with what was waited for in vain.

    ``deadline`` says what holds at the moment; None is no deadline, until :meth:`look` is called again.
    """

    def __init__(
        self, clock: IReactorTime, deadline: Callable[[], Deadline | None], expired: Callable[[str], None]
    ) -> None:
        self._clock = clock
        self._deadline = deadline
        self._expired = expired
        self._timer: IDelayedCall | None = None

    def look(self) -> None:
        """See to it that somebody looks at the clock no later than at the deadline."""
        deadline = self._deadline()
        if deadline is None:
            return
        if self._timer is not None:
            if self._timer.getTime() <= deadline[0]:
                return
            self._timer.cancel()
        self._timer = self._clock.callLater(max(0.0, deadline[0] - self._clock.seconds()), self._look_at_clock)

    def stop(self) -> None:
        """Nothing is waited for any more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _look_at_clock(self) -> None:
        self._timer = None
        deadline = self._deadline()
        if deadline is not None and self._clock.seconds() >= deadline[0]:
            self._expired(deadline[1])
        else:
            self.look()
