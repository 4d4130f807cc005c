"""How long a record is on its way, hop by hop, on one machine: from its capture to a consumer that has all of it.

    python bench/latency.py [--seconds S] [--json FILE]

Records without a codec first: a publisher posts 2 KiB at a pace of 30 a second, once through the floor (a bare loop in
C) and once through the Distributor. Then the Origin's test pattern, drawn, encoded and posted frame by frame. The hops
are told apart by what the Distributor says of each record: its Capture-Time came from the Origin, its Received-Time is
when the Distributor had the record's first byte. All clocks are the machine's own.

"in" is from the capture to the Distributor (drawing, encoding and packaging where there is a codec, and the POST),
"out" from there to the consumer's last byte of the record.
"""

from __future__ import annotations

import argparse
import importlib.util
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from loopback.figures import Row, Table, percentile, write_json
from loopback.processes import HOST, ROOT, Process, Unavailable, free_port, scratch, twistd
from loopback.servers import Distributor, Floor
from loopback.stamps import Finder, record_body, stamp

sys.path.insert(0, str(ROOT))

from sdp.http1 import End, Response, ResponseReader
from sdp.http1.multipart import Part, PartsReader, boundary_of

PATTERNS = (("640x360", "30"), ("1280x720", "60"))
RECORD = 2048
RATE = 30
WARM_UP = 1.0
"""Seconds at the beginning that do not count: joining, and code that runs for the first time."""
_BEGIN_LIMIT = 20.0
_RECEIVE = 1 << 18


class Passage(NamedTuple):
    """When one record was captured, was at the Distributor (None: not said) and was whole here; microseconds."""

    captured: int
    received: int | None
    here: int


def now() -> int:
    return time.time_ns() // 1000


