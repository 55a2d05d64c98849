"""A shop that takes payments, and what its clients send.

Law: nothing here decides what is right; a test reads what was charged and what was answered.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from asgi_redis_guard import GuardMiddleware, RedisManager
from asgi_redis_guard.core.asgi import ASGIApp, Receive, Scope, Send
from asgi_redis_guard.idempotency.guard import Idempotency
from tests.drive import Response, call, http_scope
from tests.middleware.calls import Call, settled
from tests.redis.tools import PATIENCE


class Shop:
    """Charges for each request that it gets: answers with the number of the charge, or as it is told."""

    def __init__(self, then: ASGIApp | None = None, headers: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.charges: list[bytes] = []
        self.running = self.most = 0
        self.headers = list(headers)
        self.then = then
        self.open = asyncio.Event()
        self.open.set()
        self._changed = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self._changed.set()
        try:
            message = await receive()
            await self.open.wait()
            self.charges.append(message.get("body", b""))
            await (self.then or self._answer)(scope, receive, send)
        finally:
            self.running -= 1
            self._changed.set()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b"charge %d" % len(self.charges)
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 201, "headers": [*self.headers, length]})
        await send({"type": "http.response.body", "body": body})

    async def runs(self, number: int) -> None:
        """Wait until so many requests run."""
        async with asyncio.timeout(PATIENCE):
            while self.running != number:
                self._changed.clear()
                await self._changed.wait()

    def close(self) -> None:
        """Keep requests from going on."""
        self.open.clear()

    async def begins(self, app: ASGIApp, *args: Any, **options: Any) -> Call:
        """Send a request that is kept from going on, and wait until it runs; arguments are those of `posting`."""
        self.close()
        first = posting(app, *args, **options)
        await self.runs(1)
        return first


def guarded(app: ASGIApp, redis: RedisManager, **options: Any) -> GuardMiddleware:
    """The app behind an `Idempotency` with these options."""
    return GuardMiddleware(app, [Idempotency(**options)], redis=redis)


def scope_of(key: str | None = '"k"', path: str = "/charges", *, method: str = "POST", **more: Any) -> Scope:
    headers = [] if key is None else [(b"idempotency-key", key.encode("latin-1"))]
    return http_scope(path, headers, method=method, **more)


async def post(app: ASGIApp, key: str | None = '"k"', body: bytes = b"5 EUR", **more: Any) -> Response:
    """Send one request to its end."""
    return await call(app, scope_of(key, **more), body)


def posting(app: ASGIApp, key: str = "k", body: bytes = b"5 EUR") -> Call:
    """Send a request, in a task of its own."""
    return Call(app, scope_of(key), {"type": "http.request", "body": body, "more_body": False}).start()


async def record(redis: RedisManager) -> bytes | None:
    """What stands in Redis about the one request, when what is on its way has arrived."""
    await settled(redis)
    keys = await redis.execute("KEYS", "guard:y:*")
    assert len(keys) <= 1
    return await redis.execute("GET", keys[0]) if keys else None


async def attended(redis: RedisManager) -> None:
    """Wait until somebody waits for the request that is under way."""
    (key,) = await redis.execute("KEYS", "guard:y:*")
    async with asyncio.timeout(PATIENCE):
        while (await redis.execute("GET", key))[:2] != b"Pw":  # noqa: ASYNC110  (no event tells of it)
            await asyncio.sleep(0.002)


def answering(status: int, *chunks: bytes, length: bool = True) -> Callable[..., Any]:
    """An app that answers that."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        size = sum(map(len, chunks))
        headers = [(b"content-length", b"%d" % size)] if length else []
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for number, chunk in enumerate(chunks or (b"",), start=1):
            await send({"type": "http.response.body", "body": chunk, "more_body": number < len(chunks)})

    return app
