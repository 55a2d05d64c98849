"""Locks that are lost while they are held, by whatever the server, the network or the loop does: the holder is told."""

import asyncio
from contextlib import suppress

import pytest
from redis.exceptions import ResponseError

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import LockLost, LockNotOwnedError, OperationFailed
from tests.conftest import MakeServer
from tests.faults.locks import TIMEOUT, TTL, for_ever, held, is_free, nothing_is_left_of, processes, steps, take_away
from tests.faults.test_silence import block
from tests.redis.tools import PATIENCE, eventually, on_both_loops, until_back, within
from tests.servers import Server


async def test_a_lock_that_was_evicted_and_is_anothers_now_is_told_and_left_alone(
    redis: RedisManager, valkey: Server
) -> None:
    other = redis.lock("job", ttl=30)
    with pytest.raises(LockLost):
        async with redis.lock("job", ttl=TTL):
            take_away(valkey)
            assert await other.acquire()
            valkey.command("PEXPIRE", *held(valkey), 5_000)
            await within(for_ever())
    assert await other.owned()
    assert valkey.command("PTTL", *held(valkey)) <= 5_000
    await other.release()


async def test_lost_when_it_is_released_just_then_is_no_loss(redis: RedisManager, valkey: Server) -> None:
    """A renewal on its way when it is released may say that it is not held any more: that is no news."""
    for number in range(100):
        async with redis.lock("job", ttl=30) as lock:
            assert lock._hold is not None
            redis.leases._waiting.extend(lock._hold._leases)
            redis.leases._send()
            await steps(number % 25)
        await steps(number % 7)
        assert not lock.lost.is_set()
        assert not held(valkey)
    await nothing_is_left_of(redis)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_renewal_never_outlives_the_release(redis: RedisManager, valkey: Server) -> None:
    """Redisson #7272: a watchdog that was scheduled after it was cancelled."""
    for _ in range(50):
        lock = redis.lock("job", ttl=0.9)
        acquiring = asyncio.ensure_future(lock.acquire())
        while not acquiring.done():  # noqa: ASYNC110  (the very step is the point)
            await asyncio.sleep(0)
        await lock.release()
        assert not redis.leases
    other = redis.lock("job", ttl=30, wait=0)
    assert await other.acquire()
    await asyncio.sleep(0.4)
    assert other.remaining() > 29
    await other.release()


async def test_an_evicted_lock_is_noticed(make_server: MakeServer) -> None:
    """With `volatile-lru` it is what has an end that goes first, and every lock has one."""
    server = make_server("valkey9", maxmemory_policy="volatile-lru", maxmemory_samples=10)
    async with RedisManager(server.url, timeout=PATIENCE) as redis:
        with pytest.raises(LockLost):
            async with redis.lock("job", ttl=TTL) as lock:
                used = int(server.command("INFO", "memory")["used_memory"])
                await asyncio.to_thread(server.command, "CONFIG", "SET", "maxmemory", used + 4_000_000)
                for number in range(400):
                    if not held(server):
                        break
                    with suppress(ResponseError):  # one that finds nothing more to evict
                        await asyncio.to_thread(server.command, "SET", f"other {number}", "x" * 20_000)
                assert not held(server), "nothing was evicted"
                await within(for_ever())
        assert lock.lost.is_set()
        await nothing_is_left_of(redis)


@pytest.mark.parametrize("kind", ["valkey9", "redis62"])
async def test_full_memory_still_renews_extends_and_releases(make_server: MakeServer, kind: str) -> None:
    server = make_server(kind, maxmemory_policy="noeviction")
    async with RedisManager(server.url, timeout=PATIENCE) as redis:
        lock = redis.lock("job", ttl=1.5, wait=0)
        async with redis.semaphore("places", 2, ttl=1.5), lock:
            await asyncio.to_thread(server.command, "CONFIG", "SET", "maxmemory", "1")
            await asyncio.sleep(1.8)
            assert not lock.lost.is_set()
            assert await lock.extend(30)
            assert lock.remaining() > 29
        assert not held(server)
        with pytest.raises(OperationFailed, match="OOM"):
            await lock.acquire()
        await nothing_is_left_of(redis)
        assert not held(server)


async def test_a_server_that_comes_back_empty_has_lost_its_locks(fresh_server: Server) -> None:
    async with RedisManager(fresh_server.url, timeout=TIMEOUT) as redis:
        with pytest.raises(LockLost):
            async with redis.lock("job", ttl=5) as lock:
                fence = lock.fence
                await asyncio.to_thread(fresh_server.restart)
                await within(for_ever())
        if redis.links.breaker.is_open:
            await until_back(redis)
        async with redis.lock("job", ttl=5) as lock:
            assert lock.fence > fence
        await nothing_is_left_of(redis)


