"""One load on one server: a publisher, consumers, a window of time in which all is counted, and what came out."""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from .figures import percentile, size_text
from .processes import BENCH, HOST, Process, Unavailable, compiled, environment
from .servers import FanoutServer
from .stamps import Samples

__all__ = [
    "Case",
    "Consumers",
    "Loader",
    "Publisher",
    "apart",
    "measure",
    "measure_joining",
    "measure_silence",
    "published",
]

_BATCH = 32
"""How many consumers dial in each turn of the consumers' loop."""
_SETTLE = 0.7
"""Seconds between the last joining and the window: what joining has queued is sent by then."""
_GRACE = 0.5
"""Seconds after the window in which what was sent in it may still come."""
_PYTHON_SHARE = 500
"""From this many consumers on, a load in Python runs in two processes."""
_MEMORY_FROM = 100
"""With fewer consumers a process's size says nothing about one of them."""


class Case(NamedTuple):
    """``consumers`` in all, spread over ``streams``; ``rate`` records a second of ``size`` bytes for each stream."""

    consumers: int
    size: int
    rate: float
    streams: int = 1

    @property
    def text(self) -> str:
        streams = f", {self.streams} streams" if self.streams > 1 else ""
        return f"{self.consumers} x {size_text(self.size)} x {self.rate:g}/s{streams}"


@dataclass(frozen=True)
class Loader:
    """How loads are made: in C or in Python, with files in ``directory``; all their processes on one ``core``, if it
    is given, and with the kernel's word for when bytes were there."""

    directory: Path
    native: bool
    core: int | None = None

    def pin(self, *processes: Process) -> None:
        """Keep processes to the core."""
        if self.core is not None:
            for process in processes:
                os.sched_setaffinity(process.popen.pid, {self.core})

    @property
    def program(self) -> list[str | Path]:
        if self.native:
            return [compiled(BENCH / "loopback" / "consumers.c", self.directory)]
        return [sys.executable, "-m", "loopback.consumers"]

    def processes_for(self, consumers: int) -> int:
        return 1 if self.native or consumers < _PYTHON_SHARE else 2


class Publisher:
    """The publisher's process. It publishes until it is stopped."""

    def __init__(self, server: FanoutServer, port: int, case: Case, directory: Path) -> None:
        self._file = directory / "sent"
        words = [HOST, port, self._file, server.way, case.size, case.rate, case.streams]
        self.process = Process(
            [sys.executable, "-m", "loopback.publisher", *map(str, words)],
            piped=True,
            output=directory / "publisher.log",
            env=environment(BENCH),
        )
        self.refused = 0
        try:
            _tell_head(self.process, server.pub_head)
            self.process.next_line()
        except BaseException:
            self.process.stop()
            raise

    def finish(self) -> array[int]:
        """Stop publishing and return when each record was sent, in monotonic nanoseconds."""
        self.process.tell("")
        said = json.loads(self.process.next_line())
        if said["failure"]:
            raise Unavailable(f"publishing broke off: {said['failure']}")
        self.refused = said["refused"]
        sent = array("Q")
        sent.frombytes(self._file.read_bytes())
        return sent


class Consumers:
    """Some consumers, in one process or two. They read until they are stopped."""

    def __init__(
        self, server: FanoutServer, port: int, count: int, streams: int, loader: Loader, directory: Path, limit: float
    ) -> None:
        self._files: list[Path] = []
        self.processes: list[Process] = []
        self.joined = 0
        self.seconds = 0.0
        self.lost = self.missed = self.refused = 0
        shares = loader.processes_for(count)
        try:
            for share in range(shares):
                file = directory / f"received{share}"
                part = count // shares + (share < count % shares)
                words = [*loader.program, HOST, port, file, part, streams, _BATCH, limit]
                if loader.core is not None and loader.native:
                    words.append("kernel")
                process = Process(
                    list(map(str, words)), piped=True, output=directory / "consumers.log", env=environment(BENCH)
                )
                self._files.append(file)
                self.processes.append(process)
            for process in self.processes:
                _tell_head(process, server.get_head)
            for process in self.processes:
                said = json.loads(process.next_line())
                self.joined += said["joined"]
                self.seconds = max(self.seconds, said["seconds"])
        except BaseException:
            self.stop()
            raise

    def finish(self) -> list[Samples]:
        """Stop reading and return what came."""
        for process in self.processes:
            process.tell("")
        for process in self.processes:
            said = json.loads(process.next_line())
            self.lost += said["lost"]
            self.missed += said["missed"]
            self.refused += said["refused"]
        return [Samples.read(file) for file in self._files]

    def cpu_seconds(self) -> float:
        return sum(process.cpu_seconds() for process in self.processes)

    def stop(self) -> None:
        for process in self.processes:
            process.stop()


