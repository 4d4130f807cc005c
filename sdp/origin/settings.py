"""What an operator may choose of an Origin."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from sdp.net.address import Address, parse_stream_address
from sdp.settings import (
    REQUIRED,
    choice,
    directory_or_none,
    durability,
    flag,
    optional,
    path,
    positive,
    seconds,
    setting,
)
from sdp.settings import (
    size as byte_size,
)

__all__ = ["OriginSettings"]


def frame_or_seconds(given: str) -> float | None:
    """``frame``, or how many seconds go into one fragment."""
    if given == "frame":
        return None
    length = seconds(given)
    if not length:
        raise ValueError("must be 'frame', or more than 0 seconds")
    return length


def picture_size(given: str) -> tuple[int, int]:
    """``WIDTHxHEIGHT`` in pixels."""
    match = re.fullmatch(r"([1-9][0-9]{0,4})x([1-9][0-9]{0,4})", given)
    if match is None:
        raise ValueError("is no picture size; write it as 1280x720")
    return int(match[1]), int(match[2])


def frame_rate(given: str) -> str:
    """Frames a second: ``30``, ``29.97``, ``30000/1001``."""
    if not re.fullmatch(r"[1-9][0-9]{0,5}(?:\.[0-9]{1,4}|/[1-9][0-9]{0,5})?", given):
        raise ValueError("is no frame rate; write it as 30, 29.97 or 30000/1001")
    return given


def bits(given: str) -> int:
    """Bits a second: ``800000``, ``800k``, ``2M``."""
    match = re.fullmatch(r"([1-9][0-9]{0,11})([kM]?)", given)
    if match is None:
        raise ValueError("is no bit rate; write it as 800k or 2M")
    return int(match[1]) * {"": 1, "k": 1000, "M": 1_000_000}[match[2]]


def bytes_a_second(given: str) -> int:
    """A number of bytes as for a size, one or more."""
    rate = byte_size(given)
    if not rate:
        raise ValueError("must be more than 0; none is for no limit")
    return rate


@attrs.frozen(kw_only=True)
class OriginSettings:
    """Capture or play a source, keep it on disk, and stream it to a Distributor."""

    to: Address = setting(
        REQUIRED,
        "The stream to publish, such as http://HOST:8080/NAME; NAME:SECRET@ before HOST says who publishes.",
        parse=parse_stream_address,
        metavar="URL",
    )
    source: str = setting(
        "test",
        "What to stream: test (a test pattern), a FILE, a URL, - (standard input), or a device.",
        metavar="SOURCE",
    )
    loop: bool = setting(False, "Begin a finite source again at its end.", parse=flag)
    store: Path | None = setting(
        "sdp-origin", "Where all that is captured is kept; none for no disk.", parse=directory_or_none
    )
    sync: float | None = setting(
        "1", "How long bytes may wait to be made durable; never leaves it to the system.", parse=durability
    )
    retain_bytes: int | None = setting(
        "none",
        "How much of the stream is kept on the disk, its newest file aside, and never less than the Distributor might"
        " still need: what it has not on a disk of its own.",
        parse=optional(byte_size),
    )
    retain_seconds: float | None = setting(
        "none", "The same by time: for how long it is kept.", parse=optional(seconds)
    )
    retain_free: int | None = setting(
        "none", "The same by room: the oldest goes while the disk has less free than this.", parse=optional(byte_size)
    )
    store_retry: float = setting(
        "5s",
        "How long a disk that fails is left alone before recording tries to go on; twice as long each time, up to a"
        " minute.",
        parse=seconds,
    )
    memory: int = setting("64MiB", "How much of the stream is kept in memory.", parse=byte_size)
    fragment: float | None = setting(
        "frame",
        "What goes out as one piece: each frame by itself, or so many seconds.",
        parse=frame_or_seconds,
        metavar="frame|SECONDS",
    )
    container: str = setting("mp4", "The stream's format.", parse=choice("mp4", "mpegts"))
    size: tuple[int, int] | None = setting(
        "none", "The picture's size; none for the source's own.", parse=optional(picture_size), metavar="WxH"
    )
    rate: str | None = setting(
        "none", "Frames a second; none for the source's own.", parse=optional(frame_rate), metavar="N"
    )
    gop: float = setting("1", "The time between two key frames, where video is encoded.", parse=seconds)
    bit_rate: int | None = setting(
        "none",
        "The video's bit rate where it is encoded; none for constant quality.",
        parse=optional(bits),
        metavar="BITS",
    )
    preset: str = setting("ultrafast", "The video encoder's preset.", metavar="NAME")
    audio: bool = setting(True, "Send no sound.", parse=flag)
    publish_token: Path | None = setting(
        "none",
        "A file whose first line is the secret, or NAME:SECRET, to publish with.",
        parse=optional(path),
        metavar="FILE",
    )
    ca_file: Path | None = setting(
        "none",
        "The certificates (PEM) that may vouch for an https server, where none that the system trusts does.",
        parse=optional(path),
        metavar="FILE",
    )
    max_unanswered: int = setting("64", "How many POSTs may wait for their answers.", parse=positive)
    max_unanswered_bytes: int = setting("4MiB", "How many bytes of them, one POST aside.", parse=byte_size)
    retry_first: float = setting("100ms", "The longest wait before the first attempt to connect again.", parse=seconds)
    retry_most: float = setting("10s", "The longest wait between two attempts.", parse=seconds)
    after_outage: str = setting(
        "auto",
        "What goes first after an outage: the newest, and what was missed behind it; or the oldest, and all in order;"
        " auto is oldest for a file, and newest for what is live.",
        parse=choice("auto", "newest", "oldest"),
    )
    catch_up: float = setting(
        "1", "With newest first: so much is sent in order all the same, in seconds.", parse=seconds
    )
    backfill_rate: int | None = setting(
        "4MiB",
        "How many bytes a second of what was missed go out beside what is live; none for as many as the line takes.",
        parse=optional(bytes_a_second),
        metavar="SIZE|none",
    )
    backfill_unanswered: int = setting(
        "64KiB",
        "How many bytes of what was missed may be on their way: what is live waits behind no more.",
        parse=byte_size,
    )
    drain: float = setting("5s", "How long a stop waits for the Distributor to take the rest.", parse=seconds)
    trace: Path | None = setting(
        None,
        "Write when each stream's bytes pass each point of their way here, for the latency laboratory.",
        parse=optional(path),
        metavar="FILE",
    )

    @property
    def can_wait(self) -> bool:
        """Whether the source may be held back without losing anything: a file or a pipe, not a camera."""
        return not self.loop and (self.source == "-" or (self.source != "test" and Path(self.source).is_file()))

    @property
    def newest_first(self) -> bool:
        """Whether the newest goes first after an outage."""
        if self.after_outage != "auto":
            return self.after_outage == "newest"
        return self.loop or not Path(self.source).is_file()
