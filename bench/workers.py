"""What several processes gain, and by which way one of them passes on to the other: measured beside each other.

    python bench/workers.py [--rounds N] [--seconds S] [--consumers N,N] [--json FILE]
    python bench/workers.py --ways            only the ways, in a few lines of code for each
    python bench/workers.py --load            only the Distributor, in one process and in two

The load's own processes are pinned to the last core, and what they use of it is reported beside what each of the
server's processes uses: on a machine with two cores the second worker has only what they leave. Without an option it
takes about a minute; bench/README.rst says more.
"""

from __future__ import annotations

import argparse
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from loopback.figures import Row, Table, size_text, write_json
from loopback.load import Case, Loader, measure
from loopback.passing import WAYS, hand_over, pass_records
from loopback.processes import Unavailable, raise_file_limit, scratch
from loopback.servers import server_named

SIZES = (2 << 10, 16 << 10, 256 << 10)
REQUESTS = (1, 100)
SERVERS = ("floor", "sdp", "sdp-workers2")

PASSING = (
    ("way", "way", "<15s"),
    ("text", "record", ">6s"),
    ("give", "giving us", "9.1f"),
    ("take", "taking us", "9.1f"),
    ("send", "20 sends us", "11.1f"),
    ("p50", "there p50 us", "12.0f"),
    ("p99", "there p99 us", "12.0f"),
)
HANDING = (
    ("way", "an accepted connection", "<24s"),
    ("requests", "requests", "8d"),
    ("accepting", "accepting us", "12.1f"),
    ("serving", "serving us", "10.1f"),
)
LOADED = (
    ("case", "consumers x size x rate", "<26s"),
    ("server", "server", "<14s"),
    ("cpu", "CPU %", "6.1f"),
    ("processes", "each process %", "<20s"),
    ("load", "load %", "6.1f"),
    ("publisher", "publ. %", "7.1f"),
    ("p50", "p50 ms", "7.2f"),
    ("p99", "p99 ms", "7.2f"),
    ("p99_to_one", "to one", "6.2f"),
    ("joins", "joins/s", "8,.0f"),
)


def ways(rounds: int, directory: Path) -> Iterator[Row]:
    """Pass records by each way, and connections by two."""
    table = Table(PASSING)
    table.head()
    for size in SIZES:
        for name, kind in WAYS.items():
            row = {"way": name, "size": size, "text": size_text(size)}
            row |= pass_records(kind, size, rounds, directory)._asdict()
            table.row(row)
            yield row
    print()
    table = Table(HANDING)
    table.head()
    for requests in REQUESTS:
        for descriptors in (False, True):
            name = "its descriptor is passed" if descriptors else "its bytes are carried"
            handed = hand_over(requests, max(rounds // requests, 10), directory, descriptors=descriptors)
            row = {"way": name, "requests": requests, **handed._asdict()}
            table.row(row)
            yield row


def load(consumers: list[int], seconds: float, directory: Path, native: bool) -> Iterator[Row]:
    """Measure the Distributor in one process and in two, and the floor, at the same loads."""
    table = Table(LOADED)
    table.head()
    loader = Loader(directory, native, core=max(os.sched_getaffinity(0)))
    for count in consumers:
        case = Case(count, 16 << 10, 30)
        one: float | None = None
        for name in SERVERS:
            try:
                row: dict[str, object] = dict(
                    measure(server_named(name, ()), case, loader, seconds=seconds, join_limit=20)
                )
            except Unavailable as reason:
                print(f"{case.text:26s}  {name} is left out: {reason}", flush=True)
                continue
            p99 = row["p99"]
            assert isinstance(p99, float)
            one = p99 if name == "sdp" else one
            row["p99_to_one"] = p99 / one if one else None
            table.row(row)
            yield row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=500, help="how many records each way passes (500)")
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each load is measured (4)")
    parser.add_argument("--consumers", default="300,1000", help="of 16 KiB, 30 times a second (300,1000)")
    parser.add_argument("--ways", action="store_true", help="only the ways")
    parser.add_argument("--load", action="store_true", help="only the Distributor")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    both = options.ways == options.load
    raise_file_limit()
    rows: list[Row] = []
    with scratch() as directory:
        if options.ways or both:
            rows += ways(options.rounds, directory)
        if options.load or both:
            print()
            native = (shutil.which("cc") or shutil.which("gcc")) is not None
            rows += load([int(each) for each in options.consumers.split(",")], options.seconds, directory, native)
    if options.json:
        write_json(options.json, "workers", rows)


if __name__ == "__main__":
    main()
