"""A command's options, made from its settings class: what ``twistd`` parses before a service is made.

:func:`options_for` turns the fields of a settings class into a ``twisted.python.usage.Options``; whatever is wrong
ends the process with one line on standard error and a status that is not zero, never with a traceback or a page of
help (which is what twistd would print, leaving with 0).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from twisted.python import usage

from sdp.errors import ConfigurationError, SDPError
from sdp.settings import Row, load, settings_of

__all__ = ["SettingsOptions", "one_line_on_error", "options_for"]

Settings = TypeVar("Settings")


@contextmanager
def one_line_on_error(command: str) -> Iterator[None]:
    """End the process with one line, and status 1, on an error that is the operator's to mend."""
    try:
        yield
    except SDPError as error:
        raise SystemExit(f"{command}: {error.detail}") from error
    except usage.UsageError as error:
        raise SystemExit(f"{command}: {error} (--help lists the options)") from error


class SettingsOptions(usage.Options, Generic[Settings]):
    """The options of one command; :meth:`settings` is what they say, once parsed.

    ``given`` holds the texts of those options that were given, by name without dashes.
    """

    command: ClassVar[str] = "sdp"
    settings_class: ClassVar[type]

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, str | list[str]] = {}
        self._settings: Settings | None = None

    def parseOptions(self, options: list[str] | None = None) -> None:
        """Parse, and check every value at once, so that a mistake shows before anything is begun."""
        with one_line_on_error(self.command):
            super().parseOptions(options)

    def parseArgs(self, *rest: str) -> None:
        """Take nothing but options: a stray word is most often a forgotten ``--``."""
        if rest:
            raise usage.UsageError(f"{rest[0]!r} is no option")

    def postOptions(self) -> None:
        """Load the settings once all options are there."""
        config: str | None = self["config"]
        self._settings = load(self.settings_class, self.given, None if config is None else Path(config).expanduser())

    def settings(self) -> Settings:
        """What the options, the configuration file and the defaults say together."""
        if self._settings is None:
            raise ConfigurationError("The options have not been parsed yet.")
        return self._settings


def options_for(cls: type[Settings], command: str = "sdp") -> type[SettingsOptions[Settings]]:
    """The Options class for the settings class ``cls``, of a command that calls itself ``command`` in its errors."""
    body: dict[str, Any] = {
        "command": command,
        "settings_class": cls,
        "optParameters": [["config", None, None, "A TOML file of the same settings, without the dashes."]],
        "longdesc": (cls.__doc__ or "").partition("\n\n")[0],
    }
    for _, name, row in settings_of(cls):
        make = _flag_option if row.is_flag else _value_option
        body["opt_" + row.option.removeprefix("--").replace("-", "_")] = make(name, row)
    return type(f"{cls.__name__}Options", (SettingsOptions,), body)


def _flag_option(name: str, row: Row) -> Callable[[SettingsOptions[Any]], None]:
    said = "no" if row.default == "yes" else "yes"

    def option(self: SettingsOptions[Any]) -> None:
        self.given[name] = said

    option.__doc__ = f"{row.help} (by default no)"
    return option


def _value_option(name: str, row: Row) -> Callable[[SettingsOptions[Any], str], None]:
    def option(self: SettingsOptions[Any], value: str) -> None:
        if row.repeatable:
            held = self.given.setdefault(name, [])
            assert isinstance(held, list)
            held.append(value)
        elif name in self.given:
            raise usage.UsageError(f"--{name} may be given only once")
        else:
            self.given[name] = value

    notes = [f"{row.metavar};"] if row.metavar else []
    notes.append("needed" if row.is_needed else f"default {row.default or 'none'}")
    if row.repeatable:
        notes.append("may be repeated")
    option.__doc__ = f"{row.help} ({' '.join(notes[:2])}{'; ' + notes[2] if notes[2:] else ''})"
    return option
