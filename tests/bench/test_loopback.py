"""The benchmarks' own arithmetic: a wrong percentile or a lost stamp would be a wrong claim about speed."""

from __future__ import annotations

import json
import shutil
import socket
import sys
import xml.etree.ElementTree as ElementTree
from array import array
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.loopback.consumers import Load
from bench.loopback.figures import percentile, size_text, write_json
from bench.loopback.load import Case, Loader, apart, measure
from bench.loopback.plot import Panel, draw
from bench.loopback.processes import HOST, Process, Unavailable, compiled, free_port
from bench.loopback.servers import Distributor, Floor, server_named
from bench.loopback.stamps import MAGIC, STAMP_SIZE, Finder, Samples, record_body, stamp

BENCH = Path(__file__).resolve().parent.parent.parent / "bench"


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([7.0], 0.5, 7.0),
        ([7.0], 0.999, 7.0),
        ([1.0, 2.0], 0.5, 1.0),
        ([1.0, 2.0], 0.51, 2.0),
        (list(range(1, 101)), 0.99, 99),
        (list(range(1, 101)), 0.999, 100),
        (list(range(1, 1001)), 0.99, 990),
        ([1.0, 2.0, 3.0], 0.0, 1.0),
        ([1.0, 2.0, 3.0], 1.0, 3.0),
    ],
)
def test_percentile(values, share, expected):
    assert percentile(values, share) == expected


def test_a_percentile_of_nothing_is_not_a_number():
    assert str(percentile([], 0.5)) == "nan"


def test_what_was_sent_near_a_moment_is_told_apart():
    """Delays in milliseconds that are their records' numbers: sent every 10 ms, with moments at 200 and at 230."""
    ms = 1_000_000
    sent = [number * 10 * ms for number in range(100)]
    pairs = array("Q", [time for number, at in enumerate(sent) for time in (at, at + number * ms)])
    found = apart([Samples(pairs)], 0, 500 * ms, [200 * ms, 230 * ms], 25 * ms)
    assert found == {"moments": 2, "p99_near": 25.0, "p99_apart": 49.0}  # of 18 to 25, and of 0 to 17 and 26 to 49
    assert apart([Samples(pairs)], 0, 500 * ms, [], 25 * ms) == {}
    found = apart([Samples(pairs)], 0, 500 * ms, [490 * ms], 25 * ms)
    assert (found["p99_near"], found["p99_apart"]) == (49.0, 46.0)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.001, 1))
def test_the_share_lies_at_or_below_its_percentile(values, share):
    ordered = sorted(values)
    found = percentile(ordered, share)
    assert found in ordered
    # Exactly as many as are asked for: not fewer, and without it too few.
    assert sum(value <= found for value in ordered) >= share * len(ordered) - 1e-6
    assert sum(value < found for value in ordered) < share * len(ordered) + 1e-6


@given(
    sizes=st.lists(st.integers(STAMP_SIZE, 400), min_size=1, max_size=12),
    frame=st.sampled_from([b"", b"\r\n800\r\n", MAGIC[:1], b"--part\r\n\r\n" + MAGIC[:5]]),
    data=st.data(),
)
def test_stamps_are_found_over_any_cuts(sizes, frame, data):
    content = b"".join(frame + record_body(size) + stamp(number, 10**15 + number) for number, size in enumerate(sizes))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(content)), max_size=20)))
    finder = Finder()
    found = []
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        found += finder.feed(content[start:end])
    assert found == [10**15 + number for number in range(len(sizes))]
    assert finder.missed == 0
    assert finder.last == len(sizes) - 1


def test_a_record_is_found_with_its_last_byte_and_not_before():
    record = record_body(100) + stamp(3, 77)
    finder = Finder()
    assert finder.feed(record[:-1]) == []
    assert finder.feed(record[-1:]) == [77]


def test_records_that_never_came_are_counted():
    finder = Finder()
    finder.feed(stamp(4, 1) + stamp(5, 1) + stamp(9, 1))
    assert finder.missed == 3


@pytest.mark.parametrize("size", [STAMP_SIZE, 33, 2048, 2049])
def test_a_record_has_the_size_that_was_asked_for(size):
    assert len(record_body(size) + stamp(0, 0)) == size


def test_a_record_without_room_for_its_stamp_is_refused():
    with pytest.raises(ValueError, match="bytes at least"):
        record_body(STAMP_SIZE - 1)


def test_delays_are_those_of_the_window_alone():
    pairs = array("Q", [100, 1_000_100, 200, 3_000_200, 300, 2_000_300])
    samples = Samples(pairs)
    assert samples.delays(100, 300) == [1.0, 3.0]
    assert samples.delays(0, 1000) == [1.0, 2.0, 3.0]
    assert samples.delays(301, 1000) == []


@pytest.mark.parametrize(("count", "text"), [(1, "1"), (1500, "1500"), (2048, "2K"), (1 << 20, "1M"), (3 << 30, "3G")])
def test_sizes_as_a_person_writes_them(count, text):
    assert size_text(count) == text


