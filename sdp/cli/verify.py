"""``sdp verify``: whether a store is sound, and whether several Distributors hold the same."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sdp.cli.running import run, trusted
from sdp.errors import ConfigurationError, RemoteError, StorageError
from sdp.net.address import Address, parse_stream_address
from sdp.net.client import ClientFactory, ClientProtocol, connect
from sdp.net.refusals import sentence

__all__ = ["Copy", "common", "compare", "run_verify"]

Interval = tuple[int, int]

PIECE = 64 * 1024 * 1024
"""Bytes that are compared at a time: less than a Distributor makes a digest of at once."""
FINEST = 4096
"""Bytes to which the place of the first difference is told."""


def run_verify(targets: tuple[str, ...], *, read_token: str | None = None, ca_file: str | None = None) -> int:
    """Verify one store's directory, or two or more copies of a stream; return the exit status."""
    urls = [target for target in targets if target.startswith(("http://", "https://"))]
    if not urls and len(targets) == 1:
        return _store(Path(targets[0]))
    if len(urls) != len(targets) or len(urls) < 2:
        sys.stderr.write("sdp verify: name one store's directory, or two or more URLs of a stream.\n")
        return 2
    try:
        addresses = [trusted(parse_stream_address(url), read_token, ca_file) for url in urls]
    except ConfigurationError as error:
        sys.stderr.write(f"sdp verify: {error.detail}\n")
        return 2
    return run(lambda reactor: _copies(addresses, reactor))


def _store(directory: Path) -> int:
    from sdp.store import verify

    damaged = found = 0
    try:
        for one in verify(directory):
            state = "ended" if one.ended else "open"
            what = f"{one.name} @{one.epoch}: {state}, {one.start} to {one.end}, {one.records} records"
            what += f" in {one.segments} segments" if one.segments != 1 else ""
            what += _missing_text(one.holes)
            found += 1
            damaged += bool(one.faults)
            sys.stdout.write(f"{what}: {'sound' if not one.faults else 'DAMAGED. ' + ' '.join(one.faults)}\n")
    except StorageError as error:
        sys.stderr.write(f"sdp verify: {error.detail}\n")
        return 2
    if not found:
        # A mistyped directory must not pass for a sound store.
        sys.stderr.write(f"sdp verify: {directory} holds no recording.\n")
        return 2
    return 1 if damaged else 0


def _missing_text(holes: Sequence[Interval]) -> str:
    if not holes:
        return ""
    return f", {sum(end - start for start, end in holes)} bytes missing in {len(holes)} holes"


def _held_text(copy: Copy) -> str:
    return f"{copy.first} to {copy.end}{_missing_text(copy.holes)}"


class Copy:
    """What one Distributor holds of a stream. ``epoch`` is empty until :meth:`look`."""

    def __init__(self, address: Address, reactor: Any) -> None:
        self.address = address
        self.epoch = ""
        self.first = self.end = 0
        self.holes: list[Interval] = []
        self._path = address.target.partition(b"?")[0]
        self._factory = ClientFactory(address, None, reactor)
        self._reactor = reactor
        self._client: ClientProtocol | None = None

    async def look(self) -> None:
        """Learn which epoch it holds, and from where to where. Raises RemoteError."""
        said = await self._get(b"/-/streams" + self._path)
        self.epoch, self.first, self.end = str(said["epoch"]), int(said["first_offset"]), int(said["end_offset"])
        self.holes = [(int(start), int(end)) for start, end in said.get("holes", [])]

    async def digest(self, start: int, end: int) -> str:
        """What [start, end) comes to. Raises RemoteError."""
        query = b"?epoch=%s&first=%d&last=%d" % (self.epoch.encode("ascii", "replace"), start, end - 1)
        said = await self._get(b"/-/digest" + self._path + query)
        if (said["first"], said["last"]) != (start, end - 1):
            raise RemoteError(f"{self.address} no longer holds {start} to {end}.")
        return str(said["sha256"])

    async def _get(self, target: bytes) -> dict[str, Any]:
        if self._client is None or not self._client.usable:
            self._client = await connect(self.address.endpoint(self._reactor), self._factory)
        answer = await self._client.fetch(b"GET", target)
        if answer.status != 200:
            raise RemoteError(f"{self.address}: {sentence(answer.status, answer.content)}.")
        try:
            said: dict[str, Any] = json.loads(answer.content)
        except ValueError:
            raise RemoteError(f"{self.address} is no SDP Distributor.") from None
        return said

    def close(self) -> None:
        if self._client is not None:
            self._client.abort()


async def compare(first: Copy, other: Copy) -> tuple[int, int] | None:
    """Return None where two copies of an epoch are equal as far as both hold it; else [start, end) of at most FINEST
    bytes, the first that differ. Nothing is fetched but digests."""
    for start, stop in common(first, other):
        found = await _compare_run(first, other, start, stop)
        if found is not None:
            return found
    return None


def common(first: Copy, other: Copy) -> list[Interval]:
    """What two copies both hold, as runs."""
    runs = []
    at = max(first.first, other.first)
    for start, end in sorted([*first.holes, *other.holes, (min(first.end, other.end), max(first.end, other.end))]):
        runs.append((at, start))
        at = max(at, end)
    return [(start, stop) for start, stop in runs if start < stop]


async def _compare_run(first: Copy, other: Copy, start: int, stop: int) -> Interval | None:
    while start < stop:
        end = min(start + PIECE, stop)
        if await first.digest(start, end) != await other.digest(start, end):
            break
        start = end
    else:
        return None
    while end - start > FINEST:
        middle = (start + end) // 2
        if await first.digest(start, middle) != await other.digest(start, middle):
            end = middle
        else:
            start = middle
    return start, end


async def _copies(addresses: list[Address], reactor: Any) -> int:
    copies = [Copy(address, reactor) for address in addresses]
    different = 0
    try:
        for copy in copies:
            await copy.look()
        first = copies[0]
        sys.stdout.write(f"{first.address}: epoch {first.epoch}, {_held_text(first)}\n")
        for copy in copies[1:]:
            said = f"{copy.address}: epoch {copy.epoch}, {_held_text(copy)}"
            if copy.epoch != first.epoch:
                sys.stdout.write(f"{said}: ANOTHER EPOCH\n")
                different += 1
                continue
            if not common(first, copy):
                sys.stdout.write(f"{said}: nothing in common to compare\n")
                different += 1
                continue
            found = await compare(first, copy)
            different += found is not None
            verdict = "equal" if found is None else f"DIFFERENT, first between {found[0]} and {found[1]}"
            sys.stdout.write(f"{said}: {verdict}\n")
    finally:
        for copy in copies:
            copy.close()
    return 1 if different else 0
