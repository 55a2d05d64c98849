"""redis-py's API over the shared connection: the same results, the same errors."""

import asyncio
from typing import Any

import pytest
import redis.asyncio
from redis import exceptions

from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.testing import FaultProxy, RoundTripCounter
from tests.redis.tools import PATIENCE, within

Client = Any  # redis-py's own types are unions of awaitables and values


@pytest.fixture(params=[False, True], ids=["bytes", "text"])
async def pair(request: pytest.FixtureRequest, redis_url: str) -> Any:
    """The client under test and redis-py's own, set up alike, on a database each."""
    decode = bool(request.param)
    own = redis.asyncio.Redis.from_url(redis_url, db=1, decode_responses=decode, protocol=2)
    async with RedisManager(redis_url, timeout=PATIENCE, decode_responses=decode) as manager:
        yield manager.client, own
    await own.aclose()


CALLS = [
    ("set", "s", "é"),
    ("get", "s"),
    ("get", "nothing"),
    ("append", "s", b"\xc3\xa9"),
    ("getrange", "s", 0, 1),
    ("mset", {"a": 1, "b": 2.5}),
    ("mget", ["a", "b", "c"]),
    ("incrby", "a", 5),
    ("incrbyfloat", "b", 0.5),
    ("set", "e", "v", 100),
    ("exists", "a", "b", "nope"),
    ("expire", "a", 100),
    ("type", "a"),
    ("hset", "h", "f", "v", {"g": 1}),
    ("hgetall", "h"),
    ("hmget", "h", ["f", "x"]),
    ("hincrby", "h", "g", 2),
    ("hkeys", "h"),
    ("hexists", "h", "f"),
    ("rpush", "l", 1, 2, 3),
    ("lrange", "l", 0, -1),
    ("lpop", "l"),
    ("lpop", "l", 2),
    ("sadd", "t", "x", "y"),
    ("smembers", "t"),
    ("sismember", "t", "x"),
    ("zadd", "z", {"one": 1, "two": 2.5}),
    ("zrange", "z", 0, -1, False, True),
    ("zscore", "z", "two"),
    ("zpopmin", "z"),
    ("zrangebyscore", "z", "-inf", "+inf", None, None, True),
    ("xadd", "x", {"f": "v"}, "1-1"),
    ("xrange", "x"),
    ("xlen", "x"),
    ("pfadd", "p", "a", "b"),
    ("pfcount", "p"),
    ("setbit", "bits", 7, 1),
    ("bitcount", "bits"),
    ("geoadd", "g", [13.361389, 38.115556, "Palermo"]),
    ("geopos", "g", "Palermo"),
    ("eval", "return {KEYS[1], ARGV[1], 3}", 1, "k", "v"),
    ("eval", "return redis.status_reply('FINE')", 0),
    ("scan", 0, "nothing*"),
    ("echo", "é"),
    ("ping",),
    ("config_get", "maxmemory-policy"),
    ("object", "encoding", "a"),
    ("dump", "nothing"),
    ("ttl", "a"),
    ("delete", "a", "b"),
    ("publish", "nowhere", "x"),
    ("client_list",),
    ("info", "server"),
]


async def test_every_kind_of_command_gives_what_redis_py_gives(pair: tuple[Client, Client]) -> None:
    client, own = pair
    for name, *args in CALLS:
        ours, theirs = await within(getattr(client, name)(*args)), await getattr(own, name)(*args)
        if name in ("client_list", "info"):  # they tell of the connection itself
            assert type(ours) is type(theirs)
            assert ours
        else:
            assert ours == theirs, (name, args)


async def test_any_bytes_come_back_as_they_went(redis_url: str) -> None:
    every = bytes(range(256))
    async with RedisManager(redis_url, timeout=PATIENCE) as manager:
        await manager.client.hset(every, every, every)  # type: ignore[arg-type]
        assert await manager.client.hgetall(every) == {every: every}  # type: ignore[arg-type]


