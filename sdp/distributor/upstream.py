"""Another Distributor, as a relay sees it: where it is, how it is asked, and what it has told.

Everything that a relay wants of its upstream goes through here: what is short over a few kept connections, a live
stream over one of its own. The relay's Via goes with each request, so that a circle of relays is found out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import attrs
from twisted.internet.endpoints import clientFromString
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import deferLater

from sdp.distributor.index_view import MOST_RECORDS, parse_index
from sdp.distributor.timeshift import format_time
from sdp.errors import ConfigurationError, ProtocolError, Refusal, SDPError, StorageError
from sdp.http1 import Headers
from sdp.http1.fields import parse_digits
from sdp.http1.ranges import MAX_LAST, parse_content_range
from sdp.http1.via import format_via, parse_via
from sdp.net.address import Address, parse_address, with_authorities
from sdp.net.client import Answer, ClientFactory, ClientLimits, ClientProtocol, Disconnected, Role, connect
from sdp.net.missing import parse_missing
from sdp.net.pool import Pool
from sdp.net.refusals import offset_field, retry_after, sentence
from sdp.stream.holes import Interval
from sdp.stream.record import Flag, Record

__all__ = ["MissingUpstream", "Place", "Told", "Upstream", "parse_place", "refusal_of"]

CONNECT_TIMEOUT = 5.0
"""How long a connection to an upstream may take to come about, in seconds, before the next one is tried."""

ANSWER_TIMEOUT = 10.0
"""How long an upstream may take to begin an answer, in seconds."""

_PASSED_ON = frozenset({404, 410, 508})
"""What a client hears of as the upstream says it; anything else is between the relay and its upstream."""
_SENTENCES = {
    404: "there is no such stream yet",
    410: "this is kept no longer",
    508: "relays form a circle, in which nobody has this stream",
}
"""What an answer to HEAD cannot say, since it has no content."""

_SOON = 0.05


@attrs.frozen
class Place:
    """Where an upstream is. ``endpoint`` is a Twisted client endpoint string, where it is not the address's own."""

    address: Address
    endpoint: str | None = None

    def __str__(self) -> str:
        return str(self.address) if self.endpoint is None else self.endpoint

    def trusting(self, authorities: Path | None) -> Place:
        """The same place, where the certificates in a file vouch for it. ConfigurationError."""
        if self.address.scheme == "http":
            return self
        return attrs.evolve(self, address=with_authorities(self.address, authorities))


def parse_place(given: str) -> Place:
    """Read ``http://[SECRET@]HOST[:PORT][/PREFIX]``, https the same, or a client endpoint such as ``unix:PATH``.

    Raises ConfigurationError, which quotes no secret.
    """
    if "://" in given:
        address = parse_address(given)
        if b"?" in address.target:
            raise ConfigurationError("An upstream's URL has no query; write http://HOST:8080.")
        return Place(address)
    kind, colon, _ = given.partition(":")
    if not colon or not kind.isalnum():
        raise ConfigurationError("An upstream is a URL such as http://HOST:8080, or an endpoint such as unix:PATH.")
    return Place(parse_address("http://localhost/"), given)


@attrs.frozen
class Told:
    """What an upstream has said of a stream: ``ended`` is whether its ``end`` is final; ``path`` are the relays that
    the answer has passed."""

    epoch: str
    content_type: str
    first: int
    end: int
    ended: bool
    path: tuple[str, ...]
    durable: int | None = None
    """The offset up to which the upstream's disk keeps it, where it has one."""
    holes: tuple[Interval, ...] = ()
    """What the upstream lacks, as far as it tells."""

    @property
    def typed(self) -> bool:
        """Whether the media type is sure: that of an empty log may still be found in its first bytes."""
        return self.end > 0 or self.ended or self.content_type != "application/octet-stream"


def refusal_of(answer: Answer) -> SDPError:
    """An upstream's refusal as this Distributor's own: what a client may do about it is the same."""
    said = sentence(answer.status, answer.content) if answer.content else _SENTENCES.get(answer.status, "")
    if answer.status in _PASSED_ON:
        after = retry_after(answer.headers)
        lines = ((b"Retry-After", b"%d" % max(1, after)),) if answer.status == 404 else ()
        return Refusal(answer.status, "Refused upstream", f"The upstream says: {said}.", lines)
    return Disconnected(f"The upstream gives nothing now: {said or answer.status}.")