def connect(port: int) -> socket.socket:
    connection = socket.create_connection((HOST, port), 10.0)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Publisher(Thread):
    """Posts stamped records at a pace, until it is stopped."""

    def __init__(self, port: int, head: tuple[str, ...], capture_time: bool) -> None:
        super().__init__()
        self._socket = connect(port)
        self._head = "\r\n".join(head).replace("%d", "0").replace("%n", str(RECORD))
        self._capture_time = capture_time
        self._ending = Event()
        self._offset = 0
        self._body = record_body(RECORD)

    def post(self) -> None:
        moment = now()
        head = self._head.replace("%a", str(self._offset)).replace("%b", str(self._offset + RECORD - 1))
        if self._capture_time:
            head += f"\r\nCapture-Time: {moment}"
        self._offset += RECORD
        self._socket.sendall(f"{head}\r\n\r\n".encode() + self._body + stamp(self._offset // RECORD, moment))
        self._socket.recv(_RECEIVE)

    def run(self) -> None:
        due = time.monotonic()
        while not self._ending.wait(max(due - time.monotonic(), 0)):
            self.post()
            due += 1 / RATE

    def stop(self) -> None:
        self._ending.set()
        self.join()
        self._socket.close()


def stamped(port: int, until: float) -> Iterator[Passage]:
    """Read a stream as plain content, and tell of each stamped record."""
    finder = Finder()
    with connect(port) as connection:
        connection.sendall(b"GET /bench/0 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while time.monotonic() < until:
            data = connection.recv(_RECEIVE)
            here = now()
            if not data:
                raise Unavailable("the server closed the connection")
            yield from (Passage(sent, None, here) for sent in finder.feed(data))


class Records:
    """Finds in a multipart answer when each record was whole: when the last byte came before the next one began."""

    def __init__(self) -> None:
        self._http = ResponseReader()
        self._http.expect(b"GET")
        self._parts: PartsReader | None = None
        self._record: tuple[int | None, int | None] | None = None
        self._last = 0
        self.status = 0
        self.ended = False

    def feed(self, data: bytes, here: int) -> list[Passage]:
        found: list[Passage] = []
        self._http.feed(data)
        while (event := self._http.next_event()) is not None:
            if isinstance(event, Response):
                self.status = event.status
                if event.status == 206:
                    self._parts = PartsReader(boundary_of(event.headers.get(b"content-type") or b""))
            elif isinstance(event, End):
                self.ended = True
            elif isinstance(event, bytes) and self._parts is not None:
                self._parts.feed(event)
                found += self._passages(self._parts, here)
        return found

    def _passages(self, parts: PartsReader, here: int) -> Iterator[Passage]:
        while (event := parts.next_event()) is not None:
            if isinstance(event, bytes):
                self._last = here
            elif isinstance(event, Part) and b"received-time" in event.headers:
                if self._record is not None and self._record[0] is not None:
                    yield Passage(self._record[0], self._record[1], self._last)
                self._record = (_time(event, b"capture-time"), _time(event, b"received-time"))


def _time(part: Part, name: bytes) -> int | None:
    value = part.headers.get(name)
    return None if value is None else int(value)


def recorded(port: int, name: str, until: float) -> Iterator[Passage]:
    """Read a stream in parts, as SDP's own consumers do, and tell of each record whose capture time is known."""
    request = (
        f"GET /{name} HTTP/1.1\r\nHost: localhost\r\nConnection-Type: consumer\r\nAccept: multipart/byteranges\r\n"
        "Content-Range: bytes */0\r\n\r\n"
    ).encode()
    late = time.monotonic() + _BEGIN_LIMIT
    while True:
        with connect(port) as connection:
            connection.sendall(request)
            records = Records()
            while time.monotonic() < until and not records.ended:
                data = connection.recv(_RECEIVE)
                here = now()
                if not data:
                    raise Unavailable("the Distributor closed the connection")
                yield from records.feed(data, here)
        if records.status != 404:
            return
        if time.monotonic() > late:
            raise Unavailable("the stream did not begin")
        time.sleep(0.05)


def row_of(what: str, passages: Iterator[Passage], rate: float) -> dict[str, object]:
    """Gather passages, and return their figures in milliseconds. Those of the warm-up do not count."""
    every: list[Passage] = []
    first: int | None = None
    for passage in passages:
        first = first or passage.here
        if passage.captured > first + WARM_UP * 1e6:
            every.append(passage)
    if len(every) < 2:
        raise Unavailable("too few records came")
    every.sort(key=lambda passage: passage.captured)
    due = (every[-1].captured - every[0].captured) / 1e6 * rate + 1
    row: dict[str, object] = {"what": what, "records": len(every), "came": len(every) / due * 100}
    hops = {
        "in": [(one.received - one.captured) / 1000 for one in every if one.received is not None],
        "out": [(one.here - one.received) / 1000 for one in every if one.received is not None],
        "all": [(one.here - one.captured) / 1000 for one in every],
    }
    for hop, times in hops.items():
        times.sort()
        row[f"{hop}_p50"], row[f"{hop}_p99"] = percentile(times, 0.5), percentile(times, 0.99)
    row["max"] = hops["all"][-1]
    return row


def without_codec(seconds: float, directory: Path) -> Iterator[Row]:
    """The same records through the floor and through the Distributor."""
    for server, what in ((Floor(), "2 KiB through the floor"), (Distributor(), "2 KiB through the Distributor")):
        place = directory / f"through-{server.name}"
        place.mkdir()
        try:
            process, port = server.start(place)
        except Unavailable as reason:
            print(f"{what}: left out: {reason}")
            continue
        with process:
            publisher = Publisher(port, server.pub_head, isinstance(server, Distributor))
            publisher.post()
            publisher.start()
            until = time.monotonic() + seconds + WARM_UP
            try:
                passages = recorded(port, "bench/0", until) if isinstance(server, Distributor) else stamped(port, until)
                yield row_of(what, passages, RATE)
            finally:
                publisher.stop()


def with_codec(size: str, rate: str, seconds: float, directory: Path) -> Row:
    """The test pattern, from the Origin through the Distributor."""
    if importlib.util.find_spec("av") is None:
        raise Unavailable("the Origin's codecs are not installed (pip install av)")
    port = free_port()
    place = directory / f"pattern-{size}"
    place.mkdir()
    listen = f"tcp:{port}:interface={HOST}"
    # fmt: off
    origin = twistd(
        "sdp-origin", "--to", f"http://{HOST}:{port}/pattern", "--source", "test", "--size", size, "--rate", rate,
        "--store", "none", "--no-audio",
    )
    # fmt: on
    with Process(twistd("sdp-distributor", "--listen", listen, "--store", "none"), output=place / "distributor") as it:
        it.wait_until_listening(port)
        with Process(origin, output=place / "origin") as sender:
            until = time.monotonic() + _BEGIN_LIMIT + seconds
            passages = _for_a_while(recorded(port, "pattern", until), seconds + WARM_UP)
            try:
                return row_of(f"test pattern, {size} at {rate}/s", passages, float(rate))
            except Unavailable as reason:
                raise Unavailable(f"{reason}\n{sender.said()}") from None


def _for_a_while(passages: Iterator[Passage], seconds: float) -> Iterator[Passage]:
    """All that come within some seconds of the first."""
    end: float | None = None
    for passage in passages:
        end = end or time.monotonic() + seconds
        if time.monotonic() > end:
            return
        yield passage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="how long each is measured (6)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    hops = [(f"{hop}_{share}", f"{hop} {share}", "8.2f") for hop in ("in", "out", "all") for share in ("p50", "p99")]
    table = Table(
        (
            ("what", "what (milliseconds)", "<34s"),
            ("records", "records", "7d"),
            ("came", "came %", "6.1f"),
            *hops,
            ("max", "greatest", "8.2f"),
        )
    )
    table.head()
    rows: list[Row] = []
    with scratch() as directory:
        for row in without_codec(options.seconds, directory):
            table.row(row)
            rows.append(row)
        for size, rate in PATTERNS:
            try:
                row = with_codec(size, rate, options.seconds, directory)
            except Unavailable as reason:
                print(f"test pattern, {size}: left out: {reason}")
                continue
            table.row(row)
            rows.append(row)
    if options.json:
        write_json(options.json, "latency", rows)


if __name__ == "__main__":
    main()
