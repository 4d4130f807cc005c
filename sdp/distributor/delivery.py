"""One consumer's answer, from its head to its end: a place in the log that moves to the live edge and stands there.

Catching up is a coroutine under flow control, since it is seldom; at the edge the fan-out's loop does the work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from enum import Enum, auto

import attrs

from sdp.distributor.backfill import BUSY_PACE, PACE, Backfill
from sdp.distributor.fanout import Counters, Fanout
from sdp.distributor.forms import Form
from sdp.distributor.reading import Missing, initialization, next_record, until_changed
from sdp.errors import Refusal, StorageError
from sdp.net.exchange import Answer, Exchange
from sdp.stream.catalog import Epoch
from sdp.stream.holes import Interval

__all__ = ["Delivery", "LagLimits", "OnHole", "OnLag", "send_interval"]


SLOW_BLOCK = 8 * 1024
"""How many bytes a consumer that could not take all of what it was sent before is sent at a time: what it costs while
it takes nothing. Parts are longer, since each says where it belongs."""


class OnLag(Enum):
    """What happens to a live answer whose lag passes the limit."""

    JUMP = auto()
    """It goes on at the newest random access point."""
    END = auto()
    """It ends at a record boundary, cleanly: the consumer asks again."""
    STAY = auto()
    """It was asked for bytes by their offsets, and gives them as long as they are held."""


class OnHole(Enum):
    """What happens to a live answer that comes to a hole."""

    PASS = auto()
    """It goes on behind the hole. A form that does not tell offsets does so only where a record ends before it."""
    END = auto()
    """It ends, cleanly: the consumer asks again."""


@attrs.frozen
class LagLimits:
    """How far a live consumer may lag: bytes, and the age in seconds of the first byte that it lacks."""

    size: int
    age: float


class Delivery:
    """A live answer. ``offset`` is the next byte to send, while it does not stand at the edge.

    ``sent_initialization`` is the offset of the initialization segment that the consumer has, or None. A ``lossless``
    one waits at a hole until that is filled, or the epoch has ended. ``changed`` waits for the log to change, so many
    seconds at most.
    """

    def __init__(
        self,
        exchange: Exchange,
        epoch: Epoch,
        form: Form,
        fanout: Fanout,
        *,
        offset: int,
        on_lag: OnLag,
        limits: LagLimits,
        now: Callable[[], int],
        sent_initialization: int | None,
        changed: Callable[[float], Awaitable[None]],
        on_hole: OnHole = OnHole.PASS,
        lossless: bool = False,
        backfill: Backfill | None = None,
    ) -> None:
        self.exchange = exchange
        self.outflow = exchange.channel.outflow
        self.epoch = epoch
        self.form = form
        self.offset = offset
        self.started_at = now()
        self.jumps = 0
        self._fanout = fanout
        self._on_lag = on_lag
        self._on_hole = on_hole
        self._lossless = lossless
        self._changed = changed
        self._held_up = False
        self._limits = limits
        self._now = now
        self._sent_initialization = sent_initialization
        self._run_start = offset
        self._backfill = backfill

    @property
    def _counters(self) -> Counters:
        return self._fanout.counters

    async def run(self, preface: bytes) -> None:
        """Send ``preface`` (encoded), then the log from ``offset`` on until its end, and finish the answer."""
        if preface:
            await self._write(preface)
        while await self._step():
            pass
        closing = self.form.closing()
        if closing:
            self.outflow.write(closing)
        self.exchange.finish()

    async def _step(self) -> bool:
        """Send a block, or stand at the edge until something happens. Return whether the answer goes on."""
        log = self.epoch.log
        available = self.form.available(log)
        if self.offset < available:
            stop = await self._keep_up(available)
            if stop == self.offset:
                return False
            if self._held_up and not self.form.tells_offsets:
                stop = min(stop, self.offset + SLOW_BLOCK)
            try:
                block, self.offset = await self.form.encode_from(self.epoch, self.offset, stop)
            except Missing as hole:
                return await self._at_hole(hole.end)
            except Refusal:
                return await self._lost_place()
            self._counters.bytes_sent += len(block)
            await self._write(block)
        elif log.finished and self._lacking is None:
            return False
        elif self.outflow.paused:
            await self.outflow.drained()
        elif self._backfill:
            await self._go_back(self._backfill)
        else:
            self._held_up = False
            await self._fanout.stand(self, self.form)
        return True

    @property
    def _lacking(self) -> Interval | None:
        """What the consumer lacks and is to be given next, as far as it is held."""
        return self._backfill.next(self.epoch.holes) if self._backfill else None

    async def _go_back(self, backfill: Backfill) -> None:
        """All that is live is sent: give of what is lacking, or wait for it."""
        lacking = self._lacking
        if self.outflow.unsent:
            # What the system holds back, because the way is slow, would hold up what is live as well.
            await self._changed(BUSY_PACE)
        elif lacking is None:
            await until_changed(self.epoch, self._changed)
        else:
            await self._fill(backfill, *lacking)

    async def _fill(self, backfill: Backfill, start: int, end: int) -> None:
        """Send a block of what is lacking, and wait a moment: for a live record, or for the next block."""
        try:
            block, stop = await self.form.encode_from(self.epoch, start, end)
        except Missing:
            await self._changed(PACE)  # a relay learns of its upstream's holes like this
            return
        except Refusal:
            first = self.epoch.first_offset
            backfill.forget(first if first > start else end)
            return
        except StorageError:
            backfill.give_up()
            return
        backfill.given(start, stop)
        self._counters.bytes_sent += len(block)
        await self._write(block)
        await self.outflow.drained()
        await self._changed(PACE)

    async def _write(self, data: bytes) -> None:
        if not self.outflow.write(data):
            self._held_up = True
            await self.outflow.drained()

    async def _keep_up(self, available: int) -> int:
        """Jump where the lag demands it. Return up to where may be sent now; ``offset`` itself to end the answer."""
        if self._on_lag is OnLag.STAY or not self._lags(available):
            return available
        target = self.epoch.join_point()
        if target is None or target.offset <= self.offset or self.offset < self.epoch.first_offset:
            return available
        boundary = await next_record(self.epoch, self.offset)
        if boundary != self.offset:
            # What has begun is completed first: a container cannot go on in the midst of a record.
            return available if boundary is None else min(boundary, available)
        if self._on_lag is OnLag.END:
            self._count_jump()
            return self.offset
        self._count_jump()
        await self._jump(target.offset)
        return self.form.available(self.epoch.log)

    async def _at_hole(self, end: int) -> bool:
        """What comes next is missing, up to ``end``. Return whether the answer goes on."""
        if self._lossless and not self.epoch.ended:
            await until_changed(self.epoch, self._changed)
            return True
        if self._on_hole is OnHole.END:
            return False
        if not self.form.tells_offsets and not self.epoch.ends_whole(self.offset):
            self.exchange.abort()
            return False
        await self._jump(end)
        return True

    async def _jump(self, offset: int) -> None:
        """Go on at a random access point, with the initialization segment before it where that is another one."""
        sent_from, sent_to = self._run_start, self.offset
        if self._backfill is not None:
            self._backfill.skipped(self.offset, offset)
        self._run_start = self.offset = offset
        before = await initialization(self.epoch, self.offset)
        if before is not None and before[0].offset not in (self._sent_initialization, self.offset):
            record, data = before
            self._sent_initialization = record.offset
            if sent_from <= record.offset and record.offset + len(data) <= sent_to:
                return  # it came along in the run that ends here
            if self._backfill is not None:
                self._backfill.given(record.offset, record.offset + len(data))
            await self._write(self.form.encode_bytes(record.offset, data, record))

    def _count_jump(self) -> None:
        self.jumps += 1
        self._counters.jumps += 1

    def _lags(self, available: int) -> bool:
        if available - self.offset > self._limits.size:
            return True
        arrival = self.epoch.log.arrival(self.offset)
        return arrival is not None and self._now() - arrival > self._limits.age * 1e6

    async def _lost_place(self) -> bool:
        """The bytes at the place are held no longer. Return whether the answer goes on: by a jump, where the form tells
        of it; else what was begun cannot be completed, and the connection closes."""
        target = self.epoch.join_point()
        if (
            self._on_lag is OnLag.JUMP
            and self.form.tells_offsets
            and target is not None
            and target.offset > self.offset
        ):
            self._count_jump()
            await self._jump(target.offset)
            return True
        self.exchange.abort()
        return False

    def lag_bytes(self, places: dict[int, int]) -> int:
        """How many bytes of the log are not on their way to this consumer yet."""
        return max(self.epoch.end - places.get(id(self), self.offset), 0)

    def lag_ms(self, places: dict[int, int]) -> float:
        """The age of the first byte that is not on its way to this consumer yet, in milliseconds; 0 at the edge."""
        arrival = self.epoch.log.arrival(places.get(id(self), self.offset))
        return 0.0 if arrival is None else max(self._now() - arrival, 0) / 1000


async def send_interval(
    exchange: Exchange, epoch: Epoch, form: Form, start: int, end: int, complete: int | None = None
) -> bool:
    """Send [start, end) of a log, all of which is there, under flow control. Return whether it could all be sent."""
    outflow = exchange.channel.outflow
    while start < end:
        if exchange.answer is Answer.DONE:
            return False
        try:
            block, start = await form.encode_from(epoch, start, end, complete)
        except Refusal:
            exchange.abort()
            return False
        if not outflow.write(block):
            await outflow.drained()
    return True