def _tell_head(process: Process, head: tuple[str, ...]) -> None:
    for line in (*head, "."):
        process.tell(line)


@contextmanager
def published(server: FanoutServer, case: Case, loader: Loader) -> Iterator[tuple[Process, int, Publisher, Path]]:
    """A server in a directory of its own, with a publisher that has begun. Both end with the context."""
    number = sum(1 for _ in loader.directory.iterdir())
    directory = loader.directory / f"{number}-{server.name}"
    directory.mkdir()
    directory.chmod(0o777)
    with ExitStack() as ending:
        process, port = server.start(directory)
        ending.callback(process.stop)
        publisher = Publisher(server, port, case, directory)
        ending.callback(publisher.process.stop)
        yield process, port, publisher, directory


def _kept(server: FanoutServer, case: Case, seconds: float) -> int:
    """What the log itself, whose window is larger than any of these loads, has grown by: no consumer's memory."""
    return int(case.size * case.rate * case.streams * seconds) if server.keeps else 0


def measure(
    server: FanoutServer,
    case: Case,
    loader: Loader,
    *,
    seconds: float,
    join_limit: float,
    moments_of: Callable[[Path], Sequence[int]] | None = None,
    near: int = 0,
) -> dict[str, float | str | None]:
    """Run one load and return its figures: CPU in percent of one core, times in milliseconds. Unavailable where
    the server is not installed, or breaks.

    ``moments_of`` is asked, with the server's directory, for moments (monotonic nanoseconds): what was sent within
    ``near`` nanoseconds of one has a p99 of its own, and so has all else."""
    with published(server, case, loader) as (process, port, publisher, directory), ExitStack() as ending:
        before, before_at = process.resident(), time.monotonic()
        consumers = Consumers(server, port, case.consumers, case.streams, loader, directory, join_limit)
        ending.callback(consumers.stop)
        loader.pin(publisher.process, *consumers.processes)
        held = process.resident() - before
        held -= _kept(server, case, time.monotonic() - before_at)
        time.sleep(_SETTLE)
        start = time.monotonic_ns()
        cpu = process.cpu_seconds(), consumers.cpu_seconds(), publisher.process.cpu_seconds()
        at_first = process.cpu_of_each()
        time.sleep(seconds)
        end = time.monotonic_ns()
        shares = [spent - at_first.get(pid, 0.0) for pid, spent in process.cpu_of_each().items()]
        spent = process.cpu_seconds(), consumers.cpu_seconds(), publisher.process.cpu_seconds()
        time.sleep(_GRACE)
        sent = publisher.finish()
        samples = consumers.finish()
        moments = [] if moments_of is None else [at for at in moments_of(directory) if start - near <= at < end + near]
    window = (end - start) / 1e9
    used = [(after - earlier) / window * 100 for after, earlier in zip(spent, cpu, strict=True)]
    posted = sum(1 for at in sent if start <= at < end)
    delays = sorted(delay for one in samples for delay in one.delays(start, end))
    wanted = posted * consumers.joined / case.streams
    return {
        "server": server.name,
        "case": case.text,
        **case._asdict(),
        "cpu": used[0],
        "processes": " + ".join(f"{share / window * 100:.1f}" for share in shares),
        "cpu_us": used[0] / 100 * window / len(delays) * 1e6 if delays else None,
        "p50": percentile(delays, 0.5),
        "p99": percentile(delays, 0.99),
        "p999": percentile(delays, 0.999),
        **apart(samples, start, end, moments, near),
        "joined": consumers.joined,
        "joins": consumers.joined / consumers.seconds if consumers.seconds else None,
        "memory": held / 1024 / consumers.joined if consumers.joined >= _MEMORY_FROM else None,
        "pace": posted / (case.rate * case.streams * window) * 100,
        "delivered": len(delays) / wanted * 100 if wanted else None,
        "missed": consumers.missed,
        "lost": consumers.lost,
        "refused": consumers.refused + publisher.refused,
        "load": used[1],
        "publisher": used[2],
    }


