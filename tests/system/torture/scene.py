"""The scene of a torture run: its nodes, the lines between them, and what lies on the disks at its end."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from tests.system.client import Cut
from tests.system.processes import Distributor
from tests.system.proxy import Line
from tests.system.torture.judge import Copy, Extent
from tests.system.torture.nodes import (
    PATIENCE,
    DistributorNode,
    Node,
    OriginNode,
    RecorderNode,
    RelayNode,
    Source,
    Trouble,
    note_of,
)
from tests.system.torture.schedule import Setting
from tests.system.torture.watch import Announcements, Watcher

__all__ = ["Scene", "copy_of", "stored"]


class NamedLine(Line):
    """A line that knows which nodes it joins."""

    name = ""


class Scene:
    """All of it. ``streams`` gives each stream's name with the options that choose its source; ``ending`` are those of
    a source that ends."""

    def __init__(
        self, directory: Path, streams: dict[str, Source], ending: Source, setting: Setting, seed: int
    ) -> None:
        self.directory, self.streams, self.ending, self.setting = directory, streams, ending, setting
        self.announcements = Announcements()
        self.lines: dict[str, NamedLine] = {}
        self.doubtful: set[tuple[str, str]] = set()
        """Epochs of which the Distributor's disk took no more for a time: what it had not announced may be lost."""
        self.excuses: list[tuple[str, str, str]] = []
        """Recorders that left because a stream's epoch is not kept whole: who, the stream, the epoch."""
        self._over = threading.Event()
        self._ending = ExitStack()
        self.watchers: list[Watcher] = []
        between = ["distributor>relay"]
        for name in streams:
            between += [f"origin>distributor of {name}", f"relay>recorder of {name}", f"distributor>recorder of {name}"]
        for number, each in enumerate(between):
            tap = self.announcements.tap(each.rpartition(" ")[2]) if each.startswith("origin>") else None
            line = NamedLine(None, seed=seed * 100 + number, tap=tap)
            line.name = each
            self._ending.callback(line.close)
            self.lines[each] = line
        self.distributor = DistributorNode(self, directory / "distributor", setting.distributor)
        self.relay = RelayNode(self, directory / "relay", ("--memory", setting.memory))
        self.origins = {
            name: OriginNode(self, name, directory / f"origin-{name}", source) for name, source in streams.items()
        }
        self.recorders = [
            RecorderNode(self, name, place, directory / f"recorder-{name}-{place}")
            for name in streams
            for place in ("relay", "distributor")
        ]
        self.nodes: dict[str, Node] = {
            node.name: node for node in (self.distributor, self.relay, *self.origins.values(), *self.recorders)
        }

    def line(self, name: str) -> NamedLine:
        return self.lines[name]

    def __enter__(self) -> Scene:
        return self

    def __exit__(self, *exc: object) -> None:
        for watcher in self.watchers:
            watcher.close()
        for node in self.nodes.values():
            with suppress(Trouble):
                node.send(signal.SIGCONT)
                node.kill()
            node.disk.close()
        self._ending.close()

    def start(self) -> None:
        """Begin with everything, and wait until the streams have come all the way."""
        for node in self.nodes.values():
            node.start()
        self.watchers.append(Watcher(lambda: self.distributor.port, list(self.streams), self.announcements))
        self.watchers.append(Watcher(lambda: self.relay.port, list(self.streams), self.announcements))
        self.goes_on()

    # -- while it runs -----------------------------------------------------------------------------------------

    def pause(self, seconds: float) -> None:
        """Let it run for so long."""
        self.until(lambda: False, "", seconds)

    def until(self, holds: Callable[[], Any], what: str, limit: float | None = None) -> None:
        """Look after all nodes until something holds; with a ``limit`` no longer than that, else it has to come."""
        deadline = time.monotonic() + (PATIENCE if limit is None else limit)
        while True:
            for node in self.nodes.values():
                if not node.down:
                    node.tend()
            for watcher in self.watchers:
                if watcher.faults:
                    raise Trouble(f"The watcher has met {watcher.faults[0]}")
            if holds():
                return
            left = deadline - time.monotonic()
            if left <= 0:
                if limit is None:
                    raise Trouble(f"{what} did not come about in {PATIENCE:.0f} s.")
                return
            self._over.wait(min(0.02, left))

    def goes_on(self) -> None:
        """Wait until every recorder has got more than it has now."""
        marks = {recorder.name: recorder.mark() for recorder in self.recorders}

        def behind() -> list[str]:
            return [each.name for each in self.recorders if each.mark() <= marks[each.name]]

        try:
            self.until(lambda: not behind(), "more")
        except Trouble as trouble:
            if behind() and "did not come about" in str(trouble):
                raise Trouble(f"Nothing more has come to {' and '.join(behind())} in {PATIENCE:.0f} s.") from None
            raise

    def doubt(self, since: dict[str, int]) -> None:
        """The Distributor's disk has failed: for the epochs that came after ``since``, how many each stream had had."""
        for name in self.streams:
            epochs = self.announcements.epochs(name)
            self.doubtful |= {(name, epoch) for epoch in epochs[max(0, since[name] - 1) :]}

    def records_again(self) -> bool:
        """Whether no stream is without its recording, as the Distributor says."""
        server = self.distributor.process
        if not isinstance(server, Distributor):
            return False
        try:
            answers = [server.call("GET", f"/-/streams/{name}") for name in self.streams]
        except (OSError, Cut):
            return False
        return all(json.loads(each.body).get("recording") != "failed" for each in answers)

    def epochs_so_far(self) -> dict[str, int]:
        """How many epochs each stream has had."""
        return {name: len(self.announcements.epochs(name)) for name in self.streams}

    # -- its end -----------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Let every source end and every recorder have all of it.

        What never ends by itself is followed by something that does: whoever plays that delivers first what the life
        before it has left, to its last byte.
        """
        for line in self.lines.values():
            line.heal()
        for origin in self.origins.values():
            origin.last_run = True
            if origin.source != self.ending:
                self.goes_on()
                origin.end()
                origin.source = self.ending
                origin.start()
        self.until(lambda: not any(origin.runs for origin in self.origins.values()), "the end of every Origin")
        self.until(lambda: all(recorder.has_newest for recorder in self.recorders), "the end of every recorder")

    def leave(self) -> list[str]:
        """End all that still runs, in order; return what was wrong with that, or with what somebody had said."""
        wrong = []
        for node in self.nodes.values():
            try:
                node.end()
            except Trouble as trouble:
                wrong.append(str(trouble))
        return wrong


# -- what lies on the disks ----------------------------------------------------------------------------------------


def stored(directory: Path) -> list[tuple[str, tuple[Extent, ...]]]:
    """The epochs below a store's directory, with their bytes: each content file is named by its first byte's offset,
    and ends where the next one begins at the latest."""
    found = []
    for description in sorted(directory.rglob("epoch.json")):
        files = sorted(
            file
            for file in description.parent.iterdir()
            if file.suffix not in (".index", ".json", ".new", ".initialization") and file.with_suffix(".index").exists()
        )
        firsts = [int(file.stem) for file in files]
        extents = []
        for file, first, following in zip(files, firsts, [*firsts[1:], None], strict=True):
            data = file.read_bytes()
            extents.append(Extent(first, data if following is None else data[: following - first]))
        epoch = description.parent.name.removeprefix("@")
        found.append((epoch, tuple(each for each in extents if each.data)))
    return found


def copy_of(recorder: RecorderNode, output: Path) -> Copy | None:
    """A recorder's file: it says itself where it begins."""
    note = note_of(output)
    if not note or not output.exists():
        return None
    first, head = note["first"], note.get("head", 0)
    return Copy(recorder.name, (Extent(first, output.read_bytes()[head:]),), not first and output in recorder.complete)
