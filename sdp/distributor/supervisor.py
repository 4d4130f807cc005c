"""Keeps the processes of one Distributor running; it carries no byte of a stream itself.

It binds the public addresses and the inner sockets, and hands each process its share of them. So an address that cannot
be had is told before anything begins; and while a process is being restarted, whoever connects to it waits in its
sockets instead of being turned away.
"""

from __future__ import annotations

import json
import pickle
import shutil
import socket
from collections.abc import Callable
from contextlib import suppress
from enum import Enum, auto
from pathlib import Path
from typing import Any

import attrs
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import ProcessDone, ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from sdp.distributor.service import listen_on, with_backlog
from sdp.distributor.settings import DistributorSettings
from sdp.distributor.workers import FIRST, Seat
from sdp.errors import SDPError
from sdp.net.backoff import Backoff
from sdp.net.shared_count import create_table
from sdp.net.sockets import Binder, bind_unix, is_shared

__all__ = ["BEGUN", "Child", "Supervisor", "SupervisorParts", "encode_orders"]

BEGUN = "begun"
"""What a process says, in the place of a log level, when it listens."""

STEADY = 10.0
"""How long a process has to have run, in seconds, for its next death to count as the first."""

TERM_PATIENCE = 8.0
"""How long processes may take to drain, in seconds, before they are killed: the contract allows 10 for all."""

FIRST_DESCRIPTOR = 3
"""The first of a process's inherited sockets; before it come its orders, its log, and what else it says."""


def encode_orders(settings: DistributorSettings, seat: Seat) -> bytes:
    """What a process reads first: how long its orders are, and they themselves. They go through a pipe to a process of
    the same installation, and may hold secrets, which a command line would show."""
    orders = pickle.dumps((settings, seat))
    return b"%d\n" % len(orders) + orders


class Phase(Enum):
    """How far one process has come."""

    STARTING = auto()
    RUNNING = auto()
    ENDED = auto()


@attrs.frozen
class SupervisorParts:
    """What a supervisor takes from the world around it."""

    spawn: Callable[[ProcessProtocol, dict[int, Any]], Any]
    """Starts a process with these descriptors, and returns its IProcessTransport."""
    make_directory: Callable[[], Path]
    """Makes a new directory that nobody else may enter."""
    new_backoff: Callable[[], Backoff]
    random_bytes: Callable[[int], bytes]


class Child(ProcessProtocol):
    """One process: gets its orders, and says what it logs. ``ended`` fires with None."""

    def __init__(self, index: int, orders: bytes, supervisor: Supervisor) -> None:
        self.index = index
        self.phase = Phase.STARTING
        self.ended: Deferred[None] = Deferred()
        self._orders = orders
        self._supervisor = supervisor
        self._rests: dict[int, bytes] = {}

    def connectionMade(self) -> None:
        # Its standard input stays open: when that ends, so has this process, and the child ends as well.
        self._wire.write(self._orders)

    @property
    def _wire(self) -> Any:
        return self.transport

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        *lines, self._rests[childFD] = (self._rests.get(childFD, b"") + data).split(b"\n")
        for line in lines:
            self._line(line)

    def _line(self, line: bytes) -> None:
        try:
            level, namespace, text = json.loads(line)
        except ValueError:
            level, namespace, text = "warn", "sdp.distributor.workers", line.decode("utf-8", "replace")
        if level == BEGUN:
            self.phase = Phase.RUNNING
            self._supervisor.begun(self)
        else:
            self._supervisor.said(self, level, namespace, text)

    def processEnded(self, reason: Failure) -> None:
        for rest in filter(None, self._rests.values()):
            self._line(rest)
        self.phase = Phase.ENDED
        self._supervisor.child_ended(self, reason)
        self.ended.callback(None)

    def signal(self, name: str) -> None:
        """Send it a signal, if it is there."""
        if self.phase is not Phase.ENDED:
            with suppress(ProcessExitedAlready):  # processEnded is about to be called
                self._wire.signalProcess(name)


