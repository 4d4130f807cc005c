"""What giving one stream to many costs: the Distributor beside the least that one thread can do, in the same run.

    python bench/fanout.py [--servers NAMES] [--case CONSUMERS,SIZE,RATE[,STREAMS]]... [--seconds S] [--json FILE]
    python bench/fanout.py --plot FILE.svg         how the cost grows in consumers, streams, record size and rate
    python bench/fanout.py --joins 1000            who joins, and whether those notice who are there
    python bench/fanout.py --silent 200            who asks and reads nothing, and what that costs

A publisher sends stamped records at a pace, consumers in another process read them, all over loopback; bench/README.rst
says what the columns mean. Without --case it takes two to three minutes.
"""

from __future__ import annotations

import argparse
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from loopback.figures import Row, Table, write_json
from loopback.load import Case, Loader, measure, measure_joining, measure_silence
from loopback.plot import Panel, draw
from loopback.processes import Unavailable, raise_file_limit, scratch
from loopback.servers import server_named

PAIR = ("floor", "sdp")
FORMS = ("floor", "sdp", "sdp-parts", "sdp-store", "sdp-workers2")
FEW = ("floor", "sdp", "sdp-open", "icecast", "nchan", "twisted.web", "aiohttp")
DEPTHS = ("sdp", "sdp-relay1", "sdp-relay2", "sdp-relay3")
KIB = 1024
Columns = tuple[tuple[str, str, str], ...]

# Each is what a machine with two cores can carry, the load on one of them.
TABLE: tuple[tuple[Case, tuple[str, ...]], ...] = (
    (Case(1, 2 * KIB, 30), PAIR),
    (Case(1, 256 * KIB, 30), PAIR),
    (Case(100, 2 * KIB, 30), PAIR),
    (Case(100, 16 * KIB, 30), FEW),
    (Case(100, 256 * KIB, 10), ("floor", "sdp", "sdp-store")),
    (Case(100, 16 * KIB, 30), DEPTHS),
    (Case(1000, 2 * KIB, 30), ("floor", "sdp", "sdp-store", "sdp-workers2")),
    (Case(1000, 2 * KIB, 2, 1), PAIR),
    (Case(1000, 2 * KIB, 2, 1000), PAIR),
    (Case(1000, 16 * KIB, 30), FORMS),
    (Case(1000, 256 * KIB, 1), PAIR),
    (Case(3000, 2 * KIB, 30), PAIR),
    (Case(3000, 16 * KIB, 10), PAIR),
)

GROWTH: dict[str, tuple[str, tuple[Case, ...]]] = {
    "consumers": ("2 KiB records, 30 a second", tuple(Case(n, 2 * KIB, 30) for n in (1, 10, 100, 300, 1000, 3000))),
    "streams": (
        "1000 consumers in all, 2 KiB records, 2 a second",
        tuple(Case(1000, 2 * KIB, 2, n) for n in (1, 10, 100, 1000)),
    ),
    "size": (
        "300 consumers, 10 records a second; bytes of a record",
        tuple(Case(300, n * KIB, 10) for n in (1, 4, 16, 64, 128)),
    ),
    "rate": (
        "300 consumers, 2 KiB records; records a second",
        tuple(Case(300, 2 * KIB, n) for n in (5, 15, 30, 60, 120)),
    ),
}

COLUMNS = (
    ("case", "consumers x size x rate", "<26s"),
    ("server", "server", "<15s"),
    ("cpu", "CPU %", "7.1f"),
    ("cpu_to_floor", "to floor", "8.2f"),
    ("cpu_us", "us each", "7.1f"),
    ("p50", "p50 ms", "8.2f"),
    ("p99", "p99 ms", "8.2f"),
    ("p999", "p99.9 ms", "8.2f"),
    ("p99_to_floor", "to floor", "8.2f"),
    ("joins", "joins/s", "8,.0f"),
    ("memory", "KiB each", "8.1f"),
    ("pace", "pace %", "6.1f"),
    ("delivered", "came %", "6.1f"),
    ("load", "load %", "6.1f"),
)
JOINING = (
    ("case", "who stands there", "<26s"),
    ("server", "server", "<15s"),
    ("newcomers", "newcomers", "9d"),
    ("joined", "admitted", "8d"),
    ("seconds", "seconds", "7.2f"),
    ("p99_before", "p99 before", "10.2f"),
    ("p99_during", "p99 meanwhile", "13.2f"),
    ("ratio", "ratio", "5.2f"),
    ("max_during", "greatest", "8.2f"),
)
SILENCE = (
    ("case", "who stands there", "<26s"),
    ("server", "server", "<15s"),
    ("silent", "silent", "6d"),
    ("memory", "KiB each", "8.1f"),
    ("p99_before", "p99 before", "10.2f"),
    ("p99_during", "p99 meanwhile", "13.2f"),
    ("ratio", "ratio", "5.2f"),
)


def size_of(text: str) -> int:
    match = re.fullmatch(r"([0-9]+)([KM]?)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is no size; write it as 2048, 2K or 1M")
    return int(match[1]) << {"": 0, "K": 10, "M": 20}[match[2]]


def case_of(text: str) -> Case:
    """Read CONSUMERS,SIZE,RATE[,STREAMS]."""
    consumers, size, rate, *streams = text.split(",")
    case = Case(int(consumers), size_of(size), float(rate), *map(int, streams))
    if case.consumers < 1 or case.streams < 1 or case.consumers % case.streams or case.rate <= 0:
        raise ValueError(f"{text!r}: the consumers are to be spread evenly over the streams")
    return case