class Upstream:
    """One upstream. ``bytes_received`` counts content, ``opened`` connections that were made to it."""

    def __init__(self, place: Place, reactor: Any, pseudonym: str, most: int) -> None:
        self.place = place
        self.pseudonym = pseudonym
        self.bytes_received = 0
        self.opened = 0
        self.streaming = 0
        """How many connections carry a live stream now."""
        self._reactor = reactor
        self._limits = ClientLimits(connect_timeout=CONNECT_TIMEOUT, head_timeout=ANSWER_TIMEOUT)
        # The secret is told request by request: a publisher's own goes in its place.
        self._address = attrs.evolve(place.address, authorization=None)
        self._prefix = self._address.target.rstrip(b"/")
        self._factories: dict[tuple[Role | None, bool, bool], ClientFactory] = {}
        self._pool = Pool(self.connect, most)

    def __str__(self) -> str:
        return str(self.place).rstrip("/")

    @property
    def connections(self) -> int:
        return len(self._pool) + self.streaming

    def close(self) -> None:
        self._pool.close()

    # -- asking ------------------------------------------------------------------------------------------------

    def _endpoint(self) -> IStreamClientEndpoint:
        if self.place.endpoint is None:
            return self._address.endpoint(self._reactor, CONNECT_TIMEOUT)
        endpoint: IStreamClientEndpoint = clientFromString(self._reactor, self.place.endpoint)
        return endpoint

    async def connect(
        self, role: Role | None = Role.DISTRIBUTOR, *, header_alone: bool = False, live: bool = False
    ) -> ClientProtocol:
        """A connection of one's own, in a role; a ``live`` answer on it may pause for ever. Raises Disconnected."""
        factory = self._factories.get((role, header_alone, live))
        if factory is None:
            limits = attrs.evolve(self._limits, body_timeout=None) if live else self._limits
            factory = ClientFactory(self._address, role, self._reactor, limits)
            factory.header_alone = header_alone
            self._factories[role, header_alone, live] = factory
        client = await connect(self._endpoint(), factory)
        self.opened += 1
        return client

    def target(self, name: str, query: bytes = b"", under: bytes = b"/") -> bytes:
        """The request target of a stream there."""
        return self._prefix + under + quote(name, safe="/").encode("ascii") + (b"?" + query if query else b"")

    def lines(self, passed: Iterable[str] = (), *, authorization: bytes | None = None) -> list[tuple[bytes, bytes]]:
        """The field lines of every request: whom the request has ``passed`` before this relay, and the secret."""
        lines = [(b"Via", format_via([*passed, self.pseudonym]))]
        secret = authorization or self.place.address.authorization
        if secret is not None:
            lines.append((b"Authorization", secret))
        return lines

    async def fetch(
        self, method: bytes, target: bytes, lines: Iterable[tuple[bytes, bytes]], *, patience: float | None = None
    ) -> Answer:
        """Ask for something short over a kept connection. Raises Disconnected."""
        answer = await self._pool.fetch(method, target, lines, head_timeout=patience)
        self.bytes_received += len(answer.content)
        return answer

    # -- what it has -------------------------------------------------------------------------------------------

    async def look(
        self, name: str, passed: Iterable[str] = (), epoch: str | None = None, *, patience: float | None = None
    ) -> Told:
        """Ask what there is of a stream, or of one epoch of it. Raises the Refusal that it answers, or Disconnected:
        where it does not answer within ``patience`` seconds, too."""
        query = b"" if epoch is None else b"epoch=" + epoch.encode("latin-1")
        answer = await self.fetch(b"HEAD", self.target(name, query), self.lines(passed), patience=patience)
        if answer.status not in (200, 206):
            raise refusal_of(answer)
        try:
            return _told(answer.headers)
        except ProtocolError as error:
            raise Disconnected(f"The upstream is no Distributor: {error.detail}") from error

    async def wait_for(self, name: str, seconds: int, passed: Iterable[str] = ()) -> None:
        """Return when a stream has a record, or after ``seconds``. Raises Disconnected.

        One byte of it is asked for, whose answer waits for it (``Prefer: wait``), on a connection of its own.
        """
        client = await self.connect()
        begun = self._reactor.seconds()
        try:
            lines = [*self.lines(passed), (b"Range", b"bytes=0-0"), (b"Prefer", b"wait=%d" % seconds)]
            await client.fetch(b"GET", self.target(name), lines, head_timeout=seconds + ANSWER_TIMEOUT)
        finally:
            client.abort()
        if self._reactor.seconds() - begun < _SOON:
            # Either it has begun, or the upstream does not wait: whoever asks in a loop must not spin.
            await deferLater(self._reactor, _SOON)

    async def read(self, name: str, epoch: str, start: int, end: int) -> bytes:
        """Return the bytes of [start, end) of an epoch, or the first of them. StorageError where they cannot be had."""
        lines = [*self.lines(), (b"Range", b"bytes=%d-%d" % (start, end - 1))]
        answer = await self.fetch(b"GET", self.target(name, b"epoch=" + epoch.encode("latin-1")), lines)
        said = answer.headers.get(b"content-range")
        if answer.status == 206 and said is not None and _tag(answer.headers) == epoch:
            if parse_content_range(said).first != start or not 0 < len(answer.content) <= end - start:
                raise StorageError("The upstream answers with other bytes than were asked for.", status=502)
            return answer.content
        why = sentence(answer.status, answer.content)
        if answer.status == 416 and b"upload-missing" in answer.headers:
            raise MissingUpstream(why, parse_missing(answer.headers))
        status = 410 if answer.status in (404, 410, 412, 416) else 502
        raise StorageError(f"The upstream does not give these bytes: {why}.", status=status, title="Not to be had")

    async def records(self, name: str, epoch: str, start: int, end: int, limit: int) -> list[Record]:
        """As :meth:`sdp.interfaces.IRecording.records`. StorageError."""
        if start >= end:
            return []
        query = b"first=%d&last=%d&limit=%d" % (start, end - 1, min(limit, MOST_RECORDS))
        return await self._index(name, epoch, query)

    async def last_record(self, name: str, epoch: str, before: int, flag: Flag) -> Record | None:
        """As :meth:`sdp.interfaces.IRecording.last_record`. StorageError."""
        what = b"initialization" if flag is Flag.INITIALIZATION else b"random-access"
        found = await self._index(name, epoch, b"newest=%b&before=%d" % (what, before))
        return found[0] if found else None

    async def random_access_at(self, name: str, epoch: str, time: int, before: int) -> Record | None:
        """As :meth:`sdp.interfaces.IRecording.random_access_at`. StorageError."""
        found = await self._index(name, epoch, b"at=%b&before=%d" % (format_time(time).encode("ascii"), before))
        return found[0] if found else None

    async def initialization(self, name: str, epoch: str, before: int) -> tuple[int, bytes]:
        """The last initialization segment that begins at or before an offset, and its own offset. StorageError."""
        query = b"before=%d&epoch=%b" % (before, epoch.encode("latin-1"))
        answer = await self.fetch(b"GET", self.target(name, query, b"/-/initialization/"), self.lines())
        said = parse_content_range(answer.headers.get(b"content-range") or b"")
        if answer.status != 206 or said.first is None:
            why = sentence(answer.status, answer.content)
            raise StorageError(f"The upstream does not give the initialization segment: {why}.", status=502)
        return said.first, answer.content

    async def _index(self, name: str, epoch: str, query: bytes) -> list[Record]:
        query += b"&epoch=" + epoch.encode("latin-1")
        answer = await self.fetch(b"GET", self.target(name, query, b"/-/records/"), self.lines())
        if answer.status != 200:
            why = sentence(answer.status, answer.content)
            raise StorageError(f"The upstream does not give its index: {why}.", status=502)
        try:
            return parse_index(json.loads(answer.content))
        except ValueError as error:
            raise StorageError("The upstream's index cannot be read.", status=502) from error


