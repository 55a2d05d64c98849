"""Shadow mode: what would be refused is told to the hooks, and to nobody else."""

from typing import Any

import pytest

from asgi_redis_guard import Decision, GuardMiddleware, RateLimit, RedisManager, RedisUnavailable
from asgi_redis_guard.ratelimit.ledger import Ban
from tests.drive import App, get
from tests.middleware.calls import Call, TestRedis, responding
from tests.ratelimit.said import left, times

HOUR: dict[str, Any] = {"algorithm": "fixed"}


@pytest.fixture
def seen() -> list[Decision]:
    return []


def told(seen: list[Decision]) -> list[tuple[str, str, int | None]]:
    found = [(event.outcome, event.reason, event.status) for event in seen if event.guard == "shadow"]
    seen.clear()
    return found


def shadow(limit: str = "1/hour", **options: Any) -> RateLimit:
    return RateLimit(limit, name="shadow", shadow=True, **{**HOUR, **options})


WOULD = ("passed", "would_be_rate_limited", None)
PASSED = ("passed", "", None)


@pytest.mark.parametrize("algorithm", ["gcra", "fixed", "counter", "log", "calendar", "leaky"])
async def test_it_decides_and_reports_and_refuses_nobody(
    redis: RedisManager, seen: list[Decision], algorithm: Any
) -> None:
    app = GuardMiddleware(App(), [shadow(algorithm=algorithm)], redis=redis, hooks=[seen.append])
    assert await times(app, 4) == [200] * 4
    assert told(seen) == [PASSED, WOULD, WOULD, WOULD]
    response = await get(app, headers={"origin": "https://a"})
    assert [name for name, _ in response.headers if b"limit" in name or b"access" in name or b"retry" in name] == []


async def test_it_has_no_effect_on_the_limits_around_it(redis: RedisManager, seen: list[Decision]) -> None:
    guards = [RateLimit("9/hour", name="outer", **HOUR), shadow("2/hour"), RateLimit("3/hour", name="inner", **HOUR)]
    app = GuardMiddleware(App(), guards, redis=redis, hooks=[seen.append])
    said = [await get(app) for _ in range(5)]
    assert [one.status for one in said] == [200, 200, 200, 429, 429]
    assert [left(one) for one in said] == [
        {"outer": 8, "inner": 2},
        {"outer": 7, "inner": 1},
        {"outer": 6, "inner": 0},
        {"outer": 6, "inner": 0},
        {"outer": 6, "inner": 0},
    ]
    assert told(seen) == [PASSED, PASSED, WOULD, WOULD, WOULD]


async def test_what_another_limit_refuses_it_does_not_count(redis: RedisManager) -> None:
    app = GuardMiddleware(App(), [shadow("3/hour"), RateLimit("1/hour", deny_cache=0)], redis=redis)
    assert await times(app, 9) == [200, *[429] * 8]
    looking = GuardMiddleware(App(), [RateLimit("3/hour", name="shadow", **HOUR)], redis=redis)
    assert left(await get(looking)) == {"shadow": 1}


async def test_a_ban_in_shadow_bans_nobody(redis: RedisManager, seen: list[Decision]) -> None:
    app = GuardMiddleware(App(), [shadow(ban=Ban(after=1))], redis=redis, hooks=[seen.append])
    assert await times(app, 4) == [200] * 4
    assert told(seen) == [PASSED, WOULD, WOULD, WOULD]


@pytest.mark.parametrize(
    "options",
    [{"deny": ["203.0.113.0/24"]}, {"key": "header:x"}, {"on_outage": "closed"}, {"on_outage": "local"}],
)
async def test_nothing_else_refuses_in_shadow_either(memory: TestRedis, options: dict[str, Any]) -> None:
    if "on_outage" in options:
        memory.away = RedisUnavailable()
    app = GuardMiddleware(App(), [shadow(**options)], redis=memory)
    assert await times(app, 4) == [200] * 4


async def test_nothing_is_remembered_or_waited_for(memory: TestRedis) -> None:
    guard = shadow("1/hour", algorithm="leaky", burst=1)
    app = GuardMiddleware(App(), [guard], redis=memory)
    await times(app, 5)
    assert len(memory.rounds) == 5
    assert not guard.denials.held


@pytest.mark.parametrize("exceeded", [False, True])
async def test_the_app_has_its_charge_whether_the_limit_would_refuse_or_not(memory: TestRedis, exceeded: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["rate_limits"]["shadow"].settle(1)
        await responding()(scope, receive, send)

    stack = GuardMiddleware(app, [shadow(cost=lambda exchange: 2 if exceeded else 1, settle=True)], redis=memory)
    assert (await Call(stack).run()).status == 200


async def test_without_shadow_the_same_counts_are_gone_on_with(redis: RedisManager) -> None:
    """What was learned in shadow holds when it is taken away."""
    app = GuardMiddleware(App(), [shadow("3/hour")], redis=redis)
    assert await times(app, 2) == [200] * 2
    real = GuardMiddleware(App(), [RateLimit("3/hour", name="shadow", **HOUR)], redis=redis)
    assert await times(real, 2) == [200, 429]
