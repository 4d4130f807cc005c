"""The ES modules, run by Node: their own tests, and what they read from the initialization segments that we write."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from sdp.container.fragments import FragmentWriter
from sdp.container.tracks import Track

HERE = Path(__file__).parent
NODE = shutil.which("node")

pytestmark = pytest.mark.skipif(NODE is None, reason="Node, which runs the ES modules' tests, is not installed")


def node(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    assert NODE is not None
    return subprocess.run([NODE, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("path", sorted(HERE.glob("*.test.mjs")), ids=lambda path: path.stem)
def test_the_tests_of_a_module_pass(path: Path) -> None:
    done = node("--test", path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_module_parses() -> None:
    """Those that need a page around them, too."""
    modules = sorted((HERE.parent.parent / "sdp" / "web" / "assets").glob("*.js"))
    assert modules
    for path in modules:
        done = node("--check", path)
        assert done.returncode == 0, done.stderr


AVCC = bytes.fromhex("0142c01fffe1000467 42c01f01000468ce3c80")
OPUS_HEAD = b"OpusHead\x01\x02\x38\x01\x80\xbb\x00\x00\x00\x00\x00"


@pytest.mark.parametrize(
    ("tracks", "mime"),
    [
        (
            [
                Track(id=1, kind="video", codec="avc1", timescale=90000, extradata=AVCC, width=640, height=360),
                Track(id=2, kind="audio", codec="mp4a", timescale=48000, extradata=b"\x11\x90"),
            ],
            'video/mp4; codecs="avc1.42c01f,mp4a.40.2"',
        ),
        (
            [Track(id=1, kind="video", codec="vp09", timescale=90000, width=640, height=360, bit_rate=500_000)],
            'video/mp4; codecs="vp09.00.21.08"',
        ),
        (
            [Track(id=1, kind="audio", codec="Opus", timescale=48000, extradata=OPUS_HEAD)],
            'audio/mp4; codecs="opus"',
        ),
        ([Track(id=1, kind="audio", codec="mp3", timescale=48000)], 'audio/mp4; codecs="mp4a.6b"'),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_codecs_of_what_an_origin_writes_are_read(tmp_path: Path, tracks: list[Track], mime: str) -> None:
    written = tmp_path / "initialization.mp4"
    written.write_bytes(FragmentWriter(tracks).initialization())
    done = node(HERE / "describe.mjs", written)
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["mime"] == mime
    sizes = [(each.get("width"), each.get("height")) for each in found["tracks"] if each["kind"] == "video"]
    assert sizes == [(track.width, track.height) for track in tracks if track.kind == "video"]
