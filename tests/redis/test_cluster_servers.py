"""A manager on real clusters: what it sends finds its node, and goes on finding it while slots move."""

import asyncio
import random

import pytest

from asgi_redis_guard.core.script import Batch, Operation, place_of
from asgi_redis_guard.errors import OperationFailed, RedisUnavailable
from asgi_redis_guard.redis.kept import KeptFuture
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.program import Program, Script
from asgi_redis_guard.redis.slots import slot_of
from tests.cluster import Cluster
from tests.redis.tools import PATIENCE, STOP, kind, mark, run, within

#: Keys in many slots.
KEYS = [b"key:%d" % n for n in range(60)]

#: Takes something that must be given back.
TAKE = kind("", "call('RPUSH', k, v)", keys="k", args="v", holds="yes")

WRITE = Script("return redis.call('RPUSH', KEYS[1], ARGV[1])")


async def test_every_key_is_found_again(on_cluster: RedisManager, cluster: Cluster) -> None:
    await asyncio.gather(*(on_cluster.execute("SET", key, key) for key in KEYS))
    assert await asyncio.gather(*(on_cluster.execute("GET", key) for key in KEYS)) == KEYS
    assert all(server.command("DBSIZE") > 5 for server in cluster.servers)


async def test_commands_of_several_keys_are_as_on_one_server(on_cluster: RedisManager) -> None:
    await asyncio.gather(*(on_cluster.execute("SET", key, key) for key in KEYS[:50]))
    assert await on_cluster.execute("MGET", *KEYS) == [*KEYS[:50], *[None] * 10]
    assert await on_cluster.execute("MGET", b"{t}a", b"{t}b") == [None, None]
    assert await on_cluster.execute("EXISTS", *KEYS, *KEYS[:1]) == 51
    assert await on_cluster.execute("DEL", *KEYS[:10], "nobody") == 10
    assert await on_cluster.execute("UNLINK", *KEYS[10:20]) == 10
    assert await on_cluster.execute("DBSIZE") == 30
    assert await on_cluster.execute("FLUSHALL") == b"OK"
    assert await on_cluster.execute("DBSIZE") == 0


async def test_what_cannot_be_cut_is_refused_by_the_server(on_cluster: RedisManager) -> None:
    with pytest.raises(OperationFailed, match="CROSSSLOT"):
        await on_cluster.execute("MSET", *KEYS[:4])


async def walk(manager: RedisManager) -> set[bytes]:
    cursor, seen = b"0", set()
    while True:
        cursor, found = await within(manager.execute("SCAN", cursor, "MATCH", "key:*", "COUNT", 5))
        seen.update(found)
        if int(cursor) == 0:
            return seen


async def test_a_walk_goes_through_all_nodes(on_cluster: RedisManager) -> None:
    await asyncio.gather(*(on_cluster.execute("SET", key, key) for key in KEYS))
    assert await walk(on_cluster) == set(KEYS)


async def test_a_walk_misses_nothing_that_has_moved_meanwhile(on_cluster: RedisManager, cluster: Cluster) -> None:
    await asyncio.gather(*(on_cluster.execute("SET", key, key) for key in KEYS))
    cursor, seen = await on_cluster.execute("SCAN", b"0", "COUNT", 5)
    last = cluster.owner_of(16383)
    key = next(key for key in KEYS if cluster.owner_of(key) is last and key not in seen)
    cluster.migrate(slot_of(key), last, cluster.owner_of(0))
    assert await on_cluster.execute("GET", key) == key  # now the move is known
    while int(cursor):
        cursor, found = await within(on_cluster.execute("SCAN", cursor, "COUNT", 5))
        seen += found
    assert set(seen) == set(KEYS)


async def test_a_script_is_loaded_on_each_node_that_it_comes_to(on_cluster: RedisManager, cluster: Cluster) -> None:
    for _ in range(2):
        lengths = await asyncio.gather(*(on_cluster.run_script(WRITE, (key,), ("x",)) for key in KEYS))
        for server in cluster.servers:
            server.command("SCRIPT", "FLUSH")
    assert lengths == [2] * len(KEYS)


async def test_a_round_is_carried_out_where_its_keys_are(on_cluster: RedisManager) -> None:
    for tag in range(20):
        one, two = b"{%d}a" % tag, b"{%d}b" % tag
        assert await run(on_cluster, [mark(one), mark(two)]) == [1, 1]
        assert await on_cluster.execute("LRANGE", two, 0, -1) == [b"1"]


async def test_a_round_over_several_slots_is_cut_and_comes_to_the_same(on_cluster: RedisManager) -> None:
    assert await run(on_cluster, *([mark(key)] for key in KEYS[:10])) == [1] * 10
    stop = Operation(STOP, (), ())
    assert await run(on_cluster, [mark(KEYS[0])], [stop], [mark(KEYS[1])]) == [1, 0, 3]
    lengths = await asyncio.gather(*(on_cluster.execute("LLEN", key) for key in KEYS[:3]))
    assert lengths == [2, 1, 1]


async def test_a_reply_that_must_be_heard_is_heard_also_after_it_was_redirected(
    on_cluster: RedisManager, cluster: Cluster
) -> None:
    key = KEYS[0]
    await on_cluster.execute("GET", key)
    source = cluster.owner_of(key)
    cluster.migrate(slot_of(key), source, cluster.others(source)[0])
    batch = Batch([Operation(TAKE, (key,), ("1",))])
    future = on_cluster.evaluate(Program([place_of(False, batch.kinds)]), [batch])
    assert isinstance(future, KeptFuture)
    kept = future.kept
    future.cancel()
    assert (await within(kept))[0] == 1
    assert await on_cluster.execute("LLEN", key) == 1


