"""A consumer's requests against a server that answers by a script: what is asked, what is taken, what came twice."""

from __future__ import annotations

import socket
from threading import Event, Thread

import pytest

from sdp.lab.fetching import Arrival, Asked, Fetch

LIMIT = 60.0


def parts(*pieces: tuple[int, bytes], epoch: str = "e", more: bool = False) -> bytes:
    """An answer in parts, each with its capture time; with ``more`` it is cut off before its end."""
    body = b"".join(
        b"--x\r\nContent-Range: bytes %d-%d/*\r\nCapture-Time: %d\r\n\r\n%b\r\n"
        % (offset, offset + len(data) - 1, 1000 + offset, data)
        for offset, data in pieces
    )
    body += b"" if more else b"--x--\r\n"
    length = len(body) + (99 if more else 0)
    head = f'HTTP/1.1 206 OK\r\nETag: "{epoch}"\r\nContent-Length: {length}\r\n'
    return head.encode() + b"Content-Type: multipart/byteranges; boundary=x\r\n\r\n" + body


def plain(status: int, *lines: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status} OK", *lines, "Content-Length: 0"))
    return head.replace("Content-Length: 0\r\n", "" if status == 204 else "Content-Length: 0\r\n").encode() + b"\r\n"


ENDED = plain(204, "Content-Range: bytes */99")
CUT = b""
"""In place of an answer: the connection is closed after the answer before it."""


class Server:
    """Gives one answer after the other, whatever is asked, and keeps the requests."""

    def __init__(self, answers: list[bytes]) -> None:
        self.requests: list[dict[str, str]] = []
        self.accepted = 0
        self._answers = iter(answers)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.settimeout(LIMIT)
        self.port: int = self._listening.getsockname()[1]
        self._thread = Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        for _ in iter(self._serve, True):
            pass
        self._listening.close()

    def _serve(self) -> bool:
        """One connection; whether the script is over."""
        connection, _ = self._listening.accept()
        self.accepted += 1
        with connection:
            connection.settimeout(LIMIT)
            held = b""
            for answer in self._answers:
                if answer == CUT:
                    return False
                while b"\r\n\r\n" not in held:
                    data = connection.recv(4096)
                    if not data:
                        return False
                    held += data
                head, _, held = held.partition(b"\r\n\r\n")
                lines = [line.partition(": ") for line in head.decode().split("\r\n")[1:]]
                self.requests.append({name: value for name, _, value in lines})
                connection.sendall(answer)
        return True

    def over(self) -> None:
        self._thread.join(LIMIT)
        assert not self._thread.is_alive()


@pytest.fixture
def taken() -> list[Arrival]:
    return []


def fetch(answers: list[bytes], taken: list[Arrival], **asked: object) -> tuple[Fetch, Server]:
    server = Server(answers)
    done = Fetch(Asked(port=server.port, name="a", **asked), taken.append, Event())  # type: ignore[arg-type]
    done.run()
    server.over()
    return done, server


def test_parts_are_taken_with_their_offsets_and_times_until_the_epoch_has_ended(taken: list[Arrival]) -> None:
    done, server = fetch([parts((0, b"head"), (4, b"one")), parts((7, b"two")), ENDED], taken)
    assert [(each.offset, each.data, each.capture_time) for each in taken] == [
        (0, b"head", 1000),
        (4, b"one", 1004),
        (7, b"two", 1007),
    ]
    assert {each.epoch for each in taken} == {b'"e"'}
    asked = [(each["Content-Range"], each.get("If-Match")) for each in server.requests]
    assert asked == [("bytes */0", None), ("bytes 0-6/*", '"e"'), ("bytes 0-9/*", '"e"')]
    assert (done.requests, done.connections, done.twice) == (3, 1, 0)


def test_a_connection_that_is_cut_is_made_again_and_what_comes_twice_is_counted_once(taken: list[Arrival]) -> None:
    answers = [parts((0, b"0123456789"), more=True), CUT, parts((5, b"56789abc")), ENDED]
    done, server = fetch(answers, taken)
    assert b"".join(each.data for each in taken) == b"0123456789abc"
    assert done.twice == 5
    assert server.accepted == 2
    assert server.requests[1]["Content-Range"] == "bytes 0-9/*"


def test_another_epoch_begins_with_nothing_possessed(taken: list[Arrival]) -> None:
    answers = [parts((0, b"old")), plain(412), parts((0, b"new!"), epoch="f"), ENDED]
    _, server = fetch(answers, taken)
    assert [(each.epoch, each.data) for each in taken] == [(b'"e"', b"old"), (b'"f"', b"new!")]
    assert server.requests[2]["Content-Range"] == "bytes */0"
    assert "If-Match" not in server.requests[2]


def test_a_stream_that_is_not_there_yet_is_asked_for_again(taken: list[Arrival]) -> None:
    done, _ = fetch([plain(404), CUT, plain(404), CUT, parts((0, b"here")), ENDED], taken)
    assert [each.data for each in taken] == [b"here"]
    assert done.connections == 3


@pytest.mark.parametrize(("delivery", "preferred"), [("long-poll", "wait=20"), ("poll", "wait=0"), ("stream", None)])
def test_each_form_asks_in_its_own_way(taken: list[Arrival], delivery: str, preferred: str | None) -> None:
    _, server = fetch([parts((0, b"x")), plain(204), ENDED], taken, delivery=delivery, poll_every=0.001)
    assert [each.get("Prefer") for each in server.requests] == [preferred] * 3


def test_a_new_connection_for_each_request(taken: list[Arrival]) -> None:
    answers = [parts((0, b"x")), CUT, parts((1, b"y")), CUT, ENDED]
    done, server = fetch(answers, taken, delivery="long-poll", connection="new")
    assert (done.requests, done.connections, server.accepted) == (3, 3, 3)
    assert b"".join(each.data for each in taken) == b"xy"
