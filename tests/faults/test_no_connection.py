"""Callers who wait for a connection: that is part of the time that they wait at most."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from asgi_redis_guard.errors import RedisTimeout
from tests.redis.tools import HELLO_3, channel_to, eventually, within


@asynccontextmanager
async def reluctant_server(greets: asyncio.Event) -> AsyncIterator[str]:
    """It greets when it is told to, and answers nothing after that."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        await greets.wait()
        writer.write(HELLO_3 + b"+OK\r\n+PONG\r\n")
        while await reader.read(65536):
            pass
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_the_wait_for_a_connection_is_part_of_the_wait() -> None:
    """The event that the half of the time is over is another caller's, who wanted to wait for so long only."""
    greets = asyncio.Event()
    async with reluctant_server(greets) as url, channel_to(url, timeout=0.8, threshold=1000) as channel:
        early, half = channel.submit(("PING",)), channel.submit(("PING",), timeout=0.4)
        with pytest.raises(RedisTimeout) as caught:
            await within(half)
        assert not caught.value.maybe_executed
        greets.set()
        await eventually(lambda: channel.link is not None)
        late = channel.submit(("PING",))
        with pytest.raises(RedisTimeout) as caught:
            await within(early)
        assert caught.value.maybe_executed
        assert not late.done(), "its time began half a timeout later"
        with pytest.raises(RedisTimeout):
            await within(late)


async def test_an_address_that_nothing_comes_back_from_keeps_nobody_until_the_connection_fails() -> None:
    """A full backlog: further packets that ask for a connection are dropped."""
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for client in (first, second):
            client.setblocking(False)
            client.connect_ex(full.getsockname())
        url = f"redis://127.0.0.1:{full.getsockname()[1]}"
        async with channel_to(url, timeout=0.1, threshold=1000) as channel:
            with pytest.raises(RedisTimeout) as caught:
                await within(channel.submit(("PING",)))
            assert not caught.value.maybe_executed
            connecting = [task for task in asyncio.all_tasks() if task.get_name() == "asgi-redis-guard connect"]
            assert len(connecting) == 1, "which goes on for those who come"
