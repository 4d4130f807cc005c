"""Glass to glass on one machine: from a picture's drawing to its being decoded, and presented, in the native player.

    python bench/glass.py [--seconds S] [--case WxH@RATE]... [--relay] [--jitter MS] [--players] [--json FILE]

Beside it, in the same run, the same encoder and decoder joined by a pipe: what the codec costs, which no network can
save. Each of the Origin's pictures is followed through the trace points of Origin, Distributor and player, so that the
waterfall tells where the time goes, and every picture is accounted for. All clocks are the machine's own. ``--relay``
puts a relay in between, ``--jitter`` a line that is late by up to so many milliseconds. ``--players`` measures instead
what CPU playing 720p30 in a window takes, beside ffplay and mpv, on a virtual screen.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from loopback.figures import Row, Table, percentile, write_json
from loopback.processes import HOST, ROOT, Process, Unavailable, environment, free_port, scratch, twistd

sys.path.insert(0, str(ROOT))

from sdp.container.fragment_units import FragmentDemuxer
from sdp.errors import SDPError
from sdp.media import SourceSpec, open_source
from sdp.media.decoding import VideoDecoder
from sdp.stream.record import Flag

CASES = ("640x360@30", "1280x720@60")
WARM_UP = 2.0
"""Seconds at the beginning that do not count: joining, and code that runs for the first time."""
POINTS = (
    ("origin", "encoded"),
    ("origin", "written"),
    ("origin", "logged"),
    ("origin", "posted"),
    ("distributor", "received"),
    ("distributor", "appended"),
    ("distributor", "fanned_out"),
    ("player", "fetched"),
    ("player", "decoded"),
    ("player", "presented"),
)
_BEGIN_LIMIT = 30.0
_HEAD = 4


# -- the pipe ------------------------------------------------------------------------------------------------------


class _PipeSink:
    """Writes records to a pipe as they come, each with its length."""

    def __init__(self, output: int) -> None:
        self._output = output
        self.over = threading.Event()

    def record(self, data: bytes, flags: Flag, capture_time: int | None) -> bool:
        try:
            os.write(self._output, len(data).to_bytes(_HEAD) + data)
        except BrokenPipeError:
            return False
        return True

    def ended(self, error: SDPError | None) -> None:
        self.over.set()


def encode(size: str, rate: str) -> None:
    """The pipe's one end: the pattern to standard output."""
    width, _, height = size.partition("x")
    sink = _PipeSink(1)
    source = open_source(SourceSpec(size=(int(width), int(height)), rate=Fraction(rate), audio=False))
    source.start(sink)
    sink.over.wait()


def decode(output: str) -> None:
    """Its other end: standard input's records, when each was decoded into a file."""
    demuxer, decoder, offset = FragmentDemuxer(), None, 0
    with Path(output).open("w", buffering=1) as told:
        for data in _framed(sys.stdin.buffer):
            units = demuxer.feed(offset, data)
            offset += len(data)
            for unit in units:
                if decoder is None:
                    assert demuxer.tracks is not None
                    decoder = VideoDecoder(demuxer.tracks[0])
                captured = [picture.capture_time for picture in decoder.decode(unit)]
                told.writelines(f"{each},{time.time_ns() // 1000}\n" for each in captured)


def _framed(stream: BinaryIO) -> Iterator[bytes]:
    while len(head := stream.read(_HEAD)) == _HEAD:
        yield stream.read(int.from_bytes(head))


def by_pipe(size: str, rate: str, seconds: float, directory: Path) -> list[tuple[int, int]]:
    """(captured, decoded) of each picture."""
    file = directory / f"pipe-{size}-{rate}"
    own = [sys.executable, str(Path(__file__).resolve())]
    with (
        subprocess.Popen([*own, "--encode", size, rate], stdout=subprocess.PIPE, env=environment()) as encoder,
        subprocess.Popen([*own, "--decode", str(file)], stdin=encoder.stdout, env=environment()) as decoder,
    ):
        time.sleep(seconds + WARM_UP)
        encoder.terminate()
        decoder.wait(10)
    pairs = [tuple(map(int, line.split(","))) for line in file.read_text().splitlines()]
    return [(captured, decoded) for captured, decoded in pairs if captured > pairs[0][0] + WARM_UP * 1e6]


# -- the player ----------------------------------------------------------------------------------------------------

Trace = list[tuple[str, int | None, int | None, int]]


def read_trace(file: Path) -> Trace:
    """(point, offset, capture time, time) of each line of a ``--trace`` file."""
    rows: Trace = []
    for line in file.read_text().splitlines()[1:]:
        point, _, offset, captured, at = line.split(",")
        if at:
            rows.append((point, int(offset) if offset else None, int(captured) if captured else None, int(at)))
    return rows


