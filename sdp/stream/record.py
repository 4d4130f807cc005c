"""A record: the run of bytes that was produced together, and what is known of it."""

from __future__ import annotations

from enum import IntFlag
from typing import NamedTuple

__all__ = ["Flag", "Record"]


class Flag(IntFlag):
    """What decoding may do with a record. The values are part of the store's format."""

    NONE = 0
    INITIALIZATION = 1
    """An initialization segment: needed before anything after it can be decoded."""
    RANDOM_ACCESS = 2
    """Decoding can start here (given the last initialization segment before it)."""
    IMPLIED = 4
    """RANDOM_ACCESS only because the format is unknown: void once any POST of the epoch says ``Random-Access``."""


class Record(NamedTuple):
    """Where a record begins, and what is known of it; it ends where the next one begins.

    ``offset`` is absolute within the epoch, in bytes. ``capture_time`` (of the first byte's frame) and
    ``received_time`` (of the first byte, by this node's clock) are integer microseconds since the Unix
    epoch, or None where unknown. ``hop_times`` are those at which each Distributor that the record passed
    before this one received it, by its own clock, oldest first; nothing stores them.
    """

    offset: int
    flags: Flag = Flag.NONE
    capture_time: int | None = None
    received_time: int | None = None
    hop_times: tuple[int, ...] = ()
