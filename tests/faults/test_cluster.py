"""A cluster whose nodes fail, change places, come and go: what is served stays served, and nobody waits too long."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.core.steps import Ask
from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.pubsub.messages import Gap
from asgi_redis_guard.redis.program import Script
from asgi_redis_guard.redis.slots import Place, slot_of
from asgi_redis_guard.redis.wait_replicas import acknowledged
from tests.cluster import Cluster, until
from tests.pubsub.test_stream import KEY, add, reading
from tests.redis.tools import PATIENCE, eventually, mark, within

WRITE = Script("return redis.call('RPUSH', KEYS[1], ARGV[1])")
KEYS = [b"key:%d" % n for n in range(40)]


@pytest.fixture
def pairs() -> Iterator[Cluster]:
    """Three primaries with a replica each; this test's own."""
    with Cluster(3, 1, node_timeout=1000) as cluster:
        yield cluster


class Load:
    """Appends to lists, and knows what was acknowledged and what is in doubt."""

    def __init__(self, redis: RedisManager) -> None:
        self.redis = redis
        self.acknowledged: dict[bytes, set[bytes]] = {key: set() for key in KEYS}
        self.doubtful: set[bytes] = set()
        self.errors: Counter[str] = Counter()
        self.longest = 0.0
        self._over = False

    async def _run(self, number: int) -> None:
        chance, count = random.Random(number), 0
        while not self._over:
            key, word, began = chance.choice(KEYS), b"%d:%d" % (number, count), time.perf_counter()
            count += 1
            try:
                await self.redis.run_script(WRITE, (key,), (word,))
                self.acknowledged[key].add(word)
            except RedisUnavailable as error:
                self.errors[str(error)] += 1
                if error.maybe_executed:
                    self.doubtful.add(word)
                await asyncio.sleep(0.005)
            self.longest = max(self.longest, time.perf_counter() - began)
            await asyncio.sleep(0.001)

    async def check(self) -> None:
        """Nothing acknowledged is missing, nothing is there twice or came from nowhere."""
        for key, words in self.acknowledged.items():
            there = await within(self.redis.execute("LRANGE", key, 0, -1))
            assert len(there) == len(set(there))
            assert words <= set(there)
            assert set(there) - words <= self.doubtful


@asynccontextmanager
async def under_load(redis: RedisManager, tasks: int = 4) -> AsyncIterator[Load]:
    load = Load(redis)
    running = [asyncio.create_task(load._run(number)) for number in range(tasks)]
    try:
        yield load
    finally:
        load._over = True
        await within(asyncio.gather(*running))


async def served(redis: RedisManager, *keys: bytes) -> None:
    """Wait until keys are served."""
    async with asyncio.timeout(PATIENCE):
        for key in keys:
            while True:
                try:
                    await redis.execute("PTTL", key)
                    break
                except RedisUnavailable:
                    await asyncio.sleep(0.05)


async def test_a_failover_in_order_loses_no_write(pairs: Cluster) -> None:
    async with RedisManager(pairs.url, timeout=PATIENCE) as redis, under_load(redis) as load:
        for replica in pairs.replicas:
            await asyncio.to_thread(pairs.failover, replica)
            await asyncio.sleep(0.1)
    async with RedisManager(pairs.url, timeout=PATIENCE) as redis:
        load.redis = redis
        await load.check()
    assert not load.errors


async def test_a_killed_primary_takes_only_its_slots_and_only_until_it_is_replaced(pairs: Cluster) -> None:
    victim, heir = pairs.primaries[0], pairs.replicas[0]
    lost = [key for key in KEYS if pairs.owner_of(key) is victim]
    kept = [key for key in KEYS if key not in lost]
    async with RedisManager(pairs.url, timeout=0.5) as redis:
        await served(redis, *KEYS)
        victim.kill()
        began = time.perf_counter()
        outcomes = await asyncio.gather(*(redis.execute("GET", key) for key in KEYS), return_exceptions=True)
        waited = time.perf_counter() - began
        for key, outcome in zip(KEYS, outcomes, strict=True):
            assert isinstance(outcome, RedisUnavailable) == (key in lost), (key, outcome)
        assert all(str(victim.port) in str(outcome) for outcome in outcomes if outcome is not None)
        assert waited < 5
        with pytest.raises(RedisUnavailable, match=str(victim.port)):
            await within(redis.execute("GET", lost[0]))
        await asyncio.gather(*(redis.execute("GET", key) for key in kept))
        assert not redis.links.breaker.is_open
        await asyncio.to_thread(until, lambda: heir.command("ROLE")[0] == b"master", "the replica takes over")
        await served(redis, *KEYS)
        await eventually(lambda: victim.port not in _ports(redis))
        health = await redis.health()
        assert str(heir.port) in str(health["nodes"])
        assert health["healthy"]


def _ports(redis: RedisManager) -> set[int]:
    topology = redis.links.topology
    assert topology is not None
    return {place.port for place in topology.nodes}


async def test_a_frozen_primary_fails_its_slots_at_once_after_some_timeouts(pairs: Cluster) -> None:
    victim = pairs.primaries[1]
    lost = next(key for key in KEYS if pairs.owner_of(key) is victim)
    async with RedisManager(pairs.url, timeout=0.2) as redis:
        await served(redis, *KEYS)
        victim.pause()
        try:
            await asyncio.gather(*(redis.execute("GET", lost) for _ in range(20)), return_exceptions=True)
            topology = redis.links.topology
            assert topology is not None
            assert topology.node_for(slot_of(lost)).breaker.is_open or topology.node_for(slot_of(lost)).linked
            await served(redis, *KEYS)  # by the replica, which takes over
        finally:
            victim.resume()
        await eventually(lambda: victim.port not in _ports(redis))


