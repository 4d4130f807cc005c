"""Servers whose request handlers read the content and answer 204: what ingest is measured beside.

readers twisted.web|aiohttp|uvicorn PORT
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from .processes import HOST

__all__ = ["READERS"]

Message = MutableMapping[str, Any]


def twisted_web(port: int) -> None:
    """A Resource is asked once the content is whole: in memory up to 100 kB, else in a temporary file."""
    from twisted.internet import reactor  # noqa: TID251  (a process begins here)
    from twisted.web.resource import Resource
    from twisted.web.server import Site

    class Reader(Resource):
        isLeaf = True

        def render_POST(self, request: Any) -> bytes:
            while request.content.read(1 << 18):
                pass
            request.setResponseCode(204)
            return b""

    running: Any = reactor
    running.listenTCP(port, Site(Reader()), interface=HOST)
    running.run()


def aiohttp(port: int) -> None:
    """The handler reads the stream of content as it comes."""
    from aiohttp import web  # type: ignore[import-not-found, unused-ignore]

    async def read(request: Any) -> Any:
        async for _ in request.content.iter_any():
            pass
        return web.Response(status=204)

    application = web.Application(client_max_size=1 << 40)
    application.router.add_post("/{name:.*}", read)
    web.run_app(application, host=HOST, port=port, access_log=None, print=None)


async def read_asgi(
    scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]
) -> None:
    """An ASGI application that reads what it is sent."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body", False):
        pass
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def uvicorn(port: int) -> None:
    """With httptools and uvloop where they are installed, as uvicorn chooses by itself."""
    import uvicorn as server  # type: ignore[import-not-found, unused-ignore]

    server.run(read_asgi, host=HOST, port=port, access_log=False, log_level="error", lifespan="off")


READERS: dict[str, Callable[[int], None]] = {"twisted.web": twisted_web, "aiohttp": aiohttp, "uvicorn": uvicorn}

if __name__ == "__main__":
    READERS[sys.argv[1]](int(sys.argv[2]))
