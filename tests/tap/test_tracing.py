"""A trace's file: every point a line, a bound on what waits, and no stream stopped by its disk."""

from __future__ import annotations

from pathlib import Path
from threading import Thread

import pytest

from sdp.errors import ConfigurationError
from sdp.observe import Point
from sdp.tap.tracing import COLUMNS, TraceFile, trace_path


def lines(path: Path) -> list[list[str]]:
    return [line.split(",") for line in path.read_text().splitlines()]


def test_points_become_lines_whatever_they_leave_out(tmp_path: Path) -> None:
    trace = TraceFile(tmp_path / "trace.csv")
    trace(Point.APPENDED, "a@e", 7, at=3)
    trace(Point.ENCODED, "test", capture_time=5)
    trace.start()
    trace.close()
    head, appended, encoded = lines(tmp_path / "trace.csv")
    assert head == list(COLUMNS)
    assert appended == ["appended", "a@e", "7", "", "3"]
    assert encoded[:4] == ["encoded", "test", "", "5"]
    assert int(encoded[4]) > 1_700_000_000_000_000


def test_points_of_many_threads_are_all_there(tmp_path: Path) -> None:
    trace = TraceFile(tmp_path / "trace.csv")
    trace.start()

    def tell(stream: str) -> None:
        for offset in range(500):
            trace(Point.POSTED, stream, offset)

    threads = [Thread(target=tell, args=(f"s{n}",)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trace.close()
    found = lines(tmp_path / "trace.csv")[1:]
    for n in range(4):
        assert [int(line[2]) for line in found if line[1] == f"s{n}"] == list(range(500))


def test_what_does_not_fit_is_counted(tmp_path: Path) -> None:
    trace = TraceFile(tmp_path / "trace.csv", limit=2)
    for offset in range(5):
        trace(Point.POSTED, "a", offset, at=1)
    trace.close()
    assert [line[:3] for line in lines(tmp_path / "trace.csv")[1:]] == [
        ["posted", "a", "0"],
        ["posted", "a", "1"],
        ["lost", "", "3"],
    ]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_a_full_disk_stops_nobody() -> None:
    trace = TraceFile(Path("/dev/full"))
    for offset in range(10_000):
        trace(Point.POSTED, "a", offset)
    trace.close()


def test_a_file_that_cannot_be_is_told_by_its_option(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"--trace: .*nowhere/x\.csv cannot be written"):
        TraceFile(tmp_path / "nowhere" / "x.csv")


def test_each_worker_has_a_file_of_its_own() -> None:
    path = Path("logs/trace.csv")
    assert [trace_path(path, worker) for worker in (0, 1, 2)] == [
        path,
        Path("logs/trace.csv.1"),
        Path("logs/trace.csv.2"),
    ]
    assert trace_path(None, 1) is None
