"""What durability costs those who watch: CPU and delivery with the store beside memory only, and near a sync.

    python bench/durable.py [--rounds N] [--seconds S] [--case CONSUMERS,SIZE,RATE] [--sync 1] [--json FILE]

Two tables. Fan-out of one stream, with memory only and with the store, in turns and each round in another order: the
ratios of a round stand beside each other, for both met the same machine. Of the store's deliveries those that were sent
near a sync are told apart from the others; when the syncs were is read out of the index that the store has left.

Then the index of an hour (108 000 records) is read, page after page and by times of chance, while another process asks
for ``/-/health`` without a pause: how long it waits at most is the longest turn that the reactor took.

How soon a store of ten million records serves again is measured by ``store.py``.
"""

from __future__ import annotations

import argparse
import http.client
import json
import select
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random

from fanout import case_of
from loopback.figures import Row, Table, percentile, write_json
from loopback.load import Case, Loader, measure
from loopback.processes import HOST, Process, free_port, raise_file_limit, scratch, twistd
from loopback.servers import Distributor
from store import write_epoch

from sdp.store.index import ENTRY_SIZE, Entry, Kind

NEAR = 100_000_000
"""A delivery is near a sync if it was sent less than so many nanoseconds before or after the sync's end."""

HOUR = 108_000
"""Records of an hour, 30 a second."""

PAGE = 1000
"""Records that one answer of the index holds at most."""

FANOUT = (
    ("round", "round", "5d"),
    ("server", "server", "<11s"),
    ("cpu", "CPU %", "7.1f"),
    ("cpu_ratio", "to memory", "9.3f"),
    ("p50", "p50 ms", "8.2f"),
    ("p99", "p99 ms", "8.2f"),
    ("p99_ratio", "to memory", "9.3f"),
    ("moments", "syncs", "5d"),
    ("p99_near", "near a sync", "11.2f"),
    ("p99_apart", "others", "8.2f"),
    ("delivered", "came %", "6.1f"),
)
READING = (
    ("what", "while", "<40s"),
    ("requests", "requests", "8d"),
    ("seconds", "seconds", "7.2f"),
    ("asked", "health", "7d"),
    ("p50", "p50 ms", "8.2f"),
    ("p99", "p99 ms", "8.2f"),
    ("most", "greatest", "8.2f"),
)


def syncs_of(directory: Path) -> list[int]:
    """When the syncs of a store below ``directory`` had ended: the times of its CHECKPOINTs, in nanoseconds of the
    monotonic clock."""
    between = time.monotonic_ns() - time.time_ns()
    found = []
    for file in directory.rglob("*.index"):
        content = file.read_bytes()
        for at in range(ENTRY_SIZE, len(content), ENTRY_SIZE):
            entry = Entry.unpack(content, at)
            if entry is not None and entry.kind == Kind.CHECKPOINT:
                found.append(entry.second_value * 1000 + between)
    return sorted(found)


def fanout(case: Case, rounds: int, seconds: float, sync: str, loader: Loader) -> list[Row]:
    """Measure pairs of memory only and the store, and tell the medians of their ratios."""
    print(f"{case.text}, --sync {sync}, {seconds:g} s each")
    table, rows = Table(FANOUT), []
    table.head()
    for number in range(1, rounds + 1):
        memory, store = Distributor(), Distributor(store=True, options=("--sync", sync))
        measured: dict[str, dict[str, object]] = {}
        for server in (memory, store) if number % 2 else (store, memory):
            near = syncs_of if server is store else None
            row: dict[str, object] = dict(
                measure(server, case, loader, seconds=seconds, join_limit=20.0, moments_of=near, near=NEAR)
            )
            measured[server.name] = {"round": number, **row}
        for key in ("cpu", "p99"):
            measured[store.name][f"{key}_ratio"] = (
                float(measured[store.name][key]) / float(measured[memory.name][key])  # type: ignore[arg-type]
            )
        for row in measured.values():
            table.row(row)
            rows.append(row)
    for key, about in (("cpu_ratio", "CPU with the store, to memory only"), ("p99_ratio", "p99 likewise")):
        _median(about, [row[key] for row in rows if key in row])
    both = [row for row in rows if row.get("p99_near") is not None]
    _median(
        "p99 near a sync, to the others",
        [float(row["p99_near"]) / float(row["p99_apart"]) for row in both],  # type: ignore[arg-type]
    )
    return rows


