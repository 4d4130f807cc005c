"""The seams: where one part may be swapped for another.

Each contract is small, and is verified in tests with ``zope.interface.verify``. Offsets are absolute within
an epoch, in bytes, and half-open: ``start`` is the first byte, ``end`` the one after the last.
Times are integer microseconds since the Unix epoch.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface

__all__ = ["IFramer", "IRecordSink", "IRecording", "ISource", "IStore"]


class IFramer(Interface):
    """Finds where records begin in the bytes of one epoch, incrementally, over arbitrary cuts.

    A framer never refuses bytes: what it does not understand becomes a plain continuation of the record
    before it. It keeps no copy of content: at most the few bytes of a header that is not yet whole.
    """

    known = Attribute(
        """The offset up to which the structure is known: each byte before it belongs to a record that was
        returned already. It trails the end of the fed bytes only by a header that is not yet whole."""
    )

    def boundary(offset, capture_time, random_access):
        """A POST's body begins at ``offset`` (the end of all that was fed).

        ``capture_time`` (microseconds or None) and ``random_access`` (True, False, or None for unsaid) are
        what the sender says of the record that begins there; they win over what the bytes say.
        """

    def feed(data, received_time):
        """Take the next bytes, and return the list of Records that are now known to begin, in order.

        A record may begin before ``data`` does (in the bytes that ``known`` trailed by).
        """

    def flush():
        """No more bytes follow (the epoch ended): return what is still held back as Records; ``known`` is the end."""


class IStore(Interface):
    """Where streams are kept: all epochs of all names, under one directory.

    Its methods return at once; what blocks runs in the store's own threads.
    """

    def recover():
        """Read what is stored. Return a Deferred of a list of IRecording, oldest epoch first for each name."""

    def create(name, epoch, content_type):
        """Begin an epoch (no bytes yet) and return its IRecording. ``name`` is the stream's decoded name (str)."""

    def remove(name):
        """Delete every epoch of ``name``. Return a Deferred that fires (None) when nothing is left."""

    def close():
        """Write and sync what was accepted, end the threads. Return a Deferred that fires (None) when it is so."""


class IRecording(Interface):
    """One epoch on disk: appended to by a writer thread, read by offsets."""

    name = Attribute("the stream's name (str)")
    epoch = Attribute("the epoch's identifier (str): the ETag without its quotes")
    content_type = Attribute("the stream's Content-Type (str)")
    start = Attribute("the first offset that is held; it grows where the oldest bytes are given up")
    end = Attribute("the end of what was accepted by append(): what is written and what is queued")
    written = Attribute("the offset up to which bytes can be read back: all that is below it may leave the memory")
    durable = Attribute("the offset up to which a power loss would keep the bytes; never greater than ``written``")
    ended = Attribute("whether the epoch is complete: finish() was called, in this life or an earlier one")
    failure = Attribute(
        "None, or the StorageError that stopped the recording; of status 410 where all of it was given up"
    )
    holes = Attribute(
        "what cannot be read between ``start`` and ``end``: (first offset, offset after the last) of each, ascending"
    )
    missing = Attribute("the same without what fill() has been given: it can be read once it is written")
    unsettled = Attribute(
        "the first offset of what fill() has been given that a power loss would not keep yet; None: there is none."
        " ``durable`` does not speak of it"
    )
    on_change = Attribute(
        "callable without arguments or None; called in the reactor's thread after written, durable, start or failure"
        " changed"
    )

    explicit = Attribute("whether forget_implied() was called, in this life or an earlier one")

    def append(data, records):
        """Queue bytes that follow on ``end``, and Records newly known (in order; they may begin in bytes
        queued before). Never raises for the disk's sake: see ``failure``."""

    def skip_to(offset):
        """Go on at ``offset``, past ``end``: what lies between is a hole. An append() has to follow."""

    def fill(offset, data, records, taken=b""):
        """Queue bytes for the front of a hole, which begins at ``offset`` and does not end before they do, and Records
        newly known. ``taken`` are the held bytes just before the hole that belong to the first of these.

        Also where finish() was called. Never raises for the disk's sake: see ``failure``."""

    def settled():
        """Return a Deferred that fires (None) once all that was queued by now is written, or never will be."""

    def look():
        """Return a Deferred that fires (None) once ``holes`` says what is so now. Fails with StorageError where that
        has to be asked of another node, and cannot."""

    def resume(offset):
        """After a failure: return a Deferred of whether the recording can go on, with ``failure`` None: at
        ``offset``, which is ``end`` or lies past it, and which is ``end`` from then on."""

    def forget_implied():
        """A sender has said which records are random access points: those that are so by implication
        (``Flag.IMPLIED``) are none, of those that are there and of those to come. Kept as the records are."""

    def finish():
        """The epoch is complete at ``end``. Return a Deferred that fires (None) once that is durable."""

    def read(offset, length):
        """Return a Deferred of the bytes of [offset, offset + length) that are held: at most ``length``,
        fewer before a hole and at the end of what is written, b"" beyond. Fails with StorageError, of status 410 where
        the bytes were given up, and of 416 in a hole."""

    def records(start, end, limit=4096):
        """Return a Deferred of the Records that cover [start, end): the one that ``start`` lies in, and all
        that begin before ``end``, at most ``limit``."""

    def last_record(before, flag):
        """Return a Deferred of the last Record with ``flag`` set that begins at or before ``before``, or None.

        The initialization segment that what is held is decoded with may lie below ``start``: it can be read, too.
        """

    def random_access_at(time, before):
        """Return a Deferred of the last Record that is a random access point and whose time is not after ``time``;
        where all are later, of the first one that is held; None where none begins at or before the offset ``before``.

        A record's time is its capture time, or where that is unknown its received time. Within an epoch they ascend
        but for clocks that are set back: then it is one of the points after which a later one follows."""


class ISource(Interface):
    """Where an Origin's bytes come from: captures and encodes in a thread of its own."""

    content_type = Attribute("the Content-Type of what it will give (str), known before it starts")

    def start(sink):
        """Begin, in a new thread, to call ``sink`` (an IRecordSink). Raises MediaError at once where the source
        cannot be opened."""

    def stop():
        """Ask the source to end soon; it still calls ``sink.ended``. Safe to call twice, from any thread."""


class IRecordSink(Interface):
    """What a source gives its records to. Called in the source's thread."""

    def record(data, flags, capture_time):
        """One record: whole bytes, Flag, and the capture time of its first frame (microseconds, or None).

        May block, to hold back a source that can wait; returns whether more is wanted."""

    def ended(error):
        """Nothing follows. ``error`` is None at a regular end, else an SDPError."""
