"""What refresh families cost, and servers that are full, hold something else, or are a cluster."""

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import ANY

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.script import Operation, Reply
from asgi_redis_guard.core.steps import Ask
from asgi_redis_guard.errors import OperationFailed
from asgi_redis_guard.jwt.service.families import Ended, FamilyOperations, Owner, Verdict, cutoff_for_all
from asgi_redis_guard.jwt.service.family_counts import FamilyCounts, stats
from asgi_redis_guard.jwt.service.family_store import FamilyStore
from asgi_redis_guard.jwt.service.refresh_token import RefreshToken
from asgi_redis_guard.redis.asking import carry_out
from asgi_redis_guard.testing import RoundTripCounter
from tests.conftest import MakeServer
from tests.jwt.service.families import LIMITS, NOTE, STRICT, begun, successor, verdict
from tests.redis.tools import PATIENCE


@pytest.fixture
def store(redis: RedisManager) -> FamilyStore:
    return FamilyStore(redis, LIMITS)


# Budgets.


async def test_a_refresh_is_one_round_trip(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, RedisManager(counter.url, timeout=PATIENCE) as manager:
        store = FamilyStore(manager, LIMITS, statistics=False)
        token = await begun(store)
        await store.rotate(token)
        counter.reset()
        for _ in range(5):
            token = successor(token)
            assert await verdict(store, token) == Verdict.ROTATED
        assert (counter.round_trips, counter.commands) == (5, [b"EVALSHA"] * 5)


@pytest.fixture
async def own_server(make_server: MakeServer) -> AsyncIterator[RedisManager]:
    async with RedisManager(make_server("valkey9").url, timeout=PATIENCE) as manager:
        yield manager


async def test_a_family_weighs_at_most_400_bytes_with_its_place_in_the_index(own_server: RedisManager) -> None:
    store = FamilyStore(own_server, LIMITS, statistics=False)
    tokens = [await begun(store, f"user{number // 2}", device="phone", session="s1") for number in range(2000)]
    weights = [
        await own_server.execute("MEMORY", "USAGE", own_server.keys.family(token.family[:6], token.family[6:]))
        for token in tokens[:20]
    ]
    assert max(weights) <= 400
    used = _used(await own_server.execute("INFO", "memory"))
    await asyncio.gather(*(begun(store, f"more{number // 2}", device="phone") for number in range(10_000)))
    grown = (_used(await own_server.execute("INFO", "memory")) - used) / 10_000
    assert grown <= 550, "with half an index each, and the server's own tables"


def _used(info: bytes) -> int:
    return int(bytes(info).split(b"used_memory:")[1].split()[0])


# Servers that are full or hold something else.


async def test_every_key_ends_by_itself_and_keys_of_a_user_are_in_one_slot(
    redis: RedisManager, store: FamilyStore
) -> None:
    token = await begun(store, device="phone")
    await store.rotate(token)
    await store.revoke_user("ann")
    await store.revoke_before()
    keys = await redis.execute("KEYS", "*")
    assert all([await redis.execute("PTTL", key) > 0 for key in keys])
    tag = b"{%b}" % token.family[:6]
    keys_of = redis.keys
    shared = {
        *keys_of.family_counts,
        keys_of.incarnation(0),
        keys_of.everybody(""),
        keys_of.generation_cutoff("", "ann"),
    }
    assert {tag in key for key in keys if key not in shared} == {True}
    assert len({*keys} - shared) == 3


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_full_memory_refuses_new_families_and_takes_nothing_from_those_there_are(
    make_server: MakeServer, kind: str
) -> None:
    server = make_server(kind, maxmemory_policy="noeviction")
    async with RedisManager(server.url, timeout=PATIENCE) as manager:
        store = FamilyStore(manager, STRICT, statistics=False)
        one, two, three = [await begun(store, device=name) for name in ("a", "b", "c")]
        server.command("CONFIG", "SET", "maxmemory", "1")
        before = set(await manager.execute("KEYS", "*"))
        with pytest.raises(OperationFailed, match="OOM"):
            await store.begin("ann", NOTE)
        assert set(await manager.execute("KEYS", "*")) == before, "nothing half written"
        assert [await verdict(store, one) for _ in range(3)] == [Verdict.ROTATED, Verdict.REUSED, Verdict.REVOKED]
        assert len((await store.revoke(two.family)).families) == 1
        assert len((await store.revoke_user("ann")).families) == 1
        assert await verdict(store, three) == Verdict.REVOKED
        assert await store.revoke_before() > 0


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_on_a_cluster_every_operation_keeps_to_one_slot(make_server: MakeServer, kind: str) -> None:
    server = make_server(kind, cluster_enabled="yes")
    for first in range(0, 16_384, 1024):
        server.command("CLUSTER", "ADDSLOTS", *map(str, range(first, first + 1024)))
    async with RedisManager(server.url, timeout=PATIENCE) as manager:
        await _until_the_cluster_is_up(manager)
        operations, owner = FamilyOperations(manager.keys, STRICT), Owner.of("", "ann")
        names = [owner.tag + b"%016d" % number for number in range(3)]
        for family in names:
            await alone(manager, operations.begin(family, owner, b"begin", NOTE, "phone", "s1"))
        for attempt in (b"a", b"b"):
            await alone(manager, operations.rotate(RefreshToken(names[0], 1), attempt))
        await alone(manager, operations.revoke(names[1], b"c"))
        assert (await alone(manager, operations.revoke_device(owner, "phone", b"d"))).values == [
            0,
            [names[2][6:], ANY],
            [],
        ]
        await alone(manager, operations.revoke_user(owner, b"e"))
        await alone(manager, cutoff_for_all(manager.keys, ""))
        counts = FamilyCounts()
        counts.ended(Ended(((names[0], 1),)), 1)
        await alone(manager, counts.take(manager.keys, 1000))
        await alone(manager, stats(manager.keys))


async def alone(manager: RedisManager, operation: Operation) -> Reply:
    """Carry out one operation by itself."""
    (reply,) = await carry_out(manager, Ask((operation,)))
    return reply


async def _until_the_cluster_is_up(manager: RedisManager) -> None:
    async with asyncio.timeout(PATIENCE):
        while b"cluster_state:ok" not in bytes(await manager.execute("CLUSTER", "INFO")):  # noqa: ASYNC110  (no event)
            await asyncio.sleep(0.02)


async def test_what_is_no_family_is_none_and_stays_as_it_is(redis: RedisManager, store: FamilyStore) -> None:
    token = await begun(store)
    key = redis.keys.family(token.family[:6], token.family[6:])
    for text in (b"", b"a", b"a:1:2", b"a:x:0:1:2:3:4:0:by:owner:d:s:0:", b"\x00" * 50):
        await redis.execute("SET", key, text, "PX", 60_000)
        assert await verdict(store, token) == Verdict.UNKNOWN
        assert (await store.revoke(token.family)).families == (await store.revoke_device("ann", "x")).families == ()
        assert await redis.execute("GET", key) == text
    await redis.execute("DEL", key)
    await redis.execute("RPUSH", key, "somebody's")
    for call in (store.rotate(token), store.revoke(token.family)):
        with pytest.raises(OperationFailed, match="WRONGTYPE"):
            await call
    assert await redis.execute("LRANGE", key, 0, -1) == [b"somebody's"]


async def test_a_family_that_cannot_be_put_into_the_index_is_not_begun(redis: RedisManager, store: FamilyStore) -> None:
    index = redis.keys.families(*store.owner("ann"))
    await redis.execute("RPUSH", index, "somebody's")
    with pytest.raises(OperationFailed, match="WRONGTYPE"):
        await store.begin("ann")
    assert await redis.execute("KEYS", "*") == [index]


async def test_texts_that_are_too_long_are_refused_before_anything_is_asked(store: FamilyStore) -> None:
    with pytest.raises(ValueError, match="note: 2049 bytes given; allowed are 2048"):
        await store.begin("ann", b"x" * 2049)
    with pytest.raises(ValueError, match="why: 513 bytes given; allowed are 512"):
        await store.revoke_user("ann", b"x" * 513)
