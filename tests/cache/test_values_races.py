"""Readers and writers in two processes, in any order: nobody reads what was there before a write that has returned."""

import asyncio
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from asgi_redis_guard import Cache
from tests.cache.two import settled, two
from tests.redis.tools import within

TAGS = ["a", "b", "c"]


@pytest.fixture
async def caches(backend: str) -> AsyncIterator[tuple[Cache, Cache]]:
    async with two(backend, early=100.0) as both:
        yield both


class Rows:
    """A database of versions, one for each key; each key has one of the tags."""

    def __init__(self, caches: tuple[Cache, Cache], seed: int) -> None:
        self.caches = caches
        self.chance = random.Random(seed)
        self.versions = dict.fromkeys(map(str, range(4)), 0)
        #: What every reader must see who begins now.
        self.told = dict(self.versions)
        self.reads = 0

    def tags(self, key: str) -> list[str]:
        return [TAGS[int(key) % 3], f"row {key}"]

    async def load(self, key: str) -> int:
        await self.pause()
        version = self.versions[key]
        await self.pause()
        return version

    async def pause(self) -> None:
        for _ in range(self.chance.randrange(4)):
            await asyncio.sleep(0)

    async def read(self) -> None:
        key, cache = self.chance.choice(list(self.versions)), self.chance.choice(self.caches)
        least = self.told[key]
        match self.chance.randrange(4):
            case 0:
                found = await cache.get(key)
            case 1:
                found = (await cache.get_many(self.versions)).get(key)
            case _:
                found = await cache.get_or_set(key, lambda: self.load(key), tags=self.tags(key))
        assert found is None or found >= least, f"{key}: {found} after {least} was written"
        self.reads += found is not None

    async def write(self) -> None:
        key, cache = self.chance.choice(list(self.versions)), self.chance.choice(self.caches)
        self.versions[key] += 1
        version = self.versions[key]
        ways: list[Any] = [
            lambda: cache.invalidate(self.tags(key)[:1]),
            lambda: cache.invalidate(self.tags(key)[1:]),
            lambda: cache.invalidate(keys=[key]),
            lambda: cache.delete(key),
            cache.clear_namespace,
            lambda: cache.put(key, lambda: self.load(key), tags=self.tags(key)),
        ]
        await self.chance.choice(ways)()
        self.told[key] = max(self.told[key], version)

    async def leave(self) -> None:
        """Read, and be cancelled in the middle."""
        task = asyncio.create_task(self.read())
        await self.pause()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if not task.cancelled():
            task.result()


@pytest.mark.parametrize("seed", range(3))
async def test_nobody_reads_what_was_there_before_a_write(caches: tuple[Cache, Cache], seed: int) -> None:
    rows = Rows(caches, seed)

    async def visitor() -> None:
        for _ in range(25):
            await rows.pause()
            await rows.chance.choices([rows.read, rows.write, rows.leave], [8, 2, 1])[0]()

    await within(asyncio.gather(*(visitor() for _ in range(16))), 60)
    for cache in caches:
        await settled(cache)
        assert len(cache.redis.flights) == 0
        assert len(cache.redis.leases) == 0
    assert rows.reads > 50
    for key in rows.versions:
        assert (
            await caches[0].get_or_set(key, lambda key=key: rows.load(key), tags=rows.tags(key)) == rows.versions[key]
        )
