"""Where a copy begins that is to begin at a time: asked of the Distributor's index, with what decoding needs before it.

A time > the random access point at it > its offset, and the initialization segment, which heads the copy where it does
not lie just before.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import attrs

from sdp.errors import Refusal
from sdp.http1.ranges import parse_content_range
from sdp.net.address import Address
from sdp.net.asking import Answer
from sdp.net.attempts import TryAgain
from sdp.net.client import ClientProtocol
from sdp.net.refusals import retry_after, sentence

__all__ = ["Start", "find_start"]


@attrs.frozen
class Start:
    """The offset of a copy's first byte, and the bytes to be written before it."""

    offset: int
    head: bytes = b""


async def find_start(client: ClientProtocol, address: Address, at: str) -> tuple[str, Start]:
    """Return the epoch (its entity tag), and where in it a copy begins at the time ``at``, as ``?at=`` takes it.

    Raises Refusal for what is no time, and TryAgain as long as there is nothing to begin with.
    """
    path, _, query = address.target.partition(b"?")
    given = query + b"&" if query else b""
    epoch, points = await _index(client, path, given + b"at=" + quote(at).encode("ascii"))
    if not points:
        raise TryAgain("The stream has nothing yet that can be decoded.")
    offset, tag = points[0], f'"{epoch}"'
    query = b"before=%d&epoch=%b" % (offset, quote(epoch).encode("ascii"))
    answer = await client.fetch(b"GET", b"/-/initialization" + path + b"?" + query)
    if answer.status == 204:
        return tag, Start(offset)
    said = parse_content_range(answer.headers.get(b"content-range") or b"") if answer.status == 206 else None
    if said is None or said.first is None:
        raise TryAgain(f"The initialization segment cannot be had: {_said(answer)}.")
    if said.first + len(answer.content) >= offset:
        return tag, Start(said.first)
    return tag, Start(offset, answer.content)


async def _index(client: ClientProtocol, path: bytes, query: bytes) -> tuple[str, list[int]]:
    """The epoch, and the offsets of the records that an answer of the index names."""
    answer = await client.fetch(b"GET", b"/-/records" + path + b"?" + query)
    if answer.status == 400:
        raise Refusal(400, "Refused", f"The Distributor refuses: {_said(answer)}.")
    if answer.status != 200:
        after = retry_after(answer.headers)
        raise TryAgain(f"The Distributor does not tell where to begin: {_said(answer)}.", after=after)
    try:
        document: Any = json.loads(answer.content)
        epoch, offsets = document["epoch"], [each["offset"] for each in document["records"]]
        if not isinstance(epoch, str) or any(type(offset) is not int or offset < 0 for offset in offsets):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise Refusal(502, "No Distributor", "The server's index cannot be read: it is no SDP Distributor.") from None
    return epoch, offsets


def _said(answer: Answer) -> str:
    return sentence(answer.status, answer.content)
