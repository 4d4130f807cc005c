"""A line that does what lines do: a TCP relay between two parties that cuts, stalls, slows down and reorders when told.

One thread and a selector carry all of a line's connections; what a test asks for is done in that thread, so that it is
done when the call returns. Nothing here is left to chance: with a ``seed`` the pieces that bytes arrive in are of other
lengths than they were sent in, and the same at every run in which the same bytes come in the same pieces.
"""

from __future__ import annotations

import selectors
import socket
import struct
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from enum import Enum
from queue import SimpleQueue
from random import Random
from time import monotonic
from typing import Any, TypeVar

__all__ = ["BOTH", "Cut", "Line", "Way"]

RESET = struct.pack("ii", 1, 0)
"""SO_LINGER so that close() sends RST, as a path does that has forgotten the connection."""

ROOM = 64 * 1024
"""How many bytes of one direction are on the line; from there on the sender's own socket fills."""

LONGEST_PIECE = 16 * 1024

TICK = 0.02
"""A slow line gives out what it may every so many seconds."""

DIAL_LIMIT = 2.0
"""How long the party behind the line may take to answer: one that was stopped with a full backlog does not."""

Result = TypeVar("Result")


class Way(Enum):
    """A direction: ``UP`` from who connects to who listens, ``DOWN`` back."""

    UP = "up"
    DOWN = "down"


BOTH = (Way.UP, Way.DOWN)


class Cut(Enum):
    """How a connection ends: as if it had been forgotten (RST), or as if the other side had closed it (FIN)."""

    RESET = "RST"
    FINISH = "FIN"


Tap = Callable[[int, Way, bytes], None]
"""Told in the line's thread what has come: the connection's number, its direction, and the bytes."""


class _Flow:
    """One direction of one connection: bytes that came, and when they are due."""

    def __init__(self, way: Way, source: socket.socket, sink: socket.socket, random: Random | None) -> None:
        self.way, self.source, self.sink, self.random = way, source, sink, random
        self.queue: deque[tuple[float, bytes]] = deque()
        self.size = 0
        self.blocked = False
        """The sink takes nothing more now."""
        self.ended = False
        self.finished = False
        """Its end has been passed on."""

    def put(self, due: float, data: bytes) -> None:
        self.queue.append((due, data))
        self.size += len(data)

    def taken(self, count: int) -> None:
        due, data = self.queue.popleft()
        if count < len(data):
            self.queue.appendleft((due, data[count:]))
        self.size -= count


class _Connection:
    def __init__(self, number: int, near: socket.socket, far: socket.socket, seed: int | None) -> None:
        self.number, self.near, self.far = number, near, far
        self.aside = False
        self.flows = {
            way: _Flow(way, source, sink, None if seed is None else Random(f"{seed} {number} {way.value}"))
            for way, source, sink in ((Way.UP, near, far), (Way.DOWN, far, near))
        }


