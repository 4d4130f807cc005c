"""What is played, kept in a file as it comes (``--record``): the same bytes, a file for each epoch.

Unlike a recorder's copy it has the holes that the live edge has; each is at a record's boundary, and decoders go on.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred

from sdp.consumer.output import PipeOutput
from sdp.consumer.writer import Writer
from sdp.errors import ConfigurationError, SDPError, StorageError
from sdp.net.attempts import Tell
from sdp.net.threads import DaemonPool

__all__ = ["Keeping"]

BACKLOG: Final = 64 << 20
"""Bytes that may wait for the disk; a disk that is slower than the stream ends the recording, not the playing."""


class Keeping:
    """Writes to ``file``, and from the second epoch on beside it (FILE-2.mp4). Raises ConfigurationError where the file
    exists already, or cannot be made."""

    def __init__(self, file: Path, reactor: Any, tell: Tell) -> None:
        self._file = file
        self._reactor = reactor
        self._tell = tell
        self._pool = DaemonPool(1, "sdp player writer")
        self._number = 1
        self._begun = False
        self._closing: list[Deferred[None]] = []
        self._writer: Writer | None = self._open(file)
        self._pool.start()

    def _open(self, file: Path) -> Writer:
        try:
            descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            raise ConfigurationError(f"--record: {file} exists already: name another file, or remove it.") from None
        except OSError as error:
            raise ConfigurationError(f"--record: {file} cannot be written: {error.strerror}.") from error
        writer = Writer(PipeOutput(descriptor), self._reactor, self._pool, BACKLOG)
        writer.on_failure = self._end
        return writer

    def begin(self) -> None:
        """Another epoch begins, or another place of this one: what follows goes into another file."""
        if not self._begun:
            return
        self._begun = False
        self._number += 1
        before, self._writer = self._writer, None
        if before is not None:
            self._closing.append(Deferred.fromCoroutine(self._close(before)))
        try:
            self._writer = self._open(self._file.with_name(f"{self._file.stem}-{self._number}{self._file.suffix}"))
        except SDPError as error:
            self._end(error)

    def write(self, data: bytes) -> None:
        """Bytes that were received."""
        writer = self._writer
        if writer is None:
            return
        self._begun = True
        writer.write(data)
        if writer.full:
            self._end(StorageError("The disk is slower than the stream."))

    def _end(self, error: SDPError) -> None:
        """The recording ends; playing goes on."""
        before, self._writer = self._writer, None
        if before is not None:
            self._tell.warn("The recording ends here: {detail}", detail=error.detail)

    async def _close(self, writer: Writer) -> None:
        try:
            await writer.close()
        except SDPError as error:
            self._tell.warn("The recording is not whole: {detail}", detail=error.detail)

    async def close(self) -> None:
        """Write what waits, and end."""
        if self._writer is not None:
            await self._close(self._writer)
        for each in self._closing:
            await each
        self._pool.stop()
