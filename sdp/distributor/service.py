"""The Distributor as a Twisted service: recovers what is stored, listens, and drains when it is told to end."""

from __future__ import annotations

import resource
from collections.abc import Callable
from random import Random
from typing import Any, ClassVar

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger

from sdp.distributor.access import Access, Secrets, is_loopback
from sdp.distributor.answers import Answers
from sdp.distributor.digest import Digests
from sdp.distributor.relay import PSEUDONYM, Relay
from sdp.distributor.reports import Colleagues
from sdp.distributor.settings import DistributorSettings
from sdp.distributor.site import DistributorSite, cors_lines
from sdp.distributor.streams import Streams
from sdp.distributor.upstream import Upstream
from sdp.distributor.views import Views
from sdp.errors import ConfigurationError, SDPError
from sdp.http1 import Limits
from sdp.net.accepting import accept_few
from sdp.net.backoff import Backoff
from sdp.net.exchange import Site
from sdp.net.limits import ServerLimits
from sdp.net.server import ServerChannelFactory
from sdp.net.sweep import Sweep
from sdp.observe import Trace
from sdp.web import Pages

__all__ = ["DistributorParts", "DistributorService", "listen_on", "server_limits", "with_backlog"]

BACKLOG = 4096
"""Connections that the kernel may hold for us before we accept them: a thousand may join at once."""

DRAIN_LIMIT = 3.0
"""How long connections may take to end, in seconds, before they are broken off: the contract allows 10 for all."""


def server_limits(settings: DistributorSettings) -> ServerLimits:
    """The connection's limits out of an operator's settings."""
    return ServerLimits(
        message=Limits(
            start_line=settings.max_start_line,
            field_section=settings.max_field_section,
            fields=settings.max_fields,
            chunk_extension=settings.max_chunk_extension,
            trailer_section=settings.max_trailer_section,
        ),
        idle_timeout=settings.idle_timeout,
        requests=settings.max_requests,
        head_timeout=settings.head_timeout,
        body_timeout=settings.body_timeout,
        stall_timeout=settings.stall_timeout,
        discard=settings.max_discard,
        connections=settings.max_connections,
        connections_per_address=settings.max_connections_per_address,
    )


def with_backlog(endpoint: str) -> str:
    """Give a TCP endpoint description a backlog that fits a crowd, where it names none."""
    kind = endpoint.partition(":")[0]
    return (
        f"{endpoint}:backlog={BACKLOG}" if kind in ("tcp", "tcp6", "ssl") and ":backlog=" not in endpoint else endpoint
    )


async def listen_on(description: str, endpoint: IStreamServerEndpoint, factory: IProtocolFactory) -> IListeningPort:
    """Listen on an endpoint, of which ``description`` is the text. ConfigurationError where that cannot be."""
    try:
        port: IListeningPort = await endpoint.listen(factory)
    except CannotListenError as error:
        reason = getattr(error.socketError, "strerror", None) or str(error.socketError)
        raise ConfigurationError(f"--listen: {description} cannot be listened on: {reason}.") from error
    except (OSError, ValueError, OverflowError) as error:  # the last of a port that is no port
        raise ConfigurationError(f"--listen: {description} cannot be listened on: {str(error).rstrip('.')}.") from error
    return port


def raise_file_limit(connections: int) -> None:
    """Let the process open as many files as it may have connections, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 1024
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )


@attrs.frozen
class DistributorParts:
    """What a Distributor takes from the world around it."""

    open_store: Callable[[], Any]
    """Makes the IStore, or None for no disk; may raise StorageError."""
    wall_clock: Callable[[], float]
    """Seconds since the Unix epoch."""
    random_bytes: Callable[[int], bytes]
    trace: Trace | None = None
    """What is told of each stream's way, where that was asked for."""


