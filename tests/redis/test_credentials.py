"""Credentials that change: a provider is asked for each connection, and live links log in again."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from redis import CredentialProvider

from asgi_redis_guard.errors import ConfigurationError, RedisUnavailable
from asgi_redis_guard.redis.address import Address
from asgi_redis_guard.redis.manager import RedisManager
from tests.cluster import Cluster
from tests.conftest import MakeServer
from tests.redis.tools import PATIENCE, eventually, mark, run, within
from tests.sentinels import sentinel_service
from tests.servers import Server


class Provider:
    """Gives what it was given last, and counts how often it is asked."""

    def __init__(self, *login: str) -> None:
        self.login: Any = login
        self.asked = 0

    async def get_credentials_async(self) -> Any:
        self.asked += 1
        return self.login


class Sync(CredentialProvider):
    """One in redis-py's old way: it would block the loop."""

    def __init__(self, *login: str) -> None:
        self.login = login

    def get_credentials(self) -> Any:
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        return self.login


class Announcing(Provider):
    """One that tells when it has new credentials, as redis-py's streaming ones do."""

    def __init__(self, *login: str) -> None:
        super().__init__(*login)
        self.callback: Callable[[Any], None] = lambda token: None

    def on_next(self, callback: Callable[[Any], None]) -> None:
        self.callback = callback

    def announce(self, *login: str) -> None:
        self.login = login
        self.callback("token")


def allow(server: Server, user: str, *passwords: str) -> None:
    server.command("ACL", "SETUSER", user, "reset", "on", *(f">{word}" for word in passwords), "~*", "&*", "+@all")


def users(server: Server) -> set[str]:
    """The accounts of all connections that have a name, which are ours."""
    return {user.decode() for user in re.findall(rb" name=asgi\S+ .* user=(\S+)", server.command("CLIENT", "LIST"))}


@pytest.mark.parametrize("make", [Provider, Sync])
@pytest.mark.parametrize("login", [("ann", "one"), ("secret",)])
async def test_every_kind_of_connection_asks_the_provider(
    make_server: MakeServer, make: Any, login: tuple[str, ...]
) -> None:
    server = make_server(requirepass="secret")
    allow(server, "ann", "one")
    async with RedisManager(f"unix://{server.path}", credential_provider=make(*login), timeout=PATIENCE) as manager:
        await run(manager, [mark(b"k")])
        async with manager.client.pipeline() as pipeline:
            assert (await within(pipeline.acl_whoami().execute())) in (["default"], ["ann"])
        async with manager.pubsub.subscribe("news"):
            assert users(server) == {login[0] if len(login) == 2 else "default"}
        assert "secret" not in f"{manager!r} {manager.address!r}"
        assert "password" not in (await manager.health())["warnings"]


async def test_a_connection_after_a_change_uses_what_is_valid_now(make_server: MakeServer) -> None:
    server = make_server()
    allow(server, "ann", "one")
    provider = Provider("ann", "one")
    async with RedisManager(f"unix://{server.path}", credential_provider=provider, timeout=PATIENCE) as manager:
        await within(manager.execute("PING"))
        allow(server, "ann", "two")
        provider.login = ("ann", "two")
        asked = provider.asked
        manager.links.lane2.drop("for the test")
        assert await within(manager.execute("PING")) == b"PONG"
        assert provider.asked > asked


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_rotation_logs_in_again_on_live_links_and_no_request_fails(make_server: MakeServer, kind: str) -> None:
    server = make_server(kind)
    allow(server, "old", "one")
    allow(server, "new", "two")
    provider = Provider("old", "one")
    async with RedisManager(f"unix://{server.path}", credential_provider=provider, timeout=PATIENCE) as manager:
        await manager.client.blpop(["nothing"], timeout=0.01)
        async with manager.pubsub.subscribe("news") as news:
            stop = asyncio.Event()

            async def load() -> int:
                count = 0
                while not stop.is_set():
                    await asyncio.gather(run(manager, [mark(b"k")]), manager.execute("GET", "x"))
                    count += 1
                return count

            loads = [asyncio.create_task(load()) for _ in range(8)]
            lane1, lane2 = manager.links.lane1.link, manager.links.lane2.link
            provider.login = ("new", "two")
            await within(manager.rotate_credentials())
            await eventually(lambda: users(server) == {"new"})
            server.command("ACL", "DELUSER", "old")  # which ends whoever is still logged in as it
            await manager.pubsub.publish("news", b"hello")
            assert (await within(anext(news))).data == b"hello", "no gap"
            stop.set()
            assert all(await within(asyncio.gather(*loads)))
            assert (manager.links.lane1.link, manager.links.lane2.link) == (lane1, lane2)
        assert not await manager.client.blpop(["nothing"], timeout=0.01)


