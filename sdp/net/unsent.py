"""What of a connection's bytes has not left this machine: who adds bytes that can wait looks here first."""

from __future__ import annotations

import struct
from fcntl import ioctl
from typing import Any

__all__ = ["unsent"]

_SIOCOUTQNSD = 0x894B
"""Linux (tcp(7), sockios.h): how many bytes of a TCP socket's send queue were not sent yet."""


def unsent(transport: Any) -> int:
    """Return how many bytes the system holds that were not sent yet: 0 where it does not say, as for other than TCP."""
    try:
        counted = ioctl(transport.socket.fileno(), _SIOCOUTQNSD, b"\0\0\0\0")
    except (AttributeError, OSError, ValueError):
        return 0
    return int(struct.unpack("i", counted)[0])
