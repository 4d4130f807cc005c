"""Where in a message a reader stands.

A reader is in one state at a time, and each state has one method that reads on from it::

    START ── head ──┬─ no content ───────────────────────────────► END
                    ├─ Content-Length ──► CONTENT ───────────────► END
                    ├─ chunked ──► CHUNK_SIZE ──► CHUNK_CONTENT
                    │                │  ▲               │
                    │                │  └── CHUNK_END ◄─┘
                    │                └─ size 0 ──► TRAILERS ─────► START
                    └─ neither (responses only) ► UNTIL_CLOSE ───► END
    END ──► START          any ── malformed ──► DEAD

The two sides differ in what leads out of START alone: a request's content is told by its fields, a response's also
by the request it answers (RFC 9112 section 6.3). An interim response leads from START to START.

What differs by state when the peer closes is data, too: :data:`CUT` says for each whether that is a message cut
short (RFC 9112 section 8), and what to tell of it. A close in START, with nothing held, is how a connection
should end; in UNTIL_CLOSE it is the end of the content.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum

__all__ = ["CUT", "State"]


class State(IntEnum):
    """A place in a message. The number is the place of the state's method in a reader's table."""

    START = 0
    CONTENT = 1
    CHUNK_SIZE = 2
    CHUNK_CONTENT = 3
    CHUNK_END = 4
    TRAILERS = 5
    UNTIL_CLOSE = 6
    END = 7
    DEAD = 8


_IN_CHUNKS = "The connection closed before the last chunk: the content is incomplete; send it again."

CUT: Mapping[State, str] = {
    State.START: "The connection closed in the middle of a message's head; send the whole message again.",
    State.CONTENT: "The connection closed before Content-Length bytes had come: the content is incomplete.",
    State.CHUNK_SIZE: _IN_CHUNKS,
    State.CHUNK_CONTENT: _IN_CHUNKS,
    State.CHUNK_END: _IN_CHUNKS,
    State.TRAILERS: "The connection closed inside the trailer section; end it with an empty line.",
}
"""What a close means in each state where a message is cut by it. States that are absent end well."""
