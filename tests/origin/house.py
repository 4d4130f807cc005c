"""An Origin's service among parts that a test moves: a source, a store, a Distributor, a thread and a clock."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.testing import MemoryReactorClock
from twisted.logger import formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from zope.interface import implementer

from sdp.errors import MediaError, SDPError
from sdp.interfaces import ISource
from sdp.origin.service import OriginParts, OriginService
from sdp.origin.settings import OriginSettings
from sdp.settings import load
from sdp.stream.record import Flag
from tests.consumer.pair import Distributor, outcome
from tests.distributor.disk import Disk

__all__ = ["House", "Source"]

INITIALIZATION = b"init".ljust(20, b"i")


class Reactor:
    """The Distributor's clock, on which threads can call and connections come about."""

    def __init__(self, distributor: Distributor) -> None:
        clock: MemoryReactorClock = distributor.reactor
        self.seconds = clock.seconds
        self.callLater = clock.callLater

    def callFromThread(self, call: Callable[..., object], *args: object) -> None:
        call(*args)


class Pool:
    """A thread that works when it is told to."""

    def __init__(self) -> None:
        self.started = False
        self.stopped = False
        self.slow = False
        self._waiting: list[Callable[[], None]] = []

    def start(self) -> None:
        self.started = True

    def stop(self) -> None:
        self.stopped = True

    def callInThreadWithCallback(self, on_result: Callable[[bool, Any], None], work: Callable[..., Any], *args: Any):
        def call() -> None:
            try:
                result = work(*args)
            except Exception:
                on_result(False, Failure())
            else:
                on_result(True, result)

        assert self.started
        self._waiting.append(call)
        if not self.slow:
            self.turn()

    def turn(self) -> None:
        """Do what there is to do."""
        while self._waiting:
            self._waiting.pop(0)()


@implementer(ISource)
class Source:
    """Gives what the test says, when the test says it."""

    def __init__(self) -> None:
        self.refuses: MediaError | None = None
        self.refuses_type: MediaError | None = None
        self.sink: Any = None
        self.stopped = False
        self.over = False
        self.count = 0

    @property
    def content_type(self) -> str:
        if self.refuses_type is not None:
            raise self.refuses_type
        return "video/x-test"

    def start(self, sink: Any) -> None:
        if self.refuses is not None:
            raise self.refuses
        self.sink = sink
        if self.stopped:
            self.end()

    def stop(self) -> None:
        self.stopped = True
        if self.sink is not None:
            self.end()

    def end(self, error: SDPError | None = None) -> None:
        if not self.over:
            self.over = True
            self.sink.ended(error)

    def give(self, count: int = 1) -> bool:
        """Give records, an initialization segment first; whether more is wanted."""
        wanted = True
        for _ in range(count):
            flags = Flag.RANDOM_ACCESS if self.count else Flag.INITIALIZATION
            data = b"<%d>" % self.count if self.count else INITIALIZATION
            self.count += 1
            wanted = self.sink.record(data, flags, 1000 + self.count)
        return wanted

    @property
    def given(self) -> bytes:
        return INITIALIZATION[: 20 * self.count] + b"".join(b"<%d>" % number for number in range(1, self.count))


class House:
    """The service and everything around it. ``left`` holds the statuses that it left with."""

    def __init__(self, *, disk: bool = False, distributor: Distributor | None = None, **options: str) -> None:
        self.distributor = distributor if distributor is not None else Distributor()
        self.source = Source()
        self.pool = Pool()
        self.disk = Disk()
        self.left: list[int] = []
        self.lines: list[str] = []
        self.refused_store: SDPError | None = None
        self._observer: Any = self._observe
        self._stopping: list[Any] | None = None
        clock = self.distributor.reactor
        parts = OriginParts(
            open_source=lambda: self.source,
            open_store=self._open_store,
            now=lambda: int(clock.seconds() * 1e6),
            random=Random(1),
            pool=self.pool,
        )
        given = {"to": "http://h:8080/a", "store": "sdp-origin" if disk else "none", **options}
        self.service = OriginService(load(OriginSettings, given), Reactor(self.distributor), self.left.append, parts)
        endpoint: Any = self.distributor.endpoint()
        self.service.address = _Address(self.service.address, endpoint)  # type: ignore[assignment]

    def _open_store(self) -> Any:
        if self.refused_store is not None:
            raise self.refused_store
        return self.disk if self.service.settings.store is not None else None

    def start(self) -> None:
        globalLogPublisher.addObserver(self._observer)
        self.service.startService()
        self.settle()

    def _observe(self, event: Any) -> None:
        if event.get("log_namespace") == "sdp.origin":
            self.lines.append(formatEvent(event))

    def settle(self, seconds: float = 0) -> None:
        self.distributor.settle(seconds)

    def stop(self) -> None:
        """As SIGTERM does it; :attr:`stopped` tells when it is through."""
        self._stopping = outcome(Deferred.fromCoroutine(self._stop()))
        self.settle()

    async def _stop(self) -> None:
        await self.service.stopService()

    @property
    def stopped(self) -> bool:
        return self._stopping == [None]

    def close(self) -> None:
        """After the test: nothing of it may stay behind."""
        if self._stopping is None and self.lines is not None:
            self.stop()
        self.settle(15)
        globalLogPublisher.removeObserver(self._observer)
        assert self.stopped

    def told(self, text: str) -> int:
        """How many lines of the log hold this."""
        return sum(text in line for line in self.lines)

    @property
    def received(self) -> bytes:
        """What the Distributor has."""
        return self.distributor.content()

    @property
    def state(self) -> str:
        state: str = self.distributor.describe()["state"]
        return state


class _Address:
    """The address, whose endpoint is the Distributor in memory."""

    def __init__(self, address: Any, endpoint: Any) -> None:
        self._address = address
        self._endpoint = endpoint

    def __getattr__(self, name: str) -> Any:
        return getattr(self._address, name)

    def __str__(self) -> str:
        return str(self._address)

    def endpoint(self, reactor: Any, timeout: float = 10.0) -> Any:
        return self._endpoint
