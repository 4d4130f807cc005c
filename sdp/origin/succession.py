"""Which life of an Origin the Distributor is being given, and from where on: agreed at the start of each connection.

Lives follow on each other: those that ended before this one began, oldest first, and then the capture that goes on. One
ends at the Distributor before the next one begins there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sdp.errors import Refusal, SDPError
from sdp.net.attempts import Tell
from sdp.net.client import ClientProtocol
from sdp.origin.backfill import Backfill
from sdp.origin.capture import Capture
from sdp.origin.counterpart import Counterpart, Standing
from sdp.origin.lives import Former, Life

__all__ = ["Succession"]


class Succession:
    """Where one Origin stands with one Distributor.

    ``former`` are the lives before this one, oldest first. ``anew``: they are delivered, too, where the Distributor
    knows nothing of them. ``now`` gives the time in microseconds.
    """

    def __init__(
        self,
        capture: Capture,
        counterpart: Counterpart,
        backfill: Backfill,
        tell: Tell,
        *,
        now: Callable[[], int],
        former: Sequence[Former],
        anew: bool,
    ) -> None:
        self.capture = capture
        self.counterpart = counterpart
        self.backfill = backfill
        self.epoch: bytes | None = None
        """The epoch's entity tag, as the Distributor names it."""
        self.position = 0
        """What is posted next at the live edge."""
        self.reached = 0
        """The end of all that was posted of this epoch: who finds more there is not alone."""
        self.acknowledged = 0
        """What the Distributor has said that its log reaches to."""
        self.kept = False
        """Whether the Distributor keeps on a disk what is posted."""
        self.ended_elsewhere = False
        """Somebody else ended the epoch."""
        self._former = list(former)
        self._anew = anew
        self._tell = tell
        self._now = now

    @property
    def life(self) -> Life:
        """What is being delivered."""
        return self._former[0] if self._former else self.capture

    @property
    def is_former(self) -> bool:
        return bool(self._former)

    async def agree(self, client: ClientProtocol) -> None:
        """Learn where the Distributor's log ends, and set the position to go on from (the wire contract's HEAD)."""
        standing = await self.counterpart.ask(client)
        self.kept = standing.kept
        if standing.epoch is None:
            if self.epoch is not None:
                self._tell.warn("The Distributor has lost the stream; it gets what is held, as a new epoch.")
            if not self._anew:
                self._leave_all_former()
            self._begin_at_zero()
        elif standing.epoch == self.epoch and self.ended_elsewhere:
            self._tell.warn("The epoch was ended by somebody else; a new one begins.")
            self.begin_anew()
        elif standing.epoch == self.epoch:
            if standing.end > self.reached:
                raise self._fenced_off(standing)
            await self._go_on(client, standing)
        elif not await self._recognized(client, standing):
            await self._displace(client, standing)

    async def conclude(self, client: ClientProtocol) -> bool:
        """The Distributor has all of this life that it gets: its epoch ends. Returns whether that was the last one."""
        life, end, epoch = self.life, self.acknowledged, _text(self.epoch)
        await self.end_epoch(client, end)
        if life is self.capture:
            self._tell.info("Delivered: {end} bytes, epoch {epoch}.", end=end, epoch=epoch)
            life.complete()
            return True
        self._tell.info("A former life is delivered: {end} bytes, epoch {epoch}.", end=end, epoch=epoch)
        self._leave_former()
        self._begin_at_zero()
        return False

    async def _recognized(self, client: ClientProtocol, standing: Standing) -> bool:
        """Whether the Distributor's epoch is of a former life, or of this one, which lost the answer that named it. If
        so, that life goes on; those before it are over."""
        if self.epoch is not None:
            return False
        lives: list[Life] = [*self._former]
        if not lives and standing.end <= self.reached:
            lives.append(self.capture)
        for life in reversed(lives):
            known = await self.counterpart.knows(client, life, standing)
            if known is not None:
                while self._former and self._former[0] is not life:
                    self._leave_former()
                self.epoch, self.reached = known.epoch, max(self.reached, known.end)
                await self._go_on_or_end(client, known)
                return True
        return False

    async def _go_on_or_end(self, client: ClientProtocol, standing: Standing) -> None:
        """In an epoch that was known again: it may have ended, and have holes all the same."""
        ended = standing.ended
        missing = 0 if ended is None else self.life.end - ended
        if ended is None or (missing <= 0 and standing.missing):
            await self._go_on(client, standing)
            return
        if missing > 0:
            self._tell.warn(
                "The epoch was ended at {ended} by somebody else; {missing} bytes more of it stay in the store.",
                ended=ended,
                missing=missing,
            )
        self.begin_anew()

    async def _displace(self, client: ClientProtocol, standing: Standing) -> None:
        """End an epoch that is another's, where nobody posts to it, and begin one's own."""
        if self.epoch is not None:
            self._tell.warn("The stream has another epoch now, {epoch}.", epoch=_text(standing.epoch))
        # Without If-Match: an Origin that is alive keeps its epoch, and this one is told (409).
        answer = await self.counterpart.end_epoch(client, standing.end, None)
        if answer.status == 409 and self.epoch is not None:
            raise self._fenced_off(standing)
        if answer.status >= 300:
            raise self.counterpart.refused(answer)
        self._leave_all_former()
        self._begin_at_zero()

    async def _go_on(self, client: ClientProtocol, standing: Standing) -> None:
        """In the epoch that this Origin began: from the Distributor's end, if that is still held here."""
        life, end = self.life, standing.end
        if life.held_from <= end:
            behind = max(0, life.end - end)
            self._tell.info("Going on at offset {offset}, {behind} bytes behind.", offset=end, behind=behind)
            self.position = self.acknowledged = end
            self.backfill.restart(standing.missing)
            return
        self._tell.warn(
            "The Distributor's log ends at {end}, but only {start} to {stop} is held here:"
            " this epoch ends, a new one begins.",
            end=end,
            start=life.held_from,
            stop=life.end,
        )
        await self.end_epoch(client, end)
        self.begin_anew()

    def _begin_at_zero(self) -> None:
        """Begin an epoch with all that is held; where its beginning is not, from the newest random access point."""
        while self._former and (self._former[0].over or self._former[0].held_from > 0):
            self._leave_former()
        if not self._former and self.capture.held_from > 0:
            self.capture.begin_anew(self._now())
        self.epoch = None
        self.ended_elsewhere = False
        self.position = self.reached = self.acknowledged = 0
        self.backfill.forget()

    def begin_anew(self) -> None:
        """This epoch is over, whatever is left of it: another one begins where the next life does, or at the newest
        random access point."""
        if self._former:
            self._leave_former()
        else:
            self.capture.begin_anew(self._now())
        self._begin_at_zero()

    def _leave_former(self) -> None:
        """The oldest life is over: the Distributor has what it gets of it."""
        self._former.pop(0).complete()

    def _leave_all_former(self) -> None:
        """The Distributor's epochs are others': there is nothing that it could lack of those lives."""
        for life in self._former:
            if not life.over:
                self._tell.warn(
                    "What was captured before this start ({size} bytes) is no epoch that the Distributor goes on with:"
                    " it stays in the store.",
                    size=life.end - life.held_from,
                )
        while self._former:
            self._leave_former()

    async def end_epoch(self, client: ClientProtocol, end: int) -> None:
        """Say that this Origin's epoch is complete at ``end``."""
        answer = await self.counterpart.end_epoch(client, end, self.epoch)
        if answer.status >= 300:
            raise self.counterpart.refused(answer)

    def _fenced_off(self, standing: Standing) -> SDPError:
        """Another Origin has the stream: to go on against it would tear it to and fro."""
        return Refusal(
            412,
            "Fenced off",
            f"Another Origin has taken this stream over (epoch {_text(standing.epoch)}, at offset {standing.end}): this"
            " one leaves. Started again, it waits until the other one is gone.",
        )


def _text(epoch: bytes | None) -> str:
    return "?" if epoch is None else epoch.decode("ascii", "replace")