class Supervisor(Service):
    """A Distributor in ``settings.workers`` processes. ``leave`` is called with the exit status where it cannot
    begin."""

    log = Logger(namespace="sdp.distributor.supervisor")

    def __init__(
        self, settings: DistributorSettings, reactor: Any, leave: Callable[[int], None], parts: SupervisorParts
    ) -> None:
        self.setName("sdp-distributor")
        self.settings = settings
        self.children: dict[int, Child] = {}
        self._reactor = reactor
        self._leave = leave
        self._parts = parts
        self._binder = Binder(reactor, settings.workers)
        self._inner: dict[Path, socket.socket] = {}
        self._directory: Path | None = None
        self._key = b""
        self._hosts: list[Any] = []
        self._backoffs = [parts.new_backoff() for _ in range(settings.workers)]
        self._since = [0.0] * settings.workers
        self._restarts: dict[int, IDelayedCall] = {}
        self._waited_for = set(range(settings.workers))
        """Those that have not listened yet since the beginning."""

    # -- beginning ---------------------------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        # Children are waited for by a running reactor.
        self._reactor.callWhenRunning(lambda: Deferred.fromCoroutine(self._start()))

    async def _start(self) -> None:
        if not self.running:
            return
        try:
            for description in filter(is_shared, self.settings.listen):
                endpoint = serverFromString(self._binder, with_backlog(description))
                self._hosts.append((await listen_on(description, endpoint, Factory())).getHost())
            self._directory = self._parts.make_directory()
            self._key = self._parts.random_bytes(16)
            create_table(self._seat(FIRST, (), 0, 0).table, self.settings.workers)
            for index in range(self.settings.workers):
                self._spawn(index)
        except CancelledError:
            return
        except SDPError as error:
            self.log.error("{detail}", detail=error.detail)
            self._leave(1)
        except Exception:
            self.log.failure("The Distributor's processes could not be started.")
            self._leave(1)

    def _seat(self, index: int, listening: tuple[int, ...], link: int, tunnel: int | None) -> Seat:
        assert self._directory is not None
        return Seat(index, self.settings.workers, self._directory, self._key, listening, link, tunnel)

    def _inner_socket(self, path: Path) -> socket.socket:
        """The socket at ``path``; a process that has ended in good order has taken it away with it."""
        if path not in self._inner or not path.exists():
            old = self._inner.pop(path, None)
            if old is not None:
                old.close()
            self._inner[path] = bind_unix(path)
        return self._inner[path]

    def _spawn(self, index: int) -> None:
        """Start one process, with its share of the sockets."""
        self._restarts.pop(index, None)
        bare = self._seat(index, (), 0, None)
        sockets = [bound[index] for bound in self._binder.sockets]
        sockets.append(self._inner_socket(bare.link_of(index)))
        if index == FIRST:
            sockets.append(self._inner_socket(bare.tunnel_path))
        descriptors: dict[int, Any] = {0: "w", 1: "r", 2: "r"}
        descriptors.update({FIRST_DESCRIPTOR + at: each.fileno() for at, each in enumerate(sockets)})
        link = FIRST_DESCRIPTOR + len(self._binder.sockets)
        listening = tuple(range(FIRST_DESCRIPTOR, link))
        seat = self._seat(index, listening, link, link + 1 if index == FIRST else None)
        child = self.children[index] = Child(index, encode_orders(self.settings, seat), self)
        self._since[index] = self._reactor.seconds()
        self._parts.spawn(child, descriptors)

    # -- what children tell ------------------------------------------------------------------------------------

    def begun(self, child: Child) -> None:
        """A process listens."""
        if child.index not in self._waited_for:
            self.log.info("Worker {index} is back", index=child.index)
            return
        self._waited_for.discard(child.index)
        if not self._waited_for:
            for host in self._hosts:
                self.log.info("Listening on {port} with {count} workers", port=host, count=self.settings.workers)

    def said(self, child: Child, level: str, namespace: str, text: str) -> None:
        """A process has logged something."""
        Logger(namespace=namespace).emit(
            LogLevel.levelWithName(level), "{text} [worker {index}]", text=text, index=child.index
        )

    def child_ended(self, child: Child, reason: Failure) -> None:
        """A process has ended: it is started again, unless it could not begin at all."""
        index = child.index
        if not self.running:
            return
        value: Any = reason.value
        how = "by itself" if reason.check(ProcessDone) else f"signal {value.signal}" if value.signal else "a failure"
        if index in self._waited_for:
            self.log.error("Worker {index} could not begin: {how}.", index=index, how=how)
            self._leave(1)
            return
        backoff = self._backoffs[index]
        if self._reactor.seconds() - self._since[index] >= STEADY:
            backoff.succeeded()
        delay = backoff.next_delay()
        self.log.warn("Worker {index} has ended ({how}); starting it again.", index=index, how=how)
        self._restarts[index] = self._reactor.callLater(delay, self._spawn, index)

    # -- ending ------------------------------------------------------------------------------------------------

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        """Let all drain at once; whoever takes too long is killed."""
        for restart in self._restarts.values():
            restart.cancel()
        # As long as a socket is open here, the kernel takes connections that nobody will serve.
        self._binder.close()
        left = [child for child in self.children.values() if child.phase is not Phase.ENDED]
        for child in left:
            child.signal("TERM")
        late = self._reactor.callLater(TERM_PATIENCE, self._kill, left)
        await gatherResults([child.ended for child in left])
        if late.active():
            late.cancel()
        for inner in self._inner.values():
            inner.close()
        if self._directory is not None:
            shutil.rmtree(self._directory, ignore_errors=True)

    def _kill(self, children: list[Child]) -> None:
        for child in children:
            if child.phase is not Phase.ENDED:
                self.log.warn("Worker {index} does not end by itself.", index=child.index)
                child.signal("KILL")
