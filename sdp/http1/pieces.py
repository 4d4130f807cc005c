"""Bytes on their way through a reader: the pieces that were fed, and the place up to which they are read."""

from __future__ import annotations

from collections import deque

__all__ = ["Pieces"]


class Pieces:
    """What a reader holds of its input.

    A piece is read as it was fed. Only where a head or a line is cut over pieces do they become one bytearray, which
    grows in place; so nothing is copied again and again however small the pieces are. Pieces that come while
    something is left to read wait whole.
    """

    __slots__ = ("_data", "_position", "_waiting", "_waiting_bytes")

    def __init__(self) -> None:
        self._data: bytes | bytearray = b""
        self._position = 0
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0

    @property
    def buffered(self) -> int:
        """Bytes that were fed and not yet given out or dropped."""
        return len(self._data) - self._position + self._waiting_bytes

    def _add(self, data: bytes) -> None:
        if self._position == len(self._data) and not self._waiting:
            self._data = data
            self._position = 0
        else:
            self._waiting.append(data)
            self._waiting_bytes += len(data)

    def _drop(self) -> None:
        """Forget all that is held."""
        self._data = b""
        self._position = self._waiting_bytes = 0
        self._waiting.clear()

    def take_rest(self) -> bytes:
        """Give out, as it is, all that was fed and not yet read: somebody else reads on."""
        rest = bytes(memoryview(self._data)[self._position :]) + b"".join(self._waiting)
        self._drop()
        return rest

    def _next_piece(self) -> bool:
        """Make the oldest waiting piece readable; False where none waits."""
        if not self._waiting:
            return False
        piece = self._waiting.popleft()
        self._waiting_bytes -= len(piece)
        data = self._data
        if self._position == len(data):
            self._data = piece
        elif isinstance(data, bytearray):
            del data[: self._position]
            data += piece
        else:
            self._data = bytearray(data[self._position :])
            self._data += piece
        self._position = 0
        return True

    def _take(self, most: int) -> bytes:
        """Give out up to ``most`` bytes, at least one, as one object; the piece itself where it is all wanted."""
        data, position = self._data, self._position
        end = position + most
        if end >= len(data):
            end = len(data)
            self._data = b""
            self._position = 0
        else:
            self._position = end
        if isinstance(data, bytearray):
            return bytes(memoryview(data)[position:end])
        return data[position:end]
