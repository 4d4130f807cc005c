"""A whole Distributor in memory: its service on a reactor that is turned by hand, its clients over strings."""

from __future__ import annotations

from itertools import count
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock

from sdp.distributor.service import DistributorParts, DistributorService
from sdp.distributor.settings import DistributorSettings
from tests.net.peer import Peer, head

START = 1_700_000_000
"""The wall clock, in seconds, when the reactor's stands at 0."""


class House:
    """A Distributor that has begun, unless ``begin`` is False. Settings as keywords; no disk unless one is given."""

    def __init__(self, disk=None, begin=True, **settings):
        self.reactor = self.clock = MemoryReactorClock()
        self.disk = disk
        self.left: list[int] = []
        numbers = count(1)
        parts = DistributorParts(
            open_store=lambda: self.disk,
            wall_clock=lambda: START + self.reactor.seconds(),
            random_bytes=lambda size: next(numbers).to_bytes(size, "big"),
        )
        self.service = DistributorService(
            DistributorSettings(store=None, **settings), self.reactor, self.left.append, parts
        )
        if begin:
            self.service.startService()

    @property
    def factory(self) -> Any:
        return self.reactor.tcpServers[0][1]

    @property
    def streams(self) -> Any:
        return self.factory.site._streams

    def connect(self, host="127.0.0.1"):
        return Peer(self, host)

    def posted(self, *contents, name=b"/a", lines=(b"Content-Type: x/y",)):
        """Begin an epoch, and post these to it; return the connection."""
        peer, at = self.connect(), 0
        for content in contents:
            [answer] = peer.post(name, content, content_range(at, at + len(content)), *lines)
            assert answer.status in (201, 204), answer
            at += len(content)
        return peer

    def get(self, *lines, target=b"/a", method=b"GET", host="127.0.0.1", version=b"1.1"):
        """One answer, on a connection of its own."""
        peer = self.connect(host)
        [answer] = peer.get(target, *lines, method=method, version=version)
        return answer

    def head(self, name=b"/a"):
        """(status, Upload-Offset, ETag) of a stream."""
        answer = self.get(target=name, method=b"HEAD")
        return answer.status, answer[b"upload-offset"], answer[b"etag"]

    def epoch(self, name="a"):
        return self.streams.current(name)

    def stop(self):
        done: list[Any] = []
        stopping: Deferred[None] = self.service.stopService()
        stopping.addBoth(done.append)
        return done


def content_range(start, end, complete=None):
    """A Content-Range line, half-open."""
    return b"Content-Range: bytes %d-%d/%b" % (start, end - 1, b"*" if complete is None else b"%d" % complete)


def post_head(*lines, name=b"/a"):
    """A POST's head, without Content-Length."""
    return head(b"POST", name, *lines)


CHUNKED = b"Transfer-Encoding: chunked"
LAST = b"0\r\n\r\n"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)
