"""What a server's INFO is read for, and that asking for health never makes things worse."""

import logging
import time
from typing import Any

import pytest

from asgi_redis_guard.redis.address import Address
from asgi_redis_guard.redis.health import audit, clock, describe, parse_info
from asgi_redis_guard.redis.manager import RedisManager
from asgi_redis_guard.settings import Settings
from asgi_redis_guard.testing import FaultProxy, RoundTripCounter
from tests.conftest import MakeServer
from tests.redis.tools import PATIENCE, within

GOOD = {"redis_version": "7.2.4", "maxmemory_policy": "noeviction", "role": "master"}


def warnings_for(info: dict[str, str], url: str = "redis://localhost", env: str = "development", **more: Any) -> Any:
    address = Address.parse(url)
    options = {"protected": address.credentials is not None, **more}
    return audit({**GOOD, **info}, address, Settings(env=env), **options)


def test_a_server_that_is_set_up_well_has_no_warnings() -> None:
    assert warnings_for({}) == {}
    assert warnings_for({}, "rediss://:pw@db.example", env="production") == {}
    assert audit({}, Address.parse("redis://localhost"), Settings(), protected=False) == {}


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random", "volatile-lru", "volatile-ttl", "volatile-lfu"])
def test_a_policy_that_may_drop_keys_is_named(policy: str) -> None:
    found = warnings_for({"maxmemory_policy": policy})
    assert list(found) == ["eviction"]
    assert policy in found["eviction"]


def test_a_server_that_keeps_nothing_over_a_crash_is_named_in_production() -> None:
    assert list(warnings_for({"aof_enabled": "0"}, "rediss://:pw@db", env="production")) == ["persistence"]
    assert warnings_for({"aof_enabled": "1"}, "rediss://:pw@db", env="production") == {}
    assert warnings_for({"aof_enabled": "0"}) == {}


@pytest.mark.parametrize(
    ("server", "latency", "told"),
    [
        (1000.0, 0, None),
        (1001.9, 0, None),
        (998.1, 0, None),
        (1002.1, 0, "2.1 s ahead of"),
        (997.8, 0, "2.2 s behind"),
        (997.8, 0.3, None),
        (1002.1, 0.3, "2.1 s ahead of"),
    ],
)
def test_a_clock_that_is_far_off_is_named(server: float, latency: float, told: str | None) -> None:
    found = clock({"server_time_usec": str(round(server * 1e6))}, 1000.0, latency)
    assert list(found) == ([] if told is None else ["clock"])
    assert (told or "") in found.get("clock", "")


def test_a_server_that_does_not_tell_the_time_is_not_judged() -> None:
    assert clock({}, 1000.0, 0) == clock({"server_time_usec": "odd"}, 1000.0, 0) == {}


