"""What all framers share: where the fed bytes stand, when they came, and what their sender said of them.

A framer stands between a POST's body and the log: it sees each byte once, and tells where records begin.
Its subclasses know one container each; this module keeps the account that the contract
(:class:`sdp.interfaces.IFramer`) asks of every one of them.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from zope.interface import implementer

from sdp.interfaces import IFramer
from sdp.stream.record import Flag, Record

__all__ = ["Framing"]

ARRIVALS_LIMIT: Final = 256
"""Feeds whose times are remembered while a header is not yet whole; later bytes count as come with the last of them.
Only a sender of single bytes meets it, and loses nothing but the exactness of ``received_time``."""

SAYS_LIMIT: Final = 256
"""POST bodies whose fields are remembered while a header is not yet whole; beyond it the oldest are forgotten."""

_INITIALIZATION: Final = int(Flag.INITIALIZATION)
"""As a plain number: arithmetic with the enumeration's members takes longer than all else that a record costs here."""


class _Say(NamedTuple):
    """What a POST's fields say of the record that begins at ``offset``."""

    offset: int
    capture_time: int | None
    random_access: bool | None


@implementer(IFramer)
class Framing:
    """Finds no records yet: the account of offsets and times that every framer keeps.

    ``known`` and ``end`` are absolute offsets in bytes. ``content_type`` is the media type that the bytes
    turned out to have (None where they have none that is known); ``explicit`` is whether any body said
    ``Random-Access``, which makes :attr:`Flag.IMPLIED` void for the whole epoch.
    """

    content_type: str | None = None

    def __init__(self, start: int = 0) -> None:
        self.known: int = start
        self.end: int = start
        self.explicit: bool = False
        self._begun: bool = start > 0
        self._says: deque[_Say] = deque(maxlen=SAYS_LIMIT)
        self._carried: _Say | None = None
        self._arrivals: deque[tuple[int, int | None]] = deque()

    def boundary(self, offset: int, capture_time: int | None = None, random_access: bool | None = None) -> None:
        """A POST's body begins at ``offset``, the end of all that was fed; its fields win over what the bytes say.

        ``capture_time`` is in microseconds since the Unix epoch. They hold for the record that begins exactly
        there; where that is an initialization segment, which has no frame, for the record right after it too.
        Raises ValueError where ``offset`` is not the end.
        """
        if offset != self.end:
            raise ValueError(f"a body begins at {offset}, but the fed bytes end at {self.end}")
        if random_access is not None:
            self.explicit = True
        says = self._says
        if says and says[-1].offset == offset:
            says.pop()  # an empty body
        says.append(_Say(offset, capture_time, random_access))
        self._forget(self.known)

    def feed(self, data: bytes, received_time: int | None = None) -> list[Record]:
        """Take the next bytes, and return the records that are now known to begin.

        ``received_time`` is in microseconds since the Unix epoch, by this node's clock. Never raises for
        what the bytes are.
        """
        if not data:
            return []
        arrivals = self._arrivals
        if self.known == self.end:
            arrivals.clear()
        else:
            while len(arrivals) > 1 and arrivals[1][0] <= self.known:
                arrivals.popleft()
        if len(arrivals) < ARRIVALS_LIMIT:
            arrivals.append((self.end, received_time))
        self.end += len(data)
        return self._take(data)

    def flush(self) -> list[Record]:
        """No more bytes follow: return what is still held back; ``known`` is then ``end``."""
        records = self._settle()
        if not self._begun and self.end > self.known:
            records.append(self._record(self.known, Flag.NONE))
        self.known = self.end
        return records

    def _take(self, data: bytes) -> list[Record]:
        """Take bytes that end at ``self.end``; set ``known``."""
        raise NotImplementedError

    def _settle(self) -> list[Record]:
        """Return the records that were held back for bytes which now never come."""
        return []

    def _record(self, offset: int, flags: Flag, capture_time: int | None = None) -> Record:
        """Make the record that begins at ``offset``, with what was said of it, and when its first byte came."""
        self._begun = True
        say = self._said(offset)
        if say is not None:
            if say.capture_time is not None:
                capture_time = say.capture_time
            if int(flags) & _INITIALIZATION:
                self._carried = say
            else:
                self._carried = None
                if say.random_access is not None:
                    flags &= ~(Flag.RANDOM_ACCESS | Flag.IMPLIED)
                    if say.random_access:
                        flags |= Flag.RANDOM_ACCESS
        received_time = None
        for begin, time in self._arrivals:
            if begin > offset:
                break
            received_time = time
        return Record(offset, flags, capture_time, received_time)

    def _said(self, offset: int) -> _Say | None:
        """Return what holds for the record that begins at ``offset``: its own body's fields, or what is carried."""
        self._forget(offset)
        if self._says and self._says[0].offset == offset:
            return self._says.popleft()
        return self._carried

    def _forget(self, offset: int) -> None:
        """No record begins before ``offset`` any more: bodies that began there ended what was carried over."""
        says = self._says
        while says and says[0].offset < offset:
            says.popleft()
            self._carried = None

    def _says_something(self, offset: int) -> bool:
        """Whether a body begins at ``offset``, and its fields say something of the record there."""
        for say in self._says:
            if say.offset == offset:
                return say.capture_time is not None or say.random_access is not None
        return False
