"""Semaphores: as many holders as there are permits, each with a lease of its own."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, LockBusy, LockLost, RedisManager, Semaphore


async def test_as_many_hold_it_as_there_are_permits(manager: RedisManager) -> None:
    async with manager.semaphore("gpu", 2) as first, manager.semaphore("gpu", 2) as second:
        third = manager.semaphore("gpu", 2, wait=0)
        assert await third.acquire() is False
        assert (await first.owned(), await second.owned(), await third.owned()) == (True, True, False)
        assert await third.locked() is True
        assert (first.fence or 0) < (second.fence or 0)
        with pytest.raises(LockBusy):
            async with third:
                pass
        await first.release()
        assert await third.acquire() is True
        await third.release()
        assert await third.locked() is False


async def test_a_lock_of_the_same_name_is_another_thing(manager: RedisManager) -> None:
    async with manager.semaphore("gpu", 1), manager.lock("gpu", wait=0):
        pass


async def test_never_more_than_the_permits_hold_it(here: RedisManager, there: RedisManager) -> None:
    inside, most = 0, 0

    async def use(manager: RedisManager) -> None:
        nonlocal inside, most
        async with manager.semaphore("gpu", 3):
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    await asyncio.gather(*(use(manager) for _ in range(30) for manager in (here, there)))
    assert most == 3


async def test_a_place_whose_time_is_up_is_free(here: RedisManager, there: RedisManager) -> None:
    assert await here.semaphore("gpu", 1, ttl=0.2, renew=False).acquire()
    assert await there.semaphore("gpu", 1).acquire()


async def test_a_holder_that_is_lost_is_told(here: RedisManager) -> None:
    with pytest.raises(LockLost):
        async with here.semaphore("gpu", 2, ttl=0.3):
            await here.execute("FLUSHALL")
            await asyncio.Event().wait()


async def test_it_may_be_held_for_longer(manager: RedisManager) -> None:
    async with manager.semaphore("gpu", 2, ttl=10, renew=False) as held:
        assert await held.extend(50)
        assert 50 < held.remaining() <= 60


@pytest.mark.parametrize("permits", [0, -1, 1.5, True, "2", 10_001])
def test_permits_are_whole_numbers(permits: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"permits: .* allowed are whole numbers from 1 to 10000"):
        Semaphore(RedisManager("memory://"), "gpu", permits)
