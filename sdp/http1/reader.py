"""The first step behind the socket: bytes as they come in, message events out.

A reader does no I/O and never waits. It is fed what arrived and gives events until it needs more. Who drives it may
stop between any two events: what has not been read waits here, so that pipelined requests keep their order and a
slow step behind the reader holds back the socket.

Content is handed on in the pieces in which it came, and is copied only where a piece holds more than content.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from sdp.errors import ProtocolError
from sdp.http1.grammar import BARE_LINE_BREAK, CHUNK_LINE
from sdp.http1.head import (
    bare_line_break,
    check_request_line,
    check_status_line,
    parse_request,
    parse_response,
    parse_trailers,
    too_many_fields,
    too_much_field_section,
    too_much_start_line,
)
from sdp.http1.limits import DEFAULT_LIMITS, Limits
from sdp.http1.messages import NO_TRAILERS, End, Request, Response
from sdp.http1.pieces import Pieces
from sdp.http1.states import CUT, State

__all__ = ["Event", "RequestReader", "ResponseReader"]

Event: TypeAlias = Request | Response | bytes | End

# Looking a member up in its Enum costs more than the rest of a step.
_START, _CONTENT, _END, _DEAD = State.START, State.CONTENT, State.END, State.DEAD
_CHUNK_SIZE, _CHUNK_CONTENT, _CHUNK_END = State.CHUNK_SIZE, State.CHUNK_CONTENT, State.CHUNK_END
_TRAILERS, _UNTIL_CLOSE = State.TRAILERS, State.UNTIL_CLOSE

_CHUNK_SIZE_DIGITS = 16
"""The most digits of a chunk size that are taken: 64 bits, more than any content has."""


class _Reader(Pieces, ABC):
    """What both sides share: the buffer, the end of a head, and all kinds of content."""

    __slots__ = ("_eof", "_extension", "_fault", "_limits", "_line_end", "_lines", "_remaining", "_seen", "_state")

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__()
        self._limits = limits
        self._state = _START
        self._eof = False
        self._fault: ProtocolError | None = None
        self._remaining = 0
        self._extension = 0
        # How far an incomplete head or line has been looked at, counted from the position, so that no byte is
        # searched twice however small the pieces are.
        self._seen = 0
        self._lines = 0
        self._line_end = -1

    @property
    def at_start(self) -> bool:
        """Whether the reader stands between messages with nothing held: the connection is idle."""
        return self._state is _START and not self.buffered

    def feed(self, data: bytes) -> None:
        """Take what arrived. Costs no work on the bytes; raises ValueError after :meth:`feed_eof`."""
        if self._eof:
            raise ValueError("fed after the end of input")
        if data and self._state is not _DEAD:
            self._add(data)

    def feed_eof(self) -> None:
        """The peer has closed its side. Events that are left still come; then None, or the error of a cut message."""
        self._eof = True

    def next_event(self) -> Event | None:
        """The next event, or None where more must be fed first.

        Raises ProtocolError (a detail for the peer, a status) where a message is malformed, passes a limit, or
        was cut by the end of input; and the same again ever after, for nothing that follows can be trusted.
        """
        try:
            while True:
                event = _STEPS[self._state](self)
                if event is not None:
                    return event
                if not self._next_piece():
                    return self._at_eof() if self._eof else None
        except ProtocolError as error:
            self._fault = error
            self._state = _DEAD
            self._drop()
            raise

    def _at_eof(self) -> Event | None:
        state = self._state
        if state is _UNTIL_CLOSE:
            self._state = _START
            return NO_TRAILERS
        if state is _START and not self.buffered:
            return None
        raise ProtocolError(CUT[state], title="Incomplete message")

    def _consume_to(self, position: int) -> None:
        """All before ``position`` is read; what follows is looked at anew."""
        self._position = position
        self._seen = self._lines = 0
        self._line_end = -1

    # Heads and trailer sections

    def _read_head(self) -> Event | None:
        data, position = self._data, self._position
        if position == len(data):
            return None
        end = data.find(b"\r\n\r\n", position + max(0, self._seen - 3))
        if end < 0:
            self._look_at_start_line(data, position)
            if self._line_end >= 0:
                self._look_at_fields(data, position, position + self._line_end + 2, self._limits.field_section, 1)
            self._seen = len(data) - position
            return None
        self._consume_to(end + 4)
        if isinstance(data, bytearray):
            return self._parse_head(bytes(memoryview(data)[position : end + 2]), 0, end + 2 - position)
        return self._parse_head(data, position, end + 2)

    @abstractmethod
    def _parse_head(self, data: bytes, start: int, end: int) -> Event:
        """Make an event of the head ``data[start:end]``, and set the state in which its content is read."""

    @abstractmethod
    def _check_start_line(self, line: bytes) -> None:
        """Raise for a start line (without CRLF) that is malformed."""

    def _look_at_start_line(self, data: bytes | bytearray, position: int) -> None:
        """Refuse what can be refused of a start line before its head is whole."""
        if self._line_end >= 0:
            return
        limit = self._limits.start_line
        end = data.find(b"\r\n", position + max(0, self._seen - 1))
        # The CR may be here while its LF is not.
        if (len(data) - 1 if end < 0 else end) - position > limit:
            raise too_much_start_line(self._limits)
        if end >= 0:
            self._check_start_line(bytes(data[position:end]))
            self._line_end = end - position
        elif BARE_LINE_BREAK.search(data, position + max(0, self._seen - 1)):
            raise bare_line_break()

    def _look_at_fields(
        self, data: bytes | bytearray, position: int, start: int, size_limit: int, other_lines: int
    ) -> None:
        """Refuse what can be refused of a field section, which begins at ``start``, before it is whole."""
        if len(data) - start > size_limit + 1:  # a CR of the empty line may be here already
            raise too_much_field_section(size_limit)
        if BARE_LINE_BREAK.search(data, max(start, position + self._seen - 1)):
            raise bare_line_break()
        self._lines += data.count(b"\n", position + self._seen)
        if self._lines - other_lines > self._limits.fields:
            raise too_many_fields(self._limits.fields)

    # Content (RFC 9112 sections 6 and 7)

    def _begin_content(self, length: int | None, chunked: bool) -> None:
        if chunked:
            self._extension = 0
            self._state = _CHUNK_SIZE
        elif length is None:
            self._state = _UNTIL_CLOSE
        elif length:
            self._remaining = length
            self._state = _CONTENT
        else:
            self._state = _END

    def _read_content(self) -> Event | None:
        if self._position == len(self._data):
            return None
        piece = self._take(self._remaining)
        self._remaining -= len(piece)
        if not self._remaining:
            self._state = _END
        return piece

    def _read_until_close(self) -> Event | None:
        available = len(self._data) - self._position
        return self._take(available) if available else None

    def _read_end(self) -> Event:
        self._state = _START
        return NO_TRAILERS

    def _read_chunk_size(self) -> Event | None:
        data, position = self._data, self._position
        room = self._limits.chunk_extension - self._extension
        look_from = position + max(0, self._seen - 1)
        end = data.find(b"\r\n", look_from)
        # The CR may be here while its LF is not.
        if (len(data) - 1 if end < 0 else end) - position > _CHUNK_SIZE_DIGITS + room:
            raise self._too_much_extension()
        if end < 0:
            if BARE_LINE_BREAK.search(data, look_from):
                raise ProtocolError("A chunk's line ends with CRLF; a CR or LF by itself has no place in it.")
            self._seen = len(data) - position
            return None
        line = CHUNK_LINE.fullmatch(data, position, end)
        if line is None:
            raise ProtocolError("A chunk begins with its size in plain hexadecimal digits, at most 16, then CRLF.")
        self._extension += end - line.end(1)
        if self._extension > self._limits.chunk_extension:
            raise self._too_much_extension()
        self._consume_to(end + 2)
        self._remaining = int(line.group(1), 16)
        if self._remaining:
            self._state = _CHUNK_CONTENT
            return self._read_chunk_content()
        self._state = _TRAILERS
        return self._read_trailers()

    def _too_much_extension(self) -> ProtocolError:
        detail = f"The chunk extensions of one message are longer than {self._limits.chunk_extension} bytes; send none."
        return ProtocolError(detail, status=413, title="Content too large")

    def _read_chunk_content(self) -> Event | None:
        if self._position == len(self._data):
            return None
        piece = self._take(self._remaining)
        self._remaining -= len(piece)
        if not self._remaining:
            self._state = _CHUNK_END
        return piece

    def _read_chunk_end(self) -> Event | None:
        position = self._position
        found = self._data[position : position + 2]
        if found != b"\r\n":
            if not b"\r\n".startswith(found):
                raise ProtocolError("A chunk is longer than its size says: CRLF must follow its last byte.")
            return None
        self._position = position + 2
        self._state = _CHUNK_SIZE
        return self._read_chunk_size()

    def _read_trailers(self) -> Event | None:
        data, position = self._data, self._position
        if data.startswith(b"\r\n", position):
            self._consume_to(position + 2)
            self._state = _START
            return NO_TRAILERS
        end = data.find(b"\r\n\r\n", position + max(0, self._seen - 3))
        if end < 0:
            self._look_at_fields(data, position, position, self._limits.trailer_section, 0)
            self._seen = len(data) - position
            return None
        section = bytes(data[position : end + 2])
        trailers = parse_trailers(section, 0, len(section), self._limits)
        self._consume_to(end + 4)
        self._state = _START
        return End(trailers)

    def _raise_again(self) -> Event:
        assert self._fault is not None
        raise ProtocolError(self._fault.detail, status=self._fault.status, title=self._fault.title)


_STEPS: tuple[Callable[[_Reader], Event | None], ...] = (
    lambda reader: reader._read_head(),
    _Reader._read_content,
    _Reader._read_chunk_size,
    _Reader._read_chunk_content,
    _Reader._read_chunk_end,
    _Reader._read_trailers,
    _Reader._read_until_close,
    _Reader._read_end,
    _Reader._raise_again,
)
"""The method of each State, by its number."""


class RequestReader(_Reader):
    """A server's reader: requests out of one connection's bytes (RFC 9112).

    Gives for each message a :class:`Request`, its content as ``bytes`` (never empty), and an :class:`End`. It reads
    on after a request that is not persistent; who drives it stops there.
    """

    __slots__ = ("_line_skipped",)

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self._line_skipped = False

    def _read_head(self) -> Event | None:
        # One empty line before a request may be left over from an old client's content (RFC 9112 section 2.2).
        data, position = self._data, self._position
        if not self._line_skipped and data.startswith(b"\r\n", position):
            self._line_skipped = True
            self._consume_to(position + 2)
        return super()._read_head()

    def _parse_head(self, data: bytes, start: int, end: int) -> Event:
        request = parse_request(data, start, end, self._limits)
        self._line_skipped = False
        self._begin_content(request.content_length, request.chunked)
        return request

    def _check_start_line(self, line: bytes) -> None:
        check_request_line(line)


class ResponseReader(_Reader):
    """A client's reader: responses out of one connection's bytes (RFC 9112).

    :meth:`expect` is called once for each request sent, in order. Gives for each message a :class:`Response`, its
    content as ``bytes`` (never empty), and an :class:`End`; for an interim one the Response alone.

    A 2xx response to CONNECT has no content. Elsewhere the connection becomes a tunnel after it; SDP's CONNECT is
    its handshake, so that here the connection goes on speaking HTTP. 101 is refused: SDP never asks for an Upgrade
    (RFC 9110 section 7.8).
    """

    __slots__ = ("_expected",)

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self._expected: deque[bytes] = deque()

    def expect(self, method: bytes) -> None:
        """A request with this method was sent: its response will be read as RFC 9112 section 6.3 wants."""
        self._expected.append(method)

    def _parse_head(self, data: bytes, start: int, end: int) -> Event:
        if not self._expected:
            raise ProtocolError("A response came that no request asked for; close the connection (RFC 9112, 9.2).")
        response = parse_response(data, start, end, self._limits, self._expected[0])
        if response.interim:
            if response.status == 101:
                raise ProtocolError("The peer switches protocols unasked (101); it is no server for this client.")
            return response
        self._expected.popleft()
        self._begin_content(response.content_length, response.chunked)
        return response

    def _check_start_line(self, line: bytes) -> None:
        check_status_line(line)
