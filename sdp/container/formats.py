"""Which framer takes the bytes of a Content-Type: the one place that knows all containers."""

from __future__ import annotations

from typing import Final

from sdp.container.audio import AudioFramer, fits_adts, fits_mpeg_audio
from sdp.container.fmp4 import FragmentedMP4Framer, fits_mp4
from sdp.container.framing import Framing
from sdp.container.matroska import MatroskaFramer, fits_matroska, fits_webm
from sdp.container.mpegts import TransportStreamFramer, fits_transport_stream
from sdp.container.sniffing import Format, SniffingFramer
from sdp.stream.record import Record

__all__ = ["framer_for"]

MP4: Final = Format("video/mp4", fits_mp4, FragmentedMP4Framer)

TRANSPORT_STREAM: Final = Format("video/mp2t", fits_transport_stream, TransportStreamFramer)
WEBM: Final = Format("video/webm", fits_webm, MatroskaFramer)
MATROSKA: Final = Format("video/x-matroska", fits_matroska, MatroskaFramer)
ADTS: Final = Format("audio/aac", fits_adts, AudioFramer)
MPEG_AUDIO: Final = Format("audio/mpeg", fits_mpeg_audio, AudioFramer)

FORMATS: Final = (MP4, TRANSPORT_STREAM, WEBM, MATROSKA, ADTS, MPEG_AUDIO)
"""In the order in which they are tried: WebM is Matroska too; no other two fit the same bytes."""

DECLARED: Final[dict[str, tuple[Format, ...]]] = {
    **dict.fromkeys(
        (
            *("video/mp4", "audio/mp4", "application/mp4", "video/iso.segment", "audio/iso.segment"),
            *("video/quicktime", "video/x-m4v", "audio/x-m4a", "audio/m4a"),
        ),
        (MP4,),
    ),
    **dict.fromkeys(("video/mp2t", "video/mpegts", "audio/mp2t"), (TRANSPORT_STREAM,)),
    **dict.fromkeys(
        ("video/webm", "audio/webm", "video/x-matroska", "audio/x-matroska", "video/matroska", "audio/matroska"),
        (WEBM, MATROSKA),
    ),
    **dict.fromkeys(
        ("audio/aac", "audio/aacp", "audio/x-aac", "audio/mpeg", "audio/mp3", "audio/x-mpeg"), (ADTS, MPEG_AUDIO)
    ),
}
"""Media types in lower case, and the formats that their bytes may have."""


class _Resumed(SniffingFramer):
    """A framer that has read an epoch's initialization segment before it goes on somewhere behind it."""

    def __init__(self, formats: tuple[Format, ...], start: int, initialization: bytes) -> None:
        super().__init__(formats, start - len(initialization), patient=True)
        super().feed(initialization)
        self._resumed_at = start

    @property
    def known(self) -> int:
        return max(super().known, self._resumed_at)

    def feed(self, data: bytes, received_time: int | None = None) -> list[Record]:
        return self._after(super().feed(data, received_time))

    def flush(self) -> list[Record]:
        return self._after(super().flush())

    def _after(self, records: list[Record]) -> list[Record]:
        return [record for record in records if record.offset >= self._resumed_at]


def framer_for(content_type: str | None, start: int = 0, *, initialization: bytes = b"") -> Framing | SniffingFramer:
    """Return the :class:`~sdp.interfaces.IFramer` for an epoch's bytes from offset ``start`` on.

    A ``content_type`` that names no known container (or None) is decided by the first bytes; bytes that do not
    fit what was declared are framed as opaque. Where an epoch goes on at a ``start`` other than 0 (after a
    restart, say), ``initialization`` is its last initialization segment before ``start``, which tells the tracks;
    without it the framer looks for the next place where it can be sure. No record is returned for what lies
    before ``start``.
    """
    media_type = (content_type or "").partition(";")[0].strip().lower()
    declared = DECLARED.get(media_type)
    formats = declared or FORMATS
    if initialization:
        return _Resumed(formats, start, initialization)
    if start and declared:
        return declared[0].framer(start)
    return SniffingFramer(formats, start, patient=declared is not None)
