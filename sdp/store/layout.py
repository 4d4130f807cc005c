"""Where on the disk a stream's epochs lie, and what their files are called. Pure: it names paths, and opens none.

``DIR/<name>/@<epoch>/`` holds one epoch. ``@`` is no character of a stream's name, so the streams ``a`` and
``a/b`` never meet, and what the store keeps for itself (``DIR/@lock``) is no stream. In an epoch's directory:

- ``epoch.json``: what is known of the epoch from its first moment on;
- ``<first offset, 20 digits>.<extension>``: a segment of the stream's bytes as they are, playable as a file;
- ``<first offset, 20 digits>.index``: that segment's records (see :mod:`sdp.store.index`);
- ``<offset, 20 digits>.initialization``: the initialization segment of what is left, where retention has trimmed the
  segment that it lay in.

Names and epochs are checked here although the wire has checked them: nothing outside DIR is ever touched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from sdp.errors import StorageError

__all__ = [
    "DESCRIPTION",
    "FORMAT_VERSION",
    "LOCK",
    "NEW",
    "REMOVED",
    "Description",
    "Initialization",
    "NewerFormatError",
    "SegmentPlace",
    "check_epoch",
    "check_name",
    "data_path",
    "epoch_directory",
    "extension",
    "index_path",
    "initialization_path",
    "initializations",
    "is_epoch",
    "is_segment_of_name",
    "name_directory",
    "orphans",
    "segment_places",
]

FORMAT_VERSION = 1
"""Of ``epoch.json`` and of the layout around it. The index has a version of its own."""
DESCRIPTION = "epoch.json"
LOCK = "@lock"
NEW = ".new"
"""Ends the name of a file that is not whole yet: once it is, it gets its own name."""
REMOVED = "@removed"
"""Ends the name of an epoch's directory that is being removed: ``@<epoch>@removed``."""

_NAME_LIMIT = 255
"""Characters of a name (the wire contract's), which is also what file systems take for one segment."""
_SEGMENT = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]*")
_EPOCH = re.compile(r"[A-Za-z0-9_~-][A-Za-z0-9._~-]{0,127}")
_FILE = re.compile(r"([0-9]{20})\.([a-z0-9]+)")

_INITIALIZATION = "initialization"
_NO_DATA = ("index", _INITIALIZATION)

_EXTENSIONS = {
    "audio/aac": "aac",
    "audio/aacp": "aac",
    "audio/mp3": "mp3",
    "audio/mp4": "mp4",
    "audio/mpeg": "mp3",
    "audio/webm": "webm",
    "audio/x-aac": "aac",
    "audio/x-matroska": "mkv",
    "video/matroska": "mkv",
    "video/mp2t": "ts",
    "video/mp4": "mp4",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
}


class NewerFormatError(StorageError):
    """The files are of a later format than this program knows: it must not touch them."""


class SegmentPlace(NamedTuple):
    """One segment's files: the offset of its first byte, and where its bytes and its index are."""

    first: int
    data_file: Path
    index_file: Path


class Initialization(NamedTuple):
    """An initialization segment that is kept although the segment that it lay in is gone: [offset, end) in a file."""

    offset: int
    end: int
    file: Path


class Description(NamedTuple):
    """What ``epoch.json`` says. ``created`` is in microseconds since the Unix epoch, and orders a name's epochs."""

    name: str
    epoch: str
    content_type: str
    created: int

    def dump(self) -> bytes:
        """The file's content."""
        return json.dumps({"version": FORMAT_VERSION, **self._asdict()}, indent=1).encode() + b"\n"

    @classmethod
    def load(cls, content: bytes, path: Path) -> Description:
        """Read the file's content. Raises NewerFormatError, and StorageError where it cannot be understood."""
        try:
            said = json.loads(content)
            version = int(said["version"])
            if version > FORMAT_VERSION:
                raise NewerFormatError(
                    f"{path} is of format version {version}, and this program knows up to {FORMAT_VERSION}: "
                    "use the program that wrote it, or another directory."
                )
            return cls(str(said["name"]), str(said["epoch"]), str(said["content_type"]), int(said["created"]))
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path} is damaged ({error}): restore it, or remove the directory it is in.") from error


def is_segment_of_name(text: str) -> bool:
    """Whether ``text`` can stand between the slashes of a stream's name."""
    return _SEGMENT.fullmatch(text) is not None


def is_epoch(text: str) -> bool:
    """Whether ``text`` can be an epoch's identifier."""
    return _EPOCH.fullmatch(text) is not None


def check_name(name: str) -> str:
    """Return the stream's name, or raise StorageError where it is none (and could leave the store)."""
    segments = name.split("/")
    if len(name) > _NAME_LIMIT or segments[0] == "-" or not all(map(is_segment_of_name, segments)):
        raise StorageError(f"{name!r} cannot be the name of a stored stream.")
    return name


def check_epoch(epoch: str) -> str:
    """Return the epoch's identifier, or raise StorageError where it cannot be part of a directory's name."""
    if not is_epoch(epoch):
        raise StorageError(f"{epoch!r} cannot be the identifier of a stored epoch.")
    return epoch


def name_directory(root: Path, name: str) -> Path:
    """Where the epochs of a (checked) name lie."""
    return root.joinpath(*check_name(name).split("/"))


def epoch_directory(root: Path, name: str, epoch: str) -> Path:
    """Where one epoch lies."""
    return name_directory(root, name) / f"@{check_epoch(epoch)}"


def extension(content_type: str) -> str:
    """What a player expects a file of this Content-Type to end with; ``bin`` where nothing is known."""
    return _EXTENSIONS.get(content_type.partition(";")[0].strip().lower(), "bin")


def data_path(directory: Path, first: int, content_type: str) -> Path:
    """The file of the bytes from offset ``first`` on."""
    return directory / f"{first:020d}.{extension(content_type)}"


def index_path(directory: Path, first: int) -> Path:
    """The index that goes with the bytes from offset ``first`` on."""
    return directory / f"{first:020d}.index"


def initialization_path(directory: Path, offset: int) -> Path:
    """Where the initialization segment that began at ``offset`` is kept once its segment is trimmed."""
    return directory / f"{offset:020d}.{_INITIALIZATION}"


def initializations(directory: Path, names: Iterable[str]) -> list[tuple[int, Path]]:
    """The kept initialization segments among the files of an epoch's directory, in order of their offsets."""
    found = [
        (int(match[1]), directory / name)
        for name in names
        if (match := _FILE.fullmatch(name)) and match[2] == _INITIALIZATION
    ]
    return sorted(found)


def orphans(directory: Path, names: Iterable[str], first: int) -> list[Path]:
    """The data files below ``first`` that have no index any more: a removal was cut short after the index's."""
    return [
        directory / name
        for name in names
        if (match := _FILE.fullmatch(name)) and match[2] not in _NO_DATA and int(match[1]) < first
    ]


def segment_places(directory: Path, names: Iterable[str], content_type: str) -> list[SegmentPlace]:
    """The segments among the files of an epoch's directory, in order of their offsets.

    A segment is there once its index is (it is made first); its bytes may be missing then.
    """
    data: dict[int, Path] = {}
    indexed: set[int] = set()
    for name in names:
        if match := _FILE.fullmatch(name):
            if match[2] == "index":
                indexed.add(int(match[1]))
            elif match[2] not in _NO_DATA:
                data[int(match[1])] = directory / name
    return [
        SegmentPlace(first, data.get(first) or data_path(directory, first, content_type), index_path(directory, first))
        for first in sorted(indexed)
    ]
