"""Which framer takes the bytes of a Content-Type: the one place that knows all containers."""

from __future__ import annotations

from typing import Final

from sdp.container.fmp4 import FragmentedMP4Framer, fits_mp4
from sdp.container.framing import Framing
from sdp.container.sniffing import Format, SniffingFramer
from sdp.stream.record import Record

__all__ = ["framer_for"]

MP4: Final = Format("video/mp4", fits_mp4, FragmentedMP4Framer)

FORMATS: Final = (MP4,)
"""In the order in which they are tried: no two of them fit the same bytes."""

DECLARED: Final[dict[str, tuple[Format, ...]]] = {
    "video/mp4": (MP4,),
    "audio/mp4": (MP4,),
    "application/mp4": (MP4,),
    "video/iso.segment": (MP4,),
    "audio/iso.segment": (MP4,),
    "video/quicktime": (MP4,),
    "video/x-m4v": (MP4,),
    "audio/x-m4a": (MP4,),
}


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
