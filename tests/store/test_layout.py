"""Names on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.errors import StorageError
from sdp.store.layout import (
    Description,
    NewerFormatError,
    check_name,
    data_path,
    epoch_directory,
    extension,
    index_path,
    segment_places,
)

ROOT = Path("/store")


@pytest.mark.parametrize("name", ["a", "a/b", "A-z0.9_~", "-a", "a/-", "x" * 255, "/".join(["a"] * 128)])
def test_names_of_streams(name: str) -> None:
    assert check_name(name) == name
    assert epoch_directory(ROOT, name, "e-1") == ROOT / name / "@e-1"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "/",
        "a/",
        "/a",
        "a//b",
        ".",
        "..",
        "a/..",
        "a/.b",
        "-",
        "-/a",
        "@a",
        "a@b",
        "a b",
        "a\n",
        "ä",
        "a\0",
        "%41",
        "x" * 256,
    ],
)
def test_names_that_could_leave_the_store(name: str) -> None:
    with pytest.raises(StorageError, match="cannot be the name"):
        check_name(name)


@pytest.mark.parametrize("epoch", ["", ".", "..", "a/b", "@", "e@removed", 'e"', "e\n", "x" * 129])
def test_epochs_that_could_leave_their_stream(epoch: str) -> None:
    with pytest.raises(StorageError, match="cannot be the identifier"):
        epoch_directory(ROOT, "a", epoch)


@given(st.text())
def test_no_name_leads_outside(name: str) -> None:
    try:
        directory = epoch_directory(ROOT, name, "e")
    except StorageError:
        return
    assert directory.is_relative_to(ROOT)
    assert ".." not in directory.parts


@pytest.mark.parametrize(
    ("content_type", "expected"),
    [
        ("video/mp4", "mp4"),
        ('Video/MP4; codecs="avc1.42c01e"', "mp4"),
        ("video/mp2t", "ts"),
        ("video/webm", "webm"),
        ("video/x-matroska", "mkv"),
        ("audio/aac", "aac"),
        ("audio/mpeg", "mp3"),
        ("text/plain", "bin"),
        ("", "bin"),
    ],
)
def test_extensions(content_type: str, expected: str) -> None:
    assert extension(content_type) == expected


def test_segments_are_found_by_their_index_and_in_order() -> None:
    names = [
        "00000000000000000100.index",
        "00000000000000000000.ts",
        "00000000000000000000.index",
        "00000000000000000200.ts",
        "epoch.json",
        "1.index",
    ]
    places = segment_places(ROOT, names, "video/mp2t")
    assert [place.first for place in places] == [0, 100]
    assert places[1] == (100, data_path(ROOT, 100, "video/mp2t"), index_path(ROOT, 100))


def test_a_description_comes_back() -> None:
    said = Description("a/b", "e", 'video/mp4; codecs="x"', 17)
    assert Description.load(said.dump(), ROOT) == said


@pytest.mark.parametrize(
    "content", [b"", b"{}", b"[]", b"null", b"\xff", b'{"version": "x"}', b'{"version": 1, "name": "a"}']
)
def test_a_damaged_description_is_told(content: bytes) -> None:
    with pytest.raises(StorageError, match="is damaged"):
        Description.load(content, ROOT / "epoch.json")


def test_a_later_format_is_refused() -> None:
    with pytest.raises(NewerFormatError, match="format version 2, and this program knows up to 1"):
        Description.load(b'{"version": 2}', ROOT / "epoch.json")
