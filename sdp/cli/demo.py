"""``sdp demo``: a Distributor and an Origin as child processes, and what they do in a table."""

from __future__ import annotations

import re
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from random import SystemRandom
from typing import Any

import attrs
from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater

from sdp.cli.children import Child
from sdp.cli.running import run, say
from sdp.cli.status import StreamsView, bits_text, bytes_text, lag_text, table
from sdp.consumer.probe import LatencyProbe
from sdp.errors import LocalError, RemoteError, SDPError
from sdp.media.faults import without_secret
from sdp.net.address import Address, parse_address
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import ClientFactory, Role, connecting
from sdp.net.fetch import LiveFetch

__all__ = ["Plan", "run_demo"]

PORT = 8080
NAME = "demo"
START_PATIENCE = 15.0
"""How long the Distributor has to answer, and the Origin to publish, in seconds."""

PLAIN_INTERVAL = 5
"""Without a terminal: a line every so many seconds."""

_ERROR_LINE = re.compile(r"\[[\w.]+#error\] (.+)")
"""A child's line that says what was wrong, as Twisted's log writes it; a fault of the program itself is critical."""


@attrs.frozen(kw_only=True)
class Plan:
    """What the demo is to show. ``port`` None is 8080 or a free one, ``seconds`` None until interrupted."""

    source: str
    port: int | None = None
    container: str = "mp4"
    size: str | None = None
    seconds: float | None = None
    loop: bool = False


def run_demo(plan: Plan) -> int:
    """Run the demo until it is interrupted, or a child dies; return the exit status."""
    return run(lambda reactor: _Demo(plan, reactor).run(), interrupted=0)