class Run:
    """The measurements of one call, in order; floors are kept for the ratios."""

    def __init__(self, loader: Loader, options: argparse.Namespace) -> None:
        self._loader = loader
        self._options = options
        self._absent: set[str] = set()

    def case(self, case: Case, names: Sequence[str]) -> Iterator[Row]:
        """Measure each of the servers on one case, one right after the other."""
        floor: Row | None = None
        for name in names:
            if name in self._absent:
                continue
            try:
                row: dict[str, object] = dict(
                    measure(
                        server_named(name, self._options.option),
                        case,
                        self._loader,
                        seconds=self._options.seconds,
                        join_limit=self._options.join_limit,
                    )
                )
            except Unavailable as reason:
                print(f"{case.text:26s}  {name} is left out: {reason}", flush=True)
                self._absent.add(name)
                continue
            if name == "floor":
                floor = row
            for key in ("cpu", "p99"):
                row[f"{key}_to_floor"] = float(row[key]) / float(floor[key]) if floor else None  # type: ignore[arg-type]
            yield row

    def table(self, cases: Sequence[tuple[Case, Sequence[str]]]) -> list[Row]:
        table, rows = Table(COLUMNS), []
        table.head()
        for case, names in cases:
            for row in self.case(case, names):
                table.row(row)
                _remark(row)
                rows.append(row)
        return rows

    def beside(
        self, what: Callable[..., Row], live: Case, others: int, columns: Columns, names: Sequence[str]
    ) -> list[Row]:
        """Measure what ``others``, who do something, mean to the consumers that stand there already."""
        table = Table(columns)
        rows: list[Row] = []
        table.head()
        for name in names:
            if name in self._absent:
                continue
            limits = {"seconds": self._options.seconds, "join_limit": self._options.join_limit}
            try:
                row = what(server_named(name, self._options.option), live, others, self._loader, **limits)
            except Unavailable as reason:
                print(f"{name} is left out: {reason}", flush=True)
                continue
            table.row(row)
            rows.append(row)
        return rows

    def joining(self, newcomers: int, names: Sequence[str]) -> list[Row]:
        return self.beside(measure_joining, Case(300, 2 * KIB, 30), newcomers, JOINING, names)

    def silence(self, silent: int, names: Sequence[str]) -> list[Row]:
        # Enough bytes to fill what the kernel buffers for each of them, some MiB, within the window.
        return self.beside(measure_silence, Case(50, 32 * KIB, 30), silent, SILENCE, names)

    def growth(self, names: Sequence[str], file: Path) -> list[Row]:
        """Measure along each axis, and draw it."""
        rows, panels = [], []
        for axis, (about, cases) in GROWTH.items():
            print(f"\n{axis}: {about}")
            measured = self.table([(case, names) for case in cases])
            rows += measured
            panels.append(
                Panel(axis, about, [(str(r["server"]), _number(r[axis]), _number(r["cpu"])) for r in measured])
            )
        file.write_text(draw("Server CPU, in percent of one core", panels))
        print(f"\ndrawn: {file}")
        return rows


def _number(value: object) -> float:
    assert isinstance(value, int | float)
    return float(value)


def _remark(row: Row) -> None:
    """Say what a reader would else take for a figure of the whole load."""
    said = {
        "joined": f"only {row['joined']} of {row['consumers']} were admitted in time"
        * (row["joined"] != row["consumers"]),
        "missed": f"{row['missed']} records were left out for someone",
        "lost": f"{row['lost']} connections were closed",
        "refused": f"{row['refused']} requests were refused",
    }
    remarks = [text for key, text in said.items() if row[key] and text]
    if remarks:
        print(f"{'':28}{row['server']}: {'; '.join(remarks)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", help="which of those that bench/README.rst lists, joined by commas")
    parser.add_argument("--case", action="append", type=case_of, metavar="CONSUMERS,SIZE,RATE[,STREAMS]")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each load is measured (3)")
    parser.add_argument("--joins", type=int, metavar="N", help="measure only how N join where 300 are")
    parser.add_argument("--silent", type=int, metavar="N", help="measure only what N cost that read nothing")
    parser.add_argument("--join-limit", type=float, default=20.0, help="the longest wait for all to be admitted (20 s)")
    parser.add_argument("--option", action="append", default=[], help="one more word of the Distributor's command line")
    parser.add_argument("--python-load", action="store_true", help="read in Python even where there is a C compiler")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    names = options.servers.split(",") if options.servers else None
    raise_file_limit()
    native = not options.python_load and (shutil.which("cc") or shutil.which("gcc")) is not None
    if not native:
        print("The consumers run in Python: more of the machine goes to them.")
    with scratch() as directory:
        run = Run(Loader(directory, native), options)
        if options.plot:
            rows = run.growth(names or PAIR, options.plot)
        elif options.joins:
            rows = run.joining(options.joins, names or PAIR)
        elif options.silent:
            rows = run.silence(options.silent, names or PAIR)
        else:
            cases = [(case, PAIR) for case in options.case] if options.case else list(TABLE)
            rows = run.table([(case, names or usual) for case, usual in cases])
            if not options.case:
                print("\nwho joins, and whether those notice who are there")
                rows += run.joining(1000, names or PAIR)
                print("\nwho asks and reads nothing, and whether the others notice")
                rows += run.silence(200, names or PAIR)
    if options.json:
        write_json(options.json, "fanout", rows)


if __name__ == "__main__":
    main()
