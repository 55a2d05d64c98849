"""`RateLimitAdmin`: who is busy and who is refused; what stands in Redis of it, and for how long."""

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from asgi_redis_guard import Ban, GuardMiddleware, RateLimit, RateLimitAdmin, RedisManager
from asgi_redis_guard.core.keys import digest
from tests.drive import ADDRESS, App, get
from tests.servers import Server

#: Commands that go through all keys, or hold up the server.
FORBIDDEN = {"keys", "scan", "hscan", "sscan", "zscan", "flushall", "flushdb", "randomkey", "sort"}
#: The hour may end while a test runs.
HOURS = 2


async def visits(redis: RedisManager, guard: RateLimit, counts: dict[str, int]) -> None:
    """Send so many requests of each user."""
    app = GuardMiddleware(App(), [guard], redis=redis)
    for user, count in counts.items():
        for _ in range(count):
            await get(app, headers={"x-user": user})


def counting(**options: Any) -> RateLimit:
    return RateLimit("3/hour", key="header:x-user", statistics=True, deny_cache=0, **options)


async def test_statistics_tell_what_was_allowed_and_denied_by_the_hour(redis: RedisManager) -> None:
    guard = counting()
    admin = RateLimitAdmin(guard, redis)
    assert [(one.allowed, one.denied) for one in await admin.statistics(3)] == [(0, 0)] * 3
    await visits(redis, guard, {"alice": 5, "bob": 1})
    found = await admin.statistics(HOURS)
    assert (sum(one.allowed for one in found), sum(one.denied for one in found)) == (4, 2)
    hours = [one.hour for one in await admin.statistics()]
    assert len(hours) == 24
    assert all((before - after).total_seconds() == 3600 for before, after in pairwise(hours))
    assert 0 <= (datetime.now(UTC) - hours[0]).total_seconds() < 7200
    assert len(await admin.statistics(48)) == 48


async def test_the_busiest_the_refused_and_the_blocked_are_listed_the_heaviest_first(redis: RedisManager) -> None:
    guard = counting(labels=True)
    admin = RateLimitAdmin(guard, redis)
    await visits(redis, guard, {"alice": 5, "bob": 2, "carol": 9})
    busiest = await admin.busiest(hours=HOURS)
    assert [(one.label, one.requests, one.denied) for one in busiest] == [
        ("header:x-user carol", 9, 6),
        ("header:x-user alice", 5, 2),
        ("header:x-user bob", 2, 0),
    ]
    assert [(one.label, one.requests, one.denied) for one in await admin.refused(hours=HOURS)] == [
        ("header:x-user carol", 9, 6),
        ("header:x-user alice", 5, 2),
    ]
    assert [one.label for one in await admin.busiest(1, hours=HOURS)] == ["header:x-user carol"]
    carol, alice = await admin.blocked(hours=HOURS)
    assert (carol.identity, alice.identity) == (busiest[0].identity, digest("header:x-user", "alice"))
    await admin.reset(carol.identity)
    assert [one.identity for one in await admin.blocked(hours=HOURS)] == [alice.identity]


async def test_who_is_banned_is_among_the_blocked(redis: RedisManager) -> None:
    guard = counting(ban=Ban(after=2, within=3600, lasts=3600))
    admin = RateLimitAdmin(guard, redis)
    await visits(redis, guard, {"alice": 5, "bob": 4})
    await admin.reset("bob")
    (status,) = await admin.blocked(hours=HOURS)
    assert (status.identity, status.banned_until is not None) == (digest("header:x-user", "alice"), True)
    await admin.reset("alice")
    assert len(await admin.blocked(hours=HOURS)) == 1, "a reset lifts no ban"
    await admin.unban("alice")
    assert await admin.blocked(hours=HOURS) == []


async def everything(redis: RedisManager) -> bytes:
    """All keys and values of the store, end to end."""
    found = b""
    for key in await redis.execute("KEYS", "*"):
        kind = bytes(await redis.execute("TYPE", key))
        read = {
            b"string": ("GET", key),
            b"hash": ("HGETALL", key),
            b"zset": ("ZRANGE", key, 0, -1, "WITHSCORES"),
        }[kind]
        found += repr((key, await redis.execute(*read))).encode()
        assert 0 < await redis.execute("PTTL", key) <= 367 * 86_400_000, key
    return found


@pytest.mark.parametrize("labels", [False, True])
async def test_who_it_is_stands_in_redis_only_where_labels_are_switched_on_and_nothing_for_ever(
    redis: RedisManager, labels: bool
) -> None:
    guard = counting(labels=labels, ban=Ban(after=1), changeable=True)
    address = RateLimit("1/hour", name="address", statistics=True, labels=labels, ban=Ban())
    app = GuardMiddleware(App(), [address], redis=redis)
    for _ in range(3):
        await get(app)
    await visits(redis, guard, {"alice-the-great": 5, "bob": 1})
    admin = RateLimitAdmin(guard, redis)
    await admin.ban("carol-the-small", seconds=60)
    await admin.change("5/hour; 8/day")
    await visits(redis, guard, {"alice-the-great": 1})
    stored = await everything(redis)
    assert b"guard:ls:{ratelimit}" in stored
    assert digest("header:x-user", "alice-the-great") in stored
    assert (b"alice-the-great" in stored) == (ADDRESS.encode() in stored) == labels
    assert b"carol-the-small" not in stored
    labelled = {one.label for one in await admin.busiest(hours=HOURS)}
    assert labelled == ({"header:x-user alice-the-great", "header:x-user bob"} if labels else {None})


async def test_nothing_goes_through_all_keys(fresh_redis: RedisManager, fresh_server: Server) -> None:
    guard = counting(labels=True, ban=Ban(after=1), changeable=True)
    admin = RateLimitAdmin(guard, fresh_redis)
    fresh_server.command("CONFIG", "RESETSTAT")
    await visits(fresh_redis, guard, {"alice": 5, "bob": 1})
    for call in (
        admin.inspect("alice"),
        admin.statistics(),
        admin.busiest(),
        admin.refused(),
        admin.blocked(),
        admin.ban("bob", seconds=5),
        admin.unban("bob"),
        admin.change("5/hour"),
        admin.restore(),
        admin.reset("alice"),
    ):
        await call
    used = {name.removeprefix("cmdstat_") for name in fresh_server.command("INFO", "commandstats")}
    assert {"evalsha", "get", "zincrby", "publish"} <= used
    assert not used & FORBIDDEN
