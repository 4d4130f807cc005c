"""The nodes of a torture run and the lines between them: started, looked after, started again, and read at the end."""

from __future__ import annotations

import json
import signal
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from tests.system.client import Cut
from tests.system.processes import Distributor, Process
from tests.system.programs import in_foreground
from tests.system.proxy import Line
from tests.system.torture.disks import Disk, Tmpfs
from tests.system.torture.judge import Copy, Extent, covers, spans, subtract, whole_of
from tests.system.torture.schedule import Setting
from tests.system.torture.watch import Announcements, Watcher, missing_of

__all__ = ["Node", "OriginNode", "RecorderNode", "Scene", "Trouble"]

PATIENCE = 150.0
"""How long anything may take on a machine that is busy, in seconds, before it counts as never."""

SOON = ("--retry-first", "50ms", "--retry-most", "500ms")

CUT_SHORT = "whoever sent the rest could not keep it"
"""What a recorder says that has more of an epoch than there is anywhere else."""

MISSING = "Nobody who was asked has the bytes"
"""What a recorder says of a hole that nobody fills: in order only where the disk failed."""

NOT_KEPT = "is kept no more"
"""What a recorder says where bytes are gone before it had them: in order only where the disk failed."""

Source = tuple[str | Path, ...]

PATTERN: Source = ("--source", "test", "--size", "160x120", "--rate", "30")


class Trouble(Exception):
    """What must not happen has happened; the message is a sentence."""


