"""The processes of a cell: started, listened to, weighed, ended by their ids; and what can be found on this machine.

Each says what it has to say into a file of its own in the cell's directory, whose last lines are told when it dies.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from sdp.errors import LocalError

__all__ = ["Child", "Used", "eventually", "find_program", "free_port", "module", "twistd"]

TERM_PATIENCE = 10.0
"""How long a process has to end after SIGTERM before it is killed, in seconds: what every role promises."""

LAST_LINES = 8
"""How many lines of a process that died are told."""

_TWISTD = "from twisted.scripts.twistd import run; run()"
_TICK = os.sysconf("SC_CLK_TCK")


@attrs.frozen
class Used:
    """What a process, with those that it started, has used: seconds of processor, and the most bytes resident."""

    cpu_seconds: float
    rss_bytes: int


def twistd(role: str, *options: str) -> list[str]:
    """The command of a role, in the foreground, by this interpreter."""
    return [sys.executable, "-c", _TWISTD, "-n", "--pidfile=", role, *options]


def module(name: str) -> list[str]:
    """The command of one of the laboratory's own processes."""
    return [sys.executable, "-m", name]


def find_program(name: str) -> str | None:
    """Where a program is, looking where a server's lie as well."""
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")


def free_port() -> int:
    """A port of the loopback address that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def eventually(holds: Callable[[], bool], what: str, patience: float, children: Sequence[Child] = ()) -> None:
    """Wait until something holds. Raises LocalError where that takes too long, or one of ``children`` has ended."""
    deadline = time.monotonic() + patience
    while not holds():
        for child in children:
            child.check()
        if time.monotonic() > deadline:
            said = "".join(f"\n{child.role}: {child.last_words()}" for child in children)
            raise LocalError(f"{what} within {patience:g} s.{said}")
        time.sleep(0.01)


def _ending_with_us() -> list[str]:
    """What a command begins with where the system has it: whatever ends the laboratory, in whatever way, then ends what
    it has started (prctl(2), PR_SET_PDEATHSIG)."""
    program = find_program("setpriv")
    return [] if program is None else [program, "--pdeathsig", "TERM", "--"]


class Child:
    """One process: ``role`` names it in the tables. ``orders`` is the first line of its standard input, which stays
    open where it is given. Raises LocalError where it cannot be started."""

    def __init__(self, role: str, command: Sequence[str], directory: Path, orders: str | None = None) -> None:
        self.role = role
        self.command = list(command)
        self._log = directory / f"{role}.log"
        self._orders = orders
        self._directory = directory
        self._used = Used(0.0, 0)
        self.start()

    def start(self) -> None:
        """Start it, or start it again."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(each or os.getcwd() for each in sys.path)}
        self.output: list[str] = []
        with self._log.open("ab") as log:
            try:
                self.process = subprocess.Popen(
                    [*_ending_with_us(), *self.command],
                    cwd=self._directory,
                    env=environment,
                    stdin=subprocess.DEVNULL if self._orders is None else subprocess.PIPE,
                    stdout=log,
                    stderr=log,
                )
            except OSError as error:
                raise LocalError(f"{self.command[0]} cannot be started: {error.strerror}.") from error
        if self._orders is not None:
            self.say(self._orders)

    def say(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()

    def said(self) -> str:
        """All that it has said so far."""
        return self._log.read_text("utf-8", "replace")

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def check(self) -> None:
        """Raise LocalError where it has ended."""
        if not self.running:
            raise LocalError(f"{self.role} ended with {self.process.returncode}: {self.last_words()}")

    def last_words(self) -> str:
        """Its last lines."""
        return "\n".join(self.said().splitlines()[-LAST_LINES:]) or "it said nothing."

    # -- weighing ----------------------------------------------------------------------------------------------

    def used(self) -> Used:
        """What it has used up to now, or up to its end."""
        if self.running:
            with suppress(OSError):
                self._used = _used(self.process.pid)
        return self._used

    # -- ending ------------------------------------------------------------------------------------------------

    def kill(self) -> None:
        """End it as a power loss would."""
        self.used()
        self.process.kill()
        self.process.wait()

    def ask_to_end(self) -> None:
        """Send SIGTERM, and do not wait. Its standard input ends too: whoever waits for a line there would not see
        the signal."""
        self.used()
        if self.process.stdin is not None and not self.process.stdin.closed:
            with suppress(BrokenPipeError):
                self.process.stdin.close()
        if self.running:
            self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """Ask, and wait until it is gone."""
        self.ask_to_end()
        try:
            self.process.wait(TERM_PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()


def _used(pid: int) -> Used:
    """As proc(5) tells it: a process and its children, whose supervisor carries no load itself."""
    directory = Path(f"/proc/{pid}")
    fields = (directory / "stat").read_text().rpartition(")")[2].split()
    peak = 0
    for line in (directory / "status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            peak = int(line.split()[1]) * 1024
    cpu = (int(fields[11]) + int(fields[12])) / _TICK
    for task in (directory / "task").iterdir():
        for child in (task / "children").read_text().split():
            with suppress(OSError):
                more = _used(int(child))
                cpu, peak = cpu + more.cpu_seconds, peak + more.rss_bytes
    return Used(cpu, peak)
