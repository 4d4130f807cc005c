"""A consumer's end without a connection: an outflow that takes as much as it is told to, and an exchange on it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, fail, succeed

from sdp.net.exchange import Answer


class Tap:
    """Stands for an :class:`~sdp.net.outflow.Outflow`: takes ``room`` bytes (None: any number), keeps the rest."""

    def __init__(self, room=None):
        self.room = room
        self.taken = b""
        self.rest = b""
        self.paused = False
        self.closed = False
        self.unsent = 0
        self.sends: list[bytes] = []
        self.broken = False
        self._waiting: list[Deferred] = []

    def send(self, data):
        assert not self.paused
        self.sends.append(data)
        if self.broken:
            raise ConnectionResetError
        sent = len(data) if self.room is None else min(len(data), self.room)
        if not sent and data:
            raise BlockingIOError
        self._take(data[:sent])
        return sent

    def _take(self, data):
        self.taken += data
        if self.room is not None:
            self.room -= len(data)

    def write(self, data):
        if self.closed:
            return False
        sent = 0
        if not self.paused:
            try:
                sent = self.send(data)
            except OSError:
                sent = 0
        if sent < len(data):
            self.put_back(data, sent)
        return not self.paused

    def flush(self):
        """Nothing is held."""

    def put_back(self, data, sent):
        self.rest += data[sent:]
        self.paused = True

    def drained(self):
        if self.closed:
            return fail(CancelledError())
        if not self.paused:
            return succeed(None)
        self._waiting.append(Deferred())
        return self._waiting[-1]

    def open(self, room=None):
        """Take more; where that is all there is, whoever waits is told."""
        self.room = room
        take = len(self.rest) if room is None else min(room, len(self.rest))
        self._take(self.rest[:take])
        self.rest = self.rest[take:]
        if not self.rest:
            self.paused = False
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)

    def close(self):
        self.closed = True
        for one in self._waiting:
            one.cancel()


class Consumer:
    """Who stands at an edge."""

    def __init__(self, offset=0, room=None):
        self.outflow: Any = Tap(room)
        self.offset = offset


class TapExchange:
    """Stands for an :class:`~sdp.net.exchange.Exchange` whose answer has begun."""

    def __init__(self, room=None):
        self.outflow: Any = Tap(room)
        self.channel: Any = SimpleNamespace(outflow=self.outflow, peer="192.0.2.1")
        self.answer = Answer.STARTED
        self.aborted = False

    def finish(self):
        if self.answer is not Answer.DONE:
            self.answer = Answer.DONE

    def abort(self):
        self.answer = Answer.DONE
        self.aborted = True
        self.outflow.close()


def fired(deferred: Deferred) -> list[Any]:
    """A list that holds what the Deferred fires with: a value, or an exception."""
    results: list[Any] = []
    deferred.addCallbacks(results.append, lambda failure: results.append(failure.value))
    return results
