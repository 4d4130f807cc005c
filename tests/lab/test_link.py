"""The modelled link: in order, at its rate, with its delay; and the process that puts sockets through it."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.lab.link import QUEUE, RETRANSMISSION, Link, LinkSpec
from sdp.lab.traces import capacity
from sdp.lab.way import LINKS

ROOT = Path(__file__).resolve().parents[2]


def test_nothing_said_is_no_delay() -> None:
    link = Link(LinkSpec())
    assert [link.enter(at, 1000) for at in (0.0, 0.5, 0.5)] == [0.0, 0.5, 0.5]


def test_a_rate_makes_pieces_wait_for_each_other() -> None:
    link = Link(LinkSpec(rate=8000, delay=0.25))
    assert link.enter(0.0, 1000) == pytest.approx(1.25)
    assert link.enter(0.0, 500) == pytest.approx(1.75)
    assert link.enter(5.0, 1000) == pytest.approx(6.25)


def test_a_stall_holds_up_what_comes_and_not_what_is_on_its_way() -> None:
    link = Link(LinkSpec(delay=0.1))
    assert link.enter(0.0, 10) == pytest.approx(0.1)
    link.stall(0.05, 2.0)
    assert link.enter(0.06, 10) == pytest.approx(2.15)
    assert link.enter(3.0, 10) == pytest.approx(3.1)


def test_what_is_lost_holds_up_what_is_behind_it() -> None:
    link = Link(LinkSpec(delay=0.05, loss=1.0))
    first = link.enter(0.0, 10)
    assert first == pytest.approx(0.05 + RETRANSMISSION + 0.1)
    assert link.lost == 1
    assert Link(LinkSpec(delay=0.05, loss=0.0)).enter(0.0, 10) == pytest.approx(0.05)


def test_a_full_queue_has_room_again_when_enough_was_carried() -> None:
    link = Link(LinkSpec(rate=8 * QUEUE))
    link.enter(0.0, QUEUE // 2)
    assert link.has_room(0.0)
    link.enter(0.0, QUEUE // 2)
    assert not link.has_room(0.0)
    at = link.room_at(0.0)
    assert at == pytest.approx(0.5)
    assert link.has_room(at)


PIECES = st.lists(st.tuples(st.floats(0, 0.2), st.integers(1, 20_000)), min_size=1, max_size=40)


@given(PIECES, st.integers(10_000, 10_000_000), st.floats(0, 0.1), st.sampled_from(LINKS), st.integers(0, 9))
def test_order_is_kept_nothing_is_early_and_chance_repeats(
    pieces: list[tuple[float, int]], rate: int, jitter: float, trace: str, seed: int
) -> None:
    spec = LinkSpec(rate=rate, trace=trace, delay=0.01, jitter=jitter, loss=0.1, seed=seed)

    def run() -> list[tuple[float, float]]:
        link, now, passed = Link(spec), 0.0, []
        for gap, size in pieces:
            now += gap
            passed.append((now, link.enter(now, size)))
        return passed

    passed = run()
    assert all(out >= into + 0.01 - 1e-9 for into, out in passed)
    assert all(before[1] <= after[1] for before, after in pairwise(passed))
    assert passed == run()


@pytest.mark.parametrize("name", LINKS)
def test_a_trace_s_mean_is_one_and_it_is_never_negative(name: str) -> None:
    share = capacity(name, 3)
    values = [share(n / 50) for n in range(50 * 600)]
    assert min(values) >= 0
    assert sum(values) / len(values) == pytest.approx(1, abs=0.03)


class Proxied:
    """A server of this test's own behind the process."""

    def __init__(self, **link: object) -> None:
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(30)
        command = [sys.executable, "-m", "sdp.lab.proxy"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.say(json.dumps({"target": self.server.getsockname()[1], "link": link}))
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def pair(self) -> tuple[socket.socket, socket.socket]:
        near = socket.create_connection(("127.0.0.1", self.port), timeout=30)
        far, _ = self.server.accept()
        far.settimeout(30)
        return near, far

    def __enter__(self) -> Proxied:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        assert self.process.wait(30) == 0
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.server.close()


def received(source: socket.socket) -> bytes:
    data = b""
    while piece := source.recv(1 << 16):
        data += piece
    return data


def test_bytes_come_through_whole_both_ways_and_the_end_after_them() -> None:
    content = bytes(range(256)) * 2000
    with Proxied(rate=80_000_000, delay=0.01, jitter=0.01, loss=0.01, seed=4) as line:
        near, far = line.pair()
        with near, far:
            near.sendall(b"GET")
            assert far.recv(3, socket.MSG_WAITALL) == b"GET"
            far.sendall(content)
            far.shutdown(socket.SHUT_WR)
            assert received(near) == content


def test_a_cut_ends_every_connection_and_lets_the_next_one_through() -> None:
    with Proxied() as line:
        near, far = line.pair()
        far.sendall(b"x")
        assert near.recv(1) == b"x"
        line.say("cut")
        assert near.recv(1) == b""
        near.close()
        far.close()
        near, far = line.pair()
        far.sendall(b"y")
        assert near.recv(1) == b"y"
        near.close()
        far.close()
