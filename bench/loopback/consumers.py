"""The consumers of a load, in one process: an epoll loop over raw sockets. ``consumers.c`` does the same, cheaper.

    consumers HOST PORT FILE COUNT STREAMS BATCH SECONDS

Standard input begins with a request's lines, ``%d`` for the stream's number, up to a line with a single full stop.
COUNT connections are opened, BATCH in each turn of the loop; consumer K asks for stream K modulo STREAMS. Once each has
had an answer's first bytes, or SECONDS have passed (some servers admit slowly), a line of JSON says so; when anything
more comes on standard input, or its end, the samples go to FILE and another line of JSON is the last.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from array import array
from pathlib import Path

from .stamps import Finder

__all__ = ["Load", "read_request"]

_RECEIVE = 1 << 18


def read_request() -> str:
    """Read the request from standard input, unbuffered: what comes later is polled for."""
    lines: list[str] = []
    line = bytearray()
    while byte := os.read(0, 1):
        if byte != b"\n":
            line += byte
        elif line == b".":
            break
        else:
            lines.append(line.decode())
            line.clear()
    return "\r\n".join(lines) + "\r\n\r\n"


class Load:
    """``count`` consumers of one server."""

    def __init__(self, address: tuple[str, int], request: str, count: int, streams: int, join_limit: float) -> None:
        self._address = address
        self._request = request
        self._count = count
        self._streams = streams
        self._join_limit = join_limit
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, Finder]] = {}
        self._answered: set[int] = set()
        self.samples = array("Q")
        self.received = 0
        self.refused = 0
        self.lost = 0
        self.missed = 0

    def join(self, batch: int) -> float:
        """Open all connections and return the seconds until each has had the first bytes of its answer."""
        started = time.monotonic()
        begun = 0
        while len(self._answered) + self.lost < self._count and time.monotonic() - started < self._join_limit:
            for number in range(begun, min(begun + batch, self._count)):
                self._dial(number)
            begun = min(begun + batch, self._count)
            self.turn(0.001 if begun < self._count else 0.02)
        return time.monotonic() - started

    def _dial(self, number: int) -> None:
        connection = socket.create_connection(self._address)
        connection.sendall(self._request.replace("%d", str(number % self._streams)).encode())
        connection.setblocking(False)
        self._open[connection.fileno()] = (connection, Finder())
        self._poll.register(connection, select.EPOLLIN)

    def until_told(self) -> None:
        """Go on until something comes on standard input."""
        self._poll.register(0, select.EPOLLIN)
        while not self.turn(1.0):
            pass

    def turn(self, timeout: float) -> bool:
        """Read from whoever has something. Return whether standard input has."""
        told = False
        note, opened, answered = self.samples.extend, self._open, self._answered
        for number, _ in self._poll.poll(timeout, 1024):
            if number == 0:
                told = True
                continue
            connection, finder = opened[number]
            try:
                data = connection.recv(_RECEIVE)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if not data:
                self._close(number)
                continue
            self.received += len(data)
            if number not in answered:
                answered.add(number)
                if data[9:10] != b"2":
                    self.refused += 1
            for sent in finder.feed(data):
                note((sent, time.monotonic_ns()))
        return told

    def _close(self, number: int) -> None:
        connection, finder = self._open.pop(number)
        self._poll.unregister(number)
        connection.close()
        self._answered.discard(number)
        self.missed += finder.missed
        self.lost += 1

    def summary(self) -> dict[str, int]:
        missed = self.missed + sum(finder.missed for _, finder in self._open.values())
        return {"bytes": self.received, "missed": missed, "lost": self.lost, "refused": self.refused}

    def close(self) -> None:
        """Close what is open."""
        for connection, _ in self._open.values():
            connection.close()
        self._open.clear()
        self._poll.close()

    @property
    def joined(self) -> int:
        return len(self._answered)


def main() -> None:
    host, port, file, count, streams, batch, join_limit = sys.argv[1:8]
    load = Load((host, int(port)), read_request(), int(count), int(streams), float(join_limit))
    seconds = load.join(int(batch))
    print(json.dumps({"joined": load.joined, "seconds": seconds}), flush=True)
    load.until_told()
    Path(file).write_bytes(load.samples.tobytes())
    print(json.dumps(load.summary()), flush=True)
    load.close()


if __name__ == "__main__":
    main()
