"""From a request's head to who answers it: roles, names, methods, permissions, in the contract's order.

The order of the checks: syntax, name, method, may you, and then what only the stream itself can tell (epoch, who posts,
where), which is in :mod:`sdp.distributor.ingest` and :mod:`sdp.distributor.answers`.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from sdp.distributor.access import Access, Role, declared_role
from sdp.distributor.answers import Answers
from sdp.distributor.asking import Ask, at_time, read_ask
from sdp.distributor.conditions import entity_tags, matches
from sdp.distributor.ingest import FinishBody, PostBody
from sdp.distributor.names import Target, parse_target, stream_name
from sdp.distributor.posting import Action, Post, plan, read_post
from sdp.distributor.relay import Relay
from sdp.distributor.streams import Streams, no_stream
from sdp.distributor.views import Views
from sdp.errors import ProtocolError, Refusal, SDPError
from sdp.net.exchange import Answer, Body, Exchange
from sdp.stream.catalog import Epoch

__all__ = ["DistributorSite", "cors_lines"]

Lines = list[tuple[bytes, bytes]]

STREAM_METHODS = (b"GET", b"HEAD", b"POST", b"PUT", b"DELETE", b"OPTIONS")
VIEW_METHODS = (b"GET", b"HEAD", b"OPTIONS")
_POSTING = (b"POST", b"PUT")
_PUBLISHING = (b"POST", b"PUT", b"DELETE")
_READING = (b"GET", b"HEAD")

EXPOSED = (
    b"Accept-Ranges, Capture-Time, Connection-Type, Content-Range, Date, Durable-Offset, ETag, First-Offset,"
    b" Preference-Applied, Random-Access, Received-Time, Retry-After, Upload-Missing, Upload-Offset, Via"
)
ACCEPTED = b"Accept, Authorization, Connection-Type, Content-Range, If-Match, If-None-Match, If-Range, Prefer, Range"


def cors_lines(allow_origin: str) -> Lines:
    """The field lines that let pages of another site read an answer; none for ``none``."""
    if allow_origin == "none":
        return []
    lines = [(b"Access-Control-Allow-Origin", allow_origin.encode()), (b"Access-Control-Expose-Headers", EXPOSED)]
    return lines if allow_origin == "*" else [*lines, (b"Vary", b"Origin")]


class DistributorSite:
    """Answers the requests of a Distributor."""

    log = Logger(namespace="sdp.distributor.site")

    def __init__(
        self,
        streams: Streams,
        answers: Answers,
        views: Views,
        access: Access,
        cors: Lines,
        relay: Relay | None = None,
    ) -> None:
        self._streams = streams
        self._answers = answers
        self._views = views
        self._access = access
        self._cors = cors
        self._relay = relay

    # -- Site --------------------------------------------------------------------------------------------------

    def request(self, exchange: Exchange) -> Body | None:
        """See :class:`sdp.net.exchange.Site`."""
        request = exchange.request
        if request.method == b"CONNECT":
            self._handshake(exchange)
            return None
        said = declared_role(request)
        post = read_post(request) if request.method in _POSTING else None
        ask = read_ask(request, self._streams.settings.max_ranges) if request.method in _READING else None
        if request.target == b"*":
            exchange.respond(204, [(b"Allow", b", ".join(STREAM_METHODS))])
            return None
        target = parse_target(request.target)
        view = self._views.find(target.path)
        name = stream_name(target.path) if view is None else None
        if ask is not None and view is None:
            ask = at_time(ask, target.query.get("at"), self._streams.now())
        if view is None and name is None:
            raise Refusal(
                404, "No such page", "A stream's name is made of A-Z a-z 0-9 . _ ~ - and /; / lists the streams."
            )
        self._check_method(request.method, VIEW_METHODS if name is None else STREAM_METHODS)
        if request.method == b"OPTIONS":
            self._options(exchange, target, name)
            return None
        self._check_permission(exchange, said, stream=name is not None)
        if view is not None:
            self._run(exchange, view(exchange, target, self._cors))
        elif post is not None and name is not None:
            if self._relay is not None:
                return self._relay.post(exchange, name, request.target.partition(b"?")[2])
            return self._post(exchange, name, post)
        elif request.method == b"DELETE" and name is not None:
            self._run(exchange, self._delete(exchange, name))
        elif ask is not None and name is not None:
            self._run(exchange, self._get(exchange, name, target, ask))
        return None

    def refusal_headers(self, exchange: Exchange) -> Lines:
        """Where the log ends, on every refusal about a stream; who may read it, for a browser."""
        request = exchange.request
        lines = list(self._cors) if request.method in _READING else []
        if request.method == b"CONNECT" or request.target == b"*":
            return lines
        target = parse_target(request.target)
        name = stream_name(target.path) if self._views.find(target.path) is None else None
        if name is not None:
            lines += self._stream_lines(name, target)
        return lines

    def _stream_lines(self, name: str, target: Target) -> Lines:
        epoch = self._chosen(name, target)
        if self._relay is not None and epoch is None:
            return []  # of what it does not hold, a relay cannot say where it ends
        return self._streams.stream_lines(epoch)

    # -- before the stream -------------------------------------------------------------------------------------

    def _handshake(self, exchange: Exchange) -> None:
        """CONNECT says who speaks on this connection from now on. It opens no connection to anywhere."""
        role = declared_role(exchange.request)
        if role is None:
            raise ProtocolError("CONNECT needs Connection-Type: origin, consumer or distributor; this is no proxy.")
        if not exchange.channel.first_request:
            raise ProtocolError("CONNECT must be the first request on its connection, and the only one.")
        exchange.channel.role = role.value.decode()
        exchange.respond(200)

    @staticmethod
    def _check_method(method: bytes, allowed: tuple[bytes, ...]) -> None:
        if method not in allowed:
            allow = b", ".join(allowed)
            detail = f"This takes {allow.decode()}."
            raise Refusal(405, "Method not allowed", detail, ((b"Allow", allow),))

    def _options(self, exchange: Exchange, target: Target, name: str | None) -> None:
        lines: Lines = [(b"Allow", b", ".join(VIEW_METHODS if name is None else STREAM_METHODS))]
        if name is not None:
            lines += self._stream_lines(name, target)
        if self._cors:
            lines += self._cors
            lines.append((b"Access-Control-Allow-Methods", b"GET, HEAD, OPTIONS"))
            lines.append((b"Access-Control-Allow-Headers", ACCEPTED))
            lines.append((b"Access-Control-Max-Age", b"86400"))
        exchange.respond(204, lines)

    def _check_permission(self, exchange: Exchange, said: Role | None, *, stream: bool) -> None:
        """Raise 401 without a needed secret, 403 where the role forbids it."""
        request, channel = exchange.request, exchange.channel
        publishing = request.method in _PUBLISHING
        if publishing:
            self._access.check_publish(channel.peer, request)
        else:
            self._access.check_read(request)
        role = None if channel.role is None else Role(channel.role.encode())
        if role is not None and said is not None and said is not role:
            raise Refusal(
                403, "Another role", f"This connection's handshake said {channel.role}; its requests must too."
            )
        role = role or said
        if role is Role.CONSUMER and publishing:
            raise Refusal(403, "Not for a consumer", "A consumer only reads; publish with Connection-Type: origin.")
        if role is Role.ORIGIN and stream and request.method == b"GET":
            raise Refusal(
                403,
                "Not for an origin",
                "An origin only posts; read with Connection-Type: consumer. HEAD is open to it.",
            )

    # -- reading -----------------------------------------------------------------------------------------------

    def _run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Drive an answer's coroutine; whatever it raises becomes the answer; a lost connection cancels it."""
        task: Deferred[None] = Deferred.fromCoroutine(work)
        if exchange.answer is not Answer.DONE:
            exchange.on_lost = task.cancel
        task.addErrback(self._failed, exchange)

    def _failed(self, failure: Failure, exchange: Exchange) -> None:
        if failure.check(CancelledError):
            return
        error = failure.value
        if not isinstance(error, SDPError):
            target = exchange.request.target
            self.log.failure("A request could not be answered: {target}", failure=failure, target=target)
            error = SDPError("The Distributor met an error of its own; its log says more.")
        if exchange.answer is not Answer.DONE:
            exchange.refuse(error)

    def _chosen(self, name: str, target: Target) -> Epoch | None:
        """The epoch that a target speaks of: the current one, or the one that ``?epoch=`` names."""
        return self._streams.find(name, target.query.get("epoch"))

    async def _get(self, exchange: Exchange, name: str, target: Target, ask: Ask) -> None:
        if self._relay is not None:
            await self._get_relayed(self._relay, exchange, name, target, ask)
            return
        epoch = self._chosen(name, target)
        if epoch is None and ask.tags is not None:
            raise Refusal(412, "No such epoch", "If-Match names an epoch, and there is none. Ask without it.")
        empty = epoch is None or (epoch.log.known == 0 and not epoch.ended)
        if empty and ask.wait is not None and "epoch" not in target.query and exchange.request.method == b"GET":
            epoch = await self._streams.first_record(name, ask.wait)
        if epoch is None:
            raise no_stream(name)
        await self._answers.answer(exchange, epoch, ask)

    async def _get_relayed(self, relay: Relay, exchange: Exchange, name: str, target: Target, ask: Ask) -> None:
        """What is not here is fetched; the rest is as if it had been posted here."""
        request = exchange.request
        passed = relay.check_circle(request, name)
        if request.method == b"HEAD" and not relay.relays(name):
            await relay.forward(exchange, name, request.target.partition(b"?")[2], passed)
            return
        relay.enlist(name, passed)
        with relay.wanted(name):
            epoch = await relay.find(name, target.query.get("epoch"), ask, passed)
            await self._answers.answer(exchange, epoch, ask)

    # -- publishing --------------------------------------------------------------------------------------------

    def _post(self, exchange: Exchange, name: str, post: Post) -> Body:
        streams, channel = self._streams, exchange.channel
        epoch = streams.current(name)
        what = plan(post, epoch, held=streams.held_by_another(epoch, channel))
        if what.action is Action.FINISH:
            exchange.send_continue()
            return FinishBody(exchange, lambda: self._finish(exchange, name, post))
        if what.action is Action.BEGIN:
            streams.check_record_size(post, None)
            epoch = streams.begin(name, post.content_type, ordinary=post.range is None)
        assert epoch is not None
        failure = streams.disk_failure(epoch)
        if failure is not None:
            raise failure
        streams.check_record_size(post, epoch)
        body = PostBody(exchange, streams, epoch, post, what)
        exchange.send_continue()
        return body

    def _finish(self, exchange: Exchange, name: str, post: Post) -> None:
        """``Content-Range: bytes */N``: the epoch ends, if it still may."""
        streams = self._streams
        epoch = streams.current(name)
        plan(post, epoch, held=streams.held_by_another(epoch, exchange.channel))
        assert epoch is not None
        if not epoch.closed:
            streams.accepted(exchange, epoch, ordinary=False)
            epoch.finish()
            streams.released(exchange, epoch, broken=False)
        exchange.respond(204, streams.stream_lines(epoch))

    async def _delete(self, exchange: Exchange, name: str) -> None:
        if self._relay is not None:
            passed = self._relay.check_circle(exchange.request, name)
            await self._relay.forward(exchange, name, exchange.request.target.partition(b"?")[2], passed)
            return
        if not matches(entity_tags(exchange.request.headers, b"if-match"), self._streams.current(name)):
            raise Refusal(412, "Another epoch", "If-Match names an epoch that is not current. Ask with HEAD.")
        await self._streams.remove(name)
        exchange.respond(204, self._streams.stream_lines(None))
