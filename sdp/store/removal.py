"""Streams leave the disk: an epoch goes, or all of a name's; what lies under ``name/…`` stays.

An epoch's directory first gets a name that marks it as going, atomically, so that a process that dies in the middle
leaves either the whole epoch, or what the next start sweeps away.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from sdp.store.files import Files
from sdp.store.layout import REMOVED, name_directory

__all__ = ["empty_directory", "remove_epoch", "remove_name", "sweep"]


def empty_directory(files: Files, directory: Path) -> None:
    """Remove an epoch's directory and the files in it. Raises OSError."""
    for name, _ in files.entries(directory):
        files.unlink(directory / name)
    files.remove_directory(directory)


def remove_name(files: Files, root: Path, name: str, *, sync: bool) -> None:
    """Remove every epoch of ``name``, and the directories that are empty then. Raises OSError."""
    directory = name_directory(root, name)
    try:
        found = files.entries(directory)
    except (FileNotFoundError, NotADirectoryError):
        return
    going = []
    for entry, is_directory in found:
        if is_directory and entry.startswith("@"):
            marked = entry if entry.endswith(REMOVED) else entry + REMOVED
            if marked != entry:
                files.rename(directory / entry, directory / marked)
            going.append(directory / marked)
    if sync and going:
        files.sync_directory(directory)
    for marked_directory in going:
        empty_directory(files, marked_directory)
    _prune(files, root, directory)


def remove_epoch(files: Files, root: Path, directory: Path, *, sync: bool) -> None:
    """Remove one epoch, and the directories that are empty then. Raises OSError."""
    marked = directory.with_name(directory.name + REMOVED)
    files.rename(directory, marked)
    if sync:
        files.sync_directory(directory.parent)
    empty_directory(files, marked)
    _prune(files, root, directory.parent)


def sweep(files: Files, directory: Path) -> None:
    """Finish a removal that was cut short: ``directory`` bears the mark. What cannot be removed stays."""
    with suppress(OSError):
        empty_directory(files, directory)


def _prune(files: Files, root: Path, directory: Path) -> None:
    """Remove ``directory`` and its parents below ``root``, as long as they are empty."""
    with suppress(OSError):
        while directory != root:
            files.remove_directory(directory)
            directory = directory.parent