class Line:
    """Relays connections to ``upstream`` (a port on this machine; None: nobody is there) from a port of its own."""

    def __init__(self, upstream: int | None, *, seed: int | None = None, tap: Tap | None = None) -> None:
        self.upstream = upstream
        self.cuts = 0
        """Connections that were broken off."""
        self.carried = dict.fromkeys(Way, 0)
        """Bytes that were passed on in each direction."""
        self._seed, self._tap = seed, tap
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port: int = self._listening.getsockname()[1]
        self._connections: list[_Connection] = []
        self._numbers = 0
        self._stalled: set[Way] = set()
        self._rate: float | None = None
        self._may = dict.fromkeys(Way, 0.0)
        self._refilled = monotonic()
        self._delay = 0.0
        self._armed: dict[Way, tuple[int, Cut]] = {}
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._awake, self._waker = socket.socketpair()
        self._awake.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._awake, selectors.EVENT_READ)
        self._selector.register(self._listening, selectors.EVENT_READ)
        self._open = True
        self._thread = threading.Thread(target=self._run, daemon=True, name=f"line {self.port}")
        self._thread.start()

    # -- what a test asks for ----------------------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many are being relayed: neither cut nor set aside."""
        return self._do(lambda: sum(not each.aside for each in self._connections))

    def cut(self, how: Cut = Cut.RESET) -> None:
        """Break off every connection there is; new ones are welcome."""
        self._do(lambda: self._cut_all(how))

    def cut_after(self, way: Way, count: int, how: Cut = Cut.RESET) -> None:
        """Break off every connection once ``count`` more bytes (at least one) have been passed on in a direction."""
        self._do(lambda: self._armed.update({way: (count, how)}))

    @property
    def armed(self) -> bool:
        """Whether a cut still waits for its byte."""
        return self._do(lambda: bool(self._armed))

    def stall(self, *ways: Way) -> None:
        """Pass nothing on in these directions (both, where none is named), of connections to come as well."""
        self._do(lambda: self._stalled.update(ways or BOTH))

    def resume(self) -> None:
        """No stall any more."""
        self._do(self._stalled.clear)

    def throttle(self, rate: float) -> None:
        """Pass on so many bytes a second in each direction, of all connections together."""
        self._do(lambda: self._throttle(rate))

    def delay(self, seconds: float) -> None:
        """Pass on what comes from now on so much later."""
        self._do(lambda: setattr(self, "_delay", seconds))

    def heal(self) -> None:
        """No stall, no throttle, no delay, no cut that waits; what was set aside goes out."""
        self._do(self._heal)

    def held(self, way: Way) -> int:
        """How many bytes of a direction are on the line."""
        return self._do(lambda: sum(each.flows[way].size for each in self._connections))

    def set_aside(self) -> int:
        """Reset every connection towards who made it, and keep what they had sent: who listens still believes in them.
        New ones are relayed at once. Return how many bytes are kept."""
        return self._do(self._set_aside)

    def release(self) -> None:
        """Pass on what was set aside, later than what newer connections have brought; then close those connections."""
        self._do(self._release)

    def close(self) -> None:
        if self._thread.is_alive():
            self._do(self._close)
            self._thread.join(10)

    # -- in the line's thread ----------------------------------------------------------------------------------

    def _do(self, call: Callable[[], Result]) -> Result:
        """Have it done in the line's thread, and wait for that."""
        if threading.current_thread() is self._thread:
            return call()
        done: Future[Result] = Future()

        def run() -> None:
            try:
                done.set_result(call())
            except BaseException as error:
                done.set_exception(error)

        self._calls.put(run)
        self._waker.send(b"!")
        return done.result(30)

    def _run(self) -> None:
        while self._open:
            pause = self._advance()
            for key, _ in self._selector.select(pause):
                self._serve(key.fileobj)
        self._selector.close()
        self._awake.close()
        self._waker.close()

    def _serve(self, ready: Any) -> None:
        if ready is self._awake:
            with suppress(BlockingIOError):
                self._awake.recv(4096)
            while not self._calls.empty():
                self._calls.get()()
            return
        if ready is self._listening:
            self._accept()
            return
        for connection in self._connections:
            for flow in connection.flows.values():
                if flow.sink is ready:
                    flow.blocked = False
            for flow in connection.flows.values():
                if flow.source is ready:
                    self._receive(connection, flow)
                    return

    def _accept(self) -> None:
        try:
            near, _ = self._listening.accept()
        except OSError:
            return
        try:
            if self.upstream is None:
                raise ConnectionRefusedError
            far = socket.create_connection(("127.0.0.1", self.upstream), DIAL_LIMIT)
        except OSError:
            _end(near, Cut.RESET)
            return
        for each in (near, far):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._numbers += 1
        self._connections.append(_Connection(self._numbers, near, far, self._seed))

    def _receive(self, connection: _Connection, flow: _Flow) -> None:
        if flow.ended or flow.size >= ROOM:
            return
        try:
            data = flow.source.recv(LONGEST_PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._drop(connection, Cut.RESET)
            return
        if not data:
            flow.ended = True
        elif not connection.aside:
            if self._tap is not None:
                self._tap(connection.number, flow.way, data)
            flow.put(monotonic() + self._delay, data)

    def _advance(self) -> float | None:
        """Pass on all that may go; return after how many seconds more may, None where bytes have to come first."""
        now = monotonic()
        self._refill(now)
        later: list[float] = []
        for connection in list(self._connections):
            if connection not in self._connections:
                continue  # cut, with all others, by what one of them has passed on
            for flow in connection.flows.values():
                due = self._pass_on(connection, flow, now)
                if due is not None:
                    later.append(max(0.0, due - now))
                if connection not in self._connections:
                    break
            else:
                self._listen_for(connection)
        return min(later, default=None)

    def _throttle(self, rate: float) -> None:
        self._rate, self._may = rate, dict.fromkeys(Way, 0.0)

    def _refill(self, now: float) -> None:
        if self._rate is not None:
            most = max(1.0, self._rate * TICK)
            for way in Way:
                self._may[way] = min(most, self._may[way] + self._rate * (now - self._refilled))
        self._refilled = now

    def _pass_on(self, connection: _Connection, flow: _Flow, now: float) -> float | None:
        """Pass on what may go in one direction; return when more may, where that is only a matter of time."""
        if connection.aside or flow.way in self._stalled:
            return None
        while flow.queue and not flow.blocked:
            due, data = flow.queue[0]
            if due > now:
                return due
            most = len(data) if flow.random is None else flow.random.randint(1, len(data))
            if self._rate is not None:
                if self._may[flow.way] < 1:
                    return now + TICK
                most = min(most, int(self._may[flow.way]))
            left, how = self._armed.get(flow.way, (most + 1, Cut.RESET))
            try:
                sent = flow.sink.send(data[: min(most, left)])
            except BlockingIOError:
                flow.blocked = True
                return None
            except OSError:
                self._drop(connection, Cut.RESET)
                return None
            flow.taken(sent)
            self.carried[flow.way] += sent
            if self._rate is not None:
                self._may[flow.way] -= sent
            if flow.way in self._armed:
                self._armed[flow.way] = (left - sent, how)
                if sent == left:
                    self._cut_all(how)
                    return None
        if flow.ended and not flow.queue and not flow.finished:
            flow.finished = True
            with suppress(OSError):
                flow.sink.shutdown(socket.SHUT_WR)
            if all(each.finished for each in connection.flows.values()):
                self._drop(connection, Cut.FINISH)
        return None

    def _listen_for(self, connection: _Connection) -> None:
        """Be told of what this connection waits for, and of nothing else."""
        up, down = connection.flows[Way.UP], connection.flows[Way.DOWN]
        for here, coming, going in ((connection.near, up, down), (connection.far, down, up)):
            if connection.aside and here is connection.near:
                continue
            wanted = 0
            if not coming.ended and coming.size < ROOM:
                wanted |= selectors.EVENT_READ
            if going.blocked:
                wanted |= selectors.EVENT_WRITE
            known = self._selector.get_map().get(here.fileno())
            if known is None and wanted:
                self._selector.register(here, wanted)
            elif known is not None and not wanted:
                self._selector.unregister(here)
            elif known is not None and known.events != wanted:
                self._selector.modify(here, wanted)

    # -- endings -----------------------------------------------------------------------------------------------

    def _end_socket(self, each: socket.socket, how: Cut) -> None:
        if each.fileno() >= 0:
            with suppress(KeyError):
                self._selector.unregister(each)
            _end(each, how)

    def _drop(self, connection: _Connection, how: Cut) -> None:
        self._connections.remove(connection)
        for each in (connection.near, connection.far):
            self._end_socket(each, how)

    def _cut_all(self, how: Cut) -> None:
        self._armed.clear()
        for each in list(self._connections):
            if not each.aside:
                self.cuts += 1
                self._drop(each, how)

    def _set_aside(self) -> int:
        kept = 0
        for each in self._connections:
            if not each.aside:
                self.cuts += 1
                each.aside = True
                kept += each.flows[Way.UP].size
                self._end_socket(each.near, Cut.RESET)
        return kept

    def _release(self) -> None:
        for each in [each for each in self._connections if each.aside]:
            each.far.settimeout(DIAL_LIMIT)
            with suppress(OSError):
                for _, data in each.flows[Way.UP].queue:
                    each.far.sendall(data)
            self._drop(each, Cut.FINISH)

    def _heal(self) -> None:
        self._stalled.clear()
        self._armed.clear()
        self._rate, self._delay = None, 0.0
        self._release()

    def _close(self) -> None:
        self._open = False
        for each in list(self._connections):
            self._drop(each, Cut.RESET)
        self._selector.unregister(self._listening)
        self._listening.close()


def _end(each: socket.socket, how: Cut) -> None:
    """Close a socket: with unread bytes in it, or by RESET, the other side hears a reset, else an end."""
    with suppress(OSError):
        if how is Cut.RESET:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        else:
            each.shutdown(socket.SHUT_WR)
    each.close()
