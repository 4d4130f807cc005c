"""What keeping streams on the disk costs, beside plain write() and fdatasync() of the same bytes.

    python bench/store.py [--size MIB] [--streams N] [--records N] [--directory DIR] [--json FILE]

Three tables. One stream, as fast as the disk takes it, for each choice of --sync, the best of some rounds in turn;
``wait`` is how long one append() kept the reactor's thread, in microseconds. Many streams, a piece of each every 33 ms,
until all of it is durable. And how soon a store is there again: after the death of a process that has left one epoch of
very many records, and of one that has left many epochs, until the newest bytes could be read.

The floor does the same with nothing around it: one thread that writes each piece, and fdatasync() by the same choice.
"""

from __future__ import annotations

import argparse
import os
import struct
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any, cast
from zlib import crc32

from loopback.figures import Row, Table, percentile, write_json

from sdp.store import Files, FileStore
from sdp.store.index import pack_header
from sdp.store.layout import Description, data_path, epoch_directory, index_path
from sdp.stream.record import Flag, Record

PIECE = 64 * 1024
SMALL = 16 * 1024
INTERVAL = 0.033
ROUNDS = 3
CHOICES: dict[str, float | None] = {"never": None, "1": 1.0, "always": 0.0}


class Pump:
    """The reactor's part that a store uses, run by hand."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[Callable[[], Any]] = SimpleQueue()

    def callFromThread(self, call: Callable[..., Any], *args: Any) -> None:
        self._calls.put(lambda: call(*args))

    def until(self, holds: Callable[[], Any]) -> None:
        while not holds():
            self._calls.get(timeout=60)()

    def wait(self, deferred: Any) -> Any:
        found: list[Any] = []
        deferred.addBoth(found.append)
        self.until(lambda: found)
        return found[0]


def microseconds(seconds: list[float], share: float) -> float:
    return float(percentile(sorted(seconds), share) * 1e6)


# --- One stream


def floor_of_one(directory: Path, count: int, sync: float | None) -> Row:
    piece, waits = os.urandom(PIECE), []
    begun = synced = time.perf_counter()
    with open(directory / "floor", "wb", buffering=0) as file:
        for _ in range(count):
            before = time.perf_counter()
            file.write(piece)
            if sync is not None and before - synced >= sync:
                os.fdatasync(file.fileno())
                synced = before
            waits.append(time.perf_counter() - before)
        os.fdatasync(file.fileno())
    seconds = time.perf_counter() - begun
    return {"who": "write()", "rate": count * PIECE / seconds / 1e6, "seconds": seconds, "waits": waits}


def store_of_one(directory: Path, count: int, sync: float | None) -> Row:
    piece, waits, pump = os.urandom(PIECE), [], Pump()
    store = FileStore(directory / "store", pump, sync_interval=sync)  # type: ignore[arg-type]
    recording = store.create("bench", f"e{sync}", "video/mp4")
    begun = time.perf_counter()
    for number in range(count):
        before = time.perf_counter()
        recording.append(piece, [Record(number * PIECE, Flag.RANDOM_ACCESS, number, number)])
        waits.append(time.perf_counter() - before)
        if recording.backlogged:
            pump.until(lambda: not store.backlogged)
    pump.wait(recording.finish())
    seconds = time.perf_counter() - begun
    pump.wait(store.close())
    return {"who": "store", "rate": count * PIECE / seconds / 1e6, "seconds": seconds, "waits": waits}


def one_stream(directory: Path, size: int) -> list[Row]:
    print(f"One stream, {size} MiB in pieces of 64 KiB, until it is durable")
    table = Table(
        [("sync", "--sync", "<8"), ("who", "who", "<8"), ("rate", "MB/s", "8.0f"), ("ratio", "of floor", "8.2f"),
         ("p50", "wait p50", "9.1f"), ("p99", "p99", "9.1f"), ("worst", "worst", "9.0f")]
    )  # fmt: skip
    table.head()
    rows: list[Row] = []
    for sync, interval in CHOICES.items():
        count = size * 16 if sync != "always" else size
        floors, stores = [], []
        for turn in range(ROUNDS):
            floors.append(floor_of_one(directory, count, interval))
            stores.append(store_of_one(directory / str(turn), count, interval))
        floor, ours = (min(each, key=lambda row: cast(float, row["seconds"])) for each in (floors, stores))
        for each in (floor, ours):
            waits: Any = each["waits"]
            row = {
                "sync": sync,
                "who": each["who"],
                "rate": each["rate"],
                "ratio": each["rate"] / floor["rate"],  # type: ignore[operator]
                "p50": microseconds(waits, 0.5),
                "p99": microseconds(waits, 0.99),
                "worst": max(waits) * 1e6,
            }
            table.row(row)
            rows.append(row)
    return rows


# --- Many streams


def floor_of_many(directory: Path, streams: int, rounds: int) -> Row:
    piece, waits = os.urandom(SMALL), []
    files = [os.open(directory / f"floor{number}", os.O_CREAT | os.O_WRONLY) for number in range(streams)]
    begun, cpu = time.perf_counter(), time.process_time()
    for turn in range(rounds):
        before = time.perf_counter()
        for descriptor in files:
            os.write(descriptor, piece)
        waits.append((time.perf_counter() - before) / streams)
        time.sleep(max(0.0, begun + (turn + 1) * INTERVAL - time.perf_counter()))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(os.fdatasync, files))
    used = time.process_time() - cpu
    tail = time.perf_counter() - begun - rounds * INTERVAL
    for descriptor in files:
        os.close(descriptor)
    return {"who": "write()", "cpu": used / (rounds * INTERVAL), "tail": tail, "waits": waits}


def store_of_many(directory: Path, streams: int, rounds: int) -> Row:
    piece, waits, pump = os.urandom(SMALL), [], Pump()
    store = FileStore(directory / "many", pump)  # type: ignore[arg-type]
    recordings = [store.create(f"bench/{number}", "e", "video/mp4") for number in range(streams)]
    for each in recordings:
        each.append(b"init", [Record(0, Flag.INITIALIZATION)])
    pump.until(lambda: all(each.durable == each.end for each in recordings))
    begun, cpu = time.perf_counter(), time.process_time()
    for turn in range(rounds):
        before = time.perf_counter()
        for each in recordings:
            each.append(piece, [Record(each.end, Flag.RANDOM_ACCESS, turn, turn)])
        waits.append((time.perf_counter() - before) / streams)
        time.sleep(max(0.0, begun + (turn + 1) * INTERVAL - time.perf_counter()))
    pump.until(lambda: all(each.durable == each.end for each in recordings))
    used = time.process_time() - cpu
    tail = time.perf_counter() - begun - rounds * INTERVAL
    pump.wait(store.close())
    return {"who": "store", "cpu": used / (rounds * INTERVAL), "tail": tail, "waits": waits}


def many_streams(directory: Path, streams: int) -> list[Row]:
    rounds = 60
    print(
        f"\n{streams} streams, 16 KiB of each every 33 ms for {rounds * INTERVAL:.0f} s, --sync 1; the floor at the end"
    )
    table = Table(
        [("who", "who", "<8"), ("cpu", "CPU", "6.2f"), ("p50", "wait p50", "9.1f"), ("worst", "worst", "9.1f"),
         ("tail", "last durable after, s", "21.2f")]
    )  # fmt: skip
    table.head()
    rows: list[Row] = []
    for measured in (floor_of_many(directory, streams, rounds), store_of_many(directory, streams, rounds)):
        waits: Any = measured["waits"]
        row = {
            "who": measured["who"],
            "cpu": measured["cpu"],
            "tail": measured["tail"],
            "p50": microseconds(waits, 0.5),
            "worst": max(waits) * 1e6,
        }
        table.row(row)
        rows.append(row)
    return rows


# --- Being there again


def write_epoch(root: Path, records: int, length: int = 100) -> None:
    """Lay down what a process has left that died: an epoch of so many records; its bytes are a hole of zeros."""
    directory = epoch_directory(root, "long", "e")
    directory.mkdir(parents=True)
    description = Description("long", "e", "application/x", 1)
    (directory / "epoch.json").write_bytes(description.dump())
    pack = struct.Struct("<BBHQqqqqqQ").pack
    boot = Files().boot_mark()
    with open(index_path(directory, 0), "wb", buffering=1 << 20) as index:
        index.write(pack_header(0, boot))
        for number in range(records):
            access = (number - 1) // 30 * 30 if number else -1
            body = pack(1, 0 if number % 30 else 2, 0, number * length, number, number, number - 1, access, -1, boot)
            index.write(crc32(body).to_bytes(4, "little") + body)
    with open(data_path(directory, 0, description.content_type), "wb") as data:
        data.truncate(records * length)


def come_back(root: Path) -> tuple[float, float]:
    """Seconds until everything is recovered, and until the last bytes of a stream could be read."""
    pump = Pump()
    begun = time.perf_counter()
    store = FileStore(root, pump)  # type: ignore[arg-type]
    found = pump.wait(store.recover())
    recovered = time.perf_counter() - begun
    last = found[-1]
    newest = pump.wait(last.last_record(last.end, Flag.RANDOM_ACCESS))
    assert pump.wait(last.read(newest.offset if newest else 0, SMALL))
    served = time.perf_counter() - begun
    pump.wait(store.close())
    return recovered, served


def being_back(directory: Path, streams: int, records: int) -> list[Row]:
    print("\nThere again, in seconds: all recovered, and the newest bytes read")
    table = Table([("what", "what", "<36"), ("recovered", "recovered", "10.3f"), ("read", "read", "10.3f")])
    table.head()
    rows: list[Row] = []
    write_epoch(directory / "long", records)
    cases = {
        f"one epoch of {records} records, died": directory / "long",
        "the same, ended in order": directory / "long",
        f"{streams} open epochs, ended in order": directory / "many",
    }
    for what, root in cases.items():
        recovered, read = come_back(root)
        row = {"what": what, "recovered": recovered, "read": read}
        table.row(row)
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=int, default=512, metavar="MIB", help="of the one stream")
    parser.add_argument("--streams", type=int, default=1000, metavar="N")
    parser.add_argument("--records", type=int, default=10_000_000, metavar="N", help="of the epoch that is recovered")
    parser.add_argument("--directory", type=Path, help="on which disk; the system's temporary one by default")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.directory, prefix="sdp-bench-") as scratch:
        directory = Path(scratch)
        rows = one_stream(directory, options.size)
        rows += many_streams(directory, options.streams)
        rows += being_back(directory, options.streams, options.records)
    if options.json is not None:
        write_json(options.json, "store", rows)


if __name__ == "__main__":
    main()
