"""What a scenario may vary: each property of the way from a picture to whoever watches it, with its default.

The same words are the keys of a scenario's factors, the columns of its rows, and the rows of the docs page.
"""

from __future__ import annotations

import re

import attrs

from sdp.settings import choice, count, flag, optional, positive, seconds, setting

__all__ = ["FAULTS", "LINKS", "SYSTEMS", "Way"]

SYSTEMS = ("sdp", "icecast", "nginx-rtmp", "nginx-hls", "http-flv", "webrtc")
"""Which program distributes: this project's, or one of those that it is compared to."""

FAULTS = ("none", "kill-distributor", "kill-origin", "kill-relay", "stall", "cut")
"""What goes wrong in the middle of the time that is measured."""

LINKS = ("none", "steady", "steps", "sawtooth", "mobile", "outages")
"""The bandwidth traces of :mod:`sdp.lab.traces`."""


def bits_a_second(given: str) -> int:
    """Bits a second: ``800000``, ``800k``, ``2M``."""
    match = re.fullmatch(r"([1-9][0-9]{0,11})([kM]?)", given)
    if match is None:
        raise ValueError("is no bit rate; write it as 800k or 2M")
    return int(match[1]) * {"": 1, "k": 1000, "M": 1_000_000}[match[2]]


def picture_size(given: str) -> str:
    """``WIDTHxHEIGHT``."""
    if not re.fullmatch(r"[1-9][0-9]{2,3}x[1-9][0-9]{2,3}", given):
        raise ValueError("is no picture size; write it as 320x180")
    return given


def frame_or_seconds(given: str) -> str:
    """``frame``, ``group`` (as long as the distance of key frames), or so many seconds."""
    if given in ("frame", "group"):
        return given
    if not seconds(given):
        raise ValueError("must be frame, group, or more than 0 seconds")
    return given


def share(given: str) -> float:
    """A number from 0 to 1."""
    if not re.fullmatch(r"0(?:\.[0-9]{1,6})?|1(?:\.0{1,6})?", given):
        raise ValueError("must be a share from 0 to 1, such as 0.1")
    return float(given)


def frame_rate(given: str) -> int:
    """Pictures a second."""
    rate = positive(given)
    if rate > 120:
        raise ValueError("must be a rate of at most 120 pictures a second")
    return rate


@attrs.frozen(kw_only=True)
class Way:
    """One treatment: everything about the way of a picture that a scenario may say."""

    system: str = setting("sdp", "Which program distributes.", parse=choice(*SYSTEMS))
    size: str = setting("320x180", "The picture's size.", parse=picture_size, metavar="WxH")
    rate: int = setting("30", "Pictures a second.", parse=frame_rate, metavar="N")
    gop: float = setting("1", "The time between two key frames.", parse=seconds)
    preset: str = setting("ultrafast", "The video encoder's preset.", metavar="NAME")
    bit_rate: int | None = setting(
        "none", "The video's bit rate; none for constant quality.", parse=optional(bits_a_second), metavar="BITS"
    )
    record: str = setting(
        "frame",
        "What goes out as one piece: each frame by itself, a group of pictures, or so many seconds.",
        parse=frame_or_seconds,
        metavar="frame|group|SECONDS",
    )
    hops: int = setting("0", "How many relays lie between the Distributor and who watches.", parse=count)
    fan: int = setting(
        "1",
        "How many relays each server feeds; more than one in virtual time only, which needs not start them.",
        parse=positive,
    )
    hop_delay: float = setting(
        "0",
        "The delay, one way, from the Origin to the Distributor and from each server to the next.",
        parse=seconds,
    )
    egress: int | None = setting(
        "none",
        "What each server's network carries out, in bits a second; virtual time only.",
        parse=optional(bits_a_second),
        metavar="BITS",
    )
    workers: int = setting("1", "In how many processes the Distributor runs.", parse=positive)
    store: bool = setting(False, "Whether the Distributor records on a disk.", parse=flag, metavar="yes|no")
    sync: float = setting("1", "How long bytes may wait to be made durable, where there is a disk.", parse=seconds)
    fan_out: str = setting(
        "before-sync",
        "Whether bytes are given out before the disk has them, or after it (which needs a store).",
        parse=choice("before-sync", "after-sync"),
    )
    path: str = setting(
        "direct", "What the last server is reached through.", parse=choice("direct", "nginx", "tls"), metavar="PATH"
    )
    delivery: str = setting(
        "stream",
        "How a consumer gets what is new: one endless answer, long polls, or a request each poll-every.",
        parse=choice("stream", "long-poll", "poll"),
    )
    poll_every: float = setting("200ms", "How often a polling consumer asks.", parse=seconds)
    connection: str = setting("kept", "Whether a consumer's requests share a connection.", parse=choice("kept", "new"))
    link: str = setting("none", "The bandwidth trace of the way to the probes.", parse=choice(*LINKS))
    link_rate: int | None = setting(
        "none", "That link's bit rate; a trace varies around it.", parse=optional(bits_a_second), metavar="BITS"
    )
    link_delay: float = setting("0", "That link's delay, one way.", parse=seconds)
    link_jitter: float = setting("0", "By how much more, at most, a piece is delayed there.", parse=seconds)
    link_loss: float = setting(
        "0", "The share of pieces there that wait for a retransmission's time.", parse=share, metavar="SHARE"
    )
    fault: str = setting("none", "What goes wrong half-way through.", parse=choice(*FAULTS))
    fault_for: float = setting("1", "How long it stays so.", parse=seconds)
    probes: int = setting("1", "How many consumers decode every picture.", parse=positive)
    joiners: int = setting("0", "How many more of them come in at chance moments of the time measured.", parse=count)
    consumers: int = setting(
        "0", "How many light consumers, which only take bytes, share the last server.", parse=count
    )
    slow: float = setting("0", "The share of light consumers that take far less than they are sent.", parse=share)
    target: float = setting("0", "How long after its capture a player means to show a picture.", parse=seconds)
    late: str = setting(
        "wait",
        "What a player does with a picture that comes too late: it waits, and is later from then on, or leaves it out.",
        parse=choice("wait", "drop"),
    )

    @property
    def fragment(self) -> str:
        """The Origin's ``--fragment``."""
        return f"{self.gop:g}" if self.record == "group" else self.record

    @property
    def is_virtual(self) -> bool:
        """Whether it asks for what only virtual time has."""
        return self.fan > 1 or self.egress is not None

    @property
    def link_is_real(self) -> bool:
        """Whether the probes are reached through a link that is modelled."""
        shaped = self.link_rate is not None or self.link_delay or self.link_jitter or self.link_loss
        return bool(shaped) or self.link != "none" or self.fault in ("stall", "cut")
