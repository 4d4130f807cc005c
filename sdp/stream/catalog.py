"""Which streams there are, and the life of each: names, epochs, and where one epoch follows another.

An epoch is one uninterrupted life of a log. A name has at most one current epoch, and past ones for as long as
something keeps them: the disk, or without a disk a small number in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from sdp.errors import StorageError
from sdp.stream.log import StreamLog
from sdp.stream.record import Flag, Record
from sdp.stream.withheld import Accepted, Withheld

__all__ = ["Catalog", "Epoch", "Framer", "Recording", "Stream"]


class Framer(Protocol):
    """The part of :class:`sdp.interfaces.IFramer` that an epoch's inlet uses."""

    @property
    def known(self) -> int: ...

    @property
    def content_type(self) -> str | None: ...

    def boundary(self, offset: int, capture_time: int | None = None, random_access: bool | None = None) -> None: ...
    def feed(self, data: bytes, received_time: int | None = None) -> list[Record]: ...
    def flush(self) -> list[Record]: ...


class Finishing(Protocol):
    """What a recording's end gives: it may fail."""

    def addErrback(self, call: Callable[[object], None], /) -> object: ...


class Recording(Protocol):
    """The part of :class:`sdp.interfaces.IRecording` that an epoch's inlet uses."""

    start: int
    end: int
    written: int
    durable: int
    failure: StorageError | None

    def append(self, data: bytes, records: list[Record]) -> None: ...
    def forget_implied(self) -> None: ...
    def finish(self) -> Finishing: ...


class Epoch:
    """One life of a stream: its identifier, its log, and what keeps it on disk.

    ``declared_type`` is the Content-Type that its sender gave, if it gave one. ``complete_length`` is the length that a
    sender has promised or, of an ended epoch, the one that it has.

    ``begin_recording`` makes the recording of a new epoch, once its media type, which it is given, is known: the type
    names the files.

    With ``after_sync`` bytes come to the log, and so to every outlet, only when the disk has them durably; where it
    fails, at once again. ``end`` and ``ended`` are what outlets see; ``accepted_end`` and ``closed`` are what an inlet
    goes by. Without it they are the same.
    """

    after_sync = False

    def __init__(
        self,
        name: str,
        identifier: str,
        log: StreamLog,
        framer: Framer,
        *,
        declared_type: str | None = None,
        recording: Recording | None = None,
        begin_recording: Callable[[str], Recording | None] | None = None,
    ) -> None:
        self.name = name
        self.id = identifier
        self.log = log
        self.framer = framer
        self.declared_type = declared_type
        self.recording = recording
        self._begin_recording = begin_recording
        if begin_recording is not None:
            log.hold_from = log.start
        self.complete_length: int | None = None
        self.last_arrival: int | None = None
        self._withheld = Withheld()
        self._last_records: list[Record] | None = None

    @property
    def content_type(self) -> str:
        """The media type: as declared, else as found in the first bytes."""
        return self.declared_type or self.framer.content_type or "application/octet-stream"

    @property
    def ended(self) -> bool:
        return self.log.finished

    @property
    def end(self) -> int:
        return self.log.end

    @property
    def accepted_end(self) -> int:
        """The offset after the last byte that was taken from a sender."""
        return self._withheld.end if self._withheld else self.log.end

    @property
    def closed(self) -> bool:
        """Whether nothing more is taken: the epoch has ended, or will once the disk has it."""
        return self.log.finished or self._last_records is not None

    @property
    def overfull(self) -> bool:
        """Whether more waits for the disk than the log's window, so that senders should pause."""
        return self._withheld.size > self.log.window

    def accepted(self, offset: int, length: int) -> bytes:
        """Bytes from ``offset`` on that were taken from a sender and are in memory. LookupError below the window."""
        end = offset + length
        pieces = self.log.read(offset, end=end) if offset < self.log.end else []
        return b"".join([*pieces, *self._withheld.read(max(offset, self.log.end), end)])

    @property
    def first_offset(self) -> int:
        """The first offset that can be given: from the disk where there is a recording, else from memory.

        Retention leaves what begins with a random access point; that counts, even where the memory has a little more.
        """
        recording = self.recording
        if recording is not None and recording.written >= self.log.start:
            return recording.start
        return self.log.start

    @property
    def recorded(self) -> bool:
        """Whether the disk has all of it, or will have."""
        return self.recording is not None and self.recording.failure is None

    @property
    def durable_offset(self) -> int | None:
        if self.recording is None:
            return None if self._begin_recording is None else 0
        return self.recording.durable

    def begin_body(self, capture_time: int | None, random_access: bool | None) -> None:
        """A body begins at the end of the log; its sender says this of its first record."""
        if random_access is not None:
            self.forget_implied()
        self.framer.boundary(self.accepted_end, capture_time, random_access)

    def forget_implied(self) -> None:
        """A sender has said ``Random-Access``: what is one by implication is none, in memory and on the disk."""
        self.log.forget_implied()
        if self.recording is not None:
            self.recording.forget_implied()

    def append(self, data: bytes, now: int) -> None:
        """The inlet: bytes go to the framer, to the disk's queue, and to the log, which tells the fan-out.

        ``now`` is the time of arrival in microseconds.
        """
        records = self.framer.feed(data, now)
        if self.log.explicit:
            records = [self.log.said_of(record) for record in records]
        self.last_arrival = now
        if self._begin_recording is not None and (self.declared_type is not None or self.framer.known > self.log.start):
            self._record()
        recording = self.recording
        if recording is not None:
            recording.append(data, records)
            self._hold(recording)
        if self.after_sync:
            self._withheld.put(Accepted(self.accepted_end + len(data), data, records, self.framer.known, now))
            self._release()
        else:
            self.log.append(data, records, self.framer.known, now)

    def _release(self) -> None:
        """Let the log have what is durable; all, where there is no disk that could make it so."""
        recording = self.recording
        if recording is None:
            up_to = None if self._begin_recording is None else 0
        else:
            up_to = None if recording.failure is not None else recording.durable
        for piece in self._withheld.release(up_to):
            self.log.append(piece.data, piece.records, piece.known, piece.now)
        if self._last_records is not None and not self._withheld:
            records, self._last_records = self._last_records, None
            self.log.finish(records)

    def _record(self) -> None:
        """Begin the recording, with the few bytes that came before the media type was known."""
        begin, self._begin_recording = self._begin_recording, None
        assert begin is not None
        self.recording = begin(self.content_type)
        if self.recording is None:
            self.log.hold_from = None
            return
        if self.log.explicit:
            self.recording.forget_implied()
        if self.accepted_end > self.log.start:
            self.recording.append(self.accepted(self.log.start, self.accepted_end - self.log.start), [])

    def finish(self) -> None:
        """The epoch ends at the end of what was accepted. Said again, nothing happens."""
        if self.closed:
            return
        records = self.framer.flush()
        self.complete_length = self.accepted_end
        if self._begin_recording is not None:
            self._record()
        if self.recording is not None:
            if records:
                self.recording.append(b"", records)
            # Where the disk fails, ``failure`` says so, to whoever asks.
            self.recording.finish().addErrback(lambda failed: None)
        self._last_records = records
        self._release()

    def stored(self) -> None:
        """The disk has more, or has failed: what it holds, or never will, may leave the memory. Or it keeps less: what
        it has given up leaves the memory, too."""
        if self.recording is not None:
            self._hold(self.recording)
            self._release()
            self.log.evict(self.recording.start)

    def _hold(self, recording: Recording) -> None:
        """Keep in memory what the disk is going to have. Where it failed there is nothing to wait for."""
        self.log.hold_from = None if recording.failure is not None else recording.written

    def join_point(self) -> Record | None:
        """Return the newest random access point that can still be given, if there is one."""
        newest = self.log.newest(Flag.RANDOM_ACCESS)
        return newest if newest is not None and newest.offset >= self.first_offset else None


