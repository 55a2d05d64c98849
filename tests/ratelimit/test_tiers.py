"""Limits that a function tells for each request."""

from typing import Any

import pytest

from asgi_redis_guard import ConfigurationError, Exchange, GuardMiddleware, JWTAuth, RateLimit, RedisManager
from tests.drive import App, get
from tests.jwt.tokens import NOW, SECRET, bearer, sign
from tests.ratelimit.conftest import CountingManager, Limited
from tests.ratelimit.said import left, times

TIERS = {"free": "1/hour", "pro": ["3/hour", "9/day"], "staff": None}


def by_tier(exchange: Exchange) -> Any:
    return TIERS[exchange.fact("user").claims["tier"]]


def of(name: str, tier: str) -> dict[str, Any]:
    return {"headers": bearer(sign(sub=name, tier=tier, jti=f"{name}-{tier}"))}


@pytest.fixture
def tiers(limited: Limited) -> Any:
    return limited(JWTAuth(SECRET), RateLimit(by_tier, key="user", algorithm="fixed"), clock=lambda: NOW)


async def test_users_of_different_tiers_have_different_limits_in_one_round_trip(
    tiers: Any, manager: CountingManager
) -> None:
    assert left(await get(tiers, **of("alice", "free"))) == {"hour": 0}
    assert left(await get(tiers, **of("bob", "pro"))) == {"hour": 2, "day": 8}
    assert manager.round_trips == 2
    assert await times(tiers, 1, **of("alice", "free")) == [429]
    assert await times(tiers, 3, **of("bob", "pro")) == [200, 200, 429]


async def test_none_is_unlimited(tiers: Any) -> None:
    assert await times(tiers, 5, **of("carol", "staff")) == [200] * 5
    assert not (await get(tiers, **of("carol", "staff"))).all("ratelimit")


@pytest.mark.parametrize("algorithm", ["gcra", "fixed", "counter", "log", "calendar"])
async def test_a_change_of_tier_keeps_what_was_used(redis: RedisManager, algorithm: Any) -> None:
    """Trap 6: an amount in the key would give a fresh quota with every change."""
    tier = {"now": "4/hour"}
    limit = RateLimit(lambda exchange: tier["now"], algorithm=algorithm, deny_cache=0)
    app = GuardMiddleware(App(), [limit], redis=redis)
    for _ in range(5):  # flapping mints nothing
        for tier["now"] in ("4/hour", "8/hour"):
            await get(app)
    tier["now"] = "4/hour"
    assert (await get(app)).status == 429
    assert len(await redis.execute("KEYS", "guard:l:*")) == 1


async def test_a_function_that_raises_is_a_500_and_counts_nothing(
    limited: Limited, manager: CountingManager, inner: App
) -> None:
    def broken(exchange: Exchange) -> str:
        raise LookupError("no such tenant")

    app = limited(RateLimit("5/hour", name="outer"), RateLimit(broken, name="inner"))
    with pytest.raises(LookupError):  # the server's 500, as for any fault of the app
        await get(app)
    assert (inner.scopes, manager.round_trips) == ([], 0)
    assert not await manager.execute("KEYS", "*")


@pytest.mark.parametrize("garbage", ["", "many", "5/fortnight", "0/hour", "5/hour; x", 5, ["x"], [5], "9" * 600])
async def test_limits_that_are_none_are_a_500_that_says_what_is_wrong(
    limited: Limited, manager: CountingManager, garbage: Any
) -> None:
    app = limited(RateLimit(lambda exchange: garbage))
    with pytest.raises(ConfigurationError, match=r"limits \(GUARD_LIMITS\)"):
        await get(app)
    assert manager.round_trips == 0


async def test_an_empty_list_is_no_limit(limited: Limited) -> None:
    app = limited(RateLimit(lambda exchange: []))
    assert await times(app, 3) == [200] * 3


async def test_two_functions_without_a_name_do_not_write_over_each_other(limited: Limited) -> None:
    with pytest.raises(ConfigurationError, match="count under the same key"):
        limited(RateLimit(lambda exchange: "2/hour"), RateLimit(lambda exchange: "3/hour"))
    app = limited(RateLimit(lambda exchange: "2/hour", algorithm="fixed"), RateLimit("9/hour", algorithm="fixed"))
    assert [await times(app, 3), left(await get(app, client=("192.0.2.9", 1)))] == [[200, 200, 429], {"hour": 8}]


@pytest.mark.parametrize("function", [lambda exchange: "1/hour"])
def test_a_function_stands_alone(function: Any) -> None:
    with pytest.raises(ConfigurationError, match="one function alone"):
        RateLimit(function, "1/hour")


async def later(*asked: Any) -> Any:
    """What guards cannot wait for."""


@pytest.mark.parametrize("option", ["cost", "count_if", "allow", "deny", "key"])
def test_functions_that_would_have_to_be_waited_for_are_faults(option: str) -> None:
    """An unawaited coroutine is true: it would let everybody in, or nobody."""
    with pytest.raises(ConfigurationError, match=rf"{option}.*: .*plain function"):
        RateLimit("1/hour", **{option: later})  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"limits.*plain function"):
        RateLimit(later)
