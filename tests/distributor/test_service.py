"""The Distributor as a service: what keeps it from beginning is one line; how it ends."""

from __future__ import annotations

import resource
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import LogEvent, Logger

from sdp.distributor import service as module
from sdp.distributor.service import DRAIN_LIMIT, raise_file_limit, server_limits, with_backlog
from sdp.distributor.settings import DistributorSettings
from sdp.errors import ConfigurationError, StorageError

from .disk import Disk
from .house import CHUNKED, House, chunk, post_head
from .test_ingest import OPEN


def starting(house):
    """Begin, and return the log's events."""
    told: list[LogEvent] = []
    house.service.log = Logger(observer=told.append)  # type: ignore[arg-type]  # any callable observes
    house.service.startService()
    return told


def failing(error):
    def open_store():
        raise error

    return open_store


class TestBeginning:
    def test_it_listens_once_all_is_recovered(self):
        disk: Any = Disk()
        recovered: Deferred = Deferred()
        disk.recover = lambda: recovered
        house = House(disk)
        assert house.reactor.tcpServers == []
        recovered.callback([])
        assert [server[0] for server in house.reactor.tcpServers] == [8080]
        assert len(house.service.ports) == 1

    def test_on_several_endpoints(self):
        house = House(listen=("tcp:1", "tcp:2:interface=127.0.0.1", "tcp:3:backlog=7"))
        assert [server[0] for server in house.reactor.tcpServers] == [1, 2, 3]
        assert [server[2] for server in house.reactor.tcpServers] == [module.BACKLOG, module.BACKLOG, 7]

    @pytest.mark.parametrize(
        ("description", "expected"),
        [
            ("tcp:80", "tcp:80:backlog=4096"),
            ("tcp6:80", "tcp6:80:backlog=4096"),
            ("ssl:443", "ssl:443:backlog=4096"),
            ("tcp:80:backlog=5", "tcp:80:backlog=5"),
            ("unix:/x", "unix:/x"),
        ],
    )
    def test_a_crowd_may_wait(self, description, expected):
        assert with_backlog(description) == expected

    def test_a_store_that_cannot_be_opened(self):
        house = House(begin=False)
        object.__setattr__(house.service._parts, "open_store", failing(StorageError("The store is in use.")))
        [event] = starting(house)
        assert (event["detail"], house.left) == ("The store is in use.", [1])
        assert "log_failure" not in event

    def test_a_port_that_is_taken(self):
        house = House(begin=False)

        def listen_tcp(port, *rest, **others):
            raise CannotListenError("", port, OSError(98, "Address already in use"))

        house.reactor.listenTCP = listen_tcp  # type: ignore[method-assign]
        [event] = starting(house)
        assert event["detail"] == "--listen: tcp:8080 cannot be listened on: Address already in use."
        assert house.left == [1]

    def test_an_address_that_cannot_be(self):
        house = House(begin=False)

        def listen_tcp(port, *rest, **others):
            raise OSError(99, "Cannot assign requested address")

        house.reactor.listenTCP = listen_tcp  # type: ignore[method-assign]
        [event] = starting(house)
        assert event["detail"].startswith("--listen: tcp:8080 cannot be listened on: ")

    def test_a_port_that_is_none(self):
        house = House(begin=False)

        def listen_tcp(port, *rest, **others):
            raise OverflowError("bind(): port must be 0-65535.")

        house.reactor.listenTCP = listen_tcp  # type: ignore[method-assign]
        [event] = starting(house)
        assert event["detail"] == "--listen: tcp:8080 cannot be listened on: bind(): port must be 0-65535."
        assert house.left == [1]

    def test_a_fault_of_our_own(self):
        house = House(begin=False)
        object.__setattr__(house.service._parts, "open_store", failing(ZeroDivisionError()))
        [event] = starting(house)
        assert event["log_failure"].type is ZeroDivisionError
        assert house.left == [1]

    @pytest.mark.parametrize("listen", ["nonsense:1", "tcp", "tcp:x"])
    def test_an_endpoint_that_is_none(self, listen):
        with pytest.raises(ConfigurationError, match="--listen"):
            House(begin=False, listen=(listen,))

    @pytest.mark.parametrize("option", ["publish_token", "read_token"])
    def test_secrets_that_cannot_be_read(self, option, tmp_path):
        with pytest.raises(ConfigurationError, match=option.replace("_", "-")):
            House(begin=False, **{option: tmp_path / "none"})

    def test_secrets_are_asked_for(self, tmp_path):
        path = tmp_path / "secrets"
        path.write_bytes(b"cam:hunter2\n")
        house = House(read_token=path, publish_token=path)
        assert house.get(target=b"/-/time").status == 401
        assert house.get(b"Authorization: Bearer hunter2", target=b"/-/time").status == 200

    def test_an_operators_limits_are_the_connections(self):
        limits = server_limits(DistributorSettings(max_start_line=100, idle_timeout=7.0, max_discard=9))
        assert (limits.message.start_line, limits.idle_timeout, limits.discard) == (100, 7.0, 9)

    @pytest.mark.parametrize(
        ("soft", "hard", "raised"),
        [(256, 4096, 2024), (256, 1000, 1000), (256, -1, 2024), (5000, 5000, None), (-1, -1, None)],
    )
    def test_there_may_be_as_many_files_as_connections(self, monkeypatch, soft, hard, raised):
        told: list[tuple] = []
        monkeypatch.setattr(resource, "RLIM_INFINITY", -1)
        monkeypatch.setattr(resource, "getrlimit", lambda what: (soft, hard))
        monkeypatch.setattr(resource, "setrlimit", lambda what, limits: told.append(limits))
        raise_file_limit(1000)
        assert told == ([] if raised is None else [(raised, hard)])


