"""What an operator may choose about a Distributor, with defaults and reasons."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import attrs

from sdp.distributor.upstream import Place, parse_place
from sdp.settings import count, directory_or_none, durability, flag, optional, path, positive, seconds, setting, size

__all__ = ["DistributorSettings"]


def ip(given: str) -> str:
    """An IP address, as a connection's peer is written."""
    try:
        return str(ip_address(given))
    except ValueError:
        raise ValueError("is no IP address; write it as 127.0.0.1 or ::1") from None


@attrs.frozen(kw_only=True)
class DistributorSettings:
    """Takes streams from Origins by POST, and fans them out to Consumers by GET."""

    listen: tuple[str, ...] = setting(
        "tcp:8080", "Where to listen, as a Twisted endpoint string.", repeatable=True, metavar="ENDPOINT"
    )
    workers: int = setting(
        "1", "How many processes share the work of serving; one of them takes in what is posted.", parse=positive
    )
    upstream: tuple[Place, ...] = setting(
        (),
        "Relay: fetch streams from this Distributor, such as http://HOST:8080, and pass up what is posted; several are"
        " tried in their order.",
        parse=parse_place,
        repeatable=True,
        metavar="URL",
    )
    upstream_ca_file: Path | None = setting(
        None,
        "The certificates (PEM) that may vouch for an https upstream, in place of the system's authorities.",
        parse=optional(path),
        metavar="FILE",
    )
    upstream_linger: float = setting(
        "30", "How long a relayed stream stays after its last consumer has left.", parse=seconds
    )
    upstream_connections: int = setting(
        "8", "How many connections to one upstream may be used at once for what is not live.", parse=positive
    )
    store: Path | None = setting(
        "sdp-store", "The directory that every stream is recorded in; none for no disk.", parse=directory_or_none
    )
    store_required: bool = setting(
        False, "Refuse posts with 507 while the disk fails, instead of going on without a recording.", parse=flag
    )
    store_retry: float = setting(
        "5",
        "How long after a fault of the disk it is tried whether recording can go on; then twice as long, up to 60.",
        parse=seconds,
    )
    sync: float | None = setting(
        "1",
        "How long bytes may wait to be made durable; never leaves it to the system while a stream runs.",
        parse=durability,
    )
    fan_out_after_sync: bool = setting(False, "Consumers are given only what is durable already.", parse=flag)
    segment_bytes: int = setting("1GiB", "How long a recording's file gets before another one follows.", parse=size)
    retain_bytes: int | None = setting(
        "none", "How much of each stream is kept on the disk, its newest file aside.", parse=optional(size)
    )
    retain_seconds: float | None = setting(
        "none", "For how long streams are kept on the disk.", parse=optional(seconds)
    )
    retain_free: int | None = setting(
        "none", "The oldest of all streams goes while the disk has less free room than this.", parse=optional(size)
    )
    memory: int = setting("64MiB", "How much of each stream stays in memory.", parse=size)

    stalled_after: float = setting("5", "Without bytes for so long, an open stream's state is stalled.", parse=seconds)
    publisher_timeout: float = setting(
        "10", "How long after an ordinary publisher's connection broke its epoch ends.", parse=seconds
    )
    catch_up: float = setting(
        "1", "A returning consumer whose lag is below this goes on where it was; others jump.", parse=seconds
    )
    lag_bytes: int = setting(
        "16MiB", "A live consumer that lags by more jumps to the newest random access point.", parse=size
    )
    lag_seconds: float = setting("10", "The same, by the age of the first byte that it lacks.", parse=seconds)
    stall_timeout: float = setting("30", "A consumer that takes nothing for so long is closed.", parse=seconds)

    publish_token: Path | None = setting(
        None,
        "A file of secrets, one name:secret a line; with one of them anybody may publish, and nobody without"
        " one but from this machine.",
        parse=optional(path),
        metavar="FILE",
    )
    read_token: Path | None = setting(
        None,
        "A file of secrets, as for --publish-token; reading then needs one of them too.",
        parse=optional(path),
        metavar="FILE",
    )
    trust_proxy: tuple[str, ...] = setting(
        (),
        "The address of a reverse proxy whose Forwarded or X-Forwarded-For field names the client.",
        parse=ip,
        repeatable=True,
        metavar="ADDRESS",
    )
    allow_origin: str = setting(
        "*", "Access-Control-Allow-Origin of streams and views; none for no such field.", metavar="ORIGIN"
    )

    idle_timeout: float = setting("30", "How long a kept connection may be idle (Keep-Alive: timeout).", parse=seconds)
    max_requests: int = setting("1000000", "How many requests a connection may make (Keep-Alive: max).", parse=positive)
    head_timeout: float = setting("10", "How long a request's head may take to arrive: 408.", parse=seconds)
    body_timeout: float = setting("60", "How long a request's content may pause: 408.", parse=seconds)
    max_connections: int = setting("10000", "How many connections there may be in all: 503.", parse=positive)
    max_connections_per_address: int = setting(
        "256", "How many connections there may be from one address, this machine's own excepted: 503.", parse=positive
    )
    max_streams: int = setting("10000", "How many streams there may be: 503.", parse=positive)
    max_start_line: int = setting("8KiB", "The longest request line: 414.", parse=size)
    max_field_section: int = setting("64KiB", "The longest field section: 431.", parse=size)
    max_fields: int = setting("128", "How many field lines a request may have: 431.", parse=positive)
    max_chunk_extension: int = setting(
        "16KiB", "How many bytes of chunk extensions a request's content may carry: 413.", parse=size
    )
    max_trailer_section: int = setting("8KiB", "The longest trailer section: 431.", parse=size)
    max_record: int = setting(
        "64MiB",
        "The longest content with a Content-Range in a format that is not known: 413. (What is longer than 64 MiB,"
        " as an open-ended one may be, goes on in a further record.)",
        parse=size,
    )
    max_discard: int = setting(
        "1MiB", "How much content of a refused request is read and dropped before its connection is closed.", parse=size
    )
    max_ranges: int = setting("64", "How many ranges a request may name: 400.", parse=positive)
    keep_unrecorded: int = setting(
        "1", "How many past epochs of a stream stay in memory where they are not recorded.", parse=count
    )
    trace: Path | None = setting(
        None,
        "Write when each stream's bytes pass each point of their way here, for the latency laboratory.",
        parse=optional(path),
        metavar="FILE",
    )
