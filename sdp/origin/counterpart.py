"""The Distributor as an Origin asks it: where the stream's log ends, whose epoch it is, that the epoch end here.

Every question is one request on the connection that the stream is posted over. Whose epoch it is, is told by its bytes:
a POST of what should be held already is taken as equal (204), or refused (409), and changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from sdp.errors import Refusal, SDPError
from sdp.http1.ranges import format_content_range
from sdp.net.attempts import TryAgain
from sdp.net.client import Answer, ClientProtocol
from sdp.net.missing import Span, missing_of
from sdp.net.refusals import complete_length, offset_field, sentence
from sdp.origin.lives import Life, sample

__all__ = ["Counterpart", "Standing"]

SAMPLE = 1 << 16
"""How many bytes of the log's end are compared to know an epoch again: more than the header that many begin with."""

_FOR_EVER = frozenset({401, 403, 405, 411, 413, 414, 415, 417, 431})
"""Refusals that asking again does not mend: the operator has to."""


class Standing(NamedTuple):
    """Where the Distributor's log stands: the epoch's entity tag (None: there is no such stream), its end, the holes in
    it, whether what is posted is kept on a disk, and its complete length where it has ended (None also where that was
    not said)."""

    epoch: bytes | None
    end: int
    missing: tuple[Span, ...] = ()
    kept: bool = False
    ended: int | None = None


class Counterpart:
    """Asks about one stream (``target``, as a request names it)."""

    def __init__(self, target: bytes) -> None:
        self.target = target

    async def ask(self, client: ClientProtocol) -> Standing:
        """Where the log ends (the wire contract's HEAD). Raises TryAgain where no stream can be posted there."""
        answer = await client.fetch(b"HEAD", self.target)
        if answer.status not in (200, 206, 404):
            raise self.refused(answer)
        end = offset_field(answer.headers, b"upload-offset")
        if end is None:
            raise TryAgain(f"What answers there is no SDP Distributor: it says no Upload-Offset ({answer.status}).")
        if not answer.response.persistent:
            raise TryAgain("The server closes the connection after its first answer: no stream can be posted so.")
        if answer.status == 404:
            return Standing(None, 0)
        headers = answer.headers
        return Standing(headers.get(b"etag"), end, missing_of(headers), b"durable-offset" in headers)

    async def knows(self, client: ClientProtocol, life: Life, standing: Standing) -> Standing | None:
        """Whether the Distributor's epoch is this life: where it stands now if it is, else None.

        Where it is, this connection is its Origin from then on; who was before may have posted until then.
        """
        assert standing.epoch is not None
        # A hole cannot be compared, and must not be filled with what may be another's.
        least = max((stop for _, stop in standing.missing), default=0)
        piece = await sample(life, least, min(standing.end, life.end), SAMPLE)
        if piece is None:
            return None
        lines = [
            (b"Content-Range", format_content_range(piece.offset, piece.end - 1)),
            (b"If-Match", standing.epoch),
        ]
        answer = await client.fetch(b"POST", self.target, lines, piece.data)
        if answer.status < 300:
            end = offset_field(answer.headers, b"upload-offset")
            return standing._replace(
                end=standing.end if end is None else end,
                missing=missing_of(answer.headers),
                ended=complete_length(answer.headers),
            )
        if answer.status == 409:
            return None
        raise self.refused(answer)

    async def end_epoch(self, client: ClientProtocol, end: int, epoch: bytes | None) -> Answer:
        """Say that the epoch is complete at ``end``; by name where it is this Origin's own (``epoch``)."""
        lines = [(b"Content-Range", format_content_range(None, None, end))]
        if epoch is not None:
            lines.append((b"If-Match", epoch))
        return await client.fetch(b"POST", self.target, lines, b"")

    def refused(self, answer: Answer) -> SDPError:
        """What a refusal means for an Origin: try again, or give up."""
        said = sentence(answer.status, answer.content)
        if answer.status == 401 and not answer.content:  # HEAD's has none, and it is the first to be asked
            said += ", so it needs a secret: --publish-token FILE, or NAME:SECRET@ before the host of --to"
        if answer.status in _FOR_EVER:
            return Refusal(answer.status, "Refused", f"The Distributor refuses the stream: {said}.")
        return TryAgain(f"The Distributor does not take the stream now: {said}.", status=answer.status)
