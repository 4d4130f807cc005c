"""Hours in short: one Origin, one Distributor, and a crowd of Consumers that come and go, one of them asleep.

Run: python bench/soak.py [--seconds 600] [--consumers 50]. All of it stays on the loopback address, below one temporary
directory that is removed at the end. Prints memory and lag over time, and then what was found to be wrong; leaves with
1 where anything was. Every byte that any Consumer got is compared with the log that the Distributor kept.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
OPEN_END = 9007199254740991
STAY = (4.0, 20.0)
"""How long a Consumer stays before it goes and comes back, in seconds."""

Runs = dict[tuple[int, int], int]
"""The checksum of each run of bytes that anybody was given, by its offset and length."""


class Findings:
    """What is seen by all Consumers together."""

    def __init__(self) -> None:
        self.runs: Runs = {}
        self.errors: list[str] = []
        self.lags: list[float] = []
        """Of this interval: from a record's capture to its bytes at a Consumer, in ms."""
        self.worst: list[tuple[float, float, float]] = []
        self.all_lags: list[float] = []
        self.visits = self.jumps = self.received = 0

    def take(self, offset: int, data: bytes) -> None:
        self.received += len(data)
        checksum = zlib.crc32(data)
        if self.runs.setdefault((offset, len(data)), checksum) != checksum:
            self.errors.append(f"two Consumers were given different bytes at {offset}")


