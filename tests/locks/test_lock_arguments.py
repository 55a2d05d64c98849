"""What the methods of a lock refuse."""

import math

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import ConfigurationError


@pytest.mark.parametrize("time", [0, -1, 0.0001, math.nan, math.inf, True, "5"])
@pytest.mark.parametrize("replace_ttl", [False, True])
async def test_a_lock_is_extended_by_a_time_that_leaves_it_alive(time: float, replace_ttl: bool) -> None:
    async with RedisManager("memory://") as manager, manager.lock("it") as lock:
        with pytest.raises(ConfigurationError, match="additional_time"):
            await lock.extend(time, replace_ttl)
        assert await lock.owned()


@pytest.mark.parametrize("token", ["", b""])
async def test_a_token_of_one_s_own_says_something(token: str | bytes) -> None:
    async with RedisManager("memory://") as manager:
        lock = manager.lock("it")
        with pytest.raises(ConfigurationError, match="token"):
            await lock.acquire(token=token)
        assert await lock.acquire(token=b"mine")
        assert lock.token == "mine"
        await lock.release()


async def test_several_names_may_come_as_a_list() -> None:
    async with RedisManager("memory://") as manager:
        assert manager.lock(["a", "b"]).name == manager.lock("a", "b").name == ("a", "b")  # type: ignore[arg-type]
        with pytest.raises(ConfigurationError, match=r"name: .* given; allowed are"):
            manager.lock()
