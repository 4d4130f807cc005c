"""From a request target to what it names: a stream, a view, or nothing."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl

__all__ = ["Target", "parse_target", "stream_name"]

_ESCAPE = re.compile(rb"%([0-9A-Fa-f]{2})")
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._~-")
_NAME = re.compile(r"(?!-(?:/|$))[A-Za-z0-9_~-][A-Za-z0-9._~-]*(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*")
_ABSOLUTE = re.compile(rb"[A-Za-z][A-Za-z0-9+.-]*://[^/?]*")
NAME_LIMIT = 255


class Target(NamedTuple):
    """``path`` is as it was sent; ``query`` maps a parameter to its last value."""

    path: bytes
    query: dict[str, str]


def parse_target(target: bytes) -> Target:
    """Split a request target in origin-form or absolute-form (RFC 9112 section 3.2)."""
    absolute = _ABSOLUTE.match(target)
    if absolute is not None:
        target = target[absolute.end() :]
        if not target.startswith(b"/"):
            target = b"/" + target
    path, _, query = target.partition(b"?")
    return Target(path, dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)))


def stream_name(path: bytes) -> str | None:
    """Return the stream's name that a path (with its leading slash) stands for, or None where it can be none.

    1 to 255 characters after decoding, in segments of ``A-Z a-z 0-9 . _ ~ -``, none beginning with a dot, the first
    not being ``-`` alone. Only an escape of one of these characters is decoded; any other makes it no name.
    """
    if not path.startswith(b"/"):
        return None
    try:
        name = _ESCAPE.sub(_unescape, path[1:]).decode("ascii")
    except (ValueError, UnicodeDecodeError):
        return None
    if not 1 <= len(name) <= NAME_LIMIT or _NAME.fullmatch(name) is None:
        return None
    return name


def _unescape(match: re.Match[bytes]) -> bytes:
    code = int(match[1], 16)
    if code not in _PLAIN:
        raise ValueError("an escape of a character that is in no name")
    return bytes((code,))
