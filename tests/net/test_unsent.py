"""What waits in the system's own buffer."""

from __future__ import annotations

import socket
import sys
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from sdp.net.unsent import unsent


def of(sock: Any) -> int:
    return unsent(SimpleNamespace(socket=sock))


def filled(sender: socket.socket) -> int:
    """Send as much as is taken; how much that is."""
    size = 0
    try:
        while True:
            size += sender.send(bytes(1 << 16))
    except BlockingIOError:
        return size


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what was not sent")
def test_a_peer_that_does_not_read() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        sender = socket.create_connection(server.getsockname())
        receiver, _ = server.accept()
    with closing(sender), closing(receiver):
        assert of(sender) == 0
        sender.setblocking(False)
        size = filled(sender)
        assert 0 < of(sender) <= size
        while size:
            size -= len(receiver.recv(1 << 20))
        assert of(sender) == 0


def test_where_nothing_is_told() -> None:
    one, other = socket.socketpair()
    with closing(one), closing(other):
        assert of(one) == 0
    assert of(one) == 0
    assert unsent(object()) == 0
