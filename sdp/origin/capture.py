"""What an Origin has captured: its log in memory and the recording of it, read as one by offset.

The way of a record: source > :meth:`Capture.take` > StreamLog and recording > :meth:`Capture.pieces` > poster.
What has left the memory is read back from the disk, so that a Distributor that was away for hours can be given all
that it missed.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

from twisted.internet.defer import Deferred

from sdp.errors import StorageError
from sdp.origin.lives import Lost, Piece, complete, stored_pieces, whole_from
from sdp.stream.log import StreamLog
from sdp.stream.record import Flag, Record

__all__ = ["Capture"]


class Capture:
    """One epoch as its Origin holds it (a Life), and the step to the next.

    ``record_epoch`` makes the recording of a new epoch (an IRecording, or None for no disk). ``on_change`` is called
    after each record, and at the end.
    """

    def __init__(self, window: int, record_epoch: Callable[[], Any], content_type: str = "") -> None:
        self.content_type = content_type
        self.on_change: Callable[[], None] = lambda: None
        self.failure: StorageError | None = None
        """Why there is no recording now."""
        self.taken = 0
        """Bytes that the source has given, in all epochs."""
        self.dropped = 0
        """Records that were dropped because a new epoch waited for a random access point."""
        self._window = window
        self._record_epoch = record_epoch
        self._waits_for_random_access = False
        self._initialization: tuple[Record, bytes] | None = None
        self._begin()

    def _begin(self) -> None:
        self.log = StreamLog(self._window)
        self.recording = self._record_epoch()
        self.failure = None
        if self.recording is not None:
            self.log.hold_from = self.recording.keep_from = 0
            self.recording.on_change = self._recording_changed

    # -- the inlet ---------------------------------------------------------------------------------------------

    def take(self, data: bytes, flags: Flag, capture_time: int | None, now: int) -> None:
        """One whole record from the source; ``now`` in microseconds."""
        self.taken += len(data)
        if self._waits_for_random_access:
            if flags & Flag.INITIALIZATION:
                self._initialization = (Record(0, flags, capture_time, now), data)
                return
            if not flags & Flag.RANDOM_ACCESS:
                self.dropped += 1
                return
            self._waits_for_random_access = False
            if self._initialization is not None:
                record, content = self._initialization
                self._append(content, record.flags, record.capture_time, now)
        self._append(data, flags, capture_time, now)
        self.on_change()

    def _append(self, data: bytes, flags: Flag, capture_time: int | None, now: int) -> None:
        log = self.log
        records = [Record(log.end, flags, capture_time, now)]
        if self.recording is not None:
            self.recording.append(data, records)
        log.append(data, records, log.end + len(data), now)

    def finish(self) -> None:
        """The source has ended. The recording stays open until the Distributor has all of it (:meth:`complete`): who
        dies before, leaves it to the next life."""
        self._waits_for_random_access = False
        self.log.finish()
        self.on_change()

    async def resume(self) -> bool:
        """Try to go on with a recording that the disk has stopped: with what is still in memory, from a record on.
        Returns whether it goes on."""
        recording, log = self.recording, self.log
        if recording is None or recording.failure is None:
            return recording is not None
        following = log.next_record(max(recording.end, log.start))
        offset = log.end if following is None else following.offset
        log.hold_from = offset
        going_on: bool = await recording.resume(offset)
        if log is not self.log or not going_on:
            log.hold_from = None
            return False
        self.failure = None
        for span in log.spans(offset):
            recording.append(span.data, [] if span.record is None else [span.record])
        log.hold_from = recording.written
        return True

    def needed_from(self, offset: int) -> None:
        if self.recording is not None:
            self.recording.keep_from = offset

    def complete(self) -> Deferred[None] | None:
        return complete(self.recording) if self.recording is not None else None

    def begin_anew(self, now: int) -> None:
        """Begin another epoch, from the newest random access point on; the recording of this one is complete.

        Where none is in memory, it begins with the next one to come.
        """
        old, finished = self.log, self.log.finished
        kept = self._kept(old)
        initialization = old.initialization_before(old.end)
        content = old.initialization(initialization) if initialization is not None else None
        if initialization is not None and content is not None:
            self._initialization = (initialization, content)
        if self.recording is not None:
            self.recording.on_change = None
            complete(self.recording)
        self._begin()
        if kept and self._initialization is not None:
            record, content = self._initialization
            self._append(content, record.flags, record.capture_time, now)
        for record, content in kept:
            self._append(content, record.flags, record.capture_time, now)
        self._waits_for_random_access = not kept and not finished
        if finished:
            self.log.finish()

    @staticmethod
    def _kept(log: StreamLog) -> list[tuple[Record, bytes]]:
        """The records from the newest random access point on."""
        newest = log.newest(Flag.RANDOM_ACCESS)
        if newest is None or newest.offset < log.start:
            return []
        spans = log.spans(newest.offset)
        return [(span.record, span.data) for span in spans if span.record is not None]

    def _recording_changed(self) -> None:
        recording = self.recording
        if recording.failure is not None and self.failure is not recording.failure:
            self.failure = recording.failure
            self.log.hold_from = None
        elif recording.failure is None:
            self.log.hold_from = recording.written
        self.log.evict()
        self.on_change()

    # -- the outlet --------------------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        return self.log.end

    @property
    def finished(self) -> bool:
        return self.log.finished

    @property
    def held_from(self) -> int:
        """The first offset from which on nothing is missing."""
        recording = self.recording
        if recording is not None and recording.written >= self.log.start:
            return min(whole_from(recording), self.log.start)
        return self.log.start

    def behind(self, offset: int) -> float:
        """How long before the newest record the one at ``offset`` came, in seconds; what has left the memory is taken
        for long ago."""
        record, newest = self.log.record_at(offset), self.log.record_at(self.log.end - 1)
        if record is None or newest is None or record.received_time is None or newest.received_time is None:
            return inf
        return (newest.received_time - record.received_time) / 1e6

    async def pieces(self, offset: int) -> list[Piece]:
        """What follows on ``offset``: one piece from the memory, or several from the disk. Raises Lost."""
        if offset >= self.log.start:
            return [self._from_memory(offset)]
        if offset < self.held_from:
            raise Lost
        return await self._from_disk(offset)

    def _from_memory(self, offset: int) -> Piece:
        log = self.log
        record = log.record_at(offset)
        following = log.next_record(offset + 1)
        end = log.end if following is None else following.offset
        begins = record is not None and record.offset == offset
        return Piece(offset, log.read(offset, end=end), record if begins else None)

    async def _from_disk(self, offset: int) -> list[Piece]:
        try:
            return await stored_pieces(self.recording, offset)
        except Lost as lost:
            if isinstance(lost.__cause__, StorageError):
                self.failure = lost.__cause__
            raise
