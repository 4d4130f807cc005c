"""The parser's speed beside h11's and httptools': requests a second on real heads, and content in GB/s.

Each figure is the best of several short rounds in one process; the ratios are what to compare between machines. h11
and this parser give the same: a checked head whose fields can be looked up, and whose content's length is known.
httptools (C) is driven with callbacks that keep the same values, and checks less.

    python bench/parser.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import h11
import httptools

from sdp.http1 import End, RequestReader

CHROMIUM = (
    b"GET /live/stage?from=page HTTP/1.1\r\n"
    b"Host: streams.example.org:8080\r\n"
    b"Connection: keep-alive\r\n"
    b'sec-ch-ua: "Chromium";v="130", "Not?A_Brand";v="99"\r\n'
    b"sec-ch-ua-mobile: ?0\r\n"
    b'sec-ch-ua-platform: "Linux"\r\n'
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
    b"Chrome/130.0.0.0 Safari/537.36\r\n"
    b"Accept: */*\r\n"
    b"Sec-Fetch-Site: same-origin\r\n"
    b"Sec-Fetch-Mode: no-cors\r\n"
    b"Sec-Fetch-Dest: video\r\n"
    b"Referer: http://streams.example.org:8080/-/watch/live/stage\r\n"
    b"Accept-Encoding: identity;q=1, *;q=0\r\n"
    b"Accept-Language: en-GB,en;q=0.9\r\n"
    b"Range: bytes=0-\r\n\r\n"
)
FFMPEG = (
    b"GET /live/stage HTTP/1.1\r\n"
    b"User-Agent: Lavf/61.7.100\r\n"
    b"Accept: */*\r\n"
    b"Range: bytes=0-\r\n"
    b"Connection: close\r\n"
    b"Host: streams.example.org:8080\r\n"
    b"Icy-MetaData: 1\r\n\r\n"
)
CURL = b"GET /live/stage HTTP/1.1\r\nHost: streams.example.org:8080\r\nUser-Agent: curl/8.10.1\r\nAccept: */*\r\n\r\n"
ORIGIN = (
    b"POST /live/stage HTTP/1.1\r\n"
    b"Host: streams.example.org:8080\r\n"
    b"Connection-Type: origin\r\n"
    b"Content-Type: video/mp4\r\n"
    b"Content-Range: bytes 1048576-1049599/*\r\n"
    b"Capture-Time: 1700000000123456\r\n"
    b"Random-Access: ?1\r\n"
    b'If-Match: "5f2c9a7e1b"\r\n'
    b"Content-Length: 1024\r\n\r\n"
) + b"\x00" * 1024

HEADS = {"Chromium's GET": CHROMIUM, "ffmpeg's GET": FFMPEG, "curl's GET": CURL, "an Origin's POST of 1 KiB": ORIGIN}
PIECE = 64 * 1024
ROUNDS = 7


def own_requests(message: bytes, count: int) -> None:
    reader = RequestReader()
    for _ in range(count):
        reader.feed(message)
        while not isinstance(reader.next_event(), End):
            pass


def h11_requests(message: bytes, connections: list[h11.Connection]) -> None:
    for connection in connections:
        connection.receive_data(message)
        while type(connection.next_event()) is not h11.EndOfMessage:
            pass


def h11_best(message: bytes, count: int) -> float:
    """As :func:`best`. h11 reads no second request before the first is answered; so that answering is not measured,
    each request goes to a connection of its own that was made before."""
    times = []
    for _ in range(ROUNDS):
        connections = [h11.Connection(h11.SERVER) for _ in range(count)]
        start = time.perf_counter()
        h11_requests(message, connections)
        times.append(time.perf_counter() - start)
    return min(times)


class Kept:
    """httptools' callbacks, keeping what the others give."""

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.url = b""
        self.body = 0

    def on_message_begin(self) -> None:
        self.headers = []

    def on_url(self, url: bytes) -> None:
        self.url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_body(self, data: bytes) -> None:
        self.body += len(data)


def httptools_requests(message: bytes, count: int) -> None:
    parser = httptools.HttpRequestParser(Kept())
    # It takes nothing after a request that closes the connection.
    persistent = b"Connection: close" not in message
    for _ in range(count):
        parser.feed_data(message)
        if not persistent:
            parser = httptools.HttpRequestParser(Kept())


def content_messages(chunked: bool, size: int) -> tuple[bytes, bytes]:
    """A head, and the bytes that come after it in one piece of a socket's size."""
    head = b"POST /live/stage HTTP/1.1\r\nHost: a\r\n"
    if not chunked:
        return head + b"Content-Length: %d\r\n\r\n" % (2**50), b"\x00" * PIECE
    chunk = b"%x\r\n%b\r\n" % (size, b"\x00" * size)
    return head + b"Transfer-Encoding: chunked\r\n\r\n", chunk * (PIECE // size)


def own_content(head: bytes, piece: bytes, count: int) -> None:
    reader = RequestReader()
    reader.feed(head)
    reader.next_event()
    for _ in range(count):
        reader.feed(piece)
        while reader.next_event() is not None:
            pass


def h11_content(head: bytes, piece: bytes, count: int) -> None:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(head)
    connection.next_event()
    for _ in range(count):
        connection.receive_data(piece)
        while connection.next_event() is not h11.NEED_DATA:
            pass


def httptools_content(head: bytes, piece: bytes, count: int) -> None:
    parser = httptools.HttpRequestParser(Kept())
    parser.feed_data(head)
    for _ in range(count):
        parser.feed_data(piece)


def best(run: Callable[[], None]) -> float:
    """The least time of several rounds, in seconds: what else runs on the machine only ever adds."""
    times = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    count = 2000
    print("requests parsed a second, one core              own       h11  httptools   own/h11  own/httptools")
    for name, message in HEADS.items():
        own = count / best(lambda m=message: own_requests(m, count))
        other = count / h11_best(message, count)
        native = count / best(lambda m=message: httptools_requests(m, count))
        print(f"{name:<40} {own:>10,.0f} {other:>9,.0f} {native:>10,.0f} {own / other:>9.1f} {own / native:>14.2f}")
    pieces, few = 2000, 200
    print("\ncontent in GB/s, in pieces of 64 KiB             own       h11  httptools   own/h11  own/httptools")
    for name, chunked, size in (
        ("Content-Length", False, 0),
        ("chunks of 16 KiB", True, 16384),
        ("chunks of 1 KiB", True, 1024),
    ):
        head, piece = content_messages(chunked, size)
        total = pieces * PIECE / 1e9
        own = total / best(lambda h=head, p=piece: own_content(h, p, pieces))
        other = total * few / pieces / best(lambda h=head, p=piece: h11_content(h, p, few))
        native = total / best(lambda h=head, p=piece: httptools_content(h, p, pieces))
        print(f"{name:<40} {own:>10,.2f} {other:>9,.2f} {native:>10,.2f} {own / other:>9.1f} {own / native:>14.2f}")


if __name__ == "__main__":
    main()
