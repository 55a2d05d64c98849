"""A shop whose responses the tests choose, behind a cache: what was made, what came of it, and what is in Redis.

Law: the shop knows nothing of caches; a page answers what the test has put there and counts how often.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

from asgi_redis_guard import GuardMiddleware, RedisManager, ResponseCache, cached
from asgi_redis_guard.cache.events import CacheEvent
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from asgi_redis_guard.core.guard import Guard
from tests.drive import Fields, Response, call, http_scope
from tests.middleware.calls import settled
from tests.redis.tools import PATIENCE

HOST = (b"host", b"test")
PROFILES = ("app", "http")

Page = Callable[[Scope, Receive, Send], Awaitable[None]]


def page(body: bytes = b"ok", *fields: tuple[bytes, bytes], status: int = 200) -> Page:
    """A page with that body, whoever asks."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": status, "headers": list(fields)})
        await send({"type": "http.response.body", "body": body})

    return answer


def echo(of: Callable[[Scope], object], *fields: tuple[bytes, bytes], status: int = 200) -> Page:
    """A page whose body depends on the request."""

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        await page(str(of(scope)).encode(), *fields, status=status)(scope, receive, send)

    return answer


def header(scope: Scope, name: bytes) -> str:
    """The value of a request field, `-` for none."""
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == name), "-")


class Shop:
    """One app behind a stack of guards, the cache innermost. `made` notes the paths of the runs of the app."""

    def __init__(self, redis: RedisManager, *guards: Guard, wrap: Callable[[ASGIApp], ASGIApp] | None = None) -> None:
        self.redis = redis
        self.pages: dict[str, Page] = {}
        self.made: list[str] = []
        self.events: list[CacheEvent] = []
        app: ASGIApp = wrap(self.app) if wrap else self.app
        self.stack: ASGIApp = GuardMiddleware(app, guards, redis=redis) if guards else app

    async def app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer as the page does; every response has a number that tells it from those before."""
        self.made.append(scope["path"])
        found = self.pages.get(scope["path"]) or self.pages["*"]

        async def numbered(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], (b"x-made", b"%d" % len(self.made))]}
            await send(message)

        await found(scope, receive, numbered)

    async def get(self, path: str = "/", headers: Fields = (), **more: Any) -> Response:
        """Send a request, and wait until all is stored."""
        given = list(headers.items()) if isinstance(headers, dict) else list(headers)
        fields = [
            (name.encode() if isinstance(name, str) else name, value.encode() if isinstance(value, str) else value)
            for name, value in given
        ]
        if not any(name == b"host" for name, _ in fields):
            fields.insert(0, HOST)
        path, _, query = path.partition("?")
        response = await call(self.stack, http_scope(path, fields, **{"query_string": query.encode()} | more))
        await settled(self.redis)
        return response

    async def stored(self) -> list[bytes]:
        """What stands in Redis of responses: the values of all entries, without those that say "nothing is kept"."""
        keys = list(await self.redis.execute("KEYS", "*r:{*}?*"))
        values = [await self.redis.execute("GET", key) for key in keys]
        return [value for value in values if value is not None and value[:1] == b"1"]


def cache(profile: str = "app", **options: Any) -> ResponseCache:
    """A cache of that profile; in `app` everything is kept for a minute that nothing forbids."""
    options = {"compress_from": None} | options
    if profile == "app":
        options = {"ttl": 60.0} | options
    return ResponseCache(profile=profile, **options)  # type: ignore[arg-type]


def fresh(profile: str, *fields: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Response fields with which a response is kept in that profile."""
    return [*([(b"cache-control", b"max-age=60")] if profile == "http" else []), *fields]


def declared(page: Page, **options: Any) -> Page:
    """A page under `@cached`."""
    return cached(**{"ttl": 60.0} | options)(page)


@asynccontextmanager
async def shop_at(url: str, *guards: Guard, **options: Any) -> AsyncIterator[Shop]:
    """A shop on a store that is empty."""
    async with RedisManager(url, timeout=PATIENCE) as redis:
        yield Shop(redis, *guards, **options)


def outcomes(responses: Iterable[Response]) -> list[str]:
    """What `Cache-Status` says first of each."""
    return [one["cache-status"].partition("guard; ")[2].partition(";")[0] for one in responses]
