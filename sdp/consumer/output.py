"""Where a copy's bytes go: a file with a note beside it, or standard output. Blocking; used in a writer's thread.

The note (``FILE.sdp``, JSON) says of which epoch the file is a copy, so that a recorder that was stopped, or killed,
goes on at the file's end, and never mixes the bytes of two epochs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar
from typing import Protocol as Shape

import attrs

from sdp.errors import StorageError

__all__ = ["FileOutput", "Output", "OutputFault", "PipeOutput", "Progress"]

Result = TypeVar("Result")

NOTE_VERSION = 1
HEADED_NOTE_VERSION = 2
"""Of a copy that begins with bytes from elsewhere: who does not know of them must not go on with it."""
_WRITE_AT_ONCE = 512
"""How many pieces go into one writev(2): below every system's IOV_MAX."""


class OutputFault(StorageError):
    """The disk does not take it now: it is full, fails, or its folder is gone. It may be mended."""


@attrs.frozen(kw_only=True)
class Progress:
    """How far a copy is: of which epoch (its entity tag), from which offset on, up to where. ``head`` is how many bytes
    from elsewhere in the epoch it begins with: the initialization segment, where the copy begins later."""

    epoch: str | None = None
    first: int = 0
    end: int = 0
    complete: bool = False
    head: int = 0

    @property
    def length(self) -> int:
        """How long the copy is, in bytes."""
        return self.head + self.end - self.first


class Output(Shape):
    """Takes one epoch's bytes in order. Every method may block, and raises StorageError, or an OutputFault where it may
    help to open it again later."""

    def open(self) -> Progress:
        """Return how far an earlier run came."""

    def begin(self, epoch: str, first: int, head: bytes = b"") -> None:
        """The copy is of this epoch, and begins with ``head`` and then the byte at offset ``first``."""

    def write(self, pieces: Sequence[bytes]) -> None: ...

    def complete(self) -> None:
        """The epoch has ended and all of it was written: return once that is durable."""

    def close(self) -> None:
        """May be opened again."""


