"""How fast POSTs are taken: small ones on one kept connection, and large ones, beside servers that only read them.

    python bench/ingest.py [--servers NAMES] [--seconds S] [--json FILE]

The Distributor checks each POST's place in the log, appends, finds records and answers with where the log ends; with
``sdp-store`` it writes all to disk too. The others (twisted.web, aiohttp, uvicorn: ``pip install aiohttp uvicorn
httptools uvloop``; nginx) read the content, drop it, and answer 204. CPU tells how much of a core the server had: below
100 it was the client, or the machine, that was too slow, and ``each CPU second`` is what to compare.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from loopback.figures import Row, Table, write_json
from loopback.processes import (
    BENCH,
    HOST,
    Process,
    Unavailable,
    environment,
    free_port,
    scratch,
    twistd,
)
from loopback.readers import READERS

SERVERS = ("sdp", "sdp-store", *READERS, "nginx")
SMALL = 1024
LARGE = 32 << 20
WARM_UP = 0.3
"""Seconds of load before the window."""
_BATCH = 16
"""How many pipelined requests go out in one send()."""

_NGINX = """daemon off; worker_processes 1; pid {directory}/nginx.pid; error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{ access_log off; client_max_body_size 1g; keepalive_requests 100000000; client_body_temp_path {directory}/body;
 proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi; uwsgi_temp_path {directory}/uwsgi;
 scgi_temp_path {directory}/scgi; server {{ listen 127.0.0.1:{port}; location / {{ return 204; }} }} }}
"""


def command_for(name: str, port: int, directory: Path) -> Sequence[str | Path]:
    """The command of one server, which is to listen on ``port``; Unavailable where it is not installed."""
    if name in ("sdp", "sdp-store"):
        store = str(directory / "store") if name == "sdp-store" else "none"
        return twistd("sdp-distributor", "--listen", f"tcp:{port}:interface={HOST}", "--store", store)
    if name == "nginx":
        program = shutil.which("nginx")
        if program is None:
            raise Unavailable("not installed (Debian: nginx)")
        file = directory / "nginx.conf"
        file.write_text(_NGINX.format(port=port, directory=directory))
        return [program, "-p", directory, "-e", directory / "error.log", "-c", file]
    if name in READERS:
        if importlib.util.find_spec(name) is None:
            raise Unavailable(f"not installed (pip install {name})")
        return [sys.executable, "-m", "loopback.readers", name, str(port)]
    raise Unavailable(f"no such server; there are {', '.join(SERVERS)}")


class Poster:
    """One connection that posts on and on, with at most ``depth`` POSTs unanswered."""

    def __init__(self, port: int, size: int, depth: int) -> None:
        self._socket = socket.create_connection((HOST, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._body = bytes(size)
        self._size = size
        self._depth = depth
        self._offset = 0
        self._unanswered = 0
        self._rest = b""
        self.answered = 0

    def _head(self) -> bytes:
        first = self._offset
        self._offset += self._size
        return (
            b"POST /bench HTTP/1.1\r\nHost: localhost\r\nConnection-Type: origin\r\n"
            b"Content-Type: application/octet-stream\r\nContent-Range: bytes %d-%d/*\r\nContent-Length: %d\r\n\r\n"
        ) % (first, self._offset - 1, self._size)

    def go_on(self) -> None:
        """Post a batch, and read answers until there is room for the next."""
        batch = min(_BATCH, self._depth)
        if self._size > 1 << 16:
            self._socket.sendall(self._head())
            self._socket.sendall(self._body)
            batch = 1
        else:
            self._socket.sendall(b"".join(part for _ in range(batch) for part in (self._head(), self._body)))
        self._unanswered += batch
        while self._unanswered > self._depth - batch:
            self._hear()

    def _hear(self) -> None:
        """Count the answers in what comes next; all heads, for a 204 has no content (nor has SDP's first, a 201)."""
        said = self._rest + self._socket.recv(1 << 16)
        if len(said) == len(self._rest):
            raise Unavailable("the server closed the connection")
        *heads, self._rest = said.split(b"\r\n\r\n")
        for head in heads:
            if head[9:12] not in (b"204", b"201"):
                raise Unavailable(f"the server answered {head.splitlines()[0].decode()}")
        self._unanswered -= len(heads)
        self.answered += len(heads)

    def close(self) -> None:
        self._socket.close()


def measure(name: str, size: int, depth: int, seconds: float, directory: Path) -> dict[str, float | str]:
    """Post for ``seconds`` and return what was answered in them; Unavailable where the server is not to be had."""
    place = directory / f"{sum(1 for _ in directory.iterdir())}"
    place.mkdir()
    place.chmod(0o777)
    port = free_port()
    with Process(command_for(name, port, place), output=place / "log", env=environment(BENCH)) as server:
        server.wait_until_listening(port)
        poster = Poster(port, size, depth)
        try:
            _until(time.monotonic() + WARM_UP, poster)
            answered, cpu, start = poster.answered, server.cpu_seconds(), time.monotonic()
            _until(start + seconds, poster)
            window = time.monotonic() - start
            spent = server.cpu_seconds() - cpu
        except OSError as error:
            raise Unavailable(f"the connection broke: {error}") from error
        finally:
            poster.close()
    posts = poster.answered - answered
    return {
        "server": name,
        "size": size,
        "depth": depth,
        "posts": posts / window,
        "bytes": posts * size / window / 1e9,
        "cpu": spent / window * 100,
        "posts_each_cpu": posts / spent,
        "bytes_each_cpu": posts * size / spent / 1e9,
    }


def _until(end: float, poster: Poster) -> None:
    while time.monotonic() < end:
        poster.go_on()


CASES = (
    ("1 KiB POSTs on one connection, up to 64 of them unanswered", SMALL, 64, "posts"),
    ("1 KiB POSTs on one connection, each waits for the answer to the one before", SMALL, 1, "posts"),
    ("POSTs of 32 MiB on one connection", LARGE, 1, "bytes"),
)
_FORMS = {"posts": ("POSTs/s", "10,.0f"), "bytes": ("GB/s", "10.2f")}


def compare(
    about: str, size: int, depth: int, unit: str, names: Sequence[str], seconds: float, directory: Path
) -> Iterator[Row]:
    """Measure the servers in turn, and print their figures and the first one's ratio to each."""
    heading, form = _FORMS[unit]
    print(f"\n{about}")
    table = Table(
        (
            ("server", "server", "<12s"),
            (unit, heading, form),
            ("cpu", "CPU %", "7.1f"),
            (f"{unit}_each_cpu", "each CPU second", "15" + form[2:]),
            ("first_to_this", f"{names[0]} to this", "12.2f"),
        )
    )
    table.head()
    first: float | None = None
    for name in names:
        try:
            row: dict[str, object] = dict(measure(name, size, depth, seconds, directory))
        except Unavailable as reason:
            print(f"{name:12}  left out: {reason}")
            continue
        each = row[f"{unit}_each_cpu"]
        assert isinstance(each, float)
        first = first if first is not None or name != names[0] else each
        row["first_to_this"] = first / each if first is not None else None
        table.row(row)
        yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", default=",".join(SERVERS), help=f"of {', '.join(SERVERS)}")
    parser.add_argument("--seconds", type=float, default=2.0, help="how long each server is measured (2)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    names, rows = options.servers.split(","), []
    with scratch() as directory:
        for case in CASES:
            rows += list(compare(*case, names, options.seconds, directory))
    if options.json:
        write_json(options.json, "ingest", rows)


if __name__ == "__main__":
    main()
