"""The stream log: bytes at absolute offsets, cut into records, with a window of them in memory.

An inlet appends; outlets read by offset. Nothing is copied on the way: what was appended is what is read,
as slices of the same bytes. The window forgets its oldest bytes once it is full, but never those that the disk
has not got (``hold_from``), nor the initialization segment that a joining reader needs.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence

from sdp.stream.record import Flag, Record

__all__ = ["PIECE_OVERHEAD", "Span", "StreamLog"]

PIECE_OVERHEAD = 256
"""Bytes that a piece or a record costs beside its content; they count towards the window, so that a stream of
one-byte pieces is bounded as well."""

PINNED_LIMIT = 16 * 1024 * 1024
"""The longest initialization segment that stays in memory after the window has passed it, in bytes."""

_COMPACT_AFTER = 1024

# As plain numbers: arithmetic with the enumeration's members takes longer than all else that a record costs here.
_INITIALIZATION = int(Flag.INITIALIZATION)
_RANDOM_ACCESS = int(Flag.RANDOM_ACCESS)
_IMPLIED = int(Flag.IMPLIED)


class Span:
    """A run of one record's bytes: ``record`` is set where the run begins the record, else None."""

    __slots__ = ("data", "offset", "record")

    def __init__(self, offset: int, data: bytes, record: Record | None) -> None:
        self.offset = offset
        self.data = data
        self.record = record

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


