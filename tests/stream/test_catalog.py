"""Names and epochs: one current epoch a name, past ones as long as something keeps them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sdp.container import OpaqueFramer, framer_for
from sdp.errors import StorageError
from sdp.stream.catalog import Catalog, Epoch
from sdp.stream.holes import without
from sdp.stream.log import StreamLog
from sdp.stream.record import Flag, Record


class Kept:
    """A recording that has what it is told to have."""

    def __init__(self) -> None:
        self.start = self.end = self.written = self.durable = 0
        self.failure: StorageError | None = None
        self.unsettled: int | None = None
        self.holes: tuple[tuple[int, int], ...] = ()
        self.missing: tuple[tuple[int, int], ...] = ()
        self.appended: list[tuple[bytes, list[Record]]] = []
        self.finished = 0

    def append(self, data: bytes, records: list[Record]) -> None:
        self.appended.append((data, records))
        self.end += len(data)

    def skip_to(self, offset: int) -> None:
        self.missing = (*self.missing, (self.end, offset))
        self.end = offset

    def fill(self, offset: int, data: bytes, records: list[Record], taken: bytes = b"") -> None:
        self.missing = without(self.missing, offset, offset + len(data))
        self.appended.append((taken + data, records))

    def forget_implied(self) -> None:
        self.appended.append((b"", []))

    def finish(self) -> Kept:
        self.finished += 1
        return self

    def addErrback(self, call: Callable[[object], None]) -> None:
        """The disk of this one never fails."""


def epoch(name: str = "a", identifier: str = "1", recording: Any = None, window: int = 1 << 20) -> Epoch:
    return Epoch(name, identifier, StreamLog(window), OpaqueFramer(), recording=recording)


def test_bytes_go_to_the_disk_and_to_the_log() -> None:
    kept = Kept()
    one = epoch(recording=kept)
    one.begin_body(123, None)
    one.append(b"hello", 456)
    record = Record(0, Flag.RANDOM_ACCESS | Flag.IMPLIED, 123, 456)
    assert kept.appended == [(b"hello", [record])]
    assert one.log.records == [record]
    assert (one.end, one.last_arrival, one.durable_offset) == (5, 456, 0)


def test_what_is_not_written_stays_in_memory_and_what_is_comes_from_the_disk() -> None:
    kept = Kept()
    one = epoch(recording=kept, window=0)
    one.append(b"hello", 0)
    assert (one.log.start, one.first_offset) == (0, 0)
    kept.written = 5
    one.stored()
    assert (one.log.start, one.first_offset) == (5, 0)


def test_what_a_failed_disk_will_never_have_does_not_fill_the_memory() -> None:
    kept = Kept()
    one = epoch(recording=kept, window=0)
    kept.written = 3
    one.append(b"abc", 0)
    one.append(b"def", 0)
    assert (one.log.start, one.recorded) == (3, True)
    kept.failure = StorageError("full")
    one.stored()
    assert (one.log.start, one.first_offset, one.recorded) == (6, 0, False)
    assert one.holes == ((3, 6),)
    one.append(b"ghi", 0)
    assert one.log.start == 9


def test_a_past_epoch_whose_disk_failed_counts_as_unrecorded() -> None:
    catalog = Catalog(0)
    kept = Kept()
    kept.failure = StorageError("full")
    for number in range(2):
        catalog.begin(epoch(identifier=str(number), recording=kept))
    assert catalog.get("a").past == {}  # type: ignore[union-attr]


def test_a_recording_that_stopped_leaves_a_hole() -> None:
    kept = Kept()
    one = epoch(recording=kept, window=0)
    kept.written = 3
    one.append(b"hello", 0)
    assert one.hole_at(3) is None  # it is on its way to the disk
    kept.failure = StorageError("The disk is full.")
    one.stored()
    assert (one.first_offset, one.log.start, one.end) == (0, 5, 5)
    assert one.holes == one.missing == ((3, 5),)
    assert one.hole_at(2) is None
    assert one.hole_at(3) == (3, 5)


def test_a_recording_begins_once_the_media_type_is_known() -> None:
    kept, asked = Kept(), []

    def begin(media_type: str) -> Any:
        asked.append(media_type)
        return kept

    one = Epoch("a", "1", StreamLog(0), framer_for(None), begin_recording=begin)
    assert one.durable_offset == 0
    one.begin_body(None, None)
    one.append(b"\x00\x00\x00\x10", 0)  # so far it may be an MP4
    assert (asked, one.log.start) == ([], 0)
    one.append(b"ftypisom\x00\x00\x02\x00", 0)
    assert asked == ["video/mp4"]
    assert b"".join(data for data, _ in kept.appended) == b"\x00\x00\x00\x10ftypisom\x00\x00\x02\x00"


def test_a_recording_that_cannot_begin_leaves_the_memory_its_window() -> None:
    one = Epoch(
        "a", "1", StreamLog(0), framer_for("text/plain"), declared_type="x/y", begin_recording=lambda kind: None
    )
    one.append(b"hello", 0)
    assert (one.log.start, one.durable_offset, one.recorded) == (5, None, False)


def test_an_epoch_that_ends_before_its_type_is_known_is_recorded_all_the_same() -> None:
    kept = Kept()
    one = Epoch("a", "1", StreamLog(1 << 20), framer_for(None), begin_recording=lambda kind: kept)
    one.begin_body(None, None)
    one.append(b"\x00", 0)
    one.finish()
    assert (kept.end, kept.finished) == (1, 1)


def test_finishing_twice_is_finishing_once() -> None:
    kept = Kept()
    one = epoch(recording=kept)
    one.append(b"hello", 0)
    one.finish()
    one.finish()
    assert (one.ended, one.complete_length, kept.finished) == (True, 5, 1)


def test_said_random_access_voids_what_was_implied() -> None:
    one = epoch()
    one.begin_body(None, None)
    one.append(b"first", 0)
    assert one.join_point() is not None
    one.begin_body(None, False)
    one.append(b"second", 0)
    assert one.join_point() is None
    one.begin_body(None, True)
    one.append(b"third", 0)
    point = one.join_point()
    assert point is not None
    assert point.offset == 11


def test_the_media_type_is_the_declared_one_or_unknown() -> None:
    assert epoch().content_type == "application/octet-stream"
    declared = Epoch("a", "1", StreamLog(1), OpaqueFramer(), declared_type="text/x-subtitles")
    assert declared.content_type == "text/x-subtitles"


def test_a_new_epoch_ends_the_one_before_and_keeps_one_of_those_in_memory() -> None:
    catalog = Catalog(keep_unrecorded=1)
    begun: list[str] = []
    catalog.on_begin = lambda one: begun.append(one.id)
    epochs = [epoch(identifier=str(i)) for i in range(3)]
    for each in epochs:
        catalog.begin(each)
    stream = catalog.get("a")
    assert stream is not None
    assert begun == ["0", "1", "2"]
    assert [each.ended for each in epochs] == [True, True, False]
    assert catalog.current("a") is epochs[2]
    assert stream.epoch(None) is epochs[2]
    assert stream.epoch("2") is epochs[2]
    assert stream.epoch("1") is epochs[1]
    assert stream.epoch("0") is None


def test_recorded_past_epochs_leave_the_memory_but_not_the_catalog() -> None:
    catalog = Catalog(keep_unrecorded=0)
    kept = Kept()
    first = epoch(identifier="1", recording=kept)
    catalog.begin(first)
    first.append(b"hello", 0)
    kept.written = 5
    catalog.begin(epoch(identifier="2"))
    stream = catalog.get("a")
    assert stream is not None
    assert stream.epoch("1") is first
    assert first.log.start == 5
    assert first.first_offset == 0


def test_removing_ends_what_is_open() -> None:
    catalog = Catalog()
    one = epoch()
    catalog.begin(one)
    assert len(catalog) == 1
    assert catalog.remove("a") is not None
    assert one.ended
    assert catalog.remove("a") is None
    assert list(catalog) == []