async def test_a_provider_that_announces_is_followed(make_server: MakeServer) -> None:
    server = make_server()
    allow(server, "old", "one")
    allow(server, "new", "two")
    provider = Announcing("old", "one")
    async with RedisManager(f"unix://{server.path}", credential_provider=provider, timeout=PATIENCE) as manager:
        await run(manager, [mark(b"k")])
        await within(manager.execute("PING"))
        await asyncio.to_thread(provider.announce, "new", "two")
        await eventually(lambda: users(server) == {"new"})


async def test_new_credentials_that_are_refused_leave_links_as_they_are(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server()
    allow(server, "ann", "one")
    provider = Announcing("ann", "one")
    async with RedisManager(f"unix://{server.path}", credential_provider=provider, timeout=PATIENCE) as manager:
        await run(manager, [mark(b"k")])
        async with manager.pubsub.subscribe("news") as news:
            provider.login = ("ann", "Wr0ng")
            with pytest.raises(RedisUnavailable, match="WRONGPASS"):
                await within(manager.rotate_credentials())
            provider.announce("ann", "Wr0ng")
            await eventually(lambda: [line for line in caplog.messages if "refused the new credentials" in line])
            await run(manager, [mark(b"k")])
            await manager.pubsub.publish("news", b"hello")
            assert (await within(anext(news))).data == b"hello"
        provider.login = ("ann", "one")
    assert "Wr0ng" not in caplog.text


async def test_every_loop_of_the_process_is_told(make_server: MakeServer) -> None:
    server = make_server()
    allow(server, "old", "one")
    allow(server, "new", "two")
    provider = Provider("old", "one")
    manager = RedisManager(f"unix://{server.path}", credential_provider=provider, timeout=PATIENCE)
    ready, done = asyncio.Event(), asyncio.Event()
    here = asyncio.get_running_loop()

    async def elsewhere() -> None:
        async with manager:
            await manager.execute("PING")
            here.call_soon_threadsafe(ready.set)
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(done.wait(), here))

    thread = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    async with manager:
        await manager.execute("PING")
        await within(ready.wait())
        assert users(server) == {"old"}
        provider.login = ("new", "two")
        await within(manager.rotate_credentials())
        assert users(server) == {"new"}
        done.set()
        await within(thread)


@pytest.mark.parametrize("given", [None, (), ("a", "b", "c"), ("user", None), 5, b"bytes"])
async def test_a_provider_that_gives_no_credentials_is_an_outage(valkey: Server, given: Any) -> None:
    provider = Provider()
    provider.login = given
    address = Address.parse(valkey.url).provided_by(provider)
    with pytest.raises(RedisUnavailable, match="credential provider"):
        await address.login()


async def test_a_provider_that_fails_is_an_outage_that_repeats_no_secret(
    valkey: Server, caplog: pytest.LogCaptureFixture
) -> None:
    class Failing:
        def get_credentials(self) -> Any:
            raise ValueError("S3cr3t")

    async with RedisManager(valkey.url, credential_provider=Failing(), timeout=PATIENCE) as manager:
        with pytest.raises(RedisUnavailable, match="the credential provider failed: ValueError") as caught:
            await within(manager.execute("PING"))
    assert "S3cr3t" not in str(caught.value) + "".join(caplog.messages)
    assert len([record for record in caplog.records if record.levelno >= logging.WARNING]) == 1