def test_what_was_not_measured_is_null_in_the_file(tmp_path):
    write_json(tmp_path / "figures", "fanout", [{"p50": float("nan"), "server": "floor", "cpu": 1.5}])
    kept = json.loads((tmp_path / "figures").read_text())
    assert kept == {"benchmark": "fanout", "rows": [{"p50": None, "server": "floor", "cpu": 1.5}]}


@pytest.mark.parametrize("name", ["sdp", "sdp-parts", "sdp-store", "sdp-parts-store", "floor", "icecast", "nchan"])
def test_servers_go_by_their_names(name):
    assert server_named(name, []).name == name


@pytest.mark.parametrize("name", ["", "spd", "sdp-", "sdp-parts-parts", "sdp-stores", "floor-parts"])
def test_other_names_are_refused(name):
    with pytest.raises(ValueError, match="is none of"):
        server_named(name, [])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["floor", "a & b"]),
            st.just(0.0) | st.floats(1e-6, 1e9),
            st.just(0.0) | st.floats(1e-6, 1e4),
        ),
        max_size=12,
    )
)
def test_a_chart_is_well_formed_and_keeps_within_its_frame(points):
    root = ElementTree.fromstring(draw("<title>", [Panel("x", "y & z", points), Panel("empty", "", [])]))
    width, height = float(root.attrib["width"]), float(root.attrib["height"])
    circles = root.findall(".//{*}circle")
    assert len(circles) == sum(1 for _, x, y in points if x > 0 and y > 0)
    for circle in circles:
        assert 0 <= float(circle.attrib["cx"]) <= width
        assert 0 <= float(circle.attrib["cy"]) <= height


def test_a_process_that_does_not_listen_is_said_to(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no such port')"]
    with Process(command, output=tmp_path / "log") as process, pytest.raises(Unavailable, match="no such port"):
        process.wait_until_listening(free_port())


def test_leaving_the_context_ends_a_process_that_will_not_listen_to_reason(tmp_path):
    stubborn = (
        "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    )
    process = Process([sys.executable, "-c", stubborn], piped=True, output=tmp_path / "log")
    assert process.next_line() == "up\n"
    process.stop(limit=0.1)
    assert process.popen.poll() == -9


@pytest.fixture
def floor(tmp_path):
    try:
        program = compiled(BENCH / "loopback" / "floor.c", tmp_path)
    except Unavailable as reason:
        pytest.skip(str(reason))
    port = free_port()
    with Process([program, str(port)]) as process:
        process.wait_until_listening(port)
        yield port, process


def connected(port: int) -> socket.socket:
    return socket.create_connection((HOST, port), 10)


def read_until(connection: socket.socket, end: bytes) -> bytes:
    data = b""
    while not data.endswith(end):
        piece = connection.recv(1 << 16)
        assert piece, data[-100:]
        data += piece
    return data


@pytest.mark.system
@pytest.mark.parametrize("size", [1, 2048, 200_000])
def test_the_floor_gives_each_content_as_a_chunk_to_its_stream_alone(floor, size):
    port, _ = floor
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    with connected(port) as one, connected(port) as other, connected(port) as publisher:
        for connection, stream in ((one, b"1"), (other, b"23")):
            connection.sendall(b"GET /bench/%b HTTP/1.1\r\n\r\n" % stream)
            assert read_until(connection, b"\r\n\r\n") == head
        first, second = bytes(size), b"x" * size
        post = b"POST /bench/%d HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b"
        publisher.sendall(post % (1, size, first) + post % (23, size, second) + post % (1, 3, b"end"))
        chunk = b"%x\r\n%b\r\n"
        assert read_until(one, b"end\r\n") == chunk % (size, first) + chunk % (3, b"end")
        assert read_until(other, second + b"\r\n") == chunk % (size, second)
        answer = b"HTTP/1.1 204 No Content\r\n\r\n"
        answers = b""
        while len(answers) < 3 * len(answer):
            answers += publisher.recv(1 << 16)
        assert answers == 3 * answer


@pytest.mark.system
@pytest.mark.parametrize("native", [True, False])
@pytest.mark.parametrize("server", [Floor(), Distributor(parts=True)], ids=lambda server: server.name)
def test_a_load_brings_all_records_to_all_consumers(tmp_path, server, native):
    if shutil.which("cc") is None and shutil.which("gcc") is None:
        pytest.skip("there is no C compiler")
    row = measure(server, Case(6, 4096, 40, 2), Loader(tmp_path, native), seconds=0.5, join_limit=20)
    assert row["joined"] == 6
    assert row["delivered"] == 100
    assert (row["missed"], row["lost"], row["refused"]) == (0, 0, 0)


@pytest.mark.system
def test_consumers_that_are_sent_away_are_counted(floor):
    port, process = floor
    load = Load((HOST, port), "GET /bench/0 HTTP/1.1\r\n\r\n", 2, 1, join_limit=10)
    load.join(1)
    assert load.joined == 2
    with connected(port) as publisher:
        publisher.sendall(b"POST /bench/0 HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % STAMP_SIZE + stamp(8, 5))
        while len(load.samples) < 4:
            load.turn(1.0)
    process.stop()
    while load.lost < 2:
        load.turn(1.0)
    assert [load.samples[0], load.samples[2]] == [5, 5]
    assert load.joined == 0
    load.close()