async def test_a_pause_of_the_server_that_is_shorter_than_the_ttl_loses_nothing(fresh_server: Server) -> None:
    async with RedisManager(fresh_server.url, timeout=TIMEOUT) as redis:
        async with redis.lock("job", ttl=6) as lock:
            fresh_server.pause()
            await asyncio.sleep(2.5)
            fresh_server.resume()
            assert not lock.lost.is_set()
            await eventually(lambda: lock.remaining() > 5)
        await is_free(fresh_server)
        await nothing_is_left_of(redis)


async def test_a_pause_of_the_server_that_is_longer_than_the_ttl_is_a_loss_in_time(fresh_server: Server) -> None:
    """The holder knows before the server says so, for others may have had it since."""
    async with RedisManager(fresh_server.url, timeout=TIMEOUT) as redis:
        try:
            with pytest.raises(LockLost):
                async with redis.lock("job", ttl=1):
                    fresh_server.pause()
                    await within(for_ever())
        finally:
            fresh_server.resume()
        await nothing_is_left_of(redis)
        await is_free(fresh_server)


async def test_a_loop_that_was_blocked_for_longer_than_the_ttl_has_lost_the_lock(redis_url: str) -> None:
    """The next await is where its holder is told, and by then another has it."""
    async with processes(redis_url, 2) as (one, other):
        with pytest.raises(LockLost):
            async with one.lock(ttl=0.8) as lock:
                block(1)
                assert lock.remaining() <= 0
                await within(for_ever())
        theirs = other.lock()
        assert await theirs.acquire()
        await theirs.release()


async def test_a_blocked_holder_without_another_await_is_told_at_the_end(redis_url: str) -> None:
    async with processes(redis_url, 1) as (one,):
        with pytest.raises(LockNotOwnedError):
            async with one.lock(ttl=0.8):
                block(1)


async def test_a_lock_that_is_not_renewed_ends_by_its_time(redis_url: str) -> None:
    async with processes(redis_url, 1) as (one,):
        with pytest.raises(LockLost):
            async with one.lock(ttl=0.8, renew=False):
                await within(for_ever())


async def test_a_semaphores_place_that_is_lost_is_told(redis: RedisManager, valkey: Server) -> None:
    with pytest.raises(LockLost):
        async with redis.semaphore("places", 3, ttl=TTL):
            take_away(valkey)
            await within(for_ever())


async def test_several_locks_of_which_one_is_lost_are_lost(redis: RedisManager, valkey: Server) -> None:
    with pytest.raises(LockLost):
        async with redis.lock("a", "b", "c", ttl=TTL) as lock:
            one, *_ = held(valkey)
            valkey.command("DEL", one)
            await within(for_ever())
    assert lock.lost.is_set()
    await is_free(valkey)


async def test_released_twice_is_told_and_takes_nobodys_lock(redis: RedisManager, valkey: Server) -> None:
    lock = redis.lock("job", ttl=30)
    with pytest.raises(LockNotOwnedError):
        await lock.release()
    assert await lock.acquire()
    outcomes = await asyncio.gather(lock.release(), lock.release(), return_exceptions=True)
    assert sorted(type(outcome) for outcome in outcomes if outcome is not None) == [LockNotOwnedError]
    async with redis.lock("job", ttl=30) as other:
        with pytest.raises(LockNotOwnedError):
            await lock.release()
        assert await other.owned()
    assert not held(valkey)


async def test_what_was_cut_short_is_not_believed_to_be_held_for_longer(redis: RedisManager, valkey: Server) -> None:
    """Extended far, then set to less: what is renewed keeps its ttl, what is not ends by the new time."""
    async with redis.lock("job", ttl=10) as lock:
        assert await lock.extend(300)
        assert lock.remaining() > 300
        assert await lock.extend(1, replace_ttl=True)
        assert 9 < lock.remaining() <= 10
        assert 9_000 < valkey.command("PTTL", *held(valkey)) <= 10_000
    with pytest.raises(LockLost):
        async with redis.lock("job", ttl=10, renew=False) as lock:
            assert await lock.extend(0.2, replace_ttl=True)
            assert lock.remaining() <= 0.2
            await within(for_ever())


async def test_the_time_that_is_left_may_be_asked_for_in_a_thread(redis: RedisManager) -> None:
    async with redis.lock("job", ttl=10) as lock:
        assert 9 < await asyncio.to_thread(lock.remaining) <= 10
    assert await asyncio.to_thread(lock.remaining) == 0


@on_both_loops
async def test_who_has_held_the_loop_up_hears_at_once_that_time_has_passed(redis_url: str) -> None:
    """Not at the next pass of the loop, when its loss is told."""
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        lock = redis.lock("job", ttl=0.8, on_lost="tell")
        assert await lock.acquire()
        block(1)
        assert lock.remaining() == 0
        with pytest.raises(LockNotOwnedError):
            await lock.release()
