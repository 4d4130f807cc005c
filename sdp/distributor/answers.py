"""Answers to GET and HEAD of a stream: by what the consumer has, by Range, or plainly.

Each is a coroutine that decides where the answer begins and how its content is framed, and then hands over to a
:class:`~sdp.distributor.delivery.Delivery` for what is live, or sends an interval that is there already.
"""

from __future__ import annotations

from collections.abc import Mapping

from twisted.internet.interfaces import IReactorTime

from sdp.distributor.admission import Admission
from sdp.distributor.asking import Ask, behind_hole, check_possessed, holds, live_start, missing
from sdp.distributor.backfill import Backfill
from sdp.distributor.conditions import matches, names
from sdp.distributor.delivery import Delivery, LagLimits, OnHole, OnLag, send_interval
from sdp.distributor.forms import Form, Parts, Raw, time_lines
from sdp.distributor.posting import unsatisfied
from sdp.distributor.reading import Missing, arrival, gone, initialization, join_point, playable, written
from sdp.distributor.streams import Streams
from sdp.distributor.timeshift import point_at
from sdp.errors import Refusal
from sdp.http1.fields import parse_entity_tags
from sdp.http1.multipart import PART_END, closing, part_head
from sdp.http1.ranges import MAX_LAST, format_content_range, resolve
from sdp.net.exchange import Answer, Exchange, Framing
from sdp.stream.catalog import Epoch
from sdp.stream.holes import Interval, held_until
from sdp.stream.record import Record

__all__ = ["Answers"]

Lines = list[tuple[bytes, bytes]]
Initialization = tuple[Record, bytes]

POLL_LIMIT = 8 * 1024 * 1024
"""The most that one long poll's multipart answer carries, in bytes; the next request gets what follows."""


def _adjoins(before: Initialization, start: int) -> bool:
    """Whether an initialization segment ends where the rest begins: then one range can name both."""
    record, data = before
    return record.offset + len(data) == start


def _respond_alone(exchange: Exchange, lines: Lines, before: Initialization) -> None:
    """Answer with the initialization segment alone: what follows does not follow on, so the consumer asks again."""
    record, data = before
    content_range = format_content_range(record.offset, record.offset + len(data) - 1, None)
    exchange.respond(206, [*lines, (b"Content-Range", content_range)], data)


def _lossless(epoch: Epoch, ask: Ask) -> bool:
    """Whether nothing is to be skipped: where it is asked for, and there is a disk to serve it from."""
    return ask.lossless and epoch.recorded


def _applied(epoch: Epoch, ask: Ask, *others: bytes) -> Lines:
    """The line that says which preferences are heeded (RFC 7240 section 3): ``others``, and to be lossless."""
    applied = [*others, *([b"lossless"] if _lossless(epoch, ask) else [])]
    return [(b"Preference-Applied", b", ".join(applied))] if applied else []


def _up_to_holes(epoch: Epoch, intervals: list[Interval]) -> list[Interval]:
    """Return of each interval what comes before the first hole in it. Refusal 416 where that is nothing."""
    held = [(start, held_until(epoch.holes, start, end)) for start, end in intervals]
    given = [(start, end) for start, end in held if start < end]
    if not given:
        start = intervals[0][0]
        raise Missing(epoch, start, behind_hole(epoch, start))
    return given