class Way:
    """A Distributor, an Origin with the pattern, maybe a relay and a line, and players, while it is entered."""

    def __init__(
        self, directory: Path, size: str, rate: str, *, relay: bool, jitter: float, sound: bool = False
    ) -> None:
        self.directory, self._size, self._rate = directory, size, rate
        self._relay, self._jitter, self._sound = relay, jitter, sound
        self._stack = ExitStack()
        self.url = ""

    def __enter__(self) -> Way:
        port, directory = free_port(), self.directory
        listen = f"tcp:{port}:interface={HOST}"
        trace = ("--trace", str(directory / "distributor.trace"))
        distributor = self._begin(
            "distributor", twistd("sdp-distributor", "--listen", listen, "--store", "none", *trace)
        )
        distributor.wait_until_listening(port)
        source = [
            "--source",
            "test",
            "--size",
            self._size,
            "--rate",
            self._rate,
            *([] if self._sound else ["--no-audio"]),
        ]
        to = ("--to", f"http://{HOST}:{port}/pattern", "--store", "none", "--trace", str(directory / "origin.trace"))
        self._begin("origin", twistd("sdp-origin", *source, *to))
        last = port
        if self._relay:
            last = free_port()
            own = ("--listen", f"tcp:{last}:interface={HOST}", "--store", "none")
            relay = self._begin("relay", twistd("sdp-distributor", *own, "--upstream", f"http://{HOST}:{port}"))
            relay.wait_until_listening(last)
        if self._jitter:
            last = self._uneven(last)
        self.url = f"http://{HOST}:{last}/pattern"
        return self

    def __exit__(self, *raised: Any) -> None:
        self._stack.close()

    def _begin(self, name: str, command: Sequence[str], **more: Any) -> Process:
        return self._stack.enter_context(Process(command, output=self.directory / name, **more))

    def _uneven(self, port: int) -> int:
        """A line whose delay changes a hundred times a second, by formula."""
        from tests.playout.series import chance
        from tests.system.proxy import Line

        line, over = Line(port), threading.Event()

        def change() -> None:
            number = 0
            while not over.wait(0.01):
                line.delay(chance(number, 1000) / 1000 * self._jitter / 1000)
                number += 1

        changing = threading.Thread(target=change)
        changing.start()
        self._stack.callback(line.close)
        self._stack.callback(changing.join)
        self._stack.callback(over.set)
        return line.port

    def play(self, name: str, *options: str, **more: Any) -> Process:
        """``sdp play`` with options."""
        command = [sys.executable, "-c", "from sdp.cli import main; main(prog_name='sdp')", "play", *options, self.url]
        return self._begin(name, command, **more)


class Passage:
    """One picture's times at each point, by the traces."""

    def __init__(self, directory: Path) -> None:
        self.traces = {role: read_trace(directory / f"{role}.trace") for role in ("origin", "distributor", "player")}
        self.ends = {
            captured: offset
            for point, offset, captured, _ in self.traces["origin"]
            if point == "logged" and offset is not None and captured is not None
        }

    def times(self, role: str, point: str) -> dict[int, int]:
        """When each picture (by its capture time) passed the point."""
        rows = [row for row in self.traces[role] if row[0] == point]
        if role == "origin" and point in ("encoded", "written"):
            return {captured: at for _, _, captured, at in rows if captured is not None}
        marks = sorted((offset, at) for _, offset, _, at in rows if offset is not None)
        found: dict[int, int] = {}
        place = 0
        exact = point in ("decoded", "presented")
        for captured, end in sorted(self.ends.items(), key=lambda each: each[1]):
            while place < len(marks) and marks[place][0] < end:
                place += 1
            if place < len(marks) and (not exact or marks[place][0] == end):
                found[captured] = marks[place][1]
        return found


def figures(times: Sequence[float], name: str) -> Row:
    """Median and 99th percentile in milliseconds."""
    ordered = sorted(times)
    return {f"{name}_p50": percentile(ordered, 0.5), f"{name}_p99": percentile(ordered, 0.99)}


def by_player(
    size: str, rate: str, seconds: float, directory: Path, relay: bool, jitter: float
) -> tuple[Row, list[Row]]:
    """The player's figures, and the waterfall: what each step adds."""
    directory.mkdir()
    with Way(directory, size, rate, relay=relay, jitter=jitter) as way:
        player = way.play("player", "--headless", "--trace", str(directory / "player.trace"))
        _until(lambda: '"playing"' in player.said(), "the player does not play", player)
        time.sleep(seconds + WARM_UP)
    passage = Passage(directory)
    decoded, presented = passage.times("player", "decoded"), passage.times("player", "presented")
    if not presented:
        raise Unavailable(f"no picture was presented\n{player.said()}")
    first = min(decoded.values()) + WARM_UP * 1e6
    last = max(presented)  # what came later was still waiting to be due
    counted = [captured for captured in sorted(passage.ends) if first < captured <= last]
    row: dict[str, object] = {
        **figures([(decoded[each] - each) / 1000 for each in counted if each in decoded], "decoded"),
        **figures([(presented[each] - each) / 1000 for each in counted if each in presented], "presented"),
        "pictures": len(counted),
        "undecoded": sum(each not in decoded for each in counted),
        "unpresented": sum(each not in presented for each in counted),
    }
    steps: list[Row] = []
    before = {each: each for each in counted}
    for role, point in POINTS:
        times = passage.times(role, point)
        both = [each for each in counted if each in before and each in times]
        if both:
            steps.append({"point": point, **figures([(times[each] - before[each]) / 1000 for each in both], "step")})
            before = times
    return row, steps


