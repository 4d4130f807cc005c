"""Which demuxer takes a stream apart, by the stream's first bytes. Pure."""

from __future__ import annotations

from typing import Final

from sdp.container.fmp4 import fits_mp4
from sdp.container.fragment_units import FragmentDemuxer
from sdp.container.mpegts import fits_transport_stream
from sdp.container.transport_units import TransportDemuxer
from sdp.container.units import Demuxer
from sdp.errors import MediaError

__all__ = ["demuxer_for"]

ENOUGH: Final = 3 * 188
"""Bytes by which every format that is known shows itself."""


def demuxer_for(head: bytes) -> Demuxer | None:
    """The demuxer for a stream that begins with ``head``; None where more bytes are needed to tell.

    Raises MediaError for what there is none for.
    """
    final = len(head) >= ENOUGH
    if fits_mp4(head, final):
        return FragmentDemuxer()
    if head and fits_transport_stream(head, final):
        return TransportDemuxer()
    if not final:
        return None
    raise MediaError(
        "This player takes fragmented MP4 and MPEG transport streams, and this is neither: mpv and VLC take others."
    )
