"""Turns what av raises into one sentence: what could not be done, why, and what to do about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sdp.errors import MediaError

__all__ = ["import_av", "media_faults", "without_secret"]

_OF_MEDIA = (OSError, ValueError, RuntimeError, ArithmeticError, LookupError, TypeError)
"""What av raises besides its own errors, for options and values that do not fit."""
_NO_ANSWER = "it did not answer in time; check the address and the network"
_USER_PART = re.compile(r"(?<=://)[^/@\s]*@")


def without_secret(text: str) -> str:
    """Return ``text`` with the user part (name and password) of any URL in it left out."""
    return _USER_PART.sub("", text)


def import_av() -> Any:
    """Return PyAV, which only installations with the [media] extra have; raises MediaError with the way to get it."""
    try:
        import av
    except ImportError as error:
        raise MediaError(
            f"Sources need PyAV, which cannot be imported ({error}); install it by: pip install 'sdp-streaming[media]'."
        ) from None
    return av


def _reason(error: BaseException) -> str:
    match error:
        case FileNotFoundError():
            return "it does not exist; check the name"
        case IsADirectoryError():
            return "it is a directory; name a file in it"
        case PermissionError():
            return "this user may not read it; check its permissions"
        case ConnectionRefusedError():
            return "nothing answers at that address; check host, port and that the server runs"
        case TimeoutError():
            return _NO_ANSWER
    name, text = type(error).__name__, getattr(error, "strerror", None) or str(error)
    if name == "ExitError":  # what av raises where its own time-out called the opening off
        return _NO_ANSWER
    if name == "InvalidDataError":
        return "its content is no media that FFmpeg can read; check that it is whole"
    if name in ("DecoderNotFoundError", "EncoderNotFoundError", "UnknownCodecError"):
        return f"this FFmpeg has no such codec ({text}); choose another"
    if name.startswith("HTTP"):
        return f"the server refused it ({text}); check the URL"
    text = without_secret(text).rstrip(".")
    return f"FFmpeg says: {text or name}; check the source and its options"


@contextmanager
def media_faults(action: str) -> Iterator[None]:
    """Raise MediaError for what av, the system or a wrong value raises within; ``action`` is what cannot be done."""
    try:
        yield
    except MediaError:
        raise
    except Exception as error:
        if not isinstance(error, _OF_MEDIA) and not type(error).__module__.startswith("av."):
            raise
        raise MediaError(f"Cannot {without_secret(action)}: {_reason(error)}.") from error