class Visit(asyncio.Protocol):
    """One connection of one Consumer, in SDP's own form: parts with their offsets (RFC 9110 section 14.6)."""

    def __init__(self, port: int, findings: Findings) -> None:
        self.findings = findings
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.leaving = False
        self._came = time.time_ns() // 1000
        self._request = (
            f"GET /soak HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection-Type: consumer\r\n"
            "Accept: multipart/byteranges\r\nContent-Range: bytes */0\r\n\r\n"
        ).encode()
        self._chunks = bytearray()
        self._content = bytearray()
        self._head_seen = False
        self._end: int | None = None
        self._end_is_initialization = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._chunks += data
        try:
            if self._head_seen or self._read_head():
                self._read_chunks()
                self._read_parts()
        except (ValueError, KeyError) as error:
            self._wrong(f"unreadable: {error}")

    def connection_lost(self, error: Exception | None) -> None:
        if not self.leaving:
            self.findings.errors.append(f"a Consumer was cut off at {self._end}")
        if not self.over.done():
            self.over.set_result(None)

    def leave(self) -> None:
        self.leaving = True
        if self._transport is not None:
            self._transport.abort()

    def _wrong(self, what: str) -> None:
        self.findings.errors.append(what)
        self.leave()

    def _read_head(self) -> bool:
        head, mark, rest = self._chunks.partition(b"\r\n\r\n")
        if not mark:
            return False
        if not head.startswith(b"HTTP/1.1 206"):
            raise ValueError(bytes(head.partition(b"\r\n")[0]))
        self._head_seen, self._chunks = True, rest
        return True

    def _read_chunks(self) -> None:
        at = 0
        while (line_end := self._chunks.find(b"\r\n", at)) >= 0:
            begin = line_end + 2
            end = begin + int(self._chunks[at:line_end], 16)
            if len(self._chunks) < end + 2:
                break
            if end == begin:
                self._wrong(f"the answer ended at {self._end}, though the epoch had not")
                break
            self._content += self._chunks[begin:end]
            at = end + 2
        del self._chunks[:at]

    def _read_parts(self) -> None:
        content, at = self._content, 0
        while (mark := content.find(b"\r\n\r\n", at)) >= 0:
            fields = dict(
                line.split(b": ", 1) for line in bytes(content[at:mark]).lower().split(b"\r\n") if b": " in line
            )
            first, last = map(int, fields[b"content-range"].removeprefix(b"bytes ").partition(b"/")[0].split(b"-"))
            end = mark + 4 + last - first + 1
            if len(content) < end:
                break
            self._take(first, bytes(content[mark + 4 : end]), fields.get(b"capture-time"))
            at = end
        del content[:at]

    def _take(self, first: int, data: bytes, captured: bytes | None) -> None:
        after_initialization = self._end is not None and self._end_is_initialization
        self._end_is_initialization = self._end is None and first == 0
        if self._end is not None and first != self._end and not after_initialization:
            self.findings.jumps += 1
            if first < self._end:
                self.findings.errors.append(f"bytes at {first} were sent after those up to {self._end}")
        self._end = first + len(data)
        self.findings.take(first, data)
        # What was captured before it came is no lag: a join begins at a random access point.
        if captured is not None and int(captured) > self._came:
            self.findings.lags.append((time.time_ns() // 1000 - int(captured)) / 1000)


class Command:
    """One of SDP's commands as a process, its output in a file."""

    def __init__(self, directory: Path, name: str, *argv: str) -> None:
        twistd = Path(sys.executable).with_name("twistd")
        self.name = name
        self.log = directory / f"{name}.log"
        with self.log.open("wb") as output:
            self.process = subprocess.Popen(
                [str(twistd), "-n", "--pidfile=", *argv],
                cwd=directory,
                env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def rss(self) -> float:
        """Its resident size, in MiB; 0 once it has ended."""
        try:
            pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0.0
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    async def said(self, pattern: str, limit: float = 30) -> re.Match[str]:
        """Wait until a line of its output matches."""
        deadline = time.monotonic() + limit
        while (match := re.search(pattern, self.log.read_text(errors="replace"))) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.name} did not say {pattern!r}:\n{self.log.read_text(errors='replace')}")
            await asyncio.sleep(0.05)
        return match

    async def ended(self, limit: float = 30) -> int | None:
        """Wait for its end, and return its status; None where it does not end."""
        deadline = time.monotonic() + limit
        while (status := self.process.poll()) is None and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        return status

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


async def ask(port: int, method: str, path: str, *lines: str) -> tuple[dict[str, str], bytes]:
    """One request on a connection of its own: the answer's fields, with the status among them, and its content."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    fields = "".join(f"{line}\r\n" for line in lines)
    writer.write(f"{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n{fields}\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    answer = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
    answer["status"] = head[0].split()[1]
    content = await reader.read()
    writer.close()
    return answer, content


async def consumer(port: int, findings: Findings, chance: random.Random) -> None:
    """Come, stay a while, go, and come again, until cancelled."""
    loop = asyncio.get_running_loop()
    while True:
        _, visit = await loop.create_connection(lambda: Visit(port, findings), "127.0.0.1", port)
        findings.visits += 1
        try:
            await asyncio.wait([visit.over], timeout=chance.uniform(*STAY))
        finally:
            visit.leave()


SLEEPER = """
import socket, sys
peer = socket.socket()
peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, 536)
peer.connect(("127.0.0.1", int(sys.argv[1])))
peer.sendall(b"GET /soak HTTP/1.1\\r\\nHost: 127.0.0.1\\r\\n\\r\\n")
print(len(peer.recv(4096)), flush=True)
while peer.recv(4096): pass
"""
"""A plain HTTP client, with little room in the kernels on both sides: a segment's size decides the sender's.
It is stopped (SIGSTOP) after its first bytes, for good."""


class Soak:
    """The whole scene."""

    def __init__(self, arguments: argparse.Namespace, directory: Path) -> None:
        self.arguments = arguments
        self.directory = directory
        self.findings = Findings()
        self.commands: list[Command] = []
        self.sleeper: subprocess.Popen[bytes] | None = None
        self.rss: list[tuple[float, float]] = []

    def command(self, name: str, *argv: str) -> Command:
        self.commands.append(Command(self.directory, name, *argv))
        return self.commands[-1]

    async def run(self) -> dict[str, Any]:
        given = self.arguments
        self.distributor = self.command(
            *("distributor", "sdp-distributor", "--listen", "tcp:0:interface=127.0.0.1", "--store", "kept"),
            *("--memory", given.memory, "--lag-bytes", given.lag_bytes, "--stall-timeout", str(given.stall_timeout)),
        )
        self.port = int((await self.distributor.said(r"Listening on .*port=(\d+)"))[1])
        url = f"http://127.0.0.1:{self.port}/soak"
        origin = self.command(
            *("origin", "sdp-origin", "--source", "test", "--to", url, "--store", "captured", "--size", given.size),
            *("--memory", given.memory),
        )
        self.origin = origin
        await origin.said("Publishing, epoch")
        # Two that keep a copy. One of them will be stopped for a third of the time, and has to have everything.
        awake = self.command("awake", "sdp-consumer", "--from", url, "--output", "awake.mp4")
        dozing = self.command("dozing", "sdp-consumer", "--from", url, "--output", "dozing.mp4")
        await awake.said("Copying epoch")
        await dozing.said("Copying epoch")
        await self._put_one_to_sleep()
        crowd = [
            asyncio.create_task(consumer(self.port, self.findings, random.Random(number)))
            for number in range(given.consumers)
        ]
        try:
            await self._watch(dozing, crowd)
        finally:
            for task in crowd:
                task.cancel()
            await asyncio.gather(*crowd, return_exceptions=True)
        _, text = await ask(self.port, "GET", "/-/metrics")
        metrics = dict(re.findall(r"^(sdp_\w+) ([0-9.e+]+)$", text.decode(), re.MULTILINE))
        origin.end()
        return await self._settle(metrics, (awake, dozing))

    async def _put_one_to_sleep(self) -> None:
        self.sleeper = subprocess.Popen([sys.executable, "-c", SLEEPER, str(self.port)], stdout=subprocess.PIPE)
        assert self.sleeper.stdout is not None
        await asyncio.to_thread(self.sleeper.stdout.readline)
        self.sleeper.send_signal(signal.SIGSTOP)

    async def _watch(self, dozing: Command, crowd: list[asyncio.Task[None]]) -> None:
        """Let it run; say how it goes ``rows`` times."""
        seconds, rows = self.arguments.seconds, self.arguments.rows
        begin = time.monotonic()
        print("seconds  distributor   origin   lag p50    p99    max (ms)   records  visits  jumps  errors", flush=True)
        for row in range(1, rows + 1):
            while time.monotonic() - begin < seconds * row / rows:
                await asyncio.sleep(min(1.0, seconds / rows))
                self.rss.append((self.distributor.rss(), self.origin.rss()))
            # It sleeps during the second of three thirds.
            third = row * 3 // rows
            dozing.process.send_signal(signal.SIGSTOP if third == 1 else signal.SIGCONT)
            for task in crowd:
                if task.done():
                    self.findings.errors.append(f"a Consumer failed: {task.exception()}")
                    crowd.remove(task)
                    break
            self._say(time.monotonic() - begin)

    def _say(self, elapsed: float) -> None:
        found = self.findings
        p50, p99, most = percentiles(found.lags)
        found.all_lags += found.lags
        count, found.lags = len(found.lags), []
        distributor, origin = self.rss[-1]
        print(
            f"{elapsed:7.0f}  {distributor:7.1f} MiB {origin:7.1f} MiB {p50:7.1f} {p99:6.1f} {most:6.1f} {count:14}"
            f" {found.visits:7} {found.jumps:6} {len(found.errors):7}",
            flush=True,
        )

    async def _settle(self, metrics: dict[str, str], copies: tuple[Command, ...]) -> dict[str, Any]:
        """End the epoch, and hold all that was received to what is kept of it."""
        found = self.findings
        head, _ = await ask(self.port, "HEAD", "/soak")
        length = int(head["upload-offset"])
        await ask(self.port, "POST", "/soak", f"Content-Range: bytes */{length}", "Content-Length: 0")
        for copy in copies:
            status = await copy.ended(60)
            if status != 0:
                found.errors.append(f"{copy.name} left with {status}: {copy.log.read_text(errors='replace')[-500:]}")
        kept = await asyncio.to_thread(joined, self.directory / "kept", length)
        captured = await asyncio.to_thread(joined, self.directory / "captured", length)
        if kept != captured:
            found.errors.append("what the Distributor kept is not what the Origin captured")
        for copy in copies:
            if (self.directory / f"{copy.name}.mp4").read_bytes() != kept:
                found.errors.append(f"{copy.name}.mp4 is not what the Distributor kept")
        wrong = [at for (at, size), checksum in found.runs.items() if zlib.crc32(kept[at : at + size]) != checksum]
        if wrong:
            found.errors.append(f"{len(wrong)} runs of bytes are not the log's, the first at {min(wrong)}")
        for command in self.commands:
            if "Traceback" in command.log.read_text(errors="replace"):
                found.errors.append(f"{command.name} met a fault: {command.log.read_text(errors='replace')[-2000:]}")
        return self._report(length, hashlib.sha256(kept).hexdigest(), metrics)

    def _report(self, length: int, digest: str, metrics: dict[str, str]) -> dict[str, Any]:
        found = self.findings
        p50, p99, most = percentiles(found.all_lags)
        settled = self.rss[len(self.rss) // 3 :]
        return {
            "stream_bytes": length,
            "sha256": digest,
            "received_bytes": found.received,
            "visits": found.visits,
            "jumps": found.jumps,
            "lag_ms": {"p50": round(p50, 2), "p99": round(p99, 2), "max": round(most, 2)},
            "distributor_mib": summary([pair[0] for pair in self.rss]),
            "distributor_mib_last_two_thirds": summary([pair[0] for pair in settled]),
            "origin_mib": summary([pair[1] for pair in self.rss]),
            "closed_for_stalling": int(float(metrics["sdp_stalled_closed_total"])),
            "jumps_in_all": int(float(metrics["sdp_jumps_total"])),
            "errors": found.errors,
        }

    def end(self) -> None:
        for command in self.commands:
            command.end()
        if self.sleeper is not None:
            self.sleeper.kill()
            self.sleeper.wait()
            assert self.sleeper.stdout is not None
            self.sleeper.stdout.close()


def joined(store: Path, length: int) -> bytes:
    """The first ``length`` bytes of the only epoch in a store: its content files, named by their offsets."""
    return b"".join(file.read_bytes() for file in sorted(store.rglob("*.mp4")))[:length]


def percentiles(values: list[float]) -> tuple[float, float, float]:
    if not values:
        return 0.0, 0.0, 0.0
    ordered = sorted(values)
    return statistics.median(ordered), ordered[int(len(ordered) * 0.99)], ordered[-1]


def summary(values: list[float]) -> dict[str, float]:
    return {"first": round(values[0], 1), "max": round(max(values), 1), "last": round(values[-1], 1)}


def main() -> int:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--seconds", type=float, default=600)
    options.add_argument("--consumers", type=int, default=50)
    options.add_argument("--rows", type=int, default=20, help="how often to say how it goes")
    options.add_argument("--size", default="640x360", help="the test pattern's")
    options.add_argument("--memory", default="16MiB", help="how much of the stream the Distributor keeps in memory")
    options.add_argument("--lag-bytes", default="4MiB", help="the lag at which a Consumer jumps")
    options.add_argument("--stall-timeout", type=float, default=30, help="when one that takes nothing is closed")
    options.add_argument("--report", type=Path, help="a file for the findings, as JSON")
    arguments = options.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="sdp-soak-"))
    soak = Soak(arguments, directory)
    try:
        report = asyncio.run(soak.run())
    finally:
        soak.end()
        shutil.rmtree(directory)
    text = json.dumps(report, indent=2)
    print(text)
    if arguments.report is not None:
        arguments.report.write_text(text)
    return 1 if report["errors"] else 0


if __name__ == "__main__":
    sys.exit(main())
