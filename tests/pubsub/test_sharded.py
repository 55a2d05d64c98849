"""Sharded channels on every kind of server, and on a cluster whose slots move and whose nodes fail."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from asgi_redis_guard.errors import OperationFailed, RedisUnavailable
from asgi_redis_guard.pubsub.hub import Hub
from asgi_redis_guard.pubsub.messages import Gap, Message
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.slots import slot_of
from tests.cluster import Cluster
from tests.pubsub.conftest import data, eventually, take, within
from tests.servers import Server

#: More time than any failover takes on a busy machine.
PATIENCE = 30.0
CHANNELS = [f"news:{number}" for number in range(12)]


@pytest.fixture(params=["memory", "valkey9", "redis7"])
async def single(request: pytest.FixtureRequest) -> AsyncIterator[Hub]:
    """A hub on each kind of server that knows sharded channels."""
    url = "memory://"
    if request.param != "memory":
        server: Server = request.getfixturevalue("shared_servers")(request.param)
        url = server.url
    async with RedisManager(url, timeout=PATIENCE) as manager:
        yield manager.pubsub


async def test_a_sharded_channel_is_heard_on_a_single_server_over_the_one_connection(single: Hub) -> None:
    async with single.subscribe("a", "b", sharded=True) as sharded, single.subscribe("a") as plain:
        assert await single.publish("a", "one", sharded=True) == 1
        assert await single.publish("b", {"two": 2}, json=True, sharded=True) == 1
        assert await single.publish("a", "plain") == 1
        assert await take(sharded, 2) == [Message("a", b"one"), Message("b", b'{"two":2}')]
        assert await take(plain, 1) == [Message("a", b"plain")]
        assert single._shards is None


async def test_who_leaves_hears_no_more_and_others_do(single: Hub) -> None:
    async with single.subscribe("a", sharded=True) as stays:
        async with single.subscribe("a", "b", sharded=True):
            pass
        async with single.subscribe("barrier", sharded=True):
            assert await single.publish("b", "nobody", sharded=True) == 0
        assert await single.publish("a", "still", sharded=True) == 1
        assert await data(stays, 1) == [b"still"]


async def test_a_pattern_cannot_be_sharded(single: Hub) -> None:
    with pytest.raises(ValueError, match="a pattern cannot be sharded"):
        single.subscribe(patterns="a*", sharded=True)


async def test_a_server_that_does_not_know_them_is_told_of_by_name(redis62_url: str) -> None:
    async with RedisManager(redis62_url, timeout=PATIENCE) as manager:
        hub = manager.pubsub
        async with hub.subscribe("a") as plain:
            with pytest.raises(OperationFailed, match=r"need Redis 7\.0 or Valkey"):
                async with hub.subscribe("a", sharded=True):
                    raise AssertionError("subscribed")
            with pytest.raises(OperationFailed, match=r"need Redis 7\.0 or Valkey"):
                await hub.publish("a", "x", sharded=True)
            await hub.publish("a", "plain")
            assert await take(plain, 1) == [Message("a", b"plain")]


@pytest.fixture
def redis62_url(shared_servers: Any) -> str:
    """A server that is too old."""
    server: Server = shared_servers("redis62")
    return server.url


# On a cluster.


@pytest.fixture(scope="module")
def shared_pairs() -> Iterator[Cluster]:
    """Three primaries with a replica each; tests may have them change places."""
    with Cluster(3, 1, node_timeout=1000) as cluster:
        yield cluster


@pytest.fixture
def pairs(shared_pairs: Cluster) -> Cluster:
    """All of them, well."""
    shared_pairs.until_well()
    return shared_pairs


class Talk:
    """Publishes to channels in turns; each message is told from all others."""

    def __init__(self, redis: RedisManager) -> None:
        self.redis = redis
        self.said: dict[str, list[bytes]] = {name: [] for name in CHANNELS}
        self.doubtful: set[bytes] = set()
        self.over = False

    async def run(self) -> None:
        for number in itertools.count():
            if self.over:
                return
            name, word = CHANNELS[number % len(CHANNELS)], b"%d" % number
            try:
                await self.redis.pubsub.publish(name, word, sharded=True)
                self.said[name].append(word)
            except RedisUnavailable:
                self.doubtful.add(word)
            await asyncio.sleep(0.001)

    @property
    def count(self) -> int:
        return sum(map(len, self.said.values()))


class Ear:
    """Hears one channel, and cuts what it hears into pieces at the gaps."""

    def __init__(self, hub: Hub, name: str) -> None:
        self.name = name
        self.pieces: list[list[bytes]] = [[]]
        self.listener = hub.listen(name, self._hear, sharded=True, maxsize=100_000)

    def _hear(self, event: Any) -> None:
        if isinstance(event, Gap):
            assert event.reason == "reconnected"
            self.pieces.append([])
        else:
            assert event.channel == self.name
            self.pieces[-1].append(event.data)

    def check(self, talk: Talk) -> None:
        """Nothing came twice; between two gaps nothing is missing, and all is in order."""
        heard = [word for piece in self.pieces for word in piece]
        assert len(heard) == len(set(heard)), self.name
        assert heard == sorted(heard, key=int)
        said = talk.said[self.name]
        assert set(heard) - set(said) <= talk.doubtful
        for piece in self.pieces:
            known = [word for word in piece if word not in talk.doubtful]
            if known:
                first, last = said.index(known[0]), said.index(known[-1])
                assert said[first : last + 1] == known, self.name


@asynccontextmanager
async def talking(url: str) -> AsyncIterator[tuple[Talk, list[Ear]]]:
    """One process that publishes and one that listens; at the end what was heard must be right."""
    async with RedisManager(url, timeout=PATIENCE) as there, RedisManager(url, timeout=PATIENCE) as here:
        talk = Talk(there)
        ears = [Ear(here.pubsub, name) for name in CHANNELS]
        for ear in ears:
            await ear.listener.ready()
        running = asyncio.create_task(talk.run())
        try:
            yield talk, ears
            await all_hear(talk, ears)
        finally:
            talk.over = True
            await within(running)
        await asyncio.sleep(0.05)  # what is on its way
        for ear in ears:
            ear.check(talk)


async def all_hear(talk: Talk, ears: list[Ear]) -> None:
    """Wait until each has heard something that was said from now on."""
    before = talk.count

    def heard(ear: Ear) -> bool:
        words = ear.pieces[-1]
        return bool(words) and talk.said[ear.name].count(words[-1]) == 1 and int(words[-1]) > before

    async with asyncio.timeout(PATIENCE):
        while not all(map(heard, ears)):  # noqa: ASYNC110  (no event tells of it)
            await asyncio.sleep(0.01)


async def test_channels_are_heard_at_the_nodes_of_their_slots(pairs: Cluster) -> None:
    async with RedisManager(pairs.url, timeout=PATIENCE) as redis:
        hub = redis.pubsub
        async with (
            hub.subscribe(*CHANNELS, sharded=True) as everything,
            hub.subscribe(CHANNELS[0], sharded=True) as one,
        ):
            for name in CHANNELS:
                assert await hub.publish(name, name, sharded=True) == 1
                owner = pairs.owner_of(name)
                assert owner.command("PUBSUB", "SHARDNUMSUB", name)[1] == 1
            assert {event.data.decode() for event in await take(everything, len(CHANNELS))} == set(CHANNELS)
            assert await take(one, 1) == [Message(CHANNELS[0], CHANNELS[0].encode())]
            assert hub._shards is not None
            assert len(hub._shards.stations) == 3
            assert everything.live
        assert await hub.publish(CHANNELS[0], "x", sharded=True) == 0
        assert not hub._shards.channels


async def test_a_slot_that_moves_takes_its_channels_with_it(pairs: Cluster) -> None:
    async with talking(pairs.url) as (talk, ears):
        await all_hear(talk, ears)
        for name in CHANNELS[:6]:
            source = pairs.owner_of(name)
            target = next(server for server in _primaries(pairs) if server is not source)
            await asyncio.to_thread(pairs.migrate, slot_of(name.encode()), source, target)
            await all_hear(talk, ears)
    assert [len(ear.pieces) for ear in ears[:6]] == [2] * 6, "each has moved once"
    assert [len(ear.pieces) for ear in ears[6:]] == [1] * 6, "the others have heard everything"


def _primaries(pairs: Cluster) -> list[Server]:
    return [server for server in pairs.servers if server.command("ROLE")[0] == b"master"]


async def test_a_failover_in_order_is_followed(pairs: Cluster) -> None:
    async with talking(pairs.url) as (talk, ears):
        await all_hear(talk, ears)
        for replica in [server for server in pairs.servers if server not in _primaries(pairs)]:
            await asyncio.to_thread(pairs.failover, replica)
            await all_hear(talk, ears)


async def test_a_node_that_is_killed_is_replaced(pairs: Cluster) -> None:
    victim = pairs.owner_of(CHANNELS[0])
    async with talking(pairs.url) as (talk, ears):
        await all_hear(talk, ears)
        await asyncio.to_thread(victim.kill)
        await asyncio.to_thread(pairs.until_well, without=[victim])
        await all_hear(talk, ears)
    assert len(ears[0].pieces) > 1
    await asyncio.to_thread(victim.start)


async def test_who_comes_before_the_cluster_is_there_hears_as_soon_as_it_is() -> None:
    cluster = Cluster(2)
    with cluster:
        url = cluster.url
        for server in cluster.servers:
            server.kill()
        async with RedisManager(url, timeout=PATIENCE) as redis:
            ear = Ear(redis.pubsub, "news")
            with pytest.raises(RedisUnavailable):
                async with redis.pubsub.subscribe("news", sharded=True):
                    raise AssertionError("subscribed")
            for server in cluster.servers:
                await asyncio.to_thread(server.start)
            await eventually(lambda: ear.listener.live and not redis.links.breaker.is_open)
            await redis.pubsub.publish("news", "here", sharded=True)
            await eventually(lambda: ear.pieces[-1] == [b"here"])
