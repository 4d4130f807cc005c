"""One cell's way through another program, with what :class:`~sdp.lab.topology.Topology` offers.

The programs are the distribution's own, with the settings that their documentation gives for low latency; what those
are stands here to be read. They listen on the loopback address, for the time of a cell.
"""

from __future__ import annotations

import json
import os
from importlib.util import find_spec
from pathlib import Path

from sdp.errors import LocalError
from sdp.lab.peers.calling import CallOrders
from sdp.lab.peers.sending import MOUNT, SECRET, SendingOrders
from sdp.lab.peers.watching import WatchingOrders
from sdp.lab.processes import Child, find_program, free_port, module
from sdp.lab.way import Way

__all__ = ["PeerTopology", "missing_peer"]

RTMP_MODULES = ("/usr/lib/nginx/modules/ngx_rtmp_module.so", "/usr/lib64/nginx/modules/ngx_rtmp_module.so")

_ICECAST = """<icecast>
  <limits><clients>5000</clients><sources>2</sources><burst-on-connect>0</burst-on-connect><burst-size>0</burst-size></limits>
  <authentication><source-password>{secret}</source-password><admin-password>{secret}</admin-password></authentication>
  <hostname>127.0.0.1</hostname>
  <listen-socket><port>{port}</port><bind-address>127.0.0.1</bind-address></listen-socket>
  <paths><logdir>{directory}</logdir><webroot>{directory}</webroot><adminroot>{directory}</adminroot></paths>
  <logging><errorlog>errors.log</errorlog><accesslog>access.log</accesslog><loglevel>2</loglevel></logging>
  {owner}
</icecast>
"""

_NGINX = """daemon off;
{user}
load_module {module};
worker_processes 1;
pid {directory}/nginx.pid;
error_log {directory}/nginx-errors.log;
events {{ worker_connections 1024; }}
rtmp {{
    server {{
        listen 127.0.0.1:{rtmp};
        chunk_size 4096;
        application lab {{
            live on;
            wait_key on;
            {hls}
        }}
    }}
}}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    types {{ application/vnd.apple.mpegurl m3u8; video/mp2t ts; }}
    server {{ listen 127.0.0.1:{http}; root {directory}/files; add_header Cache-Control no-cache; }}
}}
"""


# It has no setting for the address that it listens on; so the call that it makes is given one.
_FLV = """
const {{Server}} = require("net"), listen = Server.prototype.listen;
Server.prototype.listen = function (port, ...rest) {{ return listen.call(this, port, "127.0.0.1", ...rest); }};
const Media = require({package});
new Media({{
  logType: 1,
  rtmp: {{port: {rtmp}, chunk_size: 60000, gop_cache: false, ping: 30, ping_timeout: 60}},
  http: {{port: {http}, allow_origin: "*"}},
}}).run();
"""


def missing_peer(way: Way) -> str | None:
    """What is to be installed for this way's program, or None."""
    if way.system == "icecast":
        if find_program("icecast2") is None and find_program("icecast") is None:
            return "Icecast is not installed; on Debian: apt-get install icecast2."
        return None
    if way.system == "webrtc":
        return None if find_spec("aiortc") is not None else "aiortc is not installed: pip install aiortc."
    if way.system == "http-flv" and (find_program("node") is None or _media_server() is None):
        return "Node-Media-Server is not installed: npm install --global node-media-server@2, which needs Node.js."
    if way.system != "http-flv" and (find_program("nginx") is None or _module() is None):
        return "nginx with its RTMP module is not installed; on Debian: apt-get install nginx-light libnginx-mod-rtmp."
    if find_program("ffmpeg") is None:
        return "ffmpeg, which puts the pictures into RTMP, is not installed; on Debian: apt-get install ffmpeg."
    return None


def _module() -> str | None:
    return next((each for each in RTMP_MODULES if Path(each).exists()), None)


def _media_server() -> Path | None:
    """Where npm has put Node-Media-Server: for everybody, or where NODE_PATH says."""
    roots = [*os.environ.get("NODE_PATH", "").split(os.pathsep), "/usr/lib/node_modules", "/usr/local/lib/node_modules"]
    found = (Path(root) / "node-media-server" for root in roots if root)
    return next((each for each in found if (each / "package.json").exists()), None)


