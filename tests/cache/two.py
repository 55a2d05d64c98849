"""Two processes of one app, as far as a cache can tell: each with a manager and a `Cache` of its own, on one store."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from asgi_redis_guard import Cache, RedisManager
from tests.redis.tools import PATIENCE


class Made:
    """A maker that counts its runs; while `held`, each waits in the middle."""

    def __init__(self, *results: Any, held: bool = False) -> None:
        self.runs = 0
        self.began, self.go_on = asyncio.Event(), asyncio.Event()
        self._results = results
        if not held:
            self.go_on.set()

    async def __call__(self) -> Any:
        self.runs += 1
        run = self.runs
        self.began.set()
        await self.go_on.wait()
        result = self._results[min(run, len(self._results)) - 1] if self._results else run
        if isinstance(result, Exception):
            raise result
        return result


@asynccontextmanager
async def two(url: str, **options: Any) -> AsyncIterator[tuple[Cache, Cache]]:
    """Start both."""
    one, other = (RedisManager(url, timeout=PATIENCE) for _ in range(2))
    other._memory = one._memory  # the same data, where it is in this process
    async with one, other:
        yield Cache(one, **options), Cache(other, **options)


async def settled(cache: Cache) -> None:
    """Wait until nothing runs in the background."""
    while tasks := cache.redis.links._tasks:
        await asyncio.wait(tasks)
