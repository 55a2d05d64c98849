"""A process that is at an idempotent request until it is killed.

Run as `python -m tests.idempotency.worker <url>`; prints a line when the request runs.
"""

import asyncio
import sys
from typing import Any

from asgi_redis_guard import RedisManager
from tests.idempotency.shop import guarded, posting


async def main(url: str) -> None:
    async def app(*asgi: Any) -> None:
        print("running", flush=True)
        await asyncio.Event().wait()

    async with RedisManager(url, timeout=20) as redis:
        await posting(guarded(app, redis, lease=2)).task


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
