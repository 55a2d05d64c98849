"""A server that answers and cannot serve: told from one that refuses an operation, and waited for in the background."""

import asyncio
import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest
import redis

from asgi_redis_guard.errors import OperationFailed, RedisUnavailable
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.program import Script
from tests.conftest import MakeServer
from tests.faults.test_outage import states
from tests.redis.tools import HELLO_3, PATIENCE, channel_to, eventually, mark, run, scripted, within
from tests.servers import Server

KINDS = ["valkey9", "redis62"]


@contextmanager
def busy(server: Server) -> Iterator[None]:
    """Have the server run a script that does not end by itself."""

    def spin() -> None:
        with redis.Redis.from_url(server.url, socket_timeout=PATIENCE) as client, pytest.raises(redis.ResponseError):
            client.eval("while true do end", 0)

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        with redis.Redis.from_url(server.url) as client:
            while True:
                try:
                    client.ping()
                except redis.ResponseError:  # BUSY
                    break
        yield
    finally:
        server.command("SCRIPT KILL")
        thread.join()


async def probed(caplog: pytest.LogCaptureFixture) -> None:
    """Wait until two more probes have found that Redis is still away."""

    def probes() -> int:
        return sum(" is still away" in record.getMessage() for record in caplog.records)

    goal = probes() + 2
    await eventually(lambda: probes() >= goal)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_busy_server_is_away_until_it_is_through(
    make_server: MakeServer, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "asgi_redis_guard.redis")
    server = make_server(kind, lua_time_limit="5")
    async with RedisManager(server.url, timeout=PATIENCE) as manager:
        await run(manager, [mark(b"k")])
        with busy(server):
            for _ in range(5):
                with pytest.raises(RedisUnavailable, match="BUSY") as caught:
                    await run(manager, [mark(b"k")])
                assert not isinstance(caught.value, OperationFailed)
                assert not caught.value.maybe_executed
            assert manager.links.breaker.is_open
            await probed(caplog)
            assert manager.links.breaker.is_open
        await eventually(lambda: not manager.links.breaker.is_open)
        assert await run(manager, [mark(b"k")]) == [1]
        assert await within(manager.execute("LLEN", "k")) == 2
    assert states(caplog) == ["away", "back"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_primary_that_became_a_replica_is_away_until_it_is_one_again(
    make_server: MakeServer, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "asgi_redis_guard.redis")
    server = make_server(kind)
    async with RedisManager(server.url, timeout=PATIENCE) as manager:
        await run(manager, [mark(b"k")])
        await asyncio.to_thread(server.command, "REPLICAOF", "127.0.0.1", "1")
        for _ in range(5):
            with pytest.raises(RedisUnavailable, match="READONLY") as caught:
                await run(manager, [mark(b"k")])
            assert not isinstance(caught.value, OperationFailed)
        assert manager.links.breaker.is_open
        await probed(caplog)
        assert manager.links.breaker.is_open
        await asyncio.to_thread(server.command, "REPLICAOF", "NO", "ONE")
        await eventually(lambda: not manager.links.breaker.is_open)
        assert await run(manager, [mark(b"k")]) == [1]
    assert states(caplog) == ["away", "back"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_replica_that_refuses_a_services_script_is_away(make_server: MakeServer, kind: str) -> None:
    server, script = make_server(kind), Script("return redis.call('SET', KEYS[1], 'v')")
    async with RedisManager(server.url, timeout=PATIENCE) as manager:
        assert await within(manager.run_script(script, (b"k",))) == b"OK"
        await asyncio.to_thread(server.command, "REPLICAOF", "127.0.0.1", "1")
        for _ in range(5):
            with pytest.raises(RedisUnavailable, match=r"^READONLY") as caught:
                await within(manager.run_script(script, (b"k",)))
            assert not isinstance(caught.value, OperationFailed)
        assert manager.links.breaker.is_open
        await asyncio.to_thread(server.command, "REPLICAOF", "NO", "ONE")
        await eventually(lambda: not manager.links.breaker.is_open)


@pytest.mark.parametrize("kind", KINDS)
async def test_an_error_in_a_services_script_is_told_by_its_code(make_server: MakeServer, kind: str) -> None:
    async with RedisManager(make_server(kind).url, timeout=PATIENCE) as manager:
        await within(manager.execute("SET", "k", "v"))
        with pytest.raises(OperationFailed) as caught:
            await within(manager.run_script(Script("return redis.call('LPUSH', KEYS[1], 'v')"), (b"k",)))
        assert caught.value.code == "WRONGTYPE"
        with pytest.raises(OperationFailed) as caught:
            await within(manager.run_script(Script("return nothing.at_all")))
        assert caught.value.code == "ERR"
        assert manager.links.breaker.failures == 0


async def test_a_replica_is_left_for_whoever_has_its_name_now(fresh_server: Server) -> None:
    async with channel_to(fresh_server.url) as channel:
        first = await channel.connect()
        await asyncio.to_thread(fresh_server.command, "REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(RedisUnavailable, match="READONLY"):
            await within(channel.submit(("SET", "k", "v")))
        await eventually(lambda: channel.link is not first)
        assert await within(channel.submit(("GET", "k"))) is None
        assert channel.link is not None


@pytest.mark.parametrize("error", ["LOADING Redis is loading", "MASTERDOWN Link", "CLUSTERDOWN no", "UNKILLABLE x"])
async def test_a_server_that_cannot_serve_anyone_opens_the_breaker_one_reply_at_a_time(error: str) -> None:
    def answer(command: list[bytes]) -> bytes:
        return HELLO_3 if command[0] == b"HELLO" else f"-{error}\r\n".encode() if command[0] == b"GET" else b"+OK\r\n"

    async with scripted(answer) as url, channel_to(url) as channel:
        for _ in range(5):
            with pytest.raises(RedisUnavailable, match=error.split(maxsplit=1)[0]) as caught:
                await within(channel.submit(("GET", "k")))
            assert not isinstance(caught.value, OperationFailed)
        with pytest.raises(RedisUnavailable, match=error.split(maxsplit=1)[0]):
            channel.submit(("GET", "k"))


@pytest.mark.parametrize("error", ["OOM full", "MISCONF disk", "NOPERM you", "WRONGTYPE x", "NOAUTH who", "ERR x"])
async def test_a_refused_operation_is_a_sign_of_life(error: str) -> None:
    """Errors of operations never open the breaker, and end a row of failures."""
    replies = iter(["LOADING", "LOADING", "LOADING", "LOADING", error] * 4)

    def answer(command: list[bytes]) -> bytes:
        return (
            HELLO_3
            if command[0] == b"HELLO"
            else f"-{next(replies)}\r\n".encode()
            if command[0] == b"GET"
            else b"+OK\r\n"
        )

    async with scripted(answer) as url, channel_to(url) as channel:
        outcomes = [await asyncio.gather(channel.submit(("GET", "k")), return_exceptions=True) for _ in range(20)]
        refused = [outcome for [outcome] in outcomes if isinstance(outcome, OperationFailed)]
        assert [outcome.code for outcome in refused] == [error.split()[0]] * 4


async def test_a_server_that_is_loading_is_used_once_it_has_loaded(caplog: pytest.LogCaptureFixture) -> None:
    loading = True

    def answer(command: list[bytes]) -> bytes:
        return HELLO_3 if command[0] == b"HELLO" else b"-LOADING wait\r\n" if loading else b"+PONG\r\n"

    async with scripted(answer) as url, RedisManager(url, timeout=0.3) as manager:
        with pytest.raises(RedisUnavailable, match="LOADING"):
            await manager.execute("PING")
        loading = False
        await eventually(lambda: not manager.links.breaker.is_open)
        assert await within(manager.execute("PING")) == b"PONG"
    assert states(caplog) == ["away", "back"]


async def take_the_last_place(server: Server) -> asyncio.StreamWriter:
    """Connect as soon as there is room."""
    while True:
        reader, writer = await asyncio.open_unix_connection(server.path)
        writer.write(b"PING\r\n")
        with suppress(OSError):  # the server has hung up
            if (await reader.read(100)).startswith(b"+PONG"):
                return writer
        writer.transport.abort()


async def test_a_server_without_room_for_another_client_is_used_once_it_has_some(make_server: MakeServer) -> None:
    server = make_server(maxclients="2")
    async with RedisManager(server.url, timeout=PATIENCE) as manager:
        manager.links.lane2.drop("test")
        other = await within(take_the_last_place(server))
        with pytest.raises(RedisUnavailable):
            await within(manager.execute("PING"))
        other.transport.abort()
        await eventually(lambda: not manager.links.breaker.is_open)
        assert await within(manager.execute("PING")) == b"PONG"
