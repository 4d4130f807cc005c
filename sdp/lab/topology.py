"""One cell's way, set up out of the real commands: Origin, Distributor, relays, what stands in front, and the line.

Everything is started at once, since everything that connects tries again; the way is there when the first picture has
come through. Each role's trace is a file in the cell's directory.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sdp.errors import LocalError
from sdp.lab.fetching import Asked
from sdp.lab.peers.topology import missing_peer
from sdp.lab.probe import Orders
from sdp.lab.processes import Child, eventually, find_program, free_port, module, twistd
from sdp.lab.way import Way

__all__ = ["NAME", "Topology", "missing"]

NAME = "lab"
"""The stream."""

START_PATIENCE = 60.0
"""How long a process may take until it answers, in seconds: on a machine that has other work as well."""

_NGINX = """daemon off;
{user}
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx-errors.log;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://127.0.0.1:{upstream};
            proxy_http_version 1.1;
            proxy_buffering off;
            proxy_set_header Host $http_host;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


def missing(way: Way) -> str | None:
    """Why this way cannot be set up here, and what to install; None where it can."""
    try:
        import av  # noqa: F401
    except ImportError:
        return "PyAV is not installed: pip install sdp-streaming[lab]."
    if not Path("/proc/self/stat").exists():
        return "processes are weighed by /proc, which is Linux's."
    if way.system != "sdp":
        return missing_peer(way)
    if way.path == "nginx" and find_program("nginx") is None:
        return "nginx is not installed; on Debian: apt-get install nginx-light."
    if way.path == "tls":
        try:
            import cryptography  # noqa: F401
        except ImportError:
            return "a certificate cannot be made: pip install cryptography."
    return None


