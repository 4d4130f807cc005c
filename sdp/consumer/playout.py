"""When each picture and each sound is due: between the decoder's queue and the screen. Pure; time is handed in.

The controller is told of every unit (a picture, a packet of sound) as it arrives, and is asked now and then which
moment of the stream is to be presented. All times are microseconds: ``time`` on the stream's own line, ``at`` on any
clock of this machine that only goes forward. The browser's player follows the same rules, and the series in
tests/playout bind both. The rules, each with its constants below:

1. *Offset.* A unit's offset is ``at - time``. The offsets of the last WINDOW lie in buckets of BUCKET by arrival;
   a bucket keeps for each track the least and the greatest. A track's fastest offset is the least of its buckets. The
   **base** is the greatest of the tracks' fastest: a stream is as fast as its slowest track. What lies WINDOW back is
   forgotten, so that the base follows a source whose clock is not this machine's.
2. *Lateness* is offset less base, and 0 where that is negative. The **jitter** is the greatest lateness of all
   buckets; once there are LEFT_OUT_FROM of them, the greatest is left out: one bad moment within the window is an
   accident, two are the network's way.
3. *Delay* is how much later than by the fastest way a moment is presented: ``at - base - position``.
4. *Target.* A fixed one is what was asked for. ``auto`` wants jitter + MARGIN + jitter / MARGIN_PART (rounded down),
   between ``least`` and ``most``; it goes up to that at once, and down towards it by the part (elapsed / SHRINK).
   ``overhead``, what decoding and presenting take here, comes on top of either.
5. *Rate.* Within a band of target / BAND_PART (bounded by LEAST_BAND and MOST_BAND) around the target the rate is
   1. Outside it, error / PULL is added, rounded up to whole STEPs and at most MOST_STEPS either way, until the error is
   within a quarter of the band, or of the other sign: so it changes seldom, as sound likes it. While the
   position is held it is 1.
6. *Skip.* More than ``skip_after`` behind the target, with a random access point that arrived at least LEAST_GAIN
   after the position: go to the newest one. The position is then that point's or, where that is not due or not all
   here yet, the target's or the end: what was presented last stays until then.
7. *Hold.* The position never passes the end of what has arrived: of each track that got something within SILENT of
   the newest arrival. It waits there. Held for STALL the state is **stalled**; the arrival that goes past the position
   ends that, wherever the position then is: nothing is left out but by rule 6.
8. *Growth.* At a stall's end ``auto`` grows to the lateness of what ended it, with rule 4's margin, but at most to
   GROW_TIMES itself or GROW_LEAST more, whichever is the greater; without that bound where the stall before was less
   than AGAIN ago. What arrives within RECOVERY after a stall and is later than the target tells of the outage, not
   of jitter, and counts for no bucket.
9. *Start.* The first unit begins **starting**: the position is the target's at each update, so that what was sent to
   catch up is run through at once. A unit that is faster than all of its track before it, by more than SETTLED,
   empties that track's buckets: what came before was backlog. When none was for SETTLE, or after START_MOST, it is
   **playing**.
10. *Jump.* A unit whose offset is JUMP or more away from the base is of another time line: all begins anew.
"""

from __future__ import annotations

import math
from enum import Enum
from typing import Final, NamedTuple

import attrs

__all__ = ["Decision", "Playout", "Rules", "State"]

SECOND: Final = 1_000_000
WINDOW: Final = 10 * SECOND
BUCKET: Final = SECOND // 2
LEFT_OUT_FROM: Final = 16
MARGIN: Final = 1_000
MARGIN_PART: Final = 8
SHRINK: Final = 10 * SECOND
BAND_PART: Final = 5
LEAST_BAND: Final = 2_000
MOST_BAND: Final = 40_000
PULL: Final = 2 * SECOND
STEP: Final = 0.005
MOST_STEPS: Final = 10
LEAST_GAIN: Final = 200_000
SILENT: Final = SECOND
STALL: Final = 100_000
GROW_TIMES: Final = 2
GROW_LEAST: Final = 50_000
AGAIN: Final = 20 * SECOND
RECOVERY: Final = 2 * SECOND
SETTLED: Final = 5_000
SETTLE: Final = 250_000
START_MOST: Final = 2 * SECOND
JUMP: Final = 10 * SECOND


class State(Enum):
    """Where playing stands; the values are what the statistics and the shared series say."""

    WAITING = "waiting"
    """Nothing has arrived."""
    STARTING = "starting"
    PLAYING = "playing"
    STALLED = "stalled"


