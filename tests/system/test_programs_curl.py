"""curl, as people use it: an ordinary HTTP client that publishes and reads."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.conftest import Live
from tests.system.processes import Distributor, Process, eventually
from tests.system.programs import finished, need

pytestmark = pytest.mark.system

DATA = bytes(range(256)) * 1000


def curl(*arguments: str | Path, data: bytes | None = None) -> tuple[str, bytes]:
    """Run curl, held to succeed; what ``-w %{http_code}`` says, and the content."""
    result = finished(
        need("curl"), "-sS", "--max-time", "30", "-w", "%{stderr}%{http_code}", "-o", "-", *arguments, data=data
    )
    assert result.returncode == 0, result.stderr
    return result.stderr.decode(), result.stdout


@pytest.fixture
def url(stored: Distributor, name: str) -> str:
    return f"http://127.0.0.1:{stored.port}/{name}"


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
def test_a_file_is_put_and_got(url: str, tmp_path: Path, version: str) -> None:
    file = tmp_path / "file"
    file.write_bytes(DATA)
    # curl sends Expect: 100-continue with a large file, and waits for the 100.
    assert curl(version, "-T", file, url) == ("201", b"")
    assert curl(version, url) == ("200", DATA)


def test_standard_input_is_put_in_chunks(url: str) -> None:
    assert curl("-T", "-", url, data=DATA) == ("201", b"")
    assert curl(url) == ("200", DATA)


def test_a_post_with_a_file_and_its_type(url: str, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(DATA)
    sent = curl("-X", "POST", "-H", "Content-Type: video/x-own", "--data-binary", f"@{file}", url)
    assert sent == ("201", b"")
    _, head = curl("-I", url)
    lines = head.decode().lower().split("\r\n")
    assert "content-type: video/x-own" in lines
    assert f"content-length: {len(DATA)}" in lines
    assert "accept-ranges: bytes" in lines


def test_http_1_0_without_a_length_is_refused(url: str) -> None:
    """Nothing tells where an HTTP/1.0 message without a length ends (RFC 1945 section 7.2.2)."""
    result = finished(need("curl"), "-sS", "-0", "--max-time", "30", "-T", "-", url, data=DATA)
    # Either curl refuses to send it, or what it sends is refused.
    assert result.returncode != 0 or b'"status": 4' in result.stdout


def test_ranges(url: str) -> None:
    curl("-T", "-", url, data=DATA)
    assert curl("-r", "10-19", url) == ("206", DATA[10:20])
    assert curl("-r", "255990-", url) == ("206", DATA[255990:])
    assert curl("-r", "-16", url) == ("206", DATA[-16:])
    status, several = curl("-r", "0-3,1000-1003", url)
    assert status == "206"
    assert b"content-range: bytes 0-3/256000" in several.lower()
    assert b"\r\n\r\n" + DATA[1000:1004] + b"\r\n--" in several
    assert curl("-r", "256000-", url)[0] == "416"


def test_a_download_is_resumed(url: str, tmp_path: Path) -> None:
    curl("-T", "-", url, data=DATA)
    part = tmp_path / "part"
    part.write_bytes(DATA[:100_000])
    result = finished(need("curl"), "-sS", "-C", "-", "-o", part, url)
    assert result.returncode == 0, result.stderr
    assert part.read_bytes() == DATA


def test_what_is_typed_in_is_seen_at_once(stored: Distributor, url: str, run: Callable[..., Process]) -> None:
    """Bytes go on as they arrive: a reader has them while the publisher still sends."""
    name = url.rpartition("/")[2]
    publisher = run(need("curl"), "-sS", "-T", "-", "-H", "Expect:", url, stdin=subprocess.PIPE)
    assert publisher.process.stdin is not None
    publisher.process.stdin.write("first\n")
    publisher.process.stdin.flush()
    eventually(lambda: stored.call("HEAD", f"/{name}").end == 6, "the first line's arrival")
    reader = run(need("curl"), "-sSN", url)
    reader.wait_for("first")
    publisher.process.stdin.write("second\n")
    publisher.process.stdin.flush()
    reader.wait_for("second")
    publisher.process.stdin.close()
    # The stream's end is the end for both.
    assert publisher.wait() == 0
    assert reader.wait() == 0
    assert reader.lines == ["first", "second"]


@pytest.mark.parametrize("version", ["--http1.1", "--http1.0"])
def test_a_live_stream_flows_until_one_has_enough(live: Live, version: str) -> None:
    with subprocess.Popen([need("curl"), "-sSN", version, live.url("mp4")], stdout=subprocess.PIPE) as reader:
        assert reader.stdout is not None
        begun = reader.stdout.read(100_000)
        reader.terminate()
    assert begun[4:8] == b"ftyp"
    assert begun.count(b"moof") > 10


def test_a_missing_stream_says_what_to_do(stored: Distributor) -> None:
    status, content = curl("-i", f"http://127.0.0.1:{stored.port}/not/there")
    assert status == "404"
    assert b"\r\nretry-after: 1\r\n" in content.lower()
    assert b'"detail"' in content
