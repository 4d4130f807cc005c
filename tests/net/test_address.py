"""URLs taken apart: what a request needs, and nothing of a secret anywhere else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.testing import MemoryReactorClock

from sdp.errors import ConfigurationError
from sdp.net.address import parse_address, parse_stream_address, with_authorities, with_token
from tests.net.certificates import certificate

GOOD = [
    # url, host field, authority, target, name
    ("http://h/a", b"h", b"h:80", b"/a", "a"),
    ("http://H:8080/a/b", b"h:8080", b"h:8080", b"/a/b", "a/b"),
    ("https://h/a?x=1", b"h", b"h:443", b"/a?x=1", "a"),
    ("http://[::1]:8080/a", b"[::1]:8080", b"[::1]:8080", b"/a", "a"),
    ("http://h/a b", b"h", b"h:80", b"/a%20b", "a b"),
    ("http://h/a%2Db", b"h", b"h:80", b"/a%2Db", "a-b"),
    ("http://h", b"h", b"h:80", b"/", ""),
    ("http://bücher.example/a", b"xn--bcher-kva.example", b"xn--bcher-kva.example:80", b"/a", "a"),
]


@pytest.mark.parametrize(("url", "host", "authority", "target", "name"), GOOD)
def test_what_a_request_needs(url, host, authority, target, name):
    address = parse_address(url)
    assert (address.host_field, address.authority, address.target, address.name) == (host, authority, target, name)


@pytest.mark.parametrize(
    "url",
    ["", "h:8080/a", "ftp://h/a", "http:///a", "http://h:0/a", "http://h:99999/a", "http://h/a#b", "http://h:x/a"],
)
def test_what_is_no_url_of_a_stream(url):
    with pytest.raises(ConfigurationError):
        parse_address(url)


NO_NAMES = ["http://h/.a", "http://h/a b", "http://h/a//b", "http://h/a/", "http://h/b%C3%BC", "http://h/" + "a" * 256]


def test_the_longest_name():
    assert len(parse_stream_address("http://h/" + "a" * 255).name) == 255


@pytest.mark.parametrize("url", ["http://h", "http://h/", "http://h/-", "http://h/-/streams", *NO_NAMES])
def test_what_names_no_stream(url):
    with pytest.raises(ConfigurationError, match="names no stream"):
        parse_stream_address(url)


@pytest.mark.parametrize(
    ("user", "field"),
    [
        ("", None),
        ("s3cret@", b"Bearer s3cret"),
        (":s3cret@", b"Bearer s3cret"),
        ("cam:s3cret@", b"Basic Y2FtOnMzY3JldA=="),
        ("cam:s3%63ret@", b"Basic Y2FtOnMzY3JldA=="),
    ],
)
def test_a_secret_goes_into_the_field_and_nowhere_else(user, field):
    address = parse_address(f"http://{user}h/a")
    assert address.authorization == field
    for shown in (str(address), repr(address)):
        assert "cret" not in shown
        assert "Y2Ft" not in shown


def test_an_error_does_not_quote_a_secret():
    with pytest.raises(ConfigurationError) as caught:
        parse_stream_address("http://cam:s3cret@h/")
    assert "s3cret" not in caught.value.detail


@given(st.text(max_size=40))
def test_any_text_is_an_address_or_refused(text):
    try:
        address = parse_address("http://h/" + text)
    except ConfigurationError:
        return
    assert address.target.startswith(b"/")
    assert all(0x21 <= byte <= 0x7E for byte in address.target)


def test_where_to_connect():
    reactor = MemoryReactorClock()
    assert isinstance(parse_address("http://127.0.0.1:1/a").endpoint(reactor), HostnameEndpoint)
    assert not isinstance(parse_address("https://127.0.0.1:1/a").endpoint(reactor), HostnameEndpoint)


@pytest.mark.parametrize(
    ("content", "field"), [(b"s3cret\n", b"Bearer s3cret"), (b"cam:s3cret\nmore\n", b"Basic Y2FtOnMzY3JldA==")]
)
def test_a_secret_out_of_a_file(tmp_path, content, field):
    (tmp_path / "token").write_bytes(content)
    assert with_token(parse_address("http://h/a"), tmp_path / "token").authorization == field


def test_who_may_vouch_for_a_server(tmp_path):
    address = parse_address("https://h/a")
    for content, said in [
        (None, "cannot be read"),
        (b"nothing", "no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "cannot be read"),
    ]:
        file = tmp_path / "ca.pem"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ConfigurationError, match=said):
            with_authorities(address, file)
    file.write_bytes(b"".join(certificate("h")[0] for _ in range(2)))
    assert len(with_authorities(address, file).authorities) == 2
    assert with_authorities(address, None) is address
    with pytest.raises(ConfigurationError, match="for https"):
        with_authorities(parse_address("http://h/a"), file)


def test_a_file_without_a_secret(tmp_path):
    (tmp_path / "token").write_bytes(b"\n")
    with pytest.raises(ConfigurationError, match="holds no secret"):
        with_token(parse_address("http://h/a"), tmp_path / "token")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        with_token(parse_address("http://h/a"), tmp_path / "absent")
