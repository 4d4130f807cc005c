"""One tree of errors: who is at fault, and the HTTP status that says so.

Every error carries a ``detail``: a sentence for the person who meets it, which says what to do next.
A role maps foreign exceptions into this tree where they enter, so that whoever catches :class:`SDPError`
has caught all that can go wrong by plan; anything else is a bug.
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "ConfigurationError",
    "LocalError",
    "MediaError",
    "ProtocolError",
    "Refusal",
    "RemoteError",
    "SDPError",
    "StorageError",
]


class SDPError(Exception):
    """The root. ``status`` is the HTTP status that tells a peer of it (RFC 9110 section 15)."""

    status: int = 500
    default_title: ClassVar[str] = "Internal error"

    def __init__(self, detail: str, *, status: int | None = None, title: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        if status is not None:
            self.status = status
        self.title = title if title is not None else self.default_title


class LocalError(SDPError):
    """This node is at fault: its set-up, its machine, its own limits."""


class ConfigurationError(LocalError):
    """An option or a configuration file asks for what cannot be; the detail names the option."""

    default_title = "Bad configuration"


class RemoteError(SDPError):
    """The peer is at fault."""

    status = 400
    default_title = "Bad request"


class ProtocolError(RemoteError):
    """A peer's message is malformed (RFC 9112): nothing after it on the connection can be trusted."""

    default_title = "Malformed message"


class Refusal(RemoteError):
    """A peer's message is well formed, and refused.

    ``headers`` are field lines (name, value) that the answer carries beside the problem document.
    """

    default_title = "Refused"

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(detail, status=status, title=title)
        self.headers = headers


class StorageError(SDPError):
    """The disk is full, fails, or holds what cannot be read."""

    status = 507
    default_title = "Storage failed"


class MediaError(SDPError):
    """A source cannot be opened, decoded or encoded."""

    default_title = "Media failed"
