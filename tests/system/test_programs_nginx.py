"""nginx in front of a Distributor, as a reverse proxy: it takes no CONNECT, and hides who asks."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.client import Peer
from tests.system.conftest import Clip
from tests.system.processes import Distributor, Process, eventually
from tests.system.programs import finished, frames_of, in_foreground, kept_in, need, sha256

pytestmark = pytest.mark.system

CONFIGURATION = """
daemon off;
{user}
worker_processes 1;
pid {directory}/pid;
error_log {directory}/error.log;
events {{ worker_connections 256; }}
http {{
    access_log {directory}/access.log;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    client_max_body_size 0;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout 1h;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }}
    }}
}}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether somebody listens."""
    try:
        with socket.create_connection(("127.0.0.1", port)):
            return True
    except ConnectionRefusedError:
        return False


@pytest.fixture
def in_front(tmp_path: Path, run: Callable[..., Process]) -> Callable[[Distributor], int]:
    """Start nginx in front of a Distributor; its port."""

    def begin(server: Distributor) -> int:
        directory = tmp_path / "nginx"
        directory.mkdir()
        port = free_port()
        user = "user root;" if os.geteuid() == 0 else ""
        text = CONFIGURATION.format(user=user, directory=directory, port=port, upstream=server.port)
        (directory / "nginx.conf").write_text(text)
        nginx = run(need("nginx"), "-p", directory, "-c", directory / "nginx.conf", "-e", directory / "error.log")
        eventually(lambda: nginx.process.poll() is not None or answers(port), "nginx")
        assert nginx.process.poll() is None, (directory / "error.log").read_text()
        return port

    return begin


def test_an_origin_and_a_consumer_through_it(
    start: Callable[..., Distributor],
    in_front: Callable[[Distributor], int],
    run: Callable[..., Process],
    tmp_path: Path,
    clip: Clip,
) -> None:
    """With --trust-proxy: whoever asks nginx from this machine may publish. Neither needs to be told of nginx."""
    server = start("--trust-proxy", "127.0.0.1", store=tmp_path / "kept")
    url = f"http://127.0.0.1:{in_front(server)}/clip"
    copy = tmp_path / "copy.mp4"
    consumer = run(*in_foreground("consumer", "--from", url, "--output", copy), cwd=tmp_path)
    origin = run(*in_foreground("origin", "--source", clip.file, "--to", url, "--store", "captured"), cwd=tmp_path)
    # It goes on as it comes: the Distributor has some of it while the clip still plays.
    origin.wait_for("Publishing, epoch")
    eventually(lambda: server.call("HEAD", "/clip").end > 0, "the first bytes")
    assert origin.process.poll() is None
    assert origin.wait(40) == 0
    assert consumer.wait(40) == 0
    assert sha256(copy) == sha256(kept_in(tmp_path / "captured")) == sha256(kept_in(tmp_path / "kept"))
    assert frames_of(url) == clip.frames
    # The Origin did ask nginx for the handshake, and went on without it.
    assert '"CONNECT ' in (tmp_path / "nginx" / "access.log").read_text()


def test_without_trust_everybody_behind_it_is_from_outside(
    start: Callable[..., Distributor],
    in_front: Callable[[Distributor], int],
    run: Callable[..., Process],
    tmp_path: Path,
    clip: Clip,
) -> None:
    """Reading is open, publishing is for those with a secret; one line says so."""
    secrets = tmp_path / "secrets"
    secrets.write_text("camera:letmein\n")
    secrets.chmod(0o600)
    server = start("--publish-token", str(secrets))
    port = in_front(server)
    arguments = ("--source", clip.file, "--store", "none")
    refused = run(*in_foreground("origin", *arguments, "--to", f"http://127.0.0.1:{port}/clip"), cwd=tmp_path)
    assert refused.wait() == 1
    (line,) = [line for line in refused.lines if "#error" in line]
    assert "refuses the stream" in line
    assert "Traceback" not in "\n".join(refused.lines)

    accepted = run(*in_foreground("origin", *arguments, "--to", f"http://camera:letmein@127.0.0.1:{port}/clip"))
    accepted.wait_for("Publishing, epoch")
    # What is live comes through it unbuffered.
    with Peer(port) as peer:
        peer.ask("GET", "/clip", {"Prefer": "wait=20"})
        assert peer.head().status == 200
        assert peer.exactly(8)[4:] == b"ftyp"
        assert accepted.process.poll() is None
    assert "letmein" not in "\n".join([*accepted.lines, *server.lines])


def test_a_proxy_is_known_by_its_address_on_a_socket_for_both_families(start: Callable[..., Distributor]) -> None:
    """Where one socket listens for IPv6 and IPv4, a peer at 127.0.0.1 is still that."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("This machine has no IPv6.")
    server = start("--listen", "tcp6:0", "--trust-proxy", "127.0.0.1")
    both = re.search(r"port=(\d+)", server.wait_for("Listening on IPv6Address"))
    assert both is not None
    for client, status in (("127.0.0.1", 201), ("192.0.2.1", 401)):
        with Peer(int(both[1])) as peer:
            answer = peer.call("PUT", f"/by-{client}", {"X-Forwarded-For": client}, b"x")
            assert answer.status == status


def test_ffmpeg_through_it(
    start: Callable[..., Distributor], in_front: Callable[[Distributor], int], tmp_path: Path, clip: Clip
) -> None:
    server = start("--trust-proxy", "127.0.0.1", store=tmp_path / "kept")
    url = f"http://127.0.0.1:{in_front(server)}/clip"
    sent = finished(need("ffmpeg"), "-v", "error", "-i", clip.file, "-c", "copy", "-f", "mpegts", "-method", "PUT", url)
    assert (sent.returncode, sent.stderr) == (0, b"")
    eventually(lambda: server.describe("clip")["state"] == "ended", "the end")
    assert frames_of(url)["video"] == clip.frames["video"]
