"""`RouteLock` while Redis is away: nobody runs without a lock unless that was asked for, and no lock is left behind."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import RateLimit, RedisManager, RedisUnavailable
from asgi_redis_guard.core.keys import Keys
from asgi_redis_guard.errors import RedisTimeout
from asgi_redis_guard.locks.guard import RouteLock
from asgi_redis_guard.locks.operations import Claim
from asgi_redis_guard.testing import FaultProxy
from tests.drive import App, get
from tests.guards import asking, count
from tests.locks.test_route_lock_waiting import marked
from tests.locks.work import Work, held, stack
from tests.middleware.calls import Call, TestRedis
from tests.redis.tools import PATIENCE, eventually
from tests.servers import Server


@pytest.mark.parametrize("wait", [0, 5])
@pytest.mark.parametrize(("on_outage", "status"), [("open", 200), ("closed", 503)])
async def test_open_and_closed_do_as_they_say(memory: TestRedis, on_outage: Any, status: int, wait: float) -> None:
    app = App()
    guarded = stack(app, memory, RouteLock("x", on_outage=on_outage, wait=wait))
    memory.away = RedisUnavailable("away")
    for _ in range(3):
        response = await get(guarded)
        assert (response.status, bool(response.all("retry-after"))) == (status, status == 503)
    assert [scope["lock"] for scope in app.scopes] == ([None] * 3 if status == 200 else [])
    memory.away = None
    assert (await get(guarded)).status == 200
    assert app.scope["lock"].fence > 0


@pytest.mark.parametrize("keys", [["x"], ["x", "y"]])
@pytest.mark.parametrize(("on_outage", "status"), [("open", 200), ("closed", 503)])
async def test_what_may_have_been_taken_in_a_round_without_a_reply_is_given_back(
    memory: TestRedis, on_outage: Any, status: int, keys: list[str]
) -> None:
    memory.withhold()
    call = Call(stack(App(), memory, RouteLock(keys, on_outage=on_outage))).start()
    await memory.asked.wait()
    ((later, _),) = memory.withheld or []
    memory.withheld = None
    assert len(await memory.execute("KEYS", "guard:k:*")) == len(keys)
    later.set_exception(RedisTimeout("no answer", maybe_executed=True))
    await call.task
    assert call.status == status
    assert await held(memory) == 0


async def test_while_it_waits_redis_may_be_away_for_a_while(memory: TestRedis) -> None:
    work = Work()
    app = stack(work, memory, RouteLock("x", wait=PATIENCE, ttl=60))
    first = Call(app).start()
    await work.runs(1)
    second = Call(app).start()
    await eventually(lambda: bool(memory.flights))
    memory.away = RedisUnavailable("away")
    work.open.set()
    await first.task
    await asyncio.sleep(0.05)
    memory.away = None
    await second.task
    assert second.status == 200
    assert await held(memory) == 0


@pytest.mark.parametrize(("on_outage", "status"), [("open", 200), ("closed", 503)])
async def test_where_redis_is_away_until_the_wait_is_over_it_is_an_outage_and_not_busy(
    fresh_redis: RedisManager, fresh_server: Server, on_outage: Any, status: int
) -> None:
    """Who held it would have been through by then, and nobody can tell."""
    key = Claim.of(Keys(), ("x",), "token", 30).keys[0]
    await fresh_redis.execute("SET", key, "-" + "0" * 16 + "another", "PX", 700)
    call = Call(stack(App(), fresh_redis, RouteLock("x", wait=2, on_outage=on_outage))).start()
    await marked(fresh_redis)
    fresh_server.kill()
    await call.task
    assert call.status == status
    assert b"cannot be taken now" in call.body or status == 200


@pytest.mark.parametrize(("on_outage", "status"), [("open", 200), ("closed", 503)])
async def test_who_waits_is_told_when_the_connections_are_closed(on_outage: Any, status: int) -> None:
    async with TestRedis(timeout=PATIENCE) as redis:
        work, app = Work(), App()
        first = Call(stack(work, redis, RouteLock("x"))).start()
        await work.runs(1)
        lock = RouteLock("x", wait=PATIENCE, on_outage=on_outage)
        others = [Call(stack(app, redis, lock)).start() for _ in range(2)]
        await eventually(lambda: sum(flight.waiting for flight in redis.flights._flights.values()) == 1)
        closing = asyncio.ensure_future(redis.aclose())
        await asyncio.gather(*[call.task for call in others])
        assert [call.status for call in others] == [status] * 2
        assert [scope["lock"] for scope in app.scopes] == ([None] * 2 if status == 200 else [])
        work.open.set()
        await asyncio.wait([first.task, closing])


async def test_where_redis_is_away_at_the_end_the_release_is_tried_again(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    async with FaultProxy(fresh_server.path) as proxy, RedisManager(proxy.url, timeout=0.3) as manager:
        work = Work()
        call = Call(stack(work, manager, RouteLock("x", ttl=60))).start()
        await work.runs(1)
        proxy.refuse()
        work.open.set()
        await call.task
        assert call.status == 200
        assert len(await fresh_redis.execute("KEYS", "guard:k:*")) == 1
        proxy.heal()
        async with asyncio.timeout(PATIENCE):
            while await fresh_redis.execute("KEYS", "guard:k:*"):  # noqa: ASYNC110
                await asyncio.sleep(0.02)


async def test_a_spoiled_key_is_an_outage_of_this_lock_alone(manager: RedisManager) -> None:
    claim = Claim.of(Keys(), ("x",), "token", 30)
    await manager.execute("LPUSH", claim.keys[0], "no lock")
    outcomes: list[tuple[Any, int]] = [("closed", 503), ("open", 200)]
    for on_outage, status in outcomes:
        app = stack(App(), manager, RateLimit("9/hour"), RouteLock("x", on_outage=on_outage), asking(count(on_outage)))
        response = await get(app)
        assert (response.status, bool(response.all("ratelimit"))) == (status, True)
        assert bool(await manager.execute("EXISTS", on_outage)) == (status == 200), "what is refused counts nothing"
    assert await manager.execute("TYPE", claim.keys[0]) in (b"list", "list")


async def test_where_one_of_several_keys_is_spoiled_the_others_are_given_back(manager: RedisManager) -> None:
    claim = Claim.of(Keys(), ("y",), "token", 30)
    await manager.execute("LPUSH", claim.keys[0], "no lock")
    for on_outage, status in (("closed", 503), ("open", 200)):
        assert (await get(stack(App(), manager, RouteLock(["x", "y"], on_outage=on_outage)))).status == status
        assert await held(manager) == 1, "what is no lock"


async def test_a_server_that_comes_back_empty_has_given_the_lock_to_nobody_and_its_holder_is_told(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    work = Work()
    call = Call(stack(work, fresh_redis, RouteLock("x", ttl=1))).start()
    await work.runs(1)
    fence = work.lock.fence
    fresh_server.kill()
    fresh_server.start()
    await call.task
    assert (call.status, work.ended) == (503, [asyncio.CancelledError])
    app = App()
    assert (await get(stack(app, fresh_redis, RouteLock("x")))).status == 200
    assert app.scope["lock"].fence > fence
