"""Locks that count as taken only when replicas have them."""

from collections.abc import Callable

import pytest

from asgi_redis_guard import LockError, RedisManager
from asgi_redis_guard.locks.claims import Claims
from asgi_redis_guard.redis.asking import carry_out
from asgi_redis_guard.redis.wait_replicas import acknowledged
from tests.servers import Server


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_a_lock_is_taken_when_a_replica_has_it(make_server: Callable[..., Server], kind: str) -> None:
    primary = make_server(kind, tcp=True)
    replica = make_server(kind, replicaof=["127.0.0.1", str(primary.port)], repl_diskless_sync_delay="0")
    async with RedisManager(primary.url, timeout=5) as manager, RedisManager(replica.url, timeout=5) as copy:
        while b"master_link_status:up" not in await copy.execute("INFO", "replication"):
            pass
        async with manager.lock("import", wait=0, wait_replicas=1):
            assert len(await copy.execute("KEYS", "guard:k:*")) == 1


async def test_a_lock_that_no_replica_has_is_given_back(redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=0.2) as manager:
        lock = manager.lock("import", wait=0, wait_replicas=1)
        with pytest.raises(LockError, match="0 of 1 replicas have the lock; it was given back"):
            await lock.acquire()
        assert lock.fence is None
        assert await manager.lock("import", wait=0).acquire()


async def test_what_is_held_no_more_is_on_no_replica(make_server: Callable[..., Server]) -> None:
    primary = make_server("valkey9", tcp=True)
    replica = make_server("valkey9", replicaof=["127.0.0.1", str(primary.port)], repl_diskless_sync_delay="0")
    async with RedisManager(primary.url, timeout=5) as manager, RedisManager(replica.url, timeout=5) as copy:
        while b"master_link_status:up" not in await copy.execute("INFO", "replication"):
            pass
        claims = Claims.of(manager.keys, ["import"], "token", 30)
        assert await acknowledged(manager, claims.renew(), 1) == 0
        await carry_out(manager, claims.take())
        assert await acknowledged(manager, claims.renew(), 1) == 1