async def test_values_that_cannot_be_sent_are_refused_as_redis_py_does(manager: RedisManager) -> None:
    for wrong in (None, {}, [1], True):
        with pytest.raises(exceptions.DataError):
            await manager.client.set("k", wrong)  # type: ignore[arg-type]


async def test_errors_are_redis_pys(manager: RedisManager) -> None:
    client = manager.client
    await client.set("text", "x")
    with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
        await client.lpush("text", 1)
    with pytest.raises(exceptions.NoScriptError):
        await client.evalsha("0" * 40, 0)
    with pytest.raises(exceptions.ResponseError, match="unknown command"):
        await client.execute_command("NO_SUCH")
    with pytest.raises(exceptions.ResponseError, match=r"^mine$"):
        await client.eval("return redis.error_reply('ERR mine')", 0)


async def test_an_error_inside_a_reply_is_redis_pys_too(manager: RedisManager) -> None:
    first, second = await manager.client.eval("return {redis.error_reply('ERR mine'), {1}}", 0)
    assert isinstance(first, exceptions.ResponseError)
    assert second == [1]


async def test_no_answer_is_redis_pys_timeout_or_connection_error(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, RedisManager(proxy.url, timeout=0.5) as manager:
        await manager.client.ping()
        proxy.drop_replies()
        with pytest.raises(exceptions.TimeoutError):
            await manager.client.ping()
        proxy.refuse()
        with pytest.raises(exceptions.ConnectionError):
            await manager.client.ping()


@pytest.mark.parametrize(
    "words",
    [
        ["SELECT", 1],
        ["select", 1],
        [b"SELECT", 1],
        ["AUTH", "pw"],
        ["HELLO", 3],
        ["RESET"],
        ["QUIT"],
        ["MONITOR"],
        ["MULTI"],
        ["EXEC"],
        ["WATCH", "k"],
        ["SUBSCRIBE", "c"],
        ["CLIENT REPLY", "OFF"],
        ["CLIENT", "REPLY", "OFF"],
        ["client", b"reply", "OFF"],
        ["CLIENT TRACKING", "ON"],
        ["CLIENT SETNAME", "me"],
        ["CLIENT NO-EVICT", "ON"],
    ],
)
async def test_what_would_change_everybodys_connection_is_refused(manager: RedisManager, words: list[Any]) -> None:
    with pytest.raises(exceptions.RedisError, match="all callers share"):
        await manager.client.execute_command(*words)
    assert await within(manager.execute("GET", "k")) is None


async def test_what_only_looks_like_it_is_not(manager: RedisManager) -> None:
    assert await within(manager.client.client_id()) > 0
    assert "guards" not in str(await within(manager.client.client_getname()))
    assert await within(manager.client.execute_command("CLIENT", "TRACKINGINFO"))


async def test_two_hundred_gets_at_once_are_one_round_trip(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as proxy, RedisManager(proxy.url, timeout=PATIENCE) as manager:
        client = manager.client
        await client.mset({f"k{n}": n for n in range(200)})
        proxy.reset()
        values = await within(asyncio.gather(*(client.get(f"k{n}") for n in range(200))))
        assert values == [b"%d" % n for n in range(200)]
        assert (proxy.commands, proxy.round_trips) == ([b"GET"] * 200, 1)
        assert proxy.connections == 2


async def test_one_client_serves_every_loop_and_closing_it_is_the_managers_affair(redis_url: str) -> None:
    manager = RedisManager(redis_url, timeout=PATIENCE)
    client: Client = manager.client
    assert manager.client is client

    async def use() -> None:
        async with client:
            await client.incr("n")
        await client.aclose()
        assert await client.get("n") is not None

    await within(use())
    await asyncio.to_thread(asyncio.run, use())
    assert await within(client.get("n")) == b"2"
    await manager.aclose()
