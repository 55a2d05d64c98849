"""Sentinel-managed pairs: found, verified, and followed wherever the primary goes."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from redis import exceptions

from asgi_redis_guard.errors import RedisUnavailable
from asgi_redis_guard.pubsub.messages import Gap
from asgi_redis_guard.redis.manager import RedisManager
from tests.conftest import MakeServer
from tests.redis.said import Said, sentinels_that_say, written_to
from tests.redis.tools import PATIENCE, eventually, mark, run, within
from tests.sentinels import SERVICE, Service, sentinel_service
from tests.servers import Server


@pytest.fixture(scope="module")
def shared_service() -> Iterator[Service]:
    with sentinel_service() as service:
        yield service


@pytest.fixture
async def service(shared_service: Service) -> Service:
    """All of them in order, whatever the test before did."""
    await eventually(lambda: shared_service.ready)
    return shared_service


async def place_of(manager: RedisManager) -> int:
    """The port of the server that lane 2 writes to; keeps asking while there is a failover."""
    while True:
        with suppress(RedisUnavailable):
            await manager.execute("SET", "written", "1")
            link = manager.links.lane2.link
            if link is not None:
                return manager.links.where.links[link].port
        await asyncio.sleep(0.01)


async def until_at(manager: RedisManager, server: Server) -> None:
    async with asyncio.timeout(PATIENCE):
        while await place_of(manager) != server.port:
            pass


async def test_guards_commands_pipelines_and_messages_all_go_to_the_primary(service: Service) -> None:
    service.primary.command("FLUSHALL")
    async with RedisManager(service.url, timeout=PATIENCE) as manager:
        await run(manager, [mark(b"by-a-guard")])
        await manager.execute("SET", "by-a-command", "1")
        async with manager.client.pipeline() as pipeline:
            pipeline.set("by-a-pipeline", "1")
            await pipeline.execute()
        async with manager.pubsub.subscribe("news") as news:
            await manager.pubsub.publish("news", b"hello")
            assert (await within(anext(news))).data == b"hello"
        assert sorted(service.primary.command("KEYS", "by-a-*")) == [b"by-a-command", b"by-a-guard", b"by-a-pipeline"]
        assert (await manager.health())["warnings"] == {}


async def test_an_ordered_failover_is_followed_by_connections_that_are_idle(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    async with RedisManager(service.url, timeout=PATIENCE) as manager:
        await run(manager, [mark(b"k")])
        await manager.execute("PING")
        await manager.client.blpop(["nothing"], timeout=0.01)
        listener = manager.pubsub.listen("news", lambda message: None)
        await within(listener.ready())
        lane1, lane2 = manager.links.lane1.link, manager.links.lane2.link
        old, new = service.primary, service.other
        await eventually(service.failover)
        await eventually(lambda: manager.links.lane1.link is not lane1 and manager.links.lane2.link is not lane2)
        assert service.primary is new
        await eventually(
            lambda: new.command("PUBSUB", "CHANNELS", "news") and not old.command("PUBSUB", "CHANNELS", "news")
        )
        assert await place_of(manager) == new.port
        async with manager.client.pipeline() as pipeline:
            pipeline.client_info()
            ((info,)) = await within(pipeline.execute())
        assert str(new.port) in info["laddr"]
    moved = [record.getMessage() for record in caplog.records if "moved" in record.getMessage()]
    assert moved == [f"The primary of {SERVICE} moved from 127.0.0.1:{old.port} to 127.0.0.1:{new.port}"]


async def test_a_primary_that_is_killed_is_replaced_by_its_replica(service: Service) -> None:
    old, new = service.primary, service.other
    async with RedisManager(service.url, timeout=1) as manager, manager.pubsub.subscribe("news") as news:
        await within(manager.pubsub.publish("news", b"before"))
        assert (await within(anext(news))).data == b"before"
        old.kill()
        await until_at(manager, new)
        await eventually(lambda: not manager.links.breaker.is_open)
        await run(manager, [mark(b"by-a-guard")])
        assert new.command("EXISTS", "by-a-guard")
        await eventually(lambda: new.command("PUBSUB", "CHANNELS", "news"))
        await manager.pubsub.publish("news", b"after")
        assert isinstance(await within(anext(news)), Gap)
        assert (await within(anext(news))).data == b"after"
    old.start()


async def test_a_load_over_a_failover_ends_at_the_new_primary(service: Service) -> None:
    """What fails meanwhile fails as an outage; what was acknowledged by the new primary is there."""
    written: list[int] = []
    async with RedisManager(service.url, timeout=1) as manager:
        old, new = service.primary, service.other

        async def write(number: int) -> None:
            with suppress(RedisUnavailable):
                await manager.execute("SET", f"n:{number}", "1")
                link = manager.links.lane2.link
                if link is not None and manager.links.where.links[link].port == new.port:
                    written.append(number)

        await eventually(service.failover)
        number = 0
        async with asyncio.timeout(PATIENCE):
            while len(written) < 50:
                await write(number)
                number += 1
                await asyncio.sleep(0.002)
        assert old is not new
        assert all(new.command("EXISTS", f"n:{each}") for each in written)


async def test_a_sentinel_that_is_killed_is_not_missed(service: Service) -> None:
    async with RedisManager(service.url, timeout=PATIENCE) as manager:
        await manager.execute("PING")
        service.sentinels[0].kill()
        manager.links.lane2.drop("for the test")
        await within(manager.execute("SET", "k", "v"))
    service.sentinels[0].start()


async def test_sentinels_with_a_password_of_their_own() -> None:
    with sentinel_service(sentinel_options={"requirepass": "watch"}, requirepass="data") as service:
        async with RedisManager(service.url, timeout=PATIENCE) as manager:
            assert await within(manager.execute("SET", "k", "v")) == b"OK"
        async with RedisManager(service.url.replace("=watch", "=wrong"), timeout=PATIENCE) as manager:
            with pytest.raises(RedisUnavailable, match="refused the credentials"):
                await within(manager.execute("PING"))


async def test_a_sentinel_that_was_cut_off_from_the_others_misleads_nobody(make_server: MakeServer) -> None:
    old, new = make_server(tcp=True), make_server(tcp=True)
    async with sentinels_that_say(Said(old, 3), Said(new, 4), Said(new, 4)) as url:
        for _ in range(5):  # whichever answers first
            assert await written_to(new, url)


async def test_sentinels_that_hang_or_are_gone_cost_nothing_while_most_answer(make_server: MakeServer) -> None:
    server, frozen = make_server(tcp=True), make_server(tcp=True)
    frozen.pause()
    async with sentinels_that_say(Said(server), Said(server)) as url:
        hosts, _, service = url.rpartition("/")
        assert await written_to(server, f"{hosts},127.0.0.1:{frozen.port}/{service}", connection_timeout=5)
        assert await written_to(server, f"{hosts},127.0.0.1:1/{service}")


async def test_one_sentinel_of_three_is_enough_in_need(make_server: MakeServer) -> None:
    server = make_server(tcp=True)
    async with sentinels_that_say(Said(server)) as url:
        assert await written_to(server, url.replace(f"/{SERVICE}", f",127.0.0.1:1,127.0.0.1:2/{SERVICE}"))


async def test_a_node_that_is_a_replica_by_now_is_refused(make_server: MakeServer) -> None:
    primary = make_server(tcp=True)
    replica = make_server(tcp=True, replicaof=["127.0.0.1", str(primary.port)])
    async with sentinels_that_say(Said(replica)) as url, RedisManager(url, timeout=PATIENCE) as manager:
        with pytest.raises(RedisUnavailable, match=f"is a replica, not the primary of {SERVICE}"):
            await manager.links.lane1.connect()  # HELLO says so
        with pytest.raises(RedisUnavailable, match=f"is a replica, not the primary of {SERVICE}"):
            await manager.links.lane2.connect()  # RESP2: ROLE says so
        with pytest.raises(exceptions.ConnectionError, match="is a replica, not the primary"):
            await manager.client.blpop(["k"], timeout=1)


async def test_a_refusal_to_write_leads_to_the_new_primary_without_any_news(make_server: MakeServer) -> None:
    old, new = make_server(tcp=True), make_server(tcp=True)
    said = Said(old)
    async with sentinels_that_say(said) as url, RedisManager(url, timeout=PATIENCE) as manager:
        await within(manager.execute("SET", "k", "v"))
        old.command("REPLICAOF", "127.0.0.1", new.port)
        said.port, said.epoch = new.port, 2
        await until_at(manager, new)
        old.command("REPLICAOF", "NO", "ONE")


async def test_a_dedicated_connection_leaves_a_server_that_refuses_to_write(make_server: MakeServer) -> None:
    old, new = make_server(tcp=True), make_server(tcp=True)
    said = Said(old)
    async with sentinels_that_say(said) as url, RedisManager(url, timeout=PATIENCE) as manager:

        async def push() -> Any:
            async with manager.client.pipeline(transaction=False) as pipeline:
                pipeline.lpush("k", "v")
                return await within(pipeline.execute())

        assert await push() == [1]
        old.command("REPLICAOF", "127.0.0.1", new.port)
        said.port, said.epoch = new.port, 2
        with suppress(exceptions.RedisError):
            await push()
        assert await push() == [1]
        assert new.command("LLEN", "k") == 1


async def test_a_primary_that_no_sentinel_reaches_is_away(make_server: MakeServer) -> None:
    down = Said(make_server(tcp=True), flags="s_down,o_down,master")
    async with sentinels_that_say(down, down) as url, RedisManager(url, timeout=PATIENCE) as manager:
        with pytest.raises(RedisUnavailable, match=f"cannot reach the primary of {SERVICE}"):
            await within(manager.links.lane1.connect())


async def test_a_service_that_no_sentinel_knows_is_named_once(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        sentinels_that_say(Said(make_server(tcp=True))) as url,
        RedisManager(url.replace(SERVICE, "nobody"), timeout=PATIENCE) as manager,
    ):
        with pytest.raises(RedisUnavailable, match="No such master with that name"):
            await within(manager.execute("PING"))
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(lines) == 1
    assert "No such master" in lines[0]


async def test_nobody_there_is_told_with_each_sentinel() -> None:
    async with RedisManager("redis+sentinel://127.0.0.1:1,127.0.0.1:2/db", timeout=PATIENCE) as manager:
        with pytest.raises(RedisUnavailable, match=r"127\.0\.0\.1:1.*127\.0\.0\.1:2"):
            await within(manager.links.lane1.connect())
