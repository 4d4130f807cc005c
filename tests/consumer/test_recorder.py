"""The recorder against a real Distributor in memory: its copy is the epoch, byte for byte, whatever breaks."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from sdp.consumer.output import Progress
from sdp.consumer.recorder import Recorder
from sdp.consumer.sources import Source, Sources
from sdp.consumer.writer import Writer
from sdp.errors import Refusal, StorageError
from sdp.net.address import parse_address
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import ClientFactory, ClientProtocol, Role
from tests.consumer.pair import Distributor, Lines, outcome

ADDRESS = parse_address("http://h:8080/a")


class Memory:
    """An output that keeps what it is given."""

    def __init__(self) -> None:
        self.progress = Progress()
        self.data = b""
        self.done = False
        self.fails = False

    def open(self) -> Progress:
        return self.progress

    def begin(self, epoch: str, first: int, head: bytes = b"") -> None:
        assert not self.data
        self.progress = Progress(epoch=epoch, first=first, end=first)
        self.data = head

    def write(self, pieces: Any) -> None:
        if self.fails:
            raise StorageError("The disk is full.")
        assert self.progress.epoch is not None
        self.data += b"".join(pieces)

    def complete(self) -> None:
        self.done = True

    def close(self) -> None:
        pass


class Pool:
    """A thread pool of one thread, which works when it is told to."""

    def __init__(self, instant: bool = True) -> None:
        self.instant = instant
        self.work: list[Any] = []

    def callInThreadWithCallback(self, on_result: Any, func: Any, *args: Any, **kw: Any) -> None:
        self.work.append((on_result, func, args, kw))
        if self.instant:
            self.run()

    def run(self) -> None:
        while self.work:
            on_result, func, args, kw = self.work.pop(0)
            try:
                result, success = func(*args, **kw), True
            except Exception:
                result, success = Failure(), False
            on_result(success, result)


class Reactor:
    """What deferToThreadPool asks of a reactor."""

    @staticmethod
    def callFromThread(call: Any, *args: Any, **kw: Any) -> None:
        call(*args, **kw)


class Rig:
    def __init__(
        self,
        distributor: Distributor | None = None,
        output: Any = None,
        limit: int = 1 << 20,
        others: Sequence[Distributor] = (),
    ) -> None:
        self.distributor = distributor or Distributor()
        self.output = output or Memory()
        self.pool = Pool()
        self.tell = Lines()
        self.writer = Writer(self.output, Reactor(), self.pool, limit)
        backoff = Backoff(Random(1))
        clock = self.distributor.reactor
        sources = Sources([Source(ADDRESS, each.connecting(Role.CONSUMER)) for each in (self.distributor, *others)])
        attempts = Attempts(sources.connect, clock, backoff, self.tell)
        mending = Backoff(Random(1), first=1, most=30)
        self.recorder = Recorder(sources, self.writer, attempts, self.tell, clock, mending)

    def start(self) -> Rig:
        self.running = Deferred.fromCoroutine(self.recorder.run())
        self.results = outcome(self.running)
        self.distributor.settle()
        return self


def test_a_live_stream_is_copied_to_its_end():
    rig = Rig()
    post = rig.distributor.post
    assert post("0-4/*", b"hello", Content_Type="text/plain").status == 201
    rig.start()
    assert rig.output.data == b"hello"
    post("5-10/*", b" world")
    assert rig.output.data == b"hello world"
    assert rig.results == []
    assert post("*/11").status == 204
    rig.distributor.settle(1)
    assert rig.results == [None]
    assert rig.output.done
    assert rig.recorder.complete_length == 11


def test_a_stream_that_has_ended_is_copied():
    rig = Rig()
    rig.distributor.post("0-4/5", b"hello", Content_Type="text/plain")
    rig.start()
    assert (rig.results, rig.output.data, rig.output.done) == ([None], b"hello", True)


def test_a_stream_that_is_not_there_yet_is_waited_for_visibly():
    rig = Rig().start()
    rig.distributor.settle(95)
    assert rig.results == []
    assert any("Waiting for http://h:8080/a" in line for line in rig.tell.lines)
    rig.distributor.post("0-4/5", b"hello", Content_Type="text/plain")
    rig.distributor.settle(11)
    assert (rig.results, rig.output.data) == ([None], b"hello")


def test_a_distributor_that_is_not_there_is_waited_for():
    rig = Rig()
    rig.distributor.post("0-4/5", b"hello", Content_Type="text/plain")
    rig.distributor.up = False
    rig.start()
    rig.distributor.settle(20)
    assert any("cannot be reached" in line for line in rig.tell.lines)
    rig.distributor.up = True
    rig.distributor.settle(11)
    assert (rig.results, rig.output.data) == ([None], b"hello")


def test_a_broken_connection_goes_on_with_the_next_byte():
    rig = Rig()
    rig.distributor.post("0-4/*", b"hello", Content_Type="text/plain")
    rig.start()
    rig.distributor.cut()
    rig.distributor.post("5-10/*", b" world")
    rig.distributor.settle(2)
    assert rig.output.data == b"hello world"
    rig.distributor.post("*/11")
    rig.distributor.settle(2)
    assert rig.results == [None]


def test_a_recorder_that_was_stopped_goes_on_where_it_was():
    rig = Rig()
    answer = rig.distributor.post("0-4/*", b"hello", Content_Type="text/plain")
    output = Memory()
    output.data = b"he"
    output.progress = Progress(epoch=answer.headers.get(b"etag").decode(), first=0, end=2)  # type: ignore[union-attr]
    rig.distributor.post("5-10/11", b" world")
    rig = Rig(rig.distributor, output).start()
    assert (rig.results, output.data) == ([None], b"hello world")


def test_a_copy_that_is_complete_is_left_alone():
    output = Memory()
    output.progress = Progress(epoch='"x"', end=5, complete=True)
    rig = Rig(output=output).start()
    assert rig.results == [None]
    assert any("complete already" in line for line in rig.tell.lines)


def test_the_rest_of_an_epoch_that_another_has_followed():
    rig = Rig()
    distributor = rig.distributor
    distributor.post("0-4/*", b"hello", Content_Type="text/plain")
    rig.start()
    distributor.up = False
    distributor.cut()
    distributor.up = True
    # While the recorder is away, its epoch gets longer and ends, and another begins.
    distributor.post("5-10/11", b" world")
    distributor.post("0-4/*", b"other", Content_Type="text/plain")
    distributor.settle(12)
    if isinstance(rig.results[0], Refusal):  # this Distributor keeps no former epoch
        assert rig.output.data == b"hello"
        assert "kept no more" in rig.results[0].detail
    else:
        assert rig.output.data == b"hello world"
    assert any("begun another epoch" in line for line in rig.tell.lines)


def test_an_epoch_that_is_lost_is_told_of_and_never_mixed():
    rig = Rig()
    rig.distributor.post("0-4/*", b"hello", Content_Type="text/plain")
    rig.start()
    rig.distributor.crash()
    rig.distributor.post("0-6/*", b"another", Content_Type="text/plain")
    rig.distributor.settle(20)
    assert isinstance(rig.results[0], Refusal)
    assert "kept no more" in rig.results[0].detail
    assert rig.output.data == b"hello"
    assert not rig.output.done


def test_a_slow_disk_holds_back_the_socket():
    rig = Rig(limit=1000)
    rig.distributor.post("0-4/*", b"hello", Content_Type="text/plain")
    rig.start()
    rig.pool.instant = False
    data, at = bytes(range(250)) * 400, 5
    for i in range(0, len(data), 5000):
        piece = data[i : i + 5000]
        rig.distributor.post(f"{at}-{at + len(piece) - 1}/*", piece)
        at += len(piece)
    assert rig.writer.full
    assert rig.writer.backlog < len(data)
    rig.pool.instant = True
    rig.pool.run()
    rig.distributor.settle(1)
    rig.distributor.post(f"*/{at}")
    rig.distributor.settle(2)
    assert rig.results == [None]
    assert rig.output.data == b"hello" + data


def test_an_output_that_takes_no_more_for_good_ends_the_copy():
    rig = Rig()
    rig.distributor.post("0-4/*", b"hello", Content_Type="text/plain")
    rig.start()
    rig.output.fails = True
    rig.distributor.post("5-10/*", b" world")
    rig.distributor.settle()
    assert isinstance(rig.results[0], StorageError)
    assert rig.output.data == b"hello"


def test_reading_that_is_not_allowed_ends_the_copy(tmp_path):
    (tmp_path / "token").write_text("reader:secret\n")
    distributor = Distributor(**{"read-token": str(tmp_path / "token")})
    rig = Rig(distributor).start()
    assert isinstance(rig.results[0], Refusal)
    assert rig.results[0].status == 401


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_whatever_breaks_the_copy_is_the_epoch(data):
    rig = Rig(limit=data.draw(st.sampled_from([10, 1 << 20])))
    rig.distributor.post("0-3/*", b"....", Content_Type="text/plain")
    sent = b"...."
    rig.start()
    for number in range(data.draw(st.integers(1, 12))):
        match data.draw(st.sampled_from(["post", "post", "cut", "wait", "slow", "fast"])):
            case "post":
                piece = b"<%d>" % number * data.draw(st.integers(1, 50))
                rig.distributor.post(f"{len(sent)}-{len(sent) + len(piece) - 1}/*", piece)
                sent += piece
            case "cut":
                rig.distributor.cut()
            case "wait":
                rig.distributor.settle(1)
            case "slow":
                rig.pool.instant = False
            case "fast":
                rig.pool.instant = True
                rig.pool.run()
    rig.pool.instant = True
    rig.pool.run()
    rig.distributor.post(f"*/{len(sent)}")
    rig.distributor.settle(15)
    assert rig.results == [None]
    assert rig.output.data == sent


class Scripted:
    """A recorder on one connection whose answers are written by hand."""

    def __init__(self, **progress: Any) -> None:
        self.clock = Clock()
        self.output = Memory()
        self.output.progress = Progress(**progress)
        self.tell = Lines()
        factory = ClientFactory(parse_address("http://h:8080/a"), None, self.clock)
        self.transports: list[StringTransport] = []

        async def connect() -> ClientProtocol:
            self.client = factory.buildProtocol(None)
            self.transports.append(StringTransport())
            self.client.makeConnection(self.transports[-1])
            return self.client

        sources = Sources([Source(ADDRESS, connect)])
        attempts = Attempts(sources.connect, self.clock, Backoff(Random(1)), self.tell)
        writer = Writer(self.output, Reactor(), Pool(), 1 << 20)
        mending = Backoff(Random(1), first=1, most=30)
        self.recorder = Recorder(sources, writer, attempts, self.tell, self.clock, mending)
        self.results = outcome(Deferred.fromCoroutine(self.recorder.run()))

    def asked(self) -> bytes:
        """What was asked on the newest connection, since this was called last."""
        asked = self.transports[-1].value()
        self.transports[-1].clear()
        return asked

    def answer(self, status: str, *lines: str, content: bytes = b"") -> None:
        head = [f"HTTP/1.1 {status}", *lines]
        if not any(line.startswith("Transfer-Encoding") for line in lines):
            head.append(f"Content-Length: {len(content)}")
        self.client.dataReceived("\r\n".join([*head, "", ""]).encode() + content)


def test_what_is_asked_for():
    rig = Scripted()
    assert b"Range: bytes=0-9007199254740991\r\n" in rig.asked()
    rig = Scripted(epoch='"e"', first=0, end=7)
    asked = rig.asked()
    assert b"Range: bytes=7-9007199254740991\r\n" in asked
    assert b'If-Match: "e"\r\n' in asked
    assert b"lossless" in asked


def test_the_beginning_that_retention_removed():
    rig = Scripted()
    rig.asked()
    rig.answer("410 Gone")
    assert rig.asked().startswith(b"GET /-/streams/a HTTP/1.1\r\n")
    rig.answer("200 OK", content=b'{"first_offset": 40}')
    assert b"Range: bytes=40-" in rig.asked()
    rig.answer("206 Partial Content", 'ETag: "e"', "Content-Range: bytes 40-44/45", content=b"hello")
    assert rig.results == [None]
    assert rig.output.progress.first == 40
    assert any("begins at offset 40" in line for line in rig.tell.lines)


def test_retention_that_was_faster_than_the_copy():
    rig = Scripted(epoch='"e"', first=0, end=7)
    rig.answer("410 Gone")
    assert isinstance(rig.results[0], Refusal)
    assert "offset 7" in rig.results[0].detail


WRONG = [
    ("206 Partial Content", 'ETag: "e"', "Content-Range: bytes 6-10/*"),
    ("206 Partial Content", 'ETag: "e"'),
    ("206 Partial Content", 'ETag: "e"', "Content-Range: bytes 7-x/*"),
    ("206 Partial Content", 'ETag: "f"', "Content-Range: bytes 7-11/*"),
    ("416 Range Not Satisfiable", 'ETag: "e"', "Content-Range: bytes */5"),
    ("416 Range Not Satisfiable", 'ETag: "e"'),
    ("500 Internal Server Error",),
    ("404 Not Found", "Retry-After: 3"),
]


@pytest.mark.parametrize("lines", WRONG)
def test_what_does_not_follow_is_never_written(lines):
    rig = Scripted(epoch='"e"', first=0, end=7)
    rig.answer(*lines, content=b"wrong")
    assert rig.output.data == b""
    rig.clock.pump([0.5] * 8)
    assert len(rig.transports) == 2
    assert b"Range: bytes=7-" in rig.asked()
    rig.answer("206 Partial Content", 'ETag: "e"', "Content-Range: bytes 7-11/12", content=b"right")
    assert rig.results == [None]
    assert rig.output.data == b"right"


@pytest.mark.parametrize(
    "lines",
    [
        ("206 Partial Content", "Content-Range: bytes 7-11/*"),
        ("206 Partial Content", 'ETag: W/"e"', "Content-Range: bytes 7-11/*"),
        ("200 OK", 'ETag: "e"'),
    ],
)
def test_a_server_of_which_no_copy_can_be_made(lines):
    rig = Scripted(epoch='"e"', first=0, end=7)
    rig.answer(*lines, content=b"wrong")
    assert isinstance(rig.results[0], Refusal)
    assert rig.output.data == b""


def test_a_server_without_ranges_gives_a_whole_file():
    rig = Scripted()
    rig.answer("200 OK", 'ETag: "e"', content=b"all of it")
    assert (rig.results, rig.output.data) == ([None], b"all of it")


def test_a_former_epoch_is_asked_for_by_name():
    rig = Scripted(epoch='"e"', first=0, end=7)
    rig.asked()
    rig.answer("412 Precondition Failed", 'ETag: "f"')
    asked = rig.asked()
    assert asked.startswith(b"GET /a?epoch=e HTTP/1.1\r\n")
    assert b"If-Match" not in asked
    rig.answer("416 Range Not Satisfiable", 'ETag: "e"', "Content-Range: bytes */7")
    assert rig.results == [None]


def test_a_former_epoch_that_ended_before_the_copy_s_end_is_told_of_and_waited_for_no_more():
    rig = Scripted(epoch='"e"', first=0, end=7)
    rig.answer("412 Precondition Failed", 'ETag: "f"')
    rig.answer("416 Range Not Satisfiable", 'ETag: "e"', "Content-Range: bytes */5")
    [error] = rig.results
    assert isinstance(error, Refusal)
    assert "ended at 5 bytes, and this copy of it has 7" in error.detail
    assert rig.output.data == b""


def test_an_answer_without_a_byte_is_no_reason_to_spin():
    rig = Scripted(epoch='"e"', first=0, end=7)
    rig.answer("206 Partial Content", 'ETag: "e"', "Content-Range: bytes 7-9007199254740991/*")
    assert any("without a byte" in line for line in rig.tell.lines)
    assert len(rig.transports) == 1
    rig.clock.pump([0.5])
    assert len(rig.transports) == 2


def test_a_stop_in_the_middle():
    rig = Scripted(epoch='"e"', first=0, end=7)
    rig.answer(
        "206 Partial Content",
        'ETag: "e"',
        "Content-Range: bytes 7-9007199254740991/*",
        "Transfer-Encoding: chunked",
        content=b"5\r\nright\r\n",
    )
    assert rig.output.data == b"right"
    assert rig.results == []
