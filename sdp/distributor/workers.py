"""One Distributor in several processes: the first holds the streams, the others share the work of giving them out.

Every process takes connections off the same addresses. A GET of what is live is answered by whoever has accepted it,
out of a log of its own that follows the first's, each record passed on once over a UNIX socket. Whatever else is asked
goes on to the first, connection and all (:mod:`sdp.net.tunnel`), so there is one judge of names, rights, epochs and
offsets, and no answer depends on which process the kernel has chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any

import attrs
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.endpoints import UNIXClientEndpoint, quoteStringArgument
from twisted.internet.interfaces import IListeningPort, IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from sdp.distributor.access import Access, Role, declared_role
from sdp.distributor.answers import Answers
from sdp.distributor.asking import Ask, read_ask
from sdp.distributor.looking import Looks
from sdp.distributor.mirror import MirrorAnswers, MirrorInflow
from sdp.distributor.names import parse_target, stream_name
from sdp.distributor.relay import Relay
from sdp.distributor.reports import REPORT_TARGET, Colleagues, Report, encode_report, summed
from sdp.distributor.service import DistributorParts, DistributorService
from sdp.distributor.settings import DistributorSettings
from sdp.distributor.streams import Streams
from sdp.distributor.upstream import Told, Upstream, parse_place
from sdp.distributor.views import Metrics, consumers_of
from sdp.errors import SDPError
from sdp.net.backoff import Backoff
from sdp.net.exchange import Answer, Body, Exchange, Lines, Site
from sdp.net.server import ServerChannelFactory
from sdp.net.shared_count import SharedCount
from sdp.net.sockets import Adopter, adopt, is_shared
from sdp.net.tunnel import LinkFactory, PassingChannel, PassingFactory, TunnelFactory
from sdp.stream.catalog import Epoch

__all__ = ["FirstWorker", "LiveSite", "OtherWorker", "Seat", "make_worker"]

FIRST = 0
"""The process that holds the streams."""

REACH_PATIENCE = 2.0
"""How long a process may take to come up to what the first has, in seconds, before the first answers instead."""

LINKS = 8
"""How many connections one process keeps to another for what is short."""

NO_LIMITS = Access(None, None, ())
"""Between processes of one Distributor: whoever reaches the socket has been let in by its directory's permissions."""


@attrs.frozen
class Seat:
    """One process's place among ``count``: ``listening`` are the descriptors of its shares of the public addresses in
    the order of their endpoints, ``link`` and ``tunnel`` those of its inner sockets."""

    index: int
    count: int
    directory: Path
    key: bytes
    listening: tuple[int, ...]
    link: int
    tunnel: int | None

    @property
    def table(self) -> Path:
        """The counts of connections."""
        return self.directory / "connections"

    def link_of(self, index: int) -> Path:
        """Where another process is asked."""
        return self.directory / f"{index}.link"

    @property
    def tunnel_path(self) -> Path:
        """Where connections are passed on to the first process."""
        return self.directory / "tunnel"


class _Worker(DistributorService):
    """What all processes have in common. ``begun`` is called when it listens."""

    def __init__(
        self,
        settings: DistributorSettings,
        reactor: Any,
        leave: Callable[[int], None],
        parts: DistributorParts,
        seat: Seat,
        begun: Callable[[], None],
    ) -> None:
        self._seat = seat
        self._adopter = Adopter(reactor, seat.listening)
        self._on_begun = begun
        self._inner_ports: list[Any] = []
        super().__init__(settings, reactor, leave, parts)

    def _listening_reactor(self) -> Any:
        return self._adopter

    def _announce(self, port: IListeningPort) -> None:
        """Whoever started the processes tells of the address, once."""

    def _begun(self) -> None:
        self._on_begun()

    def _upstream(self, index: int) -> Upstream:
        path = quoteStringArgument(str(self._seat.link_of(index)))
        return Upstream(parse_place(f"unix:{path}"), self._reactor, f"worker-{self._seat.index}", LINKS)

    def _count_together(self, factory: ServerChannelFactory) -> None:
        seat = self._seat
        factory.count = SharedCount(factory.limits, seat.table, seat.index, seat.count, seat.key)

    def _adopt(self, descriptor: int, factory: ServerChannelFactory) -> None:
        self._inner_ports.append(adopt(self._reactor, descriptor, factory))

    def abandon(self) -> None:
        """Nobody looks after this process any longer: another Distributor may be about to take its place, so its
        connections end now, as they would if it had been killed itself."""
        for factory in self._factories:
            for channel in tuple(factory.channels):
                channel.close_now()

    async def _stop(self) -> None:
        for port in self._inner_ports:
            await maybeDeferred(port.stopListening)
        await super()._stop()


