"""The framer for a body of which nobody can be sure yet: decides by the first bytes which framer takes over.

It holds the first bytes back until they settle one format or exclude all, and then gives them, with their
boundaries and times, to the framer of that format, or to the opaque one: nothing is lost, whatever they are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from zope.interface import implementer

from sdp.container.framing import Framing
from sdp.container.opaque import OpaqueFramer
from sdp.interfaces import IFramer
from sdp.stream.record import Record

__all__ = ["Format", "SniffingFramer"]


class Format(NamedTuple):
    """A container: its media type, the test for it, and its framer.

    ``fits(head, final)`` says whether a stream that begins with ``head`` has this format, or None where more
    bytes are needed; never None where ``final``. Each test says so within a bounded number of bytes.
    """

    content_type: str
    fits: Callable[[bytes, bool], bool | None]
    framer: Callable[[int], Framing]


class _Boundary(NamedTuple):
    capture_time: int | None
    random_access: bool | None


class _Piece(NamedTuple):
    data: bytes
    received_time: int | None


@implementer(IFramer)
class SniffingFramer:
    """Decides between ``formats`` and opaque by the first bytes.

    Where the format was declared, a body shorter than its test needs does not settle it (``patient``); where it
    was not, the second body's boundary settles by what there is. ``content_type`` is None until a format is found.
    """

    def __init__(self, formats: Sequence[Format], start: int = 0, patient: bool = False) -> None:
        self.content_type: str | None = None
        self._formats = formats
        self._patient = patient
        self._start = start
        self._head = bytearray()
        self._waiting: list[_Boundary | _Piece] = []
        self._framer: Framing | None = None
        self._explicit = False

    @property
    def known(self) -> int:
        """The offset up to which the structure is known: the start, until the format is."""
        return self._start if self._framer is None else self._framer.known

    @property
    def end(self) -> int:
        """The end of what was fed."""
        return self._start + len(self._head) if self._framer is None else self._framer.end

    @property
    def explicit(self) -> bool:
        """Whether any body of the epoch said ``Random-Access``."""
        return self._explicit if self._framer is None else self._framer.explicit

    def boundary(self, offset: int, capture_time: int | None = None, random_access: bool | None = None) -> None:
        """See :meth:`sdp.interfaces.IFramer.boundary`."""
        if self._framer is not None:
            self._framer.boundary(offset, capture_time, random_access)
            return
        if offset != self.end:
            raise ValueError(f"a body begins at {offset}, but the fed bytes end at {self.end}")
        if random_access is not None:
            self._explicit = True
        if self._waiting and isinstance(self._waiting[-1], _Boundary):
            self._waiting.pop()
        self._waiting.append(_Boundary(capture_time, random_access))

    def feed(self, data: bytes, received_time: int | None = None) -> list[Record]:
        """See :meth:`sdp.interfaces.IFramer.feed`."""
        framer = self._framer
        if framer is not None:
            return framer.feed(data, received_time)
        if not data:
            return []
        if self._head and not self._patient and isinstance(self._waiting[-1], _Boundary):
            said = self._waiting.pop()
            assert isinstance(said, _Boundary)
            framer, records = self._become(self._choose(final=True))
            framer.boundary(framer.end, said.capture_time, said.random_access)
            return records + framer.feed(data, received_time)
        self._head += data
        self._waiting.append(_Piece(data, received_time))
        chosen = self._choose(final=False)
        return [] if chosen is None else self._become(chosen)[1]

    def flush(self) -> list[Record]:
        """See :meth:`sdp.interfaces.IFramer.flush`."""
        if self._framer is not None:
            return self._framer.flush()
        framer, records = self._become(self._choose(final=True))
        return records + framer.flush()

    def _choose(self, final: bool) -> Format | None:
        """Return the format that fits, opaque where none can, None where more bytes are needed."""
        head = bytes(self._head)
        undecided = False
        for candidate in self._formats:
            fits = candidate.fits(head, final) if head else False
            if fits:
                return candidate
            undecided = undecided or fits is None
        return None if undecided else _OPAQUE

    def _become(self, chosen: Format | None) -> tuple[Framing, list[Record]]:
        """Hand over to the chosen framer all that has waited."""
        assert chosen is not None
        framer = self._framer = chosen.framer(self._start)
        framer.explicit = self._explicit
        if chosen is not _OPAQUE:
            self.content_type = chosen.content_type
        records: list[Record] = []
        for event in self._waiting:
            if isinstance(event, _Boundary):
                framer.boundary(framer.end, *event)
            else:
                records += framer.feed(*event)
        self._waiting.clear()
        self._head.clear()
        return framer, records


_OPAQUE = Format("application/octet-stream", lambda head, final: True, OpaqueFramer)
