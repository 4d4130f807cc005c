"""Who may do what: roles, secrets, and where a request really comes from.

Publishing is closed to the outside unless there is a secret; reading is open unless there is one. Secrets are
compared in constant time and never reach a log.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from ipaddress import ip_address
from pathlib import Path

from sdp.errors import ConfigurationError, ProtocolError, Refusal
from sdp.http1 import Request
from sdp.http1.fields import basic_credentials, parse_authorization, parse_forwarded, parse_x_forwarded_for

__all__ = ["Access", "Role", "Secrets", "declared_role", "is_loopback"]

_CHALLENGE = ((b"WWW-Authenticate", b'Bearer realm="sdp", Basic realm="sdp"'),)


class Role(Enum):
    """What a peer says it is, by ``Connection-Type``."""

    ORIGIN = b"origin"
    CONSUMER = b"consumer"
    DISTRIBUTOR = b"distributor"


def declared_role(request: Request) -> Role | None:
    """Return the role that a request's own header says, if it does; ProtocolError where it is unknown or said twice."""
    values = request.headers.get_all(b"connection-type")
    if not values:
        return None
    if len(values) > 1:
        raise ProtocolError("Send Connection-Type once.")
    try:
        return Role(values[0].lower())
    except ValueError:
        raise ProtocolError("Connection-Type must be origin, consumer or distributor.") from None


@lru_cache(maxsize=4096)
def is_loopback(address: str) -> bool:
    """Whether an address in text is this machine's own."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return (mapped or parsed).is_loopback


class Secrets:
    """The name:secret lines of a file. ConfigurationError where it cannot be read, or holds none."""

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]]) -> None:
        self._pairs = tuple(pairs)

    @classmethod
    def read(cls, path: Path, option: str) -> Secrets:
        try:
            lines = path.read_bytes().splitlines()
        except OSError as error:
            raise ConfigurationError(f"{option}: {path} cannot be read: {error.strerror}.") from error
        pairs = []
        for number, line in enumerate(lines, 1):
            line = line.strip()
            if not line or line.startswith(b"#"):
                continue
            name, colon, secret = line.partition(b":")
            if not colon or not name or not secret:
                raise ConfigurationError(f"{option}: line {number} of {path} is not of the form name:secret.")
            pairs.append((name, secret))
        if not pairs:
            raise ConfigurationError(f"{option}: {path} holds no name:secret line.")
        return cls(pairs)

    def admit(self, request: Request) -> bool:
        """Whether a request carries one of them: Bearer with the secret, or Basic with name and secret."""
        value = request.headers.get(b"authorization")
        if value is None:
            return False
        try:
            scheme, credentials = parse_authorization(value)
            if scheme == b"basic":
                name, secret = basic_credentials(credentials)
            elif scheme == b"bearer":
                name, secret = None, credentials
            else:
                return False
        except ProtocolError:
            return False
        # Every pair is compared, so that the time taken tells nothing about which one was near.
        found = False
        for known_name, known_secret in self._pairs:
            same_name = name is None or hmac.compare_digest(name, known_name)
            found |= same_name & hmac.compare_digest(secret, known_secret)
        return found


class Access:
    """The rules, as an operator has set them."""

    def __init__(self, publish: Secrets | None, read: Secrets | None, trusted_proxies: Iterable[str]) -> None:
        self._publish = publish
        self._read = read
        self._proxies = frozenset(trusted_proxies)

    def client_address(self, peer: str, request: Request) -> str | None:
        """Return the address a request comes from, or None where a proxy that is not trusted hides it."""
        headers = request.headers
        forwarded = headers.get_all(b"forwarded")
        x_forwarded = headers.get_all(b"x-forwarded-for")
        if not forwarded and not x_forwarded:
            return peer
        if peer not in self._proxies:
            return None
        try:
            chains = [parse_forwarded(forwarded), parse_x_forwarded_for(x_forwarded)]
        except ProtocolError:
            return None
        # A proxy writes one of the fields, and may pass on the other as its client has made it up: both must agree.
        nearest = {self._nearest(chain) for chain in chains if chain}
        return nearest.pop() if len(nearest) == 1 else None

    def _nearest(self, chain: list[str]) -> str:
        """The last entry that no proxy of ours has added: the nearest one that can be believed."""
        return next((address for address in reversed(chain) if address not in self._proxies), chain[0])

    def check_publish(self, peer: str, request: Request) -> None:
        """Raise the Refusal (401) of a POST, PUT or DELETE that may not be."""
        if self._publish is not None and self._publish.admit(request):
            return
        address = self.client_address(peer, request)
        # Any site's page may have a browser on this machine send what it likes here. The browser says that it was
        # another site's (Fetch Metadata), and no page knows a secret that its user has not given it.
        foreign = request.headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site")
        if address is not None and is_loopback(address) and not foreign:
            return
        detail = (
            "Publishing from another machine, or from another site's page, needs a secret: start the Distributor with"
            " --publish-token FILE and send one of its secrets as Authorization: Bearer SECRET."
            if self._publish is None
            else "Send a publish secret of this Distributor as Authorization: Bearer SECRET, or Basic with its name."
        )
        raise Refusal(401, "Not allowed to publish", detail, _CHALLENGE)

    def check_read(self, request: Request) -> None:
        """Raise the Refusal (401) of a GET or HEAD that may not be."""
        if self._read is None or self._read.admit(request):
            return
        if self._publish is not None and self._publish.admit(request):
            return
        detail = "Send one of the Distributor's read secrets as Authorization: Bearer SECRET, or Basic with its name."
        raise Refusal(401, "Not allowed to read", detail, _CHALLENGE)
