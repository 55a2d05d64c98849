"""Values that are missing: made once in all processes, handed over, kept stale, never older than an invalidation."""

import asyncio
import threading
from typing import Any

import pytest

from asgi_redis_guard import Cache, RedisManager, RedisUnavailable
from asgi_redis_guard.testing import FaultProxy
from tests.cache.two import Made, settled, two
from tests.redis.tools import PATIENCE, eventually, until_back, within
from tests.servers import Server


def waiting(cache: Cache) -> int:
    """How many wait in this process for another's fill."""
    return sum(flight.waiting for flight in cache.redis.flights._flights.values())


async def asks(cache: Cache, count: int, make: Any, **options: Any) -> list[asyncio.Task[Any]]:
    return [asyncio.create_task(cache.get_or_set("k", make, **options)) for _ in range(count)]


async def test_a_missing_value_is_made_once_in_all_processes(caches: tuple[Cache, Cache]) -> None:
    made = Made([1], held=True)
    tasks = [task for cache in caches for task in await asks(cache, 30, made)]
    await eventually(lambda: sum(map(waiting, caches)) >= 58)
    made.go_on.set()
    values = await within(asyncio.gather(*tasks))
    assert (values, made.runs) == ([[1]] * 60, 1)
    values[0].append(2)
    assert values[1:] == [[1]] * 59, "each has its own"


async def test_a_plain_function_runs_in_a_thread_and_its_awaitable_is_awaited(cache: Cache) -> None:
    assert await cache.get_or_set("thread", threading.get_ident) != threading.get_ident()
    assert await cache.get_or_set("lambda", lambda: Made("made")()) == "made"


async def test_what_a_maker_raises_goes_to_its_caller_and_the_next_tries(caches: tuple[Cache, Cache]) -> None:
    made = Made(ZeroDivisionError("first"), "second", held=True)
    (first,) = await asks(caches[0], 1, made)
    await made.began.wait()
    others = [*await asks(caches[0], 5, made), *await asks(caches[1], 5, made)]
    await eventually(lambda: sum(map(waiting, caches)) >= 9)
    made.go_on.set()
    with pytest.raises(ZeroDivisionError, match="first"):
        await first
    assert await within(asyncio.gather(*others)) == ["second"] * 10
    assert made.runs == 2


async def test_a_cancelled_caller_hands_over(caches: tuple[Cache, Cache]) -> None:
    made = Made("first", "second", held=True)
    (first,) = await asks(caches[0], 1, made)
    await made.began.wait()
    others = [*await asks(caches[0], 2, made), *await asks(caches[1], 2, made)]
    await eventually(lambda: sum(map(waiting, caches)) >= 3)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    made.go_on.set()
    assert await within(asyncio.gather(*others)) == ["second"] * 4
    assert made.runs == 2
    for cache in caches:
        assert len(cache.redis.flights) == 0


async def test_a_lookup_that_is_cancelled_leaves_no_fill_taken(caches: tuple[Cache, Cache]) -> None:
    cache, other = caches
    for _ in range(5):
        (task,) = await asks(cache, 1, Made(held=True))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await settled(cache)
        assert await within(other.get_or_set("k", Made("made")), 3) == "made", "it waits for no lease to end"
        await other.delete("k")


@pytest.mark.parametrize("how", ["tags", "keys", "namespace", "delete"])
async def test_what_is_invalidated_while_it_is_made_is_not_kept(caches: tuple[Cache, Cache], how: str) -> None:
    cache, other = caches
    made = Made("old", "new", held=True)
    (first,) = await asks(cache, 1, made, tags=["t"])
    await made.began.wait()
    match how:
        case "tags":
            await other.invalidate(["t"])
        case "keys":
            await other.invalidate(keys=["k"])
        case "namespace":
            await other.clear_namespace()
        case _:
            await other.delete("k")
    (follower,) = await asks(cache, 1, made, tags=["t"])
    await eventually(lambda: waiting(cache) == 1)
    made.go_on.set()
    assert await first == "old"
    assert await within(follower) == "new", "who asked after the invalidation never gets what was before it"
    assert await other.get("k") == "new"


async def test_a_value_that_was_set_is_not_overwritten_by_what_was_being_made_before(
    caches: tuple[Cache, Cache],
) -> None:
    cache, other = caches
    made = Made("from before", held=True)
    (first,) = await asks(cache, 1, made)
    await made.began.wait()
    await other.set("k", "set")
    made.go_on.set()
    assert await first == "from before"
    assert [await one.get("k") for one in caches] == ["set", "set"]


