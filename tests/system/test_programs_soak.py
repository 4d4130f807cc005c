"""Half a minute of the soak (bench/soak.py): a crowd that comes and goes, two that sleep, and nobody else notices."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.system.processes import ROOT
from tests.system.programs import environment, finished

pytestmark = pytest.mark.system

MEMORY = 4
LAG = 1
CONSUMERS = 24


def test_a_crowd_and_two_sleepers(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is not installed: pip install av")
    report = tmp_path / "report.json"
    limits = ("--memory", f"{MEMORY}MiB", "--lag-bytes", f"{LAG}MiB", "--stall-timeout", "4")
    result = finished(
        *(sys.executable, ROOT / "bench" / "soak.py", "--seconds", "24", "--rows", "9"),
        *("--consumers", str(CONSUMERS), "--report", report, *limits),
        env=environment(),
        timeout=150,
    )
    said = (result.stdout + result.stderr).decode()
    assert report.exists(), said
    found = json.loads(report.read_text())
    # Every byte that anybody got is the log's; all copies are whole; nobody was cut off; nobody met a fault.
    assert found["errors"] == [], said
    assert result.returncode == 0, said
    # Some came, went, and came again.
    assert found["visits"] > CONSUMERS
    # The one that slept for good was closed, as --stall-timeout says; it made nobody else jump.
    assert found["closed_for_stalling"] >= 1
    assert found["jumps"] == 0
    # The Distributor grows by its window, and for each Consumer by what its connection may hold (64 KiB), and no more.
    grown = found["distributor_mib"]["max"] - found["distributor_mib"]["first"]
    assert grown < MEMORY + CONSUMERS * 64 / 1024 + 16, said
