"""A Distributor and relays behind each other, as one process's children: what one more hop costs is theirs together.

    chain PORT DEPTH

The last relay listens on PORT; what is posted there is passed up to the Distributor, and comes down again. It ends when
it is told to, or when one of them does.
"""

from __future__ import annotations

import subprocess
import sys
import time

from .processes import HOST, free_port, twistd

__all__ = ["main"]


def main() -> None:
    last, depth = int(sys.argv[1]), int(sys.argv[2])
    ports = [*(free_port() for _ in range(depth)), last]
    running = []
    for number, port in enumerate(ports):
        way = ("--upstream", f"http://{HOST}:{ports[number - 1]}") if number else ("--store", "none")
        running.append(subprocess.Popen(twistd("sdp-distributor", "--listen", f"tcp:{port}:interface={HOST}", *way)))
    while all(each.poll() is None for each in running):
        time.sleep(0.2)


if __name__ == "__main__":
    main()
