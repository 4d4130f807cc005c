"""The ``sdp`` command, for people at a terminal: play, record, look, and see it all work.

What is heavy (the reactor, tables) is imported by the command that needs it, so that ``sdp --help`` answers at once.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from sdp.cli.lab import lab

__all__ = ["main"]

_read_token = click.option(
    "--read-token", metavar="FILE", help="A file whose first line is the secret to read with, or NAME:SECRET."
)
_ca_file = click.option("--ca-file", metavar="FILE", help="The certificates (PEM) that may vouch for an https server.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sdp-streaming", prog_name="sdp")
def main() -> None:
    """Live streams over plain HTTP: the Streaming and Distribution Protocol."""


@main.command()
@click.argument("url")
@click.argument("file")
@click.option("--at", metavar="TIME", help="Begin at this time (2026-07-01T12:00:00Z), or so many seconds before now.")
@click.option("--from-start", is_flag=True, help="Begin with the first byte that is kept, as without --at.")
@click.option("--from", "others", metavar="URL", multiple=True, help="The same stream elsewhere, where URL fails.")
@_read_token
@_ca_file
def record(
    url: str,
    file: str,
    *,
    at: str | None,
    from_start: bool,
    others: tuple[str, ...],
    read_token: str | None,
    ca_file: str | None,
) -> None:
    """Keep a gapless copy of the stream at URL in FILE (- for standard output).

    Leaves with 0 once the stream has ended and all of it is there. Stopped before, it goes on where it was the
    next time.
    """
    from sdp.cli.recording import run_record

    if from_start and at is not None:
        raise click.UsageError("--at and --from-start say two different places to begin at: leave one out.")
    sys.exit(run_record([url, *others], file, at=at, read_token=read_token, ca_file=ca_file))


@main.command()
@click.argument("url")
@click.option(
    "--target", metavar="auto|MILLISECONDS", help="How much later than by the fastest way pictures are shown."
)
@click.option("--headless", is_flag=True, help="No window and no sound; statistics as lines of JSON, one a second.")
@click.option("--terminal", is_flag=True, help="The picture in the terminal; no sound.")
@click.option("--no-video", is_flag=True, help="Show no picture.")
@click.option("--no-audio", is_flag=True, help="Play no sound.")
@click.option("--full-screen", is_flag=True, help="Begin with the full screen.")
@click.option("--record", metavar="FILE", help="Keep what is received in this file, too.")
@click.option("--trace", metavar="FILE", help="Write when each picture passes each point of its way here.")
@_read_token
@_ca_file
def play(url: str, **options: str | bool | None) -> None:
    """Play the stream at URL, live; one that has ended from its beginning.

    Space pauses; left and right go ten seconds back and forth, down and up a minute, End to what is live. f: full
    screen; m: no sound; s: figures; q: the end.
    """
    from sdp.cli.playing import run_play

    given: dict[str, str] = {}
    for name, value in options.items():
        if isinstance(value, str):
            given[name.replace("_", "-")] = value
        elif value:
            given[name.removeprefix("no_").replace("_", "-")] = "no" if name.startswith("no_") else "yes"
    sys.exit(run_play(url, given))


@main.command()
@click.argument("url", default="http://localhost:8080")
@click.option("--watch", is_flag=True, help="Go on, once a second.")
@_read_token
@_ca_file
def status(url: str, watch: bool, read_token: str | None, ca_file: str | None) -> None:
    """Show the streams of the Distributor at URL, or the one stream that URL names.

    URL is http://localhost:8080 where it is left out.
    """
    from sdp.cli.status import run_status

    sys.exit(run_status(url, watch=watch, read_token=read_token, ca_file=ca_file))


@main.command()
@click.argument("source", default="test")
@click.option("--port", type=click.IntRange(1, 65535), help="The port; 8080 or, where that is taken, a free one.")
@click.option("--container", type=click.Choice(["mp4", "mpegts"]), default="mp4", show_default=True)
@click.option("--size", metavar="WxH", help="The picture's size.")
@click.option("--seconds", type=float, metavar="N", help="End after so long; else when interrupted.")
def demo(source: str, port: int | None, container: str, size: str | None, seconds: float | None) -> None:
    """Start a Distributor and an Origin here, and show what they do.

    SOURCE is what the Origin streams: test (a test pattern), a file, which is looped, a URL, or a device.
    """
    from sdp.cli.demo import Plan, run_demo

    loop = Path(source).is_file()
    sys.exit(run_demo(Plan(source=source, port=port, container=container, size=size, seconds=seconds, loop=loop)))


@main.command()
@click.argument("targets", nargs=-1, required=True)
@_read_token
@_ca_file
def verify(targets: tuple[str, ...], read_token: str | None, ca_file: str | None) -> None:
    """Check what lies in the store at TARGET, or whether the streams at two or more URLs hold the same bytes.

    A store is only read: every entry's checksum, every offset, every file's length. Copies are compared by digests,
    without being fetched. Leaves with 0 where all is well, with 1 where there is damage or a difference, and
    with 2 where there is nothing to look at.
    """
    from sdp.cli.verify import run_verify

    sys.exit(run_verify(targets, read_token=read_token, ca_file=ca_file))


main.add_command(lab)
