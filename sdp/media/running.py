"""The capture thread that every source runs in, and the way of records out of it into the sink."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from zope.interface import implementer

from sdp.errors import MediaError, SDPError
from sdp.interfaces import ISource
from sdp.media.clock import Clock, WallClock
from sdp.media.coded import Coded, MediaTrack, Packed
from sdp.media.faults import without_secret
from sdp.media.packaging import packaging_for
from sdp.media.spec import SourceSpec
from sdp.observe import Point, Trace

__all__ = ["RunningSource"]


class _Stopped(Exception):
    """stop() was called, or the sink wants no more."""


@implementer(ISource)
class RunningSource:
    """A source's life: opened in the caller's thread, run in its own, ended once. Subclasses open and produce."""

    skipped = 0
    """How many frames were left out because their time had passed."""
    mime_types: ClassVar[dict[str, str]] = {"mp4": "video/mp4", "mpegts": "video/mp2t"}

    def __init__(self, spec: SourceSpec, clock: Clock | None = None, trace: Trace | None = None) -> None:
        self.spec = spec
        self.trace = trace
        self.shown = without_secret(spec.source)
        """The source's name for logs and messages, without a URL's user part."""
        self.clock: Clock = clock or WallClock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._sink: Any = None

    @property
    def content_type(self) -> str:
        """The Content-Type of what will be given. Raises MediaError where that needs a file that cannot be opened."""
        return self.mime_types[self.spec.container]

    def start(self, sink: Any) -> None:
        """Open the source, here and now (raising MediaError), then run it in a daemon thread. Once only."""
        if self._thread is not None:
            raise MediaError("This source has been started already; open another.")
        self._sink = sink
        self.open()
        self._thread = threading.Thread(target=self._run, name=f"capture {self.shown}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask for an end: the thread leaves its waits at once and calls ``sink.ended(None)``. From any thread."""
        self._stop.set()

    def join(self, timeout: float | None = None) -> bool:
        """Wait for the thread's end, at most ``timeout`` seconds; return whether it has ended."""
        if self._thread is None:
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def open(self) -> None:
        """Acquire what can fail: devices, files, encoders. Raises MediaError."""
        raise NotImplementedError

    def produce(self) -> None:
        """Run to the end of the source; call :meth:`give` for each frame. Raises MediaError."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what open() acquired; called in the thread, at its end."""

    def pack_into(self, tracks: list[MediaTrack]) -> None:
        """Choose the packaging for these tracks. Raises MediaError where the container cannot carry them."""
        self._packaging, self._frames = packaging_for(self.spec.container, tracks, self.spec.fragment)

    def begin(self) -> None:
        """Give out what a decoder needs first."""
        self._hand_over(self._packaging.begin())

    def give(self, frame: Coded, capture_time: int | None) -> None:
        """Package one frame and hand it on at once."""
        if self.trace is not None:
            self.trace(Point.ENCODED, self.shown, capture_time=capture_time)
        self._hand_over(self._frames.add(frame, capture_time))

    def wait_until(self, due: int) -> None:
        """Wait for ``due`` (monotonic microseconds) where the source runs in real time; leaves the thread on stop()."""
        if not (self.clock.wait(due, self._stop) if self.spec.realtime else not self._stop.is_set()):
            raise _Stopped

    def check_stop(self) -> None:
        """Leave the thread if stop() was called."""
        if self._stop.is_set():
            raise _Stopped

    def _hand_over(self, packed: Any) -> None:
        record: Packed
        for record in packed:
            if self.trace is not None:
                self.trace(Point.WRITTEN, self.shown, capture_time=record.capture_time)
            if not self._sink.record(record.data, record.flags, record.capture_time):
                raise _Stopped

    def _run(self) -> None:
        failure: SDPError | None = None
        try:
            self.begin()
            self.produce()
            self._hand_over(self._frames.finish())
        except _Stopped:
            pass
        except SDPError as error:
            failure = error
        except Exception as error:  # a bug: the sink must still learn that nothing follows
            failure = MediaError(f"The source {self.shown} failed unexpectedly: {error!r}; please report this.")
            failure.__cause__ = error
        finally:
            self.close()
            self._sink.ended(failure)
