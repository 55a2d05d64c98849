"""What `manager.client` does on connections of its own: blocking, transactions, pub/sub, and the bound of the pool."""

import asyncio
from typing import Any

import pytest
from redis import exceptions

from asgi_redis_guard.redis.client import _block_option, _block_seconds
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.testing import FaultProxy, RoundTripCounter
from tests.redis.tools import PATIENCE, eventually, within


async def test_a_pipeline_is_one_round_trip(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as proxy, RedisManager(proxy.url, timeout=PATIENCE) as manager:
        async with manager.client.pipeline(transaction=False) as pipe:
            await pipe.ping()
            await pipe.execute()
            proxy.reset()
            replies = await within(pipe.set("a", 1).incr("a").get("a").hgetall("none").execute())
        assert replies == [True, 2, b"2", {}]
        assert proxy.round_trips == 1


async def test_a_pipeline_decodes_if_asked(redis_url: str) -> None:
    async with (
        RedisManager(redis_url, timeout=PATIENCE, decode_responses=True) as manager,
        manager.client.pipeline() as pipe,
    ):
        assert await within(pipe.set("a", "é").get("a").execute()) == [True, "é"]


async def test_an_error_in_a_pipeline_is_redis_pys(manager: RedisManager) -> None:
    await manager.client.set("text", "x")
    async with manager.client.pipeline() as pipe:
        with pytest.raises(exceptions.ResponseError, match="LPUSH text 1"):
            await within(pipe.lpush("text", 1).execute())


async def test_a_transaction_that_was_overtaken_is_told_and_can_be_repeated(manager: RedisManager) -> None:
    client = manager.client
    await client.set("n", 1)
    async with client.pipeline() as pipe:
        await pipe.watch("n")
        await client.set("n", 5)
        pipe.multi()
        pipe.set("n", int(await client.get("n") or 0) + 1)
        with pytest.raises(exceptions.WatchError):
            await within(pipe.execute())
    assert await client.get("n") == b"5"


async def test_transactions_at_once_lose_no_update(manager: RedisManager) -> None:
    client = manager.client

    async def add(pipe: Any) -> None:
        value = int(await pipe.get("n") or 0)
        pipe.multi()
        pipe.set("n", value + 1)

    await within(asyncio.gather(*(client.transaction(add, "n") for _ in range(20))))
    assert await client.get("n") == b"20"


async def test_a_blocking_command_may_take_longer_than_the_timeout_and_blocks_nobody(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=0.5) as manager:
        client: Any = manager.client
        waiting = asyncio.create_task(client.blpop(["queue"], 20))
        await asyncio.sleep(1.1)  # twice the timeout
        assert not waiting.done()
        assert await within(manager.execute("PING")) == b"PONG"
        await client.rpush("queue", "x")
        assert await within(waiting) == (b"queue", b"x")
        assert await within(client.blpop(["queue"], 0.3)) is None


async def test_a_blocking_command_on_a_dead_network_ends_all_the_same(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, RedisManager(proxy.url, timeout=0.5) as manager:
        client: Any = manager.client
        assert await within(client.blpop(["queue"], 0.05)) is None
        proxy.black_hole()
        with pytest.raises((exceptions.TimeoutError, exceptions.ConnectionError)):
            await within(client.blpop(["queue"], 0.1))


async def test_an_error_of_a_blocking_command_is_redis_pys(manager: RedisManager) -> None:
    client: Any = manager.client
    await client.set("text", "x")
    with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
        await client.blpop(["text"], 1)
    assert await within(client.blpop(["none"], 0.01)) is None


BLOCKS = [
    ("BLPOP", ["k", 3], 3.0),
    ("BRPOPLPUSH", ["a", "b", "2.5"], 2.5),
    ("BLMOVE", ["a", "b", "LEFT", "RIGHT", 0], 0.0),
    ("BLMPOP", [4, 1, "k", "LEFT"], 4.0),
    ("BZMPOP", [b"5", 1, "k", "MIN"], 5.0),
    ("WAIT", [1, 1500], 1.5),
    ("WAITAOF", [1, 0, 500], 0.5),
    ("XREAD", ["BLOCK", 2000, "STREAMS", "s", "$"], 2.0),
    ("XREAD", ["COUNT", 1, b"block", b"250", "STREAMS", "s", "$"], 0.25),
    ("XREADGROUP", ["GROUP", "g", "c", "Block", 100, "STREAMS", "s", ">"], 0.1),
    ("BLPOP", ["k", "soon"], 0.0),
]


@pytest.mark.parametrize(("verb", "args", "seconds"), BLOCKS)
def test_how_long_a_command_blocks_is_read_from_its_arguments(verb: str, args: list[Any], seconds: float) -> None:
    assert _block_seconds(verb, (verb, *args)) == seconds


def test_a_stream_whose_name_is_block_does_not_block() -> None:
    assert _block_option(("XREAD", "COUNT", 1, "STREAMS", "block", "$")) is None


async def test_reading_a_stream_waits_apart_only_if_it_blocks(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, RedisManager(proxy.url, timeout=PATIENCE) as manager:
        client: Any = manager.client
        before = proxy.connections
        await client.xadd("s", {"f": "v"}, id="1-1")
        expected = [[b"s", [(b"1-1", {b"f": b"v"})]]]
        assert await within(client.xread({"s": 0})) == expected
        assert proxy.connections == before
        assert await within(client.xread({"s": "1-1"}, block=400)) in ([], None)
        assert proxy.connections == before + 1


async def test_subscribing_waits_longer_than_the_timeout(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=0.5) as manager, manager.client.pubsub() as pubsub:
        await pubsub.subscribe("news")
        await pubsub.psubscribe("new*")
        assert [(await pubsub.get_message(timeout=PATIENCE))["type"] for _ in range(2)] == ["subscribe", "psubscribe"]
        listening = asyncio.create_task(anext(aiter(pubsub.listen())))
        await asyncio.sleep(1.1)  # twice the timeout
        assert not listening.done()
        assert await manager.client.publish("news", "x") == 2
        assert (await within(listening))["data"] == b"x"
        assert (await within(pubsub.get_message(timeout=PATIENCE)))["pattern"] == b"new*"
        assert await pubsub.get_message(timeout=0.01) is None


async def test_a_connection_that_subscribed_has_its_usual_timeout_when_it_goes_back(manager: RedisManager) -> None:
    pool: Any = manager.links.pool
    async with manager.client.pubsub() as pubsub:
        await pubsub.subscribe("news")
        assert pubsub.connection.socket_timeout is None
    await eventually(lambda: not pool._in_use_connections)
    assert [connection.socket_timeout for connection in pool._available_connections] == [PATIENCE]


async def test_a_client_of_its_own_leaves_nothing_behind_on_its_connection(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE, max_connections=1) as manager:
        async with manager.client.client() as own:
            await own.select(1)
            await own.set("k", "elsewhere")
            assert await within(own.get("k")) == b"elsewhere"
            assert await within(manager.client.get("k")) is None
        async with manager.client.pipeline() as pipe:
            assert await within(pipe.get("k").execute()) == [None]


async def test_a_monitor_waits_longer_than_the_timeout(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=0.2) as manager, manager.client.monitor() as commands:
        waiting = asyncio.create_task(commands.next_command())
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await manager.client.get("seen")
        assert (await within(waiting))["command"] == "GET seen"


async def test_a_script_object_loads_itself_again(manager: RedisManager) -> None:
    script = manager.client.register_script("return {KEYS[1], ARGV[1]}")
    assert await within(script(keys=["k"], args=["v"])) == [b"k", b"v"]
    await manager.client.script_flush()
    assert await within(script(keys=["k"], args=["v"])) == [b"k", b"v"]
    async with manager.client.pipeline() as pipe:
        await script(keys=["p"], args=[1], client=pipe)
        assert await within(pipe.execute()) == [[b"p", b"1"]]


async def test_redis_pys_lock_works(manager: RedisManager) -> None:
    client = manager.client
    async with client.lock("lock", timeout=PATIENCE) as lock:
        assert await lock.owned()
        assert not await client.lock("lock", timeout=1).acquire(blocking=False)
        await lock.extend(1)
    assert await client.lock("lock", timeout=1).acquire(blocking=False)


async def test_the_pool_is_bounded_and_who_finds_none_free_is_told(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=5, max_connections=2, connection_timeout=1) as manager:
        client: Any = manager.client
        waiting = [asyncio.create_task(client.blpop(["queue"], 20)) for _ in range(2)]
        await eventually(lambda: len(manager.links.pool._in_use_connections) == 2)  # type: ignore[attr-defined]
        with pytest.raises(exceptions.ConnectionError):
            await client.blpop(["queue"], 20)
        assert await within(client.get("k")) is None
        await client.rpush("queue", 1, 2)
        assert sorted(await within(asyncio.gather(*waiting))) == [(b"queue", b"1"), (b"queue", b"2")]
        assert await within(client.blpop(["queue"], 0.01)) is None


async def test_iterating_over_keys_uses_the_shared_connection(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, RedisManager(proxy.url, timeout=PATIENCE) as manager:
        await manager.client.mset({f"k{n}": n for n in range(50)})
        assert {key async for key in manager.client.scan_iter("k*")} == {b"k%d" % n for n in range(50)}
        assert proxy.connections == 2
