"""The real command as a process: started, listened to, ended; and what it says on its output."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tests.system.client import LIMIT, Fields, Peer, Response, content_range

ROOT = Path(__file__).resolve().parents[2]

T = TypeVar("T")


def twistd() -> str:
    """The twistd of the interpreter that runs the tests."""
    beside = Path(sys.executable).with_name("twistd")
    found = str(beside) if beside.exists() else shutil.which("twistd")
    assert found is not None, "no twistd"
    return found


def eventually(condition: Callable[[], T], what: str = "the condition", limit: float = LIMIT) -> T:
    """Ask until the answer is true, and return it: for what the wire gives no event of. ``limit`` is in seconds."""
    deadline = time.monotonic() + limit
    pause = threading.Event()
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"{what} did not come about; last: {value!r}"
        pause.wait(0.02)


class Process:
    """A program that runs, with what it has said so far. It ends by its id, and by nothing else."""

    def __init__(
        self, *argv: str | Path, cwd: Path = ROOT, stdin: int = subprocess.DEVNULL, **environment: str
    ) -> None:
        self.lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            [str(each) for each in argv],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **environment},
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                with self._news:
                    self.lines.append(line.rstrip("\n"))
                    self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def wait_for(self, pattern: str, limit: float = LIMIT) -> str:
        """Return the first line of its output that matches."""
        deadline = time.monotonic() + limit
        seen = 0
        with self._news:
            while True:
                for line in self.lines[seen:]:
                    if re.search(pattern, line):
                        return line
                seen = len(self.lines)
                left = deadline - time.monotonic()
                assert left > 0, f"no {pattern!r} in:\n" + "\n".join(self.lines)
                assert self._reader.is_alive(), f"ended before {pattern!r}:\n" + "\n".join(self.lines)
                self._news.wait(left)

    # -- ending ------------------------------------------------------------------------------------------------

    def terminate(self) -> None:
        """Ask it to drain."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout: float = LIMIT) -> int:
        """Wait for its end and return its status."""
        status = self.process.wait(timeout)
        self._reader.join(LIMIT)
        return status

    def kill(self) -> None:
        self.process.kill()
        self.wait()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.terminate()
            try:
                self.wait()
            except subprocess.TimeoutExpired:
                self.kill()
                raise

    def faults(self) -> list[str]:
        """What of its output tells of a fault in the program."""
        return [line for line in self.lines if "Traceback" in line or "Unhandled" in line or "Error:" in line]


WORKERS = os.environ.get("SDP_TEST_WORKERS", "1")
"""In how many processes each Distributor runs: the contract is the same."""


class Distributor(Process):
    """A running ``twistd -n sdp-distributor`` on the loopback address; on a free port where none is named."""

    def __init__(self, *options: str, store: str | Path = "none", port: int = 0, start_limit: float = LIMIT) -> None:
        super().__init__(
            *(twistd(), "-n", "--pidfile=", "sdp-distributor", "--listen", f"tcp:{port}:interface=127.0.0.1"),
            *("--store", str(store), *(() if WORKERS == "1" or "--workers" in options else ("--workers", WORKERS))),
            *options,
        )
        try:
            line = self.wait_for(r"Listening on .*port=\d+", start_limit)
        except BaseException:
            self.kill()
            raise
        match = re.search(r"port=(\d+)", line)
        assert match is not None
        self.port = int(match[1])

    def processes(self) -> list[int]:
        """Its own process and its workers, the first of them first."""
        own = self.process.pid
        return [own, *map(int, Path(f"/proc/{own}/task/{own}/children").read_text().split())]

    # -- talking -----------------------------------------------------------------------------------------------

    def peer(self, **options: Any) -> Peer:
        return Peer(self.port, **options)

    def call(
        self, method: str, target: str, fields: Fields = (), body: bytes | None = None, *, version: str = "1.1"
    ) -> Response:
        """One request on a connection of its own."""
        with self.peer() as peer:
            return peer.call(method, target, fields, body, version=version)

    def raw(self, data: bytes) -> Response:
        """Send bytes as they are and return the answer, held to be followed by the connection's end."""
        with self.peer() as peer:
            peer.send(data)
            response = peer.response()
            assert response.get("Connection") == "close", response
            assert peer.ended()
            return response

    def post(self, name: str, first: int, data: bytes, fields: Fields = (), complete: int | str = "*") -> Response:
        """POST ``data`` as the bytes from ``first`` on."""
        lines = {**content_range(first, first + len(data) - 1, complete), **dict(fields)}
        return self.call("POST", f"/{name}", lines, data)

    def finish(self, name: str, length: int) -> Response:
        """End the epoch at ``length``."""
        return self.call("POST", f"/{name}", {"Content-Range": f"bytes */{length}"}, b"")

    def log_of(self, name: str) -> bytes:
        """All bytes of a stream that are held."""
        end = self.call("HEAD", f"/{name}").end
        if not end:
            return b""
        response = self.call("GET", f"/{name}", {"Range": f"bytes=0-{end - 1}"})
        assert response.status == 206, response
        return response.body

    def describe(self, name: str) -> dict[str, Any]:
        response = self.call("GET", f"/-/streams/{name}")
        assert response.status == 200, response
        described: dict[str, Any] = json.loads(response.body)
        return described

    def metric(self, name: str) -> float:
        response = self.call("GET", "/-/metrics")
        match = re.search(rf"^{name} ([0-9.e+]+)$", response.body.decode(), re.MULTILINE)
        assert match is not None, name
        return float(match[1])


def problem_of(response: Response, status: int) -> dict[str, Any]:
    """The problem document of a refusal, held to section 6 of the contract: title, status, detail in a sentence."""
    assert response.status == status, response
    assert response["Content-Type"] == "application/problem+json"
    document: dict[str, Any] = json.loads(response.body)
    assert document["status"] == status
    assert document["title"]
    detail = document["detail"]
    assert detail[0].isupper() or detail[0] == "/" or detail.startswith("If-"), detail
    assert detail.endswith("."), detail
    assert len(detail.split()) >= 3, detail
    return document
