"""A screen as a source: captured at its own pace, encoded at once, timed by its own clock."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest

from sdp.media import SourceSpec, open_source
from sdp.stream.record import Flag

from .doubles import decode, run


@pytest.fixture
def screen() -> Iterator[str]:
    """A screen of its own, without a monitor: its display's name."""
    server = shutil.which("Xvfb")
    if server is None:
        pytest.skip("Xvfb is not installed")
    reading, writing = os.pipe()
    command = [server, "-displayfd", str(writing), "-screen", "0", "640x480x24", "-nolisten", "tcp"]
    with subprocess.Popen(command, pass_fds=[writing], stderr=subprocess.DEVNULL) as process:
        os.close(writing)
        with open(reading) as told:
            display = f":{told.readline().strip()}"
        yield display
        process.terminate()


def test_a_screen(screen: str) -> None:
    before = time.time_ns() // 1000
    source = open_source(SourceSpec(source=f"x11grab:{screen}", size=(320, 240), rate=25))
    sink = run(source, 12)
    after = time.time_ns() // 1000
    assert sink.error is None
    assert [given.flags for given in sink.given[:3]] == [Flag.INITIALIZATION, Flag.RANDOM_ACCESS, Flag.NONE]
    times = [given.capture_time or 0 for given in sink.given[1:]]
    assert times == sorted(times)
    assert before - 1_000_000 <= times[0] <= times[-1] <= after
    frames = decode(sink.stream).video
    assert (len(frames), frames[0].width, frames[0].height) == (11, 320, 240)
