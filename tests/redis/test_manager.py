"""The one handle: its lifetime, its commands, and what it shares."""

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asgi_redis_guard.errors import ConfigurationError, OperationFailed, RedisUnavailable
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.redis.program import Script
from asgi_redis_guard.settings import Settings
from asgi_redis_guard.testing import FaultProxy, RoundTripCounter
from tests.conftest import MakeServer
from tests.redis.tools import PATIENCE, channel_to, eventually, within
from tests.servers import Server
from tests.tls import Certificates, TLSProxy


async def test_making_one_connects_to_nothing() -> None:
    manager = RedisManager("redis://127.0.0.1:1")
    assert repr(manager) == "<RedisManager redis://127.0.0.1:1/0>"
    await manager.aclose()


async def test_connecting_and_closing_may_be_done_twice(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy:
        manager = RedisManager(proxy.url, timeout=PATIENCE)
        await manager.connect()
        await manager.connect()
        assert proxy.connections == 2
        await manager.aclose()
        await manager.aclose()
        await eventually(lambda: not proxy.open_connections)
        assert await within(manager.execute("PING")) == b"PONG"
        await manager.aclose()


async def test_those_inside_each_other_share_the_connections_until_the_last_leaves(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy:
        manager = RedisManager(proxy.url, timeout=PATIENCE)
        async with manager, manager:
            async with manager:
                links = manager.links
            assert manager.links is links
            assert await within(manager.execute("PING")) == b"PONG"
        await eventually(lambda: not proxy.open_connections)
        assert proxy.connections == 2


async def test_the_lifespan_helper_is_for_frameworks_that_take_one(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy:
        manager = RedisManager(proxy.url, timeout=PATIENCE)
        async with manager.lifespan("app") as state, manager.lifespan():
            assert state is None
            assert proxy.connections == 2
        await eventually(lambda: not proxy.open_connections)


async def test_a_stray_exit_does_no_harm(manager: RedisManager) -> None:
    await manager.__aexit__(None, None, None)
    await manager.__aexit__(None, None, None)
    assert await within(manager.execute("PING")) == b"PONG"


async def test_background_work_is_finished_and_has_its_connections_until_then(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy:
        manager = RedisManager(proxy.url, timeout=PATIENCE)

        async def release() -> Any:
            await asyncio.sleep(0.05)
            await manager.execute("SET", "released", "yes")
            manager.spawn(store())

        async def store() -> None:
            await asyncio.sleep(0.01)
            await manager.execute("SET", "stored", "yes")

        await manager.connect()
        manager.spawn(release())
        await within(manager.aclose())
        await eventually(lambda: not proxy.open_connections)
        assert proxy.connections == 2
        async with channel_to(redis_url) as channel:
            assert await within(channel.submit(("MGET", "released", "stored"))) == [b"yes", b"yes"]


async def test_background_work_that_does_not_end_is_cancelled(redis_url: str) -> None:
    manager = RedisManager(redis_url, timeout=0.1)
    task = manager.spawn(asyncio.Event().wait())
    await within(manager.aclose())
    assert task.cancelled()


async def test_background_work_outlives_who_began_it(manager: RedisManager) -> None:
    done = asyncio.Event()

    async def work() -> None:
        await manager.execute("PING")
        done.set()

    async def begin() -> None:
        manager.spawn(work())
        raise asyncio.CancelledError

    await asyncio.gather(asyncio.create_task(begin()), return_exceptions=True)
    await within(done.wait())


async def test_a_command_gives_its_raw_reply(each_manager: RedisManager) -> None:
    execute = each_manager.execute
    assert await within(execute("GET", "none")) is None
    assert await within(execute("RPUSH", "l", 1, "é", b"\xff")) == 3
    assert await within(execute("LRANGE", "l", 0, -1)) == [b"1", "é".encode(), b"\xff"]
    with pytest.raises(OperationFailed) as caught:
        await within(execute("GET", "l"))
    assert caught.value.code == "WRONGTYPE"
    with pytest.raises(ValueError, match="needs a command"):
        execute()


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.binary(max_size=64), st.binary(max_size=64))
async def test_keys_and_values_may_have_any_bytes(each_manager: RedisManager, key: bytes, value: bytes) -> None:
    await within(each_manager.execute("SET", key, value))
    assert await within(each_manager.execute("GET", key)) == value
    assert await within(each_manager.execute("HSET", b"h:" + key, value, key)) in (0, 1)
    assert await within(each_manager.execute("HGET", b"h:" + key, value)) == key


async def test_json_values_come_back_as_they_went(each_manager: RedisManager) -> None:
    value = {"name": "é", "list": [1, 2.5, None, True], "nested": {"": ""}}
    await within(each_manager.set_json("k", value))
    assert await within(each_manager.get_json("k")) == value
    assert await within(each_manager.get_json("none")) is None
    assert await within(each_manager.execute("TTL", "k")) == -1


@pytest.mark.parametrize(("ttl", "least", "most"), [(100, 90_000, 100_000), (0.00001, -2, 1), (0, -2, 1), (-5, -2, 1)])
async def test_a_time_to_live_never_becomes_for_ever(manager: RedisManager, ttl: float, least: int, most: int) -> None:
    await within(manager.set_json("k", 1, ttl=ttl))
    assert least <= await within(manager.execute("PTTL", "k")) <= most


async def test_a_service_script_is_loaded_when_it_is_needed(each_manager: RedisManager) -> None:
    script = Script("return {KEYS[1], ARGV[1], #KEYS}")
    for _ in range(2):
        assert await within(each_manager.run_script(script, (b"k",), ("v",))) == [b"k", b"v", 1]
        await within(each_manager.execute("SCRIPT", "FLUSH"))


async def test_guards_and_app_have_a_lane_each(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as proxy, RedisManager(proxy.url, timeout=PATIENCE) as manager:
        names = await within(manager.client.client_list())
        ours = sorted(str(entry["name"]).split(":")[1] for entry in names if "asgi-redis-guard" in str(entry["name"]))
        assert ours[:2] == ["app", "guards"]


def test_managers_are_shared_by_what_they_would_do() -> None:
    one = RedisManager.shared(Settings(url="memory://", prefix="shared-test:"))
    assert RedisManager.shared(Settings(url="memory://", prefix="shared-test:")) is one
    different: list[dict[str, Any]] = [
        {"prefix": "other:"},
        {"timeout": 1},
        {"connection_timeout": 1},
        {"max_connections": 3},
        {"max_in_flight": 3},
        {"read_from_replicas": True},
        {"replicas": ["elsewhere:6379"]},
        {"decode_responses": True},
        {"require_redis": True},
        {"env": "production"},
        {"url": "redis://elsewhere"},
    ]
    for options in different:
        others = Settings(**{"url": "memory://", "prefix": "shared-test:", **options})
        assert RedisManager.shared(others) is not one, options
    assert RedisManager.shared(Settings(url="memory://", prefix="shared-test:", jwt_key="x")) is one


def test_without_settings_the_environment_is_shared(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "memory://")
    assert RedisManager.shared() is RedisManager.shared(Settings())
    assert RedisManager.shared().address.scheme == "memory"


def test_settings_and_options_exclude_each_other_and_wrong_ones_are_told() -> None:
    with pytest.raises(ConfigurationError, match="settings: given together with timeout"):
        RedisManager(settings=Settings(), timeout=3)
    with pytest.raises(ConfigurationError, match="REDIS_TIMEOUT"):
        RedisManager("memory://", timeout=-1)
    with pytest.raises(ConfigurationError, match="no_such"):
        RedisManager("memory://", no_such=1)
    with pytest.raises(ConfigurationError, match="unknown scheme"):
        RedisManager("http://x")


async def test_no_password_is_shown(fresh_server: Server) -> None:
    manager = RedisManager("redis://:Sw0rdf1sh@127.0.0.1:1", timeout=0.3)
    with pytest.raises(RedisUnavailable) as caught:
        await manager.execute("PING")
    assert "Sw0rdf1sh" not in f"{manager!r} {caught.value} {await manager.health()} {manager.links!r}"
    await manager.aclose()


async def test_tls_is_checked_and_both_the_lanes_and_the_pool_use_it(tls_server: TLSProxy) -> None:
    async with RedisManager(tls_server.url, timeout=PATIENCE) as manager:
        big = b"x" * 300_000
        await within(manager.execute("SET", "k", big))
        assert await within(manager.client.get("k")) == big
        async with manager.client.pipeline() as pipe:
            assert await within(pipe.get("k").execute()) == [big]
        assert (await manager.health())["healthy"]


async def test_a_certificate_of_another_authority_is_refused(tls_server: TLSProxy, tmp_path: Any) -> None:
    other = f"{tls_server.url_without_ca}?ssl_ca_certs={Certificates(tmp_path).ca}"
    for url in (tls_server.url_without_ca, other):
        manager = RedisManager(url, timeout=PATIENCE)
        with pytest.raises(RedisUnavailable, match="ssl_ca_certs"):
            await within(manager.execute("PING"))
        await manager.aclose()


async def test_an_acl_user_reaches_what_it_may(make_server: MakeServer) -> None:
    server = make_server(user=["app", "on", ">p@ss/w", "~mine:*", "+@all", "-flushall"])
    settings = Settings(url=f"unix://app:p%40ss%2Fw@{server.path}", timeout=PATIENCE)
    async with RedisManager(settings=settings) as manager:
        await within(manager.execute("SET", "mine:k", "v"))
        async with manager.client.pipeline() as pipe:
            assert await within(pipe.get("mine:k").execute()) == [b"v"]
        for words in (("GET", "theirs"), ("FLUSHALL",)):
            with pytest.raises(OperationFailed) as caught:
                await within(manager.execute(*words))
            assert caught.value.code == "NOPERM"


async def test_the_database_of_the_url_is_that_of_all_connections(redis_url: str, valkey: Server) -> None:
    async with RedisManager(f"{redis_url}?db=3", timeout=PATIENCE) as manager:
        await within(manager.execute("RPUSH", "k", 1))
        async with manager.client.pipeline() as pipe:
            await within(pipe.rpush("k", 2).execute())
        assert await within(manager.client.blpop(["k"], 1)) == (b"k", b"1")
    assert await asyncio.to_thread(valkey.command, "DBSIZE") == 0
