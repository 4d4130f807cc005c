"""The servers that a fan-out is measured on: SDP's Distributor, the floor, and others where they are installed."""

from __future__ import annotations

import base64
import importlib.util
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .processes import BENCH, HOST, Process, Unavailable, compiled, environment, free_port, twistd
from .spreaders import SPREADERS

__all__ = ["Distributor", "FanoutServer", "Floor", "Icecast", "Nchan", "Spreader", "server_named"]

_ICECAST = """<icecast>
 <hostname>localhost</hostname>
 <limits><clients>9000</clients><sources>100</sources><queue-size>8388608</queue-size>
  <burst-on-connect>0</burst-on-connect><burst-size>0</burst-size></limits>
 <authentication><source-password>bench</source-password><admin-user>admin</admin-user>
  <admin-password>bench</admin-password></authentication>
 <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
 <paths><logdir>{directory}</logdir><basedir>{directory}</basedir><webroot>{directory}</webroot>
  <adminroot>{directory}</adminroot></paths>
 <logging><accesslog>access.log</accesslog><errorlog>error.log</errorlog><loglevel>1</loglevel></logging>
 <security><chroot>0</chroot><changeowner><user>nobody</user><group>nogroup</group></changeowner></security>
</icecast>
"""

_NGINX = """load_module {module};
daemon off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_processes 1;
worker_rlimit_nofile 20000;
events {{ worker_connections 16000; }}
http {{
 access_log off;
 client_max_body_size 64m;
 client_body_buffer_size 1m;
 keepalive_requests 1000000;
 client_body_temp_path {directory}/body;
 proxy_temp_path {directory}/proxy; fastcgi_temp_path {directory}/fastcgi;
 uwsgi_temp_path {directory}/uwsgi; scgi_temp_path {directory}/scgi;
 nchan_shared_memory_size 256m;
 server {{
  listen 127.0.0.1:{port};
  location ~ ^/bench/(\\d+)$ {{
   nchan_publisher http; nchan_subscriber http-chunked; nchan_channel_id $1; nchan_message_buffer_length 64;
  }}
 }}
}}
"""


class FanoutServer:
    """How one server is started and spoken to: the heads are lines, as publisher.py and consumers.py take them."""

    name: str
    way = "posts"
    """How records are posted: see publisher.py."""
    keeps = False
    """Whether what is published stays in its memory: a load's growth of that is no consumer's."""
    pub_head: tuple[str, ...] = ("POST /bench/%d HTTP/1.1", "Host: localhost", "Content-Length: %n")
    get_head: tuple[str, ...] = ("GET /bench/%d HTTP/1.1", "Host: localhost")

    environment: Mapping[str, str] | None = None
    """What the command is started with: None is this process's own."""

    def command(self, port: int, directory: Path) -> Sequence[str | Path]:
        """The command that listens on ``port``, with files in ``directory``; Unavailable where it is not here."""
        raise NotImplementedError

    def start(self, directory: Path) -> tuple[Process, int]:
        """Return the process, which listens, and its port."""
        port = free_port()
        process = Process(self.command(port, directory), output=directory / "server.log", env=self.environment)
        try:
            process.wait_until_listening(port)
        except BaseException:
            process.stop()
            raise
        return process, port


class Floor(FanoutServer):
    """A bare epoll loop in C, see floor.c."""

    name = "floor"

    def command(self, port: int, directory: Path) -> Sequence[str | Path]:
        return [compiled(BENCH / "loopback" / "floor.c", directory.parent), str(port)]


class Distributor(FanoutServer):
    """``twistd -n sdp-distributor``. ``parts``: consumers ask for multipart/byteranges, as SDP's own do. ``opened``:
    the publisher has one open-ended POST, a record a chunk, in the place of a POST for each. ``workers``: processes."""

    keeps = True
    pub_head: tuple[str, ...] = (
        "POST /bench/%d HTTP/1.1",
        "Host: localhost",
        "Connection-Type: origin",
        "Content-Type: application/octet-stream",
        "Content-Range: bytes %a-%b/*",
        "Content-Length: %n",
    )

    def __init__(
        self,
        *,
        store: bool = False,
        parts: bool = False,
        opened: bool = False,
        workers: int = 1,
        options: Sequence[str] = (),
    ) -> None:
        said = (("parts", parts), ("store", store), ("open", opened), (f"workers{workers}", workers > 1))
        self.name = "-".join(["sdp", *(word for word, is_so in said if is_so)])
        self._store = store
        self._options = [*(("--workers", str(workers)) if workers > 1 else ()), *options]
        if opened:
            self.way = "chunked"
            self.pub_head = (
                *(line for line in self.pub_head if not line.startswith("Content-Range") and "%n" not in line),
                "Content-Range: bytes 0-9007199254740991/*",
                "Transfer-Encoding: chunked",
            )
        if parts:
            self.get_head = (
                "GET /bench/%d HTTP/1.1",
                "Host: localhost",
                "Connection-Type: consumer",
                "Accept: multipart/byteranges",
                "Content-Range: bytes */0",
            )

    def command(self, port: int, directory: Path) -> Sequence[str | Path]:
        store = str(directory / "store") if self._store else "none"
        listen = f"tcp:{port}:interface={HOST}"
        return twistd("sdp-distributor", "--listen", listen, "--store", store, *self._options)


