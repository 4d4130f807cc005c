"""The roles' taps: options in, a service out, and nothing begun before it is started."""

from __future__ import annotations

import threading

import pytest
from twisted.application.service import IService, MultiService
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import ILogObserver
from twisted.python.components import Componentized

from sdp.consumer.settings import ConsumerSettings
from sdp.origin.settings import OriginSettings
from sdp.settings import describe
from sdp.tap import consumer, origin

ROLES = [
    (origin, ["--to", "http://127.0.0.1:1/a"]),
    (consumer, ["--from", "http://127.0.0.1:1/a", "--output", "copy"]),
]


@pytest.mark.parametrize(("tap", "words"), ROLES)
def test_a_service_that_has_begun_nothing(tap, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    options = tap.Options()
    options.parseOptions(words)
    threads = threading.active_count()
    service = tap.makeService(options, MemoryReactorClock())
    assert IService.providedBy(service)
    assert threading.active_count() == threads
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("tap", "words", "said"),
    [
        (origin, ["--to", "http://cam:s3cret@h/-"], "names no stream"),
        (origin, ["--to", "http://h/a", "--size", "10x10"], "160x120"),
        (origin, ["--to", "http://h/a", "--size", "big"], "--size"),
        (origin, ["--to", "http://h/a", "--rate", "0"], "--rate"),
        (origin, ["--to", "http://h/a", "--rate", "30/0"], "--rate"),
        (origin, ["--to", "http://h/a", "--bit-rate", "2MB"], "--bit-rate"),
        (origin, ["--to", "http://h/a", "--fragment", "0"], "--fragment"),
        (origin, ["--to", "http://h/a", "--gop", "0"], "gop"),
        (origin, ["--to", "http://h/a", "--container", "avi"], "--container"),
        (origin, ["--to", "http://h/a", "--publish-token", "absent"], "absent cannot be read"),
        (consumer, ["--from", "http://h/a"], "--output"),
        (consumer, ["--from", "h/a", "--output", "x"], "http://"),
    ],
)
def test_what_cannot_be_is_one_line(tap, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def wire():
        options = tap.Options()
        options.parseOptions(words)
        tap.makeService(options, MemoryReactorClock())

    with pytest.raises(SystemExit) as caught:
        wire()
    message = caught.value.code
    assert isinstance(message, str)
    assert said in message
    assert "\n" not in message
    assert "s3cret" not in message


def test_the_log_of_a_copy_on_standard_output_goes_elsewhere():
    options = consumer.Options()
    options.parseOptions(["--from", "http://h/a", "--output", "-"])
    service = consumer.makeService(options, MemoryReactorClock())

    class Application(MultiService, Componentized):
        def __init__(self):
            Componentized.__init__(self)
            MultiService.__init__(self)

    application = Application()
    service.setServiceParent(application)
    assert application.getComponent(ILogObserver) is not None


@pytest.mark.parametrize("cls", [OriginSettings, ConsumerSettings])
def test_every_option_is_told_of_in_a_sentence(cls):
    for row in describe(cls):
        assert row.help[0].isupper(), row
        assert row.help.endswith("."), row
        assert row.is_flag or row.metavar, row


def test_a_source_that_can_wait(tmp_path):
    file = tmp_path / "clip.mp4"
    file.touch()

    def can_wait(*words):
        options = origin.Options()
        options.parseOptions(["--to", "http://h/a", *words])
        return options.settings().can_wait

    assert can_wait("--source", str(file))
    assert can_wait("--source", "-")
    assert not can_wait()
    assert not can_wait("--source", str(file), "--loop")
    assert not can_wait("--source", "/dev/video0")
    assert not can_wait("--source", "rtsp://camera/1")


def test_a_copy_from_several_places():
    options = consumer.Options()
    options.parseOptions(["--from", "http://h/a", "--from", "http://i/a", "--output", "x", "--sync", "always"])
    settings = options.settings()
    assert [str(each) for each in settings.from_] == ["http://h/a", "http://i/a"]
    assert settings.sync == 0


@pytest.mark.parametrize(
    ("words", "newest_first"),
    [
        ([], True),
        (["--source", "-"], True),
        (["--source", "FILE"], False),
        (["--source", "FILE", "--loop"], True),
        (["--source", "FILE", "--after-outage", "newest"], True),
        (["--after-outage", "oldest"], False),
    ],
)
def test_what_goes_first_after_an_outage(tmp_path, words, newest_first):
    file = tmp_path / "clip.mp4"
    file.touch()
    options = origin.Options()
    options.parseOptions(["--to", "http://h/a", *(str(file) if word == "FILE" else word for word in words)])
    assert options.settings().newest_first is newest_first
