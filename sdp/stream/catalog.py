"""Which streams there are, and the life of each: names, epochs, and where one epoch follows another.

An epoch is one uninterrupted life of a log. A name has at most one current epoch, and past ones for as long as
something keeps them: the disk, or without a disk a small number in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from sdp.errors import StorageError
from sdp.stream.holes import Filling, Interval, hole_at, without
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


NewFramer = Callable[[str | None, int, bytes], Framer]
"""Makes a framer of a content type's bytes from an offset on, given the initialization segment before it."""


class Finishing(Protocol):
    """What a recording's end gives: it may fail."""

    def addErrback(self, call: Callable[[object], None], /) -> object: ...


class Recording(Protocol):
    """The part of :class:`sdp.interfaces.IRecording` that an epoch's inlet uses."""

    start: int
    end: int
    written: int
    durable: int
    unsettled: int | None
    holes: tuple[Interval, ...]
    missing: tuple[Interval, ...]
    failure: StorageError | None

    def append(self, data: bytes, records: list[Record]) -> None: ...
    def skip_to(self, offset: int) -> None: ...
    def fill(self, offset: int, data: bytes, records: list[Record], taken: bytes = b"") -> None: ...
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

    ``new_framer`` makes the framer of what comes after a hole, or fills one, from its content type, the offset, and the
    initialization segment before it. ``whole`` is whether the last body came to its end: where the log ends a record
    ends then, too. ``filling`` is the hole that is being filled.
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
        new_framer: NewFramer | None = None,
    ) -> None:
        self.name = name
        self.id = identifier
        self.log = log
        self.framer = framer
        self.declared_type = declared_type
        self.recording = recording
        self.new_framer = new_framer
        self.whole = False
        self.filling: Filling | None = None
        self._skipped_to: int | None = None
        self._jumped: Interval | None = None
        self._whole_ends: set[int] = set()
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
        if self._skipped_to is not None:
            return self._skipped_to
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
        if recording is not None and (recording.written >= self.log.start or recording.end > recording.start):
            return recording.start
        return self.log.start

    @property
    def recorded(self) -> bool:
        """Whether the disk has all of it, or will have."""
        return self.recording is not None and self.recording.failure is None

    @property
    def durable_offset(self) -> int | None:
        """The greatest offset below which a loss of power would leave all that is held; None where there is no disk."""
        recording = self.recording
        if recording is None:
            return None if self._begin_recording is None else 0
        unsettled = recording.unsettled
        return recording.durable if unsettled is None else min(recording.durable, unsettled)

    # -- holes -------------------------------------------------------------------------------------------------

    @property
    def holes(self) -> tuple[Interval, ...]:
        """What cannot be read between ``first_offset`` and ``end``.

        Without a disk there are none, since the log begins anew after each.
        """
        recording, start = self.recording, self.log.start
        if recording is None:
            return ()
        holes = recording.holes
        if recording.failure is not None and recording.start < recording.written < start:
            holes = (*holes, (recording.written, start))
        return without(holes, start, self.log.end) if holes else ()

    @property
    def missing(self) -> tuple[Interval, ...]:
        """What no sender has brought yet of what lies between: as ``holes``, but for what is on its way to the disk."""
        recording = self.recording
        if recording is None or recording.failure is not None:
            return self.holes
        return recording.missing

    def hole_at(self, offset: int) -> Interval | None:
        """Return the hole that ``offset`` lies in, for a reader that stands there. Without a disk: what the log has
        jumped over, for whoever stood at its end."""
        if offset >= self.log.start:
            return None
        if self.recording is not None:
            return hole_at(self.holes, offset)
        jumped = self._jumped
        return (
            (offset, jumped[1]) if jumped is not None and offset <= jumped[0] and jumped[1] == self.log.start else None
        )

    def missing_at(self, offset: int) -> Interval | None:
        """Return the hole that a sender may fill, and that ``offset`` lies in."""
        return hole_at(self.missing, offset)

    def ends_whole(self, offset: int) -> bool:
        """Whether a record is known to end at ``offset``, where a hole begins."""
        return offset in self._whole_ends

    @property
    def decodable(self) -> bool:
        """Whether the first initialization segment, if there is one, is here to its end."""
        record = self.log.initialization_before(self.log.end)
        if record is None:
            return self.log.known > 0
        return self.whole or self.log.record_end(record) is not None

    def skip_to(self, offset: int) -> None:
        """Leave a hole: the next bytes come at ``offset``, past the end of what was accepted."""
        assert self.new_framer is not None
        end = self.accepted_end
        if self._begin_recording is not None:
            self._record()
        initialization = self._initialization()
        if self.whole:
            self._whole_ends.add(end)
        self._jumped = (end, offset)
        self.framer = self.new_framer(self.declared_type or self.framer.content_type, offset, initialization)
        if self.recording is not None:
            self.recording.skip_to(offset)
        self._skipped_to = offset

    def _initialization(self) -> bytes:
        """The newest initialization segment, as far as it is in memory."""
        log = self.log
        record = log.initialization_before(log.end)
        if record is None:
            return b""
        data = log.initialization(record)
        if data is None and record.offset >= log.start:
            data = b"".join(log.read(record.offset))  # it is the last record, and the body that brought it was whole
        return data or b""

    def fill(self, data: bytes, now: int) -> None:
        """Put bytes at the front of the hole that is being filled, and no further than its end."""
        filling, recording = self.filling, self.recording
        assert filling is not None
        assert recording is not None
        records = [self.log.said_of(record) for record in filling.framer.feed(data, now)]
        recording.fill(filling.position, data, records, filling.taken)
        filling.position += len(data)
        filling.taken = b""
        self.last_arrival = now
        if self.missing_at(filling.position) is None:
            rest = [self.log.said_of(record) for record in filling.framer.flush()]
            recording.fill(filling.position, b"", rest)
            self.filling = None

    # -- the inlet ---------------------------------------------------------------------------------------------

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
        piece = Accepted(self.accepted_end + len(data), data, records, self.framer.known, now)
        self._skipped_to = None
        if self.after_sync:
            self._withheld.put(piece)
            self._release()
        else:
            self._show(piece)

    def _show(self, piece: Accepted) -> None:
        """Let the outlets have a piece; where it does not follow on the log, there is a hole before it."""
        start = piece.end - len(piece.data)
        if start > self.log.end:
            self.log.restart(start)
        self.log.append(piece.data, piece.records, piece.known, piece.now)

    def _release(self) -> None:
        """Let the log have what is durable; all, where there is no disk that could make it so."""
        recording = self.recording
        if recording is None:
            up_to = None if self._begin_recording is None else 0
        else:
            up_to = None if recording.failure is not None else recording.durable
        for piece in self._withheld.release(up_to):
            self._show(piece)
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

    # -- after a fault of the disk -----------------------------------------------------------------------------

    def resumption(self) -> int | None:
        """Where a recording that has failed can go on: at its end, if the memory still has what follows; else at the
        initialization segment that it lacks, or the first record that the memory has whole. None: nowhere yet."""
        recording, log = self.recording, self.log
        if recording is None or log.start <= recording.written <= log.end:
            return None if recording is None else recording.written
        initialization = log.initialization_before(log.end)
        if (
            initialization is not None
            and recording.written <= initialization.offset < log.start
            and log.initialization(initialization) is not None
        ):
            return initialization.offset
        return self._first_whole_record()

    def _first_whole_record(self) -> int | None:
        record = self.log.next_record(self.log.start)
        if record is not None:
            return record.offset
        return self.log.end if self.log.finished else None

    def resumed(self) -> None:
        """The recording has gone on: give it what is in memory and not on the disk."""
        recording, log = self.recording, self.log
        assert recording is not None
        if recording.end < log.start:
            initialization = log.initialization_before(recording.end)
            if initialization is not None and initialization.offset == recording.end:
                recording.append(log.initialization(initialization) or b"", [initialization])
            at = self._first_whole_record()
            if at is None or at < recording.end:
                return
            if at > recording.end:
                recording.skip_to(at)
        at = recording.end
        records = [record for record in log.records if record.offset >= at]
        for piece in log.read(at) or [b""]:
            recording.append(piece, records)
            records = []
        self._hold(recording)
        if log.finished:
            recording.finish().addErrback(lambda failed: None)

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
