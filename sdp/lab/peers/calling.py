"""WebRTC, by aiortc: the test pattern as one side's camera, and a probe as the other side. Each is a process.

``python -m sdp.lab.peers.calling``: the orders, JSON on standard input, say which side. The viewer connects to the
sender's port, writes its offer as a line of JSON, and reads the answer; what follows goes by ICE, DTLS and RTP from one
of this machine's addresses to itself. aiortc encodes by itself, with libx264 set for low delay, and so not with the
very settings of the other systems; it decodes by itself as well. What is written down is what :mod:`sdp.lab.probe`
writes, without the time of the last byte, which it does not tell.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from fractions import Fraction
from importlib import import_module
from pathlib import Path
from typing import Any

import attrs

from sdp.lab.decoding import import_av, now, read_picture
from sdp.media.pattern import Picture
from sdp.media.stamp import Stamp
from sdp.observe import Point
from sdp.tap.tracing import TraceFile

__all__ = ["CallOrders", "main"]

CONNECT_PATIENCE = 30.0
"""How long the sender may take until it listens, in seconds."""

_CLOCK = 90_000


@attrs.frozen(kw_only=True)
class CallOrders:
    """``side``: ``camera`` or ``viewer``; ``port`` is where they meet; ``out``: the camera's trace, the viewer's
    pictures."""

    side: str
    port: int
    out: str
    size: str = "320x180"
    rate: int = 30
    consumer: int = 0

    def text(self) -> str:
        """As JSON."""
        return json.dumps(attrs.asdict(self))


def _aiortc() -> Any:
    """What is needed of aiortc, imported where a call is made."""
    return import_module("aiortc")


def _new_call(rtc: Any) -> Any:
    """A connection that asks no server on the network for its own address: both sides are on this machine."""
    return rtc.RTCPeerConnection(rtc.RTCConfiguration(iceServers=[]))


def _camera_track(orders: CallOrders, trace: TraceFile) -> Any:
    av, base = import_av(), _aiortc().MediaStreamTrack
    width, height = map(int, orders.size.split("x"))
    drawing = Picture(width, height)

    class Camera(base):  # type: ignore[misc, valid-type]  # aiortc is not always there to be looked at
        """Draws each picture when its time has come; who is late leaves pictures out."""

        kind = "video"

        def __init__(self) -> None:
            super().__init__()
            self._begin: float | None = None
            self._number = -1

        async def recv(self) -> Any:
            clock = asyncio.get_running_loop().time
            if self._begin is None:
                self._begin = clock()
            self._number = max(self._number + 1, int((clock() - self._begin) * orders.rate))
            await asyncio.sleep(max(0.0, self._begin + self._number / orders.rate - clock()))
            frame = av.VideoFrame(width, height, "yuv420p")
            planes = frame.planes
            luma, u, v = (memoryview(each) for each in planes)
            drawing.prime((luma, u, v), (planes[0].line_size, planes[1].line_size, planes[2].line_size))
            captured = now()
            drawing.draw(luma, planes[0].line_size, Stamp(captured, self._number), False)
            trace(Point.CAPTURED, "lab", capture_time=captured, at=captured)
            frame.pts, frame.time_base = self._number * _CLOCK // orders.rate, Fraction(1, _CLOCK)
            return frame

    return Camera()


async def _be_camera(orders: CallOrders, leave: asyncio.Event) -> None:
    rtc = _aiortc()
    trace = TraceFile(Path(orders.out))
    trace.start()
    calls: list[Any] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        offer = json.loads(await reader.readline())
        call = _new_call(rtc)
        calls.append(call)
        sender = call.addTrack(_camera_track(orders, trace))
        await call.setRemoteDescription(rtc.RTCSessionDescription(**offer))
        wanted = [each for each in rtc.RTCRtpSender.getCapabilities("video").codecs if each.mimeType == "video/H264"]
        for each in call.getTransceivers():
            if each.sender is sender:
                each.setCodecPreferences(wanted)
        await call.setLocalDescription(await call.createAnswer())
        said = {"sdp": call.localDescription.sdp, "type": call.localDescription.type}
        writer.write(json.dumps(said).encode() + b"\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", orders.port, limit=1 << 20)
    await leave.wait()
    server.close()
    for call in calls:
        await call.close()
    trace.close()


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    deadline = asyncio.get_running_loop().time() + CONNECT_PATIENCE
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        except OSError:
            if asyncio.get_running_loop().time() > deadline:
                raise
            await asyncio.sleep(0.05)


async def _be_viewer(orders: CallOrders, leave: asyncio.Event) -> None:
    rtc = _aiortc()
    reader, writer = await _connected(orders.port)
    call = _new_call(rtc)
    receiver = call.addTransceiver("video", direction="recvonly").receiver
    with Path(orders.out).open("w", encoding="ascii", buffering=1) as out:
        out.write(f"!{orders.consumer},{now()}\n")
        await call.setLocalDescription(await call.createOffer())
        said = {"sdp": call.localDescription.sdp, "type": call.localDescription.type}
        writer.write(json.dumps(said).encode() + b"\n")
        await writer.drain()
        await call.setRemoteDescription(rtc.RTCSessionDescription(**json.loads(await reader.readline())))
        writer.close()
        pictures = unread = reading = 0

        async def watch() -> None:
            nonlocal pictures, unread, reading
            while True:
                frame = await receiver.track.recv()
                at = now()
                stamp = read_picture(frame)
                reading += now() - at
                if stamp is None:
                    unread += 1
                    continue
                out.write(f"{orders.consumer},{stamp.clock_us},{stamp.frame},,{at},,,0\n")
                pictures += 1
                if pictures == 1:
                    os.write(1, b"ready\n")

        watching = asyncio.ensure_future(watch())
        leaving = asyncio.ensure_future(leave.wait())
        await asyncio.wait([watching, leaving], return_when=asyncio.FIRST_COMPLETED)
        watching.cancel()
        leaving.cancel()
        await asyncio.gather(watching, leaving, return_exceptions=True)
        totals = {"pictures": pictures, "unread": unread, "reading": reading, "connections": 1, "requests": 1}
        out.write("#" + json.dumps(totals) + "\n")
    await call.close()


async def _run(orders: CallOrders) -> None:
    leave = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, leave.set)
    await (_be_camera if orders.side == "camera" else _be_viewer)(orders, leave)


def main() -> None:
    """Be one side of a call, until told to end."""
    given: dict[str, Any] = json.loads(sys.stdin.readline())
    asyncio.run(_run(CallOrders(**given)))


if __name__ == "__main__":
    main()
