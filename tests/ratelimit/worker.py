"""One of two processes that run into the same limits together; prints what its requests were told.

Run as `python -m tests.ratelimit.worker <url> <0 or 1> <tasks> <requests of each>`.
"""

import asyncio
import json
import sys

from asgi_redis_guard import GuardMiddleware, RateLimit, RedisManager
from asgi_redis_guard.ratelimit.policy import KINDS
from tests.drive import App, get

#: A leaky bucket lets the same through, but later.
ALGORITHMS = tuple(name for name in KINDS if name != "leaky")


async def meet(manager: RedisManager, name: str, own: int) -> None:
    """Go on when the other process has come here too."""
    await manager.client.rpush(f"{name} {1 - own}", "go")  # type: ignore[misc]
    assert await manager.client.blpop([f"{name} {own}"], 15)  # type: ignore[misc]


async def hammer(app: GuardMiddleware, requests: int) -> list[int]:
    return [(await get(app)).status for _ in range(requests)]


async def main(url: str, own: int, tasks: int, requests: int) -> None:
    statuses = {}
    async with RedisManager(url, timeout=20) as manager:
        for name in ALGORITHMS:
            limit = RateLimit("100/day", "90/day", algorithm=name, name=name)  # type: ignore[arg-type]
            app = GuardMiddleware(App(), [limit], redis=manager)
            await meet(manager, name, own)
            runs = await asyncio.gather(*(hammer(app, requests) for _ in range(tasks)))
            statuses[name] = [status for run in runs for status in run]
    print(json.dumps(statuses))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
