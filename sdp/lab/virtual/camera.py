"""The Origin in virtual time: pictures at their moments, packaged, logged and posted by the Origin's own parts."""

from __future__ import annotations

from functools import partial
from random import Random
from typing import Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall

from sdp.container.fragment_units import FragmentDemuxer
from sdp.lab.gathering import Captured, Passed
from sdp.lab.virtual.pictures import Pictures, read_number, track_of
from sdp.lab.virtual.watching import NAME, Quiet, client_factory, connecting_to
from sdp.lab.virtual.world import Place
from sdp.lab.way import Way
from sdp.media.packaging import packaging_for
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import Role
from sdp.observe import Point
from sdp.origin.capture import Capture
from sdp.origin.poster import Poster
from sdp.settings import seconds

__all__ = ["Camera"]

MEMORY: Final = 64 << 20
"""The Origin's own default."""

FIRST_RETRY: Final = 0.1
"""Seconds; the real engine gives its Origin the same as its longest."""


class Camera:
    """Draws a picture each frame's time, from ``start`` on, numbered on over restarts; ``pictures`` are all of them.

    ``posted`` is the Origin's trace.
    """

    def __init__(self, place: Place, server: str, way: Way, seed: int) -> None:
        self.posted: list[Passed] = []
        self._times: list[int] = []
        self._records: dict[int, tuple[int, int | None]] = {}
        """Of the picture of a number: when its record was there, and where that ends."""
        self._place = place
        self._server = server
        self._way = way
        self._coded = Pictures(way, seed)
        self._lives = 0
        self._next: IDelayedCall | None = None
        self._running: list[Deferred[None]] = []

    def start(self) -> None:
        """Begin, or begin anew after the place was killed: with an empty log, and with a key frame."""
        self._lives += 1
        way, place = self._way, self._place
        fragment = None if way.record == "frame" else seconds(way.fragment)
        packaging, self._gathering = packaging_for("mp4", [track_of(way)], fragment)
        self._capture = Capture(MEMORY, lambda: None, packaging.content_type)
        factory = client_factory(place, Role.ORIGIN)
        backoff = Backoff(Random(self._lives), first=FIRST_RETRY, most=FIRST_RETRY, jitter=0.0)
        poster = Poster(
            self._capture,
            factory.address.target,
            Attempts(connecting_to(place, self._server, factory), place, backoff, Quiet()),
            Quiet(),
            place,
            now=place.world.microseconds,
            trace=partial(self._note, self._lives),
        )
        self._capture.on_change = poster.wake
        running: Deferred[None] = Deferred.fromCoroutine(poster.run())
        running.addErrback(lambda failure: failure.trap(CancelledError))
        self._running.append(running)
        self._demuxer = FragmentDemuxer()
        for packed in packaging.begin():
            self._demuxer.feed(0, packed.data)
            self._capture.take(packed.data, packed.flags, packed.capture_time, place.world.microseconds())
        self._first = -(-len(self._times) // self._coded.group) * self._coded.group  # the next key frame's number
        self._times += [0] * (self._first - len(self._times))
        self._draw(self._first, place.seconds())

    def stop(self) -> None:
        """Draw and post nothing more."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        for running in self._running:
            running.cancel()

    def captured(self, number: int) -> int:
        """When the picture of that number was captured, in microseconds."""
        return self._times[number]

    @property
    def pictures(self) -> list[Captured]:
        """All that were captured, in order."""
        found = []
        for number, captured in enumerate(self._times):
            if captured:
                written, end = self._records.get(number, (None, None))
                found.append(Captured(number=number, captured=captured, encoded=captured, written=written, end=end))
        return found

    def _draw(self, number: int, began: float) -> None:
        place, now = self._place, self._place.world.microseconds()
        self._times.append(now)
        for packed in self._gathering.add(self._coded.picture(number), now):
            self._capture.take(packed.data, packed.flags, packed.capture_time, now)
            end = self._capture.log.end
            for unit in self._demuxer.feed(end - len(packed.data), packed.data):
                drawn = read_number(unit.data)
                if drawn is not None:
                    self._records[drawn] = now, end if self._lives == 1 else None
        elapsed = (number + 1 - self._first) / self._way.rate
        self._next = place.callLater(max(0.0, began + elapsed - place.seconds()), self._draw, number + 1, began)

    def _note(self, life: int, offset: int) -> None:
        if life == 1:  # a later life's log has other offsets
            self.posted.append(Passed(Point.POSTED, NAME, offset, None, self._place.world.microseconds()))
