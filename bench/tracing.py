"""What it costs that the way of a stream can be traced: nothing where nobody listens, and how much where somebody does.

    python bench/tracing.py [--records N] [--rounds R] [--json FILE]

Records of 2 KiB go through an epoch's inlet and its fan-out, to consumers whose sockets take everything and cost
nothing, so that what is left is the work around them. Each way is measured in turn, round after round, and the least
of a way's rounds counts. "Never traced" is an epoch as it is without ``--trace``: all that the possibility costs there
is that the fan-out asks, once a round, whether anybody wants to know of its end, and that question is timed by itself.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from loopback.figures import Row, Table, write_json
from twisted.internet.task import Clock

from sdp.container import framer_for
from sdp.distributor.fanout import Counters, Fanout
from sdp.distributor.forms import Raw
from sdp.distributor.tracing import EpochTrace
from sdp.observe import Point
from sdp.stream.catalog import Epoch
from sdp.stream.log import StreamLog
from sdp.tap.tracing import TraceFile

RECORD = bytes(2048)
CONSUMERS = (1, 100)
NOW = 1_700_000_000_000_000


class Outflow:
    """A socket that takes everything at once."""

    closed = paused = False
    send = staticmethod(len)

    def flush(self) -> None:
        pass


class Consumer:
    """Who stands at the edge."""

    offset = 0

    def __init__(self) -> None:
        self.outflow: Any = Outflow()


def ignored(point: Point, stream: str, offset: int | None = None, *, capture_time=None, at=None) -> None:
    """A listener that does nothing."""


def seconds_a_record(records: int, consumers: int, trace: Any) -> float:
    epoch = Epoch("bench", "e", StreamLog(1 << 20), framer_for("x/y"), declared_type="x/y")
    fanout = Fanout(epoch, Counters(), Clock())
    if trace is not None:
        EpochTrace(trace, epoch, fanout, Point.RECEIVED)
    form = Raw(chunked=False)
    for _ in range(consumers):
        fanout.stand(Consumer(), form)
    began = time.perf_counter()
    for _ in range(records):
        epoch.append(RECORD, NOW)
    return (time.perf_counter() - began) / records


def seconds_a_question(questions: int) -> float:
    """What asking takes, less what the loop around it takes."""
    fanout = Fanout(Epoch("bench", "e", StreamLog(1 << 20), framer_for("x/y")), Counters(), Clock())
    began = time.perf_counter()
    for _ in range(questions):
        if fanout.on_given is not None:
            raise AssertionError
    asked = time.perf_counter()
    for _ in range(questions):
        pass
    return max(0.0, 2 * asked - began - time.perf_counter()) / questions


def to_file(records: int, consumers: int) -> float:
    with tempfile.TemporaryDirectory(prefix="sdp-bench-") as directory:
        trace = TraceFile(Path(directory) / "trace.csv")
        trace.start()
        try:
            return seconds_a_record(records, consumers, trace)
        finally:
            trace.close()


WAYS: dict[str, Callable[[int, int], float]] = {
    "never traced": lambda records, consumers: seconds_a_record(records, consumers, None),
    "the question": lambda records, consumers: seconds_a_question(records),
    "traced to nobody": lambda records, consumers: seconds_a_record(records, consumers, ignored),
    "traced to a file": to_file,
}


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)
    table = Table(
        [
            ("way", "way", "<18"),
            ("consumers", "consumers", "9d"),
            ("us", "us a record", "8.3f"),
            ("ratio", "ratio", "6.4f"),
        ]
    )
    table.head()
    rows: list[Row] = []
    for consumers in CONSUMERS:
        least = dict.fromkeys(WAYS, float("inf"))
        for _ in range(options.rounds):
            for way, measure in WAYS.items():
                least[way] = min(least[way], measure(options.records, consumers))
        for way, seconds in least.items():
            row = {"way": way, "consumers": consumers, "us": seconds * 1e6, "ratio": seconds / least["never traced"]}
            table.row(row)
            rows.append(row)
    if options.json is not None:
        write_json(options.json, "tracing", rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