def test_a_password_and_a_provider_are_too_much() -> None:
    with pytest.raises(ConfigurationError, match="credential_provider"):
        RedisManager("redis://:pw@localhost", credential_provider=Provider("a", "b"))
    with pytest.raises(ConfigurationError, match="credential_provider: a int given"):
        RedisManager("redis://localhost", credential_provider=5)


# Dedicated connections, clusters and sentinels.


async def test_dedicated_connections_in_use_are_closed_when_they_are_given_back(make_server: MakeServer) -> None:
    server = make_server()
    allow(server, "old", "one")
    allow(server, "new", "two")
    provider = Provider("old", "one")
    async with RedisManager(f"unix://{server.path}", credential_provider=provider, timeout=PATIENCE) as manager:
        async with manager.client.pipeline() as pipeline:
            await pipeline.watch("k")
            provider.login = ("new", "two")
            await within(manager.rotate_credentials())
            pipeline.multi()
            pipeline.set("k", 1)
            assert await within(pipeline.execute()) == [True], "it is not disturbed"
        await within(manager.client.blpop(["nothing"], timeout=0.01))
        async with manager.client.pipeline() as pipeline:
            assert await within(pipeline.acl_whoami().execute()) == ["new"]
        assert b"user=old" not in server.command("CLIENT", "LIST")


@pytest.fixture
def accounts_of_a_cluster(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster with the accounts `old` and `new` on every node."""
    for server in cluster.servers:
        allow(server, "old", "one")
        allow(server, "new", "two")
    yield cluster
    for server in cluster.servers:
        server.command("ACL", "DELUSER", "old", "new")


async def test_rotation_reaches_every_node_of_a_cluster_and_all_kinds_of_connections(
    accounts_of_a_cluster: Cluster,
) -> None:
    cluster, provider = accounts_of_a_cluster, Provider("old", "one")
    sharded = cluster.servers[0].command("INFO", "server")["redis_version"] >= "7"
    keys = [b"key:%d" % number for number in range(30)]
    async with RedisManager(cluster.url, credential_provider=provider, timeout=PATIENCE) as manager:

        async def use() -> None:
            await asyncio.gather(*(manager.execute("SET", key, 1) for key in keys))
            await asyncio.gather(*(run(manager, [mark(b"list" + key)]) for key in keys))
            assert await asyncio.gather(*(within(manager.client.get(key)) for key in keys)) == [b"1"] * len(keys)

        await within(manager.client.initialize())  # some versions of redis-py fail where many do that at once
        await use()
        async with manager.pubsub.subscribe("news", sharded=sharded) as news:
            provider.login = ("new", "two")
            await within(manager.rotate_credentials())
            for server in cluster.servers:
                await eventually(lambda server=server: users(server) <= {"new"})
                server.command("ACL", "DELUSER", "old")  # which ends whoever is still logged in as it
            await manager.pubsub.publish("news", b"hello", sharded=sharded)
            assert (await within(anext(news))).data == b"hello", "no gap"
            await use()
        for server in cluster.servers:
            assert b"user=old" not in server.command("CLIENT", "LIST")
            assert users(server) == {"new"}


async def test_rotation_holds_over_a_failover_of_sentinels() -> None:
    with sentinel_service() as service:
        await eventually(lambda: service.ready)
        for server in service.servers:
            allow(server, "old", "one")
            allow(server, "new", "two")
        provider = Provider("old", "one")
        async with RedisManager(service.url, credential_provider=provider, timeout=PATIENCE) as manager:
            await within(manager.execute("SET", "k", 1))
            await within(manager.client.blpop(["nothing"], timeout=0.01))
            provider.login = ("new", "two")
            await within(manager.rotate_credentials())
            for server in service.servers:
                server.command("ACL", "DELUSER", "old")
            assert await within(manager.execute("GET", "k")) == b"1"
            before, after = service.primary, service.other
            await eventually(service.failover)
            await eventually(lambda: service.primary is after)
            async with asyncio.timeout(PATIENCE):
                while users(after) != {"new"}:
                    with suppress(RedisUnavailable):
                        await manager.execute("SET", "k", 2)
                    await asyncio.sleep(0.02)
            assert not users(before)
            assert not await within(manager.client.blpop(["nothing"], timeout=0.01))