class FirstWorker(_Worker):
    """The process that holds the streams and their store, and serves its share of the consumers."""

    _answers = MirrorAnswers
    _others: Colleagues | None = None

    def _colleagues(self) -> Colleagues:
        self._others = Colleagues([self._upstream(each) for each in range(1, self._seat.count)], self._reactor)
        return self._others

    def _inner_factories(self, make_site: Callable[[Access], Site]) -> list[ServerChannelFactory]:
        self._tunnels = self._make_factory(TunnelFactory, make_site(self._access))
        self._links = self._make_factory(LinkFactory, make_site(NO_LIMITS))
        return [self._tunnels]

    def _build(self) -> Streams:
        streams = super()._build()
        self._factories.append(self._links)
        self._count_together(self._factories[0])
        return streams

    def _begun(self) -> None:
        assert self._seat.tunnel is not None
        self._adopt(self._seat.tunnel, self._tunnels)
        self._adopt(self._seat.link, self._links)
        super()._begun()

    async def _stop(self) -> None:
        await super()._stop()
        if self._others is not None:
            self._others.close()


class OtherWorker(_Worker):
    """A process that gives out what is live, and passes on all else."""

    def __init__(
        self,
        settings: DistributorSettings,
        reactor: Any,
        leave: Callable[[int], None],
        parts: DistributorParts,
        seat: Seat,
        begun: Callable[[], None],
    ) -> None:
        shared = tuple(each for each in settings.listen if is_shared(each))
        # The first process alone records, and alone has an upstream.
        settings = attrs.evolve(settings, listen=shared, store=None, upstream=(), fan_out_after_sync=False)
        super().__init__(settings, reactor, leave, attrs.evolve(parts, open_store=lambda: None), seat, begun)

    def _build(self) -> Streams:
        seat, settings = self._seat, self.settings
        streams = self._make_streams()
        first = self._upstream(FIRST)
        random = Random(self._parts.random_bytes(8))
        self._relay = Relay(
            streams,
            [first],
            self._reactor,
            lambda: Backoff(random, first=0.05, most=0.5),
            first.pseudonym,
            settings.upstream_linger,
            hop=False,
            kind=MirrorInflow,
        )
        passing_on = UNIXClientEndpoint(self._reactor, str(seat.tunnel_path))
        site = LiveSite(
            streams, self._make_answers(streams), self._access, self._relay, first, passing_on, self._reactor
        )
        public = self._make_factory(PassingFactory, site)
        self._count_together(public)
        self._links = self._make_factory(LinkFactory, _ReportSite(streams, Metrics(streams, public, None)))
        self._factories = [public, self._links]
        self._sweep.after_each += [streams.tick, public.close_stalled]
        return streams

    def _begun(self) -> None:
        self._adopt(self._seat.link, self._links)
        super()._begun()


def make_worker(
    settings: DistributorSettings,
    reactor: Any,
    leave: Callable[[int], None],
    parts: DistributorParts,
    seat: Seat,
    begun: Callable[[], None],
) -> FirstWorker | OtherWorker:
    """The service of one process. ConfigurationError as for a Distributor in one."""
    kind = FirstWorker if seat.index == FIRST else OtherWorker
    return kind(settings, reactor, leave, parts, seat, begun)


class _ReportSite:
    """Answers the first process's question for the others' shares."""

    def __init__(self, streams: Streams, metrics: Metrics) -> None:
        self._streams = streams
        self._metrics = metrics

    def request(self, exchange: Exchange) -> Body | None:
        """See :class:`sdp.net.exchange.Site`."""
        streams = self._streams
        if exchange.request.method == b"CONNECT":
            exchange.respond(200)
        elif exchange.request.target == REPORT_TARGET:
            current = [stream.current for stream in streams.catalog if stream.current is not None]
            consumers = {epoch.id: consumers_of(streams.live(epoch)) for epoch in current}
            exchange.respond(200, (), encode_report(Report(consumers, summed(self._metrics))))
        else:
            exchange.respond(404)
        return None

    def refusal_headers(self, exchange: Exchange) -> Lines:
        return ()


