"""Wire forms: how a run of the log looks in an answer's content.

Content is framed once for each form and the same bytes are handed to everyone. The raw forms carry the log's bytes as
they are; the parts form carries each run of a record as a part of ``multipart/byteranges`` (RFC 9110 section 14.6)
that tells its place and its times.
"""

from __future__ import annotations

from collections.abc import Iterable

from sdp.distributor.reading import BLOCK, read, read_spans
from sdp.http1 import encode_chunk
from sdp.http1.multipart import PART_END, closing, part_head
from sdp.http1.ranges import format_content_range
from sdp.stream.catalog import Epoch
from sdp.stream.log import Span, StreamLog
from sdp.stream.record import Flag, Record

__all__ = ["Form", "Parts", "Raw", "record_lines", "time_lines"]


def time_lines(record: Record) -> list[tuple[bytes, bytes]]:
    """When a record was captured and received, as far as it is known, as field lines."""
    times = ((b"Capture-Time", record.capture_time), (b"Received-Time", record.received_time))
    return [(name, b"%d" % time) for name, time in times if time is not None]


def record_lines(record: Record) -> list[tuple[bytes, bytes]]:
    """What is known of a record, as the field lines of its first part."""
    lines = time_lines(record)
    if record.hop_times:
        lines.append((b"Hop-Times", b", ".join(b"%d" % time for time in record.hop_times)))
    if record.flags & Flag.RANDOM_ACCESS:
        lines.append((b"Random-Access", b"?1"))
    if record.flags & Flag.INITIALIZATION:
        lines.append((b"Initialization", b"?1"))
    return lines


class Form:
    """One wire form. ``chunked`` is whether each run is framed as a chunk (RFC 9112 section 7.1) as well."""

    tells_offsets = False
    """Whether a jump in offsets can be read from the content itself."""

    def __init__(self, *, chunked: bool) -> None:
        self.chunked = chunked

    def available(self, log: StreamLog) -> int:
        """The offset up to which the log can be given in this form now."""
        raise NotImplementedError

    def encode(self, log: StreamLog, start: int, end: int) -> bytes:
        """Return the run [start, end) of the log, which must be in the window, as it goes to the socket."""
        raise NotImplementedError

    async def encode_from(self, epoch: Epoch, start: int, end: int, complete: int | None = None) -> tuple[bytes, int]:
        """Return a block of the log from ``start`` on, from wherever it is kept, and the offset after it."""
        raise NotImplementedError

    def encode_bytes(self, offset: int, data: bytes, record: Record) -> bytes:
        """Return a whole record, whose bytes are at hand."""
        raise NotImplementedError

    def frame(self, data: bytes) -> bytes:
        return encode_chunk(data) if self.chunked else data

    def closing(self) -> bytes:
        """What ends an answer of this form, before the last chunk."""
        return b""


class Raw(Form):
    """The log's bytes as they are."""

    def available(self, log: StreamLog) -> int:
        return log.end

    def encode(self, log: StreamLog, start: int, end: int) -> bytes:
        pieces = log.read(start, end=end)
        return self.frame(pieces[0] if len(pieces) == 1 else b"".join(pieces))

    async def encode_from(self, epoch: Epoch, start: int, end: int, complete: int | None = None) -> tuple[bytes, int]:
        data = await read(epoch, start, BLOCK, end)
        return self.frame(data), start + len(data)

    def encode_bytes(self, offset: int, data: bytes, record: Record) -> bytes:
        return self.frame(data)


class Parts(Form):
    """Each run of a record as a part; no part spans two records."""

    tells_offsets = True

    def __init__(self, boundary: bytes, *, chunked: bool) -> None:
        super().__init__(chunked=chunked)
        self.boundary = boundary

    def available(self, log: StreamLog) -> int:
        return log.known

    def encode(self, log: StreamLog, start: int, end: int) -> bytes:
        return self.frame(self.parts(log.spans(start, end=end)))

    async def encode_from(self, epoch: Epoch, start: int, end: int, complete: int | None = None) -> tuple[bytes, int]:
        spans = await read_spans(epoch, start, BLOCK, end)
        return self.frame(self.parts(spans, complete)), spans[-1].end

    def encode_bytes(self, offset: int, data: bytes, record: Record) -> bytes:
        return self.frame(self.parts([Span(offset, data, record)]))

    def parts(self, spans: Iterable[Span], complete: int | None = None) -> bytes:
        """Return spans as parts that name the complete length ``complete`` (None: ``*``)."""
        out: list[bytes] = []
        for span in spans:
            lines = [(b"Content-Range", format_content_range(span.offset, span.end - 1, complete))]
            if span.record is not None:
                lines += record_lines(span.record)
            out += (part_head(self.boundary, lines), span.data, PART_END)
        return b"".join(out)

    def closing(self) -> bytes:
        return self.frame(closing(self.boundary))