def _until(holds: Callable[[], bool], otherwise: str, process: Process) -> None:
    deadline = time.monotonic() + _BEGIN_LIMIT
    while not holds():
        if time.monotonic() > deadline or process.popen.poll() is not None:
            raise Unavailable(f"{otherwise}\n{process.said()}")
        time.sleep(0.05)


# -- the CPU of playing --------------------------------------------------------------------------------------------


def players(seconds: float, directory: Path) -> Iterator[Row]:
    """What playing 720p30 with sound takes of a core, in percent, on a virtual screen."""
    xvfb = shutil.which("Xvfb")
    if xvfb is None:
        raise Unavailable("Xvfb is not installed (Debian: xvfb)")
    with ExitStack() as stack:
        way = stack.enter_context(Way(directory, "1280x720", "30", relay=False, jitter=0, sound=True))
        number = next(n for n in range(90, 200) if not Path(f"/tmp/.X11-unix/X{n}").exists())
        screen = Process([xvfb, f":{number}", "-screen", "0", "1280x800x24", "-nolisten", "tcp"])
        stack.enter_context(screen)
        seen = {**environment(), "DISPLAY": f":{number}", "SDL_AUDIODRIVER": "dummy", "SDL_VIDEODRIVER": "x11"}
        time.sleep(WARM_UP)
        own = [sys.executable, "-c", "from sdp.cli import main; main(prog_name='sdp')", "play", way.url]
        others = {
            "sdp play": own,
            "sdp play --headless": [*own, "--headless"],
            "ffplay": ["ffplay", "-loglevel", "error", "-fflags", "nobuffer", "-flags", "low_delay", way.url],
            "mpv": ["mpv", "--really-quiet", "--profile=low-latency", "--vo=x11", "--ao=null", "--no-config", way.url],
        }
        for name, command in others.items():
            if shutil.which(command[0]) is None:
                print(f"{name}: left out: it is not installed")
                continue
            with Process(command, env=seen, output=directory / name.replace(" ", "-")) as one:
                time.sleep(WARM_UP + 1)
                before, at = one.cpu_seconds() + screen.cpu_seconds(), time.monotonic()
                alone = one.cpu_seconds()
                time.sleep(seconds)
                passed = time.monotonic() - at
                if one.popen.poll() is not None:
                    print(f"{name}: left out: it ended\n{one.said()}")
                    continue
                yield {
                    "player": name,
                    "cpu": 100 * (one.cpu_seconds() - alone) / passed,
                    "with_screen": 100 * (one.cpu_seconds() + screen.cpu_seconds() - before) / passed,
                    "memory": one.resident() / (1 << 20),
                }


# -- what is printed -----------------------------------------------------------------------------------------------


def measured(case: str, seconds: float, directory: Path, relay: bool, jitter: float) -> Row:
    """One case: the pipe, the player, and the waterfall."""
    size, _, rate = case.partition("@")
    pipe = by_pipe(size, rate, seconds, directory)
    row, steps = by_player(size, rate, seconds, directory / f"player-{size}-{rate}", relay, jitter)
    whole = {"case": case, **figures([(decoded - captured) / 1000 for captured, decoded in pipe], "pipe"), **row}
    waterfall = Table((("point", f"  {case}: to", "<14s"), ("step_p50", "p50", "7.2f"), ("step_p99", "p99", "7.2f")))
    waterfall.head()
    for step in steps:
        waterfall.row(step)
    return {**whole, "waterfall": steps}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=8.0, help="how long each is measured (8)")
    parser.add_argument("--case", action="append", metavar="WxH@RATE")
    parser.add_argument("--relay", action="store_true")
    parser.add_argument("--jitter", type=float, default=0.0, metavar="MS")
    parser.add_argument("--players", action="store_true")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--encode", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--decode", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.encode is not None:
        encode(*given.encode)
        return
    if given.decode is not None:
        decode(given.decode)
        return
    rows: list[Row] = []
    with scratch() as directory:
        if given.players:
            table = Table(
                (("player", "player", "<20s"), ("cpu", "CPU %", "7.1f"), ("with_screen", "with the screen's", "7.1f"),
                 ("memory", "MiB", "7.0f"))
            )  # fmt: skip
            table.head()
            for row in players(given.seconds, directory):
                table.row(row)
                rows.append(row)
        else:
            rows = [measured(case, given.seconds, directory, given.relay, given.jitter) for case in given.case or CASES]
            names = ("pipe", "decoded", "presented")
            times = [(f"{name}_{share}", f"{name} {share}", "7.2f") for name in names for share in ("p50", "p99")]
            counts = [(name, name, "6d") for name in ("pictures", "undecoded", "unpresented")]
            table = Table((("case", "milliseconds", "<14s"), *times, *counts))
            table.head()
            for row in rows:
                table.row(row)
    if given.json:
        write_json(given.json, "glass", rows)


if __name__ == "__main__":
    main()
