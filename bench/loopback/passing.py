"""Ways for one process to pass records, and connections, to another on the same machine: what each of them costs.

Each way has a side that gives and a side that takes; the taking side then gives each record to some consumers over TCP,
since not every way lets it do that by the same system call.
"""

from __future__ import annotations

import mmap
import os
import select
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from .figures import percentile
from .processes import HOST

__all__ = ["WAYS", "Handed", "Passed", "Way", "hand_over", "pass_records"]

CONSUMERS = 20
PAUSE = 0.002
"""Between two records, in seconds: each finds the taking side asleep, as records of a live stream do."""

_ROOM = 64 << 20
_PLACES = 128
"""How many records may wait to be taken: more of the largest do not fit into the memory."""
_PLACE = struct.Struct("QQ")
_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + bytes(100)


class Way(Protocol):
    """One way. Made before the process forks; ``give`` is called on one side, ``take`` and ``send`` on the other."""

    def give(self, data: bytes) -> None: ...

    def take(self) -> Any:
        """Wait for a record and return what ``send`` is given."""

    def send(self, taken: Any, consumer: socket.socket) -> None: ...

    def stamp(self, taken: Any) -> float:
        """When it was given: its first eight bytes."""


class BySocket:
    """A UNIX socket: a length, and the bytes."""

    def __init__(self, directory: Path) -> None:
        self._near, self._far = socket.socketpair()
        self._near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)

    def give(self, data: bytes) -> None:
        self._near.sendmsg([len(data).to_bytes(4, "big"), data])

    def take(self) -> bytes:
        size = int.from_bytes(self._far.recv(4, socket.MSG_WAITALL), "big")
        return self._far.recv(size, socket.MSG_WAITALL)

    def send(self, taken: bytes, consumer: socket.socket) -> None:
        consumer.sendall(taken)

    def stamp(self, taken: bytes) -> float:
        return _time_in(taken[:8])


class ByMemory:
    """Memory that both map, and an eventfd that wakes the other side. Nobody waits for who is slow: a real one must."""

    def __init__(self, directory: Path) -> None:
        self._places = mmap.mmap(-1, _PLACES * _PLACE.size)
        self._memory = memoryview(mmap.mmap(-1, _ROOM))
        self._event = os.eventfd(0, os.EFD_SEMAPHORE)
        self._at = 0
        self._number = -1

    def _next(self, size: int) -> int:
        at = 0 if self._at + size > _ROOM else self._at
        self._at = at + size
        return at

    def _tell(self, at: int, size: int) -> None:
        self._number += 1
        _PLACE.pack_into(self._places, self._number % _PLACES * _PLACE.size, at, size)
        os.eventfd_write(self._event, 1)

    def _told(self) -> tuple[int, int]:
        os.eventfd_read(self._event)
        self._number += 1
        at, size = _PLACE.unpack_from(self._places, self._number % _PLACES * _PLACE.size)
        return at, size

    def give(self, data: bytes) -> None:
        at = self._next(len(data))
        self._memory[at : at + len(data)] = data
        self._tell(at, len(data))

    def take(self) -> Any:
        at, size = self._told()
        return self._memory[at : at + size]

    def send(self, taken: Any, consumer: socket.socket) -> None:
        consumer.sendall(taken)

    def stamp(self, taken: Any) -> float:
        return _time_in(taken[:8])


