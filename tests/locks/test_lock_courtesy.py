"""Processes that want the same lock: none of them has it again and again while others wait. Managers stand for them."""

import asyncio

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.locks.operations import TOPIC, Claim
from asgi_redis_guard.pubsub import turns
from tests.redis.tools import PATIENCE, within


@pytest.mark.parametrize("permits", [None, 1], ids=["lock", "semaphore"])
async def test_who_has_just_given_it_back_comes_after_those_who_wait(
    redis_url: str, monkeypatch: pytest.MonkeyPatch, permits: int | None
) -> None:
    monkeypatch.setattr(turns, "_ASIDE", 0.5)
    order: list[str] = []

    async def want(manager: RedisManager, name: str) -> None:
        async with manager.lock("it") if permits is None else manager.semaphore("it", permits):
            order.append(name)
            if name == "first":
                waiting.append(asyncio.create_task(want(there, "there")))
                await marked(manager)

    async def marked(manager: RedisManager) -> None:
        key = Claim.of(manager.keys, ("it",), "anybody", 1, permits).keys[0]
        while True:
            if permits is None and (await manager.execute("GET", key))[:1] == b"w":
                return
            if permits is not None and await manager.execute("ZSCORE", key, "") is not None:
                return

    waiting: list[asyncio.Task[None]] = []
    async with RedisManager(redis_url, timeout=PATIENCE) as here, RedisManager(redis_url, timeout=PATIENCE) as there:
        await within(want(here, "first"))
        await within(want(here, "again"))
        await within(asyncio.gather(*waiting))
        assert order == ["first", "there", "again"]


async def test_nobody_stands_aside_for_nobody(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as manager:
        word = Claim.of(manager.keys, ("it",), "anybody", 1).word
        async with manager.lock("it"):
            pass
        assert manager.flights.find((TOPIC, word)) is None
