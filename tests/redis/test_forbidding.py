"""Servers and proxies that know less than others: each serves as well as it can, and nothing fails for it."""

import pytest

from asgi_redis_guard.redis.manager import RedisManager
from tests.accounts import use
from tests.conftest import BACKENDS, MakeServer
from tests.redis.said import Said, sentinels_that_say
from tests.redis.tools import PATIENCE, scripted, within
from tests.servers import Server

SERVERS = [kind for kind in BACKENDS if kind != "memory"]

#: What managed servers and proxies do not let through; without HELLO they speak RESP2 alone.
FORBIDDEN = [
    ("HELLO",),
    ("CONFIG", "CLIENT", "INFO"),
    ("WAIT", "ROLE", "MONITOR", "SCAN"),
    ("HELLO", "CONFIG", "CLIENT", "INFO", "WAIT", "ROLE", "ACL", "COMMAND"),
]


def server_without(make_server: MakeServer, kind: str, *names: str) -> Server:
    words = [word for name in names for word in ("--rename-command", name, "")][1:]
    return make_server(kind, rename_command=words)


@pytest.mark.parametrize("names", FORBIDDEN, ids=" ".join)
@pytest.mark.parametrize("kind", SERVERS)
async def test_a_stack_runs_without_what_is_forbidden(
    make_server: MakeServer, kind: str, names: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    server = server_without(make_server, kind, *names)
    await use(server.url)
    assert [record.getMessage() for record in caplog.records if record.name.startswith("asgi_redis_guard")] == []


@pytest.mark.parametrize("names", FORBIDDEN, ids=" ".join)
async def test_the_app_s_own_client_works_too(make_server: MakeServer, names: tuple[str, ...]) -> None:
    server = server_without(make_server, "valkey9", *names)
    async with RedisManager(server.url, timeout=PATIENCE) as manager:
        assert await within(manager.client.set("k", "v"))
        async with manager.client.pipeline() as pipeline:
            assert await within(pipeline.get("k").execute()) == [b"v"]
        async with manager.client.pubsub() as pubsub:
            await pubsub.subscribe("news")
        assert await manager.client.blpop(["nothing"], timeout=0.01) is None


async def test_what_info_would_tell_is_unknown_where_it_is_forbidden(make_server: MakeServer) -> None:
    async with RedisManager(server_without(make_server, "valkey9", "INFO").url, timeout=PATIENCE) as manager:
        health = await within(manager.health())
    assert (health["healthy"], health["server"], health["version"], health["warnings"]) == (True, None, None, {})


async def test_a_password_is_given_in_the_old_way_too(make_server: MakeServer) -> None:
    server = make_server(requirepass="pw", rename_command=["HELLO", ""])
    await use(server.url)


@pytest.mark.parametrize("error", ["NOPERM this user has no permissions", "ERR unknown command 'ROLE'"])
async def test_a_role_that_may_not_be_asked_is_believed(error: str) -> None:
    def node(command: list[bytes]) -> bytes:
        known = {b"HELLO": "-ERR unknown command 'HELLO'", b"ROLE": f"-{error}", b"GET": "$1\r\nv"}
        return f"{known.get(command[0], '+OK')}\r\n".encode()

    async with (
        scripted(node) as place,
        sentinels_that_say(Said(int(place.rpartition(":")[2]))) as url,
        RedisManager(url, timeout=PATIENCE) as manager,
    ):
        assert await within(manager.execute("GET", "k")) == b"v"