class Node:
    """One role of the scene, with the process that plays it now. ``directory`` is its own."""

    def __init__(self, scene: Scene, name: str, directory: Path) -> None:
        self.scene, self.name, self.directory = scene, name, directory
        directory.mkdir(parents=True, exist_ok=True)
        self.disk = Disk(directory)
        self.written = directory
        """What may vanish."""
        self.process: Process | None = None
        self.starts = 0
        self.down = False
        """It was killed, and is to stay so for a while."""
        self.wounded = False
        """Its disk has failed since it was started: it may leave because of that."""

    @property
    def runs(self) -> bool:
        return self.process is not None and self.process.process.poll() is None

    def start(self) -> None:
        assert self.process is None, f"{self.name} runs"
        self.down = False
        self.starts += 1
        self.wounded = False
        try:
            self.process = self._make()
        except AssertionError as error:
            raise Trouble(f"{self.name} does not start: {error}") from error

    def _make(self) -> Process:
        raise NotImplementedError

    def tend(self) -> None:
        """Look after it: what has ended by itself is begun again, where that is in order."""

    def send(self, number: signal.Signals) -> None:
        if self.process is not None and self.runs:
            self.process.process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL. What it said before is still looked at."""
        if self.process is not None:
            process, self.process = self.process, None
            process.kill()
            self._bury(process)

    def end(self) -> None:
        """SIGTERM, and its end."""
        if self.process is not None:
            process, self.process = self.process, None
            if process.process.poll() is None:
                process.terminate()
            try:
                process.wait(PATIENCE)
            except Exception as error:
                process.kill()
                self._bury(process)
                raise Trouble(f"{self.name} does not end on SIGTERM.") from error
            self._bury(process)

    def _bury(self, process: Process) -> None:
        """Keep what it has said, and complain about what it should not have said."""
        with (self.scene.directory / f"{self.name.replace(' ', '-')}.log").open("a") as log:
            log.write(f"-- start {self.starts}\n" + "\n".join(process.lines) + "\n")
        if faults := process.faults():
            raise Trouble(f"{self.name} has met a fault of its own: {faults[0]}")

    def left(self) -> int | None:
        """The status with which it has left by itself, None while it runs; the process is then no more."""
        if self.process is None or self.process.process.poll() is None:
            return None
        process, self.process = self.process, None
        status = process.wait(PATIENCE)
        self._bury(process)
        self.last_words = process.lines[-4:]
        return status


class DistributorNode(Node):
    """The Distributor with its store, reached over lines alone: each life has a port of its own."""

    def __init__(self, scene: Scene, directory: Path, options: Sequence[str]) -> None:
        super().__init__(scene, "distributor", directory)
        if scene.setting.disk == "tmpfs":
            with suppress(OSError):
                self.disk = Tmpfs(directory)
        self.store = self.written = directory / "store"
        self.store.mkdir()
        self._options = options

    @property
    def port(self) -> int | None:
        return self.process.port if isinstance(self.process, Distributor) else None

    def _make(self) -> Process:
        """Nobody posts before it has been seen that it came back with all that it had announced."""
        posting = [self.scene.line(f"origin>distributor of {name}") for name in self.scene.streams]
        for line in posting:
            line.upstream = None
        begun = Distributor(*self._options, store=self.store, start_limit=PATIENCE)
        for line in self.scene.lines.values():
            if line.name.startswith("distributor>"):
                line.upstream = begun.port
        try:
            self._check_kept(begun)
        except BaseException:
            begun.kill()
            raise
        for line in posting:
            line.upstream = begun.port
        return begun

    def _check_kept(self, begun: Distributor) -> None:
        announcements = self.scene.announcements
        with begun.peer() as peer:
            for name in self.scene.streams:
                for epoch in announcements.epochs(name)[-4:]:
                    required = announcements.required(name, epoch)
                    if not required:
                        continue
                    head = peer.call("HEAD", f"/{name}?epoch={epoch}")
                    end = head.end if head.status == 200 else 0
                    held = subtract(whole_of(end), missing_of(head.get("Upload-Missing") or ""))
                    if not covers(held, required):
                        raise Trouble(
                            f"The Distributor has come back with {spans(held)} of {name}, epoch {epoch} (status"
                            f" {head.status}), and had announced {spans(required)} as durable."
                        )


class RelayNode(Node):
    """A relay of the Distributor."""

    def __init__(self, scene: Scene, directory: Path, options: Sequence[str]) -> None:
        super().__init__(scene, "relay", directory)
        self._options = options

    @property
    def port(self) -> int | None:
        return self.process.port if isinstance(self.process, Distributor) else None

    def _make(self) -> Process:
        upstream = f"http://127.0.0.1:{self.scene.line('distributor>relay').port}"
        begun = Distributor("--upstream", upstream, *self._options, start_limit=PATIENCE)
        for line in self.scene.lines.values():
            if line.name.startswith("relay>"):
                line.upstream = begun.port
        return begun


class OriginNode(Node):
    """The Origin of one stream: of the pattern, which never ends, or of a file, which is played again and again."""

    def __init__(self, scene: Scene, stream: str, directory: Path, source: Source) -> None:
        super().__init__(scene, f"origin of {stream}", directory)
        self.stream, self.source = stream, source
        self.store = self.written = directory / "store"
        self.store.mkdir()
        self.deliveries = 0
        """How often its source was delivered to its last byte."""
        self.last_run = False

    def _make(self) -> Process:
        to = f"http://127.0.0.1:{self.scene.line(f'origin>distributor of {self.stream}').port}/{self.stream}"
        return Process(
            *in_foreground("origin", *self.source, "--store", self.store, "--sync", "100ms", "--to", to, *SOON),
            cwd=self.directory,
        )

    def tend(self) -> None:
        status = self.left()
        if status is None:
            return
        if status:
            raise Trouble(f"{self.name} has left with {status}: {' / '.join(self.last_words)}")
        self.deliveries += 1
        if not self.last_run:
            self.start()


class RecorderNode(Node):
    """Copies one epoch of a stream after the other, each to a file of its own, from a relay or the Distributor."""

    def __init__(self, scene: Scene, stream: str, place: str, directory: Path) -> None:
        super().__init__(scene, f"recorder of {stream} at {place}", directory)
        self.stream, self.place = stream, place
        self.outputs: list[Path] = []
        self.complete: set[Path] = set()
        self.cut_short: set[Path] = set()
        """Copies of epochs that ended before the copy's end: nobody else has the rest."""

    @property
    def waits(self) -> bool:
        """Whether it has all of its epoch, and waits for the next one."""
        return bool(self.outputs) and self.outputs[-1] in self.complete | self.cut_short

    def _make(self) -> Process:
        if not self.outputs:
            self._begin_file()
        url = f"http://127.0.0.1:{self.scene.line(f'{self.place}>recorder of {self.stream}').port}/{self.stream}"
        return Process(
            *in_foreground("consumer", "--from", url, "--output", self.outputs[-1], *SOON), cwd=self.scene.directory
        )

    def _begin_file(self) -> None:
        self.outputs.append(self.directory / f"copy{len(self.outputs) + 1}")

    @property
    def epoch(self) -> str | None:
        """Of which epoch its newest file is a copy."""
        return epoch_of(self.outputs[-1]) if self.outputs else None

    def tend(self) -> None:
        if self.process is None:
            # Between two copies: the next one begins with the next epoch.
            current = self.scene.announcements.current.get(self.stream)
            if self.waits and current not in (None, self.epoch):
                self._begin_file()
                self.start()
            return
        wounded, status = self.wounded, self.left()
        if status is None:
            return
        if status == 0:
            self.complete.add(self.outputs[-1])
        elif any(CUT_SHORT in line for line in self.last_words):
            self.cut_short.add(self.outputs[-1])
        elif any(MISSING in line for line in self.last_words):
            self.scene.excuses.append((self.name, self.stream, self.epoch or ""))
            if self.epoch == self.scene.announcements.current.get(self.stream):
                self.start()
            else:
                self.cut_short.add(self.outputs[-1])
        elif any(NOT_KEPT in line for line in self.last_words):
            # What is there of it is worth another copy, which begins where it can.
            self.scene.excuses.append((self.name, self.stream, self.epoch or ""))
            self._begin_file()
            self.start()
        elif wounded:
            self.start()
        else:
            raise Trouble(f"{self.name} has left with {status}: {' / '.join(self.last_words)}")

    @property
    def has_newest(self) -> bool:
        """Whether there is nothing more to copy."""
        return not self.runs and self.waits and self.epoch == self.scene.announcements.current.get(self.stream)

    def mark(self) -> tuple[int, int]:
        """How far it is: more than before is progress."""
        if not self.outputs:
            return 0, 0
        over = len(self.outputs) + len(self.complete) + len(self.cut_short)
        with suppress(OSError):
            return over, self.outputs[-1].stat().st_size
        return over, 0


def note_of(output: Path) -> dict[str, Any]:
    """What the note beside a copy says; nothing where there is none yet."""
    try:
        note: dict[str, Any] = json.loads(output.with_name(output.name + ".sdp").read_text())
    except (OSError, ValueError):
        return {}
    return note


def epoch_of(output: Path) -> str | None:
    """The epoch that the note beside a copy names."""
    note = note_of(output)
    return str(note["epoch"]).strip('"') if note else None


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