class DistributorService(Service):
    """One Distributor. ``ports`` are what it listens on, once it does.

    ``leave`` is called with the process's exit status where it cannot begin. ConfigurationError where the settings ask
    for what cannot be.
    """

    log = Logger(namespace="sdp.distributor")

    _answers: ClassVar[type[Answers]] = Answers

    def __init__(
        self, settings: DistributorSettings, reactor: Any, leave: Callable[[int], None], parts: DistributorParts
    ) -> None:
        self.setName("sdp-distributor")
        self.settings = settings
        self.ports: list[IListeningPort] = []
        self._reactor = reactor
        self._leave = leave
        self._parts = parts
        self._relay: Relay | None = None
        self._check_relay()
        if settings.fan_out_after_sync and (settings.store is None or settings.sync is None):
            raise ConfigurationError("--fan-out-after-sync needs a --store, and a --sync other than never.")
        self._endpoints = [self._endpoint(description) for description in settings.listen]
        publish = None if settings.publish_token is None else Secrets.read(settings.publish_token, "--publish-token")
        read = None if settings.read_token is None else Secrets.read(settings.read_token, "--read-token")
        self._access = Access(publish, read, settings.trust_proxy)
        self._store: Any = None
        self._streams: Streams | None = None
        self._sweep = Sweep(reactor)
        self._factories: list[ServerChannelFactory] = []
        self._starting: Deferred[None] | None = None

    def _check_relay(self) -> None:
        """A relay keeps nothing on a disk of its own: its upstream has it all. ``--store`` has a default, which it
        passes over; a directory of the operator's own choice is a misunderstanding."""
        settings = self.settings
        if settings.upstream and settings.store not in (None, attrs.fields(DistributorSettings).store.default):
            raise ConfigurationError(
                "--store and --upstream do not go together: a relay reads from its upstream what it does not have in"
                " memory. Leave --store out."
            )

    def _endpoint(self, description: str) -> tuple[str, IStreamServerEndpoint]:
        try:
            return description, serverFromString(self._listening_reactor(), with_backlog(description))
        except Exception as error:  # a plugin's parser may raise anything
            raise ConfigurationError(f"--listen: {description!r} is no endpoint such as tcp:8080 ({error}).") from error

    def _listening_reactor(self) -> Any:
        """What the endpoints listen by."""
        return self._reactor

    # -- beginning ---------------------------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        self._starting = Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        try:
            raise_file_limit(self.settings.max_connections)
            # The store's threads begin here: after a daemon's fork, not before it.
            self._store = None if self.settings.upstream else self._parts.open_store()
            streams = self._streams = self._build()
            await streams.recover()
            for description, endpoint in self._endpoints:
                await self._listen(description, endpoint, self._factories[0])
            self._sweep.start()
            self._begun()
        except CancelledError:
            return
        except SDPError as error:
            self.log.error("{detail}", detail=error.detail)
            self._leave(1)
        except Exception:
            self.log.failure("The Distributor could not begin, by a fault of its own.")
            self._leave(1)

    def _begun(self) -> None:
        """It listens."""

    def _build(self) -> Streams:
        """Put the parts together."""
        settings, reactor = self.settings, self._reactor
        streams = self._make_streams()
        cors = cors_lines(settings.allow_origin)
        answers = self._make_answers(streams)
        relay = self._relay = self._make_relay(streams)
        digests = Digests(lambda work: deferToThreadPool(reactor, reactor.getThreadPool(), work))
        views = Views(streams, Pages(), digests, relay, self._colleagues())

        def make_site(access: Access) -> Site:
            return DistributorSite(streams, answers, views, access, cors, relay)

        factory = self._make_factory(ServerChannelFactory, make_site(self._access))
        self._factories = [factory, *self._inner_factories(make_site)]
        views.attach(*self._factories)
        self._sweep.after_each += [streams.tick, factory.close_stalled]
        return streams

    def _make_streams(self) -> Streams:
        parts = self._parts
        return Streams(
            self.settings,
            self._reactor,
            wall_clock=parts.wall_clock,
            random_bytes=parts.random_bytes,
            store=self._store,
            trace=parts.trace,
        )

    def _make_answers(self, streams: Streams) -> Answers:
        boundary = self._parts.random_bytes(16).hex().encode()
        return self._answers(streams, self._reactor, boundary, cors_lines(self.settings.allow_origin))

    def _make_factory(self, kind: type[ServerChannelFactory], site: Site) -> ServerChannelFactory:
        settings = self.settings
        return kind(
            site,
            self._sweep,
            server_limits(settings),
            wall_clock=self._parts.wall_clock,
            standing=((b"Connection-Type", b"distributor"), (b"Server", b"SDP")),
            exempt=lambda address: is_loopback(address) or address in settings.trust_proxy,
        )

    def _colleagues(self) -> Colleagues | None:
        """The other processes of this Distributor, where it is several."""
        return None

    def _inner_factories(self, make_site: Callable[[Access], Site]) -> list[ServerChannelFactory]:
        """Make what serves those other processes."""
        return []

    def _make_relay(self, streams: Streams) -> Relay | None:
        settings, reactor, parts = self.settings, self._reactor, self._parts
        if not settings.upstream:
            return None
        pseudonym = PSEUDONYM + parts.random_bytes(8).hex()
        upstreams = [
            Upstream(place.trusting(settings.upstream_ca_file), reactor, pseudonym, settings.upstream_connections)
            for place in settings.upstream
        ]
        random = Random(parts.random_bytes(8))
        return Relay(
            streams, upstreams, reactor, lambda: Backoff(random, most=2.0), pseudonym, settings.upstream_linger
        )

    async def _listen(self, description: str, endpoint: IStreamServerEndpoint, factory: ServerChannelFactory) -> None:
        port = await listen_on(description, endpoint, factory)
        accept_few(port, self._reactor.seconds)
        self.ports.append(port)
        self._announce(port)

    def _announce(self, port: IListeningPort) -> None:
        self.log.info("Listening on {port}", port=port.getHost())

    # -- ending ------------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._starting is not None:
            self._starting.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        """Drain: nothing new comes in, what was accepted is written and synced, live answers break off."""
        for port in self.ports:
            await maybeDeferred(port.stopListening)
        await gatherResults(
            [Deferred.fromCoroutine(each.drain(self._reactor, DRAIN_LIMIT)) for each in self._factories]
        )
        if self._relay is not None:
            self._relay.stop()
        self._sweep.stop()
        if self._streams is not None:
            self._streams.stop_resuming()
        if self._store is not None:
            await self._store.close()
