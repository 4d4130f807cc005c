"""The line that the other tests are cut off by: what it passes on, and that it breaks where it is told to."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from random import Random

import pytest

from tests.system.client import LIMIT
from tests.system.processes import eventually
from tests.system.proxy import Cut, Line, Way

pytestmark = pytest.mark.system

DATA = Random(1).randbytes(300_000)


class Ends:
    """A listening socket behind a line, and the two ends of each connection that was made through it."""

    def __init__(self, stack: ExitStack, **options: object) -> None:
        self._stack = stack
        self._listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._listening.settimeout(LIMIT)
        self.line = Line(self._listening.getsockname()[1], **options)  # type: ignore[arg-type]
        stack.callback(self.line.close)

    def connect(self) -> tuple[socket.socket, socket.socket]:
        near = self._stack.enter_context(socket.create_connection(("127.0.0.1", self.line.port), LIMIT))
        far = self._stack.enter_context(self._listening.accept()[0])
        far.settimeout(LIMIT)
        return near, far


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def exactly(end: socket.socket, count: int) -> bytes:
    """So many bytes, or as many as there are before the connection's end."""
    got = b""
    while len(got) < count and (data := end.recv(min(65536, count - len(got)))):
        got += data
    return got


def broken(end: socket.socket) -> type[OSError] | None:
    """Read up to the end; how it ended: by a reset, or None."""
    try:
        while end.recv(65536):
            pass
    except ConnectionResetError as error:
        return type(error)
    return None


@pytest.mark.parametrize("seed", [None, 7])
def test_both_directions_and_their_ends_are_passed_on(stack: ExitStack, seed: int | None) -> None:
    near, far = Ends(stack, seed=seed).connect()
    for here, there in ((near, far), (far, near)):
        here.sendall(DATA[:50_000])
        assert exactly(there, 50_000) == DATA[:50_000]
        here.shutdown(socket.SHUT_WR)
        assert there.recv(1) == b""


@pytest.mark.parametrize("way", Way)
@pytest.mark.parametrize("how", Cut)
def test_a_cut_after_so_many_bytes_lets_by_just_these(stack: ExitStack, way: Way, how: Cut) -> None:
    ends = Ends(stack, seed=3)
    near, far = ends.connect()
    here, there = (near, far) if way is Way.UP else (far, near)
    here.sendall(DATA[:1000])
    assert exactly(there, 1000) == DATA[:1000]
    ends.line.cut_after(way, 1234, how)
    here.sendall(DATA[:9000])
    eventually(lambda: not ends.line.armed, "the cut")
    assert ends.line.carried[way] == 1000 + 1234
    if how is Cut.FINISH:
        assert exactly(there, 9999) == DATA[:1234]
    else:
        with suppress(ConnectionResetError):  # which may overtake what was sent before it
            assert DATA[:1234].startswith(exactly(there, 9999))
    again, beyond = ends.connect()
    again.sendall(b"new")
    assert exactly(beyond, 3) == b"new"


def test_a_cut_takes_all_connections_that_have_something_to_pass_on(stack: ExitStack) -> None:
    ends = Ends(stack)
    pairs = [ends.connect() for _ in range(3)]
    ends.line.stall(Way.UP)
    for near, _ in pairs:
        near.sendall(DATA[:1000])
    eventually(lambda: ends.line.held(Way.UP) == 3000)
    ends.line.cut_after(Way.UP, 500)
    ends.line.resume()
    for near, far in pairs:
        assert broken(near) is broken(far) is ConnectionResetError
    assert ends.line.carried[Way.UP] == 500
    assert ends.line.connections == 0


def test_a_reset_is_one_on_both_sides(stack: ExitStack) -> None:
    ends = Ends(stack)
    near, far = ends.connect()
    eventually(lambda: ends.line.connections == 1)
    ends.line.cut()
    assert ends.line.cuts == 1
    assert broken(near) is broken(far) is ConnectionResetError


def test_what_is_stalled_comes_later_and_is_held_within_bounds(stack: ExitStack) -> None:
    ends = Ends(stack)
    near, far = ends.connect()
    ends.line.stall(Way.UP)
    near.sendall(DATA[:100])
    far.sendall(b"down")
    assert exactly(near, 4) == b"down"
    assert eventually(lambda: ends.line.held(Way.UP)) == 100
    ends.line.heal()
    assert exactly(far, 100) == DATA[:100]


def test_a_slow_and_late_line_loses_nothing(stack: ExitStack) -> None:
    ends = Ends(stack, seed=5)
    near, far = ends.connect()
    ends.line.throttle(200_000)
    ends.line.delay(0.05)
    near.sendall(DATA[:20_000])
    assert exactly(far, 20_000) == DATA[:20_000]


def test_an_older_connection_s_bytes_come_behind_a_newer_one_s(stack: ExitStack) -> None:
    ends = Ends(stack)
    near, old = ends.connect()
    near.sendall(b"before")
    assert exactly(old, 6) == b"before"
    ends.line.stall(Way.UP)
    near.sendall(b"late")
    eventually(lambda: ends.line.held(Way.UP) == 4, "the bytes on the line")
    assert ends.line.set_aside() == 4
    assert broken(near) is ConnectionResetError
    assert ends.line.connections == 0
    ends.line.resume()
    newer, new = ends.connect()
    newer.sendall(b"first")
    assert exactly(new, 5) == b"first"
    old.setblocking(False)
    with pytest.raises(BlockingIOError):
        old.recv(1)
    old.settimeout(LIMIT)
    ends.line.release()
    assert exactly(old, 99) == b"late"


def test_nobody_behind_the_line_is_a_connection_that_breaks(stack: ExitStack) -> None:
    ends = Ends(stack)
    ends.line.upstream = None
    with pytest.raises(ConnectionResetError), socket.create_connection(("127.0.0.1", ends.line.port), LIMIT) as near:
        near.recv(1)


def test_all_that_is_large_comes_through_and_is_seen(stack: ExitStack) -> None:
    seen = []
    ends = Ends(stack, seed=9, tap=lambda number, way, data: seen.append((number, way, data)))
    near, far = ends.connect()
    far.setblocking(True)
    sent = 0
    got = b""
    while len(got) < len(DATA):
        sent += near.send(DATA[sent : sent + 60_000]) if sent < len(DATA) else 0
        got += exactly(far, sent - len(got))
    assert got == DATA == b"".join(data for _, _, data in seen)
    assert {(number, way) for number, way, _ in seen} == {(1, Way.UP)}