class TestEnding:
    def test_before_it_has_begun(self):
        house = House(begin=False)
        assert house.stop() == [None]

    def test_while_it_recovers(self):
        disk: Any = Disk()
        disk.recover = Deferred
        house = House(disk)
        assert house.stop() == [None]
        assert (disk.closed, house.left, house.reactor.tcpServers) == (True, [], [])

    def test_it_drains(self):
        disk = Disk(prompt=False)
        house = House(disk)
        factory = house.factory
        origin, reader, idle = house.connect(), house.connect(), house.connect()
        origin.send(post_head(CHUNKED, OPEN, b"Content-Type: x/y") + chunk(b"hello"), b"POST")
        reader.send(b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n", b"GET")
        done = house.stop()
        assert (idle.closing, reader.wire.aborted, origin.wire.aborted) == (True, True, False)
        assert not reader.answer().whole
        origin.send(chunk(b"world"))
        assert (done, disk.closed) == ([], False)
        idle.lose()
        house.clock.advance(DRAIN_LIMIT)
        assert origin.wire.aborted
        house.clock.advance(0)
        assert (done, disk.closed) == ([None], True)
        assert bytes(disk.kept[0].data) == b"helloworld"
        assert not disk.kept[0].ended
        assert factory.channels == set()
        assert house.clock.getDelayedCalls() == []

    def test_a_post_that_comes_to_its_end_meanwhile_is_answered(self):
        house = House()
        origin = house.connect()
        origin.send(post_head(CHUNKED, OPEN) + chunk(b"hello"), b"POST")
        house.stop()
        origin.send(b"0\r\n\r\n")
        answer = origin.answer()
        assert (answer.status, answer[b"connection"]) == (201, b"close")


def test_time_is_looked_at_once_a_second():
    house = House(idle_timeout=5.0, stall_timeout=3.0)
    idle, stalled = house.connect(), house.connect()
    house.posted(b"hello")
    idle.get(b"/-/time")
    stalled.get(b"/a")
    stalled.channel.outflow.pauseProducing()
    house.clock.pump([1.0] * 4)
    assert stalled.wire.aborted
    house.clock.pump([1.0] * 2)
    assert idle.closing
