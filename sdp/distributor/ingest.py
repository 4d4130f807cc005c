"""The inlet: a POST's bytes go to the log as they arrive.

What is to happen is planned by :mod:`sdp.distributor.posting`; :class:`PostBody` does it, piece by piece, with no step
back: overlap is compared, what follows the log's end is appended, the answer says where the log ends.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sdp.distributor.filling import begin_filling
from sdp.distributor.posting import Action, Plan, Post, conflict, not_held, unsatisfied
from sdp.distributor.reading import read
from sdp.errors import ProtocolError, SDPError, StorageError
from sdp.net.exchange import Answer, Exchange
from sdp.net.server import ServerChannel
from sdp.stream.catalog import Epoch
from sdp.stream.holes import held_until

__all__ = ["FinishBody", "Ingest", "PostBody"]


class Ingest(Protocol):
    """What a body needs of the Distributor around it."""

    def now(self) -> int:
        """The wall clock, in microseconds."""

    def accepted(self, exchange: Exchange, epoch: Epoch, *, ordinary: bool) -> None:
        """The POST's connection is the epoch's Origin from now on; one before it is closed. ``ordinary``: it is a
        publisher without ranges, who cannot resume."""

    def released(self, exchange: Exchange, epoch: Epoch, *, broken: bool) -> None:
        """The POST is over; ``broken`` where its connection was lost in the midst of it."""

    def stream_lines(self, epoch: Epoch) -> list[tuple[bytes, bytes]]:
        """Upload-Offset, ETag and Durable-Offset."""

    def when_room(self, epoch: Epoch, call: Callable[[], None]) -> bool:
        """Whether the disk can take more now; if not, ``call`` is called when it can."""

    def current(self, name: str) -> Epoch | None:
        """The epoch that ``name`` stands for now."""

    def held_by_another(self, epoch: Epoch | None, channel: ServerChannel) -> bool:
        """Whether a connection other than ``channel`` is the epoch's Origin."""

    def when_written(self, epoch: Epoch, call: Callable[[], None]) -> bool:
        """Whether the answer need not wait for the disk: it does only where the store is required. If it does,
        ``call`` is called once all that was accepted is written, or cannot be."""

    def disk_failure(self, epoch: Epoch) -> StorageError | None:
        """Why a post has to be refused, where the store is required and fails."""


