"""One of two processes that run into short limits together for some periods; prints what was admitted, and when.

Run as `python -m tests.ratelimit.window_worker <url> <0 or 1> <tasks> <periods>`. The end of the run and all times are
by the server's clock, which a round's reply ends with.
"""

import asyncio
import json
import sys
import time

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.script import Batch, place_of
from asgi_redis_guard.ratelimit.notation import Style, make_limits
from asgi_redis_guard.ratelimit.policy import KINDS
from asgi_redis_guard.redis.program import program_of
from tests.ratelimit.worker import meet

AMOUNT = 40
#: The shortest period that each algorithm has, in seconds.
PERIODS = {name: 86_400 if name == "calendar" else 1 for name in KINDS}
ALGORITHMS = tuple(PERIODS)


async def hammer(manager: RedisManager, algorithm: str, tasks: int, until: int) -> list[tuple[int, int]]:
    """Ask until the server's clock says so: when each request was admitted, µs, and what was left after it."""
    word = "day" if PERIODS[algorithm] > 1 else "second"
    (limit,) = make_limits((f"{AMOUNT}/{word}",), Style(algorithm))  # type: ignore[arg-type]
    program = program_of((place_of(False, (limit.kind,)),))
    call = (Batch([limit.operation(manager.keys, b"identity", now=time.time())]),)
    admitted: list[tuple[int, int]] = []

    async def task() -> None:
        now = 0
        while now < until:
            passed, remaining, *_, now = await manager.evaluate(program, call)
            if passed == 1:
                admitted.append((now, remaining))

    await asyncio.gather(*(task() for _ in range(tasks)))
    return admitted


async def main(url: str, own: int, tasks: int, periods: int) -> None:
    async with RedisManager(url, timeout=20) as manager:
        await meet(manager, "windows", own)
        seconds, microseconds = await manager.client.time()
        until = (int(seconds) + periods) * 1_000_000 + int(microseconds)
        told = await asyncio.gather(*(hammer(manager, name, tasks, until) for name in ALGORITHMS))
    print(json.dumps(dict(zip(ALGORITHMS, told, strict=True))))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], *map(int, sys.argv[2:])))
