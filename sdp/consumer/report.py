"""What a player's statistics say: gathered as it plays, told as one object. Pure but for the player it looks at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sdp.consumer.playout import State
from sdp.consumer.statistics import Curve, Rate, Sample, rounded

if TYPE_CHECKING:
    from sdp.consumer.player import Player
    from sdp.media.decoding import Picture

__all__ = ["Report"]

LONGEST: Final = 100_000
"""Decoding that takes longer than this (microseconds) cannot be waited for: the machine is too slow, or too busy."""
RECENT: Final = 120
"""Pictures by whose decoding times the next ones' are judged."""


class Report:
    """One player's figures. All times given are microseconds."""

    def __init__(self, player: Player) -> None:
        self._player = player
        self.bytes = Rate()
        self.glass = Sample()
        self.to_decoded = Sample()
        self.decoding = Sample(RECENT)
        self.curve = Curve()
        self.missing = 0
        """Pictures that never came, by the numbers that are burned in."""
        self.stamped = 0
        self.first_picture: int | None = None
        """From the first byte to the first picture, in microseconds."""
        self.last_captured: int | None = None
        """When the picture on the screen was captured, in microseconds since the Unix epoch."""
        self._began: int | None = None
        self._frame: int | None = None
        self._decode_time: int | None = None

    # -- gathering ---------------------------------------------------------------------------------------------

    def received(self, at: int, size: int) -> None:
        """Bytes came."""
        if self._began is None:
            self._began = at
        self.bytes.add(at, size)

    def decoded(self, picture: Picture, took: int) -> None:
        """A picture was decoded, ``took`` after its last byte had come. At the beginning, when many come at once, that
        is no measure of what one takes."""
        if self._player.playout.state is not State.STARTING:
            self.decoding.add(took)
            if self._decode_time is None or len(self.decoding.values) % 8 == 0:
                self._decode_time = min(self.decoding.share(0.95) or 0, LONGEST)
            if picture.captured is not None:
                self.to_decoded.add(picture.decoded_at + self.clock_offset - picture.captured)
        if picture.stamp is not None:
            self.stamped += 1
            frame = picture.stamp.frame
            if self._frame is not None and frame > self._frame:
                self.missing += frame - self._frame - 1
            self._frame = frame

    def presented(self, picture: Picture, at: int, wall: int) -> None:
        """A picture is on the screen."""
        if self.first_picture is None and self._began is not None:
            self.first_picture = at - self._began
        if picture.captured is not None:
            self.last_captured = picture.captured
            late = wall + self.clock_offset - picture.captured
            if self._player.playout.state is not State.STARTING:
                self.glass.add(late)
            self.curve.add(at, late)

    def begin(self) -> None:
        """The curve and the percentiles begin anew: what came before is no measure of what follows."""
        self.glass, self.to_decoded = Sample(), Sample()
        self._frame = self.last_captured = None

    # -- telling -----------------------------------------------------------------------------------------------

    @property
    def decode_time(self) -> int | None:
        """How long decoding takes at the most, but for one picture in twenty."""
        return self._decode_time

    @property
    def clock_offset(self) -> int:
        """What is added to this machine's clock to have the Distributor's: 0 where the two cannot be told apart."""
        estimate = self._player.offset.best
        return 0 if estimate is None or abs(estimate.offset) <= estimate.error else estimate.offset

    def told(self) -> dict[str, Any]:
        """All of it, times in milliseconds, None for what is not known."""
        player = self._player
        decision, account, estimate = player.decision, player.presentation.account, player.offset.best
        at = player.clock.monotonic()
        unseen = 0 if player.screen is None else player.screen.unseen
        playing = decision is not None and decision.position is not None
        return {
            "time": player.clock.wall() // 1000 / 1000,
            "state": player.playout.state.value,
            "glass_to_glass_ms": self.glass.told(),
            "to_decoded_ms": self.to_decoded.told(),
            "decoding_ms": self.decoding.told(),
            "first_picture_ms": rounded(self.first_picture),
            "clock_offset_ms": None if estimate is None else rounded(estimate.offset),
            "clock_error_ms": None if estimate is None else rounded(estimate.error),
            "delay_ms": rounded(decision.delay) if decision is not None and playing else None,
            "target_ms": rounded(player.playout.target),
            "rate": decision.rate if decision is not None else 1.0,
            "buffer_ms": rounded(self.buffered),
            "bit_rate": round(self.bytes.told(at) * 8),
            "shown": account.shown - unseen,
            "late": account.late,
            "dropped": account.dropped + unseen,
            "passed": account.passed,
            "missing": self.missing,
            "stamped": self.stamped,
            "stalls": player.playout.stalls,
            "skips": player.playout.skips,
        }

    @property
    def buffered(self) -> float | None:
        """How much has arrived that is yet to be presented, in microseconds."""
        decision, playout = self._player.decision, self._player.playout
        if decision is None or decision.position is None or not playout.begun:
            return None
        return max(0.0, playout.end - decision.position)