def free_port(wanted: int | None) -> int:
    """Return the wanted port, or 8080 if that is free, or one that is. Raises LocalError."""
    for port in (wanted,) if wanted is not None else (PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found: int = probe.getsockname()[1]
                return found
    raise LocalError(f"Port {wanted} is taken; choose another by --port.")


def own_command() -> str:
    """How this command is typed here: with its directory where the shell would not find it, or find another one."""
    found, own = shutil.which("sdp"), Path(sys.argv[0])
    if own.name != "sdp" or (found is not None and Path(found).resolve() == own.resolve()):
        return "sdp"
    return str(own)


def addresses(base: str, container: str = "mp4") -> list[tuple[str, str]]:
    """Where to look, and with what."""
    stream = f"{base}/{NAME}"
    return [
        ("browser", f"{base}/-/watch/{NAME}"),
        ("player", f"{own_command()} play {stream}"),
        ("VLC", f"vlc {stream}"),
        ("mpv", f"mpv --profile=low-latency {stream}"),
        ("ffplay", f"ffplay -fflags nobuffer -flags low_delay {stream}"),
        ("recording", f"{own_command()} record {stream} copy.{'ts' if container == 'mpegts' else 'mp4'}"),
    ]


class _Demo:
    """The two children, the view of their streams, and the probe that measures as a consumer."""

    def __init__(self, plan: Plan, reactor: Any) -> None:
        self.plan = plan
        self.base = f"http://127.0.0.1:{free_port(plan.port)}"
        self.address: Address = parse_address(self.base)
        self.probe = LatencyProbe(lambda: time.time_ns() // 1000)
        self.view = StreamsView(self.address, reactor)
        self._reactor = reactor
        self._children: list[Child] = []
        self._probing: Deferred[None] | None = None
        self._died: Deferred[Child] = Deferred()

    async def run(self) -> int:
        with tempfile.TemporaryDirectory(prefix="sdp-demo-") as directory:
            try:
                await self._start(Path(directory))
                return await self._show(Path(directory))
            finally:
                await self._stop()

    # -- start and stop ----------------------------------------------------------------------------------------

    def _spawn(self, command: str, *options: str) -> None:
        child = Child(self._reactor, command, list(options))
        child.on_end = lambda child: None if self._died.called else self._died.callback(child)
        self._children.append(child)

    async def _start(self, directory: Path) -> None:
        plan, port = self.plan, self.address.port
        listen = f"tcp:{port}:interface=127.0.0.1"
        self._spawn("sdp-distributor", "--listen", listen, "--store", str(directory / "distributor"))
        await self._until(lambda streams: True, "The Distributor does not answer")
        options = ["--to", f"{self.base}/{NAME}", "--source", plan.source, "--container", plan.container]
        options += ["--store", str(directory / "origin")]
        if plan.size is not None:
            options += ["--size", plan.size]
        if plan.loop:
            options.append("--loop")
        self._spawn("sdp-origin", *options)
        await self._until(lambda streams: any(each["end_offset"] for each in streams), "The Origin publishes nothing")
        self._probing = Deferred.fromCoroutine(self._measure())
        self._probing.addErrback(lambda failure: failure.trap(CancelledError, SDPError) and None)

    async def _until(self, holds: Any, otherwise: str) -> None:
        """Wait until the Distributor's streams are as wanted, or a child has died."""
        deadline = self._reactor.seconds() + START_PATIENCE
        while True:
            self._check_children()
            with suppress(RemoteError):
                if holds(await self.view.get()):
                    return
            if self._reactor.seconds() > deadline:
                raise LocalError(f"{otherwise} after {START_PATIENCE:.0f} s.{last_words(self._children[-1].lines)}")
            await deferLater(self._reactor, 0.1)

    def _check_children(self) -> None:
        for child in self._children:
            if child.status == 0 and child.command == "sdp-origin":
                continue
            if child.status is not None:
                raise LocalError(f"{child.command} ended with {child.status}.{last_words(child.lines)}")

    async def _stop(self) -> None:
        """The Origin first, so that it can deliver what it has."""
        if self._probing is not None:
            self._probing.cancel()
        self.view.close()
        for child in reversed(self._children):
            await child.stop()

    async def _measure(self) -> None:
        reactor = self._reactor
        factory = ClientFactory(self.address, Role.CONSUMER, reactor)
        attempts = Attempts(connecting(factory, reactor), reactor, Backoff(SystemRandom()), _Silent())
        await LiveFetch(b"/" + NAME.encode(), attempts, _Silent(), self.probe.take).run()

    # -- what is seen ------------------------------------------------------------------------------------------

    async def _show(self, directory: Path) -> int:
        console = Console()
        head = "\n".join(f"{what:>10}  {where}" for what, where in addresses(self.base, self.plan.container))
        say(f"Streaming {without_secret(self.plan.source)} to {self.base}/{NAME}. Ctrl-C ends it.\n{head}")
        if not console.is_terminal:
            return await self._loop(directory, self._print_line)
        with Live(console=console, auto_refresh=False, transient=True) as live:
            return await self._loop(directory, lambda second, streams, facts: self._update(live, streams, facts))

    async def _loop(self, directory: Path, show: Any) -> int:
        began = self._reactor.seconds()
        second = 0
        while self.plan.seconds is None or self._reactor.seconds() - began < self.plan.seconds:
            self._check_children()
            try:
                streams = await self.view.get()
            except RemoteError:
                streams = []  # the Distributor's end is told by the next look at the children
            show(second, streams, self._facts(directory))
            if streams and all(each["state"] == "ended" for each in streams):
                say("The source has ended.")
                return 0
            second += 1
            await deferLater(self._reactor, 1.0)
        return 0

    def _facts(self, directory: Path) -> str:
        latency = self.probe.median_ms
        age = "-" if latency is None else f"{latency:.1f} ms"
        return f"capture to consumer {age} (median); on disk {bytes_text(size_of(directory))} in {directory}"

    def _update(self, live: Live, streams: list[dict[str, Any]], facts: str) -> None:
        live.update(Group(table(streams, self.base), Text(facts)), refresh=True)

    def _print_line(self, second: int, streams: list[dict[str, Any]], facts: str) -> None:
        if second % PLAIN_INTERVAL:
            return
        for each in streams:
            readers = each.get("consumers") or []
            rate = bits_text(each.get("bit_rate") or 0)
            lag = lag_text(readers)
            say(f"{each['name']}: {each['state']}, {rate}, {len(readers)} readers, most lag {lag}; {facts}")


def last_words(lines: Iterable[str]) -> str:
    """What a child said of its end; all that it said last where there is no such line."""
    kept = list(lines)
    said = [match[1] for line in kept if (match := _ERROR_LINE.search(line))]
    if len(said) == 1:
        return f" {said[0]}"
    return " Its last lines:" + "".join(f"\n  {line}" for line in kept) if kept else ""


class _Silent:
    """The probe's own lines: the table tells what there is to tell."""

    def info(self, format: str, **values: object) -> None:
        pass

    def warn(self, format: str, **values: object) -> None:
        pass


def size_of(directory: Path) -> int:
    """The bytes of all files below ``directory``."""
    total = 0
    for each in directory.rglob("*"):
        with suppress(OSError):  # it may be gone by now
            if each.is_file():
                total += each.stat().st_size
    return total
