"""``python -m tests.system.torture``: one run, told line by line, and how to repeat it where it fails."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.system.programs import make_clip
from tests.system.torture.nodes import PATTERN, Source
from tests.system.torture.run import torture
from tests.system.torture.schedule import schedule, setting

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.system.torture", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", type=int, default=200)
    parser.add_argument("--only", metavar="A-B", help="leave out the faults before number A and after B")
    parser.add_argument("--source", type=Path, help="the file to stream; a short one is made where none is given")
    parser.add_argument("--keep", action="store_true", help="leave all files where they are, also after a success")
    options = parser.parse_args(arguments)

    def tell(line: str) -> None:
        if line:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()

    # Whoever ends this run ends all that it has started.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))
    directory = Path(tempfile.mkdtemp(prefix="sdp-torture-"))
    clip = options.source.resolve() if options.source else make_clip(directory / "clip.mp4")
    ending: Source = ("--source", clip)
    streams = {"pattern": PATTERN, "clip": ending}
    faults = schedule(options.seed, options.faults, list(streams))
    if options.only:
        first, _, last = options.only.partition("-")
        faults = [fault for fault in faults if int(first) <= fault.number <= int(last or first)]
    wrong = torture(directory, options.seed, setting(options.seed), faults, streams, ending, tell)
    for each in wrong:
        tell(f"WRONG: {each}")
    if wrong:
        source = f" SOURCE={options.source}" if options.source else ""
        tell(
            f"What each node said lies in {directory}. To do it again: make torture SEED={options.seed}"
            f" FAULTS={options.faults}{source}"
        )
    elif not options.keep:
        shutil.rmtree(directory)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
