"""From the drawing of a picture to its being painted in a browser, step by step, on one machine.

    python bench/glass_browser.py [--seconds S] [--case WxH@RATE ...] [--way webcodecs mse] [--target MS] [--json FILE]

The Origin's test pattern goes through the Distributor into Chromium without a window, where the page's own player
plays it. Each picture bears the moment at which it was drawn; all clocks are the machine's own. "arrived" is when the
page's script had the picture's last byte, "decoded" when the decoder gave it out, "drawn" when it was on the canvas,
"painted" the animation frame that carried it to the screen (60 a second: half a frame after drawn on average, for
whatever player there is). Media Source Extensions tell only the last: when the video element's frame was due on the
screen. "delay" is what the playout wants over the fastest arrival: "auto" is bound to the worst moments of the last
ten seconds, so that it says how busy the machine is; with --target 0 each picture is painted as soon as it can be. A
picture is "late" where a newer one was due before it was painted, "skipped" where it was left out before it was
decoded, and "lost" where the time between the first and the last holds one more than were counted: the Origin of a
busy machine leaves some out.
"""

from __future__ import annotations

import argparse
import importlib.util
import re
import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from loopback.figures import Row, Table, percentile, write_json
from loopback.processes import HOST, ROOT, Process, Unavailable, free_port, scratch, twistd

sys.path.insert(0, str(ROOT))

WARM_UP = 5.0
"""Seconds at the beginning that do not count: joining, a decoder's first pictures, and what the playout learns."""
_LIMIT = 60_000
_STEPS = ("arrived", "decoded", "drawn", "painted")

COLUMNS = [
    ("case", "case", "<12"),
    ("way", "way", "<10"),
    ("pictures", "pictures", ">8"),
    *((f"{step}_{share}", f"{step if share == 'p50' else ''} {share}".strip(), ">11.1f" if share == "p50" else ">6.1f")
      for step in _STEPS for share in ("p50", "p99")),
    ("delay", "delay", ">6.1f"),
    ("late", "late", ">5"),
    ("skipped", "skipped", ">7"),
    ("lost", "lost", ">5"),
    ("stalls", "stalls", ">6"),
]  # fmt: skip

READY = """() => {
    const statistics = document.querySelector("sdp-player")?.statistics;
    return statistics?.shown && statistics.state === "playing";
}"""

WATCH = """async () => {
    const { readStamp, stripSize } = await import("/-/assets/stamp.js");
    const player = document.querySelector("sdp-player");
    const seen = window.seen = [];
    const strip = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const wall = (moment) => performance.timeOrigin + moment;
    const onFrame = () => {
        const { shown, target } = player.statistics;
        if (shown.arrived !== null && shown.time !== seen.at(-1)?.time) {
            const { time, captured, arrived, decoded, painted: drawn } = shown;
            const painted = wall(performance.now());
            seen.push({ time, captured: captured / 1000, arrived, decoded, drawn, painted, target });
        }
        requestAnimationFrame(onFrame);
    };
    const onVideo = (_now, { expectedDisplayTime, width, height, mediaTime }) => {
        const [columns, lines] = stripSize(width, height);
        [strip.canvas.width, strip.canvas.height] = [columns, lines];
        strip.drawImage(player.video, 0, 0, width, height);
        const stamp = readStamp(strip.getImageData(0, 0, columns, lines).data, columns, width, height);
        const { target } = player.statistics;
        const painted = wall(expectedDisplayTime);
        if (stamp) seen.push({ time: mediaTime, captured: stamp.clock / 1000, painted, target });
        player.video.requestVideoFrameCallback(onVideo);
    };
    if (player.statistics.kind === "WebCodecs") onFrame();
    else player.video.requestVideoFrameCallback(onVideo);
    return player.statistics;
}"""


class Case(NamedTuple):
    """A picture's size, and pictures a second."""

    size: str
    rate: str

    def __str__(self) -> str:
        return f"{self.size.partition('x')[2]}p{self.rate}"


def case(text: str) -> Case:
    match = re.fullmatch(r"([0-9]+x[0-9]+)@([0-9]+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text} is no case: write it as 640x360@30")
    return Case(match[1], match[2])