class PostBody:
    """Takes one POST's content: compares, fills, appends, answers.

    ``position`` is the offset of the next byte of the content.
    """

    log = Logger(namespace="sdp.distributor.ingest")

    def __init__(self, exchange: Exchange, ingest: Ingest, epoch: Epoch, post: Post, what: Plan) -> None:
        self.exchange = exchange
        self.epoch = epoch
        self.position = what.start
        self._ingest = ingest
        self._post = post
        self._plan = what
        self._end = what.end
        self._accepted = False
        self._filled = False
        self._comparing: Deferred[None] | None = None
        if what.action is not Action.COMPARE and self.position == epoch.accepted_end:
            self._accept()

    def _accept(self) -> None:
        """The overlap, if there was one, is equal: this connection is the Origin from now on."""
        self._accepted = True
        self._ingest.accepted(self.exchange, self.epoch, ordinary=self._post.range is None)
        if self._plan.complete_length is not None:
            self.epoch.complete_length = self._plan.complete_length
        if self.position == self.epoch.accepted_end:
            self._begin_live()
        elif self._post.random_access is not None:
            self.epoch.forget_implied()

    def _begin_live(self) -> None:
        """From here on the content is appended."""
        self.epoch.whole = False
        if self._plan.start == self.epoch.accepted_end:
            self.epoch.begin_body(self._post.capture_time, self._post.random_access)
        elif self._post.random_access is not None:
            self.epoch.forget_implied()

    # -- content -----------------------------------------------------------------------------------------------

    def data(self, data: bytes) -> None:
        """The next bytes of the content."""
        excess = self._end is not None and self.position + len(data) > self._end
        if excess and self._end is not None:
            data = data[: self._end - self.position]
        self._take(data, excess)

    def _take(self, data: bytes, excess: bool) -> None:
        # Until this POST is accepted another may append: the overlap reaches to where the log ends by now.
        looking_back = not self._accepted or self._plan.sparse
        if data and looking_back and self.position < self.epoch.accepted_end:
            if self._plan.sparse and self.epoch.missing_at(self.position) is not None:
                self._fill(data, excess)
            else:
                self._compare(data, excess)
        else:
            self._append(data)
            if excess:
                self._refuse_excess()

    def _append(self, data: bytes) -> None:
        epoch = self.epoch
        if self.exchange.answer is not Answer.NONE or not data or not self._may_append():
            return
        room = None if self.epoch.complete_length is None else self.epoch.complete_length - epoch.accepted_end
        if room is not None and len(data) > room:
            self._append_allowed(data[:room])
            self._refuse(conflict(f"The complete length was said to be {self.epoch.complete_length}."))
            return
        self._append_allowed(data)

    def _may_append(self) -> bool:
        """Whether the epoch takes this POST, whose connection is its Origin then; else the POST is refused."""
        epoch = self.epoch
        if self._is_removed():
            return False
        if epoch.closed:
            self._refuse(conflict(f"The epoch has ended at {epoch.accepted_end}.", (unsatisfied(epoch.accepted_end),)))
            return False
        if self._accepted:
            if self._filled:
                self._filled = False
                self._begin_live()
            return True
        if self._post.tags is None and self._ingest.held_by_another(epoch, self.exchange.channel):
            self._refuse(conflict("Another connection has become this stream's Origin meanwhile."))
            return False
        if self.position > epoch.accepted_end:
            epoch.skip_to(self.position)
        self._accept()
        return True

    def _is_removed(self) -> bool:
        """Whether the epoch is no longer the current one; the POST is refused then."""
        if self._ingest.current(self.epoch.name) is self.epoch:
            return False
        self._refuse(conflict("The epoch was removed meanwhile. Ask with HEAD, begin anew."))
        return True

    def _append_allowed(self, data: bytes) -> None:
        self.position += len(data)
        if data:
            self.epoch.append(data, self._ingest.now())
        if self.epoch.complete_length == self.epoch.accepted_end:
            self.epoch.finish()
        if not self._ingest.when_room(self.epoch, self.exchange.channel.resume_body):
            self.exchange.channel.pause_body()

    def _refuse_excess(self) -> None:
        if self.exchange.answer is Answer.NONE:
            self.exchange.channel.persistent = False
            self._refuse(ProtocolError(f"The content is longer than its Content-Range, which ends before {self._end}."))

    # -- overlap -----------------------------------------------------------------------------------------------

    def _compare(self, data: bytes, excess: bool) -> None:
        """Compare as much as is held in memory at once; where the disk has it, the content waits."""
        held = held_until(self.epoch.missing, self.position, self.epoch.accepted_end)
        split = min(held - self.position, len(data))
        if not split:
            self._refuse(conflict(f"The bytes from {self.position} on are missing: fill the hole with Sparse: ?1."))
            return
        overlap, rest = data[:split], data[split:]
        if self.position >= self.epoch.log.start:
            equal = self.epoch.accepted(self.position, len(overlap)) == overlap
            self._compared(equal, overlap, rest, excess)
            return
        self._wait_for(lambda: self._compare_stored(overlap, rest, excess))

    def _wait_for(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Hold the content back while the disk is asked."""
        channel = self.exchange.channel
        channel.pause_body()

        def fault(reason: Failure) -> None:
            self._comparing = None
            if reason.check(CancelledError):
                return  # the content was lost meanwhile, and its loss is answered already
            error = reason.value
            if not isinstance(error, SDPError):
                error = StorageError("The bytes that are held could not be read to compare with.")
            self._refuse(conflict(not_held(self.epoch)) if error.status == 410 else error)
            channel.resume_body()

        self._comparing = Deferred.fromCoroutine(work())
        self._comparing.addErrback(fault)

    async def _compare_stored(self, overlap: bytes, rest: bytes, excess: bool) -> None:
        at, equal = 0, True
        while at < len(overlap) and equal:
            held = await read(self.epoch, self.position + at, len(overlap) - at)
            equal = held == overlap[at : at + len(held)]
            at += len(held)
        self._comparing = None
        self._compared(equal, overlap, rest, excess)
        self._go_on()

    def _go_on(self) -> None:
        """Let more of the content come, after the disk was asked."""
        # The rest may be overlap as well, where the log has grown meanwhile, or more than the disk can take now.
        channel = self.exchange.channel
        if not self._is_comparing() and self._ingest.when_room(self.epoch, channel.resume_body):
            channel.resume_body()

    def _is_comparing(self) -> bool:
        return self._comparing is not None and not self._comparing.called

    def _compared(self, equal: bool, overlap: bytes, rest: bytes, excess: bool) -> None:
        if self.exchange.answer is not Answer.NONE:
            return
        if not equal:
            lines = (unsatisfied(self.epoch.accepted_end),) if self.epoch.closed else ()
            self._refuse(conflict(f"The bytes from {self.position} on differ from those that are held.", lines))
            return
        self.position += len(overlap)
        self._take(rest, excess)

    # -- holes -------------------------------------------------------------------------------------------------

    def _fill(self, data: bytes, excess: bool) -> None:
        """Fill the hole whose front this is, as far as it goes; the framer that this needs may have to be made."""
        epoch = self.epoch
        if self.exchange.answer is not Answer.NONE or self._is_removed():
            return
        if epoch.recording is None or epoch.recording.failure is not None:
            self._refuse(StorageError("The disk fails, and what fills a hole is kept nowhere else: send it later."))
            return
        if epoch.filling is None or epoch.filling.position != self.position:
            self._wait_for(lambda: self._begin_filling(data, excess))
            return
        hole = epoch.missing_at(self.position)
        assert hole is not None
        if not self._accepted:
            self._accept()
        if self.position == self._plan.start:
            epoch.filling.framer.boundary(self.position, self._post.capture_time, self._post.random_access)
        self._filled = True
        size = min(hole[1] - self.position, len(data))
        self.position += size
        epoch.fill(data[:size], self._ingest.now())
        if not self._ingest.when_room(epoch, self.exchange.channel.resume_body):
            self.exchange.channel.pause_body()
        self._take(data[size:], excess)

    async def _begin_filling(self, data: bytes, excess: bool) -> None:
        filling = await begin_filling(self.epoch, self.position)
        self._comparing = None
        if self.epoch.missing_at(self.position) is None or self.position != filling.position:
            self._refuse(conflict(f"The hole at {self.position} is there no longer. Ask with HEAD."))
            return
        self.epoch.filling = filling
        self._fill(data, excess)
        self._go_on()

    # -- the end -----------------------------------------------------------------------------------------------

    def end(self) -> None:
        """The content is whole."""
        if self.exchange.answer is not Answer.NONE:
            return
        if self._end is not None and self.position < self._end:
            self.exchange.channel.persistent = False
            self._refuse(ProtocolError(f"The content is shorter than its Content-Range: it ended at {self.position}."))
            return
        if self._is_removed():
            return
        compared = self.epoch.closed and (not self._accepted or self._plan.action is Action.COMPARE)
        if not compared and not self._accepted and not self._may_append():
            return
        if self._ingest.when_written(self.epoch, lambda: self._conclude(compared=compared)):
            self._conclude(compared=compared)

    def _conclude(self, *, compared: bool) -> None:
        """All that came is where it has to be: answer."""
        failure = self._ingest.disk_failure(self.epoch)
        if failure is not None:
            self._refuse(failure)
            return
        epoch = self.epoch
        if self._post.range is None or (self._accepted and epoch.complete_length == epoch.accepted_end):
            epoch.finish()
        if self.position == epoch.accepted_end and self._accepted:
            epoch.whole = True
        self._release(broken=False)
        lines = self._ingest.stream_lines(epoch)
        if compared:
            lines.append(unsatisfied(epoch.accepted_end))
        self.exchange.respond(201 if self._plan.action is Action.BEGIN else 204, lines)

    def lost(self, error: SDPError | None) -> None:
        """The content was cut; what has arrived stays, for it was valid by its offset."""
        if self._comparing is not None:
            self._comparing.cancel()
        self._release(broken=True)

    def _release(self, *, broken: bool) -> None:
        if self._accepted:
            self._accepted = False
            self._ingest.released(self.exchange, self.epoch, broken=broken)

    def _refuse(self, error: SDPError) -> None:
        self.exchange.channel.stop_body()
        self._release(broken=True)
        if self.exchange.answer is Answer.NONE:
            self.exchange.refuse(error)


class FinishBody:
    """Takes the content of a POST that ends an epoch: there is none; ``finish`` is called once that is sure."""

    def __init__(self, exchange: Exchange, finish: Callable[[], None]) -> None:
        self._exchange = exchange
        self._finish = finish

    def data(self, data: bytes) -> None:
        self._exchange.channel.stop_body()
        self._exchange.refuse(ProtocolError("Content-Range: bytes */N ends an epoch and has no content."))

    def end(self) -> None:
        try:
            self._finish()
        except SDPError as error:
            self._exchange.refuse(error)

    def lost(self, error: SDPError | None) -> None:
        """Nothing was done yet."""
