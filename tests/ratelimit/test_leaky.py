"""Leaky buckets: what comes at once waits for its turn. No time passes here: the waits are noted."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import GuardMiddleware, RateLimit, RedisManager, RedisUnavailable
from tests.drive import App, get
from tests.middleware.calls import Call, TestRedis, settled
from tests.ratelimit.said import left, times
from tests.redis.tools import eventually


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that requests have waited, none of which pass."""
    noted: list[float] = []

    async def wait_for(step: Any) -> None:
        assert step.what is None
        noted.append(step.deadline)

    monkeypatch.setattr("asgi_redis_guard.middleware.engine.wait_for", wait_for)
    return noted


def leaky(limit: str = "60/hour", **options: Any) -> RateLimit:
    return RateLimit(limit, **{"algorithm": "leaky", "burst": 3, **options})


async def test_each_waits_until_the_one_before_it_has_leaked(redis: RedisManager, waits: list[float]) -> None:
    app = GuardMiddleware(App(), [leaky()], redis=redis)
    assert await times(app, 5) == [200, 200, 200, 429, 429]
    assert [round(wait / 60) for wait in waits] == [1, 2]
    assert all(wait <= 60 * turn for turn, wait in enumerate(waits, start=1))


async def test_clients_wait_for_themselves_alone(memory: TestRedis, waits: list[float]) -> None:
    app = GuardMiddleware(App(), [leaky()], redis=memory)
    for number in range(5):
        await times(app, 1, client=(f"192.0.2.{number}", 1))
    assert waits == []


async def test_a_dear_request_takes_its_place_and_waits_for_those_before_it(
    memory: TestRedis, waits: list[float]
) -> None:
    costs = iter([2, 1])
    app = GuardMiddleware(App(), [leaky(cost=lambda exchange: next(costs))], redis=memory)
    assert await times(app, 2) == [200, 200]
    assert [round(wait / 60) for wait in waits] == [2]


async def test_a_request_that_only_looks_does_not_wait(memory: TestRedis, waits: list[float]) -> None:
    app = GuardMiddleware(App(), [leaky(cost=lambda exchange: int(exchange.path == "/"))], redis=memory)
    assert await times(app, 3) == [200] * 3
    waits.clear()
    assert await times(app, 1, "/look") == [200]
    assert waits == []


async def test_the_slowest_of_several_is_waited_for(memory: TestRedis, waits: list[float]) -> None:
    app = GuardMiddleware(App(), [leaky("60/hour; 24/day")], redis=memory)
    assert await times(app, 2) == [200, 200]
    assert [round(wait / 3600) for wait in waits] == [1]


async def test_what_was_refused_waits_for_nothing_and_takes_no_place(memory: TestRedis, waits: list[float]) -> None:
    app = GuardMiddleware(App(), [leaky(burst=1, deny_cache=0)], redis=memory)
    refused = [await get(app) for _ in range(4)][1:]
    assert waits == []
    assert {one.status for one in refused} == {429}
    assert all(0 < int(one["retry-after"]) <= 60 for one in refused)


async def test_while_redis_is_away_nobody_waits(memory: TestRedis, waits: list[float]) -> None:
    memory.away = RedisUnavailable()
    assert await times(GuardMiddleware(App(), [leaky()], redis=memory), 3) == [200] * 3
    assert waits == []


async def test_guards_behind_decide_after_the_wait(memory: TestRedis, waits: list[float]) -> None:
    app = GuardMiddleware(App(), [leaky(), RateLimit("9/hour", name="behind", algorithm="fixed")], redis=memory)
    said = [await get(app) for _ in range(3)]
    assert [left(one)["behind"] for one in said] == [8, 7, 6]
    assert len(memory.rounds) == 3


async def test_a_request_that_is_cancelled_while_it_waits_never_runs(memory: TestRedis) -> None:
    inner = App()
    app = GuardMiddleware(inner, [leaky(settle=True)], redis=memory)
    await Call(app).run()
    call = Call(app).start()
    await eventually(lambda: len(memory.rounds) == 2)
    for _ in range(50):  # the reply is there, and the request waits
        await asyncio.sleep(0)
    assert not call.task.done()
    call.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call.task
    await settled(memory)
    assert (len(inner.scopes), call.sent) == (1, [])