def apart(
    samples: list[Samples], start: int, end: int, moments: Sequence[int], near: int
) -> dict[str, float | str | None]:
    """The p99 of what was sent near one of the moments, and of all else; nothing where there are no moments."""
    if not moments:
        return {}
    inside: list[float] = []
    at = start
    outside: list[float] = []
    for moment in moments:
        first, last = max(at, moment - near), min(end, moment + near)
        outside += [delay for one in samples for delay in one.delays(at, first)]
        inside += [delay for one in samples for delay in one.delays(first, last)]
        at = max(at, last)
    outside += [delay for one in samples for delay in one.delays(at, end)]
    found = {"p99_near": percentile(sorted(inside), 0.99), "p99_apart": percentile(sorted(outside), 0.99)}
    return {"moments": len(moments), **found}


def measure_joining(
    server: FanoutServer, live: Case, newcomers: int, loader: Loader, *, seconds: float, join_limit: float
) -> dict[str, float | str | None]:
    """Let ``newcomers`` join all at once where ``live`` consumers stand, and return how long it took and what those
    noticed: percentiles (ms) of their deliveries before, and while the others joined."""
    with published(server, live, loader) as (_, port, publisher, directory), ExitStack() as ending:
        standing = Consumers(server, port, live.consumers, live.streams, loader, directory, join_limit)
        ending.callback(standing.stop)
        time.sleep(_SETTLE)
        start = time.monotonic_ns()
        time.sleep(seconds)
        begun = time.monotonic_ns()
        (directory / "joining").mkdir()
        joining = Consumers(server, port, newcomers, live.streams, loader, directory / "joining", join_limit)
        ending.callback(joining.stop)
        done = time.monotonic_ns()
        # A record that was sent as the last one joined counts as well.
        done += int(1e9 / live.rate)
        time.sleep(_GRACE)
        publisher.finish()
        samples = standing.finish()
        joining.finish()
    before = sorted(delay for one in samples for delay in one.delays(start, begun))
    during = sorted(delay for one in samples for delay in one.delays(begun, done))
    return {
        "server": server.name,
        "case": live.text,
        "newcomers": newcomers,
        "joined": joining.joined,
        "seconds": joining.seconds,
        "p99_before": percentile(before, 0.99),
        "p99_during": percentile(during, 0.99),
        "ratio": percentile(during, 0.99) / percentile(before, 0.99),
        "max_during": percentile(during, 1.0),
        "lost": standing.lost + joining.lost,
    }


def measure_silence(
    server: FanoutServer, live: Case, silent: int, loader: Loader, *, seconds: float, join_limit: float
) -> dict[str, float | str | None]:
    """Let ``silent`` consumers ask, and then read nothing, where ``live`` ones stand. Return what each of them costs
    (KiB of the server's resident size; what the kernel keeps for its socket is not in it), and percentiles (ms) of
    the others' deliveries before, and in the ``seconds`` in which the silent ones' sockets fill."""
    with published(server, live, loader) as (process, port, publisher, directory), ExitStack() as ending:
        standing = Consumers(server, port, live.consumers, live.streams, loader, directory, join_limit)
        ending.callback(standing.stop)
        time.sleep(_SETTLE)
        start = time.monotonic_ns()
        time.sleep(seconds)
        before, begun = process.resident(), time.monotonic_ns()
        for number in range(silent):
            ending.enter_context(_silent_consumer(server, port, number % live.streams))
        time.sleep(seconds)
        done = time.monotonic_ns()
        held = process.resident() - before - _kept(server, live, (done - begun) / 1e9)
        time.sleep(_GRACE)
        publisher.finish()
        samples = standing.finish()
    earlier = sorted(delay for one in samples for delay in one.delays(start, begun))
    during = sorted(delay for one in samples for delay in one.delays(begun, done))
    return {
        "server": server.name,
        "case": live.text,
        "silent": silent,
        "memory": held / 1024 / silent,
        "p99_before": percentile(earlier, 0.99),
        "p99_during": percentile(during, 0.99),
        "ratio": percentile(during, 0.99) / percentile(earlier, 0.99),
        "lost": standing.lost,
    }


def _silent_consumer(server: FanoutServer, port: int, stream: int) -> socket.socket:
    """A connection that asks for a stream, with as small a window as the system allows."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    connection.connect((HOST, port))
    connection.sendall(("\r\n".join(server.get_head).replace("%d", str(stream)) + "\r\n\r\n").encode())
    return connection
