"""``sdp record``: the Consumer that keeps a copy, with its progress in sight."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from random import SystemRandom
from typing import Any

from rich.console import Console
from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TransferSpeedColumn
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall

from sdp.cli.running import run
from sdp.consumer.service import RecorderService
from sdp.consumer.settings import ConsumerSettings
from sdp.errors import ConfigurationError
from sdp.settings import load

__all__ = ["run_record"]


def run_record(urls: Sequence[str], file: str, **options: str | None) -> int:
    """Copy the stream at the first of ``urls`` that gives it to ``file``; return the exit status. ``options`` are the
    Consumer's, by field name."""
    given: dict[str, str | Sequence[str]] = {"from": urls, "output": file}
    given |= {name.replace("_", "-"): text for name, text in options.items() if text is not None}
    try:
        settings = load(ConsumerSettings, given)
    except ConfigurationError as error:
        sys.stderr.write(f"sdp record: {error.detail.removeprefix('--from: ')}\n")
        return 2
    return run(lambda reactor: _record(settings, reactor))


async def _record(settings: ConsumerSettings, reactor: Any) -> int:
    done: Deferred[int] = Deferred()

    def leave(status: int) -> None:
        if not done.called:
            done.callback(status)

    service = RecorderService(settings, reactor, leave, SystemRandom())
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeElapsedColumn(), console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(settings.output, total=None)
        service.startService()
        shown = LoopingCall(lambda: _show(progress, task, service))
        shown.clock = reactor
        shown.start(0.25)
        try:
            return await done
        finally:
            shown.stop()
            await service.stopService()
            _show(progress, task, service)


def _show(progress: Progress, task: Any, service: RecorderService) -> None:
    recorder = service.recorder
    if recorder is not None:
        length = recorder.complete_length
        total = None if length is None else length - recorder.first
        progress.update(task, completed=recorder.end - recorder.first, total=total)