def _boot() -> str:
    """Which run of the machine this is; empty where the system does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return ""


def _write_all(descriptor: int, pieces: Sequence[bytes]) -> None:
    for at in range(0, len(pieces), _WRITE_AT_ONCE):
        batch = pieces[at : at + _WRITE_AT_ONCE]
        size = sum(map(len, batch))
        written = os.writev(descriptor, batch)
        if written < size:  # a full pipe, a signal, a disk that fills: the rest byte for byte
            rest = memoryview(b"".join(batch))[written:]
            while rest:
                rest = rest[os.write(descriptor, rest) :]


class FileOutput:
    """A copy in a file.

    What a process wrote survives its death, for the system holds it; what a machine wrote survives its own only if it
    was synced. The note therefore carries the run of the machine and the length that was synced: in the same run
    the file's length counts, in a later one the synced length.

    ``sync`` is how long bytes may wait to be made durable, in seconds; None leaves it to the system until the copy is
    complete, or closed.
    """

    def __init__(self, file: Path, sync: float | None, monotonic: Callable[[], float]) -> None:
        self.file = file
        self.note_file = file.with_name(file.name + ".sdp")
        self._sync_after = sync
        self._monotonic = monotonic
        self._synced_at = monotonic()
        self._descriptor = -1
        self._unsure = False
        """A sync has failed: what it was to make durable may never get there, whatever a later one says."""
        self._progress = Progress()

    def open(self) -> Progress:
        self._progress = Progress()
        try:
            return self._guarded(self._open)
        except OutputFault:
            self._give_back()
            raise

    def _open(self) -> Progress:
        note = self._read_note()
        if note is None and self.file.exists() and self.file.stat().st_size:
            raise StorageError(
                f"{self.file} exists and is no copy that could be continued (there is no {self.note_file.name}):"
                " name another file, or remove it."
            )
        self._descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        if note is None:
            return self._progress
        length = os.fstat(self._descriptor).st_size
        synced = note["synced"]
        if length < synced:
            raise StorageError(f"{self.file} is shorter than {self.note_file.name} says: remove both to begin anew.")
        if note["boot"] != _boot() or not note["boot"] or self._unsure:
            os.ftruncate(self._descriptor, synced)
            length = synced
        self._unsure = False
        first, head = note["first"], note.get("head", 0)
        if length < head:  # not even what it begins with is whole
            os.ftruncate(self._descriptor, 0)
            return self._progress
        end = first + length - head
        self._progress = Progress(epoch=note["epoch"], first=first, end=end, complete=note["complete"], head=head)
        return self._progress

    def _read_note(self) -> dict[str, Any] | None:
        try:
            note = json.loads(self.note_file.read_text("utf-8"))
        except FileNotFoundError:
            return None
        except ValueError:
            note = None
        kinds = {"version": int, "epoch": str, "first": int, "synced": int, "boot": str, "complete": bool}
        if not isinstance(note, dict) or any(not isinstance(note.get(key), kind) for key, kind in kinds.items()):
            raise StorageError(f"{self.note_file} cannot be read: remove it and {self.file.name} to begin anew.")
        if note["version"] == HEADED_NOTE_VERSION and not isinstance(note.get("head"), int):
            raise StorageError(f"{self.note_file} cannot be read: remove it and {self.file.name} to begin anew.")
        if note["version"] not in (NOTE_VERSION, HEADED_NOTE_VERSION):
            raise StorageError(f"{self.note_file} was written by another version of this program.")
        return note

    def _write_note(self) -> None:
        progress = self._progress
        note = {
            "version": HEADED_NOTE_VERSION if progress.head else NOTE_VERSION,
            "epoch": progress.epoch,
            "first": progress.first,
            "synced": progress.length,
            "boot": _boot(),
            "complete": progress.complete,
        }
        if progress.head:
            note["head"] = progress.head
        new = self.note_file.with_name(self.note_file.name + ".new")
        with new.open("w", encoding="utf-8") as file:
            json.dump(note, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.note_file)
        directory = os.open(self.file.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def begin(self, epoch: str, first: int, head: bytes = b"") -> None:
        # The note first, or else a kill between would leave a file that nobody knows; it says that nothing is synced.
        self._progress = Progress(epoch=epoch, first=first, end=first - len(head), head=len(head))
        try:
            self._guarded(self._write_note)
        except StorageError:
            self._progress = Progress()
            raise
        if head:
            self.write([head])

    def write(self, pieces: Sequence[bytes]) -> None:
        if self._progress.epoch is None:
            # What was queued behind a begin that failed: without a note nobody could go on with it.
            raise OutputFault(f"{self.file} is left empty: {self.note_file.name} could not be written.")
        self._guarded(lambda: _write_all(self._descriptor, pieces))
        end = self._progress.end + sum(map(len, pieces))
        self._progress = attrs.evolve(self._progress, end=end)
        if self._sync_after is not None and self._monotonic() - self._synced_at >= self._sync_after:
            self._guarded(self._sync)

    def _sync(self) -> None:
        if not os.fstat(self._descriptor).st_nlink:
            raise StorageError(f"{self.file} was removed while it was written. Started again, the copy begins anew.")
        try:
            os.fsync(self._descriptor)
        except OSError:
            self._unsure = True
            raise
        self._write_note()
        self._synced_at = self._monotonic()

    def complete(self) -> None:
        self._progress = attrs.evolve(self._progress, complete=True)
        self._guarded(self._sync)

    def close(self) -> None:
        if self._descriptor < 0:
            return
        try:
            if self._progress.epoch is not None and not self._progress.complete and not self._unsure:
                self._guarded(self._sync)
        finally:
            self._give_back()

    def _give_back(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _guarded(self, work: Callable[[], Result]) -> Result:
        try:
            return work()
        except OSError as error:
            raise OutputFault(f"{self.file} cannot be written: {error.strerror}.") from error


class PipeOutput:
    """A copy into a pipe, such as standard output: nothing is remembered. ``descriptor`` is closed at the end."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def open(self) -> Progress:
        return Progress()

    def begin(self, epoch: str, first: int, head: bytes = b"") -> None:
        if head:
            self.write([head])

    def write(self, pieces: Sequence[bytes]) -> None:
        try:
            _write_all(self._descriptor, pieces)
        except BrokenPipeError as error:
            raise StorageError("Nobody reads the output any more.") from error
        except OSError as error:
            raise StorageError(f"The output cannot be written: {error.strerror}.") from error

    def complete(self) -> None:
        pass

    def close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
