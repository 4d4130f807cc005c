"""Settings: what an operator may choose, said once for the command line, the TOML file and the docs.

A role's settings are one frozen attrs class, whose fields are made by :func:`setting`. From its metadata come the
command's options (:mod:`sdp.tap.options`), the keys of its configuration file, and the rows of the docs page
(:func:`describe`), so none of them can contradict another. A value is looked for in this order: the option, the
file, the default.

A field ``publish_token`` is the option ``--publish-token`` and the TOML key ``publish-token``; a trailing underscore,
which keeps a name off Python's keywords, is dropped (``from_`` is ``--from``).
"""

from __future__ import annotations

import difflib
import math
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import attrs

from sdp.errors import ConfigurationError

__all__ = [
    "REQUIRED",
    "Row",
    "choice",
    "count",
    "describe",
    "directory_or_none",
    "durability",
    "flag",
    "load",
    "optional",
    "path",
    "positive",
    "seconds",
    "setting",
    "settings_of",
    "size",
    "text",
]

Settings = TypeVar("Settings")
Given = Mapping[str, "str | Sequence[str]"]

REQUIRED: Final = object()
"""In place of a default: the option must be given."""

_KEY: Final = "sdp.setting"
_SIZE = re.compile(r"([0-9]{1,18})(?: ?(KiB|MiB|GiB|TiB|B))?")
_SIZES: Final = {None: 1, "B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_SECONDS = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)(?: ?(ms|s|min|h|d))?")
_UNITS: Final = {None: 1.0, "ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_SYNC: Final[Mapping[str, float | None]] = {"always": 0.0, "never": None}
_FLAGS: Final = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


class Row(NamedTuple):
    """One setting as people read of it: in ``--help`` and on the docs page."""

    name: str
    """The TOML key; with two dashes before it, the option."""
    metavar: str
    default: str
    """As it would be written; empty where there is none."""
    help: str
    repeatable: bool
    is_flag: bool
    is_needed: bool
    """Whether it has to be given, once at the least."""

    @property
    def option(self) -> str:
        """What is typed: a flag that is on by default is turned off by ``--no-NAME``."""
        return f"--no-{self.name}" if self.is_flag and self.default == "yes" else f"--{self.name}"


@attrs.frozen
class _Meta:
    help: str
    parse: Callable[[str], Any]
    shown: str
    repeatable: bool
    metavar: str


# --- What texts mean ---
#
# Each parser raises ValueError with the end of a sentence whose beginning quotes the text; or ConfigurationError with
# a whole sentence of its own, where the text is not to be quoted.


def text(given: str) -> str:
    """Any text but an empty one."""
    if not given:
        raise ValueError("must not be empty")
    return given


def size(given: str) -> int:
    """A number of bytes: ``65536``, ``64KiB``, ``64MiB``, ``2GiB``."""
    match = _SIZE.fullmatch(given)
    if match is None:
        raise ValueError("is no size: write a whole number of bytes, or one with KiB, MiB or GiB, such as 64MiB")
    return int(match[1]) * _SIZES[match[2]]


def seconds(given: str) -> float:
    """A duration in seconds: ``5``, ``0.5``, or with a unit: ``500ms``, ``10s``, ``5min``, ``2h``, ``7d``."""
    match = _SECONDS.fullmatch(given)
    if match is None:
        raise ValueError("is no duration: write seconds, such as 5 or 0.5, or a number with ms, s, min, h or d")
    return float(match[1]) * _UNITS[match[2]]


def durability(given: str) -> float | None:
    """When what is written has to be durable: ``always`` (0.0), within so many seconds, or ``never`` (None)."""
    if given in _SYNC:
        return _SYNC[given]
    try:
        return seconds(given)
    except ValueError:
        raise ValueError("must be always, never, or a duration in seconds, such as 1 or 200ms") from None


def count(given: str) -> int:
    """A whole number, zero or more."""
    if not re.fullmatch(r"[0-9]{1,18}", given):
        raise ValueError("is no whole number")
    return int(given)


def positive(given: str) -> int:
    """A whole number, one or more."""
    number = count(given)
    if number < 1:
        raise ValueError("must be 1 or more")
    return number


def flag(given: str) -> bool:
    """Yes or no."""
    try:
        return _FLAGS[given.lower()]
    except KeyError:
        raise ValueError("must be yes or no") from None


def path(given: str) -> Path:
    """A file or directory, ``~`` being the home directory."""
    return Path(text(given)).expanduser()


def optional(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """What ``parse`` takes, or the word ``none``, which is None."""

    def parse_optional(given: str) -> Any:
        return None if given.lower() == "none" else parse(given)

    parse_optional.__name__ = parse.__name__
    return parse_optional


def choice(*words: str) -> Callable[[str], str]:
    """One of these words."""

    def parse_choice(given: str) -> str:
        if given not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return given

    parse_choice.__name__ = "|".join(words)
    return parse_choice


directory_or_none = optional(path)
directory_or_none.__name__ = "directory"


# --- The fields of a settings class ---

_METAVARS: Final = {
    "text": "TEXT",
    "size": "SIZE",
    "seconds": "SECONDS",
    "count": "N",
    "positive": "N",
    "flag": "",
    "durability": "always|SECONDS|never",
}


def setting(
    default: Any,
    help: str,
    *,
    parse: Callable[[str], Any] = text,
    repeatable: bool = False,
    metavar: str | None = None,
) -> Any:
    """One field of a settings class.

    ``default`` is written as an operator would write it (``"64MiB"``; a list of such where ``repeatable``), or is the
    value itself where it is no text; :data:`REQUIRED` where there is none. ``help`` is a sentence without the default,
    which is shown beside it. A repeatable setting's value is a tuple.
    """
    if metavar is None:
        metavar = _METAVARS.get(parse.__name__, parse.__name__.upper() if "|" not in parse.__name__ else parse.__name__)
    value: Any
    if default is REQUIRED:
        value, shown = attrs.NOTHING, ""
    elif repeatable:
        items = (default,) if isinstance(default, str) else tuple(default)
        value, shown = tuple(parse(item) for item in items), ", ".join(items)
    elif isinstance(default, str):
        value, shown = parse(default), default
    else:
        value, shown = default, _show(default)
    return attrs.field(default=value, metadata={_KEY: _Meta(help, parse, shown, repeatable, metavar)})


def _show(value: object) -> str:
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case float() if value == math.floor(value):
            return str(int(value))
        case _:
            return str(value)


def settings_of(cls: type) -> Iterator[tuple[str, str, Row]]:
    """For each setting of ``cls``, in order: the field's name, the option's name without dashes, and its Row."""
    for field in attrs.fields(cls):
        meta: _Meta | None = field.metadata.get(_KEY)
        if meta is not None:
            name = field.name.rstrip("_").replace("_", "-")
            is_flag = meta.parse is flag
            is_needed = field.default is attrs.NOTHING
            yield field.name, name, Row(name, meta.metavar, meta.shown, meta.help, meta.repeatable, is_flag, is_needed)


def describe(cls: type) -> list[Row]:
    """The rows of the docs page about ``cls``."""
    return [row for _, _, row in settings_of(cls)]


# --- Where values come from ---


def load(cls: type[Settings], given: Given, config: Path | None = None) -> Settings:
    """The settings of a role: from its options, else from the TOML file ``config``, else from their defaults.

    ``given`` maps an option's name (without the two dashes) to its text, or a list of texts where it may be
    repeated. Raises ConfigurationError, which names the option or the file and key.
    """
    options = dict(given)
    known = [name for _, name, _ in settings_of(cls)]
    for name in options:
        if name not in known:
            raise ConfigurationError(f"There is no option --{name}.{_near(name, known)}")
    from_file = {} if config is None else _read(config)
    for key in from_file:
        if key not in known:
            raise ConfigurationError(f"{config}: there is no setting {key!r}.{_near(key, known)}")
    values: dict[str, Any] = {}
    for field in attrs.fields(cls):  # type: ignore[arg-type]  # a type variable cannot say "an attrs class"
        meta: _Meta | None = field.metadata.get(_KEY)
        if meta is None:
            continue
        name = field.name.rstrip("_").replace("_", "-")
        if name in options:
            values[field.alias] = _parse(meta, options[name], f"--{name}")
        elif name in from_file:
            where = f"{config}: {name}"
            values[field.alias] = _parse(meta, _texts(from_file[name], where), where)
        elif field.default is attrs.NOTHING:
            raise ConfigurationError(f"--{name} is missing: {meta.help}")
    return cls(**values)


def _parse(meta: _Meta, given: str | Sequence[str], where: str) -> Any:
    if not meta.repeatable:
        if not isinstance(given, str):
            raise ConfigurationError(f"{where} takes one value, not a list.")
        return _parse_one(meta, given, where)
    return tuple(_parse_one(meta, item, where) for item in ([given] if isinstance(given, str) else given))


def _parse_one(meta: _Meta, given: str, where: str) -> Any:
    try:
        return meta.parse(given)
    except ConfigurationError as error:  # from a parser whose text may hold a secret: it says what may be shown
        raise ConfigurationError(f"{where}: {error.detail}") from None
    except ValueError as error:
        raise ConfigurationError(f"{where}: {given!r} {error}.") from error


def _read(config: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(config.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"--config: {config} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"--config: {config} is no TOML: {error}.") from error


def _texts(value: object, where: str) -> str | list[str]:
    """A TOML value as the text that the option would have: one parser then serves both."""
    match value:
        case str():
            return value
        case bool() | int() | float():
            return _show(value)
        case list():
            texts = [_texts(each, where) for each in value if not isinstance(each, list)]
            if len(texts) == len(value):
                return [each for each in texts if isinstance(each, str)]
    raise ConfigurationError(f"{where} must be a text, a number, true or false, or a list of them.")


def _near(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name.replace("_", "-"), known, n=3)
    return f" Did you mean {' or '.join(near)}?" if near else ""
