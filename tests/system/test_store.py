"""The store behind the real command: what it retains, what consumers see of it, and what verify says."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.system.processes import ROOT, Distributor, Process, eventually, twistd

pytestmark = pytest.mark.system

Start = Callable[..., Distributor]
PIECE = 100_000


def piece(number: int) -> bytes:
    return bytes([number]) * PIECE


def fill(server: Distributor, name: str, count: int) -> bytes:
    whole = b""
    for number in range(count):
        assert server.post(name, len(whole), piece(number)).status in (201, 204)
        whole += piece(number)
    return whole


def trimmed(server: Distributor) -> float:
    """How many bytes the limit on the size has cost."""
    label = 'sdp_store_trimmed_bytes_total{limit="bytes"} '
    lines = server.call("GET", "/-/metrics").body.decode().splitlines()
    return next(float(line.removeprefix(label)) for line in lines if line.startswith(label))


def verify(*targets: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from sdp.cli import main; main()", "verify", *map(str, targets)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, cwd=ROOT)


def test_what_retention_takes_is_gone_and_told(start: Start, tmp_path: Path, name: str) -> None:
    server = start("--retain-bytes", "800000", "--memory", "1KiB", store=tmp_path / "store")
    whole = fill(server, name, 30)
    # It may have looked while there was less, and then looks again.
    eventually(lambda: len(whole) - server.describe(name)["first_offset"] <= 800_000, "the front to go")
    first = server.describe(name)["first_offset"]
    assert first % PIECE == 0
    eventually(lambda: trimmed(server) == first, "the metric")
    assert server.call("GET", f"/{name}", {"Range": f"bytes=0-{PIECE}"}).status == 410
    held = server.call("GET", f"/{name}", {"Range": f"bytes={first}-"})
    assert (held.status, held.body) == (206, whole[first:])
    assert server.finish(name, len(whole)).status == 204
    plain = server.call("GET", f"/{name}")
    assert (plain.status, plain.body) == (206, whole[first:])
    assert plain["Content-Range"] == f"bytes {first}-{len(whole) - 1}/{len(whole)}"


def test_what_is_too_old_vanishes_with_its_name(start: Start, tmp_path: Path, name: str) -> None:
    server = start("--retain-seconds", "0", store=tmp_path / "store")
    fill(server, name, 2)
    assert server.finish(name, 2 * PIECE).status == 204
    eventually(lambda: server.call("GET", f"/{name}").status == 404, "the stream to go")
    # The name goes from the catalog first, and its directory then.
    eventually(lambda: [path.name for path in (tmp_path / "store").iterdir()] == ["@lock"], "its directory to go")


def test_consumers_see_what_is_durable(start: Start, tmp_path: Path, name: str) -> None:
    server = start("--sync", "1000", "--fan-out-after-sync", store=tmp_path / "store")
    with server.peer() as consumer:
        assert server.post(name, 0, b"abc").status == 201
        consumer.ask("GET", f"/{name}", {"Prefer": "wait=30"})
        head = server.call("HEAD", f"/{name}")
        assert (head["Upload-Offset"], head["Durable-Offset"]) == ("3", "0")
        assert server.describe(name)["end_offset"] == 0
        assert server.post(name, 1, b"bcdef").status == 204  # what overlaps is compared with what waits
        assert server.post(name, 0, b"x").status == 409
        assert server.finish(name, 6).status == 204  # which syncs
        eventually(lambda: server.call("GET", f"/{name}").body == b"abcdef", "the end to be durable")
        consumer.head()
        assert consumer.rest() == b"abcdef"


@pytest.mark.parametrize("options", [("--store", "none"), ("--sync", "never")])
def test_what_cannot_be_durable_cannot_be_waited_for(options: tuple[str, ...]) -> None:
    ended = Process(twistd(), "-n", "--pidfile=", "sdp-distributor", "--fan-out-after-sync", *options)
    assert ended.wait() == 1
    assert "--fan-out-after-sync needs" in ended.lines[-1]


def test_two_copies_are_compared_and_a_store_is_verified(start: Start, tmp_path: Path, name: str) -> None:
    stores = [tmp_path / "one", tmp_path / "two"]
    servers = [start("--segment-bytes", "200000", store=store) for store in stores]
    whole = fill(servers[0], name, 10)
    servers[0].finish(name, len(whole))
    said = servers[0].call("GET", f"/-/digest/{name}?first=5&last=999")
    assert json.loads(said.body)["sha256"] == hashlib.sha256(whole[5:1000]).hexdigest()
    for server in servers:
        server.stop()
    subprocess.run(["cp", "-r", str(stores[0] / name), str(stores[1])], check=True)
    assert verify(stores[0]).stdout.endswith(", 0 to 1000000, 10 records in 5 segments: sound\n")
    segment = next((stores[1] / name).glob("@*/00000000000000400000.bin"))
    segment.write_bytes(segment.read_bytes().replace(piece(4), piece(4)[:-1] + b"?"))
    again = [start(store=store) for store in stores]
    urls = [f"http://127.0.0.1:{server.port}/{name}" for server in again]
    compared = verify(urls[0], urls[1])
    assert compared.returncode == 1
    assert "DIFFERENT, first between " in compared.stdout
    low, high = map(int, compared.stdout.split("between ")[1].split(" and "))
    assert low <= 499_999 < high
    compared = verify(urls[0], urls[0])
    assert (compared.returncode, compared.stdout.count("equal")) == (0, 1)
    segment.with_suffix(".index").write_bytes(b"")
    damaged = verify(stores[1])
    assert damaged.returncode == 1
    assert "DAMAGED" in damaged.stdout
