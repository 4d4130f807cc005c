"""What a Distributor tells of a stream's way through it, where a trace was asked for.

An epoch is entered > its log, its fan-out and its recording are listened to > the trace. An epoch that is not traced
has no listener more: tracing that is off costs nothing at the live edge.
"""

from __future__ import annotations

from sdp.distributor.fanout import Fanout
from sdp.observe import Point, Trace
from sdp.stream.catalog import Epoch

__all__ = ["EpochTrace"]


class EpochTrace:
    """One epoch's points. ``arrives`` is how its bytes come here: received from who posts, or fetched by a relay."""

    def __init__(self, trace: Trace, epoch: Epoch, fanout: Fanout, arrives: Point) -> None:
        self._trace = trace
        self._epoch = epoch
        self._stream = f"{epoch.name}@{epoch.id}"
        self._arrives = arrives
        self._end = self._given_to = epoch.end
        self._durable = epoch.durable_offset or 0
        # Before the fan-out, whose listener gives the bytes out: what is told here took place before that.
        epoch.log.listeners.insert(0, self._appended)
        fanout.on_given = self._given

    def _appended(self) -> None:
        log = self._epoch.log
        if log.end > self._end:
            self._end = log.end
            self._trace(self._arrives, self._stream, log.end, at=log.arrival(log.end - 1))
            self._trace(Point.APPENDED, self._stream, log.end)

    def _given(self, offset: int) -> None:
        if offset <= self._given_to:
            return  # those of another form have not been given it yet
        self._given_to = offset
        self._trace(Point.FANNED_OUT, self._stream, offset)

    def stored(self) -> None:
        """The disk has more: told where that is durable."""
        durable = self._epoch.durable_offset
        if durable is not None and durable > self._durable:
            self._durable = durable
            self._trace(Point.DURABLE, self._stream, durable)
