"""Ways to give the same bytes to many sockets: what could go under one send() for each, and what does not.

    python bench/sending.py [--size 2K,16K,64K] [--rounds 300]

One thread gives, another process reads. bench/README.rst says more. It takes some ten seconds.
"""

from __future__ import annotations

import argparse
import os
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

try:
    import liburing  # type: ignore[import-not-found, unused-ignore]
except ImportError:
    liburing = None

CONSUMERS = 100
SO_ZEROCOPY = 60
MSG_ZEROCOPY = 0x4000000
Sockets = list[socket.socket]
Way = Callable[[Sockets, bytes], None]


def size_of(text: str) -> int:
    return int(text.removesuffix("K")) << 10 if text.endswith("K") else int(text)


def by_send(sockets: Sockets, data: bytes) -> None:
    for each in sockets:
        each.send(data)


def by_two_sends(sockets: Sockets, data: bytes) -> None:
    """A head and its content, as two system calls."""
    head, content = data[:300], data[300:]
    for each in sockets:
        each.send(head)
        each.send(content)


def by_sendmsg(sockets: Sockets, data: bytes) -> None:
    """A head and its content, as one system call of two buffers."""
    pieces = [data[:300], data[300:]]
    for each in sockets:
        each.sendmsg(pieces)


def by_zerocopy(sockets: Sockets, data: bytes) -> None:
    """The kernel keeps the pages, and says in a notification when it needs them no more: who sends has to read that."""
    for each in sockets:
        each.send(data, MSG_ZEROCOPY)
    for each in sockets:
        try:
            each.recvmsg(0, 128, socket.MSG_ERRQUEUE)
        except BlockingIOError:
            continue


class ByRing:
    """All of a round's sends in one system call."""

    def __init__(self) -> None:
        self._ring, self._entry = liburing.Ring(), liburing.Cqe()
        liburing.io_uring_queue_init(CONSUMERS, self._ring)

    def __call__(self, sockets: Sockets, data: bytes) -> None:
        ring, entry = self._ring, self._entry
        for each in sockets:
            liburing.io_uring_prep_send(liburing.io_uring_get_sqe(ring), each.fileno(), data, socket.MSG_DONTWAIT)
        liburing.io_uring_submit(ring)
        for _ in sockets:
            liburing.io_uring_wait_cqe(ring, entry)
            if entry[0].res != len(data):
                raise RuntimeError("a socket did not take all of it")
            liburing.io_uring_cqe_seen(ring, entry[0])


def read_all(sockets: Sockets, total: int, told: int) -> None:
    """The reading process: say with a byte each time that ``total`` more bytes have come; end with the sockets."""
    poll, room = select.epoll(), bytearray(1 << 20)
    by_number = {each.fileno(): each for each in sockets}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    left = total
    while by_number:
        for number, _ in poll.poll():
            count = by_number[number].recv_into(room)
            if not count:
                poll.unregister(number)
                del by_number[number]
            left -= count
            if left <= 0:
                left += total
                os.write(told, b".")


def measure(
    ways: dict[str, Callable[[Sockets, bytes], None]], size: int, rounds: int
) -> dict[str, tuple[float, float]]:
    """Return for each way, and one consumer: the giving process's CPU seconds, and seconds until all have read all.

    The ways take turns.
    """
    spent = dict.fromkeys(ways, (0.0, 0.0))
    data = os.urandom(size)
    with ExitStack() as ending:
        listener = ending.enter_context(socket.create_server(("127.0.0.1", 0), backlog=CONSUMERS))
        near = [ending.enter_context(socket.create_connection(listener.getsockname())) for _ in range(CONSUMERS)]
        far = [listener.accept()[0] for _ in near]
        done, told = os.pipe()
        reader = os.fork()
        if not reader:
            for each in near:
                each.close()
            read_all(far, size * CONSUMERS, told)
            os._exit(0)
        for each in far:
            each.close()
        for each in near:
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            each.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
            each.setblocking(False)
        for _ in range(rounds):
            for name, give in ways.items():
                cpu, begun = time.process_time(), time.perf_counter()
                give(near, data)
                cpu = time.process_time() - cpu
                os.read(done, 1)
                spent[name] = spent[name][0] + cpu, spent[name][1] + time.perf_counter() - begun
        for each in near:
            each.close()
        os.waitpid(reader, 0)
    return {name: (cpu / rounds / CONSUMERS, all_read / rounds / CONSUMERS) for name, (cpu, all_read) in spent.items()}


def copied() -> bool:
    """Whether the kernel says of a MSG_ZEROCOPY on loopback that it copied after all."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as near:
        far = listener.accept()[0]
        near.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        near.send(bytes(1 << 16), MSG_ZEROCOPY)
        while len(far.recv(1 << 16, socket.MSG_PEEK)) < 1 << 15:
            pass
        poll = select.poll()
        poll.register(near, select.POLLERR)
        poll.poll(1000)
        _, ancillary, _, _ = near.recvmsg(0, 128, socket.MSG_ERRQUEUE)
        far.close()
        # struct sock_extended_err: errno, origin, type, code (1: copied), pad, info, data.
        return bool(struct.unpack_from("=IBBBBII", ancillary[0][2])[3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="2K,16K,64K", help="sizes of what is given (2K,16K,64K)")
    parser.add_argument("--rounds", type=int, default=300)
    options = parser.parse_args()
    ways: dict[str, Any] = {
        "send": by_send,
        "two sends": by_two_sends,
        "sendmsg of two": by_sendmsg,
        "MSG_ZEROCOPY": by_zerocopy,
    }
    if liburing is None:
        print("io_uring is left out: liburing is not installed (pip install liburing)")
    else:
        try:
            ways["io_uring"] = ByRing()
        except OSError as reason:
            print(f"io_uring is left out: {reason}")
    print(f"{'size':>8s}  {'way':15s}{'CPU us each':>12s}{'to send':>9s}{'read us each':>14s}{'to send':>9s}")
    for size in map(size_of, options.size.split(",")):
        spent = measure(ways, size, options.rounds)
        usual = spent["send"]
        for name, (cpu, read) in spent.items():
            print(
                f"{size:8d}  {name:15s}{cpu * 1e6:12.2f}{cpu / usual[0]:9.2f}{read * 1e6:14.2f}{read / usual[1]:9.2f}",
                flush=True,
            )
    print(f"MSG_ZEROCOPY was copied after all: {'yes' if copied() else 'no'}")


if __name__ == "__main__":
    main()
