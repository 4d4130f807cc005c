"""What protects a server from its clients: each limit by name, and the count of connections."""

from __future__ import annotations

from collections import Counter

import attrs

from sdp.http1 import Limits

__all__ = ["ConnectionCount", "ServerLimits"]


@attrs.frozen(kw_only=True)
class ServerLimits:
    """Limits of a server's connections. Times are seconds, sizes bytes."""

    message: Limits = attrs.Factory(Limits)
    idle_timeout: float = 30.0
    """How long a kept connection may be idle; announced as ``Keep-Alive: timeout``."""
    requests: int = 1_000_000
    """How many requests a connection may make; announced as ``Keep-Alive: max``."""
    head_timeout: float = 10.0
    """How long a request's head may take to arrive: 408."""
    body_timeout: float = 60.0
    """How long a request's content may pause: 408."""
    stall_timeout: float = 30.0
    """How long a peer may take nothing of what is being sent, before it is closed."""
    linger_timeout: float = 2.0
    """How long a connection that is about to close is still read, so that the peer can read the answer."""
    discard: int = 1 << 20
    """How much content of a refused request is read and dropped before the connection is closed instead."""
    backlog: int = 1 << 16
    """How much may arrive behind a request that is being answered, before reading stops."""
    connections: int = 10_000
    """How many connections there may be in all: 503."""
    connections_per_address: int = 256
    """How many of them may come from one address that is not this machine: 503."""


class ConnectionCount:
    """Who is connected, by address, and whether one more may come."""

    def __init__(self, limits: ServerLimits) -> None:
        self._limits = limits
        self._by_address: Counter[str] = Counter()
        self.total = 0
        self.accepted = 0
        self.refused = 0

    def enter(self, address: str, *, exempt: bool) -> bool:
        """Count a connection in, and return whether it may stay; it is to :meth:`leave` in either case.

        ``exempt`` lifts the limit for its address, not the one in all.
        """
        self.total += 1
        self._by_address[address] += 1
        allowed = self.total <= self._limits.connections and (
            exempt or self._by_address[address] <= self._limits.connections_per_address
        )
        if allowed:
            self.accepted += 1
        else:
            self.refused += 1
        return allowed

    def leave(self, address: str) -> None:
        self.total -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
