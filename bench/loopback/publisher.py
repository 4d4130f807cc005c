"""The publisher of a load, in one process: paced, stamped records for one stream or many.

    publisher HOST PORT FILE WAY SIZE RATE STREAMS

WAY is ``posts`` (each record a POST with its Content-Range), ``chunked`` (one POST for each stream, a record a chunk)
or ``raw`` (the same without chunks). Standard input begins with the head's lines up to a single full stop; in them
``%d`` is the stream's number, and for posts ``%a`` and ``%b`` the first and last position, ``%n`` the length. Each
stream has a connection of its own; RATE records a second go to each, the streams' turns spread evenly. A line says when
each stream has its first record. When anything more comes on standard input, or its end, the times of sending go to
FILE, and a line of JSON is the last.

A record's stamp says when it was sent. Where a server takes records slowly, later ones are sent late: that shows as
records that are missing in what was due, not as delay.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path

from .consumers import read_request
from .stamps import STAMP_SIZE, record_body, stamp

__all__ = ["Stream"]


class Stream:
    """One stream's connection. ``refused`` counts answers that are no success."""

    def __init__(self, address: tuple[str, int], head: str, way: str, number: int, size: int) -> None:
        self.refused = 0
        self._number = 0
        self._offset = 0
        self._body = record_body(size)
        self._size = size
        self._head = head.replace("%d", str(number)).replace("%n", str(size))
        self._socket = socket.create_connection(address)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._before, self._after = (b"%x\r\n" % size, b"\r\n") if way == "chunked" else (b"", b"")
        self.send: Callable[[], int] = self._post if way == "posts" else self._write
        if way != "posts":
            self._socket.sendall(self._head.encode())
            # Some servers (Icecast) answer before they take anything; the others say nothing, and are not waited for.
            select.select([self._socket], [], [], 0.2)

    def _post(self) -> int:
        first, last = self._offset, self._offset + self._size - 1
        head = self._head.replace("%a", str(first), 1).replace("%b", str(last), 1).encode()
        sent = self._send(head, b"")
        self._offset = last + 1
        return sent

    def _write(self) -> int:
        return self._send(self._before, self._after)

    def _send(self, before: bytes, after: bytes) -> int:
        now = time.monotonic_ns()
        self._socket.sendall(b"".join((before, self._body, stamp(self._number, now), after)))
        self._number += 1
        self._hear()
        return now

    def _hear(self) -> None:
        try:
            said = self._socket.recv(1 << 16, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        self.refused += said.count(b"HTTP/1.1 4") + said.count(b"HTTP/1.1 5")

    def close(self) -> None:
        """End the stream without a word: the server is going to be stopped."""
        self._socket.close()


def publish(streams: list[Stream], rate: float, times: array[int]) -> None:
    """Send at the pace until something comes on standard input."""
    interval = 1e9 / (rate * len(streams))
    begun = time.monotonic_ns()
    turn = 0
    listening = select.poll()
    listening.register(0, select.POLLIN)
    while True:
        turn += 1
        wait = begun + int(turn * interval) - time.monotonic_ns()
        if listening.poll(0):
            return
        if wait > 0:
            time.sleep(wait / 1e9)
        times.append(streams[turn % len(streams)].send())


def main() -> None:
    host, port, file, way, size, rate, count = sys.argv[1:8]
    head = read_request()
    if int(size) < STAMP_SIZE:
        sys.exit(f"a record has {STAMP_SIZE} bytes at least, for its stamp")
    streams = [Stream((host, int(port)), head, way, number, int(size)) for number in range(int(count))]
    times = array("Q", [one.send() for one in streams])
    print("begun", flush=True)
    failure = None
    try:
        publish(streams, float(rate), times)
    except OSError as error:
        failure = str(error)
    Path(file).write_bytes(times.tobytes())
    print(json.dumps({"refused": sum(one.refused for one in streams), "failure": failure}), flush=True)
    for one in streams:
        one.close()


if __name__ == "__main__":
    main()
