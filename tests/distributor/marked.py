"""A format for tests: each record is a letter that says what it is, and then digits.

``I`` begins an initialization segment, ``K`` a random access point, ``f`` a record that is none, and ``?`` is a header
that is not whole: it is known only once something else comes.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from zope.interface import implementer

from sdp.distributor.fanout import Counters, Fanout
from sdp.interfaces import IFramer
from sdp.stream.catalog import Epoch
from sdp.stream.log import StreamLog
from sdp.stream.record import Flag, Record

FLAGS = {ord("I"): Flag.INITIALIZATION, ord("K"): Flag.RANDOM_ACCESS, ord("f"): Flag.NONE}


@implementer(IFramer)
class MarkedFramer:
    content_type: str | None = None

    def __init__(self, start=0):
        self.known = self.end = start
        self.said: list[tuple] = []

    def boundary(self, offset, capture_time=None, random_access=None):
        self.said.append((offset, capture_time, random_access))

    def feed(self, data, received_time=None):
        records = [
            Record(self.end + at, FLAGS[byte], None, received_time) for at, byte in enumerate(data) if byte in FLAGS
        ]
        self.end += len(data)
        whole = data.rstrip(b"?")
        if whole:
            self.known = self.end - len(data) + len(whole)
        return records

    def flush(self):
        self.known = self.end
        return []


def marked(*appends, window=1 << 20, recording=None, name="a", identifier="1", declared="video/mp4", at=0, every=0):
    """An epoch of that format, each append at its time: ``at`` microseconds, and ``every`` more for each one after."""
    epoch = Epoch(name, identifier, StreamLog(window), MarkedFramer(), declared_type=declared, recording=recording)
    for number, data in enumerate(appends):
        epoch.append(data, at + number * every)
    return epoch


def fanout_of(epoch):
    return Fanout(epoch, Counters(), Clock())
