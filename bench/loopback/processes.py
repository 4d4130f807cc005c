"""A benchmark's processes: started, waited for until they listen, looked at through /proc, and ended by their ids."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

__all__ = [
    "BENCH",
    "HOST",
    "ROOT",
    "Process",
    "Unavailable",
    "compiled",
    "environment",
    "free_port",
    "raise_file_limit",
    "resident_bytes",
    "scratch",
    "twistd",
]

HOST = "127.0.0.1"
BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LOOK_AGAIN = 0.002
"""How often a port that is waited for is tried, in seconds: it bounds the error of a start-up time."""


class Unavailable(Exception):
    """What a measurement needs is not installed, or did not start; the message says what to do."""


def free_port() -> int:
    """Return a TCP port of loopback on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def raise_file_limit() -> int:
    """Let this process and its children open as many files as they may; return how many that is."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory that is gone afterwards. Others may enter it: some servers give up their privileges."""
    with tempfile.TemporaryDirectory(prefix="sdp-bench-") as name:
        directory = Path(name)
        directory.chmod(0o777)
        yield directory


def environment(*paths: Path) -> dict[str, str]:
    """This process's environment, in which this tree's modules are found before any that are installed."""
    before = os.environ.get("PYTHONPATH")
    found = [str(path) for path in (*paths, ROOT)] + ([before] if before else [])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(found)}


def twistd(*arguments: str) -> list[str]:
    """The command line of ``twistd -n`` in this interpreter, without a file that names its process."""
    return [sys.executable, "-c", "from twisted.scripts.twistd import run; run()", "-n", "--pidfile=", *arguments]


def compiled(source: Path, directory: Path) -> Path:
    """Build one C source with the system's compiler and return the program, or raise Unavailable."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise Unavailable("no C compiler (cc or gcc) is installed")
    program = directory / source.stem
    if not program.exists():
        done = subprocess.run(
            [compiler, "-O2", "-Wall", "-Wextra", "-o", program, source], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise Unavailable(f"{source.name} could not be compiled:\n{done.stderr}")
    return program


def _family(pid: int) -> list[int]:
    """A process and all that descend from it and are alive."""
    found, todo = [], [pid]
    while todo:
        one = todo.pop()
        found.append(one)
        for children in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                todo += map(int, children.read_text().split())
            except OSError:
                continue  # a thread that ended while we looked
    return found


def _cpu_seconds(pid: int) -> float:
    """CPU time of one process: by the scheduler's nanoseconds, or by its clock ticks where those are not kept."""
    total = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(task.read_text().split()[0])
        except (OSError, IndexError):
            continue
    if total:
        return total / 1e9
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / _TICK


def resident_bytes(pid: int) -> int:
    """Resident size of one process, shared pages included; 0 where it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE
    except (OSError, IndexError):
        return 0


class Process:
    """One process of a benchmark, with its children, as a context: it has ended when the context is left.

    ``output`` receives what it writes (None: it is dropped). ``piped``: its standard input and output are for
    :attr:`popen`'s pipes instead. Times in seconds, sizes in bytes.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        *,
        output: Path | None = None,
        piped: bool = False,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.command = [str(word) for word in command]
        self._output = output
        self.started = time.monotonic()
        sink = subprocess.DEVNULL if output is None else os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        try:
            self.popen: subprocess.Popen[str] = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else sink,
                stderr=sink,
                text=True,
                env=environment() if env is None else dict(env),
                cwd=cwd,
                start_new_session=True,
            )
        finally:
            if output is not None:
                os.close(sink)

    def __enter__(self) -> Process:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def wait_until_listening(self, port: int, limit: float = 20.0) -> float:
        """Return the seconds from the start until a connection was taken, or raise Unavailable."""
        while True:
            try:
                socket.create_connection((HOST, port), 1.0).close()
                return time.monotonic() - self.started
            except OSError:
                elapsed = time.monotonic() - self.started
            if self.popen.poll() is not None or elapsed > limit:
                raise Unavailable(f"{self.command[0]} does not listen after {elapsed:.1f} s\n{self.said()}")
            time.sleep(_LOOK_AGAIN)

    def said(self) -> str:
        """The end of what it has written."""
        return "" if self._output is None else self._output.read_text(errors="replace")[-2000:]

    def cpu_seconds(self) -> float:
        """CPU time that it and its living children have used."""
        return sum(map(_cpu_seconds, _family(self.popen.pid)))

    def cpu_of_each(self) -> dict[int, float]:
        """CPU time of itself and of each of its living children, by their ids."""
        return {pid: _cpu_seconds(pid) for pid in _family(self.popen.pid)}

    def resident(self) -> int:
        """What it and its children hold in memory."""
        return sum(map(resident_bytes, _family(self.popen.pid)))

    def next_line(self) -> str:
        """Return the next line of a piped process's output, or raise Unavailable where it has ended."""
        assert self.popen.stdout is not None
        line = self.popen.stdout.readline()
        if not line:
            raise Unavailable(f"{self.command[0]} ended too soon\n{self.said()}")
        return line

    def tell(self, line: str) -> None:
        """Write a line to a piped process; one that has ended already does not hear it."""
        assert self.popen.stdin is not None
        try:
            self.popen.stdin.write(line + "\n")
            self.popen.stdin.flush()
        except BrokenPipeError:
            return

    def stop(self, limit: float = 5.0) -> None:
        """End it, with its children: by asking, and after ``limit`` seconds without."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.popen.poll() is None:
                # The session is its own, so the group holds nothing but it and its children.
                os.killpg(self.popen.pid, number)
                try:
                    self.popen.wait(limit)
                except subprocess.TimeoutExpired:
                    continue
            break
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe is not None:
                pipe.close()
