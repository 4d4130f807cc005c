"""What lies beside the streams: the JSON views, the metrics, the clock, and the pages for people."""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from sdp.distributor.digest import Digests
from sdp.distributor.index_view import index_of, number
from sdp.distributor.names import Target, stream_name
from sdp.distributor.reading import initialization
from sdp.distributor.relay import Relay
from sdp.distributor.reports import Colleagues, Report, Whole
from sdp.distributor.streams import Live, Streams, no_stream
from sdp.errors import Refusal, StorageError
from sdp.http1.ranges import format_content_range
from sdp.net.exchange import Exchange
from sdp.net.server import ServerChannelFactory
from sdp.net.tunnel import OUR_OWN
from sdp.stream.catalog import Epoch
from sdp.web import Pages

__all__ = ["Metrics", "Views", "consumers_of", "describe"]

Lines = list[tuple[bytes, bytes]]
View = Callable[[Exchange, Target, Lines], Coroutine[Any, Any, None]]

_CSP = b"default-src 'self'; media-src 'self' blob:; img-src 'self' data:"


def describe(streams: Streams, live: Live) -> dict[str, Any]:
    """One stream as a JSON object: offsets in bytes, ``bit_rate`` in bits a second, lags in bytes and ms."""
    epoch = live.epoch
    return {
        "name": epoch.name,
        **describe_epoch(streams, live),
        "bit_rate": round(streams.bit_rate(live)),
        "origin_connected": live.holder is not None,
        "upstream": live.upstream,
        "last_arrival": epoch.last_arrival,
        "consumers": consumers_of(live),
    }


def describe_epoch(streams: Streams, live: Live) -> dict[str, Any]:
    """What there is to say of an epoch, current or past; ``recording`` is None where it is not recorded here."""
    epoch = live.epoch
    recording: Any = epoch.recording if live.upstream is None else None
    return {
        "epoch": epoch.id,
        "content_type": epoch.content_type,
        "state": streams.state(epoch),
        "first_offset": epoch.first_offset,
        "end_offset": epoch.end,
        "durable_offset": epoch.durable_offset,
        "holes": [list(hole) for hole in epoch.holes],
        "recording": None if recording is None else "failed" if recording.failure is not None else "on",
        "recording_failure": None if recording is None or recording.failure is None else recording.failure.detail,
    }


def consumers_of(live: Live) -> list[dict[str, Any]]:
    """The live answers of one epoch, as JSON objects; other processes of this Distributor are no consumers."""
    places = live.fanout.places()
    return [
        {
            "address": delivery.exchange.channel.peer,
            "lag_bytes": delivery.lag_bytes(places),
            "lag_ms": round(delivery.lag_ms(places), 1),
            "since": delivery.started_at,
            "jumps": delivery.jumps,
        }
        for delivery in live.deliveries
        if delivery.exchange.channel.peer != OUR_OWN
    ]


