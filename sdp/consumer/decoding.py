"""The decode thread: coded units in, pictures and sound out, in the order in which they came.

The way of a unit: reactor > queue > this thread > reactor. The thread waits for nothing but its queue; what it gives
back belongs to a line of time (``line``), so that what was decoded for a line that is over can be told, and dropped.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import NamedTuple

from sdp.container.units import MediaDescription, Unit
from sdp.errors import MediaError, SDPError
from sdp.media.decoding import Picture, Sound, SoundDecoder, VideoDecoder, decoder_for
from sdp.media.faults import import_av
from sdp.media.stamp import Stamp, read_stamp

__all__ = ["DecodeLoop", "Decoded", "monotonic"]

LOOKED_AT = 30
"""Where no picture bears a strip, so many pass before one is looked at again."""


class Decoded(NamedTuple):
    """What came of one unit; how long it took from :meth:`DecodeLoop.put` on, in microseconds."""

    line: int
    results: list[Picture | Sound]
    took: int


class _Tracks(NamedTuple):
    tracks: tuple[MediaDescription, ...]


class _Flush(NamedTuple):
    line: int


class _Coded(NamedTuple):
    unit: Unit
    put_at: int


def monotonic() -> int:
    """This machine's clock that only goes forward, in microseconds."""
    return time.monotonic_ns() // 1000


class DecodeLoop:
    """Decodes in a thread of its own. ``give`` is called in that thread with each Decoded, ``fail`` with what cannot be
    decoded at all; both hand over to where they are wanted."""

    def __init__(self, give: Callable[[Decoded], None], fail: Callable[[SDPError], None]) -> None:
        self._give = give
        self._fail = fail
        self._queue: SimpleQueue[_Tracks | _Flush | _Coded | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sdp decode", daemon=True)
        self._decoders: dict[int, VideoDecoder | SoundDecoder] = {}
        self._line = 0
        self._unread = 0
        self.damaged = 0

    def start(self) -> None:
        self._thread.start()

    def tracks(self, tracks: tuple[MediaDescription, ...]) -> None:
        """Decode these from now on, and no others."""
        self._queue.put(_Tracks(tracks))

    def flush(self, line: int) -> None:
        """What follows does not follow on what came before, and belongs to this line of time."""
        self._queue.put(_Flush(line))

    def put(self, unit: Unit) -> None:
        self._queue.put(_Coded(unit, monotonic()))

    def stop(self) -> None:
        """End the thread once it has done what it is at."""
        self._queue.put(None)

    @property
    def waiting(self) -> int:
        """How many units wait to be decoded."""
        return self._queue.qsize()

    # -- in the thread -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        with suppress(SDPError):  # told when there is something to decode
            import_av()  # takes some tenths of a second, for which the first picture need not wait
        while (work := self._queue.get()) is not None:
            try:
                self._do(work)
            except SDPError as error:
                self._fail(error)
                return
            except Exception as error:  # a fault of this program: whoever waits has to learn of it
                fault = MediaError(f"Decoding failed unexpectedly: {error!r}; please report this.")
                fault.__cause__ = error
                self._fail(fault)
                return

    def _do(self, work: _Tracks | _Flush | _Coded) -> None:
        if isinstance(work, _Coded):
            self._decode(work)
        elif isinstance(work, _Flush):
            self._line = work.line
            for decoder in self._decoders.values():
                decoder.flush()
        else:
            kept = {decoder.description: decoder for decoder in self._decoders.values()}
            self._decoders = {each.id: kept.get(each) or decoder_for(each) for each in work.tracks}

    def _decode(self, work: _Coded) -> None:
        decoder = self._decoders.get(work.unit.track)
        if decoder is None:
            return
        results: list[Picture | Sound] = [*decoder.decode(work.unit)]
        took, wall = monotonic() - work.put_at, time.time_ns() // 1000
        self.damaged = sum(each.damaged for each in self._decoders.values())
        for place, each in enumerate(results):
            if isinstance(each, Picture):
                results[place] = each._replace(stamp=self._stamp(each), decoded_at=wall)
        if results:
            self._give(Decoded(self._line, results, took))

    def _stamp(self, picture: Picture) -> Stamp | None:
        if self._unread >= LOOKED_AT and self._unread % LOOKED_AT:
            self._unread += 1
            return None
        luma = picture.frame.planes[0]
        stamp = read_stamp(memoryview(luma), picture.frame.width, picture.frame.height, luma.line_size)
        self._unread = 0 if stamp is not None else self._unread + 1
        return stamp
