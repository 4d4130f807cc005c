"""The tutorial's code runs as it stands, and says what the text says."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

TUTORIAL = Path(__file__).resolve().parents[2] / "docs" / "lab" / "tutorial.rst"
BLOCK = re.compile(r"^\.\. code-block:: python\n\n((?:(?:    .*)?\n)+)", re.MULTILINE)


def test_each_block_runs_after_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = [dedent(found) for found in BLOCK.findall(TUTORIAL.read_text("utf-8"))]
    assert len(blocks) >= 9
    names: dict[str, object] = {}
    for number, block in enumerate(blocks):
        exec(compile(block, f"block {number + 1} of the tutorial", "exec"), names)
    said = capsys.readouterr().out
    assert "mine: factors.hopps: there is nothing of that name. Did you mean hops?" in said
    assert "What counts most is delivery" in said
    assert "The median of hops 0 fell" in said or "of hops 2 fell" in said
    assert (tmp_path / "asking.svg").read_text("utf-8").startswith("<svg")
    assert (tmp_path / "lab" / "mine-virtual" / "report.html").exists()
