"""The front of a recording leaves the disk, segment by segment; what the rest cannot be decoded without stays.

Each step leaves a whole recording, should the process die after it: first the initialization segment gets a file of its
own, then each segment loses its index (without which it is none) and then its bytes, the oldest first.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from sdp.store.appending import AppendedFile
from sdp.store.files import Files
from sdp.store.layout import NEW, Initialization, SegmentPlace, initialization_path
from sdp.store.segments import Held, initialization

__all__ = ["keep_initialization", "remove_segments"]


def keep_initialization(files: Files, directory: Path, held: Held, begin: int, *, sync: bool) -> Initialization | None:
    """Keep what decoding needs from ``begin`` on, where that lies before it. Return where it is kept now.

    Raises OSError, and StorageError where it cannot be read.
    """
    found = initialization(files, held, begin)
    if found is None:
        return None
    record, data = found
    if record.offset >= begin or (held.initialization is not None and held.initialization.offset == record.offset):
        return held.initialization
    path = initialization_path(directory, record.offset)
    new = AppendedFile(files, path.with_name(path.name + NEW))
    try:
        new.open(0)
        new.append([data])
        if sync:
            new.sync()
    finally:
        new.close()
    files.rename(new.path, path)
    if sync:
        files.sync_directory(directory)
    return Initialization(record.offset, record.offset + len(data), path)


def remove_segments(
    files: Files, directory: Path, places: Sequence[SegmentPlace], stale: Initialization | None, *, sync: bool
) -> None:
    """Remove segments, the oldest first, and an initialization segment of which nothing is left. Raises OSError."""
    for place in places:
        files.unlink(place.index_file)
        if sync:  # the names go in this order on the disk, too
            files.sync_directory(directory)
        with suppress(FileNotFoundError):
            files.unlink(place.data_file)
    if stale is not None:
        files.unlink(stale.file)
