"""Listening sockets that several processes share: bound by one of them, adopted by all the others.

Twisted's endpoint strings say how to listen; both sides of this give the endpoint a reactor that does what it is asked
for TCP and TLS in a way of its own: :class:`Binder` only binds, once for each process, and :class:`Adopter` takes over
what was bound. With ``SO_REUSEPORT`` the kernel deals the connections out among the sockets of an address.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import CannotListenError

__all__ = ["Adopter", "Binder", "bind_unix", "is_shared"]

_SHARED_KINDS = frozenset({"tcp", "tcp4", "tcp6", "ssl"})

UNIX_BACKLOG = 4096
"""How many connections may wait at an inner socket: all that are passed on while its process is being restarted."""


def is_shared(endpoint: str) -> bool:
    """Whether an endpoint string is of a kind that several processes can listen on, each with a socket of its own."""
    return endpoint.partition(":")[0] in _SHARED_KINDS


class _Reactor:
    """A reactor that listens in another way, and is the given one in all else."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reactor, name)


class Bound:
    """In the place of a listening port, where sockets were only bound."""

    def __init__(self, address: IPv4Address | IPv6Address) -> None:
        self._address = address

    def getHost(self) -> IPv4Address | IPv6Address:
        return self._address

    def stopListening(self) -> None:
        """The sockets are the binder's to close."""


class Binder(_Reactor):
    """Binds ``count`` sockets for each address that is listened on. ``sockets`` holds them, a list for each address."""

    def __init__(self, reactor: Any, count: int) -> None:
        super().__init__(reactor)
        self.sockets: list[list[socket.socket]] = []
        self._count = count

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Bound:
        """As a reactor's. Raises CannotListenError."""
        family = socket.AF_INET6 if ":" in interface else socket.AF_INET
        bound: list[socket.socket] = []
        try:
            where: Any = (interface, port)
            if family == socket.AF_INET6:
                where = socket.getaddrinfo(interface, port, family, socket.SOCK_STREAM, 0, socket.AI_PASSIVE)[0][4]
            if port:
                # Two that say SO_REUSEPORT would share a port by mistake, and each lose half of its clients.
                _bind(family, where, reuse_port=False).close()
            for _ in range(self._count):
                bound.append(_bind(family, where, reuse_port=True))
                where = bound[0].getsockname()
            for each in bound:
                each.listen(backlog)
        except OSError as error:
            for each in bound:
                each.close()
            raise CannotListenError(interface, port, error) from error
        self.sockets.append(bound)
        host, number = bound[0].getsockname()[:2]
        return Bound((IPv6Address if family == socket.AF_INET6 else IPv4Address)("TCP", host, number))

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> Bound:
        """As a reactor's: TLS is whoever adopts the socket's."""
        return self.listenTCP(port, factory, backlog, interface)

    def close(self) -> None:
        """Close all sockets here; whoever adopted them has copies of its own."""
        for bound in self.sockets:
            for each in bound:
                each.close()


def _bind(family: int, where: Any, *, reuse_port: bool) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.bind(where)
    except BaseException:
        made.close()
        raise
    return made


class Adopter(_Reactor):
    """Listens on sockets that are there already: the descriptors are used up in their order."""

    def __init__(self, reactor: Any, descriptors: Iterable[int]) -> None:
        super().__init__(reactor)
        self._descriptors = list(descriptors)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """As a reactor's. Raises CannotListenError."""
        if not self._descriptors:
            raise CannotListenError(interface, port, OSError(errno.EBADF, os.strerror(errno.EBADF)))
        return adopt(self._reactor, self._descriptors.pop(0), factory)

    def listenSSL(self, port: int, factory: Any, contextFactory: Any, backlog: int = 50, interface: str = "") -> Any:
        """As a reactor's."""
        from twisted.protocols.tls import TLSMemoryBIOFactory  # loads OpenSSL, which plain TCP never needs

        return self.listenTCP(port, TLSMemoryBIOFactory(contextFactory, False, factory), backlog, interface)


def adopt(reactor: Any, descriptor: int, factory: Any) -> Any:
    """Listen on a socket that is bound and listening; the descriptor is used up. Return its listening port."""
    with socket.socket(fileno=descriptor) as inherited:
        inherited.setblocking(False)
        os.set_inheritable(descriptor, False)
        return reactor.adoptStreamPort(descriptor, inherited.family, factory)


def bind_unix(path: Path) -> socket.socket:
    """A UNIX socket that listens at ``path``."""
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.setblocking(False)
    made.bind(str(path))
    made.listen(UNIX_BACKLOG)
    return made
