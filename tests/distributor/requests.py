"""Requests as a reader gives them."""

from __future__ import annotations

from sdp.http1 import Request, RequestReader


def request(*lines, method=b"GET", target=b"/a", version=b"1.1"):
    """A request with these field lines, read."""
    reader = RequestReader()
    head = b"".join(b"%b\r\n" % line for line in (b"Host: h", *lines))
    reader.feed(b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, version, head))
    event = reader.next_event()
    assert isinstance(event, Request)
    return event
