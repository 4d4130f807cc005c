"""The ES modules, run by Node: their own tests, and what they read from the initialization segments that we write."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from sdp.container.fragments import FragmentWriter
from sdp.container.tracks import Sample, Track
from sdp.media.pattern import Picture
from sdp.media.stamp import Stamp

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


@pytest.mark.parametrize("cut", [1, 777, 1 << 20])
def test_the_samples_of_what_an_origin_writes_are_read(tmp_path: Path, cut: int) -> None:
    video = Track(id=1, kind="video", codec="avc1", timescale=90_000, extradata=AVCC, width=640, height=360)
    audio = Track(id=2, kind="audio", codec="mp4a", timescale=48_000, extradata=b"\x11\x90", channels=2)
    writer = FragmentWriter([video, audio])
    data = writer.initialization()
    expected: list[tuple[int, int, int, bool, int | None, bytes]] = []
    for number in range(12):
        picture = Sample(1, bytes((number, 1)) * (40 + number), 3000 * number, 3000, sync=number % 5 == 0)
        sound = Sample(2, bytes((number, 2)) * 30, 1024 * number, 1024)
        captured = 1_700_000_000_000_000 + 33_333 * number
        data += writer.fragment([picture, sound], captured, 1)
        expected.append((1, round(3000 * number / 0.09), 33_333, number % 5 == 0, captured, picture.data))
        expected.append((2, round(1024 * number / 0.048), 21_333, True, None, sound.data))
    written = tmp_path / "stream.mp4"
    written.write_bytes(data)
    done = node(HERE / "samples.mjs", written, str(cut))
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    configurations = [(each["id"], each["timescale"], each["configuration"]) for each in found["tracks"]]
    assert configurations == [(1, 90_000, AVCC.hex()), (2, 48_000, "1190")]
    assert len(found["samples"]) == len(expected)
    for sample, (track, time, duration, sync, capture_time, content) in zip(found["samples"], expected, strict=True):
        assert (sample["track"], sample["time"], sample["duration"], sample["sync"]) == (track, time, duration, sync)
        assert sample["data"] == hashlib.sha256(content).hexdigest()
        if capture_time is None:
            assert sample["captured"] is None
        else:
            assert abs(sample["captured"] - capture_time) <= 2  # a prft counts in 2 ** -32 s, a number in 2 ** -53


def test_the_stamp_of_the_test_pattern_is_read(tmp_path: Path) -> None:
    wanted, arguments = [], []
    for number, (width, height) in enumerate([(160, 120), (320, 180), (640, 360), (1280, 720), (1920, 1080)]):
        stamp = Stamp(1_750_000_000_123_456 + number, 70_000 + number)
        luma = bytearray(b"\x10" * (width * height))
        Picture(width, height).draw(memoryview(luma), width, stamp, lamp=False)
        (tmp_path / str(number)).write_bytes(luma)
        arguments.append(f"{tmp_path / str(number)}:{width}x{height}")
        wanted.append({"clock": stamp.clock_us, "frame": stamp.frame})
    (tmp_path / "grey").write_bytes(b"\x80" * (640 * 360))
    done = node(HERE / "stamps.mjs", *arguments, f"{tmp_path / 'grey'}:640x360")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [*wanted, None]