class Topology:
    """The servers between the pictures and who watches. ``ports``: where the front is reached directly (``front``), and
    through the modelled line (``watched``)."""

    def __init__(self, way: Way, directory: Path, seed: int) -> None:
        self.way = way
        self.directory = directory
        self.children: list[Child] = []
        self.front = self.watched = 0
        self._seed = seed
        self._starts: dict[str, int] = {}
        self._line: Child | None = None

    # -- setting up --------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start all of it. Raises LocalError."""
        way, first = self.way, free_port()
        last = first
        self._distributor(first, is_last=not way.hops)
        for number in range(1, way.hops + 1):
            last = self._relay(number, self._apart(f"hop{number}-line", last))
        self.front = self._in_front(last) if way.path == "nginx" else self._tls_port if way.path == "tls" else last
        self._origin(self._apart("origin-line", first))
        eventually(self._answers, "The servers did not answer", START_PATIENCE, self.children)
        self.watched = self._through_the_line(self.front) if way.link_is_real else self.front

    def _answers(self) -> bool:
        """Whether every server listens."""
        wanted = 1 + self.way.hops
        listening = sum("Listening on" in child.said() for child in self.children)
        return listening >= wanted

    def _spawn(self, role: str, command: list[str], orders: str | None = None) -> Child:
        child = Child(role, command, self.directory, orders)
        self.children.append(child)
        return child

    def _listen(self, port: int, *, is_last: bool) -> list[str]:
        options = ["--listen", f"tcp:{port}:interface=127.0.0.1"]
        if is_last and self.way.path == "tls":
            key, chain = _certificate(self.directory)
            self._tls_port = free_port()
            options += ["--listen", f"ssl:{self._tls_port}:interface=127.0.0.1:privateKey={key}:certKey={chain}"]
        return options

    def _distributor(self, port: int, *, is_last: bool) -> None:
        way = self.way
        options = [*self._listen(port, is_last=is_last), "--trace", "distributor-0.csv", "--sync", f"{way.sync:g}"]
        options += ["--store", "store" if way.store else "none", "--workers", str(way.workers)]
        if way.fan_out == "after-sync":
            options.append("--fan-out-after-sync")
        self._spawn("distributor", twistd("sdp-distributor", *options))

    def _relay(self, number: int, upstream: int) -> int:
        port = free_port()
        options = [*self._listen(port, is_last=number == self.way.hops), "--trace", f"relay{number}-0.csv"]
        options += ["--upstream", f"http://127.0.0.1:{upstream}"]
        self._spawn(f"relay{number}", twistd("sdp-distributor", *options))
        return port

    def _origin(self, port: int) -> None:
        way = self.way
        options = ["--to", f"http://127.0.0.1:{port}/{NAME}", "--source", "test", "--no-audio", "--store", "none"]
        options += ["--size", way.size, "--rate", str(way.rate), "--gop", f"{way.gop:g}", "--preset", way.preset]
        options += ["--fragment", way.fragment, "--retry-most", "100ms", "--trace", "origin-0.csv"]
        if way.bit_rate is not None:
            options += ["--bit-rate", str(way.bit_rate)]
        self._spawn("origin", twistd("sdp-origin", *options))

    def _in_front(self, upstream: int) -> int:
        port = free_port()
        program = find_program("nginx")
        if program is None:
            raise LocalError("nginx is not installed; on Debian: apt-get install nginx-light.")
        user = "user root;" if os.geteuid() == 0 else ""
        text = _NGINX.format(user=user, directory=self.directory, port=port, upstream=upstream)
        (self.directory / "nginx.conf").write_text(text)
        self._spawn("nginx", [program, "-p", str(self.directory), "-c", str(self.directory / "nginx.conf")])
        return port

    def _apart(self, role: str, target: int) -> int:
        """The port by which a server is reached from as far away as the hops are."""
        if not self.way.hop_delay:
            return target
        _, port = self._new_line(role, target, {"delay": self.way.hop_delay})
        return port

    def _through_the_line(self, target: int) -> int:
        way = self.way
        link: dict[str, Any] = {"rate": way.link_rate, "trace": way.link, "delay": way.link_delay, "seed": self._seed}
        link |= {"jitter": way.link_jitter, "loss": way.link_loss}
        self._line, port = self._new_line("line", target, link)
        return port

    def _new_line(self, role: str, target: int, link: dict[str, Any]) -> tuple[Child, int]:
        line = self._spawn(role, module("sdp.lab.proxy"), json.dumps({"target": target, "link": link}))
        eventually(lambda: line.said().strip().isdigit(), "The line did not begin", START_PATIENCE, [line])
        return line, int(line.said())

    def probe(self, number: int) -> Child:
        """A probe that watches through the line."""
        orders = Orders(asked=self.asked(), out=self.directory / f"probe-{number}.csv", consumer=number)
        return Child(f"probe{number}", module("sdp.lab.probe"), self.directory, orders.text())

    def asked(self) -> Asked:
        """How a probe asks."""
        way = self.way
        return Asked(
            port=self.watched,
            name=NAME,
            delivery=way.delivery,
            poll_every=way.poll_every,
            connection=way.connection,
            tls=way.path == "tls",
        )

    # -- faults ------------------------------------------------------------------------------------------------

    def child(self, role: str) -> Child:
        """The process of that role."""
        return next(child for child in self.children if child.role == role)

    def kill(self, role: str) -> None:
        """End a server, or the Origin, as a power loss would."""
        self.child(role).kill()

    def restart(self, role: str) -> None:
        """Start it again, with a new file for its trace."""
        child = self.child(role)
        number = self._starts[role] = self._starts.get(role, 0) + 1
        child.command = [
            each.replace("-0.csv", f"-{number}.csv") if each.endswith("-0.csv") else each for each in child.command
        ]
        child.start()

    def stall(self, seconds: float) -> None:
        """Let the line carry nothing for so long."""
        assert self._line is not None
        self._line.say(f"stall {seconds:g}")

    def cut(self) -> None:
        """Let the line break off every connection."""
        assert self._line is not None
        self._line.say("cut")

    # -- ending ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """End all of it: all are asked at once, and then waited for."""
        for child in reversed(self.children):
            child.ask_to_end()
        for child in reversed(self.children):
            child.end()


def _certificate(directory: Path) -> tuple[Path, Path]:
    """A key and a certificate for this run alone, which nobody has to trust."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    begin = datetime.now(UTC) - timedelta(hours=1)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=2))
        .sign(key, hashes.SHA256())
    )
    paths = directory / "key.pem", directory / "certificate.pem"
    plain = serialization.NoEncryption()
    paths[0].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain))
    paths[1].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return paths
