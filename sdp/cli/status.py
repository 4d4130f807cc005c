"""``sdp status``: a Distributor's streams as a table."""

from __future__ import annotations

import json
import sys
from random import SystemRandom
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from twisted.internet.task import deferLater

from sdp.cli.running import run, trusted
from sdp.errors import ConfigurationError, RemoteError
from sdp.net.address import Address, parse_address
from sdp.net.backoff import Backoff
from sdp.net.client import ClientFactory, ClientProtocol, Disconnected, connect
from sdp.net.refusals import sentence

__all__ = ["StreamsView", "bytes_text", "run_status", "table"]

INTERVAL = 1.0
"""How often --watch looks, in seconds."""

UNCUT = 400
"""Columns of a table that no terminal shows: a name of 255 characters, and the rest."""


class StreamsView:
    """Asks a Distributor for its streams, over one connection that is made anew where it has to be."""

    def __init__(self, address: Address, reactor: Any) -> None:
        path = address.target.partition(b"?")[0]
        self.target = b"/-/streams" + (path if path != b"/" else b"")
        self._address = address
        self._reactor = reactor
        self._factory = ClientFactory(address, None, reactor)
        self._client: ClientProtocol | None = None

    async def get(self) -> list[dict[str, Any]]:
        """Return the streams' JSON objects. Raises RemoteError."""
        if self._client is None or not self._client.usable:
            self._client = await connect(self._address.endpoint(self._reactor), self._factory)
        answer = await self._client.fetch(b"GET", self.target)
        if answer.headers.get(b"connection-type") is None:
            raise RemoteError(f"{self._address} is no SDP Distributor: it does not say Connection-Type.")
        if answer.status != 200:
            raise RemoteError(f"{self._address}: {sentence(answer.status, answer.content)}.")
        try:
            document = json.loads(answer.content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise RemoteError(f"{self._address} does not list its streams.")
        streams: list[dict[str, Any]] = document.get("streams", [document])
        return streams

    def close(self) -> None:
        if self._client is not None:
            self._client.abort()


def bytes_text(count: float) -> str:
    """A count of bytes as people read it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def bits_text(rate: float) -> str:
    """A bit rate as people read it."""
    return f"{rate / 1e6:.2f} Mbit/s" if rate >= 1e6 else f"{rate / 1e3:.0f} kbit/s"


def lag_text(consumers: list[dict[str, Any]]) -> str:
    """The greatest lag among the consumers."""
    if not consumers:
        return "-"
    worst = max(consumers, key=lambda each: each.get("lag_bytes") or 0)
    return f"{bytes_text(worst.get('lag_bytes') or 0)}, {worst.get('lag_ms') or 0:.0f} ms"


def table(streams: list[dict[str, Any]], title: str) -> Table:
    """The streams, one a row."""
    # Narrow, so that a usual row fits a terminal of 80 columns. Where it does not, it folds: nothing is cut.
    result = Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    result.add_column("stream", overflow="fold", min_width=8)
    for name in ("state", "format"):
        result.add_column(name, overflow="fold")
    for name in ("bit rate", "held", "on disk", "readers", "most lag"):
        result.add_column(name, justify="right", overflow="fold")
    for each in streams:
        durable = each.get("durable_offset")
        consumers = each.get("consumers") or []
        result.add_row(
            each["name"],
            each["state"],
            (each.get("content_type") or "?").removeprefix("video/").removeprefix("application/"),
            bits_text(each.get("bit_rate") or 0),
            bytes_text(each["end_offset"] - each["first_offset"]),
            "-" if durable is None else bytes_text(durable),
            str(len(consumers)),
            lag_text(consumers),
        )
    return result


def run_status(url: str, *, watch: bool, read_token: str | None = None, ca_file: str | None = None) -> int:
    """Show the streams at ``url`` once, or until interrupted; return the exit status."""
    try:
        address = trusted(parse_address(url), read_token, ca_file)
    except ConfigurationError as error:
        sys.stderr.write(f"sdp status: {error.detail}\n")
        return 2
    return run(lambda reactor: _watch(address, reactor) if watch else _once(address, reactor), interrupted=0)


async def _once(address: Address, reactor: Any) -> int:
    view = StreamsView(address, reactor)
    try:
        streams = await view.get()
        # Into a pipe or a file nothing is folded, whatever width rich takes those to have.
        console = Console(width=None if sys.stdout.isatty() else UNCUT)
        console.print(table(streams, str(address)) if streams else f"{address} has no streams yet.")
    finally:
        view.close()
    return 0


async def _watch(address: Address, reactor: Any) -> int:
    view, backoff = StreamsView(address, reactor), Backoff(SystemRandom(), first=INTERVAL)
    console = Console()
    try:
        with Live(console=console, auto_refresh=False) as live:
            while True:
                delay = INTERVAL
                try:
                    shown: Any = table(await view.get(), str(address))
                    backoff.succeeded()
                except Disconnected as error:
                    delay = backoff.next_delay()
                    shown = f"{error.detail} Trying again."
                live.update(shown, refresh=True)
                await deferLater(reactor, delay)
    finally:
        view.close()
