"""What breaks on the way while an Origin streams and two recorders record: nothing is lost, the epoch stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.system.conftest import Clip
from tests.system.processes import Distributor, Process, eventually
from tests.system.programs import frames_of, in_foreground, kept_in, sdp, sha256
from tests.system.proxy import Line

pytestmark = pytest.mark.system

SOON = ("--retry-first", "50ms", "--retry-most", "500ms")
"""A restart takes a second; nobody has to wait for ten."""


@pytest.fixture
def line() -> Iterator[Callable[[int], Line]]:
    """A relay to a port, which can be cut; it ends with the test."""
    with ExitStack() as stack:

        def begin(upstream: int) -> Line:
            begun = Line(upstream)
            stack.callback(begun.close)
            return begun

        yield begin


class Scene:
    """An Origin that plays the clip once, a Consumer and ``sdp record`` that copy it."""

    def __init__(self, run: Callable[..., Process], directory: Path, clip: Clip, to: int, by: int) -> None:
        self.directory, self.clip = directory, clip
        source = ("--source", clip.file, "--store", directory / "captured")
        target = ("--to", f"http://127.0.0.1:{to}/clip")
        self.consumer = run(
            *in_foreground("consumer", "--from", f"http://127.0.0.1:{by}/clip", "--output", "copy.mp4", *SOON),
            cwd=directory,
        )
        self.recorder = run(*sdp("record", f"http://127.0.0.1:{by}/clip", "shown.mp4"), cwd=directory)
        self.origin = run(*in_foreground("origin", *source, *target, *SOON), cwd=directory)
        self.origin.wait_for("Publishing, epoch")

    def reaches(self, server: Distributor, share: float) -> None:
        """Wait until the Distributor has this share of the clip."""
        wanted = int(self.clip.file.stat().st_size * share)
        eventually(lambda: server.call("HEAD", "/clip").end >= wanted, f"{wanted} bytes")

    def ends_whole(self, server: Distributor, etag: str) -> None:
        """Everybody leaves content, and all have the same bytes of the same epoch."""
        for each in (self.origin, self.consumer, self.recorder):
            assert each.wait(40) == 0, "\n".join(each.lines)
            assert "Traceback" not in "\n".join(each.lines)
        head = server.call("HEAD", "/clip")
        assert head.etag == etag
        assert server.describe("clip")["state"] == "ended"
        copy = self.directory / "copy.mp4"
        assert len({sha256(copy), sha256(self.directory / "shown.mp4"), sha256(server.log_of("clip"))}) == 1
        assert sha256(copy) == sha256(kept_in(self.directory / "captured"))
        assert frames_of(copy) == self.clip.frames


def test_the_distributor_is_restarted(
    start: Callable[..., Distributor], run: Callable[..., Process], tmp_path: Path, clip: Clip
) -> None:
    """By SIGKILL, by SIGTERM, and by SIGKILL again."""
    store = tmp_path / "kept"
    server = start(store=store)
    scene = Scene(run, tmp_path, clip, server.port, server.port)
    etag = server.call("HEAD", "/clip").etag
    for share, end in ((0.15, Distributor.kill), (0.35, Distributor.stop), (0.6, Distributor.kill)):
        scene.reaches(server, share)
        end(server)
        server = start(store=store, port=server.port)
        assert server.call("HEAD", "/clip").etag == etag
    scene.ends_whole(server, etag)
    assert sha256(kept_in(store)) == sha256(server.log_of("clip"))


def test_the_lines_are_cut(
    start: Callable[..., Distributor],
    run: Callable[..., Process],
    line: Callable[[int], Line],
    tmp_path: Path,
    clip: Clip,
) -> None:
    """The Origin's, the recorders', and both at once."""
    server = start(store=tmp_path / "kept")
    to, by = line(server.port), line(server.port)
    scene = Scene(run, tmp_path, clip, to.port, by.port)
    etag = server.call("HEAD", "/clip").etag
    for share, cut in ((0.15, [to]), (0.3, [by]), (0.45, [to, by]), (0.6, [to]), (0.75, [by])):
        scene.reaches(server, share)
        for each in cut:
            eventually(lambda each=each: each.connections, "somebody to have come back")  # type: ignore[misc]
            each.cut()
    scene.ends_whole(server, etag)
    assert to.cuts >= 3
    assert by.cuts >= 3


def test_the_distributor_comes_late(
    start: Callable[..., Distributor], run: Callable[..., Process], tmp_path: Path, clip: Clip
) -> None:
    """Origin and recorders are patient, say so, and lose nothing of what was captured before anybody took it."""
    server = start()
    port = server.port
    server.terminate()
    server.wait()
    origin = run(
        *in_foreground(
            *("origin", "--source", clip.file, "--store", tmp_path / "captured"),
            *("--to", f"http://127.0.0.1:{port}/clip", *SOON),
        ),
        cwd=tmp_path,
    )
    consumer = run(
        *in_foreground("consumer", "--from", f"http://127.0.0.1:{port}/clip", "--output", "copy.mp4", *SOON),
        cwd=tmp_path,
    )
    for each in (origin, consumer):
        assert "trying again" in each.wait_for("cannot be reached")
    server = start(store=tmp_path / "kept", port=port)
    assert origin.wait(40) == 0
    assert consumer.wait(40) == 0
    assert sha256(tmp_path / "copy.mp4") == sha256(kept_in(tmp_path / "captured"))
    assert sha256(tmp_path / "copy.mp4") == sha256(kept_in(tmp_path / "kept"))
