"""Crowds that want one lock, and words that are lost: one of a process asks, and nobody waits for ever."""

import asyncio
import random
import tracemalloc

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import LockError, RedisUnavailable
from asgi_redis_guard.testing import RoundTripCounter
from tests.conftest import MakeServer
from tests.faults.locks import (
    FOR_LONG,
    held,
    is_attended,
    is_free,
    nothing_is_left_of,
    outcome,
    processes,
    steps,
    watched,
)
from tests.redis.tools import PATIENCE, within
from tests.servers import Server


async def test_ten_thousand_who_wait_for_one_lock_are_one_who_asks(valkey: Server, redis_url: str) -> None:
    """They cost the server nothing, this process little each, and each gets its turn in the order of coming."""
    crowd = 10_000
    async with RoundTripCounter(redis_url) as proxy, RedisManager(proxy.url, timeout=PATIENCE) as redis:
        order: list[int] = []
        fences: list[int] = []

        async def wait(who: int) -> None:
            async with redis.lock("job", ttl=FOR_LONG) as lock:
                order.append(who)
                assert lock.fence is not None
                fences.append(lock.fence)

        holder = redis.lock("job", ttl=FOR_LONG)
        assert await holder.acquire()
        tracemalloc.start()
        tasks = [asyncio.create_task(wait(who)) for who in range(crowd)]
        await is_attended(valkey)
        per_waiter = tracemalloc.get_traced_memory()[0] / crowd
        tracemalloc.stop()
        proxy.reset()
        await asyncio.sleep(0.5)
        assert proxy.commands == [], "who waits is silent"
        assert watched(redis) == 1
        assert per_waiter < 10_000
        for task in tasks[200:]:
            task.cancel()
        await asyncio.wait(tasks[200:])
        await holder.release()
        await within(asyncio.gather(*tasks[:200]), 45)
        assert order == list(range(200))
        assert fences == sorted(set(fences))
        await nothing_is_left_of(redis)
        assert not held(valkey)


async def test_ten_thousand_who_give_up_leave_nothing(valkey: Server, redis_url: str) -> None:
    async with RedisManager(redis_url, timeout=PATIENCE) as redis:
        async with redis.lock("job", ttl=FOR_LONG):
            tries = await within(
                asyncio.gather(*(redis.lock("job", ttl=FOR_LONG, wait=0.2).acquire() for _ in range(10_000))), 45
            )
            assert not any(tries)
        await nothing_is_left_of(redis)
        assert not held(valkey)


async def test_waiters_of_many_processes_get_it_one_after_another(valkey: Server, redis_url: str) -> None:
    inside = 0
    fences: list[int] = []

    async with processes(redis_url, 5) as those:

        async def work(who: int) -> None:
            nonlocal inside
            async with those[who % 5].lock(wait=None) as lock:
                assert lock.fence is not None
                fences.append(lock.fence)
                inside += 1
                assert inside == 1
                await asyncio.sleep(0)
                inside -= 1

        await within(asyncio.gather(*(work(who) for who in range(200))), 45)
        assert fences == sorted(set(fences))
        assert not held(valkey)


async def test_a_semaphore_holds_as_many_as_it_has_permits(valkey: Server, redis_url: str) -> None:
    inside = most = 0

    async with processes(redis_url, 3) as those:

        async def work(who: int) -> None:
            nonlocal inside, most
            async with those[who % 3].redis.semaphore("places", 4, ttl=FOR_LONG):
                inside += 1
                most = max(most, inside)
                await asyncio.sleep(0.001)
                inside -= 1

        await within(asyncio.gather(*(work(who) for who in range(150))), 45)
        assert most == 4
        await is_free(valkey)


async def test_a_word_that_is_lost_is_made_up_for(valkey: Server, redis_url: str) -> None:
    """The connection on which it would come breaks just then: who waits asks again when it is back."""
    async with processes(redis_url, 2) as (one, other):
        theirs = other.lock()
        assert await theirs.acquire()
        lock = one.lock(wait=None)
        waiting = asyncio.ensure_future(lock.acquire())
        await is_attended(valkey)
        one.proxy.refuse()
        await theirs.release()
        one.proxy.heal()
        assert await within(waiting)
        await lock.release()


