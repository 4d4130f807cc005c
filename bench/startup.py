"""How soon the Distributor listens, beside Twisted's own web server, and that no codec is loaded for it.

    python bench/startup.py [--runs N] [--json FILE]

The time is from the process's start until a connection to its port is taken; the least of all runs and their median are
told, with the CPU time up to then. What is imported for it is counted too. The status is 1 where ``import sdp``, or the
Distributor, imports av: whoever only distributes needs no codecs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from loopback.figures import Row, Table, write_json
from loopback.processes import HOST, Process, Unavailable, environment, free_port, scratch, twistd

TARGET = 0.5
"""Seconds until the Distributor listens."""


def commands(directory: Path) -> dict[str, Callable[[int], Sequence[str]]]:
    def listen(port: int) -> str:
        return f"tcp:{port}:interface={HOST}"

    return {
        "twistd sdp-distributor": lambda port: twistd("sdp-distributor", "--listen", listen(port), "--store", "none"),
        "the same, with a store": lambda port: twistd(
            "sdp-distributor", "--listen", listen(port), "--store", str(directory / "store")
        ),
        "twistd web": lambda port: twistd("web", "--listen", listen(port), "--path", str(directory)),
    }


def start(command: Callable[[int], Sequence[str]], directory: Path) -> tuple[float, float]:
    """Start one server, and return the seconds until it listened, and its CPU time up to then."""
    port = free_port()
    with Process(command(port), output=directory / "log", cwd=directory) as process:
        return process.wait_until_listening(port), process.cpu_seconds()


_LOOK = """
import importlib, json, pkgutil, sys, time
begun = time.perf_counter()
for name in sys.argv[1:]:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), name + "."):
        importlib.import_module(found.name)
seconds = time.perf_counter() - begun
print(json.dumps({"seconds": seconds, "modules": len(sys.modules), "av": "av" in sys.modules}))
"""

# The rooms that serve: all of each is imported, not only what its __init__ does.
IMPORTS: dict[str, tuple[str, ...]] = {
    "import sdp": ("sdp",),
    "the Distributor": ("sdp.tap.distributor",),
    "every command": ("sdp.tap.distributor", "sdp.tap.origin", "sdp.tap.consumer", "sdp.cli"),
    "all that serves": (
        "sdp.distributor",
        "sdp.net",
        "sdp.http1",
        "sdp.stream",
        "sdp.container",
        "sdp.store",
        "sdp.web",
        "sdp.consumer",
        "sdp.errors",
        "sdp.interfaces",
        "sdp.settings",
    ),
}


def imported(names: Sequence[str], *, walk: bool) -> dict[str, float]:
    """Import modules in a fresh process, and return what that took and brought."""
    code = _LOOK if walk else _LOOK.replace('getattr(module, "__path__", ())', "()")
    done = subprocess.run(
        [sys.executable, "-c", code, *names], env=environment(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"importing {', '.join(names)} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def listening(runs: int) -> list[Row]:
    table = Table(
        (
            ("what", "what", "<24s"),
            ("least", "least s", "8.3f"),
            ("median", "median s", "8.3f"),
            ("cpu", "CPU s", "8.3f"),
            ("to_web", "to web", "8.2f"),
        )
    )
    rows: list[dict[str, object]] = []
    with scratch() as directory:
        every = commands(directory)
        # In turn, so that a machine that is busy for a while is so for all of them.
        times = [{what: start(command, directory) for what, command in every.items()} for _ in range(runs)]
    web = median(run["twistd web"][0] for run in times)
    table.head()
    for what in every:
        seconds = sorted(run[what][0] for run in times)
        row: dict[str, object] = {
            "what": what,
            "least": seconds[0],
            "median": median(seconds),
            "cpu": median(run[what][1] for run in times),
            "to_web": median(seconds) / web,
        }
        table.row(row)
        rows.append(row)
    print(f"(the target is {TARGET} s on a machine that does nothing else)")
    return list(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    try:
        rows = listening(options.runs)
    except Unavailable as reason:
        sys.exit(str(reason))
    print()
    table = Table(
        (
            ("what", "what is imported", "<24s"),
            ("seconds", "seconds", "8.3f"),
            ("modules", "modules", "8d"),
            ("codecs", "codecs", ">6s"),
        )
    )
    table.head()
    wrong = []
    for what, names in IMPORTS.items():
        row: dict[str, object] = {"what": what, **imported(names, walk=what == "all that serves")}
        row["codecs"] = "av" if row["av"] else "none"
        table.row(row)
        rows.append(row)
        if row["av"]:
            wrong.append(what)
    if options.json:
        write_json(options.json, "startup", rows)
    if wrong:
        sys.exit(f"av is imported by: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
