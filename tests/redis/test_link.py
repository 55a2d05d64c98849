"""The greeting: what is said to a server, and what of its answers is taken for a refusal."""

import asyncio
import shutil
from typing import Any

import pytest

from asgi_redis_guard.errors import OperationFailed, RedisUnavailable
from asgi_redis_guard.redis.address import Address
from asgi_redis_guard.redis.link import AuthenticationFailed, Link, open_link
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.testing import FaultProxy, RoundTripCounter
from tests.conftest import MakeServer
from tests.redis.tools import HELLO_3, PATIENCE, eventually, mark, run, scripted, within
from tests.servers import Server


async def link_to(url: str, **options: Any) -> Link:
    return await within(open_link(Address.parse(url), **{"timeout": PATIENCE, "name": "test", **options}))


async def test_all_of_the_greeting_is_one_write(make_server: MakeServer) -> None:
    server = make_server(requirepass="pw", databases="4")
    async with RoundTripCounter(server.path) as proxy:
        link = await link_to(proxy.url.replace("redis://", "redis://:pw@") + "/3")
        assert proxy.commands == [b"HELLO", b"CLIENT", b"SELECT", b"PING"]
        assert proxy.round_trips == 1
        assert (link.server["proto"], link.server["role"]) == (3, "master")
        assert await link.converse([("CLIENT", "GETNAME")]) == [b"test"]
        assert b"db=3 " in (await link.converse([("CLIENT", "INFO")]))[0]
        link.abort()


async def test_errors_among_the_replies_are_values(redis_url: str) -> None:
    link = await link_to(redis_url)
    replies = await link.converse([("PING",), ("NO_SUCH",), ("GET", "x")])
    link.abort()
    assert replies[0] == b"PONG"
    assert isinstance(replies[1], OperationFailed)
    assert replies[2] is None


async def test_a_server_without_hello_is_greeted_in_the_old_way() -> None:
    said: list[list[bytes]] = []

    def old(command: list[bytes]) -> bytes:
        said.append(command)
        return b"-ERR unknown command 'HELLO'\r\n" if command[0] == b"HELLO" else b"+OK\r\n"

    async with scripted(old) as url:
        link = await link_to(url.replace("redis://", "redis://ann:pw@") + "/2")
        link.abort()
    assert link.server == {}
    words = [b" ".join(command) for command in said]
    assert words[0].startswith(b"HELLO 3 AUTH ann pw")
    assert words[-4:] == [b"AUTH ann pw", b"CLIENT SETNAME test", b"SELECT 2", b"PING"]


async def test_a_password_alone_is_sent_alone_in_the_old_way(make_server: MakeServer) -> None:
    said: list[list[bytes]] = []

    def any_server(command: list[bytes]) -> bytes:
        said.append(command)
        return b"+OK\r\n"

    async with scripted(any_server) as url:
        (await link_to(url.replace("redis://", "redis://:pw@"), protocol=2)).abort()
    assert said[0] == [b"AUTH", b"pw"]


@pytest.mark.parametrize("protocol", [2, 3])
@pytest.mark.parametrize("login", ["", ":wrong@", "nobody:wrong@"])
@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_wrong_credentials_are_told_from_other_faults(
    make_server: MakeServer, kind: str, login: str, protocol: int
) -> None:
    server = make_server(kind, requirepass="right")
    with pytest.raises(AuthenticationFailed) as caught:
        await link_to(f"unix://{login}{server.path}", protocol=protocol)
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("protocol", [2, 3])
async def test_an_account_of_its_own_is_let_in(make_server: MakeServer, protocol: int) -> None:
    server = make_server(user=["ann", "on", ">p@ss", "~*", "+@all"])
    link = await link_to(f"unix://ann:p%40ss@{server.path}", protocol=protocol)
    assert await link.converse([("ACL", "WHOAMI")]) == [b"ann"]
    link.abort()


@pytest.mark.parametrize("error", ["LOADING Redis is loading", "BUSY script", "MASTERDOWN Link", "ERR no"])
async def test_a_server_that_greets_and_cannot_serve_is_unavailable(error: str) -> None:
    def answer(command: list[bytes]) -> bytes:
        return {b"HELLO": HELLO_3, b"PING": f"-{error}\r\n".encode()}.get(command[0], b"+OK\r\n")

    async with scripted(answer) as url:
        with pytest.raises(RedisUnavailable, match=error):
            await link_to(url)


async def test_an_unknown_database_is_a_refusal(valkey: Server) -> None:
    with pytest.raises(RedisUnavailable, match="DB index"):
        await link_to(f"{valkey.url}?db=9999")


async def test_a_server_that_only_refuses_writes_still_serves(make_server: MakeServer) -> None:
    server = make_server(tcp=True, save=["3600", "1"])
    shutil.rmtree(server.folder)  # nowhere to save to
    server.command("BGSAVE")
    await eventually(lambda: server.command("INFO", "persistence")["rdb_last_bgsave_status"] == "err")
    async with RedisManager(server.url, timeout=PATIENCE) as manager:
        assert await within(manager.execute("GET", "nothing")) is None
        assert (await run(manager, [mark(b"k")]))[0].startswith(b"MISCONF")
        assert "MISCONF" in str((await manager.health())["error"])
        assert not manager.links.breaker.is_open
    server.kill()  # it would not end before it has saved


async def test_garbage_in_the_greeting_is_unavailable() -> None:
    async with scripted(lambda command: b"HTTP/1.1 400 Bad Request\r\n\r\n") as url:
        with pytest.raises(RedisUnavailable, match="ProtocolError"):
            await link_to(url)


async def test_an_end_in_the_greeting_is_unavailable() -> None:
    async with scripted(lambda command: b"") as url:
        with pytest.raises(RedisUnavailable):
            await link_to(url)


async def test_too_many_clients_are_told(make_server: MakeServer) -> None:
    server = make_server(maxclients="1")
    first = await link_to(server.url)
    with pytest.raises(RedisUnavailable):
        await link_to(server.url)
    first.abort()


async def test_silence_in_the_greeting_ends_with_the_timeout(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy:
        proxy.black_hole()
        with pytest.raises(RedisUnavailable, match=r"within 0\.1 s"):
            await within(open_link(Address.parse(proxy.url), timeout=0.1, name="test"))


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1", "unix:///nowhere", "redis://no-such-host.invalid"])
async def test_nobody_there_is_unavailable(url: str) -> None:
    with pytest.raises(RedisUnavailable, match="no connection to"):
        await link_to(url)


async def test_cancelling_the_greeting_leaves_no_connection(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy:
        proxy.drop_replies()
        opening = asyncio.create_task(link_to(proxy.url))
        await eventually(lambda: proxy.bytes_up)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
        proxy.heal()
        await eventually(lambda: not proxy.open_connections)
