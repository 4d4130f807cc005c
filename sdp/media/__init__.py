"""Where an Origin's bytes come from: test pattern, files, URLs, devices; captured, encoded, packaged into records.

Nothing outside this package imports av, and this package imports it only when a source is opened.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sdp.media.clock import Clock, WallClock
from sdp.media.spec import SourceSpec
from sdp.observe import Trace

if TYPE_CHECKING:
    from sdp.media.running import RunningSource

__all__ = ["Clock", "SourceSpec", "WallClock", "open_source"]


def open_source(spec: SourceSpec, clock: Clock | None = None, trace: Trace | None = None) -> RunningSource:
    """Return the ISource that ``spec`` describes; ``clock`` paces it (the machine's own by default), and
    ``trace`` is told when a picture is encoded and written.

    What can fail is acquired by its ``start``, which raises MediaError.
    """
    if spec.source == "test":
        from sdp.media.synthetic import PatternSource

        return PatternSource(spec, clock, trace)
    from sdp.media.files import MediaSource

    return MediaSource(spec, clock, trace)
