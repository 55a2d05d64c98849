"""`RateLimiter`: limits for the app's own use, by every algorithm and on every store."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, Pass, RateLimit, RateLimiter, RedisManager
from asgi_redis_guard.core.exchange import Exchange
from asgi_redis_guard.core.steps import Admission
from asgi_redis_guard.testing import RoundTripCounter
from tests.drive import App, get
from tests.guards import Does
from tests.redis.tools import PATIENCE

#: Periods so long that none ends while a test runs.
LONG = dict.fromkeys(("gcra", "leaky", "fixed", "counter", "log"), "3/day") | {"calendar": "3/year"}
EACH = pytest.mark.parametrize("algorithm", LONG)


def of(redis: RedisManager, algorithm: Any, **options: Any) -> RateLimiter:
    return RateLimiter(LONG[algorithm], redis=redis, algorithm=algorithm, **options)


async def state(redis: RedisManager) -> list[Any]:
    """What the store holds of the one limit."""
    found = []
    for key in sorted(await redis.execute("KEYS", "*")):
        kind = await redis.execute("TYPE", key)
        read = ("GET", key) if kind in (b"string", "string") else ("ZRANGE", key, 0, -1, "WITHSCORES")
        found.append((key, await redis.execute(*read)))
    return found


@EACH
async def test_so_many_hits_are_allowed_and_tell_how_the_limit_stands(redis: RedisManager, algorithm: str) -> None:
    limiter = of(redis, algorithm)
    results = [await limiter.hit("mail", "ann") for _ in range(4)]
    assert [bool(result) for result in results] == [True, True, True, False]
    assert [result.remaining for result in results] == [2, 1, 0, 0]
    assert [result.retry_after > 0 for result in results] == [False, False, False, True]
    assert all(result.limit == 3 and result.reset_after > 0 and not result.degraded for result in results)
    assert (await limiter.hit("mail", "bob", cost=3)).remaining == 0
    assert not await limiter.hit("mailann", cost=4)
    for key in await redis.execute("KEYS", "*"):
        assert await redis.execute("PTTL", key) > 0


async def test_a_leaky_bucket_tells_when_the_turn_of_a_hit_comes(redis: RedisManager) -> None:
    limiter = RateLimiter("24/day", redis=redis, algorithm="leaky", burst=3)
    results = [await limiter.hit("a") for _ in range(4)]
    assert [round(result.delay / 3600) for result in results] == [0, 1, 2, 0]
    assert [result.allowed for result in results] == [True, True, True, False]
    assert (await RateLimiter("3/day", redis=redis, name="other").hit("a")).delay == 0


@EACH
async def test_a_peek_says_what_a_hit_would_and_leaves_everything_as_it_was(
    redis: RedisManager, algorithm: str
) -> None:
    limiter = of(redis, algorithm)
    assert (await limiter.peek("a")).remaining == 3
    assert await redis.execute("KEYS", "*") == []
    for cost in (2, 2, 1, 1):
        if keys := await redis.execute("KEYS", "*"):
            await redis.execute("EXPIRE", keys[0], 12_345)  # a lifetime that no hit would give it
        before = await state(redis)
        peek = await limiter.peek("a", cost=cost)
        assert await state(redis) == before
        assert not keys or 12_000 < await redis.execute("TTL", keys[0]) <= 12_345
        if keys and algorithm == "fixed":  # whose lifetime is what it counts by
            await redis.execute("EXPIRE", keys[0], 86_400)
            peek = await limiter.peek("a", cost=cost)
        hit = await limiter.hit("a", cost=cost)
        assert (peek.allowed, peek.remaining) == (hit.allowed, hit.remaining + cost * hit.allowed)
        assert peek.retry_after == pytest.approx(hit.retry_after, abs=60)
        assert peek.reset_after == pytest.approx(hit.reset_after, abs=60)
        await limiter.refund(peek)
        assert (await limiter.peek("a")).remaining == hit.remaining, "there is nothing of a peek to give back"


@EACH
async def test_what_was_counted_is_settled_as_often_as_one_likes(redis: RedisManager, algorithm: str) -> None:
    limiter = of(redis, algorithm)
    result = await limiter.hit("a", cost=2)
    for actual in (3, 3, 2, 1, 1):
        await limiter.settle(result, actual)
        assert (await limiter.peek("a")).remaining == 3 - actual, actual
    for _ in range(2):
        await limiter.refund(result)
    assert (await limiter.peek("a")).remaining >= 2
    await limiter.settle(result, 1000)
    await limiter.settle(result, 1000)
    assert not await limiter.peek("a")


@EACH
async def test_a_refund_is_as_if_there_had_been_no_hit(redis: RedisManager, algorithm: str) -> None:
    limiter = of(redis, algorithm)
    result = await limiter.hit("a", cost=3)
    await limiter.settle(result, 2)
    for _ in range(3):
        await limiter.refund(result)
        assert (await limiter.peek("a")).remaining == 3


@EACH
async def test_two_who_settle_one_result_at_a_time_do_it_once(redis: RedisManager, algorithm: str) -> None:
    limiter = of(redis, algorithm)
    await limiter.hit("a")
    result = await limiter.hit("a", cost=2)
    await asyncio.gather(limiter.refund(result), limiter.refund(result))
    assert (await limiter.peek("a")).remaining == 2


@EACH
async def test_of_a_refused_hit_there_is_nothing_to_settle(redis: RedisManager, algorithm: str) -> None:
    limiter = of(redis, algorithm)
    await limiter.hit("a", cost=2)
    refused = await limiter.hit("a", cost=2)
    await limiter.refund(refused)
    await limiter.settle(refused, 900)
    assert (await limiter.peek("a")).remaining == 1


@pytest.mark.parametrize("algorithm", ["gcra", "leaky", "fixed", "counter", "log"])
async def test_after_the_window_nothing_is_given_back_and_what_is_owed_counts_now(
    redis: RedisManager, algorithm: Any
) -> None:
    limiter = RateLimiter("3/second", redis=redis, algorithm=algorithm)
    refunded, settled = await limiter.hit("a"), await limiter.hit("b")
    async with asyncio.timeout(PATIENCE):
        while await redis.execute("DBSIZE"):  # noqa: ASYNC110  (there is no event)
            await asyncio.sleep(0.01)
    await limiter.refund(refunded)
    assert (await limiter.peek("a")).remaining == 3
    assert await redis.execute("DBSIZE") == 0
    await limiter.settle(settled, 1000)
    assert not await limiter.peek("b")


@EACH
async def test_a_penalty_counts_whether_it_fits_or_not_and_a_reset_forgets_it(
    redis: RedisManager, algorithm: str
) -> None:
    limiter = of(redis, algorithm)
    await limiter.penalize("a", units=1)
    assert (await limiter.peek("a")).remaining == 2
    await limiter.penalize("a", units=50)
    refused = await limiter.hit("a")
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert (await limiter.hit("b")).remaining == 2
    await limiter.reset("a")
    assert (await limiter.hit("a")).remaining == 2
    assert (await limiter.hit("b")).remaining == 1


async def test_several_limits_are_decided_all_or_nothing(redis: RedisManager) -> None:
    limiter = RateLimiter("2/hour", "3/day; 9 per 2 days", redis=redis, algorithm="fixed")
    first, second, third = [await limiter.hit("a") for _ in range(3)]
    assert [(one.allowed, one.limit, one.remaining) for one in (first, second, third)] == [
        (True, 2, 1),
        (True, 2, 0),
        (False, 2, 0),
    ]
    assert [(state.allowed, state.remaining) for state in third.states] == [(False, 0), (True, 1), (True, 7)]
    await limiter.refund(second)
    assert [state.remaining for state in (await limiter.peek("a")).states] == [1, 2, 8]
    await limiter.penalize("a", units=3)
    assert [state.allowed for state in (await limiter.hit("a")).states] == [False, False, True]
    await limiter.reset("a")
    assert [state.remaining for state in (await limiter.peek("a")).states] == [2, 3, 9]
    assert await redis.execute("DBSIZE") == 0


@EACH
async def test_of_many_hits_at_a_time_exactly_the_amount_is_allowed(redis: RedisManager, algorithm: Any) -> None:
    limiter = RateLimiter(LONG[algorithm].replace("3/", "50/"), redis=redis, algorithm=algorithm)
    results = await asyncio.gather(*[limiter.hit("a") for _ in range(200)])
    assert sum(result.allowed for result in results) == 50
    assert sorted(result.remaining for result in results if result) == list(range(50))


async def test_a_guard_of_the_same_name_shares_its_counts(redis: RedisManager) -> None:
    def admit(exchange: Exchange) -> Admission:
        return Pass({"user": Alice()})
        yield

    class Alice:
        is_authenticated, identity = True, "alice"

    users = Does(admit, provides=frozenset({"user"}), known_early=frozenset({"user"}))
    app = GuardMiddleware(App(), [users, RateLimit("5/day", key="user", name="shown", group="api")], redis=redis)
    limiter = RateLimiter("5/day", redis=redis, name="api")
    assert (await get(app)).status == 200
    assert (await limiter.hit("user", "alice", cost=3)).remaining == 1
    assert [(await get(app)).status for _ in range(2)] == [200, 429]
    assert (await limiter.peek("user", "bob")).remaining == 5
    assert (await RateLimiter("5/day", redis=redis).peek("user", "alice")).remaining == 5, "another name"


async def test_each_call_is_one_round_trip(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as redis:
        limiter = RateLimiter("50/hour", "90/day", redis=redis)

        async def calls() -> list[int]:
            counts = []
            result = await limiter.hit("a")
            for call in (
                lambda: limiter.hit("a"),
                lambda: limiter.peek("a"),
                lambda: limiter.settle(result, 7),
                lambda: limiter.refund(result),
                lambda: limiter.penalize("a", units=2),
                lambda: limiter.reset("a"),
            ):
                counter.reset()
                await call()
                counts.append(counter.round_trips)
            return counts

        await calls()  # the scripts are loaded
        assert await calls() == [1] * 6


def test_one_limiter_serves_several_loops(redis_url: str) -> None:
    redis = RedisManager(redis_url, timeout=PATIENCE)
    limiter = RateLimiter("5/day", redis=redis)

    async def hit() -> int:
        async with redis:
            return (await limiter.hit("a")).remaining

    assert [asyncio.run(hit()) for _ in range(3)] == [4, 3, 2]