async def test_a_stale_value_is_returned_while_one_makes_it_anew_behind(caches: tuple[Cache, Cache]) -> None:
    cache, other = caches
    made = Made("old", "new", held=True)
    made.go_on.set()
    assert await cache.get_or_set("k", made, swr=100, tags=["t"]) == "old"
    await other.invalidate(["t"], soft=True)
    made.go_on.clear()
    assert (
        await within(asyncio.gather(*await asks(cache, 9, made, swr=100), *await asks(other, 9, made))) == ["old"] * 18
    )
    made.go_on.set()
    for one in caches:
        await settled(one)
    assert made.runs == 2
    assert [await one.get("k") for one in caches] == ["new", "new"]


async def test_where_the_maker_fails_a_stale_value_stands_in_if_that_was_allowed(
    caches: tuple[Cache, Cache], caplog: pytest.LogCaptureFixture
) -> None:
    cache, other = caches
    for key, sie in (("k", 100.0), ("strict", 0.0)):
        await cache.set(key, "old", sie=sie)
    await cache.invalidate(keys=["k", "strict"], soft=True)
    made = Made(ZeroDivisionError("broken"), held=True)
    tasks = await asks(cache, 5, made, sie=100)
    await eventually(lambda: waiting(cache) == 4)
    made.go_on.set()
    assert await within(asyncio.gather(*tasks)) == ["old"] * 5
    assert made.runs == 1, "a maker that fails is not run by each who waits"
    assert await other.get_or_set("k", Made("new")) == "new"
    with pytest.raises(ZeroDivisionError):
        await cache.get_or_set("strict", Made(ZeroDivisionError()), sie=100)
    assert "its stale value is used" in caplog.text


async def test_a_background_refresh_that_fails_is_logged_and_leaves_nothing_taken(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    await cache.set("k", "old", swr=100)
    await cache.invalidate(keys=["k"], soft=True)
    assert await cache.get_or_set("k", Made(ZeroDivisionError())) == "old"
    await settled(cache)
    assert "k could not be refreshed" in caplog.text
    assert len(cache.redis.flights) == 0
    assert await cache.get_or_set("k", Made("new")) == "old"
    await settled(cache)
    assert await cache.get("k") == "new"


async def test_a_long_wait_ends_and_the_caller_makes_its_own(backend: str) -> None:
    async with two(backend, wait=0.01) as (cache, other):
        slow = Made("slow", held=True)
        (first,) = await asks(cache, 1, slow)
        await slow.began.wait()
        assert await within(cache.get_or_set("k", Made("own"))) == "own"
        assert await within(other.get_or_set("k", Made("elsewhere"))) == "own", "which is kept for the others"
        slow.go_on.set()
        assert await first == "slow"


# Redis away.


async def test_while_redis_is_away_reading_goes_on_and_writing_says_so(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    events: list[Any] = []
    cache = Cache(fresh_redis, on_event=[events.append])
    await cache.set("k", 1)
    fresh_server.kill()
    assert await cache.get("k", "none") == "none"
    assert await cache.get_many(["k"]) == {}
    made = Made()
    assert [await cache.get_or_set("k", made) for _ in range(3)] == [1, 2, 3]
    assert {(event.outcome, event.reason) for event in events[1:]} == {("bypass", "unavailable")}
    for write in (cache.set("k", 1), cache.delete("k"), cache.invalidate(["t"]), cache.clear_namespace()):
        with pytest.raises(RedisUnavailable):
            await write


async def test_redis_that_goes_away_while_a_value_is_made_keeps_it_from_nobody(
    fresh_redis: RedisManager, fresh_server: Server
) -> None:
    cache = Cache(fresh_redis)
    made = Made(held=True)
    tasks = await asks(cache, 3, made)
    await eventually(lambda: waiting(cache) == 2)
    fresh_server.kill()
    made.go_on.set()
    assert sorted(await within(asyncio.gather(*tasks))) == [1, 2, 3]


async def test_a_write_that_could_not_be_kept_is_forgotten_before_anything_is_read_again(redis_url: str) -> None:
    async with (
        FaultProxy(redis_url.removeprefix("unix://")) as proxy,
        RedisManager(redis_url) as direct,
        RedisManager(proxy.url, connection_timeout=PATIENCE) as redis,
    ):
        cache, other = Cache(redis), Cache(direct)
        await cache.set("k", "old")
        proxy.refuse()
        proxy.reset_all()
        assert await cache.put("k", Made("written")) == "written"
        assert await cache.get("k") is None
        assert await cache.get_or_set("k", Made("not kept")) == "not kept"
        assert await other.get("k") == "old", "nobody could tell"
        proxy.heal()
        if redis.links.breaker.is_open:
            await until_back(redis)
        assert await cache.get("k") is None
        assert await other.get("k") is None
        assert await cache.get_or_set("k", Made("new")) == "new"