def measured(page: Any, url: str, seconds: float) -> dict[str, Any]:
    """Let a page play for so long; all pictures that it has painted, and its statistics before and after."""
    page.goto(url)
    page.wait_for_function(READY, timeout=_LIMIT)
    time.sleep(WARM_UP)
    before = page.evaluate(WATCH)
    time.sleep(seconds)
    script = "() => ({ seen: window.seen, after: document.querySelector('sdp-player').statistics })"
    return {"before": before, **page.evaluate(script)}


def row_of(one: Case, way: str, found: dict[str, Any]) -> Row:
    """The figures of one measurement; delays in milliseconds."""
    seen = found["seen"]
    if len(seen) < 2:
        raise Unavailable("too few pictures came")
    row: dict[str, object] = {"case": str(one), "way": way, "pictures": len(seen)}
    for step in _STEPS:
        delays = sorted(each[step] - each["captured"] for each in seen if each.get(step) is not None)
        row[f"{step}_p50"], row[f"{step}_p99"] = percentile(delays, 0.5), percentile(delays, 0.99)
    row["delay"] = percentile(sorted(each["target"] * 1000 for each in seen), 0.5)
    before, after = found["before"], found["after"]
    for what in ("late", "skipped"):
        told = after["pictures"][what]
        row[what] = None if told is None else told - before["pictures"][what]
    row["stalls"] = after["stalls"] - before["stalls"]
    if way == "webcodecs":
        counted = sum(after["pictures"][what] - before["pictures"][what] for what in ("painted", "late", "skipped"))
        due = round((after["shown"]["time"] - before["shown"]["time"]) * float(one.rate))
        row["lost"] = due - counted
    return row


def measure(browser: Any, one: Case, way: str, target: str, seconds: float, directory: Path) -> Row:
    """One case, with an Origin, a Distributor and a page of its own."""
    port = free_port()
    directory.mkdir()
    listen = f"tcp:{port}:interface={HOST}"
    # fmt: off
    origin = twistd(
        "sdp-origin", "--to", f"http://{HOST}:{port}/pattern", "--source", "test", "--size", one.size,
        "--rate", one.rate, "--store", "none", "--no-audio",
    )
    # fmt: on
    with Process(
        twistd("sdp-distributor", "--listen", listen, "--store", "none"), output=directory / "distributor"
    ) as it:
        it.wait_until_listening(port)
        with Process(origin, output=directory / "origin"):
            context = browser.new_context()
            try:
                url = f"http://{HOST}:{port}/-/watch/pattern?engine={way}&target={target}"
                return row_of(one, way, measured(context.new_page(), url, seconds))
            finally:
                context.close()


def chromium() -> tuple[Any, Any]:
    """Playwright, and the browser that it has started."""
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if importlib.util.find_spec("playwright") is None or program is None:
        raise Unavailable("Chromium or Playwright for Python is not installed (pip install playwright)")
    from playwright.sync_api import sync_playwright

    playwright = sync_playwright().start()
    return playwright, playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])


def run(cases: Sequence[Case], ways: Sequence[str], target: str, seconds: float) -> list[Row]:
    table, rows = Table(COLUMNS), []
    playwright, browser = chromium()
    try:
        table.head()
        with scratch() as directory:
            for number, one in enumerate(cases):
                for way in ways:
                    row = measure(browser, one, way, target, seconds, directory / f"{number}-{way}")
                    table.row(row)
                    rows.append(row)
    finally:
        browser.close()
        playwright.stop()
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10.0, help="how long each is measured (10)")
    parser.add_argument(
        "--case", type=case, nargs="+", default=[Case("640x360", "30"), Case("1280x720", "30")], metavar="WxH@RATE"
    )
    parser.add_argument("--way", nargs="+", choices=("webcodecs", "mse"), default=["webcodecs", "mse"])
    parser.add_argument("--target", default="auto", metavar="MS", help="the playout delay in ms, or auto")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    try:
        rows = run(options.case, options.way, options.target, options.seconds)
    except Unavailable as reason:
        sys.exit(f"left out: {reason}")
    if options.json:
        write_json(options.json, "glass_browser", rows)


if __name__ == "__main__":
    main()
