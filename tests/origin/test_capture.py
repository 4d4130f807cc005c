"""What an Origin has captured, read as one from the memory and the disk."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail

from sdp.errors import StorageError
from sdp.origin.capture import Capture
from sdp.origin.lives import Lost, cut
from sdp.stream.record import Flag, Record
from tests.origin.test_poster import Disk


def took(deferred_work):
    results: list = []
    Deferred.fromCoroutine(deferred_work).addCallbacks(results.append, lambda failure: results.append(failure.value))
    return results[0]


@given(
    st.lists(st.integers(1, 9), min_size=1, max_size=20),
    st.integers(0, 40),
    st.integers(1, 60),
    st.integers(1, 6),
)
def test_a_cut_keeps_every_byte_and_every_record_whole(lengths, offset, limit, most):
    """Read again and again, each time where the last cut ended, it is all of the log, one record a piece."""
    starts = [sum(lengths[:i]) for i in range(len(lengths))]
    log = bytes(range(sum(lengths)))
    offset = min(offset, len(log) - 1)
    position, pieces = offset, []
    while position < len(log):
        data = log[position : position + limit]
        end = position + len(data)
        first = max(i for i, start in enumerate(starts) if start <= position)
        records = [Record(start) for start in starts[first:] if start < end][:most]
        new = cut(position, data, records, whole_to=len(log), most=most)
        assert new
        pieces += new
        position = new[-1].end
    assert b"".join(b"".join(piece.data) for piece in pieces) == log[offset:]
    told = [piece.record.offset for piece in pieces if piece.record is not None]
    if most > 1:
        assert told == [start for start in starts if start >= offset]
    longest = max(lengths)
    if limit > longest and most > 2:
        assert all(piece.record is not None for piece in pieces[1:])


def test_what_is_neither_in_memory_nor_on_disk_is_lost():
    capture = Capture(1000, lambda: None)
    for _ in range(10):
        capture.take(bytes(100), Flag.NONE, None, 0)
    assert capture.held_from == capture.log.start > 0
    assert isinstance(took(capture.pieces(0)), Lost)
    [piece] = took(capture.pieces(capture.log.start))
    assert piece.record is not None


def test_memory_holds_what_the_disk_has_not_got():
    disk = Disk(instant=False)
    capture = Capture(1000, lambda: disk)
    for _ in range(10):
        capture.take(bytes(100), Flag.NONE, None, 0)
    assert capture.log.start == 0
    disk.write()
    assert capture.log.start > 0
    assert capture.held_from == 0


def test_a_disk_that_fails_stops_the_recording_and_not_the_stream():
    disk = Disk()
    capture = Capture(1000, lambda: disk)
    changes: list = []
    capture.on_change = lambda: changes.append(capture.failure)
    disk.failure = StorageError("The disk is full.")  # type: ignore[assignment]
    for _ in range(10):
        capture.take(bytes(100), Flag.NONE, None, 0)
    assert capture.failure is disk.failure
    assert capture.log.start > 0  # it does not grow for the sake of a disk that takes nothing


def test_a_disk_that_cannot_be_read_loses_what_left_the_memory():
    disk = Disk()
    capture = Capture(1000, lambda: disk)
    for _ in range(10):
        capture.take(bytes(100), Flag.NONE, None, 0)
    disk.read = lambda offset, length: fail(StorageError("It cannot be read."))  # type: ignore[method-assign]
    assert isinstance(took(capture.pieces(0)), Lost)
    assert capture.failure is not None


def test_a_new_epoch_has_the_initialization_segment_and_a_recording_of_its_own():
    disks: list[Disk] = []

    def new_disk():
        disks.append(Disk())
        return disks[-1]

    capture = Capture(1 << 20, new_disk)
    capture.take(b"init", Flag.INITIALIZATION, None, 0)
    for key in (True, False, True, False):
        capture.take(b"K..." if key else b"....", Flag.RANDOM_ACCESS if key else Flag.NONE, 7, 0)
    capture.begin_anew(1)
    assert [disk.data for disk in disks] == [b"initK.......K.......", b"initK......."]
    assert disks[0].ended
    assert not disks[1].ended
    assert [(record.offset, int(record.flags)) for record in capture.log.records] == [(0, 1), (4, 2), (8, 0)]
    capture.take(b"more", Flag.NONE, None, 0)
    assert disks[1].data == b"initK.......more"


@pytest.mark.parametrize("finished", [False, True])
def test_a_new_epoch_of_what_has_ended_has_ended(finished):
    capture = Capture(1 << 20, lambda: None)
    capture.take(b"init", Flag.INITIALIZATION, None, 0)
    capture.take(b"K...", Flag.RANDOM_ACCESS, None, 0)
    if finished:
        capture.finish()
    capture.begin_anew(1)
    assert capture.log.finished is finished
    assert capture.log.end == 8