class ByFile(ByMemory):
    """A file, of which the other side is told the place, and gives it out by sendfile() without reading it."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self._file = os.open(directory / "passed", os.O_RDWR | os.O_CREAT, 0o600)

    def give(self, data: bytes) -> None:
        at = self._next(len(data))
        os.pwrite(self._file, data, at)
        self._tell(at, len(data))

    def take(self) -> Any:
        return self._told()

    def send(self, taken: Any, consumer: socket.socket) -> None:
        at, left = taken
        while left:
            sent = os.sendfile(consumer.fileno(), self._file, at, left)
            at, left = at + sent, left - sent

    def stamp(self, taken: Any) -> float:
        return _time_in(os.pread(self._file, 8, taken[0]))


def _time_in(data: bytes | memoryview) -> float:
    found: float = struct.unpack("d", data)[0]
    return found


WAYS: dict[str, Callable[[Path], Way]] = {"local socket": BySocket, "shared memory": ByMemory, "sendfile": ByFile}


class Passed(NamedTuple):
    """CPU of each side for one record (microseconds; the second's with its ``CONSUMERS`` sends told apart), and the
    time until the other side has it, median and 99th percentile."""

    give: float
    take: float
    send: float
    p50: float
    p99: float


def _drained() -> tuple[list[socket.socket], int]:
    """Connections whose other ends a process reads to their end; and that process."""
    with socket.create_server((HOST, 0), backlog=CONSUMERS) as listener:
        near = [socket.create_connection(listener.getsockname()) for _ in range(CONSUMERS)]
        far = [listener.accept()[0] for _ in near]
    reader = os.fork()
    if not reader:
        for each in near:
            each.close()
        _read_to_the_end(far)
        os._exit(0)
    for each in far:
        each.close()
    for each in near:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    return near, reader


def _read_to_the_end(sockets: list[socket.socket]) -> None:
    poll, room = select.epoll(), bytearray(1 << 20)
    open_ones = {each.fileno(): each for each in sockets}
    for number in open_ones:
        poll.register(number, select.EPOLLIN)
    while open_ones:
        for number, _ in poll.poll():
            if not open_ones[number].recv_into(room):
                poll.unregister(number)
                del open_ones[number]


def pass_records(kind: Callable[[Path], Way], size: int, rounds: int, directory: Path) -> Passed:
    """Pass ``rounds`` records of ``size`` bytes from this process to another."""
    way = kind(directory)
    consumers, reader = _drained()
    result, told = os.pipe()
    taker = os.fork()
    if not taker:
        os.write(told, struct.pack("4d", *_take_all(way, consumers, rounds)))
        os._exit(0)
    for each in consumers:
        each.close()
    content, spent = bytes(size - 8), 0.0
    for _ in range(rounds):
        time.sleep(PAUSE)
        begun = time.process_time()
        way.give(struct.pack("d", time.monotonic()) + content)
        spent += time.process_time() - begun
    take, send, p50, p99 = struct.unpack("4d", os.read(result, 32))
    for process in (taker, reader):
        os.waitpid(process, 0)
    return Passed(spent / rounds * 1e6, take, send, p50, p99)


def _take_all(way: Way, consumers: Sequence[socket.socket], rounds: int) -> tuple[float, float, float, float]:
    delays, taking, sending = [], 0.0, 0.0
    begun = time.process_time()
    for _ in range(rounds):
        taken = way.take()
        now, between = time.monotonic(), time.process_time()
        for each in consumers:
            way.send(taken, each)
        after = time.process_time()
        taking, sending, begun = taking + between - begun, sending + after - between, after
        delays.append((now - way.stamp(taken)) * 1e6)
        begun = time.process_time()
    delays.sort()
    return taking / rounds * 1e6, sending / rounds * 1e6, percentile(delays, 0.5), percentile(delays, 0.99)


class Handed(NamedTuple):
    """CPU of the process that accepts and of the one that serves, for one connection of ``requests`` requests."""

    accepting: float
    serving: float


def hand_over(requests: int, rounds: int, directory: Path, *, descriptors: bool) -> Handed:
    """Have connections that this process accepts served by another one: their bytes are carried to it and back, or the
    descriptor is passed over once."""
    path = str(directory / f"inner-{descriptors}-{requests}")
    with socket.socket(socket.AF_UNIX) as inner, socket.create_server((HOST, 0)) as listener:
        inner.bind(path)
        inner.listen()
        result, told = os.pipe()
        server = os.fork()
        if not server:
            os.write(told, struct.pack("d", _serve(inner, rounds, descriptors)))
            os._exit(0)
        way = socket.socket(socket.AF_UNIX)
        if descriptors:
            way.connect(path)
        spent = 0.0
        for _ in range(rounds):
            with socket.create_connection(listener.getsockname()) as client:
                client.sendall(b"POST")
                begun = time.process_time()
                taken = listener.accept()[0]
                first = taken.recv(4096)
                if descriptors:
                    socket.send_fds(way, [first], [taken.fileno()])
                    taken.close()
                    up = None
                else:
                    up = socket.socket(socket.AF_UNIX)
                    up.connect(path)
                    up.sendall(b"who it is\n" + first)
                spent += time.process_time() - begun
                spent += _converse(client, taken, up, requests)
        way.close()
        serving = struct.unpack("d", os.read(result, 8))[0]
        os.waitpid(server, 0)
    return Handed(spent / rounds * 1e6, serving / rounds * 1e6)


def _converse(client: socket.socket, taken: socket.socket, up: socket.socket | None, requests: int) -> float:
    """Be the client of one connection; return the CPU time that carrying took."""
    spent = 0.0
    for number in range(requests):
        if up is not None:
            begun = time.process_time()
            if number:
                up.sendall(taken.recv(4096))
            taken.sendall(up.recv(4096))
            spent += time.process_time() - begun
        client.recv(4096)
        if number < requests - 1:
            client.sendall(b"POST")
    client.shutdown(socket.SHUT_WR)
    if up is not None:
        begun = time.process_time()
        taken.recv(1)
        up.close()
        taken.close()
        spent += time.process_time() - begun
    return spent


def _serve(inner: socket.socket, rounds: int, descriptors: bool) -> float:
    """The serving process: answer each request; return the CPU time of it all."""
    begun = time.process_time()
    way = inner.accept()[0] if descriptors else None
    for _ in range(rounds):
        if way is not None:
            _, numbers, _, _ = socket.recv_fds(way, 4096, 1)
            connection = socket.socket(fileno=numbers[0])
        else:
            connection = inner.accept()[0]
            connection.recv(4096)
        connection.sendall(_ANSWER)
        while connection.recv(4096):
            connection.sendall(_ANSWER)
        connection.close()
    return time.process_time() - begun
