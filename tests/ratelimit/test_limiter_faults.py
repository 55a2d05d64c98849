"""`RateLimiter`: keys, costs and options that are none."""

from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, RateLimiter, RedisManager


@pytest.mark.parametrize("cost", [-1, 1.0, 1.5, True, "1", None, 1_000_000_001])
async def test_costs_that_are_none_are_refused_whatever_was_asked_before(redis: RedisManager, cost: Any) -> None:
    limiter = RateLimiter("5/day", redis=redis)
    result = await limiter.hit("a", cost=1)
    for call in (limiter.hit("a", cost=cost), limiter.peek("a", cost=cost), limiter.settle(result, cost)):
        with pytest.raises(ConfigurationError, match="actual: " if call.__name__ == "settle" else "cost: "):
            await call
    with pytest.raises(ConfigurationError, match="units: "):
        await limiter.penalize("a", units=cost)
    assert (await limiter.hit("a", cost=0)).remaining == 4


@pytest.mark.parametrize(("key", "error"), [((), ValueError), ((7,), TypeError), (("a", None), TypeError)])
async def test_keys_that_are_none_are_refused(redis: RedisManager, key: Any, error: type[Exception]) -> None:
    limiter = RateLimiter("5/day", redis=redis)
    for call in (limiter.hit(*key), limiter.peek(*key), limiter.penalize(*key, units=1), limiter.reset(*key)):
        with pytest.raises(error, match="key: "):
            await call


async def test_the_parts_of_a_key_are_kept_apart_and_long_ones_are_as_good(redis: RedisManager) -> None:
    limiter = RateLimiter("5/day", redis=redis)
    for key in (("a", "b"), ("ab",), ("a", "b", ""), ("x" * 10_000,), ("é",), ("\udcff",)):
        assert [(await limiter.hit(*key)).remaining for _ in range(2)] == [4, 3]
    assert (await limiter.hit(b"a", "b")).remaining == 2


def test_options_that_cannot_work_are_refused() -> None:
    for options in ({"on_outage": "maybe"}, {"workers": 0}, {"local_keys": 0}, {"algorithm": "x"}, {"burst": 9}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            RateLimiter("5/day", **options)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match="none given"):
        RateLimiter()
