"""A client on a bare socket, independent of the code under test: it reads the wire by the letter of RFC 9112.

Everything waits for bytes, up to a deadline that only a fault reaches.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

LIMIT = 20.0
"""How long anything may take before it counts as hanging, in seconds."""

OPEN_END = 9007199254740991

Fields = Mapping[str, str] | Iterable[tuple[str, str]]


class Cut(Exception):
    """The connection ended before the message did."""


class Response:
    """A response's head, and once it is read, its content."""

    def __init__(self, status: int, version: str, lines: list[tuple[str, str]]) -> None:
        self.status = status
        self.version = version
        self.lines = lines
        self.body = b""

    def __repr__(self) -> str:
        return f"<{self.status} {self.lines} {self.body[:300]!r}>"

    def get(self, name: str) -> str | None:
        values = self.all(name)
        assert len(values) <= 1, f"{name} comes more than once: {values}"
        return values[0] if values else None

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.lines if key.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        value = self.get(name)
        assert value is not None, f"no {name} in {self!r}"
        return value

    @property
    def etag(self) -> str:
        """The ETag, held to be a strong one."""
        value = self["ETag"]
        assert re.fullmatch(r'"[\x21\x23-\x7e]+"', value), value
        return value

    @property
    def end(self) -> int:
        """Upload-Offset."""
        return int(self["Upload-Offset"])


class Part(NamedTuple):
    """One part of a multipart content: its place, what was said of it, its bytes."""

    first: int
    last: int
    complete: str
    fields: dict[str, str]
    data: bytes


def fields_of(fields: Fields) -> list[tuple[str, str]]:
    return list(fields.items()) if isinstance(fields, Mapping) else list(fields)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


LAST_CHUNK = b"0\r\n\r\n"


