"""The nodes of a torture run: each role with the process that plays it now; how it is started and looked after."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.system.processes import Distributor, Process
from tests.system.programs import in_foreground
from tests.system.torture.disks import Disk, Tmpfs
from tests.system.torture.judge import covers, spans, subtract, whole_of
from tests.system.torture.watch import missing_of

if TYPE_CHECKING:
    from tests.system.torture.scene import Scene

__all__ = [
    "PATIENCE",
    "PATTERN",
    "DistributorNode",
    "Node",
    "OriginNode",
    "RecorderNode",
    "RelayNode",
    "Source",
    "Trouble",
    "epoch_of",
    "note_of",
]

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
        # A signal that comes while a role leaves by itself makes Twisted complain that nothing runs any more.
        late = any("error.ReactorNotRunning" in line for line in process.lines)
        if (faults := process.faults()) and not (late and sum("Traceback" in line for line in process.lines) == 1):
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
