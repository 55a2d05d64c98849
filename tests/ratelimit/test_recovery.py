"""What was counted in a process while Redis was away: its share of the limit, told to Redis when that is back."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, RateLimit, RateLimitMiddleware, RedisManager, RedisUnavailable
from asgi_redis_guard.middleware.routed import DECLARED
from asgi_redis_guard.ratelimit.decorator import rate_limit
from tests.drive import App, get
from tests.middleware.calls import TestRedis, responding, settled
from tests.ratelimit.said import left, statuses, times
from tests.ratelimit.test_local import Local
from tests.redis.tools import PATIENCE, eventually, until_back
from tests.servers import Server

NOW = 1_700_000_000.0
ALGORITHMS = ["gcra", "fixed", "counter", "log", "calendar"]


@pytest.fixture(autouse=True)
def decorated_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the engine its shorter way for the tests of others."""
    monkeypatch.setattr(DECLARED, "any", False)


def away(memory: TestRedis, is_away: bool = True) -> None:
    memory.away = RedisUnavailable() if is_away else None


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_there_is_no_second_burst_when_redis_is_back(memory: TestRedis, algorithm: Any) -> None:
    app = GuardMiddleware(App(), [RateLimit("10/hour", algorithm=algorithm, deny_cache=0)], redis=memory)
    away(memory)
    assert await times(app, 12) == [200] * 10 + [429] * 2
    away(memory, False)
    assert await times(app, 9) == [200] + [429] * 8, "the first is counted before Redis is told"


async def test_redis_is_told_once_by_requests_that_come_at_once(memory: TestRedis) -> None:
    """Else each of them would be counted as all that was counted before."""
    guard = RateLimit("1000/hour", algorithm="fixed")
    app = GuardMiddleware(App(), [guard], redis=memory, clock=lambda: NOW)
    away(memory)
    await times(app, 100)
    away(memory, False)
    memory.withhold()
    mine = [asyncio.ensure_future(get(app)) for _ in range(21)]
    await eventually(lambda: len(memory.rounds) == 21)
    memory.give()
    await asyncio.gather(*mine)
    assert sum(round.count("ratelimit.fixed_settle") for round in memory.rounds) == 1
    assert left(await get(app)) == {"hour": 1000 - 100 - 21 - 1}
    assert not guard.local.windows


async def test_what_is_counted_while_redis_is_being_told_is_not_forgotten() -> None:
    local = Local("10/hour")
    local.decide(b"a", 3, NOW)
    assert local.limits.owed(local.plan, b"a", NOW) == [3]
    assert local.limits.owed(local.plan, b"a", NOW) == [], "somebody is telling"
    local.decide(b"a", 2, NOW)
    local.limits.told(local.plan, b"a", [3])
    assert local.limits.owed(local.plan, b"a", NOW) == [2]
    local.limits.told(local.plan, b"a", None)
    assert local.limits.owed(local.plan, b"a", NOW) == [2], "it could not be told"
    assert local.limits.owed(local.plan, b"a", NOW + 1.5) == [2], "whoever was telling has never come back"
    assert local.limits.owed(local.plan, b"a", NOW - 999) == [2], "a clock was set back"
    local.limits.told(local.plan, b"a", [2])
    assert not local.limits.windows


async def test_what_could_not_be_told_is_told_by_the_next(memory: TestRedis) -> None:
    app = GuardMiddleware(App(), [RateLimit("10/hour", algorithm="fixed")], redis=memory, clock=lambda: NOW)
    away(memory)
    await times(app, 5)
    away(memory, False)
    assert [left(await get(app)) for _ in range(2)] == [{"hour": 9}, {"hour": 3}]


async def test_what_another_guard_held_back_is_told_later(memory: TestRedis) -> None:
    tight = RateLimit("1/hour", name="tight", key="header:x", algorithm="fixed", deny_cache=0)
    wide = RateLimit("10/hour", name="wide", algorithm="fixed")
    clock = [NOW]
    app = GuardMiddleware(App(), [tight, wide], redis=memory, clock=lambda: clock[0])
    for number in range(4):
        away(memory, number > 0)
        await times(app, 1, headers={"x": str(number)})
    away(memory, False)
    assert await times(app, 2, headers={"x": "0"}) == [429, 429]
    assert wide.local.windows
    clock[0] += 1
    await get(app, headers={"x": "8"})
    assert left(await get(app, headers={"x": "9"}))["wide"] == 10 - 1 - 3 - 2


async def test_two_processes_tell_what_each_of_them_has_counted(fresh_server: Server) -> None:
    async with (
        RedisManager(fresh_server.url, timeout=PATIENCE) as here,
        RedisManager(fresh_server.url, timeout=PATIENCE) as there,
    ):
        limits = [RateLimit("20/hour", algorithm="fixed", workers=2) for _ in range(2)]
        apps = [
            GuardMiddleware(App(), [limit], redis=redis) for limit, redis in zip(limits, (here, there), strict=True)
        ]
        assert [await times(app, 1) for app in apps] == [[200], [200]]
        fresh_server.kill()
        assert [await times(app, 11) for app in apps] == [[*[200] * 10, 429]] * 2, "each its part"
        fresh_server.start()
        await asyncio.gather(until_back(here), until_back(there))
        assert [await times(app, 3) for app in apps] == [[200, 200, 200], [200, 429, 429]]
        assert [await times(app, 1) for app in apps] == [[429], [429]]


