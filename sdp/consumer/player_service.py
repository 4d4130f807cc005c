"""The player as a service: what is fetched, live or from the past, and what a person at it asks for.

From start to the stream's end, or to a clean stop. Windows and loudspeakers are made by :mod:`sdp.consumer.showing`;
here is what they are connected to.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from random import Random
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from sdp.consumer.keeping import Keeping
from sdp.consumer.player import Player
from sdp.consumer.player_settings import PlayerSettings, rules_of
from sdp.consumer.playout import Playout
from sdp.consumer.showing import Showing, showing_for
from sdp.consumer.timeshift import PastFetch, ShiftedPlayout
from sdp.errors import SDPError
from sdp.net.address import with_authorities, with_token
from sdp.net.attempts import Attempts
from sdp.net.backoff import Backoff
from sdp.net.client import ClientFactory, ClientLimits, ClientProtocol, Role, connecting
from sdp.net.fetch import LiveFetch, Piece
from sdp.observe import Trace

__all__ = ["PlayerService"]

QUICK_QUESTIONS: Final = 8
"""So many questions for the time come one after the other; then one every SLOW seconds."""
QUICK: Final = 0.05
SLOW: Final = 5.0
LOOK: Final = 0.05
"""How often it is looked whether what has arrived has been played, at a stream's end, in seconds."""
LEAST_BEHIND: Final = 1.0
"""Less than so many seconds behind is live."""


