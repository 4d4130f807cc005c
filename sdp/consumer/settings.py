"""What an operator may choose of a Consumer that keeps a copy."""

from __future__ import annotations

from pathlib import Path

import attrs

from sdp.net.address import Address, parse_stream_address
from sdp.settings import REQUIRED, durability, optional, path, seconds, setting, size, text

__all__ = ["ConsumerSettings"]


@attrs.frozen(kw_only=True)
class ConsumerSettings:
    """Keep a gapless copy of a stream, from its first byte to its last."""

    from_: tuple[Address, ...] = setting(
        REQUIRED,
        "The stream to copy, such as http://HOST:8080/NAME; further ones are of servers that have the same stream, the"
        " most preferred first: where one fails, or lacks something, the copy goes on at the next.",
        parse=parse_stream_address,
        repeatable=True,
        metavar="URL",
    )
    output: str = setting(
        REQUIRED,
        "The file to write; - for standard output. FILE.sdp beside it remembers the epoch.",
        parse=text,
        metavar="FILE|-",
    )
    at: str | None = setting(
        "none",
        "Begin at this time: RFC 3339, such as 2026-07-01T12:00:00Z, or so many seconds before now; none for the first"
        " byte that is kept.",
        parse=optional(text),
        metavar="TIME",
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
    backlog: int = setting("8MiB", "How much may wait to be written, before the socket is read no more.", parse=size)
    sync: float | None = setting(
        "1",
        "How long what is written may wait to be made durable; never leaves it to the system until all is there.",
        parse=durability,
    )
    silence: float = setting(
        "60", "After so long without a byte the connection is made anew; the copy goes on where it was.", parse=seconds
    )
    retry_first: float = setting("100ms", "The longest wait before the first attempt to connect again.", parse=seconds)
    retry_most: float = setting("10s", "The longest wait between two attempts.", parse=seconds)
    trace: Path | None = setting(
        None,
        "Write when each stream's bytes pass each point of their way here, for the latency laboratory.",
        parse=optional(path),
        metavar="FILE",
    )
