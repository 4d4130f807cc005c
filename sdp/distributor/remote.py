"""An epoch whose disk is another Distributor: what a relay has no more in its memory, it reads from there.

The way of such a byte: upstream > a block in the cache > whoever asked, by the code that otherwise reads from the
disk. Blocks are shared: a thousand consumers that look at the same minute cost the upstream one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred, succeed
from zope.interface import implementer

from sdp.distributor.index_view import MOST_RECORDS
from sdp.distributor.upstream import MissingUpstream, Told, Upstream
from sdp.errors import Refusal, SDPError, StorageError
from sdp.interfaces import IRecording
from sdp.stream.holes import Interval
from sdp.stream.record import Flag, Record

__all__ = ["BLOCK_SIZE", "Blocks", "RemoteRecording", "ToldFramer"]

BLOCK_SIZE = 256 * 1024
"""How much is asked of the upstream at a time, in bytes: over a long way one question costs a round trip."""

MOST_BLOCKS = 64
"""How many blocks a relay keeps: 16 MiB."""


class ToldFramer:
    """Finds records where the upstream said that they begin: the structure of an epoch is the same at every hop, and
    a relay need not know what it relays. ``known`` is an offset."""

    content_type: str | None = None

    def __init__(self, start: int) -> None:
        self.known = start
        self._told: list[Record] = []

    def tell(self, record: Record) -> None:
        """A record begins where the bytes do that are fed next."""
        self._told.append(record)

    def boundary(self, offset: int, capture_time: int | None = None, random_access: bool | None = None) -> None:
        """Nobody posts to a relay's log."""

    def feed(self, data: bytes, received_time: int | None = None) -> list[Record]:
        self.known += len(data)
        told, self._told = self._told, []
        return told

    def flush(self) -> list[Record]:
        return []

    def restart(self, offset: int) -> None:
        """The log goes on at ``offset``."""
        self.known = offset


class Blocks:
    """The blocks that were read of late, of all epochs: the least recently used one goes first.

    A block that is on its way is waited for by all who want it.
    """

    def __init__(self, most: int = MOST_BLOCKS) -> None:
        self._most = most
        self._held: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._coming: dict[tuple[str, int], list[Deferred[bytes]]] = {}

    def get(
        self, epoch: str, number: int, beyond: int, load: Callable[[], Coroutine[Any, Any, bytes]]
    ) -> Deferred[bytes]:
        """Fire with a block that holds more than ``beyond`` bytes, loading it where there is none; StorageError."""
        key = (epoch, number)
        held = self._held.get(key)
        waiting: Deferred[bytes] = Deferred(lambda cancelled: self._leave(key, cancelled))
        if held is not None and len(held) > beyond:
            self._held.move_to_end(key)
            waiting.callback(held)
            return waiting
        others = self._coming.setdefault(key, [])
        others.append(waiting)
        if len(others) == 1:
            loading: Deferred[bytes] = Deferred.fromCoroutine(load())
            loading.addCallbacks(self._loaded, self._failed, callbackArgs=(key,), errbackArgs=(key,))
        return waiting

    def _leave(self, key: tuple[str, int], waiting: Deferred[bytes]) -> None:
        """Who does not wait any longer; the block comes all the same."""
        if waiting in self._coming.get(key, []):
            self._coming[key].remove(waiting)

    def _loaded(self, data: bytes, key: tuple[str, int]) -> None:
        self._held[key] = data
        self._held.move_to_end(key)
        while len(self._held) > self._most:
            self._held.popitem(last=False)
        for waiting in self._coming.pop(key, []):
            waiting.callback(data)

    def _failed(self, failure: Any, key: tuple[str, int]) -> None:
        for waiting in self._coming.pop(key, []):
            waiting.errback(failure.value)