class MissingUpstream(StorageError):
    """The upstream has not got these bytes, which lie in one of its ``holes``."""

    def __init__(self, why: str, holes: tuple[Interval, ...]) -> None:
        super().__init__(f"The upstream does not have these bytes: {why}.", status=416, title="Missing")
        self.holes = holes


def _tag(headers: Headers) -> str | None:
    value = headers.get(b"etag")
    if value is None or len(value) < 3 or not (value.startswith(b'"') and value.endswith(b'"')):
        return None
    return value[1:-1].decode("latin-1")


def _told(headers: Headers) -> Told:
    """Read the answer to HEAD: of a live stream it has no Content-Length."""
    epoch, end = _tag(headers), offset_field(headers, b"upload-offset")
    if epoch is None or end is None:
        raise ProtocolError("it names neither an epoch (ETag) nor its end (Upload-Offset).")
    content_type = headers.get(b"content-type") or b"application/octet-stream"
    content_range, first_offset = headers.get(b"content-range"), headers.get(b"first-offset")
    first = 0
    if first_offset is not None:
        first = parse_digits(first_offset, MAX_LAST)
    elif content_range is not None:
        first = parse_content_range(content_range).first or 0
    return Told(
        epoch=epoch,
        content_type=content_type.decode("latin-1"),
        first=first,
        end=end,
        ended=b"content-length" in headers,
        path=parse_via(headers.get_all(b"via")),
        durable=offset_field(headers, b"durable-offset"),
        holes=parse_missing(headers),
    )
