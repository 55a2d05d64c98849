"""A process that takes slots of a concurrency limit and holds them until it is killed.

Run as `python -m tests.ratelimit.slots <url> <amount> <ttl>`; prints a line when all its requests run.
"""

import asyncio
import sys
from typing import Any

from asgi_redis_guard import GuardMiddleware, RedisManager
from asgi_redis_guard.ratelimit.concurrency import ConcurrencyLimit
from tests.middleware.calls import Call


async def main(url: str, amount: int, ttl: int) -> None:
    running = asyncio.Semaphore(0)

    async def app(*asgi: Any) -> None:
        running.release()
        await asyncio.Event().wait()

    async with RedisManager(url, timeout=20) as manager:
        guarded = GuardMiddleware(app, [ConcurrencyLimit(amount, ttl=ttl)], redis=manager)
        calls = [Call(guarded).start() for _ in range(amount)]
        for _ in calls:
            await running.acquire()
        print("holding", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(*(kind(word) for kind, word in zip((str, int, int), sys.argv[1:], strict=True))))
