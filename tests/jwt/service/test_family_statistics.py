"""Counting refresh families and what became of their tokens."""

import asyncio

from asgi_redis_guard import RedisManager
from asgi_redis_guard.jwt.service.families import FamilyLimits, Verdict
from asgi_redis_guard.jwt.service.family_store import FamilyStore
from tests.jwt.service.families import DAY, LIMITS, begun, verdict


async def test_families_and_what_became_of_tokens_are_counted(redis: RedisManager) -> None:
    store = FamilyStore(redis, FamilyLimits(idle=7 * DAY, lifetime=30 * DAY, grace=20_000, most_replays=2, keep=1000))
    tokens = [await begun(store, user, device="phone") for user in ("ann", "ann", "bob", "bob", "bob")]
    for _ in range(4):
        await store.rotate(tokens[0])  # rotated, replayed, replayed, reused
    await store.rotate(tokens[1])
    await store.revoke(tokens[2].family)
    await store.revoke_device("bob", "phone")
    stats = await store.statistics()
    totals = {name: sum(hours.values()) for name, hours in stats.items() if isinstance(hours, dict)}
    assert totals == {"begun": 5, "rotated": 2, "replayed": 2, "reused": 1, "ended": 4}
    assert stats["alive"] == 1
    left = [await redis.execute("PTTL", key) for key in redis.keys.family_counts]
    assert 7 * DAY < left[0] <= 7 * DAY + 3_600_000
    assert 0 < left[1] <= 7 * DAY


async def test_what_is_counted_goes_out_by_itself_and_old_hours_are_forgotten(redis: RedisManager) -> None:
    alive, hours = redis.keys.family_counts
    await redis.execute("HSET", alive, 5, 7)
    await redis.execute("HSET", hours, "r5", 7)
    store = FamilyStore(redis, LIMITS)
    await asyncio.gather(*(store.begin(f"user{number}") for number in range(30)))
    await redis.links.drain()
    other = await FamilyStore(redis, LIMITS).statistics()
    assert (other["alive"], sum(other["begun"].values()), other["rotated"]) == (30, 30, {})
    assert await redis.execute("HEXISTS", alive, 5) == await redis.execute("HEXISTS", hours, "r5") == 0


async def test_counts_that_the_server_has_dropped_never_become_negative_or_immortal(redis: RedisManager) -> None:
    store, alive = FamilyStore(redis, LIMITS), redis.keys.family_counts[0]
    one, two = await begun(store), await begun(store)
    await store.statistics()
    assert sum(map(int, await redis.execute("HVALS", alive))) == 2
    await redis.execute("DEL", *redis.keys.family_counts)
    await store.revoke(one.family)
    assert (await store.statistics())["alive"] == 0
    assert await redis.execute("EXISTS", alive) == 0
    await begun(store)
    await store.statistics()
    assert sum(map(int, await redis.execute("HVALS", alive))) == 1
    await store.revoke_user("ann")
    assert (await store.statistics())["alive"] == 0
    assert await redis.execute("EXISTS", alive) == 0, "an hour in which none ends is left out"
    assert await verdict(store, two) == Verdict.REVOKED


async def test_without_statistics_nothing_is_counted(redis: RedisManager) -> None:
    store = FamilyStore(redis, LIMITS, statistics=False)
    await verdict(store, await begun(store))
    await redis.links.drain()
    assert await redis.execute("EXISTS", *redis.keys.family_counts) == 0
    assert (await store.statistics())["alive"] == 0
