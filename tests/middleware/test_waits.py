"""What guards wait for in Redis: the end of a key, a large value."""

import asyncio
from typing import Any

import pytest

from asgi_redis_guard import RedisManager, RedisUnavailable
from asgi_redis_guard.middleware import waits
from asgi_redis_guard.middleware.trips import RoundTrips
from asgi_redis_guard.testing import FaultProxy, RoundTripCounter
from tests.redis.tools import PATIENCE, eventually, within
from tests.servers import Server

KEY, WORD = b"guard:rf:key", b"fkey"


def waiting(redis: RedisManager) -> "asyncio.Task[None]":
    """Begin to wait until the key is gone."""
    return asyncio.ensure_future(RoundTrips(redis).gone("cache", WORD, KEY).wait())


async def test_a_key_that_was_never_there_is_gone(backend: str) -> None:
    async with RedisManager(backend, timeout=PATIENCE) as redis:
        await within(waiting(redis))


async def test_who_deletes_it_says_so(backend: str) -> None:
    async with RedisManager(backend, timeout=PATIENCE) as redis:
        await redis.execute("SET", KEY, "xw", "PX", 60_000)
        task = waiting(redis)
        await eventually(lambda: redis.pubsub.feed._watches)
        await redis.pubsub.feed.tell("cache", [b"fother"])
        await redis.execute("DEL", KEY)
        await redis.pubsub.feed.tell("cache", [WORD])
        await within(task)
        assert not redis.pubsub.feed._watches


async def test_it_ends_by_its_time_in_silence(backend: str) -> None:
    async with RedisManager(backend, timeout=PATIENCE) as redis:
        await redis.execute("SET", KEY, "xw", "PX", 150)
        await within(waiting(redis))
        assert await redis.execute("EXISTS", KEY) == 0


async def test_one_that_was_renewed_is_waited_for_on(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        await redis.execute("SET", KEY, "xw", "PX", 150)
        task = waiting(redis)
        await eventually(lambda: any(w.timer for s in redis.pubsub.feed._watches.values() for w in s))
        await redis.execute("PEXPIRE", KEY, 60_000)
        await asyncio.wait((task,), timeout=0.4)
        assert not task.done()
        task.cancel()
        await asyncio.wait((task,))
        assert not redis.pubsub.feed._watches


async def test_it_looks_only_when_the_subscription_is_confirmed(redis_url: str) -> None:
    """What is said between a look and the subscription would be lost."""
    async with RoundTripCounter(redis_url) as proxy, RedisManager(proxy.url, timeout=PATIENCE) as redis:
        await redis.execute("SET", KEY, "xw", "PX", 60_000)
        proxy.reset()
        task = waiting(redis)
        await eventually(lambda: b"PTTL" in proxy.commands)
        assert proxy.commands.index(b"SUBSCRIBE") < proxy.commands.index(b"PTTL")
        await redis.execute("DEL", KEY)
        await redis.pubsub.feed.tell("cache", [WORD])
        await within(task)
        assert proxy.commands.count(b"PTTL") == 1, "woken, it does not ask again"


async def test_one_that_nobody_is_known_to_wait_for_is_another_one(backend: str) -> None:
    """It ended, and was made anew, before its end would have been heard; of the end of this one nobody would speak."""
    async with RedisManager(backend, timeout=PATIENCE) as redis:
        await redis.execute("SET", KEY, "x", "PX", 60_000)
        await within(waiting(redis))


async def test_what_this_process_has_itself_by_now_is_not_waited_for(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        await redis.execute("SET", KEY, RoundTrips(redis).identity + b"w", "PX", 60_000)
        await within(waiting(redis))


async def test_who_could_not_look_looks_again(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the connection that hears words stands, no gap tells anybody to look."""
    monkeypatch.setattr(waits, "_LOOK_AGAIN", 0.01)
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        await redis.execute("SET", KEY, "xw", "PX", 60_000)
        execute, failed = redis.execute, asyncio.Event()

        async def away(*args: Any) -> Any:
            failed.set()
            raise RedisUnavailable("away")

        monkeypatch.setattr(redis, "execute", away)
        task = waiting(redis)
        await within(failed.wait())
        monkeypatch.setattr(redis, "execute", execute)
        await redis.execute("DEL", KEY)
        await within(task)


async def test_what_was_said_in_a_gap_is_found_after_it(redis_url: str, valkey: Server) -> None:
    async with FaultProxy(redis_url) as proxy, RedisManager(proxy.url, timeout=PATIENCE) as redis:
        await redis.execute("SET", KEY, "xw", "PX", 60_000)
        task = waiting(redis)
        await eventually(lambda: any(w.timer for s in redis.pubsub.feed._watches.values() for w in s))
        proxy.refuse()
        proxy.reset_all()
        await asyncio.to_thread(valkey.command, "DEL", KEY)
        await asyncio.to_thread(valkey.command, "PUBLISH", "guard:cache", WORD)
        proxy.heal()
        await within(task)


async def test_a_value_is_fetched_on_the_second_lane(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        value = b"v" * 100_000
        await redis.execute("SET", KEY, value)
        trips = RoundTrips(redis)
        assert await trips.fetch(KEY).wait() == value
        assert await trips.fetch(b"nothing").wait() is None


async def test_a_value_that_cannot_be_had_is_none(fresh_server: Server) -> None:
    async with RedisManager(fresh_server.url, timeout=0.3) as redis:
        await redis.execute("SET", KEY, "x")
        await asyncio.to_thread(fresh_server.kill)
        assert await within(RoundTrips(redis).fetch(KEY).wait()) is None


@pytest.mark.parametrize("number", [1, 50])
async def test_who_stops_waiting_leaves_nothing(redis_url: str, number: int) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        await redis.execute("SET", KEY, "xw", "PX", 60_000)
        tasks = [waiting(redis) for _ in range(number)]
        await eventually(lambda: redis.pubsub.feed._watches)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert not redis.pubsub.feed._watches
