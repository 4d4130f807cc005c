"""A stream over TLS, both ways, with a certificate that no system trusts: posted, copied, and got by curl."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.net.certificates import certificate
from tests.system.client import LIMIT
from tests.system.processes import Process, eventually, twistd

pytestmark = pytest.mark.system


class Server(NamedTuple):
    url: str
    certificate: Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A Distributor that listens with TLS alone."""
    made, key = certificate("localhost")
    for name, content in (("cert.pem", made), ("key.pem", key)):
        (tmp_path / name).write_bytes(content)
    listen = f"ssl:0:interface=127.0.0.1:privateKey={tmp_path}/key.pem:certKey={tmp_path}/cert.pem"
    process = Process(twistd(), "-n", "--pidfile=", "sdp-distributor", "--store", "none", "--listen", listen)
    try:
        match = re.search(r"port=(\d+)", process.wait_for(r"Listening on .*port=\d+"))
        assert match is not None
        yield Server(f"https://localhost:{match[1]}", tmp_path / "cert.pem")
    finally:
        process.stop()
    assert process.faults() == []


def role(name: str, *options: str | Path) -> Process:
    return Process(twistd(), "-n", "--pidfile=", f"sdp-{name}", *options)


def curl(server: Server, target: str) -> bytes:
    program = shutil.which("curl")
    if program is None:
        pytest.skip("curl is not installed")
    command = [
        program,
        "--silent",
        "--show-error",
        "--fail",
        "--cacert",
        str(server.certificate),
        f"{server.url}{target}",
    ]
    done = subprocess.run(command, capture_output=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_stream_over_tls(server, tmp_path):
    pytest.importorskip("av", reason="the Origin needs PyAV")
    trust = ("--ca-file", server.certificate)
    origin = role("origin", "--to", f"{server.url}/a", "--size", "160x120", "--store", "none", *trust)
    copying = role("consumer", "--from", f"{server.url}/a", "--output", tmp_path / "copy", *trust)
    try:
        eventually(lambda: (tmp_path / "copy").exists() and (tmp_path / "copy").stat().st_size > 50_000, "a copy")
    finally:
        origin.stop()
        copying.stop()
    assert origin.faults() + copying.faults() == []
    copy = (tmp_path / "copy").read_bytes()
    stream = json.loads(curl(server, "/-/streams/a"))
    assert stream["end_offset"] >= len(copy)
    assert copy[4:8] == b"ftyp"


def test_who_does_not_trust_the_certificate_is_told_how(server, tmp_path):
    copying = role("consumer", "--from", f"{server.url}/a", "--output", tmp_path / "copy")
    try:
        copying.wait_for("--ca-file.*trying again")
    finally:
        copying.stop()
    assert copying.faults() == []
    assert not (tmp_path / "copy").stat().st_size