@attrs.frozen(kw_only=True)
class Rules:
    """What may be chosen, in microseconds. ``target`` None is ``auto``, between ``least`` and ``most``."""

    target: int | None = None
    least: int = 0
    most: int = 10 * SECOND
    skip_after: int = 500_000


class Decision(NamedTuple):
    """What is to be done now. ``position`` is None while waiting; ``skip`` is the time of the random access point to go
    on with, once, else None. ``target`` and ``delay`` are rule 3's and 4's, with the overhead."""

    state: State
    position: float | None
    rate: float
    target: float
    delay: float
    skip: int | None


class _Bucket:
    """One track's offsets of one half second: its number, the least and the greatest."""

    __slots__ = ("greatest", "least", "number")

    def __init__(self, number: int, offset: int) -> None:
        self.number = number
        self.least = self.greatest = offset


class _Offsets:
    """Rules 1 and 2: what the last WINDOW tells of the way here."""

    def __init__(self) -> None:
        self.tracks: dict[int, list[_Bucket]] = {}

    def add(self, track: int, at: int, offset: int) -> None:
        buckets = self.tracks.setdefault(track, [])
        number = at // BUCKET
        if not buckets or buckets[-1].number != number:
            buckets.append(_Bucket(number, offset))
            return
        last = buckets[-1]
        last.least, last.greatest = min(last.least, offset), max(last.greatest, offset)

    def faster(self, track: int, offset: int) -> bool:
        """Whether this unit is faster than all of its track before it (rule 9): then those are forgotten."""
        buckets = self.tracks.get(track, [])
        if buckets and offset >= min(bucket.least for bucket in buckets) - SETTLED:
            return False
        buckets.clear()
        return True

    def forget(self, at: int) -> None:
        """Drop what lies a window back; the newest bucket of all stays, for without a base nothing can be timed."""
        oldest = (at - WINDOW) // BUCKET
        newest = max((buckets[-1].number for buckets in self.tracks.values()), default=0)
        for track, buckets in list(self.tracks.items()):
            while buckets and buckets[0].number <= oldest and buckets[0].number < newest:
                del buckets[0]
            if not buckets:
                del self.tracks[track]

    @property
    def base(self) -> int:
        return max(min(bucket.least for bucket in buckets) for buckets in self.tracks.values())

    def jitter(self, base: int) -> int:
        worst: dict[int, int] = {}
        for buckets in self.tracks.values():
            for bucket in buckets:
                worst[bucket.number] = max(worst.get(bucket.number, 0), bucket.greatest - base)
        ordered = sorted(worst.values())
        return ordered[-2] if len(ordered) >= LEFT_OUT_FROM else ordered[-1]


class _Track(NamedTuple):
    """How far a track's units reach, and when the newest came."""

    end: int
    at: int


