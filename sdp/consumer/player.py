"""The player's middle: pieces in, pictures and sound out, each when the playout controller says.

The way of a byte: LiveFetch > demuxer > decode thread > :class:`Presentation` > screen. All but the decoding happens in
the reactor's thread, in steps that are short beside a frame's time. What is presented, and when, is decided by
:class:`~sdp.consumer.playout.Playout`; here its decisions are carried out, and accounted for.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final
from typing import Protocol as Shape

from sdp.consumer.decoding import Decoded, DecodeLoop, monotonic
from sdp.consumer.listening import Listening
from sdp.consumer.offset import ClockOffset
from sdp.consumer.playout import Decision, Playout, State
from sdp.consumer.presentation import Presentation
from sdp.consumer.report import Report
from sdp.consumer.timeshift import ShiftedPlayout
from sdp.container.demuxing import demuxer_for
from sdp.container.units import Demuxer, MediaDescription, Unit
from sdp.errors import SDPError
from sdp.media.decoding import Picture, Sound
from sdp.net.fetch import Piece
from sdp.observe import Point, Trace

__all__ = ["Clock", "Pace", "Player", "Screen", "Shown"]

Pace = Playout | ShiftedPlayout

AHEAD: Final = 500_000
"""How far ahead of what is presented is decoded, in microseconds: decoded pictures are large."""
LEAST_WAIT: Final = 0.0005
MOST_WAIT: Final = 0.05
"""Seconds between two looks at the clock, at the most: a stall shows itself by nothing but time."""
SOUND_WAIT: Final = 0.005
"""The same where a loudspeaker has to be fed."""
MARGIN: Final = 500
"""Microseconds between a picture's being decoded and its being due: what the way to the reactor's thread may take."""


Shown = Callable[[Picture, int, int], None]
"""Called in any thread once a picture is presented, with the time by the monotonic clock and since the Unix epoch."""


class Screen(Shape):
    """Where pictures are shown. Called in the reactor's thread."""

    @property
    def unseen(self) -> int:
        """How many pictures newer ones have overtaken before they could be seen."""

    def show(self, picture: Picture, shown: Shown) -> None: ...


class Clock:
    """Both of this machine's clocks, in microseconds."""

    def monotonic(self) -> int:
        return monotonic()

    def wall(self) -> int:
        return time.time_ns() // 1000


