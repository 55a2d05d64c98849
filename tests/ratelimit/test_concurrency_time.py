"""A `ConcurrencyLimit` where things last: streams, lost leases, killed processes, and Redis being away."""

import asyncio
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from asgi_redis_guard import (
    RateLimit,
    RedisManager,
    RedisUnavailable,
)
from asgi_redis_guard.core.keys import Keys, digest
from asgi_redis_guard.errors import RedisTimeout
from asgi_redis_guard.ratelimit.concurrency import ConcurrencyLimit
from tests.drive import App, get
from tests.middleware.calls import Call, TestRedis, http, responding
from tests.ratelimit.gates import TOO_MANY, Gate, held, stack
from tests.ratelimit.structured import parse_list
from tests.redis.tools import PATIENCE, eventually, until_back
from tests.servers import Server

ROOT = Path(__file__).parent.parent.parent


async def score(redis: RedisManager) -> int:
    """When the lease that ends first does, in µs of the server."""
    (key,) = await redis.execute("KEYS", "guard:c:*")
    (member,) = await redis.execute("ZRANGE", key, 0, 0)
    return int(float(await redis.execute("ZSCORE", key, member)))


async def test_a_stream_that_is_longer_than_the_ttl_keeps_its_place(redis: RedisManager) -> None:
    gate = Gate()
    app = stack(gate, redis, ConcurrencyLimit(1, ttl=1))
    call = Call(app, http(client=("203.0.113.7", 1))).start()
    await gate.runs(1)
    first = await score(redis)
    async with asyncio.timeout(PATIENCE):
        while await score(redis) < first + 1_300_000:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert (await get(app)).status == TOO_MANY
    gate.open.set()
    await call.task
    assert await held(redis) == 0


async def test_a_lost_lease_lets_the_request_go_on_and_its_end_takes_nothing_from_others(
    redis: RedisManager, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "asgi_redis_guard.ratelimit")
    gate = Gate()
    app = stack(gate, redis, ConcurrencyLimit(1, ttl=1))
    first = Call(app).start()
    await gate.runs(1)
    await redis.execute("DEL", *await redis.execute("KEYS", "guard:c:*"))
    await eventually(lambda: "no longer counted" in caplog.text)
    second = Call(app).start()
    await gate.runs(2)
    gate.then = responding()
    first_done = first.task
    first_done.cancel()
    await asyncio.wait([first_done])
    assert await held(redis) == 1, "the other one's"
    gate.open.set()
    await second.task
    assert (second.status, await held(redis)) == (200, 0)
    assert {record.levelname for record in caplog.records} == {"DEBUG"}


async def test_what_a_killed_process_held_comes_back(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        app = stack(App(), redis, ConcurrencyLimit(3, ttl=1))
        words = [sys.executable, "-m", "tests.ratelimit.slots", redis_url, "3", "1"]
        process = await asyncio.create_subprocess_exec(*words, cwd=ROOT, stdout=subprocess.PIPE)
        try:
            assert process.stdout is not None
            assert await asyncio.wait_for(process.stdout.readline(), PATIENCE) == b"holding\n"
            assert (await get(app, client=("203.0.113.9", 1))).status == TOO_MANY
            first = await score(redis)
            async with asyncio.timeout(PATIENCE):
                while await score(redis) < first + 1_000_000:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            assert await held(redis) == 3, "it keeps them for longer than the ttl"
        finally:
            process.kill()
            await process.communicate()
        async with asyncio.timeout(PATIENCE):
            while (await get(app, client=("203.0.113.9", 1))).status == TOO_MANY:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        assert await held(redis) == 0


async def test_local_counts_what_this_process_admits_while_redis_is_away(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    gate = Gate()
    limit = ConcurrencyLimit(2)
    app = stack(gate, fresh_redis, limit)
    fresh_server.kill()
    calls = [Call(app, http(client=("203.0.113.7", 1))).start() for _ in range(2)]
    await gate.runs(2)
    refused = await get(app)
    assert (refused.status, refused["retry-after"], refused["ratelimit"]) == (TOO_MANY, "1", '"concurrency";r=0')
    gate.open.set()
    await asyncio.gather(*[call.task for call in calls])
    assert sorted(dict(call.headers)[b"ratelimit"] for call in calls) == [b'"concurrency";r=0', b'"concurrency";r=1']
    assert (await get(app)).status == 200
    assert limit._local == {}
    fresh_server.start()
    await until_back(fresh_redis)
    assert (await get(app)).status == 200
    assert await held(fresh_redis) == 0


@pytest.mark.parametrize(("on_outage", "status"), [("open", 200), ("closed", 503)])
async def test_open_and_closed_do_as_they_say(memory: TestRedis, on_outage: Any, status: int) -> None:
    app = stack(App(), memory, ConcurrencyLimit(1, on_outage=on_outage))
    memory.away = RedisUnavailable("away")
    for _ in range(3):
        assert (await get(app)).status == status
    memory.away = None
    assert (await get(app)).status == 200


@pytest.mark.parametrize("on_outage", ["local", "open"])
async def test_what_may_have_been_taken_in_a_round_without_a_reply_is_given_back(
    memory: TestRedis, on_outage: Any
) -> None:
    gate = Gate()
    memory.withhold()
    call = Call(stack(gate, memory, ConcurrencyLimit(1, on_outage=on_outage))).start()
    await memory.asked.wait()
    ((later, _),) = memory.withheld or []
    later.set_exception(RedisTimeout("no answer", maybe_executed=True))
    memory.withheld = None
    await gate.runs(1)
    assert await held(memory) == 1
    gate.open.set()
    await call.task
    assert await held(memory) == 0


async def test_a_spoiled_key_is_an_outage_of_this_limit_alone(redis: RedisManager) -> None:
    key = Keys().concurrency(b"default", digest("address", "203.0.113.7"))
    await redis.execute("SET", key, "x")
    app = stack(App(), redis, RateLimit("9/hour"), ConcurrencyLimit(1))
    response = await get(app)
    assert (response.status, parse_list(response["ratelimit"])[1]) == (200, ("concurrency", {"r": 0}))
