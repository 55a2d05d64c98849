"""A cached route that a test holds in its hands: what it answers, when it goes on, how often it ran.

Law: nothing here decides what is right; what a test waits for is an event.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from asgi_redis_guard import RedisManager
from asgi_redis_guard.cache.decorator import cached, invalidates
from asgi_redis_guard.cache.guard import ResponseCache
from asgi_redis_guard.cache.middleware import ResponseCacheMiddleware
from asgi_redis_guard.core.asgi import ASGIApp, Headers, Receive, Scope, Send
from tests.drive import Response, get
from tests.middleware.calls import Call, http, settled
from tests.redis.tools import PATIENCE, eventually

#: What is declared for a page unless a test declares something else.
POLICY: dict[str, Any] = {"ttl": 300}


class Page:
    """A route: `number` runs so far; it goes on when `gate` is open, and answers as it is told."""

    def __init__(self, **policy: Any) -> None:
        self.runs = 0
        self.running = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()
        self.status = 200
        self.headers: Headers = []
        self.chunks: Callable[[int], list[bytes]] = lambda number: [b"page %d" % number]
        self.before: Callable[[int], Awaitable[Any]] | None = None
        self.between: Callable[[int], Awaitable[Any]] | None = None
        self.scopes: list[Scope] = []
        self.heard: list[str] = []
        self._declared = cached(**{**POLICY, **policy})(self._run) if policy is not None else self._run

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._declared(scope, receive, send)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.runs += 1
        number = self.runs
        self.scopes.append(scope)
        self.running.set()
        await self.gate.wait()
        if self.before is not None:
            await self.before(number)
        await send({"type": "http.response.start", "status": self.status, "headers": list(self.headers)})
        chunks = self.chunks(number)
        for place, chunk in enumerate(chunks, start=1):
            await send({"type": "http.response.body", "body": chunk, "more_body": place < len(chunks)})
            if self.between is not None and place < len(chunks):
                await self.between(place)

    def close(self) -> None:
        """Let nobody pass until the gate is opened again."""
        self.gate.clear()
        self.running.clear()


def writing(*tags: str, status: int = 204) -> ASGIApp:
    """A route that writes, and invalidates these tags."""

    async def write(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    app: ASGIApp = invalidates(*tags)(write) if tags else write
    return app


def routes(**pages: ASGIApp) -> ASGIApp:
    """An app with a route for each name."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await pages[scope["path"].strip("/").partition("/")[0]](scope, receive, send)

    return app


class Site:
    """An app behind a cache on one manager."""

    def __init__(self, app: ASGIApp, redis: RedisManager, **options: Any) -> None:
        self.redis = redis
        self.events: list[Any] = []
        self.guard = ResponseCache(**{"on_event": [self.events.append], **options})
        self.app = ResponseCacheMiddleware(app, guard=self.guard, redis=redis)

    async def get(self, path: str = "/", headers: Any = (), **more: Any) -> Response:
        """Send a request, and wait for what is done behind it."""
        response = await get(self.app, path, [(b"host", b"test"), *headers], **more)
        await settled(self.redis)
        return response

    async def many(self, number: int, path: str = "/") -> list[Response]:
        """Send that many requests at once."""
        return await asyncio.gather(*(get(self.app, path, [(b"host", b"test")]) for _ in range(number)))

    async def post(self, path: str) -> Response:
        """Send a write."""
        return await self.get(path, method="POST")

    def call(self, path: str = "/", **changes: Any) -> Call:
        """Begin a request that the test holds."""
        return Call(self.app, http(path=path, raw_path=path.encode(), **changes)).start()

    @property
    def flights(self) -> int:
        """Fills that somebody in this process waits for, or could."""
        return len(self.redis.flights)

    @property
    def leases(self) -> int:
        """Fills that this process keeps."""
        return len(self.redis.links.leases)

    async def fills(self) -> list[bytes]:
        """The fills that are somebody's, by what Redis says."""
        await settled(self.redis)
        return [key async for key in self.redis.client.scan_iter(match="guard:rf:*")]

    async def is_clean(self) -> bool:
        """Tell whether nobody fills anything, and nothing of a fill is left."""
        return not await self.fills() and not self.flights and not self.leases

    def outcomes(self) -> list[str]:
        """What the events say, in a word each."""
        return [event.outcome for event in self.events]


@asynccontextmanager
async def site(app: ASGIApp, url: str, **options: Any) -> AsyncIterator[Site]:
    """An app behind a cache; nothing of any fill is left at the end."""
    async with RedisManager(url, timeout=PATIENCE) as redis:
        found = Site(app, redis, **options)
        yield found
        await settled(redis)
        assert await found.is_clean(), (await found.fills(), found.flights, found.leases)


async def status_of(response: Response) -> str:
    """What the cache says of a response."""
    return response["cache-status"]


__all__ = ["POLICY", "Page", "Site", "eventually", "routes", "site", "status_of", "writing"]
