"""``?at=``: a time is read, looked up in memory, on the disk and upstream, and an answer begins there."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from sdp.distributor.timeshift import format_time, parse_time, point_at
from sdp.errors import ProtocolError
from tests.net.peer import head

from .disk import Disk, Kept
from .house import START, House, content_range
from .marked import marked
from .network import Network, Node, Viewer
from .tap import fired
from .test_answers import again, movie

SECOND = 1_000_000
NOW = START * SECOND
DAY = 1_719_835_200 * SECOND
"""2024-07-01T12:00:00Z"""


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("0", NOW),
        ("90", NOW - 90 * SECOND),
        ("1.5", NOW - SECOND * 3 // 2),
        ("0.000001", NOW - 1),
        ("0.0000019", NOW - 1),
        ("9999999999", 0),
        ("2024-07-01T12:00:00Z", DAY),
        ("2024-07-01t12:00:00z", DAY),
        ("2024-07-01 12:00:00.25Z", DAY + SECOND // 4),
        ("2024-07-01T14:00:00+02:00", DAY),
        ("2024-07-01T14:00:00 02:00", DAY),
        ("2024-07-01T06:30:00-05:30", DAY),
        ("2016-12-31T23:59:60Z", 1_483_228_799 * SECOND),
        ("1969-12-31T23:59:59Z", 0),
        ("0001-01-01T00:00:00+23:59", 0),
    ],
)
def test_a_time(text: str, time: int) -> None:
    assert parse_time(text, NOW) == time


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "now", "-1", "+1", "1.", ".5", "1e3", "1_0", "12345678901", "\u0661"),
        *("2024-07-01", "2024-07-01T12:00:00", "2024-07-01T12:00Z", "2024-13-01T12:00:00Z", "2024-02-30T12:00:00Z"),
        *("2024-07-01T24:00:00Z", "2024-07-01T12:60:00Z", "2024-07-01T12:00:61Z", "0000-01-01T00:00:00Z"),
        *("2024-07-01T12:00:00+24:00", "2024-07-01T12:00:00+01:60", "2024-07-01T12:00:00+0100"),
        "2024-07-01T12:00:00Z ",
    ],
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ProtocolError, match=r"RFC 3339.*90\.$"):
        parse_time(text, NOW)


@given(st.integers(0, 253_402_300_799 * SECOND + 999_999))
def test_a_time_comes_back(time: int) -> None:
    assert parse_time(format_time(time), NOW) == time


@given(st.integers(0, 100_000 * 86_400 * SECOND), st.integers(-23 * 60 - 59, 23 * 60 + 59))
def test_a_time_of_any_zone(time: int, minutes: int) -> None:
    moment = datetime(1971, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)
    zoned = moment.astimezone(timezone(timedelta(minutes=minutes)))
    assert parse_time(zoned.isoformat(), NOW) == time + 365 * 86_400 * SECOND


class Film:
    """An initialization segment, and a fragment a second of which 0, 3 and 6 are random access points. The first was
    captured seven seconds ago."""

    def __init__(self, disk: Disk | None = None, captured: bool = True, **settings: Any) -> None:
        self.house = House(disk, **settings)
        self.initialization, self.fragments = movie()
        self.whole = self.initialization + b"".join(self.fragments)
        self.starts = [len(self.initialization)]
        self.peer = self.house.posted(self.initialization, lines=(b"Content-Type: video/mp4",))
        for number, fragment in enumerate(self.fragments):
            start, end = self.starts[-1], self.starts[-1] + len(fragment)
            self.starts.append(end)
            time = b"Capture-Time: %d" % (NOW + number * SECOND)
            self.peer.post(b"/a", fragment, content_range(start, end), *([time] if captured else []))
            self.house.clock.advance(1)

    def end(self) -> None:
        self.house.epoch().finish()

    def from_fragment(self, number: int) -> bytes:
        return self.initialization + self.whole[self.starts[number] :]

    def reader(self, at: bytes, *lines: bytes) -> Any:
        peer = self.house.connect()
        peer.send(head(b"GET", b"/a?at=" + at, *lines), b"GET")
        return peer


WHERE = [(b"0", 6), (b"1", 6), (b"1.5", 3), (b"4", 3), (b"4.000001", 0), (b"7", 0), (b"3600", 0)]


@pytest.mark.parametrize("captured", [True, False])
@pytest.mark.parametrize(("at", "number"), WHERE)
def test_a_live_stream_from_a_time_on(at: bytes, number: int, captured: bool) -> None:
    film = Film(captured=captured)
    reader = film.reader(at)
    answer = again(reader)
    assert (answer.status, answer.content, answer.whole) == (200, film.from_fragment(number), False)
    assert answer[b"received-time"] == b"%d" % (NOW + number * SECOND)
    if captured:
        assert answer[b"capture-time"] == b"%d" % (NOW + number * SECOND)
    else:
        assert b"capture-time" not in answer.headers
    assert (answer[b"cache-control"], answer[b"content-type"]) == (b"no-store", b"video/mp4")
    end = len(film.whole)
    film.peer.post(b"/a", b"more", content_range(end, end + 4))
    assert again(reader).content == film.from_fragment(number) + b"more"
    film.end()
    assert again(reader).whole


@pytest.mark.parametrize(("at", "number"), WHERE)
@pytest.mark.parametrize("again_", [False, True])
def test_from_the_disk(at: bytes, number: int, again_: bool) -> None:
    disk = Disk()
    film = Film(disk, memory=1)
    if again_:
        disk.kept[0].write()
        film.house = House(disk, memory=1)
        film.house.clock.advance(7)
    answer = again(film.reader(at))
    assert (answer.status, answer.content) == (200, film.from_fragment(number))
    assert answer[b"capture-time"] == b"%d" % (NOW + number * SECOND)


@pytest.mark.parametrize("disk", [False, True])
@pytest.mark.parametrize(("at", "number"), WHERE)
def test_an_ended_epoch(at: bytes, number: int, disk: bool) -> None:
    film = Film(Disk() if disk else None)
    film.end()
    answer = again(film.reader(at))
    assert (answer.status, answer.content, answer.whole) == (200, film.from_fragment(number), True)
    assert (answer[b"content-length"], answer[b"accept-ranges"]) == (b"%d" % len(answer.content), b"none")
    assert answer[b"capture-time"] == b"%d" % (NOW + number * SECOND)


def test_a_past_epoch_by_its_name() -> None:
    film = Film(Disk())
    tag = film.house.head()[2].strip(b'"')
    film.end()
    film.house.connect().post(b"/a", b"new", content_range(0, 3), b"Content-Type: x/y")
    assert again(film.reader(b"2&epoch=" + tag)).content == film.from_fragment(3)
    assert again(film.reader(b"2")).content == b"new"


def test_what_players_always_say_is_no_range() -> None:
    film = Film()
    for ended in (False, True):
        assert again(film.reader(b"2", b"Range: bytes=0-")).content == film.from_fragment(3)
        if not ended:
            film.end()


@pytest.mark.parametrize(
    ("at", "line"),
    [
        (b"soon", b"Accept: */*"),
        (b"", b"Accept: */*"),
        (b"2", b"Range: bytes=0-9"),
        (b"2", b"Range: bytes=0-,5-9"),
        (b"2", b"Range: bytes=-9"),
        (b"2", b"Content-Range: bytes */0"),
        (b"2", b"Content-Range: bytes 0-9/*"),
    ],
)
@pytest.mark.parametrize("target", [b"/a", b"/unknown"])
def test_what_cannot_be_asked(at: bytes, line: bytes, target: bytes) -> None:
    answer = Film().house.get(line, target=target + b"?at=" + at)
    assert (answer.status, answer[b"content-type"]) == (400, b"application/problem+json")
    assert b"at" in answer.content


def test_elsewhere_it_means_nothing() -> None:
    film = Film()
    assert film.house.get(target=b"/-/health?at=x").status == 200
    assert film.house.get(target=b"/?at=x").status == 200


def test_a_head() -> None:
    film = Film()
    for ended in (False, True):
        answer = film.house.get(method=b"HEAD", target=b"/a?at=2")
        assert (answer.status, answer.content) == (200, b"")
        assert answer[b"capture-time"] == b"%d" % (NOW + 3 * SECOND)
        assert (b"content-length" in answer.headers) is ended
        film.end()


def test_it_is_never_skipped_ahead() -> None:
    film = Film(lag_bytes=1, lag_seconds=0.001)
    assert again(film.reader(b"7")).content == film.whole


def test_without_a_random_access_point_it_is_as_without_a_time() -> None:
    house = House()
    house.posted(b"abc", b"def", lines=(b"Content-Type: x/y", b"Random-Access: ?0"))
    reader = house.connect()
    reader.send(head(b"GET", b"/a?at=1"), b"GET")
    answer = again(reader)
    assert (answer.status, answer.content) == (200, b"abcdef")
    assert b"received-time" not in answer.headers


def test_what_retention_has_taken_is_not_begun_with() -> None:
    disk = Disk()
    film = Film(disk, memory=1)
    kept = disk.kept[0]
    del kept.data[: film.starts[3]]
    kept.start = film.starts[3]
    kept.changed()
    [point] = fired(Deferred.fromCoroutine(point_at(film.house.epoch(), 0)))
    assert point.offset == film.starts[3]


def test_through_a_relay() -> None:
    film = Film()
    network = Network()
    try:
        first, relay = Node(network, "/0"), Node(network, "/1", "/0")
        data = film.initialization
        first.post(f"0-{len(data) - 1}/*", data, "Content-Type: video/mp4")
        for number, fragment in enumerate(film.fragments):
            end = len(data) + len(fragment)
            first.post(f"{len(data)}-{end - 1}/*", fragment, f"Capture-Time: {NOW + number * SECOND}")
            data += fragment
        viewer = Viewer(relay)  # the relay's own memory begins at the newest point
        assert viewer.content(film.starts[6]) == film.fragments[6]
        asked = [(number, format_time(NOW + time * SECOND)) for number, time in ((0, 0), (3, 4), (6, 6), (0, -5))]
        told = [json.loads(relay.get(f"/-/records/a?at={time}").content)["records"] for _, time in asked]
        assert [[each["offset"] for each in found] for found in told] == [[film.starts[number]] for number, _ in asked]
        first.post(f"*/{len(data)}")
        for number, time in asked:
            answer = relay.get(f"/a?at={time}")
            assert (answer.status, answer.content) == (200, film.from_fragment(number))
            assert answer.headers.get(b"capture-time") == b"%d" % (NOW + number * SECOND)
    finally:
        network.close_all()


def test_what_the_disk_writes_while_it_is_asked_may_leave_the_memory() -> None:
    disk = Disk(prompt=False)
    disk.slow = True
    kept = Kept(disk)
    epoch = marked(b"I1", b"K2", b"f3", b"K4", window=0, recording=kept, at=10)
    kept.written = 2
    written, kept.index = kept.index, kept.index[:1]
    found = fired(Deferred.fromCoroutine(point_at(epoch, 5)))
    kept.written = kept.end
    epoch.stored()
    assert epoch.log.start == epoch.end
    disk.turn()
    assert found == [written[1]]
