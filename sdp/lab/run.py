"""A run: the cells of a scenario, one after the other, into a directory; what is there already is not done again.

An engine runs a cell and gives its rows; this keeps them, says how far it has come, and writes down with what, where
and how it was done. Where a cell cannot be run here, that is told before the first one begins.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Protocol

import attrs

from sdp.errors import ConfigurationError, LocalError, SDPError
from sdp.lab.design import Cell, cells_of, in_chance_order
from sdp.lab.measuring import CellResult, ProcessCell
from sdp.lab.rows import RunDirectory, toml_text
from sdp.lab.scenario import Scenario
from sdp.lab.topology import missing
from sdp.lab.way import Way

__all__ = ["ENGINES", "Progress", "Run", "obstacles"]

ENGINES = ("processes", "virtual")

ATTEMPTS = 2
"""How often a cell is tried whose processes fail: on a busy machine one may not come up in time."""

_PACKAGES = ("sdp-streaming", "Twisted", "av", "numpy", "polars")


class Progress(Protocol):
    """Who is told how far a run has come."""

    def cell_begins(self, cell: Cell, number: int, of: int) -> None:
        """The ``number``-th of ``of`` cells begins (from 0)."""

    def cell_fails(self, cell: Cell, error: SDPError) -> None:
        """It could not be run, this time."""


def obstacles(cells: Iterable[Cell], engine: str) -> list[str]:
    """What stands in the way of these cells here, and what to install: a sentence each, none where nothing does."""
    if engine == "virtual":
        from sdp.lab.virtual import unable  # it needs what a run by processes does not
    else:
        unable = _not_by_processes
    found: dict[str, list[int]] = {}
    for cell in cells:
        reason = unable(cell.way)
        if reason is not None:
            found.setdefault(reason, []).append(cell.number)
    return [f"{reason[:-1]} ({len(numbers)} of the cells need it)." for reason, numbers in found.items()]


def _not_by_processes(way: Way) -> str | None:
    if way.is_virtual:
        return "egress and a fan of more than 1 are virtual time's: use --engine virtual."
    return missing(way)


@attrs.frozen(kw_only=True)
class Run:
    """One scenario by one engine into one directory."""

    scenario: Scenario
    directory: RunDirectory
    engine: str = "processes"
    command: tuple[str, ...] = ()
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)

    leave_out: bool = False
    """Whether what cannot be run here is left out, in place of nothing being run."""

    def left(self) -> list[Cell]:
        """The cells that are still to be run, in their order. Raises ConfigurationError where what is in the directory
        is another scenario's."""
        self._check_same()
        done = self.directory.finished()
        ordered = in_chance_order(cells_of(self.scenario), self.scenario.plan.seed)
        left = [cell for cell in ordered if cell.number not in done]
        return [cell for cell in left if not obstacles([cell], self.engine)] if self.leave_out else left

    def _check_same(self) -> None:
        if not (self.directory.path / "run.toml").exists():
            return
        before = self.directory.run()
        same = before.get("text") == self.scenario.source and before.get("short") == self.scenario.is_short
        if not same or before.get("engine") != self.engine:
            raise ConfigurationError(
                f"{self.directory.path} holds a run of another scenario, form or engine: choose another by --out."
            )

    def go(self, progress: Progress) -> None:
        """Run what is left. Raises LocalError where something stands in the way, or a cell fails each time."""
        cells = self.left()
        wanted = cells_of(self.scenario) if self.leave_out and not self.directory.finished() and not cells else cells
        standing = obstacles(wanted, self.engine)
        if standing:
            raise LocalError(" ".join(standing))
        self.directory.create()
        self._describe(0, 0.0, time.monotonic())
        began = time.monotonic()
        for number, cell in enumerate(cells):
            progress.cell_begins(cell, number, len(cells))
            result = self._attempt(cell, progress)
            self.directory.write_cell(cell.number, result.rows, result.processes, result.events)
            self._describe(result.clock_bound, result.probe_cost, began)

    def _attempt(self, cell: Cell, progress: Progress) -> CellResult:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._run_cell(cell)
            except LocalError as error:
                progress.cell_fails(cell, error)
                if attempt == ATTEMPTS:
                    raise
        raise AssertionError

    def _run_cell(self, cell: Cell) -> CellResult:
        plan = self.scenario.plan
        if self.engine == "virtual":
            # Only where it is asked for: a run by processes is not to pay for importing the servers' cores.
            engine: Any = import_module("sdp.lab.virtual")
            result: CellResult = engine.run_cell(self.scenario.name, cell, plan.warm_up, plan.duration)
            return result
        return ProcessCell(self.scenario.name, cell, plan.warm_up, plan.duration).run()

    # -- how it was done ---------------------------------------------------------------------------------------

    def _describe(self, clock_bound: int, probe_cost: float, began: float) -> None:
        """Write ``run.toml``: what does not change from cell to cell, and the worst of what does."""
        before: dict[str, Any] = {}
        if (self.directory.path / "run.toml").exists():
            before = self.directory.run()
        clock, probe = before.get("clock", {}), before.get("probe", {})
        plan = self.scenario.plan
        self.directory.write_run(
            toml_text(
                {
                    "scenario": self.scenario.name,
                    "title": plan.title,
                    "question": plan.question,
                    "engine": self.engine,
                    "short": self.scenario.is_short,
                    "begun": before.get("begun", self.clock().isoformat(timespec="seconds")),
                    "command": " ".join(self.command),
                    "factors": list(self.scenario.factors),
                    "cells": len(cells_of(self.scenario)),
                    "text": self.scenario.source,
                    "versions": _versions(),
                    "machine": _machine(),
                    "clock": {
                        "source": "the wall clock of this machine alone",
                        "bound_us": max(int(clock.get("bound_us", 0)), clock_bound, 1),
                    },
                    "probe": {"cost_us": round(max(float(probe.get("cost_us", 0)), probe_cost), 1)},
                }
            )
        )


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "from its source tree" if name == "sdp-streaming" else "not installed"
    return found


def _machine() -> dict[str, Any]:
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.machine()
