"""What faults are made of: full memory, slow networks, things that happen again and again.

Law: nothing here judges; each undoes what it has done, or has something beside it that does.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import redis

from asgi_redis_guard.redis.slots import slot_of
from tests.cluster import slots_of
from tests.faults.campaign.world import World
from tests.servers import Server


@asynccontextmanager
async def latency(world: World, seconds: float) -> AsyncIterator[None]:
    """Make either way longer by so much."""
    for proxy in world.proxies:
        proxy.latency = seconds
    yield
    for proxy in world.proxies:
        proxy.latency = 0.0


@asynccontextmanager
async def often(acts: Callable[[], Iterable[Any]]) -> AsyncIterator[None]:
    """Do something every 50 ms."""

    async def go_on() -> None:
        while True:
            await asyncio.gather(*acts())
            await asyncio.sleep(0.05)

    task = asyncio.create_task(go_on())
    try:
        yield
    finally:
        task.cancel()
        (outcome,) = await asyncio.gather(task, return_exceptions=True)
    if not isinstance(outcome, asyncio.CancelledError):
        raise outcome


FILLER = b"x" * 50_000


def fill(server: Server) -> None:
    """Fill the memory of a server beyond the brim; what fills it has no end, so that it is never evicted."""
    used = int(server.command("INFO", "memory")["used_memory"])
    with redis.Redis.from_url(server.url) as client:
        for key in itertools.islice(fillers(server), 100):
            client.set(key, FILLER)
    server.command("CONFIG", "SET", "maxmemory", used + 100 * len(FILLER) - BEYOND)


#: Bytes by which a full server has more than it may have: what it evicts, where it evicts.
BEYOND = 300_000


def empty(server: Server) -> None:
    """Give it room again."""
    server.command("CONFIG", "SET", "maxmemory", 0)
    server.command("CONFIG", "SET", "maxmemory-policy", "noeviction")
    with redis.Redis.from_url(server.url) as client:
        for key in itertools.islice(fillers(server), 100):
            client.delete(key)


def fillers(server: Server) -> Iterator[bytes]:
    """Keys that are this server's."""
    keys = (b"filler:%d" % number for number in itertools.count())
    if "cluster_enabled" not in server.options:
        return keys
    own = [*slots_of(server)]
    return (key for key in keys if any(slot_of(key) in slots for slots in own))