class Chain(Distributor):
    """A Distributor, and ``depth`` relays behind each other: published and read at the last of them."""

    def __init__(self, depth: int) -> None:
        super().__init__()
        self.name = f"sdp-relay{depth}"
        self._depth = depth
        self.environment = environment(BENCH)

    def command(self, port: int, directory: Path) -> Sequence[str | Path]:
        return [sys.executable, "-m", "loopback.chain", str(port), str(self._depth)]


class Icecast(FanoutServer):
    """Icecast 2: what many use to fan out live audio and video over HTTP."""

    name = "icecast"
    way = "raw"
    pub_head = (
        "PUT /bench/%d HTTP/1.1",
        "Host: localhost",
        "Authorization: Basic " + base64.b64encode(b"source:bench").decode(),
        "Content-Type: application/octet-stream",
        "Expect: 100-continue",
    )

    def command(self, port: int, directory: Path) -> Sequence[str | Path]:
        program = shutil.which("icecast2") or shutil.which("icecast")
        if program is None:
            raise Unavailable("Icecast is not installed (Debian: icecast2)")
        file = directory / "icecast.xml"
        file.write_text(_ICECAST.format(port=port, directory=directory))
        return [program, "-c", file]


class Nchan(FanoutServer):
    """nginx. By itself it fans nothing out that is still growing; its module nchan does."""

    name = "nchan"
    pub_head = (*FanoutServer.pub_head, "Content-Type: application/octet-stream")
    get_head = (*FanoutServer.get_head, "TE: chunked")

    def command(self, port: int, directory: Path) -> Sequence[str | Path]:
        program = shutil.which("nginx")
        if program is None:
            raise Unavailable("nginx is not installed (Debian: nginx, libnginx-mod-nchan)")
        for place in (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"), Path("/usr/local/lib/nginx")):
            module = place / "ngx_nchan_module.so"
            if module.exists():
                break
        else:
            raise Unavailable("nginx has no module that fans out (Debian: libnginx-mod-nchan)")
        file = directory / "nginx.conf"
        file.write_text(_NGINX.format(port=port, directory=directory, module=module))
        return [program, "-p", directory, "-e", directory / "error.log", "-c", file]


class Spreader(FanoutServer):
    """A handler of a few lines in a framework, see spreaders.py."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.environment = environment(BENCH)

    def command(self, port: int, directory: Path) -> Sequence[str | Path]:
        if importlib.util.find_spec(self.name) is None:
            raise Unavailable(f"{self.name} is not installed (pip install {self.name})")
        return [sys.executable, "-m", "loopback.spreaders", self.name, str(port)]


def server_named(name: str, options: Sequence[str]) -> FanoutServer:
    """Return the server for a name; ``options`` are more of the Distributor's. ValueError for another name."""
    peers: dict[str, type[FanoutServer]] = {"floor": Floor, "icecast": Icecast, "nchan": Nchan}
    if name in peers:
        return peers[name]()
    if name in SPREADERS:
        return Spreader(name)
    relays = re.fullmatch("sdp-relay([1-9])", name)
    if relays is not None:
        return Chain(int(relays[1]))
    word, *features = name.split("-")
    workers = [int(each.removeprefix("workers")) for each in features if re.fullmatch("workers[0-9]", each)]
    rest = [each for each in features if not each.startswith("workers")]
    fits = {"parts", "store", "open"}.issuperset(rest) and len(set(rest)) == len(rest)
    if word != "sdp" or not fits or len(rest) + len(workers) < len(features) or len(workers) > 1:
        known = ["floor", "sdp with any of -parts -store -open -workersN", "sdp-relayN", "icecast", "nchan", *SPREADERS]
        raise ValueError(f"{name!r} is none of {', '.join(known)}")
    return Distributor(
        store="store" in rest,
        parts="parts" in rest,
        opened="open" in rest,
        workers=workers[0] if workers else 1,
        options=options,
    )
