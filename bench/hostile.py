"""Those who mean harm, or whose line is dead: what they cost, and whether it has an end.

    python bench/hostile.py [--kinds silent,dripping,restless] [--count N] [--seconds S] [--json FILE]

Beside some consumers who read what they are given, a crowd comes that never reads, that reads one byte a second, or
that connects and leaves 200 times a second. What the server holds in memory is looked at again and again once the crowd
is there: it must not grow. So are the delays of those who read.

For each who does not read the system keeps some 2.3 MB of its own. So the crowd is as large as half of what it has for
all of TCP, but at most 2000. Without an option it takes about three minutes.
"""

from __future__ import annotations

import argparse
import resource
import select
import shutil
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from loopback.figures import Row, Table, percentile, write_json
from loopback.load import Case, Consumers, Loader, published
from loopback.processes import HOST, Process, raise_file_limit, scratch
from loopback.servers import server_named

LIVE = Case(50, 16 << 10, 10)
MEMORY = 2 << 20
COMING = 20.0
"""For how long the crowd comes before what it costs is looked at, in seconds: its sockets are full by then."""
RESTLESS = 200
"""How often a second somebody connects, asks, and leaves."""

_ASK = b"GET /bench/0 HTTP/1.1\r\nHost: localhost\r\n\r\n"
_STEP = 0.05

COLUMNS = (
    ("kind", "crowd", "<10s"),
    ("count", "of", "6d"),
    ("before", "MiB before", "10.1f"),
    ("early", "MiB then", "8.1f"),
    ("late", "at the end", "10.1f"),
    ("growth", "growth %", "8.1f"),
    ("each", "KiB each", "8.1f"),
    ("closed", "closed", "7d"),
    ("p99_before", "p99 ms before", "13.2f"),
    ("p99", "p99 ms", "8.2f"),
)


class Crowd:
    """Consumers of one kind. ``closed`` counts those whom the server has closed; others come in their place."""

    def __init__(self, port: int, kind: str, count: int) -> None:
        self.closed = self.came = 0
        self._where = HOST, port
        self._kind = kind
        self._count = 0 if kind == "restless" else count
        self._open: dict[int, socket.socket] = {}
        self._poll = select.poll()
        self._read_at = time.monotonic()
        self._begun = time.monotonic()

    def _come(self) -> socket.socket:
        # As small a window as there is: what is not read is the server's to hold, or to give up.
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(self._where)
        connection.sendall(_ASK)
        connection.setblocking(False)
        self.came += 1
        return connection

    def turn(self) -> None:
        """Do what is due: come, read a byte, leave."""
        if self._kind == "restless":
            while self.came < (time.monotonic() - self._begun) * RESTLESS:
                self._come().close()
            return
        self._let_go()
        for _ in range(min(self._count - len(self._open), 100)):
            connection = self._come()
            self._open[connection.fileno()] = connection
            self._poll.register(connection, 0)  # of its end alone
        if self._kind == "dripping" and time.monotonic() - self._read_at >= 1:
            self._read_at = time.monotonic()
            for connection in self._open.values():
                try:
                    connection.recv(1)
                except OSError:
                    continue

    def _let_go(self) -> None:
        for number, _ in self._poll.poll(0):
            self._poll.unregister(number)
            self._open.pop(number).close()
            self.closed += 1

    def leave(self) -> None:
        for each in self._open.values():
            each.close()


def watched(process: Process, turn: Callable[[], None], seconds: float) -> list[int]:
    """Let a crowd do as it does, and look at the server's resident size ten times a second."""
    sizes, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        turn()
        sizes.append(process.resident())
        time.sleep(_STEP)
    return sizes


def measure(kind: str, count: int, loader: Loader, seconds: float) -> Row:
    """What the server holds before the crowd, in the first quarter of the time that it is there, and in the last."""
    server = server_named("sdp", ("--memory", str(MEMORY), "--stall-timeout", "10"))
    with published(server, LIVE, loader) as (process, port, publisher, directory), ExitStack() as ending:
        standing = Consumers(server, port, LIVE.consumers, 1, loader, directory, 20)
        ending.callback(standing.stop)
        # The log's own window is full first: what grows then is somebody else's.
        time.sleep(MEMORY / (LIVE.size * LIVE.rate) * 1.1)
        start = time.monotonic_ns()
        before = watched(process, lambda: None, 3)
        crowd = Crowd(port, kind, count)
        ending.callback(crowd.leave)
        begun = time.monotonic_ns()
        watched(process, crowd.turn, COMING)
        sizes = watched(process, crowd.turn, seconds)
        done = time.monotonic_ns()
        publisher.finish()
        samples = standing.finish()
    quarter = len(sizes) // 4
    early, late = max(sizes[:quarter]), max(sizes[-quarter:])
    earlier = sorted(delay for one in samples for delay in one.delays(start, begun))
    during = sorted(delay for one in samples for delay in one.delays(begun, done))
    return {
        "kind": kind,
        "count": crowd.came if kind == "restless" else count,
        "before": max(before) / (1 << 20),
        "early": early / (1 << 20),
        "late": late / (1 << 20),
        "growth": (late - early) / early * 100,
        "each": (late - max(before)) / 1024 / count if kind != "restless" else None,
        "closed": crowd.closed,
        "p99_before": percentile(earlier, 0.99),
        "p99": percentile(during, 0.99),
        "lost": standing.lost,
    }


def _room() -> int:
    """How many sockets may be full without the system running short of memory for all others."""
    pressure = int(Path("/proc/sys/net/ipv4/tcp_mem").read_text().split()[1]) * resource.getpagesize()
    return min(2000, pressure // 2 // 2_400_000)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", default="silent,dripping,restless")
    parser.add_argument("--count", type=int, default=_room(), help="how many are silent, or drip")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long memory is looked at (20)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    raise_file_limit()
    native = (shutil.which("cc") or shutil.which("gcc")) is not None
    table, rows = Table(COLUMNS), []
    table.head()
    with scratch() as directory:
        for kind in options.kinds.split(","):
            rows.append(measure(kind, options.count, Loader(directory, native), options.seconds))
            table.row(rows[-1])
            if rows[-1]["lost"]:
                print(f"{rows[-1]['lost']} of those who read were closed", flush=True)
    if options.json:
        write_json(options.json, "hostile", rows)


if __name__ == "__main__":
    main()
