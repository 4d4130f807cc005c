"""Who may publish and read, and where a request really comes from."""

from __future__ import annotations

from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.distributor.access import Access, Role, Secrets, declared_role, is_loopback
from sdp.errors import ConfigurationError, ProtocolError, Refusal

from .requests import request

SECRETS = Secrets([(b"cam", b"hunter2"), (b"studio", b"with:colon")])


def basic(name, secret):
    return b"Authorization: Basic " + b64encode(name + b":" + secret)


@pytest.mark.parametrize(
    ("lines", "role"),
    [
        ((), None),
        ((b"Connection-Type: origin",), Role.ORIGIN),
        ((b"connection-type: CONSUMER",), Role.CONSUMER),
        ((b"Connection-Type: Distributor",), Role.DISTRIBUTOR),
    ],
)
def test_roles(lines, role):
    assert declared_role(request(*lines)) is role


@pytest.mark.parametrize(
    "lines",
    [(b"Connection-Type: producer",), (b"Connection-Type:",), (b"Connection-Type: origin", b"Connection-Type: origin")],
)
def test_no_roles(lines):
    with pytest.raises(ProtocolError):
        declared_role(request(*lines))


@pytest.mark.parametrize(
    ("address", "local"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:192.0.2.1", False),
        ("::1%lo", True),
        ("192.0.2.1", False),
        ("0.0.0.0", False),
        ("", False),
        ("localhost", False),
        ("unknown", False),
    ],
)
def test_loopback(address, local):
    assert is_loopback(address) is local


@pytest.mark.parametrize(
    ("line", "admitted"),
    [
        (b"Authorization: Bearer hunter2", True),
        (b"Authorization: bearer with:colon", True),
        (basic(b"cam", b"hunter2"), True),
        (basic(b"studio", b"with:colon"), True),
        (basic(b"studio", b"hunter2"), False),
        (b"Authorization: Bearer hunter", False),
        (b"Authorization: Bearer hunter22", False),
        (b"Authorization: Bearer", False),
        (b"Authorization: Basic !!", False),
        (b"Authorization: Basic " + b64encode(b"cam"), False),
        (b"Authorization: Digest hunter2", False),
        (b"X: y", False),
    ],
)
def test_secrets(line, admitted):
    assert SECRETS.admit(request(line)) is admitted


class TestFile:
    def test_it_is_read(self, tmp_path):
        path = tmp_path / "secrets"
        path.write_bytes(b"# who\n\n cam:hunter2 \r\nstudio:with:colon\n")
        secrets = Secrets.read(path, "--publish-token")
        assert secrets.admit(request(b"Authorization: Bearer with:colon"))
        assert secrets.admit(request(basic(b"cam", b"hunter2")))

    @pytest.mark.parametrize("content", [b"", b"# none\n", b"nosecret\n", b"name:\n", b":secret\n"])
    def test_what_it_must_hold(self, tmp_path, content):
        path = tmp_path / "secrets"
        path.write_bytes(content)
        with pytest.raises(ConfigurationError) as caught:
            Secrets.read(path, "--read-token")
        assert str(path) in caught.value.detail
        assert caught.value.detail.startswith("--read-token: ")

    def test_it_must_be_there(self, tmp_path):
        with pytest.raises(ConfigurationError, match="--read-token"):
            Secrets.read(tmp_path / "none", "--read-token")


PROXY = ("127.0.0.1", "10.0.0.1")


