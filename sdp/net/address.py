"""Where a stream is: an http or https URL, taken apart once into what a connection and a request need.

A secret in the URL's user part becomes the Authorization field and is shown nowhere else: neither ``str()`` nor
``repr()`` of an address holds it, so it cannot reach a log.
"""

from __future__ import annotations

import re
from base64 import b64encode
from pathlib import Path
from typing import Any, Literal
from urllib.parse import SplitResult, quote, unquote_to_bytes, urlsplit

import attrs
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint

from sdp.errors import ConfigurationError

__all__ = ["Address", "authorization_field", "parse_address", "parse_stream_address", "with_authorities", "with_token"]

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
_NAME = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_LONGEST_NAME = 255
_PORTS = {"http": 80, "https": 443}
_PATH_SAFE = "/-._~!$&'()*+,;=:@%"


@attrs.frozen(kw_only=True)
class Address:
    """A parsed URL. ``target`` is the request target in origin-form (RFC 9112 section 3.2.1)."""

    scheme: Literal["http", "https"]
    host: str
    port: int
    target: bytes
    authorization: bytes | None = attrs.field(default=None, repr=False)
    authorities: tuple[bytes, ...] = attrs.field(default=(), repr=False)
    """The certificates (PEM) that alone may vouch for an https server; none for those that the system trusts."""

    @property
    def authority(self) -> bytes:
        """``host:port``, as CONNECT names it (RFC 9110 section 9.3.6)."""
        return b"%b:%d" % (self._host_bytes, self.port)

    @property
    def host_field(self) -> bytes:
        """The value of the Host field (RFC 9110 section 7.2): without the scheme's own port."""
        return self._host_bytes if self.port == _PORTS[self.scheme] else self.authority

    @property
    def _host_bytes(self) -> bytes:
        return (f"[{self.host}]" if ":" in self.host else self.host).encode("ascii")

    @property
    def name(self) -> str:
        """The stream's name: the path, decoded, without its first slash."""
        path = self.target.partition(b"?")[0]
        return unquote_to_bytes(path[1:]).decode("utf-8", "replace")

    def at(self, target: bytes) -> Address:
        """Another resource of the same server."""
        return attrs.evolve(self, target=target)

    def endpoint(self, reactor: Any, timeout: float = 10.0) -> IStreamClientEndpoint:
        """Where to connect; ``timeout`` in seconds. The certificate of an https server is verified."""
        endpoint = HostnameEndpoint(reactor, self.host, self.port, timeout=timeout)
        if self.scheme == "http":
            return endpoint
        return wrapClientTLS(self.verification(), endpoint)

    def verification(self) -> Any:
        """How an https server's certificate is verified, as Twisted takes it."""
        from twisted.internet import ssl  # loads OpenSSL, which http never needs

        trusted = [ssl.Certificate.loadPEM(each) for each in self.authorities]
        roots = ssl.trustRootFromCertificates(trusted) if trusted else None
        return ssl.optionsForClientTLS(self.host, trustRoot=roots)

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host_field.decode('ascii')}{self.target.decode('ascii')}"


def parse_address(url: str) -> Address:
    """Take a URL apart. Raises ConfigurationError, which never quotes the user part."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ConfigurationError(f"The URL cannot be read: {error}.") from error
    if parts.scheme not in _PORTS:
        raise ConfigurationError("A stream's URL begins with http:// or https://, such as http://HOST:8080/NAME.")
    if not parts.hostname:
        raise ConfigurationError("The URL names no host; write http://HOST:8080/NAME.")
    if parts.fragment:
        raise ConfigurationError("A stream's URL has no fragment (#...).")
    if port == 0:
        raise ConfigurationError("Port 0 cannot be connected to.")
    scheme: Literal["http", "https"] = "https" if parts.scheme == "https" else "http"
    target = quote(parts.path or "/", safe=_PATH_SAFE)
    if parts.query:
        target += "?" + quote(parts.query, safe=_PATH_SAFE + "?")
    return Address(
        scheme=scheme,
        host=_host(parts.hostname),
        port=port or _PORTS[scheme],
        target=target.encode("ascii"),
        authorization=_authorization(parts),
    )


def with_token(address: Address, file: Path | None) -> Address:
    """The address with the secret on the first line of ``file``: ``NAME:SECRET`` or the secret alone."""
    if file is None:
        return address
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from error
    user, _, secret = (lines[0] if lines else b"").strip().partition(b":")
    authorization = authorization_field(user, secret)
    if authorization is None:
        raise ConfigurationError(f"{file} holds no secret on its first line.")
    return attrs.evolve(address, authorization=authorization)


def with_authorities(address: Address, file: Path | None) -> Address:
    """The address with the certificates in ``file`` (PEM) as those that may vouch for its server."""
    if file is None:
        return address
    try:
        found = tuple(_CERTIFICATE.findall(file.read_bytes()))
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be read: {error.strerror}.") from error
    if address.scheme != "https":
        raise ConfigurationError(f"{file} is for https, and {address} is http.")
    if not found:
        raise ConfigurationError(f"{file} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----).")
    address = attrs.evolve(address, authorities=found)
    try:
        address.verification()
    except Exception as error:  # OpenSSL's own, which say nothing to people
        raise ConfigurationError(f"{file} holds a certificate that cannot be read.") from error
    return address


def parse_stream_address(url: str) -> Address:
    """As :func:`parse_address`, for the URL of one stream."""
    address = parse_address(url)
    name = address.name
    if not name or name == "-" or name.startswith("-/"):
        raise ConfigurationError(f"{address} names no stream; write {address.at(b'/NAME')} with a name of your choice.")
    if not _NAME.fullmatch(name) or len(name) > _LONGEST_NAME:
        raise ConfigurationError(
            f"{address} names no stream: a name is made of A-Z a-z 0-9 . _ ~ - and single /, none of its parts"
            f" begins with a dot, and it has at most {_LONGEST_NAME} characters."
        )
    return address


def _host(name: str) -> str:
    try:
        return name.encode("ascii").decode("ascii")
    except UnicodeEncodeError:
        try:
            return name.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise ConfigurationError(f"{name!r} is no host name: {error}.") from error


def _authorization(parts: SplitResult) -> bytes | None:
    return authorization_field(unquote_to_bytes(parts.username or ""), unquote_to_bytes(parts.password or ""))


def authorization_field(user: bytes, secret: bytes) -> bytes | None:
    """The value of the Authorization field: a name with a secret is Basic (RFC 7617), either by itself is Bearer (RFC
    6750), neither is None."""
    if user and secret:
        return b"Basic " + b64encode(user + b":" + secret)
    token = user or secret
    if not token:
        return None
    if not all(0x21 <= byte <= 0x7E for byte in token):
        raise ConfigurationError("A secret without a name is visible ASCII without spaces.")
    return b"Bearer " + token
