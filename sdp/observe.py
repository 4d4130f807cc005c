"""Trace points: the named places of a stream's way at which a role tells, if anybody asked, how far bytes have come.

A point is a watermark: "all of this stream below ``offset`` has passed here, now". Which picture that was is for
whoever reads the traces to find out: the Origin tells, for each record, its end and its capture time.

Nobody listens by default: each point is then one comparison with None, and most are not even that, for they are put
where a listener can be attached (:mod:`sdp.distributor.tracing`). Pure: the listener has a clock, and a file.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

__all__ = ["Point", "Trace"]


class Point(StrEnum):
    """The points, in the order in which a picture passes them. The first three lie before there is an offset."""

    CAPTURED = "captured"
    """Drawing began, or the device gave the picture. Not noted by itself where an encoder's point follows: it is the
    others' ``capture_time``."""
    ENCODED = "encoded"
    """The encoder has given out the picture of this capture time."""
    WRITTEN = "written"
    """The packaging has given out the record that begins with the picture of this capture time."""
    LOGGED = "logged"
    """The Origin has it in its own log: says a record's end and capture time at once, and so relates them."""
    POSTED = "posted"
    """It was given to the Origin's socket."""
    RECEIVED = "received"
    """The Distributor has it, from its socket."""
    APPENDED = "appended"
    """It is in the Distributor's log, for all to read; later than received where fan-out waits for the disk."""
    DURABLE = "durable"
    """A power loss would keep it."""
    FANNED_OUT = "fanned_out"
    """Whoever stood at the live edge has been given it; not noted where nobody did."""
    FETCHED = "fetched"
    """A relay, or a consumer, has it from its socket."""
    DECODED = "decoded"
    PRESENTED = "presented"


class Trace(Protocol):
    """Whoever listens. Called in any thread; neither blocks nor raises."""

    def __call__(
        self,
        point: Point,
        stream: str,
        offset: int | None = None,
        *,
        capture_time: int | None = None,
        at: int | None = None,
    ) -> None:
        """All below ``offset`` of ``stream`` (its name; at a Distributor ``NAME@EPOCH``), or the picture of
        ``capture_time``, has passed ``point``: now, or ``at`` that time. Times are microseconds since the Unix epoch.
        """
