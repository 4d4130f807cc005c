"""Light consumers: many connections that take bytes and know their offsets, and decode nothing. The load, and its view.

One process, one thread, one epoll. Each consumer has the initialization segment already, so its answer is one run of
bytes from a known offset on, until the connection closes (it says HTTP/1.0): to count is to know what it has. A slow
one takes a few hundred bytes at a time, now and then. Written down is, for each, when it had how much.

Orders come as JSON on standard input; ``ready`` says that all have joined. Ends on SIGTERM.
"""

from __future__ import annotations

import json
import os
import resource
import selectors
import signal
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any

import attrs

from sdp.lab.decoding import now
from sdp.lab.fetching import Arrival, Asked, Fetch

__all__ = ["ENTRY", "CrowdOrders", "entries", "main"]

ENTRY = struct.Struct("<iqq")
"""One line of the file: consumer, offset, time. An offset of -1 says that the consumer had left."""

SLOW_BYTES = 256
SLOW_EVERY = 0.25
"""What a slow consumer takes, in bytes, and how often, in seconds: 8 kbit a second, less than any picture needs."""

SPARE_FILES = 64
"""Open files beside the connections."""

_SLOW_BUFFER = 4096
_AT_ONCE = 64


@attrs.frozen(kw_only=True)
class CrowdOrders:
    """What a crowd is told: ``count`` consumers, ``slow`` of them slow, numbered from ``consumer`` on."""

    asked: Asked
    out: Path
    count: int
    slow: int = 0
    consumer: int = 0

    @classmethod
    def read(cls, text: str) -> CrowdOrders:
        """From the JSON that :meth:`text` gives."""
        given: dict[str, Any] = json.loads(text)
        return cls(**{**given, "asked": Asked(**given["asked"]), "out": Path(given["out"])})

    def text(self) -> str:
        """As JSON."""
        return json.dumps({**attrs.asdict(self), "out": str(self.out)})


def entries(data: bytes) -> list[tuple[int, int, int]]:
    """What a crowd has written: (consumer, offset, time) in the order of time."""
    whole = len(data) - len(data) % ENTRY.size
    return list(ENTRY.iter_unpack(data[:whole]))


class _Member:
    """One consumer: its head is read first, then it counts."""

    __slots__ = ("head", "number", "offset", "slow", "socket")

    def __init__(self, number: int, made: socket.socket, slow: bool) -> None:
        self.number = number
        self.socket = made
        self.slow = slow
        self.head: bytearray | None = bytearray()
        self.offset = 0


class _Crowd:
    def __init__(self, orders: CrowdOrders) -> None:
        self._orders = orders
        self._select = selectors.EpollSelector()
        self._buffer = bytearray(1 << 18)
        self._told: list[bytes] = []
        self._slow: list[_Member] = []
        self._waiting = 0
        self.leave = Event()

    # -- joining -----------------------------------------------------------------------------------------------

    def _first(self) -> Arrival:
        """The initialization segment and its epoch, as an ordinary consumer gets them."""
        found: list[Arrival] = []
        stop = Event()

        def take(arrival: Arrival) -> None:
            found.append(arrival)
            stop.set()

        while not found and not self.leave.is_set():
            Fetch(attrs.evolve(self._orders.asked, delivery="stream"), take, stop).run()
        if not found:
            raise SystemExit(0)
        return found[0]

    def run(self) -> None:
        orders = self._orders
        first = self._first()
        request = (
            b"GET /%b HTTP/1.0\r\nHost: lab\r\nConnection-Type: consumer\r\nIf-Match: %b\r\n"
            b"Content-Range: bytes 0-%d/*\r\n\r\n" % (orders.asked.name.encode(), first.epoch, len(first.data) - 1)
        )
        for number in range(orders.count):
            if self.leave.is_set():
                break
            self._join(number, request)
            if self._waiting >= _AT_ONCE:
                self._turn(0.01)
        while self._waiting and not self.leave.is_set():
            self._turn(0.05)
        os.write(1, b"ready\n")
        due = time.monotonic()
        while not self.leave.is_set():
            self._turn(0.05)
            if self._slow and time.monotonic() >= due:
                due = time.monotonic() + SLOW_EVERY
                for member in list(self._slow):
                    self._take(member, SLOW_BYTES)
        orders.out.write_bytes(b"".join(self._told))

    def _join(self, number: int, request: bytes) -> None:
        asked = self._orders.asked
        slow = number < self._orders.slow
        made = socket.socket()
        if slow:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SLOW_BUFFER)
        made.connect((asked.host, asked.port))
        made.sendall(request)
        made.setblocking(False)
        member = _Member(self._orders.consumer + number, made, slow)
        self._waiting += 1
        self._select.register(made, selectors.EVENT_READ, member)

    # -- taking ------------------------------------------------------------------------------------------------

    def _turn(self, timeout: float) -> None:
        for key, _ in self._select.select(timeout):
            self._take(key.data, SLOW_BYTES if key.data.slow else len(self._buffer))

    def _take(self, member: _Member, most: int) -> None:
        try:
            count = member.socket.recv_into(self._buffer, most)
        except BlockingIOError:
            return
        except OSError:
            count = 0
        if not count:
            self._left(member)
            return
        if member.head is not None:
            rest = self._read_head(member, member.head, bytes(self._buffer[:count]))
            if rest is None:
                return
            count = rest
            self._waiting -= 1
            if member.slow:
                self._select.unregister(member.socket)
                self._slow.append(member)
        member.offset += count
        self._told.append(ENTRY.pack(member.number, member.offset, now()))

    def _read_head(self, member: _Member, held: bytearray, data: bytes) -> int | None:
        """Take what belongs to the head; return how many bytes of content followed it, or None where it goes on, or
        is a refusal."""
        held += data
        end = held.find(b"\r\n\r\n")
        if end < 0:
            return None
        head, rest = bytes(held[:end]), len(held) - end - 4
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-range":
                member.head = None
                member.offset = int(value.split()[1].partition(b"-")[0])
                return rest
        self._left(member)
        return None

    def _left(self, member: _Member) -> None:
        if member.head is not None:
            self._waiting -= 1
            member.head = None
        self._told.append(ENTRY.pack(member.number, -1, now()))
        with suppress(KeyError, ValueError):
            self._select.unregister(member.socket)
        if member in self._slow:
            self._slow.remove(member)
        member.socket.close()


def main() -> None:
    """Be a crowd."""
    orders = CrowdOrders.read(sys.stdin.readline())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = orders.count + SPARE_FILES
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    crowd = _Crowd(orders)
    signal.signal(signal.SIGTERM, lambda *_: crowd.leave.set())
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    crowd.run()


if __name__ == "__main__":
    main()