class PlayerService(Service):
    """Plays one stream; ``leave`` is called with the process's exit status once it is over.

    ``tell_statistics`` takes a line of JSON a second, where nobody watches.
    """

    def __init__(
        self,
        settings: PlayerSettings,
        reactor: Any,
        leave: Callable[[int], None],
        random: Random,
        trace: Trace | None = None,
        tell_statistics: Callable[[str], None] | None = None,
    ) -> None:
        self.setName("sdp-player")
        self.log = Logger(namespace="sdp.player")
        self.settings = settings
        self.address = with_authorities(with_token(settings.from_, settings.read_token), settings.ca_file)
        self.player: Player | None = None
        self._reactor = reactor
        self._leave = leave
        self._random = random
        self._trace = trace
        self._tell_statistics = tell_statistics
        self.showing: Showing | None = None
        self._keeping: Keeping | None = None
        self._fetch: LiveFetch | PastFetch | None = None
        self._fetching: Deferred[None] | None = None
        self._asking: Deferred[None] | None = None
        self._telling: LoopingCall | None = None
        self._furthest = 0
        """The end of what came live."""
        self._seen_all = False
        self._full = False
        self._over = False

    # -- life --------------------------------------------------------------------------------------------------

    def startService(self) -> None:
        super().startService()
        settings = self.settings
        try:
            showing = self.showing = showing_for(settings, self, self._reactor)
            if settings.record is not None:
                self._keeping = Keeping(settings.record, self._reactor, self.log)
        except SDPError as error:
            self._failed(error)
            return
        kinds = {kind for kind, wanted in (("video", settings.video), ("audio", settings.audio)) if wanted}
        trace = None if self._trace is None else (self._trace, self.address.name)
        self.player = Player(
            Playout(rules_of(settings)),
            self._reactor,
            showing.screen,
            showing.listening,
            self._failed,
            kinds=frozenset(kinds),
            trace=trace,
        )
        self.player.start()
        showing.begin(self.player)
        self._asking = Deferred.fromCoroutine(self._ask_the_time())
        self._begin_fetching(self._first_fetch())
        if self._tell_statistics is not None:
            self._telling = LoopingCall(self._tell)
            self._telling.clock = self._reactor
            self._telling.start(1.0, now=False)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._over = True
        if self._telling is not None and self._telling.running:
            self._tell()
            self._telling.stop()
        for running in (self._fetching, self._asking):
            if running is not None:
                running.cancel()
        if self.player is not None:
            self.player.stop()
        if self._keeping is not None:
            await self._keeping.close()
        if self.showing is not None:
            self.showing.close()

    def _failed(self, error: SDPError) -> None:
        if not self._over:
            self._over = True
            self.log.error("{detail}", detail=error.detail)
            self._leave(1)

    def _tell(self) -> None:
        if self.player is not None and self._tell_statistics is not None:
            self._tell_statistics(json.dumps(self.player.report.told()))

    # -- what is fetched ---------------------------------------------------------------------------------------

    def _attempts(self) -> Attempts:
        settings, reactor = self.settings, self._reactor
        factory = ClientFactory(self.address, Role.CONSUMER, reactor, ClientLimits(body_timeout=settings.silence))
        backoff = Backoff(self._random, first=settings.retry_first, most=settings.retry_most)
        return Attempts(connecting(factory, reactor), reactor, backoff, self.log)

    def _begin_fetching(self, work: Any) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
        self._fetching = Deferred.fromCoroutine(self._guarded(work))

    async def _guarded(self, work: Any) -> None:
        try:
            await work
            await self._played_out()
        except CancelledError:
            return
        except SDPError as error:
            self._failed(error)
        except Exception:
            self.log.failure("The player failed by a fault of its own.")
            self._leave(1)
        else:
            if not self._over:
                self._over = True
                self.log.info("The stream has ended.")
                self._leave(0)

    async def _played_out(self) -> None:
        """The stream has ended: what has arrived is still to be seen."""
        while self.player is not None and not self.player.drained:
            await deferLater(self._reactor, LOOK)

    async def _first_fetch(self) -> None:
        """Live; what has ended is played from its beginning."""
        if await self._attempts().run(self._is_ended):
            await self._past(None)
        else:
            await self._live()

    async def _is_ended(self, client: ClientProtocol) -> bool:
        answer = await client.fetch(b"GET", b"/-/streams" + self.address.target.partition(b"?")[0])
        try:
            return answer.status == 200 and json.loads(answer.content)["state"] == "ended"
        except (ValueError, KeyError, TypeError):
            return False  # an older Distributor, or none: the stream itself will tell

    async def _live(self) -> None:
        self._furthest, self._seen_all = 0, False
        self._fetch = LiveFetch(self.address.target, self._attempts(), self.log, self._take_live, self._on_epoch)
        await self._fetch.run()

    async def _past(self, at: str | None) -> None:
        self._fetch = PastFetch(self.address, self._attempts(), at, self._take, self._on_past_epoch)
        await self._fetch.run()

    def _on_epoch(self, epoch: str) -> None:
        assert self.player is not None
        self._furthest = 0
        self.player.begin()
        self.player.report.begin()
        if self._keeping is not None:
            self._keeping.begin()

    def _on_past_epoch(self, epoch: str) -> None:
        assert self.player is not None
        self.player.begin(ShiftedPlayout())
        self.player.report.begin()
        if self._keeping is not None:
            self._keeping.begin()

    def _take_live(self, piece: Piece) -> None:
        """Once an epoch has ended what was skipped at its beginning would be sent as well; who has seen the end has
        seen enough."""
        if self._seen_all:
            return
        if piece.offset < self._furthest and not piece.initialization:
            self._seen_all = True
            self._reactor.callLater(0, self._begin_fetching, self._nothing())
            return
        self._furthest = piece.offset + len(piece.data)
        self._take(piece)

    async def _nothing(self) -> None:
        """All has been fetched."""

    def _take(self, piece: Piece) -> None:
        player = self.player
        assert player is not None
        if self._keeping is not None:
            self._keeping.write(piece.data)
        player.take(piece)
        if not self._full and player.waiting_bytes > self.settings.most_waiting:
            self._full = True
            assert self._fetch is not None
            self._fetch.pause()
            self._reactor.callLater(LOOK, self._look_for_room)

    def _look_for_room(self) -> None:
        if self._over or self.player is None or not self._full:
            return
        if self.player.waiting_bytes > self.settings.most_waiting // 2:
            self._reactor.callLater(LOOK, self._look_for_room)
            return
        self._full = False
        if self._fetch is not None:
            self._fetch.resume()

    async def _ask_the_time(self) -> None:
        """Learn how far our clock is from the Distributor's; go on asking, for clocks drift."""
        try:
            await self._attempts().run(self._ask_on)
        except (CancelledError, SDPError):
            return  # the figures say that they do not know

    async def _ask_on(self, client: ClientProtocol) -> None:
        asked = 0
        while self.player is not None:
            left = time.time_ns() // 1000
            answer = await client.fetch(b"GET", b"/-/time")
            if answer.status == 200:
                self.player.offset.answered(left, time.time_ns() // 1000, answer.content)
            asked += 1
            await deferLater(self._reactor, QUICK if asked < QUICK_QUESTIONS else SLOW)

    # -- what a person asks for --------------------------------------------------------------------------------

    @property
    def behind(self) -> float:
        """How many seconds ago what is on the screen was captured; 0 where nobody knows."""
        assert self.player is not None
        report = self.player.report
        if report.last_captured is None:
            return 0.0
        return max(0.0, (self.player.clock.wall() + report.clock_offset - report.last_captured) / 1_000_000)

    @property
    def past(self) -> float:
        """The same; 0 where it is live."""
        return self.behind if isinstance(self._fetch, PastFetch) else 0.0

    def pause(self) -> None:
        """Stop, or go on where it was stopped: that is a time shift, and nothing is received meanwhile."""
        player = self.player
        if player is None:
            return
        if player.paused:
            self.shift(0.0)
            return
        player.paused = True
        if player.listening is not None:
            player.listening.begin()
        if self._fetching is not None:
            self._fetching.cancel()

    def shift(self, seconds: float) -> None:
        """Go on so many seconds earlier (negative) or later; what is later than now is live."""
        if self.player is None:
            return
        behind = self.behind - seconds
        if behind < LEAST_BEHIND:
            self.go_live()
            return
        self.player.paused = False
        self._full = False
        self.log.info("Going on {behind:.0f} s ago.", behind=behind)
        self._begin_fetching(self._past(f"{behind:.3f}"))

    def go_live(self) -> None:
        """Back to the live edge."""
        if self.player is None:
            return
        self.player.paused = False
        self._full = False
        self.player.begin(Playout(rules_of(self.settings)))
        self._begin_fetching(self._live())

    def quit(self) -> None:
        """A person has seen enough."""
        if not self._over:
            self._over = True
            self._leave(0)
