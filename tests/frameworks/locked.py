"""One small app in each framework whose routes work under a lock, until they are told to go on.

Law: the apps know nothing of tests; `Site` keeps what their functions saw.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

from fastapi import FastAPI, Request
from litestar import Litestar
from litestar import Request as LitestarRequest
from litestar import get as litestar_get
from litestar.params import FromPath
from litestar.response import Stream
from quart import Quart
from quart import request as quart_request
from starlette.applications import Starlette
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route

from asgi_redis_guard import GuardMiddleware, RedisManager, RouteGuards
from asgi_redis_guard.core.asgi import ASGIApp
from asgi_redis_guard.locks.decorator import locked
from asgi_redis_guard.locks.held import HeldLock
from tests.frameworks.decorated import timed
from tests.redis.tools import PATIENCE

one_at_a_time = locked("item:{number}", ttl=1)


class Site:
    """What functions do: note their lock, and run until `open` is set, or until they are cancelled or told."""

    def __init__(self) -> None:
        self.locks: list[HeldLock] = []
        self.ended: list[str] = []
        self.started, self.open = asyncio.Event(), asyncio.Event()
        self.thread_open = threading.Event()
        self._loop = asyncio.get_running_loop()

    async def work(self, lock: Any) -> str:
        """Run in the loop."""
        self.locks.append(lock)
        self.started.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.ended.append("cancelled")
            raise
        return "done"

    def work_in_thread(self, lock: Any) -> str:
        """Run in a thread."""
        self.locks.append(lock)
        self._loop.call_soon_threadsafe(self.started.set)
        while not lock.lost.is_set():
            if self.thread_open.wait(0.01):
                return "done"
        self.ended.append("told")
        return "lost"

    async def stream(self, lock: Any) -> AsyncIterator[bytes]:
        """Run after the head."""
        yield b"begun, "
        yield (await self.work(lock)).encode()

    def go_on(self) -> None:
        """Let all of them end."""
        self.open.set()
        self.thread_open.set()

    async def runs(self) -> HeldLock:
        """Wait until a function runs; return its lock."""
        async with asyncio.timeout(PATIENCE):
            await self.started.wait()
        return self.locks[-1]


def starlette(site: Site, *, inside: bool = False) -> ASGIApp:
    @one_at_a_time
    async def item(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse(await site.work(request.scope["lock"]))

    @one_at_a_time
    def plain(request: StarletteRequest) -> PlainTextResponse:
        return PlainTextResponse(site.work_in_thread(request.scope["lock"]))

    @one_at_a_time
    async def stream(request: StarletteRequest) -> StreamingResponse:
        return StreamingResponse(site.stream(request.scope["lock"]))

    app = Starlette(
        routes=[Route("/items/{number}", item), Route("/plain/{number}", plain), Route("/streams/{number}", stream)]
    )
    if inside:
        app.add_middleware(BaseHTTPMiddleware, dispatch=timed)
    return app


def starlette_in_task_groups(site: Site) -> ASGIApp:
    return starlette(site, inside=True)


def fastapi(site: Site) -> ASGIApp:
    app = FastAPI()

    @app.get("/items/{number}")
    @one_at_a_time
    async def item(request: Request, number: int) -> str:
        return await site.work(request.scope["lock"])

    @app.get("/plain/{number}")
    @one_at_a_time
    def plain(request: Request, number: int) -> str:
        return site.work_in_thread(request.scope["lock"])

    @app.get("/streams/{number}")
    @one_at_a_time
    async def stream(request: Request, number: int) -> StreamingResponse:
        return StreamingResponse(site.stream(request.scope["lock"]))

    return app


def quart(site: Site) -> ASGIApp:
    app = Quart(__name__)

    @app.get("/items/<int:number>")
    @one_at_a_time
    async def item(number: int) -> str:
        return await site.work(quart_request.scope["lock"])  # type: ignore[typeddict-item]

    @app.get("/plain/<int:number>")
    @one_at_a_time
    def plain(number: int) -> str:
        return site.work_in_thread(quart_request.scope["lock"])  # type: ignore[typeddict-item]

    @app.get("/streams/<int:number>")
    @one_at_a_time
    async def stream(number: int) -> AsyncIterator[bytes]:
        return site.stream(quart_request.scope["lock"])  # type: ignore[typeddict-item]

    return app  # type: ignore[return-value]


def litestar(site: Site) -> ASGIApp:
    @litestar_get("/items/{number:int}", media_type="text/plain")
    @one_at_a_time
    async def item(request: LitestarRequest[Any, Any, Any], number: FromPath[int]) -> str:
        return await site.work(request.scope["lock"])  # type: ignore[typeddict-item]

    @litestar_get("/plain/{number:int}", media_type="text/plain")
    @one_at_a_time
    def plain(request: LitestarRequest[Any, Any, Any], number: FromPath[int]) -> str:
        return site.work_in_thread(request.scope["lock"])  # type: ignore[typeddict-item]

    @litestar_get("/streams/{number:int}")
    @one_at_a_time
    async def stream(request: LitestarRequest[Any, Any, Any], number: FromPath[int]) -> Stream:
        return Stream(site.stream(request.scope["lock"]))  # type: ignore[typeddict-item]

    app: Any = Litestar([item, plain, stream], logging_config=None)
    return app  # type: ignore[no-any-return]


APPS: dict[str, Callable[[Site], ASGIApp]] = {
    "starlette": starlette,
    "starlette, in task groups": starlette_in_task_groups,
    "fastapi": fastapi,
    "quart": quart,
    "litestar": litestar,
}


def around(app: ASGIApp, redis: RedisManager) -> ASGIApp:
    """Put an engine around an app that guards nothing by itself."""
    return GuardMiddleware(app, [RouteGuards()], redis=redis)
