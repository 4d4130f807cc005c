"""Field lines as a message brought them, or as one is about to carry them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

__all__ = ["NO_HEADERS", "Headers"]

_SECRET = frozenset({b"authorization", b"proxy-authorization", b"cookie", b"set-cookie"})


class Headers:
    """The field lines of one section, in order, with names as received (RFC 9110 section 5).

    Immutable. Names to look up are given in lower case. Values come without surrounding white space where a
    reader made them.
    """

    __slots__ = ("_index", "_lines")

    _lines: list[tuple[bytes, bytes]]
    _index: dict[bytes, bytes] | None

    def __init__(self, lines: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self._lines = list(lines)
        self._index = None

    @classmethod
    def adopt(cls, lines: list[tuple[bytes, bytes]]) -> Headers:
        """Headers around a list that nobody else will change: not copied."""
        headers = cls.__new__(cls)
        headers._lines = lines
        headers._index = None
        return headers

    def by_name(self) -> dict[bytes, bytes]:
        """The first value of each name (in lower case). It is the headers' own: not to be changed.

        Built on the first look-up: who only passes lines on does without.
        """
        index = self._index
        if index is None:
            index = {name.lower(): value for name, value in self._lines}
            if len(index) != len(self._lines):
                index = {name.lower(): value for name, value in reversed(self._lines)}
            self._index = index
        return index

    def get(self, name: bytes) -> bytes | None:
        """The value of the first line with this name (in lower case), or None."""
        return self.by_name().get(name)

    def get_all(self, name: bytes) -> list[bytes]:
        """The values of all lines with this name (in lower case), in order; never joined."""
        index = self.by_name()
        if name not in index:
            return []
        if len(index) == len(self._lines):
            return [index[name]]
        return [value for line_name, value in self._lines if line_name.lower() == name]

    def combined(self, name: bytes) -> bytes | None:
        """The values of all lines with this name, joined by a comma (RFC 9110 section 5.3), or None."""
        values = self.get_all(name)
        return b", ".join(values) if values else None

    def has_repeats(self) -> bool:
        """Whether any name occurs on more than one line."""
        return len(self.by_name()) != len(self._lines)

    def __contains__(self, name: object) -> bool:
        return name in self.by_name()

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        return iter(self._lines)

    def __len__(self) -> int:
        return len(self._lines)

    def __eq__(self, other: object) -> bool:
        """The same lines in the same order; case of names apart."""
        if not isinstance(other, Headers):
            return NotImplemented
        return self._comparable() == other._comparable()

    def __hash__(self) -> int:
        return hash(tuple(self._comparable()))

    def _comparable(self) -> list[tuple[bytes, bytes]]:
        return [(name.lower(), value) for name, value in self._lines]

    def __repr__(self) -> str:
        """The lines, with secrets left out: a representation ends up in logs."""
        shown = [(name, b"***" if name.lower() in _SECRET else value) for name, value in self._lines]
        return f"Headers({shown!r})"


NO_HEADERS = Headers()
