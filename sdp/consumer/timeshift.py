"""Playing what is past: a place in the stream by time, its bytes from there on, and a clock that has no live edge.

A time > the random access point at it > Range from there on (RFC 8673), at the pace at which it is played: what waits
to be played holds back the connection. The bytes go the same way as live ones do.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from sdp.consumer.playout import STALL, Decision, Rules, State
from sdp.consumer.start import find_start
from sdp.errors import Refusal, SDPError
from sdp.http1 import Headers, Response
from sdp.http1.ranges import MAX_LAST, parse_content_range
from sdp.net.address import Address
from sdp.net.attempts import Attempts, TryAgain
from sdp.net.client import ClientProtocol
from sdp.net.fetch import Piece
from sdp.net.refusals import complete_length, sentence

__all__ = ["PastFetch", "ShiftedPlayout"]

_FOR_EVER = frozenset({401, 403, 405, 410, 414, 431})
_LONGEST_REFUSAL = 1 << 16


class ShiftedPlayout:
    """The playout controller's place where there is no live edge: time passes at its own pace, and waits at the end of
    what has arrived. Times are microseconds, as there."""

    def __init__(self) -> None:
        self.rules = Rules()
        self.overhead = 0
        self.stalls = 0
        self.skips = 0
        self.line = 0
        self.reset()

    def reset(self) -> None:
        """Another line of time begins."""
        self.line += 1
        self.state = State.WAITING
        self._ends: dict[int, int] = {}
        self._position = 0.0
        self._updated: int | None = None
        self._held_since: int | None = None

    @property
    def begun(self) -> bool:
        return bool(self._ends)

    @property
    def target(self) -> float:
        return 0.0

    @property
    def end(self) -> int:
        """Up to where something has arrived."""
        return max(self._ends.values())

    def arrived(self, time: int, at: int, *, duration: int = 0, track: int = 0, random_access: bool = False) -> None:
        """A unit to be presented at ``time`` for ``duration`` is here."""
        if self.state is State.WAITING:
            self.state = State.PLAYING
            self._position = float(time)
        self._ends[track] = max(self._ends.get(track, 0), time + duration)

    def update(self, at: int, position: float | None = None) -> Decision:
        """What is due ``at`` this moment."""
        if self.state is State.WAITING:
            return Decision(self.state, None, 1.0, 0.0, 0.0, None)
        elapsed = 0 if self._updated is None else at - self._updated
        self._updated = at
        reached = self._position + elapsed if position is None else max(self._position, position)
        end = self.end
        if reached < end:
            self._position, self._held_since = reached, None
            self.state = State.PLAYING
        else:
            self._position = max(self._position, float(end))
            if self._held_since is None:
                self._held_since = at
            elif at - self._held_since >= STALL and self.state is not State.STALLED:
                self.state = State.STALLED
                self.stalls += 1
        return Decision(self.state, self._position, 1.0, 0.0, 0.0, None)


class _Body:
    """Takes one answer's content: as pieces where it is the stream's, else to be read as a refusal."""

    def __init__(self, take: Callable[[bytes], None]) -> None:
        self.over: Deferred[SDPError | None] = Deferred()
        self.is_stream = False
        self.other = b""
        self._take = take

    def data_received(self, data: bytes) -> None:
        if self.is_stream:
            self._take(data)
        elif len(self.other) < _LONGEST_REFUSAL:
            self.other += data

    def ended(self, trailers: Headers) -> None:
        self.over.callback(None)

    def failed(self, error: SDPError) -> None:
        self.over.callback(error)


class PastFetch:
    """Receives a stream from a time on (``at``, as ``?at=`` takes it), or from its first byte, to its end.

    ``on_piece`` is called with each piece, ``on_epoch`` before the first one with the entity tag.
    """

    def __init__(
        self,
        address: Address,
        attempts: Attempts,
        at: str | None,
        on_piece: Callable[[Piece], None],
        on_epoch: Callable[[str], None],
    ) -> None:
        self._address = address
        self._attempts = attempts
        self._at = at
        self._on_piece = on_piece
        self._on_epoch = on_epoch
        self._epoch: str | None = None
        self._offset = 0
        self._client: ClientProtocol | None = None
        self._paused = False

    async def run(self) -> None:
        """Receive until the epoch has ended. Raises an SDPError where that cannot be."""
        await self._attempts.run(self._session)

    def pause(self) -> None:
        """Take no more for now."""
        self._paused = True
        if self._client is not None:
            self._client.pause_receiving()

    def resume(self) -> None:
        self._paused = False
        if self._client is not None:
            self._client.resume_receiving()

    def _take(self, data: bytes) -> None:
        offset, self._offset = self._offset, self._offset + len(data)
        self._attempts.backoff.succeeded()
        self._on_piece(Piece(offset, data, False, None, None, False))

    async def _session(self, client: ClientProtocol) -> None:
        self._client = client
        try:
            if self._epoch is None and self._at is not None:
                self._epoch, start = await find_start(client, self._address, self._at)
                self._on_epoch(self._epoch)
                if start.head:
                    self._on_piece(Piece(start.offset - len(start.head), start.head, False, None, None, False, True))
                self._offset = start.offset
            while not await self._get(client):
                pass
        finally:
            self._client = None

    async def _get(self, client: ClientProtocol) -> bool:
        """Ask once; whether the epoch has ended, and all of it came."""
        lines = [(b"Range", b"bytes=%d-%d" % (self._offset, MAX_LAST)), (b"Prefer", b"lossless")]
        if self._epoch is not None:
            lines.append((b"If-Match", self._epoch.encode("ascii")))
        body = _Body(self._take)
        head = client.request(b"GET", self._address.target, lines, None, body)
        head.addCallback(self._look_at, body)
        response = await head
        if self._paused:
            client.pause_receiving()
        cut = await body.over
        if cut is not None:
            raise cut
        if body.is_stream:
            said = parse_content_range(response.headers.get(b"content-range") or b"bytes */0")
            return said.complete is not None and self._offset >= said.complete
        detail = sentence(response.status, body.other)
        if response.status == 416 and complete_length(response.headers) is not None:
            return True
        if response.status == 412:
            raise Refusal(412, "Another epoch", "The stream has begun anew meanwhile: go back to live.")
        if response.status in _FOR_EVER:
            raise Refusal(response.status, "Refused", f"The Distributor refuses: {detail}.")
        raise TryAgain(f"The Distributor does not give the stream now: {detail}.")

    def _look_at(self, response: Response, body: _Body) -> Response:
        said = response.headers.get(b"content-range") if response.status == 206 else None
        if said is not None and parse_content_range(said).first == self._offset:
            body.is_stream = True
            tag = response.headers.get(b"etag")
            if self._epoch is None and tag is not None:
                self._epoch = tag.decode("ascii", "replace")
                self._on_epoch(self._epoch)
        return response
