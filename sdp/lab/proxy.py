"""The laboratory's own line between a server and who watches: every connection through it goes by a modelled link.

Sockets, and a heap of what comes out when; one thread, no framework, so that little is added to what the model says. A
process of its own. Orders come as JSON on the first line of standard input; then a line each, ``stall SECONDS`` or
``cut``. Only the way down, from the server, is modelled; requests go up at once, after the delay.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import selectors
import socket
import sys
import time
from contextlib import suppress
from typing import Any

import attrs

from sdp.lab.link import Link, LinkSpec

__all__ = ["Line", "Proxy", "main"]

_BLOCK = 1 << 14
_RECEIVE_BUFFER = 1 << 16


class Line:
    """One connection: the two sockets, and a link for each direction."""

    def __init__(self, near: socket.socket, far: socket.socket, spec: LinkSpec) -> None:
        self.ways = (_Way(far, near, Link(spec)), _Way(near, far, Link(LinkSpec(delay=spec.delay))))
        self.open = True


class _Way:
    """One direction: from a socket, by a link, to a socket. ``out`` is what has come out, and not been taken yet."""

    def __init__(self, source: socket.socket, target: socket.socket, link: Link) -> None:
        self.source = source
        self.target = target
        self.link = link
        self.out = bytearray()
        self.ended = self.over = False
        """Nothing more comes in; and nothing more comes out."""


class Proxy:
    """Listens on ``port`` (0: a free one), and connects each connection that comes to ``target`` through links."""

    def __init__(self, target: int, spec: LinkSpec, port: int = 0, host: str = "127.0.0.1") -> None:
        self._target = (host, target)
        self._spec = spec
        self._select = selectors.DefaultSelector()
        self._listening = socket.create_server((host, port))
        self._listening.setblocking(False)
        own: int = self._listening.getsockname()[1]
        self.port = own
        self._select.register(self._listening, selectors.EVENT_READ, self._accept)
        self._due: list[tuple[float, int, Any, Any]] = []
        self._numbers = itertools.count(1)
        self._lines: list[Line] = []
        self._orders = b""
        self.running = True

    # -- orders ------------------------------------------------------------------------------------------------

    def obey(self, descriptor: int) -> None:
        """Take orders from a descriptor, until it ends: then this ends too."""
        os.set_blocking(descriptor, False)
        self._select.register(descriptor, selectors.EVENT_READ, self._order)

    def _order(self, descriptor: Any, *_: object) -> None:
        data = os.read(descriptor, 4096)
        if not data:
            self.running = False
            return
        *lines, self._orders = (self._orders + data).split(b"\n")
        for line in lines:
            word, _space, rest = line.decode("ascii").partition(" ")
            if word == "stall":
                self.stall(float(rest))
            elif word == "cut":
                self.cut()

    def stall(self, seconds: float) -> None:
        """Nothing goes down for so long."""
        for line in self._lines:
            line.ways[0].link.stall(time.monotonic(), seconds)

    def cut(self) -> None:
        """Break every connection off."""
        for line in list(self._lines):
            self._close(line)

    # -- the loop ----------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Carry until told to end."""
        while self.running:
            timeout = max(0.0, self._due[0][0] - time.monotonic()) if self._due else 1.0
            # epoll rounds up to whole milliseconds; the last of them is spent asking again.
            for key, events in self._select.select(0 if timeout < 0.001 else timeout - 0.001):
                key.data(key.fileobj, events)
            while self._due and self._due[0][0] <= time.monotonic():
                _, _, call, argument = heapq.heappop(self._due)
                call(argument)
        self.cut()
        self._listening.close()
        self._select.close()

    def _later(self, at: float, call: Any, argument: Any) -> None:
        heapq.heappush(self._due, (at, next(self._numbers), call, argument))

    def _accept(self, *_: object) -> None:
        near, _address = self._listening.accept()
        far = socket.socket()
        # Little waits in the system: what the link does not take yet is to be the server's to know of.
        far.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        try:
            far.connect(self._target)
        except OSError:
            near.close()
            far.close()
            return
        seed = self._spec.seed * 1000 + len(self._lines)
        line = Line(near, far, attrs.evolve(self._spec, seed=seed))
        # A connection is made by a round trip; this one was made at once, so what it carries first is later by that.
        line.ways[1].link.stall(time.monotonic(), 2 * self._spec.delay)
        self._lines.append(line)
        for way in line.ways:
            way.source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            way.source.setblocking(False)
            self._watch(line, way)

    def _watch(self, line: Line, way: _Way) -> None:
        """Read on, where the link has room."""
        if line.open and not way.ended:
            with suppress(KeyError):
                self._select.unregister(way.source)
            self._select.register(way.source, selectors.EVENT_READ, lambda *_: self._read(line, way))

    def _read(self, line: Line, way: _Way) -> None:
        try:
            data = way.source.recv(_BLOCK)
        except BlockingIOError:
            return
        except OSError:
            self._close(line)
            return
        now = time.monotonic()
        if not data:
            way.ended = True
            self._select.unregister(way.source)
        self._later(way.link.enter(now, len(data)), self._come_out, (line, way, data))
        if data and not way.link.has_room(now):
            self._select.unregister(way.source)
            self._later(max(way.link.room_at(now), now + 0.001), lambda each: self._watch(*each), (line, way))

    def _come_out(self, what: tuple[Line, _Way, bytes]) -> None:
        line, way, data = what
        if not line.open:
            return
        way.out += data
        way.over = not data
        self._flush((line, way))

    def _flush(self, what: tuple[Line, _Way]) -> None:
        """Give out what has come out; a socket that does not take it is asked again soon."""
        line, way = what
        if not line.open:
            return
        try:
            if way.out:
                del way.out[: way.target.send(way.out)]
        except BlockingIOError:
            pass
        except OSError:
            self._close(line)
            return
        if way.out:
            self._later(time.monotonic() + 0.002, self._flush, (line, way))
        elif way.over:
            # Half-closed connections are no part of what is measured.
            self._close(line)

    def _close(self, line: Line) -> None:
        if not line.open:
            return
        line.open = False
        self._lines.remove(line)
        for way in line.ways:
            with suppress(KeyError, ValueError):
                self._select.unregister(way.source)
            way.source.close()


def main() -> None:
    """Be a line, until standard input ends."""
    first = b""
    while not first.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return
        first += byte
    orders = json.loads(first)
    proxy = Proxy(orders["target"], LinkSpec(**orders["link"]), orders.get("port", 0))
    os.write(1, f"{proxy.port}\n".encode())
    proxy.obey(0)
    with suppress(KeyboardInterrupt):
        proxy.run()


if __name__ == "__main__":
    main()
    sys.exit(0)