class StreamLog:
    """The log of one epoch.

    ``window`` is how much stays in memory, in bytes. ``start`` is the first offset that is held in memory and
    ``end`` the one after the last; ``known`` is the offset up to which the record structure is known.
    """

    def __init__(self, window: int, start: int = 0) -> None:
        self.window = window
        self.start = self.end = self.known = start
        self.finished = False
        self.hold_from: int | None = None
        self.evicted_bytes = 0
        self.listeners: list[Callable[[], None]] = []
        self._pieces: list[bytes] = []
        self._offsets: list[int] = []
        self._times: list[int] = []
        self._first = 0
        self._weight = 0
        self._records: list[Record] = []
        self._record_offsets: list[int] = []
        self._first_record = 0
        self._newest_random_access: Record | None = None
        self._seen_random_access = False
        self._implied_counts = True
        self._initializations: list[Record] = []
        self._initialization_ends: dict[int, int] = {}
        self._pinned: dict[int, bytes] = {}

    # -- the inlet ---------------------------------------------------------------------------------------------

    def append(self, data: bytes, records: Sequence[Record], known: int, now: int) -> None:
        """Take bytes that follow on ``end``, and the records that are newly known to begin.

        ``now`` is the time of arrival in microseconds. Tells the listeners.
        """
        if self.finished:
            raise ValueError("the log is finished")
        if data:
            self._pieces.append(data)
            self._offsets.append(self.end)
            self._times.append(now)
            self.end += len(data)
            self._weight += len(data) + PIECE_OVERHEAD
        for record in records:
            self._add_record(record)
        self.known = known
        if self._weight > self.window:
            self.evict()
        for listener in self.listeners:
            listener()

    def finish(self, records: Sequence[Record] = ()) -> None:
        """Nothing follows: the structure is known to the end. Tells the listeners."""
        for record in records:
            self._add_record(record)
        self._note_end(self.end)
        self.known = self.end
        self.finished = True
        for listener in self.listeners:
            listener()

    def restore(self, record: Record, data: bytes) -> None:
        """Put back an initialization segment that lies before ``start``, as recovery reads it from the disk."""
        self._initializations.append(record)
        self._initialization_ends[record.offset] = record.offset + len(data)
        self._pinned[record.offset] = data

    def restart(self, offset: int) -> None:
        """Go on at ``offset``, past ``end``: the bytes between never come here, so the window begins anew.

        The last initialization segment stays. Nobody is told: an append follows. ValueError where ``offset`` lies
        before ``end``, or the log is finished.
        """
        if self.finished or offset < self.end:
            raise ValueError("a log goes on at or after its end")
        # Whoever jumps has completed the record before: where an initialization segment ends is now known.
        self._note_end(self.end)
        at = self.start
        for piece in self._pieces[self._first :]:
            self._pin(at, piece)
            at += len(piece)
        self.evicted_bytes += self.end - self.start
        for held in (self._pieces, self._offsets, self._times, self._records, self._record_offsets):
            held.clear()
        self._first = self._first_record = self._weight = 0
        self.start = self.end = self.known = offset
        self._drop_initializations()

    def forget_implied(self) -> None:
        """From now on only explicitly marked random access points count (a POST carried ``Random-Access``)."""
        if self._implied_counts:
            self._implied_counts = False
            self._records = [self.said_of(record) for record in self._records]
            newest = self._newest_random_access
            if newest is not None and newest.flags & Flag.IMPLIED:
                self._newest_random_access = None
                self._seen_random_access = False

    @property
    def explicit(self) -> bool:
        """Whether only explicitly marked random access points count."""
        return not self._implied_counts

    def _note_end(self, end: int) -> None:
        """Where the last record ends, if it is an initialization segment: its neighbours may be forgotten before it."""
        last = self._records[-1] if self._records else None
        if last is not None and int(last.flags) & _INITIALIZATION:
            self._initialization_ends[last.offset] = end

    def said_of(self, record: Record) -> Record:
        """Return ``record`` with the flags that count in this epoch: an implied one may be void."""
        if self._implied_counts or not int(record.flags) & _IMPLIED:
            return record
        return record._replace(flags=record.flags & ~(Flag.RANDOM_ACCESS | Flag.IMPLIED))

    def _add_record(self, record: Record) -> None:
        self._note_end(record.offset)
        record = self.said_of(record)
        self._records.append(record)
        self._record_offsets.append(record.offset)
        self._weight += PIECE_OVERHEAD
        flags = int(record.flags)
        if flags & _RANDOM_ACCESS:
            self._newest_random_access = record
            self._seen_random_access = True
        if flags & _INITIALIZATION:
            self._initializations.append(record)

    # -- the window --------------------------------------------------------------------------------------------

    def evict(self, below: int = 0) -> None:
        """Forget the oldest pieces until the window holds, and those that end at or before ``below``; but never the
        bytes at or past ``hold_from``."""
        hold = self._holding()
        first, pieces = self._first, self._pieces
        while first < len(pieces):
            piece = pieces[first]
            end = self.start + len(piece)
            if end > hold or (self._weight <= self.window and end > below):
                break
            self._pin(self.start, piece)
            pieces[first] = b""
            self._weight -= len(piece) + PIECE_OVERHEAD
            self.evicted_bytes += len(piece)
            self.start = end
            first += 1
            self._drop_records()
        self._first = first
        self._drop_initializations()
        self._compact()

    def _holding(self) -> int:
        """The offset at or past which nothing may be forgotten."""
        hold = self.end if self.hold_from is None else self.hold_from
        last = self._records[-1] if self._records else None
        if last is None or not int(last.flags) & _INITIALIZATION or self.end - last.offset > PINNED_LIMIT:
            return hold
        # As long as nobody knows where it ends, it cannot be pinned.
        return hold if last.offset in self._initialization_ends else min(hold, last.offset)

    def _drop_records(self) -> None:
        """Forget the records that lie wholly before ``start``."""
        offsets, following = self._record_offsets, self._first_record + 1
        while following < len(offsets) and offsets[following] <= self.start:
            following += 1
            self._weight -= PIECE_OVERHEAD
        self._first_record = following - 1

    def _pin(self, offset: int, piece: bytes) -> None:
        """Keep those bytes of a piece that belong to an initialization segment."""
        end = offset + len(piece)
        for record in self._initializations:
            if record.offset >= end:
                break
            stop = self.record_end(record)
            if stop is None or stop - record.offset > PINNED_LIMIT or stop <= offset:
                continue
            kept = self._pinned.get(record.offset, b"")
            begin = max(record.offset, offset)
            if record.offset + len(kept) == begin:
                self._pinned[record.offset] = kept + piece[begin - offset : stop - offset]

    def _drop_initializations(self) -> None:
        """Those that begin before ``start`` are of use to nobody, but for the last of them."""
        inits = self._initializations
        useless = sum(1 for record in inits if record.offset < self.start) - 1
        for record in inits[: max(useless, 0)]:
            self._pinned.pop(record.offset, None)
            self._initialization_ends.pop(record.offset, None)
        if useless > 0:
            del inits[:useless]

    def _compact(self) -> None:
        if self._first > _COMPACT_AFTER and self._first * 2 > len(self._pieces):
            del self._pieces[: self._first], self._offsets[: self._first], self._times[: self._first]
            self._first = 0
        if self._first_record > _COMPACT_AFTER and self._first_record * 2 > len(self._records):
            del self._records[: self._first_record], self._record_offsets[: self._first_record]
            self._first_record = 0

    # -- outlets: bytes ----------------------------------------------------------------------------------------

    def read(self, offset: int, limit: int | None = None, end: int | None = None) -> list[bytes]:
        """Return the bytes from ``offset`` on as slices that follow on each other, up to ``end`` and at most
        ``limit`` bytes of them. LookupError where ``offset`` is not in the window."""
        stop = self.end if end is None else min(end, self.end)
        if limit is not None:
            stop = min(stop, offset + limit)
        if not self.start <= offset <= self.end:
            raise LookupError(f"offset {offset} is outside the window {self.start}-{self.end}")
        result: list[bytes] = []
        i = bisect_right(self._offsets, offset, self._first) - 1
        while offset < stop:
            piece, at = self._pieces[i], self._offsets[i]
            if offset != at or stop - at < len(piece):
                piece = piece[offset - at : stop - at]
            result.append(piece)
            offset += len(piece)
            i += 1
        return result

    def spans(self, offset: int, limit: int | None = None, end: int | None = None) -> Iterator[Span]:
        """Yield the bytes from ``offset`` up to ``known``, cut where records begin. LookupError as :meth:`read`."""
        stop = self.known if end is None else min(end, self.known)
        if limit is not None:
            stop = min(stop, offset + limit)
        i = bisect_left(self._record_offsets, offset, self._first_record)
        starts = self._record_offsets
        while offset < stop:
            record = None
            if i < len(starts) and starts[i] == offset:
                record = self._records[i]
                i += 1
            cut = min(starts[i], stop) if i < len(starts) else stop
            data = self.read(offset, end=cut)
            yield Span(offset, data[0] if len(data) == 1 else b"".join(data), record)
            offset = cut

    def arrival(self, offset: int) -> int | None:
        """Return when the byte at ``offset`` arrived (microseconds): the piece's time, or the oldest that is held;
        None at or past ``end``, or where the window is empty."""
        if offset >= self.end or self._first >= len(self._pieces):
            return None
        i = max(bisect_right(self._offsets, offset, self._first) - 1, self._first)
        return self._times[i]

    # -- outlets: records --------------------------------------------------------------------------------------

    @property
    def records(self) -> Sequence[Record]:
        """The records that lie, wholly or in part, in the window (a copy)."""
        return self._records[self._first_record :]

    def record_at(self, offset: int) -> Record | None:
        """Return the record in the window that ``offset`` lies in."""
        i = bisect_right(self._record_offsets, offset, self._first_record) - 1
        return self._records[i] if i >= self._first_record else None

    def next_record(self, offset: int) -> Record | None:
        """Return the first record that begins at or after ``offset``."""
        i = bisect_left(self._record_offsets, offset, self._first_record)
        return self._records[i] if i < len(self._records) else None

    def record_end(self, record: Record) -> int | None:
        """Return where ``record`` ends: where the next begins, or the end of a finished log; None while it grows."""
        if record.offset in self._initialization_ends:
            return self._initialization_ends[record.offset]
        i = bisect_right(self._record_offsets, record.offset, self._first_record)
        if i < len(self._records):
            return self._records[i].offset
        return self.end if self.finished else None

    def newest(self, flag: Flag = Flag.RANDOM_ACCESS, before: int | None = None) -> Record | None:
        """Return the newest record in the window with ``flag`` (that begins at or before ``before``)."""
        if before is None and flag == Flag.RANDOM_ACCESS:
            return self._newest_random_access
        i = len(self._records) if before is None else bisect_right(self._record_offsets, before, self._first_record)
        for record in reversed(self._records[self._first_record : i]):
            if record.flags & flag:
                return record
        return None

    def random_access_at(self, time: int, before: int) -> Record | None:
        """Return the newest random access point in the window that was captured (else received) at or before ``time``
        (microseconds) and begins at or before the offset ``before``."""
        stop = bisect_right(self._record_offsets, before, self._first_record)
        for record in reversed(self._records[self._first_record : stop]):
            if record.flags & Flag.RANDOM_ACCESS and record.offset >= self.start:
                at = record.received_time if record.capture_time is None else record.capture_time
                if at is not None and at <= time:
                    return record
        return None

    @property
    def had_random_access(self) -> bool:
        """Whether any random access point was ever appended, held or not."""
        return self._seen_random_access

    def initialization_before(self, offset: int) -> Record | None:
        """Return the last initialization segment that begins at or before ``offset`` and is still held."""
        found = None
        for record in self._initializations:
            if record.offset > offset:
                break
            found = record
        return found

    def initialization(self, record: Record) -> bytes | None:
        """Return an initialization segment's bytes; None where it is not whole yet, or too long to be kept."""
        end = self.record_end(record)
        if end is None:
            return None
        kept = self._pinned.get(record.offset, b"")
        if record.offset + len(kept) < end:
            begin = record.offset + len(kept)
            if begin < self.start:
                return None
            kept += b"".join(self.read(begin, end=end))
        return kept
