"""One Distributor's log in several of its processes: what the first one takes in, the others follow run by run.

The way of a run: the first process's fan-out > a UNIX socket > ClientProtocol > :class:`MirrorInflow` > the other
process's log, which is the same then. All else that a process asks another for goes as between a relay and its
upstream.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from sdp.distributor.answers import Answers
from sdp.distributor.asking import Ask, Interval, missing
from sdp.distributor.delivery import OnLag, send_interval
from sdp.distributor.inflow import Inflow
from sdp.distributor.remote import ToldFramer
from sdp.distributor.runs import RUNS, Run, Runs, RunsReader
from sdp.distributor.upstream import Upstream
from sdp.errors import ProtocolError, SDPError
from sdp.http1 import Headers, Response
from sdp.net.client import ClientProtocol
from sdp.net.exchange import Exchange, Framing
from sdp.net.tunnel import OUR_OWN
from sdp.stream.catalog import Epoch
from sdp.stream.record import Flag, Record

__all__ = ["MirrorAnswers", "MirrorInflow"]

_LONGEST_REFUSAL = 1 << 16


class MirrorAnswers(Answers):
    """Answers as a Distributor gives them, and to another of its processes a log as runs, where it asks for them."""

    async def _live(self, exchange: Exchange, epoch: Epoch, ask: Ask, possessed: list[Interval]) -> None:
        if not _wants_runs(exchange):
            await super()._live(exchange, epoch, ask, possessed)
            return
        await self._first_bytes(epoch)
        start, before, held = await self._start(epoch, possessed, lossless=False)
        framing, form = self._begin(exchange, epoch)
        forms = {True: form, False: form}
        await self._deliver(exchange, epoch, forms, framing, start, before, OnLag.JUMP, held=held)

    async def _lacking(self, exchange: Exchange, epoch: Epoch, ask: Ask, possessed: list[Interval]) -> None:
        gaps = missing(sorted([*possessed, *epoch.holes]), epoch.first_offset, epoch.end)
        if not _wants_runs(exchange) or not gaps:
            await super()._lacking(exchange, epoch, ask, possessed)
            return
        _, form = self._begin(exchange, epoch)
        for start, end in gaps:
            if not await send_interval(exchange, epoch, form, start, end, epoch.end):
                return
        exchange.channel.outflow.write(form.closing())
        exchange.finish()

    def _begin(self, exchange: Exchange, epoch: Epoch) -> tuple[Framing, Runs]:
        lines = [line for line in self._lines(epoch, live=True) if line[0] != b"Content-Type"]
        framing = exchange.start(206, [*lines, (b"Content-Type", RUNS)], None)
        return framing, Runs(epoch, chunked=framing is Framing.CHUNKED)


def _wants_runs(exchange: Exchange) -> bool:
    return exchange.channel.peer == OUR_OWN and exchange.request.headers.get(b"accept") == RUNS


class MirrorFramer(ToldFramer):
    """Finds records where the first process did, when it did: the structure may be known later than the bytes."""

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self._known = start

    def learn(self, records: list[Record], known: int) -> None:
        """These begin in what was fed or in what is fed next, up to where the structure is known to be so."""
        self._told += records
        self._known = known

    def feed(self, data: bytes, received_time: int | None = None) -> list[Record]:
        told, self._told = self._told, []
        self.known = self._known
        return told


class RunsBody:
    """Takes one answer's content: runs, once ``parts`` is set, or else a refusal (``other``)."""

    def __init__(self, take: Callable[[Run], None], abort: Callable[[SDPError], None]) -> None:
        self.over: Deferred[SDPError | None] = Deferred()
        self.parts: RunsReader | None = None
        self.other = b""
        self._take = take
        self._abort = abort

    def data_received(self, data: bytes) -> None:
        if self.parts is None:
            self.other = (self.other + data)[:_LONGEST_REFUSAL]
            return
        try:
            for run in self.parts.feed(data):
                self._take(run)
        except ProtocolError as error:
            self._abort(error)

    def ended(self, trailers: Headers) -> None:
        self._finish(None)

    def failed(self, error: SDPError) -> None:
        self._finish(error)

    def _finish(self, error: SDPError | None) -> None:
        if not self.over.called:
            self.over.callback(error)


class MirrorInflow(Inflow):
    """Keeps one stream's log the same as the first process has it."""

    accept = RUNS
    framer = MirrorFramer

    def _held(self, epoch: Epoch) -> int:
        # What lies past it comes again, and with it what it is.
        return epoch.log.known

    def _body(self, client: ClientProtocol, upstream: Upstream, epoch: Epoch) -> RunsBody:
        return RunsBody(lambda run: self.follow(upstream, epoch, run), client.abort)

    def _open(self, response: Response, body: Any) -> None:
        if response.headers.get(b"content-type") != RUNS:
            raise ProtocolError("The first process answers with something else than runs.")
        body.parts = RunsReader()

    def follow(self, upstream: Upstream, epoch: Epoch, run: Run) -> None:
        """Append what came; where it does not follow on, the log jumps to it."""
        upstream.bytes_received += len(run.data)
        log = epoch.log
        if run.offset > log.end:
            self._jump(epoch, run.offset)
        data = run.data[log.end - run.offset :] if run.offset < log.end else run.data
        records = [record for record in run.records if record.offset >= log.known]
        if not data and run.known <= log.known:
            return
        if run.explicit:
            epoch.forget_implied()
        framer: Any = epoch.framer
        framer.learn(records, max(run.known, log.known))
        epoch.append(data, self._outlet.now() if run.arrived is None else run.arrived)
        last = log.record_at(log.end - 1)
        self._in_initialization = last is not None and bool(last.flags & Flag.INITIALIZATION)
        self._appended(upstream, epoch)
