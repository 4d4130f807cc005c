"""Which intermediaries a message has passed: Via (RFC 9110 section 7.6.3)."""

from __future__ import annotations

from collections.abc import Iterable

from sdp.errors import ProtocolError
from sdp.http1.fields import parse_list

__all__ = ["MAX_VIA", "format_via", "parse_via"]

MAX_VIA = 32
"""The most intermediaries that are looked at; a message that has passed more goes in circles: 400."""


def parse_via(lines: Iterable[bytes]) -> tuple[str, ...]:
    """The received-by of each member, in order: who has forwarded the message, first to last.

    Comments are left out; a member that has no received-by is ignored. Raises ProtocolError beyond MAX_VIA members.
    """
    found: list[str] = []
    for line in lines:
        for member in parse_list(_without_comments(line)):
            words = member.split()
            if len(words) >= 2:
                found.append(words[1].decode("latin-1"))
    if len(found) > MAX_VIA:
        raise ProtocolError(f"The message has passed more than {MAX_VIA} intermediaries.")
    return tuple(found)


def format_via(passed: Iterable[str]) -> bytes:
    """A Via value of these intermediaries, each of which received an HTTP/1.1 message."""
    return ", ".join(f"1.1 {each}" for each in passed).encode("latin-1")


def _without_comments(line: bytes) -> bytes:
    """A comment may hold commas, and comments (RFC 9110 section 5.6.5)."""
    if b"(" not in line:
        return line
    kept, depth, escaped = bytearray(), 0, False
    for byte in line:
        if escaped:
            escaped = False
        elif depth and byte == 0x5C:
            escaped = True
        elif byte == 0x28:
            depth += 1
        elif byte == 0x29 and depth:
            depth -= 1
        elif not depth:
            kept.append(byte)
    return bytes(kept)