async def test_the_clock_of_a_real_server_is_compared(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as manager:
        assert (await manager.health())["warnings"] == {}
        late = time.time() + 60
        monkeypatch.setattr("asgi_redis_guard.redis.health.time.time", lambda: late)
        assert list((await manager.health())["warnings"]) == ["clock"]


@pytest.mark.parametrize(("version", "old"), [("6.0.16", True), ("5.0.7", True), ("6.2.0", False), ("10.0.1", False)])
def test_a_version_that_is_too_old_is_named(version: str, old: bool) -> None:
    found = warnings_for({"redis_version": version})
    assert list(found) == (["version"] if old else [])
    assert version in found.get("version", version)


def test_a_replica_is_named() -> None:
    assert list(warnings_for({"role": "slave"})) == ["role"]


@pytest.mark.parametrize(
    ("url", "env", "expected"),
    [
        ("redis://localhost", "development", []),
        ("redis://localhost", "production", ["password"]),
        ("redis://db.example", "development", ["password"]),
        ("redis://:pw@db.example", "development", []),
        ("redis://:pw@db.example", "production", ["tls"]),
        ("redis://db.example", "production", ["password", "tls"]),
        ("rediss://db.example", "production", ["password"]),
        ("unix:///run/redis.sock", "production", ["password"]),
        ("memory://", "development", []),
        ("memory://", "production", ["one_process"]),
        ("embedded://", "development", []),
        ("embedded://", "production", ["one_process"]),
    ],
)
def test_an_open_or_readable_connection_is_named_where_it_matters(url: str, env: str, expected: list[str]) -> None:
    assert list(warnings_for({}, url, env)) == expected


def test_a_warning_repeats_no_password() -> None:
    found = warnings_for({}, "redis://user:Sw0rdf1sh@db.example", "production", protected=False)
    assert sorted(found) == ["password", "tls"]
    assert "Sw0rdf1sh" not in str(found)


def test_info_is_read_by_name_and_what_is_odd_does_no_harm() -> None:
    info = parse_info(b"# Server\r\nredis_version:7.0.1\r\n\r\nodd\r\nurl:a:b\r\n\xff:\xfe\r\n")
    assert info["redis_version"] == "7.0.1"
    assert info["url"] == "a:b"
    assert parse_info("") == {}


def test_valkey_is_called_by_its_own_name_and_version() -> None:
    assert describe({"redis_version": "7.2.4", "valkey_version": "9.1.2"}) == ("valkey", "9.1.2")
    assert describe({"redis_version": "7.0.15"}) == ("redis", "7.0.15")
    assert describe({}) == (None, None)


async def test_a_healthy_server_tells_all(each_manager: RedisManager, backend: str) -> None:
    health = await within(each_manager.health())
    assert (health["healthy"], health["connected"], health["error"], health["breaker"]) == (True, True, None, "closed")
    assert health["latency_ms"] is not None
    assert health["latency_ms"] >= 0
    assert health["pool_size"] == 50
    if backend != "memory://":
        assert health["server"] in ("valkey", "redis")
        assert str(health["version"])[0] in "679"
    assert health["warnings"] == {}


async def test_the_audit_is_logged_once_and_stays_in_health(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    async with RedisManager(server.url, timeout=PATIENCE, env="production") as manager:
        await manager.connect()
        assert sorted((await manager.health())["warnings"]) == ["eviction", "password", "persistence"]
    async with manager:
        pass
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert sorted(line.split()[0] for line in lines) == ["[eviction]", "[password]", "[persistence]"]


@pytest.mark.parametrize("url", ["memory://", "embedded://"])
async def test_a_store_of_one_process_in_production_is_told(url: str, caplog: pytest.LogCaptureFixture) -> None:
    async with RedisManager(url, timeout=PATIENCE, env="production") as manager:
        health = await within(manager.health())
    assert (health["healthy"], list(health["warnings"])) == (True, ["one_process"])
    assert [record.getMessage().split()[0] for record in caplog.records] == ["[one_process]"]


async def test_asking_for_health_is_one_round_trip(redis_url: str) -> None:
    async with RoundTripCounter(redis_url) as proxy, RedisManager(proxy.url, timeout=PATIENCE) as manager:
        await manager.execute("ECHO", "connected")
        proxy.reset()
        assert (await within(manager.health()))["error"] is None
        assert (proxy.commands, proxy.round_trips) == ([b"PING", b"INFO"], 1)


async def test_the_audit_is_made_up_for_when_nobody_connects_on_purpose(
    make_server: MakeServer, caplog: pytest.LogCaptureFixture
) -> None:
    server = make_server(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    manager = RedisManager(server.url, timeout=PATIENCE)
    await within(manager.execute("PING"))
    await within(manager.aclose())
    assert [record.getMessage().split()[0] for record in caplog.records] == ["[eviction]"]


async def test_a_server_of_a_cluster_that_is_taken_for_a_single_one_is_named(make_server: MakeServer) -> None:
    server = make_server("valkey9", tcp=True, cluster_enabled="yes")
    server.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    async with RedisManager(server.url, timeout=PATIENCE) as manager:
        assert "redis+cluster://" in (await manager.health())["warnings"]["cluster"]
    async with RedisManager(server.url.replace("redis", "redis+cluster"), timeout=PATIENCE) as manager:
        assert (await manager.health())["warnings"] == {}


async def test_an_account_that_may_not_ask_info_is_healthy_all_the_same(make_server: MakeServer) -> None:
    server = make_server(user=["app", "on", ">pw", "~*", "+ping"])
    async with RedisManager(f"unix://app:pw@{server.path}", timeout=PATIENCE) as manager:
        health = await manager.health()
    assert (health["healthy"], health["server"], health["warnings"]) == (True, None, {})


async def test_an_account_that_may_not_even_ping_is_served(make_server: MakeServer) -> None:
    server = make_server(user=["app", "on", ">pw", "~*", "-@all", "+get", "+set"])
    async with RedisManager(f"unix://app:pw@{server.path}", timeout=PATIENCE) as manager:
        await within(manager.execute("SET", "k", "v"))
        assert await within(manager.execute("GET", "k")) == b"v"
        health = await manager.health()
    assert (health["healthy"], health["connected"], health["breaker"]) == (True, True, "closed")


async def test_health_never_raises_when_nobody_is_there(tmp_path: Any) -> None:
    manager = RedisManager(f"unix://{tmp_path}/nobody", timeout=0.2)
    for _ in range(3):
        health = await within(manager.health())
        assert (health["healthy"], health["connected"], health["latency_ms"]) == (False, False, None)
        assert health["error"]
    assert health["breaker"] == "open"
    await manager.aclose()


async def test_health_of_a_silent_server_comes_within_bounds(redis_url: str) -> None:
    async with FaultProxy(redis_url) as proxy, RedisManager(proxy.url, timeout=0.2) as manager:
        proxy.black_hole()
        health = await within(manager.health())
        assert (health["healthy"], health["connected"]) == (False, False)
        assert "0.2 s" in str(health["error"])
