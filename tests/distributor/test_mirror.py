"""A log that another process follows, run by run: the same at each moment, however the runs are cut."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock

from sdp.container import framer_for
from sdp.distributor.forms import Form
from sdp.distributor.mirror import MirrorInflow
from sdp.distributor.reading import BLOCK
from sdp.distributor.remote import Blocks
from sdp.distributor.runs import Run, Runs, RunsReader, encode_run
from sdp.distributor.upstream import Told
from sdp.errors import ProtocolError
from sdp.http1 import encode_chunk
from sdp.stream.catalog import Epoch
from sdp.stream.log import StreamLog
from sdp.stream.record import Flag, Record
from tests.system.media import CONTENT_TYPE, movie

from .disk import Disk, Kept
from .marked import marked
from .test_forms import done

FILM = movie("KdKdd").data


def double(**parts: Any) -> Any:
    """What stands for something of which only ``parts`` are used."""
    return SimpleNamespace(**parts)


class Other:
    """Another process: its log, and what stands in for its way to the first one."""

    def __init__(self, epoch: Epoch) -> None:
        outlet = double(begin=lambda *given: None, now=lambda: 0)
        self._upstream = double(bytes_received=0)
        self.inflow = MirrorInflow("a", [self._upstream], Clock(), double(), outlet, Blocks(), 1 << 30)
        told = Told(epoch.id, CONTENT_TYPE, 0, epoch.end, False, ())
        self.inflow._told = told
        self.epoch = self.inflow._new_epoch(told, self._upstream)
        self._reader = RunsReader()

    def connect(self) -> int:
        """Begin anew; where from."""
        self._reader = RunsReader()
        return self.epoch.log.known

    def take(self, data: bytes, cut: int) -> None:
        for at in range(0, len(data), cut):
            for run in self._reader.feed(data[at : at + cut]):
                self.inflow.follow(self._upstream, self.epoch, run)


def state(log: StreamLog) -> object:
    pieces = b"".join(log.read(log.start))
    return log.start, log.end, log.known, pieces, list(log.records), log.explicit, log.arrival(log.start)


@given(
    st.lists(
        st.tuples(st.integers(1, 700), st.sampled_from(["keep", "give", "lose", "mark"]), st.integers(1, 99)),
        max_size=60,
    )
)
def test_it_is_the_same_at_each_moment(steps: list[tuple[int, str, int]]) -> None:
    """Where a connection is lost, whatever of a run has come is of no use, and what was known is not told again."""
    first = Epoch("a", "1", StreamLog(1 << 30), framer_for(CONTENT_TYPE), declared_type=CONTENT_TYPE)
    first.append(FILM[:1], 1000)
    other = Other(first)
    form, sent = Runs(first, chunked=False), 0
    for size, what, cut in [*steps, (len(FILM), "give", 97)]:
        piece = FILM[first.end : first.end + size]
        if piece:
            first.append(piece, 1000)
        if what == "mark" and first.end < len(FILM):  # a body that says so has bytes, which take it along
            first.begin_body(None, True)
        if what in ("keep", "mark"):
            continue
        run = form.encode(first.log, sent, first.end) if first.end > sent else b""
        if what == "lose":
            other.take(run[:-1], cut)
            form, sent = Runs(first, chunked=False), other.connect()
            continue
        sent = first.end
        other.take(run, cut)
        if run:
            assert state(other.epoch.log) == state(first.log)
    first.finish()
    other.take(form.closing(), 1)
    other.epoch.finish()
    assert state(other.epoch.log) == state(first.log)
    assert other.epoch.framer.known == len(FILM)


def test_bytes_of_a_header_that_is_not_whole_are_given_at_once() -> None:
    epoch = marked(b"K1?")
    assert Runs(epoch, chunked=False).available(epoch.log) == 3
    [run] = RunsReader().feed(Runs(epoch, chunked=False).encode(epoch.log, 0, 3))
    assert (run.data, run.known, [record.offset for record in run.records]) == (b"K1?", 2, [0])


def test_what_is_jumped_over_is_not_waited_for() -> None:
    epoch = marked(b"I1", b"K2", b"f3", b"K4", b"f5")
    other = Other(epoch)
    form = Runs(epoch, chunked=False)
    record = epoch.log.records[0]
    other.take(form.encode_bytes(0, b"I1", record) + form.encode(epoch.log, 6, 8), 5)
    other.take(form.encode(epoch.log, 8, 10), 5)
    log = other.epoch.log
    assert (log.start, log.end, log.known) == (6, 10, 10)
    assert [each.offset for each in log.records] == [6, 8]
    before = log.initialization_before(6)
    assert before is not None
    assert log.initialization(before) == b"I1"


def test_out_of_the_memory_it_comes_from_the_disk() -> None:
    epoch = marked(b"K123f5", b"f7K9", b"f1", window=0, recording=Kept(Disk()), at=5, every=1)
    assert epoch.log.start == 12
    form: Form = Runs(epoch, chunked=False)
    data, end = done(form.encode_from(epoch, 2, 12))
    [run] = RunsReader().feed(data)
    assert (run.offset, run.data, end) == (2, b"23f5f7K9f1", 12)
    assert [(each.offset, each.received_time) for each in run.records] == [(4, 5), (6, 6), (8, 6), (10, 7)]


@given(st.lists(st.binary(max_size=50), max_size=5), st.integers(1, 200), st.lists(st.integers(0, 1 << 60), max_size=3))
def test_runs_in_any_pieces(contents: list[bytes], cut: int, hops: list[int]) -> None:
    runs, at = [], 0
    for data in contents:
        records = [
            Record(at, Flag.RANDOM_ACCESS, 7, None, tuple(hops)),
            Record(at + 1, Flag.INITIALIZATION, None, 8),
        ]
        runs.append(Run(at, data, at, 5 if hops else None, bool(hops), records))
        at += len(data)
    sent = b"".join(map(encode_run, runs))
    reader = RunsReader()
    found = [run for start in range(0, len(sent), cut) for run in reader.feed(sent[start : start + cut])]
    assert found == runs


def test_what_is_no_run_is_found_out() -> None:
    with pytest.raises(ProtocolError):
        RunsReader().feed(b"\xff" * 100)


def test_each_run_is_a_chunk() -> None:
    epoch = marked(b"K" + b"1" * BLOCK)
    whole = Runs(epoch, chunked=False).encode(epoch.log, 0, epoch.end)
    assert Runs(epoch, chunked=True).encode(epoch.log, 0, epoch.end) == encode_chunk(whole)