class Views:
    """Answers what is asked under ``/-/``, and ``/`` itself."""

    def __init__(
        self,
        streams: Streams,
        pages: Pages,
        digests: Digests,
        relay: Relay | None = None,
        colleagues: Colleagues | None = None,
    ) -> None:
        self._streams = streams
        self._colleagues = colleagues
        self._relay = relay
        self._pages = pages
        self._digests = digests
        self._metrics_of_this: Metrics | None = None
        self._fixed: dict[bytes, View] = {
            b"/": self._index,
            b"/-/streams": self._all,
            b"/-/health": self._health,
            b"/-/metrics": self._metrics,
            b"/-/time": self._time,
        }
        self._prefixed: dict[bytes, View] = {
            b"/-/streams/": self._one,
            b"/-/epochs/": self._epochs,
            b"/-/digest/": self._digest,
            b"/-/records/": self._records,
            b"/-/initialization/": self._initialization,
            b"/-/watch/": self._watch,
            b"/-/assets/": self._asset,
        }

    def attach(self, factory: ServerChannelFactory, *inner: ServerChannelFactory) -> None:
        """Let the metrics know the connections; on ``inner`` ones come the requests that other processes pass on."""
        self._metrics_of_this = Metrics(self._streams, factory, self._relay, inner)

    def find(self, path: bytes) -> View | None:
        """Return what answers a path, or None where it is no view's."""
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed
        for prefix, view in self._prefixed.items():
            if path.startswith(prefix):
                return view
        return None

    # -- JSON --------------------------------------------------------------------------------------------------

    async def _reports(self) -> list[Report]:
        return [] if self._colleagues is None else await self._colleagues.reports()

    async def _described(self) -> list[dict[str, Any]]:
        reports = await self._reports()
        current = [stream.current for stream in self._streams.catalog if stream.current is not None]
        return [self._describe(epoch, reports) for epoch in sorted(current, key=lambda epoch: epoch.name)]

    def _describe(self, epoch: Epoch, reports: list[Report]) -> dict[str, Any]:
        described = describe(self._streams, self._streams.live(epoch))
        for report in reports:
            described["consumers"] += report.consumers.get(epoch.id, [])
        return described

    async def _all(self, exchange: Exchange, target: Target, cors: Lines) -> None:
        _json(exchange, {"streams": await self._described()}, cors)

    async def _one(self, exchange: Exchange, target: Target, cors: Lines) -> None:
        name = _named(target, b"/-/streams")
        reports = await self._reports()
        epoch = self._streams.current(name)
        if epoch is None:
            raise no_stream(name)
        _json(exchange, self._describe(epoch, reports), cors)

    async def _epochs(self, exchange: Exchange, target: Target, cors: Lines) -> None:
        """All lives of a stream that are kept, the current one first: ``?epoch=`` fetches each."""
        name = _named(target, b"/-/epochs")
        stream = self._streams.catalog.get(name)
        if stream is None:
            raise no_stream(name)
        kept = [describe_epoch(self._streams, self._streams.live(epoch)) for epoch in reversed(stream.epochs)]
        _json(exchange, {"name": name, "epochs": kept}, cors)

    async def _records(self, exchange: Exchange, target: Target, cors: Lines) -> None:
        epoch = await self._epoch(exchange, target, b"/-/records")
        _json(exchange, await index_of(epoch, target.query, self._streams.now()), cors)

    async def _initialization(self, exchange: Exchange, target: Target, cors: Lines) -> None:
        """What is decoded with from an offset on: kept, where retention has left what comes after."""
        epoch = await self._epoch(exchange, target, b"/-/initialization")
        found = await initialization(epoch, number(target.query, "before", epoch.end))
        lines = [*cors, *self._streams.stream_lines(epoch), (b"Cache-Control", b"no-store")]
        if found is None:
            exchange.respond(204, lines)
            return
        record, data = found
        content_range = format_content_range(record.offset, record.offset + len(data) - 1, None)
        content_type = epoch.content_type.encode("latin-1")
        exchange.respond(206, [*lines, (b"Content-Type", content_type), (b"Content-Range", content_range)], data)

    async def _epoch(self, exchange: Exchange, target: Target, prefix: bytes) -> Epoch:
        """The epoch that a view is about; a relay fetches it, as it would for a GET. Refusal 404."""
        name = _named(target, prefix)
        identifier = target.query.get("epoch")
        if self._relay is not None:
            return await self._relay.view(exchange, name, identifier)
        epoch = self._streams.find(name, identifier)
        if epoch is None:
            raise no_stream(name)
        return epoch

    async def _digest(self, exchange: Exchange, target: Target, cors: Lines) -> None:
        epoch = await self._epoch(exchange, target, b"/-/digest")
        _json(exchange, await self._digests.answer(epoch, target.query), cors)

    async def _health(self, exchange: Exchange, target: Target, cors: Lines) -> None:
        _json(exchange, {"status": "ok", "streams": len(self._streams.catalog)}, cors)

    async def _time(self, exchange: Exchange, target: Target, cors: Lines) -> None:
        _text(exchange, b"%d\n" % self._streams.now(), b"text/plain; charset=utf-8", cors)

    async def _metrics(self, exchange: Exchange, target: Target, cors: Lines) -> None:
        assert self._metrics_of_this is not None
        registry = CollectorRegistry()
        registry.register(Whole(self._metrics_of_this, await self._reports()))
        _text(exchange, generate_latest(registry), b"text/plain; version=0.0.4; charset=utf-8", cors)

    # -- pages -------------------------------------------------------------------------------------------------

    async def _index(self, exchange: Exchange, target: Target, cors: Lines) -> None:
        _page(exchange, self._pages.index(await self._described()))

    async def _watch(self, exchange: Exchange, target: Target, cors: Lines) -> None:
        name = stream_name(target.path.removeprefix(b"/-/watch"))
        if name is None:
            raise Refusal(404, "No such stream", "That is no stream's name; / lists those that there are.")
        _page(exchange, self._pages.watch(name))

    async def _asset(self, exchange: Exchange, target: Target, cors: Lines) -> None:
        found = self._pages.asset(target.path.removeprefix(b"/-/assets/").decode("latin-1"))
        if found is None:
            raise Refusal(404, "No such file", "The pages have no file of that name.")
        content_type, data = found
        lines = [(b"Content-Type", content_type.encode()), (b"Cache-Control", b"no-cache"), *cors]
        exchange.respond(200, lines, data)


def _named(target: Target, prefix: bytes) -> str:
    """The stream's name in a view's path. Refusal 404 where it is none."""
    name = stream_name(target.path.removeprefix(prefix))
    if name is None:
        raise Refusal(404, "No such stream", "That is no stream's name; /-/streams lists those that there are.")
    return name


def _text(exchange: Exchange, text: bytes, content_type: bytes, cors: Lines) -> None:
    exchange.respond(200, [(b"Content-Type", content_type), (b"Cache-Control", b"no-store"), *cors], text)


def _json(exchange: Exchange, document: object, cors: Lines) -> None:
    _text(exchange, json.dumps(document).encode() + b"\n", b"application/json", cors)


def _page(exchange: Exchange, page: bytes) -> None:
    _text(exchange, page, b"text/html; charset=utf-8", [(b"Content-Security-Policy", _CSP)])


