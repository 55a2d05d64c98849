"""An app whose requests run until they are told to go on, and what a store holds of them."""

import asyncio
from typing import Any

from asgi_redis_guard import (
    GuardMiddleware,
    RedisManager,
)
from tests.middleware.calls import responding, settled
from tests.redis.tools import PATIENCE

TOO_MANY = 429


class Gate:
    """An app whose requests run until they are told to go on; notes how many run at once."""

    def __init__(self, then: Any = None) -> None:
        self.then = then or responding()
        self.running = self.most = 0
        self.changed = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        self.changed.set()
        try:
            await self.open.wait()
            await self.then(scope, receive, send)
        finally:
            self.running -= 1

    async def runs(self, number: int) -> None:
        """Wait until so many requests run."""
        async with asyncio.timeout(PATIENCE):
            while self.running != number:
                self.changed.clear()
                await self.changed.wait()


async def held(redis: RedisManager) -> int:
    """How many units stand in Redis, under all keys, when what is on its way has arrived."""
    await settled(redis)
    keys = await redis.execute("KEYS", "guard:c:*")
    return sum([await redis.execute("ZCARD", key) for key in keys])


def stack(app: Any, redis: RedisManager, *guards: Any) -> GuardMiddleware:
    return GuardMiddleware(app, guards, redis=redis)


async def fails(*asgi: Any) -> None:
    raise RuntimeError("boom")


async def leaves(scope: Any, receive: Any, send: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
