"""A consumer's requests, in each of the forms that a scenario may ask for, over blocking sockets.

socket > ResponseReader > PartsReader > ``take``, all in the caller's thread: when a byte came is noted as soon as the
system gives it. A request is made anew when its answer is over, or its connection: what is possessed is said with it,
so nothing has to come twice, and what does is counted.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from threading import Event

import attrs

from sdp.errors import ProtocolError
from sdp.http1 import End, Response, ResponseReader, encode_request
from sdp.http1.headers import Headers
from sdp.http1.multipart import Part, PartsReader, boundary_of
from sdp.lab.decoding import now
from sdp.net.possession import Possession

__all__ = ["Arrival", "Asked", "Fetch", "parse_capture_time"]

RETRY = 0.05
"""How long a consumer that was refused, or cut off, waits before it asks again, in seconds."""

LONG_POLL = 20
"""How long a long poll may wait for something new, in seconds."""

_BLOCK = 1 << 16


@attrs.frozen(kw_only=True)
class Asked:
    """Where and how a consumer asks."""

    port: int
    name: str
    host: str = "127.0.0.1"
    delivery: str = "stream"
    poll_every: float = 0.2
    connection: str = "kept"
    tls: bool = False


@attrs.frozen
class Arrival:
    """Bytes that came, ``at`` that time; ``capture_time`` where their part's head says one."""

    epoch: bytes
    offset: int
    data: bytes
    at: int
    capture_time: int | None


class _Cut(Exception):
    """The connection is gone, or the answer is of no use: ask again."""


class Fetch:
    """One consumer. ``take`` is called with each Arrival; ``stop`` ends it, within a socket's time-out.

    ``twice`` counts bytes that came although they had been here, ``requests`` and ``connections`` what was needed.
    """

    def __init__(self, asked: Asked, take: Callable[[Arrival], None], stop: Event) -> None:
        self.asked = asked
        self.twice = self.requests = self.connections = self.received = 0
        self._take = take
        self._stop = stop
        self._epoch: bytes | None = None
        self._possession = Possession()
        self._end = 0
        self._socket: socket.socket | None = None
        self._reader = ResponseReader()

    def run(self) -> None:
        """Ask until the epoch has ended, or ``stop`` is set."""
        while not self._stop.is_set():
            try:
                ended = self._ask()
            except (OSError, ProtocolError, _Cut):
                self.close()
                self._stop.wait(RETRY)
                continue
            if ended:
                break
            if self.asked.connection == "new":
                self.close()
            if self.asked.delivery == "poll":
                self._stop.wait(self.asked.poll_every)
        self.close()

    def close(self) -> None:
        """Leave the connection, where there is one."""
        if self._socket is not None:
            with suppress(OSError):
                self._socket.close()
            self._socket = None

    # -- one request -------------------------------------------------------------------------------------------

    def _connected(self) -> socket.socket:
        if self._socket is None:
            asked = self.asked
            made = socket.create_connection((asked.host, asked.port), timeout=1.0)
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if asked.tls:
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
                context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # of this run's own making
                made = context.wrap_socket(made)
            made.settimeout(0.25)
            self._socket, self._reader = made, ResponseReader()
            self.connections += 1
        return self._socket

    def _request(self) -> bytes:
        asked = self.asked
        lines = [
            (b"Host", b"%b:%d" % (asked.host.encode(), asked.port)),
            (b"Connection-Type", b"consumer"),
            (b"Accept", b"multipart/byteranges"),
            *self._possession.lines(),
        ]
        if self._epoch is not None:
            lines.append((b"If-Match", self._epoch))
        if asked.delivery == "long-poll":
            lines.append((b"Prefer", b"wait=%d" % LONG_POLL))
        elif asked.delivery == "poll":
            lines.append((b"Prefer", b"wait=0"))
        return encode_request(b"GET", b"/" + asked.name.encode(), lines)

    def _ask(self) -> bool:
        """Make one request, and take its answer. Return whether the epoch has ended."""
        connection = self._connected()
        self._reader.expect(b"GET")
        connection.sendall(self._request())
        self.requests += 1
        head = self._next()
        while isinstance(head, Response) and head.interim:
            head = self._next()
        if not isinstance(head, Response):
            raise _Cut
        if head.status == 206:
            self._begin(head.headers)
            self._parts(PartsReader(boundary_of(head.headers.get(b"content-type") or b"")))
        else:
            while not isinstance(self._next(), End):
                pass
        if not head.persistent:
            self.close()
        if head.status == 412:
            self._epoch, self._possession, self._end = None, Possession(), 0
        elif head.status == 204:
            return b"content-range" in head.headers
        elif head.status != 206:
            raise _Cut
        return False

    def _begin(self, headers: Headers) -> None:
        epoch = headers.get(b"etag")
        if epoch is None:
            raise _Cut
        if epoch != self._epoch:
            self._epoch, self._possession, self._end = epoch, Possession(), 0

    def _next(self) -> Response | bytes | End:
        """The next event of the answer, as soon as it is here."""
        while True:
            event = self._reader.next_event()
            if event is not None:
                if isinstance(event, Response | bytes | End):
                    return event
                raise _Cut
            if self._stop.is_set():
                raise _Cut
            try:
                data = self._connected().recv(_BLOCK)
            except TimeoutError:
                continue
            self._at = now()
            if not data:
                raise _Cut
            self.received += len(data)
            self._reader.feed(data)

    def _parts(self, parts: PartsReader) -> None:
        offset, capture_time = 0, None
        while not isinstance(event := self._next(), End):
            if not isinstance(event, bytes):
                raise _Cut
            parts.feed(event)
            while (piece := parts.next_event()) is not None:
                if isinstance(piece, Part):
                    offset = piece.content_range.first or 0
                    capture_time = parse_capture_time(piece.headers)
                elif isinstance(piece, bytes):
                    self._give(offset, piece, capture_time)
                    offset, capture_time = offset + len(piece), None

    def _give(self, offset: int, data: bytes, capture_time: int | None) -> None:
        end = offset + len(data)
        if offset < self._end:
            again = min(self._end, end) - offset
            self.twice += again
            offset, data = offset + again, data[again:]
            if not data:
                return
        self._possession.add(offset, end)
        self._end = end
        assert self._epoch is not None
        self._take(Arrival(self._epoch, offset, data, self._at, capture_time))


def parse_capture_time(headers: Headers) -> int | None:
    """A part's Capture-Time, or None where it says none that can be read."""
    said = headers.get(b"capture-time")
    return int(said) if said is not None and said.isdigit() and len(said) < 20 else None
