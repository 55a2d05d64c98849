"""Counting round trips and commands before a real server."""

import asyncio

import pytest
import redis.asyncio

from asgi_redis_guard.testing import RoundTripCounter
from asgi_redis_guard.testing.counter import CommandReader
from tests.redis.tools import eventually
from tests.testing.conftest import Dial


async def test_a_round_trip_is_counted_once_for_a_pipeline(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as counter, redis.asyncio.Redis.from_url(counter.url) as client:
        await client.ping()
        counter.reset()
        assert (counter.round_trips, counter.commands) == (0, [])
        async with client.pipeline(transaction=False) as pipe:
            pipe.set("key", b"x" * 100)
            pipe.get("key")
            await pipe.execute()
        assert (counter.round_trips, counter.commands) == (1, [b"SET", b"GET"])
        await client.get("key")
        await client.get("key")
        assert (counter.round_trips, counter.commands[2:]) == (3, [b"GET", b"GET"])


async def test_round_trips_of_several_connections_add_up(redis_url: str, dial: Dial) -> None:
    async with RoundTripCounter(redis_url) as counter:
        one, two = await dial(counter), await dial(counter)
        await asyncio.gather(one.ask(b"PING"), two.ask(b"PING"))
        assert (counter.round_trips, counter.connections) == (2, 2)


async def test_a_reply_to_something_before_the_reset_is_not_counted(redis_url: str, dial: Dial) -> None:
    async with RoundTripCounter(redis_url) as counter:
        wire = await dial(counter)
        counter.latency = 0.05
        wire.send(b"PING")
        await eventually(lambda: counter.commands)
        counter.reset()
        assert await wire.read() == b"+PONG\r\n"
        assert counter.round_trips == 0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_commands_are_found_however_they_are_cut(size: int) -> None:
    data = b"*2\r\n$3\r\nget\r\n$4\r\n\r\n*1\r\nPING\r\n*1\r\n$4\r\nQUIT\r\n*3\r\n$3\r\nSET\r\n$0\r\n\r\n$2\r\n$9\r\n"
    reader = CommandReader()
    names = [name for start in range(0, len(data), size) for name in reader.feed(data[start : start + size])]
    assert names == [b"GET", b"PING", b"QUIT", b"SET"]