class LiveSite:
    """Answers a plain GET of a live stream; all else it passes on."""

    log = Logger(namespace="sdp.distributor.workers")

    def __init__(
        self,
        streams: Streams,
        answers: Answers,
        access: Access,
        relay: Relay,
        first: Upstream,
        passing_on: IStreamClientEndpoint,
        clock: IReactorTime,
    ) -> None:
        self._streams = streams
        self._clock = clock
        self._answers = answers
        self._access = access
        self._relay = relay
        self._looks = Looks(first.look)
        self._passing_on = passing_on

    def request(self, exchange: Exchange) -> Body | None:
        """See :class:`sdp.net.exchange.Site`."""
        try:
            wanted = self._read(exchange)
        except SDPError:
            wanted = None  # whatever is wrong with it, the first process says so
        if wanted is not None:
            self._run(exchange, self._give(exchange, *wanted))
        elif exchange.answer is Answer.NONE:
            self._pass_on(exchange)
        return None

    def refusal_headers(self, exchange: Exchange) -> Lines:
        """Nothing about a stream is refused here."""
        return ()

    def _pass_on(self, exchange: Exchange) -> None:
        channel = exchange.channel
        assert isinstance(channel, PassingChannel)
        channel.pass_on(exchange.request, self._passing_on)

    def _read(self, exchange: Exchange) -> tuple[str, Ask] | None:
        """Return the stream and what is asked of it, where that may be answered here. A handshake is answered at once.
        SDPError where something is wrong with the request."""
        request, channel = exchange.request, exchange.channel
        said = declared_role(request)
        if request.method == b"CONNECT" and said is not None and channel.first_request:
            channel.role = said.value.decode()
            exchange.respond(200)
            return None
        headers = request.headers
        if request.method != b"GET" or request.content_length != 0 or b"via" in headers or b"prefer" in headers:
            return None
        held = None if channel.role is None else Role(channel.role.encode())
        if Role.ORIGIN in (said, held) or (held is not None and said is not None and said is not held):
            return None
        ranges = headers.get_all(b"range")
        if b"if-range" in headers or b"if-none-match" in headers or (ranges and ranges != [b"bytes=0-"]):
            return None
        target = parse_target(request.target)
        name = stream_name(target.path)
        if name is None or not target.query.keys().isdisjoint({"epoch", "at"}):
            return None
        self._access.check_read(request)
        return name, read_ask(request, self._streams.settings.max_ranges)

    def _run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        task: Deferred[None] = Deferred.fromCoroutine(work)
        if exchange.answer is not Answer.DONE:
            exchange.on_lost = task.cancel
        task.addErrback(self._failed, exchange)

    def _failed(self, failure: Failure, exchange: Exchange) -> None:
        if failure.check(CancelledError):
            return
        if not failure.check(SDPError):
            self.log.failure("A live answer failed: {target}", failure=failure, target=exchange.request.target)
        if exchange.answer is Answer.NONE:
            self._pass_on(exchange)
        elif exchange.answer is Answer.STARTED:
            exchange.abort()

    async def _give(self, exchange: Exchange, name: str, ask: Ask) -> None:
        """Answer as the first process would at this moment, or let it."""
        told = await self._looks.ask(name)
        if not told.ended and told.typed and told.end > 0:
            self._relay.enlist(name, ())
            with self._relay.wanted(name):
                epoch = await self._relay.find(name, None, ask, ())
                if await self._reach(epoch, told):
                    await self._answers.answer(exchange, epoch, ask)
                    return
        self._pass_on(exchange)

    async def _reach(self, epoch: Epoch, told: Told) -> bool:
        """Wait until all that the first process had is here too: what was posted before a GET is seen by it. Return
        whether it is so, in time, and the stream goes on."""
        deadline = self._clock.seconds() + REACH_PATIENCE
        while epoch.id == told.epoch and not epoch.ended and epoch.end < told.end:
            left = deadline - self._clock.seconds()
            if left <= 0:
                return False
            await self._streams.change(epoch, left)
        if epoch.id != told.epoch or epoch.ended:
            return False
        recording: Any = epoch.recording
        recording.durable = told.durable
        return True
