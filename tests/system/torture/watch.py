"""Notes whatever a node announces to be durable: in answers to POSTs, and to HEAD and in the JSON, asked all along."""

from __future__ import annotations

import json
import re
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence

from tests.system.client import Cut, Peer
from tests.system.proxy import Way
from tests.system.torture.judge import Ranges, add, subtract

__all__ = ["Announcements", "Watcher", "missing_of"]

_HEAD = re.compile(rb"HTTP/1\.1 \d{3} [^\r]*\r\n(.*?)\r\n\r\n", re.DOTALL)
_KEPT = 8192
"""How much of an answer whose head has not ended yet is kept."""

EVERY = 0.05
"""How often a node is asked, in seconds."""


class Announcements:
    """What was announced: for each epoch of each stream the bytes that must never be lost."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._required: dict[tuple[str, str], Ranges] = defaultdict(tuple)
        self.current: dict[str, str] = {}
        """The epoch that each stream had when it was last asked for."""
        self.order: dict[str, list[str]] = defaultdict(list)
        """The epochs of each stream, in the order in which they were first seen."""
        self.count = 0
        self._tails: dict[tuple[str, int], bytes] = {}

    def seen(self, name: str, epoch: str) -> None:
        with self._lock:
            if epoch not in self.order[name]:
                self.order[name].append(epoch)

    def note(self, name: str, epoch: str, durable: int, holes: Ranges = ()) -> None:
        """All that is held below ``durable`` is durable; ``holes`` are not held."""
        self.seen(name, epoch)
        with self._lock:
            self.count += 1
            required = self._required[name, epoch]
            for start, end in subtract(((0, durable),), holes):
                required = add(required, start, end)
            self._required[name, epoch] = required

    def required(self, name: str, epoch: str) -> Ranges:
        """The bytes of an epoch that have to be there."""
        with self._lock:
            return self._required[name, epoch]

    def epochs(self, name: str) -> list[str]:
        with self._lock:
            return list(self.order[name])

    def tap(self, name: str) -> Callable[[int, Way, bytes], None]:
        """For the line between a stream's Origin and the Distributor: reads the answers that go down it."""

        def seen(connection: int, way: Way, data: bytes) -> None:
            if way is not Way.DOWN:
                return
            data = self._tails.get((name, connection), b"") + data
            end = 0
            for match in _HEAD.finditer(data):
                end = match.end()
                self.of_head(name, match[1].decode("latin-1"))
            self._tails[name, connection] = data[end:][-_KEPT:]

        return seen

    def of_head(self, name: str, lines: str) -> None:
        """The field lines of an answer about a stream."""
        fields = {}
        for line in lines.split("\r\n"):
            key, _, value = line.partition(":")
            fields[key.lower()] = value.strip()
        epoch, durable = fields.get("etag", "").strip('"'), fields.get("durable-offset")
        if epoch and durable is not None:
            self.note(name, epoch, int(durable), missing_of(fields.get("upload-missing", "")))


def missing_of(field: str) -> Ranges:
    """What an Upload-Missing field says: ``a-b, c-d``, the last positions inclusive."""
    found: Ranges = ()
    for first, last in re.findall(r"(\d+)-(\d+)", field):
        found = add(found, int(first), int(last) + 1)
    return found


class Watcher:
    """Asks a node again and again, in a thread of its own, over a connection that is made anew where it broke.

    ``port`` gives the node's port at that time, or None while there is none.
    """

    def __init__(self, port: Callable[[], int | None], names: Sequence[str], announcements: Announcements) -> None:
        self._port, self._names, self._announcements = port, names, announcements
        self._over = threading.Event()
        self.asked = 0
        self.faults: list[str] = []
        self._thread = threading.Thread(target=self._run, daemon=True, name="watcher")
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join(30)

    def _run(self) -> None:
        while not self._over.wait(EVERY):
            port = self._port()
            if port is None:
                continue
            try:
                with Peer(port) as peer:
                    while not self._over.wait(EVERY) and self._port() == port:
                        for name in self._names:
                            self._ask(peer, name)
            except (OSError, Cut):
                continue
            except Exception as error:
                self.faults.append(f"an answer that cannot be understood: {error!r}")
                return

    def _ask(self, peer: Peer, name: str) -> None:
        head = peer.call("HEAD", f"/{name}")
        said = "\r\n".join(f"{key}: {value}" for key, value in head.lines)
        if head.status == 200 and head.get("ETag") is not None:
            epoch = head.etag.strip('"')
            self._announcements.seen(name, epoch)
            self._announcements.current[name] = epoch
            self._announcements.of_head(name, said)
        described = peer.call("GET", f"/-/streams/{name}")
        if described.status == 200:
            stream = json.loads(described.body)
            if stream["durable_offset"] is not None:
                holes: Ranges = ()
                for start, end in stream["holes"]:
                    holes = add(holes, start, end)
                self._announcements.note(name, stream["epoch"], stream["durable_offset"], holes)
        self.asked += 1