class Player:
    """Plays what :meth:`take` is given. ``fail`` is called once, with what makes playing impossible."""

    def __init__(
        self,
        playout: Pace,
        reactor: Any,
        screen: Screen | None,
        listening: Listening | None,
        fail: Callable[[SDPError], None],
        *,
        kinds: frozenset[str] = frozenset({"video", "audio"}),
        clock: Clock | None = None,
        trace: tuple[Trace, str] | None = None,
    ) -> None:
        self.playout: Pace = playout
        self.presentation = Presentation()
        self.offset = ClockOffset()
        self.report = Report(self)
        self.listening = listening
        self.decision: Decision | None = None
        self.tracks: tuple[MediaDescription, ...] = ()
        self.clock = clock or Clock()
        self.screen = screen
        self.paused = False
        self._reactor = reactor
        self._fail = fail
        self._kinds = kinds
        self._trace = trace
        self._decoding = DecodeLoop(
            lambda decoded: reactor.callFromThread(self._decoded, decoded),
            lambda error: reactor.callFromThread(fail, error),
        )
        self._demuxer: Demuxer | None = None
        self._head = b""
        self._next = 0
        """The offset that follows on what came last."""
        self._waiting: deque[Unit] = deque()
        """Units that are not to be decoded yet."""
        self.waiting_bytes = 0
        self._line = 0
        self._wake: Any = None
        self._running = False

    # -- life --------------------------------------------------------------------------------------------------

    def start(self) -> None:
        self._running = True
        self._decoding.start()
        self._tick()

    def stop(self) -> None:
        self._running = False
        self._decoding.stop()
        if self._wake is not None and self._wake.active():
            self._wake.cancel()

    def begin(self, playout: Pace | None = None) -> None:
        """Another line of time begins, under ``playout`` where one is given: an epoch, or a place to go on at. What was
        shown last stays."""
        if playout is not None:
            self.playout = playout
        else:
            self.playout.reset()
        self._demuxer, self._head = None, b""
        self._new_line()

    def _new_line(self) -> None:
        self._waiting.clear()
        self.waiting_bytes = 0
        self._line += 1
        self._decoding.flush(self._line)
        self.presentation.begin()
        if self.listening is not None:
            self.listening.begin()

    @property
    def drained(self) -> bool:
        """Whether all that has arrived has been presented."""
        return not self._waiting and not self._decoding.waiting and not len(self.presentation)

    # -- what arrives ------------------------------------------------------------------------------------------

    def take(self, piece: Piece) -> None:
        """Bytes of the stream, with what was said of their record."""
        at = self.clock.monotonic()
        self.report.received(at, len(piece.data))
        if self._trace is not None:
            self._trace[0](Point.FETCHED, self._trace[1], piece.offset + len(piece.data))
        try:
            if self._demuxer is None:
                self._head += piece.data
                self._demuxer = demuxer_for(self._head)
                if self._demuxer is None:
                    return
                data, self._head = self._head, b""
                offset = piece.offset + len(piece.data) - len(data)
            else:
                data, offset = piece.data, piece.offset
                if offset != self._next:
                    self._decoding.flush(self._line)
            self._next = offset + len(data)
            units = self._demuxer.feed(offset, data, piece.capture_time)
        except SDPError as error:
            self._fail(error)
            return
        tracks = self._demuxer.tracks
        if tracks is not None and tracks != self.tracks:
            self._choose(tracks)
        for unit in units:
            self._arrived(unit, at)
        if units:
            self._decode_ahead()

    def _choose(self, tracks: tuple[MediaDescription, ...]) -> None:
        """The first track of each kind that is wanted."""
        self.tracks = tracks
        chosen = [next((each for each in tracks if each.kind == kind), None) for kind in ("video", "audio")]
        self._chosen = {each.id: each for each in chosen if each is not None and each.kind in self._kinds}
        if not self._chosen:
            self._fail(SDPError("The stream has nothing of what is to be played: leave --no-video or --no-audio out."))
        self._leader = next(iter(self._chosen), 0)
        self._decoding.tracks(tuple(self._chosen.values()))

    def _arrived(self, unit: Unit, at: int) -> None:
        if unit.track not in self._chosen:
            return
        line = self.playout.line
        self.playout.arrived(
            unit.time,
            at,
            duration=unit.duration,
            track=unit.track,
            random_access=unit.sync and unit.track == self._leader,
        )
        if self.playout.line != line:
            self._new_line()
        self._waiting.append(unit)
        self.waiting_bytes += len(unit.data)

    def _decode_ahead(self) -> None:
        """Give the decoder what is due soon; all of it, where that is not known yet."""
        waiting, position = self._waiting, None if self.decision is None else self.decision.position
        until = None if position is None or self.playout.state is State.STARTING else position + AHEAD
        while waiting and (until is None or waiting[0].time <= until):
            unit = waiting.popleft()
            self.waiting_bytes -= len(unit.data)
            self._decoding.put(unit)

    # -- what is decoded ---------------------------------------------------------------------------------------

    def _decoded(self, decoded: Decoded) -> None:
        if decoded.line != self._line or not self._running:
            return
        for each in decoded.results:
            if isinstance(each, Sound):
                if self.listening is not None:
                    self.listening.add(each)
                continue
            self.report.decoded(each, decoded.took)
            if self._trace is not None:
                self._trace[0](Point.DECODED, self._trace[1], each.offset, at=each.decoded_at)
            self.presentation.add(each)
        self._tick()

    # -- what is due -------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Present what is due, and come back when something else is."""
        if not self._running:
            return
        at = self.clock.monotonic()
        listening = self.listening
        self._set_overhead()
        if self.paused:
            self._come_back(MOST_WAIT)
            return
        decision = self.decision = self.playout.update(at, None if listening is None else listening.position(at))
        if decision.skip is not None and decision.position is not None:
            self._skip(decision.skip, decision.position)
        if decision.position is None:
            self._come_back(MOST_WAIT)
            return
        self._decode_ahead()
        picture = self.presentation.due(decision.position, running_through=decision.state is State.STARTING)
        if picture is not None:
            self._show(picture)
        if listening is not None:
            listening.feed(decision, at)
        self._come_back(self._until_next(decision))

    def _set_overhead(self) -> None:
        took = self.report.decode_time
        overhead = 0 if took is None else took + MARGIN
        if self.listening is not None and self.listening.wanted:
            overhead += self.listening.ahead
        self.playout.overhead = overhead

    def _until_next(self, decision: Decision) -> float:
        """Seconds until there may be something to do."""
        most = SOUND_WAIT if self.listening is not None and self.listening.wanted else MOST_WAIT
        due = self.presentation.next_time
        if due is None or decision.position is None:
            return most
        return min(most, max(LEAST_WAIT, (due - decision.position) / decision.rate / 1_000_000))

    def _come_back(self, seconds: float) -> None:
        if self._wake is not None and self._wake.active():
            self._wake.reset(seconds)
        else:
            self._wake = self._reactor.callLater(seconds, self._tick)

    def _skip(self, point: int, position: float) -> None:
        """Go on at a random access point: what lies before it is not decoded, not shown and not heard."""
        kept = deque(unit for unit in self._waiting if unit.time >= point or unit.track != self._leader)
        self._waiting = kept
        self.waiting_bytes = sum(len(unit.data) for unit in kept)
        self.presentation.leave_out(point)
        if self.listening is not None:
            self.listening.leave_out(position)

    def _show(self, picture: Picture) -> None:
        if self.screen is not None:
            self.screen.show(picture, self._shown_elsewhere)
        else:
            self._shown(picture, self.clock.monotonic(), self.clock.wall())

    def _shown_elsewhere(self, picture: Picture, at: int, wall: int) -> None:
        """The screen's thread has presented it."""
        self._reactor.callFromThread(self._shown, picture, at, wall)

    def _shown(self, picture: Picture, at: int, wall: int) -> None:
        self.report.presented(picture, at, wall)
        if self._trace is not None:
            self._trace[0](Point.PRESENTED, self._trace[1], picture.offset, at=wall)