class Answers:
    """Makes the answers of one Distributor. ``boundary`` is that of all its multipart contents."""

    def __init__(self, streams: Streams, clock: IReactorTime, boundary: bytes, common: Lines) -> None:
        self._streams = streams
        self._clock = clock
        self._boundary = boundary
        self._common = common
        # One object for each wire form: consumers of the same one share what is framed.
        self._raw = {False: Raw(chunked=False), True: Raw(chunked=True)}
        self._parts = {False: Parts(boundary, chunked=False), True: Parts(boundary, chunked=True)}
        settings = streams.settings
        self._limits = LagLimits(settings.lag_bytes, settings.lag_seconds)
        self._admission = Admission(clock)

    async def answer(self, exchange: Exchange, epoch: Epoch, ask: Ask) -> None:
        """Answer a GET or HEAD of ``epoch``. Refusal 410, 412, 416."""
        if not epoch.ended and exchange.request.method == b"GET":
            turn = self._admission.enter(exchange.channel.outflow)
            if turn is not None:
                await turn
        if not matches(ask.tags, epoch):
            raise Refusal(412, "Another epoch", f'If-Match names another epoch; the current one is "{epoch.id}".')
        if epoch.ended and names(ask.unwanted, epoch):
            exchange.respond(304, self._lines(epoch, live=False))
            return
        await written(epoch)
        head_only = exchange.request.method == b"HEAD"
        if ask.possessed is not None and not head_only:
            check_possessed(ask.possessed, epoch)
            if epoch.ended:
                await self._lacking(exchange, epoch, ask, ask.possessed)
            elif ask.wait is not None:
                await self._poll(exchange, epoch, ask, ask.possessed, ask.wait)
            else:
                await self._live(exchange, epoch, ask, ask.possessed)
        elif ask.at is not None:
            await self._shifted(exchange, epoch, ask.at)
        elif ask.ranges is not None and self._range_applies(exchange, epoch, ask):
            await self._by_range(exchange, epoch, ask)
        elif epoch.ended:
            await self._whole(exchange, epoch)
        elif head_only:
            first = (b"First-Offset", b"%d" % epoch.first_offset)
            exchange.start(200, [*self._lines(epoch, live=True), first], None)
        else:
            await self._plain(exchange, epoch, ask)

    # -- heads -------------------------------------------------------------------------------------------------

    def _lines(self, epoch: Epoch, *, live: bool, multipart: bool = False, ranges: bytes = b"bytes") -> Lines:
        lines = [*self._common, *self._streams.stream_lines(epoch)]
        content_type = epoch.content_type.encode("latin-1")
        if multipart:
            content_type = b"multipart/byteranges; boundary=" + self._boundary
        lines.append((b"Content-Type", content_type))
        lines.append((b"Cache-Control", b"no-store") if live else (b"Accept-Ranges", ranges))
        return lines

    def _empty_lines(self, epoch: Epoch) -> Lines:
        return [*self._common, *self._streams.stream_lines(epoch), (b"Cache-Control", b"no-store")]

    # -- plainly -----------------------------------------------------------------------------------------------

    async def _plain(self, exchange: Exchange, epoch: Epoch, ask: Ask) -> None:
        await self._first_bytes(epoch)
        start = join_point(epoch)
        before = await initialization(epoch, start)
        framing = exchange.start(200, [*self._lines(epoch, live=True), *_applied(epoch, ask)], None)
        await self._deliver(exchange, epoch, self._raw, framing, start, before, lossless=_lossless(epoch, ask))

    async def _shifted(self, exchange: Exchange, epoch: Epoch, time: int) -> None:
        """From the random access point at a time on, without a gap, with what decoding needs before it."""
        head_only = exchange.request.method == b"HEAD"
        if not head_only:
            await self._first_bytes(epoch)
        point = await point_at(epoch, time)
        start = join_point(epoch) if point is None else point.offset
        before = await initialization(epoch, start)
        told = [] if point is None else time_lines(point)
        # Of this content, which is not all of the epoch, no ranges are given: an offset in it is none in the log.
        lines = [*self._lines(epoch, live=not epoch.ended, ranges=b"none"), *told]
        if not epoch.ended:
            framing = exchange.start(200, lines, None)
            await self._deliver(exchange, epoch, self._raw, framing, start, before, OnLag.STAY)
            return
        await self._send_playable(exchange, epoch, lines, start, before)

    async def _send_playable(
        self, exchange: Exchange, epoch: Epoch, lines: Lines, start: int, before: Initialization | None
    ) -> None:
        """What an ended epoch holds from ``start`` on, behind what decoding needs."""
        runs = await playable(epoch, start)
        preface = b"" if before is None or before[0].offset + len(before[1]) > start else before[1]
        exchange.start(200, lines, len(preface) + sum(end - begin for begin, end in runs))
        if exchange.request.method == b"HEAD":
            return
        exchange.channel.outflow.write(preface)
        for begin, end in runs:
            if exchange.answer is Answer.DONE or not await send_interval(exchange, epoch, self._raw[False], begin, end):
                return
        if exchange.answer is not Answer.DONE:
            exchange.finish()

    async def _first_bytes(self, epoch: Epoch) -> None:
        """Wait until the first bytes have told an undeclared media type: the head has to name it."""
        while epoch.declared_type is None and epoch.log.known == 0 and not epoch.ended:
            await self._streams.change(epoch, float("inf"))

    async def _whole(self, exchange: Exchange, epoch: Epoch) -> None:
        """The recording of an ended epoch, or what retention has left of it."""
        first, end = epoch.first_offset, epoch.end
        if epoch.holes:
            # An offset in this content is none in the log.
            lines = [*self._lines(epoch, live=False, ranges=b"none"), (b"First-Offset", b"%d" % first)]
            before = await initialization(epoch, first) if first > 0 else None
            await self._send_playable(exchange, epoch, lines, first, before)
            return
        lines = self._lines(epoch, live=False)
        if first == end > 0:
            # An Origin that comes back asks by HEAD where its epoch ended, whether or not anything of it is left.
            if exchange.request.method != b"HEAD":
                raise gone(epoch)
            exchange.start(200, [*lines, (b"First-Offset", b"%d" % first)], 0)
            return
        if first == 0:
            exchange.start(200, lines, end)
        else:
            lines.append((b"Content-Range", format_content_range(first, end - 1, end)))
            exchange.start(206, lines, end - first)
        await self._send(exchange, epoch, first, end)

    # -- by what the consumer has ------------------------------------------------------------------------------

    async def _start(
        self, epoch: Epoch, possessed: list[Interval], *, lossless: bool
    ) -> tuple[int, Initialization | None, int | None]:
        """Return where a consumer begins, the initialization segment it lacks, and the offset of the one it has."""
        joining = await initialization(epoch, join_point(epoch))
        interval = None if joining is None else (joining[0].offset, joining[0].offset + len(joining[1]))
        arrived = await arrival(epoch, behind_hole(epoch, possessed[-1][1])) if possessed else None
        since = self._streams.now() - self._streams.settings.catch_up * 1e6
        start = live_start(epoch, possessed, interval, arrived, since, lossless=lossless)
        before = await initialization(epoch, start)
        if before is None:
            return start, None, None
        record, data = before
        if holds(possessed, record.offset, record.offset + len(data)) or start < record.offset + len(data):
            return start, None, record.offset
        return start, before, record.offset

    async def _live(self, exchange: Exchange, epoch: Epoch, ask: Ask, possessed: list[Interval]) -> None:
        await self._first_bytes(epoch)
        lossless = _lossless(epoch, ask)
        start, before, held = await self._start(epoch, possessed, lossless=lossless)
        if ask.multipart:
            applied = _applied(epoch, ask, *([b"backfill"] if ask.backfill else []))
            lines = [*self._lines(epoch, live=True, multipart=True), *applied]
            framing = exchange.start(206, lines, None)
            backfill = self._backfill(epoch, possessed, start, before) if ask.backfill else None
            await self._deliver(
                exchange, epoch, self._parts, framing, start, before, held=held, backfill=backfill, lossless=lossless
            )
            return
        lines = [*self._lines(epoch, live=True), *_applied(epoch, ask)]
        if before is not None and not _adjoins(before, start):
            _respond_alone(exchange, lines, before)
            return
        first = start if before is None else before[0].offset
        lines.append((b"Content-Range", format_content_range(first, MAX_LAST, None)))
        framing = exchange.start(206, lines, None)
        await self._deliver(
            exchange, epoch, self._raw, framing, start, before, OnLag.END, OnHole.END, held=held, lossless=lossless
        )

    def _backfill(self, epoch: Epoch, possessed: list[Interval], start: int, before: Initialization | None) -> Backfill:
        """What lies before ``start`` and is neither possessed nor about to be sent."""
        sent = [] if before is None else [(before[0].offset, before[0].offset + len(before[1]))]
        gaps = missing(sorted([*possessed, *sent]), epoch.first_offset, start)
        return Backfill(gaps)

    async def _deliver(
        self,
        exchange: Exchange,
        epoch: Epoch,
        forms: Mapping[bool, Form],
        framing: Framing,
        start: int,
        before: Initialization | None,
        on_lag: OnLag = OnLag.JUMP,
        on_hole: OnHole = OnHole.PASS,
        *,
        held: int | None = None,
        backfill: Backfill | None = None,
        lossless: bool = False,
    ) -> None:
        """Send a live answer's content: the initialization segment where it lies before ``start``, then the log."""
        if exchange.answer is Answer.DONE:
            return
        form = forms[framing is Framing.CHUNKED]
        preface = b""
        if before is not None:
            record, data = before
            held = record.offset
            if record.offset + len(data) <= start:
                preface = form.encode_bytes(record.offset, data, record)
        live = self._streams.live(epoch)
        delivery = Delivery(
            exchange,
            epoch,
            form,
            live.fanout,
            offset=start,
            on_lag=OnLag.STAY if lossless else on_lag,
            on_hole=on_hole,
            lossless=lossless,
            changed=lambda seconds: self._streams.change(epoch, seconds),
            limits=self._limits,
            now=self._streams.now,
            sent_initialization=held,
            backfill=backfill,
        )
        live.deliveries.add(delivery)
        self._streams.counters.joins += 1
        try:
            await delivery.run(preface)
        finally:
            live.deliveries.discard(delivery)

    async def _poll(self, exchange: Exchange, epoch: Epoch, ask: Ask, possessed: list[Interval], wait: int) -> None:
        """Long poll: one answer with all that is new and follows on, or 204 after ``wait`` seconds."""
        applied = _applied(epoch, ask, b"wait=%d" % wait)
        forms: Form = self._parts[False] if ask.multipart else self._raw[False]
        deadline = self._clock.seconds() + wait
        while True:
            start, before, _ = await self._start(epoch, possessed, lossless=_lossless(epoch, ask))
            end = held_until(epoch.holes, start, forms.available(epoch.log))
            if before is not None or start < end:
                break
            left = deadline - self._clock.seconds()
            if epoch.ended or left <= 0:
                lines = [*self._empty_lines(epoch), *applied]
                exchange.respond(204, [*lines, unsatisfied(epoch.end)] if epoch.ended else lines)
                return
            await self._streams.change(epoch, left)
        lines = [*self._lines(epoch, live=True, multipart=ask.multipart), *applied]
        if ask.multipart:
            blocks = [] if before is None else [forms.encode_bytes(before[0].offset, before[1], before[0])]
            while start < end and sum(map(len, blocks)) < POLL_LIMIT:
                block, start = await forms.encode_from(epoch, start, end)
                blocks.append(block)
            exchange.respond(206, lines, b"".join([*blocks, forms.closing()]))
            return
        if before is None:
            await self._interval(exchange, epoch, lines, start, end, None)
        elif not _adjoins(before, start):
            _respond_alone(exchange, lines, before)
        else:
            first, data = before[0].offset, before[1]
            lines.append((b"Content-Range", format_content_range(first, end - 1, None)))
            exchange.start(206, lines, end - first)
            exchange.channel.outflow.write(data)
            await self._send(exchange, epoch, start, end)

    async def _lacking(self, exchange: Exchange, epoch: Epoch, ask: Ask, possessed: list[Interval]) -> None:
        """What somebody lacks of an ended epoch, in ascending order."""
        gaps = missing(sorted([*possessed, *epoch.holes]), epoch.first_offset, epoch.end)
        if not gaps:
            exchange.respond(204, [*self._empty_lines(epoch), unsatisfied(epoch.end)])
            return
        if not ask.multipart:
            start, end = gaps[0]
            await self._interval(exchange, epoch, self._lines(epoch, live=False), start, end, epoch.end)
            return
        framing = exchange.start(206, self._lines(epoch, live=False, multipart=True), None)
        form = self._parts[framing is Framing.CHUNKED]
        for start, end in gaps:
            if not await send_interval(exchange, epoch, form, start, end, epoch.end):
                return
        exchange.channel.outflow.write(form.closing())
        exchange.finish()

    # -- by Range ----------------------------------------------------------------------------------------------

    def _range_applies(self, exchange: Exchange, epoch: Epoch, ask: Ask) -> bool:
        """Whether Range is heeded: If-Range must name the epoch, and a live ``bytes=0-`` is what players always say."""
        if ask.if_range is not None:
            if not ask.if_range.startswith((b'"', b"W/")):
                return False
            if not matches(parse_entity_tags(ask.if_range), epoch):
                return False
        return epoch.ended or not ask.from_zero or exchange.request.method == b"HEAD"

    async def _by_range(self, exchange: Exchange, epoch: Epoch, ask: Ask) -> None:
        assert ask.ranges is not None
        end, complete = epoch.end, epoch.end if epoch.ended else None
        first = epoch.first_offset
        if any(spec.first is not None and spec.first < first for spec in ask.ranges):
            raise gone(epoch)
        only = ask.ranges[0] if len(ask.ranges) == 1 else None
        if (
            only is not None
            and only.last == MAX_LAST
            and not epoch.ended
            and only.first is not None
            and only.first <= end
        ):
            await self._open_range(exchange, epoch, ask, only.first)
            return
        intervals = [(max(start, first), stop) for start, stop in resolve(ask.ranges, end) if stop > first]
        if intervals:
            intervals = _up_to_holes(epoch, intervals)
        if not intervals:
            raise Refusal(416, "Nothing there", f"The log holds {first} to {end}.", (unsatisfied(end),))
        lines = self._lines(epoch, live=not epoch.ended)
        if len(intervals) == 1:
            await self._interval(exchange, epoch, lines, *intervals[0], complete)
            return
        await self._ranges(exchange, epoch, intervals, complete)

    async def _open_range(self, exchange: Exchange, epoch: Epoch, ask: Ask, start: int) -> None:
        """RFC 8673: the end is echoed, and the answer stays open until the epoch ends."""
        lines = [*self._lines(epoch, live=True), (b"Content-Range", format_content_range(start, MAX_LAST, None))]
        lines += _applied(epoch, ask)
        lossless = _lossless(epoch, ask)
        hole = epoch.hole_at(start)
        if hole is not None and not lossless:
            raise Missing(epoch, start, hole[1])
        framing = exchange.start(206, lines, None)
        await self._deliver(exchange, epoch, self._raw, framing, start, None, OnLag.STAY, OnHole.END, lossless=lossless)

    async def _ranges(self, exchange: Exchange, epoch: Epoch, intervals: list[Interval], complete: int | None) -> None:
        """Several ranges: each is a part (RFC 9110 section 15.3.7.2)."""
        content_type = (b"Content-Type", epoch.content_type.encode("latin-1"))
        heads = [
            part_head(
                self._boundary, [content_type, (b"Content-Range", format_content_range(start, end - 1, complete))]
            )
            for start, end in intervals
        ]
        last = closing(self._boundary)
        length = sum(map(len, heads)) + sum(end - start + len(PART_END) for start, end in intervals) + len(last)
        exchange.start(206, self._lines(epoch, live=not epoch.ended, multipart=True), length)
        outflow = exchange.channel.outflow
        for head, (start, end) in zip(heads, intervals, strict=True):
            if exchange.answer is Answer.DONE:
                return
            outflow.write(head)
            if not await send_interval(exchange, epoch, self._raw[False], start, end):
                return
            outflow.write(PART_END)
        outflow.write(last)
        exchange.finish()

    # -- what is there already ---------------------------------------------------------------------------------

    async def _interval(
        self, exchange: Exchange, epoch: Epoch, lines: Lines, start: int, end: int, complete: int | None
    ) -> None:
        lines.append((b"Content-Range", format_content_range(start, end - 1, complete)))
        exchange.start(206, lines, end - start)
        await self._send(exchange, epoch, start, end)

    async def _send(self, exchange: Exchange, epoch: Epoch, start: int, end: int) -> None:
        if exchange.answer is not Answer.DONE and await send_interval(exchange, epoch, self._raw[False], start, end):
            exchange.finish()
