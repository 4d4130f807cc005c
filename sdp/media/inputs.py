"""What a source's name means to libavformat: a file, a URL, a device or standard input, and how to open it.

Pure but for :func:`open_input` and the reader of standard input.
"""

from __future__ import annotations

import os
import re
import select
import sys
import threading
from typing import Any

from attrs import frozen

from sdp.errors import MediaError
from sdp.media.faults import import_av, media_faults, without_secret
from sdp.media.spec import SourceSpec

__all__ = ["Input", "PipeReader", "describe_input", "open_input"]

DEVICES = frozenset(
    {"alsa", "avfoundation", "dshow", "fbdev", "gdigrab", "kmsgrab", "lavfi", "pulse", "v4l2", "x11grab"}
)
SIZED_DEVICES = frozenset({"avfoundation", "dshow", "gdigrab", "v4l2", "x11grab"})
LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "srt", "tcp", "udp", "unix"})
"""Inputs that come at their own pace: what arrives is given out at once."""

URL_TIMEOUT = 10.0
"""Seconds that a URL may take to open, or stay silent, before the source fails."""
PROBE_LIVE = {"probesize": "500000", "analyzeduration": "1000000"}
"""How much of a live input is examined before it starts: 500 kB, or a second. What was examined is kept: FFmpeg's
"nobuffer" would drop it, and with it the first key frame."""

_POLL = 0.1  # seconds between looks at the stop request while standard input is silent
_PREFIX = re.compile(r"([a-z0-9]+):(.*)", re.DOTALL)


@frozen(kw_only=True)
class Input:
    """How to open an input. ``live``: it sets the pace itself; ``device``: its time stamps are wall-clock time."""

    name: str
    format: str | None = None
    options: dict[str, str]
    live: bool = False
    device: bool = False
    url: bool = False


def describe_input(spec: SourceSpec) -> Input:
    """Say what ``spec.source`` means."""
    source = spec.source
    if source == "-":
        return Input(name="-", options=dict(PROBE_LIVE), live=True)
    if re.fullmatch(r"/dev/video\d+", source):
        source = f"v4l2:{source}"
    prefix = _PREFIX.fullmatch(source)
    if prefix is not None and prefix[1] in DEVICES:
        return _describe_device(spec, prefix[1], prefix[2])
    if prefix is not None and prefix[2].startswith("//") and prefix[1] != "file":
        live = prefix[1] in LIVE_SCHEMES
        options = dict(PROBE_LIVE) if live else {}
        if prefix[1] in ("rtsp", "rtsps"):
            options["rtsp_transport"] = "tcp"
        return Input(name=source, options=options, live=live, url=True)
    return Input(name=source, options={})


def _describe_device(spec: SourceSpec, kind: str, name: str) -> Input:
    options = {}
    if kind in SIZED_DEVICES:
        if spec.size is not None:
            options["video_size"] = f"{spec.size[0]}x{spec.size[1]}"
        if spec.rate is not None:
            options["framerate"] = str(spec.rate)
    if kind == "v4l2":
        options["timestamps"] = "abs"  # wall clock, whichever clock the driver has
    if kind == "x11grab" and ":" not in name:
        name = f":{name}"
    # lavfi computes its frames as fast as they are taken: it is paced like a file.
    return Input(name=name, format=kind, options=options, live=kind != "lavfi", device=kind != "lavfi")


class PipeReader:
    """Reads a pipe for libavformat: takes what is there, and ends at the pipe's end or when ``stop`` is set."""

    def __init__(self, descriptor: int, stop: threading.Event) -> None:
        self._descriptor = descriptor
        self._stop = stop

    def read(self, size: int) -> bytes:
        """Return at most ``size`` bytes; none at the end."""
        while not self._stop.is_set():
            if select.select([self._descriptor], [], [], _POLL)[0]:
                return os.read(self._descriptor, size)
        return b""


def open_input(described: Input, stop: threading.Event) -> Any:
    """Return av's open container. Raises MediaError with a sentence that says what to do."""
    av = import_av()
    shown = "standard input" if described.name == "-" else without_secret(described.name)
    if described.format is not None and described.format not in av.formats_available:
        names = {name for known in av.formats_available for name in known.split(",")}
        if described.format not in names:
            raise MediaError(f"Cannot open {shown}: this build of FFmpeg has no {described.format} input; use another.")
    file: Any = described.name
    if described.name == "-":
        try:
            file = PipeReader(sys.stdin.fileno(), stop)
        except (AttributeError, OSError, ValueError):
            raise MediaError("Cannot open standard input: there is none; pipe media into this command.") from None
    with media_faults(f"open {shown}"):
        return av.open(
            file,
            "r",
            format=described.format,
            options=described.options,
            timeout=URL_TIMEOUT if described.url else None,
        )