@pytest.mark.parametrize(("workers", "most"), [(1, 10), (3, 3), (10, 1), (99, 1)])
async def test_workers_share_a_limit(memory: TestRedis, workers: int, most: int) -> None:
    app = GuardMiddleware(App(), [RateLimit("10/hour", workers=workers)], redis=memory)
    away(memory)
    assert (await times(app, 12)).count(200) == most


async def test_a_flood_while_redis_is_away_takes_a_bounded_amount_of_memory(memory: TestRedis) -> None:
    guard = RateLimit("10/hour", local_keys=10)
    app = GuardMiddleware(App(), [guard], redis=memory)
    away(memory)
    for number in range(100):
        await times(app, 1, client=(f"192.0.2.{number}", 1))
        assert len(guard.local.windows) <= 10


async def test_what_was_counted_in_a_window_that_is_over_is_not_told(memory: TestRedis) -> None:
    clock = [NOW]
    app = GuardMiddleware(App(), [RateLimit("10/minute", algorithm="fixed")], redis=memory, clock=lambda: clock[0])
    away(memory)
    await times(app, 10)
    away(memory, False)
    clock[0] += 61
    assert await times(app, 10) == [200] * 10


def with_limited_route(algorithm: Any, redis: RedisManager) -> RateLimitMiddleware:
    """Three requests an hour, one of them to `/route`."""

    async def route() -> None:
        """A route function."""

    inner = rate_limit("1/hour", name="inner", algorithm=algorithm)(route)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/route":
            await inner()
        await responding()(scope, receive, send)

    return RateLimitMiddleware(app, "3/hour", name="outer", algorithm=algorithm, redis=redis)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_route_s_refusal_gives_outer_limits_back_while_redis_is_away(memory: TestRedis, algorithm: Any) -> None:
    stack = with_limited_route(algorithm, memory)
    away(memory)
    assert await statuses(stack, *["/route"] * 9, "/", "/", "/") == [200, *[429] * 8, 200, 200, 429]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
async def test_a_route_s_refusal_gives_outer_limits_back(redis: RedisManager, algorithm: Any) -> None:
    stack = with_limited_route(algorithm, redis)
    assert await statuses(stack, *["/route"] * 9, "/", "/", "/") == [200, *[429] * 8, 200, 200, 429]


@pytest.mark.parametrize("kind", ["settle", "count_if"])
async def test_what_a_route_s_refusal_gave_back_is_not_settled_once_more(memory: TestRedis, kind: str) -> None:
    async def route() -> None:
        """A route function."""

    inner = rate_limit("1/hour", name="inner")(route)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if kind == "settle":
            scope["rate_limits"]["outer"].settle(7)
        await inner()
        await responding()(scope, receive, send)

    options: Any = {"settle": True} if kind == "settle" else {"count_if": [200]}
    stack = RateLimitMiddleware(app, "100/hour", name="outer", algorithm="fixed", cost=5, redis=memory, **options)
    said = []
    for _ in range(4):
        said.append((await get(stack)).status)
        await settled(memory)
    assert said == [200, 429, 429, 429]
    assert sum(one.count("ratelimit.fixed_settle") for one in memory.rounds) == 3 + (kind == "settle")
    looking = GuardMiddleware(App(), [RateLimit("100/hour", name="outer", algorithm="fixed", cost=0)], redis=memory)
    assert left(await get(looking)) == {"outer": 100 - (7 if kind == "settle" else 5)}


async def test_a_charge_of_an_outage_is_settled_with_redis_when_that_is_back(memory: TestRedis) -> None:
    """Reserved here, told to Redis by another request, and only then settled."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/long":
            running.set()
            await gate.wait()
            scope["rate_limits"]["tokens"].settle(60)
        await responding()(scope, receive, send)

    running, gate = asyncio.Event(), asyncio.Event()
    limit = RateLimit("100/hour", name="tokens", cost=5, settle=True, algorithm="fixed")
    stack = GuardMiddleware(app, [limit], redis=memory)
    away(memory)
    long = asyncio.ensure_future(get(stack, "/long"))
    await running.wait()
    away(memory, False)
    await get(stack)
    gate.set()
    await long
    await settled(memory)
    assert left(await get(stack)) == {"tokens": 100 - 60 - 5 - 5}


async def test_an_outage_in_the_middle_keeps_what_was_reserved(memory: TestRedis) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        away(memory)
        scope["rate_limits"]["tokens"].settle(60)
        await responding()(scope, receive, send)

    limit = RateLimit("100/hour", name="tokens", cost=5, settle=True, algorithm="fixed")
    assert (await get(GuardMiddleware(app, [limit], redis=memory))).status == 200
    await settled(memory)
    away(memory, False)
    looking = GuardMiddleware(App(), [RateLimit("100/hour", name="tokens", algorithm="fixed", cost=0)], redis=memory)
    assert left(await get(looking)) == {"tokens": 95}


@pytest.mark.parametrize("actual", [0, 3, 30])
async def test_a_charge_is_settled_here_while_redis_is_away(memory: TestRedis, actual: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        scope["rate_limits"]["tokens"].settle(actual)
        await responding()(scope, receive, send)

    limit = RateLimit("100/hour", name="tokens", cost=5, settle=True)
    stack = GuardMiddleware(app, [limit], redis=memory)
    away(memory)
    await get(stack)
    assert left(await get(stack)) == {"tokens": 100 - actual - 5}
