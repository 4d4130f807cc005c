"""How much of a message a reader takes before its peer must stop: every buffer of the parser has its limit here."""

from __future__ import annotations

import attrs

__all__ = ["DEFAULT_LIMITS", "MAX_CONTENT_LENGTH", "Limits"]

MAX_CONTENT_LENGTH = 2**63 - 1
"""The greatest Content-Length that is taken, in bytes: what a signed 64-bit offset can hold. Beyond it: 400."""


@attrs.frozen(kw_only=True)
class Limits:
    """The sizes at which a reader refuses to go on with a message, each with the status that says so.

    A limit is the greatest size that is still taken. It trips as soon as it is passed, not when the part is whole.
    """

    start_line: int = 8192
    """Bytes of a request line or status line, without its CRLF. Beyond it: 414. RFC 9112 section 3 asks for at
    least 8000."""

    field_section: int = 65536
    """Bytes of the header section, its CRLFs included, without the empty line. Beyond it: 431."""

    fields: int = 128
    """Count of field lines in a header section or in a trailer section. Beyond it: 431."""

    chunk_extension: int = 16384
    """Bytes of chunk extensions in one message's content, all chunks together. Beyond it: 413. RFC 9112 section
    7.1.1 asks for a limit over the whole, since each extension alone looks harmless."""

    trailer_section: int = 8192
    """Bytes of the trailer section, its CRLFs included. Beyond it: 431."""


DEFAULT_LIMITS = Limits()
