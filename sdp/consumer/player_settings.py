"""What may be chosen of a player."""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from sdp.consumer.playout import Rules
from sdp.net.address import Address, parse_stream_address
from sdp.settings import REQUIRED, flag, optional, path, seconds, setting, size

__all__ = ["PlayerSettings", "rules_of"]


_MILLISECONDS = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?)(?: ?ms)?")


def target(given: str) -> int | None:
    """``auto`` (None), or milliseconds, which become microseconds."""
    if given == "auto":
        return None
    match = _MILLISECONDS.fullmatch(given)
    if match is None:
        raise ValueError("must be auto, or a number of milliseconds, such as 200")
    return round(float(match[1]) * 1000)


target.__name__ = "auto|MILLISECONDS"


@attrs.frozen(kw_only=True)
class PlayerSettings:
    """Play a live stream, as close to its live edge as the network allows."""

    from_: Address = setting(
        REQUIRED, "The stream to play, such as http://HOST:8080/NAME.", parse=parse_stream_address, metavar="URL"
    )
    target: int | None = setting(
        "auto",
        "How much later than by the fastest way pictures are shown: as little as the jitter allows, or so many"
        " milliseconds.",
        parse=target,
        metavar="auto|MILLISECONDS",
    )
    skip_after: float = setting(
        "500ms", "Further behind its target than this it goes on at the newest random access point.", parse=seconds
    )
    headless: bool = setting("no", "No window and no sound; statistics as lines of JSON, one a second.", parse=flag)
    terminal: bool = setting("no", "The picture in the terminal, by half blocks; no sound.", parse=flag)
    video: bool = setting("yes", "Show no picture.", parse=flag)
    audio: bool = setting("yes", "Play no sound.", parse=flag)
    full_screen: bool = setting("no", "Begin with the full screen.", parse=flag)
    record: Path | None = setting(
        "none", "Keep what is received in this file, too.", parse=optional(path), metavar="FILE"
    )
    read_token: Path | None = setting(
        "none",
        "A file whose first line is the secret, or NAME:SECRET, to read with.",
        parse=optional(path),
        metavar="FILE",
    )
    ca_file: Path | None = setting(
        "none",
        "The certificates (PEM) that may vouch for an https server, where none that the system trusts does.",
        parse=optional(path),
        metavar="FILE",
    )
    most_waiting: int = setting(
        "64MiB", "How much may wait to be decoded or shown; beyond it nothing more is received.", parse=size
    )
    trace: Path | None = setting(
        None,
        "Write when each picture passes each point of its way here, for the latency laboratory.",
        parse=optional(path),
        metavar="FILE",
    )
    silence: float = setting(
        "5", "After so long without a byte the connection is made anew; the picture stays.", parse=seconds
    )
    retry_first: float = setting("50ms", "The longest wait before the first attempt to connect again.", parse=seconds)
    retry_most: float = setting("2s", "The longest wait between two attempts.", parse=seconds)


def rules_of(settings: PlayerSettings) -> Rules:
    """The playout controller's rules."""
    return Rules(target=settings.target, skip_after=round(settings.skip_after * 1_000_000))
