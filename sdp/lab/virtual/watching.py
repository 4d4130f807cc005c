"""Consumers in virtual time: real requests and real answers, and a note of when each picture's last byte was there.

Whoever streams is :class:`~sdp.net.fetch.LiveFetch`; whoever polls asks anew each time, by what it has. What came is
taken apart by the project's own demuxer, and each picture told by the number that it bears.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any, Final

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.task import deferLater

from sdp.container.fragment_units import FragmentDemuxer
from sdp.errors import MediaError, SDPError
from sdp.http1 import Response
from sdp.http1.multipart import PartsReader, boundary_of
from sdp.lab.gathering import Seen
from sdp.lab.virtual.pictures import read_number
from sdp.lab.virtual.world import Place
from sdp.lab.way import Way
from sdp.net.address import parse_address
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import ClientFactory, ClientProtocol, Role, connect
from sdp.net.fetch import LiveFetch, PartsBody, Piece
from sdp.net.possession import Possession

__all__ = ["NAME", "RETRY", "Consumer", "Quiet", "client_factory", "connecting_to"]

NAME: Final = "lab"
"""The stream."""

RETRY: Final = 0.05
"""How long a consumer that was cut off waits before it asks again, in seconds: as long as the real engine's."""

LONG_POLL: Final = 20
"""How long a long poll may wait for something new, in seconds."""


class Quiet:
    """An operator who does not read."""

    def info(self, format: str, **values: object) -> None:
        """Not read."""

    warn = info


def client_factory(place: Place, role: Role) -> ClientFactory:
    """Who speaks in this role from this place, by the header alone: as the real engine's probes do."""
    factory = ClientFactory(parse_address("http://server/" + NAME), role, place)
    factory.header_alone = role is Role.CONSUMER
    return factory


def connecting_to(place: Place, server: str, factory: ClientFactory) -> Callable[[], Any]:
    """What makes a new connection from a place to a server's each time that it is called."""

    async def connect_to() -> ClientProtocol:
        endpoint: Any = UNIXClientEndpoint(place, server)
        return await connect(endpoint, factory)

    return connect_to


class Consumer:
    """One consumer at ``place``, of the server of that name. ``captured`` gives a picture's capture time by its number.

    ``seen`` is a line for each picture that came, ``passed`` when it had how much (microseconds and offset).
    """

    def __init__(self, number: int, place: Place, server: str, way: Way, captured: Callable[[int], int]) -> None:
        self.number = number
        self.place = place
        self.seen: list[Seen] = []
        self.passed: list[tuple[int, int]] = []
        self.twice = self.requests = 0
        self.on_picture: Callable[[], None] = lambda: None
        self._way = way
        self._captured = captured
        self._demuxer = FragmentDemuxer()
        self._epoch = ""
        self._end = 0
        self._connect = connecting_to(place, server, client_factory(place, Role.CONSUMER))
        self._running: Deferred[None] | None = None

    def start(self) -> None:
        """Come in now."""
        if self._way.delivery == "stream":
            attempts = Attempts(self._connect, self.place, _steady(), Quiet())
            run = self._again(LiveFetch(b"/" + NAME.encode(), attempts, Quiet(), self._take, self._begin))
        else:
            run = _Polling(self._connect, self.place, self._way, self._take, self._begin, self._asks).run()
        self._running = Deferred.fromCoroutine(run)
        self._running.addErrback(lambda failure: failure.trap(CancelledError))

    async def _again(self, fetch: LiveFetch) -> None:
        """Go on where an epoch has ended, too: its Origin may begin another one."""
        while True:
            await fetch.run()
            await deferLater(self.place, RETRY)

    def leave(self) -> None:
        """Go away."""
        if self._running is not None:
            self._running.cancel()

    def _asks(self) -> None:
        self.requests += 1

    def _begin(self, epoch: str) -> None:
        self._epoch, self._end, self._demuxer = epoch.strip('"'), 0, FragmentDemuxer()

    def _take(self, piece: Piece) -> None:
        now = self.place.world.microseconds()
        self.twice += max(0, min(self._end, piece.offset + len(piece.data)) - piece.offset)
        self._end = max(self._end, piece.offset + len(piece.data))
        self.passed.append((now, self._end))
        try:
            units = self._demuxer.feed(piece.offset, piece.data, piece.capture_time)
        except MediaError:
            self._demuxer = FragmentDemuxer()
            return
        for unit in units:
            number = read_number(unit.data)
            if number is not None:
                self.seen.append(
                    Seen(
                        consumer=self.number,
                        captured=self._captured(number),
                        fetched=now,
                        decoded=now,  # no codec: see the package
                        prft=unit.capture_time,
                        epoch=self._epoch,
                        end=unit.offset,
                    )
                )
                self.on_picture()


def _steady() -> Backoff:
    return Backoff(Random(0), first=RETRY, most=RETRY, jitter=0.0)


class _Polling:
    """Asks again and again: each time on the same connection or on a new one, at once or after a while."""

    def __init__(
        self,
        connect: Callable[[], Any],
        place: Place,
        way: Way,
        take: Callable[[Piece], None],
        begin: Callable[[str], None],
        asks: Callable[[], None],
    ) -> None:
        self._connect = connect
        self._place = place
        self._way = way
        self._take = take
        self._begin = begin
        self._asks = asks
        self._epoch: bytes | None = None
        self._possession = Possession()
        self._client: ClientProtocol | None = None

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            while True:
                try:
                    if self._client is None or not self._client.usable:
                        self._client = await self._connect()
                    status = await self._ask(self._client)
                except SDPError:
                    self._close()
                    status = 0
                if self._way.connection == "new":
                    self._close()
                wait = self._way.poll_every if self._way.delivery == "poll" else 0.0
                if status not in (200, 204, 206):
                    wait = max(wait, RETRY)
                await deferLater(self._place, wait)
        finally:
            self._close()

    def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            with suppress(SDPError):
                client.abort()

    async def _ask(self, client: ClientProtocol) -> int:
        """Make one request, take its answer, and return its status."""
        wait = LONG_POLL if self._way.delivery == "long-poll" else 0
        lines = [(b"Accept", b"multipart/byteranges"), (b"Prefer", b"wait=%d" % wait), *self._possession.lines()]
        if self._epoch is not None:
            lines.append((b"If-Match", self._epoch))
        self._asks()
        body = PartsBody(self._give, client.abort)
        head = client.request(b"GET", b"/" + NAME.encode(), lines, None, body)
        head.addCallback(self._look_at, body)
        response: Response = await head
        fault = await body.over
        if fault is not None:
            raise fault
        if response.status == 412:
            self._epoch, self._possession = None, Possession()
        return response.status

    def _look_at(self, response: Response, body: PartsBody) -> Response:
        if response.status in (200, 206):
            epoch = response.headers.get(b"etag")
            if epoch != self._epoch and epoch is not None:
                self._epoch, self._possession = epoch, Possession()
                self._begin(epoch.decode("ascii", "replace"))
            body.parts = PartsReader(boundary_of(response.headers.get(b"content-type") or b""))
        return response

    def _give(self, piece: Piece) -> None:
        self._possession.add(piece.offset, piece.offset + len(piece.data))
        self._take(piece)
