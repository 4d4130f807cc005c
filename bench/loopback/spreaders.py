"""Servers of a few lines that fan out as their frameworks' users would: what sdp's fan-out is measured beside.

spreaders twisted.web|aiohttp PORT

A POST's content, once it is whole, goes to everyone who has asked for that path, in one write() each. Nothing is kept
or checked, and nobody is ever too slow.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from .processes import HOST

__all__ = ["SPREADERS"]


def twisted_web(port: int) -> None:
    """A Resource that answers NOT_DONE_YET, and writes to each request that waits."""
    from twisted.internet import reactor  # noqa: TID251  (a process begins here)
    from twisted.web.resource import Resource
    from twisted.web.server import NOT_DONE_YET, Site

    consumers: defaultdict[bytes, set[Any]] = defaultdict(set)

    class Spreader(Resource):
        isLeaf = True

        def render_GET(self, request: Any) -> int:
            standing = consumers[request.path]
            standing.add(request)
            request.notifyFinish().addErrback(lambda reason: standing.discard(request))
            request.write(b"")
            return NOT_DONE_YET

        def render_POST(self, request: Any) -> bytes:
            content = request.content.read()
            for consumer in consumers[request.path]:
                consumer.write(content)
            request.setResponseCode(204)
            return b""

    running: Any = reactor
    running.listenTCP(port, Site(Spreader()), backlog=4096, interface=HOST)
    running.run()


def aiohttp(port: int) -> None:
    """A StreamResponse for each consumer, and one loop that awaits write() on all of them."""
    from asyncio import Event

    from aiohttp import web  # type: ignore[import-not-found, unused-ignore]

    consumers: defaultdict[str, set[Any]] = defaultdict(set)

    async def give(request: Any) -> Any:
        answer = web.StreamResponse()
        answer.enable_chunked_encoding()
        await answer.prepare(request)
        standing = consumers[request.path]
        standing.add(answer)
        try:
            await Event().wait()
        finally:
            standing.discard(answer)
        return answer

    async def take(request: Any) -> Any:
        content = await request.read()
        for answer in tuple(consumers[request.path]):
            await answer.write(content)
        return web.Response(status=204)

    application = web.Application(client_max_size=1 << 30)
    application.router.add_get("/{name:.*}", give)
    application.router.add_post("/{name:.*}", take)
    web.run_app(application, host=HOST, port=port, access_log=None, print=None, backlog=4096)


SPREADERS: dict[str, Callable[[int], None]] = {"twisted.web": twisted_web, "aiohttp": aiohttp}

if __name__ == "__main__":
    SPREADERS[sys.argv[1]](int(sys.argv[2]))
