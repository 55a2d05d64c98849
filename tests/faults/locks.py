"""Processes that want one lock, each with a network of its own that can fail, and what must hold whatever happens.

Law: nothing here knows how a lock is made; what is judged is what its holder can see, and what stands in Redis.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Self

from asgi_redis_guard import RedisManager
from asgi_redis_guard.locks.lock import Lock
from asgi_redis_guard.testing import FaultProxy
from tests.redis.tools import PATIENCE, eventually, within
from tests.servers import Server

#: Seconds; longer than any test, so that what is free within one was given back and has not run out.
FOR_LONG = 300.0

#: Seconds that a call to Redis may take, where what is slow is to be noticed.
TIMEOUT = 0.2


#: Seconds, of which a third passes until a lock is renewed, and its loss is seen.
TTL = 0.6


class Process:
    """What stands for a process: a manager, and the proxy that is its network."""

    def __init__(self, url: str, *, timeout: float = PATIENCE) -> None:
        self.proxy = FaultProxy(url)
        self._timeout = timeout

    async def __aenter__(self) -> Self:
        await self.proxy.__aenter__()
        self.redis = RedisManager(self.proxy.url, timeout=self._timeout)
        await self.redis.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.proxy.heal()
        try:
            await within(self.redis.aclose())
        finally:
            await self.proxy.__aexit__()

    def lock(self, name: str = "job", **options: Any) -> Lock:
        """One that does not run out within the test, unless `ttl` says so."""
        return self.redis.lock(name, **{"ttl": FOR_LONG, "wait": 0, **options})

    def __repr__(self) -> str:
        return f"<Process at {self.proxy!r}>"


@asynccontextmanager
async def processes(url: str, count: int, *, timeout: float = PATIENCE) -> AsyncIterator[list[Process]]:
    """Some processes, each with the network in order; nothing of theirs is left when they end."""
    async with AsyncExitStack() as stack:
        those = [await stack.enter_async_context(Process(url, timeout=timeout)) for _ in range(count)]
        yield those
        for process in those:
            process.proxy.heal()
        for process in those:
            await nothing_is_left_of(process.redis)


async def nothing_is_left_of(redis: RedisManager) -> None:
    """Wait until nothing is kept, waited for, or on its way: no lease, flight, watch, task."""
    links = redis.links
    await eventually(lambda: not links.leases and not links.flights and not links._tasks)
    await eventually(lambda: links.lane1.in_flight == links.lane2.in_flight == 0)
    assert watched(redis) == 0, "somebody still waits for a word"


def watched(redis: RedisManager) -> int:
    """How many wait to hear of something."""
    return sum(map(len, redis.pubsub.feed._watches.values()))


async def is_free(server: Server) -> None:
    """Wait until nobody holds a lock or a semaphore there: the fences alone are left."""
    async with asyncio.timeout(PATIENCE):
        while await asyncio.to_thread(held, server):  # noqa: ASYNC110  (there is no event to wait for)
            await asyncio.sleep(0.005)


def held(server: Server) -> list[bytes]:
    """What is held there now."""
    keys: list[bytes] = server.command("KEYS", "*")
    return [key for key in keys if key.startswith((b"guard:k:", b"guard:ks:"))]


async def is_attended(server: Server) -> None:
    """Wait until somebody waits for the one lock that is held there."""
    async with asyncio.timeout(PATIENCE):
        while not (server.command("GET", held(server)[0]) or b"").startswith(b"w"):  # noqa: ASYNC110  (as above)
            await asyncio.sleep(0.002)


async def steps(count: int) -> None:
    """Let the loop go round so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def outcome(work: Awaitable[Any]) -> Any:
    """What came of it: its result or its exception; also the caller's own cancellation."""
    (result,) = await asyncio.gather(asyncio.ensure_future(work), return_exceptions=True)
    return result


def nobody_is_cancelled() -> None:
    """Who catches LockLost is not a cancelled task."""
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def for_ever() -> None:
    """Wait until somebody cancels it."""
    await asyncio.Event().wait()


def take_away(server: Server) -> None:
    """Delete what is held, as an eviction does."""
    assert server.command("DEL", *held(server))
