"""One of several processes whose requests all miss at once; prints what they were answered.

Run as `python -m tests.cache.herd_worker <url> <own number> <processes> <requests>`.
"""

import asyncio
import json
import sys
from typing import Any

from asgi_redis_guard import RedisManager
from tests.cache.site import Site
from tests.middleware.calls import settled
from tests.redis.tools import eventually


class Slow:
    """A route that answers when all requests of all processes have come and wait."""

    def __init__(self, redis: RedisManager, processes: int) -> None:
        self.redis, self.processes = redis, processes

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        number = await self.redis.client.incr("runs")
        for _ in range(self.processes):
            assert await self.redis.client.blpop(["waiting"], 40)
        headers = [(b"guard-cache-control", b"max-age=300")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"made %d" % number})


async def main(url: str, own: int, processes: int, requests: int) -> None:
    async with RedisManager(url, timeout=20) as redis:
        for other in range(processes):
            await redis.client.rpush(f"met {other}", own)
        for _ in range(processes):
            assert await redis.client.blpop([f"met {own}"], 40)
        here = Site(Slow(redis, processes), redis, wait=60)
        task = asyncio.ensure_future(here.many(requests))
        await eventually(lambda: sum(f.waiting for f in redis.flights._flights.values()) == requests - 1)
        await redis.client.rpush("waiting", own)
        bodies = [response.body.decode() for response in await task]
        await settled(redis)
        print(json.dumps([sorted({*bodies}), len(bodies), await here.is_clean()]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
