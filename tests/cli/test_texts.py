"""What a person at a terminal reads, and what a mistake at the prompt says."""

from __future__ import annotations

import socket

import pytest
from click.testing import CliRunner
from rich.console import Console

from sdp.cli import main
from sdp.cli.demo import addresses, free_port, last_words, own_command, size_of
from sdp.cli.status import bits_text, bytes_text, lag_text, table
from sdp.errors import LocalError


@pytest.mark.parametrize(
    ("count", "said"), [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 << 20, "5.0 MiB"), (3 << 40, "3072.0 GiB")]
)
def test_bytes(count, said):
    assert bytes_text(count) == said


@pytest.mark.parametrize(("rate", "said"), [(0, "0 kbit/s"), (723_533, "724 kbit/s"), (2_070_000, "2.07 Mbit/s")])
def test_bits(rate, said):
    assert bits_text(rate) == said


def test_the_worst_lag_is_shown():
    assert lag_text([]) == "-"
    assert lag_text([{"lag_bytes": 5, "lag_ms": 1.0}, {"lag_bytes": 2048, "lag_ms": 33.4}]) == "2.0 KiB, 33 ms"
    assert lag_text([{"lag_bytes": None, "lag_ms": None}]) == "0 B, 0 ms"


STREAM = {
    "name": "cam/1",
    "state": "live",
    "content_type": "video/mp4",
    "bit_rate": 2_000_000,
    "first_offset": 1024,
    "end_offset": 3072,
    "durable_offset": None,
    "consumers": [],
}


def test_the_table_of_streams():
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115  (closed with the console)
    with console.file:
        console.print(table([STREAM, {**STREAM, "name": "b", "content_type": None, "durable_offset": 2048}], "title"))
    shown = console.export_text()
    for word in ("cam/1", "live", "mp4", "2.00 Mbit/s", "2.0 KiB", "title"):
        assert word in shown


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_in_the_table_is_cut(width):
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115  (closed with the console)
    with console.file:
        console.print(table([{**STREAM, "name": "q" * 100, "content_type": "application/octet-stream"}], "title"))
    shown = console.export_text()
    assert shown.count("q") == 100
    assert "…" not in shown


def test_where_to_look():
    shown = dict(addresses("http://127.0.0.1:8080"))
    assert shown["browser"] == "http://127.0.0.1:8080/-/watch/demo"
    assert all("http://127.0.0.1:8080/" in where for where in shown.values())


def test_the_recording_is_named_by_what_is_in_it():
    assert dict(addresses("http://h:1"))["recording"].endswith(" copy.mp4")
    assert dict(addresses("http://h:1", "mpegts"))["recording"].endswith(" copy.ts")


def test_the_command_is_told_as_it_can_be_typed(tmp_path, monkeypatch):
    installed = tmp_path / "bin" / "sdp"
    installed.parent.mkdir()
    installed.write_text("#!/bin/sh\n")
    installed.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(installed), "demo"])
    monkeypatch.setenv("PATH", str(tmp_path))
    assert own_command() == str(installed)
    monkeypatch.setenv("PATH", str(installed.parent))
    assert own_command() == "sdp"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], ""),
        (["starting up.", "2026-01-01T00:00:00+0000 [sdp.origin#error] Cannot open x."], " Cannot open x."),
        (
            ["sdp-origin: --size: 'x' is no picture size."],
            " Its last lines:\n  sdp-origin: --size: 'x' is no picture size.",
        ),
    ],
)
def test_a_child_is_quoted_by_what_it_said_was_wrong(lines, said):
    assert last_words(lines) == said


def test_a_port_that_is_taken():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(LocalError, match=str(port)):
            free_port(port)
    assert free_port(None) > 0


def test_the_size_of_what_is_on_disk(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(bytes(10))
    (tmp_path / "c").write_bytes(bytes(5))
    assert size_of(tmp_path) == 15
    assert size_of(tmp_path / "absent") == 0


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["--help"], 0, "record"),
        (["demo", "--help"], 0, "SOURCE"),
        (["nonsense"], 2, "No such command"),
        (["record", "http://h/a"], 2, "Missing argument"),
        (["demo", "--port", "0"], 2, "--port"),
    ],
)
def test_the_command_line(words, status, said):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == status
    assert said in result.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["record", "ftp://h/a", "x"], "http://"),
        (["record", "http://cam:s3cret@h/", "x"], "names no stream"),
        (["status", "h"], "http://"),
    ],
)
def test_a_url_that_will_not_do(words, said, capfd):
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 2
    shown = result.output + capfd.readouterr().err
    assert said in shown
    assert "s3cret" not in shown


def test_a_directory_that_is_no_store_is_not_found_sound(tmp_path, capfd):
    result = CliRunner().invoke(main, ["verify", str(tmp_path)])
    assert result.exit_code == 2
    assert "holds no recording" in result.output + capfd.readouterr().err


@pytest.mark.parametrize("words", [["status", "http://h:1"], ["verify", "http://h:1/a", "http://h:2/a"]])
def test_a_secret_is_read_from_its_file_before_anything_is_asked(words, tmp_path, capfd):
    result = CliRunner().invoke(main, [*words, "--read-token", str(tmp_path / "absent")])
    assert result.exit_code == 2
    assert "absent cannot be read" in result.output + capfd.readouterr().err
