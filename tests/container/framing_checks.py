"""What must hold for any framer and any bytes: run over cuts, and the checks themselves."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterable, Iterator

from sdp.container import framer_for
from sdp.container.framing import Framing
from sdp.container.sniffing import SniffingFramer
from sdp.stream.record import Flag, Record

AnyFramer = Framing | SniffingFramer


def frame(data: bytes, sizes: Iterable[int], content_type: str | None = None) -> list[Record]:
    """Feed ``data`` in pieces of ``sizes`` (then the rest), and check the account after each."""
    framer = framer_for(content_type)
    framer.boundary(0, None, None)
    records: list[Record] = []
    at = 0
    for piece in pieces(data, sizes):
        at += len(piece)
        known = framer.known
        found = framer.feed(piece, at)
        assert framer.end == at
        assert known <= framer.known <= at
        assert all(known <= record.offset <= framer.known for record in found)
        records += found
        assert not framer.known or records, "bytes are known that no record has"
    records += framer.flush()
    assert framer.known == framer.end == len(data)
    check_partition(records, len(data))
    return records


def pieces(data: bytes, sizes: Iterable[int]) -> Iterator[bytes]:
    at = 0
    for size in itertools.chain(sizes, [len(data)]):
        if at >= len(data):
            return
        yield data[at : at + size]
        at += size


def check_partition(records: list[Record], end: int) -> None:
    """Records begin at 0, strictly ascend, and leave no byte out."""
    offsets = [record.offset for record in records]
    assert not end or offsets[0] == 0
    assert all(before < after for before, after in itertools.pairwise(offsets))
    assert not offsets or offsets[-1] < end


def bare(records: Iterable[Record]) -> list[tuple[int, Flag, int | None]]:
    """Records without their received times, which depend on the cuts."""
    return [(record.offset, record.flags, record.capture_time) for record in records]


def random_sizes(seed: int, greatest: int = 1500) -> Iterator[int]:
    chance = random.Random(seed)
    while True:
        yield chance.choice((1, 2, chance.randint(1, 20), chance.randint(1, greatest)))
