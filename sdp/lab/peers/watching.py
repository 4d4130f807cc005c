"""A probe of another program's stream: the same decoder and the same stamp, behind that program's own way of delivery.

MPEG-TS over HTTP is taken apart by SDP's own demuxer, which waits for nothing. What is read by libavformat (RTMP, HLS)
is read with the settings that its documentation gives for low latency, as a player built on it would. What is written
down is what :mod:`sdp.lab.probe` writes. Orders come as JSON on standard input.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Event
from typing import Any, TextIO

import attrs

from sdp.container.transport_units import TransportDemuxer
from sdp.container.units import MediaDescription, Unit
from sdp.errors import MediaError
from sdp.lab.decoding import Decoded, PictureDecoder, import_av, now

__all__ = ["WatchingOrders", "main"]

_BLOCK = 1 << 16
_RETRY = 0.1


@attrs.frozen(kw_only=True)
class WatchingOrders:
    """``by``: ``transport`` (MPEG-TS over HTTP) or ``libav``; ``url``; ``out``: the file to write."""

    by: str
    url: str
    out: str
    consumer: int = 0

    def text(self) -> str:
        """As JSON."""
        return json.dumps(attrs.asdict(self))


class _Watcher:
    def __init__(self, orders: WatchingOrders, out: TextIO) -> None:
        self.stop = Event()
        self.decoder = PictureDecoder()
        self.pictures = self.unread = self.connections = 0
        self._orders = orders
        self._out = out
        self._fault: type[Exception] = import_av().FFmpegError

    def run(self) -> None:
        watch: Callable[[], None] = self._transport if self._orders.by == "transport" else self._libav
        while not self.stop.is_set():
            self.connections += 1
            with suppress(OSError, MediaError, self._fault):  # it is not there yet, or has ended: ask again
                watch()
            self.stop.wait(_RETRY)

    def _show(self, pictures: list[Decoded], fetched: int | str, end: int) -> None:
        for picture in pictures:
            if picture.stamp is None:
                self.unread += 1
                continue
            stamp = picture.stamp
            self._out.write(f"{self._orders.consumer},{stamp.clock_us},{stamp.frame},{fetched},{picture.at},,,{end}\n")
            self.pictures += 1
            if self.pictures == 1:
                os.write(1, b"ready\n")

    # -- MPEG-TS over HTTP -------------------------------------------------------------------------------------

    def _transport(self) -> None:
        address, _, target = self._orders.url.removeprefix("http://").partition("/")
        host, _, port = address.partition(":")
        with socket.create_connection((host, int(port)), timeout=1.0) as made:
            made.sendall(f"GET /{target} HTTP/1.0\r\nHost: {address}\r\n\r\n".encode())
            made.settimeout(0.25)
            held = b""
            while b"\r\n\r\n" not in held:
                held += self._received(made)
            head, _, rest = held.partition(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n")[0]:
                raise OSError("no stream yet")
            self._take(made, rest)

    def _received(self, made: socket.socket) -> bytes:
        while not self.stop.is_set():
            try:
                data = made.recv(_BLOCK)
            except TimeoutError:
                continue
            self._at = now()
            if not data:
                break
            return data
        raise OSError("the stream has ended")

    def _take(self, made: socket.socket, data: bytes) -> None:
        demuxer, offset = TransportDemuxer(), 0
        tracks: tuple[MediaDescription, ...] | None = None
        track: int | None = None
        while True:
            units = demuxer.feed(offset, data)
            offset += len(data)
            if demuxer.tracks is not tracks:
                tracks = demuxer.tracks
                track = self.decoder.configure(tracks or ())
            for unit in units:
                if unit.track == track:
                    self._show(self.decoder.decode(unit), self._at, unit.offset)
            data = self._received(made)

    # -- what libavformat reads --------------------------------------------------------------------------------

    def _libav(self) -> None:
        av = import_av()
        options = {"fflags": "nobuffer", "flags": "low_delay", "probesize": "32768", "analyzeduration": "0"}
        if self._orders.url.startswith("rtmp"):
            options["rtmp_live"] = "live"
        elif self._orders.url.endswith(".m3u8"):
            options["live_start_index"] = "-1"  # the newest segment, in place of the third from the end
        with av.open(self._orders.url, options=options, timeout=(5.0, 2.0)) as container:
            stream = container.streams.video[0]
            context = stream.codec_context
            described = MediaDescription(
                id=0, kind="video", codec=context.codec.canonical_name, config=bytes(context.extradata or b"")
            )
            self.decoder.configure([described])
            for packet in container.demux(stream):
                if self.stop.is_set():
                    return
                if not packet.size:
                    continue
                fetched = now()
                unit = Unit(0, bytes(packet), 0, 0, packet.is_keyframe, None, 0)
                self._show(self.decoder.decode(unit), fetched, 0)


def main() -> None:
    """Watch until told to end."""
    given: dict[str, Any] = json.loads(sys.stdin.readline())
    orders = WatchingOrders(**given)
    with Path(orders.out).open("w", encoding="ascii", buffering=1) as out:
        watcher = _Watcher(orders, out)
        # libavformat waits in the system: a second signal, or the end of its time-out, gets it out of there.
        signal.signal(signal.SIGTERM, lambda *_: watcher.stop.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        out.write(f"!{orders.consumer},{now()}\n")
        began = time.monotonic()
        watcher.run()
        used = resource.getrusage(resource.RUSAGE_SELF)
        totals = {
            "requests": watcher.connections,
            "connections": watcher.connections,
            "decoding": watcher.decoder.decoding,
            "reading": watcher.decoder.reading,
            "pictures": watcher.pictures,
            "unread": watcher.unread,
            "damaged": watcher.decoder.damaged,
            "twice": 0,
            "cpu_seconds": used.ru_utime + used.ru_stime,
            "seconds": time.monotonic() - began,
        }
        out.write("#" + json.dumps(totals) + "\n")


if __name__ == "__main__":
    main()