@pytest.mark.parametrize(
    ("trusted", "peer", "lines", "address"),
    [
        ((), "192.0.2.9", (), "192.0.2.9"),
        ((), "127.0.0.1", (), "127.0.0.1"),
        # A field that a proxy writes, and no proxy that is known: somebody outside.
        ((), "127.0.0.1", (b"X-Forwarded-For: 127.0.0.1",), None),
        ((), "127.0.0.1", (b"Forwarded: for=127.0.0.1",), None),
        (("10.0.0.1",), "127.0.0.1", (b"Forwarded: for=127.0.0.1",), None),
        # A proxy of ours.
        (PROXY, "127.0.0.1", (), "127.0.0.1"),
        (PROXY, "127.0.0.1", (b"X-Forwarded-For: 192.0.2.1",), "192.0.2.1"),
        (PROXY, "127.0.0.1", (b"Forwarded: for=192.0.2.1;proto=https",), "192.0.2.1"),
        (PROXY, "127.0.0.1", (b"X-Forwarded-For: 127.0.0.1, 192.0.2.1",), "192.0.2.1"),
        (PROXY, "127.0.0.1", (b"X-Forwarded-For: 192.0.2.1, 10.0.0.1",), "192.0.2.1"),
        (PROXY, "127.0.0.1", (b"X-Forwarded-For: 192.0.2.1", b"X-Forwarded-For: 10.0.0.1"), "192.0.2.1"),
        (PROXY, "127.0.0.1", (b"X-Forwarded-For: 127.0.0.1",), "127.0.0.1"),
        (PROXY, "127.0.0.1", (b'Forwarded: for="[::1]:99"',), "::1"),
        (PROXY, "127.0.0.1", (b"Forwarded: proto=https",), "unknown"),
        (PROXY, "127.0.0.1", (b"X-Forwarded-For: nonsense;",), None),
        (PROXY, "127.0.0.1", (b"X-Forwarded-For:",), None),
        # The proxy writes one field, its client has made up the other.
        (PROXY, "127.0.0.1", (b"X-Forwarded-For: 192.0.2.1", b"Forwarded: for=127.0.0.1"), None),
        (PROXY, "127.0.0.1", (b"X-Forwarded-For: 127.0.0.1", b"Forwarded: for=192.0.2.1"), None),
        (PROXY, "127.0.0.1", (b"X-Forwarded-For: 192.0.2.1", b"Forwarded: for=192.0.2.1"), "192.0.2.1"),
    ],
)
def test_where_a_request_comes_from(trusted, peer, lines, address):
    assert Access(None, None, trusted).client_address(peer, request(*lines)) == address


@given(st.lists(st.sampled_from(["127.0.0.1", "192.0.2.7", "10.0.0.1"]), max_size=4))
def test_nobody_behind_a_proxy_can_make_up_being_local(claims):
    """Whatever a client claims, the proxy appends where it really is."""
    line = ", ".join([*claims, "198.51.100.3"]).encode()
    access = Access(None, None, PROXY)
    assert access.client_address("127.0.0.1", request(b"X-Forwarded-For: " + line)) == "198.51.100.3"


@pytest.mark.parametrize(
    ("secrets", "peer", "lines", "allowed"),
    [
        (None, "127.0.0.1", (), True),
        (None, "::1", (), True),
        (None, "192.0.2.1", (), False),
        (None, "192.0.2.1", (b"Authorization: Bearer hunter2",), False),
        (None, "127.0.0.1", (b"X-Forwarded-For: 127.0.0.1",), False),
        # Some site's page, in a browser on this machine.
        (None, "127.0.0.1", (b"Sec-Fetch-Site: cross-site",), False),
        (None, "::1", (b"Sec-Fetch-Site: same-site",), False),
        (None, "127.0.0.1", (b"Sec-Fetch-Site: same-origin", b"Origin: http://127.0.0.1:8080"), True),
        (None, "127.0.0.1", (b"Sec-Fetch-Site: none",), True),
        (SECRETS, "127.0.0.1", (b"Sec-Fetch-Site: cross-site",), False),
        (SECRETS, "127.0.0.1", (b"Sec-Fetch-Site: cross-site", b"Authorization: Bearer hunter2"), True),
        (SECRETS, "127.0.0.1", (), True),
        (SECRETS, "192.0.2.1", (), False),
        (SECRETS, "192.0.2.1", (b"Authorization: Bearer hunter2",), True),
        (SECRETS, "127.0.0.1", (b"X-Forwarded-For: 192.0.2.1", b"Authorization: Bearer hunter2"), True),
    ],
)
def test_publishing(secrets, peer, lines, allowed):
    access = Access(secrets, None, ())
    if allowed:
        access.check_publish(peer, request(*lines))
        return
    with pytest.raises(Refusal) as caught:
        access.check_publish(peer, request(*lines))
    assert caught.value.status == 401
    assert caught.value.headers[0][0] == b"WWW-Authenticate"
    assert ("--publish-token" in caught.value.detail) is (secrets is None)


READERS = Secrets([(b"viewer", b"look")])


@pytest.mark.parametrize(
    ("publish", "read", "lines", "allowed"),
    [
        (None, None, (), True),
        (SECRETS, None, (), True),
        (None, READERS, (), False),
        (None, READERS, (b"Authorization: Bearer look",), True),
        (None, READERS, (b"Authorization: Bearer hunter2",), False),
        (SECRETS, READERS, (b"Authorization: Bearer hunter2",), True),
        (SECRETS, READERS, (b"Authorization: Bearer nothing",), False),
    ],
)
def test_reading(publish, read, lines, allowed):
    access = Access(publish, read, ())
    if allowed:
        access.check_read(request(*lines))
        return
    with pytest.raises(Refusal) as caught:
        access.check_read(request(*lines))
    assert caught.value.status == 401
