"""Out of the source's thread, into the reactor's: records on their way to the capture, and never too many of them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition
from typing import Protocol as Shape

from zope.interface import implementer

from sdp.errors import SDPError
from sdp.interfaces import IRecordSink
from sdp.stream.record import Flag

__all__ = ["Inlet"]

IN_FLIGHT = 16 << 20
"""How many bytes may be between the threads before the source has to wait, whatever it is."""


class _Reactor(Shape):
    def callFromThread(self, callable: Callable[..., object], *args: object) -> object: ...


@implementer(IRecordSink)
class Inlet:
    """What a source gives its records to.

    ``take`` and ``end`` are called in the reactor's thread. While :meth:`hold` says so, or the reactor is busy with
    what it was given before, the source's thread waits; a live source then leaves frames out.
    """

    def __init__(
        self,
        reactor: _Reactor,
        take: Callable[[bytes, Flag, int | None], None],
        end: Callable[[SDPError | None], None],
    ) -> None:
        self._reactor = reactor
        self._take = take
        self._end = end
        self._changed = Condition()
        self._in_flight = 0
        self._held = False
        self._stopped = False

    # -- in the source's thread --------------------------------------------------------------------------------

    def record(self, data: bytes, flags: Flag, capture_time: int | None) -> bool:
        with self._changed:
            while (self._held or self._in_flight > IN_FLIGHT) and not self._stopped:
                self._changed.wait()
            self._in_flight += len(data)
        self._reactor.callFromThread(self._pass_on, data, flags, capture_time)
        return not self._stopped

    def ended(self, error: SDPError | None) -> None:
        self._reactor.callFromThread(self._end, error)

    # -- in the reactor's thread -------------------------------------------------------------------------------

    def _pass_on(self, data: bytes, flags: Flag, capture_time: int | None) -> None:
        with self._changed:
            self._in_flight -= len(data)
            self._changed.notify()
        self._take(data, flags, capture_time)

    def hold(self, held: bool) -> None:
        """Let the source wait, or go on."""
        if held is not self._held:
            with self._changed:
                self._held = held
                self._changed.notify()

    def stop(self) -> None:
        """Let it wait no more: it is about to end."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
