"""With ``after_sync`` the log has what the disk has durably, in order, whatever the disk does."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sdp.errors import StorageError
from sdp.stream.catalog import Epoch
from sdp.stream.log import StreamLog
from sdp.stream.record import Flag, Record


class Pieces:
    """A framer to which every piece is a record."""

    content_type = None

    def __init__(self) -> None:
        self.known = 0

    def boundary(self, offset: int, capture_time: int | None = None, random_access: bool | None = None) -> None:
        assert offset == self.known

    def feed(self, data: bytes, received_time: int | None = None) -> list[Record]:
        self.known += len(data)
        return [Record(self.known - len(data), Flag.RANDOM_ACCESS)]

    def flush(self) -> list[Record]:
        return []


class _Finishing:
    def addErrback(self, callback: object) -> None:
        """Nothing fails here."""


class Disk:
    """A recording that is as durable as the test says."""

    def __init__(self) -> None:
        self.start = self.end = self.written = self.durable = 0
        self.failure: StorageError | None = None
        self.unsettled: int | None = None
        self.holes: tuple[tuple[int, int], ...] = ()
        self.missing: tuple[tuple[int, int], ...] = ()
        self.finished = False

    def append(self, data: bytes, records: list[Record]) -> None:
        self.end += len(data)
        self.written = self.end

    def skip_to(self, offset: int) -> None:
        self.holes = self.missing = (*self.missing, (self.end, offset))
        self.end = offset

    def fill(self, offset: int, data: bytes, records: list[Record], taken: bytes = b"") -> None:
        raise AssertionError("nothing fills a hole here")

    def forget_implied(self) -> None:
        """Nothing is implied here."""

    def finish(self) -> _Finishing:
        self.finished = True
        return _Finishing()


def make(*, late: bool = False) -> tuple[Epoch, Disk]:
    disk = Disk()
    epoch = Epoch(
        "s",
        "e",
        StreamLog(1 << 20),
        Pieces(),
        declared_type=None if late else "x/y",
        recording=None if late else disk,
        begin_recording=(lambda kind: disk) if late else None,
    )
    epoch.after_sync = True
    return epoch, disk


def read(epoch: Epoch) -> bytes:
    return b"".join(epoch.log.read(0))


def test_nothing_is_seen_before_it_is_durable() -> None:
    epoch, disk = make()
    seen: list[int] = []
    epoch.log.listeners.append(lambda: seen.append(epoch.end))
    for data in (b"abc", b"de", b"fgh"):
        epoch.append(data, 0)
    assert (epoch.end, epoch.accepted_end, read(epoch), seen) == (0, 8, b"", [])
    disk.durable = 4  # in the midst of a piece: that one waits
    epoch.stored()
    assert (epoch.end, read(epoch), seen) == (3, b"abc", [3])
    assert epoch.accepted(2, 5) == b"cdefg"
    assert epoch.accepted(3, 99) == b"defgh"
    disk.durable = 8
    epoch.stored()
    assert (epoch.end, read(epoch), seen) == (8, b"abcdefgh", [3, 5, 8])
    assert [record.offset for record in epoch.log.records] == [0, 3, 5]


def test_the_end_waits_as_well_and_nothing_is_taken_after_it() -> None:
    epoch, disk = make()
    epoch.append(b"abc", 0)
    epoch.finish()
    assert disk.finished
    assert (epoch.closed, epoch.ended, epoch.complete_length) == (True, False, 3)
    disk.durable = 3
    epoch.stored()
    assert (epoch.closed, epoch.ended, read(epoch)) == (True, True, b"abc")


def test_an_end_without_bytes_is_seen_at_once() -> None:
    epoch, _ = make()
    epoch.finish()
    assert epoch.ended


def test_where_the_disk_fails_there_is_nothing_to_wait_for() -> None:
    epoch, disk = make()
    epoch.append(b"abc", 0)
    disk.failure = StorageError("full")
    epoch.append(b"de", 0)
    assert read(epoch) == b"abcde"
    epoch.finish()
    assert epoch.ended


def test_bytes_that_came_before_the_recording_wait_too() -> None:
    epoch, disk = make(late=True)
    epoch.append(b"abc", 0)
    assert (disk.end, epoch.accepted_end, epoch.end) == (3, 3, 0)
    disk.durable = 3
    epoch.stored()
    assert read(epoch) == b"abc"


def test_what_waits_is_bounded_by_who_looks() -> None:
    epoch, disk = make()
    overfull = []
    for data, durable in ((bytes(1 << 20), 0), (b"x", 0), (b"", 1 << 20)):
        epoch.append(data, 0)
        disk.durable = durable
        epoch.stored()
        overfull.append(epoch.overfull)
    assert overfull == [False, True, False]


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=9), st.integers(0, 9)), max_size=30))
def test_the_log_is_always_what_is_durable(steps: list[bytes | int]) -> None:
    epoch, disk = make()
    whole = b""
    for step in steps:
        if isinstance(step, bytes):
            epoch.append(step, 0)
            whole += step
        else:
            disk.durable = min(disk.durable + step, disk.end)
            epoch.stored()
        assert epoch.end <= disk.durable <= epoch.accepted_end == len(whole)
        assert read(epoch) == whole[: epoch.end]
        assert epoch.accepted(0, len(whole)) == whole