class Playout:
    """Decides what is due. :meth:`arrived` for every unit, :meth:`update` as often as something may be presented."""

    def __init__(self, rules: Rules | None = None) -> None:
        self.rules = rules if rules is not None else Rules()
        self.overhead = 0
        """What decoding and presenting take here, in microseconds: measured by the player, added to the target."""
        self.stalls = 0
        self.skips = 0
        self.line = 0
        """Which line of time this is: one more each time that all begins anew."""
        self._stalled_before: int | None = None
        self.reset()

    def reset(self) -> None:
        """Another time line begins: a new epoch, or a seek. What was learnt of stalls is kept."""
        self.line += 1
        self.state = State.WAITING
        self._offsets = _Offsets()
        self._tracks: dict[int, _Track] = {}
        self._point: int | None = None
        self._base = 0
        self._position = 0.0
        self._rate = 1.0
        self._auto = float(self.rules.least)
        self._updated: int | None = None
        self._began = self._fastest_at = 0
        self._pulling = 0
        self._held_since: int | None = None
        self._recovering_until: int | None = None

    # -- arrivals ----------------------------------------------------------------------------------------------

    def arrived(self, time: int, at: int, *, duration: int = 0, track: int = 0, random_access: bool = False) -> None:
        """A unit to be presented at ``time`` for ``duration`` was here ``at`` that moment."""
        offset = at - time
        if self.state is not State.WAITING and abs(offset - self._base) >= JUMP:
            self.reset()
        if self.state is State.WAITING:
            self.state = State.STARTING
            self._began = self._fastest_at = at
            self._base = offset
        elif self.state is State.STARTING and self._offsets.faster(track, offset):
            self._fastest_at = at
        if self.state is State.STALLED and time + duration > self._position:
            self._end_stall(at, offset - self._base)
        self._extend(track, time + duration, at)
        if random_access and (self._point is None or time > self._point):
            self._point = time
        outage = self._recovering_until is not None and at < self._recovering_until
        if not outage or offset - self._base <= self.target:
            self._offsets.add(track, at, offset)
            self._base = self._offsets.base

    def _extend(self, track: int, end: int, at: int) -> None:
        known = self._tracks.get(track)
        self._tracks[track] = _Track(end if known is None else max(known.end, end), at)

    def _end_stall(self, at: int, lateness: int) -> None:
        """Rule 8."""
        grown: float = _with_margin(max(0, lateness))
        before = self._stalled_before
        if before is None or at - before >= AGAIN:
            grown = min(grown, max(self._auto * GROW_TIMES, self._auto + GROW_LEAST))
        self._stalled_before = at
        self._auto = max(self._auto, min(grown, self.rules.most))
        self._recovering_until = at + RECOVERY
        self.state = State.PLAYING
        self._held_since = None

    # -- decisions ---------------------------------------------------------------------------------------------

    @property
    def target(self) -> float:
        """The delay that is aimed at, in microseconds over the fastest arrival."""
        return (self._auto if self.rules.target is None else self.rules.target) + self.overhead

    @property
    def begun(self) -> bool:
        """Whether anything of this line of time has arrived."""
        return bool(self._tracks)

    @property
    def end(self) -> int:
        """Up to where something of every track that goes on has arrived."""
        newest = max(track.at for track in self._tracks.values())
        return min(track.end for track in self._tracks.values() if newest - track.at <= SILENT)

    def update(self, at: int, position: float | None = None) -> Decision:
        """What to do ``at`` this moment, no earlier than the last one's. ``position`` is what is being presented, where
        the loudspeaker tells it; else it is reckoned from the rate."""
        if self.state is State.WAITING:
            return Decision(self.state, None, 1.0, self.target, 0.0, None)
        elapsed = 0 if self._updated is None else at - self._updated
        self._updated = at
        self._offsets.forget(at)
        self._base = self._offsets.base
        self._adapt(elapsed)
        due = at - self._base - self.target
        if self.state is State.STARTING:
            self._start(at, due)
            return self._decision(at)
        self._advance(at, self._position + elapsed * self._rate if position is None else position)
        skip = self._skip(due)
        self._pull(due - self._position)
        return self._decision(at, skip)

    def _decision(self, at: int, skip: int | None = None) -> Decision:
        return Decision(self.state, self._position, self._rate, self.target, at - self._base - self._position, skip)

    def _adapt(self, elapsed: int) -> None:
        """Rule 4."""
        rules = self.rules
        wanted = min(max(_with_margin(self._offsets.jitter(self._base)), rules.least), rules.most)
        if wanted >= self._auto:
            self._auto = float(wanted)
        else:
            self._auto -= (self._auto - wanted) * min(1.0, elapsed / SHRINK)

    def _start(self, at: int, due: float) -> None:
        """Rule 9."""
        self._position = min(due, self.end)
        if at - self._fastest_at >= SETTLE or at - self._began >= START_MOST:
            self.state = State.PLAYING

    def _advance(self, at: int, position: float) -> None:
        """Rule 7."""
        end = self.end
        if position < end:
            self._position = position
            self._held_since = None
            return
        self._position = max(self._position, end)
        if self._held_since is None:
            self._held_since = at
        elif at - self._held_since >= STALL and self.state is not State.STALLED:
            self.state = State.STALLED
            self.stalls += 1

    def _skip(self, due: float) -> int | None:
        """Rule 6."""
        point = self._point
        if point is None or due - self._position <= self.rules.skip_after or point - self._position < LEAST_GAIN:
            return None
        self._position = max(self._position, min(float(point), due, self.end))
        self._held_since = None
        self.skips += 1
        return point

    def _pull(self, error: float) -> None:
        """Rule 5. ``error`` is how far behind the target the position is; negative: ahead of it."""
        if self._held_since is not None:
            self._pulling, self._rate = 0, 1.0
            return
        band: float = min(max(self.target / BAND_PART, LEAST_BAND), MOST_BAND)
        if not self._pulling and abs(error) > band:
            self._pulling = 1 if error > 0 else -1
        elif self._pulling and error * self._pulling <= band / 4:
            self._pulling = 0
        steps = min(max(math.ceil(abs(error) / PULL / STEP), 1), MOST_STEPS)
        self._rate = 1.0 + self._pulling * steps * STEP


def _with_margin(jitter: int) -> int:
    return jitter + MARGIN + jitter // MARGIN_PART