class Peer:
    """One connection. A response's content is read with :meth:`some`, :meth:`exactly`, :meth:`rest`."""

    def __init__(
        self,
        port: int,
        *,
        host: str = "127.0.0.1",
        receive_buffer: int | None = None,
        source: str | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.socket = socket.socket()
        if receive_buffer is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        if source is not None:
            self.socket.bind((source, 0))
        self.socket.settimeout(LIMIT)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self.socket.connect((host, port))
            if tls is not None:
                self.socket = tls.wrap_socket(self.socket, server_hostname=host)
        except OSError:
            self.socket.close()
            raise
        self.port = port
        self._held = b""
        self._decoded = b""
        self._content: Iterator[bytes] = iter(())
        self.clean = False

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    # -- sending -----------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def head_bytes(self, method: str, target: str, fields: Fields = (), *, version: str = "1.1") -> bytes:
        lines = fields_of(fields)
        if not any(name.lower() == "host" for name, _ in lines):
            lines.insert(0, ("Host", f"127.0.0.1:{self.port}"))
        text = "".join(f"{name}: {value}\r\n" for name, value in lines)
        return f"{method} {target} HTTP/{version}\r\n{text}\r\n".encode("latin-1")

    def ask(
        self, method: str, target: str, fields: Fields = (), body: bytes | None = None, *, version: str = "1.1"
    ) -> None:
        """Send a whole request; a body goes with its Content-Length."""
        lines = fields_of(fields)
        if body is not None:
            lines.append(("Content-Length", str(len(body))))
        self.send(self.head_bytes(method, target, lines, version=version) + (body or b""))

    # -- receiving ---------------------------------------------------------------------------------------------

    def _receive(self) -> bytes:
        """Return the next bytes; b"" where the peer has ended its side; Cut where the connection was reset."""
        try:
            return self.socket.recv(65536)
        except ConnectionResetError as error:
            raise Cut("reset") from error

    def _fill(self) -> None:
        data = self._receive()
        if not data:
            raise Cut(f"closed; held: {self._held[:200]!r}")
        self._held += data

    def _until(self, mark: bytes) -> bytes:
        while mark not in self._held:
            self._fill()
        found, _, self._held = self._held.partition(mark)
        return found

    def _take(self, size: int) -> bytes:
        while len(self._held) < size:
            self._fill()
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def head(self, method: str = "GET") -> Response:
        """Read a response's head, and be ready for its content."""
        first, *lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        match = re.fullmatch(r"HTTP/(1\.[01]) (\d{3}) ?(.*)", first)
        assert match is not None, first
        pairs = []
        for line in lines:
            name, colon, value = line.partition(":")
            assert colon, line
            assert re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", name), line
            pairs.append((name, value.strip(" \t")))
        response = Response(int(match[2]), match[1], pairs)
        self.clean = False
        self._decoded = b""
        self._content = self._read_content(response, method)
        return response

    def _read_content(self, response: Response, method: str) -> Iterator[bytes]:
        """Yield a content's pieces; set ``clean`` once it is whole (RFC 9112 section 6.3)."""
        status = response.status
        chunked = response.get("Transfer-Encoding")
        length = response.get("Content-Length")
        assert chunked is None or (chunked == "chunked" and length is None)
        if status == 204 or status < 200 or (method == "CONNECT" and status < 300):
            assert chunked is None
            assert length is None
            self.clean = True
        elif method == "HEAD" or status == 304:
            self.clean = True
        elif chunked is not None:
            yield from self._read_chunks()
        elif length is not None:
            left = int(length)
            while left:
                piece = self._take(min(left, max(len(self._held), 1)))
                left -= len(piece)
                yield piece
            self.clean = True
        else:
            while True:
                if self._held:
                    piece, self._held = self._held, b""
                    yield piece
                piece = self._receive()
                if not piece:
                    break
                self._held += piece
            self.clean = True

    def _read_chunks(self) -> Iterator[bytes]:
        while True:
            size = int(self._until(b"\r\n"), 16)
            if not size:
                assert self._until(b"\r\n") == b"", "a trailer section that nobody asked for"
                self.clean = True
                return
            left = size
            while left:
                piece = self._take(min(left, max(len(self._held), 1)))
                left -= len(piece)
                yield piece
            assert self._take(2) == b"\r\n"

    def some(self) -> bytes:
        """Return content as it comes, b"" at its clean end; Cut where the connection ends first."""
        if self._decoded:
            data, self._decoded = self._decoded, b""
            return data
        return next(self._content, b"")

    def exactly(self, size: int) -> bytes:
        """Return the next ``size`` bytes of the content."""
        while len(self._decoded) < size:
            piece = next(self._content, b"")
            if not piece:
                raise Cut(f"the content ended after {len(self._decoded)} of {size} bytes")
            self._decoded += piece
        data, self._decoded = self._decoded[:size], self._decoded[size:]
        return data

    def rest(self) -> bytes:
        """Return the content up to its clean end."""
        data = self._decoded + b"".join(self._content)
        self._decoded = b""
        assert self.clean
        return data

    def broken_off(self) -> bytes:
        """Return what comes until the connection ends without the content's end; fail where it ends cleanly."""
        data = bytearray(self._decoded)
        try:
            for piece in self._content:
                data += piece
        except Cut:
            return bytes(data)
        raise AssertionError("the content ended cleanly")

    def response(self, method: str = "GET") -> Response:
        """Read a whole response."""
        response = self.head(method)
        response.body = self.rest()
        return response

    def ended(self) -> bool:
        """Wait for the server to close; whether it did without another byte."""
        try:
            return not self._held and self._receive() == b""
        except Cut:
            return True

    def call(
        self, method: str, target: str, fields: Fields = (), body: bytes | None = None, *, version: str = "1.1"
    ) -> Response:
        self.ask(method, target, fields, body, version=version)
        return self.response(method)

    # -- multipart/byteranges (RFC 9110 section 14.6) ----------------------------------------------------------

    def _content_until(self, mark: bytes) -> bytes:
        while mark not in self._decoded:
            piece = next(self._content, b"")
            if not piece:
                raise Cut(f"no {mark!r} in {self._decoded[:200]!r}")
            self._decoded += piece
        found, _, self._decoded = self._decoded.partition(mark)
        return found

    def part(self, boundary: str) -> Part | None:
        """Return the next part; None at the closing delimiter, with the content's clean end behind it."""
        delimiter = b"--" + boundary.encode()
        before = self._content_until(delimiter)
        assert before in (b"", b"\r\n"), before
        tail = self._content_until(b"\r\n")
        if tail == b"--":
            assert self.rest() == b""
            return None
        assert tail.strip(b" \t") == b"", tail
        fields = {}
        while line := self._content_until(b"\r\n"):
            name, colon, value = line.decode("latin-1").partition(":")
            assert colon, line
            assert name.lower() not in fields, line
            fields[name.lower()] = value.strip(" \t")
        match = re.fullmatch(r"bytes (\d+)-(\d+)/(\*|\d+)", fields["content-range"])
        assert match is not None, fields
        first, last = int(match[1]), int(match[2])
        return Part(first, last, match[3], fields, self.exactly(last - first + 1))

    def parts(self, boundary: str) -> list[Part]:
        """Return all parts, up to the closing delimiter."""
        found = []
        while (part := self.part(boundary)) is not None:
            found.append(part)
        return found


def boundary_of(response: Response) -> str:
    """The boundary of a multipart/byteranges answer."""
    match = re.fullmatch(
        r'multipart/byteranges; *boundary="?([0-9A-Za-z\'()+_,./:=?-]{1,70})"?', response["Content-Type"]
    )
    assert match is not None, response
    return match[1]


def content_range(first: int, last: int, complete: int | str = "*") -> dict[str, str]:
    """A Content-Range field; ``last`` is inclusive."""
    return {"Content-Range": f"bytes {first}-{last}/{complete}"}
