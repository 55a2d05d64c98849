"""Locks that are lost within others, within deadlines and task groups, or around them: each ends what is its own."""

import asyncio

import pytest

from asgi_redis_guard import RedisManager
from asgi_redis_guard.errors import LockLost
from tests.faults.locks import TTL, for_ever, held, is_free, nobody_is_cancelled, take_away
from tests.redis.tools import PATIENCE, within
from tests.servers import Server


async def test_the_loss_of_the_inner_lock_leaves_the_outer_one(redis: RedisManager, valkey: Server) -> None:
    async with redis.lock("outer", ttl=30) as outer:
        outers = held(valkey)
        with pytest.raises(LockLost):
            async with redis.lock("inner", ttl=TTL):
                valkey.command("DEL", *set(held(valkey)) - set(outers))
                await within(for_ever())
        await asyncio.sleep(0)
        assert not outer.lost.is_set()
        assert await outer.owned()
    assert not held(valkey)


async def test_the_loss_of_the_outer_lock_goes_through_the_inner_one(redis: RedisManager, valkey: Server) -> None:
    """The inner one is given back on the way, and takes the cancellation of the outer one for no loss of its own."""
    with pytest.raises(LockLost) as caught:
        async with redis.lock("outer", ttl=TTL) as outer:
            outers = held(valkey)
            with pytest.raises(asyncio.CancelledError):
                async with redis.lock("inner", ttl=30) as inner:
                    valkey.command("DEL", *outers)
                    await within(for_ever())
            assert not inner.lost.is_set()
            assert not held(valkey)
            raise asyncio.CancelledError
    assert outer.lost.is_set()
    assert isinstance(caught.value, LockLost)
    await is_free(valkey)


async def test_both_locks_lost_at_once_are_one_loss_and_no_cancellation(redis: RedisManager, valkey: Server) -> None:
    with pytest.raises(LockLost):
        async with redis.lock("outer", ttl=TTL), redis.lock("inner", ttl=TTL):
            valkey.command("FLUSHALL")
            await within(for_ever())
    nobody_is_cancelled()
    await asyncio.sleep(0.01)


async def test_a_deadline_outside_is_not_reached_by_the_loss(redis: RedisManager, valkey: Server) -> None:
    with pytest.raises(LockLost):
        async with asyncio.timeout(PATIENCE) as deadline, redis.lock("job", ttl=TTL):
            take_away(valkey)
            await for_ever()
    assert not deadline.expired()


async def test_a_deadline_inside_is_a_timeout_of_its_own(redis: RedisManager, valkey: Server) -> None:
    async with redis.lock("job", ttl=TTL) as lock:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await for_ever()
        assert not lock.lost.is_set()
    assert not held(valkey)


async def test_the_loss_inside_a_deadline_inside_the_lock_is_the_loss(redis: RedisManager, valkey: Server) -> None:
    with pytest.raises(LockLost):
        async with redis.lock("job", ttl=TTL):
            take_away(valkey)
            async with asyncio.timeout(PATIENCE):
                await for_ever()


async def test_a_deadline_and_the_loss_at_the_same_moment_are_one_of_both(redis: RedisManager, valkey: Server) -> None:
    """Whichever comes out, nobody is left cancelled."""
    with pytest.raises((LockLost, TimeoutError)):
        async with asyncio.timeout(PATIENCE) as deadline, redis.lock("job", ttl=TTL) as lock:
            take_away(valkey)
            try:
                await for_ever()
            finally:
                deadline.reschedule(0)
                assert lock.lost.is_set()
                await asyncio.sleep(0)
    nobody_is_cancelled()
    await asyncio.sleep(0.01)


async def test_the_loss_ends_the_tasks_of_a_group_inside(redis: RedisManager, valkey: Server) -> None:
    ended = []

    async def part() -> None:
        try:
            await for_ever()
        finally:
            ended.append(True)

    with pytest.raises(LockLost):
        async with redis.lock("job", ttl=TTL), asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(part())
            await asyncio.sleep(0)
            take_away(valkey)
    assert ended == [True] * 3


async def test_the_loss_in_a_task_of_a_group_ends_the_group_with_it(redis: RedisManager, valkey: Server) -> None:
    async def part() -> None:
        async with redis.lock("job", ttl=TTL):
            take_away(valkey)
            await for_ever()

    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.TaskGroup() as group:
            group.create_task(part())
            group.create_task(for_ever())
    assert [type(error) for error in caught.value.exceptions] == [LockLost]