async def test_keys_that_have_left_and_keys_that_have_not_are_both_found(
    on_cluster: RedisManager, cluster: Cluster
) -> None:
    here, there, new = b"{tag}here", b"{tag}there", b"{tag}new"
    source = cluster.owner_of(here)
    target = cluster.others(source)[0]
    await on_cluster.execute("SET", there, 1)
    cluster.begin_migration(slot_of(here), source, target)
    cluster.migrate_keys(slot_of(here), source, target)
    assert await on_cluster.execute("GET", there) == b"1"
    assert await on_cluster.execute("SET", new, 3) == b"OK"
    assert await on_cluster.run_script(WRITE, (b"{tag}list",), ("x",)) == 1
    assert await on_cluster.execute("MGET", there, new) == [b"1", b"3"]
    cluster.end_migration(slot_of(here), target)
    assert await on_cluster.execute("MGET", there, new) == [b"1", b"3"]
    assert cluster.owner_of(here) is target


async def test_while_the_keys_of_one_call_are_on_two_nodes_it_waits(cluster: Cluster) -> None:
    one, two = b"{pair}1", b"{pair}2"
    source = cluster.owner_of(one)
    target = cluster.others(source)[0]
    async with RedisManager(cluster.url, timeout=PATIENCE) as redis:
        await asyncio.gather(redis.execute("SET", one, 1), redis.execute("SET", two, 2))
        cluster.begin_migration(slot_of(one), source, target)
        source.command("MIGRATE", "127.0.0.1", target.port, one, 0, 5000)
        waiting = asyncio.ensure_future(redis.execute("MGET", one, two))
        await asyncio.sleep(0)
        assert not waiting.done()
        await asyncio.to_thread(cluster.migrate_keys, slot_of(one), source, target)
        assert await within(waiting) == [b"1", b"2"]
        cluster.end_migration(slot_of(one), target)


async def test_a_call_on_two_nodes_waits_no_longer_than_its_timeout(cluster: Cluster) -> None:
    one, two = b"{parted}1", b"{parted}2"
    source = cluster.owner_of(one)
    target = cluster.others(source)[0]
    async with RedisManager(cluster.url, timeout=0.3) as redis:
        await asyncio.gather(redis.execute("SET", one, 1), redis.execute("SET", two, 2))
        cluster.begin_migration(slot_of(one), source, target)
        source.command("MIGRATE", "127.0.0.1", target.port, one, 0, 5000)
        with pytest.raises(RedisUnavailable, match="TRYAGAIN"):
            await within(redis.execute("MGET", one, two))
        cluster.migrate_keys(slot_of(one), source, target)
        cluster.end_migration(slot_of(one), target)


async def test_no_write_is_lost_or_done_twice_while_slots_move_under_load(
    on_cluster: RedisManager, cluster: Cluster
) -> None:
    written = dict.fromkeys(KEYS, 0)
    over = asyncio.Event()

    async def load(seed: int) -> None:
        chance = random.Random(seed)
        while not over.is_set():
            key = chance.choice(KEYS)
            if chance.random() < 0.5:
                await within(on_cluster.run_script(WRITE, (key,), ("x",)))
            else:
                batch = Batch([mark(key)])
                await within(on_cluster.evaluate(Program([place_of(False, batch.kinds)]), [batch]))
            written[key] += 1

    async def move() -> None:
        for key in KEYS[:25]:
            source = await asyncio.to_thread(cluster.owner_of, key)
            await asyncio.to_thread(cluster.migrate, slot_of(key), source, cluster.others(source)[0])
        over.set()

    await asyncio.gather(move(), *(load(seed) for seed in range(8)))
    assert {key: await on_cluster.execute("LLEN", key) for key in KEYS} == written


async def test_health_lists_the_nodes(on_cluster: RedisManager, cluster: Cluster) -> None:
    health = await on_cluster.health()
    assert (health["healthy"], health["error"], health["warnings"]) == (True, None, {})
    assert sorted(node["address"] for node in health["nodes"]) == sorted(
        f"127.0.0.1:{server.port}" for server in cluster.servers
    )
    assert sum(node["slots"] for node in health["nodes"]) == 16384
    assert {(node["healthy"], node["breaker"]) for node in health["nodes"]} == {(True, "closed")}


async def test_the_client_is_redis_py_s_own(on_cluster: RedisManager) -> None:
    client = on_cluster.client
    assert client is on_cluster.client
    for key in KEYS[:10]:
        await client.set(key, key)
    assert [await on_cluster.execute("GET", key) for key in KEYS[:10]] == KEYS[:10]


async def test_what_is_published_anywhere_is_heard(cluster: Cluster) -> None:
    async with RedisManager(cluster.url, timeout=PATIENCE) as hearing, hearing.pubsub.subscribe("news") as news:
        for server in cluster.servers:
            server.command("PUBLISH", "news", str(server.port))
        heard = {(await within(anext(news))).data for _ in cluster.servers}
        assert heard == {b"%d" % server.port for server in cluster.servers}
        await hearing.pubsub.publish("news", b"own")
        assert (await within(anext(news))).data == b"own"
