"""``/-/digest/NAME``: what a range of a log comes to, so that copies of it can be compared without being fetched.

The bytes are read block by block from wherever they are kept, and hashed in a thread: a digest of a long range holds up
neither the streams nor much memory. One is made at a time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredLock

from sdp.distributor.asking import missing
from sdp.distributor.reading import gone, read, written
from sdp.errors import Refusal
from sdp.http1.fields import parse_digits
from sdp.http1.ranges import MAX_LAST
from sdp.stream.catalog import Epoch
from sdp.stream.holes import Interval, within

__all__ = ["DIGEST_LIMIT", "Digests"]

DIGEST_LIMIT = 256 * 1024 * 1024
"""The longest range of one digest, in bytes: about a second of one core. 400 beyond."""
WAITING_LIMIT = 16
"""How many may wait for their turn: 503 beyond."""

_BLOCK = 1024 * 1024

InThread = Callable[[Callable[[], None]], "Deferred[None]"]


class Digests:
    """Makes the digests of one Distributor. ``in_thread`` has something done in a thread."""

    def __init__(self, in_thread: InThread) -> None:
        self._in_thread = in_thread
        self._turn = DeferredLock()

    async def answer(self, epoch: Epoch, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the JSON object for a query: ``first`` and ``last``, both inclusive; by default all that there is.
        What lies in ``holes`` ([start, end) each) has no part in it.

        ProtocolError where a number cannot be read; Refusal 400, 410, 416, 503.
        """
        start = _number(query, "first", epoch.first_offset)
        end = min(_number(query, "last", epoch.end - 1) + 1, epoch.end)
        self._check(epoch, start, end)
        await written(epoch)
        turn: Deferred[DeferredLock] = self._turn.acquire()
        await turn
        try:
            holes = within(epoch.holes, start, end)
            digest = await self._digest(epoch, missing(list(holes), start, end))
        finally:
            self._turn.release()
        said = {"name": epoch.name, "epoch": epoch.id, "first": start, "last": end - 1, "sha256": digest}
        return {**said, "holes": [list(hole) for hole in holes]}

    def _check(self, epoch: Epoch, start: int, end: int) -> None:
        if start >= end:
            detail = f"The log holds {epoch.first_offset} to {epoch.end}."
            raise Refusal(416, "Nothing there", detail, ((b"Content-Range", b"bytes */%d" % epoch.end),))
        if start < epoch.first_offset:
            raise gone(epoch)
        if end - start > DIGEST_LIMIT:
            raise Refusal(400, "Too much at once", f"Ask for at most {DIGEST_LIMIT} bytes: name first and last.")
        if len(self._turn.waiting) >= WAITING_LIMIT:
            raise Refusal(503, "Too many digests", "Others are being made; ask again.", ((b"Retry-After", b"2"),))

    async def _digest(self, epoch: Epoch, runs: list[Interval]) -> str:
        state = hashlib.sha256()
        for start, end in runs:
            at = start
            while at < end:
                data = await read(epoch, at, _BLOCK, end)
                await self._in_thread(lambda data=data: state.update(data))  # type: ignore[misc]  # a default binds it
                at += len(data)
        return state.hexdigest()


def _number(query: Mapping[str, str], name: str, default: int) -> int:
    return parse_digits(query[name].encode("latin-1", "replace"), MAX_LAST) if name in query else default
