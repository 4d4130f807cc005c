"""The test pattern into another program: the Origin's source and encoder, without the Origin.

PatternSource > MPEG-TS > Icecast's PUT, or ffmpeg's standard input, which only puts the same coded pictures into FLV
for RTMP. A process of its own; its trace says what an Origin's says, so that a picture's way begins alike. Orders come
as JSON on standard input. Ends on SIGTERM.
"""

from __future__ import annotations

import base64
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from threading import Event
from typing import Any

import attrs
from zope.interface import implementer

from sdp.errors import SDPError
from sdp.interfaces import IRecordSink
from sdp.media import SourceSpec, open_source
from sdp.observe import Point
from sdp.stream.record import Flag
from sdp.tap.tracing import TraceFile

__all__ = ["MOUNT", "SECRET", "SendingOrders", "main"]

MOUNT = "/lab"
SECRET = "lab"
"""Icecast's source password: it listens on the loopback address, for the time of a cell."""

CONNECT_PATIENCE = 30.0
"""How long the program on the other side may take until it listens, in seconds."""


@attrs.frozen(kw_only=True)
class SendingOrders:
    """``to``: ``icecast`` or ``rtmp``, at ``port``; ``size`` as WxH, ``gop`` in seconds; ``trace``: its file."""

    to: str
    port: int
    size: str
    rate: int
    gop: float
    preset: str
    bit_rate: int | None
    trace: str
    ffmpeg: str = "ffmpeg"

    def text(self) -> str:
        """As JSON."""
        return json.dumps(attrs.asdict(self))

    def spec(self) -> SourceSpec:
        """The source that is asked for."""
        width, _, height = self.size.partition("x")
        return SourceSpec(
            container="mpegts",
            audio=False,
            size=(int(width), int(height)),
            rate=self.rate,
            gop=self.gop,
            preset=self.preset,
            video_bit_rate=self.bit_rate,
        )


@implementer(IRecordSink)
class _Into:
    """A source's sink that writes to a socket or a pipe, in the source's thread: who does not take it holds it back."""

    def __init__(self, write: Any, trace: TraceFile) -> None:
        self.over = Event()
        self._write = write
        self._trace = trace
        self._end = 0

    def record(self, data: bytes, flags: Flag, capture_time: int | None) -> bool:
        self._end += len(data)
        self._trace(Point.LOGGED, "lab", self._end, capture_time=capture_time)
        try:
            self._write(data)
        except OSError:
            self.over.set()
            return False
        self._trace(Point.POSTED, "lab", self._end)
        return not self.over.is_set()

    def ended(self, error: SDPError | None) -> None:
        self.over.set()


def _connect(port: int) -> socket.socket:
    deadline = time.monotonic() + CONNECT_PATIENCE
    while True:
        try:
            made = socket.create_connection(("127.0.0.1", port), timeout=10)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
            continue
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


def _to_icecast(port: int) -> Any:
    made = _connect(port)
    secret = base64.b64encode(f"source:{SECRET}".encode()).decode()
    head = (
        f"PUT {MOUNT} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Basic {secret}\r\n"
        "Content-Type: video/mp2t\r\nExpect: 100-continue\r\n\r\n"
    )
    made.sendall(head.encode())
    answer = made.recv(4096)
    if b" 100 " not in answer.split(b"\r\n")[0] and b" 200 " not in answer.split(b"\r\n")[0]:
        raise SystemExit(f"Icecast does not take the stream: {answer[:80]!r}")
    return made.sendall


def _to_rtmp(orders: SendingOrders) -> tuple[Any, subprocess.Popen[bytes]]:
    _connect(orders.port).close()
    command = [orders.ffmpeg, "-loglevel", "error", "-fflags", "nobuffer", "-probesize", "32", "-analyzeduration", "0"]
    command += ["-f", "mpegts", "-i", "-", "-c", "copy", "-flush_packets", "1", "-f", "flv"]
    process = subprocess.Popen([*command, f"rtmp://127.0.0.1:{orders.port}{MOUNT}/lab"], stdin=subprocess.PIPE)
    assert process.stdin is not None
    pipe = process.stdin

    def write(data: bytes) -> None:
        pipe.write(data)
        pipe.flush()

    return write, process


def main() -> None:
    """Send until told to end."""
    given: dict[str, Any] = json.loads(sys.stdin.readline())
    orders = SendingOrders(**given)
    trace = TraceFile(Path(orders.trace))
    trace.start()
    process: subprocess.Popen[bytes] | None = None
    if orders.to == "rtmp":
        write, process = _to_rtmp(orders)
    else:
        write = _to_icecast(orders.port)
    into = _Into(write, trace)
    source = open_source(orders.spec(), trace=trace)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: into.over.set())
    source.start(into)
    into.over.wait()
    source.stop()
    source.join(5)
    trace.close()
    if process is not None:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
