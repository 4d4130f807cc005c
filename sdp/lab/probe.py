"""A probe: a consumer that decodes every picture, reads its stamp, and writes down when it came and when it was there.

One process each, so that one probe's decoder does not hold up another's socket. Orders come as JSON on standard input;
what was seen goes to a file, a line a picture, and what it took to the file's last line. ``ready`` on standard output
says that the first picture is there. Ends on SIGTERM, or with the epoch.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from random import Random
from threading import Event
from typing import Any, TextIO

import attrs

from sdp.container.fragment_units import FragmentDemuxer
from sdp.errors import MediaError
from sdp.lab.decoding import PictureDecoder, now
from sdp.lab.fetching import Arrival, Asked, Fetch

__all__ = ["Orders", "Watching", "main"]

STAY_PICTURES = 5
"""How many pictures a joiner stays for."""


@attrs.frozen(kw_only=True)
class Orders:
    """What a probe is told. ``joins``: how many times it comes in anew at chance moments of ``seconds``, from the
    time on that the second line of standard input says, in microseconds (0: it comes at once and stays); its consumers
    are numbered from ``consumer`` on."""

    asked: Asked
    out: Path
    consumer: int = 0
    joins: int = 0
    seconds: float = 0.0
    seed: int = 0

    @classmethod
    def read(cls, text: str) -> Orders:
        """From the JSON that :meth:`text` gives."""
        given: dict[str, Any] = json.loads(text)
        return cls(**{**given, "asked": Asked(**given["asked"]), "out": Path(given["out"])})

    def text(self) -> str:
        """As JSON."""
        return json.dumps({**attrs.asdict(self), "out": str(self.out)})


class Watching:
    """One consumer's stay: bytes > samples > pictures > lines of ``out``.

    A line: consumer, stamp's clock, stamp's number, fetched, decoded, prft (empty where unknown), epoch, end offset.
    """

    def __init__(self, consumer: int, out: TextIO, stop: Event, stay: int | None = None) -> None:
        self.decoder = PictureDecoder()
        self.pictures = 0
        self.unread = 0
        """Pictures whose stamp could not be read."""
        self._consumer = consumer
        self._out = out
        self._stop = stop
        self._stay = stay
        self._demuxer = FragmentDemuxer()
        self._epoch: bytes | None = None
        self._track: int | None = None
        self._tracks: Any = None

    def take(self, arrival: Arrival) -> None:
        """Called with what was fetched."""
        if arrival.epoch != self._epoch:
            self._epoch, self._demuxer, self._tracks = arrival.epoch, FragmentDemuxer(), None
        try:
            units = self._demuxer.feed(arrival.offset, arrival.data, arrival.capture_time)
        except MediaError:
            self._demuxer = FragmentDemuxer()
            return
        if self._demuxer.tracks is not self._tracks:
            self._tracks = self._demuxer.tracks
            self._track = self.decoder.configure(self._tracks or ())
        for unit in units:
            if unit.track == self._track:
                self._show(unit, arrival.at)

    def _show(self, unit: Any, fetched: int) -> None:
        for picture in self.decoder.decode(unit):
            stamp = picture.stamp
            if stamp is None:
                self.unread += 1
                continue
            prft = "" if unit.capture_time is None else unit.capture_time
            tag = (self._epoch or b"").decode("latin-1").strip('"')
            self._out.write(
                f"{self._consumer},{stamp.clock_us},{stamp.frame},{fetched},{picture.at},{prft},{tag},{unit.offset}\n"
            )
            self.pictures += 1
            if self._stay is not None and self.pictures >= self._stay:
                self._stop.set()


class _Probe:
    def __init__(self, orders: Orders) -> None:
        self._orders = orders
        self._stop = Event()
        self._leave = Event()
        self._totals = {"twice": 0, "requests": 0, "connections": 0, "decoding": 0, "reading": 0, "pictures": 0}
        self._faults = {"unread": 0, "damaged": 0}

    def end(self, *_: object) -> None:
        self._leave.set()
        self._stop.set()

    def run(self) -> None:
        orders = self._orders
        with orders.out.open("w", encoding="ascii", buffering=1) as out:
            if orders.joins:
                _say("ready")
                self._join_often(out)
            else:
                self._watch(orders.consumer, out, None)
            used = resource.getrusage(resource.RUSAGE_SELF)
            cpu = used.ru_utime + used.ru_stime
            out.write("#" + json.dumps({**self._totals, **self._faults, "cpu_seconds": cpu}) + "\n")

    def _join_often(self, out: TextIO) -> None:
        orders, chance = self._orders, Random(self._orders.seed)
        said = sys.stdin.readline().strip()
        if not said.isdigit():
            return
        begin = int(said)
        moments = sorted(chance.uniform(0, orders.seconds) for _ in range(orders.joins))
        for number, moment in enumerate(moments):
            if self._leave.wait(max(0.0, (begin - now()) / 1e6 + moment)):
                return
            self._stop = Event()
            out.write(f"!{orders.consumer + number},{now()}\n")
            self._watch(orders.consumer + number, out, STAY_PICTURES)

    def _watch(self, consumer: int, out: TextIO, stay: int | None) -> None:
        watching = Watching(consumer, out, self._stop, stay)
        fetch = Fetch(self._orders.asked, _Telling(watching), self._stop)
        if stay is None:
            out.write(f"!{consumer},{now()}\n")
        fetch.run()
        for name, value in (
            *(("twice", fetch.twice), ("requests", fetch.requests), ("connections", fetch.connections)),
            *(("decoding", watching.decoder.decoding), ("reading", watching.decoder.reading)),
            ("pictures", watching.pictures),
        ):
            self._totals[name] += value
        self._faults["unread"] += watching.unread
        self._faults["damaged"] += watching.decoder.damaged


class _Telling:
    """Says ``ready`` once, with the first picture."""

    def __init__(self, watching: Watching) -> None:
        self._watching = watching
        self._told = False

    def __call__(self, arrival: Arrival) -> None:
        self._watching.take(arrival)
        if self._watching.pictures and not self._told:
            self._told = True
            _say("ready")


def _say(word: str) -> None:
    os.write(1, word.encode() + b"\n")


def main() -> None:
    """Be a probe."""
    probe = _Probe(Orders.read(sys.stdin.readline()))
    signal.signal(signal.SIGTERM, probe.end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    probe.run()


if __name__ == "__main__":
    main()
