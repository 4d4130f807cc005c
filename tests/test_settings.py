"""Settings: one source for options, files and docs."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sdp.errors import ConfigurationError
from sdp.settings import (
    REQUIRED,
    choice,
    count,
    describe,
    directory_or_none,
    flag,
    load,
    positive,
    seconds,
    setting,
    size,
    text,
)


@attrs.frozen(kw_only=True)
class Example:
    """A role that exists for these tests only."""

    listen: tuple[str, ...] = setting(["tcp:8080"], "Where to listen.", repeatable=True, metavar="ENDPOINT")
    memory: int = setting("64MiB", "Memory of a stream.", parse=size)
    from_: str = setting(REQUIRED, "What to take.", metavar="URL")
    loop: bool = setting(False, "Begin again.", parse=flag)
    audio: bool = setting(True, "Send no sound.", parse=flag)
    store: Path | None = setting("none", "Where to keep it.", parse=directory_or_none)
    idle: float = setting(5.0, "How long to wait.", parse=seconds)


GOOD = [
    (size, "0", 0),
    (size, "65536", 65536),
    (size, "64KiB", 65536),
    (size, "64 MiB", 64 << 20),
    (size, "2GiB", 2 << 30),
    (size, "7B", 7),
    (seconds, "5", 5.0),
    (seconds, "0.25", 0.25),
    (seconds, "500ms", 0.5),
    (seconds, "2h", 7200.0),
    (count, "0", 0),
    (positive, "1", 1),
    (flag, "yes", True),
    (flag, "OFF", False),
    (choice("a", "b"), "b", "b"),
    (directory_or_none, "none", None),
    (directory_or_none, "/srv", Path("/srv")),
]


@pytest.mark.parametrize(("parse", "given", "value"), GOOD)
def test_what_a_text_means(parse, given, value):
    assert parse(given) == value


BAD = [
    (size, "64MB"),
    (size, "-1"),
    (size, "1_000"),
    (size, "\u0661"),
    (size, "1.5MiB"),
    (seconds, "1e3"),
    (seconds, "nan"),
    (seconds, "-1"),
    (seconds, "5 parsecs"),
    (count, "+1"),
    (count, ""),
    (positive, "0"),
    (flag, "maybe"),
    (choice("a", "b"), "c"),
    (text, ""),
]


@pytest.mark.parametrize(("parse", "given"), BAD)
def test_what_is_refused(parse, given):
    with pytest.raises(ValueError, match=r"must|is no"):
        parse(given)


@given(st.text(max_size=12))
def test_parsers_give_a_value_or_a_value_error(given):
    for parse in (size, seconds, count, positive, flag):
        try:
            value = parse(given)
        except ValueError:
            continue
        assert value >= 0


def test_an_option_wins_over_the_file_and_the_file_over_the_default(tmp_path):
    config = tmp_path / "sdp.toml"
    config.write_text('from = "http://a/"\nmemory = "1MiB"\nidle = 2\nloop = true\nlisten = ["tcp:1", "tcp:2"]\n')
    loaded = load(Example, {"memory": "2MiB"}, config)
    assert loaded == Example(
        from_="http://a/", memory=2 << 20, idle=2.0, loop=True, listen=("tcp:1", "tcp:2"), audio=True, store=None
    )


def test_defaults_are_values():
    loaded = load(Example, {"from": "x"})
    assert (loaded.memory, loaded.idle, loaded.listen) == (64 << 20, 5.0, ("tcp:8080",))


WRONG = [
    ({"from": "x", "memory": "lots"}, "", "--memory: 'lots' is no size"),
    ({}, "", "--from is missing"),
    ({"from": "x", "memroy": "1"}, "", "no option --memroy. Did you mean memory?"),
    ({"from": "x"}, "memroy = 1\n", "no setting 'memroy'. Did you mean memory?"),
    ({"from": "x"}, "memory = -1\n", "memory: '-1' is no size"),
    ({"from": "x"}, "memory = [1]\n", "takes one value"),
    ({"from": "x"}, "[memory]\na = 1\n", "must be a text"),
    ({"from": "x"}, "listen = [[1]]\n", "must be a text"),
    ({"from": "x"}, "memory = \n", "is no TOML"),
]


@pytest.mark.parametrize(("given", "file", "said"), WRONG)
def test_an_error_names_what_is_wrong(tmp_path, given, file, said):
    config = tmp_path / "sdp.toml"
    config.write_text(file)
    with pytest.raises(ConfigurationError) as caught:
        load(Example, given, config)
    assert said in caught.value.detail


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"absent\.toml cannot be read"):
        load(Example, {"from": "x"}, tmp_path / "absent.toml")


def test_the_rows_of_the_docs_page():
    rows = {row.name: row for row in describe(Example)}
    assert list(rows) == ["listen", "memory", "from", "loop", "audio", "store", "idle"]
    assert rows["memory"].default == "64MiB"
    assert rows["from"].default == ""
    assert rows["store"].default == "none"
    assert rows["idle"].default == "5"
    assert (rows["loop"].option, rows["audio"].option) == ("--loop", "--no-audio")
    assert rows["listen"].repeatable


def test_a_parser_that_hides_its_text_is_not_quoted():
    def hidden(given):
        raise ConfigurationError("It is not shown.")

    @attrs.frozen(kw_only=True)
    class Secretive:
        url: str = setting(REQUIRED, "A URL.", parse=hidden)

    with pytest.raises(ConfigurationError) as caught:
        load(Secretive, {"url": "s3cret"})
    assert caught.value.detail == "--url: It is not shown."