class Metrics(Collector):
    """The metrics, read off the live objects when they are asked for: counting costs nothing in between."""

    def __init__(
        self,
        streams: Streams,
        factory: ServerChannelFactory,
        relay: Relay | None,
        inner: tuple[ServerChannelFactory, ...] = (),
    ) -> None:
        self._inner = inner
        self._streams = streams
        self._factory = factory
        self._relay = relay

    def collect(self) -> Iterator[Metric]:
        streams, factory = self._streams, self._factory
        counters = streams.counters
        yield _counter("sdp_bytes_received", "Bytes received from clients.", factory.bytes_received)
        yield _counter("sdp_bytes_sent", "Bytes of answers to Consumers, framing included.", counters.bytes_sent)
        yield _counter("sdp_deliveries", "Runs of a log handed to a Consumer at the live edge.", counters.deliveries)
        yield _counter("sdp_joins", "Live answers begun.", counters.joins)
        yield _counter(
            "sdp_left_edge", "Consumers that could not take a run at once, and had to catch up.", counters.left_edge
        )
        yield _counter("sdp_jumps", "Jumps of lagging Consumers to the newest random access point.", counters.jumps)
        yield _counter("sdp_stalled_closed", "Consumers closed because they took nothing.", factory.stalled)
        yield _counter("sdp_requests", "Requests answered.", self._requests)
        yield _counter("sdp_connections_accepted", "Connections accepted.", factory.count.accepted)
        yield _counter(
            "sdp_connections_refused", "Connections refused because there were too many.", factory.count.refused
        )
        yield GaugeMetricFamily("sdp_connections", "Open connections.", factory.count.total)
        yield from self._of_streams()
        if self._relay is not None:
            yield from _of_upstreams(self._relay)
        if streams.store is not None:
            yield _counter("sdp_store_bytes_written", "Bytes written to the store.", streams.store.bytes_written)
            yield _counter("sdp_store_syncs", "Times that the store was made durable.", streams.store.syncs)
            trimmed = CounterMetricFamily(
                "sdp_store_trimmed_bytes", "Bytes that retention took off the disk.", labels=["limit"]
            )
            for limit, size in streams.store.trimmed.items():
                trimmed.add_metric([limit], size)
            yield trimmed
            yield _counter("sdp_store_failures", "Recordings that the disk stopped.", streams.store.failures)
            yield _counter("sdp_store_resumed", "Recordings that went on afterwards.", streams.store.resumed)
            # A disk that does not even say what is left must not take along the metrics that tell of its failure.
            with suppress(StorageError):
                free = streams.store.free_bytes()
                yield GaugeMetricFamily("sdp_store_free_bytes", "Free space where the store is.", free)

    @property
    def _requests(self) -> int:
        return self._factory.requests + sum(each.requests for each in self._inner)

    def _of_streams(self) -> Iterator[Metric]:
        end = GaugeMetricFamily("sdp_stream_end_offset_bytes", "The end of each stream's log.", labels=["stream"])
        rate = GaugeMetricFamily("sdp_stream_bit_rate", "Bits a second that each stream receives.", labels=["stream"])
        consumers = GaugeMetricFamily("sdp_stream_consumers", "Live answers of each stream.", labels=["stream"])
        live = GaugeMetricFamily(
            "sdp_stream_live", "1 for a live stream, 0 for a stalled or ended one.", labels=["stream"]
        )
        holes = GaugeMetricFamily("sdp_stream_hole_bytes", "Bytes missing in the midst of a log.", labels=["stream"])
        recording = GaugeMetricFamily("sdp_stream_recording", "1 while a stream is recorded.", labels=["stream"])
        for stream in self._streams.catalog:
            epoch = stream.current
            if epoch is None:
                continue
            about = self._streams.live(epoch)
            label = [stream.name]
            end.add_metric(label, epoch.end)
            rate.add_metric(label, self._streams.bit_rate(about))
            consumers.add_metric(label, len(consumers_of(about)))
            live.add_metric(label, self._streams.state(epoch) == "live")
            holes.add_metric(label, sum(stop - start for start, stop in epoch.holes))
            kept: Any = epoch.recording if about.upstream is None else None
            recording.add_metric(label, kept is not None and kept.failure is None)
        yield from (end, rate, consumers, live, holes, recording)


def _of_upstreams(relay: Relay) -> Iterator[Metric]:
    received = CounterMetricFamily("sdp_upstream_bytes", "Content received from each upstream.", labels=["upstream"])
    opened = CounterMetricFamily("sdp_upstream_connects", "Connections made to each upstream.", labels=["upstream"])
    connections = GaugeMetricFamily("sdp_upstream_connections", "Open connections to each.", labels=["upstream"])
    for upstream in relay.upstreams:
        label = [str(upstream)]
        received.add_metric(label, upstream.bytes_received)
        opened.add_metric(label, upstream.opened)
        connections.add_metric(label, upstream.connections)
    yield from (received, opened, connections)
    yield _counter("sdp_upstream_failovers", "Times that a stream went on at another upstream.", relay.failovers)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value=value)