async def test_slots_move_to_a_node_that_comes_and_back_from_one_that_goes() -> None:
    with Cluster(2) as cluster:
        async with RedisManager(cluster.url, timeout=PATIENCE) as redis, under_load(redis) as load:
            newcomer = await asyncio.to_thread(cluster.add)
            slots = sorted({slot_of(key) for key in KEYS})[:12]
            owners = {slot: cluster.owner_of(slot) for slot in slots}
            for slot, owner in owners.items():
                await asyncio.to_thread(cluster.migrate, slot, owner, newcomer)
            await eventually(lambda: newcomer.port in _ports(redis))
            for slot, owner in owners.items():
                await asyncio.to_thread(cluster.migrate, slot, newcomer, owner)
            await asyncio.to_thread(cluster.remove, newcomer)
            await eventually(lambda: newcomer.port not in _ports(redis))
        async with RedisManager(cluster.url, timeout=PATIENCE) as redis:
            load.redis = redis
            await load.check()
        assert not load.errors
        newcomer.stop()


async def test_a_subscriber_whose_node_leaves_the_cluster_hears_on_at_another() -> None:
    slot = 5
    with Cluster(2) as cluster:
        leaver = cluster.add()
        cluster.migrate(slot, cluster.owner_of(slot), leaver)
        async with RedisManager(cluster.url, timeout=PATIENCE) as redis:
            topology, board = redis.links.topology, redis.pubsub._board
            assert topology is not None
            topology._home = topology.node(Place("127.0.0.1", leaver.port))
            async with redis.pubsub.subscribe("news") as news:
                assert board._home == ("127.0.0.1", leaver.port)
                await asyncio.to_thread(cluster.migrate, slot, leaver, cluster.servers[0])
                await asyncio.to_thread(cluster.remove, leaver)
                await within(asyncio.shield(topology.refresh()))
                assert isinstance(await within(anext(news)), Gap)
                assert board._home != ("127.0.0.1", leaver.port)
                cluster.servers[0].command("PUBLISH", "news", "on")
                assert (await within(anext(news))).data == b"on"
        leaver.stop()


async def test_a_cluster_of_which_nobody_answers_is_left_alone_until_it_is_back() -> None:
    with Cluster(3, node_timeout=15_000) as cluster:
        async with RedisManager(cluster.url, timeout=0.3, connection_timeout=0.5) as redis:
            await served(redis, *KEYS)
            for server in cluster.servers:
                server.pause()
            began = time.perf_counter()
            outcomes = await asyncio.gather(*(redis.execute("GET", key) for key in KEYS), return_exceptions=True)
            assert all(isinstance(outcome, RedisUnavailable) for outcome in outcomes)
            assert time.perf_counter() - began < 5
            await eventually(lambda: redis.links.breaker.is_open)
            with pytest.raises(RedisUnavailable):
                await redis.execute("GET", KEYS[0])
            for server in cluster.servers:
                server.resume()
            await eventually(lambda: not redis.links.breaker.is_open)
            await served(redis, *KEYS)


async def test_a_cluster_with_a_password_is_greeted_with_it_everywhere() -> None:
    with Cluster(3, requirepass="secret", masterauth="secret") as cluster:
        async with RedisManager(cluster.url, timeout=PATIENCE) as redis:
            assert [await redis.execute("SET", key, 1) for key in KEYS] == [b"OK"] * len(KEYS)
            assert "secret" not in repr(redis)
        wrong = RedisManager(cluster.url.replace("secret", "wrong"), timeout=PATIENCE)
        with pytest.raises(RedisUnavailable, match="WRONGPASS"):
            await within(wrong.execute("GET", "key"))
        await wrong.aclose()


async def test_a_stream_is_followed_to_where_its_slot_moves(pairs: Cluster) -> None:
    source = pairs.owner_of(KEY)
    async with RedisManager(pairs.url, timeout=PATIENCE) as redis, reading(redis) as reader:
        await add(redis, 1, 2)
        await eventually(lambda: reader.values == [b"1", b"2"])
        target = next(server for server in pairs.primaries if server is not source)
        await asyncio.to_thread(pairs.migrate, slot_of(KEY), source, target)
        await add(redis, 3)
        await eventually(lambda: reader.values == [b"1", b"2", b"3"])
        heir = pairs.replicas[pairs.primaries.index(target)]
        await asyncio.to_thread(pairs.failover, heir)
        await add(redis, 4)
        await eventually(lambda: reader.values == [b"1", b"2", b"3", b"4"])
        assert reader.losses


async def test_what_replicas_have_is_waited_for_where_the_key_is(pairs: Cluster) -> None:
    async with RedisManager(pairs.url, timeout=PATIENCE) as redis:
        await served(redis, *KEYS)
        for key in KEYS[:6]:
            assert await acknowledged(redis, Ask([mark(key)]), 1) == 1
        key = KEYS[0]
        source = pairs.owner_of(key)
        target = next(server for server in pairs.primaries if server is not source)
        await asyncio.to_thread(pairs.migrate, slot_of(key), source, target)
        assert await acknowledged(redis, Ask([mark(key)]), 1) == 1
        assert await redis.execute("LLEN", key) == 2