def _median(about: str, values: Sequence[object]) -> None:
    numbers = sorted(float(value) for value in values if isinstance(value, float) and value == value)
    if numbers:
        middle = statistics.median(numbers)
        print(f"{about}: median {middle:.3f} of {len(numbers)} rounds ({numbers[0]:.3f} to {numbers[-1]:.3f})")


# --- Reading the index


def ask_for_health(port: int) -> None:
    """A process of its own: ask without a pause until the standard input ends, and print each wait in nanoseconds."""
    connection = http.client.HTTPConnection(HOST, port)
    waits: list[int] = []
    while not select.select([sys.stdin], [], [], 0.001)[0]:
        before = time.monotonic_ns()
        connection.request("GET", "/-/health")
        connection.getresponse().read()
        waits.append(time.monotonic_ns() - before)
    print(json.dumps(waits))


def read_pages(connection: http.client.HTTPConnection) -> int:
    """Page through the whole index; return how many requests that took."""
    at, asked, seen = 0, 0, 0
    while seen < HOUR:
        connection.request("GET", f"/-/records/long?first={at}&limit={PAGE}")
        records = json.loads(connection.getresponse().read())["records"]
        asked += 1
        new = [record for record in records if record["offset"] >= at]
        seen += len(new)
        at = new[-1]["offset"] + 1
    return asked


def read_times(connection: http.client.HTTPConnection, requests: int = 300) -> int:
    """Ask what was there at times of chance; return how many requests that took."""
    random = Random(1)
    for _ in range(requests):
        # Record n was captured n microseconds after the Unix epoch.
        at = f"1970-01-01T00:00:00.{random.randrange(1, HOUR):06d}Z"
        connection.request("GET", f"/-/records/long?at={at}")
        answer = connection.getresponse()
        assert answer.read(), answer.status
        assert answer.status == 200, answer.status
    return requests


def reading(directory: Path) -> list[Row]:
    """Measure the longest turns while nothing happens, and while an index is read."""
    print(f"\nThe index of {HOUR} records ({HOUR * ENTRY_SIZE / 1e6:.0f} MB)")
    store = directory / "store"
    write_epoch(store, HOUR)
    port = free_port()
    words = twistd("sdp-distributor", "--listen", f"tcp:{port}:interface={HOST}", "--store", str(store))
    table = Table(READING)
    rows: list[Row] = []
    cases: dict[str, Callable[[http.client.HTTPConnection], int]] = {
        "nobody reads": lambda connection: 0,
        "one reads all of it, page after page": read_pages,
        "one asks for what was there at a time": read_times,
    }
    with Process(words, output=directory / "log") as server:
        server.wait_until_listening(port)
        table.head()
        for what, read in cases.items():
            row = _while_asking(port, what, read)
            table.row(row)
            rows.append(row)
    return rows


def _while_asking(port: int, what: str, read: Callable[[http.client.HTTPConnection], int]) -> Row:
    words = [sys.executable, __file__, "--ask-for-health", str(port)]
    with Process(words, piped=True) as asking:
        begun = time.monotonic()
        connection = http.client.HTTPConnection(HOST, port)
        requests = 0
        while time.monotonic() - begun < 2.0:
            requests += read(connection)
            if not requests:
                time.sleep(2.0)
        seconds = time.monotonic() - begun
        connection.close()
        assert asking.popen.stdin is not None
        asking.popen.stdin.close()
        waits = sorted(wait / 1e6 for wait in json.loads(asking.next_line()))
    return {
        "what": what,
        "requests": requests,
        "seconds": seconds,
        "asked": len(waits),
        "p50": percentile(waits, 0.5),
        "p99": percentile(waits, 0.99),
        "most": waits[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", type=case_of, default=Case(1000, 16 * 1024, 30), metavar="CONSUMERS,SIZE,RATE")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="how long each load is measured (4)")
    parser.add_argument("--sync", default="1", help="the Distributor's --sync (1)")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--ask-for-health", type=int, metavar="PORT", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.ask_for_health:
        ask_for_health(options.ask_for_health)
        return
    raise_file_limit()
    native = (shutil.which("cc") or shutil.which("gcc")) is not None
    with scratch() as directory:
        rows = fanout(options.case, options.rounds, options.seconds, options.sync, Loader(directory, native))
        rows += reading(directory)
    if options.json is not None:
        write_json(options.json, "durable", rows)


if __name__ == "__main__":
    main()
