"""How a process leaves: with the status that its service asked for, and with nothing left undone."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from twisted.internet.error import ReactorNotRunning

from sdp.tap.leaving import Leaving

ROOT = Path(__file__).resolve().parents[2]

PROGRAM = """
import atexit, sys, threading
from twisted.internet import reactor
from sdp.tap.leaving import Leaving
atexit.register(lambda: print("registered before"))
leave = Leaving(reactor)
reactor.addSystemEventTrigger("before", "shutdown", lambda: print("service stopped"))
{when}
atexit.register(lambda: print("registered after"))
reactor.run()
print("reactor has ended")
"""


@pytest.mark.parametrize("status", [0, 1, 3])
@pytest.mark.parametrize("when", ["leave({0})", "reactor.callLater(0, leave, {0})", "leave({0}); leave(7)"])
def test_the_status_and_all_that_happens_before(status, when):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(when=when.format(status))],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, "")
    said = done.stdout.splitlines()
    assert said[:2] == ["service stopped", "reactor has ended"]
    assert sorted(said[2:]) == ["registered after", "registered before"]


class Reactor:
    def __init__(self):
        self.stops = 0

    def callWhenRunning(self, call):
        call()

    def stop(self):
        self.stops += 1
        raise ReactorNotRunning


def test_a_signal_may_come_first():
    reactor = Reactor()
    leave = Leaving(reactor)
    leave(0)
    leave(0)
    assert (reactor.stops, leave.status) == (1, 0)
