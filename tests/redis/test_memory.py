"""The store of this process, behind the interface of a channel."""

import asyncio
import sys
from typing import Any

import pytest

from asgi_redis_guard.errors import ConfigurationError, OperationFailed
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.memory import MemoryChannel, fake_server
from asgi_redis_guard.redis.program import Script
from tests.redis.tools import mark, run


@pytest.fixture
def memory() -> RedisManager:
    return RedisManager("memory://")


async def test_a_command_is_answered_at_once(memory: RedisManager) -> None:
    future = memory.links.lane2.submit(("SET", "key", "value"))
    assert future.done()
    assert await future in (b"OK", True)
    assert await memory.execute("GET", "key") == b"value"


async def test_values_may_have_any_bytes(memory: RedisManager) -> None:
    every = bytes(range(256))
    await memory.execute("SET", every, every)
    assert await memory.execute("GET", every) == every


async def test_an_error_is_the_same_as_that_of_a_channel(memory: RedisManager) -> None:
    await memory.execute("RPUSH", "list", "x")
    with pytest.raises(OperationFailed) as caught:
        await memory.execute("GET", "list")
    assert caught.value.code == "WRONGTYPE"
    with pytest.raises(OperationFailed) as caught:
        await memory.execute("NO_SUCH_COMMAND")
    assert caught.value.code == "ERR"


async def test_a_script_is_loaded_when_it_is_missing(memory: RedisManager) -> None:
    script = Script("return {KEYS[1], ARGV[1]}")
    assert await memory.run_script(script, (b"k",), ("v",)) == [b"k", b"v"]
    await memory.execute("SCRIPT", "FLUSH")
    assert await memory.run_script(script, (b"k",), ("v",)) == [b"k", b"v"]


async def test_channels_clients_and_loops_share_the_data_of_one_manager(memory: RedisManager) -> None:
    await run(memory, [mark(b"k", "lane 1")])
    await memory.execute("RPUSH", "k", "lane 2")
    await memory.client.rpush("k", "client")

    async def elsewhere() -> None:
        await memory.execute("RPUSH", "k", "thread")

    await asyncio.to_thread(asyncio.run, elsewhere())
    assert await memory.client.lrange("k", 0, -1) == [b"lane 1", b"lane 2", b"client", b"thread"]


async def test_two_managers_share_nothing(memory: RedisManager) -> None:
    await memory.execute("SET", "key", "value")
    assert await RedisManager("memory://").execute("GET", "key") is None


async def test_the_data_outlives_closing(memory: RedisManager) -> None:
    async with memory:
        await memory.execute("SET", "key", "value")
    async with memory:
        assert await memory.execute("GET", "key") == b"value"


@pytest.mark.parametrize(("decode", "value"), [(True, "é"), (False, "é".encode())])
async def test_the_client_decodes_if_asked(decode: bool, value: Any) -> None:
    memory = RedisManager("memory://", decode_responses=decode)
    await memory.client.set("k", "é")
    assert await memory.client.get("k") == value


async def test_the_interface_of_a_channel_is_whole() -> None:
    channel = MemoryChannel(asyncio.get_running_loop(), fake_server())
    assert (channel.link, channel.in_flight, repr(channel)) == (None, 0, "<MemoryChannel>")
    assert await channel.connect() is None
    channel.drop("reason")
    channel.abandon()
    channel.close()


@pytest.mark.parametrize("missing", ["fakeredis", "lupa"])
def test_without_the_extra_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ConfigurationError, match=r'pip install "asgi-redis-guard\[memory\]"'):
        RedisManager("memory://")


async def test_there_is_one_client_for_each_loop(memory: RedisManager) -> None:
    client = memory.client
    assert memory.client is client
    await client.set("k", "v")

    async def elsewhere() -> Any:
        assert memory.client is not client
        assert memory.client is memory.client
        value = await memory.client.get("k")
        await memory.aclose()
        return value

    assert await asyncio.to_thread(asyncio.run, elsewhere()) == b"v"
    assert await asyncio.to_thread(lambda: memory.client) is not client, "which is for the loop that it was asked in"
    assert await memory.client.get("k") == b"v"
