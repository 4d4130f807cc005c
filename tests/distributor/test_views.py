"""What lies beside the streams."""

from __future__ import annotations

import json

import pytest

from sdp.errors import StorageError

from .disk import Disk
from .house import CHUNKED, START, House, chunk, content_range, post_head
from .test_ingest import OPEN


def metrics(house):
    """Each sample of the metrics by its name and labels."""
    text = house.get(target=b"/-/metrics").content.decode()
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_streams_as_json():
    disk = Disk(prompt=False)
    house = House(disk)
    peer = house.connect()
    peer.send(post_head(CHUNKED, OPEN, b"Content-Type: x/y") + chunk(b"hello"), b"POST")
    house.posted(b"!", name=b"/A/b")
    reader = house.connect("192.0.2.7")
    reader.get(b"/a")
    answer = house.get(target=b"/-/streams")
    assert (answer[b"content-type"], answer[b"cache-control"]) == (b"application/json", b"no-store")
    first, second = json.loads(answer.content)["streams"]
    assert first["name"] == "A/b"
    [consumer] = second.pop("consumers")
    assert consumer == {
        "address": "192.0.2.7",
        "lag_bytes": 0,
        "lag_ms": 0.0,
        "since": START * 1_000_000,
        "jumps": 0,
    }
    assert second == {
        "name": "a",
        "epoch": house.epoch().id,
        "content_type": "x/y",
        "state": "live",
        "first_offset": 0,
        "end_offset": 5,
        "durable_offset": 0,
        "bit_rate": 0,
        "recording": "on",
        "recording_failure": None,
        "origin_connected": True,
        "last_arrival": START * 1_000_000,
    } | {key: value for key, value in second.items() if key not in KNOWN}
    one = json.loads(house.get(target=b"/-/streams/a").content)
    assert (one["name"], len(one["consumers"])) == ("a", 1)


def test_the_epochs_of_a_stream():
    house = House(Disk())
    peer = house.posted(b"first")
    ended = house.epoch().id
    assert peer.post(b"/a", b"", b"Content-Range: bytes */5")[0].status == 204
    house.posted(b"second!")
    listed = json.loads(house.get(target=b"/-/epochs/a").content)
    assert listed["name"] == "a"
    assert [(each["epoch"], each["state"], each["end_offset"]) for each in listed["epochs"]] == [
        (house.epoch().id, "live", 7),
        (ended, "ended", 5),
    ]
    assert house.get(target=b"/a?epoch=" + ended.encode()).content == b"first"
    assert house.get(target=b"/-/epochs/nobody").status == 404
    assert house.get(target=b"/-/epochs/.no").status == 404


KNOWN = {
    *("name", "epoch", "content_type", "state", "first_offset", "end_offset", "durable_offset", "bit_rate"),
    *("recording", "recording_failure", "origin_connected", "last_arrival"),
}


def test_a_recording_that_failed():
    disk = Disk(prompt=False)
    house = House(disk)
    house.posted(b"hello")
    disk.kept[0].fail("No space is left.")
    described = json.loads(house.get(target=b"/-/streams/a").content)
    assert (described["recording"], described["recording_failure"]) == ("failed", "No space is left.")
    assert metrics(house)['sdp_stream_recording{stream="a"}'] == "0.0"


def test_a_consumer_that_lags():
    house = House()
    peer = house.posted(b"hello")
    reader = house.connect()
    reader.get(b"/a")
    reader.channel.outflow.pauseProducing()
    peer.post(b"/a", b"world", content_range(5, 10))
    peer.post(b"/a", b"!!", content_range(10, 12))
    house.clock.advance(2)
    [consumer] = json.loads(house.get(target=b"/-/streams/a").content)["consumers"]
    assert (consumer["lag_bytes"], consumer["lag_ms"]) == (2, 2000.0)


@pytest.mark.parametrize(
    ("target", "status"),
    [
        (b"/-/streams/none", 404),
        (b"/-/streams/.x", 404),
        (b"/-/watch/.x", 404),
        (b"/-/assets/none.js", 404),
        (b"/-/assets/../pages.py", 404),
        (b"/-/other", 404),
        (b"/-/watch/not/yet", 200),
        (b"/", 200),
        (b"/-/health", 200),
    ],
)
def test_what_there_is(target, status):
    house = House()
    answer = house.get(target=target)
    assert answer.status == status
    assert house.get(target=target, method=b"HEAD").status == status


def test_pages_for_people():
    house = House()
    house.posted(b"hello", name=b"/town/hall")
    answer = house.get(target=b"/")
    assert answer[b"content-type"] == b"text/html; charset=utf-8"
    assert b"default-src 'self'" in (answer[b"content-security-policy"] or b"")
    assert b"/-/watch/town/hall" in answer.content
    assert b"town/hall" in house.get(target=b"/-/watch/town/hall").content


def test_assets_have_a_type_and_are_asked_for_again():
    house = House()
    page = house.get(target=b"/-/watch/a").content
    asset = page.partition(b"/-/assets/")[2].partition(b'"')[0]
    answer = house.get(target=b"/-/assets/" + asset)
    assert (answer.status, answer[b"cache-control"]) == (200, b"no-cache")
    assert answer[b"content-type"].startswith((b"text/", b"image/"))
    assert answer[b"access-control-allow-origin"] == b"*"


def test_the_clock():
    house = House()
    house.clock.advance(0.25)
    answer = house.get(target=b"/-/time")
    assert answer.content == b"%d\n" % (START * 1_000_000 + 250_000)
    assert answer[b"content-type"] == b"text/plain; charset=utf-8"


def test_health():
    house = House()
    house.posted(b"hello")
    assert json.loads(house.get(target=b"/-/health").content) == {"status": "ok", "streams": 1}


def test_metrics_of_a_disk_that_says_nothing_more():
    class Gone(Disk):
        def free_bytes(self):
            raise StorageError("It is no longer mounted.")

    found = metrics(House(Gone()))
    assert found["sdp_store_bytes_written_total"] == "7.0"
    assert "sdp_store_free_bytes" not in found


def test_metrics():
    house = House(Disk())
    house.posted(b"hello", b"world")
    reader = house.connect()
    reader.get(b"/a")
    house.posted(b"!", name=b"/b")
    house.epoch("b").finish()
    found = metrics(house)
    assert found["sdp_joins_total"] == "1.0"
    assert found['sdp_stream_end_offset_bytes{stream="a"}'] == "10.0"
    assert found['sdp_stream_consumers{stream="a"}'] == "1.0"
    assert (found['sdp_stream_live{stream="a"}'], found['sdp_stream_live{stream="b"}']) == ("1.0", "0.0")
    assert found['sdp_stream_recording{stream="a"}'] == "1.0"
    assert found["sdp_connections"] == "4.0"
    assert found["sdp_store_bytes_written_total"] == "7.0"
    assert found["sdp_store_free_bytes"] == "1000.0"
    assert float(found["sdp_bytes_received_total"]) > 100
    assert "sdp_store_syncs_total" not in metrics(House())