async def test_while_redis_is_away_who_waits_goes_on_waiting(fresh_server: Server) -> None:
    async with processes(fresh_server.url, 1, timeout=0.2) as (one,):
        assert await one.lock().acquire()
        lock = one.lock(wait=None)
        waiting = asyncio.ensure_future(lock.acquire())
        await is_attended(fresh_server)
        await asyncio.to_thread(fresh_server.kill)
        await asyncio.sleep(0.5)
        assert not waiting.done()
        await asyncio.to_thread(fresh_server.start)
        assert await within(waiting), "an empty server has no holder"
        await lock.release()
        one.redis.leases.close()  # that of the first, which nobody released


async def test_a_wait_that_ends_while_redis_is_away_says_so(fresh_server: Server) -> None:
    async with processes(fresh_server.url, 1, timeout=0.2) as (one,):
        await asyncio.to_thread(fresh_server.kill)
        failed = await outcome(within(one.lock(wait=0.5).acquire()))
        assert isinstance(failed, RedisUnavailable) or failed is False
        with pytest.raises((RedisUnavailable, LockError)):
            async with one.lock(wait=0.3):
                raise AssertionError("it was entered")
        await asyncio.to_thread(fresh_server.start)


async def test_a_crowd_of_which_half_is_cancelled_at_random(valkey: Server, redis_url: str) -> None:
    """The others get it one after another, whoever gives up in between."""
    chance = random.Random(11)
    inside = 0
    served: list[int] = []
    fences: list[int] = []

    async with processes(redis_url, 3) as those:

        async def work(who: int) -> None:
            nonlocal inside
            lock = those[who % 3].lock(wait=None)
            async with lock:
                assert lock.fence is not None
                fences.append(lock.fence)
                inside += 1
                assert inside == 1
                try:
                    await steps(chance.randrange(4))
                finally:
                    inside -= 1
                served.append(who)

        tasks = [asyncio.create_task(work(who)) for who in range(120)]
        victims = tasks[::2]
        while victims:
            await steps(1)
            for _ in range(min(len(victims), chance.randrange(3))):
                victims.pop(chance.randrange(len(victims))).cancel()
        outcomes = await within(asyncio.gather(*tasks, return_exceptions=True), 45)
        assert outcomes[1::2] == [None] * 60
        assert fences == sorted(set(fences))
        await is_free(valkey)
    assert isinstance(next((o for o in outcomes[::2] if o is not None), None), asyncio.CancelledError)


async def test_who_may_not_hear_the_word_gets_its_turn_by_time(make_server: MakeServer) -> None:
    """A user without any channel: it asks again when the holder's time would be up."""
    server = make_server()
    server.command("ACL", "SETUSER", "deaf", "on", "nopass", "~*", "+@all", "resetchannels")
    deaf = server.url.replace("unix://", "unix://deaf:x@")
    async with RedisManager(server.url) as redis, RedisManager(deaf, timeout=PATIENCE) as other:
        theirs, lock = redis.lock("job", ttl=1), other.lock("job", ttl=1)
        assert await theirs.acquire()
        waiting = asyncio.ensure_future(lock.acquire())
        await is_attended(server)
        await theirs.release()
        assert await within(waiting)
        await lock.release()
        await is_free(server)
        await nothing_is_left_of(other)


async def test_who_may_not_say_the_word_releases_all_the_same(make_server: MakeServer) -> None:
    """A user without any channel gives back what another waits for, who finds it when its time would be up."""
    server = make_server()
    server.command("ACL", "SETUSER", "mute", "on", "nopass", "~*", "+@all", "resetchannels")
    mute = server.url.replace("unix://", "unix://mute:x@")
    async with RedisManager(mute, timeout=PATIENCE) as redis, RedisManager(server.url) as other:
        for make in (lambda m: m.lock("job", ttl=1), lambda m: m.semaphore("job", 1, ttl=1)):
            theirs, lock = make(redis), make(other)
            assert await theirs.acquire()
            waiting = asyncio.ensure_future(lock.acquire())
            await asyncio.sleep(0.2)  # whether it is attended is told differently by each
            await theirs.release()
            assert await within(waiting)
            await lock.release()
