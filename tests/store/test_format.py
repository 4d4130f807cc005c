"""The files, read by docs/store.rst alone: whoever changes what is written here changes the format."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from zlib import crc32

from sdp.stream.record import Flag, Record
from tests.store.simulation import FaultyFiles, opened

UNKNOWN = -(2**63)


def test_the_files_are_what_the_docs_say(tmp_path: Path) -> None:
    with opened(tmp_path, FaultyFiles(mark=77), now=lambda: 1000) as (store, reactor):
        recording = store.create("camera/door", "5b0c", "video/mp4")
        recording.append(b"init", [Record(0, Flag.INITIALIZATION, None, 3)])
        reactor.until(lambda: recording.durable == 4)
        recording.append(b"picture", [Record(4, Flag.RANDOM_ACCESS | Flag.IMPLIED, -1, None)])
        reactor.until(lambda: recording.durable == 11)
        reactor.wait(recording.finish())
    directory = tmp_path / "camera" / "door" / "@5b0c"
    assert sorted(path.name for path in directory.iterdir()) == [
        "00000000000000000000.index",
        "00000000000000000000.mp4",
        "epoch.json",
    ]
    assert (directory / "00000000000000000000.mp4").read_bytes() == b"initpicture"
    assert json.loads((directory / "epoch.json").read_text()) == {
        "version": 1,
        "name": "camera/door",
        "epoch": "5b0c",
        "content_type": "video/mp4",
        "created": 1000,
    }
    index = (directory / "00000000000000000000.index").read_bytes()
    assert len(index) == 6 * 64
    assert struct.unpack("<8sHHIQQ28s", index[:60]) == (b"SDPindex", 2, 64, 0, 0, 77, bytes(28))
    assert int.from_bytes(index[60:64], "little") == crc32(index[:60])
    entries = []
    for at in range(64, len(index), 64):
        crc, *entry = struct.unpack("<IBBHQqqqqqQ", index[at : at + 64])
        assert crc == crc32(index[at + 4 : at + 64])
        entries.append(tuple(entry))
    assert entries == [
        # kind, flags, 0, offset, value, value, record, random access, initialization, boot mark
        (1, 1, 0, 0, UNKNOWN, 3, -1, -1, -1, 77),
        (2, 0, 0, 4, 0, 1000, 0, -1, 0, 77),
        (1, 6, 0, 4, -1, UNKNOWN, 0, -1, 0, 77),
        (2, 0, 0, 11, 2, 1000, 2, 2, 0, 77),
        (3, 0, 0, 11, 4, 1000, 2, 2, 0, 77),
    ]