class Stream:
    """A name, its current epoch, and the past ones that are kept (oldest first)."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.current: Epoch | None = None
        self.past: dict[str, Epoch] = {}

    @property
    def epochs(self) -> list[Epoch]:
        """All that are kept, oldest first."""
        return [*self.past.values(), *([] if self.current is None else [self.current])]

    def epoch(self, identifier: str | None) -> Epoch | None:
        """Return the epoch of that identifier, or the current one for None."""
        if identifier is None or (self.current is not None and self.current.id == identifier):
            return self.current
        return self.past.get(identifier)


class Catalog:
    """All streams by name.

    ``keep_unrecorded`` past epochs of a name stay where no disk has them; those on disk stay until they are removed.
    """

    def __init__(self, keep_unrecorded: int = 1) -> None:
        self.keep_unrecorded = keep_unrecorded
        self._streams: dict[str, Stream] = {}
        self.on_begin: Callable[[Epoch], None] | None = None

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[Stream]:
        return iter(self._streams.values())

    def get(self, name: str) -> Stream | None:
        return self._streams.get(name)

    def current(self, name: str) -> Epoch | None:
        stream = self._streams.get(name)
        return None if stream is None else stream.current

    def begin(self, epoch: Epoch) -> None:
        """Make ``epoch`` its name's current one; an open one before it ends."""
        stream = self._streams.setdefault(epoch.name, Stream(epoch.name))
        before = stream.current
        if before is not None:
            before.finish()
            stream.past[before.id] = before
            if before.recorded:
                before.log.window = 0
                before.stored()
            unrecorded = [old for old in stream.past.values() if not old.recorded]
            for old in unrecorded[: max(len(unrecorded) - self.keep_unrecorded, 0)]:
                del stream.past[old.id]
        stream.current = epoch
        if self.on_begin is not None:
            self.on_begin(epoch)

    def forget(self, name: str) -> Stream | None:
        """Forget a name, and leave its epochs as they are. Return what was forgotten."""
        return self._streams.pop(name, None)

    def remove(self, name: str) -> Stream | None:
        """Forget a name; its epochs end. Return what was forgotten."""
        stream = self.forget(name)
        if stream is not None and stream.current is not None:
            stream.current.finish()
        return stream
