"""Options made from settings: what an operator types, and what is said when it is wrong."""

from __future__ import annotations

import attrs
import pytest

from sdp.settings import REQUIRED, flag, setting
from sdp.tap.options import one_line_on_error, options_for
from tests.test_settings import Example


def parsed(*words):
    options = options_for(Example, "sdp-example")()
    options.parseOptions(list(words))
    return options.settings()


def test_options_become_settings():
    loaded = parsed("--from", "x", "--listen", "tcp:1", "--listen=tcp:2", "--no-audio", "--loop", "--memory", "1KiB")
    assert loaded == Example(from_="x", listen=("tcp:1", "tcp:2"), audio=False, loop=True, memory=1024)


def test_the_file_is_read(tmp_path):
    config = tmp_path / "sdp.toml"
    config.write_text('from = "y"\naudio = false\n')
    assert parsed("--config", str(config)) == Example(from_="y", audio=False)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "--from is missing"),
        (["--nope"], "option --nope not recognized"),
        (["--from"], "requires argument"),
        (["--from", "x", "stray"], "'stray' is no option"),
        (["--from", "x", "--from", "y"], "only once"),
        (["--from", "x", "--memory", "1K"], "--memory: '1K' is no size"),
        (["--from", "x", "--config", "absent.toml"], "absent.toml cannot be read"),
    ],
)
def test_a_mistake_is_one_line_and_a_status(words, said):
    with pytest.raises(SystemExit) as caught:
        parsed(*words)
    message = caught.value.code
    assert isinstance(message, str)  # which Python prints on standard error, leaving with 1
    assert message.startswith("sdp-example: ")
    assert said in message
    assert "\n" not in message


def test_help_shows_every_option_with_its_default(capsys):
    with pytest.raises(SystemExit) as caught:
        parsed("--help")
    assert not caught.value.code
    shown = " ".join(capsys.readouterr().out.split())
    for word in ("--listen=", "--memory=", "default 64MiB", "--no-audio", "--loop", "--store=", "may be repeated"):
        assert word in shown


@attrs.frozen(kw_only=True)
class Sparse:
    """Settings of which some have no default that could be shown."""

    to: str = setting(REQUIRED, "Where.")
    proxy: tuple[str, ...] = setting((), "From where.", repeatable=True)
    audio: bool = setting(True, "Send no sound.", parse=flag)


def test_help_calls_needed_only_what_has_to_be_given(capsys):
    with pytest.raises(SystemExit):
        options_for(Sparse)().parseOptions(["--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "Where. (TEXT; needed)" in shown
    assert "From where. (TEXT; default none; may be repeated)" in shown
    assert "Send no sound. (by default no)" in shown
    options = options_for(Sparse)()
    options.parseOptions(["--to", "x"])
    assert options.settings() == Sparse(to="x")


def test_errors_that_are_no_plan_pass():
    with pytest.raises(ZeroDivisionError), one_line_on_error("sdp-example"):
        raise ZeroDivisionError