@implementer(IRecording)
class RemoteRecording:
    """An epoch as its upstreams hold it, in the place of one on disk.

    ``sources`` gives the upstreams in the order in which they are to be asked. ``written`` is how far this relay has
    received, for what is below may be asked for; ``durable`` is None: only where the disk is can it be known.
    """

    backlogged = False
    failure: StorageError | None = None
    on_change: Callable[[], None] | None = None
    durable: int | None = None
    unsettled: int | None = None
    holes: tuple[Interval, ...] = ()
    explicit = False

    def __init__(
        self,
        name: str,
        epoch: str,
        content_type: str,
        first: int,
        end: int,
        sources: Callable[[], list[Upstream]],
        blocks: Blocks,
    ) -> None:
        self.name = name
        self.epoch = epoch
        self.content_type = content_type
        self.start = first
        self.end = end
        self.ended = False
        self._sources = sources
        self._blocks = blocks

    @property
    def written(self) -> int:
        return self.end

    def append(self, data: bytes, records: list[Record]) -> None:
        """Nothing is stored here: the upstream has it."""
        self.end += len(data)

    def forget_implied(self) -> None:
        """Nobody posts here; the upstream tells only of what counts."""

    def restart(self, offset: int) -> None:
        """The log goes on at ``offset``; the upstream has what lies before."""
        self.end = offset

    skip_to = restart

    @property
    def missing(self) -> tuple[Interval, ...]:
        """Nobody posts here, and so nobody fills a hole."""
        return self.holes

    def fill(self, offset: int, data: bytes, records: list[Record], taken: bytes = b"") -> None:
        """Nobody fills a hole here."""

    def settled(self) -> Deferred[None]:
        """Nothing is on its way to a disk."""
        return succeed(None)

    def resume(self, offset: int) -> Deferred[bool]:
        """Nothing has failed."""
        return succeed(True)

    def finish(self) -> Deferred[None]:
        self.ended = True
        return succeed(None)

    # -- reading -----------------------------------------------------------------------------------------------

    def read(self, offset: int, length: int) -> Deferred[bytes]:
        """See :meth:`sdp.interfaces.IRecording.read`: at most to the end of a block.

        Below ``start`` there is only the initialization segment that outlives its surroundings.
        """
        if offset < self.start:
            return Deferred.fromCoroutine(self._read_below(offset, length))
        return Deferred.fromCoroutine(self._read(offset, length))

    async def _read(self, offset: int, length: int) -> bytes:
        number, at = divmod(offset, BLOCK_SIZE)
        try:
            data = await self._blocks.get(self.epoch, number, at, lambda: self._load(number))
        except StorageError as error:
            if error.status != 416:
                raise
            data = b""  # the block begins in a hole
        if len(data) <= at:  # there is a hole in the block, before the offset or at it
            stop = min(offset + length, (number + 1) * BLOCK_SIZE, self.end)
            given: bytes = await self._ask(lambda upstream: upstream.read(self.name, self.epoch, offset, stop))
            return given
        return data[at : at + length]

    async def _read_below(self, offset: int, length: int) -> bytes:
        first, data = await self._ask(lambda upstream: upstream.initialization(self.name, self.epoch, self.start))
        if not first <= offset < first + len(data):
            raise StorageError("These bytes are kept no longer.", status=410, title="Gone")
        return bytes(data[offset - first : offset - first + length])

    async def _load(self, number: int) -> bytes:
        start = number * BLOCK_SIZE
        first, end = max(start, self.start), min(start + BLOCK_SIZE, self.end)
        data: bytes = await self._ask(lambda upstream: upstream.read(self.name, self.epoch, first, end))
        # What retention has taken from the block's beginning is asked for by nobody.
        return bytes(first - start) + data

    def records(self, start: int, end: int, limit: int = 4096) -> Deferred[list[Record]]:
        """See :meth:`sdp.interfaces.IRecording.records`."""
        return Deferred.fromCoroutine(self._records(start, end, limit))

    async def _records(self, start: int, end: int, limit: int) -> list[Record]:
        """One answer holds so many: ask again from the last one on."""
        found: list[Record] = []
        while len(found) < limit and start < end:
            more = await self._more_records(start, end, limit - len(found))
            found += [record for record in more if not found or record.offset > found[-1].offset]
            if len(more) < MOST_RECORDS:
                break
            start = more[-1].offset + 1
        return found

    async def _more_records(self, start: int, end: int, limit: int) -> list[Record]:
        more: list[Record] = await self._ask(
            lambda upstream: upstream.records(self.name, self.epoch, start, end, limit)
        )
        return more

    def last_record(self, before: int, flag: Flag) -> Deferred[Record | None]:
        """See :meth:`sdp.interfaces.IRecording.last_record`."""
        return Deferred.fromCoroutine(
            self._ask(lambda upstream: upstream.last_record(self.name, self.epoch, before, flag))
        )

    def random_access_at(self, time: int, before: int) -> Deferred[Record | None]:
        """See :meth:`sdp.interfaces.IRecording.random_access_at`."""
        return Deferred.fromCoroutine(
            self._ask(lambda upstream: upstream.random_access_at(self.name, self.epoch, time, before))
        )

    async def refresh(self) -> None:
        """Learn from where on the upstream holds the epoch: its retention goes on, or its disk is there again."""

        async def look(upstream: Upstream) -> Told:
            return await upstream.look(self.name, epoch=self.epoch)

        told: Told = await self._ask(look)
        self.start = told.first
        self.holes = told.holes

    def look(self) -> Deferred[None]:
        """Ask the upstream what it lacks by now."""
        return Deferred.fromCoroutine(self.refresh())

    async def _ask(self, question: Callable[[Upstream], Coroutine[Any, Any, Any]]) -> Any:
        """Put a question to one upstream after the other, until one has an answer. Raises StorageError."""
        last: SDPError | None = None
        for upstream in self._sources():
            try:
                return await question(upstream)
            except SDPError as error:
                last = error
        if isinstance(last, Refusal | StorageError) and last.status == 410:
            raise StorageError(last.detail, status=410, title="Gone") from last
        if isinstance(last, MissingUpstream):
            self.holes = last.holes
            raise last
        detail = "no upstream is left to be asked" if last is None else last.detail.rstrip(".")
        raise StorageError(
            f"What this relay does not hold cannot be had: {detail}.", status=502, title="Upstream failed"
        )
