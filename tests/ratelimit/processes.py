"""Processes of one app, each with a manager, a guard and a stack of its own, on one store.

Law: the stacks' clock stands still, so that a refusal that is remembered is forgotten by word alone.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from asgi_redis_guard import GuardMiddleware, RateLimit, RedisManager
from tests.drive import App, Response, get
from tests.redis.tools import PATIENCE


class Process:
    """One of them."""

    def __init__(self, redis: RedisManager, guard: RateLimit) -> None:
        self.redis, self.guard = redis, guard
        now = time.time()
        self.app = GuardMiddleware(App(), [guard], redis=redis, clock=lambda: now)

    async def get(self, path: str = "/", headers: Any = (), **options: Any) -> Response:
        """Send a request."""
        return await get(self.app, path, headers, **options)

    async def statuses(self, count: int, **options: Any) -> list[int]:
        """Send so many requests."""
        return [(await self.get(**options)).status for _ in range(count)]

    async def becomes(self, true: Callable[[Response], bool], **options: Any) -> Response:
        """Send requests until a response is as it should be."""
        async with asyncio.timeout(PATIENCE):
            while not true(response := await self.get(**options)):  # noqa: ASYNC110  (there is no event)
                await asyncio.sleep(0.001)
        return response

    async def listens(self) -> None:
        """Wait until the guard has been told all, and would hear every word from now on."""
        feed: Any = self.redis.pubsub.feed
        for listener in feed._listeners.values():
            await listener.ready()
        while tasks := self.redis.links._tasks:
            await asyncio.wait(tasks)


@asynccontextmanager
async def processes(
    url: str, make: Callable[[], RateLimit], count: int = 2, **options: Any
) -> AsyncIterator[list[Process]]:
    """Start so many."""
    managers = [RedisManager(url, **{"timeout": PATIENCE, **options}) for _ in range(count)]
    for manager in managers:
        manager._memory = managers[0]._memory  # the same data, where it is in this process
    for manager in managers:
        await manager.connect()
    try:
        yield [Process(manager, make()) for manager in managers]
    finally:
        for manager in managers:
            await manager.aclose()


def allowed(response: Response) -> bool:
    return response.status == 200


def policy(text: str) -> Callable[[Response], bool]:
    """Whether a response names such a policy; without text, none at all."""
    return lambda response: response.all("ratelimit-policy") == ([text] if text else [])
