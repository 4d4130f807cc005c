"""A client: who it is, whom it speaks to, and how its connections come about.

:class:`ClientFactory` makes the connections to one server in one role, each a
:class:`~sdp.net.connection.ClientProtocol`; :func:`connect` waits until one of them takes requests.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from twisted.internet.defer import CancelledError
from twisted.internet.error import ConnectingCancelledError
from twisted.internet.interfaces import IAddress, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from sdp.errors import SDPError
from sdp.net.address import Address
from sdp.net.asking import (
    Answer,
    ClientLimits,
    Disconnected,
    HandshakeRefused,
    Receiver,
    Retired,
    Role,
)
from sdp.net.connection import ClientProtocol
from sdp.net.reasons import reason

__all__ = [
    "Answer",
    "ClientFactory",
    "ClientLimits",
    "ClientProtocol",
    "Disconnected",
    "HandshakeRefused",
    "Receiver",
    "Retired",
    "Role",
    "connect",
    "connecting",
]


class ClientFactory(Factory):
    """Makes the connections to one server in one role, and remembers whether it takes the handshake.

    ``role`` None is an ordinary HTTP client's: neither handshake nor Connection-Type.
    """

    noisy = False

    def __init__(
        self, address: Address, role: Role | None, clock: IReactorTime, limits: ClientLimits | None = None
    ) -> None:
        self.address = address
        self.role = role
        self.limits = limits if limits is not None else ClientLimits()
        self.header_alone = False
        self._clock = clock

    def buildProtocol(self, addr: IAddress | None) -> ClientProtocol:
        return ClientProtocol(self, self._clock)


async def connect(endpoint: IStreamClientEndpoint, factory: ClientFactory) -> ClientProtocol:
    """A connection that is ready for requests. Raises Disconnected, with the reason as people say it."""
    for _ in range(2):
        try:
            protocol = cast(ClientProtocol, await endpoint.connect(factory))
        except ConnectingCancelledError as error:  # an endpoint's word for it
            raise CancelledError from error
        except (SDPError, CancelledError):
            raise
        except Exception as error:  # an endpoint fails with anything: names, sockets, certificates
            where = factory.address.authority.decode()
            raise Disconnected(f"{where} cannot be reached: {reason(error)}.") from error
        try:
            return await protocol.ready
        except HandshakeRefused:
            continue
        except CancelledError:
            protocol.abort()
            raise
    raise Disconnected("The peer takes no CONNECT.")


def connecting(factory: ClientFactory, reactor: Any) -> Callable[[], Awaitable[ClientProtocol]]:
    """What makes a new connection to the factory's server each time that it is called."""

    async def connect_to() -> ClientProtocol:
        return await connect(factory.address.endpoint(reactor, factory.limits.connect_timeout), factory)

    return connect_to