class PeerTopology:
    """As :class:`~sdp.lab.topology.Topology`, for one of the programs that SDP is compared to."""

    def __init__(self, way: Way, directory: Path, seed: int) -> None:
        self.way = way
        self.directory = directory
        self.children: list[Child] = []
        self.url = ""

    def start(self) -> None:
        """Start the program, and what sends to it. Raises LocalError."""
        if self.way.system == "icecast":
            self._icecast()
        elif self.way.system == "webrtc":
            self._call_port = free_port()
            self._spawn("origin", module("sdp.lab.peers.calling"), self._call("camera", "origin-0.csv").text())
        elif self.way.system == "http-flv":
            self._flv()
        else:
            self._nginx()

    def _spawn(self, role: str, command: list[str], orders: str | None = None) -> None:
        self.children.append(Child(role, command, self.directory, orders))

    def _icecast(self) -> None:
        program = find_program("icecast2") or find_program("icecast")
        if program is None:
            raise LocalError("Icecast is not installed.")
        port = free_port()
        # It does not run as root, so it changes to somebody; the directory is that one's then.
        owner = ""
        if os.geteuid() == 0:
            owner = "<security><changeowner><user>nobody</user><group>nogroup</group></changeowner></security>"
            self.directory.chmod(0o777)
        text = _ICECAST.format(port=port, directory=self.directory, secret=SECRET, owner=owner)
        (self.directory / "icecast.xml").write_text(text)
        self._spawn("icecast", [program, "-c", str(self.directory / "icecast.xml")])
        self._send("icecast", port)
        self.url = f"http://127.0.0.1:{port}{MOUNT}"

    def _flv(self) -> None:
        program, package = find_program("node"), _media_server()
        if program is None or package is None:
            raise LocalError("Node-Media-Server is not installed.")
        rtmp, http = free_port(), free_port()
        script = _FLV.format(package=json.dumps(str(package)), rtmp=rtmp, http=http)
        self._spawn("node", [program, "-e", script])
        self._send("rtmp", rtmp)
        self.url = f"http://127.0.0.1:{http}{MOUNT}/lab.flv"

    def _nginx(self) -> None:
        program, rtmp_module = find_program("nginx"), _module()
        if program is None or rtmp_module is None:
            raise LocalError("nginx with its RTMP module is not installed.")
        way, rtmp, http = self.way, free_port(), free_port()
        hls = ""
        if way.system == "nginx-hls":
            (self.directory / "files").mkdir()
            length = f"{way.gop:g}" if way.record in ("frame", "group") else way.fragment
            milliseconds = (
                round(float(length.removesuffix("s")) * 1000) if not length.endswith("ms") else int(length[:-2])
            )
            hls = (
                f"hls on; hls_path {self.directory}/files; hls_fragment {milliseconds}ms;"
                f" hls_playlist_length {6 * milliseconds}ms;"
            )
        user = "user root;" if os.geteuid() == 0 else ""
        text = _NGINX.format(directory=self.directory, rtmp=rtmp, http=http, hls=hls, user=user, module=rtmp_module)
        (self.directory / "nginx.conf").write_text(text)
        self._spawn("nginx", [program, "-p", str(self.directory), "-c", str(self.directory / "nginx.conf")])
        self._send("rtmp", rtmp)
        self.url = f"http://127.0.0.1:{http}/lab.m3u8" if hls else f"rtmp://127.0.0.1:{rtmp}{MOUNT}/lab"

    def _send(self, to: str, port: int) -> None:
        way = self.way
        orders = SendingOrders(
            to=to,
            port=port,
            size=way.size,
            rate=way.rate,
            gop=way.gop,
            preset=way.preset,
            bit_rate=way.bit_rate,
            trace="origin-0.csv",
            ffmpeg=find_program("ffmpeg") or "ffmpeg",
        )
        self._spawn("origin", module("sdp.lab.peers.sending"), orders.text())

    def probe(self, number: int) -> Child:
        """A probe that watches it."""
        if self.way.system == "webrtc":
            orders_of_call = self._call("viewer", f"probe-{number}.csv", number)
            return Child(f"probe{number}", module("sdp.lab.peers.calling"), self.directory, orders_of_call.text())
        by = "transport" if self.way.system == "icecast" else "libav"
        orders = WatchingOrders(by=by, url=self.url, out=f"probe-{number}.csv", consumer=number)
        return Child(f"probe{number}", module("sdp.lab.peers.watching"), self.directory, orders.text())

    def _call(self, side: str, out: str, consumer: int = 0) -> CallOrders:
        way = self.way
        return CallOrders(side=side, port=self._call_port, out=out, size=way.size, rate=way.rate, consumer=consumer)

    def stop(self) -> None:
        """End all of it."""
        for child in reversed(self.children):
            child.ask_to_end()
        for child in reversed(self.children):
            child.end()
