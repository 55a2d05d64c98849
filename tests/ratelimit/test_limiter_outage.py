"""`RateLimiter` while Redis is away, and when it is back."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import RateLimiter, RedisManager, RedisUnavailable
from tests.redis.tools import until_back
from tests.servers import Server


def words(results: list[Any]) -> list[tuple[bool, int, bool]]:
    return [(result.allowed, result.remaining, result.degraded) for result in results]


async def test_while_redis_is_away_hits_are_counted_here_and_told_when_it_is_back(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    limiter = RateLimiter("3/hour", "9/day", redis=fresh_redis)
    before = await limiter.hit("a")
    fresh_server.kill()
    assert words([await limiter.hit("a") for _ in range(4)]) == [
        (True, 2, True),
        (True, 1, True),
        (True, 0, True),
        (False, 0, True),
    ]
    assert words([await limiter.hit("b", cost=2)]) == [(True, 1, True)]
    with pytest.raises(RedisUnavailable):
        await limiter.refund(before)
    fresh_server.start()
    await until_back(fresh_redis)
    assert words([await limiter.hit("a"), await limiter.hit("a")]) == [(True, 2, False), (False, 0, False)]
    assert words([await limiter.hit("b"), await limiter.hit("b"), await limiter.hit("c")]) == [
        (True, 2, False),
        (False, 0, False),
        (True, 2, False),
    ]


async def test_a_peek_while_redis_is_away_says_what_a_hit_would_and_counts_nothing(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    limiter = RateLimiter("3/hour", redis=fresh_redis)
    fresh_server.kill()
    for _ in range(5):
        assert words([await limiter.peek("a", cost=3)]) == [(True, 3, True)]
    hit = await limiter.hit("a", cost=2)
    assert words([await limiter.peek("a"), peek := await limiter.peek("a", cost=2)]) == [
        (True, 1, True),
        (False, 1, True),
    ]
    assert peek.retry_after > 0
    await limiter.refund(await limiter.peek("a"))
    assert words([await limiter.peek("a")]) == [(True, 1, True)]
    await limiter.settle(hit, 1)
    await limiter.settle(hit, 1)
    assert words([await limiter.peek("a")]) == [(True, 2, True)]
    await limiter.refund(hit)
    assert words([await limiter.hit("a", cost=4), await limiter.hit("a", cost=3)]) == [
        (False, 3, True),
        (True, 0, True),
    ]


async def test_what_was_counted_here_is_told_once_however_many_come_at_a_time(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    limiter = RateLimiter("100/day", redis=fresh_redis, algorithm="fixed")
    fresh_server.kill()
    for _ in range(10):
        await limiter.hit("a")
    fresh_server.start()
    await until_back(fresh_redis)
    assert all(await asyncio.gather(*[limiter.hit("a") for _ in range(20)]))
    assert (await limiter.peek("a")).remaining == 70


async def test_a_hit_that_is_refused_leaves_what_was_counted_here_to_be_told_by_the_next(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    limiter = RateLimiter("100/day", redis=fresh_redis, algorithm="fixed")
    fresh_server.kill()
    await limiter.hit("a", cost=10)
    fresh_server.start()
    await until_back(fresh_redis)
    assert not await limiter.hit("a", cost=101)
    assert (await limiter.peek("a")).remaining == 100
    await limiter.hit("a")
    assert (await limiter.peek("a")).remaining == 89
    await limiter.hit("a")
    assert (await limiter.peek("a")).remaining == 88


async def test_each_process_admits_its_part(fresh_redis: RedisManager, fresh_server: Server) -> None:
    limiter = RateLimiter("8/hour", redis=fresh_redis, workers=4, local_keys=2)
    fresh_server.kill()
    assert [bool(await limiter.hit("a")) for _ in range(3)] == [True, True, False]
    for key in ("b", "c"):
        assert await limiter.hit(key)
    assert await limiter.hit("a"), "of more identities than may be kept, those seen longest ago are forgotten"


async def test_open_allows_and_counts_nothing(fresh_redis: RedisManager, fresh_server: Server) -> None:
    limiter = RateLimiter("1/hour", redis=fresh_redis, on_outage="open")
    fresh_server.kill()
    for _ in range(3):
        result = await limiter.hit("a", cost=5)
        assert (words([result]), result.retry_after) == ([(True, 1, True)], 0)
        await limiter.refund(result)
    assert words([await limiter.peek("a")]) == [(True, 1, True)]
    fresh_server.start()
    await until_back(fresh_redis)
    assert words([await limiter.hit("a"), await limiter.hit("a")]) == [(True, 0, False), (False, 0, False)]


async def test_closed_raises(fresh_redis: RedisManager, fresh_server: Server) -> None:
    limiter = RateLimiter("5/hour", redis=fresh_redis, on_outage="closed")
    result = await limiter.hit("a", cost=3)
    fresh_server.kill()
    for call in (
        limiter.hit("a"),
        limiter.peek("a"),
        limiter.penalize("a", units=1),
        limiter.reset("a"),
        limiter.settle(result, 1),
    ):
        with pytest.raises(RedisUnavailable):
            await call
    fresh_server.start()
    await until_back(fresh_redis)
    assert words([await limiter.hit("a", cost=5)]) == [(True, 0, False)]


async def test_a_settlement_that_failed_can_be_made_again(fresh_redis: RedisManager, fresh_server: Server) -> None:
    limiter = RateLimiter("5/hour", redis=fresh_redis, algorithm="fixed")
    result = await limiter.hit("a", cost=1)
    fresh_server.kill()
    for _ in range(3):
        with pytest.raises(RedisUnavailable):
            await limiter.settle(result, 3)
    fresh_server.start()
    await until_back(fresh_redis)
    await limiter.settle(result, 3)
    assert (await limiter.peek("a")).remaining == 3, "the server has come back empty"


@pytest.mark.parametrize("on_outage", ["local", "open", "closed"])
async def test_a_key_of_another_type_is_an_outage_of_that_key(redis: RedisManager, on_outage: Any) -> None:
    limiter = RateLimiter("2/hour", redis=redis, on_outage=on_outage)
    await limiter.hit("a")
    (key,) = await redis.execute("KEYS", "*")
    await redis.execute("DEL", key)
    await redis.execute("RPUSH", key, "not a number")
    if on_outage == "closed":
        with pytest.raises(RedisUnavailable):
            await limiter.hit("a")
    else:
        assert (await limiter.hit("a")).degraded
        # To be told what was counted here meanwhile makes a number of it again.
        assert all([await limiter.hit("a") for _ in range(9)]) == (on_outage == "open")
    assert not (await limiter.hit("b")).degraded
    await limiter.reset("a")
    assert words([await limiter.hit("a"), await limiter.hit("a")]) == [(True, 1, False), (True, 0, False)]
