"""What people get wrong: one clear line, a status that is not zero, and never a traceback."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.processes import Distributor, Process
from tests.system.programs import Service, environment, finished, in_foreground, sdp

pytestmark = pytest.mark.system

CHATTER = ("starting up", "reactor class", "Main loop terminated", "Server Shut Down", "#info]")
"""What twistd says, whatever happens."""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A place with things that will not do."""
    (tmp_path / "file").write_bytes(b"no directory, no media")
    (tmp_path / "unknown.toml").write_text('lissten = ["tcp:8080"]\n')
    (tmp_path / "broken.toml").write_text("listen = [\n")
    (tmp_path / "wrong.toml").write_text('memory = "plenty"\n')
    return tmp_path


@pytest.fixture
def taken() -> Iterator[str]:
    """An endpoint that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield f"tcp:{listening.getsockname()[1]}:interface=127.0.0.1"


def complaint(argv: list[str], directory: Path) -> str:
    """Run a command that cannot do what it is told, and return the one line that says so."""
    result = finished(*argv, cwd=directory, env=environment())
    said = (result.stdout + result.stderr).decode()
    assert "Traceback" not in said
    assert result.returncode not in (0, None), said
    assert result.returncode > 0, said
    lines = [each for each in said.splitlines() if each.strip() and not any(words in each for words in CHATTER)]
    assert len(lines) == 1, said
    return lines[0]


URL = "http://127.0.0.1:9/x"


@pytest.mark.parametrize(
    ("command", "options", "words"),
    [
        # A word that is no option, and a value that is none.
        ("distributor", ["--listne", "tcp:0"], "listne"),
        ("distributor", ["stray"], "stray"),
        ("distributor", ["--memory", "plenty"], "--memory"),
        ("distributor", ["--listen", "tcp:http"], "--listen"),
        ("distributor", ["--listen", "nowhere:1"], "--listen"),
        ("distributor", ["--trust-proxy", "not an address"], "--trust-proxy"),
        ("distributor", ["--publish-token", "missing"], "missing"),
        ("origin", ["--to", URL, "--fragment", "never"], "--fragment"),
        ("origin", ["--to", URL, "--container", "avi"], "--container"),
        ("origin", ["--to", URL, "--size", "big"], "--size"),
        ("origin", [], "--to"),
        ("origin", ["--to", "localhost:8080/x"], "--to"),
        ("origin", ["--to", "http://localhost:8080/"], "names no stream"),
        ("consumer", ["--output", "copy"], "--from"),
        ("consumer", ["--from", URL], "--output"),
        # The configuration file.
        ("distributor", ["--config", "unknown.toml"], "lissten"),
        ("distributor", ["--config", "broken.toml"], "broken.toml"),
        ("distributor", ["--config", "wrong.toml"], "memory"),
        ("distributor", ["--config", "missing.toml"], "missing.toml"),
        # What is not there, or will not do.
        ("distributor", ["--listen", "tcp:0:interface=127.0.0.1", "--store", "file"], "file"),
        ("distributor", ["--listen", "tcp:0:interface=127.0.0.1", "--store", "file/below"], "file/below"),
        ("distributor", ["--listen", "tcp:0:interface=192.0.2.1", "--store", "none"], "192.0.2.1"),
        ("origin", ["--to", URL, "--source", "missing.mp4", "--store", "none"], "missing.mp4"),
        ("origin", ["--to", URL, "--source", "file", "--store", "none"], "file"),
        ("origin", ["--to", URL, "--source", "/dev/video99", "--store", "none"], "/dev/video99"),
        ("origin", ["--to", URL, "--source", "test", "--store", "file"], "file"),
        ("origin", ["--to", URL, "--publish-token", "missing", "--store", "none"], "missing"),
        ("consumer", ["--from", URL, "--output", "missing/copy"], "missing/copy"),
        ("consumer", ["--from", URL, "--output", "file"], "file"),
    ],
)
def test_in_the_foreground(directory: Path, command: str, options: list[str], words: str) -> None:
    assert words in complaint(in_foreground(command, *options), directory)


def test_an_address_in_use(directory: Path, taken: str) -> None:
    said = complaint(in_foreground("distributor", "--listen", taken, "--store", "none"), directory)
    assert taken in said
    assert "in use" in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["record", "ftp://x/y", "copy"], "http://"),
        (["record", URL, "file"], "file"),
        (["status", "http://127.0.0.1:9/"], "127.0.0.1:9"),
        (["status", "nonsense"], "http://"),
    ],
)
def test_the_command_for_people(directory: Path, arguments: list[str], words: str) -> None:
    assert words in complaint(sdp(*arguments), directory)


def test_a_refusal_for_good_ends_the_command(start: Callable[..., Distributor], directory: Path) -> None:
    """Who may not read or publish is told, once, and not left to wait."""
    secrets = directory / "secrets"
    secrets.write_text("anna:letmein\n")
    server = start("--read-token", str(secrets), "--publish-token", str(secrets))
    url = f"http://wrong:secret@127.0.0.1:{server.port}/x"
    assert "refuses" in complaint(in_foreground("consumer", "--from", url, "--output", "copy"), directory)
    assert "refuses" in complaint(in_foreground("origin", "--to", url, "--store", "none"), directory)


def test_a_distributor_that_is_not_there_is_waited_for(run: Callable[..., Process], directory: Path) -> None:
    """Nothing is wrong with the command: it goes on trying, and shows that it does."""
    for argv in (
        in_foreground("origin", "--to", URL, "--store", "none"),
        in_foreground("consumer", "--from", URL, "--output", "copy"),
        sdp("record", URL, "another"),
    ):
        process = run(*argv, cwd=directory)
        assert "trying again" in process.wait_for("127.0.0.1:9 cannot be reached")
        process.terminate()
        process.wait()
        assert "Traceback" not in "\n".join(process.lines)


def test_as_background_services(service: Callable[..., Service], directory: Path, taken: str) -> None:
    """What shows only after the fork is in the log file, and the process is gone, its PID file with it."""
    for command, options, words in (
        ("distributor", ["--listen", taken, "--store", "none"], "in use"),
        ("distributor", ["--listen", "tcp:0:interface=127.0.0.1", "--store", directory / "file"], "file"),
        ("origin", ["--to", URL, "--source", "missing.mp4", "--store", "none"], "missing.mp4"),
        ("consumer", ["--from", URL, "--output", directory / "file"], "file"),
    ):
        begun = service(command, *options)
        assert begun.begun == 0
        assert begun.wait() == 1, begun.log()
        lines = [line for line in begun.log().splitlines() if "#error]" in line]
        assert len(lines) == 1, begun.log()
        assert words in lines[0]
        assert "Traceback" not in begun.log()
        assert not begun.pid_file.exists()
        begun.log_file.unlink()


def test_a_bad_option_begins_no_background_service(directory: Path) -> None:
    argv = [each for each in in_foreground("distributor", "--memory", "plenty") if each != "-n"]
    assert "--memory" in complaint(argv, directory)
    assert list(directory.glob("*.log")) == []
